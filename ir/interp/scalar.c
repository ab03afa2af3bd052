/*
 * scalar.c: the meaning of scalar expressions, with their derivatives.
 *
 * Each function gives a value and a tangent (forward mode).  A derivative
 * meets a tangent in `chain`, where a zero tangent stays zero even beside an
 * infinite derivative: nothing flows where nothing changes.  Floats are
 * doubles; with `round` a float result is rounded to its dtype, which for f32
 * is the one rounding that IEEE asks for, since a double has more than twice
 * its digits.  fma alone needs the f32 function.
 */
#include <math.h>

#include "run.h"

static double chain(double slope, double dx)
{
    return dx == 0 ? 0 : slope * dx;
}

static Dual made(double v, double d)
{
    return (Dual){{.f = v}, d};
}

static Dual made_int(int64_t i)
{
    return (Dual){{.i = i}, 0};
}

static bool is_float(unsigned dtype)
{
    return dtype_class((DType)dtype) == DC_float;
}

static bool is_unsigned(unsigned dtype)
{
    return dtype_class((DType)dtype) == DC_uint;
}

/* ------------------------------------------------------------ arithmetic -- */

static Dual eval_add(const ScalarNode *n, const Dual *x)
{
    if (is_float(n->dtype)) return made(x[0].v.f + x[1].v.f, x[0].d + x[1].d);
    return made_int((int64_t)((uint64_t)x[0].v.i + (uint64_t)x[1].v.i));
}

static Dual eval_sub(const ScalarNode *n, const Dual *x)
{
    if (is_float(n->dtype)) return made(x[0].v.f - x[1].v.f, x[0].d - x[1].d);
    return made_int((int64_t)((uint64_t)x[0].v.i - (uint64_t)x[1].v.i));
}

static Dual eval_mul(const ScalarNode *n, const Dual *x)
{
    if (!is_float(n->dtype))
        return made_int((int64_t)((uint64_t)x[0].v.i * (uint64_t)x[1].v.i));
    double a = x[0].v.f, b = x[1].v.f;
    return made(a * b, chain(b, x[0].d) + chain(a, x[1].d));
}

static Dual eval_div(const ScalarNode *n, const Dual *x)
{
    (void)n;
    double a = x[0].v.f, b = x[1].v.f;
    return made(a / b, chain(1 / b, x[0].d) + chain(-a / (b * b), x[1].d));
}

static Dual eval_idiv(const ScalarNode *n, const Dual *x)
{
    int64_t a = x[0].v.i, b = x[1].v.i;
    if (b == 0) return made_int(0);
    if (is_unsigned(n->dtype))
        return made_int((int64_t)((uint64_t)a / (uint64_t)b));
    if (b == -1) return made_int((int64_t)(0 - (uint64_t)a));
    int64_t q = a / b;
    return made_int(q - (a % b != 0 && (a < 0) != (b < 0)));
}

static Dual eval_imod(const ScalarNode *n, const Dual *x)
{
    if (x[1].v.i == 0) return made_int(0);
    uint64_t q = (uint64_t)eval_idiv(n, x).v.i;
    return made_int((int64_t)((uint64_t)x[0].v.i - (uint64_t)x[1].v.i * q));
}

static Dual eval_pow(const ScalarNode *n, const Dual *x)
{
    (void)n;
    double a = x[0].v.f, b = x[1].v.f, v = pow(a, b);
    double da = b == 0 ? 0 : b * pow(a, b - 1);
    double db = a == 0 && b >= 0 ? 0 : v * log(a);
    return made(v, chain(da, x[0].d) + chain(db, x[1].d));
}

/* Of two equal operands each has half of the derivative. */
static Dual eval_extreme(const ScalarNode *n, const Dual *x, bool largest)
{
    if (!is_float(n->dtype)) {
        int64_t a = x[0].v.i, b = x[1].v.i;
        bool less = is_unsigned(n->dtype) ? (uint64_t)a < (uint64_t)b : a < b;
        return made_int(less == largest ? b : a);
    }
    double a = x[0].v.f, b = x[1].v.f;
    if (isnan(a) || isnan(b)) return made(NAN, 0);
    if (a == b) {
        bool second = largest ? signbit(a) != 0 : signbit(b) != 0;
        return made(second ? b : a, 0.5 * (x[0].d + x[1].d));
    }
    return (a < b) == largest ? x[1] : x[0];
}

static Dual eval_min(const ScalarNode *n, const Dual *x)
{
    return eval_extreme(n, x, false);
}

static Dual eval_max(const ScalarNode *n, const Dual *x)
{
    return eval_extreme(n, x, true);
}

static Dual eval_fma(const ScalarNode *n, const Dual *x)
{
    double a = x[0].v.f, b = x[1].v.f, c = x[2].v.f;
    double v = n->round && n->dtype == DT_f32
                   ? (double)fmaf((float)a, (float)b, (float)c)
                   : fma(a, b, c);
    return made(v, chain(b, x[0].d) + chain(a, x[1].d) + x[2].d);
}

static Dual eval_neg(const ScalarNode *n, const Dual *x)
{
    if (is_float(n->dtype)) return made(-x[0].v.f, -x[0].d);
    return made_int((int64_t)(0 - (uint64_t)x[0].v.i));
}

static double sign_of(double a)
{
    return a > 0 ? 1 : a < 0 ? -1 : a;
}

static Dual eval_abs(const ScalarNode *n, const Dual *x)
{
    double a = x[0].v.f;
    if (is_float(n->dtype)) return made(fabs(a), chain(sign_of(a), x[0].d));
    if (is_unsigned(n->dtype) || x[0].v.i >= 0) return x[0];
    return made_int((int64_t)(0 - (uint64_t)x[0].v.i));
}

static Dual eval_sign(const ScalarNode *n, const Dual *x)
{
    if (is_float(n->dtype)) return made(sign_of(x[0].v.f), 0);
    int64_t i = x[0].v.i;
    return made_int(is_unsigned(n->dtype) ? i != 0 : (i > 0) - (i < 0));
}

/* ---------------------------------------------------- functions of reals -- */

static Dual eval_exp(const ScalarNode *n, const Dual *x)
{
    (void)n;
    double v = exp(x[0].v.f);
    return made(v, chain(v, x[0].d));
}

static Dual eval_log(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made(log(x[0].v.f), chain(1 / x[0].v.f, x[0].d));
}

static Dual eval_log1p(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made(log1p(x[0].v.f), chain(1 / (1 + x[0].v.f), x[0].d));
}

static Dual eval_sqrt(const ScalarNode *n, const Dual *x)
{
    (void)n;
    double v = sqrt(x[0].v.f);
    return made(v, chain(0.5 / v, x[0].d));
}

static Dual eval_rsqrt(const ScalarNode *n, const Dual *x)
{
    double root = sqrt(x[0].v.f);
    if (n->round) root = dtype_round((DType)n->dtype, root);
    double v = 1 / root;
    return made(v, chain(-0.5 * v * v * v, x[0].d));
}

static Dual eval_sin(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made(sin(x[0].v.f), chain(cos(x[0].v.f), x[0].d));
}

static Dual eval_cos(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made(cos(x[0].v.f), chain(-sin(x[0].v.f), x[0].d));
}

static Dual eval_tanh(const ScalarNode *n, const Dual *x)
{
    (void)n;
    double v = tanh(x[0].v.f);
    return made(v, chain(1 - v * v, x[0].d));
}

/* 2 / sqrt(pi) is what the dtype can say of it, as a program would have to. */
static Dual eval_erf(const ScalarNode *n, const Dual *x)
{
    double a = x[0].v.f, c = dtype_round((DType)n->dtype, 2 / sqrt(acos(-1)));
    return made(erf(a), chain(c * exp(-a * a), x[0].d));
}

static Dual eval_sigmoid(const ScalarNode *n, const Dual *x)
{
    (void)n;
    double v = 1 / (1 + exp(-x[0].v.f));
    return made(v, chain(v * (1 - v), x[0].d));
}

static Dual eval_floor(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made(floor(x[0].v.f), 0);
}

static Dual eval_ceil(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made(ceil(x[0].v.f), 0);
}

static Dual eval_round(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made(nearbyint(x[0].v.f), 0);
}

/* ----------------------------------------------------- comparisons, bits -- */

/* -1, 0, 1; 2 when not ordered. */
static int compare(const ScalarNode *n, const Dual *x)
{
    if (is_float(n->from)) {
        double a = x[0].v.f, b = x[1].v.f;
        if (isnan(a) || isnan(b)) return 2;
        return (a > b) - (a < b);
    }
    int64_t a = x[0].v.i, b = x[1].v.i;
    if (is_unsigned(n->from))
        return ((uint64_t)a > (uint64_t)b) - ((uint64_t)a < (uint64_t)b);
    return (a > b) - (a < b);
}

static Dual eval_lt(const ScalarNode *n, const Dual *x)
{
    return made_int(compare(n, x) == -1);
}

static Dual eval_le(const ScalarNode *n, const Dual *x)
{
    int c = compare(n, x);
    return made_int(c == -1 || c == 0);
}

static Dual eval_eq(const ScalarNode *n, const Dual *x)
{
    return made_int(compare(n, x) == 0);
}

static Dual eval_ne(const ScalarNode *n, const Dual *x)
{
    return made_int(compare(n, x) != 0);
}

static Dual eval_and(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(x[0].v.i && x[1].v.i);
}

static Dual eval_or(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(x[0].v.i || x[1].v.i);
}

static Dual eval_not(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(!x[0].v.i);
}

static Dual eval_bitand(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(x[0].v.i & x[1].v.i);
}

static Dual eval_bitor(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(x[0].v.i | x[1].v.i);
}

static Dual eval_bitxor(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(x[0].v.i ^ x[1].v.i);
}

/* A count of the width or more, which a negative count is too. */
static bool shifts_out(const ScalarNode *n, int64_t count)
{
    return (uint64_t)count >= dtype_bytes((DType)n->dtype) * 8u;
}

static Dual eval_shl(const ScalarNode *n, const Dual *x)
{
    if (shifts_out(n, x[1].v.i)) return made_int(0);
    return made_int((int64_t)((uint64_t)x[0].v.i << x[1].v.i));
}

static Dual eval_shr(const ScalarNode *n, const Dual *x)
{
    if (shifts_out(n, x[1].v.i)) return made_int(0);
    if (is_unsigned(n->dtype))
        return made_int((int64_t)((uint64_t)x[0].v.i >> x[1].v.i));
    return made_int(x[0].v.i >> x[1].v.i);
}

static Dual eval_where(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return x[0].v.i ? x[1] : x[2];
}

static Dual eval_stop(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return (Dual){x[0].v, 0};
}

static Dual eval_isfinite(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(isfinite(x[0].v.f));
}

/* Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3"; the first word of the block. */
uint32_t philox(uint64_t key, uint64_t high, uint64_t low)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)low, c1 = (uint32_t)(low >> 32);
    uint32_t c2 = (uint32_t)high, c3 = (uint32_t)(high >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = UINT64_C(0xD2511F53) * c0;
        uint64_t p1 = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    return c0;
}

static Dual eval_random(const ScalarNode *n, const Dual *x)
{
    (void)n;
    return made_int(
        philox((uint64_t)x[0].v.i, (uint64_t)x[1].v.i, (uint64_t)x[2].v.i));
}

/* ----------------------------------------------------------------- casts -- */

/* A cast that keeps all digits.  e8m0 has nothing at or below zero, which is no
 * rounding: who divides by a scale relies on it. */
static double unrounded(DType to, double x)
{
    return to == DT_e8m0 && x <= 0 ? dtype_round(to, x) : x;
}

Dual cast_value(DType to, DType from, bool round, Dual x)
{
    bool keeps = !round && is_float(to);
    Cell v = dtype_cast(keeps ? DT_f64 : to, from, x.v);
    if (keeps) v.f = unrounded(to, v.f);
    return (Dual){v, is_float(to) && is_float(from) ? x.d : 0};
}

static Dual eval_cast(const ScalarNode *n, const Dual *x)
{
    return cast_value((DType)n->dtype, (DType)n->from, n->round, x[0]);
}

/* ------------------------------------------------------------- compiling -- */

static Eval *eval_of(unsigned op)
{
    switch ((ScalarOp)op) {
#define SCALAR(name, args, form, operands, result) \
    case SC_##name:                                \
        return eval_##name;
#include "../scalar.def"
#undef SCALAR
    case SC_cast:
        return eval_cast;
    default:
        return NULL;
    }
}

typedef struct Compiling {
    Run *r;
    Scalars *s;
    VEC(ScalarNode) nodes;
    VEC(Axis) index;
    Map done; /* expression -> node */
} Compiling;

static uint32_t index_number(Compiling *c, Axis a)
{
    for (uint32_t i = 0; i < c->index.n; i++)
        if (c->index.at[i].id == a.id) return i;
    vec_push(&c->r->keep, &c->index, a);
    return c->index.n - 1;
}

/* Operands first; an expression used twice is one node. */
static uint32_t compile_node(Compiling *c, Expr e)
{
    uint32_t known;
    if (map_find(&c->done, e.id, &known)) return known;
    const ExprInfo info = *expr_info(c->r->m, e);
    ScalarNode n = {.eval = eval_of(info.op),
                    .op = info.op,
                    .dtype = info.dtype,
                    .nargs = info.nargs,
                    .round = c->r->o.round};
    for (uint32_t i = 0; i < info.nargs; i++)
        n.arg[i] = compile_node(c, info.args[i]);
    if (info.nargs) n.from = c->nodes.at[n.arg[0]].dtype;
    if (info.op == SC_arg) n.which = info.operand;
    if (info.op == SC_arg && info.operand >= c->s->noperands)
        c->s->noperands = info.operand + 1;
    if (info.op == SC_index) n.which = index_number(c, info.axis);
    if (info.op == SC_const) n.constant.i = info.i;
    if (info.op == SC_const && is_float(info.dtype)) n.constant.f = info.f;
    vec_push(&c->r->keep, &c->nodes, n);
    map_set(&c->done, e.id, c->nodes.n - 1);
    return c->nodes.n - 1;
}

const Scalars *scalars_of(Run *r, Expr body)
{
    uint32_t known;
    if (map_find(&r->bodies, body.id, &known)) return r->scalars.at[known];
    Compiling c = {.r = r, .s = NEW(&r->keep, Scalars)};
    map_init(&c.done, &r->keep);
    compile_node(&c, body);
    c.s->n = c.nodes.n;
    c.s->nodes = c.nodes.at;
    c.s->nindex = c.index.n;
    c.s->index = c.index.at;
    vec_push(&r->keep, &r->scalars, c.s);
    map_set(&r->bodies, body.id, r->scalars.n - 1);
    return c.s;
}
