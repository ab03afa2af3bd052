/*
 * parts.c: normalisers, pre-tokenizers, post-processors and decoders, as a
 * tokenizer.json names them.
 *
 * Each type lists the members that it may have; another type or another
 * member, whatever it means, is refused by name.
 */
#include "text.h"

/* -------------------------------------------------------------- members -- */

TitanStatus load_text(Loader *l, uint32_t value)
{
    l->text.n = 0;
    return json_text(l->story, &l->json, value, &l->text);
}

static TitanStatus copy_text(Loader *l, uint32_t value, TokenText *out)
{
    out->n = 0;
    return json_text(l->story, &l->json, value, out);
}

static TitanStatus unknown(Loader *l, const char *what, uint32_t value)
{
    TRY(load_text(l, value));
    return BAD(l, "%s \"%.*s\" is not taken", what,
               (int)(l->text.n < 60 ? l->text.n : 60), l->text.at);
}

TitanStatus check_members(Loader *l, uint32_t object, const char *const names[])
{
    const Json *j = &l->json;
    for (uint32_t i = json_first(j, object); i;
         i = json_next(j, object, i + 1)) {
        bool known = json_is(j, i, "type");
        for (unsigned k = 0; names[k] && !known; k++)
            known = json_is(j, i, names[k]);
        if (!known) return unknown(l, "the member", i);
    }
    return TITAN_OK;
}

TitanStatus load_flag(Loader *l, uint32_t object, const char *name,
                      bool otherwise, bool *out)
{
    uint32_t value = json_get(&l->json, object, name);
    JsonKind kind = json_kind(&l->json, value);
    *out = kind == JSON_null ? otherwise : kind == JSON_true;
    if (kind <= JSON_true) return TITAN_OK;
    return BAD(l, "the member \"%s\" is neither true nor false", name);
}

/* One character. */
static TitanStatus read_code(Loader *l, uint32_t object, const char *name,
                             uint32_t *out)
{
    TRY(load_text(l, json_get(&l->json, object, name)));
    const unsigned char *p = (const unsigned char *)l->text.at;
    size_t n = l->text.n ? utf8_read(p, p + l->text.n, out) : 0;
    if (n && n == l->text.n) return TITAN_OK;
    return BAD(l, "the member \"%s\" is not one character", name);
}

/* {"String": ...} or {"Regex": ...} */
static TitanStatus read_pattern(Loader *l, uint32_t object, Matcher *out)
{
    uint32_t pattern = json_get(&l->json, object, "pattern");
    uint32_t string = json_get(&l->json, pattern, "String");
    uint32_t regex = json_get(&l->json, pattern, "Regex");
    if (!string == !regex)
        return BAD(l, "the pattern is neither a \"String\" nor a \"Regex\"");
    TRY(load_text(l, string ? string : regex));
    if (string) return match_literal(l->story, l->text.at, l->text.n, out);
    return match_pattern(l->story, l->text.at, l->text.n, l->t->classes, out);
}

typedef TitanStatus Part(Loader *l, uint32_t value);
typedef struct PartType {
    const char *name;
    Part *load;
    const char *const *members;
} PartType;

#define MEMBERS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_MEMBERS   ((const char *const[]){NULL})

/* A part by its type, from a table that ends with an empty row. */
static TitanStatus load_part(Loader *l, uint32_t value, const char *what,
                             const PartType *types)
{
    uint32_t type = json_get(&l->json, value, "type");
    if (json_kind(&l->json, type) != JSON_string)
        return BAD(l, "%s has no type", what);
    for (const PartType *t = types; t->name; t++) {
        if (!json_is(&l->json, type, t->name)) continue;
        TRY(check_members(l, value, t->members));
        return t->load(l, value);
    }
    return unknown(l, what, type);
}

static TitanStatus load_list(Loader *l, uint32_t object, const char *name,
                             Part *load)
{
    uint32_t list = json_get(&l->json, object, name);
    if (json_kind(&l->json, list) != JSON_array)
        return BAD(l, "the member \"%s\" is no list", name);
    for (uint32_t i = json_first(&l->json, list); i;
         i = json_next(&l->json, list, i))
        TRY(load(l, i));
    return TITAN_OK;
}

static TitanStatus check_room(Loader *l, unsigned n, const char *what)
{
    if (n < MAX_STEPS) return TITAN_OK;
    return BAD(l, "more than %d %s", (int)MAX_STEPS, what);
}

/* ----------------------------------------------------------- normalisers -- */

static TitanStatus add_normal(Loader *l, NormalKind kind, Normal **out)
{
    TRY(check_room(l, l->t->nnormals, "normalizers"));
    *out = &l->t->normals[l->t->nnormals++];
    (*out)->kind = kind;
    return TITAN_OK;
}

static TitanStatus load_nfc(Loader *l, uint32_t value)
{
    (void)value;
    return add_normal(l, NORMAL_nfc, &(Normal *){NULL});
}

static TitanStatus load_nfd(Loader *l, uint32_t value)
{
    (void)value;
    return add_normal(l, NORMAL_nfd, &(Normal *){NULL});
}

static TitanStatus load_nfkc(Loader *l, uint32_t value)
{
    (void)value;
    return add_normal(l, NORMAL_nfkc, &(Normal *){NULL});
}

static TitanStatus load_nfkd(Loader *l, uint32_t value)
{
    (void)value;
    return add_normal(l, NORMAL_nfkd, &(Normal *){NULL});
}

static TitanStatus load_normal_bytes(Loader *l, uint32_t value)
{
    (void)value;
    return add_normal(l, NORMAL_byte_level, &(Normal *){NULL});
}

static TitanStatus load_prepend(Loader *l, uint32_t value)
{
    Normal *n = NULL;
    TRY(add_normal(l, NORMAL_prepend, &n));
    return copy_text(l, json_get(&l->json, value, "prepend"), &n->text);
}

static TitanStatus load_replace(Loader *l, uint32_t value)
{
    Normal *n = NULL;
    TRY(add_normal(l, NORMAL_replace, &n));
    TRY(read_pattern(l, value, &n->match));
    return copy_text(l, json_get(&l->json, value, "content"), &n->text);
}

static TitanStatus load_normal_strip(Loader *l, uint32_t value)
{
    Normal *n = NULL;
    TRY(add_normal(l, NORMAL_strip, &n));
    TRY(load_flag(l, value, "strip_left", false, &n->left));
    return load_flag(l, value, "strip_right", false, &n->right);
}

static TitanStatus load_normal_list(Loader *l, uint32_t value)
{
    return load_list(l, value, "normalizers", load_normalizer);
}

TitanStatus load_normalizer(Loader *l, uint32_t value)
{
    const PartType types[] = {
        {"NFC", load_nfc, NO_MEMBERS},
        {"NFD", load_nfd, NO_MEMBERS},
        {"NFKC", load_nfkc, NO_MEMBERS},
        {"NFKD", load_nfkd, NO_MEMBERS},
        {"ByteLevel", load_normal_bytes, NO_MEMBERS},
        {"Prepend", load_prepend, MEMBERS("prepend")},
        {"Replace", load_replace, MEMBERS("pattern", "content")},
        {"Strip", load_normal_strip, MEMBERS("strip_left", "strip_right")},
        {"Sequence", load_normal_list, MEMBERS("normalizers")},
        {0}};
    return load_part(l, value, "the normalizer", types);
}

/* -------------------------------------------------------- pre-tokenizers -- */

static TitanStatus add_step(Loader *l, StepKind kind, Step **out)
{
    Tokenizer *t = l->t;
    TRY(check_room(l, t->nsteps, "pre-tokenizers"));
    if (t->model.bytes)
        return BAD(l, "a pre-tokenizer behind ByteLevel is not taken");
    *out = &t->steps[t->nsteps++];
    (*out)->kind = kind;
    (*out)->split = true;
    (*out)->cut = CUT_isolated;
    return TITAN_OK;
}

static TitanStatus read_behaviour(Loader *l, uint32_t value, Behaviour *out)
{
    static const char *const names[] = {[CUT_removed] = "Removed",
                                        [CUT_isolated] = "Isolated",
                                        [CUT_previous] = "MergedWithPrevious",
                                        [CUT_next] = "MergedWithNext",
                                        [CUT_contiguous] = "Contiguous"};
    uint32_t name = json_get(&l->json, value, "behavior");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (!json_is(&l->json, name, names[i])) continue;
        *out = (Behaviour)i;
        return TITAN_OK;
    }
    return unknown(l, "the behavior", name);
}

static TitanStatus load_split(Loader *l, uint32_t value)
{
    Step *step = NULL;
    TRY(add_step(l, STEP_split, &step));
    TRY(read_pattern(l, value, &step->match));
    TRY(read_behaviour(l, value, &step->cut));
    return load_flag(l, value, "invert", false, &step->invert);
}

static TitanStatus load_digits(Loader *l, uint32_t value)
{
    Step *step = NULL;
    bool each;
    TRY(add_step(l, STEP_split, &step));
    TRY(load_flag(l, value, "individual_digits", false, &each));
    step->match = (Matcher){.kind = MATCH_set, .set = SET_N};
    step->cut = each ? CUT_isolated : CUT_contiguous;
    return TITAN_OK;
}

static TitanStatus load_whitespace(Loader *l, uint32_t value)
{
    Step *step = NULL;
    (void)value;
    TRY(add_step(l, STEP_split, &step));
    step->match = (Matcher){.kind = MATCH_scanner, .scan = scan_words};
    step->cut = CUT_removed;
    step->invert = true;
    return TITAN_OK;
}

static TitanStatus load_whitespace_split(Loader *l, uint32_t value)
{
    Step *step = NULL;
    (void)value;
    TRY(add_step(l, STEP_split, &step));
    step->match = (Matcher){.kind = MATCH_set, .set = SET_SPACE};
    step->cut = CUT_removed;
    return TITAN_OK;
}

static TitanStatus load_delimiter(Loader *l, uint32_t value)
{
    Step *step = NULL;
    uint32_t code;
    TRY(add_step(l, STEP_split, &step));
    TRY(read_code(l, value, "delimiter", &code));
    step->cut = CUT_removed;
    return match_literal(l->story, l->text.at, l->text.n, &step->match);
}

static TitanStatus add_bytes(Loader *l, bool regex, bool prefix)
{
    static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+"
                               "| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    Step *step = NULL;
    TRY(add_step(l, STEP_byte_level, &step));
    l->t->model.bytes = true;
    step->split = regex;
    step->prefix = prefix;
    step->match = (Matcher){.kind = MATCH_scanner,
                            .scan = scanner_of(gpt2, strlen(gpt2))};
    if (!regex && !prefix) l->t->nsteps--; /* nothing is left to do */
    return TITAN_OK;
}

TitanStatus load_bytes(Loader *l, bool prefix)
{
    return add_bytes(l, true, prefix);
}

static TitanStatus load_byte_level(Loader *l, uint32_t value)
{
    bool regex, prefix;
    TRY(load_flag(l, value, "use_regex", true, &regex));
    TRY(load_flag(l, value, "add_prefix_space", true, &prefix));
    return add_bytes(l, regex, prefix);
}

/* "prepend_scheme", or "add_prefix_space" of older files. */
static TitanStatus read_scheme(Loader *l, uint32_t value, Scheme *out)
{
    static const char *const names[] = {[PREPEND_never] = "never",
                                        [PREPEND_first] = "first",
                                        [PREPEND_always] = "always"};
    uint32_t name = json_get(&l->json, value, "prepend_scheme");
    bool prefix;
    TRY(load_flag(l, value, "add_prefix_space", true, &prefix));
    *out = PREPEND_always;
    unsigned i = 0;
    while (name && i < 3 && !json_is(&l->json, name, names[i]))
        i++;
    if (i == 3) return unknown(l, "the prepend_scheme", name);
    if (name) *out = (Scheme)i;
    if (prefix) return TITAN_OK;
    if (*out != PREPEND_never && name)
        return BAD(l, "\"add_prefix_space\" is false and \"prepend_scheme\" is "
                      "not \"never\"");
    *out = PREPEND_never;
    return TITAN_OK;
}

static TitanStatus load_metaspace(Loader *l, uint32_t value)
{
    Step *step = NULL;
    uint32_t code;
    TRY(add_step(l, STEP_metaspace, &step));
    TRY(read_scheme(l, value, &step->scheme));
    TRY(load_flag(l, value, "split", true, &step->split));
    TRY(read_code(l, value, "replacement", &code));
    step->cut = CUT_next;
    TRY(text_append(l->story, &step->mark, l->text.at, l->text.n));
    return match_literal(l->story, l->text.at, l->text.n, &step->match);
}

static TitanStatus load_step_list(Loader *l, uint32_t value)
{
    return load_list(l, value, "pretokenizers", load_pre_tokenizer);
}

TitanStatus load_pre_tokenizer(Loader *l, uint32_t value)
{
    const PartType types[] = {
        {"Split", load_split, MEMBERS("pattern", "behavior", "invert")},
        {"ByteLevel", load_byte_level,
         MEMBERS("add_prefix_space", "trim_offsets", "use_regex")},
        {"Metaspace", load_metaspace,
         MEMBERS("replacement", "add_prefix_space", "prepend_scheme", "split",
                 "str_rep")},
        {"Digits", load_digits, MEMBERS("individual_digits")},
        {"Whitespace", load_whitespace, NO_MEMBERS},
        {"WhitespaceSplit", load_whitespace_split, NO_MEMBERS},
        {"CharDelimiterSplit", load_delimiter, MEMBERS("delimiter")},
        {"Sequence", load_step_list, MEMBERS("pretokenizers")},
        {0}};
    return load_part(l, value, "the pre-tokenizer", types);
}

/* ------------------------------------------------------- post-processors -- */

/* One list around another: what is before goes in front of it. */
static TitanStatus put_front(Loader *l, const TokenIds *ids)
{
    TokenIds *before = &l->t->before;
    TRY(ids_reserve(l->story, before, ids->n));
    if (before->n)
        memmove(before->at + ids->n, before->at,
                before->n * sizeof *before->at);
    if (ids->n) memcpy(before->at, ids->at, ids->n * sizeof *ids->at);
    before->n += ids->n;
    return TITAN_OK;
}

static TitanStatus read_ids(Loader *l, uint32_t list, TokenIds *out)
{
    const Json *j = &l->json;
    if (json_kind(j, list) != JSON_array)
        return BAD(l, "a special token of the template has no ids");
    for (uint32_t i = json_first(j, list); i; i = json_next(j, list, i)) {
        uint32_t id;
        if (!json_whole(j, i, &id) || id >= l->t->vocab.n ||
            !(l->t->vocab.tokens[id].flags & TOKEN_THERE))
            return BAD(l, "the template has an id that no token has");
        TRY(ids_append(l->story, out, &id, 1));
    }
    return TITAN_OK;
}

/* The ids of a special token by the name that the template gives it. */
static TitanStatus read_special(Loader *l, uint32_t specials, uint32_t name,
                                TokenIds *out)
{
    const Json *j = &l->json;
    TokenText key = {0};
    TitanStatus st = copy_text(l, name, &key);
    uint32_t found = JSON_NONE;
    for (uint32_t i = json_first(j, specials); i && !found && st == TITAN_OK;
         i = json_next(j, specials, i + 1)) {
        st = load_text(l, i);
        bool same =
            l->text.n == key.n && memcmp(l->text.at, key.at, key.n) == 0;
        if (st == TITAN_OK && same) found = i + 1;
    }
    if (st == TITAN_OK && !found)
        st = BAD(l,
                 "the template has the token \"%.*s\", which is not among "
                 "its special tokens",
                 (int)(key.n < 60 ? key.n : 60), key.n ? key.at : "");
    token_text_release(&key);
    return st == TITAN_OK ? read_ids(l, json_get(j, found, "ids"), out) : st;
}

static TitanStatus read_template(Loader *l, uint32_t value, TokenIds *front)
{
    const Json *j = &l->json;
    uint32_t list = json_get(j, value, "single");
    uint32_t specials = json_get(j, value, "special_tokens");
    unsigned texts = 0;
    if (json_kind(j, list) != JSON_array ||
        (specials && json_kind(j, specials) != JSON_object))
        return BAD(l, "the template is no list");
    for (uint32_t i = json_first(j, list); i; i = json_next(j, list, i)) {
        uint32_t special = json_get(j, i, "SpecialToken");
        uint32_t text = json_get(j, i, "Sequence");
        if (special)
            TRY(read_special(l, specials, json_get(j, special, "id"),
                             texts ? &l->t->after : front));
        else if (json_is(j, json_get(j, text, "id"), "A"))
            texts++;
        else
            return BAD(l, "the template has a piece that is neither a special "
                          "token nor the text");
    }
    if (texts == 1) return TITAN_OK;
    return BAD(l, "the template has the text %u times", texts);
}

static TitanStatus load_template(Loader *l, uint32_t value)
{
    TokenIds front = {0};
    TitanStatus st = read_template(l, value, &front);
    if (st == TITAN_OK) st = put_front(l, &front);
    token_ids_release(&front);
    return st;
}

/* ["</s>", 2] */
static TitanStatus read_pair(Loader *l, uint32_t object, const char *name,
                             TokenIds *out)
{
    const Json *j = &l->json;
    uint32_t pair = json_get(j, object, name), id = 0;
    uint32_t token = json_first(j, pair);
    uint32_t number = token ? json_next(j, pair, token) : JSON_NONE;
    if (!number || !json_whole(j, number, &id) || id >= l->t->vocab.n ||
        !(l->t->vocab.tokens[id].flags & TOKEN_THERE))
        return BAD(l, "\"%s\" of the post-processor has no id of a token",
                   name);
    return ids_append(l->story, out, &id, 1);
}

static TitanStatus load_pairs(Loader *l, uint32_t value)
{
    TokenIds front = {0};
    TitanStatus st = read_pair(l, value, "cls", &front);
    if (st == TITAN_OK) st = put_front(l, &front);
    if (st == TITAN_OK) st = read_pair(l, value, "sep", &l->t->after);
    token_ids_release(&front);
    return st;
}

/* It moves offsets, which are not kept here. */
static TitanStatus load_offsets(Loader *l, uint32_t value)
{
    (void)l, (void)value;
    return TITAN_OK;
}

static TitanStatus load_post_list(Loader *l, uint32_t value)
{
    return load_list(l, value, "processors", load_post_processor);
}

TitanStatus load_post_processor(Loader *l, uint32_t value)
{
    const PartType types[] = {
        {"TemplateProcessing", load_template,
         MEMBERS("single", "pair", "special_tokens")},
        {"ByteLevel", load_offsets,
         MEMBERS("add_prefix_space", "trim_offsets", "use_regex")},
        {"RobertaProcessing", load_pairs,
         MEMBERS("sep", "cls", "trim_offsets", "add_prefix_space")},
        {"BertProcessing", load_pairs, MEMBERS("sep", "cls")},
        {"Sequence", load_post_list, MEMBERS("processors")},
        {0}};
    return load_part(l, value, "the post-processor", types);
}

/* -------------------------------------------------------------- decoders -- */

static TitanStatus add_decode(Loader *l, DecodeKind kind, Decode **out)
{
    Tokenizer *t = l->t;
    TRY(check_room(l, t->ndecodes, "decoders"));
    DecodeKind last = t->ndecodes ? t->decodes[t->ndecodes - 1].kind : kind;
    bool bytes = last == DECODE_byte_level || last == DECODE_byte_fallback;
    if (t->fused || (bytes && t->ndecodes))
        return BAD(l, "a decoder behind %s is not taken",
                   t->fused                    ? "Fuse"
                   : last == DECODE_byte_level ? "ByteLevel"
                                               : "ByteFallback");
    *out = &t->decodes[t->ndecodes++];
    (*out)->kind = kind;
    return TITAN_OK;
}

static TitanStatus load_decode_bytes(Loader *l, uint32_t value)
{
    (void)value;
    return add_decode(l, DECODE_byte_level, &(Decode *){NULL});
}

static TitanStatus load_decode_spelled(Loader *l, uint32_t value)
{
    (void)value;
    return add_decode(l, DECODE_byte_fallback, &(Decode *){NULL});
}

static TitanStatus load_decode_metaspace(Loader *l, uint32_t value)
{
    Decode *d = NULL;
    Scheme scheme;
    uint32_t code;
    TRY(add_decode(l, DECODE_metaspace, &d));
    TRY(read_scheme(l, value, &scheme));
    TRY(read_code(l, value, "replacement", &code));
    d->prefix = scheme != PREPEND_never;
    TRY(match_literal(l->story, l->text.at, l->text.n, &d->match));
    return text_append(l->story, &d->text, " ", 1);
}

static TitanStatus load_decode_replace(Loader *l, uint32_t value)
{
    Decode *d = NULL;
    TRY(add_decode(l, DECODE_replace, &d));
    TRY(read_pattern(l, value, &d->match));
    return copy_text(l, json_get(&l->json, value, "content"), &d->text);
}

static TitanStatus load_fuse(Loader *l, uint32_t value)
{
    (void)value;
    l->t->fused = true;
    return TITAN_OK;
}

static TitanStatus load_decode_strip(Loader *l, uint32_t value)
{
    const Json *j = &l->json;
    Decode *d = &l->t->whole;
    if (!l->t->fused) TRY(add_decode(l, DECODE_strip, &d));
    if (d->code) return BAD(l, "a second Strip behind Fuse is not taken");
    TRY(read_code(l, value, "content", &d->code));
    if (!json_whole(j, json_get(j, value, "start"), &d->start) ||
        !json_whole(j, json_get(j, value, "stop"), &d->stop))
        return BAD(l, "\"start\" or \"stop\" of Strip is no whole number");
    if (l->t->fused && d->stop)
        return BAD(l, "Strip with a \"stop\" behind Fuse is not taken");
    return TITAN_OK;
}

static TitanStatus load_decode_list(Loader *l, uint32_t value)
{
    return load_list(l, value, "decoders", load_decoder);
}

TitanStatus load_decoder(Loader *l, uint32_t value)
{
    const PartType types[] = {
        {"ByteLevel", load_decode_bytes,
         MEMBERS("add_prefix_space", "trim_offsets", "use_regex")},
        {"Metaspace", load_decode_metaspace,
         MEMBERS("replacement", "add_prefix_space", "prepend_scheme", "split",
                 "str_rep")},
        {"Replace", load_decode_replace, MEMBERS("pattern", "content")},
        {"ByteFallback", load_decode_spelled, NO_MEMBERS},
        {"Fuse", load_fuse, NO_MEMBERS},
        {"Strip", load_decode_strip, MEMBERS("content", "start", "stop")},
        {"Sequence", load_decode_list, MEMBERS("decoders")},
        {0}};
    return load_part(l, value, "the decoder", types);
}
