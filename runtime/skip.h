/*
 * skip.h: steps that were not applied.
 */
#ifndef TITAN_SKIP_H
#define TITAN_SKIP_H

#include "titan.h"

enum { SKIP_REASON = 160 };

typedef struct Skips {
    int64_t most;   /* in a row, then the run stops; 0: it never does */
    int64_t in_row; /* up to the last step */
    int64_t total;
    int64_t first; /* of those in a row */
} Skips;

/* What is known of a skipped step. */
typedef struct Skip {
    int64_t step;
    double loss, grad_norm, lr;
    const char *rule; /* text of a `skip` of the program that held, or NULL */
} Skip;

/* "loss is nan", or the rule's text: what kept the step from being applied.
 * Returns TEXT. */
const char *skip_reason(const Skip *k, char *text, size_t size);
/* Says so on stderr; NUMERICS where there were too many in a row. */
TitanStatus skips_add(TitanStory *s, Skips *all, const Skip *k);
/* A step was applied. */
void skips_end(Skips *all);

#endif
