/*
 * live.h: when each buffer of a kernel module holds something.
 *
 * Time is one line for the whole module: entries one after the other, each
 * launch one moment, the body of a loop in place of the loop.  A buffer lives
 * from its first use to its last; one of the function around a loop that the
 * loop uses lives as long as the loop.
 *
 * That line is one order of execution.  With several streams there are others,
 * and two buffers share bytes only if in all of them every use of one comes
 * before every use of the other: live_together asks that.
 */
#ifndef TITAN_LIVE_H
#define TITAN_LIVE_H

/* A launch or loop that uses a buffer, in one place where its function runs. */
typedef struct LiveUse {
    const struct LivePlace *place;
    uint32_t step;
} LiveUse;

typedef struct LiveBuffer {
    Fn *fn;
    Value value;         /* its OP_buffer */
    int64_t first, last; /* moments, both included; first > last: unused */
    int64_t bytes;
    bool lane;         /* in a function that runs in lanes */
    VEC(LiveUse) uses; /* in the order of the list */
} LiveBuffer;

typedef struct Live {
    LiveBuffer *at; /* in the order of functions and instructions */
    uint32_t n;
    bool one_stream;
} Live;

/* Every buffer but results of entries, which lie in io or persistent. */
Live live_find(Module *m, Arena *a);

/* Whether some order of execution has a use of one between uses of the other,
 * so that they cannot share bytes. */
bool live_together(const Live *l, const LiveBuffer *x, const LiveBuffer *y);

/* The largest sum of bytes that live at one moment of the list, of lanes or of
 * the frame; the moment. */
int64_t live_most(const Live *l, bool lane, int64_t *moment, Arena *a);

#endif
