/*
 * env.c: axes of a group, and indices by axis, for kernels that name them.
 */
#include "lower.h"

int64_t axes_extent(const Lower *l, const TypeAxis *axes, uint32_t n)
{
    int64_t p = 1;
    for (uint32_t i = 0; i < n; i++)
        p *= type_local_size(l->m, &axes[i]);
    return p;
}

const TypeAxis *fn_axis(const Lower *l, Axis a)
{
    for (uint32_t i = 0; i < l->fn->ninsts; i++) {
        const TypeAxis *x = type_axis(l->m, l->fn->insts[i].type, a);
        if (x) return x;
    }
    BUG("no value has axis '%s'", axis_name(l->m, a));
}

void env_bind(Env *e, Axis axis, Ix ix)
{
    for (uint32_t i = 0; i < e->n; i++) {
        if (e->at[i].axis.id != axis.id) continue;
        e->at[i].ix = ix;
        return;
    }
    if (e->n == MOST_BOUND) BUG("more than %d axes", MOST_BOUND);
    e->at[e->n++] = (Binding){axis, ix};
}

void env_bind_flat(Lower *l, Env *e, const TypeAxis *axes, uint32_t n, Ix flat)
{
    int64_t *sizes = NEW_ARRAY(l->k->arena, int64_t, n);
    Ix *parts = NEW_ARRAY(l->k->arena, Ix, n);
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = type_local_size(l->m, &axes[i]);
    ix_cut(l->k, flat, sizes, n, parts);
    for (uint32_t i = 0; i < n; i++)
        env_bind(e, axes[i].axis, parts[i]);
}

Ix env_lookup(const Lower *l, const Env *e, Axis axis)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (e->at[i].axis.id == axis.id) return e->at[i].ix;
    BUG("axis '%s' has no index", axis_name(l->m, axis));
}

const Ix *env_ix(Lower *l, const Env *e, Type type)
{
    const TypeInfo *t = type_info(l->m, type);
    Ix *ix = NEW_ARRAY(l->k->arena, Ix, t->naxes);
    for (uint32_t i = 0; i < t->naxes; i++)
        ix[i] = env_lookup(l, e, t->axes[i].axis);
    return ix;
}

Node env_eval(Lower *l, const Env *e, Value v, Node guard)
{
    return eval(l, v, env_ix(l, e, value_type(l->fn, v)), guard);
}

Ix env_place(Lower *l, const Env *e, uint32_t arg)
{
    const TypeInfo *t = type_info(l->m, l->k->args[arg].type);
    const Ix *ix = env_ix(l, e, l->k->args[arg].type);
    Ix place = ix_const(l->k, 0);
    for (uint32_t i = 0; i < t->naxes; i++)
        place = ix_add_scaled(l->k, place, ix[i], l->k->args[arg].stride[i]);
    return place;
}
