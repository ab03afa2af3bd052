/*
 * repeat.c: the derivative of a repeat is a repeat in the other direction.
 *
 *     forward    carried x        invariant w   stacked s    -> x', others y
 *     backward   carried dx, dw   invariant w   stacked s, record, dy
 *                                                            -> dx', dw', ds
 *
 * The cotangent of what is carried is carried back; that of an invariant is
 * carried as a sum, in the order of the backward's turns; that of a stacked
 * operand is stacked.  The record is a further stacked result of the forward.
 *
 * With `while`, the forward also stacks a flag for the turns that ran.  The
 * backward runs all turns and leaves everything as it is in the others, whose
 * records are zeros.
 */
#include "autodiff.h"

/* Carried values whose cotangent goes round. */
static bool goes_round(const Derived *d, uint32_t i)
{
    return d->masks.in[i] || d->masks.out[i];
}

static uint32_t first_stacked(const Derived *d)
{
    return d->repeat.carry + d->repeat.invariant;
}

static bool has_sum(const Joint *j, uint32_t param)
{
    return !value_eq(j->cots[param], NO_VALUE);
}

static Port cot_port(Module *m, const Port *of)
{
    Port port = {.type = cot_type(m, of->type)};
    if (of->name.id) port.name = cot_name(m, of->name);
    return port;
}

static bool in_range(uint32_t i, uint32_t first, uint32_t end)
{
    return first <= i && i < end;
}

static void take_params(Back *k, uint32_t first, uint32_t end)
{
    for (uint32_t i = 0; i < k->d->nparams; i++) {
        uint32_t p = k->d->params[i];
        if (in_range(p, first, end))
            take_param(k, (Value){p}, k->d->of->params[p]);
    }
}

typedef struct Turn {
    Value *round; /* by carried value: its cotangent as it came */
    Value *sums;  /* by invariant parameter: the sum as it came */
    Value ran;    /* with `while` */
} Turn;

static Turn take_all(Back *k)
{
    const Derived *d = k->d;
    const Fn *of = d->of;
    Module *m = k->b.m;
    Turn t = {.round = NEW_ARRAY(m->scratch, Value, of->nparams + 1),
              .sums = NEW_ARRAY(m->scratch, Value, of->nparams + 1)};
    for (uint32_t i = 0; i < d->repeat.carry; i++) {
        if (!goes_round(d, i)) continue;
        t.round[i] = builder_param(&k->b, cot_port(m, &of->params[i]));
        if (d->masks.out[i]) k->map[k->j->cot_param[i]] = t.round[i];
    }
    for (uint32_t i = d->repeat.carry; i < first_stacked(d); i++)
        if (has_sum(k->j, i))
            t.sums[i] = builder_param(&k->b, cot_port(m, &of->params[i]));
    uint32_t turn = of->nparams - 1;
    take_params(k, d->repeat.carry, turn);
    take_saved(k);
    take_cots(k, d->repeat.carry, of->nresults);
    if (d->repeat.has_while)
        t.ran = builder_param(&k->b, (Port){.type = type_scalar(m, DT_bool)});
    take_param(k, (Value){turn}, of->params[turn]);
    return t;
}

/* X if this turn ran, else what it was. */
static Value if_ran(Back *k, const Turn *t, Value x, Value was)
{
    if (!k->d->repeat.has_while) return x;
    return emit_where(&k->b, t->ran, x, was);
}

static Value or_zeros(Back *k, const Turn *t, Value x)
{
    return if_ran(k, t, x, emit_zeros(&k->b, value_type(k->b.fn, x)));
}

static void give_all(Back *k, const Turn *t)
{
    const Derived *d = k->d;
    const Value *cots = k->j->cots;
    for (uint32_t i = 0; i < d->repeat.carry; i++) {
        if (!goes_round(d, i)) continue;
        Type type = value_type(k->b.fn, t->round[i]);
        Value cot =
            has_sum(k->j, i) ? k->map[cots[i].id] : emit_zeros(&k->b, type);
        give_cot(k, if_ran(k, t, cot, t->round[i]), i);
    }
    for (uint32_t i = d->repeat.carry; i < first_stacked(d); i++) {
        if (!has_sum(k->j, i)) continue;
        Value sum = emit_binary(&k->b, SC_add, t->sums[i], k->map[cots[i].id]);
        give_cot(k, if_ran(k, t, sum, t->sums[i]), i);
    }
    for (uint32_t i = first_stacked(d); i + 1 < d->of->nparams; i++) {
        if (!has_sum(k->j, i)) continue;
        Value cot = k->map[cots[i].id];
        give_cot(k, d->repeat.has_while ? or_zeros(k, t, cot) : cot, i);
    }
}

void repeat_backward(Back *k)
{
    Turn t = take_all(k);
    copy_body(k);
    give_all(k, &t);
}

/* ---------------------------------------------------------------- rule -- */

typedef struct Operands {
    Value *at;
    uint32_t n, carry, invariant;
} Operands;

static void add_carried(Grad *g, Value v, const Derived *d, Operands *o)
{
    const Fn *of = d->of;
    for (uint32_t i = 0; i < d->repeat.carry; i++) {
        if (!goes_round(d, i)) continue;
        Type t = cot_type(g->m, of->params[i].type);
        o->at[o->n++] =
            d->masks.out[i] ? grad_field(g, v, i) : emit_zeros(&g->b, t);
    }
    for (uint32_t i = d->repeat.carry; i < first_stacked(d); i++)
        if (d->cot_at[i] != NO_RESULT)
            o->at[o->n++] =
                emit_zeros(&g->b, cot_type(g->m, of->params[i].type));
    o->carry = o->n;
}

static Operands backward_operands(Grad *g, Value v, const Derived *d)
{
    const Fn *backward = fn_of(g->m, d->backward);
    Operands o = {.at = NEW_ARRAY(g->ad->arena, Value, backward->nparams + 1)};
    add_carried(g, v, d, &o);
    for (uint32_t i = 0; i < d->nparams; i++) {
        uint32_t p = d->params[i];
        if (p + 1 == d->of->nparams) continue; /* the turn */
        o.at[o.n++] = grad_operand(g, v, p);
        if (p < first_stacked(d)) o.invariant++;
    }
    for (uint32_t i = 0; i < d->nsaved; i++)
        o.at[o.n++] = g->records[v.id][i];
    for (uint32_t i = d->repeat.carry; i < d->of->nresults; i++)
        if (d->masks.out[i]) o.at[o.n++] = grad_field(g, v, i);
    if (d->repeat.has_while) o.at[o.n++] = g->records[v.id][d->nsaved];
    return o;
}

static Attr backward_attr(Module *m, const Inst *in, const Derived *d,
                          const Operands *o)
{
    AttrList l = attr_list(m, in->attr);
    attr_drop(&l, AT_while);
    attr_drop(&l, AT_carry);
    attr_drop(&l, AT_invariant);
    attr_put_id(&l, AT_fn, d->backward.id);
    if (o->carry) attr_put_int(&l, AT_carry, o->carry);
    if (o->invariant) attr_put_int(&l, AT_invariant, o->invariant);
    if (attr_flag(m, in->attr, AT_reverse))
        attr_drop(&l, AT_reverse);
    else
        attr_put_int(&l, AT_reverse, 1);
    return attr_intern(m, &l);
}

void grad_repeat(Grad *g, Value v, Value cot)
{
    const Derived *d = g->derived[v.id];
    (void)cot; /* a tuple: the fields have the cotangents */
    if (!d || fn_of(g->m, d->backward)->nresults == 0) return;
    const Inst *in = inst_of(g->fn, v);
    Operands o = backward_operands(g, v, d);
    Type t = repeat_type(g->m, fn_of(g->m, d->backward), o.carry,
                         d->repeat.axis, d->repeat.count);
    Value all =
        emit(&g->b, OP_repeat, t, backward_attr(g->m, in, d, &o), o.at, o.n);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (d->cot_at[i] != NO_RESULT && grad_wants(g, v, i))
            grad_give(g, v, i, emit_proj(&g->b, all, d->cot_at[i]));
}
