/*
 * window.h: some ops and ports that choose again, all at once, while all else
 * stays as it is.
 *
 * Where the mesh axes that change are in a value is a *form*, a number.  A
 * value that parts of the window make or read has a list of its readers; those
 * that are in no part stay as they are.
 */
#ifndef TITAN_PASSES_SHARD_WINDOW_H
#define TITAN_PASSES_SHARD_WINDOW_H

#include "solve.h"

enum {
    MOST_PARTS = 24, /* of a window */
    MOST_MESH = 2,   /* axes that change */
    NO_PART = UINT32_MAX
};

typedef struct Form {
    Where at[MOST_MESH];
    unsigned pending; /* two bits for each mesh axis */
    unsigned parts;   /* not whole: a bit for each */
} Form;

/* One use of a value. */
typedef struct Reader {
    uint32_t arg;
    uint32_t part, form; /* which of the part's forms it is; of NO_PART: this */
    uint32_t kind;       /* those of one kind and form bring it once */
    Phase phase;         /* in one phase they share first steps */
} Reader;

typedef struct Seen {
    uint32_t raw;
    uint32_t maker;    /* a part, or NO_PART */
    uint32_t form;     /* as it is made now */
    uint32_t first, n; /* its readers */
    uint32_t last;     /* part that makes or reads it */
} Seen;

/* What a part may do: the form of its result, then that of each operand. */
typedef struct Choice {
    const uint32_t *form;
    double kept, sent, missed;
    double work;           /* as it is over the mesh axes that stay */
    unsigned split, ruled; /* each device does a part; it is ruled so */
    bool other;            /* than now */
} Choice;

/* They depend on which operands are pending as they are made. */
typedef struct Choices {
    uint64_t pending;
    VEC(Choice) at;
} Choices;

/* An op, or a port, to which several may hand something over. */
typedef struct Part {
    uint32_t item, node;
    uint32_t nread, *reads; /* values, */
    uint32_t *reader;       /* and which of their readers it is; */
    uint32_t *formed;       /* the forms in which they are made */
    uint32_t nmade, *made;  /* values */
    Choice now;
    VEC(Choices) choices;
} Part;

typedef struct Brought {
    uint32_t arg, from, to, turn;
    double cost;
} Brought;

/* Two readers of a value, and the forms in which they need it. */
typedef struct Pair {
    uint32_t arg[2], to[2], from, turn;
    double cost;
} Pair;

typedef struct Window {
    Solve *x;
    MeshAxis mesh[MOST_MESH];
    uint32_t nmesh;
    uint32_t n, most; /* parts */
    Part parts[MOST_PARTS];
    VEC(Form) forms;
    VEC(Seen) values;
    VEC(Reader) readers;
    Brought *brought; /* what has been asked for */
    Pair *pairs;
    uint32_t turn;
    Where *from, *to, *other;
} Window;

/* To bring operand ARG from one form to another. */
double form_cost(Window *w, uint32_t arg, uint32_t from, uint32_t to);
/* What two operands that need it in two forms pay for the same first steps. */
double form_share(Window *w, const uint32_t arg[2], uint32_t from,
                  const uint32_t to[2]);
/* The ways of a part when its operands are made as `formed` says. */
const Choices *choices_of(Window *w, Part *p);

/* search.c: the ways of all parts that cost least together, if they cost and
 * move less than what is; else false. */
bool window_search(Window *w, const Choice **best);

#endif
