/*
 * tokenizer.c: a tokenizer of files, from its opening to its end.
 *
 * What a tokenizer.json says is read in an order of its own: pre-tokenizers
 * before the model, since they decide whether words are bytes; added tokens
 * behind the normalisers that some of them go through; templates last, as
 * their ids have to be tokens.
 */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ----------------------------------------------------------------- texts -- */

static TitanStatus check_whole(Loader *l)
{
    static const char *const names[] = {"version",    "truncation",
                                        "padding",    "added_tokens",
                                        "normalizer", "pre_tokenizer",
                                        "model",      "post_processor",
                                        "decoder",    NULL};
    const Json *j = &l->json;
    uint32_t version = json_get(j, JSON_ROOT, "version");
    if (json_kind(j, JSON_ROOT) != JSON_object)
        return BAD(l, "a tokenizer is an object");
    TRY(check_members(l, JSON_ROOT, names));
    if (version && !json_is(j, version, "1.0"))
        return BAD(l, "the version is not \"1.0\"");
    for (unsigned i = 1; i <= 2; i++)
        if (json_kind(j, json_get(j, JSON_ROOT, names[i])) != JSON_null)
            return BAD(l,
                       "\"%s\" is not taken: make it null, a document is "
                       "encoded whole",
                       names[i]);
    return TITAN_OK;
}

static TitanStatus load_member(Loader *l, const char *name,
                               TitanStatus (*load)(Loader *l, uint32_t value))
{
    uint32_t value = json_get(&l->json, JSON_ROOT, name);
    if (json_kind(&l->json, value) == JSON_null) return TITAN_OK;
    return titan_while(l->story, load(l, value), "reading \"%s\"", name);
}

/* A megabyte, which a text that is no tokenizer does without. */
static TitanStatus make_classes(Loader *l)
{
    l->t->classes = malloc(CODES);
    if (!l->t->classes) return titan_no_memory(l->story);
    unicode_classes(l->t->classes);
    return TITAN_OK;
}

static TitanStatus load_whole(Loader *l)
{
    TRY(check_whole(l));
    if (!json_get(&l->json, JSON_ROOT, "model"))
        return BAD(l, "there is no \"model\"");
    l->t->joined = json_kind(&l->json, json_get(&l->json, JSON_ROOT,
                                                "decoder")) == JSON_null;
    TRY(make_classes(l));
    TRY(load_member(l, "normalizer", load_normalizer));
    TRY(load_member(l, "pre_tokenizer", load_pre_tokenizer));
    TRY(load_member(l, "model", load_model));
    TRY(load_member(l, "added_tokens", load_added));
    TRY(load_member(l, "post_processor", load_post_processor));
    return load_member(l, "decoder", load_decoder);
}

static TitanStatus new_tokenizer(TitanStory *s, Tokenizer **out)
{
    Tokenizer *t = *out = calloc(1, sizeof *t);
    if (!t) return titan_no_memory(s);
    t->bos = t->eos = t->model.unknown = -1;
    t->ends = TOKEN_TEMPLATE;
    return TITAN_OK;
}

static TitanStatus read_json(Loader *l, const TokenText *text,
                             TitanStatus (*load)(Loader *l))
{
    TRY(json_read(l->story, text->at, text->n, &l->json));
    TitanStatus st = load(l);
    json_release(&l->json);
    return st;
}

static TitanStatus load_root_config(Loader *l)
{
    return load_config(l, JSON_ROOT);
}

static uint64_t hash_texts(const Texts *from)
{
    const TokenText *all[] = {from->json, from->object, from->lines,
                              from->merges, from->config};
    uint64_t hash = 0;
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            hash = XXH3_64bits_withSeed(all[i]->at, all[i]->n, hash + i);
    return hash;
}

static TitanStatus load_model_texts(Loader *l, const Texts *from)
{
    if (from->json) return read_json(l, from->json, load_whole);
    TRY(make_classes(l));
    return load_plain(l, from);
}

static TitanStatus load_texts(Loader *l, const Texts *from)
{
    TRY(titan_while(l->story, load_model_texts(l, from),
                    "reading the tokenizer"));
    if (from->config)
        TRY(titan_while(l->story, read_json(l, from->config, load_root_config),
                        "reading the configuration"));
    l->t->hash = hash_texts(from);
    TRY(cuts_open(l->story, l->t));
    return seal_added(l);
}

static TitanStatus make(TitanStory *s, const Texts *from, Tokenizer **out)
{
    Loader l = {.story = s};
    TitanStatus st = new_tokenizer(s, &l.t);
    if (st == TITAN_OK) st = load_texts(&l, from);
    added_release(&l.added);
    token_text_release(&l.text);
    *out = st == TITAN_OK ? l.t : NULL;
    if (st != TITAN_OK) tokenizer_free(l.t);
    return st;
}

TitanStatus tokenizer_parse(TitanStory *s, const char *json, size_t bytes,
                            const char *config, size_t config_bytes,
                            Tokenizer **out)
{
    TokenText a = {(char *)(uintptr_t)json, bytes, 0};
    TokenText b = {(char *)(uintptr_t)config, config_bytes, 0};
    return make(s, &(Texts){.json = &a, .config = config ? &b : NULL}, out);
}

void tokenizer_free(Tokenizer *t)
{
    if (!t) return;
    for (unsigned i = 0; i < MAX_STEPS; i++) {
        match_release(&t->normals[i].match);
        token_text_release(&t->normals[i].text);
        match_release(&t->steps[i].match);
        token_text_release(&t->steps[i].mark);
        match_release(&t->decodes[i].match);
        token_text_release(&t->decodes[i].text);
    }
    vocab_release(&t->vocab);
    added_release(&t->raw);
    added_release(&t->normalized);
    token_ids_release(&t->before);
    token_ids_release(&t->after);
    free(t->model.merges);
    free(t->cuts.pairs);
    free(t->classes);
    free(t);
}

/* ----------------------------------------------------------------- files -- */

static TitanStatus read_file(TitanStory *s, const char *path, TokenText *out)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    TitanStatus st = TITAN_OK;
    size_t got = 1;
    while (st == TITAN_OK && got > 0) {
        st = text_reserve(s, out, 1 << 16);
        if (st == TITAN_OK) {
            got = fread(out->at + out->n, 1, out->cap - out->n, in);
            out->n += got;
        }
        if (out->n > (size_t)128 << 20) break; /* more than is ever taken */
    }
    if (st == TITAN_OK && ferror(in))
        st = titan_fail(s, TITAN_IO, "could not read \"%s\": %s", path,
                        strerror(errno));
    fclose(in);
    return st;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The files that may lie together. */
typedef enum Part {
    PART_json,
    PART_object,
    PART_lines,
    PART_merges,
    PART_config,
    PARTS
} Part;
static const char *const part_names[PARTS] = {"tokenizer.json", "vocab.json",
                                              "vocab.txt", "merges.txt",
                                              "tokenizer_config.json"};

/* NAME in the directory PATH, or beside the file PATH; for free(). */
static char *beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t n = is_directory(path) ? strlen(path)
               : slash            ? (size_t)(slash - path)
                                  : 0;
    char *out = malloc(n + strlen(name) + 2);
    if (out)
        sprintf(out, "%.*s%s%s", (int)n, path, n || slash ? "/" : "", name);
    return out;
}

/* Reads a part that is there; THERE is left alone where it is not. */
static TitanStatus read_part(TitanStory *s, const char *path, Part part,
                             TokenText *text, const TokenText **there)
{
    char *name = beside(path, part_names[part]);
    if (!name) return titan_no_memory(s);
    TitanStatus st = TITAN_OK;
    if (access(name, F_OK) == 0) {
        st = read_file(s, name, text);
        *there = text;
    }
    free(name);
    return st;
}

/* What a directory has: a tokenizer.json, else a vocabulary. */
static TitanStatus read_directory(TitanStory *s, const char *path,
                                  TokenText *texts, Texts *out)
{
    TRY(read_part(s, path, PART_json, &texts[PART_json], &out->json));
    if (out->json) return TITAN_OK;
    TRY(read_part(s, path, PART_object, &texts[PART_object], &out->object));
    if (!out->object)
        TRY(read_part(s, path, PART_lines, &texts[PART_lines], &out->lines));
    if (!out->object && !out->lines)
        return titan_fail(s, TITAN_IO,
                          "there is no tokenizer.json in \"%s\", and neither "
                          "vocab.json nor vocab.txt",
                          path);
    return read_part(s, path, PART_merges, &texts[PART_merges], &out->merges);
}

static TitanStatus open_files(TitanStory *s, const char *path, Tokenizer **out)
{
    TokenText texts[PARTS] = {0};
    Texts from = {0};
    TitanStatus st;
    if (is_directory(path)) {
        st = read_directory(s, path, texts, &from);
    } else {
        st = read_file(s, path, &texts[PART_json]);
        from.json = &texts[PART_json];
    }
    if (st == TITAN_OK)
        st = read_part(s, path, PART_config, &texts[PART_config], &from.config);
    if (st == TITAN_OK) st = make(s, &from, out);
    for (unsigned i = 0; i < PARTS; i++)
        token_text_release(&texts[i]);
    return st;
}

TitanStatus tokenizer_open(TitanStory *s, const char *path, Tokenizer **out)
{
    return titan_while(s, open_files(s, path, out),
                       "opening the tokenizer \"%s\"", path);
}

/* ----------------------------------------------------------- what it has -- */

uint32_t tokenizer_size(const Tokenizer *t)
{
    return t->vocab.n;
}

int64_t tokenizer_bos(const Tokenizer *t)
{
    return t->bos;
}

int64_t tokenizer_eos(const Tokenizer *t)
{
    return t->eos;
}

unsigned tokenizer_ends(const Tokenizer *t)
{
    return t->ends;
}

int64_t tokenizer_find(const Tokenizer *t, const char *token, size_t bytes)
{
    return vocab_find(&t->vocab, token, bytes);
}
