/*
 * value.c: what expressions give.
 *
 * A number is known while compiling.  A lazy value is an expression of
 * `index(axis)` and constants: it becomes part of whatever map reads it, and
 * its form is still at hand when it is an index.  Inside a repeat over an
 * axis, index of that axis is the turn and no axis of the value.
 */
#include "sema.h"

#include <math.h>

Val val_error(void)
{
    return (Val){.kind = VAL_error};
}

Val val_whole(int64_t i)
{
    return (Val){.kind = VAL_number, .dtype = DT_i32, .number = (double)i};
}

Val val_number(double x)
{
    return (Val){.kind = VAL_number, .dtype = DT_f32, .number = x};
}

Val val_bool(bool b)
{
    return (Val){.kind = VAL_number, .dtype = DT_bool, .number = b};
}

bool val_is_elementary(const Val *v)
{
    return v->kind == VAL_number || v->kind == VAL_lazy ||
           v->kind == VAL_tensor;
}

Val val_tensor(Sema *s, Value v)
{
    Val out = {.kind = VAL_tensor};
    out.dtype = (uint8_t)type_dtype(s->m, value_type(s->frame->fn, v));
    out.tensor.frame = s->frame;
    out.tensor.value = v;
    return out;
}

/* ---------------------------------------------------------------- axes -- */

static const Frame *turn_frame(const Frame *f, Axis a)
{
    for (; f; f = f->up)
        if (f->kind == FRAME_repeat && f->axis.id == a.id) return f;
    return NULL;
}

static const TypeAxis *lazy_axes(Sema *s, const Val *v, uint32_t *n)
{
    TypeAxis *out = NEW_ARRAY(s->a, TypeAxis, v->lazy.naxes + 1);
    *n = 0;
    for (uint32_t i = 0; i < v->lazy.naxes; i++)
        if (!turn_frame(s->frame, v->lazy.axes[i].axis))
            out[(*n)++] = v->lazy.axes[i];
    return out;
}

const TypeAxis *val_axes(Sema *s, const Val *v, uint32_t *n)
{
    *n = 0;
    if (v->kind == VAL_lazy) return lazy_axes(s, v, n);
    if (v->kind != VAL_tensor) return NULL;
    Value x = val_here(s, v);
    const TypeInfo *t = type_info(s->m, value_type(s->frame->fn, x));
    *n = t->naxes;
    return t->axes;
}

const TypeAxis *val_axis(Sema *s, const Val *v, Axis a)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, v, &n);
    for (uint32_t i = 0; i < n; i++)
        if (axes[i].axis.id == a.id) return &axes[i];
    return NULL;
}

/* ----------------------------------------------------------- emitting -- */

Value val_here(Sema *s, const Val *v)
{
    CHECK(v->kind == VAL_tensor);
    return frame_import(s, s->frame, v->tensor.frame, v->tensor.value);
}

/* The turn of the repeat over `a`, as operand `k` of a map. */
typedef struct Turns {
    Sema *s;
    Value *ops;
    uint32_t *nops;
} Turns;

static uint32_t operand_of(const Turns *t, Value v)
{
    for (uint32_t i = 0; i < *t->nops; i++)
        if (value_eq(t->ops[i], v)) return i;
    t->ops[*t->nops] = v;
    return (*t->nops)++;
}

static Expr turn_operand(Module *m, Axis a, void *user)
{
    const Turns *t = user;
    const Frame *f = turn_frame(t->s->frame, a);
    if (!f) return (Expr){0};
    Value turn =
        frame_import(t->s, t->s->frame, (Frame *)(uintptr_t)f, f->turn);
    return expr_arg(m, operand_of(t, turn), DT_i32);
}

Expr lazy_here(Sema *s, const Val *v, Value *ops, uint32_t *nops)
{
    Turns t = {s, ops, nops};
    ExprSubst sub = {.index_with = turn_operand, .user = &t};
    return expr_subst(s->m, v->lazy.expr, &sub);
}

static Value emit_number(Sema *s, const Val *v, DType d)
{
    Expr e = dtype_class(d) == DC_float
                 ? expr_float(s->m, d, v->number)
                 : expr_int(s->m, d, whole_of(v->number));
    return emit_map(here(s), e, NULL, 0);
}

static Value emit_lazy(Sema *s, const Val *v)
{
    Value ops[8];
    uint32_t nops = 0, n;
    Expr e = lazy_here(s, v, ops, &nops);
    const TypeAxis *axes = lazy_axes(s, v, &n);
    return emit_map_over(here(s), e, ops, nops, axes, n);
}

/* `want` is the dtype of a number; others keep theirs unless it differs. */
Value val_use(Sema *s, const Val *v, DType want)
{
    Value x;
    if (v->kind == VAL_number) return emit_number(s, v, want);
    x = v->kind == VAL_lazy ? emit_lazy(s, v) : val_here(s, v);
    return want == (DType)v->dtype ? x : emit_cast(here(s), x, want);
}

Type val_type(Sema *s, const Val *v)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, v, &n);
    return type_tensor(s->m, (DType)v->dtype, axes, n);
}

/* ------------------------------------------------------------ printing -- */

const char *val_axes_str(Sema *s, const Val *v)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, v, &n);
    Buf b = {0};
    bool rest = false;
    for (uint32_t i = 0; i < n; i++)
        rest |= scope_in_rest(s->scope, axes[i].axis);
    buf_puts(&b, rest ? "[.." : "[");
    for (uint32_t i = 0; i < n; i++) {
        if (scope_in_rest(s->scope, axes[i].axis)) continue;
        buf_puts(&b, b.n > 1 ? ", " : "");
        buf_puts(&b, axis_name(s->m, axes[i].axis));
    }
    buf_puts(&b, "]");
    const char *out = arena_strdup(s->a, b.at);
    buf_release(&b);
    return out;
}

const char *val_label(Sema *s, const Val *v, const char *otherwise)
{
    const char *name = STR(s, v->name);
    return *name ? arena_printf(s->a, "'%s'", name) : otherwise;
}

/* What the operands had aligned, for a value made of them. */
const Aligned *align_join(Sema *s, const Val *v, uint32_t n)
{
    const Aligned *out = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (!v[i].aligned || v[i].aligned == out) continue;
        if (!out) {
            out = v[i].aligned;
            continue;
        }
        Aligned *a = NEW(s->a, Aligned);
        a->axis = (Axis){UINT32_MAX};
        a->before[0] = out;
        a->before[1] = v[i].aligned;
        out = a;
    }
    return out;
}

const char *number_str(Sema *s, double x)
{
    if (x == floor(x) && fabs(x) < 1e15)
        return arena_printf(s->a, "%lld", (long long)x);
    Buf b = {0};
    buf_double(&b, x);
    const char *out = arena_strdup(s->a, b.at);
    buf_release(&b);
    return out;
}
