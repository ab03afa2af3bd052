/*
 * exam.h: a list that is run command by command and looked at: where values
 * stop being finite, and what a fault on purpose does.
 */
#ifndef TITAN_EXAM_H
#define TITAN_EXAM_H

#include "device.h"

/* Runs E, of the first stage, on all ranks. */
TitanStatus examine(const TitanImage *im, TitanDevice *d, const TitanEntry *e,
                    const Exam *x, Finding *out);
/* Runs E on the device of one rank. */
TitanStatus exam_run(const TitanImage *im, TitanDevice *d, const TitanEntry *e,
                     const Exam *x, Finding *out);
/* Adds what a further rank has seen.  The first of all is one whose own
 * command made it: of one stage, whose ranks run one list, the earliest
 * command; of several stages the earliest in time, for what is sent was looked
 * at before. */
void finding_add(const TitanImage *im, const Exam *x, Finding *all,
                 const Finding *one);

/* Elements without gaps. */
typedef struct Dense {
    TitanBase base;
    uint64_t offset;
    uint32_t dtype;
    unsigned may;
    int64_t n;
} Dense;
enum { EXAM_PIECE = 8 << 20 };
struct Census;
/* Adds what of them is not finite, fetched by way of PIECE, of EXAM_PIECE
 * bytes, where the host does not reach them. */
TitanStatus exam_count(TitanDevice *d, const Dense *x, char *piece,
                       struct Census *c);

#endif
