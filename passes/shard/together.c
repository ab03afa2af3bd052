/*
 * together.c: values whose readers choose again all at once.
 *
 * Who reads a value beside others in one form loses when it alone takes
 * another: the value is then brought into both.  So for each value and each
 * form that its readers might want over one mesh axis, all of them choose again
 * as if it were there already, and so do those who read what is made elsewhere
 * then, in order, however far that goes.  That is kept where the whole costs
 * less.
 *
 * A trial touches few of many items, so what it changes is written down, and
 * the whole is the sum before with the costs that it changed put in:
 *
 *      raw     what its readers pay: their needs, where it is made
 *      item    its work, by where its operands and its result are
 *      node    what is kept of it, and sent
 */
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
    MeshAxis mesh;
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
    return x->s->raws.at[i].node == NO_RAW ? 0 : raw_cost(x, i);
}

static double cost_of_item(const Solve *x, uint32_t i)
{
    return work_cost(x, i, NULL, 0) + all_misses(x, i);
}

static double cost_of_node(const Solve *x, uint32_t i)
{
    return kept_cost(x, i) + sent_cost(x, i);
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
    t->x->s->looks += r->n;
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
    Before b = {item, t->needs.n, *where_at(s, t->mesh, it->out)};
    for (uint32_t k = 0; k < it->n; k++)
        vec_push(s->a, &t->needs, *need_at(s, t->mesh, it->first + k));
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
    Where was = *where_at(x->s, t->mesh, it->out);
    note_before(t, item);
    choose_again(x, item, t->mesh);
    touch_item(t, item);
    if (was != *where_at(x->s, t->mesh, it->out)) touch_node(t, it->out, item);
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
        *where_at(s, t->mesh, it->out) = b->out;
        for (uint32_t k = 0; k < it->n; k++)
            need_put(t->x, t->mesh, it->first + k, t->needs.at[b->needs + k]);
    }
}

/* What was tried stays if the whole costs less. */
static bool judge(Together *t)
{
    double cost = t->least + all_added(t, false);
    bool better = cost < t->least * (1 - 1e-13);
    if (better) {
        all_added(t, true);
        t->least = cost;
        for (uint32_t i = 0; i < t->before.n; i++)
            stir(t->x, t->before.at[i].item);
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
    return judge(t);
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
static Forms forms_of(const Together *t, uint32_t raw)
{
    const Solve *x = t->x;
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    Forms f = {.n = 0};
    Where pin = *pin_at(s, t->mesh, r->node);
    if (pin != WHERE_none) add_form(&f, pin);
    add_form(&f, WHERE_none);
    for (uint32_t k = 0; k < r->n; k++)
        add_form(&f, *need_at(s, t->mesh, s->uses[r->first + k]));
    for (uint32_t k = 0; k < r->n; k++) {
        const Item *it = &s->items.at[s->args.at[s->uses[r->first + k]].item];
        for (uint32_t i = 0; i < it->n; i++) {
            Where made = *where_at(s, t->mesh, raw_at(x, it->first + i)->node);
            if (where_is_axis(made) &&
                type_axis(s->m, r->type, axis_of_where(made)))
                add_form(&f, made);
        }
    }
    return f;
}

static Together together_new(Solve *x, MeshAxis mesh)
{
    const Shard *s = x->s;
    Together t = {.x = x, .mesh = mesh, .words = s->items.n / 64 + 1};
    t.raw_cost = NEW_ARRAY(s->a, double, (size_t)s->raws.n + 1);
    t.item_cost = NEW_ARRAY(s->a, double, (size_t)s->items.n + 1);
    t.node_cost = NEW_ARRAY(s->a, double, (size_t)s->nodes.n + 1);
    t.raws = touched_new(s->a, s->raws.n);
    t.items = touched_new(s->a, s->items.n);
    t.nodes = touched_new(s->a, s->nodes.n);
    t.waiting = NEW_ARRAY(s->a, uint64_t, t.words);
    t.least = all_costs(x, cost_of_raw, t.raw_cost, s->raws.n) +
              all_costs(x, cost_of_item, t.item_cost, s->items.n) +
              all_costs(x, cost_of_node, t.node_cost, s->nodes.n);
    return t;
}

bool together_improve(Solve *x, MeshAxis mesh)
{
    const Shard *s = x->s;
    bool better = false;
    Together t = together_new(x, mesh);
    for (uint32_t i = 0; i < s->raws.n; i++) {
        if (s->raws.at[i].node == NO_RAW || s->raws.at[i].n < 2) continue;
        Forms f = forms_of(&t, i);
        for (uint32_t k = 0; k < f.n && f.n > 1; k++)
            better |= try_form(&t, i, f.at[k]);
    }
    return better;
}
