/*
 * cost.c: how long a launch takes, roughly.
 *
 * A launch computes and moves bytes at the same time, and the longer of the two
 * counts.  A matmul runs in waves of tiles, and the last one may be mostly
 * empty; anything else needs enough elements to keep the memory busy.  What is
 * left of the machine is what another stream can use.
 */
#include "schedule.h"

static const double least_full = 1.0 / 128; /* one part of the machine */

/* Elements of an einsum's operands together: the products that it makes. */
static double products(Module *m, const Fn *fn, const Inst *in)
{
    Type t = type_union(m, value_type(fn, inst_arg(fn, in, 0)),
                        value_type(fn, inst_arg(fn, in, 1)));
    return (double)type_local_elements(m, t);
}

static double inst_flops(Module *m, const Fn *fn, const Inst *in)
{
    if (in->op == OP_einsum) return 2 * products(m, fn, in);
    double n = (double)type_local_elements(m, in->type);
    if (in->op == OP_map) return n * expr_nodes(m, attr_expr(m, in->attr));
    if (in->op == OP_reduce || in->op == OP_scatter)
        n = (double)type_local_elements(
            m, value_type(fn, inst_arg(fn, in, in->nargs - 1u)));
    return n;
}

/* A table of which a gather takes rows is read as far as it takes them. */
static double param_bytes(Module *m, const Fn *group, uint32_t p)
{
    double taken = 0;
    for (uint32_t i = group->nparams; i < group->ninsts; i++) {
        const Inst *in = &group->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            if (inst_arg(group, in, k).id != p) continue;
            if (in->op != OP_gather || k != 0)
                return (double)type_bytes(m, group->params[p].type);
            taken += (double)type_bytes(m, in->type);
        }
    }
    return taken;
}

/* What goes over the links is that of the larger side, once. */
static void collective_cost(Module *m, const Fn *group, Step *s,
                            const Machine *on)
{
    int64_t in = 0, out = 0;
    if (group->nparams) in = type_bytes(m, group->params[0].type);
    if (group->nresults) out = type_bytes(m, group->results[0].type);
    s->full = least_full;
    s->grows = out > in;
    s->time = on->meet + (double)(in > out ? in : out) / on->link;
}

static void launch_cost(Module *m, const Fn *group, Step *s, const Machine *on)
{
    double flops = 0, bytes = 0, most = 0;
    bool matmul = fn_is(m, group, FK_matmul);
    for (uint32_t i = group->nparams; i < group->ninsts; i++)
        flops += inst_flops(m, group, &group->insts[i]);
    for (uint32_t i = 0; i < group->nparams; i++) {
        double n = (double)type_local_elements(m, group->params[i].type);
        if (n > most && !matmul) most = n;
        bytes += param_bytes(m, group, i);
    }
    for (uint32_t i = 0; i < group->nresults; i++) {
        double n = (double)type_local_elements(m, group->results[i].type);
        if (n > most) most = n;
        bytes += (double)type_bytes(m, group->results[i].type);
    }
    double waves = most / TILE_ELEMENTS / on->tiles;
    double whole = (double)(int64_t)waves;
    if (whole < waves) whole++;
    s->full = matmul ? waves / whole : most / on->elements;
    if (s->full > 1) s->full = 1;
    if (s->full < least_full) s->full = least_full;
    double compute = flops / on->flops, move = bytes / on->bytes;
    if (s->transfer) move = bytes / 2 / on->transfer;
    if (matmul) compute /= s->full;
    if (!matmul && !s->transfer) move /= s->full;
    s->time = on->launch + (compute > move ? compute : move);
}

/* Bytes of the temporaries that the step reads or writes. */
static double temporary_bytes(Module *m, const List *l, const Inst *in)
{
    double bytes = 0;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value v = inst_arg(l->fn, in, k);
        uint8_t op = inst_of(l->fn, v)->op;
        if (op == OP_counter || op == OP_coord) continue;
        Spot spot = spot_of(m, l->fn, v, m->scratch);
        if (inst_of(l->fn, spot.root)->op == OP_buffer)
            bytes += (double)layout_bytes(m, spot.layout);
    }
    return bytes;
}

void step_cost(Module *m, const List *l, Step *s, const Machine *on,
               double turn_time)
{
    const Inst *in = &l->fn->insts[s->inst];
    s->weight = temporary_bytes(m, l, in);
    if (in->op == OP_launch) {
        const Fn *group = fn_of(m, attr_fn(m, in->attr, AT_fn));
        if (s->talks)
            collective_cost(m, group, s, on);
        else
            launch_cost(m, group, s, on);
        return;
    }
    s->time = turn_time * (double)attr_int(m, in->attr, AT_count, 0);
    s->full = 1;
}
