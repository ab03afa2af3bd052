/*
 * slice.c: a launch that changes slots on the host works on a slice at a time.
 *
 *     launch %g, %m -> %m         loop %g, %m    rows 32
 *                            ->     launch %g[row], %m[row] -> %m[row]
 *
 * An optimizer's update is one launch for all of a parameter.  It is made of
 * maps, so any part of its elements can be made by itself, with the same bits.
 * Cut along the axes that are outermost in memory, slots have slices that are
 * each one piece of bytes: rows of a loop, which offload.c then copies in and
 * out beside the turns.
 *
 * The outermost axes are gone inside, one index a turn, as many as it takes for
 * a slice to be small enough; the last may be cut into parts instead.  Every
 * operand that has one of these axes has all of them, and lies so that the
 * slices are equally far apart.
 *
 * Slices are as small as still fills the bus, for three reasons: two of each
 * slot are in the frame, the first one is waited for, and the last turn of a
 * loop copies one in that nobody needs.
 */
#include "slice.h"

#include <inttypes.h>

/* A slot has so many slices or more.  One of fewer bytes than a part of a
 * slice, or whose slices would be as small, is worked on where it lies: such
 * copies do not fill the bus. */
enum { LEAST_SLICES = 16, SLOT_PART = 32, SLICE_PART = 1024 };

typedef struct Cut {
    Axis *gone; /* outermost first: a slice has one index of each */
    uint32_t ngone;
    Axis part; /* of which a slice has `size` indices; or NO_AXIS */
    int64_t size;
    Axis turns; /* of the loop */
    int64_t count;
} Cut;

typedef struct Slicer {
    Module *m;
    Arena *a;
    const Fn *fn; /* the entry */
    const Inst *in;
    const Fn *group;
    Value largest; /* operand on the host */
    int64_t most;
    Cut cut;
} Slicer;

/* ------------------------------------------------------------ what is cut --
 */

static bool lies_on_host(Slicer *x, Value v)
{
    Value root = spot_of(x->m, x->fn, v, x->a).root;
    if (inst_of(x->fn, root)->op != OP_arg) return false;
    const Slot *s = slot_find(x->m, x->fn->params[root.id].path);
    return s && s->host;
}

static uint32_t nreads(const Slicer *x)
{
    return x->in->nargs - (uint32_t)attr_int(x->m, x->in->attr, AT_outs, 0);
}

/* It reads a slot on the host and writes one; the largest that it reads. */
static bool changes_host(Slicer *x)
{
    int64_t bytes = 0;
    bool writes = false;
    for (uint32_t k = 0; k < x->in->nargs; k++) {
        Value v = inst_arg(x->fn, x->in, k);
        uint8_t op = inst_of(x->fn, v)->op;
        if (op == OP_counter || op == OP_coord) return false;
        if (!lies_on_host(x, v)) continue;
        int64_t n = type_bytes(x->m, value_type(x->fn, v));
        writes |= k >= nreads(x);
        if (k >= nreads(x) || n <= bytes) continue;
        bytes = n;
        x->largest = v;
    }
    return writes && bytes > 0 && bytes >= x->most / SLOT_PART;
}

/* ------------------------------------------------------------------- cuts --
 */

static bool has_axis(const Slicer *x, Type t, Axis a)
{
    return type_axis(x->m, t, a) != NULL;
}

/* V has the axis if it has those that are gone, and one index further along it
 * is as far as all of what lies within one index of the last of those. */
static bool goes_along(Slicer *x, Value v, Axis axis)
{
    const Cut *c = &x->cut;
    Layout l = layout_of(x->m, x->fn, v, x->a);
    bool has = has_axis(x, l.type, axis);
    if (c->ngone == 0) return true;
    Axis last = c->gone[c->ngone - 1];
    if (has != has_axis(x, l.type, last)) return false;
    return !has ||
           layout_stride(x->m, l, last) ==
               layout_stride(x->m, l, axis) * type_size(x->m, l.type, axis);
}

static bool all_go_along(Slicer *x, Axis axis)
{
    for (uint32_t k = 0; k < x->in->nargs; k++)
        if (!goes_along(x, inst_arg(x->fn, x->in, k), axis)) return false;
    return true;
}

/* Each element is made of elements at its own index, whatever that is. */
static bool is_made_of_maps(const Slicer *x)
{
    const Cut *c = &x->cut;
    for (uint32_t i = x->group->nparams; i < x->group->ninsts; i++) {
        const Inst *in = &x->group->insts[i];
        if (in->op != OP_map) return false;
        Expr e = attr_expr(x->m, in->attr);
        for (uint32_t k = 0; k < c->ngone; k++)
            if (expr_uses_index(x->m, e, c->gone[k])) return false;
        if (c->part.id != NO_AXIS.id && expr_uses_index(x->m, e, c->part))
            return false;
    }
    return true;
}

/* The fewest equal parts of N indices, of so many bytes each, that have no more
 * than MOST; 0: single indices have more. */
static int64_t fewest_parts(int64_t n, int64_t bytes, int64_t most)
{
    for (int64_t k = 1; k <= n; k++)
        if (n % k == 0 && n / k * bytes <= most) return k;
    return 0;
}

static bool find_cut(Slicer *x)
{
    Module *m = x->m;
    Cut *c = &x->cut;
    Layout l = layout_of(m, x->fn, x->largest, x->a);
    uint32_t naxes = type_info(m, l.type)->naxes;
    Axis *order = NEW_ARRAY(x->a, Axis, (size_t)naxes + 1);
    int64_t bytes = type_bytes(m, l.type), most = bytes / LEAST_SLICES;
    if (most > x->most) most = x->most;
    *c = (Cut){.gone = NEW_ARRAY(x->a, Axis, (size_t)naxes + 1),
               .part = NO_AXIS,
               .count = 1};
    layout_order(m, l, order);
    for (uint32_t i = 0; i < naxes && bytes > most; i++) {
        int64_t n = type_size(m, l.type, order[i]);
        if (!all_go_along(x, order[i])) break;
        bytes /= n;
        int64_t parts = fewest_parts(n, bytes, most);
        if (parts == 0 || parts == n) {
            c->gone[c->ngone++] = order[i];
            c->count *= n;
        } else {
            c->part = order[i];
            c->size = n / parts;
            c->count *= parts;
            bytes *= c->size;
        }
        if (parts) break;
    }
    return c->count > 1 && c->count <= UINT16_MAX &&
           bytes >= x->most / SLICE_PART;
}

static bool is_cut(const Slicer *x, Type t)
{
    const Cut *c = &x->cut;
    return has_axis(x, t, c->ngone ? c->gone[0] : c->part);
}

static Type slice_type(const Slicer *x, Type t)
{
    const Cut *c = &x->cut;
    if (!is_cut(x, t)) return t;
    Type slice = type_without_axes(x->m, t, c->gone, c->ngone);
    if (c->part.id == NO_AXIS.id) return slice;
    TypeAxis part = *type_axis(x->m, slice, c->part);
    part.size = c->size;
    return type_with_axis(x->m, slice, part);
}

/* All slices of V, counted by an axis of their own. */
static Layout slices_of(Slicer *x, Value v)
{
    Module *m = x->m;
    const Cut *c = &x->cut;
    Layout whole = layout_of(m, x->fn, v, x->a);
    Type slice = slice_type(x, whole.type);
    Type t = type_with_axis(m, slice,
                            (TypeAxis){.axis = c->turns, .size = c->count});
    const TypeInfo *ti = type_info(m, t);
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)ti->naxes + 1);
    for (uint32_t i = 0; i < ti->naxes; i++)
        stride[i] = layout_stride(m, whole, ti->axes[i].axis);
    Axis last = c->part.id == NO_AXIS.id ? c->gone[c->ngone - 1] : c->part;
    int64_t indices = c->part.id == NO_AXIS.id ? 1 : c->size;
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (ti->axes[i].axis.id == c->turns.id)
            stride[i] = layout_stride(m, whole, last) * indices;
    return (Layout){t, stride};
}

static Layout slice_of(Slicer *x, Layout slices)
{
    Module *m = x->m;
    Layout l = {type_without_axis(m, slices.type, x->cut.turns), NULL};
    const TypeInfo *ti = type_info(m, l.type);
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)ti->naxes + 1);
    for (uint32_t i = 0; i < ti->naxes; i++)
        stride[i] = layout_stride(m, slices, ti->axes[i].axis);
    l.stride = stride;
    return l;
}

/* ---------------------------------------------------------------- writing --
 */

static void put_stride(Module *m, AttrList *l, Layout layout)
{
    if (!layout_is_dense(m, layout))
        attr_put_ints(l, AT_stride, layout.stride,
                      type_info(m, layout.type)->naxes);
}

/* The group, for a slice. */
static FnRef slice_group(Slicer *x)
{
    Module *m = x->m;
    const Fn *g = x->group;
    Fn *fn = fn_new(m, fn_fresh_name(m, str_of(m, g->name)), VIEW_local);
    Value *made = NEW_ARRAY(x->a, Value, (size_t)g->ninsts + 1);
    Builder b;
    fn->kind = g->kind;
    fn->loc = g->loc;
    builder_init(&b, m, fn);
    b.no_fold = true;
    for (uint32_t i = 0; i < g->nparams; i++) {
        Port p = g->params[i];
        p.type = slice_type(x, p.type);
        made[i] = builder_param(&b, p);
    }
    for (uint32_t i = g->nparams; i < g->ninsts; i++) {
        const Inst *in = &g->insts[i];
        Value *args = NEW_ARRAY(x->a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = made[inst_arg(g, in, k).id];
        b.loc = in->loc;
        b.phase = (Phase)in->phase;
        made[i] = emit(&b, OP_map, slice_type(x, in->type), in->attr, args,
                       in->nargs);
        value_set_name(&b, made[i], g->names[i]);
    }
    for (uint32_t r = 0; r < g->nresults; r++)
        builder_result(&b, made[g->result_values[r].id], g->results[r]);
    return module_add_fn(m, fn);
}

/* One operand of the loop for each place. */
typedef struct Operands {
    Value *outer;  /* of the entry that is being written */
    Value *inner;  /* by operand of the launch: what it is in the body */
    Layout *whole; /* by operand of the launch, as the loop has it */
    uint32_t n;
} Operands;

/* The operand of the launch that comes first in the place of operand K. */
static uint32_t first_of(const Slicer *x, uint32_t k)
{
    uint32_t first = 0;
    while (!value_eq(inst_arg(x->fn, x->in, first), inst_arg(x->fn, x->in, k)))
        first++;
    return first;
}

/* Hands operand K to the loop. */
static void hand_in(Slicer *x, Rewrite *rw, Builder *b, Operands *o, uint32_t k)
{
    Module *m = x->m;
    Value v = inst_arg(x->fn, x->in, k), outer = rewrite_value(rw, v);
    AttrList l = {.n = 0};
    bool cut = is_cut(x, value_type(x->fn, v));
    o->whole[k] = cut ? slices_of(x, v) : layout_of(m, x->fn, v, x->a);
    put_stride(m, &l, o->whole[k]);
    Type t = o->whole[k].type;
    Attr attr = attr_intern(m, &l);
    o->outer[o->n++] = cut ? emit(&rw->b, OP_view, t, attr, &outer, 1) : outer;
    o->inner[k] =
        builder_param(b, (Port){.name = x->fn->names[v.id], .type = t});
    b->fn->insts[o->inner[k].id].attr = attr;
}

/* The turn's slice of operand K, in the body. */
static Value slice_view(Slicer *x, Builder *b, const Operands *o, uint32_t k)
{
    Module *m = x->m;
    Layout whole = o->whole[k], slice = slice_of(x, whole);
    AttrList l = {.n = 0};
    int64_t pitch = layout_stride(m, whole, x->cut.turns) *
                    dtype_bytes(type_dtype(m, whole.type));
    attr_put_ints(&l, AT_turn, &pitch, 1);
    put_stride(m, &l, slice);
    return emit(b, OP_view, slice.type, attr_intern(m, &l), &o->inner[k], 1);
}

static Operands add_operands(Slicer *x, Rewrite *rw, Builder *b)
{
    uint32_t n = x->in->nargs;
    Operands o = {NEW_ARRAY(x->a, Value, (size_t)n + 1),
                  NEW_ARRAY(x->a, Value, (size_t)n + 1),
                  NEW_ARRAY(x->a, Layout, (size_t)n + 1), 0};
    for (uint32_t k = 0; k < n; k++)
        if (first_of(x, k) == k) hand_in(x, rw, b, &o, k);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t first = first_of(x, k);
        bool cut = is_cut(x, value_type(x->fn, inst_arg(x->fn, x->in, k)));
        if (first < k)
            o.inner[k] = o.inner[first];
        else if (cut)
            o.inner[k] = slice_view(x, b, &o, k);
    }
    return o;
}

static void emit_slices(Slicer *x, Rewrite *rw)
{
    Module *m = x->m;
    AttrList launch = attr_list(m, x->in->attr), loop = {.n = 0};
    Builder b;
    Fn *body = fn_new(m,
                      fn_fresh_name(m, arena_printf(x->a, "%s.slice",
                                                    str_of(m, x->group->name))),
                      VIEW_kernel);
    body->loc = x->in->loc;
    builder_init(&b, m, body);
    rw->b.loc = b.loc = x->in->loc;
    rw->b.phase = b.phase = (Phase)x->in->phase;
    FnRef group = slice_group(x);
    Operands o = add_operands(x, rw, &b);
    attr_drop(&launch, AT_fn);
    attr_put_id(&launch, AT_fn, group.id);
    emit(&b, OP_launch, (Type){0}, attr_intern(m, &launch), o.inner,
         x->in->nargs);
    attr_put_id(&loop, AT_fn, module_add_fn(m, body).id);
    attr_put_id(&loop, AT_axis, x->cut.turns.id);
    attr_put_int(&loop, AT_count, x->cut.count);
    emit(&rw->b, OP_loop, (Type){0}, attr_intern(m, &loop), o.outer, o.n);
}

static bool slice_launch(Slicer *x, PassCtx *cx, Rewrite *rw)
{
    Module *m = x->m;
    x->group = fn_of(m, attr_fn(m, x->in->attr, AT_fn));
    if (!changes_host(x)) return false;
    const char *what = type_str(m, value_type(x->fn, x->largest));
    if (!find_cut(x) || !is_made_of_maps(x)) {
        pass_missed(m, cx, x->in->loc,
                    "%s stays in the memory of the host while a kernel works "
                    "on it: it has no slices that go through the bus one by "
                    "one",
                    what);
        return false;
    }
    x->cut.turns = axis_fresh(m, "slice", x->cut.count);
    pass_remark(m, cx, x->in->loc, "%s is worked on in %" PRId64 " slices",
                what, x->cut.count);
    emit_slices(x, rw);
    return true;
}

Fn *offload_sliced(Module *m, PassCtx *cx, const Fn *entry, int64_t most)
{
    Rewrite rw;
    rewrite_begin(&rw, m, entry);
    rw.b.no_fold = true;
    for (uint32_t i = entry->nparams; i < entry->ninsts; i++) {
        Slicer x = {.m = m, .a = m->scratch, .fn = entry, .most = most};
        x.in = &entry->insts[i];
        if (x.in->op != OP_launch || !slice_launch(&x, cx, &rw))
            rewrite_copy(&rw, (Value){i});
    }
    return rewrite_end(&rw);
}
