/*
 * emit.c: the function of a rank, with the messages of bundles as planned.
 *
 * At the first message of a bundle stand what its values are made of, then all
 * its messages.  What a message brings is a run of items, one behind the other;
 * what is sent on is put together of such runs, and an item that is read is a
 * part of one.
 */
#include "bundle.h"

/* Items that lie one behind the other in a line; one alone is as it is. */
typedef struct Run {
    uint32_t *items, n;
    Value v;
    bool received;
} Run;

typedef struct Emit {
    const Ranks *r;
    uint32_t rank;
    Rewrite rw;
    bool *foreign;   /* by old value: a message brought it */
    Value *returned; /* by old value: what came back of it */
    const Bundle *b; /* that is emitted */
    VEC(Run) runs;   /* of it */
} Emit;

/* ----------------------------------------------------------------- items -- */

static int64_t elements_of(const Emit *e, uint32_t item)
{
    return type_elements(e->r->m, e->b->items.at[item].type);
}

/* The axes of a type, those that are outermost in memory first. */
static uint32_t axes_in_order(const Emit *e, Type t, TypeAxis *out)
{
    const Module *m = e->r->m;
    const TypeInfo *ti = type_info(m, t);
    uint32_t n = 0;
    for (int rest = 0; rest < 2; rest++)
        for (uint32_t i = 0; i < ti->naxes; i++)
            if (outer_has(&e->r->outer, ti->axes[i].axis) != rest)
                out[n++] = ti->axes[i];
    return n;
}

/* A value as a line of its elements. */
static Value line_of(Emit *e, Value v)
{
    Builder *b = &e->rw.b;
    Axis axis = e->r->axis;
    Type t = value_type(b->fn, v);
    uint32_t n = type_info(e->r->m, t)->naxes;
    if (n == 0) return emit_stack(b, &v, 1, axis);
    TypeAxis *axes = NEW_ARRAY(e->r->a, TypeAxis, n + 1);
    Axis *from = NEW_ARRAY(e->r->a, Axis, n + 1);
    axes_in_order(e, t, axes);
    for (uint32_t i = 0; i < n; i++)
        from[i] = axes[i].axis;
    return n == 1 ? emit_rename(b, v, from, &axis, 1)
                  : emit_merge(b, v, from, n, axis);
}

/* The value of an item that lies in a run from START on. */
static Value value_in(Emit *e, const Run *run, int64_t start, uint32_t item)
{
    Value line = run->v;
    Builder *b = &e->rw.b;
    Axis axis = e->r->axis;
    Type t = e->b->items.at[item].type;
    uint32_t n = type_info(e->r->m, t)->naxes;
    if (run->n == 1) return line;
    if (n == 0) return emit_pick(b, line, axis, start);
    TypeAxis *axes = NEW_ARRAY(e->r->a, TypeAxis, n + 1);
    axes_in_order(e, t, axes);
    line = emit_slice(b, line, axis, start, elements_of(e, item), 1);
    return n == 1 ? emit_rename(b, line, &axis, &axes[0].axis, 1)
                  : emit_split(b, line, axis, axes, n);
}

/* Where an item lies in a run, in elements; false: it is not there. */
static bool find_in(const Emit *e, const Run *run, uint32_t item,
                    int64_t *start)
{
    *start = 0;
    for (uint32_t i = 0; i < run->n; i++) {
        if (run->items[i] == item) return true;
        *start += elements_of(e, run->items[i]);
    }
    return false;
}

/* What messages brought, the longest where several did; NO_VALUE: none. */
static Value brought(Emit *e, uint32_t item)
{
    const Run *best = NULL;
    int64_t start, at = 0;
    for (uint32_t i = 0; i < e->runs.n; i++) {
        const Run *run = &e->runs.at[i];
        if (!run->received || (best && run->n < best->n) ||
            !find_in(e, run, item, &start))
            continue;
        best = run;
        at = start;
    }
    return best ? value_in(e, best, at, item) : NO_VALUE;
}

static bool is_own(const Emit *e, uint32_t item)
{
    return e->b->items.at[item].rank == e->rank;
}

static Value item_value(Emit *e, uint32_t item)
{
    const Item *x = &e->b->items.at[item];
    if (is_own(e, item)) return rewrite_value(&e->rw, x->v);
    Value v = brought(e, item);
    if (value_eq(v, NO_VALUE))
        BUG("rank %u lacks a value of rank %u", e->rank, x->rank);
    return v;
}

/* ------------------------------------------------------------------ runs -- */

/* The longest run that the items begin with; NULL: none. */
static const Run *run_at(const Emit *e, const uint32_t *items, uint32_t n)
{
    const Run *best = NULL;
    for (uint32_t i = 0; i < e->runs.n; i++) {
        const Run *x = &e->runs.at[i];
        if (x->n <= n && (!best || x->n > best->n) &&
            !memcmp(x->items, items, x->n * sizeof *items))
            best = x;
    }
    return best;
}

/* How many of the rank's own items begin at FIRST, where these are not all:
 * they may go out once more. */
static uint32_t own_items(const Emit *e, const uint32_t *items, uint32_t first,
                          uint32_t n)
{
    uint32_t k = first;
    if (first > 0 && is_own(e, items[first - 1])) return 0;
    while (k < n && is_own(e, items[k]))
        k++;
    return k - first < n ? k - first : 0;
}

static Value put_together(Emit *e, uint32_t *items, uint32_t n)
{
    Builder *b = &e->rw.b;
    if (n == 1) return item_value(e, items[0]);
    Value *parts = NEW_ARRAY(e->r->a, Value, n + 1);
    uint32_t nparts = 0;
    for (uint32_t i = 0; i < n;) {
        const Run *run = run_at(e, items + i, n - i);
        uint32_t own = own_items(e, items, i, n);
        if (run) {
            parts[nparts++] = run->n == 1 ? line_of(e, run->v) : run->v;
            i += run->n;
        } else if (own > 1) {
            parts[nparts++] = put_together(e, items + i, own);
            i += own;
        } else {
            parts[nparts++] = line_of(e, item_value(e, items[i++]));
        }
    }
    Value all =
        nparts == 1 ? parts[0] : emit_concat(b, parts, nparts, e->r->axis);
    vec_push(e->r->a, &e->runs, ((Run){items, n, all, false}));
    return all;
}

/* ------------------------------------------------------------------ hops -- */

static Attr message_attr(const Emit *e, uint32_t peer)
{
    Module *m = e->r->m;
    const Message *x = &e->b->messages.at[0];
    const Inst *in = inst_of(e->r->fns[x->from], x->send);
    AttrList l = {.n = 0};
    attr_put_int(&l, AT_peer, peer);
    attr_put_int(&l, AT_channel, attr_int(m, in->attr, AT_channel, 0));
    return attr_intern(m, &l);
}

static Type run_type(const Emit *e, const Hop *x)
{
    Module *m = e->r->m;
    if (x->n == 1) return e->b->items.at[x->items[0]].type;
    TypeAxis axis = {.axis = e->r->axis};
    for (uint32_t i = 0; i < x->n; i++)
        axis.size += elements_of(e, x->items[i]);
    DType d = type_dtype(m, e->b->items.at[x->items[0]].type);
    return type_with_axis(m, type_scalar(m, d), axis);
}

static void emit_hop(Emit *e, const Hop *x)
{
    Builder *b = &e->rw.b;
    if (x->from == e->rank) {
        Value v = put_together(e, x->items, x->n);
        emit(b, OP_send, (Type){0}, message_attr(e, x->to), &v, 1);
    }
    if (x->to == e->rank) {
        Value v =
            emit(b, OP_recv, run_type(e, x), message_attr(e, x->from), NULL, 0);
        vec_push(e->r->a, &e->runs, ((Run){x->items, x->n, v, true}));
    }
}

/* With all that it is made of. */
static void copy_value(Emit *e, Value v)
{
    const Inst *in = inst_of(e->rw.old, v);
    if (!value_eq(e->rw.map[v.id], NO_VALUE)) return;
    for (uint32_t i = 0; i < in->nargs; i++)
        copy_value(e, inst_arg(e->rw.old, in, i));
    rewrite_copy(&e->rw, v);
}

static void set_received(Emit *e, const Message *x)
{
    const Inst *in = inst_of(e->rw.old, x->recv);
    if (!value_eq(e->rw.map[x->recv.id], NO_VALUE)) return;
    e->rw.b.loc = in->loc;
    e->rw.b.phase = (Phase)in->phase;
    Value v = item_value(e, x->item);
    value_set_name(&e->rw.b, v, e->rw.old->names[x->recv.id]);
    rewrite_set(&e->rw, x->recv, v);
    e->foreign[x->recv.id] = true;
}

/* What others sent back, in the midst of their own. */
static void set_returned(Emit *e)
{
    for (uint32_t i = 0; i < e->b->items.n; i++) {
        const Item *x = &e->b->items.at[i];
        if (is_own(e, i)) e->returned[x->v.id] = brought(e, i);
    }
}

static void emit_bundle(Emit *e, const Bundle *b)
{
    const Inst *in = &e->rw.old->insts[b->first[e->rank]];
    e->b = b;
    e->runs.n = 0;
    for (uint32_t i = 0; i < b->items.n; i++)
        if (is_own(e, i)) copy_value(e, b->items.at[i].v);
    for (uint32_t i = 0; i < b->hops.n; i++) {
        e->rw.b.loc = in->loc;
        e->rw.b.phase = (Phase)in->phase;
        emit_hop(e, &b->hops.at[i]);
    }
    for (uint32_t i = 0; i < b->messages.n; i++)
        if (b->messages.at[i].to == e->rank)
            set_received(e, &b->messages.at[i]);
    set_returned(e);
}

/* Who reads what others have sent reads the rank's own beside it: so all ranks
 * read the same places, and share a kernel. */
static void copy_reader(Emit *e, Value v)
{
    const Fn *fn = e->rw.old;
    const Inst *in = inst_of(fn, v);
    bool beside = false;
    Value *own = NEW_ARRAY(e->r->a, Value, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        beside |= e->foreign[inst_arg(fn, in, i).id];
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t x = inst_arg(fn, in, i).id;
        own[i] = e->rw.map[x];
        if (beside && !value_eq(e->returned[x], NO_VALUE))
            e->rw.map[x] = e->returned[x];
    }
    rewrite_copy(&e->rw, v);
    for (uint32_t i = in->nargs; i-- > 0;)
        e->rw.map[inst_arg(fn, in, i).id] = own[i];
}

/* ----------------------------------------------------------------- whole -- */

/* By instruction: the bundle whose first message it is, plus 1; further ones
 * are gone. */
static uint32_t *find_places(const Emit *e, bool *gone)
{
    const Ranks *r = e->r;
    uint32_t *at = NEW_ARRAY(r->a, uint32_t, r->fns[e->rank]->ninsts + 1);
    for (uint32_t i = 0; i < r->bundles.n; i++) {
        const Bundle *b = &r->bundles.at[i];
        if (!b->hops.n || b->first[e->rank] == UINT32_MAX) continue;
        at[b->first[e->rank]] = i + 1;
        for (uint32_t k = 0; k < b->messages.n; k++) {
            const Message *x = &b->messages.at[k];
            if (x->from == e->rank) gone[x->send.id] = true;
            if (x->to == e->rank) gone[x->recv.id] = true;
        }
    }
    return at;
}

Fn *bundles_emit(const Ranks *r, uint32_t rank)
{
    Emit e = {.r = r, .rank = rank};
    const Fn *fn = r->fns[rank];
    bool *gone = NEW_ARRAY(r->a, bool, fn->ninsts + 1);
    uint32_t *at = find_places(&e, gone);
    e.foreign = NEW_ARRAY(r->a, bool, fn->ninsts + 1);
    e.returned = no_values(r->a, fn->ninsts);
    rewrite_begin(&e.rw, r->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (at[i]) emit_bundle(&e, &r->bundles.at[at[i] - 1]);
        if (!gone[i] && value_eq(e.rw.map[i], NO_VALUE))
            copy_reader(&e, (Value){i});
    }
    return fn_without_unneeded(r->m, rewrite_end(&e.rw));
}
