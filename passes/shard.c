/*
 * shard.c: which splits each value has.
 *
 *   needs    gradless, precise
 *   gives    one device's program, in which `reshard` stands for collectives
 *   keeps    every op, in its order
 *   result   functions of the local view; slots, parameters and results of
 *            entries lie where the rules put them
 *
 * The rules (option `shard`, from the plan) say where mesh axes are in
 * parameters, states, inputs, what repeats carry, and every value that has an
 * axis they name.  Everything else follows from that, by the fewest bytes
 * moved: see shard/shard.h for the idea, shard/ways.c for the table of ops.
 *
 * The option `keep` names parameters that are gathered once for both phases;
 * `hold` says what rules hold for a step that do not say themselves: of the
 * stages of a pipeline parameters, whole, and gradients, until they are
 * reduced. What is held is left in the option `held`, for reports. With the
 * option `draw` a layout is drawn instead (shard/draw.c).
 *
 * On a mesh of one device nothing is split: the module stays as it is.
 *
 * S1 An op adds its ways to the table; a way is legal when each device can do
 *    its part of the op alone.
 * S2 Sums are the only thing that may be left pending, and maxima; the rules
 *    of the local view (ir/ops.md) say what takes them.
 * S3 A split divides, unless a rule wants it: what pads hold nobody has said,
 *    and nobody reads it (localise).  Head and tail divide, and so do parts
 *    that stay together where an axis is split or merged.
 */
#include "shard/shard.h"

static bool has_devices(const Module *m)
{
    for (uint32_t i = 0; i < m->mesh.n; i++)
        if (m->mesh.at[i].size > 1) return true;
    return false;
}

static bool choose(Shard *s)
{
    bool drawn = *pass_option(s->m, s->cx, "draw", "");
    alike_find(s);
    if (!drawn)
        shard_solve(s);
    else if (!shard_draw(s, pass_option_int(s->m, s->cx, "draw", 0),
                         pass_option(s->m, s->cx, "prefer", "")))
        return false;
    alike_settle(s);
    return true;
}

bool pass_shard(Module *m, PassCtx *cx)
{
    const char *text = pass_option(m, cx, "shard", "");
    if (!has_devices(m) || !module_is_global(m)) return true;
    Shard s = {.m = m, .cx = cx, .a = m->scratch};
    if (!shard_rules_read(&s, text)) return false;
    functions_apart(m);
    module_drop_unused(m);
    for (uint32_t i = 0; i < m->fns.n; i++)
        m->fns.at[i] = sums_apart(m, m->fns.at[i]);
    Roots roots = roots_of(m);
    graph_build(&s, &roots);
    held_find(&s, &roots);
    const char *held = rules_held(&s);
    if (*held) option_set(m, "held", held);
    if (!graph_pin(&s) || !choose(&s)) return false;
    emit_local(&s);
    return true;
}
