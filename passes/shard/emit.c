/*
 * emit.c: the program of one device, with a `reshard` wherever a value is used
 * in another place than it is made.
 *
 * A type has its splits in the order in which the rules name the mesh axes,
 * outermost first.  One value is brought into one form once in each phase; a
 * parameter that the plan keeps, once.
 */
#include "shard.h"

/* ---------------------------------------------------------------- types -- */

/* T with the mesh axes where WHERE (by mesh axis) has them. */
static Type placed_type(const Shard *s, Type t, const Where *where)
{
    TypeInfo info = *type_info(s->m, t);
    uint32_t n = s->order.n;
    TypeAxis *axes = NEW_ARRAY(s->a, TypeAxis, (size_t)info.naxes + 1);
    MeshAxis *pending = NEW_ARRAY(s->a, MeshAxis, (size_t)n + 1);
    info.npending = 0;
    info.pending_kind = PENDING_none;
    for (uint32_t i = 0; i < info.naxes; i++) {
        MeshAxis *splits = NEW_ARRAY(s->a, MeshAxis, (size_t)n + 1);
        axes[i] = (TypeAxis){.axis = info.axes[i].axis};
        axes[i].size = info.axes[i].size;
        axes[i].splits = splits;
        for (uint32_t k = 0; k < n; k++) {
            MeshAxis m = s->order.at[k];
            if (where[m.id] != where_axis(axes[i].axis)) continue;
            splits[axes[i].nsplits++] = m;
            if (is_zig(s, m, axes[i].axis)) axes[i].spread = SPREAD_zig;
        }
        int64_t local = type_local_size(s->m, &axes[i]);
        CHECK(axes[i].spread == SPREAD_block ||
              local * group_size(s->m, splits, axes[i].nsplits) ==
                  axes[i].size);
    }
    for (uint32_t k = 0; k < n; k++) {
        Where w = where[s->order.at[k].id];
        if (!where_is_pending(w)) continue;
        pending[info.npending++] = s->order.at[k];
        info.pending_kind = w == WHERE_sum ? PENDING_sum : PENDING_max;
    }
    info.axes = axes;
    info.pending = pending;
    return type_intern(s->m, &info);
}

static Type node_type(const Shard *s, Type t, uint32_t node)
{
    Where *where = NEW_ARRAY(s->a, Where, (size_t)s->m->mesh.n + 1);
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        where[i] = *where_at(s, (MeshAxis){i}, node);
    return placed_type(s, t, where);
}

static Type need_type(const Shard *s, Type t, uint32_t arg)
{
    Where *where = NEW_ARRAY(s->a, Where, (size_t)s->m->mesh.n + 1);
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        where[i] = *need_at(s, (MeshAxis){i}, arg);
    return placed_type(s, t, where);
}

/* ------------------------------------------------------------- emitting -- */

typedef struct Emit {
    Shard *s;
    uint32_t f;
    const Fn *old;
    Builder b;
    Value *map;
    uint32_t *item; /* by value: its item */
} Emit;

/* Instructions reshard a value once in each phase, or once; they are few, and
 * close. */
static Value as_type(Emit *e, Value v, Type t, bool once)
{
    const Fn *fn = e->b.fn;
    if (type_eq(value_type(fn, v), t)) return v;
    for (uint32_t i = v.id + 1; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_reshard && type_eq(in->type, t) &&
            (once || in->phase == e->b.phase) &&
            value_eq(inst_arg(fn, in, 0), v))
            return (Value){i};
    }
    return emit(&e->b, OP_reshard, t, (Attr){0}, &v, 1);
}

static bool is_kept(const Emit *e, Value old)
{
    return e->s->kept[e->s->base[e->f] + old.id];
}

/* What is compared is made in one way for all who read it: in another the sums
 * would have other last bits. */
static Value as_made(Emit *e, Value old, Type want)
{
    Module *m = e->s->m;
    Value v = e->map[old.id];
    TypeInfo info = *type_info(m, value_type(e->b.fn, v));
    if (!e->s->compared[e->s->base[e->f] + old.id] || !info.npending ||
        info.is_tuple || type_info(m, want)->npending)
        return v;
    info.npending = 0;
    info.pending_kind = PENDING_none;
    return as_type(e, v, type_intern(m, &info), false);
}

/* Operand i of IN, as the port of the callee has it. */
static Value handed(Emit *e, const Inst *in, uint32_t i, uint32_t port)
{
    Value old = inst_arg(e->old, in, i);
    Type t = node_type(e->s, value_type(e->old, old), port);
    return as_type(e, as_made(e, old, t), t, is_kept(e, old));
}

static uint32_t result_port(const Shard *s, uint32_t f, uint32_t i)
{
    return s->port_nodes
        .at[s->ports[s->base[f] + s->m->fns.at[f]->ninsts] - 1 + i];
}

static Type call_type(const Emit *e, uint32_t f, Type old)
{
    const Shard *s = e->s;
    const TypeInfo *info = type_info(s->m, old);
    if (!info->is_tuple) return node_type(s, old, result_port(s, f, 0));
    uint32_t n = info->nfields;
    Type *fields = NEW_ARRAY(s->a, Type, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        Type t = type_info(s->m, old)->fields[i];
        fields[i] = node_type(s, t, result_port(s, f, i));
    }
    return type_tuple(s->m, fields, n);
}

static Value emit_handing(Emit *e, const Inst *in)
{
    Shard *s = e->s;
    uint32_t f = attr_fn(s->m, in->attr, AT_fn).id;
    Value *args = NEW_ARRAY(s->a, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = handed(e, in, i, s->raws.at[s->base[f] + i].node);
    return emit(&e->b, (Op)in->op, call_type(e, f, in->type), in->attr, args,
                in->nargs);
}

static Value emit_field(Emit *e, const Inst *in)
{
    Value t = e->map[inst_arg(e->old, in, 0).id];
    int64_t i = attr_int(e->s->m, in->attr, AT_index, 0);
    Type field = type_info(e->s->m, value_type(e->b.fn, t))->fields[i];
    return emit(&e->b, OP_proj, field, in->attr, &t, 1);
}

/* The two ends of a message, as the port between them is. */
static Value emit_message(Emit *e, Value v)
{
    Shard *s = e->s;
    const Inst *in = inst_of(e->old, v);
    uint32_t port = message_port(s, e->f, v);
    if (in->op == OP_recv)
        return emit(&e->b, OP_recv, node_type(s, in->type, port), in->attr,
                    NULL, 0);
    Value x = handed(e, in, 0, port);
    return emit(&e->b, OP_send, (Type){0}, in->attr, &x, 1);
}

/* As it is sent to those who make the same of it. */
static Value as_sent(Emit *e, Value old)
{
    const Shard *s = e->s;
    uint32_t port = s->through ? s->through[s->base[e->f] + old.id] : 0;
    if (!port) return e->map[old.id];
    Type t = node_type(s, value_type(e->old, old), port - 1);
    return as_type(e, e->map[old.id], t, is_kept(e, old));
}

static Value emit_item(Emit *e, Value v)
{
    Shard *s = e->s;
    const Inst *in = inst_of(e->old, v);
    const Item *it = &s->items.at[e->item[s->base[e->f] + v.id]];
    Value *args = NEW_ARRAY(s->a, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value old = inst_arg(e->old, in, i);
        Type t = need_type(s, value_type(e->old, old), it->first + i);
        bool alike = s->alike && s->alike[it->raw];
        Value from = alike ? as_sent(e, old) : as_made(e, old, t);
        args[i] = as_type(e, from, t, is_kept(e, old));
    }
    return emit(&e->b, (Op)in->op, node_type(s, in->type, it->out), in->attr,
                args, in->nargs);
}

static Value emit_any(Emit *e, Value v)
{
    const Inst *in = inst_of(e->old, v);
    e->b.loc = in->loc;
    e->b.phase = (Phase)in->phase;
    switch ((Op)in->op) {
    case OP_call:
    case OP_repeat:
        return emit_handing(e, in);
    case OP_proj:
        return emit_field(e, in);
    case OP_send:
    case OP_recv:
        return emit_message(e, v);
    default:
        return emit_item(e, v);
    }
}

static void emit_params(Emit *e)
{
    for (uint32_t i = 0; i < e->old->nparams; i++) {
        Port p = e->old->params[i];
        uint32_t raw = e->s->base[e->f] + i;
        p.type = node_type(e->s, p.type, e->s->raws.at[raw].node);
        e->map[i] = builder_param(&e->b, p);
        e->b.fn->insts[i].attr = e->old->insts[i].attr;
        e->b.fn->insts[i].phase = e->old->insts[i].phase;
    }
}

static void emit_results(Emit *e)
{
    for (uint32_t i = 0; i < e->old->nresults; i++) {
        Value v = e->old->result_values[i];
        e->b.phase = (Phase)inst_of(e->old, v)->phase;
        e->b.loc = inst_of(e->old, v)->loc;
        Type t =
            node_type(e->s, value_type(e->old, v), result_port(e->s, e->f, i));
        bool sent = e->s->through && e->s->through[e->s->base[e->f] + v.id];
        Value from = sent ? as_sent(e, v) : as_made(e, v, t);
        builder_result(&e->b, as_type(e, from, t, false), e->old->results[i]);
    }
}

static Fn *emit_fn(Shard *s, uint32_t f, uint32_t *item)
{
    Emit e = {.s = s, .f = f, .old = s->m->fns.at[f], .item = item};
    Fn *fn = fn_new(s->m, e.old->name, VIEW_local);
    fn->entry = e.old->entry;
    fn->kind = e.old->kind;
    fn->loc = e.old->loc;
    builder_init(&e.b, s->m, fn);
    e.b.no_fold = true; /* folds know nothing of splits */
    e.map = NEW_ARRAY(s->a, Value, (size_t)e.old->ninsts + 1);
    emit_params(&e);
    for (uint32_t i = e.old->nparams; i < e.old->ninsts; i++) {
        e.map[i] = emit_any(&e, (Value){i});
        value_set_name(&e.b, e.map[i], e.old->names[i]);
    }
    emit_results(&e);
    return fn;
}

/* Slots lie as the parameters of the entries do, all of which agree. */
static void emit_slots(Shard *s)
{
    for (uint32_t i = 0; i < s->m->slots.n; i++) {
        Slot *slot = &s->m->slots.at[i];
        Where *where = NEW_ARRAY(s->a, Where, (size_t)s->m->mesh.n + 1);
        unsigned role = slot->role == ROLE_param ? FOR_param : FOR_state;
        Ruled t = {.type = slot->type, .roles = role, .strict = true};
        t.path = str_of(s->m, slot->path);
        if (rules_place(s, &t, where))
            slot->type = placed_type(s, slot->type, where);
    }
}

void emit_local(Shard *s)
{
    Module *m = s->m;
    compared_settle(s);
    uint32_t *item = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    for (uint32_t i = 0; i < s->items.n; i++)
        if (s->items.at[i].raw != NO_RAW) item[s->items.at[i].raw] = i;
    Fn **made = NEW_ARRAY(s->a, Fn *, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        made[i] = emit_fn(s, i, item);
    for (uint32_t i = 0; i < m->fns.n; i++)
        m->fns.at[i] = made[i];
    emit_slots(s);
}
