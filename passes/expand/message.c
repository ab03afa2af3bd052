/*
 * message.c: places of what the ranks of a pipeline send each other.
 *
 * A send and a receive are launches of a group of that one op.  What is sent
 * lies on both sides in the default order of its axes, dense: the two ranks
 * know nothing of each other's places.
 */
#include "expand.h"

Layout message_layout(const Scene *s, Type t)
{
    return default_layout(s->x, t);
}

static Fn *message_fn(Scene *s, const Inst *in, Type t)
{
    Module *m = s->x->m;
    bool sends = in->op == OP_send;
    Fn *fn =
        fn_new(m, fn_fresh_name(m, sends ? "send" : "receive"), VIEW_local);
    fn->kind = module_str(m, fn_kind_word(FK_collective));
    fn->loc = in->loc;
    Builder b;
    builder_init(&b, m, fn);
    b.loc = in->loc;
    b.phase = (Phase)in->phase;
    Value x = NO_VALUE;
    if (sends) x = builder_param(&b, (Port){.type = t});
    Value v = emit(&b, (Op)in->op, in->type, in->attr, &x, sends);
    if (!sends) builder_result(&b, v, (Port){.loc = b.loc});
    return fn;
}

/* Messages of one kind to one rank on one channel share their group. */
static FnRef message_group(Scene *s, const Inst *in, Type t)
{
    uint32_t key[4] = {in->op, in->phase, in->attr.id, t.id}, f;
    uint64_t h = hash_bytes(key, sizeof key, 0);
    MapIter it;
    const Module *m = s->x->m;
    for (bool more = map_first(&s->x->messages, h, &it, &f); more;
         more = map_next(&s->x->messages, &it, &f)) {
        const Fn *g = fn_of(m, (FnRef){f});
        const Inst *op = group_collective(g);
        Type of = op->op == OP_send ? g->params[0].type : op->type;
        if (op->op == in->op && op->phase == in->phase &&
            op->attr.id == in->attr.id && type_eq(of, t))
            return (FnRef){f};
    }
    FnRef made = module_add_fn(s->x->m, message_fn(s, in, t));
    map_add(&s->x->messages, h, made.id);
    return made;
}

void emit_message(Scene *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    if (in->op == OP_recv) {
        FnRef f = message_group(s, in, in->type);
        Value out = home_value(s, &s->home[v.id]);
        emit_launch(s, f, NULL, 0, &out, 1);
        return;
    }
    Home from = s->home[inst_arg(s->fn, in, 0).id];
    Layout l = message_layout(s, from.layout.type);
    if (!layout_same(s->x->m, from.layout, l)) {
        Home room = {.root = root_new(s, l, (Str){0}, in->loc), .layout = l};
        emit_copy(s, &from, &room);
        from = room;
    }
    FnRef f = message_group(s, in, l.type);
    Value x = home_value(s, &from);
    emit_launch(s, f, &x, 1, NULL, 0);
}
