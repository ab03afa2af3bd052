/*
 * collective.c: places from which a collective can send and into which it can
 * receive.
 *
 * What one device has of a value is dense, the pieces of several lie one behind
 * the other, and all are in one order of axes.  A value that lies otherwise is
 * copied: the operand or the result, whichever is smaller.
 */
#include "expand.h"

bool is_collective(const Scene *s, Value owner)
{
    const Module *m = s->x->m;
    const Inst *in = inst_of(s->fn, owner);
    return in->op == OP_call &&
           fn_is(m, fn_of(m, attr_fn(m, in->attr, AT_fn)), FK_collective);
}

static Axis group_of(const Scene *s, const Fn *g)
{
    Axis group;
    if (!collective_is_dense(s->x->m, g, group_collective(g), &group))
        BUG("@%s is no collective of what devices hold",
            str_of(s->x->m, g->name));
    return group;
}

/* Type T in the order that LIKE has, which is dense behind the group's axis. */
static Layout in_order_of(const Scene *s, Type t, Layout like, Axis group)
{
    Layout l = layout_from(s->x, t, like);
    const TypeInfo *ti = type_info(s->x->m, t);
    int64_t *stride = NEW_ARRAY(s->x->a, int64_t, (size_t)ti->naxes + 1);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        stride[i] = l.stride[i];
        if (ti->axes[i].axis.id == group.id)
            stride[i] = type_elements(s->x->m, t) / ti->axes[i].size;
    }
    return (Layout){t, stride};
}

/* The default order, behind the group's axis. */
static Layout grouped_layout(const Scene *s, Type t, Axis group)
{
    uint32_t n = type_info(s->x->m, t)->naxes, k = 0;
    Axis *by = NEW_ARRAY(s->x->a, Axis, (size_t)n + 1);
    Axis *order = NEW_ARRAY(s->x->a, Axis, (size_t)n + 1);
    layout_order(s->x->m, default_layout(s->x, t), by);
    order[k++] = group;
    for (uint32_t i = 0; i < n; i++)
        if (by[i].id != group.id) order[k++] = by[i];
    return layout_ordered(s->x->m, t, order, k, s->x->a);
}

Layout collective_layout(const Scene *s, Value owner)
{
    const Module *m = s->x->m;
    const Inst *call = inst_of(s->fn, owner);
    Axis group = group_of(s, fn_of(m, attr_fn(m, call->attr, AT_fn)));
    Value x = inst_arg(s->fn, call, 0);
    Layout given = s->home[x.id].layout, like = s->like[owner.id];
    if (inst_of(s->fn, x)->op == OP_arg && pieces_lie_apart(m, given, group))
        return in_order_of(s, call->type, given, group);
    if (like.stride && pieces_lie_apart(m, like, group)) return like;
    return grouped_layout(s, call->type, group);
}

bool collective_fits(const Scene *s, Value owner, Layout l)
{
    const Module *m = s->x->m;
    const Fn *g = fn_of(m, attr_fn(m, inst_of(s->fn, owner)->attr, AT_fn));
    return pieces_lie_apart(m, l, group_of(s, g));
}

Layout collective_operand(const Scene *s, Value owner)
{
    const Module *m = s->x->m;
    const Inst *call = inst_of(s->fn, owner);
    const Fn *g = fn_of(m, attr_fn(m, call->attr, AT_fn));
    return in_order_of(s, value_type(s->fn, inst_arg(s->fn, call, 0)),
                       s->home[owner.id].layout, group_of(s, g));
}

static Home room(Scene *s, Layout l)
{
    return (Home){.root = root_new(s, l, (Str){0}, s->b->loc), .layout = l};
}

/* Places that the collective takes; what lies otherwise is copied. */
static void settle_places(Scene *s, const Fn *g, Axis group, Home *from,
                          Home *to)
{
    Module *m = s->x->m;
    Type in = from->layout.type, out = to->layout.type;
    bool sends = pieces_lie_apart(m, from->layout, group);
    bool takes = pieces_lie_apart(m, to->layout, group);
    if (takes && collective_takes(m, g, from->layout, to->layout)) return;
    if (!takes || (sends && type_bytes(m, out) < type_bytes(m, in))) {
        Layout l = sends ? in_order_of(s, out, from->layout, group)
                         : grouped_layout(s, out, group);
        *to = room(s, l);
    }
    if (collective_takes(m, g, from->layout, to->layout)) return;
    Home copy = room(s, in_order_of(s, in, to->layout, group));
    emit_copy(s, from, &copy);
    *from = copy;
}

void emit_collective(Scene *s, const Inst *call, const Home *result)
{
    FnRef f = attr_fn(s->x->m, call->attr, AT_fn);
    const Fn *g = fn_of(s->x->m, f);
    Home from = s->home[inst_arg(s->fn, call, 0).id], to = *result;
    settle_places(s, g, group_of(s, g), &from, &to);
    Value in = home_value(s, &from), out = home_value(s, &to);
    emit_launch(s, f, &in, 1, &out, 1);
    emit_copy(s, &to, result);
}
