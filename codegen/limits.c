/*
 * limits.c: what is known of a number before a kernel runs.
 *
 * Bounds of a value by those of its operands, unless it is NaN: a root is not
 * negative, and a small number added to it keeps the sum from zero.  Each
 * operation may round, so its bounds are taken a little further out; what comes
 * near the least normal number counts as zero.  Loads, and what is not said
 * here, may be anything.
 */
#include <math.h>

#include "kir.h"

enum { DEPTH = 8 };

static Limits of_node(const Kir *k, Node n, int depth);

/* Further out by the rounding of the dtype. */
static Limits rounded(DType d, double lo, double hi)
{
    double unit = dtype_unit(d) * 2, least = 0x1p-120;
    if (isnan(lo) || isnan(hi)) return limits_none();
    lo -= fabs(lo) * unit;
    hi += fabs(hi) * unit;
    if (fabs(lo) < least) lo = lo < 0 ? -least : 0;
    if (fabs(hi) < least) hi = hi > 0 ? least : 0;
    return (Limits){lo, hi};
}

static Limits product(DType d, Limits x, Limits y)
{
    double at[] = {x.lo * y.lo, x.lo * y.hi, x.hi * y.lo, x.hi * y.hi};
    double lo = at[0], hi = at[0];
    for (int i = 0; i < 4; i++) {
        if (isnan(at[i])) return limits_none();
        lo = fmin(lo, at[i]);
        hi = fmax(hi, at[i]);
    }
    return rounded(d, lo, hi);
}

static Limits magnitude(Limits x)
{
    if (x.lo >= 0) return x;
    if (x.hi <= 0) return (Limits){-x.hi, -x.lo};
    return (Limits){0, fmax(-x.lo, x.hi)};
}

static Limits either(Limits x, Limits y)
{
    return (Limits){fmin(x.lo, y.lo), fmax(x.hi, y.hi)};
}

static Limits of_scalar(const Kir *k, const NodeInfo *in, int depth)
{
    DType d = (DType)in->dtype;
    Limits a = of_node(k, in->a, depth), b = of_node(k, in->b, depth);
    switch ((ScalarOp)in->sc) {
    case SC_add:
        return rounded(d, a.lo + b.lo, a.hi + b.hi);
    case SC_sub:
        return rounded(d, a.lo - b.hi, a.hi - b.lo);
    case SC_mul:
        if (in->a.id == in->b.id) a = b = magnitude(a);
        return product(d, a, b);
    case SC_neg:
        return (Limits){-a.hi, -a.lo};
    case SC_abs:
        return magnitude(a);
    case SC_sqrt:
        return rounded(d, sqrt(fmax(a.lo, 0)), sqrt(fmax(a.hi, 0)));
    case SC_exp:
        return (Limits){0, INFINITY};
    case SC_sigmoid:
        return (Limits){0, 1};
    case SC_tanh:
        return (Limits){-1, 1};
    case SC_where:
        return either(b, of_node(k, in->c, depth));
    case SC_stop:
        return a;
    default:
        return limits_none();
    }
}

static Limits of_cast(const Kir *k, const NodeInfo *in, int depth)
{
    const NodeInfo *from = node_info(k, in->a);
    Limits x = of_node(k, in->a, depth);
    bool wider =
        dtype_bytes((DType)in->dtype) > dtype_bytes((DType)from->dtype);
    bool narrow = in->dtype != DT_f32 && in->dtype != DT_f64;
    if (dtype_class((DType)from->dtype) != DC_float || (narrow && !wider))
        return limits_none();
    return wider ? x : rounded((DType)in->dtype, x.lo, x.hi);
}

static Limits of_node(const Kir *k, Node n, int depth)
{
    const NodeInfo *in = node_info(k, n);
    if (!n.id || depth == DEPTH || dtype_class((DType)in->dtype) != DC_float)
        return limits_none();
    switch ((NodeOp)in->op) {
    case KN_const:
        return (Limits){in->f, in->f};
    case KN_cast:
        return of_cast(k, in, depth + 1);
    case KN_scalar:
        return of_scalar(k, in, depth + 1);
    default:
        return limits_none();
    }
}

Limits node_limits(const Kir *k, Node n)
{
    return of_node(k, n, 0);
}
