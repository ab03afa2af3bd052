/*
 * together.c: values whose readers choose again all at once.
 *
 * Who reads a value beside others in one form loses when it alone takes
 * another: the value is then brought into both.  So for each value and each
 * form that its readers might want, all of them choose again as if it were
 * there already, and so do those who read what is made elsewhere then, in
 * order.  That is kept where the whole costs less.
 *
 * A trial touches few of many items, so what it changes is written down, and
 * the whole is the sum before with the costs that it changed put in:
 *
 * And an op may have to take another way together with those around it: of
 * values that cost the most, each op that makes or reads them takes each of its
 * ways, those beside it choose again, and so on for some links of the chain.
 *
 *      raw     what its readers pay: their needs, where it is made
 *      item    its work, by where its operands and its result are
 *      node    what is kept
 */
#include <stdlib.h>
#include <string.h>

#include "solve.h"

/* Numbers, each once. */
typedef struct Touched {
    bool *in;
    uint32_t *at, n;
} Touched;

/* An item as it was: where its result is, what its operands are needed as. */
typedef struct Before {
    uint32_t item, needs; /* its first, in Together.needs */
    Where out;
} Before;

typedef struct Together {
    Solve *x;
    uint32_t *maker;                          /* by raw: its item, or NO_RAW */
    double *raw_cost, *item_cost, *node_cost; /* of what is chosen now */
    Touched raws, items, nodes;
    uint64_t *waiting; /* items that are to choose again: a bit each */
    uint32_t words;
    VEC(Before) before;
    VEC(Where) needs;
    double least;
} Together;

static void touch(Touched *t, uint32_t i)
{
    if (t->in[i]) return;
    t->in[i] = true;
    t->at[t->n++] = i;
}

static void untouch(Touched *t)
{
    while (t->n > 0)
        t->in[t->at[--t->n]] = false;
}

static Touched touched_new(Arena *a, uint32_t n)
{
    return (Touched){NEW_ARRAY(a, bool, (size_t)n + 1),
                     NEW_ARRAY(a, uint32_t, (size_t)n + 1), 0};
}

/* ---------------------------------------------------------------- costs -- */

static double cost_of_raw(const Solve *x, uint32_t i)
{
    const Raw *r = &x->s->raws.at[i];
    if (r->node == NO_RAW) return 0;
    return readers_cost(x, i, *where_at(x->s, x->mesh, r->node));
}

static double cost_of_item(const Solve *x, uint32_t i)
{
    return item_cost(x, &x->s->items.at[i]);
}

static double cost_of_node(const Solve *x, uint32_t i)
{
    return kept_cost(x, i, *where_at(x->s, x->mesh, i));
}

typedef double CostOf(const Solve *x, uint32_t i);

static double all_costs(const Solve *x, CostOf *of, double *out, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += out[i] = of(x, i);
    return sum;
}

/* What the trial has added; KEEP: from now on that is the cost. */
static double added(const Solve *x, const Touched *t, CostOf *of, double *was,
                    bool keep)
{
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        double now = of(x, t->at[i]);
        sum += now - was[t->at[i]];
        if (keep) was[t->at[i]] = now;
    }
    return sum;
}

static double all_added(Together *t, bool keep)
{
    return added(t->x, &t->raws, cost_of_raw, t->raw_cost, keep) +
           added(t->x, &t->items, cost_of_item, t->item_cost, keep) +
           added(t->x, &t->nodes, cost_of_node, t->node_cost, keep);
}

/* ---------------------------------------------------------------- trials -- */

/* Ops that read the value and come behind item FROM. */
static void wait_for_readers(Together *t, uint32_t raw, int64_t from)
{
    const Shard *s = t->x->s;
    const Raw *r = &s->raws.at[raw];
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t item = s->args.at[s->uses[r->first + i]].item;
        if (item > from && s->items.at[item].raw != NO_RAW)
            t->waiting[item / 64] |= UINT64_C(1) << (item % 64);
    }
}

static void note_before(Together *t, uint32_t item)
{
    const Shard *s = t->x->s;
    const Item *it = &s->items.at[item];
    Before b = {item, t->needs.n, *where_at(s, t->x->mesh, it->out)};
    for (uint32_t k = 0; k < it->n; k++)
        vec_push(s->a, &t->needs, *need_at(s, t->x->mesh, it->first + k));
    vec_push(s->a, &t->before, b);
}

/* Whatever is made of the node is read at another cost. */
static void touch_node(Together *t, uint32_t node, int64_t from)
{
    const Solve *x = t->x;
    touch(&t->nodes, node);
    for (uint32_t i = x->seen_first[node]; i < x->seen_first[node + 1]; i++) {
        const Raw *r = &x->s->raws.at[x->seen[i]];
        touch(&t->raws, x->seen[i]);
        for (uint32_t k = 0; k < r->n; k++)
            touch(&t->items, x->s->args.at[x->s->uses[r->first + k]].item);
        wait_for_readers(t, x->seen[i], from);
    }
    for (uint32_t i = x->first[node]; i < x->first[node + 1]; i++)
        touch(&t->items, x->into[i]);
}

/* An item that has chosen, and what it reads. */
static void touch_item(Together *t, uint32_t item)
{
    const Shard *s = t->x->s;
    const Item *it = &s->items.at[item];
    touch(&t->items, item);
    for (uint32_t k = 0; k < it->n; k++)
        touch(&t->raws, s->args.at[it->first + k].raw);
}

static void choose_waiting(Together *t, uint32_t item)
{
    Solve *x = t->x;
    const Item *it = &x->s->items.at[item];
    Where was = *where_at(x->s, x->mesh, it->out);
    note_before(t, item);
    choose_again(x, item);
    touch_item(t, item);
    if (was != *where_at(x->s, x->mesh, it->out)) touch_node(t, it->out, item);
}

static void wait_for_makers(Together *t, const Item *it)
{
    const Shard *s = t->x->s;
    for (uint32_t k = 0; k < it->n; k++) {
        uint32_t item = t->maker[s->args.at[it->first + k].raw];
        if (item != NO_RAW) t->waiting[item / 64] |= UINT64_C(1) << (item % 64);
    }
}

static void follow_all(Together *t, uint32_t raw, Where where)
{
    t->x->favoured = raw;
    t->x->favour = where;
    wait_for_readers(t, raw, -1);
    for (uint32_t w = 0; w < t->words; w++)
        while (t->waiting[w]) {
            uint32_t item = w * 64 + (uint32_t)__builtin_ctzll(t->waiting[w]);
            t->waiting[w] &= t->waiting[w] - 1;
            choose_waiting(t, item);
        }
    t->x->favoured = NO_RAW;
}

/* Last first: an op of a trial may have been one of two that made a node. */
static void undo(Together *t)
{
    const Shard *s = t->x->s;
    for (uint32_t i = t->before.n; i-- > 0;) {
        const Before *b = &t->before.at[i];
        const Item *it = &s->items.at[b->item];
        *where_at(s, t->x->mesh, it->out) = b->out;
        for (uint32_t k = 0; k < it->n; k++)
            *need_at(s, t->x->mesh, it->first + k) = t->needs.at[b->needs + k];
    }
}

/* Of what is moved of the values that are touched a chain leaves no more: what
 * is copied in place is a hundredth. */
#define LEFT 0.95

static bool moves_less(const Together *t)
{
    double was = 0, is = 0;
    for (uint32_t i = 0; i < t->raws.n; i++) {
        was += t->raw_cost[t->raws.at[i]];
        is += cost_of_raw(t->x, t->raws.at[i]);
    }
    return is <= LEFT * was;
}

/* What was tried stays if the whole costs less; of chains, if less is moved
 * too: what moves as much another way may lie worse. */
static bool judge(Together *t, bool chain)
{
    double cost = t->least + all_added(t, false);
    bool better = cost < t->least * (1 - 1e-13) && (!chain || moves_less(t));
    if (better) {
        all_added(t, true);
        t->least = cost;
    } else {
        undo(t);
    }
    untouch(&t->raws);
    untouch(&t->items);
    untouch(&t->nodes);
    t->before.n = t->needs.n = 0;
    return better;
}

static bool try_form(Together *t, uint32_t raw, Where where)
{
    follow_all(t, raw, where);
    return judge(t, false);
}

/* ----------------------------------------------------------------- forms -- */

enum { MOST_FORMS = 8 };

typedef struct Forms {
    Where at[MOST_FORMS];
    uint32_t n;
} Forms;

static void add_form(Forms *f, Where w)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->at[i] == w) return;
    if (f->n < MOST_FORMS) f->at[f->n++] = w;
}

/* Forms in which all its readers might want a value: as the rules have it,
 * whole, as one of them wants it, as what else they read is made. */
static Forms forms_of(const Solve *x, uint32_t raw)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    Forms f = {.n = 0};
    Where pin = *pin_at(s, x->mesh, r->node);
    if (pin != WHERE_none) add_form(&f, pin);
    add_form(&f, WHERE_none);
    for (uint32_t k = 0; k < r->n; k++)
        add_form(&f, *need_at(s, x->mesh, s->uses[r->first + k]));
    for (uint32_t k = 0; k < r->n; k++) {
        const Item *it = &s->items.at[s->args.at[s->uses[r->first + k]].item];
        for (uint32_t i = 0; i < it->n; i++) {
            Where made = made_at(x, it->first + i);
            if (where_is_axis(made) &&
                type_axis(s->m, r->type, axis_of_where(made)))
                add_form(&f, made);
        }
    }
    return f;
}

static Together together_new(Solve *x)
{
    const Shard *s = x->s;
    Together t = {.x = x, .words = s->items.n / 64 + 1};
    t.raw_cost = NEW_ARRAY(s->a, double, (size_t)s->raws.n + 1);
    t.item_cost = NEW_ARRAY(s->a, double, (size_t)s->items.n + 1);
    t.node_cost = NEW_ARRAY(s->a, double, (size_t)s->nodes.n + 1);
    t.raws = touched_new(s->a, s->raws.n);
    t.items = touched_new(s->a, s->items.n);
    t.nodes = touched_new(s->a, s->nodes.n);
    t.waiting = NEW_ARRAY(s->a, uint64_t, t.words);
    t.maker = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    for (uint32_t i = 0; i < s->raws.n; i++)
        t.maker[i] = NO_RAW;
    for (uint32_t i = 0; i < s->items.n; i++)
        if (s->items.at[i].raw != NO_RAW) t.maker[s->items.at[i].raw] = i;
    t.least = all_costs(x, cost_of_raw, t.raw_cost, s->raws.n) +
              all_costs(x, cost_of_item, t.item_cost, s->items.n) +
              all_costs(x, cost_of_node, t.node_cost, s->nodes.n);
    return t;
}

bool choose_together(Solve *x)
{
    const Shard *s = x->s;
    bool better = false;
    Together t = together_new(x);
    for (uint32_t i = 0; i < s->raws.n; i++) {
        if (s->raws.at[i].node == NO_RAW || s->raws.at[i].n < 2) continue;
        Forms f = forms_of(x, i);
        for (uint32_t k = 0; k < f.n && f.n > 1; k++)
            better |= try_form(&t, i, f.at[k]);
    }
    return better;
}

/* ---------------------------------------------------------------- chains -- */

/* Ops that choose again in one trial; values whose ops are tried. */
enum { MOST_LINKS = 24, MOST_DEPTH = 4, MOST_VALUES = 96 };

static bool is_waiting(Together *t, uint32_t item)
{
    uint64_t bit = UINT64_C(1) << (item % 64);
    bool is = t->waiting[item / 64] & bit;
    t->waiting[item / 64] &= ~bit;
    return is;
}

/* The nearest that waits, behind the item or else in front of it; NO_RAW: none.
 */
static uint32_t next_waiting(Together *t, uint32_t item)
{
    uint32_t n = t->x->s->items.n;
    for (uint32_t away = 1; away < n; away++) {
        if (item + away < n && is_waiting(t, item + away)) return item + away;
        if (item >= away && is_waiting(t, item - away)) return item - away;
    }
    return NO_RAW;
}

/* One op takes another way, and those around it choose again, the nearest
 * first. */
static void follow_chain(Together *t, uint32_t item, const Way *way)
{
    Solve *x = t->x;
    const Item *it = &x->s->items.at[item];
    note_before(t, item);
    choose_way(x, item, way);
    touch_item(t, item);
    touch_node(t, it->out, -1);
    wait_for_makers(t, it);
    for (uint32_t i = 0, next; i < MOST_LINKS; i++) {
        (void)is_waiting(t, item);
        next = next_waiting(t, item);
        if (next == NO_RAW) break;
        uint32_t changes = x->changes;
        choose_waiting(t, next);
        if (x->changes == changes) continue;
        wait_for_readers(t, x->s->items.at[next].raw, -1);
        wait_for_makers(t, &x->s->items.at[next]);
    }
    memset(t->waiting, 0, t->words * sizeof *t->waiting);
}

/* A link that is to follow: an item, and where its result goes, or that of an
 * operand that it reads as that is made. */
typedef struct Link {
    uint32_t item, raw, depth; /* raw: that it reads; NO_RAW: it makes one */
    Where where;
} Link;

typedef struct Links {
    Link at[MOST_LINKS];
    uint32_t n;
} Links;

static void add_link(Links *l, Link link)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->at[i].item == link.item) return;
    if (link.item != NO_RAW && l->n < MOST_LINKS) l->at[l->n++] = link;
}

/* Those who make what it needs, as it needs it; those who read it, as it is. */
static void add_around(Together *t, Links *l, const Link *from)
{
    Solve *x = t->x;
    const Shard *s = x->s;
    const Item *it = &s->items.at[from->item];
    for (uint32_t k = 0; k < it->n; k++) {
        uint32_t arg = it->first + k;
        Link link = {t->maker[s->args.at[arg].raw], NO_RAW, from->depth + 1,
                     *need_at(s, x->mesh, arg)};
        if (made_at(x, arg) != link.where) add_link(l, link);
    }
    const Raw *r = &s->raws.at[it->raw];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t arg = s->uses[r->first + k], item = s->args.at[arg].item;
        Link link = {item, it->raw, from->depth + 1,
                     *where_at(s, x->mesh, it->out)};
        if (s->items.at[item].raw != NO_RAW &&
            *need_at(s, x->mesh, arg) != link.where)
            add_link(l, link);
    }
}

static void take_link(Together *t, const Link *link)
{
    Solve *x = t->x;
    if (link->raw == NO_RAW) {
        note_before(t, link->item);
        choose_making(x, link->item, link->where);
        touch_item(t, link->item);
        touch_node(t, x->s->items.at[link->item].out, link->item);
        return;
    }
    x->favoured = link->raw;
    x->favour = link->where;
    choose_waiting(t, link->item);
    x->favoured = NO_RAW;
}

/* One op takes another way, and those around it go with it, so far. */
static void follow_links(Together *t, uint32_t item, const Way *way,
                         uint32_t depth)
{
    Links l = {.n = 0};
    add_link(&l, (Link){item, NO_RAW, 0, way->out});
    note_before(t, item);
    choose_way(t->x, item, way);
    touch_item(t, item);
    touch_node(t, t->x->s->items.at[item].out, item);
    for (uint32_t i = 0; i < l.n; i++) {
        if (i) take_link(t, &l.at[i]);
        if (l.at[i].depth < depth) add_around(t, &l, &l.at[i]);
    }
    memset(t->waiting, 0, t->words * sizeof *t->waiting);
}

static bool try_ways(Together *t, uint32_t item)
{
    Solve *x = t->x;
    bool better = false;
    Ways w = item_ways(x, item);
    for (uint32_t i = 0; i < w.at.n; i++) {
        if (is_way_taken(x, item, &w.at.at[i])) continue;
        follow_chain(t, item, &w.at.at[i]);
        bool is = judge(t, true);
        for (uint32_t depth = 1; depth <= MOST_DEPTH && !is; depth++) {
            follow_links(t, item, &w.at.at[i], depth);
            is = judge(t, true);
        }
        better |= is;
    }
    return better;
}

typedef struct Paid {
    double cost;
    uint32_t raw;
} Paid;

static int by_cost(const void *a, const void *b)
{
    const Paid *x = a, *y = b;
    if (x->cost != y->cost) return x->cost > y->cost ? -1 : 1;
    return x->raw < y->raw ? -1 : x->raw > y->raw;
}

/* What the most is moved of. */
static uint32_t values_paid(const Together *t, Paid **out)
{
    const Shard *s = t->x->s;
    Paid *p = *out = NEW_ARRAY(s->a, Paid, (size_t)s->raws.n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->raws.n; i++)
        if (t->raw_cost[i] > 0) p[n++] = (Paid){t->raw_cost[i], i};
    if (n) qsort(p, n, sizeof *p, by_cost);
    return n < MOST_VALUES ? n : MOST_VALUES;
}

bool choose_chains(Solve *x)
{
    const Shard *s = x->s;
    bool better = false;
    Together t = together_new(x);
    Paid *paid;
    uint32_t n = values_paid(&t, &paid);
    for (uint32_t i = 0; i < n; i++) {
        const Raw *r = &s->raws.at[paid[i].raw];
        uint32_t maker = t.maker[paid[i].raw];
        if (maker != NO_RAW) better |= try_ways(&t, maker);
        for (uint32_t k = 0; k < r->n; k++) {
            uint32_t item = s->args.at[s->uses[r->first + k]].item;
            if (s->items.at[item].raw != NO_RAW) better |= try_ways(&t, item);
        }
    }
    return better;
}
