/*
 * elementwise.c: a scalar function at every index, aligned by axis name.
 *
 * Numbers fold.  Numbers and lazy values give a lazy value.  As soon as a
 * tensor takes part, one map is emitted; cheap lazy operands (a causal mask)
 * become part of its body, dear ones (the sines of rope) are computed over
 * their own axes first.  Functions of bundles apply to each member.
 */
#include "sema.h"

#include <math.h>

/* -------------------------------------------------------------- dtypes -- */

typedef enum Operands {
    OPS_float,
    OPS_num,
    OPS_int,
    OPS_any,
    OPS_bool
} Operands;
typedef enum Gives { GIVES_same, GIVES_bool, GIVES_own } Gives;

typedef struct Signature {
    Operands operands;
    Gives gives;
} Signature;

static Signature signature_of(ScalarOp op)
{
    static const Signature signatures[SC_count] = {
#define SCALAR(name, args, form, operands, result) \
    [SC_##name] = {OPS_##operands, GIVES_##result},
#include "../ir/scalar.def"
#undef SCALAR
    };
    return signatures[op];
}

static DType wider(DType a, DType b)
{
    DClass ca = dtype_class(a), cb = dtype_class(b);
    if (ca == DC_bool) return b;
    if (cb == DC_bool) return a;
    if ((ca == DC_float) != (cb == DC_float)) return ca == DC_float ? a : b;
    if (dtype_bytes(a) != dtype_bytes(b))
        return dtype_bytes(a) > dtype_bytes(b) ? a : b;
    return ca == DC_int ? a : b;
}

/* A number takes the dtype of its company where it can be said in it. */
static DType common_dtype(const Val *args, uint32_t first, uint32_t n)
{
    bool any = false, whole = true;
    DType d = DT_bool;
    for (uint32_t i = first; i < n; i++) {
        if (val_is_number(&args[i])) {
            whole &= args[i].dtype != DT_f32;
            continue;
        }
        d = any ? wider(d, (DType)args[i].dtype) : (DType)args[i].dtype;
        any = true;
    }
    for (uint32_t i = first; i < n; i++)
        if (val_is_number(&args[i]) && (!any || args[i].dtype == DT_bool))
            d = wider(d, (DType)args[i].dtype);
    if (dtype_class(d) == DC_float) return dtype_computes(d) ? d : DT_f32;
    for (uint32_t i = first; any && i < n; i++)
        if (val_is_number(&args[i]) && args[i].dtype == DT_i32 && d == DT_bool)
            d = DT_i32;
    return whole ? d : DT_f32;
}

static const char *kind_of(DType d)
{
    return dtype_class(d) == DC_bool ? "bool" : dtype_name(d);
}

static bool operand_dtype(Sema *s, Span at, ScalarOp op, const Val *args,
                          uint32_t n, DType *out)
{
    uint32_t first = op == SC_where ? 1 : 0;
    DType d = common_dtype(args, first, n);
    const char *name = scalar_info(op)->form[0] ? scalar_info(op)->form
                                                : scalar_info(op)->name;
    DClass c = dtype_class(d);
    switch (signature_of(op).operands) {
    case OPS_float:
        if (c == DC_int || c == DC_uint) d = DT_f32;
        break;
    case OPS_int:
        if (c == DC_float) goto wrong;
        break;
    case OPS_bool:
        for (uint32_t i = 0; i < n; i++)
            if (!val_is_number(&args[i]) && args[i].dtype != DT_bool) {
                d = (DType)args[i].dtype;
                goto wrong;
            }
        *out = DT_bool;
        return true;
    case OPS_num:
    case OPS_any:
        break;
    }
    if (c == DC_bool && signature_of(op).operands != OPS_any) goto wrong;
    *out = d;
    return true;
wrong:;
    Report *r = sema_error(s, DIAG_dtype_mismatch, at,
                           "'%s' does not take %s values", name, kind_of(d));
    if (c == DC_bool) report_help(r, "say what true counts for: f32(...)");
    return false;
}

/* ------------------------------------------------------------- numbers -- */

static double round_even(double x)
{
    double r = floor(x + 0.5);
    return r - x == 0.5 && fmod(r, 2) != 0 ? r - 1 : r;
}

static double fold2(ScalarOp op, double a, double b)
{
    switch ((unsigned)op) {
    case SC_add:
        return a + b;
    case SC_sub:
        return a - b;
    case SC_mul:
        return a * b;
    case SC_div:
        return a / b;
    case SC_idiv:
        return b == 0 ? 0 : floor(a / b);
    case SC_imod:
        return b == 0 ? 0 : a - b * floor(a / b);
    case SC_pow:
        return pow(a, b);
    case SC_min:
        return a < b ? a : b;
    case SC_max:
        return a > b ? a : b;
    case SC_lt:
        return a < b;
    case SC_le:
        return a <= b;
    case SC_eq:
        return a == b;
    case SC_ne:
        return a != b;
    case SC_and:
        return a != 0 && b != 0;
    case SC_or:
        return a != 0 || b != 0;
    case SC_bitand:
        return (double)(whole_of(a) & whole_of(b));
    case SC_bitor:
        return (double)(whole_of(a) | whole_of(b));
    case SC_bitxor:
        return (double)(whole_of(a) ^ whole_of(b));
    case SC_shl:
        return ldexp(a, (int)b);
    case SC_shr:
        return floor(ldexp(a, -(int)b));
    default:
        return NAN;
    }
}

static double fold1(ScalarOp op, double a)
{
    switch ((unsigned)op) {
    case SC_neg:
        return -a;
    case SC_abs:
        return fabs(a);
    case SC_sign:
        return (a > 0) - (a < 0);
    case SC_exp:
        return exp(a);
    case SC_log:
        return log(a);
    case SC_log1p:
        return log1p(a);
    case SC_sqrt:
        return sqrt(a);
    case SC_rsqrt:
        return 1 / sqrt(a);
    case SC_sin:
        return sin(a);
    case SC_cos:
        return cos(a);
    case SC_tanh:
        return tanh(a);
    case SC_erf:
        return erf(a);
    case SC_sigmoid:
        return 1 / (1 + exp(-a));
    case SC_floor:
        return floor(a);
    case SC_ceil:
        return ceil(a);
    case SC_round:
        return round_even(a);
    case SC_not:
        return a == 0;
    case SC_stop:
        return a;
    case SC_isfinite:
        return isfinite(a);
    default:
        return NAN;
    }
}

/* Whether the function of whole numbers is a whole number. */
static bool stays_whole(ScalarOp op, const Val *args, uint32_t n)
{
    if (op == SC_floor || op == SC_ceil || op == SC_round) return true;
    if (op == SC_div || (op >= SC_exp && op <= SC_sigmoid)) return false;
    if (op == SC_pow && args[1].number < 0) return false;
    for (uint32_t i = op == SC_where; i < n; i++)
        if (args[i].dtype == DT_f32) return false;
    return true;
}

static Val fold_numbers(Sema *s, Span at, ScalarOp op, const Val *args,
                        uint32_t n)
{
    (void)s;
    (void)at;
    if (op == SC_where) return args[0].number != 0 ? args[1] : args[2];
    if (op == SC_fma)
        return val_number(args[0].number * args[1].number + args[2].number);
    double x = n == 1 ? fold1(op, args[0].number)
                      : fold2(op, args[0].number, args[1].number);
    if (signature_of(op).gives == GIVES_bool ||
        signature_of(op).operands == OPS_bool)
        return val_bool(x != 0);
    Val v = val_number(x);
    if (stays_whole(op, args, n) && fabs(x) < 9e15) v.dtype = DT_i32;
    return v;
}

/* ------------------------------------------------------------- alignment -- */

static void size_differs(Sema *s, Span at, Axis a, const Val *x, int64_t nx,
                         const Val *y, int64_t ny)
{
    Report *r = sema_error(
        s, DIAG_axis_size, at, "axis '%s' has size %lld in %s and %lld in %s",
        axis_name(s->m, a), (long long)nx, val_label(s, x, "the left operand"),
        (long long)ny, val_label(s, y, "the right operand"));
    report_help(r, "in one expression one name has one size: rename it on one "
                   "side");
}

static bool pair_agrees(Sema *s, Span at, const Val *x, const Val *y)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, x, &n);
    for (uint32_t i = 0; i < n; i++) {
        const TypeAxis *b = val_axis(s, y, axes[i].axis);
        if (!b || b->size == axes[i].size) continue;
        size_differs(s, at, b->axis, x, axes[i].size, y, b->size);
        return false;
    }
    return true;
}

bool sizes_agree(Sema *s, Span at, const Val *args, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = i + 1; k < n; k++)
            if (!pair_agrees(s, at, &args[i], &args[k])) return false;
    return true;
}

/* ---------------------------------------------------------------- lazy -- */

Val lazy_of(Sema *s, Expr e, const TypeAxis *axes, uint32_t n)
{
    Val v = {.kind = VAL_lazy, .dtype = (uint8_t)expr_dtype(s->m, e)};
    v.lazy.expr = e;
    v.lazy.axes = axes;
    v.lazy.naxes = n;
    return v;
}

/* Worth computing again at every index of a larger map. */
static bool lazy_cheap(Sema *s, Expr e)
{
    const ExprInfo *x = expr_info(s->m, e);
    switch ((unsigned)x->op) {
    case SC_pow:
    case SC_exp:
    case SC_log:
    case SC_log1p:
    case SC_sqrt:
    case SC_rsqrt:
    case SC_sin:
    case SC_cos:
    case SC_tanh:
    case SC_erf:
    case SC_sigmoid:
    case SC_random:
        return false;
    default:
        break;
    }
    for (uint32_t i = 0; i < x->nargs; i++)
        if (!lazy_cheap(s, expr_info(s->m, e)->args[i])) return false;
    return true;
}

static Expr number_expr(Sema *s, const Val *v, DType d)
{
    return dtype_class(d) == DC_float ? expr_float(s->m, d, v->number)
                                      : expr_int(s->m, d, whole_of(v->number));
}

static uint32_t join_axes(TypeAxis *out, uint32_t n, const TypeAxis *more,
                          uint32_t nmore)
{
    for (uint32_t i = 0; i < nmore; i++) {
        bool have = false;
        for (uint32_t k = 0; k < n; k++)
            have |= out[k].axis.id == more[i].axis.id;
        if (!have) out[n++] = more[i];
    }
    return n;
}

static Expr apply(Sema *s, ScalarOp op, const Expr *e, uint32_t n)
{
    Expr none = {0};
    return expr_op(s->m, op, e[0], n > 1 ? e[1] : none, n > 2 ? e[2] : none);
}

static DType wanted(ScalarOp op, uint32_t i, DType d)
{
    return op == SC_where && i == 0 ? DT_bool : d;
}

static Val lazy_apply(Sema *s, ScalarOp op, const Val *args, uint32_t n,
                      DType d)
{
    Expr e[3];
    uint32_t naxes = 0, most = 1;
    for (uint32_t i = 0; i < n; i++)
        if (args[i].kind == VAL_lazy) most += args[i].lazy.naxes;
    TypeAxis *axes = NEW_ARRAY(s->a, TypeAxis, most);
    for (uint32_t i = 0; i < n; i++) {
        if (args[i].kind == VAL_number) {
            e[i] = number_expr(s, &args[i], wanted(op, i, d));
            continue;
        }
        e[i] = expr_cast(s->m, wanted(op, i, d), args[i].lazy.expr);
        naxes = join_axes(axes, naxes, args[i].lazy.axes, args[i].lazy.naxes);
    }
    return lazy_of(s, apply(s, op, e, n), axes, naxes);
}

/* --------------------------------------------------------------- tensors -- */

typedef struct Body {
    Value ops[16];
    uint32_t nops;
    TypeAxis *axes;
    uint32_t naxes;
} Body;

static Expr operand(Sema *s, Body *b, Value v)
{
    DType d = type_dtype(s->m, value_type(s->frame->fn, v));
    uint32_t i = 0;
    while (i < b->nops && !value_eq(b->ops[i], v))
        i++;
    b->ops[i] = v;
    if (i == b->nops) b->nops++;
    return expr_arg(s->m, i, d);
}

static Expr body_of(Sema *s, Body *b, const Val *v, DType d)
{
    if (v->kind == VAL_number) return number_expr(s, v, d);
    if (v->kind == VAL_lazy && lazy_cheap(s, v->lazy.expr)) {
        uint32_t n;
        const TypeAxis *axes = val_axes(s, v, &n);
        b->naxes = join_axes(b->axes, b->naxes, axes, n);
        return expr_cast(s->m, d, lazy_here(s, v, b->ops, &b->nops));
    }
    Value x = val_use(s, v, (DType)v->dtype);
    return expr_cast(s->m, d, operand(s, b, x));
}

static void note_alignment(Sema *s, Span at, const Val *args, uint32_t n,
                           Val *out)
{
    out->aligned = align_join(s, args, n);
    for (uint32_t i = 0; i < n; i++)
        out->open |= args[i].open;
    if (n < 2 || !args[n - 2].name.id || !args[n - 1].name.id) return;
    uint32_t naxes;
    const TypeAxis *axes = val_axes(s, &args[n - 2], &naxes);
    for (uint32_t i = 0; i < naxes; i++) {
        if (!val_axis(s, &args[n - 1], axes[i].axis)) continue;
        Aligned *a = NEW(s->a, Aligned);
        *a = (Aligned){axes[i].axis,
                       args[n - 2].name,
                       args[n - 1].name,
                       at,
                       {out->aligned, NULL}};
        out->aligned = a;
    }
}

static Val map_apply(Sema *s, Span at, ScalarOp op, const Val *args, uint32_t n,
                     DType d)
{
    Body b = {.axes = NEW_ARRAY(s->a, TypeAxis, 64)};
    Expr e[3];
    for (uint32_t i = 0; i < n; i++)
        e[i] = body_of(s, &b, &args[i], wanted(op, i, d));
    here(s)->loc = loc_of(s->m, at);
    Value v = emit_map_over(here(s), apply(s, op, e, n), b.ops, b.nops, b.axes,
                            b.naxes);
    Val out = val_tensor(s, v);
    note_alignment(s, at, args, n, &out);
    return out;
}

/* --------------------------------------------------------------- lifting -- */

static Val lift_bundle(Sema *s, Span at, ScalarOp op, const Val *args,
                       uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (args[i].kind == VAL_bundle) count = args[i].tuple.n;
    Val out = {.kind = VAL_bundle};
    out.tuple.at = NEW_ARRAY(s->a, Val, count + 1);
    out.tuple.n = count;
    for (uint32_t k = 0; k < count; k++) {
        Val each[3];
        for (uint32_t i = 0; i < n; i++)
            each[i] =
                args[i].kind == VAL_bundle ? args[i].tuple.at[k] : args[i];
        out.tuple.at[k] = elementwise(s, at, op, each, n);
        if (val_failed(&out.tuple.at[k])) return val_error();
    }
    return out;
}

static Val lift_draw(Sema *s, Span at, ScalarOp op, const Val *args, uint32_t n)
{
    Draw *d = NEW(s->a, Draw);
    d->kind = DRAW_op;
    d->op = op;
    d->n = n;
    d->at = at;
    for (uint32_t i = 0; i < n; i++)
        d->args[i] = args[i];
    Val v = {.kind = VAL_draw, .dtype = DT_f32};
    v.draw = d;
    return v;
}

static const char *kind_words(const Val *v)
{
    switch ((ValKind)v->kind) {
    case VAL_string:
        return "a text";
    case VAL_tuple:
        return "a list";
    case VAL_callee:
        return "a function";
    case VAL_instance:
        return "a module";
    default:
        return "this";
    }
}

/* Argument I cannot be one; a list beside a bundle lacks parameters. */
static Val no_operand(Sema *s, Span at, const Val *args, uint32_t n, uint32_t i)
{
    const Val *v = &args[i], *bundle = NULL;
    for (uint32_t k = 0; k < n; k++)
        if (args[k].kind == VAL_bundle) bundle = &args[k];
    Report *r =
        sema_error(s, DIAG_not_a_number, at, "%s is no number and no tensor",
                   val_label(s, v, kind_words(v)));
    if (v->kind == VAL_tuple && bundle)
        report_help(r, "it has %u parts, %s has one for each of %u parameters",
                    v->tuple.n, val_label(s, bundle, "the other operand"),
                    bundle->tuple.n);
    else if (v->kind == VAL_tuple)
        report_help(r,
                    "it has %u parts: name them, a, b = ..., or take one of "
                    "them, .0",
                    v->tuple.n);
    if (v->kind == VAL_instance || v->kind == VAL_callee)
        report_help(r, "call it, with its arguments in parentheses");
    return val_error();
}

/* Texts are equal, or they are not. */
static bool are_texts(ScalarOp op, const Val *args, uint32_t n)
{
    return n == 2 && (op == SC_eq || op == SC_ne) &&
           args[0].kind == VAL_string && args[1].kind == VAL_string;
}

/* x ^ 2 is x * x: exact, and its derivative has no logarithm. */
static Val simple_power(Sema *s, Span at, const Val *args, bool *done)
{
    double p = args[1].number;
    *done = true;
    if (args[0].kind != VAL_number && val_is_number(&args[1])) {
        if (p == 1) return args[0];
        if (p == 2) return elementwise2(s, at, SC_mul, args[0], args[0]);
        if (p == 0.5) return elementwise(s, at, SC_sqrt, args, 1);
        if (p == -0.5) return elementwise(s, at, SC_rsqrt, args, 1);
        if (p == -1) return elementwise2(s, at, SC_div, val_whole(1), args[0]);
    }
    *done = false;
    return val_error();
}

Val elementwise(Sema *s, Span at, ScalarOp op, const Val *args, uint32_t n)
{
    bool numbers = true, tensors = false, bundle = false, draw = false;
    if (are_texts(op, args, n))
        return val_bool(str_eq(args[0].string, args[1].string) ==
                        (op == SC_eq));
    for (uint32_t i = 0; i < n; i++) {
        if (val_failed(&args[i])) return val_error();
        numbers &= args[i].kind == VAL_number;
        tensors |= args[i].kind == VAL_tensor;
        bundle |= args[i].kind == VAL_bundle;
        draw |= args[i].kind == VAL_draw;
        if (val_is_elementary(&args[i]) || args[i].kind == VAL_bundle ||
            args[i].kind == VAL_draw)
            continue;
        return no_operand(s, at, args, n, i);
    }
    if (bundle) return lift_bundle(s, at, op, args, n);
    if (op == SC_where && args[0].kind == VAL_number)
        return args[args[0].number != 0 ? 1 : 2];
    if (draw) return lift_draw(s, at, op, args, n);
    if (numbers) return fold_numbers(s, at, op, args, n);
    if (op == SC_pow) {
        bool done;
        Val v = simple_power(s, at, args, &done);
        if (done) return v;
    }
    DType d;
    if (!operand_dtype(s, at, op, args, n, &d)) return val_error();
    if (!sizes_agree(s, at, args, n)) return val_error();
    return tensors ? map_apply(s, at, op, args, n, d)
                   : lazy_apply(s, op, args, n, d);
}

Val elementwise2(Sema *s, Span at, ScalarOp op, Val a, Val b)
{
    Val args[2] = {a, b};
    return elementwise(s, at, op, args, 2);
}
