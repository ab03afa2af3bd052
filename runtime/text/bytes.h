/*
 * bytes.h: the growing buffers of the tokenizer.
 */
#ifndef TITAN_TEXT_BYTES_H
#define TITAN_TEXT_BYTES_H

#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"

/* Room for MORE behind what is there. */
TitanStatus text_reserve(TitanStory *s, TokenText *text, size_t more);
TitanStatus ids_reserve(TitanStory *s, TokenIds *ids, size_t more);

static inline TitanStatus text_append(TitanStory *s, TokenText *text,
                                      const char *from, size_t n)
{
    if (text->cap - text->n < n) TRY(text_reserve(s, text, n));
    if (n) memcpy(text->at + text->n, from, n);
    text->n += n;
    return TITAN_OK;
}

static inline TitanStatus ids_append(TitanStory *s, TokenIds *ids,
                                     const uint32_t *from, size_t n)
{
    if (ids->cap - ids->n < n) TRY(ids_reserve(s, ids, n));
    if (n) memcpy(ids->at + ids->n, from, n * sizeof *from);
    ids->n += n;
    return TITAN_OK;
}

#endif
