/*
 * online.c: whether a turn of sweeps can run beside the one before it.
 *
 * A value of turn n + 1 depends on the maxima of turn n.  Where it does so as
 * a factor exp(-maximum) alone, however deep in maps, a sum of it can be begun
 * with any number instead of the maximum and set right afterwards by one
 * factor per row: the softmax whose maximum and sum are found in one sweep.
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
