/*
 * map.c: verifying map: its body, and whether that is linear in what pends.
 */
#include "verify.h"

/* ---------------------------------------------------------- the body -- */

/* Only these take a narrow float as it is: they compute nothing. */
static bool takes_narrow(ScalarOp op)
{
    return op == SC_cast || op == SC_where || op == SC_stop;
}

static bool check_narrow(const Verify *vf, const ExprInfo *e) /* M5 */
{
    for (uint32_t k = 0; k < e->nargs; k++) {
        DType d = expr_dtype(vf->m, e->args[k]);
        if (!dtype_computes(d) && !takes_narrow((ScalarOp)e->op))
            return verify_fail(vf, "'%s' of %s values: cast to f32 first (M5)",
                               scalar_info((ScalarOp)e->op)->name,
                               dtype_name(d));
    }
    return true;
}

static bool check_operand(const Verify *vf, const ExprInfo *e) /* M4 */
{
    if (e->operand >= vf->in->nargs)
        return verify_fail(vf, "_%u names no operand (M4)", e->operand);
    DType d = operand_dtype(vf, e->operand);
    if (e->dtype == d) return true;
    return verify_fail(vf, "_%u is %s in the body and %s as an operand (M4)",
                       e->operand, dtype_name((DType)e->dtype), dtype_name(d));
}

static bool check_index(const Verify *vf, const ExprInfo *e) /* M2 */
{
    const TypeAxis *a = type_axis(vf->m, vf->in->type, e->axis);
    const char *name = axis_name(vf->m, e->axis);
    if (!a)
        return verify_fail(vf, "index(%s): the result has no such axis (M2)",
                           name);
    if (a->size <= INT32_MAX) return true;
    return verify_fail(vf, "index(%s): the axis is too long for i32 (M2)",
                       name);
}

static bool check_body(const Verify *vf, const Expr *walk, uint32_t n)
{
    bool *used = NEW_ARRAY(vf->m->scratch, bool, vf->in->nargs);
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *e = expr_info(vf->m, walk[i]);
        if (!check_narrow(vf, e)) return false;
        if (e->op == SC_index && !check_index(vf, e)) return false;
        if (e->op != SC_arg) continue;
        if (!check_operand(vf, e)) return false;
        used[e->operand] = true;
    }
    for (uint32_t i = 0; i < vf->in->nargs; i++)
        if (!used[i]) /* M4 */
            return verify_fail(vf, "operand %s is not used (M4)",
                               verify_name(vf, operand_at(vf, i)));
    return true;
}

/* ------------------------------------------------------------ pending -- */

static bool is_pending(const Verify *vf, uint32_t i)
{
    return type_info(vf->m, operand_type(vf, i))->npending > 0;
}

static bool is_linear(const Verify *vf)
{
    bool *pending = NEW_ARRAY(vf->m->scratch, bool, vf->in->nargs);
    for (uint32_t i = 0; i < vf->in->nargs; i++)
        pending[i] = is_pending(vf, i);
    Expr body = attr_expr(vf->m, vf->in->attr);
    return expr_degree(vf->m, body, pending) == DEGREE_linear;
}

static bool check_pending(const Verify *vf, uint32_t first) /* M6 */
{
    const TypeInfo *t = type_info(vf->m, operand_type(vf, first));
    for (uint32_t i = 0; i < vf->in->nargs; i++) {
        const TypeInfo *x = type_info(vf->m, operand_type(vf, i));
        if (!x->npending) continue;
        if (x->npending != t->npending || x->pending_kind != t->pending_kind ||
            memcmp(x->pending, t->pending, t->npending * sizeof *t->pending))
            return verify_fail(vf,
                               "operands %s and %s are pending in different "
                               "ways (M6)",
                               verify_name(vf, operand_at(vf, first)),
                               verify_name(vf, operand_at(vf, i)));
    }
    bool fits = t->pending_kind == PENDING_max
                    ? expr_keeps_order(vf->m, attr_expr(vf->m, vf->in->attr))
                    : is_linear(vf);
    if (fits) return true;
    return verify_fail(vf,
                       "operand %s is pending and the body is not linear "
                       "in it (M6)",
                       verify_name(vf, operand_at(vf, first)));
}

/* ----------------------------------------------------------- the rule -- */

static bool check_operand_axes(const Verify *vf, uint32_t i) /* M1 */
{
    const TypeInfo *t = type_info(vf->m, operand_type(vf, i));
    for (uint32_t k = 0; k < t->naxes; k++)
        if (!type_axis(vf->m, vf->in->type, t->axes[k].axis))
            return verify_fail(vf,
                               "the result has no axis '%s' of operand %s (M1)",
                               axis_name(vf->m, t->axes[k].axis),
                               verify_name(vf, operand_at(vf, i)));
    return check_aligned(vf, operand_type(vf, i), vf->in->type, "M1");
}

static bool check_result_pending(const Verify *vf, uint32_t first) /* M6 */
{
    const TypeInfo *r = type_info(vf->m, vf->in->type);
    TypeInfo want = *r;
    want.npending = 0;
    if (first < vf->in->nargs) {
        const TypeInfo *t = type_info(vf->m, operand_type(vf, first));
        want.npending = t->npending;
        want.pending = t->pending;
        want.pending_kind = t->pending_kind;
    }
    return check_result(vf, type_intern(vf->m, &want), "M6");
}

bool verify_map(const Verify *vf)
{
    uint32_t n, first = 0;
    Expr body = attr_expr(vf->m, vf->in->attr);
    const Expr *walk = expr_walk(vf->m, body, vf->m->scratch, &n);
    for (uint32_t i = 0; i < vf->in->nargs; i++)
        if (!check_operand_axes(vf, i)) return false;
    DType d = type_dtype(vf->m, vf->in->type);
    if (expr_dtype(vf->m, body) != d) /* M3 */
        return verify_fail(vf, "the body gives %s, the result is %s (M3)",
                           dtype_name(expr_dtype(vf->m, body)), dtype_name(d));
    if (!check_body(vf, walk, n)) return false;
    while (first < vf->in->nargs && !is_pending(vf, first))
        first++;
    if (first < vf->in->nargs && !check_pending(vf, first)) return false;
    return check_result_pending(vf, first);
}
