/*
 * infinity.c: which infinities the values of a program are meant to hold.
 *
 * A mask writes -inf over scores, a running maximum begins with it: such
 * infinities come from constants of the program and are no sign of a fault,
 * while NaN and any other infinity are.  So for each place in the kernel view
 * two bits say whether +inf or -inf can reach it from a constant.
 *
 * Bits only grow, so the functions are gone through until none does.  A place
 * is the buffer or argument under all views of it; a parameter or state is one
 * place in all entries, since `init` may have begun it as inf.  A maximum over
 * an axis is not meant to be -inf, since somebody must be left unmasked, nor a
 * minimum +inf; exp, tanh and their like take an infinity to something finite.
 */
#include <math.h>

#include "image.h"

enum { PLUS = TITAN_MAY_plus, MINUS = TITAN_MAY_minus, BOTH = PLUS | MINUS };

/* ----------------------------------------------------------- expressions -- */

static unsigned swapped(unsigned x)
{
    return (x & PLUS ? MINUS : 0u) | (x & MINUS ? PLUS : 0u);
}

static unsigned constant(const ExprInfo *e)
{
    if (dtype_class((DType)e->dtype) != DC_float || !isinf(e->f)) return 0;
    return e->f > 0 ? PLUS : MINUS;
}

/* x: of the operands of the node. */
static unsigned node_bits(ScalarOp op, const unsigned x[3])
{
    unsigned any = x[0] | x[1] | x[2] ? BOTH : 0;
    switch (op) {
    case SC_add:
        return x[0] | x[1];
    case SC_sub:
        return x[0] | swapped(x[1]);
    case SC_max:
        return ((x[0] | x[1]) & PLUS) | (x[0] & x[1] & MINUS);
    case SC_min:
        return ((x[0] | x[1]) & MINUS) | (x[0] & x[1] & PLUS);
    case SC_neg:
        return swapped(x[0]);
    case SC_abs:
        return x[0] ? PLUS : 0;
    case SC_where:
        return x[1] | x[2];
    case SC_div:
        return x[0] ? BOTH : 0;
    case SC_exp:
    case SC_log:
    case SC_log1p:
    case SC_sqrt:
        return x[0] & PLUS;
    case SC_cast:
    case SC_stop:
    case SC_floor:
    case SC_ceil:
    case SC_round:
        return x[0];
    case SC_sign:
    case SC_rsqrt:
    case SC_tanh:
    case SC_erf:
    case SC_sigmoid:
        return 0;
    default:
        return any;
    }
}

static unsigned expr_bits(Module *m, Expr body, const unsigned *args)
{
    uint32_t n;
    ArenaMark mark = arena_mark(m->scratch);
    Expr *walk = expr_walk(m, body, m->scratch, &n);
    unsigned *bits = NEW_ARRAY(m->scratch, unsigned, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *e = expr_info(m, walk[i]);
        unsigned x[3] = {0};
        for (uint32_t k = 0; k < e->nargs; k++)
            x[k] = bits[expr_place(walk, n, e->args[k])];
        if (e->op == SC_const)
            bits[i] = constant(e);
        else if (e->op == SC_arg)
            bits[i] = args[e->operand];
        else if (dtype_class((DType)e->dtype) == DC_float)
            bits[i] = node_bits((ScalarOp)e->op, x);
    }
    unsigned result = n ? bits[expr_place(walk, n, body)] : 0;
    arena_pop(m->scratch, mark);
    return result;
}

/* ---------------------------------------------------------------- groups -- */

static unsigned inst_bits(Module *m, const Inst *in, const unsigned *args)
{
    unsigned any = 0;
    for (uint32_t k = 0; k < in->nargs; k++)
        any |= args[k];
    switch ((Op)in->op) {
    case OP_map:
        return expr_bits(m, attr_expr(m, in->attr), args);
    case OP_reduce:
        if (attr_is(m, in->attr, AT_kind, "max")) return any & PLUS;
        if (attr_is(m, in->attr, AT_kind, "min")) return any & MINUS;
        return any;
    case OP_einsum:
        return any ? BOTH : 0;
    default: /* moves, sums */
        return any;
    }
}

/* Of each value of a group, given those of its parameters. */
static unsigned *group_bits(Module *m, const Fn *g, const unsigned *params)
{
    unsigned *bits = NEW_ARRAY(m->scratch, unsigned, g->ninsts + 1);
    for (uint32_t i = 0; i < g->ninsts; i++) {
        const Inst *in = &g->insts[i];
        unsigned *args = NEW_ARRAY(m->scratch, unsigned, in->nargs + 1u);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = bits[inst_arg(g, in, k).id];
        bits[i] = i < g->nparams ? params[i] : inst_bits(m, in, args);
    }
    return bits;
}

/* --------------------------------------------------------------- program -- */

/* The bits of the place that an operand of a launch or loop names. */
static uint8_t *place_of(const Infinities *x, FnRef f, Value v)
{
    Module *m = x->m;
    Spot s = spot_of(m, fn_of(m, f), v, m->scratch);
    return &x->at[f.id][s.root.id];
}

static bool grow(uint8_t *at, unsigned bits)
{
    uint8_t more = (uint8_t)(*at | bits);
    bool grown = more != *at;
    *at = more;
    return grown;
}

static bool join(uint8_t *a, uint8_t *b)
{
    bool grown = grow(a, *b);
    return grow(b, *a) || grown;
}

static bool visit_launch(const Infinities *x, FnRef f, const Inst *in)
{
    Module *m = x->m;
    const Fn *fn = fn_of(m, f), *g = fn_of(m, attr_fn(m, in->attr, AT_fn));
    unsigned *params = NEW_ARRAY(m->scratch, unsigned, g->nparams + 1);
    bool grown = false;
    for (uint32_t i = 0; i < g->nparams; i++)
        params[i] = *place_of(x, f, inst_arg(fn, in, i));
    const unsigned *bits = group_bits(m, g, params);
    for (uint32_t i = 0; i < g->nresults; i++)
        grown |= grow(place_of(x, f, inst_arg(fn, in, g->nparams + i)),
                      bits[g->result_values[i].id]);
    return grown;
}

/* A body's argument and what it stands for are one place. */
static bool visit_loop(const Infinities *x, FnRef f, const Inst *in)
{
    FnRef body = attr_fn(x->m, in->attr, AT_fn);
    bool grown = false;
    for (uint32_t i = 0; i < in->nargs; i++)
        grown |= join(place_of(x, f, inst_arg(fn_of(x->m, f), in, i)),
                      &x->at[body.id][i]);
    return grown;
}

/* What a slot may hold in one entry it may hold in all. */
static bool visit_slots(const Infinities *x, FnRef f)
{
    const Fn *fn = fn_of(x->m, f);
    bool grown = false;
    for (uint32_t i = 0; fn->entry && i < fn->nparams; i++)
        if (role_is_slot(fn->params[i].role))
            grown |= join(&x->at[f.id][i], &x->slots[fn->params[i].path.id]);
    for (uint32_t i = 0; fn->entry && i < fn->nresults; i++)
        if (role_is_slot(fn->results[i].role))
            grown |= join(place_of(x, f, fn->result_values[i]),
                          &x->slots[fn->results[i].path.id]);
    return grown;
}

static bool visit_fn(const Infinities *x, FnRef f)
{
    const Fn *fn = fn_of(x->m, f);
    bool grown = visit_slots(x, f);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        ArenaMark mark = arena_mark(x->m->scratch);
        if (in->op == OP_launch) grown |= visit_launch(x, f, in);
        if (in->op == OP_loop) grown |= visit_loop(x, f, in);
        arena_pop(x->m->scratch, mark);
    }
    return grown;
}

Infinities infinities_find(Module *m)
{
    Infinities x = {.m = m};
    x.at = NEW_ARRAY(m->arena, uint8_t *, m->fns.n + 1);
    x.slots = NEW_ARRAY(m->arena, uint8_t, m->strs.n);
    for (uint32_t i = 0; i < m->fns.n; i++)
        x.at[i] = NEW_ARRAY(m->arena, uint8_t, m->fns.at[i]->ninsts + 1);
    for (bool grown = true; grown;) {
        grown = false;
        for (uint32_t i = 0; i < m->fns.n; i++)
            if (m->fns.at[i]->view == VIEW_kernel)
                grown |= visit_fn(&x, (FnRef){i});
    }
    return x;
}

unsigned infinities_of(const Infinities *x, const Fn *fn, Value root)
{
    for (uint32_t i = 0; i < x->m->fns.n; i++)
        if (x->m->fns.at[i] == fn) return x->at[i][root.id];
    return BOTH;
}
