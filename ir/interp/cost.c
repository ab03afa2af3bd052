/*
 * cost.c: how many scalar operations a function takes, before it is run.
 *
 * A count by sizes alone, so that a check can say "too large" instead
 * of trying.  A derivative costs, per element, one run of what lies between it
 * and the loss (grad.c).  A window or a sort counts as what it reads or makes.
 */
#include "../ir.h"

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t c;
    return __builtin_mul_overflow(a, b, &c) ? UINT64_MAX : c;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

static uint64_t elements(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    if (!info->is_tuple) return (uint64_t)type_elements(m, t);
    uint64_t n = 0;
    for (uint32_t i = 0; i < info->nfields; i++)
        n = plus(n, elements(m, info->fields[i]));
    return n;
}

static uint64_t fn_cost(Module *m, const Fn *fn, uint32_t depth);

static uint64_t callee_cost(Module *m, const Inst *in, AttrKey key,
                            uint32_t depth)
{
    if (!attr_get(m, in->attr, key)) return 0;
    return fn_cost(m, fn_of(m, attr_fn(m, in->attr, key)), depth + 1);
}

/* All that goes in and comes out. */
static uint64_t moved_elements(const Module *m, const Fn *fn, const Inst *in)
{
    uint64_t n = elements(m, in->type);
    for (uint32_t i = 0; i < in->nargs; i++)
        n = plus(n, elements(m, value_type(fn, inst_arg(fn, in, i))));
    return n;
}

/* The larger of the result and the first operand. */
static uint64_t walked_elements(const Module *m, const Fn *fn, const Inst *in)
{
    uint64_t n = elements(m, in->type);
    uint64_t of =
        in->nargs ? elements(m, value_type(fn, inst_arg(fn, in, 0))) : 0;
    return n > of ? n : of;
}

/* What depends on WRT, and the loss on it. */
static uint64_t slice_cost(const Fn *fn, const uint64_t *costs, Value wrt,
                           Value loss, bool *needed, bool *moved)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i <= loss.id; i++) {
        needed[i] = i == loss.id;
        moved[i] = i == wrt.id;
    }
    for (uint32_t i = loss.id + 1; i-- > 0;)
        for (uint32_t k = 0; needed[i] && k < fn->insts[i].nargs; k++)
            needed[inst_arg(fn, &fn->insts[i], k).id] = true;
    for (uint32_t i = wrt.id + 1; i <= loss.id; i++) {
        for (uint32_t k = 0; k < fn->insts[i].nargs; k++)
            moved[i] |= moved[inst_arg(fn, &fn->insts[i], k).id];
        moved[i] &= needed[i];
        if (moved[i]) n = plus(n, costs[i]);
    }
    return n;
}

/* What lies between a value and the loss runs once for each element. */
static uint64_t grad_cost(Module *m, const Fn *fn, const Inst *in,
                          const uint64_t *costs)
{
    ArenaMark mark = arena_mark(m->scratch);
    Value loss = inst_arg(fn, in, 0);
    bool *needed = NEW_ARRAY(m->scratch, bool, fn->ninsts);
    bool *moved = NEW_ARRAY(m->scratch, bool, fn->ninsts);
    uint64_t n = 0;
    for (uint32_t i = 1; i < in->nargs; i++) {
        Value wrt = inst_arg(fn, in, i);
        uint64_t each = slice_cost(fn, costs, wrt, loss, needed, moved);
        n = plus(n, times(each, elements(m, value_type(fn, wrt))));
    }
    arena_pop(m->scratch, mark);
    return n;
}

static uint64_t inst_cost(Module *m, const Fn *fn, const Inst *in,
                          const uint64_t *costs, uint32_t depth)
{
    uint64_t n = elements(m, in->type);
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    switch ((Op)in->op) {
    case OP_arg:
    case OP_proj:
        return 0;
    case OP_map:
        return times(n, expr_nodes(m, attr_expr(m, in->attr)));
    case OP_einsum:
        for (uint32_t i = 0; sum && i < sum->n; i++)
            n = times(
                n, (uint64_t)type_size(m, value_type(fn, inst_arg(fn, in, 0)),
                                       sum->axes[i]));
        return n;
    case OP_grad:
        return grad_cost(m, fn, in, costs);
    case OP_call:
    case OP_launch:
        return callee_cost(m, in, AT_fn, depth);
    case OP_repeat:
    case OP_loop:
        n = plus(callee_cost(m, in, AT_fn, depth),
                 callee_cost(m, in, AT_while, depth));
        return plus(moved_elements(m, fn, in),
                    times(n, (uint64_t)attr_int(m, in->attr, AT_count, 0)));
    case OP_scatter:
    case OP_put:
        return moved_elements(m, fn, in);
    case OP_rename:
    case OP_split:
    case OP_merge:
    case OP_slice:
    case OP_pick:
    case OP_gather:
        return n;
    default:
        return walked_elements(m, fn, in);
    }
}

/* Depth guards against a cycle in a module that is not verified. */
static uint64_t fn_cost(Module *m, const Fn *fn, uint32_t depth)
{
    uint64_t n = 0;
    if (depth > 64) return UINT64_MAX;
    ArenaMark mark = arena_mark(m->scratch);
    uint64_t *costs = NEW_ARRAY(m->scratch, uint64_t, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        costs[i] = inst_cost(m, fn, &fn->insts[i], costs, depth);
        n = plus(n, costs[i]);
    }
    arena_pop(m->scratch, mark);
    return n;
}

uint64_t interp_cost(Module *m, const Fn *fn)
{
    return fn_cost(m, fn, 0);
}
