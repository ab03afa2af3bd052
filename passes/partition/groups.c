/*
 * groups.c: what is reduced to everybody goes over a group that there is.
 *
 * The same devices are one group in one order of them and another in another,
 * with communicators and streams of its own each.  What is gathered or
 * scattered needs the order in which its axis is split; a sum over all has its
 * terms in whatever order others have.
 */
#include "partition.h"

typedef VEC(const AttrItem *) Groups;

static const AttrItem *find_same(const Groups *g, const AttrItem *over)
{
    for (uint32_t i = 0; i < g->n; i++)
        if (attr_mesh_same(g->at[i], over)) return g->at[i];
    return NULL;
}

/* The first order of each group whose order matters. */
static void note_orders(const Module *m, const Fn *fn, Groups *g)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        const AttrItem *over = attr_get(m, in->attr, AT_over);
        if (!over || !(op_info((Op)in->op)->flags & OPF_COMM) ||
            in->op == OP_all_reduce || find_same(g, over))
            continue;
        vec_push(m->scratch, g, over);
    }
}

static void take_orders(Module *m, const Fn *fn, const Groups *g)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        Inst *in = &fn->insts[i];
        if (in->op != OP_all_reduce) continue;
        const AttrItem *there = find_same(g, attr_get(m, in->attr, AT_over));
        if (!there) continue;
        AttrList l = attr_list(m, in->attr);
        attr_drop(&l, AT_over);
        attr_put_mesh(&l, AT_over, there->mesh, there->n);
        in->attr = attr_intern(m, &l);
    }
}

void partition_groups(Module *m)
{
    Groups g = {0};
    for (uint32_t i = 0; i < m->fns.n; i++)
        note_orders(m, m->fns.at[i], &g);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->view == VIEW_local) take_orders(m, m->fns.at[i], &g);
}
