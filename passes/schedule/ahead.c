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
 * and a receive that came earlier would wait longer.  Such a rank's list has
 * all microbatches, so there
 *
 *     what a step gathers once stands at the begin, in the order of its
 *                readers: in front of the first receive, where the other ranks
 *                are not that far
 *     what it sums once stands behind the last send, for which others wait, and
 *                where no collective of a microbatch waits for it
 *     gathers of a microbatch stand no further ahead than they take themselves,
 *                whatever others take: all that is gathered early lies whole
 */
#include "schedule.h"

enum { SMALL = 1 << 16 }; /* bytes of temporaries */

typedef VEC(uint32_t) Order;

typedef struct Ahead {
    const Module *m;
    const List *l;
    Arena *a;
    uint32_t *at;         /* steps, in the new order but for gathers */
    bool *gathers, *kept; /* by step: it is one; it has no place yet */
    uint32_t *readers;    /* by gather: those that have no place yet */
    double carry;    /* what gathers without these take, less what covers it */
    double work;     /* of the steps that have a place */
    double *from;    /* by gather: the work behind its readers */
    uint32_t *batch; /* by gather: those that are read in front of one loop, */
    double *takes;   /* by batch: what they take */
    uint32_t batches;
    Order back; /* steps that have a place, the last one first */
} Ahead;

static bool needs(const Ahead *x, uint32_t late, uint32_t early)
{
    return early < late && row_has(x->l->before, x->l, late, early);
}

/* ----------------------------------------------------------- small steps -- */

static bool is_loop(const Ahead *x, uint32_t i)
{
    return x->l->fn->insts[x->l->steps[i].inst].op == OP_loop;
}

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
    const List *l = x->l;
    for (uint32_t k = 0; (k = row_next(l->before, l, i, k)) < i; k++)
        if (l->steps[k].talks) return true;
    return false;
}

/* A step does it once, behind its microbatches. */
static bool is_once(const Ahead *x, uint32_t i)
{
    return x->l->fn->insts[x->l->steps[i].inst].phase == PHASE_update;
}

/* Of that, what a sum needs and no collective gives: how a gradient lies that
 * is reduced. */
static bool feeds_sum(const Ahead *x, uint32_t i)
{
    const Step *s = &x->l->steps[i];
    return x->l->fn->insts[s->inst].op == OP_launch && is_once(x, i) &&
           !s->talks && !s->point && !s->transfer && feeds_collective(x, i) &&
           !needs_collective(x, i);
}

/* A collective waits for it, and it for none that comes once itself. */
static bool is_early(const Ahead *x, uint32_t i)
{
    if (x->l->sends && is_once(x, i)) return feeds_sum(x, i);
    return is_small(x, i) && feeds_collective(x, i);
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

/* Somebody waits for it while the microbatches run, and it would have to wait
 * for what is done once. */
static bool is_held_up_by(const Ahead *x, uint32_t step, uint32_t once)
{
    const Step *s = &x->l->steps[step];
    uint32_t group = x->l->steps[once].group;
    return (s->within >> group & 1) ||
           (s->talks && !s->message && !is_once(x, step) && s->group == group);
}

/* From one place to another there is work to cover the collective, and those of
 * its group that are there. */
static bool is_covered(const Ahead *x, uint32_t step, uint32_t from,
                       uint32_t to)
{
    double left = -talk_time(&x->l->steps[step]);
    for (uint32_t p = from; p < to; p++) {
        const Step *s = &x->l->steps[x->at[p]];
        if (!s->talks && !s->transfer)
            left += s->time;
        else if (s->talks && s->group == x->l->steps[step].group)
            left -= talk_time(s);
    }
    return left >= 0;
}

/* What is done once goes behind the last send, as other ranks wait for that,
 * and there where it holds up nobody; the first place where it could be. */
static uint32_t place_once(const Ahead *x, uint32_t step, uint32_t first)
{
    uint32_t from = place_of(x, step), send = from, place = first;
    while (send > first && !is_send(x->m, x->l, x->at[send - 1]))
        send--;
    place = send;
    for (uint32_t p = place; p < from && x->l->steps[step].talks; p++) {
        if (!is_held_up_by(x, x->at[p], step)) continue;
        if (is_covered(x, step, place, p)) break;
        place = p + 1;
    }
    return place;
}

/* Behind the last one that it needs, and the collectives that stand there. */
static void move_up(Ahead *x, uint32_t step)
{
    uint32_t from = place_of(x, step), to = from;
    while (to > 0 && !needs(x, step, x->at[to - 1]))
        to--;
    if (x->l->sends && is_once(x, step)) to = place_once(x, step, to);
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

/* All its readers have their places. */
static void make_ready(Ahead *x, uint32_t gather)
{
    double takes = talk_time(&x->l->steps[gather]);
    x->carry += takes;
    x->from[gather] = x->work;
    x->batch[gather] = x->batches;
    x->takes[x->batches] += takes;
}

/* In front of all that is there. */
static void put(Ahead *x, uint32_t step)
{
    const Step *s = &x->l->steps[step];
    vec_push(x->a, &x->back, step);
    x->kept[step] = false;
    if (!s->talks) x->carry = x->carry > s->time ? x->carry - s->time : 0;
    if (!s->talks) x->work += s->time;
    x->batches += is_loop(x, step);
    const List *l = x->l;
    for (uint32_t k = step; (k = row_last(l->before, l, step, k)) > 0;)
        if (x->kept[--k] && --x->readers[k] == 0) make_ready(x, k);
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

/* The gather that is read last of those whose readers have their places, if
 * that is behind READER; else the number of all steps. */
static uint32_t read_behind(const Ahead *x, uint32_t reader)
{
    uint32_t last = x->l->n;
    for (uint32_t k = 0; k < x->l->n; k++) {
        uint32_t at = x->l->steps[k].reader;
        if (!x->kept[k] || x->readers[k] || at <= reader) continue;
        last = k;
        reader = at;
    }
    return last;
}

/* What is read behind READER leaves the links to what is read there. */
static void put_behind(Ahead *x, uint32_t reader)
{
    if (!x->l->sends) return;
    for (uint32_t k; (k = read_behind(x, reader)) < x->l->n;)
        put_gather(x, k);
}

/* Something works, or may have to wait for another rank. */
static bool is_begin(const Ahead *x, uint32_t step)
{
    return x->l->steps[step].message || is_loop(x, step);
}

/* There is enough work behind the place that the gather would have now.  A rank
 * of a pipeline has those of all microbatches in its list, so each batch is
 * covered by itself: where links have more to do than there is work, all would
 * stand at the begin, and lie whole. */
static bool is_there(const Ahead *x, uint32_t k)
{
    double work = x->work - x->from[k];
    if (x->readers[k]) return false;
    return x->l->sends ? work >= x->takes[x->batch[k]] : x->carry <= 0;
}

/* From the end of the list to its begin: gathers that need the next step, and
 * all whose readers are there once they are covered.  Where nothing covers
 * them, at the begin, a rank of a pipeline has them in the order of their
 * readers.
 */
static void place_gathers(Ahead *x)
{
    uint32_t begin = 0;
    while (begin < x->l->n && !is_begin(x, x->at[begin]))
        begin++;
    for (uint32_t p = x->l->n; p-- > 0;) {
        uint32_t step = x->at[p];
        const Step *s = &x->l->steps[step];
        if (x->gathers[step]) continue;
        if (p < begin && s->talks && !s->message) put_behind(x, s->reader);
        for (uint32_t k = x->l->n; k-- > 0;) {
            bool needed = x->kept[k] && needs(x, k, step);
            if (needed && p < begin) put_behind(x, x->l->steps[k].reader);
            if (x->kept[k] &&
                (needed || (is_there(x, k) && !is_held_up(x, k, step))))
                put_gather(x, k);
        }
        put(x, step);
    }
    for (uint32_t k = x->l->n; k-- > 0;)
        if (x->kept[k]) put_gather(x, k);
}

Fn *collectives_ahead(Module *m, const List *l)
{
    Ahead x = {.m = m, .l = l, .a = m->scratch};
    bool any = false;
    x.at = NEW_ARRAY(x.a, uint32_t, (size_t)l->n + 1);
    x.readers = NEW_ARRAY(x.a, uint32_t, (size_t)l->n + 1);
    x.gathers = NEW_ARRAY(x.a, bool, (size_t)l->n + 1);
    x.kept = NEW_ARRAY(x.a, bool, (size_t)l->n + 1);
    x.from = NEW_ARRAY(x.a, double, (size_t)l->n + 1);
    x.takes = NEW_ARRAY(x.a, double, (size_t)l->n + 1);
    x.batch = NEW_ARRAY(x.a, uint32_t, (size_t)l->n + 1);
    for (uint32_t i = 0; i < l->n; i++) {
        x.at[i] = i;
        any |= l->steps[i].talks && !l->steps[i].message;
    }
    if (!any) return l->fn;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->steps[i].talks ? !l->steps[i].message : is_early(&x, i))
            move_up(&x, i);
    for (uint32_t i = l->n; i-- > 0;)
        if (is_small(&x, i) && needs_collective(&x, i)) move_down(&x, i);
    find_gathers(&x);
    place_gathers(&x);
    for (uint32_t i = 0; i < l->n; i++)
        x.at[i] = x.back.at[l->n - 1 - i];
    return list_in_order(m, l, x.at);
}
