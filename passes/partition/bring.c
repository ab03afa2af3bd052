/*
 * bring.c: the collectives that bring a value from one layout to another.
 *
 * One step after another, the first that is possible:
 *
 *      cut              a mesh axis that nothing uses becomes the next split of
 *                       an axis: free, and what follows is smaller
 *      reduce_scatter   what is pending becomes it, over fast links first:
 *                       less is left for slow ones
 *      all_to_all       the innermost split of an axis becomes it elsewhere
 *      all_reduce       what is pending is made
 *      all_gather       the innermost splits of an axis go, over slow links
 *                       first, while there is little
 *
 * and at the end what is to be pending is declared so.  Splits of an axis are
 * a list, outermost first; a step adds or takes away at its end.  A split that
 * is in the way of another is gathered, so the steps come to an end.
 */
#include <math.h>

#include "partition.h"

typedef struct Bring {
    Module *m;
    const Machine *on;
    Builder *b;
    Value v;
    Type to;
} Bring;

static const TypeInfo *now(const Bring *x)
{
    return type_info(x->m, value_type(x->b->fn, x->v));
}

static const TypeInfo *then(const Bring *x)
{
    return type_info(x->m, x->to);
}

static bool splits(const TypeInfo *t, MeshAxis a)
{
    for (uint32_t i = 0; i < t->naxes; i++)
        for (uint32_t k = 0; k < t->axes[i].nsplits; k++)
            if (t->axes[i].splits[k].id == a.id) return true;
    return false;
}

/* How many splits both lists begin with: none where they are spread in
 * different ways. */
static uint32_t common(const TypeAxis *a, const TypeAxis *b)
{
    uint32_t n = 0;
    if (a->spread != b->spread) return 0;
    while (n < a->nsplits && n < b->nsplits &&
           a->splits[n].id == b->splits[n].id)
        n++;
    return n;
}

/* The axis is split as it will be, as far as it is. */
static bool is_begun(const TypeAxis *a, const TypeAxis *b)
{
    return common(a, b) == a->nsplits;
}

/* ---------------------------------------------------------------- types -- */

/* What gets its first splits is spread as it will be. */
static Type with_splits(Bring *x, Type t, uint32_t axis, const MeshAxis *list,
                        uint32_t n)
{
    TypeAxis a = type_info(x->m, t)->axes[axis];
    if (!a.nsplits) a.spread = then(x)->axes[axis].spread;
    if (!n) a.spread = SPREAD_block;
    a.splits = list;
    a.nsplits = n;
    return type_with_axis(x->m, t, a);
}

static Type without_pending(Bring *x, Type t, const MeshAxis *list, uint32_t n)
{
    TypeInfo info = *type_info(x->m, t);
    MeshAxis *left = NEW_ARRAY(x->m->scratch, MeshAxis, info.npending + 1);
    uint32_t nleft = 0;
    for (uint32_t i = 0; i < info.npending; i++) {
        bool gone = false;
        for (uint32_t k = 0; k < n; k++)
            gone |= list[k].id == info.pending[i].id;
        if (!gone) left[nleft++] = info.pending[i];
    }
    info.pending = left;
    info.npending = nleft;
    return type_intern(x->m, &info);
}

static void step(Bring *x, Op op, Type t, AttrList *l, const MeshAxis *over,
                 uint32_t n)
{
    attr_put_mesh(l, AT_over, over, n);
    x->v = emit(x->b, op, t, attr_intern(x->m, l), &x->v, 1);
}

/* Splits that go to the end of an axis' list, from the list it will have. */
static void add_splits(Bring *x, Op op, uint32_t axis, uint32_t n)
{
    const TypeAxis b = then(x)->axes[axis];
    uint32_t have = now(x)->axes[axis].nsplits;
    Type t = value_type(x->b->fn, x->v);
    t = without_pending(x, t, b.splits + have, n);
    t = with_splits(x, t, axis, b.splits, have + n);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, b.axis.id);
    step(x, op, t, &l, b.splits + have, n);
}

/* ---------------------------------------------------------------- steps -- */

/* How many mesh axes, pending now, are the next splits of an axis. */
static uint32_t next_pending(const Bring *x, uint32_t axis)
{
    const TypeAxis *a = &now(x)->axes[axis], *b = &then(x)->axes[axis];
    uint32_t n = 0;
    if (!is_begun(a, b)) return 0;
    while (a->nsplits + n < b->nsplits &&
           mesh_axes_have(now(x)->pending, now(x)->npending,
                          b->splits[a->nsplits + n]))
        n++;
    return n;
}

/* Bytes per microsecond within groups over these mesh axes. */
static double rate(const Bring *x, const MeshAxis *over, uint32_t n)
{
    return link_rate(x->on, group_spread(x->m, over, n));
}

static bool scatter(Bring *x)
{
    uint32_t best = 0, over = 0;
    double most = 0;
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        uint32_t n = next_pending(x, i);
        const MeshAxis *next =
            then(x)->axes[i].splits + now(x)->axes[i].nsplits;
        if (!n || rate(x, next, n) <= most) continue;
        most = rate(x, next, n);
        best = i;
        over = n;
    }
    if (over) add_splits(x, OP_reduce_scatter, best, over);
    return over > 0;
}

static bool cut(Bring *x)
{
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        const TypeAxis *a = &now(x)->axes[i], *b = &then(x)->axes[i];
        uint32_t n = 0;
        if (!is_begun(a, b)) continue;
        while (a->nsplits + n < b->nsplits &&
               !mesh_axes_have(now(x)->pending, now(x)->npending,
                               b->splits[a->nsplits + n]) &&
               !splits(now(x), b->splits[a->nsplits + n]))
            n++;
        if (!n) continue;
        add_splits(x, OP_cut, i, n);
        return true;
    }
    return false;
}

/* The axis whose next split a mesh axis becomes; UINT32_MAX: none. */
static uint32_t next_place(const Bring *x, MeshAxis m)
{
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        const TypeAxis *a = &now(x)->axes[i], *b = &then(x)->axes[i];
        if (is_begun(a, b) && a->nsplits < b->nsplits &&
            b->splits[a->nsplits].id == m.id)
            return i;
    }
    return UINT32_MAX;
}

static bool turn(Bring *x)
{
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        const TypeAxis a = now(x)->axes[i];
        if (is_begun(&a, &then(x)->axes[i])) continue;
        MeshAxis m = a.splits[a.nsplits - 1];
        uint32_t to = next_place(x, m);
        if (to == UINT32_MAX) continue;
        const TypeAxis b = then(x)->axes[to];
        uint32_t have = now(x)->axes[to].nsplits;
        Type t = value_type(x->b->fn, x->v);
        t = with_splits(x, t, i, a.splits, a.nsplits - 1);
        t = with_splits(x, t, to, b.splits, have + 1);
        AttrList l = {.n = 0};
        attr_put_axes(&l, AT_from, &a.axis, 1);
        attr_put_axes(&l, AT_to, &b.axis, 1);
        step(x, OP_all_to_all, t, &l, &m, 1);
        return true;
    }
    return false;
}

static bool make(Bring *x)
{
    const TypeInfo *t = now(x);
    MeshAxis *over = NEW_ARRAY(x->m->scratch, MeshAxis, t->npending + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->npending; i++)
        if (!mesh_axes_have(then(x)->pending, then(x)->npending, t->pending[i]))
            over[n++] = t->pending[i];
    if (!n) return false;
    AttrList l = {.n = 0};
    step(x, OP_all_reduce,
         without_pending(x, value_type(x->b->fn, x->v), over, n), &l, over, n);
    return true;
}

static bool goes_elsewhere(const Bring *x, MeshAxis m, uint32_t axis)
{
    for (uint32_t i = 0; i < then(x)->naxes; i++)
        for (uint32_t k = 0; k < then(x)->axes[i].nsplits && i != axis; k++)
            if (then(x)->axes[i].splits[k].id == m.id) return true;
    return false;
}

/* How many innermost splits of an axis go at once: those that another axis is
 * to have one at a time, as the next may then be moved and not gathered. */
static uint32_t gone(const Bring *x, uint32_t axis)
{
    const TypeAxis *a = &now(x)->axes[axis];
    uint32_t keep = common(a, &then(x)->axes[axis]);
    for (uint32_t k = keep; k < a->nsplits; k++)
        if (goes_elsewhere(x, a->splits[k], axis)) return 1;
    return a->nsplits - keep;
}

static bool gather(Bring *x)
{
    uint32_t best = 0, over = 0;
    double least = INFINITY;
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        const TypeAxis *a = &now(x)->axes[i];
        uint32_t n = gone(x, i);
        const MeshAxis *last = a->splits + a->nsplits - n;
        if (!n || rate(x, last, n) >= least) continue;
        least = rate(x, last, n);
        best = i;
        over = n;
    }
    if (!over) return false;
    const TypeAxis a = now(x)->axes[best];
    uint32_t keep = a.nsplits - over;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, a.axis.id);
    step(x, OP_all_gather,
         with_splits(x, value_type(x->b->fn, x->v), best, a.splits, keep), &l,
         a.splits + keep, over);
    return true;
}

static void declare(Bring *x)
{
    const TypeInfo *t = then(x);
    MeshAxis *over = NEW_ARRAY(x->m->scratch, MeshAxis, t->npending + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->npending; i++)
        if (!mesh_axes_have(now(x)->pending, now(x)->npending, t->pending[i]))
            over[n++] = t->pending[i];
    if (!n) return;
    AttrList l = {.n = 0};
    if (t->pending_kind == PENDING_max)
        attr_put_id(&l, AT_kind, module_str(x->m, "max").id);
    step(x, OP_pending, x->to, &l, over, n);
}

Value partition_bring(Builder *b, const Machine *on, Value v, Type t)
{
    Bring x = {b->m, on, b, v, t};
    while (cut(&x) || scatter(&x) || turn(&x) || make(&x) || gather(&x))
        ;
    declare(&x);
    return x.v;
}
