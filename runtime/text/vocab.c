/*
 * vocab.c: tokens by their ids, and ids by their texts.
 */
#include "text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FIRST_SLOTS = 256 };

static uint32_t slot_of(const Vocab *v, const char *text, size_t size)
{
    uint32_t mask = v->nslots - 1, i = (uint32_t)XXH3_64bits(text, size) & mask;
    for (; v->slots[i]; i = (i + 1) & mask) {
        uint32_t id = v->slots[i] - 1;
        if (v->tokens[id].size == size &&
            memcmp(vocab_text(v, id), text, size) == 0)
            break;
    }
    return i;
}

static TitanStatus grow_slots(TitanStory *s, Vocab *v)
{
    uint32_t n = v->nslots ? v->nslots * 2 : FIRST_SLOTS;
    uint32_t *old = v->slots;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (!slots) return titan_no_memory(s);
    v->slots = slots;
    v->nslots = n;
    free(old);
    for (uint32_t id = 0; id < v->n; id++)
        if (v->tokens[id].flags & TOKEN_THERE)
            slots[slot_of(v, vocab_text(v, id), v->tokens[id].size)] = id + 1;
    return TITAN_OK;
}

static TitanStatus grow_tokens(TitanStory *s, Vocab *v, uint32_t id)
{
    if (id < v->n) return TITAN_OK;
    if (id >= v->cap) {
        uint32_t cap = v->cap ? v->cap : 256;
        while (cap <= id)
            cap *= 2;
        Token *more = realloc(v->tokens, cap * sizeof *more);
        if (!more) return titan_no_memory(s);
        v->tokens = more;
        v->cap = cap;
    }
    memset(v->tokens + v->n, 0, (id + 1 - v->n) * sizeof *v->tokens);
    v->n = id + 1;
    return TITAN_OK;
}

static TitanStatus check(TitanStory *s, const Vocab *v, const char *text,
                         size_t size, uint32_t id)
{
    int shown = (int)(size < 60 ? size : 60);
    if (id >= MAX_TOKENS)
        return titan_fail(s, TITAN_BAD_DATA,
                          "the token \"%.*s\" has the id %u; ids end at %d",
                          shown, text, (unsigned)id, (int)MAX_TOKENS - 1);
    if (id < v->n && v->tokens[id].flags & TOKEN_THERE)
        return titan_fail(s, TITAN_BAD_DATA,
                          "the tokens \"%.60s\" and \"%.*s\" have the same id "
                          "%u",
                          vocab_text(v, id), shown, text, (unsigned)id);
    if (vocab_find(v, text, size) >= 0)
        return titan_fail(s, TITAN_BAD_DATA, "the token \"%.*s\" occurs twice",
                          shown, text);
    if (v->texts.n + size >= UINT32_MAX)
        return titan_fail(s, TITAN_BAD_DATA, "the tokens are too long");
    return TITAN_OK;
}

TitanStatus vocab_add(TitanStory *s, Vocab *v, const char *text, size_t size,
                      uint32_t id, uint32_t flags)
{
    TRY(check(s, v, text, size, id));
    TRY(grow_tokens(s, v, id));
    if (v->texts.n == 0) TRY(text_append(s, &v->texts, "", 1));
    Token *token = &v->tokens[id];
    token->at = (uint32_t)v->texts.n;
    token->size = (uint32_t)size;
    TRY(text_append(s, &v->texts, text, size));
    TRY(text_append(s, &v->texts, "", 1));
    if (v->used * 2 >= v->nslots) TRY(grow_slots(s, v));
    v->slots[slot_of(v, text, size)] = id + 1;
    v->used++;
    token->flags = TOKEN_THERE | flags;
    if (flags & TOKEN_MODEL) v->count++;
    return TITAN_OK;
}

int64_t vocab_find(const Vocab *v, const char *text, size_t size)
{
    if (v->nslots == 0) return -1;
    return (int64_t)v->slots[slot_of(v, text, size)] - 1;
}

int64_t vocab_find_model(const Vocab *v, const char *text, size_t size)
{
    int64_t id = vocab_find(v, text, size);
    return id >= 0 && v->tokens[id].flags & TOKEN_MODEL ? id : -1;
}

void vocab_release(Vocab *v)
{
    free(v->tokens);
    free(v->slots);
    token_text_release(&v->texts);
    *v = (Vocab){0};
}
