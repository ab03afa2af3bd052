/*
 * image.h: the checks of an image's tables, file by file.
 *
 * Each trusts what was checked before it, in the order in which they stand
 * here, and nothing else.
 */
#ifndef TITAN_IMAGE_H
#define TITAN_IMAGE_H

#include "titan.h"

#include <inttypes.h>

typedef struct ImageCheck {
    TitanStory *story;
    TitanImage *im;
    const TitanStage *stage; /* whose entries are looked at */
    uint64_t commands; /* checked so far: a program may run in many places */
    uint32_t parallel; /* parallel loops around */
} ImageCheck;

#define BAD(c, ...) \
    titan_fail((c)->story, TITAN_BAD_DATA, "image: " __VA_ARGS__)

static inline bool range_ok(TitanRange r, uint32_t n)
{
    return r.first <= n && r.n <= n - r.first;
}

static inline TitanStatus image_check_string(ImageCheck *c, uint32_t offset)
{
    if (offset >= c->im->header->strings_size)
        return BAD(c, "string %" PRIu32 " is outside the strings", offset);
    return TITAN_OK;
}

/* Stages: their memory, and which entries are whose. */
TitanStatus image_check_stages(ImageCheck *c);
/* Axes, slots with their places in checkpoints, ports. */
TitanStatus image_check_tensors(ImageCheck *c);
/* Rows that commands name: matrix products and kernels. */
TitanStatus image_check_work(ImageCheck *c);
/* A program, as it runs inside loops of so many turns, outermost first. */
TitanStatus image_check_program(ImageCheck *c, uint32_t id,
                                const int64_t *counts, uint32_t depth);
/* One operand there. */
TitanStatus image_check_operand(ImageCheck *c, uint32_t i,
                                const int64_t *counts, uint32_t depth);
/* A counter has no place in memory, whatever its base says. */
static inline bool operand_has(const TitanOperand *o, uint64_t bytes)
{
    return o->kind == TITAN_OPERAND_memory && o->bytes >= bytes;
}
/* Facts, and the entries with their lists. */
TitanStatus image_check_entries(ImageCheck *c);

#endif
