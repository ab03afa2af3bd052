/*
 * window.c: what stands beside each other takes other ways, all at once.
 *
 * One op alone often loses by another way: who makes what it reads, and who
 * reads what it makes, would have to go with it, over two mesh axes perhaps.
 * So around each value that is paid for a window is opened: some ops and ports
 * that make it and read it, and what these make and read.  They choose anew
 * over two mesh axes together (search.c), and all else stays as it is.  The
 * heaviest values come first, and what has changed nowhere is passed over.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

#define HEAVIER 64.0

enum {
    MOST_VALUES = 96, /* around which windows are opened */
    MOST_OF_TWO = 10, /* parts that choose over two mesh axes */
    BROUGHT = 1 << 14 /* that are remembered */
};

/* ---------------------------------------------------------------- forms -- */

static uint32_t form_of(Window *w, const Where *at)
{
    Form f = {.pending = 0};
    for (uint32_t i = 0; i < w->nmesh; i++) {
        f.at[i] = at[i];
        f.pending |= (where_is_pending(at[i]) ? at[i] : 0u) << 2 * i;
        f.parts |= (unsigned)(at[i] != WHERE_none) << i;
    }
    for (uint32_t i = 0; i < w->forms.n; i++)
        if (memcmp(w->forms.at[i].at, f.at, sizeof f.at) == 0) return i;
    vec_push(w->x->s->a, &w->forms, f);
    return w->forms.n - 1;
}

static uint32_t form_made(Window *w, uint32_t node)
{
    Where at[MOST_MESH];
    for (uint32_t i = 0; i < w->nmesh; i++)
        at[i] = *where_at(w->x->s, w->mesh[i], node);
    return form_of(w, at);
}

static uint32_t form_needed(Window *w, uint32_t arg)
{
    Where at[MOST_MESH];
    for (uint32_t i = 0; i < w->nmesh; i++)
        at[i] = *need_at(w->x->s, w->mesh[i], arg);
    return form_of(w, at);
}

static void put_made(Window *w, const Part *p, uint32_t form)
{
    for (uint32_t i = 0; i < w->nmesh; i++) {
        Where at = w->forms.at[form].at[i];
        if (is_port(w->x, p->item))
            place_port(w->x, p->node, w->mesh[i], at);
        else
            *where_at(w->x->s, w->mesh[i], p->node) = at;
    }
}

static void put_needed(Window *w, uint32_t arg, uint32_t form)
{
    for (uint32_t i = 0; i < w->nmesh; i++)
        need_put(w->x, w->mesh[i], arg, w->forms.at[form].at[i]);
}

/* The operand made and needed in these forms, at places of their own. */
static Move move_in(Window *w, uint32_t arg, uint32_t from, uint32_t to,
                    Where *needed)
{
    const Shard *s = w->x->s;
    Move m = move_of(w->x, arg);
    memcpy(w->from, m.from, s->m->mesh.n * sizeof *w->from);
    memcpy(needed, m.to, s->m->mesh.n * sizeof *needed);
    for (uint32_t i = 0; i < w->nmesh; i++) {
        w->from[w->mesh[i].id] = w->forms.at[from].at[i];
        needed[w->mesh[i].id] = w->forms.at[to].at[i];
    }
    m.from = w->from;
    m.to = needed;
    return m;
}

static double times_of(const Window *w, uint32_t arg)
{
    const Shard *s = w->x->s;
    return s->items.at[s->args.at[arg].item].times;
}

static uint32_t slot_of(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t h = a * 2654435761u ^ b * 40503u ^ c * 2246822519u;
    return (h ^ h >> 15) % BROUGHT;
}

double form_cost(Window *w, uint32_t arg, uint32_t from, uint32_t to)
{
    Brought *b = &w->brought[slot_of(arg, from, to)];
    if (b->arg != arg || b->from != from || b->to != to || b->turn != w->turn) {
        *b = (Brought){arg, from, to, w->turn, 0};
        Move m = move_in(w, arg, from, to, w->to);
        b->cost = times_of(w, arg) * move_cost(&m);
    }
    return b->cost;
}

double form_share(Window *w, const uint32_t arg[2], uint32_t from,
                  const uint32_t to[2])
{
    Pair key = {{arg[0], arg[1]}, {to[0], to[1]}, from, w->turn, 0};
    Pair *p =
        &w->pairs[slot_of(arg[0] * 31 + to[0], from, arg[1] * 31 + to[1])];
    if (memcmp(p, &key, offsetof(Pair, cost))) {
        *p = key;
        Move x = move_in(w, arg[0], from, to[0], w->to);
        Move y = move_in(w, arg[1], from, to[1], w->other);
        uint32_t steps;
        p->cost = times_of(w, arg[0]) * moves_share(&x, &y, &steps);
    }
    return p->cost;
}

/* -------------------------------------------------------------- choices -- */

static uint32_t args_of(const Window *w, const Part *p)
{
    return is_port(w->x, p->item) ? 0 : w->x->s->items.at[p->item].n;
}

/* As it is in the tables. */
static Choice choice_now(Window *w, const Part *p)
{
    Solve *x = w->x;
    const Item *it = &x->s->items.at[p->item];
    uint32_t n = args_of(w, p);
    uint32_t *form = NEW_ARRAY(x->s->a, uint32_t, (size_t)n + 1);
    Choice c = {.form = form, .kept = kept_cost(x, p->node)};
    c.sent = sent_cost(x, p->node);
    form[0] = form_made(w, p->node);
    for (uint32_t k = 0; k < n; k++)
        form[k + 1] = form_needed(w, it->first + k);
    if (is_port(x, p->item)) return c;
    c.missed = all_misses(x, p->item);
    c.work = work_cost(x, p->item, w->mesh, w->nmesh);
    for (uint32_t i = 0; i < w->nmesh; i++) {
        c.split |= (unsigned)is_in_parts(x, it, w->mesh[i]) << i;
        c.ruled |= (unsigned)is_as_ruled(x, it, w->mesh[i]) << i;
    }
    return c;
}

static void choice_put(Window *w, const Part *p, const Choice *c)
{
    put_made(w, p, c->form[0]);
    for (uint32_t k = 0; k < args_of(w, p); k++)
        put_needed(w, w->x->s->items.at[p->item].first + k, c->form[k + 1]);
}

static void take(Window *w, const Part *p, MeshAxis m, const Way *way)
{
    if (is_port(w->x, p->item))
        place_port(w->x, p->node, m, way->out);
    else
        take_way(w->x, p->item, m, way);
}

/* What is kept takes no more room than now: what lies split to save room is
 * gathered where it is used, unless the plan says that it is kept so. */
static void add_choice(Window *w, const Part *p, Choices *out)
{
    Choice c = choice_now(w, p);
    for (uint32_t k = 0; k <= args_of(w, p); k++)
        c.other |= c.form[k] != p->now.form[k];
    if (c.kept <= p->now.kept) vec_push(w->x->s->a, &out->at, c);
}

/* All ways over the mesh axes from I on, over which it is nowhere yet. */
static void find_choices(Window *w, const Part *p, uint32_t i, Choices *out)
{
    Solve *x = w->x;
    if (i == w->nmesh) {
        add_choice(w, p, out);
        return;
    }
    MeshAxis m = w->mesh[i];
    if (is_port(x, p->item) && is_fixed(x, p->node, m)) {
        find_choices(w, p, i + 1, out);
        return;
    }
    Ways ways = item_ways(x, p->item, m);
    Way nowhere = ways.at.at[0];
    for (uint32_t k = 0; k < ways.at.n; k++) {
        take(w, p, m, &ways.at.at[k]);
        find_choices(w, p, i + 1, out);
    }
    take(w, p, m, &nowhere);
}

static void take_nowhere(Window *w, const Part *p)
{
    static const Where none[MOST_MESH];
    uint32_t form = form_of(w, none);
    put_made(w, p, form);
    for (uint32_t k = 0; k < args_of(w, p); k++)
        put_needed(w, w->x->s->items.at[p->item].first + k, form);
    for (uint32_t i = 0; i < w->nmesh && is_port(w->x, p->item); i++)
        if (is_fixed(w->x, p->node, w->mesh[i]))
            place_port(w->x, p->node, w->mesh[i],
                       *pin_at(w->x->s, w->mesh[i], p->node));
}

/* What the part reads is made as FORMED says, or as it was. */
static void put_operands(Window *w, const Part *p, bool formed)
{
    for (uint32_t k = 0; k < p->nread; k++) {
        const Seen *v = &w->values.at[p->reads[k]];
        if (v->maker != NO_PART)
            put_made(w, &w->parts[v->maker], formed ? p->formed[k] : v->form);
    }
}

const Choices *choices_of(Window *w, Part *p)
{
    uint64_t pending = 0;
    for (uint32_t k = 0; k < p->nread; k++)
        pending = pending * 257 + w->forms.at[p->formed[k]].pending;
    for (uint32_t i = 0; i < p->choices.n; i++)
        if (p->choices.at[i].pending == pending) return &p->choices.at[i];
    Choices c = {.pending = pending};
    put_operands(w, p, true);
    take_nowhere(w, p);
    find_choices(w, p, 0, &c);
    put_operands(w, p, false);
    choice_put(w, p, &p->now);
    vec_push(w->x->s->a, &p->choices, c);
    return &p->choices.at[p->choices.n - 1];
}

/* -------------------------------------------------------------- windows -- */

/* What windows are opened in. */
typedef struct Wall {
    Window w;
    uint32_t *part;  /* by item: its part plus 1 */
    uint32_t *value; /* by raw: its value plus 1 */
    uint32_t *tried; /* by raw: the changes that there were then */
} Wall;

static void meet(Wall *a, uint32_t raw)
{
    Window *w = &a->w;
    const Raw *r = &w->x->s->raws.at[raw];
    if (a->value[raw] || r->node == NO_RAW) return;
    Seen v = {.raw = raw, .maker = NO_PART};
    vec_push(w->x->s->a, &w->values, v);
    a->value[raw] = w->values.n;
}

/* An item, or the port that it is handed over to; a port is one part. */
static void add_part(Wall *a, uint32_t item)
{
    Window *w = &a->w;
    Solve *x = w->x;
    uint32_t node = x->s->items.at[item].out;
    if (is_port(x, item)) {
        bool fixed = true;
        for (uint32_t i = 0; i < w->nmesh; i++)
            fixed &= is_fixed(x, node, w->mesh[i]);
        if (fixed) return;
        item = x->into[x->first[node]];
    }
    if (a->part[item] || w->n == w->most) return;
    a->part[item] = 1;
    w->parts[w->n++] = (Part){.item = item, .node = node};
}

/* Who makes and reads a value. */
static void add_around(Wall *a, uint32_t raw)
{
    Solve *x = a->w.x;
    const Raw *r = &x->s->raws.at[raw];
    if (x->maker[raw] != NO_RAW)
        add_part(a, x->maker[raw]);
    else if (x->first[r->node] < x->first[r->node + 1])
        add_part(a, x->into[x->first[r->node]]);
    for (uint32_t k = 0; k < r->n; k++)
        add_part(a, x->s->args.at[x->s->uses[r->first + k]].item);
}

/* The operands of an item, or all that is handed over to a port. */
static uint32_t count_args(const Window *w, const Part *p)
{
    const Solve *x = w->x;
    return is_port(x, p->item) ? x->first[p->node + 1] - x->first[p->node]
                               : x->s->items.at[p->item].n;
}

static uint32_t arg_of(const Window *w, const Part *p, uint32_t k)
{
    const Solve *x = w->x;
    return is_port(x, p->item)
               ? x->s->items.at[x->into[x->first[p->node] + k]].first
               : x->s->items.at[p->item].first + k;
}

static void meet_around(Wall *a, const Part *p)
{
    const Solve *x = a->w.x;
    for (uint32_t i = x->seen_first[p->node]; i < x->seen_first[p->node + 1];
         i++)
        meet(a, x->seen[i]);
    for (uint32_t k = 0; k < count_args(&a->w, p); k++)
        meet(a, x->s->args.at[arg_of(&a->w, p, k)].raw);
}

static int by_item(const void *a, const void *b)
{
    const Part *x = a, *y = b;
    return x->item < y->item ? -1 : x->item > y->item;
}

static double weight(const Window *w, uint32_t raw)
{
    const Raw *r = &w->x->s->raws.at[raw];
    return r->bytes * w->x->s->nodes.at[r->node].times;
}

/* Around a value, the nearest first; what is that much smaller leads nowhere.
 */
static void choose_parts(Wall *a, uint32_t raw)
{
    Window *w = &a->w;
    double least = weight(w, raw) / HEAVIER;
    w->n = 0;
    meet(a, raw);
    for (uint32_t v = 0, p = 0; v < w->values.n && w->n < w->most; v++) {
        if (weight(w, w->values.at[v].raw) >= least)
            add_around(a, w->values.at[v].raw);
        while (v + 1 == w->values.n && p < w->n)
            meet_around(a, &w->parts[p++]);
    }
    for (uint32_t p = 0; p < w->n; p++)
        meet_around(a, &w->parts[p]);
    if (w->n > 1) qsort(w->parts, w->n, sizeof(Part), by_item);
    for (uint32_t p = 0; p < w->n; p++)
        for (uint32_t k = 0; k < count_args(w, &w->parts[p]); k++) {
            uint32_t arg = arg_of(w, &w->parts[p], k);
            a->part[w->x->s->args.at[arg].item] = p + 1;
        }
    for (uint32_t p = 0; p < w->n; p++)
        a->part[w->parts[p].item] = p + 1;
}

/* ------------------------------------------------------------- problems -- */

/* Those that stay, of one kind and form, are one. */
static void add_reader(Window *w, Seen *v, Reader r)
{
    for (uint32_t i = v->first; i < w->readers.n; i++) {
        const Reader *o = &w->readers.at[i];
        bool same = same_form(w->x, o->arg, r.arg, w->mesh, w->nmesh);
        if (same) r.kind = o->kind;
        if (same && r.part == NO_PART && o->part == NO_PART &&
            o->form == r.form)
            return;
    }
    vec_push(w->x->s->a, &w->readers, r);
    v->n++;
}

static void list_readers(Wall *a, Seen *v)
{
    Window *w = &a->w;
    const Shard *s = w->x->s;
    const Raw *r = &s->raws.at[v->raw];
    v->first = w->readers.n;
    v->form = form_made(w, r->node);
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t arg = s->uses[r->first + i], item = s->args.at[arg].item;
        Reader x = {arg, a->part[item] - 1, 0, w->readers.n,
                    s->items.at[item].phase};
        if (x.part == NO_PART)
            x.form = form_needed(w, arg);
        else if (!is_port(w->x, item))
            x.form = arg - s->items.at[item].first + 1;
        add_reader(w, v, x);
    }
}

static uint32_t reader_of(const Window *w, const Seen *v, uint32_t arg)
{
    uint32_t k = 0;
    while (w->readers.at[v->first + k].arg != arg)
        k++;
    return k;
}

static void list_operands(Wall *a, uint32_t part)
{
    Window *w = &a->w;
    Part *p = &w->parts[part];
    Arena *m = w->x->s->a;
    p->nread = count_args(w, p);
    p->reads = NEW_ARRAY(m, uint32_t, (size_t)p->nread + 1);
    p->reader = NEW_ARRAY(m, uint32_t, (size_t)p->nread + 1);
    p->formed = NEW_ARRAY(m, uint32_t, (size_t)p->nread + 1);
    for (uint32_t k = 0; k < p->nread; k++) {
        uint32_t arg = arg_of(w, p, k);
        uint32_t value = a->value[w->x->s->args.at[arg].raw] - 1;
        Seen *v = &w->values.at[value];
        p->reads[k] = value;
        p->reader[k] = reader_of(w, v, arg);
        if (v->last < part) v->last = part;
    }
}

static void list_made(Wall *a, uint32_t part)
{
    Window *w = &a->w;
    const Solve *x = w->x;
    Part *p = &w->parts[part];
    uint32_t first = x->seen_first[p->node];
    p->nmade = x->seen_first[p->node + 1] - first;
    p->made = NEW_ARRAY(x->s->a, uint32_t, (size_t)p->nmade + 1);
    for (uint32_t k = 0; k < p->nmade; k++) {
        p->made[k] = a->value[x->seen[first + k]] - 1;
        Seen *v = &w->values.at[p->made[k]];
        v->maker = part;
        if (v->last < part) v->last = part;
    }
}

static void set_up(Wall *a)
{
    Window *w = &a->w;
    w->turn++;
    for (uint32_t i = 0; i < w->values.n; i++)
        list_readers(a, &w->values.at[i]);
    for (uint32_t i = 0; i < w->n; i++) {
        list_operands(a, i);
        list_made(a, i);
        w->parts[i].now = choice_now(w, &w->parts[i]);
    }
}

static void forget(Wall *a)
{
    Window *w = &a->w;
    for (uint32_t p = 0; p < w->n; p++) {
        a->part[w->parts[p].item] = 0;
        for (uint32_t k = 0; k < count_args(w, &w->parts[p]); k++) {
            uint32_t arg = arg_of(w, &w->parts[p], k);
            a->part[w->x->s->args.at[arg].item] = 0;
        }
    }
    for (uint32_t i = 0; i < w->values.n; i++)
        a->value[w->values.at[i].raw] = 0;
}

/* Something has changed since it was tried. */
static bool is_stirred(const Window *w, uint32_t since)
{
    bool is = false;
    for (uint32_t i = 0; i < w->n; i++)
        is |= stirred_at(w->x, w->parts[i].item) > since;
    return is;
}

/* SEARCHED: where something has changed since the last time. */
static bool try_window(Wall *a, uint32_t raw, bool *searched)
{
    Window *w = &a->w;
    ArenaMark mark = arena_mark(w->x->s->a);
    const Choice *best[MOST_PARTS];
    choose_parts(a, raw);
    bool better = *searched = is_stirred(w, a->tried[raw]);
    if (better) {
        set_up(a);
        better = window_search(w, best);
    }
    a->tried[raw] = w->x->changes;
    for (uint32_t i = 0; i < w->n && better; i++) {
        choice_put(w, &w->parts[i], best[i]);
        stir(w->x, w->parts[i].item);
    }
    forget(a);
    arena_pop(w->x->s->a, mark);
    memset(&w->forms, 0, sizeof w->forms);
    memset(&w->values, 0, sizeof w->values);
    memset(&w->readers, 0, sizeof w->readers);
    return better;
}

typedef struct Paid {
    double cost;
    uint32_t raw;
} Paid;

static int by_paid(const void *a, const void *b)
{
    const Paid *x = a, *y = b;
    if (x->cost != y->cost) return x->cost > y->cost ? -1 : 1;
    return x->raw < y->raw ? -1 : x->raw > y->raw;
}

/* What the most is moved of. */
static uint32_t values_paid(const Solve *x, Paid **out)
{
    const Shard *s = x->s;
    Paid *p = *out = NEW_ARRAY(s->a, Paid, (size_t)s->raws.n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->raws.n; i++) {
        if (s->raws.at[i].node == NO_RAW) continue;
        double cost = raw_cost(x, i);
        if (cost > 0) p[n++] = (Paid){cost, i};
    }
    if (n) qsort(p, n, sizeof *p, by_paid);
    return n;
}

static Wall wall_new(Solve *x)
{
    const Shard *s = x->s;
    Wall a = {.w = {.x = x}};
    a.part = NEW_ARRAY(s->a, uint32_t, (size_t)s->items.n + 1);
    a.value = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    a.w.brought = NEW_ARRAY(s->a, Brought, BROUGHT);
    a.w.pairs = NEW_ARRAY(s->a, Pair, BROUGHT);
    a.w.from = NEW_ARRAY(s->a, Where, (size_t)s->m->mesh.n + 1);
    a.w.to = NEW_ARRAY(s->a, Where, (size_t)s->m->mesh.n + 1);
    a.w.other = NEW_ARRAY(s->a, Where, (size_t)s->m->mesh.n + 1);
    return a;
}

/* Over two mesh axes, or one that is named twice. */
static bool improve_over(Wall *a, uint32_t i, uint32_t k)
{
    Window *w = &a->w;
    const Shard *s = w->x->s;
    Paid *paid;
    uint32_t n = values_paid(w->x, &paid);
    bool better = false;
    w->mesh[0] = s->order.at[i];
    w->mesh[1] = s->order.at[k];
    w->nmesh = i == k ? 1 : 2;
    w->most = i == k ? MOST_PARTS : MOST_OF_TWO;
    a->tried = &w->x->tried[(size_t)(i * s->order.n + k) * s->raws.n];
    for (uint32_t v = 0, tries = 0; v < n && tries < MOST_VALUES; v++) {
        bool searched;
        better |= try_window(a, paid[v].raw, &searched);
        tries += searched;
    }
    return better;
}

bool windows_improve(Solve *x)
{
    Wall a = wall_new(x);
    bool better = false;
    for (uint32_t i = 0; i < x->s->order.n; i++)
        better |= improve_over(&a, i, i);
    for (uint32_t i = 0; i < x->s->order.n; i++)
        for (uint32_t k = i + 1; k < x->s->order.n; k++)
            better |= improve_over(&a, i, k);
    return better;
}
