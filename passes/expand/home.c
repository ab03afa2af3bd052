/*
 * home.c: where each value lives.
 *
 * A function is walked backwards, so that readers are known before writers.
 * Each reader may want a value somewhere: a result in its slot, a part in the
 * place of the whole (concat, stack, merge), an operand where the result that
 * overwrites it will be.  The owner moves in if every other tenant of those
 * bytes is gone by then; otherwise it gets a root of its own and is copied
 * when the time comes.  A tenant that is read for the last time by the very
 * instruction that fills its place is no obstacle when that instruction works
 * in place.
 */
#include "expand.h"

/* ---------------------------------------------------- layouts of aliases -- */

static int64_t size_of(const Module *m, Type t, Axis a)
{
    return type_local_size(m, type_axis(m, t, a));
}

Layout layout_from(const Expand *x, Type t, Layout like)
{
    const Module *m = x->m;
    const TypeInfo *ti = type_info(m, t);
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)ti->naxes + 1);
    for (uint32_t i = 0; i < ti->naxes; i++)
        stride[i] = layout_stride(m, like, ti->axes[i].axis);
    return (Layout){t, stride};
}

static void set_stride(const Expand *x, Layout *l, Axis a, int64_t stride)
{
    const TypeInfo *ti = type_info(x->m, l->type);
    int64_t *copy = NEW_ARRAY(x->a, int64_t, (size_t)ti->naxes + 1);
    memcpy(copy, l->stride, ti->naxes * sizeof *copy);
    copy[type_axis(x->m, l->type, a) - ti->axes] = stride;
    l->stride = copy;
}

/* Axis A of layout `of` as the parts, major first. */
static Layout layout_split(const Expand *x, Type t, Layout of, Axis a,
                           const AttrItem *parts)
{
    Layout l = layout_from(x, t, of);
    int64_t step = layout_stride(x->m, of, a);
    for (uint32_t i = parts->n; i-- > 0;) {
        set_stride(x, &l, parts->axes[i], step);
        step *= size_of(x->m, t, parts->axes[i]);
    }
    return l;
}

static bool layout_merge(const Expand *x, Type t, Layout of, Axis a,
                         const AttrItem *parts, Layout *out)
{
    int64_t inner = 0, next = 0;
    for (uint32_t i = parts->n; i-- > 0;) {
        int64_t size = size_of(x->m, of.type, parts->axes[i]);
        int64_t stride = layout_stride(x->m, of, parts->axes[i]);
        if (size == 1) continue;
        if (!inner) inner = next = stride;
        if (stride != next) return false;
        next = stride * size;
    }
    *out = layout_from(x, t, of);
    set_stride(x, out, a, inner ? inner : 1);
    return true;
}

static Layout layout_renamed(const Expand *x, Type t, Layout of,
                             const AttrItem *from, const AttrItem *to)
{
    Layout l = layout_from(x, t, of);
    for (uint32_t i = 0; i < from->n; i++)
        set_stride(x, &l, to->axes[i], layout_stride(x->m, of, from->axes[i]));
    return l;
}

static int64_t element_bytes(const Expand *x, Type t)
{
    return dtype_bytes(type_dtype(x->m, t));
}

static Axis axis_or_none(const Module *m, const Inst *in)
{
    if (!attr_get(m, in->attr, AT_axis)) return (Axis){0};
    return attr_axis(m, in->attr, AT_axis);
}

bool home_forward(Expand *x, const Fn *fn, const Inst *in, const Home *of,
                  Home *out)
{
    const Module *m = x->m;
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    Axis axis = axis_or_none(m, in);
    int64_t start = attr_int(m, in->attr, AT_start, 0);
    (void)fn;
    *out = *of;
    switch ((Op)in->op) {
    case OP_rename:
        out->layout = layout_renamed(x, in->type, of->layout, from, to);
        return true;
    case OP_split:
        out->layout = layout_split(x, in->type, of->layout, axis, to);
        return true;
    case OP_merge:
        return layout_merge(x, in->type, of->layout, axis, from, &out->layout);
    case OP_slice:
    case OP_pick: {
        int64_t stride = layout_stride(m, of->layout, axis);
        out->offset += start * stride * element_bytes(x, in->type);
        out->layout = layout_from(x, in->type, of->layout);
        if (in->op == OP_slice)
            set_stride(x, &out->layout, axis,
                       stride * attr_int(m, in->attr, AT_step, 1));
        return true;
    }
    default:
        return false;
    }
}

/* The layout of the operand that gives the alias layout L. */
static bool layout_backward(const Expand *x, const Fn *fn, const Inst *in,
                            Layout l, Layout *out)
{
    const Module *m = x->m;
    Type t = value_type(fn, inst_arg(fn, in, 0));
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    Axis axis = axis_or_none(m, in);
    if (in->op == OP_rename) *out = layout_renamed(x, t, l, to, from);
    if (in->op == OP_merge) *out = layout_split(x, t, l, axis, from);
    if (in->op == OP_split) return layout_merge(x, t, l, axis, to, out);
    return in->op == OP_rename || in->op == OP_merge;
}

Home home_part(Expand *x, const Fn *fn, const Inst *in, uint32_t i,
               const Home *of)
{
    const Module *m = x->m;
    Axis axis = attr_axis(m, in->attr, AT_axis);
    Type t = value_type(fn, inst_arg(fn, in, i));
    int64_t before = 0;
    for (uint32_t k = 0; k < i; k++)
        before += in->op == OP_stack
                      ? 1
                      : size_of(m, value_type(fn, inst_arg(fn, in, k)), axis);
    Home h = *of;
    h.offset +=
        before * layout_stride(m, of->layout, axis) * element_bytes(x, t);
    h.layout = layout_from(x, t, of->layout);
    return h;
}

/* -------------------------------------------------------------- tenants -- */

bool home_same(const Module *m, const Home *a, const Home *b)
{
    return a->root == b->root && a->offset == b->offset && a->turn == b->turn &&
           layout_same(m, a->layout, b->layout);
}

/* In place the dtype may change, the bytes may not. */
static bool home_same_bytes(const Module *m, const Home *a, const Home *b)
{
    const TypeInfo *x = type_info(m, a->layout.type);
    const TypeInfo *y = type_info(m, b->layout.type);
    if (a->root != b->root || a->offset != b->offset || a->turn != b->turn ||
        x->naxes != y->naxes ||
        dtype_bytes((DType)x->dtype) != dtype_bytes((DType)y->dtype))
        return false;
    for (uint32_t i = 0; i < x->naxes; i++)
        if (x->axes[i].axis.id != y->axes[i].axis.id ||
            (a->layout.stride[i] != b->layout.stride[i] &&
             type_local_size(m, &x->axes[i]) != 1))
            return false;
    return true;
}

/* From which byte of a row of PITCH bytes to which a place reaches, in every
 * row that it has; false: over the end of one. */
static bool reach_in_row(const Module *m, const Home *h, int64_t pitch,
                         int64_t *from, int64_t *to)
{
    const TypeInfo *ti = type_info(m, h->layout.type);
    int64_t bytes = dtype_bytes((DType)ti->dtype), last = bytes;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        int64_t stride = h->layout.stride[i] * bytes;
        if (stride % pitch != 0)
            last += (type_local_size(m, &ti->axes[i]) - 1) * stride;
    }
    *from = h->offset % pitch;
    *to = *from + last;
    return *to <= pitch;
}

/* They lie in different columns of rows of one pitch. */
static bool lie_between(const Module *m, const Home *a, const Home *b)
{
    const TypeInfo *ti = type_info(m, a->layout.type);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        int64_t pitch =
            a->layout.stride[i] * (int64_t)dtype_bytes((DType)ti->dtype);
        int64_t from[2], to[2];
        if (pitch > 0 && reach_in_row(m, a, pitch, &from[0], &to[0]) &&
            reach_in_row(m, b, pitch, &from[1], &to[1]) &&
            (to[0] <= from[1] || to[1] <= from[0]))
            return true;
    }
    return false;
}

bool bytes_meet(const Module *m, const Home *a, const Home *b)
{
    if (a->root != b->root) return false;
    if (a->turn != b->turn) return true;
    return !lie_between(m, a, b) &&
           a->offset < b->offset + layout_bytes(m, b->layout) &&
           b->offset < a->offset + layout_bytes(m, a->layout);
}

/* OLD is read for the last time where NEW is filled. */
static bool hands_over(const Scene *s, const Tenant *old, const Tenant *new)
{
    Value maker;
    uint32_t result;
    if (old->last != new->first ||
        !home_same_bytes(s->x->m, &old->at, &new->at) ||
        !owner_result(s, new->owner, &maker, &result))
        return false;
    return writes_in_place(s, inst_of(s->fn, maker), result, old->owner);
}

static bool is_operand(const Scene *s, Value maker, Value owner)
{
    const Inst *in = inst_of(s->fn, maker);
    for (uint32_t k = 0; k < in->nargs; k++)
        if (value_eq(s->owner[inst_arg(s->fn, in, k).id], owner)) return true;
    return false;
}

/* T is a part of what hands its place over to NEW, and is not read there
 * itself. */
static bool whole_hands_over(const Scene *s, const Tenant *t, const Tenant *new)
{
    Value maker;
    uint32_t result;
    if (!owner_result(s, new->owner, &maker, &result) ||
        is_operand(s, maker, t->owner))
        return false;
    for (const Tenant *o = t->at.root->tenants; o; o = o->next)
        if (o->family == t->family && o->last == t->last &&
            hands_over(s, o, new))
            return true;
    return false;
}

static bool may_move_in(const Scene *s, const Tenant *t)
{
    for (const Tenant *o = t->at.root->tenants; o; o = o->next) {
        if (o->family == t->family || !bytes_meet(s->x->m, &o->at, &t->at))
            continue;
        if (o->last < t->first || t->last < o->first) continue;
        if (hands_over(s, o, t) || hands_over(s, t, o) ||
            whole_hands_over(s, t, o))
            continue;
        return false;
    }
    return true;
}

static void move_in(Scene *s, const Tenant *t)
{
    Tenant *copy = NEW(s->x->a, Tenant);
    *copy = *t;
    copy->next = t->at.root->tenants;
    t->at.root->tenants = copy;
    s->home[t->owner.id] = t->at;
}

Root *root_new(Scene *s, Layout layout, Str name, Loc loc)
{
    Root *r = NEW(s->x->a, Root);
    *r = (Root){.layout = layout, .value = NO_VALUE, .name = name, .loc = loc};
    vec_push(s->x->a, &s->roots, r);
    return r;
}

/* ----------------------------------------------------- walking backwards -- */

static void set_want(Scene *s, Value v, const Home *h, uint32_t family)
{
    if (s->want[v.id].root || inst_of(s->fn, v)->op == OP_arg) return;
    s->want[v.id] = *h;
    s->want_family[v.id] = family;
}

static void set_like(Scene *s, Value v, Layout l)
{
    if (!s->like[v.id].stride) s->like[v.id] = l;
}

/* What a scatter fills is cleared as one piece. */
static bool may_be_strided(const Scene *s, Value owner)
{
    const Module *m = s->x->m;
    const Inst *in = inst_of(s->fn, owner);
    if (in->op != OP_call) return true;
    const Fn *g = fn_of(m, attr_fn(m, in->attr, AT_fn));
    return !fn_is(m, g, FK_scatter);
}

/* The result of a group or of a repeat's body that V stands for. */
static bool made_inside(const Module *m, const Fn **fn, Value *v)
{
    const Inst *in = inst_of(*fn, *v);
    int64_t result = 0;
    if (in->op == OP_proj) {
        result = attr_int(m, in->attr, AT_index, 0);
        in = inst_of(*fn, inst_arg(*fn, in, 0));
    }
    if (in->op != OP_call && in->op != OP_repeat) return false;
    *fn = fn_of(m, attr_fn(m, in->attr, AT_fn));
    *v = (*fn)->result_values[result];
    return true;
}

void origin_of(const Scene *s, Value v, Str *name, Loc *loc)
{
    const Fn *fn = s->fn;
    *name = (Str){0};
    do {
        const Loc at = inst_of(fn, v)->loc;
        if (at.id) *loc = at;
        if (!name->id) *name = fn->names[v.id];
    } while (made_inside(s->x->m, &fn, &v));
}

static bool settle_in_trail(Scene *s, Tenant *t)
{
    const Module *m = s->x->m;
    Value maker;
    uint32_t result;
    if (!owner_result(s, t->owner, &maker, &result)) return false;
    const Trail *trail = trail_of(s, maker, result);
    if (!trail) return false;
    const Inst *in = inst_of(s->fn, maker);
    bool carried = result < attr_int(m, in->attr, AT_carry, 0);
    t->at = carried ? trail_end(s, trail)
                    : trail_stack(s, trail, trail_goes_on(m, in, result));
    t->family = s->want_family[t->owner.id] = trail->family;
    move_in(s, t);
    return true;
}

static void settle(Scene *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    Tenant t = {.owner = v,
                .first = s->def[v.id],
                .last = s->last[v.id],
                .at = s->want[v.id],
                .family = s->want_family[v.id]};
    if (settle_in_trail(s, &t)) return;
    Home joined;
    if (block_joined(s, v, &joined)) {
        t.at = joined;
        t.family = s->want_family[v.id] = v.id;
        move_in(s, &t);
        return;
    }
    bool host = attr_flag(s->x->m, in->attr, AT_host);
    bool fits =
        !host && t.at.root &&
        (may_be_strided(s, v) || layout_is_packed(s->x->m, t.at.layout));
    if (fits && is_collective(s, v)) fits = collective_fits(s, v, t.at.layout);
    if (in->op == OP_recv)
        fits &= layout_same(s->x->m, t.at.layout, message_layout(s, in->type));
    if (fits && may_move_in(s, &t)) {
        move_in(s, &t);
        return;
    }
    Layout l = own_layout(s, v);
    Str name;
    Loc loc = in->loc;
    origin_of(s, v, &name, &loc);
    t.at = (Home){.root = root_new(s, l, name, loc), .layout = l};
    t.at.root->host = host;
    t.family = v.id;
    s->want_family[v.id] = v.id;
    move_in(s, &t);
}

/* Everybody cuts the merged axis again: nobody asks for one. */
static bool is_cut_again(const Scene *s, uint32_t merge)
{
    int64_t last = s->last[s->owner[merge].id];
    for (uint32_t i = merge + 1; i < s->fn->ninsts && i <= last; i++) {
        const Inst *in = &s->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            if (inst_arg(s->fn, in, k).id == merge && in->op != OP_split)
                return false;
    }
    return true;
}

/* An alias wants for its operand what is wanted of itself. */
static void ask_operand(Scene *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    Value x = inst_arg(s->fn, in, 0);
    Home h = s->want[i];
    if (h.root && layout_backward(s->x, s->fn, in, h.layout, &h.layout))
        set_want(s, x, &h, s->want_family[i]);
    Layout l = s->like[i];
    bool merge = in->op == OP_merge && !is_cut_again(s, i);
    if (!l.stride && (merge || renames_back(s->x->m, in)))
        l = layout_padded(s->x, default_layout(s->x, in->type));
    if (l.stride && layout_backward(s->x, s->fn, in, l, &l)) set_like(s, x, l);
}

/* So do results of the same axes that are made beside V: a scale lies as its
 * inverse does. */
static void set_like_beside(Scene *s, Value v, Layout l)
{
    const Inst *in = inst_of(s->fn, v);
    set_like(s, v, l);
    if (in->op != OP_proj) return;
    Value call = inst_arg(s->fn, in, 0);
    for (uint32_t i = call.id + 1; i < s->fn->ninsts; i++) {
        const Inst *x = &s->fn->insts[i];
        if (x->op == OP_proj && value_eq(inst_arg(s->fn, x, 0), call) &&
            type_eq(x->type, in->type))
            set_like(s, (Value){i}, l);
    }
}

/* The scales of blocks lie as a gemm reads them whose operands lie in order. */
static void ask_scales(Scene *s, const Inst *call)
{
    Module *m = s->x->m;
    const Fn *g = fn_of(m, attr_fn(m, call->attr, AT_fn));
    if (!fn_is(m, g, FK_matmul)) return;
    GemmParams p = group_gemm(g);
    for (uint32_t i = 0; i < 2; i++) {
        Layout l, operand = default_layout(s->x, g->params[i ? p.b : p.a].type);
        GemmScale scale;
        if (p.scale[i] != NO_PARAM &&
            gemm_scale_layout(m, g, operand, i, s->x->a, &l, &scale))
            set_like_beside(s, inst_arg(s->fn, call, p.scale[i]), l);
    }
}

static void ask_parts(Scene *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    for (uint32_t k = 0; k < in->nargs; k++) {
        Home h = home_part(s->x, s->fn, in, k, &s->home[i]);
        set_want(s, inst_arg(s->fn, in, k), &h, s->want_family[i]);
    }
}

/* Operands that a result may overwrite live where the result will. */
static void ask_dying(Scene *s, uint32_t maker, Value owner, uint32_t result)
{
    const Inst *in = &s->fn->insts[maker];
    const Trail *trail = trail_of(s, (Value){maker}, result);
    if (trail && result < attr_int(s->x->m, in->attr, AT_carry, 0)) {
        Home begin = trail_begin(s, trail);
        set_want(s, inst_arg(s->fn, in, result), &begin, trail->family);
        return;
    }
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value x = inst_arg(s->fn, in, k);
        if (s->last[s->owner[x.id].id] != maker ||
            !writes_in_place(s, in, result, x))
            continue;
        Home h = s->home[owner.id];
        h.layout = layout_from(s->x, value_type(s->fn, x), h.layout);
        set_want(s, x, &h, x.id);
        return;
    }
}

static bool is_owner(const Scene *s, uint32_t i)
{
    Type t = s->fn->insts[i].type;
    return t.id && value_eq(s->owner[i], (Value){i}) &&
           !type_info(s->x->m, t)->is_tuple;
}

void scene_homes(Scene *s)
{
    const Fn *fn = s->fn;
    for (uint32_t i = 0; i < fn->nparams; i++) {
        if (!s->home[i].root) continue;
        Tenant t = {.owner = {i},
                    .first = BEFORE,
                    .last = s->last[i],
                    .at = s->home[i],
                    .family = i};
        move_in(s, &t);
    }
    for (uint32_t i = 0; i < fn->nresults; i++)
        set_want(s, fn->result_values[i], &s->targets[i],
                 fn->result_values[i].id);
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        Value maker;
        uint32_t result;
        if (is_alias((Op)in->op)) ask_operand(s, i);
        if (in->op == OP_send) {
            Value x = inst_arg(fn, in, 0);
            set_like(s, x, message_layout(s, value_type(fn, x)));
        }
        if (in->op == OP_call) ask_scales(s, in);
        if (!is_owner(s, i)) continue;
        settle(s, (Value){i});
        if (in->op == OP_concat || in->op == OP_stack) ask_parts(s, i);
        if (is_collective(s, (Value){i}) &&
            collective_fits(s, (Value){i}, s->home[i].layout))
            set_like(s, inst_arg(fn, in, 0), collective_operand(s, (Value){i}));
        if (owner_result(s, (Value){i}, &maker, &result))
            ask_dying(s, maker.id, (Value){i}, result);
    }
}
