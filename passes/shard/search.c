/*
 * search.c: what all parts of a window do, so that it costs least.
 *
 * All ways of all of them together are looked through, one part after the
 * other in their order:
 *
 *      state     ways of the first parts, and what these cost
 *      front     of a state, what the others will see of it: the forms in which
 *                values are made that they read, and in which others read these
 *
 * Of states with one front only the cheapest goes on, and none that costs more
 * already than the window does now; so a chain takes no longer than its links
 * one by one.  As long as no more than MOST_STATES go on what is found is the
 * best of all.  Else those go on that would cost least if the parts behind
 * them did what they do now.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

enum { MOST_STATES = 128, SLOTS = 8192 };
/* Of the window, what a form costs that is not looked at, and what a part has
 * to win that chooses another way. */
#define LITTLE 1e-3
#define STAY   1e-6

typedef struct State {
    Cost cost;
    double guess; /* with the parts behind it */
    uint64_t front;
    const Choice *at[MOST_PARTS];
} State;

typedef struct Search {
    Window *w;
    double now, little, stay;
    double least[MOST_PARTS]; /* the work of the parts behind each */
    uint32_t part;            /* that is looked at */
    VEC(State) states, next;
    uint32_t *slots; /* places in next, plus 1, by front */
} Search;

/* ---------------------------------------------------------------- costs -- */

/* N: so many parts have chosen. */
static uint32_t made_in(const State *s, const Seen *v, uint32_t n)
{
    return v->maker < n ? s->at[v->maker]->form[0] : v->form;
}

static bool is_read(const Reader *r, uint32_t n)
{
    return r->part == NO_PART || r->part < n;
}

static uint32_t form_in(const State *s, const Reader *r)
{
    return r->part == NO_PART ? r->form : s->at[r->part]->form[r->form];
}

/* What reader K pays for a value beside others: nothing where one of them has
 * the form too, and else no first steps that one takes. */
typedef struct Beside {
    const Seen *v;
    const Reader *reader;
    uint32_t from, form;
    double pays, shared;
} Beside;

static Beside beside_none(const Search *x, const State *s, const Seen *v,
                          uint32_t k)
{
    const Reader *r = &x->w->readers.at[v->first + k];
    Beside b = {v, r, made_in(s, v, x->part + 1), form_in(s, r), 0, 0};
    b.pays = form_cost(x->w, r->arg, b.from, b.form);
    return b;
}

static void look_beside(const Search *x, const State *s, Beside *b, uint32_t k)
{
    const Reader *o = &x->w->readers.at[b->v->first + k];
    uint32_t to[2] = {b->form, form_in(s, o)};
    if (o->kind == b->reader->kind && to[0] == to[1]) {
        b->pays = b->shared = 0;
    } else if (o->phase == b->reader->phase && to[1] != b->from) {
        uint32_t arg[2] = {b->reader->arg, o->arg};
        b->shared = fmax(b->shared, form_share(x->w, arg, b->from, to));
    }
}

/* Those who stay, and those of parts in front, have their forms already. */
static double read_cost(const Search *x, const State *s, const Seen *v,
                        uint32_t k)
{
    const Reader *all = &x->w->readers.at[v->first], *r = &all[k];
    Beside b = beside_none(x, s, v, k);
    for (uint32_t i = 0; i < v->n && b.pays > 0; i++) {
        bool before =
            all[i].part == r->part ? i < k : is_read(&all[i], r->part);
        if (before) look_beside(x, s, &b, i);
    }
    return b.pays - b.shared;
}

/* All readers that have chosen, of a value that has been made only now. */
static double made_cost(const Search *x, const State *s, const Seen *v)
{
    const Reader *all = &x->w->readers.at[v->first];
    double sum = 0;
    for (uint32_t k = 0; k < v->n; k++) {
        if (!is_read(&all[k], x->part + 1)) continue;
        Beside b = beside_none(x, s, v, k);
        for (uint32_t i = 0; i < k && b.pays > 0; i++)
            if (is_read(&all[i], x->part + 1)) look_beside(x, s, &b, i);
        sum += b.pays - b.shared;
    }
    return sum;
}

static double work_of(const Search *x, const State *s, const Part *p)
{
    const Choice *c = s->at[x->part];
    const Window *w = x->w;
    unsigned parts = c->ruled;
    for (uint32_t k = 0; k < p->nread; k++) {
        const Seen *v = &w->values.at[p->reads[k]];
        parts |= w->forms.at[made_in(s, v, x->part)].parts;
    }
    double work = c->work;
    for (uint32_t i = 0; i < w->nmesh; i++)
        if (c->split & parts & 1u << i)
            work /= (double)mesh_length(w->x->s, w->mesh[i]);
    return work;
}

/* What the part at hand adds. */
static Cost cost_of(const Search *x, const State *s)
{
    const Part *p = &x->w->parts[x->part];
    const Choice *c = s->at[x->part];
    double moved = c->sent;
    for (uint32_t k = 0; k < p->nread; k++) {
        const Seen *v = &x->w->values.at[p->reads[k]];
        if (v->maker == NO_PART || v->maker < x->part)
            moved += read_cost(x, s, v, p->reader[k]);
    }
    for (uint32_t k = 0; k < p->nmade; k++)
        moved += made_cost(x, s, &x->w->values.at[p->made[k]]);
    double all = moved + c->kept + c->missed + work_of(x, s, p);
    return (Cost){c->other ? all + x->stay : all, moved};
}

/* ---------------------------------------------------------------- fronts -- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ (v + 1)) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

/* A form that costs little says nothing to those who might share it. */
static uint64_t front_of(const Search *x, const State *s)
{
    Window *w = x->w;
    uint64_t h = 0;
    for (uint32_t i = 0; i < w->values.n; i++) {
        const Seen *v = &w->values.at[i];
        if (v->last <= x->part) continue;
        bool made = v->maker == NO_PART || v->maker <= x->part;
        uint32_t from = made_in(s, v, x->part + 1);
        h = mix(h, made ? from : NO_PART);
        for (uint32_t k = 0; k < v->n; k++) {
            const Reader *r = &w->readers.at[v->first + k];
            if (r->part == NO_PART || r->part > x->part) continue;
            uint32_t form = form_in(s, r);
            if (!made || form_cost(w, r->arg, from, form) > x->little)
                h = mix(mix(h, k), form);
        }
    }
    return h;
}

/* With all parts behind as they are now, who reads what has been made. */
static double guess_of(const Search *x, const State *s)
{
    double sum = s->cost.all;
    Window *w = x->w;
    for (uint32_t i = 0; i < w->values.n; i++) {
        const Seen *v = &w->values.at[i];
        if (v->last <= x->part || v->maker > x->part) continue;
        for (uint32_t k = 0; k < v->n; k++) {
            const Reader *r = &w->readers.at[v->first + k];
            if (r->part == NO_PART || r->part <= x->part) continue;
            sum += form_cost(w, r->arg, made_in(s, v, x->part + 1),
                             w->parts[r->part].now.form[r->form]);
        }
    }
    return sum;
}

/* ---------------------------------------------------------------- states -- */

static int by_guess(const void *a, const void *b)
{
    const State *x = a, *y = b;
    if (x->guess != y->guess) return x->guess < y->guess ? -1 : 1;
    return x->front < y->front ? -1 : x->front > y->front;
}

/* The cheapest of those with its front. */
static void add_state(Search *x, const State *s)
{
    uint32_t at = (uint32_t)s->front % SLOTS;
    while (x->slots[at] && x->next.at[x->slots[at] - 1].front != s->front)
        at = (at + 1) % SLOTS;
    if (!x->slots[at] && x->next.n < SLOTS / 2) {
        vec_push(x->w->x->s->a, &x->next, *s);
        x->slots[at] = x->next.n;
    } else if (x->slots[at] &&
               s->cost.all < x->next.at[x->slots[at] - 1].cost.all) {
        x->next.at[x->slots[at] - 1] = *s;
    }
}

/* All that the part at hand may add to a state. */
static void follow(Search *x, const State *from)
{
    Window *w = x->w;
    Part *p = &w->parts[x->part];
    for (uint32_t k = 0; k < p->nread; k++)
        p->formed[k] = made_in(from, &w->values.at[p->reads[k]], x->part);
    const Choices *c = choices_of(w, p);
    for (uint32_t k = 0; k < c->at.n; k++) {
        State s = *from;
        s.at[x->part] = &c->at.at[k];
        Cost add = cost_of(x, &s);
        s.cost.all += add.all;
        s.cost.moved += add.moved;
        if (!(s.cost.all + x->least[x->part] < x->now)) continue;
        s.front = front_of(x, &s);
        add_state(x, &s);
    }
}

static void step(Search *x)
{
    memset(x->slots, 0, SLOTS * sizeof *x->slots);
    x->next.n = 0;
    for (uint32_t k = 0; k < x->states.n; k++)
        follow(x, &x->states.at[k]);
    if (x->next.n > MOST_STATES) {
        for (uint32_t k = 0; k < x->next.n; k++)
            x->next.at[k].guess = guess_of(x, &x->next.at[k]);
        qsort(x->next.at, x->next.n, sizeof(State), by_guess);
        x->next.n = MOST_STATES;
    }
    x->states.n = 0;
    for (uint32_t k = 0; k < x->next.n; k++)
        vec_push(x->w->x->s->a, &x->states, x->next.at[k]);
}

static Cost cost_now(Search *x)
{
    State s = {.front = 0};
    for (x->part = 0; x->part < x->w->n; x->part++) {
        s.at[x->part] = &x->w->parts[x->part].now;
        Cost add = cost_of(x, &s);
        s.cost.all += add.all;
        s.cost.moved += add.moved;
    }
    return s.cost;
}

static void bound(Search *x)
{
    const Window *w = x->w;
    double sum = 0, n = 1;
    for (uint32_t i = 0; i < w->nmesh; i++)
        n *= (double)mesh_length(w->x->s, w->mesh[i]);
    for (uint32_t i = w->n; i-- > 0;) {
        x->least[i] = sum;
        sum += w->parts[i].now.work / n;
    }
}

bool window_search(Window *w, const Choice **best)
{
    Search x = {.w = w};
    x.slots = NEW_ARRAY(w->x->s->a, uint32_t, SLOTS);
    bound(&x);
    Cost now = cost_now(&x);
    x.now = now.all * (1 - 1e-9);
    x.little = now.all * LITTLE;
    x.stay = now.all * STAY;
    vec_push(w->x->s->a, &x.states, ((State){.front = 0}));
    for (x.part = 0; x.part < w->n && x.states.n; x.part++)
        step(&x);
    for (uint32_t k = 0; k < x.states.n; k++) {
        const State *s = &x.states.at[k];
        if (!(s->cost.moved < now.moved) || !(s->cost.all < x.now)) continue;
        memcpy(best, s->at, w->n * sizeof *best);
        return true;
    }
    return false;
}
