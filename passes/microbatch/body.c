/*
 * body.c: functions on the rows of one turn.
 *
 * Each instruction is written as it was, on types whose row axis is as long
 * as one turn's rows.  index(row) still counts over the whole axis: the rows
 * of the turns before are added, so a body that asks for it takes the turn as
 * one more parameter.
 */
#include "microbatch.h"

/* ---------------------------------------------------------------- types -- */

static Type one_turn_type(const Micro *mi, Type t, Class k)
{
    const TypeAxis *a =
        k.kind == CLASS_row ? type_axis(mi->m, t, k.axis) : NULL;
    if (!a) return t;
    TypeAxis part = *a;
    part.size = a->size / mi->parts;
    return type_with_axis(mi->m, t, part);
}

Type turn_type(const Micro *mi, Type t, Class k)
{
    return t.id == 0 ? t : one_turn_type(mi, t, k);
}

static Type value_turn_type(const Micro *mi, const Classes *c, Value v)
{
    Type t = value_type(c->fn, v);
    const TypeInfo *info = type_info(mi->m, t);
    if (t.id == 0 || !info->is_tuple)
        return turn_type(mi, t, c->at[c->first[v.id]]);
    Type *fields = NEW_ARRAY(mi->m->scratch, Type, info->nfields + 1);
    uint32_t n = info->nfields;
    for (uint32_t i = 0; i < n; i++)
        fields[i] = turn_type(mi, type_info(mi->m, t)->fields[i],
                              c->at[c->first[v.id] + i]);
    return type_tuple(mi->m, fields, n);
}

/* ----------------------------------------------------------------- turn -- */

/* A map that counts rows over the whole batch. */
static bool counts_rows(const Micro *mi, const Classes *c, Value v, Axis *row)
{
    const Inst *in = inst_of(c->fn, v);
    return in->op == OP_map && inst_row_axis(mi, c, v, row) &&
           expr_uses_index(mi->m, attr_expr(mi->m, in->attr), *row);
}

static bool needs_turn(Micro *mi, const Classes *c);

static bool callee_needs_turn(Micro *mi, const Classes *c, const Inst *in)
{
    const Class *params = callee_params(mi, c, in);
    for (int k = 0; k < 2; k++) {
        AttrKey key = k ? AT_while : AT_fn;
        if (!attr_get(mi->m, in->attr, key)) continue;
        Fn *fn = fn_of(mi->m, attr_fn(mi->m, in->attr, key));
        Classes body = classify(mi, fn, params);
        if (needs_turn(mi, &body)) return true;
    }
    return false;
}

static bool needs_turn(Micro *mi, const Classes *c)
{
    for (uint32_t i = c->fn->nparams; i < c->fn->ninsts; i++) {
        Axis row;
        const Inst *in = &c->fn->insts[i];
        if (counts_rows(mi, c, (Value){i}, &row)) return true;
        if (inst_calls(in) && callee_needs_turn(mi, c, in)) return true;
    }
    return false;
}

/* --------------------------------------------------------------- clones -- */

static Value own_operand(Body *body, const Inst *in, uint32_t i)
{
    return body->map[inst_arg(body->c->fn, in, i).id];
}

static void clone_params(Body *body, const Clone *k)
{
    Module *m = body->mi->m;
    const Fn *old = k->old;
    for (uint32_t i = 0; i <= old->nparams; i++) {
        if (k->turn && i == k->at) {
            Port turn = {.name = module_str(m, "micro"),
                         .type = type_scalar(m, DT_i32),
                         .loc = old->loc};
            body->turn = builder_param(&body->b, turn);
        }
        if (i == old->nparams) return;
        Port port = old->params[i];
        port.type = turn_type(body->mi, port.type, k->params[i]);
        body->map[i] = builder_param(&body->b, port);
    }
}

static FnRef clone_write(Micro *mi, const Clone *k)
{
    Module *m = mi->m;
    Classes c = classify(mi, k->old, k->params);
    const char *stem =
        arena_printf(m->scratch, "%s.micro", str_of(m, k->old->name));
    Fn *fn = fn_new(m, fn_fresh_name(m, stem), k->old->view);
    fn->kind = k->old->kind;
    fn->loc = k->old->loc;
    FnRef ref = module_add_fn(m, fn);
    Body body = {.mi = mi, .c = &c, .turn = NO_VALUE, .operand = own_operand};
    body.map = NEW_ARRAY(m->scratch, Value, k->old->ninsts + 1);
    builder_init(&body.b, m, fn);
    clone_params(&body, k);
    /* what nobody needs may be what no turn can compute */
    const bool *needed = fn_needed(m, k->old, m->scratch);
    for (uint32_t i = k->old->nparams; i < k->old->ninsts; i++)
        if (needed[i]) body.map[i] = body_write(&body, (Value){i});
    for (uint32_t i = 0; i < k->old->nresults; i++)
        builder_result(&body.b, body.map[k->old->result_values[i].id],
                       k->old->results[i]);
    return ref;
}

static bool params_eq(const Clone *a, const Clone *b)
{
    for (uint32_t i = 0; i < a->old->nparams; i++) {
        Class x = a->params[i], y = b->params[i];
        if (x.kind != y.kind) return false;
        if (x.kind == CLASS_row && x.axis.id != y.axis.id) return false;
    }
    return true;
}

static FnRef clone_of(Micro *mi, Clone k)
{
    for (uint32_t i = 0; i < mi->clones.n; i++) {
        const Clone *had = &mi->clones.at[i];
        if (had->old == k.old && had->turn == k.turn && had->at == k.at &&
            params_eq(had, &k))
            return had->fn;
    }
    k.fn = clone_write(mi, &k);
    vec_push(mi->m->scratch, &mi->clones, k);
    return k.fn;
}

/* -------------------------------------------------------------- writing -- */

/* A constant that has the rows of all turns, as one of these rows. */
static Value constant_rows(Body *body, Value v, Axis row)
{
    const Inst *in = inst_of(body->c->fn, v);
    Class k = {.kind = CLASS_row, .axis = row};
    return emit(&body->b, OP_map, turn_type(body->mi, in->type, k), in->attr,
                NULL, 0);
}

static bool is_constant_over(const Body *body, Value v, Axis row)
{
    const Micro *mi = body->mi;
    const Inst *in = inst_of(body->c->fn, v);
    return in->op == OP_map && in->nargs == 0 &&
           body->c->at[body->c->first[v.id]].kind == CLASS_same &&
           type_axis(mi->m, in->type, row) &&
           !expr_uses_index(mi->m, attr_expr(mi->m, in->attr), row);
}

static Value *turn_args(Body *body, const Inst *in, uint32_t more)
{
    Value *args = NEW_ARRAY(body->mi->m->scratch, Value, in->nargs + more + 1);
    Axis row;
    Value self = {(uint32_t)(in - body->c->fn->insts)};
    bool rows = inst_row_axis(body->mi, body->c, self, &row);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value v = inst_arg(body->c->fn, in, i);
        args[i] = rows && is_constant_over(body, v, row)
                      ? constant_rows(body, v, row)
                      : body->operand(body, in, i);
    }
    return args;
}

/* index(row) becomes index(row) + turn * rows. */
static Value write_counting_map(Body *body, Value v, Axis row)
{
    Module *m = body->mi->m;
    const Inst *in = inst_of(body->c->fn, v);
    Type t = value_turn_type(body->mi, body->c, v);
    Value *args = turn_args(body, in, 1);
    args[in->nargs] = body->turn;
    Expr rows = expr_i32(m, type_size(m, t, row));
    Expr before = expr_op2(m, SC_mul, expr_arg(m, in->nargs, DT_i32), rows);
    Expr counted = expr_op2(m, SC_add, expr_index(m, row), before);
    Expr e = expr_subst_index(m, attr_expr(m, in->attr), row, counted);
    return emit(&body->b, OP_map, t, attr_with_id(m, in->attr, AT_body, e.id),
                args, in->nargs + 1u);
}

static Attr with_invariant(Module *m, Attr attr)
{
    AttrList l = attr_list(m, attr);
    int64_t n = attr_int(m, attr, AT_invariant, 0);
    attr_put_int(&l, AT_invariant, n + 1);
    return attr_intern(m, &l);
}

/* The turn is the last invariant of a repeat, the last operand of a call. */
static uint32_t turn_place(const Module *m, const Inst *in)
{
    if (in->op == OP_call) return in->nargs;
    return (uint32_t)(attr_int(m, in->attr, AT_carry, 0) +
                      attr_int(m, in->attr, AT_invariant, 0));
}

static Value write_call(Body *body, Value v)
{
    Micro *mi = body->mi;
    Module *m = mi->m;
    const Inst *in = inst_of(body->c->fn, v);
    Clone k = {.params = callee_params(mi, body->c, in)};
    k.turn = callee_needs_turn(mi, body->c, in);
    k.at = turn_place(m, in);
    Attr attr = in->attr;
    for (int i = 0; i < 2; i++) {
        AttrKey key = i ? AT_while : AT_fn;
        if (!attr_get(m, in->attr, key)) continue;
        k.old = fn_of(m, attr_fn(m, in->attr, key));
        attr = attr_with_id(m, attr, key, clone_of(mi, k).id);
    }
    if (k.turn && in->op == OP_repeat) attr = with_invariant(m, attr);
    Value *args = turn_args(body, in, 1);
    uint32_t n = in->nargs;
    if (k.turn) {
        memmove(args + k.at + 1, args + k.at, (n - k.at) * sizeof *args);
        args[k.at] = body->turn;
        n++;
    }
    return emit(&body->b, (Op)in->op, value_turn_type(mi, body->c, v), attr,
                args, n);
}

Value body_write(Body *body, Value v)
{
    const Inst *in = inst_of(body->c->fn, v);
    Axis row;
    body->b.loc = in->loc;
    body->b.phase = (Phase)in->phase;
    Value made;
    if (inst_calls(in))
        made = write_call(body, v);
    else if (counts_rows(body->mi, body->c, v, &row))
        made = write_counting_map(body, v, row);
    else
        made = emit(&body->b, (Op)in->op, value_turn_type(body->mi, body->c, v),
                    in->attr, turn_args(body, in, 0), in->nargs);
    value_set_name(&body->b, made, body->c->fn->names[v.id]);
    return made;
}
