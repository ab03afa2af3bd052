/*
 * wants.c: the forms in which a value is needed, counted.
 *
 * What an operand pays depends on the forms in which others need the value, and
 * there are few forms, however many readers.  So of a value that many read it
 * is counted how many of those that are chosen need it in which form, and the
 * count is kept as they change their minds (need_put):
 *
 *      x   read by 8,000       embed/dp   7,998     from the 1st
 *                              whole          2     from the 17th
 *
 * Where each form comes first is sought only when it is asked for, from where
 * it was: of all before that none had it.
 */
#include <math.h>

#include "solve.h"

enum { FEW = 16 }; /* that are looked at one by one */

/* A form, of those readers that are chosen; NEED by mesh axis. */
typedef struct Want {
    Where *need;
    Phase phase;
    uint32_t n;
    uint32_t low; /* no use in front of this one has it */
    bool exact;   /* and this one has */
} Want;

/* Of one value: ROOM for as many as it has readers. */
typedef struct Wanted {
    Want *at;
    uint32_t n;
    uint32_t *ports, nports; /* hand-overs that read it, the first of a port */
} Wanted;

struct Wants {
    uint32_t *wide;  /* by raw: which one it is, plus 1; 0: few read it */
    uint32_t *place; /* by operand: which use of its value it is */
    uint32_t *next;  /* the next operand of its op or port that has the value;
                        behind the last one the first */
    Wanted *of;
};

static Wanted *wanted_of(const Solve *x, uint32_t raw)
{
    uint32_t wide = x->wants ? x->wants->wide[raw] : 0;
    return wide ? &x->wants->of[wide - 1] : NULL;
}

static const Item *item_of(const Solve *x, uint32_t arg)
{
    return &x->s->items.at[x->s->args.at[arg].item];
}

static const Where *needs_of(const Solve *x, uint32_t arg)
{
    return need_at(x->s, (MeshAxis){0}, arg);
}

static bool has_form(const Solve *x, const Want *w, uint32_t arg)
{
    const Where *need = needs_of(x, arg);
    bool same = w->phase == item_of(x, arg)->phase;
    x->s->looks++;
    for (uint32_t i = 0; i < x->n && same; i++) {
        MeshAxis m = x->s->order.at[i];
        same = w->need[m.id] == need[m.id];
    }
    return same;
}

/* ------------------------------------------------------------- counting -- */

static Want *want_find(const Solve *x, const Wanted *v, uint32_t arg)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (has_form(x, &v->at[i], arg)) return &v->at[i];
    return NULL;
}

static void count_in(const Solve *x, Wanted *v, uint32_t arg)
{
    uint32_t place = x->wants->place[arg];
    Want *w = want_find(x, v, arg);
    if (!w) {
        w = &v->at[v->n++];
        memcpy(w->need, needs_of(x, arg), x->s->m->mesh.n * sizeof *w->need);
        w->phase = item_of(x, arg)->phase;
        w->n = 0;
    }
    if (w->n++ == 0 || place < w->low) {
        w->low = place;
        w->exact = true;
    }
}

static void count_out(const Solve *x, Wanted *v, uint32_t arg)
{
    Want *w = want_find(x, v, arg), *last = &v->at[v->n - 1];
    if (w->low == x->wants->place[arg]) w->exact = false;
    if (--w->n > 0) return;
    Want gone = *w;
    *w = *last;
    *last = gone; /* its room is for the next one */
    v->n--;
}

void need_put(const Solve *x, MeshAxis m, uint32_t arg, Where where)
{
    const Use *use = &x->s->args.at[arg];
    Where *need = need_at(x->s, m, arg);
    if (*need == where) return;
    Wanted *v = x->chosen[use->item] ? wanted_of(x, use->raw) : NULL;
    if (v) count_out(x, v, arg);
    *need = where;
    if (v) count_in(x, v, arg);
}

void wants_choose(const Solve *x, uint32_t item)
{
    const Item *it = &x->s->items.at[item];
    if (x->chosen[item]) return;
    x->chosen[item] = true;
    for (uint32_t k = 0; k < it->n; k++) {
        Wanted *v = wanted_of(x, x->s->args.at[it->first + k].raw);
        if (v) count_in(x, v, it->first + k);
    }
}

void wants_none(const Solve *x)
{
    const Shard *s = x->s;
    memset(x->chosen, 0, s->items.n);
    for (uint32_t i = 0; x->wants && i < s->raws.n; i++)
        if (wanted_of(x, i)) wanted_of(x, i)->n = 0;
}

/* A ring for each op or port of the operands that have the value. */
static void link_own(const Solve *x, uint32_t raw, uint32_t *first,
                     uint32_t *last)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t arg = s->uses[r->first + i], out = item_of(x, arg)->out;
        x->wants->place[arg] = i;
        if (last[out])
            x->wants->next[last[out] - 1] = arg;
        else
            first[out] = arg;
        x->wants->next[arg] = first[out];
        last[out] = arg + 1;
    }
    for (uint32_t i = 0; i < r->n; i++)
        last[item_of(x, s->uses[r->first + i])->out] = 0;
}

static void list_ports(const Solve *x, uint32_t raw, Wanted *v)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    v->ports = NEW_ARRAY(s->a, uint32_t, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t arg = s->uses[r->first + i], item = s->args.at[arg].item;
        if (is_port(x, item) && x->wants->next[arg] <= arg)
            v->ports[v->nports++] = x->into[x->first[s->items.at[item].out]];
    }
}

void wants_begin(Solve *x)
{
    const Shard *s = x->s;
    uint32_t n = 0;
    x->wants = NEW(s->a, Wants);
    x->wants->wide = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    x->wants->place = NEW_ARRAY(s->a, uint32_t, (size_t)s->args.n + 1);
    x->wants->next = NEW_ARRAY(s->a, uint32_t, (size_t)s->args.n + 1);
    uint32_t *first = NEW_ARRAY(s->a, uint32_t, (size_t)s->nodes.n + 1);
    uint32_t *last = NEW_ARRAY(s->a, uint32_t, (size_t)s->nodes.n + 1);
    for (uint32_t i = 0; i < s->raws.n; i++)
        if (s->raws.at[i].node != NO_RAW && s->raws.at[i].n > FEW)
            x->wants->wide[i] = ++n;
    x->wants->of = NEW_ARRAY(s->a, Wanted, (size_t)n + 1);
    for (uint32_t i = 0; i < s->raws.n; i++) {
        Wanted *v = wanted_of(x, i);
        if (!v) continue;
        size_t readers = s->raws.at[i].n, mesh = s->m->mesh.n;
        Where *needs = NEW_ARRAY(s->a, Where, readers * mesh);
        v->at = NEW_ARRAY(s->a, Want, readers);
        for (uint32_t k = 0; k < readers; k++)
            v->at[k].need = &needs[k * mesh];
        link_own(x, i, first, last);
        list_ports(x, i, v);
    }
}

/* -------------------------------------------------------------- looking -- */

const uint32_t *wants_ports(const Solve *x, uint32_t raw, uint32_t *n)
{
    const Wanted *v = wanted_of(x, raw);
    *n = v ? v->nports : 0;
    return v ? v->ports : NULL;
}

/* The first use that has it. */
static uint32_t first_arg(const Solve *x, const Raw *r, Want *w)
{
    const uint32_t *uses = &x->s->uses[r->first];
    while (!w->exact) {
        uint32_t arg = uses[w->low];
        w->exact = x->chosen[x->s->args.at[arg].item] && has_form(x, w, arg);
        w->low += !w->exact;
    }
    return uses[w->low];
}

static double shared_with(const Solve *x, uint32_t arg, const Want *w)
{
    Move of = move_of(x, arg), other = of;
    uint32_t steps;
    if (w->phase != item_of(x, arg)->phase) return 0;
    other.to = w->need;
    return item_of(x, arg)->times * moves_share(&of, &other, &steps);
}

/* How many beside the op or port of ARG have it. */
static uint32_t others_in(const Solve *x, const Want *w, uint32_t arg)
{
    uint32_t n = w->n, own = arg;
    do {
        n -= x->chosen[x->s->args.at[own].item] && has_form(x, w, own);
        own = x->wants->next[own];
    } while (own != arg);
    return n;
}

bool wants_operand(const Solve *x, uint32_t arg, double *cost)
{
    const Wanted *v = wanted_of(x, x->s->args.at[arg].raw);
    if (!v) return false;
    double pays = 0, shared = 0;
    *cost = 0;
    for (uint32_t own = x->wants->next[arg]; own != arg;
         own = x->wants->next[own])
        if (own < arg && same_form(x, arg, own, NULL, 0)) return true;
    for (uint32_t i = 0; i < v->n; i++)
        if (has_form(x, &v->at[i], arg) && others_in(x, &v->at[i], arg))
            return true;
    pays = bring_cost(x, arg);
    for (uint32_t own = x->wants->next[arg]; own != arg && pays > 0;
         own = x->wants->next[own])
        if (own < arg) shared = fmax(shared, share_cost(x, arg, own));
    for (uint32_t i = 0; i < v->n && pays > 0; i++)
        if (!has_form(x, &v->at[i], arg) && others_in(x, &v->at[i], arg))
            shared = fmax(shared, shared_with(x, arg, &v->at[i]));
    *cost = pays - shared;
    return true;
}

bool wants_all(const Solve *x, uint32_t raw, double *cost)
{
    const Raw *r = &x->s->raws.at[raw];
    Wanted *v = wanted_of(x, raw);
    if (!v) return false;
    for (uint32_t i = 0; i < v->n; i++) { /* as they come first */
        (void)first_arg(x, r, &v->at[i]);
        for (uint32_t k = i; k > 0 && v->at[k - 1].low > v->at[k].low; k--) {
            Want w = v->at[k];
            v->at[k] = v->at[k - 1];
            v->at[k - 1] = w;
        }
    }
    *cost = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t arg = first_arg(x, r, &v->at[i]);
        double pays = bring_cost(x, arg), shared = 0;
        for (uint32_t k = 0; k < i && pays > 0; k++)
            shared = fmax(shared, shared_with(x, arg, &v->at[k]));
        *cost += pays - shared;
    }
    return true;
}
