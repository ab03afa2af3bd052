/*
 * transfer.c: groups of kind `transfer`, one for each type and way.
 */
#include "transfer.h"

void transfers_init(Transfers *t, Module *m)
{
    t->m = m;
    map_init(&t->groups[0], m->scratch);
    map_init(&t->groups[1], m->scratch);
}

static FnRef transfer_group(Transfers *t, Type type, bool in, Loc loc)
{
    Module *m = t->m;
    uint32_t at;
    const char *kind = in ? "transfer.in" : "transfer.out";
    if (map_find(&t->groups[in], type.id, &at)) return (FnRef){at};
    Fn *fn = fn_new(m, fn_fresh_name(m, kind), VIEW_local);
    fn->kind = module_str(m, kind);
    fn->loc = loc;
    Builder b;
    builder_init(&b, m, fn);
    b.loc = loc;
    Value v = builder_param(&b, (Port){.type = type});
    builder_result(&b, v, (Port){.loc = loc});
    FnRef f = module_add_fn(m, fn);
    map_add(&t->groups[in], type.id, f.id);
    return f;
}

void transfer_emit(Transfers *t, Builder *b, bool in, Value there, Value here)
{
    AttrList l = {.n = 0};
    Value args[2] = {in ? there : here, in ? here : there};
    Type type = value_type(b->fn, there);
    attr_put_id(&l, AT_fn, transfer_group(t, type, in, b->loc).id);
    attr_put_int(&l, AT_outs, 1);
    emit(b, OP_launch, (Type){0}, attr_intern(t->m, &l), args, 2);
}
