/*
 * outer.c: the axes that are outermost in memory (see outer.h).
 */
#include "outer.h"

bool fn_is_tile(const Module *m, const Fn *fn)
{
    return fn_is(m, fn, FK_lane) || fn_is(m, fn, FK_turn);
}

static bool cuts_tiles(const Module *m, const Inst *repeat)
{
    return fn_is_tile(m, fn_of(m, attr_fn(m, repeat->attr, AT_fn)));
}

bool outer_has(const OuterAxes *x, Axis a)
{
    for (uint32_t i = 0; i < x->n; i++)
        if (x->at[i].id == a.id) return true;
    return false;
}

static void add(OuterAxes *x, Axis a)
{
    if (!outer_has(x, a)) x->at[x->n++] = a;
}

/* What comes from several devices lies device by device. */
static void add_groups(const Module *m, OuterAxes *x)
{
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            Axis group;
            if (collective_is_dense(m, fn, &fn->insts[i], &group) &&
                group.id != NO_AXIS.id)
                add(x, group);
        }
    }
}

OuterAxes outer_axes(const Module *m, Arena *a)
{
    OuterAxes x = {.at = NEW_ARRAY(a, Axis, (size_t)m->axes.n + 1)};
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++)
            if (fn->insts[i].op == OP_repeat && !cuts_tiles(m, &fn->insts[i]))
                add(&x, attr_axis(m, fn->insts[i].attr, AT_axis));
    }
    x.repeats = x.n;
    add_groups(m, &x);
    return x;
}
