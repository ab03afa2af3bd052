/*
 * choose.c: which steps leave stream 0, and on which stream they run.
 *
 * A step gains by running beside others what it leaves idle of the machine,
 * less the events that it takes.  It leaves stream 0 only if it gates nothing:
 * the longest chain through it is shorter than the longest of all by half the
 * step's own time, and until its first reader there is as much other work.
 *
 * Collectives have the last streams for themselves, those of a group of devices
 * one, on which they stay in the order of the list: every device has the same.
 * Messages of a pipeline have one where there are no other collectives, and
 * else stay on stream 0.
 *
 * Then the list is played through: each step begins when its stream and the
 * steps before it are done.  What is done on another stream when a step of
 * stream 0 begins is taken in there and then, since waiting for it costs
 * nothing any more and lets go of its buffers.
 */
#include "schedule.h"

/* ---------------------------------------------------------------- gains -- */

/* Two steps that both fill the machine take as long beside each other as one
 * behind the other, and get into each other's way. */
static const double most_busy = 0.8;

typedef struct Chains {
    double *above, *below; /* the longest chain before a step; from it on */
    double *sum;           /* of the times of the steps in front */
    uint32_t *reader;      /* the first step that needs it; n: none */
    double longest;
} Chains;

static Chains find_chains(const List *l, Arena *a)
{
    size_t n = (size_t)l->n + 1;
    Chains c = {NEW_ARRAY(a, double, n), NEW_ARRAY(a, double, n),
                NEW_ARRAY(a, double, n), NEW_ARRAY(a, uint32_t, n), 0};
    for (uint32_t i = 0; i < l->n; i++) {
        c.sum[i + 1] = c.sum[i] + l->steps[i].time;
        c.reader[i] = l->n;
        for (uint32_t k = 0; (k = row_next(l->before, l, i, k)) < i; k++) {
            double end = c.above[k] + l->steps[k].time;
            if (c.above[i] < end) c.above[i] = end;
            if (c.reader[k] == l->n) c.reader[k] = i;
        }
    }
    for (uint32_t i = l->n; i-- > 0;) {
        c.below[i] += l->steps[i].time;
        if (c.longest < c.above[i] + c.below[i])
            c.longest = c.above[i] + c.below[i];
        for (uint32_t k = 0; (k = row_next(l->before, l, i, k)) < i; k++)
            if (c.below[k] < c.below[i]) c.below[k] = c.below[i];
    }
    return c;
}

void list_gains(List *l, const Machine *on, Arena *a)
{
    Chains c = find_chains(l, a);
    for (uint32_t i = 0; i < l->n; i++) {
        Step *s = &l->steps[i];
        double slack = c.longest - c.above[i] - c.below[i];
        double beside = c.sum[c.reader[i]] - c.sum[i + 1];
        double busy = s->full * (s->time - on->launch);
        if (slack >= s->time / 2 && beside >= s->time && !s->point &&
            !s->transfer && busy <= most_busy * s->time)
            s->gain = s->time - busy - 2 * on->wait;
        s->until = beside;
        s->reader = c.reader[i];
    }
}

/* -------------------------------------------------------------- streams -- */

typedef struct Play {
    List *l;
    const Choice *c;
    double *end;                  /* by step */
    double free[MOST_STREAMS];    /* when a stream has done what it has */
    uint32_t taken[MOST_STREAMS]; /* of each stream, steps that stream 0 has
                                    taken in: those before this one */
} Play;

/* When a step could begin on a stream. */
static double begin_on(const Play *p, uint32_t step, uint32_t stream)
{
    double begin = p->free[stream];
    const List *l = p->l;
    for (uint32_t k = 0; (k = row_next(l->before, l, step, k)) < step; k++) {
        bool other = l->steps[k].stream != stream;
        double ready = p->end[k] + (other ? p->c->on.wait : 0);
        if (begin < ready) begin = ready;
    }
    return begin;
}

/* The stream on which it begins first; stream 0 when it would come too late
 * on all others. */
static uint32_t choose_stream(const Play *p, uint32_t step)
{
    const Step *s = &p->l->steps[step];
    uint32_t streams = p->c->streams - p->c->talks;
    if (s->transfer) return p->c->streams + !s->from_host;
    bool aside = p->c->talks && (!s->message || p->c->messages);
    if (aside && s->talks && !s->point) return streams + s->group;
    if (!s->beside || streams == 1) return 0;
    uint32_t best = p->c->spread ? 0 : 1;
    double begin = begin_on(p, step, best);
    for (uint32_t k = best + 1; k < streams; k++) {
        double then = begin_on(p, step, k);
        if (then >= begin) continue;
        best = k;
        begin = then;
    }
    bool late = begin + s->time > p->free[0] + s->until;
    return late && !p->c->spread ? 0 : best;
}

/* The last step of each stream that is done when this one begins.  Transfers
 * and collectives let go of nothing before they have to: how long they take is
 * the machine's to say. */
static void take_in(Play *p, uint32_t step, double begin)
{
    for (uint32_t k = step; k-- > 0;) {
        const Step *s = &p->l->steps[k];
        if (s->stream == 0 || k < p->taken[s->stream] || s->transfer ||
            s->talks || p->end[k] + p->c->on.wait > begin)
            continue;
        p->taken[s->stream] = k + 1;
        row_set(p->l->joined, p->l, step, k);
    }
}

/* What comes from the host comes no sooner than there is twice its time of
 * other work in front of its reader, and twice that of what comes behind it:
 * until then it would only hold its bytes. */
static void hold_back(Play *p, uint32_t step)
{
    const List *l = p->l;
    double comes = 0, works = 0;
    if (!l->steps[step].from_host) return;
    for (uint32_t k = step; k < l->steps[step].reader; k++)
        *(l->steps[k].transfer ? &comes : &works) += l->steps[k].time;
    for (uint32_t k = step; k-- > 0;) {
        if (l->steps[k].stream) continue;
        if (works >= 2 * comes) {
            row_set(l->joined, l, step, k);
            return;
        }
        works += l->steps[k].time;
    }
}

/* What a rank of a pipeline gathers for a microbatch comes no sooner than where
 * it stands, by the work in front of it: links may be far ahead of that, and it
 * would only hold its bytes. */
static void hold_gather(const Play *p, uint32_t step)
{
    const List *l = p->l;
    if (!l->sends || !l->steps[step].grows) return;
    for (uint32_t k = step; k-- > 0;) {
        const Step *s = &l->steps[k];
        if (s->stream || s->talks || s->transfer) continue;
        row_set(l->joined, l, step, k);
        return;
    }
}

/* The links are left to what somebody waits for. */
static void leave_links(const Play *p, uint32_t step)
{
    const List *l = p->l;
    const Step *s = &l->steps[step];
    if (!s->talks || s->reader < l->n || is_exposed(l, step)) return;
    for (uint32_t k = step; k-- > 0;) {
        if (!is_exposed(l, k)) continue;
        if (l->steps[k].stream != s->stream) row_set(l->joined, l, step, k);
        return;
    }
}

/* Beside others everything takes longer: on a side stream, twice as long; but
 * links are nobody else's. */
void list_streams(List *l, const Choice *c, Arena *a)
{
    Play p = {.l = l, .c = c, .end = NEW_ARRAY(a, double, (size_t)l->n + 1)};
    memset(l->joined, 0, (size_t)l->n * l->words * sizeof *l->joined);
    for (uint32_t i = 0; i < l->n; i++) {
        Step *s = &l->steps[i];
        s->stream = choose_stream(&p, i);
        hold_back(&p, i);
        hold_gather(&p, i);
        if (c->talks > 1) leave_links(&p, i);
        double begin = begin_on(&p, i, s->stream);
        if (s->stream == 0) take_in(&p, i, begin);
        bool slowed = s->stream && !s->transfer && !s->talks;
        p.end[i] = begin + (slowed ? 2 : 1) * s->time;
        p.free[s->stream] = p.end[i];
    }
}
