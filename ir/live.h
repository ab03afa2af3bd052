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
 * before every use of the other: live_together asks that.  What is used on
 * stream 0 alone is used in the order of the list.
 *
 * A stack is not needed as a whole while a loop walks through it.  Where the
 * last use of one stack and the first use of another are the same loop, each
 * turn leaves behind a row of the one and makes a row of the other, and the
 * two may share bytes as long as no row is made where one is still needed:
 *
 *      reversed   old   |##########|     turn c needs rows 0 to c of the old
 *                 new        |++++++|    stack and makes row c of the new one
 *
 * A stack that several loops fill one after the other, each some of its rows,
 * is born in pieces: until the loop of a piece begins, nothing is there.  A
 * loop that goes through its rows in another order, as one that sums up a turn
 * late does, has its piece as a whole from its begin.
 *
 * live_apart says how far apart the two have to begin.
 *
 * What an exchange of a product's result between devices gives is used from the
 * product on: rows that are made first may come while others are made.  What a
 * gather or a sum to parts is of is used with what is launched next on another
 * stream, too: what is copied and added for it may be so later than the next of
 * its own begins.  And what a gather is of stays until what is made of parts of
 * the gathered alone is: a device may read its own part from there
 * (live_stays).
 */
#ifndef TITAN_LIVE_H
#define TITAN_LIVE_H

/* A function in one place where it runs. */
typedef struct LivePlace {
    const struct LivePlace *around; /* NULL: an entry */
    uint32_t step;                  /* the loop there */
    uint32_t depth;
    StepOrder order; /* with several streams */
} LivePlace;

/* A launch or loop that uses a buffer, in one place where its function runs. */
typedef struct LiveUse {
    const LivePlace *place;
    uint32_t step;
    uint32_t birth; /* it has to do with the bytes of this one alone, counted
                       from 1; 0: of several, or of none */
} LiveUse;

/* The rows of a buffer that a loop walks through: turn c uses no bytes but
 * pitch * c + lo to pitch * c + hi. */
typedef struct LiveRows {
    const LivePlace *body; /* of the loop */
    VEC(uint32_t) steps;   /* of the body, that use the buffer */
    int64_t count, pitch, lo, hi;
    bool reverse;
    bool whole; /* no: all of them at once, in a turn that is all turns */
    int64_t first, last; /* moments of the body */
    int64_t begin, end;  /* of the loop */
} LiveRows;

/* The bytes that a loop walks through, all turns together. */
static inline int64_t rows_begin(const LiveRows *r)
{
    return r->lo;
}
static inline int64_t rows_end(const LiveRows *r)
{
    return r->hi + r->pitch * (r->count - 1);
}

/* Steps of one place, by their clocks (order.h): all of them begin behind the
 * places `begin` of the streams, and have ended when the places `end` have. */
typedef struct LiveSpan {
    const LivePlace *place; /* NULL: the steps are of several */
    uint32_t begin[MOST_STREAMS], end[MOST_STREAMS];
} LiveSpan;

typedef struct LiveBuffer {
    Fn *fn;
    FnRef ref;           /* of the function */
    Value value;         /* its OP_buffer */
    int64_t first, last; /* moments, both included; first > last: unused */
    int64_t bytes;
    Base base; /* frame; in a function that runs in lanes, lane; host */
    /* With several streams. */
    VEC(LiveUse) uses; /* in the order of the list */
    LiveSpan span;     /* of the uses */
    bool aside;        /* some use is on another stream than 0 */
    /* Loops that were the first to use these bytes of it, as long as nothing
     * else is; its last use, row by row (NULL: not so). */
    VEC(const LiveRows *) births;
    bool born; /* no further birth */
    const LiveRows *dies;
} LiveBuffer;

typedef struct Live {
    LiveBuffer *at; /* in the order of functions and instructions */
    uint32_t n;
    bool one_stream;
} Live;

/* The span of one step of a place. */
LiveSpan live_span(const LivePlace *place, uint32_t step);
/* The uses of a buffer as steps of the entry; place NULL: they are of several
 * places.  LOOP: the place of the loop of the entry that has them all, or NULL;
 * of buffers with one loop the spans do not say in which order they are. */
LiveSpan live_outer(const LiveBuffer *b, const LivePlace **loop);

/* Every buffer but results of entries, which lie in io or persistent. */
Live live_find(Module *m, Arena *a);

/* The steps of a kernel function by what they use, in their order: of value v,
 * a buffer or a parameter, at[first[v] .. first[v + 1]), with its views. */
typedef struct LiveUsers {
    const Module *m;
    const Fn *fn;
    uint32_t *root; /* by value: what it is a view of */
    uint32_t *first, *at;
} LiveUsers;

/* first NULL: nothing of the function is gathered over devices, and nobody's
 * users are known. */
LiveUsers live_users(const Module *m, const Fn *fn, Arena *a);

/* A gather over devices of what one launch in front of it makes, in a buffer
 * that nobody else uses, to a buffer that nobody else writes: the stream of
 * that launch.  What it is of stays as it is until the launches of the function
 * that read parts of the gathered have done so.  Less than 0: it is none. */
int64_t live_stays(const LiveUsers *u, const Inst *gather);

/* The buffers of the functions that are marked. */
Live live_of(const Live *l, const bool *fns, Arena *a);

/* Whether some order of execution has a use of one between uses of the other,
 * so that they cannot share bytes. */
bool live_together(const Live *l, const LiveBuffer *x, const LiveBuffer *y);

/* X lies below Y, and they live together: how many bytes after the begin of X
 * Y may begin, at the least.  Less than 0: in front of it. */
int64_t live_apart(const Live *l, const LiveBuffer *x, const LiveBuffer *y);

/* A moment of the list; in loops, of their first turns or of their last. */
typedef struct LiveMoment {
    int64_t at;
    bool late;
} LiveMoment;

/* The bytes of a buffer that hold something. */
int64_t live_bytes(const LiveBuffer *b, LiveMoment at);
/* The largest sum of bytes of a base that hold something at one moment; the
 * moment. */
int64_t live_most(const Live *l, Base base, LiveMoment *moment, Arena *a);

#endif
