/*
 * find.c: can a region be made block by block?
 *
 * Everything that has the axis is made of one block.  What is summed over the
 * axis is a sum over blocks.  A maximum is one too, and may be read where it is
 * the base of exponentials alone: what is linear in exp(x - maximum) becomes
 * larger or smaller by a factor when the maximum changes.
 */
#include "ring.h"

static Type type_at(const Ring *r, Value v)
{
    return value_type(r->fn, v);
}

static bool has_axis(const Ring *r, Value v)
{
    return type_axis(r->m, type_at(r, v), r->axis.axis) != NULL;
}

static Share share_of(const Ring *r, const Inst *in, uint32_t i)
{
    return r->share[inst_arg(r->fn, in, i).id];
}

static bool is_wide(Share s)
{
    return s == SHARE_whole || s == SHARE_wide;
}

/* -------------------------------------------------------- exponentials -- */

static Expr through(const Module *m, Expr e, ScalarOp op)
{
    while (expr_info(m, e)->op == op)
        e = expr_info(m, e)->args[0];
    return e;
}

static bool reads(const Ring *r, Expr e, uint32_t operand)
{
    uint32_t n;
    Expr *nodes = expr_walk(r->m, e, r->m->scratch, &n);
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *x = expr_info(r->m, nodes[i]);
        if (x->op == SC_arg && x->operand == operand) return true;
    }
    return false;
}

/* exp(x - maximum), x without it. */
static bool is_exponential(const Ring *r, const Inst *in, uint32_t operand)
{
    const Module *m = r->m;
    if (in->op != OP_map) return false;
    Expr e = through(m, attr_expr(m, in->attr), SC_cast);
    const ExprInfo *x = expr_info(m, e);
    if (x->op != SC_exp) return false;
    x = expr_info(m, x->args[0]);
    if (x->op != SC_sub) return false;
    Expr base = through(m, x->args[1], SC_stop);
    const ExprInfo *b = expr_info(m, base);
    return b->op == SC_arg && b->operand == operand &&
           !reads(r, x->args[0], operand);
}

/* Whether IN is linear in those of its operands that are scaled; 0 or 1 of
 * them may be multiplied. */
static bool is_multiple(const Ring *r, const Inst *in)
{
    uint32_t n = 0;
    bool *marked = NEW_ARRAY(r->m->scratch, bool, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        n += marked[i] = r->scaled[inst_arg(r->fn, in, i).id];
    if (in->op == OP_map)
        return expr_degree(r->m, attr_expr(r->m, in->attr), marked) ==
               DEGREE_linear;
    if (in->op == OP_reduce) return attr_is(r->m, in->attr, AT_kind, "sum");
    return n == 1 && (op_info((Op)in->op)->flags & OPF_LINEAR);
}

static bool find_scale(Ring *r, Value v)
{
    const Inst *in = inst_of(r->fn, v);
    bool any = false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(r->fn, in, i);
        any |= r->scaled[x.id];
        if (r->share[x.id] != SHARE_max) continue;
        if (r->scaled[v.id] || !is_exponential(r, in, i)) return false;
        r->scaled[v.id] = true;
    }
    if (!any) return true;
    if (r->scaled[v.id] || !is_multiple(r, in)) return false;
    return r->scaled[v.id] = true;
}

/* ------------------------------------------------------------- sharing -- */

static bool only_axis_differs(const Ring *r, Type a, Type b)
{
    TypeAxis whole = {.axis = r->axis.axis, .size = r->axis.size};
    return type_eq(type_with_axis(r->m, a, whole), b);
}

/* What works along the axis needs all of it; `index` and sums do not. */
static bool works_along(const Ring *r, const Inst *in)
{
    return in->op != OP_map && in->op != OP_reduce && in->op != OP_einsum &&
           attr_names_axis(r->m, in->attr, r->axis.axis);
}

static bool find_wide(Ring *r, Value v)
{
    const Inst *in = inst_of(r->fn, v);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Share s = share_of(r, in, i);
        if (s == SHARE_sum || s == SHARE_after || s == SHARE_block ||
            s == SHARE_home)
            return false;
    }
    if (in->op == OP_map)
        r->counts |=
            expr_uses_index(r->m, attr_expr(r->m, in->attr), r->axis.axis);
    r->share[v.id] = SHARE_wide;
    return !works_along(r, in) && find_scale(r, v);
}

/* Lacks the axis, which an operand has. */
static bool find_sum(Ring *r, Value v)
{
    const Inst *in = inst_of(r->fn, v);
    bool max = in->op == OP_reduce && attr_is(r->m, in->attr, AT_kind, "max");
    bool sum = in->op == OP_einsum ||
               (in->op == OP_reduce && attr_is(r->m, in->attr, AT_kind, "sum"));
    for (uint32_t i = 0; i < in->nargs; i++) {
        Share s = share_of(r, in, i);
        if (s != SHARE_before && !is_wide(s)) return false;
    }
    if (!find_scale(r, v) || !(max || sum)) return false;
    r->share[v.id] = max ? SHARE_max : SHARE_sum;
    if (!max) return true;
    if (r->scaled[v.id] || !value_eq(r->maximum, NO_VALUE)) return false;
    r->maximum = v;
    return true;
}

static bool is_pending_over(const Ring *r, Type t)
{
    const TypeInfo *info = type_info(r->m, t);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->npending; i++)
        for (uint32_t k = 0; k < r->axis.nsplits; k++)
            n += info->pending[i].id == r->axis.splits[k].id;
    return n == r->axis.nsplits && info->pending_kind == PENDING_sum;
}

static bool find_reshard(Ring *r, Value v)
{
    const Inst *in = inst_of(r->fn, v);
    Value x = inst_arg(r->fn, in, 0);
    if (r->share[x.id] == SHARE_block) {
        r->share[v.id] = SHARE_whole;
        return only_axis_differs(r, type_at(r, x), in->type);
    }
    const TypeAxis *a = type_axis(r->m, in->type, r->axis.axis);
    if (r->share[x.id] != SHARE_wide || !a || a->nsplits != r->axis.nsplits ||
        !is_pending_over(r, type_at(r, x)) || r->scaled[x.id])
        return false;
    r->share[v.id] = SHARE_home;
    return r->home[x.id] = true;
}

static bool find_inst(Ring *r, Value v)
{
    const Inst *in = inst_of(r->fn, v);
    bool touched = false, after = false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Share s = share_of(r, in, i);
        touched |= s != SHARE_before && s != SHARE_after;
        after |= s == SHARE_after || s == SHARE_sum || s == SHARE_max ||
                 s == SHARE_home;
    }
    if (in->op == OP_reshard && touched && !after) return find_reshard(r, v);
    if (has_axis(r, v)) return find_wide(r, v);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (is_wide(share_of(r, in, i))) return find_sum(r, v);
    r->share[v.id] = after ? SHARE_after : SHARE_before;
    return in->op != OP_call && in->op != OP_repeat;
}

/* Parameters have the axis split in one way, or not at all; blocks go from
 * device to device, so they are of one size. */
static bool find_params(Ring *r)
{
    bool any = false;
    for (uint32_t i = 0; i < r->fn->nparams; i++) {
        const TypeAxis *a =
            type_axis(r->m, r->fn->params[i].type, r->axis.axis);
        if (!a) continue;
        if (!a->nsplits) return false;
        r->share[i] = SHARE_block;
        r->axis = *a;
        any = true;
    }
    for (uint32_t k = 0; k < r->axis.nsplits; k++)
        r->ndevices *= (uint32_t)r->m->mesh.at[r->axis.splits[k].id].size;
    return any && r->axis.size % r->ndevices == 0;
}

bool ring_find(Ring *r)
{
    uint32_t n = r->fn->ninsts;
    r->share = NEW_ARRAY(r->m->scratch, Share, n);
    r->scaled = NEW_ARRAY(r->m->scratch, bool, n);
    r->home = NEW_ARRAY(r->m->scratch, bool, n);
    r->maximum = NO_VALUE;
    r->ndevices = 1;
    if (!find_params(r)) return false;
    for (uint32_t i = r->fn->nparams; i < n; i++)
        if (!find_inst(r, (Value){i})) return false;
    for (uint32_t i = 0; i < r->fn->nresults; i++) {
        Value v = r->fn->result_values[i];
        if (r->share[v.id] == SHARE_whole) return false;
        if (r->share[v.id] != SHARE_wide) continue;
        if (!is_pending_over(r, type_at(r, v)) || r->scaled[v.id]) return false;
        r->home[v.id] = true;
    }
    return true;
}
