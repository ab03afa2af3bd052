/*
 * factors.c: a product of maps, as one map for each side of a weight.
 *
 * The derivative of a weight that a row chooses is the product of what the row
 * was multiplied with and of the cotangent of its product: each has the axes of
 * one side of the weight, beside those of the rows.  A factor that has but axes
 * of the rows goes to either side.
 */
#include "route.h"

/* The axes beside the rows' of all that E reads. */
static bool axes_read(const Route *r, const Factors *f, Expr e, Type *out)
{
    Module *m = r->m;
    const ExprInfo *x = expr_info(m, e);
    if (x->op == SC_index) return false;
    for (uint32_t i = 0; i < x->nargs && x->op != SC_arg; i++)
        if (!axes_read(r, f, x->args[i], out)) return false;
    if (x->op != SC_arg) return true;
    Type t = value_type(r->rw.old, inst_arg(r->rw.old, f->in, x->operand));
    const TypeInfo *ti = type_info(m, t);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!type_axis(m, f->rows->type, ti->axes[i].axis))
            *out = type_with_axis(m, *out, ti->axes[i]);
    return true;
}

static void take_factor(Route *r, Factors *f, uint32_t s, Expr e, Type t)
{
    Expr *side = &f->side[s];
    *side = side->id ? expr_op2(r->m, SC_mul, *side, e) : e;
    if (f->known[s] || type_info(r->m, t)->naxes == 0) return;
    f->type[s] = t;
    f->known[s] = true;
}

static bool split_factors(Route *r, Factors *f, Expr e)
{
    Module *m = r->m;
    const ExprInfo *x = expr_info(m, e);
    if (x->op == SC_mul)
        return split_factors(r, f, x->args[0]) &&
               split_factors(r, f, x->args[1]);
    Type t = type_scalar(m, DT_f32);
    if (!axes_read(r, f, e, &t)) return false;
    for (uint32_t k = 0; k < 2; k++) {
        uint32_t s = f->marked ? 1 - k : k;
        if (!f->known[s] || has_all(m, f->type[s], t)) {
            take_factor(r, f, s, e, t);
            return true;
        }
    }
    return false;
}

void factors_know(const Route *r, Factors *f, const Inst *scatter)
{
    const Module *m = r->m;
    const AttrItem *sum = attr_get(m, scatter->attr, AT_sum);
    const TypeInfo *ti = type_info(m, scatter->type);
    f->marked = f->known[0] = f->known[1] = true;
    f->type[0] = f->type[1] = type_scalar(r->m, DT_f32);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        bool summed = false;
        for (uint32_t k = 0; k < sum->n; k++)
            summed |= sum->axes[k].id == ti->axes[i].axis.id;
        Type *to = &f->type[!summed];
        if (ti->axes[i].axis.id != f->rows->chosen.id)
            *to = type_with_axis(r->m, *to, ti->axes[i]);
    }
}

bool factors_find(Route *r, Factors *f)
{
    return split_factors(r, f, attr_expr(r->m, f->in->attr)) && f->side[0].id &&
           f->side[1].id && f->known[0] && f->known[1];
}

/* An operand that the source gave its dtype. */
static bool is_pinned(const Route *r, const Factors *f, uint32_t operand)
{
    Value v = inst_arg(r->rw.old, f->in, operand);
    return attr_flag(r->m, inst_of(r->rw.old, v)->attr, AT_pinned);
}

/* Of those operands alone that it reads. */
Value factors_side(Route *r, const Factors *f, uint32_t s)
{
    Module *m = r->m;
    uint32_t nodes, n = 0;
    bool pinned = false;
    Expr *walk = expr_walk(m, f->side[s], m->scratch, &nodes);
    Value *args = NEW_ARRAY(m->scratch, Value, (size_t)f->in->nargs + 1);
    Expr *with = NEW_ARRAY(m->scratch, Expr, (size_t)f->in->nargs + 1);
    for (uint32_t i = 0; i < nodes; i++) {
        const ExprInfo *e = expr_info(m, walk[i]);
        if (e->op != SC_arg || with[e->operand].id) continue;
        Value v = inst_arg(r->rw.old, f->in, e->operand);
        with[e->operand] = expr_arg(m, n, (DType)e->dtype);
        args[n++] = rewrite_value(&r->rw, v);
        pinned |= is_pinned(r, f, e->operand);
    }
    ExprSubst subst = {.with = with, .n = f->in->nargs};
    Expr body = expr_subst(m, f->side[s], &subst);
    if (!pinned) body = expr_cast(m, r->compute, body);
    return emit_map(&r->rw.b, body, args, n);
}
