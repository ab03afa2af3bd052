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
 *                       first, while there is little; where links are alike,
 *                       those first that no other axis waits for, as what it
 *                       waits for may be sent to it then (all_to_all), and
 *                       those over few devices
 *
 * Of steps of one kind that are alike in all this the one over the first axis
 * of the mesh is taken, so that what shard counts (shard/cost.c) is what is
 * done. At the end what is to be pending is declared so.  Splits of an axis are
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
    uint32_t best = 0, over = 0, id = 0;
    double most = 0;
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        uint32_t n = next_pending(x, i);
        const MeshAxis *next =
            then(x)->axes[i].splits + now(x)->axes[i].nsplits;
        double fast = n ? rate(x, next, n) : 0;
        if (!n || fast < most || (fast <= most && next->id > id)) continue;
        most = fast;
        id = next->id;
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

/* The axis whose innermost split, the first of the mesh that does, becomes the
 * next of another; UINT32_MAX: none. */
static uint32_t turned(const Bring *x)
{
    uint32_t best = UINT32_MAX, id = UINT32_MAX;
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        const TypeAxis *a = &now(x)->axes[i];
        if (is_begun(a, &then(x)->axes[i])) continue;
        MeshAxis m = a->splits[a->nsplits - 1];
        if (m.id > id || next_place(x, m) == UINT32_MAX) continue;
        best = i;
        id = m.id;
    }
    return best;
}

static bool turn(Bring *x)
{
    uint32_t from = turned(x);
    if (from == UINT32_MAX) return false;
    const TypeAxis a = now(x)->axes[from];
    MeshAxis m = a.splits[a.nsplits - 1];
    uint32_t to = next_place(x, m);
    const TypeAxis b = then(x)->axes[to];
    uint32_t have = now(x)->axes[to].nsplits;
    Type t = value_type(x->b->fn, x->v);
    t = with_splits(x, t, from, a.splits, a.nsplits - 1);
    t = with_splits(x, t, to, b.splits, have + 1);
    AttrList l = {.n = 0};
    attr_put_axes(&l, AT_from, &a.axis, 1);
    attr_put_axes(&l, AT_to, &b.axis, 1);
    step(x, OP_all_to_all, t, &l, &m, 1);
    return true;
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

/* Innermost splits of an axis that go at once. */
typedef struct Gone {
    uint32_t axis, n, id; /* the innermost one's */
    bool moves;           /* another axis is to have one */
    double rate;
    int64_t members;
} Gone;

/* All that go; or one where another axis is to have one of them, as the next
 * may then be moved and not gathered. */
static Gone gone(const Bring *x, uint32_t axis)
{
    const TypeAxis *a = &now(x)->axes[axis];
    uint32_t keep = common(a, &then(x)->axes[axis]);
    Gone g = {.axis = axis, .n = a->nsplits - keep};
    for (uint32_t k = keep; k < a->nsplits; k++)
        g.moves |= goes_elsewhere(x, a->splits[k], axis);
    if (!g.n) return g;
    if (g.moves) g.n = 1;
    g.id = a->splits[a->nsplits - 1].id;
    const MeshAxis *last = a->splits + a->nsplits - g.n;
    g.rate = rate(x, last, g.n);
    g.members = group_size(x->m, last, g.n);
    return g;
}

static bool goes_before(const Gone *a, const Gone *b)
{
    if (a->rate < b->rate || b->rate < a->rate) return a->rate < b->rate;
    if (a->moves != b->moves) return b->moves;
    if (a->members != b->members) return a->members < b->members;
    return a->id < b->id;
}

static bool gather(Bring *x)
{
    Gone first = {.rate = INFINITY};
    for (uint32_t i = 0; i < now(x)->naxes; i++) {
        Gone g = gone(x, i);
        if (g.n && goes_before(&g, &first)) first = g;
    }
    if (!first.n) return false;
    const TypeAxis a = now(x)->axes[first.axis];
    uint32_t keep = a.nsplits - first.n;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_axis, a.axis.id);
    step(x, OP_all_gather,
         with_splits(x, value_type(x->b->fn, x->v), first.axis, a.splits, keep),
         &l, a.splits + keep, first.n);
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
