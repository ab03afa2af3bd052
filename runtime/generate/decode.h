/*
 * decode.h: the entries of the group `generate`, run token by token.
 *
 *     generate.init                       begins a session
 *     generate.prompt(tokens, pos)        i32 [row, chunk] both: reads tokens
 *         record context                  so many positions are remembered
 *     generate.step(token, pos, ...)      i32 [row]: reads one token a row
 *         output next                     i32 [row]: the one that follows it
 *
 * A row is a text.  What stands at position -1 is not remembered.  `step` may
 * have inputs temperature, top_k, top_p (f32, i32, f32 [row]) and draw random
 * numbers from `seed` and `step`.
 */
#ifndef TITAN_DECODE_H
#define TITAN_DECODE_H

#include "../device.h"

/* How tokens are chosen, and how many. */
typedef struct Choice {
    double temperature, top_p;
    int64_t top_k;
    int64_t seed;
    int64_t most; /* tokens, at most */
    int64_t end;  /* the token that ends a text; -1: none does */
} Choice;

/* Why a text ended. */
typedef enum Ending { END_none, END_token, END_most, END_context } Ending;

typedef struct Passage {
    const uint32_t *prompt; /* not empty */
    size_t n;
    Ending ending;
    int64_t made; /* tokens, without the one that ends the text */
} Passage;

/* Who hears the tokens, each as it is made. */
typedef struct Listener {
    TitanStatus (*token)(struct Listener *l, size_t text, uint32_t id);
} Listener;

typedef struct Decoder {
    TitanStory *story;
    const TitanImage *im;
    TitanDevice *device;
    const TitanEntry *init, *prompt, *step;
    const TitanPort *tokens, *places, *token, *place, *next;
    int64_t rows, chunk, context;
    uint32_t vocab;                      /* tokens are below it; 0: any */
    int32_t *ids, *at;                   /* [row, chunk] */
    double prompt_seconds, step_seconds; /* of all texts so far */
    int64_t prompt_tokens, step_tokens;
} Decoder;

/* Weights are in their place.  MISMATCH: the image does not generate. */
TitanStatus decoder_open(Decoder *d, TitanStory *s, const TitanImage *im,
                         TitanDevice *device);
void decoder_close(Decoder *d);

/* Goes on with the texts, as many at a time as the image has rows. */
TitanStatus decoder_run(Decoder *d, Passage *texts, size_t n, const Choice *c,
                        Listener *l);

#endif
