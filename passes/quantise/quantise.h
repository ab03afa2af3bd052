/*
 * quantise.h: the parts of quantise.
 *
 *     scale    scales and their inverses, of the largest element
 *     axes     which axes are summed, and axes in parts
 *     blocks   blocks that share a scale, multiplied out in bf16
 *     native   and in products that take the scales
 *     chosen   products with matrices that rows choose
 */
#ifndef TITAN_QUANTISE_H
#define TITAN_QUANTISE_H

#include "../remat/remat.h"

enum { QUANT_AXES = 32, QUANT_PARTS = 3 };

typedef enum Method {
    METHOD_none,
    METHOD_tensor,
    METHOD_row,
    METHOD_block
} Method;

typedef enum Product {
    PRODUCT_output,
    PRODUCT_input, /* its gradient */
    PRODUCT_weight
} Product;

/* Of the power of two that a block's largest element is beside the largest
 * number of a format: down, to the nearest and `ceil` are the exponent's, so
 * that some largest elements saturate with the first two; none that is rounded
 * up does. */
typedef enum Rounding {
    ROUND_down,
    ROUND_even, /* the largest is first rounded as numbers of the format are */
    ROUND_ceil, /* the next power of two, if the largest is none */
    ROUND_up
} Rounding;

/* How an operand is quantised. */
typedef struct Way {
    Method method;
    DType format;
    bool power;     /* scales are powers of two */
    bool quotients; /* scale and inverse are, of amax and the format's largest
                       number, each rounded by itself */
    double least;   /* that amax is taken for */
    bool mx;        /* the inverse is the power, of amax's exponent */
    Rounding to;    /* of that */
    int64_t block;  /* how many share a scale */
    bool square;    /* and along the other side of a weight too */
    bool native;    /* the product takes the scales, or is refused */
} Way;

/* Some axes of a value as one, in parts, outermost first; the way back. */
typedef struct Cut {
    Axis from[QUANT_AXES];
    TypeAxis was[QUANT_AXES];
    uint32_t n;
    Axis whole, part[QUANT_PARTS];
    uint32_t nparts;
    Axis again; /* another name for the last part */
} Cut;

static inline Axis cut_within(const Cut *c)
{
    return c->part[c->nparts - 1];
}

/* A cut of all that has these axes, in what is summed or beside it. */
typedef struct Shared {
    bool side;
    Cut cut;
} Shared;

/* What a value became, by blocks along some axes. */
typedef struct Blocked {
    Value x, y;
    Way way;
    Axis sum[QUANT_AXES];
    uint32_t nsum;
} Blocked;

/* Products of the target that take the scales of blocks. */
typedef enum Native {
    NATIVE_none,
    NATIVE_blocks, /* of 128, and rows, f32: the library on Hopper */
    NATIVE_tiles   /* of 32, powers of two: Blackwell's tensor cores */
} Native;

typedef struct Quantise {
    Module *m;
    const PassCtx *cx;
    Rewrite rw;
    const Inst *in;        /* the contraction */
    const Inst *scatter;   /* what adds up its blocks; NULL: nothing does */
    Axis each[QUANT_AXES]; /* along which an operand has a matrix each */
    uint32_t neach;
    DType wide; /* which has its narrow numbers times their scales */
    Native native;
    bool kernels;         /* of products of blocks of rows, in eight bits too */
    VEC(Blocked) blocked; /* of this function */
    VEC(Shared) shared;
    Axis sum[QUANT_AXES], inner[QUANT_AXES];
    uint32_t nsum;
    Map names; /* of axes: what they are called innermost */
    uint32_t made;
} Quantise;

/* scale.c */
Value quant_amax(Quantise *q, Value x, const Axis *axes, uint32_t n);
/* What x is multiplied by, and what its product is. */
void quant_scales(Quantise *q, const Way *way, Value amax, Value *scale,
                  Value *inverse);
Value quant_narrow(Quantise *q, Value x, Value scale, DType format);

/* axes.c */
Type quant_type(const Quantise *q, Value x);
uint32_t quant_axes(const Quantise *q, Type of, Axis *out);
/* Those of a type, in its order, that are summed, or that are not. */
uint32_t quant_axes_where(const Quantise *q, Type of, bool summed, Axis *out);
/* Whether an axis comes behind all of some, and is none of them. */
bool quant_is_after(Axis a, const Axis *some, uint32_t n);
int64_t quant_elements(const Quantise *q, Type t, const Axis *axes, uint32_t n);
/* What a product gives is rounded to. */
DType quant_result(const Quantise *q, Value x, Product product);
/* Those that are not summed, of which an operand has no matrix each. */
uint32_t quant_axes_beside(const Quantise *q, Type of, Axis *out);
/* INNER: the sizes of all parts but the first. */
Cut quant_cut_new(Quantise *q, Type t, const Axis *axes, uint32_t n,
                  const int64_t *inner, uint32_t ninner);
Value quant_cut(Quantise *q, Value x, const Cut *c);
Value quant_join(Quantise *q, Value x, const Cut *c);

/* blocks.c */
/* The value that narrow numbers and their scales stand for. */
Value quant_block_operand(Quantise *q, Value x, const Way *way);
Value quant_blocked(Quantise *q, const Value *x, const Way *way);

/* quantise.c: names for what is summed that come last. */
void quant_name_inner(Quantise *q);
/* The product of narrow operands along those. */
Value quant_product(Quantise *q, const Value *y, const Way *way,
                    Product product, DType to);

/* chosen.c */
bool quant_is_chosen(const Quantise *q);
/* Names the sides of its operands that are cut, where kernels take scales. */
void quant_name_chosen(Quantise *q, const Way *way);
Value quant_chosen(Quantise *q, const Value *x, const Way *way,
                   Product product);
/* V, added up as the contraction was. */
Value quant_scattered(Quantise *q, Value v);

/* native.c: of operands of types T. */
bool quant_is_native(const Quantise *q, const Type *t, const Way *way,
                     Method method);
/* Narrow numbers and their scales as one operand, which products make. */
Value quant_both(Quantise *q, Value small, Value inverse);
/* Narrow numbers that blocks scale, and the scales, each by itself. */
void quant_native_parts(Quantise *q, Value x, const Way *way, Value *small,
                        Value *inverse);
/* Of an operand of that type, its sums as they are cut. */
Cut quant_native_sum(Quantise *q, Type t, const Way *way);
/* The sides that are cut, whole again. */
Value quant_native_join(Quantise *q, Value v, const Type *t, const Way *way);
/* Names the sides that are cut; see pass_quantise. */
void quant_name_sides(Quantise *q, const Type *t, const Way *way);
Value quant_native(Quantise *q, const Value *x, const Type *t, const Way *way,
                   Product product);

#endif
