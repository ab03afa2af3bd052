/*
 * online.c: whether a turn of sweeps can run beside the one before it.
 *
 * A value of turn n + 1 depends on the maxima of turn n.  Where it does so as
 * a factor exp(-maximum) alone, however deep in maps, a sum of it can be begun
 * with any number instead of the maximum and set right afterwards by one
 * factor per row: the softmax whose maximum and sum are found in one sweep.
 *
 * Turns are those of tiles (tensor.c), or loops over the lanes of a long row
 * (online_rows), of which a GPU's threads could not hold what they have read.
 */
#include "lower.h"
#include "tensor.h"

/* Besides `not` and `otherwise`: the value of the maximum, plus 1, negative
 * where the value is that maximum itself. */
typedef struct Online {
    const Lower *l;
    const int32_t *how;
    const Inst *in;
} Online;

enum { ITSELF = 1 << 30 };

static int32_t of_expr(const Online *o, Expr e);

/* exp(a - maximum), where a does not depend on it. */
static int32_t of_exp(const Online *o, Expr e)
{
    const ExprInfo *x = expr_info(o->l->m, e);
    if (x->op != SC_sub) return DEPENDS_otherwise;
    int32_t a = of_expr(o, x->args[0]), b = of_expr(o, x->args[1]);
    if (a != DEPENDS_not || b < ITSELF) return DEPENDS_otherwise;
    return b - ITSELF;
}

static bool is_factor(int32_t how)
{
    return how > 0 && how < ITSELF;
}

/* A factor stays one in a product with what does not depend. */
static int32_t of_product(int32_t a, int32_t b)
{
    if (is_factor(a) && b == DEPENDS_not) return a;
    if (is_factor(b) && a == DEPENDS_not) return b;
    return DEPENDS_otherwise;
}

static bool is_zero(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    return x->op == SC_const && dtype_class((DType)x->dtype) == DC_float &&
           x->f == 0;
}

static int32_t of_choice(const Online *o, const ExprInfo *x)
{
    const Module *m = o->l->m;
    int32_t a = of_expr(o, x->args[1]), b = of_expr(o, x->args[2]);
    if (of_expr(o, x->args[0]) != DEPENDS_not) return DEPENDS_otherwise;
    if (is_factor(a) && (a == b || is_zero(m, x->args[2]))) return a;
    return is_factor(b) && is_zero(m, x->args[1]) ? b : DEPENDS_otherwise;
}

static int32_t of_expr_new(const Online *o, const ExprInfo *x)
{
    int32_t first = of_expr(o, x->args[0]);
    switch (x->op) {
    case SC_stop:
    case SC_neg:
        return x->op == SC_neg && first >= ITSELF ? DEPENDS_otherwise : first;
    case SC_cast:
        return is_factor(first) && dtype_class((DType)x->dtype) == DC_float
                   ? first
                   : DEPENDS_otherwise;
    case SC_exp:
        return of_exp(o, x->args[0]);
    case SC_mul:
        return of_product(first, of_expr(o, x->args[1]));
    case SC_div:
        return is_factor(first) && of_expr(o, x->args[1]) == DEPENDS_not
                   ? first
                   : DEPENDS_otherwise;
    case SC_where:
        return of_choice(o, x);
    default:
        return DEPENDS_otherwise;
    }
}

static bool depends(const Online *o, Expr e)
{
    const ExprInfo *x = expr_info(o->l->m, e);
    if (x->op == SC_arg)
        return o->how[inst_arg(o->l->fn, o->in, x->operand).id] != DEPENDS_not;
    for (unsigned i = 0; i < x->nargs; i++)
        if (depends(o, x->args[i])) return true;
    return false;
}

static int32_t of_expr(const Online *o, Expr e)
{
    const ExprInfo *x = expr_info(o->l->m, e);
    if (!depends(o, e)) return DEPENDS_not;
    if (x->op == SC_arg)
        return o->how[inst_arg(o->l->fn, o->in, x->operand).id];
    return of_expr_new(o, x);
}

static int32_t of_value(const Online *o)
{
    const Fn *fn = o->l->fn;
    bool any = false;
    for (uint32_t i = 0; i < o->in->nargs; i++)
        any |= o->how[inst_arg(fn, o->in, i).id] != DEPENDS_not;
    if (!any) return DEPENDS_not;
    if (o->in->op != OP_map) return DEPENDS_otherwise;
    return of_expr(o, attr_expr(o->l->m, o->in->attr));
}

const int32_t *online_find(const Lower *l, const bool *maxima)
{
    int32_t *how = NEW_ARRAY(l->k->arena, int32_t, l->fn->ninsts);
    for (uint32_t v = l->fn->nparams; v < l->fn->ninsts; v++) {
        Online o = {l, how, &l->fn->insts[v]};
        how[v] = maxima[v] ? ITSELF + (int32_t)v + 1 : of_value(&o);
    }
    return how;
}

/* ------------------------------------------------------------------- rows */

static bool is_row_maximum(const Lower *l, uint32_t v)
{
    const Inst *in = &l->fn->insts[v];
    Made at = l->made[v];
    return in->op == OP_reduce && at.loop && acc_kind(l, in->attr) == ACC_max &&
           l->k->loops.at[at.loop].accs.at[at.acc].dtype == DT_f32;
}

/* The loop stands alone in its row: nothing nested, nothing stored. */
static bool is_plain_sum(const Kir *k, const Loop *l)
{
    for (uint32_t i = 0; i < l->accs.n; i++)
        if (l->accs.at[i].kind != ACC_sum || l->accs.at[i].dtype != DT_f32)
            return false;
    for (uint32_t i = 0; i < l->body.n; i++) {
        uint8_t op = node_info(k, l->body.at[i])->op;
        if (op == KN_loop || op == KN_store) return false;
    }
    return l->accs.n > 0 && !l->when.id && !l->reverse;
}

/* Nothing runs between the two but what can be made again in every turn. */
static bool are_neighbours(const Kir *k, LoopId first, LoopId next)
{
    const Loop *parent = &k->loops.at[k->loops.at[first].parent];
    bool between = false;
    for (uint32_t i = 0; i < parent->body.n; i++) {
        const NodeInfo *in = node_info(k, parent->body.at[i]);
        if (in->op == KN_loop && between) return in->inner == next;
        between |= in->op == KN_loop && in->inner == first;
        if (between && in->op == KN_store) return false;
    }
    return false;
}

/* Whether anything that N reads is another result of the loop. */
static bool reads_other(const Kir *k, Node n, Made top);

static bool ix_reads_other(const Kir *k, Ix ix, Made top)
{
    const IxInfo *x = ix_info(k, ix);
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &k->atoms.at[x->terms[i].atom];
        if (a->kind == ATOM_node  ? reads_other(k, a->node, top)
            : a->kind == ATOM_var ? false
                                  : ix_reads_other(k, a->of, top))
            return true;
    }
    return false;
}

static bool reads_other(const Kir *k, Node n, Made top)
{
    if (!n.id) return false;
    const NodeInfo *in = node_info(k, n);
    if (in->op == KN_result)
        return in->inner == top.loop && in->n != (int64_t)top.acc;
    return reads_other(k, in->a, top) || reads_other(k, in->b, top) ||
           reads_other(k, in->c, top) || ix_reads_other(k, in->ix, top);
}

/* The maximum by which all sums of the loop are scaled; ninsts: there is none.
 */
static uint32_t maximum_of(const Lower *l, LoopId loop, const int32_t *how)
{
    const Fn *fn = l->fn;
    uint32_t top = fn->ninsts;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++) {
        if (l->made[v].loop != loop) continue;
        int32_t by = how[inst_arg(fn, &fn->insts[v], 0).id];
        if (!is_factor(by)) return fn->ninsts;
        if (top < fn->ninsts && top != (uint32_t)by - 1) return fn->ninsts;
        top = (uint32_t)by - 1;
    }
    return top;
}

static bool runs_along(const Lower *l, LoopId loop, Made top)
{
    const Kir *k = l->k;
    const Loop *sums = &k->loops.at[loop], *first = &k->loops.at[top.loop];
    if (sums->hi != first->hi || !row_is_long(k, sums->hi)) return false;
    if (!is_plain_sum(k, sums) || !are_neighbours(k, top.loop, loop))
        return false;
    for (uint32_t i = 0; i < sums->accs.n; i++)
        if (reads_other(k, sums->accs.at[i].value, top)) return false;
    return true;
}

void online_rows(Lower *l)
{
    const Fn *fn = l->fn;
    bool *maxima = NEW_ARRAY(l->k->arena, bool, fn->ninsts + 1);
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++)
        maxima[v] = is_row_maximum(l, v);
    const int32_t *how = online_find(l, maxima);
    for (LoopId loop = 1; loop < l->k->loops.n; loop++) {
        uint32_t top = maximum_of(l, loop, how);
        if (top == fn->ninsts || !runs_along(l, loop, l->made[top])) continue;
        l->k->loops.at[loop].online = l->made[top].loop;
        l->k->loops.at[loop].top = l->made[top].acc;
    }
}
