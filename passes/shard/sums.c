/*
 * sums.c: sums of scalars stand apart from what is made of them.
 *
 * A norm is the root of a sum over tensors, each of which gives a scalar that
 * is pending over the mesh.  The root needs the sum made, and one number is
 * exchanged sooner than one for each tensor: so the sum becomes a map of its
 * own, which is linear.
 */
#include "shard.h"

typedef struct Apart {
    Rewrite rw;
    const Inst *in;
    VEC(Value) args; /* of the new map */
    VEC(Expr) with;  /* old operand -> in the new map */
} Apart;

/* A sum of operands alone, at least two of them. */
static bool is_sum(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    if (x->op != SC_add) return false;
    for (uint32_t i = 0; i < 2; i++)
        if (expr_info(m, x->args[i])->op != SC_arg && !is_sum(m, x->args[i]))
            return false;
    return true;
}

static Expr new_operand(Apart *a, Value v, DType d)
{
    vec_push(a->rw.b.m->scratch, &a->args, v);
    return expr_arg(a->rw.b.m, a->args.n - 1, d);
}

/* E as a map of its own, of the operands that it reads. */
static Value sum_value(Apart *a, Expr e)
{
    Module *m = a->rw.b.m;
    uint32_t n = a->in->nargs, used = 0;
    Expr *with = NEW_ARRAY(m->scratch, Expr, (size_t)n + 1);
    Value *args = NEW_ARRAY(m->scratch, Value, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        Value old = inst_arg(a->rw.old, a->in, i);
        with[i] = expr_arg(m, used, type_dtype(m, value_type(a->rw.old, old)));
        uint32_t count;
        Expr *nodes = expr_walk(m, e, m->scratch, &count);
        Expr self = expr_arg(m, i, expr_dtype(m, with[i]));
        for (uint32_t k = 0; k < count; k++) {
            if (nodes[k].id != self.id) continue;
            args[used++] = rewrite_value(&a->rw, old);
            break;
        }
    }
    ExprSubst s = {.with = with, .n = n};
    return emit_map(&a->rw.b, expr_subst(m, e, &s), args, used);
}

/* One node, whose operands are made; it is the top of a sum, or in none. */
static Expr apart_node(Apart *a, Expr e, const Expr *args)
{
    Module *m = a->rw.b.m;
    const ExprInfo x = *expr_info(m, e);
    if (is_sum(m, e)) return new_operand(a, sum_value(a, e), (DType)x.dtype);
    if (x.op == SC_cast) return expr_cast(m, (DType)x.dtype, args[0]);
    if (x.nargs) return expr_op(m, (ScalarOp)x.op, args[0], args[1], args[2]);
    if (x.op != SC_arg) return e;
    Value old = inst_arg(a->rw.old, a->in, x.operand);
    return new_operand(a, rewrite_value(&a->rw, old), (DType)x.dtype);
}

/* The body with an operand in the place of each sum.  Within a sum nothing is
 * asked for, so only its top is made. */
static Expr apart(Apart *a, Expr body)
{
    Module *m = a->rw.b.m;
    uint32_t n;
    Expr *nodes = expr_walk(m, body, m->scratch, &n);
    bool *asked = NEW_ARRAY(m->scratch, bool, n);
    Expr *made = NEW_ARRAY(m->scratch, Expr, n);
    asked[n - 1] = true;
    for (uint32_t i = n; i-- > 0;) {
        const ExprInfo *x = expr_info(m, nodes[i]);
        for (uint32_t k = 0; k < x->nargs && asked[i]; k++)
            if (!is_sum(m, nodes[i]))
                asked[expr_place(nodes, n, x->args[k])] = true;
    }
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo x = *expr_info(m, nodes[i]);
        Expr args[3] = {{0}, {0}, {0}};
        for (uint32_t k = 0; k < x.nargs; k++)
            args[k] = made[expr_place(nodes, n, x.args[k])];
        if (asked[i]) made[i] = apart_node(a, nodes[i], args);
    }
    return made[n - 1];
}

/* A scalar of sums and something around them, small enough to take apart. */
static bool is_wanted(Module *m, const Inst *in)
{
    if (in->op != OP_map || in->nargs < 2 || type_info(m, in->type)->naxes)
        return false;
    Expr body = attr_expr(m, in->attr);
    if (is_sum(m, body) || dtype_class(expr_dtype(m, body)) != DC_float ||
        expr_nodes(m, body) > 4096)
        return false;
    uint32_t n;
    bool any = false;
    Expr *nodes = expr_walk(m, body, m->scratch, &n);
    for (uint32_t i = 0; i < n && !any; i++)
        any = is_sum(m, nodes[i]);
    return any;
}

static void take_apart(Apart *a, Value v)
{
    const Inst *in = inst_of(a->rw.old, v);
    a->in = in;
    a->args.n = 0;
    a->rw.b.loc = in->loc;
    a->rw.b.phase = (Phase)in->phase;
    Expr body = apart(a, attr_expr(a->rw.b.m, in->attr));
    Value made = emit_map(&a->rw.b, body, a->args.at, a->args.n);
    value_set_name(&a->rw.b, made, a->rw.old->names[v.id]);
    rewrite_set(&a->rw, v, made);
}

Fn *sums_apart(Module *m, const Fn *fn)
{
    Apart a = {.in = NULL};
    rewrite_begin(&a.rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (is_wanted(m, &fn->insts[i]))
            take_apart(&a, (Value){i});
        else
            rewrite_copy(&a.rw, (Value){i});
    }
    return rewrite_end(&a.rw);
}
