/*
 * slice.c: what an op is on the layers of one stage.
 *
 * An op that has the layers in its result and does not work along them is the
 * same op on fewer; index(layer) still counts from the first layer of all.  A
 * call or repeat of such ops calls a copy of its function.
 */
#include "cut.h"

typedef struct Sliced {
    FnRef old, made;
    const Layers *l;
    uint32_t stage;
} Sliced;

/* ----------------------------------------------------------------- types -- */

static Type one_part(const Cut *c, Type t, const Layers *l, uint32_t stage)
{
    const TypeAxis *a = type_axis(c->m, t, l->axis);
    if (!a || a->size != l->size) return t;
    TypeAxis part = *a;
    part.size = layers_of(l, stage);
    return type_with_axis(c->m, t, part);
}

Type part_type(const Cut *c, Type t, const Layers *l, uint32_t stage)
{
    const TypeInfo *info = type_info(c->m, t);
    if (t.id == 0 || !info->is_tuple) return one_part(c, t, l, stage);
    uint32_t n = info->nfields;
    Type *fields = NEW_ARRAY(c->a, Type, n + 1);
    for (uint32_t i = 0; i < n; i++)
        fields[i] = one_part(c, type_info(c->m, t)->fields[i], l, stage);
    return type_tuple(c->m, fields, n);
}

/* -------------------------------------------------------------- whether -- */

static bool fn_can_slice(Cut *c, const Fn *fn, const Layers *l)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        bool has = layers_in(c, in->type) == l;
        for (uint32_t k = 0; k < in->nargs && !has; k++)
            if (in->op != OP_proj &&
                layers_in(c, value_type(fn, inst_arg(fn, in, k))) == l)
                return false;
        if (has && !can_slice(c, fn, (Value){i}, l)) return false;
    }
    return true;
}

bool can_slice(Cut *c, const Fn *fn, Value v, const Layers *l)
{
    const Inst *in = inst_of(fn, v);
    if (v.id < fn->nparams || layers_in(c, in->type) != l) return false;
    if (in->op == OP_map || in->op == OP_proj) return true;
    if (attr_names_axis(c->m, in->attr, l->axis)) return false;
    if (inst_calls(in))
        return !attr_get(c->m, in->attr, AT_while) &&
               fn_can_slice(c, fn_of(c->m, attr_fn(c->m, in->attr, AT_fn)), l);
    return true;
}

/* --------------------------------------------------------------- writing -- */

/* The first layer of a stage counts on. */
static Attr map_attr(Cut *c, Attr attr, const Layers *l, uint32_t stage)
{
    Module *m = c->m;
    Expr body = attr_expr(m, attr);
    if (l->start[stage] == 0 || !expr_uses_index(m, body, l->axis)) return attr;
    Expr later = expr_op2(m, SC_add, expr_index(m, l->axis),
                          expr_i32(m, l->start[stage]));
    body = expr_subst_index(m, body, l->axis, later);
    return attr_with_id(m, attr, AT_body, body.id);
}

static FnRef fn_slice(Cut *c, FnRef ref, const Layers *l, uint32_t stage)
{
    for (uint32_t i = 0; i < c->sliced.n; i++) {
        const Sliced *x = &c->sliced.at[i];
        if (x->old.id == ref.id && x->l == l && x->stage == stage)
            return x->made;
    }
    const Fn *old = fn_of(c->m, ref);
    const char *stem =
        arena_printf(c->a, "%s.stage%u", str_of(c->m, old->name), stage);
    Fn *fn = fn_new(c->m, fn_fresh_name(c->m, stem), old->view);
    fn->kind = old->kind;
    fn->loc = old->loc;
    Sliced x = {ref, module_add_fn(c->m, fn), l, stage};
    vec_push(c->a, &c->sliced, x);
    Builder b;
    builder_init(&b, c->m, fn);
    Value *map = NEW_ARRAY(c->a, Value, old->ninsts + 1);
    for (uint32_t i = 0; i < old->nparams; i++) {
        Port port = old->params[i];
        port.type = part_type(c, port.type, l, stage);
        map[i] = builder_param(&b, port);
    }
    for (uint32_t i = old->nparams; i < old->ninsts; i++) {
        const Inst *in = &old->insts[i];
        Value *args = NEW_ARRAY(c->a, Value, in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = map[inst_arg(old, in, k).id];
        map[i] = write_slice(c, &b, old, (Value){i}, l, stage, args);
    }
    for (uint32_t i = 0; i < old->nresults; i++)
        builder_result(&b, map[old->result_values[i].id], old->results[i]);
    return x.made;
}

static Attr call_attr(Cut *c, Attr attr, const Layers *l, uint32_t stage)
{
    FnRef fn = attr_fn(c->m, attr, AT_fn);
    return attr_with_id(c->m, attr, AT_fn, fn_slice(c, fn, l, stage).id);
}

Value write_slice(Cut *c, Builder *b, const Fn *fn, Value v, const Layers *l,
                  uint32_t stage, const Value *args)
{
    const Inst *in = inst_of(fn, v);
    Attr attr = in->attr;
    bool has = layers_in(c, in->type) == l;
    if (has && in->op == OP_map) attr = map_attr(c, attr, l, stage);
    if (has && inst_calls(in)) attr = call_attr(c, attr, l, stage);
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    Value made = emit(b, (Op)in->op, part_type(c, in->type, l, stage), attr,
                      args, in->nargs);
    value_set_name(b, made, fn->names[v.id]);
    return made;
}

/* ----------------------------------------------------------------- turns -- */

static bool uses_turn(const Fn *fn)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        for (uint32_t k = 0; k < fn->insts[i].nargs; k++)
            if (inst_arg(fn, &fn->insts[i], k).id == fn->nparams - 1)
                return true;
    return false;
}

FnRef turns_later(Cut *c, FnRef ref, int64_t start)
{
    const Fn *old = fn_of(c->m, ref);
    if (start == 0 || !uses_turn(old)) return ref;
    Rewrite rw;
    rewrite_begin(&rw, c->m, old);
    const char *stem = arena_printf(c->a, "%s.from%lld",
                                    str_of(c->m, old->name), (long long)start);
    rw.b.fn->name = fn_fresh_name(c->m, stem);
    Value turn = rw.map[old->nparams - 1];
    Expr later = expr_op2(c->m, SC_add, expr_arg(c->m, 0, DT_i32),
                          expr_i32(c->m, start));
    rewrite_set(&rw, (Value){old->nparams - 1},
                emit_map(&rw.b, later, &turn, 1));
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        rewrite_copy(&rw, (Value){i});
    return module_add_fn(c->m, rewrite_end(&rw));
}
