/*
 * autodiff.h: what the files of the pass autodiff share.
 *
 *     flow.c     which values the derivative goes through
 *     joint.c    forward and backward in one function: the reverse sweep
 *     cut.c      which forward values the backward keeps, which it makes again
 *     split.c    a joint function into a forward with a record and a backward
 *     join.c     a loss and its backward in one region
 *     scalar.c   partial derivatives of scalar expressions
 *     parts.c    cotangents of parts of a value
 *     map.c contract.c move.c index.c call.c repeat.c
 *                the rules of the ops, grad_<op>
 *     autodiff.c the pass
 *
 * Words: the *cotangent* of a value is the derivative of the loss with respect
 * to it; *varied*, it depends on what the derivative is taken of; *useful*, the
 * loss depends on it; a *record* is a forward value that the backward reads.
 */
#ifndef TITAN_AUTODIFF_H
#define TITAN_AUTODIFF_H

#include "../mincut.h"
#include "../pass.h"
#include "../repeat.h"

typedef struct Derived Derived;

typedef struct Autodiff {
    Module *m;
    PassCtx *cx;
    Arena *arena;           /* lives as long as the pass */
    VEC(Derived *) derived; /* of callees, each made once */
} Autodiff;

/* ------------------------------------------------------------ flow.c -- */

/* What a call or repeat takes and gives in the backward: flags of the
 * parameters and of the results of its function. */
typedef struct Masks {
    bool *in, *out;
} Masks;

typedef struct Flow {
    Module *m;
    Arena *arena;
    const Fn *fn;
    uint32_t n;            /* the first n instructions are looked at */
    bool *varied, *useful; /* by value; of a tuple: any field */
    bool **fields;         /* of a tuple: the varied fields */
    Masks *masks;          /* of a call or repeat */
} Flow;

/* The caller sets the seeds between. */
Flow flow_new(Module *m, Arena *arena, const Fn *fn, uint32_t n);
void flow_forward(Flow *f);  /* varied, from seeds in varied */
void flow_backward(Flow *f); /* useful and masks, from seeds in useful */

/* ----------------------------------------------------------- joint.c -- */

/*
 *     params of `of` | cotangents of results | forward | backward
 *     0              ncots_at                nforward_at  nbackward_at
 */
typedef struct Joint {
    const Fn *of;
    Fn *fn;
    uint32_t cots_at, forward_at, backward_at;
    Value *results;      /* of `of`, in fn */
    uint32_t *cot_param; /* by result of `of`: parameter of fn; 0: none */
    Value *cots;         /* by parameter of `of`, or by wanted value */
    Value *map;          /* values of `of` in fn */
    bool plain;          /* the forward hands out no record of a callee */
} Joint;

/* The joint function of a callee under masks. */
Joint joint_of_fn(Autodiff *ad, const Fn *of, const Masks *masks);
/* Of the instructions of a function before its op `grad` at V. */
Joint joint_of_grad(Autodiff *ad, const Fn *of, Value v);

/* Cotangents of slices and picks of one value that do not overlap: together
 * they are one concat, not a sum of padded ones (parts.c). */
typedef struct Part {
    int64_t start, size;
    Value cot;
} Part;
typedef struct Parts {
    Axis axis;
    bool picks;      /* all are of one index and lack the axis */
    VEC(Part) parts; /* by start */
} Parts;

/* The state of a reverse sweep, which the rules see. */
typedef struct Grad {
    Autodiff *ad;
    Module *m;
    Builder b;
    const Fn *fn; /* what is differentiated */
    Value *map;   /* its values in the joint function */
    Flow flow;
    Value *cot;         /* by value of fn; NO_VALUE: none so far */
    Value **cot_fields; /* of tuples: by field, or NULL */
    Derived **derived;  /* of calls and repeats */
    Value **records;    /* of those, by Derived.saved */
    Parts **parts;      /* cotangents of parts of a value, not yet joined */
} Grad;

/* The dtype in which cotangents of a dtype are held: f64 or f32. */
DType cot_dtype(DType d);
Type cot_type(Module *m, Type t);
Str cot_name(Module *m, Str name); /* "d_x" */
Value emit_zeros(Builder *b, Type t);

/* Whether operand i of instruction V is to get a cotangent. */
bool grad_wants(const Grad *g, Value v, uint32_t i);
/* Operand i in the joint function; `wide` in the dtype of its cotangent. */
Value grad_operand(const Grad *g, Value v, uint32_t i);
Value grad_wide(Grad *g, Value v, uint32_t i);
/* Adds to the cotangent of operand i. */
void grad_give(Grad *g, Value v, uint32_t i, Value contribution);
/* Adds to the cotangent of indices of operand 0. */
void grad_give_part(Grad *g, Value v, Axis axis, Part part, bool pick);
/* All parts of a value, joined. */
Value emit_parts(Grad *g, Value x);
/* A sum over the axes of X that T has not; X itself when there are none. */
Value grad_sum_to(Grad *g, Value x, Type t);
/* X along the axes of T that it has not. */
Value grad_broadcast(Grad *g, Value x, Type t);
/* The cotangent of field i of a tuple, zeros when it got none. */
Value grad_field(Grad *g, Value tuple, uint32_t i);
Type tuple_field(const Module *m, Type t, uint32_t i);
uint32_t tuple_fields(const Module *m, Type t);

typedef void GradRule(Grad *g, Value v, Value cot);
#define OP(name, least, most, flags, views, req, opt) GradRule grad_##name;
#include "../../ir/ops.def"
#undef OP

/* -------------------------------------------------------------- cut.c -- */

/* How the forward values that the backward needs are come by. */
typedef enum Kept { KEPT_not, KEPT_saved, KEPT_remade } Kept;

typedef struct Cut {
    bool *needed;  /* by value of the joint function: the backward's own */
    uint8_t *kept; /* Kept, by forward value and parameter */
} Cut;

typedef struct CutRule {
    const bool *paid; /* by parameter of `of`: saving it costs bytes */
    bool region;      /* anything but small statistics is made again */
} CutRule;
Cut cut_joint(Autodiff *ad, const Joint *j, const Value *roots, uint32_t nroots,
              const CutRule *rule);

/* ------------------------------------------------------------ split.c -- */

/* A callee's derivative. */
struct Derived {
    const Fn *of;
    bool is_repeat;
    Repeat repeat;
    Masks masks;

    FnRef forward; /* results of `of`, then records */
    uint32_t nrecords;
    uint32_t ran; /* a repeat with `while`: the result "this turn ran" */
    FnRef backward;
    /* What the backward takes, in this order (a repeat: first the cotangents
     * that it carries and the sums; cotangents of stacked results; last the
     * turn): parameters of `of`, results of the forward, cotangents. */
    uint32_t nparams, nsaved;
    uint32_t *params, *saved;
    Value *values;    /* of the joint function, by index of saved */
    Axis *renamed;    /* by index of saved: the name that stood in for the
                         axis of the repeat, */
    bool *is_renamed; /* if one had to */
    /* By parameter of `of`: the result of the backward that is its
     * cotangent, or NO_RESULT. */
    uint32_t *cot_at;
};
#define NO_RESULT UINT32_MAX

/* Copies an instruction (not an argument) of FROM, operands by MAP. */
Value copy_inst(Builder *b, const Fn *from, Value v, const Value *map,
                Phase phase);
/* The derivative of a function, or of a body under a repeat (else NULL). */
Derived *derive(Autodiff *ad, FnRef fn, const Repeat *repeat,
                const Masks *masks);
/* The backward part of a joint function, into B: `map` holds the saved values
 * and receives all others. */
void copy_backward(Builder *b, const Joint *j, const Cut *cut, Value *map);

/* A backward under construction: parameters are taken in order, then the body
 * is copied, then the cotangents are given. */
typedef struct Back {
    Builder b;
    Derived *d;
    const Joint *j;
    const Cut *cut;
    Value *map; /* by value of the joint function */
} Back;
void take_param(Back *k, Value joint, Port port);
void take_saved(Back *k);
void take_cots(Back *k, uint32_t first, uint32_t end); /* of these results */
void copy_body(Back *k);
void give_cot(Back *k, Value v, uint32_t param);
void call_backward(Back *k);            /* call.c */
void repeat_backward(Back *k);          /* repeat.c */

/* Emits the call or repeat V with its forward in place of its function, and
 * what it records; the value that stands for V (call.c). */
Value call_forward(Grad *g, Value v, const Derived *d);

/* ------------------------------------------------------------- join.c -- */

/* FN with each loss region and its backward in one call, where that can be. */
Fn *join_losses(Autodiff *ad, Fn *fn);

/* ------------------------------------------------------------ scalar.c -- */

/* The derivative of BODY times the expression SEED, for each operand with
 * wanted[i]: out[i], {0} where it is zero.  `result` stands for the value of
 * the whole body where a partial derivative is written with it ({0}: none). */
void expr_cotangents(Module *m, Arena *a, Expr body, Expr seed, Expr result,
                     const bool *wanted, Expr *out, uint32_t n);
/* Whether the derivative goes through BODY to operand i. */
bool expr_depends(Module *m, Arena *a, Expr body, uint32_t i);

#endif
