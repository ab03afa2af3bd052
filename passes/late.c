/*
 * late.c: scales come after contractions (see late.h).
 *
 * For attention this is what makes long sequences cheap:
 *
 *     p = e / l,  o = sum p v       every weight is divided, and the
 *                                   derivative of l sums over all of them
 *     o = (sum e v) / l             only the output is divided, and the
 *                                   derivative of l is made from the output
 *
 * so that in the backward nothing needs a whole row of weights: its tiles may
 * cut the axis of the contraction too.
 */
#include "late.h"

/* The factors of a map's body: kept reads the summed axes, late does not. */
typedef struct Factors {
    ScalarOp op;
    Expr kept, late;
    bool late_first; /* late * kept */
} Factors;

static bool lacks(const Module *m, Type t, const AttrItem *axes)
{
    for (uint32_t i = 0; i < axes->n; i++)
        if (type_axis(m, t, axes->axes[i])) return false;
    return true;
}

/* Whether E is the same at every index of the axes. */
static bool is_late(Module *m, const Fn *fn, const Inst *map, Expr e,
                    const AttrItem *axes)
{
    uint32_t n;
    const Expr *nodes = expr_walk(m, e, m->scratch, &n);
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *x = expr_info(m, nodes[i]);
        if (x->op == SC_arg &&
            !lacks(m, value_type(fn, inst_arg(fn, map, x->operand)), axes))
            return false;
    }
    for (uint32_t i = 0; i < axes->n; i++)
        if (expr_uses_index(m, e, axes->axes[i])) return false;
    return true;
}

static bool find_factors(Module *m, const Fn *fn, const Inst *map,
                         const AttrItem *axes, Factors *out)
{
    Expr body = attr_expr(m, map->attr);
    ExprInfo x = *expr_info(m, body);
    if (x.op != SC_div && x.op != SC_mul) return false;
    bool first = is_late(m, fn, map, x.args[0], axes);
    bool second = is_late(m, fn, map, x.args[1], axes);
    if (first == second || (first && x.op == SC_div)) return false;
    *out = (Factors){.op = (ScalarOp)x.op,
                     .kept = x.args[first ? 1 : 0],
                     .late = x.args[first ? 0 : 1],
                     .late_first = first};
    return true;
}

/* Operand K of the einsum is a map with a scale to move; pinned ones stay. */
static bool has_scale(Module *m, const Fn *fn, const Inst *in, uint32_t k,
                      Factors *out)
{
    const Inst *map = inst_of(fn, inst_arg(fn, in, k));
    DType d = type_dtype(m, map->type);
    if (map->op != OP_map || attr_flag(m, map->attr, AT_pinned)) return false;
    if (!dtype_computes(d) || type_dtype(m, in->type) != d) return false;
    return find_factors(m, fn, map, attr_get(m, in->attr, AT_sum), out);
}

static Value move_scale(Rewrite *rw, const Inst *in, uint32_t k,
                        const Factors *f)
{
    Builder *b = &rw->b;
    const Fn *old = rw->old;
    const Inst *map = inst_of(old, inst_arg(old, in, k));
    const TypeInfo *over = type_info(b->m, map->type);
    uint32_t n = map->nargs;
    Value *args = NEW_ARRAY(b->m->scratch, Value, n + 1u);
    for (uint32_t i = 0; i < n; i++)
        args[i] = rewrite_value(rw, inst_arg(old, map, i));
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    Value kept = emit_map_over(b, f->kept, args, n, over->axes, over->naxes);
    Value ops[2] = {rewrite_value(rw, inst_arg(old, in, 0)),
                    rewrite_value(rw, inst_arg(old, in, 1))};
    ops[k] = kept;
    args[n] = emit(b, OP_einsum, in->type, in->attr, ops, 2);
    Expr sum = expr_arg(b->m, n, type_dtype(b->m, in->type));
    Expr body = f->late_first ? expr_op2(b->m, f->op, f->late, sum)
                              : expr_op2(b->m, f->op, sum, f->late);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, body.id);
    /* the operands that only the kept factor reads are dropped at the door */
    return emit(b, OP_map, in->type, attr_intern(b->m, &l), args, n + 1u);
}

/* True: a scale was moved. */
static bool rewrite_inst(Rewrite *rw, Value v)
{
    const Inst *in = inst_of(rw->old, v);
    Factors f;
    for (uint32_t k = 0; in->op == OP_einsum && k < 2; k++) {
        if (!has_scale(rw->b.m, rw->old, in, k, &f)) continue;
        Value made = move_scale(rw, in, k, &f);
        value_set_name(&rw->b, made, rw->old->names[v.id]);
        rewrite_set(rw, v, made);
        return true;
    }
    rewrite_copy(rw, v);
    return false;
}

Fn *late_scales(Module *m, const Fn *fn)
{
    for (bool more = true; more;) { /* a body may have several scales */
        Rewrite rw;
        more = false;
        rewrite_begin(&rw, m, fn);
        for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
            more |= rewrite_inst(&rw, (Value){i});
        fn = rewrite_end(&rw);
    }
    return fn_without_unneeded(m, fn);
}
