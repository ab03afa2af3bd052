/*
 * lanes.h: the arithmetic of lanes.def as functions of 32 lanes, compiled once
 * for any processor and once for those with AVX2 and FMA.
 */
#ifndef TITAN_TESTS_PTX_LANES_H
#define TITAN_TESTS_PTX_LANES_H

#include "tests/ptx/machine.h"

enum { PTX_SOURCES = 4 };

/* What an instruction may have beside the words of its row. */
enum { FTZ = 1, SAT = 2, RND = 4, ROUND = 8, RN = 16, NEAR = 32, JOIN = 64 };

typedef struct LaneRow {
    uint8_t op, type, from, must[2]; /* PM_COUNT: none */
    uint8_t may, n;
} LaneRow;

/* D's lanes from those of the sources; D is none of them. */
typedef void LaneFn(uint64_t *restrict d, const uint64_t *const *s);

enum {
    LANE_ROWS = 0
#define ROW(op, type, from, first, second, may, n, out, in, value) +1
#define PAIR(op, type, first, may, n, as, value)                   +1
#include "tests/ptx/lanes.def"
#undef ROW
#undef PAIR
};

extern LaneFn *const lanes_plain[LANE_ROWS];
#ifdef PTX_AVX2
extern LaneFn *const lanes_avx2[LANE_ROWS];
#endif

#endif
