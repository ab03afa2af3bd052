/*
 * partial.c: sums of attention that go further than its kernels.
 *
 * A kernel of attention gives a value or a vector for each row, or for each
 * column.  The derivative of a slope or a cap is one sum over rows, columns and
 * heads; that of a key which all heads share is a sum over rows and heads.  A
 * sum over more axes than another one of the region is cut in two:
 *
 *     %d : f32[]         = reduce %t sum (batch, head, row, column)
 *
 *     %p : f32[batch, head, row] = reduce %t sum (column)        the kernel's
 *     %d : f32[]         = reduce %p sum (batch, head, row)      behind it
 *
 * The region falls into two functions, the first of which has partial sums for
 * results.  The second takes the region's parameters and what the first gives,
 * and its order is fixed, so bits do not depend on the run.
 */
#include "fuse.h"

typedef struct Split {
    Module *m;
    const Fn *fn;
    Arena *a;
    bool *scored;         /* per value: a contraction lies on the way to it */
    const AttrItem **way; /* per value that is cut: the axes of the first sum */
    bool *late;           /* per value: it waits for a sum that is cut */
} Split;

static const AttrItem *axes_of(const Module *m, const Inst *in)
{
    if (in->op == OP_einsum) return attr_get(m, in->attr, AT_sum);
    if (in->op == OP_reduce) return attr_get(m, in->attr, AT_axes);
    return NULL;
}

static bool has_all(const AttrItem *many, const AttrItem *few)
{
    for (uint32_t i = 0; i < few->n; i++)
        if (!attr_item_has(many, few->axes[i])) return false;
    return true;
}

static bool is_part(const AttrItem *few, const AttrItem *many)
{
    return few->n < many->n && has_all(many, few);
}

static bool any_arg(const Split *s, const Inst *in, const bool *set)
{
    for (uint32_t i = 0; i < in->nargs; i++)
        if (set[inst_arg(s->fn, in, i).id]) return true;
    return false;
}

/* A sum of what dots of rows and columns made, or NULL. */
static const AttrItem *score_sum(const Split *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    return any_arg(s, in, s->scored) ? axes_of(s->m, in) : NULL;
}

static bool adds(const Split *s, const Inst *in)
{
    if (in->op == OP_einsum) return true;
    return strcmp(str_of(s->m, attr_str(s->m, in->attr, AT_kind)), "sum") == 0;
}

/* Sums that go along these axes, and perhaps on. */
static uint32_t sums_along(const Split *s, const AttrItem *way)
{
    uint32_t n = 0;
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        const AttrItem *axes = score_sum(s, i);
        n += axes && has_all(axes, way);
    }
    return n;
}

static bool is_shortest(const Split *s, const AttrItem *axes)
{
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        const AttrItem *other = score_sum(s, i);
        if (other && is_part(other, axes)) return false;
    }
    return true;
}

/* Of the region's shortest sums over a part of these axes one with the fewest
 * beside it: the kernel there has registers to spare.  NULL: there is none. */
static const AttrItem *shorter(const Split *s, const AttrItem *axes)
{
    const AttrItem *best = NULL;
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        const AttrItem *way = score_sum(s, i);
        if (!way || !is_part(way, axes) || !is_shortest(s, way)) continue;
        if (!best || sums_along(s, way) < sums_along(s, best)) best = way;
    }
    return best;
}

/* Whether a value that waits can be made from parameters and what waits. */
static bool waits_for_little(const Split *s, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t x = inst_arg(s->fn, in, i).id;
        if (x >= s->fn->nparams && !s->late[x]) return false;
    }
    return true;
}

/* False: nothing is cut, or something that waits reads the kernels' values. */
static bool find_split(Split *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->fn->ninsts; i++) {
        const Inst *in = &s->fn->insts[i];
        s->scored[i] = in->op == OP_einsum || any_arg(s, in, s->scored);
    }
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        const Inst *in = &s->fn->insts[i];
        const AttrItem *axes = score_sum(s, i);
        s->late[i] = any_arg(s, in, s->late);
        if (s->late[i] && !waits_for_little(s, in)) return false;
        if (s->late[i] || !axes || !adds(s, in)) continue;
        s->way[i] = shorter(s, axes);
        s->late[i] = s->way[i] != NULL;
        any |= s->late[i];
    }
    return any;
}

/* ------------------------------------------------------------- functions -- */

static DType acc_of(const Split *s, const Inst *in)
{
    DType d = type_dtype(s->m, value_type(s->fn, inst_arg(s->fn, in, 0)));
    return attr_dtype(s->m, in->attr, AT_acc, dtype_acc(d));
}

static void begin(const Split *s, Builder *b, const char *suffix, Value *map)
{
    const char *stem =
        arena_printf(s->a, "%s.%s", str_of(s->m, s->fn->name), suffix);
    Fn *fn = fn_new(s->m, fn_fresh_name(s->m, stem), VIEW_local);
    fn->loc = s->fn->loc;
    builder_init(b, s->m, fn);
    for (uint32_t i = 0; i < s->fn->nparams; i++)
        map[i] = builder_param(b, s->fn->params[i]);
}

static void place(Builder *b, const Inst *in)
{
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
}

static Value copy(const Split *s, Builder *b, const Inst *in, const Value *map)
{
    Value *args = NEW_ARRAY(s->a, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = map[inst_arg(s->fn, in, i).id];
    return emit(b, (Op)in->op, in->type, in->attr, args, in->nargs);
}

static Value first_sum(const Split *s, Builder *b, uint32_t i, const Value *map)
{
    const Inst *in = &s->fn->insts[i];
    const AttrItem *way = s->way[i];
    DType acc = acc_of(s, in);
    Value x = map[inst_arg(s->fn, in, 0).id];
    if (in->op == OP_reduce)
        return emit_reduce(b, "sum", x, way->axes, way->n, acc, acc);
    return emit_einsum(b, x, map[inst_arg(s->fn, in, 1).id], way->axes, way->n,
                       acc, acc);
}

/* What the kernels make: results that wait for nothing, then partial sums. */
static Fn *make_early(const Split *s, Value *given, uint32_t *ngiven)
{
    Builder b;
    Value *map = NEW_ARRAY(s->a, Value, (size_t)s->fn->ninsts + 1);
    bool *is_result = NEW_ARRAY(s->a, bool, (size_t)s->fn->ninsts + 1);
    begin(s, &b, "early", map);
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        place(&b, &s->fn->insts[i]);
        if (!s->late[i])
            map[i] = copy(s, &b, &s->fn->insts[i], map);
        else if (s->way[i])
            map[i] = first_sum(s, &b, i, map);
    }
    for (uint32_t i = 0; i < s->fn->nresults; i++)
        is_result[s->fn->result_values[i].id] = true;
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < s->fn->ninsts; i++) {
            bool wanted =
                pass ? s->way[i] != NULL : is_result[i] && !s->late[i];
            if (!wanted) continue;
            builder_result(&b, map[i], (Port){.loc = s->fn->insts[i].loc});
            given[(*ngiven)++] = (Value){i};
        }
    return b.fn;
}

static Value second_sum(const Split *s, Builder *b, uint32_t i, Value x)
{
    const Inst *in = &s->fn->insts[i];
    const AttrItem *axes = axes_of(s->m, in);
    Axis *rest = NEW_ARRAY(s->a, Axis, axes->n);
    uint32_t n = 0;
    for (uint32_t k = 0; k < axes->n; k++)
        if (!attr_item_has(s->way[i], axes->axes[k])) rest[n++] = axes->axes[k];
    DType acc = acc_of(s, in);
    x = emit_reduce(b, "sum", x, rest, n, acc, acc);
    return emit_cast(b, x, type_dtype(s->m, in->type));
}

static Fn *make_late(const Split *s, const Fn *early, const Value *given)
{
    Builder b;
    Value *map = NEW_ARRAY(s->a, Value, (size_t)s->fn->ninsts + 1);
    begin(s, &b, "late", map);
    for (uint32_t i = 0; i < early->nresults; i++)
        map[given[i].id] = builder_param(&b, early->results[i]);
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        if (!s->late[i]) continue;
        place(&b, &s->fn->insts[i]);
        map[i] = s->way[i] ? second_sum(s, &b, i, map[i])
                           : copy(s, &b, &s->fn->insts[i], map);
    }
    for (uint32_t i = 0; i < s->fn->nresults; i++)
        builder_result(&b, map[s->fn->result_values[i].id], s->fn->results[i]);
    return b.fn;
}

bool fuse_partial(Fuse *fx, const Fn *region, Fn **early, Fn **late)
{
    size_t n = (size_t)region->ninsts + 1;
    Split s = {.m = fx->m,
               .fn = region,
               .a = fx->a,
               .scored = NEW_ARRAY(fx->a, bool, n),
               .way = NEW_ARRAY(fx->a, const AttrItem *, n),
               .late = NEW_ARRAY(fx->a, bool, n)};
    if (!find_split(&s)) return false;
    Value *given = NEW_ARRAY(fx->a, Value, n);
    uint32_t ngiven = 0;
    *early = make_early(&s, given, &ngiven);
    *late = make_late(&s, *early, given);
    return true;
}
