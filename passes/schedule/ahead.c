/*
 * ahead.c: where collectives stand in a list, and what has to do with them.
 *
 * Collectives of a group run one after the other, in the order of the list.
 * What stands behind one that waits has to wait too: a gather of a parameter,
 * which has been there from the begin, behind a sum over devices, or the sum of
 * an early gradient behind that of a late one.  So
 *
 *     sums       stand right behind the last step that they need
 *     gathers    stand as far in front of their first reader as there is work
 *                to cover them, or where they have to; earlier their results
 *                would be held for nothing
 *     small steps that a collective needs stand as early as they can, and
 *                those that need one as late: a counter, the last step of a
 *                loss.  Nobody else is held up by the devices meeting there
 *
 * Those that could stand in one place keep their order.  What the ranks of a
 * pipeline send each other stays where it is: it has one order on all of them,
 * and a receive that came earlier would wait longer.
 */
#include "schedule.h"

enum { SMALL = 1 << 16 }; /* bytes of temporaries */

typedef VEC(uint32_t) Order;

typedef struct Ahead {
    const List *l;
    Arena *a;
    uint32_t *at;         /* steps, in the new order but for gathers */
    bool *gathers, *kept; /* by step: it is one; it has no place yet */
    uint32_t *readers;    /* by gather: those that have no place yet */
    double carry; /* what gathers without these take, less what covers it */
    Order back;   /* steps that have a place, the last one first */
} Ahead;

static bool needs(const Ahead *x, uint32_t late, uint32_t early)
{
    return early < late && row_has(x->l->before, x->l, late, early);
}

/* ----------------------------------------------------------- small steps -- */

static bool is_small(const Ahead *x, uint32_t i)
{
    const Step *s = &x->l->steps[i];
    return !s->talks && !s->point && !s->transfer && s->weight <= SMALL &&
           x->l->fn->insts[s->inst].op == OP_launch;
}

static bool feeds_collective(const Ahead *x, uint32_t i)
{
    for (uint32_t k = i + 1; k < x->l->n; k++)
        if (x->l->steps[k].talks && needs(x, k, i)) return true;
    return false;
}

static bool needs_collective(const Ahead *x, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (x->l->steps[k].talks && needs(x, i, k)) return true;
    return false;
}

static uint32_t place_of(const Ahead *x, uint32_t step)
{
    uint32_t p = 0;
    while (x->at[p] != step)
        p++;
    return p;
}

static void shift(Ahead *x, uint32_t from, uint32_t to)
{
    uint32_t step = x->at[from];
    for (; from > to; from--)
        x->at[from] = x->at[from - 1];
    for (; from < to; from++)
        x->at[from] = x->at[from + 1];
    x->at[to] = step;
}

/* Behind the last one that it needs, and the collectives that stand there. */
static void move_up(Ahead *x, uint32_t step)
{
    uint32_t from = place_of(x, step), to = from;
    while (to > 0 && !needs(x, step, x->at[to - 1]))
        to--;
    while (to < from && x->l->steps[x->at[to]].talks)
        to++;
    shift(x, from, to);
}

static void move_down(Ahead *x, uint32_t step)
{
    uint32_t from = place_of(x, step), to = from;
    while (to + 1 < x->l->n && !needs(x, x->at[to + 1], step))
        to++;
    shift(x, from, to);
}

/* --------------------------------------------------------------- gathers -- */

/* Those that somebody reads: others need not be held back. */
static void find_gathers(Ahead *x)
{
    for (uint32_t i = 0; i < x->l->n; i++) {
        const Step *s = &x->l->steps[i];
        if (!s->talks || s->message || !s->grows) continue;
        for (uint32_t k = i + 1; k < x->l->n; k++)
            x->readers[i] += needs(x, k, i);
        x->gathers[i] = x->kept[i] = x->readers[i] != 0;
    }
}

/* In front of all that is there. */
static void put(Ahead *x, uint32_t step)
{
    const Step *s = &x->l->steps[step];
    vec_push(x->a, &x->back, step);
    x->kept[step] = false;
    if (!s->talks) x->carry = x->carry > s->time ? x->carry - s->time : 0;
    for (uint32_t k = step; k-- > 0;)
        if (x->kept[k] && needs(x, step, k) && --x->readers[k] == 0)
            x->carry += talk_time(&x->l->steps[k]);
}

/* The gather, behind which are its readers: other gathers may be among them. */
static void put_gather(Ahead *x, uint32_t gather)
{
    for (uint32_t k = x->l->n; k-- > gather + 1;)
        if (x->kept[k] && needs(x, k, gather)) put_gather(x, k);
    put(x, gather);
}

/* What is gathered would wait for the sum, which waits for more. */
static bool is_held_up(const Ahead *x, uint32_t gather, uint32_t step)
{
    const Step *s = &x->l->steps[step];
    return x->l->talks > 1 && s->talks && s->group == x->l->steps[gather].group;
}

/* From the end of the list to its begin: gathers that need the next step, and
 * all whose readers are there once they are covered. */
static void place_gathers(Ahead *x)
{
    for (uint32_t p = x->l->n; p-- > 0;) {
        uint32_t step = x->at[p];
        if (x->gathers[step]) continue;
        for (uint32_t k = x->l->n; k-- > 0;)
            if (x->kept[k] &&
                (needs(x, k, step) ||
                 (x->carry <= 0 && !x->readers[k] && !is_held_up(x, k, step))))
                put_gather(x, k);
        put(x, step);
    }
    for (uint32_t k = x->l->n; k-- > 0;)
        if (x->kept[k]) put_gather(x, k);
}

Fn *collectives_ahead(Module *m, const List *l)
{
    Ahead x = {.l = l, .a = m->scratch};
    bool any = false;
    x.at = NEW_ARRAY(x.a, uint32_t, (size_t)l->n + 1);
    x.readers = NEW_ARRAY(x.a, uint32_t, (size_t)l->n + 1);
    x.gathers = NEW_ARRAY(x.a, bool, (size_t)l->n + 1);
    x.kept = NEW_ARRAY(x.a, bool, (size_t)l->n + 1);
    for (uint32_t i = 0; i < l->n; i++) {
        x.at[i] = i;
        any |= l->steps[i].talks && !l->steps[i].message;
    }
    if (!any) return l->fn;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->steps[i].talks ? !l->steps[i].message
                              : is_small(&x, i) && feeds_collective(&x, i))
            move_up(&x, i);
    for (uint32_t i = l->n; i-- > 0;)
        if (is_small(&x, i) && needs_collective(&x, i)) move_down(&x, i);
    find_gathers(&x);
    place_gathers(&x);
    for (uint32_t i = 0; i < l->n; i++)
        x.at[i] = x.back.at[l->n - 1 - i];
    return list_in_order(m, l, x.at);
}
