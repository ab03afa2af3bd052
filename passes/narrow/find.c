/*
 * find.c: which values are to be narrow.
 *
 * Forward: a value has numbers of a narrower dtype where a map casts such, or
 * chooses between such, where an op moves such alone, and where a repeat takes
 * or gives such.  Backward: where moving the narrow numbers would only put the
 * cast somewhere else it stays where it is, and what was found is found again.
 */
#include <math.h>
#include <string.h>

#include "../reach.h"
#include "../repeat.h"
#include "narrow.h"

typedef struct Find {
    Narrow *x;
    bool **barred;   /* by function, by value: stays wide */
    uint8_t **given; /* by body, by parameter: what all its repeats hand it */
    bool changed;
} Find;

enum { UNSEEN = DT_count + 1 };

/* Numbers that are moved may meet a zero, and every number is itself again. */
static bool is_narrower(DType d, DType wide)
{
    return dtype_class(d) == dtype_class(wide) &&
           dtype_bytes(d) < dtype_bytes(wide) && dtype_holds(wide, d) &&
           dtype_holds(d, DT_bool);
}

/* --------------------------------------------------------------- bodies -- */

static void note_repeat(Narrow *x, const Inst *in)
{
    Repeat r = repeat_of(x->m, in);
    Body *b = &x->body[r.fn.id];
    uint32_t alike = r.carry + r.invariant;
    if (r.carry > b->carry) b->carry = r.carry;
    if (alike > b->alike) b->alike = alike;
    if (r.has_while && alike > b->fixed) b->fixed = alike;
}

static void find_bodies(Narrow *x)
{
    Module *m = x->m;
    x->body = NEW_ARRAY(m->scratch, Body, m->fns.n + 1);
    bool *named = NEW_ARRAY(m->scratch, bool, m->fns.n + 1);
    bool *otherwise = NEW_ARRAY(m->scratch, bool, m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
            const Inst *in = &fn->insts[i];
            FnRef callees[2];
            uint32_t n = inst_callees(m, in, callees);
            for (uint32_t k = 0; k < n; k++) {
                bool turns = in->op == OP_repeat &&
                             callees[k].id == repeat_of(m, in).fn.id;
                named[callees[k].id] = true;
                otherwise[callees[k].id] |= !turns;
            }
            if (in->op == OP_repeat) note_repeat(x, in);
        }
    }
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        x->body[f].is = named[f] && !otherwise[f] && !fn->entry &&
                        !fn->kind.id && fn->view == VIEW_global;
    }
}

DType narrow_result(const Narrow *x, uint32_t f, uint32_t j)
{
    const Body *b = &x->body[f];
    if (!b->is || j < b->carry) return WIDE;
    return (DType)x->to[f][x->m->fns.at[f]->result_values[j].id];
}

/* ----------------------------------------------------------------- maps -- */

static DType operand_to(const Narrow *x, uint32_t f, const Inst *in, uint32_t i)
{
    return (DType)x->to[f][inst_arg(x->m->fns.at[f], in, i).id];
}

/* The constant, if the dtype holds it as it is. */
static Expr const_in(Module *m, Expr e, DType d)
{
    const ExprInfo *info = expr_info(m, e);
    if (dtype_class(d) == DC_float && isnan(info->f))
        return dtype_format(d)->top == TOP_numbers ? (Expr){0}
                                                   : expr_float(m, d, info->f);
    Expr c = expr_cast(m, d, e);
    return expr_info(m, c)->op == SC_const ? c : (Expr){0};
}

static Expr body_in(const Narrow *x, uint32_t f, const Inst *in, Expr e,
                    DType d, const ExprSubst *with)
{
    Module *m = x->m;
    ExprInfo info = *expr_info(m, e);
    switch (info.op) {
    case SC_arg:
        return operand_to(x, f, in, info.operand) == d
                   ? expr_arg(m, info.operand, d)
                   : (Expr){0};
    case SC_const:
        return const_in(m, e, d);
    case SC_cast: {
        ExprInfo of = *expr_info(m, info.args[0]);
        if (of.op == SC_arg && operand_to(x, f, in, of.operand) == d)
            return expr_arg(m, of.operand, d);
        return of.dtype == d ? expr_subst(m, info.args[0], with) : (Expr){0};
    }
    case SC_stop: {
        Expr a = body_in(x, f, in, info.args[0], d, with);
        return a.id ? expr_op1(m, SC_stop, a) : a;
    }
    case SC_where: {
        Expr a = body_in(x, f, in, info.args[1], d, with);
        Expr b = body_in(x, f, in, info.args[2], d, with);
        if (!a.id || !b.id) return (Expr){0};
        return expr_op(m, SC_where, expr_subst(m, info.args[0], with), a, b);
    }
    default:
        return (Expr){0};
    }
}

Expr narrow_body(const Narrow *x, uint32_t f, const Inst *in, DType d,
                 const ExprSubst *with)
{
    return body_in(x, f, in, attr_expr(x->m, in->attr), d, with);
}

/* What a body casts, or chooses between: of the first arm that says it. */
static DType body_to(const Narrow *x, uint32_t f, const Inst *in, Expr e)
{
    const ExprInfo *info = expr_info(x->m, e);
    DType d = WIDE;
    if (info->op == SC_arg) return operand_to(x, f, in, info->operand);
    if (info->op == SC_cast) {
        const ExprInfo *of = expr_info(x->m, info->args[0]);
        if (of->op == SC_arg) d = operand_to(x, f, in, of->operand);
        if (d == WIDE) d = (DType)of->dtype;
        return is_narrower(d, (DType)info->dtype) ? d : WIDE;
    }
    if (info->op == SC_stop) return body_to(x, f, in, info->args[0]);
    if (info->op != SC_where) return d;
    d = body_to(x, f, in, info->args[1]);
    return d == WIDE ? body_to(x, f, in, info->args[2]) : d;
}

static DType map_to(const Narrow *x, uint32_t f, const Inst *in)
{
    if (attr_flag(x->m, in->attr, AT_pinned)) return WIDE;
    DType d = body_to(x, f, in, attr_expr(x->m, in->attr));
    if (d == WIDE) return d;
    const Fn *fn = x->m->fns.at[f];
    Value *args = NEW_ARRAY(x->m->scratch, Value, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = inst_arg(fn, in, i);
    ExprSubst same = {.with = expr_args(x->m, fn, args, in->nargs),
                      .n = in->nargs};
    return narrow_body(x, f, in, d, &same).id ? d : WIDE;
}

/* A map that casts and does nothing else with what it casts. */
static bool is_source(const Module *m, const Inst *in)
{
    return in->op == OP_map &&
           expr_info(m, attr_expr(m, in->attr))->op == SC_cast;
}

/* -------------------------------------------------------------- forward -- */

bool narrow_moves(const Inst *in, uint32_t i)
{
    bool ids = (in->op == OP_gather || in->op == OP_put) && i == 1;
    return op_has((Op)in->op, OPF_MOVE) && !ids;
}

/* Where all that it moves has numbers of one dtype. */
static DType move_to(const Narrow *x, uint32_t f, const Inst *in)
{
    DType d = WIDE;
    for (uint32_t i = 0, n = 0; i < in->nargs; i++) {
        if (!narrow_moves(in, i)) continue;
        DType of = operand_to(x, f, in, i);
        if (n++ && of != d) return WIDE;
        d = of;
    }
    return d;
}

static DType field_to(const Narrow *x, const Fn *fn, const Inst *in)
{
    const Inst *of = inst_of(fn, inst_arg(fn, in, 0));
    if (of->op != OP_repeat) return WIDE;
    return narrow_result(x, attr_fn(x->m, of->attr, AT_fn).id,
                         (uint32_t)attr_int(x->m, in->attr, AT_index, 0));
}

static DType param_to(const Find *s, uint32_t f, uint32_t i)
{
    const Body *b = &s->x->body[f];
    uint32_t most = b->carry > b->fixed ? b->carry : b->fixed;
    if (!b->is || i < most || s->given[f][i] == UNSEEN) return WIDE;
    return (DType)s->given[f][i];
}

static DType value_to(const Find *s, uint32_t f, uint32_t i)
{
    const Fn *fn = s->x->m->fns.at[f];
    const Inst *in = &fn->insts[i];
    if (i < fn->nparams) return param_to(s, f, i);
    if (in->op == OP_map) return map_to(s->x, f, in);
    if (in->op == OP_proj) return field_to(s->x, fn, in);
    return move_to(s->x, f, in);
}

/* What the repeats of a function hand to their bodies. */
static void note_given(Find *s, uint32_t f)
{
    const Fn *fn = s->x->m->fns.at[f];
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_repeat) continue;
        uint8_t *given = s->given[attr_fn(s->x->m, in->attr, AT_fn).id];
        for (uint32_t k = 0; k < in->nargs; k++) {
            DType d = operand_to(s->x, f, in, k);
            bool agrees = given[k] == UNSEEN || given[k] == d;
            given[k] = agrees ? (uint8_t)d : WIDE;
        }
    }
}

static void sweep(Find *s, uint32_t f)
{
    const Fn *fn = s->x->m->fns.at[f];
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (type_info(s->x->m, fn->insts[i].type)->is_tuple) continue;
        DType d = s->barred[f][i] ? WIDE : value_to(s, f, i);
        s->changed |= s->x->to[f][i] != d;
        s->x->to[f][i] = (uint8_t)d;
    }
}

static bool is_read(const Fn *fn)
{
    return fn->view == VIEW_global && !fn->kind.id;
}

/* From nothing, so what is found holds of all that a repeat is handed. */
static void forward(Find *s)
{
    Module *m = s->x->m;
    for (uint32_t f = 0; f < m->fns.n; f++)
        memset(s->x->to[f], WIDE, m->fns.at[f]->ninsts + 1);
    do {
        s->changed = false;
        for (uint32_t f = 0; f < m->fns.n; f++)
            memset(s->given[f], UNSEEN, m->fns.at[f]->nparams + 1);
        for (uint32_t f = 0; f < m->fns.n; f++)
            note_given(s, f);
        for (uint32_t f = 0; f < m->fns.n; f++)
            if (is_read(m->fns.at[f])) sweep(s, f);
    } while (s->changed);
}

/* ------------------------------------------------------------- backward -- */

/* The reader takes operand V in its narrow dtype, or widens it where it reads
 * it: a loop, in registers. */
static bool takes(const Find *s, uint32_t f, const Inst *in, Value v)
{
    const Narrow *x = s->x;
    const Fn *fn = x->m->fns.at[f];
    switch ((Op)in->op) {
    case OP_map:
    case OP_reduce:
    case OP_scatter:
    case OP_cumsum:
    case OP_fold:
        return true;
    case OP_repeat: {
        uint32_t body = attr_fn(x->m, in->attr, AT_fn).id;
        uint32_t carry = repeat_of(x->m, in).carry;
        for (uint32_t k = 0; k < in->nargs; k++)
            if (value_eq(inst_arg(fn, in, k), v) && k >= carry &&
                x->to[body][k] == WIDE)
                return false;
        return true;
    }
    default: {
        Value made = {(uint32_t)(in - fn->insts)};
        return x->to[f][made.id] != WIDE;
    }
    }
}

/* A cast takes no place, and what turns keep is worth one in each of them. */
static bool is_bound(const Find *s, uint32_t f, uint32_t i)
{
    const Fn *fn = s->x->m->fns.at[f];
    const Inst *in = &fn->insts[i];
    if (i < fn->nparams) return i < s->x->body[f].alike;
    return in->op != OP_proj && !is_source(s->x->m, in);
}

static bool bar(Find *s, uint32_t f)
{
    const Fn *fn = s->x->m->fns.at[f];
    Uses u = fn_uses(fn, s->x->m->scratch);
    bool any = false;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (s->x->to[f][i] == WIDE || !is_bound(s, f, i)) continue;
        for (uint32_t k = u.first[i]; k < u.first[i + 1]; k++) {
            if (takes(s, f, inst_of(fn, u.at[k]), (Value){i})) continue;
            s->barred[f][i] = any = true;
        }
    }
    return any;
}

void narrow_find(Narrow *x)
{
    Module *m = x->m;
    Arena *a = m->scratch;
    Find s = {.x = x};
    find_bodies(x);
    x->to = NEW_ARRAY(a, uint8_t *, m->fns.n + 1);
    s.barred = NEW_ARRAY(a, bool *, m->fns.n + 1);
    s.given = NEW_ARRAY(a, uint8_t *, m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        x->to[f] = NEW_ARRAY(a, uint8_t, fn->ninsts + 1);
        s.barred[f] = NEW_ARRAY(a, bool, fn->ninsts + 1);
        s.given[f] = NEW_ARRAY(a, uint8_t, fn->nparams + 1);
    }
    for (bool again = true; again;) {
        again = false;
        forward(&s);
        for (uint32_t f = 0; f < m->fns.n; f++)
            if (is_read(m->fns.at[f])) again |= bar(&s, f);
    }
}
