/*
 * cuts.c: where a long word may be cut without a change to its ids.
 *
 * Some tokenizers have no pre-tokenizer: a document is one word.  What is
 * merged is a token, so between two characters that stand side by side in no
 * token nothing is ever merged, and the word is two words.  Blanks that are
 * marks begin most tokens and stand within few, so the pieces are words that
 * the cache knows.  Both characters have to be tokens: one that is not is
 * written in other characters.
 */
#include "text.h"

static uint64_t key_of(uint32_t left, uint32_t right)
{
    return ((uint64_t)left << 32 | right) + 1; /* 0: free */
}

static uint32_t slot_of(const Cuts *c, uint64_t key)
{
    uint32_t mask = c->n - 1;
    uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (c->pairs[i] && c->pairs[i] != key)
        i = (i + 1) & mask;
    return i;
}

static TitanStatus grow(TitanStory *s, Cuts *c)
{
    uint32_t n = c->n ? c->n * 2 : 1024, old_n = c->n;
    uint64_t *old = c->pairs;
    uint64_t *pairs = calloc(n, sizeof *pairs);
    if (!pairs) return titan_no_memory(s);
    c->pairs = pairs;
    c->n = n;
    for (uint32_t i = 0; i < old_n; i++)
        if (old[i]) pairs[slot_of(c, old[i])] = old[i];
    free(old);
    return TITAN_OK;
}

static TitanStatus add_pair(TitanStory *s, Cuts *c, uint64_t key)
{
    if (c->used * 2 >= c->n) TRY(grow(s, c));
    uint32_t i = slot_of(c, key);
    if (c->pairs[i] == 0) c->used++;
    c->pairs[i] = key;
    return TITAN_OK;
}

static TitanStatus add_token(TitanStory *s, Tokenizer *t, uint32_t id)
{
    const unsigned char *p = (const unsigned char *)vocab_text(&t->vocab, id);
    const unsigned char *end = p + t->vocab.tokens[id].size;
    uint32_t last, code;
    if (p == end) return TITAN_OK;
    p += utf8_read(p, end, &last);
    if (p == end) t->classes[last] |= UC_TOKEN;
    for (; p < end; last = code) {
        p += utf8_read(p, end, &code);
        TRY(add_pair(s, &t->cuts, key_of(last, code)));
    }
    return TITAN_OK;
}

TitanStatus cuts_open(TitanStory *s, Tokenizer *t)
{
    const Model *m = &t->model;
    if (m->kind != MODEL_bpe || m->bytes || m->ignore_merges) return TITAN_OK;
    TRY(grow(s, &t->cuts));
    for (uint32_t id = 0; id < t->vocab.n; id++)
        if (t->vocab.tokens[id].flags & TOKEN_MODEL) TRY(add_token(s, t, id));
    return TITAN_OK;
}

size_t cuts_next(const Tokenizer *t, const char *word, size_t bytes)
{
    const unsigned char *start = (const unsigned char *)word, *p = start;
    const unsigned char *end = p + bytes;
    uint32_t last, code;
    if (t->cuts.n == 0) return bytes;
    p += utf8_read(p, end, &last);
    while (p < end) {
        size_t n = utf8_read(p, end, &code);
        bool both = t->classes[last] & t->classes[code] & UC_TOKEN;
        uint64_t key = key_of(last, code);
        if (both && t->cuts.pairs[slot_of(&t->cuts, key)] != key)
            return (size_t)(p - start);
        last = code;
        p += n;
    }
    return bytes;
}
