/*
 * bound.c: products that leave processors to collectives beside them.
 *
 * A kernel of NCCL is on processors, and so is that of a product, which has all
 * of them from begin to end.  Whichever comes second waits: a collective until
 * the product ends, and of a product that begins beside a collective the blocks
 * that find no processor, until others have done their share of the whole:
 *
 *      a product of T beside R more of a collective     T + w min(R, T)
 *      the same on the processors that are left         T of all / those left
 *
 * So a list is played, and each product that would begin beside a collective
 * is bounded if that takes less; and so is one during which a collective would
 * come that a step waits for, if it would come so much sooner.  What copy
 * engines bring needs no processors, and inside of a host that is all but what
 * is reduced to everybody, unless NCCL is to make all of it (option `nccl`).
 * Messages of a pipeline wait for other ranks, who knows how long, and are left
 * out.
 */
#include <math.h>

#include "schedule.h"

/* Of what a product would wait for others, what it loses by that: where half of
 * it was believed, steps took 0.4 % longer (docs/performance.md). */
static const double waited = 0.2;

/* What a lane has: the steps of a stream. */
typedef struct Lane {
    uint32_t *steps, n, next;
    double free;    /* when it has done what it has begun */
    double begin;   /* of its collective that needs processors */
    uint32_t needs; /* these; 0: it has had none yet */
} Lane;

typedef struct Bound {
    Module *m;
    const List *l;
    const Machine *on;
    bool alone;     /* NCCL makes all collectives */
    double *end;    /* by step; NAN: not yet */
    double *before; /* by step: what stream 0 has in front of it */
    double *tiles;  /* by step, of a product; 0: it is none */
    uint32_t *most; /* by step: processors; 0: all */
    double *talk;   /* by step: of a collective of NCCL; 0: it is none */
    uint32_t *needs;
    bool *joins; /* by step: a collective that is made with the one before */
    Lane lane[MOST_STREAMS];
    double held_from, held_to; /* when a product has all processors */
} Bound;

/* ----------------------------------------------------------------- costs -- */

static bool by_engines(const Bound *b, const Inst *in, bool leaves)
{
    if (b->alone || leaves || in->op == OP_all_reduce) return false;
    return in->op != OP_reduce_scatter ||
           !attr_is(b->m, in->attr, AT_kind, "max");
}

/* Bytes that a member receives. */
static double moved_bytes(const Bound *b, const Fn *group, const Inst *in)
{
    double from = (double)type_bytes(b->m, group->params[0].type);
    double to = (double)type_bytes(b->m, group->results[0].type);
    const AttrItem *over = attr_get(b->m, in->attr, AT_over);
    double n = (double)group_size(b->m, over->mesh, over->n);
    if (in->op == OP_all_reduce) return 2 * to * (n - 1) / n;
    if (in->op == OP_all_to_all) return to * (n - 1) / n;
    return in->op == OP_permute ? to : fabs(to - from);
}

/* Bytes that are worth a channel (runtime/reserve.c). */
#define WORTH 32768.0

static void note_collective(Bound *b, uint32_t i, const Fn *group)
{
    const Inst *in = group_collective(group);
    if (is_message(in)) return;
    const AttrItem *over = attr_get(b->m, in->attr, AT_over);
    double spread = group_spread(b->m, over->mesh, over->n);
    if (by_engines(b, in, leaves_host(b->on, spread))) return;
    double bytes = moved_bytes(b, group, in);
    double channels = ceil(bytes / WORTH);
    b->talk[i] = b->on->meet + bytes / link_rate(b->on, spread);
    b->needs[i] = channels < 1                 ? 1
                  : channels < b->on->channels ? (uint32_t)channels
                                               : b->on->channels;
}

/* Tiles that are made at once, or one after the other. */
static double tiles_of(const Module *m, const Fn *group)
{
    double most = 0;
    for (uint32_t i = 0; i < group->nresults; i++)
        most =
            fmax(most, (double)type_local_elements(m, group->results[i].type));
    return fmax(1, ceil(most / TILE_ELEMENTS));
}

static bool is_plain(const Bound *b, uint32_t i)
{
    const Inst *in = &b->l->fn->insts[b->l->steps[i].inst];
    const Fn *group = fn_of(b->m, attr_fn(b->m, in->attr, AT_fn));
    Op op = (Op)group_collective(group)->op;
    return op == OP_all_gather || op == OP_reduce_scatter ||
           op == OP_all_reduce;
}

/* Collectives of a group with nothing between them are one kernel
 * (collectives_join). */
static void join_collectives(Bound *b)
{
    const List *l = b->l;
    for (uint32_t i = 1, first = 0; i < l->n; i++) {
        const Step *s = &l->steps[i];
        Attr attr = l->fn->insts[s->inst].attr;
        b->joins[i] = b->talk[i] > 0 && b->talk[first] > 0 &&
                      (first == i - 1 || b->joins[i - 1]) &&
                      s->stream == l->steps[first].stream &&
                      s->group == l->steps[first].group && is_plain(b, i) &&
                      is_plain(b, first) && !attr_get(b->m, attr, AT_wait);
        if (!b->joins[i]) {
            first = i;
            continue;
        }
        b->talk[first] += b->talk[i] - b->on->meet;
        if (b->needs[first] < b->needs[i]) b->needs[first] = b->needs[i];
        b->talk[i] = 0;
    }
}

static void note_steps(Bound *b)
{
    const List *l = b->l;
    for (uint32_t i = 0; i < l->n; i++) {
        const Step *s = &l->steps[i];
        const Inst *in = &l->fn->insts[s->inst];
        b->before[i + 1] = b->before[i] + (s->stream ? 0 : s->time);
        if (in->op != OP_launch) continue;
        const Fn *group = fn_of(b->m, attr_fn(b->m, in->attr, AT_fn));
        if (s->talks)
            note_collective(b, i, group);
        else if (!s->stream && (fn_is(b->m, group, FK_matmul) ||
                                fn_is(b->m, group, FK_product)))
            b->tiles[i] = tiles_of(b->m, group);
    }
}

/* ----------------------------------------------------------------- clock -- */

/* The steps of a row have begun: *begin comes when they are done. */
static bool are_done(const Bound *b, const uint64_t *rows, uint32_t i,
                     double *begin)
{
    const List *l = b->l;
    for (uint32_t k = 0; (k = row_next(rows, l, i, k)) < i; k++) {
        if (isnan(b->end[k])) return false;
        bool other = l->steps[k].stream != l->steps[i].stream;
        *begin = fmax(*begin, b->end[k] + (other ? b->on->wait : 0));
    }
    return true;
}

/* When a step could begin, by its stream and those in front of it; false: these
 * have not all begun. */
static bool is_ready(const Bound *b, uint32_t i, double *begin)
{
    const List *l = b->l;
    *begin = b->lane[l->steps[i].stream].free;
    return are_done(b, l->before, i, begin) && are_done(b, l->joined, i, begin);
}

/* A collective finds no processor before the product ends. */
static double found_at(const Bound *b, uint32_t i, double begin)
{
    bool held = begin >= b->held_from && begin < b->held_to;
    return b->talk[i] > 0 && held ? b->held_to : begin;
}

/* The lane whose next step begins first, collectives before others. */
static Lane *first_lane(Bound *b, double *begin)
{
    Lane *first = NULL;
    for (uint32_t s = MOST_STREAMS; s-- > 0;) {
        Lane *lane = &b->lane[s];
        double at;
        if (lane->next == lane->n || !is_ready(b, lane->steps[lane->next], &at))
            continue;
        at = found_at(b, lane->steps[lane->next], at);
        if (first && at >= *begin) continue;
        first = lane;
        *begin = at;
    }
    return first;
}

/* On so many processors. */
static double time_on(const Bound *b, uint32_t i, uint32_t processors)
{
    double all = ceil(b->tiles[i] / b->on->processors);
    double some = ceil(b->tiles[i] / processors);
    double work = b->l->steps[i].time - b->on->launch;
    return b->on->launch + work * some / all;
}

/* What the collectives that run have, and how long yet. */
static uint32_t running(const Bound *b, double now, double *left)
{
    uint32_t needs = 0;
    *left = 0;
    for (uint32_t s = 1; s < MOST_STREAMS; s++) {
        const Lane *lane = &b->lane[s];
        if (!lane->needs || lane->begin > now || lane->free <= now) continue;
        needs += lane->needs;
        *left = fmax(*left, lane->free - now);
    }
    return needs;
}

/* What the list gains if the product leaves processors to a collective that
 * comes while it runs; less than 0: it loses. */
static double gain_of_leaving(const Bound *b, uint32_t product, double now,
                              uint32_t c)
{
    const Step *s = &b->l->steps[c];
    double time = b->l->steps[product].time, begin;
    if (b->talk[c] == 0 || s->reader >= b->l->n || s->reader <= product ||
        !is_ready(b, c, &begin) || begin <= now || begin >= now + time)
        return -INFINITY;
    double slower = time_on(b, product, b->on->processors - b->needs[c]) - time;
    double wanted = now + b->before[s->reader] - b->before[product];
    double behind = fmax(0, now + time + b->talk[c] - wanted);
    double beside = fmax(0, begin + b->talk[c] - wanted - slower);
    return behind - beside - slower;
}

/* Processors that the product leaves to others; 0: none. */
static uint32_t left_by(const Bound *b, uint32_t product, double now)
{
    double left, best = 0, time = b->l->steps[product].time;
    uint32_t needs = running(b, now, &left), out = 0;
    if (needs && needs < b->on->processors &&
        time_on(b, product, b->on->processors - needs) <
            time + waited * fmin(left, time))
        return needs;
    for (uint32_t s = 1; s < MOST_STREAMS && !needs; s++) {
        const Lane *lane = &b->lane[s];
        if (lane->next == lane->n) continue;
        uint32_t c = lane->steps[lane->next];
        double gain = gain_of_leaving(b, product, now, c);
        if (gain <= best) continue;
        best = gain;
        out = b->needs[c];
    }
    return out;
}

/* It has the processors that it was given, and then it is over. */
static double play_product(Bound *b, uint32_t i, double now)
{
    double left, time = b->l->steps[i].time;
    uint32_t leaves = left_by(b, i, now), needs = running(b, now, &left);
    uint32_t processors = b->on->processors;
    bool all = b->tiles[i] > processors - b->on->channels;
    b->most[i] = all && leaves ? processors - leaves : 0;
    if (b->most[i]) return now + time_on(b, i, b->most[i]);
    if (!all) return now + time;
    if (needs) time += waited * fmin(left, time);
    b->held_from = now;
    b->held_to = now + time;
    return b->held_to;
}

static void play_step(Bound *b, Lane *lane, double begin)
{
    uint32_t i = lane->steps[lane->next++];
    double time = b->l->steps[i].time;
    if (b->tiles[i] > 0)
        b->end[i] = play_product(b, i, begin);
    else
        b->end[i] = begin + (b->joins[i]      ? 0
                             : b->talk[i] > 0 ? b->talk[i]
                                              : time);
    lane->free = b->end[i];
    if (b->talk[i] == 0) return;
    lane->begin = begin;
    lane->needs = b->needs[i];
}

static void play_list(Bound *b)
{
    double begin = 0;
    for (uint32_t i = 0; i < b->l->n; i++)
        b->end[i] = NAN;
    for (Lane *lane; (lane = first_lane(b, &begin));)
        play_step(b, lane, begin);
}

/* -------------------------------------------------------------- deciding -- */

static void find_lanes(Bound *b, Arena *a)
{
    const List *l = b->l;
    for (uint32_t s = 0; s < MOST_STREAMS; s++)
        b->lane[s].steps = NEW_ARRAY(a, uint32_t, (size_t)l->n + 1);
    for (uint32_t i = 0; i < l->n; i++) {
        Lane *lane = &b->lane[l->steps[i].stream];
        lane->steps[lane->n++] = i;
    }
}

static bool has_talk(const Bound *b)
{
    for (uint32_t i = 0; i < b->l->n; i++)
        if (b->talk[i] > 0 && b->l->steps[i].stream) return true;
    return false;
}

static uint32_t write_bounds(const Bound *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->l->n; i++) {
        if (!b->most[i]) continue;
        Inst *in = &b->l->fn->insts[b->l->steps[i].inst];
        AttrList a = attr_list(b->m, in->attr);
        attr_drop(&a, AT_processors);
        attr_put_int(&a, AT_processors, b->most[i]);
        in->attr = attr_intern(b->m, &a);
        n++;
    }
    return n;
}

uint32_t list_bound(Module *m, const List *l, const Machine *on, bool alone,
                    Arena *a)
{
    size_t n = (size_t)l->n + 1;
    Bound b = {.m = m, .l = l, .on = on, .alone = alone};
    b.end = NEW_ARRAY(a, double, n);
    b.before = NEW_ARRAY(a, double, n);
    b.tiles = NEW_ARRAY(a, double, n);
    b.talk = NEW_ARRAY(a, double, n);
    b.most = NEW_ARRAY(a, uint32_t, n);
    b.needs = NEW_ARRAY(a, uint32_t, n);
    b.joins = NEW_ARRAY(a, bool, n);
    note_steps(&b);
    join_collectives(&b);
    if (!has_talk(&b)) return 0;
    find_lanes(&b, a);
    play_list(&b);
    return write_bounds(&b);
}
