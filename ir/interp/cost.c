/*
 * cost.c: how many scalar operations a function takes, before it is run.
 *
 * An upper bound by sizes alone, so that a check can say "too large" instead
 * of trying.  A derivative costs one run of what is before it per element.
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

static uint64_t moved_elements(const Module *m, const Fn *fn, const Inst *in)
{
    uint64_t n = elements(m, in->type);
    for (uint32_t i = 0; i < in->nargs; i++)
        n = plus(n, elements(m, value_type(fn, inst_arg(fn, in, i))));
    return n;
}

static uint64_t inst_cost(Module *m, const Fn *fn, const Inst *in,
                          uint64_t before, uint32_t depth)
{
    uint64_t n = elements(m, in->type);
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    switch ((Op)in->op) {
    case OP_map:
        return times(n, expr_nodes(m, attr_expr(m, in->attr)));
    case OP_einsum:
        for (uint32_t i = 0; sum && i < sum->n; i++)
            n = times(
                n, (uint64_t)type_size(m, value_type(fn, inst_arg(fn, in, 0)),
                                       sum->axes[i]));
        return n;
    case OP_grad:
        return times(n, before);
    case OP_call:
    case OP_launch:
        return plus(moved_elements(m, fn, in),
                    callee_cost(m, in, AT_fn, depth));
    case OP_repeat:
    case OP_loop:
        n = plus(callee_cost(m, in, AT_fn, depth),
                 callee_cost(m, in, AT_while, depth));
        return plus(moved_elements(m, fn, in),
                    times(n, (uint64_t)attr_int(m, in->attr, AT_count, 0)));
    default:
        return moved_elements(m, fn, in);
    }
}

/* Depth guards against a cycle in a module that is not verified. */
static uint64_t fn_cost(Module *m, const Fn *fn, uint32_t depth)
{
    uint64_t n = 0;
    if (depth > 64) return UINT64_MAX;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        n = plus(n, inst_cost(m, fn, &fn->insts[i], n, depth));
    return n;
}

uint64_t interp_cost(Module *m, const Fn *fn)
{
    return fn_cost(m, fn, 0);
}
