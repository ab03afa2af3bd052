/*
 * diagnose.h: where a step stops being finite.
 */
#ifndef TITAN_DIAGNOSE_H
#define TITAN_DIAGNOSE_H

#include <stdio.h>

#include "exam.h"

/* A fault on purpose: the RESULT-th float tensor that step STEP writes, from
 * 1, gets VALUE in its middle, on one rank. */
typedef struct Inject {
    int64_t step, result; /* step 0: none */
    double value;
    uint32_t rank;
} Inject;

/* STEP:RESULT, with :nan, :inf or :-inf, and @RANK.  False: TEXT is something
 * else. */
bool inject_parse(const char *text, Inject *out);

/* What diagnose looks at: a step whose inputs are in the io base. */
typedef struct Suspect {
    const TitanImage *im;
    TitanDevice *device;
    int64_t step;
    const Inject *inject; /* of step 0: none */
} Suspect;

/* Runs the entry as it is, with the fault, which is said on OUT. */
TitanStatus diagnose_inject(const Suspect *s, const TitanEntry *e, FILE *out);
/* Runs the list of E up to its update, looks at each float tensor that a rank
 * writes, and says on OUT which is the first that is not finite. */
TitanStatus diagnose_run(const Suspect *s, const TitanEntry *e, FILE *out);

#endif
