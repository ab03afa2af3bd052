/*
 * builtin.c: the builtins that compute: scalar functions, casts, reductions,
 * order, indices and sizes.  Those that move data are in arrange.c.
 */
#include "builtin.h"

#include <math.h>

/* ------------------------------------------------------------ arguments -- */

bool call_axes(Sema *s, const Call *c, AxisList *out)
{
    out->n = 0;
    for (uint32_t i = 0; i < c->nitems; i++) {
        if (c->items[i].kind != ITEM_axis) {
            sema_error(s, DIAG_axis_form, c->items[i].span,
                       "this takes axes only");
            return false;
        }
        if (!axes_of_term(s, c->items[i].term, out)) return false;
    }
    return true;
}

bool one_tensor(Sema *s, const Builtin *b, const Call *c)
{
    if (val_is_elementary(&c->args[0])) return true;
    sema_error(s, DIAG_not_a_number, c->at, "'%s' takes a tensor", b->name);
    return false;
}

/* Inside a function of the library the fault is the caller's: the message
 * names the call and what was handed in. */
static void blame_call(const Scope **sc, Str *name, Span *at, Str *fn)
{
    while ((*sc)->caller && (*sc)->unit->library) {
        Binding *b = scope_find((Scope *)(uintptr_t)*sc, *name);
        *name = b ? b->value.name : (Str){0};
        *at = (*sc)->call_at;
        *fn = (*sc)->decl->decl.name.text;
        *sc = (*sc)->caller;
    }
}

bool has_axes(Sema *s, const Builtin *b, const Call *c, const AxisList *l)
{
    const Val *x = &c->args[0];
    for (uint32_t i = 0; i < l->n; i++) {
        if (val_axis(s, x, l->at[i])) continue;
        const Scope *sc = s->scope;
        Str fn = module_str(s->m, b->name), name = x->name;
        Span at = c->at;
        const char *axis = axis_name(s->m, l->at[i]);
        blame_call(&sc, &name, &at, &fn);
        Scope *scope = s->scope;
        s->scope = (Scope *)(uintptr_t)sc;
        const char *axes = val_axes_str(s, x);
        s->scope = scope;
        const char *what =
            name.id ? arena_printf(s->a, "'%s'", STR(s, name)) : "the value";
        Report *r = sema_error(s, DIAG_axis_missing, at,
                               "%s over '%s': %s has no axis '%s'", STR(s, fn),
                               axis, what, axis);
        report_help(r, "its axes: %s", axes);
        return false;
    }
    return true;
}

/* ----------------------------------------------- scalar functions, casts -- */

Val builtin_scalar(Sema *s, const Builtin *b, const Call *c)
{
    return elementwise(s, c->at, (ScalarOp)b->which, c->args, c->nargs);
}

static Val cast_bundle(Sema *s, const Builtin *b, const Call *c)
{
    Val out = c->args[0];
    out.tuple.at = NEW_ARRAY(s->a, Val, out.tuple.n + 1);
    for (uint32_t i = 0; i < out.tuple.n; i++)
        out.tuple.at[i] =
            eval_as(s, c->args[0].tuple.at[i], (DType)b->which, c->at);
    return out;
}

Val builtin_cast(Sema *s, const Builtin *b, const Call *c)
{
    if (c->args[0].kind == VAL_bundle) return cast_bundle(s, b, c);
    return eval_as(s, c->args[0], (DType)b->which, c->at);
}

Val builtin_rounded(Sema *s, const Builtin *b, const Call *c)
{
    Val x = c->args[0];
    if (x.kind != VAL_number) {
        Report *r = sema_error(s, DIAG_not_a_number, c->at,
                               "%s(x) is of a number that is known while "
                               "compiling",
                               b->name);
        report_help(r, "activations are rounded as --dtype says");
        return val_error();
    }
    return val_number(s->narrow ? dtype_round(DT_bf16, x.number) : x.number);
}

/* ------------------------------------------------------------ reductions -- */

static const char *const kinds[] = {
    [RED_sum] = "sum", [RED_mean] = "sum", [RED_prod] = "prod",
    [RED_max] = "max", [RED_min] = "min",  [RED_any] = "max",
    [RED_all] = "min",
};

Val reduce_axes(Sema *s, Span at, const char *kind, Val x, const Axis *axes,
                uint32_t n)
{
    if (n == 0 || x.kind == VAL_number) return x;
    Value v = val_use(s, &x, (DType)x.dtype);
    DType d = type_dtype(s->m, value_type(s->frame->fn, v));
    here(s)->loc = loc_of(s->m, at);
    Val out =
        val_tensor(s, emit_reduce(here(s), kind, v, axes, n, d, dtype_acc(d)));
    out.aligned = x.aligned;
    out.open = x.open;
    return out;
}

static int64_t count_of(Sema *s, const Val *x, const AxisList *l)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < l->n; i++)
        n = times(n, val_axis(s, x, l->at[i])->size);
    return n;
}

static Val reduce_tensor(Sema *s, const Builtin *b, const Call *c, Val x,
                         const AxisList *l)
{
    bool logic = b->which == RED_any || b->which == RED_all;
    DClass k = dtype_class((DType)x.dtype);
    if (logic != (k == DC_bool) && (logic || b->which == RED_mean)) {
        sema_error(s, DIAG_dtype_mismatch, c->at, "'%s' takes %s", b->name,
                   logic ? "bool values" : "numbers, not bool values");
        return val_error();
    }
    if (k == DC_bool && !logic) x = eval_as(s, x, DT_i32, c->at);
    if (b->which == RED_mean && k != DC_float) x = eval_as(s, x, DT_f32, c->at);
    int64_t n = count_of(s, &x, l);
    x = reduce_axes(s, c->at, kinds[b->which], x, l->at, l->n);
    if (b->which != RED_mean || n == 1) return x;
    return elementwise2(s, c->at, SC_div, x, val_whole(n));
}

static Val fold_list(Sema *s, const Builtin *b, const Call *c, const Val *at,
                     uint32_t n)
{
    ScalarOp op = b->which == RED_max    ? SC_max
                  : b->which == RED_min  ? SC_min
                  : b->which == RED_prod ? SC_mul
                  : b->which == RED_any  ? SC_or
                  : b->which == RED_all  ? SC_and
                                         : SC_add;
    if (n == 0) return val_whole(op == SC_mul);
    Val x = at[0];
    for (uint32_t i = 1; i < n; i++)
        x = elementwise2(s, c->at, op, x, at[i]);
    if (b->which != RED_mean) return x;
    return elementwise2(s, c->at, SC_div, x, val_whole(n));
}

static Val each_member(Sema *s, const Builtin *b, const Call *c)
{
    Val out = c->args[0];
    out.tuple.at = NEW_ARRAY(s->a, Val, out.tuple.n + 1);
    for (uint32_t i = 0; i < out.tuple.n; i++) {
        Call one = *c;
        one.args = &c->args[0].tuple.at[i];
        out.tuple.at[i] = builtin_reduce(s, b, &one);
        if (val_failed(&out.tuple.at[i])) return val_error();
    }
    return out;
}

static void all_axes(Sema *s, const Val *x, AxisList *l)
{
    uint32_t n;
    const TypeAxis *axes = val_axes(s, x, &n);
    for (uint32_t i = 0; i < n && l->n < 16; i++)
        l->at[l->n++] = axes[i].axis;
}

/* In a trial a value may lack axes that it will have. */
static void keep_present(Sema *s, const Val *x, AxisList *l)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (val_axis(s, x, l->at[i])) l->at[k++] = l->at[i];
    l->n = k;
}

Val builtin_reduce(Sema *s, const Builtin *b, const Call *c)
{
    AxisList l;
    if (c->nargs > 1 && c->nitems == 0)
        return fold_list(s, b, c, c->args, c->nargs);
    if (c->args[0].kind == VAL_tuple && c->nitems == 0)
        return fold_list(s, b, c, c->args[0].tuple.at, c->args[0].tuple.n);
    if (c->args[0].kind == VAL_bundle) return each_member(s, b, c);
    if (c->nargs != 1) {
        sema_error(s, DIAG_argument, c->at, "'%s' over axes takes one tensor",
                   b->name);
        return val_error();
    }
    if (!one_tensor(s, b, c) || !call_axes(s, c, &l)) return val_error();
    if (c->args[0].open) keep_present(s, &c->args[0], &l);
    if (!has_axes(s, b, c, &l)) return val_error();
    if (c->nitems == 0) all_axes(s, &c->args[0], &l);
    return reduce_tensor(s, b, c, c->args[0], &l);
}

/* ------------------------------------------------------------------ norm -- */

static Val sum_of_squares(Sema *s, Span at, Val x, const AxisList *axes)
{
    AxisList l = {.n = 0};
    x = elementwise2(s, at, SC_mul, x, x);
    if (val_failed(&x)) return x;
    if (axes->n)
        l = *axes;
    else
        all_axes(s, &x, &l);
    return reduce_axes(s, at, "sum", x, l.at, l.n);
}

Val bundle_norm(Sema *s, Span at, const Val *v)
{
    AxisList none = {.n = 0};
    Val sum = val_number(0);
    for (uint32_t i = 0; i < v->tuple.n; i++) {
        Val x = sum_of_squares(s, at, v->tuple.at[i], &none);
        sum = i ? elementwise2(s, at, SC_add, sum, x) : x;
    }
    return elementwise(s, at, SC_sqrt, &sum, 1);
}

Val builtin_norm(Sema *s, const Builtin *b, const Call *c)
{
    AxisList l;
    if (c->args[0].kind == VAL_bundle || c->args[0].kind == VAL_tuple)
        return bundle_norm(s, c->at, &c->args[0]);
    if (!one_tensor(s, b, c) || !call_axes(s, c, &l) || !has_axes(s, b, c, &l))
        return val_error();
    Val x = sum_of_squares(s, c->at, c->args[0], &l);
    return elementwise(s, c->at, SC_sqrt, &x, 1);
}

/* ----------------------------------------------------------------- order -- */

static bool single_axis(Sema *s, const Builtin *b, const Call *c, Axis *out)
{
    AxisList l;
    if (!one_tensor(s, b, c) || !call_axes(s, c, &l)) return false;
    if (l.n != 1) {
        sema_error(s, DIAG_axis_form, c->at, "'%s' goes along one axis",
                   b->name);
        return false;
    }
    *out = l.at[0];
    return has_axes(s, b, c, &l);
}

static Val top_ids(Sema *s, const Call *c, Axis a, TypeAxis to,
                   const char *kind)
{
    Val x = c->args[0];
    if (x.dtype == DT_bool) x = eval_as(s, x, DT_i32, c->at);
    Value v = val_use(s, &x, (DType)x.dtype);
    here(s)->loc = loc_of(s->m, c->at);
    return val_tensor(s, emit_top(here(s), v, a, to, kind));
}

Val builtin_arg(Sema *s, const Builtin *b, const Call *c)
{
    Axis a;
    if (!single_axis(s, b, c, &a)) return val_error();
    TypeAxis one = {.size = 1};
    one.axis = axis_local(s, c->node ? c->node : (const void *)b,
                          module_str(s->m, axis_name(s->m, a)), c->at);
    Val ids = top_ids(s, c, a, one, b->which ? "max" : "min");
    return val_tensor(s, emit_pick(here(s), ids.tensor.value, one.axis, 0));
}

Val builtin_argsort(Sema *s, const Builtin *b, const Call *c)
{
    Axis a;
    if (!single_axis(s, b, c, &a)) return val_error();
    TypeAxis whole = *val_axis(s, &c->args[0], a);
    whole.axis = axis_local(s, c->node ? c->node : (const void *)b,
                            module_str(s->m, axis_name(s->m, a)), c->at);
    Value ids = top_ids(s, c, a, whole, "min").tensor.value;
    return val_tensor(s, emit_rename(here(s), ids, &whole.axis, &a, 1));
}

/* top[a -> b](x): the size(b) largest along a, and where they are. */
Val builtin_top(Sema *s, const Builtin *b, const Call *c)
{
    AxisList from = {.n = 0}, to = {.n = 0};
    if (!one_tensor(s, b, c)) return val_error();
    if (c->nitems != 1 || c->items[0].kind != ITEM_rename ||
        !axes_of_term(s, c->items[0].term, &from) ||
        !axes_of_term(s, c->items[0].to, &to) || from.n != 1 || to.n != 1) {
        sema_error(s, DIAG_axis_form, c->at, "write top[a -> b](x)");
        return val_error();
    }
    if (!has_axes(s, b, c, &from)) return val_error();
    TypeAxis k = {.axis = to.at[0]};
    if (!axis_size_needed(s, k.axis, c->at, &k.size)) return val_error();
    int64_t size = val_axis(s, &c->args[0], from.at[0])->size;
    if (k.size > size) {
        sema_error(s, DIAG_axis_size, c->at,
                   "the %lld largest of %lld along '%s'", (long long)k.size,
                   (long long)size, axis_name(s->m, from.at[0]));
        return val_error();
    }
    Val out = {.kind = VAL_tuple};
    out.tuple.n = 2;
    out.tuple.at = NEW_ARRAY(s->a, Val, 2);
    out.tuple.at[1] = top_ids(s, c, from.at[0], k, "max");
    out.tuple.at[0] =
        index_gather(s, c->at, c->args[0], from.at[0], out.tuple.at[1], NULL);
    return out;
}

Val builtin_cumsum(Sema *s, const Builtin *b, const Call *c)
{
    Axis a;
    if (!single_axis(s, b, c, &a)) return val_error();
    Val x = c->args[0];
    if (x.dtype == DT_bool) x = eval_as(s, x, DT_i32, c->at);
    Value v = val_use(s, &x, (DType)x.dtype);
    here(s)->loc = loc_of(s->m, c->at);
    return val_tensor(s, emit_cumsum(here(s), v, a, false, false));
}

/* ------------------------------------------------------- index and size -- */

static bool named_axes(Sema *s, const Builtin *b, const Call *c, AxisList *l)
{
    l->n = 0;
    const Settings *args = c->node ? &c->node->call.args : NULL;
    if (args && args->n == 1 && args->at[0].value->kind == N_name)
        return axes_of_name(
            s, (Name){args->at[0].value->name, args->at[0].value->span}, l);
    if (args && args->n == 0 && c->nitems > 0) return call_axes(s, c, l);
    sema_error(s, DIAG_axis_form, c->at, "write %s(axis)", b->name);
    return false;
}

Val builtin_index(Sema *s, const Builtin *b, const Call *c)
{
    AxisList l;
    if (!named_axes(s, b, c, &l)) return val_error();
    TypeAxis *axes = NEW_ARRAY(s->a, TypeAxis, l.n + 1);
    Val out = val_whole(0);
    for (uint32_t i = 0; i < l.n; i++) {
        axes[i].axis = l.at[i];
        if (!axis_size_needed(s, l.at[i], c->at, &axes[i].size))
            return val_error();
        Val x = lazy_of(s, expr_index(s->m, l.at[i]), &axes[i], 1);
        if (i)
            out = elementwise2(s, c->at, SC_mul, out, val_whole(axes[i].size));
        out = i ? elementwise2(s, c->at, SC_add, out, x) : x;
    }
    return out;
}

Val builtin_size(Sema *s, const Builtin *b, const Call *c)
{
    AxisList l;
    int64_t size = 1, x;
    if (!named_axes(s, b, c, &l)) return val_error();
    for (uint32_t i = 0; i < l.n; i++) {
        if (!axis_size_needed(s, l.at[i], c->at, &x)) return val_error();
        size = times(size, x);
    }
    return val_whole(size);
}

Val builtin_draw(Sema *s, const Builtin *b, const Call *c)
{
    return draw_call(s, c, b->which == 1);
}

/* ----------------------------------------------------------------- table -- */

static const Builtin table[] = {
#define BUILTIN(name, least, most, run, which) \
    {#name, least, most, builtin_##run, which},
#include "builtins.def"
#undef BUILTIN
};

const Builtin *builtin_find(const char *name)
{
    for (uint32_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    return NULL;
}

uint32_t builtin_names(const char **out, uint32_t most)
{
    uint32_t n = 0;
    for (; n < sizeof table / sizeof *table && n < most; n++)
        out[n] = table[n].name;
    return n;
}

bool builtin_takes_axis(const Builtin *b)
{
    return b->run == builtin_index || b->run == builtin_size;
}
