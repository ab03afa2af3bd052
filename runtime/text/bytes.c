/*
 * bytes.c: buffers grow to twice their size.
 */
#include "bytes.h"

static bool grown(size_t n, size_t cap, size_t more, size_t *out)
{
    size_t need;
    if (__builtin_add_overflow(n, more, &need)) return false;
    *out = cap ? cap : 64;
    while (*out < need)
        if (__builtin_mul_overflow(*out, 2, out)) return false;
    return true;
}

TitanStatus text_reserve(TitanStory *s, TokenText *text, size_t more)
{
    size_t cap;
    if (!grown(text->n, text->cap, more, &cap)) return titan_no_memory(s);
    char *at = cap == text->cap ? text->at : realloc(text->at, cap);
    if (!at) return titan_no_memory(s);
    text->at = at;
    text->cap = cap;
    return TITAN_OK;
}

TitanStatus ids_reserve(TitanStory *s, TokenIds *ids, size_t more)
{
    size_t cap, bytes;
    if (!grown(ids->n, ids->cap, more, &cap) ||
        __builtin_mul_overflow(cap, sizeof *ids->at, &bytes))
        return titan_no_memory(s);
    uint32_t *at = cap == ids->cap ? ids->at : realloc(ids->at, bytes);
    if (!at) return titan_no_memory(s);
    ids->at = at;
    ids->cap = cap;
    return TITAN_OK;
}

void token_ids_release(TokenIds *ids)
{
    free(ids->at);
    *ids = (TokenIds){0};
}

void token_text_release(TokenText *text)
{
    free(text->at);
    *text = (TokenText){0};
}
