/*
 * bounds.c: what the indices among the inputs must stay below.
 *
 *   needs    inlined
 *   keeps    everything
 *   result   option `bound.<input>` for each integer input of an entry that
 *            chooses an element by gather: the least size of the axes chosen
 *            from, in whatever entry.  The runtime refuses data beyond it.
 *
 * An input chooses where it, or the same numbers under other names, casts and
 * places, is the second operand of a gather, in the entry or in a repeat.  What
 * a part of it chooses from bounds all of it, unless floats are made of the
 * input too: then the rest may be no indices, as the bytes of an image behind
 * its class.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pass.h"

enum { MOST_DEPTH = 16 };

/* What a value is told to be by those that read it. */
typedef struct Bound {
    int64_t whole, part; /* of all its elements, of some; 0: none */
    bool floats;         /* are made of it */
} Bound;

static bool same_numbers(const Module *m, const Inst *in)
{
    if (op_has((Op)in->op, OPF_MOVE | OPF_FREE)) return true;
    if (in->op != OP_map || in->nargs != 1) return false;
    Expr e = attr_expr(m, in->attr);
    while (expr_info(m, e)->op == SC_cast)
        e = expr_info(m, e)->args[0];
    return expr_info(m, e)->op == SC_arg;
}

static int64_t least(int64_t a, int64_t b)
{
    return a == 0 || (b > 0 && b < a) ? b : a;
}

static Bound fn_bound(Module *m, const Fn *fn, uint32_t param, int depth);

static bool has(const Expr *at, uint32_t n, Expr e)
{
    for (uint32_t i = 0; i < n; i++)
        if (at[i].id == e.id) return true;
    return false;
}

/* Whether a map makes a float of its operand K.  What is compared with it, as
 * with the id of a pad, is no number that is made of it. */
static bool makes_floats(Module *m, const Inst *in, uint32_t k)
{
    if (in->op != OP_map) return false;
    uint32_t n, made = 0;
    ArenaMark mark = arena_mark(m->scratch);
    const Expr *at = expr_walk(m, attr_expr(m, in->attr), m->scratch, &n);
    Expr *of = NEW_ARRAY(m->scratch, Expr, n); /* made of the operand */
    bool floats = false;
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *e = expr_info(m, at[i]);
        bool is = e->op == SC_arg && e->operand == k;
        for (uint32_t j = 0; j < e->nargs; j++)
            is |= has(of, made, e->args[j]);
        if (!is || dtype_class((DType)e->dtype) == DC_bool) continue;
        floats |= dtype_class((DType)e->dtype) == DC_float;
        of[made++] = at[i];
    }
    arena_pop(m->scratch, mark);
    return floats;
}

/* What instruction I says of its operand K. */
static Bound use_bound(Module *m, const Fn *fn, const Inst *in, uint32_t k,
                       int depth)
{
    if (in->op == OP_gather && k == 1) {
        Axis axis = attr_axis(m, in->attr, AT_axis);
        Type from = value_type(fn, inst_arg(fn, in, 0));
        return (Bound){.whole = type_size(m, from, axis)};
    }
    if (in->op != OP_call && in->op != OP_repeat)
        return (Bound){.floats = makes_floats(m, in, k)};
    return fn_bound(m, fn_of(m, attr_fn(m, in->attr, AT_fn)), k, depth + 1);
}

static void add_use(Bound *to, Bound use, bool part)
{
    if (part) {
        use.part = least(use.part, use.whole);
        use.whole = 0;
    }
    to->whole = least(to->whole, use.whole);
    to->part = least(to->part, use.part);
    to->floats = to->floats || use.floats;
}

static Bound fn_bound(Module *m, const Fn *fn, uint32_t param, int depth)
{
    Bound bound = {0};
    if (depth > MOST_DEPTH) return bound;
    ArenaMark mark = arena_mark(m->scratch);
    bool *same = NEW_ARRAY(m->scratch, bool, fn->ninsts);
    bool *part = NEW_ARRAY(m->scratch, bool, fn->ninsts);
    same[param] = true;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t x = inst_arg(fn, in, k).id;
            if (!same[x]) continue;
            same[i] = same[i] || same_numbers(m, in);
            bool moves = op_has((Op)in->op, OPF_MOVE);
            part[i] = part[x] || (moves && !op_has((Op)in->op, OPF_SAME));
            add_use(&bound, use_bound(m, fn, in, k, depth), part[x]);
        }
    }
    arena_pop(m->scratch, mark);
    return bound;
}

static void set_bound(Module *m, const Fn *fn, uint32_t param)
{
    const Port *port = &fn->params[param];
    DClass class = dtype_class(type_dtype(m, port->type));
    if (port->role != ROLE_input || (class != DC_int && class != DC_uint))
        return;
    char name[256], value[32];
    snprintf(name, sizeof name, "bound.%s", str_of(m, port->path));
    Bound b = fn_bound(m, fn, param, 0);
    int64_t bound = least(option_int(m, name, 0), b.whole);
    if (!b.floats) bound = least(bound, b.part);
    if (bound == 0) return;
    snprintf(value, sizeof value, "%" PRId64, bound);
    option_set(m, name, value);
}

bool pass_bounds(Module *m, PassCtx *cx)
{
    (void)cx;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; fn->entry && i < fn->nparams; i++)
            set_bound(m, fn, i);
    }
    return true;
}
