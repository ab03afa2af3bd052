/*
 * slice.c: a launch that changes slots on the host works on a slice at a time,
 * while the slices before and behind are copied.
 *
 *     launch %g, %m -> %m     ->   in 0, in 1, launch 0
 *                                  loop c     in c + 2 | launch c + 1 | out c
 *                                  out n - 2, launch n - 1, out n - 1
 *
 * What a turn copies and what it works on are three rows of a ring, so nothing
 * in a turn waits for anything else in it.  The first slice and the last stand
 * outside of the loop: each is copied once each way, and the first of one
 * parameter comes while the last of another goes.
 */
#include "slice.h"

#include <inttypes.h>

enum { RING = 3 };

/* One operand of the loop for each place of the launch. */
typedef struct Operand {
    Value outer, inner;           /* of the entry, of the body: all slices */
    Value ring_outer, ring_inner; /* of those that are copied; or NO_VALUE */
    Layout slices, ring;
    Type slice;
    int64_t pitch; /* bytes from slice to slice; 0: it is not cut */
    bool in, out;  /* copied */
} Operand;

typedef struct Writer {
    Slicer *x;
    Transfers *transfers;
    Builder *entry, body;
    FnRef group;        /* for a slice */
    Operand *operands;  /* by operand of the launch */
    const Operand **of; /* likewise: that of its place */
    uint32_t n;
} Writer;

/* ----------------------------------------------------------------- group -- */

static FnRef slice_group(const Slicer *x)
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

/* -------------------------------------------------------------- operands -- */

static Attr stride_attr(Module *m, AttrList *l, Layout layout)
{
    layout_put_stride(m, layout, l);
    return attr_intern(m, l);
}

static Value body_param(Writer *w, Str name, Layout l)
{
    AttrList at = {.n = 0};
    Value v = builder_param(&w->body, (Port){.name = name, .type = l.type});
    w->body.fn->insts[v.id].attr = stride_attr(w->x->m, &at, l);
    return v;
}

/* Copies are of slices that are pieces of bytes. */
static void find_copies(Writer *w, Operand *o, Value v)
{
    const Slicer *x = w->x;
    if (!lies_on_host(x, v) || type_bytes(x->m, o->slice) != o->pitch ||
        !layout_is_packed(x->m, o->slices))
        return;
    for (uint32_t k = 0; k < x->in->nargs; k++)
        if (value_eq(inst_arg(x->fn, x->in, k), v))
            *(step_writes(x->m, x->in, k) ? &o->out : &o->in) = true;
}

static void add_cut(Writer *w, Operand *o, Value v)
{
    Slicer *x = w->x;
    Module *m = x->m;
    AttrList l = {.n = 0};
    o->slices = slices_of(x, v, x->cut.count);
    o->slice = type_without_axis(m, o->slices.type, x->cut.slices);
    o->pitch = layout_stride(m, o->slices, x->cut.slices) *
               dtype_bytes(type_dtype(m, o->slice));
    o->outer = emit(w->entry, OP_view, o->slices.type,
                    stride_attr(m, &l, o->slices), &o->outer, 1);
    find_copies(w, o, v);
    if (!o->in && !o->out) return;
    l.n = 0;
    o->ring = slices_of(x, v, RING);
    o->ring_outer = emit(w->entry, OP_buffer, o->ring.type,
                         stride_attr(m, &l, o->ring), NULL, 0);
    value_set_name(w->entry, o->ring_outer, x->fn->names[v.id]);
}

static void add_operand(Writer *w, const Rewrite *rw, uint32_t k)
{
    Slicer *x = w->x;
    Value v = inst_arg(x->fn, x->in, k);
    for (uint32_t i = 0; i < k; i++)
        if (value_eq(inst_arg(x->fn, x->in, i), v)) {
            w->of[k] = w->of[i];
            return;
        }
    Operand *o = &w->operands[w->n++];
    w->of[k] = o;
    *o = (Operand){.outer = rewrite_value(rw, v),
                   .ring_outer = NO_VALUE,
                   .slices = layout_of(x->m, x->fn, v, x->a)};
    if (is_cut(x, o->slices.type)) add_cut(w, o, v);
    o->inner = body_param(w, x->fn->names[v.id], o->slices);
}

/* Rings come behind all else that the body has. */
static void add_operands(Writer *w, const Rewrite *rw)
{
    uint32_t n = w->x->in->nargs;
    w->operands = NEW_ARRAY(w->x->a, Operand, (size_t)n + 1);
    w->of = NEW_ARRAY(w->x->a, const Operand *, (size_t)n + 1);
    for (uint32_t k = 0; k < n; k++)
        add_operand(w, rw, k);
    for (uint32_t i = 0; i < w->n; i++) {
        Operand *o = &w->operands[i];
        if (value_eq(o->ring_outer, NO_VALUE)) continue;
        o->ring_inner =
            body_param(w, w->entry->fn->names[o->ring_outer.id], o->ring);
    }
}

/* --------------------------------------------------------------- writing -- */

/* Slice I of what has ROWS of them; in the body, that of the turn's number and
 * I. */
static Value slice_view(Writer *w, Builder *b, const Operand *o, Value of,
                        int64_t rows, int64_t i)
{
    Module *m = w->x->m;
    AttrList l = {.n = 0};
    const TypeInfo *ti = type_info(m, o->slice);
    int64_t *stride = NEW_ARRAY(w->x->a, int64_t, (size_t)ti->naxes + 1);
    for (uint32_t k = 0; k < ti->naxes; k++)
        stride[k] = layout_stride(m, o->slices, ti->axes[k].axis);
    if (b == &w->body) {
        int64_t ring[2] = {rows, i % rows};
        attr_put_ints(&l, AT_turn, &o->pitch, 1);
        attr_put_ints(&l, AT_ring, ring, 2);
    } else if (i % rows) {
        attr_put_int(&l, AT_offset, i % rows * o->pitch);
    }
    Attr at = stride_attr(m, &l, (Layout){o->slice, stride});
    return emit(b, OP_view, o->slice, at, &of, 1);
}

static Value in_ring(Writer *w, Builder *b, const Operand *o, int64_t i)
{
    Value of = b == &w->body ? o->ring_inner : o->ring_outer;
    return slice_view(w, b, o, of, RING, i);
}

static Value in_place(Writer *w, Builder *b, const Operand *o, int64_t i)
{
    Value of = b == &w->body ? o->inner : o->outer;
    return slice_view(w, b, o, of, w->x->cut.count, i);
}

static void copy_slice(Writer *w, Builder *b, bool in, int64_t i)
{
    for (uint32_t k = 0; k < w->n; k++) {
        const Operand *o = &w->operands[k];
        if (!(in ? o->in : o->out)) continue;
        Value there = in_place(w, b, o, i), here = in_ring(w, b, o, i);
        transfer_emit(w->transfers, b, in, there, here);
    }
}

static void work_on_slice(Writer *w, Builder *b, int64_t i)
{
    const Inst *in = w->x->in;
    Value *args = NEW_ARRAY(w->x->a, Value, (size_t)in->nargs + 1);
    for (uint32_t k = 0; k < in->nargs; k++) {
        const Operand *o = w->of[k];
        uint32_t first = 0;
        while (w->of[first] != o)
            first++;
        if (first < k)
            args[k] = args[first];
        else if (o->pitch == 0)
            args[k] = b == &w->body ? o->inner : o->outer;
        else if (o->in || o->out)
            args[k] = in_ring(w, b, o, i);
        else
            args[k] = in_place(w, b, o, i);
    }
    Attr attr = attr_with_id(w->x->m, in->attr, AT_fn, w->group.id);
    emit(b, OP_launch, (Type){0}, attr, args, in->nargs);
}

static void emit_loop(Writer *w, int64_t count)
{
    Module *m = w->x->m;
    AttrList l = {.n = 0};
    Value *args = NEW_ARRAY(w->x->a, Value, 2 * (size_t)w->n + 1);
    uint32_t n = w->n;
    for (uint32_t i = 0; i < w->n; i++)
        args[i] = w->operands[i].outer;
    for (uint32_t i = 0; i < w->n; i++)
        if (!value_eq(w->operands[i].ring_outer, NO_VALUE))
            args[n++] = w->operands[i].ring_outer;
    copy_slice(w, &w->body, true, 2);
    copy_slice(w, &w->body, false, 0);
    work_on_slice(w, &w->body, 1);
    attr_put_id(&l, AT_fn, module_add_fn(m, w->body.fn).id);
    attr_put_id(&l, AT_axis, w->x->cut.slices.id);
    attr_put_int(&l, AT_count, count);
    emit(w->entry, OP_loop, (Type){0}, attr_intern(m, &l), args, n);
}

static void emit_slices(Slicer *x, Transfers *t, Rewrite *rw)
{
    Module *m = x->m;
    int64_t n = x->cut.count;
    Writer w = {.x = x, .transfers = t, .entry = &rw->b};
    const char *name =
        arena_printf(x->a, "%s.slice", str_of(m, x->group->name));
    Fn *body = fn_new(m, fn_fresh_name(m, name), VIEW_kernel);
    body->loc = x->in->loc;
    builder_init(&w.body, m, body);
    rw->b.loc = w.body.loc = x->in->loc;
    rw->b.phase = w.body.phase = (Phase)x->in->phase;
    w.group = slice_group(x);
    add_operands(&w, rw);
    copy_slice(&w, &rw->b, true, 0);
    copy_slice(&w, &rw->b, true, 1);
    work_on_slice(&w, &rw->b, 0);
    if (n > 2) emit_loop(&w, n - 2);
    copy_slice(&w, &rw->b, false, n - 2);
    work_on_slice(&w, &rw->b, n - 1);
    copy_slice(&w, &rw->b, false, n - 1);
}

/* ------------------------------------------------------------------ pass -- */

static bool slice_launch(Slicer *x, Transfers *t, PassCtx *cx, Rewrite *rw)
{
    Module *m = x->m;
    if (x->in->op != OP_launch || !changes_host(x)) return false;
    const char *what = type_str(m, value_type(x->fn, x->largest));
    if (!find_cut(x)) {
        pass_missed(m, cx, x->in->loc,
                    "%s stays in the memory of the host while a kernel works "
                    "on it: it has no slices that go through the bus one by "
                    "one",
                    what);
        return false;
    }
    x->cut.slices = axis_fresh(m, "slice", x->cut.count);
    pass_remark(m, cx, x->in->loc,
                "%s is copied in and out in %" PRId64 " slices", what,
                x->cut.count);
    emit_slices(x, t, rw);
    return true;
}

Fn *offload_sliced(Transfers *t, PassCtx *cx, const Fn *entry, int64_t most)
{
    Rewrite rw;
    rewrite_begin(&rw, t->m, entry);
    rw.b.no_fold = true;
    for (uint32_t i = entry->nparams; i < entry->ninsts; i++) {
        Slicer x = {.m = t->m, .a = t->m->scratch, .fn = entry, .most = most};
        x.in = &entry->insts[i];
        if (!slice_launch(&x, t, cx, &rw)) rewrite_copy(&rw, (Value){i});
    }
    return rewrite_end(&rw);
}
