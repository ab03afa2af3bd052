/*
 * linear.c: in which operands together a map is linear.
 *
 * A sum over devices moves through a map that is linear in what is pending:
 * each term has exactly one pending factor.  From one operand the others
 * follow: wherever a term lacks it, another factor of that term has to be
 * pending too, which a value that all devices have is for nothing.
 */
#include "shard.h"

/* A body is a graph: what is shared is walked more than once. */
enum { MOST_STEPS = 4096 };

typedef struct Marks {
    Module *m;
    bool *marked;
    uint32_t steps;
} Marks;

static bool has_marked(Marks *k, Expr e)
{
    const ExprInfo *x = expr_info(k->m, e);
    if (k->steps++ > MOST_STEPS) return true;
    if (x->op == SC_arg) return k->marked[x->operand];
    for (uint32_t i = 0; i < x->nargs; i++)
        if (has_marked(k, x->args[i])) return true;
    return false;
}

static bool mark(Marks *k, Expr e);

/* One factor of a product, the one that is marked already if there is one. */
static bool mark_factor(Marks *k, const ExprInfo *x)
{
    bool left = has_marked(k, x->args[0]), right = has_marked(k, x->args[1]);
    if (left && right) return false;
    if (right) return mark(k, x->args[1]);
    return mark(k, x->args[0]) || (!left && mark(k, x->args[1]));
}

static bool mark(Marks *k, Expr e)
{
    const ExprInfo *x = expr_info(k->m, e);
    if (k->steps++ > MOST_STEPS) return false;
    switch ((ScalarOp)x->op) {
    case SC_arg:
        if (dtype_class((DType)x->dtype) == DC_bool) return false;
        k->marked[x->operand] = true;
        return true;
    case SC_const:
        return dtype_class((DType)x->dtype) == DC_float ? x->f == 0 : x->i == 0;
    case SC_add:
    case SC_sub:
        return mark(k, x->args[0]) && mark(k, x->args[1]);
    case SC_mul:
        return mark_factor(k, x);
    case SC_fma:
        return mark_factor(k, x) && mark(k, x->args[2]);
    case SC_div:
    case SC_neg:
    case SC_stop:
    case SC_cast:
        return mark(k, x->args[0]);
    case SC_where:
        return mark(k, x->args[1]) && mark(k, x->args[2]);
    default:
        return false;
    }
}

bool linear_set(Module *m, Expr body, uint32_t seed, bool *marked)
{
    Marks k = {m, marked, 0};
    marked[seed] = true;
    return mark(&k, body) && expr_degree(m, body, marked) == DEGREE_linear;
}
