/*
 * microbatch.h: what the files of the pass share: what each value is to the
 * batch (classify.c), functions on the rows of one turn (body.c), and the
 * step made of them (microbatch.c).
 */
#ifndef TITAN_MICROBATCH_H
#define TITAN_MICROBATCH_H

#include "../pass.h"
#include "../repeat.h"

typedef enum ClassKind {
    CLASS_same, /* does not depend on the rows */
    CLASS_row,  /* has a row axis; row i depends on row i alone */
    CLASS_part, /* a sum (or max, min, product) over the rows */
    CLASS_late  /* a function of such sums, or mixes rows */
} ClassKind;

typedef enum Joint { JOINT_sum, JOINT_max, JOINT_min, JOINT_prod } Joint;

/* Where rows are mixed, so that no turn can compute the value. */
typedef struct Fault {
    Loc loc;
    const char *why;
    Loc sum; /* the sum over rows that is read there, or 0 */
} Fault;

typedef struct Class {
    ClassKind kind;
    Joint joint;        /* part */
    Axis axis;          /* row: the axis whose outer part counts batch rows */
    bool zero;          /* same: the constant 0 */
    const Fault *fault; /* late: NULL when it is only late */
    Loc sum;            /* part, late: where rows were first put together */
} Class;

typedef struct Micro {
    Module *m;
    Axis batch;
    int64_t size;  /* of the batch axis in the inputs */
    int64_t parts; /* how many turns */
    Axis turns;    /* the axis that counts them */
    VEC(struct Clone) clones;
} Micro;

/* The classes of one function.  A cell is a value, or a field of a tuple. */
typedef struct Classes {
    const Fn *fn;
    uint32_t *first; /* cells of v: at[first[v] .. first[v + 1]) */
    Class *at;
    bool top;    /* the step itself, not a body */
    bool *early; /* top: reads inputs and scalars alone */
    Uses uses;   /* top */
} Classes;

/* params: one class per parameter, of a body; NULL: the step itself. */
Classes classify(Micro *mi, const Fn *fn, const Class *params);
/* The class in which an instruction reads an operand: what has the batch axis
 * is read row by row. */
Class operand_class(const Micro *mi, const Classes *c, const Inst *in,
                    uint32_t i);
/* The row axis along which an instruction other than a call works. */
bool inst_row_axis(const Micro *mi, const Classes *c, Value v, Axis *out);
/* The classes that the parameters of a callee have in the end. */
Class *callee_params(Micro *mi, const Classes *c, const Inst *in);

/* The type of a value of that class in one turn. */
Type turn_type(const Micro *mi, Type t, Class k);

/* A function on the rows of one turn, one for each way in which it is called.
 * `turn`: it has one more parameter, the turn, at place `at`. */
typedef struct Clone {
    const Fn *old;
    const Class *params;
    FnRef fn;
    bool turn;
    uint32_t at;
} Clone;

typedef struct Body {
    Micro *mi;
    const Classes *c;
    Builder b;
    Value turn; /* i32, or NO_VALUE */
    /* The operand i of an instruction, as the turn has it. */
    Value (*operand)(struct Body *body, const Inst *in, uint32_t i);
    Value *map; /* old value -> new value */
    void *user;
} Body;

/* Writes one instruction into the body. */
Value body_write(Body *body, Value v);

/* Makes the first repeat of the step that works on rows and makes something
 * late two repeats (fission.c).  False: there is none, or it cannot be. */
bool part_repeat(Micro *mi, uint32_t at);

#endif
