/*
 * vocabulary.c: the model of a tokenizer.json, its added tokens, and those of
 * a tokenizer_config.json.
 */
#include "text.h"

#include <stdio.h>

enum { MAX_ADDED = 1024 }; /* bytes of an added token */

static int shown(const Loader *l)
{
    return (int)(l->text.n < 60 ? l->text.n : 60);
}

/* ----------------------------------------------------------------- model -- */

TitanStatus load_vocab(Loader *l, uint32_t vocab)
{
    const Json *j = &l->json;
    if (json_kind(j, vocab) != JSON_object)
        return BAD(l, "the model has no vocabulary");
    for (uint32_t i = json_first(j, vocab); i; i = json_next(j, vocab, i + 1)) {
        uint32_t id;
        TRY(load_text(l, i));
        if (!json_whole(j, i + 1, &id))
            return BAD(l, "the id of the token \"%.*s\" is no whole number",
                       shown(l), l->text.at);
        TRY(vocab_add(l->story, &l->t->vocab, l->text.at, l->text.n, id,
                      TOKEN_MODEL));
    }
    return TITAN_OK;
}

/* The id of a part of a merge, which is a token. */
static TitanStatus part_id(Loader *l, uint32_t rank, const char *text,
                           size_t size, uint32_t *id)
{
    int64_t found = vocab_find_model(&l->t->vocab, text, size);
    *id = (uint32_t)found;
    if (found >= 0) return TITAN_OK;
    return BAD(l, "merge %u has \"%.*s\", which is no token", (unsigned)rank,
               (int)(size < 60 ? size : 60), text);
}

TitanStatus load_pair(Loader *l, uint32_t rank, const char *left, size_t nleft,
                      const char *right, size_t nright)
{
    Merge merge = {.rank = rank};
    TokenText whole = {0};
    TRY(part_id(l, rank, left, nleft, &merge.left));
    TRY(part_id(l, rank, right, nright, &merge.right));
    TitanStatus st = text_append(l->story, &whole, left, nleft);
    if (st == TITAN_OK) st = text_append(l->story, &whole, right, nright);
    if (st == TITAN_OK) st = part_id(l, rank, whole.at, whole.n, &merge.id);
    token_text_release(&whole);
    if (st == TITAN_OK) merges_put(&l->t->model, &merge);
    return st;
}

/* "left right", or ["left", "right"]. */
static TitanStatus load_merge(Loader *l, uint32_t value, uint32_t rank)
{
    const Json *j = &l->json;
    uint32_t right = JSON_NONE;
    if (json_kind(j, value) == JSON_array) {
        uint32_t left = json_first(j, value);
        right = left ? json_next(j, value, left) : JSON_NONE;
        if (!right || json_next(j, value, right))
            return BAD(l, "merge %u has not two parts", (unsigned)rank);
        TRY(load_text(l, left));
        size_t nleft = l->text.n;
        TRY(json_text(l->story, j, right, &l->text));
        return load_pair(l, rank, l->text.at, nleft, l->text.at + nleft,
                         l->text.n - nleft);
    }
    TRY(load_text(l, value));
    const char *text = l->text.at,
               *blank = l->text.n ? memchr(text, ' ', l->text.n) : NULL;
    const char *end = text + l->text.n;
    if (!blank || memchr(blank + 1, ' ', (size_t)(end - blank - 1)))
        return BAD(l, "merge %u has not two parts", (unsigned)rank);
    return load_pair(l, rank, text, (size_t)(blank - text), blank + 1,
                     (size_t)(end - blank - 1));
}

static TitanStatus load_merges(Loader *l, uint32_t list)
{
    const Json *j = &l->json;
    if (json_kind(j, list) != JSON_array)
        return BAD(l, "the model has no list of merges");
    TRY(merges_open(l->story, &l->t->model, json_count(j, list)));
    uint32_t rank = 0;
    for (uint32_t i = json_first(j, list); i; i = json_next(j, list, i))
        TRY(load_merge(l, i, rank++));
    return TITAN_OK;
}

/* Members that this model must not have, but for nothing. */
static TitanStatus refuse_members(Loader *l, uint32_t model)
{
    static const char *const names[] = {"dropout", "continuing_subword_prefix",
                                        "end_of_word_suffix"};
    const Json *j = &l->json;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t value = json_get(j, model, names[i]);
        bool none = json_kind(j, value) == JSON_null || json_is(j, value, "");
        if (!none) return BAD(l, "a model with \"%s\" is not taken", names[i]);
    }
    return TITAN_OK;
}

static TitanStatus load_unknown(Loader *l, uint32_t model)
{
    uint32_t value = json_get(&l->json, model, "unk_token");
    l->t->model.unknown = -1;
    if (json_kind(&l->json, value) == JSON_null) return TITAN_OK;
    TRY(load_text(l, value));
    l->t->model.unknown = vocab_find_model(&l->t->vocab, l->text.at, l->text.n);
    bool found = l->t->model.unknown >= 0 || l->t->model.kind != MODEL_bpe;
    if (found) return TITAN_OK;
    return BAD(l, "the unknown token \"%.*s\" is no token", shown(l),
               l->text.at);
}

void find_bytes(Tokenizer *t)
{
    Model *m = &t->model;
    m->all_bytes = m->bytes;
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        size_t n = utf8_write(byte_level_code((unsigned char)byte), text);
        m->byte_id[byte] = (int32_t)vocab_find_model(&t->vocab, text, n);
        if (m->byte_id[byte] < 0) m->all_bytes = false;
        snprintf(text, sizeof text, "<0x%02X>", byte);
        m->spelled[byte] = (int32_t)vocab_find_model(&t->vocab, text, 6);
    }
}

static TitanStatus load_bpe(Loader *l, uint32_t value)
{
    static const char *const names[] = {
        "dropout",  "unk_token",     "continuing_subword_prefix",
        "fuse_unk", "byte_fallback", "end_of_word_suffix",
        "vocab",    "merges",        "ignore_merges",
        NULL};
    Model *m = &l->t->model;
    m->kind = MODEL_bpe;
    TRY(check_members(l, value, names));
    TRY(refuse_members(l, value));
    TRY(load_flag(l, value, "fuse_unk", false, &m->fuse_unknown));
    TRY(load_flag(l, value, "byte_fallback", false, &m->byte_fallback));
    TRY(load_flag(l, value, "ignore_merges", false, &m->ignore_merges));
    TRY(load_vocab(l, json_get(&l->json, value, "vocab")));
    TRY(load_merges(l, json_get(&l->json, value, "merges")));
    find_bytes(l->t);
    return load_unknown(l, value);
}

static TitanStatus load_word_level(Loader *l, uint32_t value)
{
    static const char *const names[] = {"vocab", "unk_token", NULL};
    l->t->model.kind = MODEL_word_level;
    TRY(check_members(l, value, names));
    TRY(load_vocab(l, json_get(&l->json, value, "vocab")));
    return load_unknown(l, value);
}

TitanStatus load_model(Loader *l, uint32_t model)
{
    const Json *j = &l->json;
    uint32_t type = json_get(j, model, "type");
    bool old = !type && json_get(j, model, "merges"); /* it had no type once */
    if (old || json_is(j, type, "BPE")) return load_bpe(l, model);
    if (json_is(j, type, "WordLevel")) return load_word_level(l, model);
    if (!type) return BAD(l, "the model has no type");
    TRY(load_text(l, type));
    return BAD(l, "the model \"%.*s\" is not taken", shown(l), l->text.at);
}

/* ---------------------------------------------------------- added tokens -- */

static TitanStatus load_token(Loader *l, uint32_t object, bool normalized,
                              Added *out)
{
    *out = (Added){0};
    TRY(load_flag(l, object, "single_word", false, &out->single_word));
    TRY(load_flag(l, object, "lstrip", false, &out->lstrip));
    TRY(load_flag(l, object, "rstrip", false, &out->rstrip));
    return load_flag(l, object, "normalized", normalized, &out->normalized);
}

/* The token whose text the loader has: the id is its own, or NEXT. */
static TitanStatus add_token(Loader *l, const Added *token, bool special,
                             uint32_t *next)
{
    Vocab *v = &l->t->vocab;
    if (l->text.n > MAX_ADDED)
        return BAD(l, "an added token has %zu bytes; at most %d are taken",
                   l->text.n, (int)MAX_ADDED);
    int64_t id = vocab_find(v, l->text.at, l->text.n);
    if (id < 0) {
        id = (*next)++;
        TRY(vocab_add(l->story, v, l->text.at, l->text.n, (uint32_t)id, 0));
    }
    Token *as = &v->tokens[id];
    Added added = *token;
    added.id = (uint32_t)id;
    if (special) as->flags |= TOKEN_SPECIAL;
    if (as->added)
        l->added.at[as->added - 1] = added;
    else
        TRY(added_put(l->story, &l->added, &added));
    if (!as->added) as->added = l->added.n;
    return TITAN_OK;
}

/* The id of the next token that is new. */
static uint32_t next_id(const Loader *l)
{
    uint32_t next = l->t->vocab.count;
    for (uint32_t i = 0; i < l->added.n; i++)
        if (l->added.at[i].id >= next) next = l->added.at[i].id + 1;
    return next;
}

static TitanStatus load_one_added(Loader *l, uint32_t value, uint32_t *next)
{
    static const char *const names[] = {"id",      "content",    "single_word",
                                        "lstrip",  "normalized", "rstrip",
                                        "special", NULL};
    Added token;
    bool special;
    uint32_t id, before = *next;
    if (json_kind(&l->json, value) != JSON_object)
        return BAD(l, "an added token is no object");
    TRY(check_members(l, value, names));
    TRY(load_token(l, value, true, &token));
    TRY(load_flag(l, value, "special", false, &special));
    if (!json_whole(&l->json, json_get(&l->json, value, "id"), &id))
        return BAD(l, "the id of an added token is no whole number");
    TRY(load_text(l, json_get(&l->json, value, "content")));
    if (l->text.n == 0) return TITAN_OK; /* the reference leaves it out */
    TRY(add_token(l, &token, special, next));
    int64_t given = vocab_find(&l->t->vocab, l->text.at, l->text.n);
    if (given == id) return TITAN_OK;
    return BAD(l, "the added token \"%.*s\" has the id %u; %s %u", shown(l),
               l->text.at, (unsigned)id,
               *next > before ? "the next free one is"
                              : "in the vocabulary it has",
               (unsigned)given);
}

TitanStatus load_added(Loader *l, uint32_t list)
{
    const Json *j = &l->json;
    if (json_kind(j, list) == JSON_null) return TITAN_OK;
    if (json_kind(j, list) != JSON_array)
        return BAD(l, "\"added_tokens\" is no list");
    uint32_t next = next_id(l);
    for (uint32_t i = json_first(j, list); i; i = json_next(j, list, i))
        TRY(load_one_added(l, i, &next));
    return TITAN_OK;
}

/* What is looked for is the normalised text, and so is what a decoder sees. */
static TitanStatus add_normalized(Loader *l, Added *token, uint32_t *shown_at)
{
    Tokenizer *t = l->t;
    Token *as = &t->vocab.tokens[token->id];
    TokenScratch *scratch = token_scratch_new();
    Run run = {.story = l->story, .t = t, .scratch = scratch};
    Piece made = {0};
    TitanStatus st = scratch ? TITAN_OK : titan_no_memory(l->story);
    if (scratch) match_begin(&scratch->match, token->size);
    if (st == TITAN_OK) st = normalize(&run, token->text, token->size, &made);
    bool same = st == TITAN_OK && made.bytes == token->size &&
                memcmp(made.text, token->text, made.bytes) == 0;
    if (st == TITAN_OK && !same) {
        *shown_at = (uint32_t)t->vocab.texts.n;
        as->shown_size = (uint32_t)made.bytes;
        st = text_append(l->story, &t->vocab.texts, made.text, made.bytes);
        if (st == TITAN_OK) st = text_append(l->story, &t->vocab.texts, "", 1);
    }
    token_scratch_free(scratch);
    return st;
}

/* Texts of the vocabulary lie still once all forms are there. */
TitanStatus seal_added(Loader *l)
{
    Tokenizer *t = l->t;
    for (uint32_t i = 0; i < l->added.n; i++) {
        Added *token = &l->added.at[i];
        Token *as = &t->vocab.tokens[token->id];
        token->text = t->vocab.texts.at + as->at;
        token->size = as->size;
        if (token->normalized && t->nnormals)
            TRY(add_normalized(l, token, &as->shown));
    }
    for (uint32_t i = 0; i < l->added.n; i++) {
        Added *token = &l->added.at[i];
        const Token *as = &t->vocab.tokens[token->id];
        token->text = t->vocab.texts.at + (as->shown ? as->shown : as->at);
        token->size = as->shown ? as->shown_size : as->size;
        if (token->size == 0) continue; /* nothing is left to look for */
        TRY(added_put(l->story, token->normalized ? &t->normalized : &t->raw,
                      token));
    }
    TRY(added_seal(l->story, &t->raw));
    return added_seal(l->story, &t->normalized);
}

/* ---------------------------------------------------------------- config -- */

/* A token's text, "<s>" or {"content": "<s>", ...}; none: JSON_NONE. */
static uint32_t content_of(const Json *j, uint32_t value)
{
    return json_kind(j, value) == JSON_object ? json_get(j, value, "content")
                                              : value;
}

/* Special tokens are added as such, whatever else is said of them. */
static TitanStatus add_config_token(Loader *l, uint32_t value, uint32_t *next)
{
    bool object = json_kind(&l->json, value) == JSON_object;
    Added token;
    TRY(load_token(l, object ? value : JSON_NONE, object, &token));
    TRY(load_text(l, content_of(&l->json, value)));
    return l->text.n ? add_token(l, &token, true, next) : TITAN_OK;
}

static TitanStatus find_token(Loader *l, uint32_t config, const char *name,
                              int64_t *id)
{
    uint32_t value = content_of(&l->json, json_get(&l->json, config, name));
    if (json_kind(&l->json, value) != JSON_string) return TITAN_OK;
    TRY(load_text(l, value));
    *id = vocab_find(&l->t->vocab, l->text.at, l->text.n);
    return TITAN_OK;
}

TitanStatus load_config(Loader *l, uint32_t config)
{
    static const char *const names[] = {"bos_token", "eos_token", "pad_token",
                                        "unk_token", "sep_token", "cls_token",
                                        "mask_token"};
    const Json *j = &l->json;
    uint32_t next = next_id(l);
    bool bos, eos;
    if (json_kind(j, config) != JSON_object)
        return BAD(l, "the configuration is no object");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t value = json_get(j, config, names[i]);
        if (json_kind(j, value) == JSON_null) continue;
        TRY(titan_while(l->story, add_config_token(l, value, &next),
                        "reading \"%s\"", names[i]));
    }
    uint32_t list = json_get(j, config, "added_tokens_decoder");
    if (json_kind(j, list) == JSON_object)
        for (uint32_t i = json_first(j, list); i; i = json_next(j, list, i + 1))
            if (json_get(j, i + 1, "content"))
                TRY(add_config_token(l, i + 1, &next));
    TRY(find_token(l, config, "bos_token", &l->t->bos));
    TRY(find_token(l, config, "eos_token", &l->t->eos));
    TRY(load_flag(l, config, "add_bos_token", false, &bos));
    TRY(load_flag(l, config, "add_eos_token", false, &eos));
    l->t->ends |=
        (bos ? (unsigned)TOKEN_BOS : 0) | (eos ? (unsigned)TOKEN_EOS : 0);
    return TITAN_OK;
}
