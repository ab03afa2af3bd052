/*
 * live.h: when each buffer of a kernel module holds something.
 *
 * Time is one line for the whole module: entries one after the other, each
 * launch one moment, the body of a loop in place of the loop.  A buffer lives
 * from its first use to its last; one of the function around a loop that the
 * loop uses lives as long as the loop.
 */
#ifndef TITAN_LIVE_H
#define TITAN_LIVE_H

typedef struct LiveBuffer {
    Fn *fn;
    Value value;         /* its OP_buffer */
    int64_t first, last; /* moments, both included; first > last: unused */
    int64_t bytes;
    bool lane; /* in a function that runs in lanes */
} LiveBuffer;

typedef struct Live {
    LiveBuffer *at; /* in the order of functions and instructions */
    uint32_t n;
} Live;

/* Every buffer but results of entries, which lie in io or persistent. */
Live live_find(Module *m, Arena *a);

/* The largest sum of bytes that live at one moment, of lanes or of the frame;
 * the moment. */
int64_t live_most(const Live *l, bool lane, int64_t *moment, Arena *a);

#endif
