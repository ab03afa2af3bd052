/*
 * schedule.c: what may run side by side, on streams ordered by events.
 *
 *   needs    kernel view
 *   gives    stream, wait and signal of launches and loops
 *   keeps    everything else, the order of the list too, but for that of
 *            collectives (ahead.c)
 *   result   the list is one order of execution among those that streams and
 *            events allow, and all of them give the same bits
 *
 * Option `streams`: how many there are, 1 to 8; without it one, and on a GPU
 * one more for each group of devices that has collectives; groups that no entry
 * has together share one.  What the ranks of a pipeline send each other is on
 * stream 0 then: it has their order.  Stream 0 carries the longest chain;
 * others take what does not gate it where that pays (choose.c): of a backward,
 * the gradients of weights beside the chain through the activations.
 *
 * What runs beside something keeps its buffers longer.  The steps that may
 * leave stream 0 are sorted by the bytes that they hold for each microsecond
 * that they save, and as many of them leave it, in that order, as keep the
 * frame within `growth` percent of what it is with one stream.  Collectives,
 * which use links and not the machine, have the last streams for themselves,
 * those of each group one of them: what is gathered over one mesh axis is not
 * held up by what waits for the devices along another (apart.c).
 *
 * Transfers to and from the memory of the host (offload.c) are the work of copy
 * engines: they have streams of their own, behind those that were asked for.
 *
 * At last products are bounded to some of the processors where collectives that
 * need some run beside them and the list is faster so (bound.c).
 *
 * Option `nccl`: NCCL makes all collectives, where otherwise copy engines bring
 * what they can inside of a host.
 *
 * Option `spread`: every step goes to the stream where it could begin first,
 * whether it pays or not, to try the order of things.
 */
#include "schedule/schedule.h"

#include "arrange.h"
#include "reach.h"

#include <inttypes.h>
#include <stdlib.h>

/* Devices that have collectives together: their mesh axes, the entries in which
 * they do (a bool each), and the stream, counted from those of collectives. */
typedef struct Group {
    const AttrItem *over;
    bool *entries;
    uint32_t stream;
} Group;

typedef struct Schedule {
    Module *m;
    Arena *a;        /* scratch */
    ArenaMark begin; /* of the lists there, which are found several times */
    Choice choice;
    Map numbers; /* function -> list */
    VEC(List *) lists;
    VEC(Step *) candidates; /* the best first */
    VEC(Group) groups;
    uint32_t events, beside;
} Schedule;

/* ---------------------------------------------------------------- lists -- */

/* Groups of devices are numbered as they come in the module. */
static uint32_t group_number(const Schedule *x, const Inst *collective)
{
    const AttrItem *over = attr_get(x->m, collective->attr, AT_over);
    uint32_t n = 0;
    while (over && n < x->groups.n &&
           !attr_mesh_same(x->groups.at[n].over, over))
        n++;
    return n;
}

static void note_group(Schedule *x, const Fn *fn, uint32_t entry)
{
    const Inst *in = group_collective(fn);
    if (is_message(in)) return;
    uint32_t n = group_number(x, in);
    if (n == x->groups.n) {
        Group g = {.over = attr_get(x->m, in->attr, AT_over),
                   .entries = NEW_ARRAY(x->a, bool, (size_t)x->m->fns.n + 1)};
        vec_push(x->a, &x->groups, g);
    }
    x->groups.at[n].entries[entry] = true;
}

/* The groups of one entry, with all that it calls. */
static void note_entry(Schedule *x, uint32_t entry)
{
    const Module *m = x->m;
    Roots root = {NEW_ARRAY(x->a, bool, (size_t)m->fns.n + 1)};
    root.is[entry] = true;
    const bool *reached = fns_reached(x->m, &root);
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (reached[f] && fn_is(m, m->fns.at[f], FK_collective))
            note_group(x, m->fns.at[f], entry);
}

static bool meet_in_entry(const Schedule *x, const Group *a, const Group *b)
{
    for (uint32_t f = 0; f < x->m->fns.n; f++)
        if (a->entries[f] && b->entries[f]) return true;
    return false;
}

/* The first stream that no group has that it could meet. */
static uint32_t free_stream(const Schedule *x, uint32_t group)
{
    for (uint32_t stream = 0;; stream++) {
        bool taken = false;
        for (uint32_t g = 0; g < group && !taken; g++)
            taken = x->groups.at[g].stream == stream &&
                    meet_in_entry(x, &x->groups.at[g], &x->groups.at[group]);
        if (!taken) return stream;
    }
}

/* How many streams they need: groups of different entries never meet. */
static uint32_t find_groups(Schedule *x)
{
    uint32_t streams = 0;
    Roots entries = roots_of(x->m);
    for (uint32_t f = 0; f < x->m->fns.n; f++)
        if (entries.is[f]) note_entry(x, f);
    for (uint32_t g = 0; g < x->groups.n; g++) {
        uint32_t stream = x->groups.at[g].stream = free_stream(x, g);
        if (streams <= stream) streams = stream + 1;
    }
    return streams;
}

/* A message's, of two ranks of a pipeline, is the first, where it has one. */
static uint32_t stream_of(const Schedule *x, const Inst *collective)
{
    uint32_t n = group_number(x, collective);
    return n < x->groups.n ? x->groups.at[n].stream : 0;
}

/* What it is that does not use the machine itself. */
static void find_way(const Schedule *x, const List *l, Step *s)
{
    const Inst *in = &l->fn->insts[s->inst];
    if (in->op != OP_launch) return;
    const Fn *group = fn_of(x->m, attr_fn(x->m, in->attr, AT_fn));
    const char *kind = str_of(x->m, group->kind);
    s->from_host = strcmp(kind, "transfer.in") == 0;
    s->talks = fn_is(x->m, group, FK_collective);
    s->message = s->talks && is_message(group_collective(group));
    if (s->talks && x->choice.talks)
        s->group = stream_of(x, group_collective(group)) % x->choice.talks;
    s->transfer = s->from_host || strcmp(kind, "transfer.out") == 0;
}

/* Those of all devices, or what the ranks of a pipeline send each other. */
static bool has_collectives(const Module *m, bool messages)
{
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        if (fn_is(m, fn, FK_collective) &&
            is_message(group_collective(fn)) == messages)
            return true;
    }
    return false;
}

static List *list_new(Schedule *x, const FnSteps *s)
{
    List *l = NEW(x->a, List);
    l->ref = s->fn;
    l->fn = fn_of(x->m, s->fn);
    l->number = NEW_ARRAY(x->a, uint32_t, (size_t)l->fn->ninsts + 1);
    l->steps = NEW_ARRAY(x->a, Step, (size_t)l->fn->ninsts + 1);
    for (uint32_t i = 0; i < l->fn->ninsts; i++) {
        if (!is_step(&l->fn->insts[i])) continue;
        l->number[i] = l->n;
        l->steps[l->n] = (Step){.inst = i};
        find_way(x, l, &l->steps[l->n++]);
    }
    l->words = l->n / 64 + 1;
    l->before = NEW_ARRAY(x->a, uint64_t, (size_t)l->n * l->words + 1);
    l->joined = NEW_ARRAY(x->a, uint64_t, (size_t)l->n * l->words + 1);
    l->runs = l->fn->entry;
    l->talks = x->choice.talks;
    map_add(&x->numbers, s->fn.id, x->lists.n);
    vec_push(x->a, &x->lists, l);
    return l;
}

static List *list_of(const Schedule *x, FnRef fn)
{
    uint32_t at;
    return map_find(&x->numbers, fn.id, &at) ? x->lists.at[at] : NULL;
}

static bool note_clash(void *user, const Access *early, const Access *late)
{
    List *l = user;
    row_set(l->before, l, l->number[late->step], l->number[early->step]);
    return true;
}

/* What comes before a host point, and behind it. */
static void note_points(List *l, const FnSteps *s)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (!s->point[l->steps[i].inst]) continue;
        l->steps[i].point = true;
        for (uint32_t k = 0; k < l->n; k++)
            if (k != i) row_set(l->before, l, k < i ? i : k, k < i ? k : i);
    }
}

/* A body that several loops run keeps the order that each of them needs. */
static bool note_list(void *user, const FnSteps *s)
{
    Schedule *x = user;
    List *l = list_of(x, s->fn);
    if (!l) l = list_new(x, s);
    note_points(l, s);
    return steps_clashes(s, x->a, note_clash, l);
}

/* Nothing is left of those that there were. */
static void find_lists(Schedule *x)
{
    arena_pop(x->a, x->begin);
    map_init(&x->numbers, x->a);
    memset(&x->lists, 0, sizeof x->lists);
    steps_walk(x->m, x->a, note_list, x);
}

/* ---------------------------------------------------------------- costs -- */

static const List *body_of(const Schedule *x, const List *l, const Step *s)
{
    const Inst *in = &l->fn->insts[s->inst];
    if (in->op != OP_loop) return NULL;
    return list_of(x, attr_fn(x->m, in->attr, AT_fn));
}

/* Bodies come before the functions around them. */
static void find_costs(Schedule *x)
{
    for (uint32_t i = 0; i < x->lists.n; i++) {
        List *l = x->lists.at[i];
        for (uint32_t k = 0; k < l->n; k++) {
            const List *body = body_of(x, l, &l->steps[k]);
            Step *s = &l->steps[k];
            step_cost(x->m, l, s, &x->choice.on, body ? body->time : 0);
            l->time += s->time;
            s->within = body ? body->groups : 0;
            l->groups |= s->within;
            if (s->talks && !s->message) l->groups |= UINT64_C(1) << s->group;
            l->sends |= is_send(x->m, l, k);
        }
        list_gains(l, &x->choice.on, x->a);
    }
    for (uint32_t i = x->lists.n; i-- > 0;) {
        List *l = x->lists.at[i];
        for (uint32_t k = 0; k < l->n; k++) {
            const Inst *in = &l->fn->insts[l->steps[k].inst];
            if (in->op != OP_loop) continue;
            list_of(x, attr_fn(x->m, in->attr, AT_fn))->runs +=
                l->runs * (double)attr_int(x->m, in->attr, AT_count, 0);
        }
    }
}

static int by_price(const void *a, const void *b)
{
    const Step *x = *(Step *const *)a, *y = *(Step *const *)b;
    double p = x->weight * y->gain, q = y->weight * x->gain;
    if (p != q) return p < q ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static void find_candidates(Schedule *x)
{
    for (uint32_t i = 0; i < x->lists.n; i++) {
        List *l = x->lists.at[i];
        for (uint32_t k = 0; k < l->n; k++) {
            Step *s = &l->steps[k];
            s->gain = x->choice.spread ? 1 : s->gain * l->runs;
            if (s->gain <= 0 || s->point || s->talks) continue;
            s->rank = x->candidates.n;
            vec_push(x->a, &x->candidates, s);
        }
    }
    if (x->candidates.n)
        qsort(x->candidates.at, x->candidates.n, sizeof *x->candidates.at,
              by_price);
}

/* ---------------------------------------------------- order and turns -- */

/* In the new order the lists are others. */
static void reorder(Schedule *x, Fn *(*reordered)(Module *m, const List *l))
{
    for (uint32_t i = 0; i < x->lists.n; i++) {
        const List *l = x->lists.at[i];
        x->m->fns.at[l->ref.id] = reordered(x->m, l);
    }
    find_lists(x);
    find_costs(x);
}

/* How many loops run a function. */
static uint32_t *count_loops(const Schedule *x)
{
    const Module *m = x->m;
    uint32_t *loops = NEW_ARRAY(x->a, uint32_t, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < x->lists.n; i++) {
        const List *l = x->lists.at[i];
        for (uint32_t k = 0; k < l->n; k++) {
            const List *body = body_of(x, l, &l->steps[k]);
            if (body) loops[body->ref.id]++;
        }
    }
    return loops;
}

static void move_turns(Schedule *x)
{
    Module *m = x->m;
    const uint32_t *loops = count_loops(x);
    for (uint32_t i = 0; i < x->lists.n; i++) {
        const List *l = x->lists.at[i];
        const List **bodies = NEW_ARRAY(x->a, const List *, (size_t)l->n + 1);
        for (uint32_t k = 0; k < l->n; k++) {
            const List *body = body_of(x, l, &l->steps[k]);
            if (body && loops[body->ref.id] == 1 &&
                body->fn == fn_of(m, body->ref))
                bodies[k] = body;
        }
        collectives_turned(m, l, bodies, x->a);
    }
    find_lists(x);
    find_costs(x);
}

/* ------------------------------------------------------------- deciding -- */

/* Lets the first N candidates leave stream 0. */
static void apply(Schedule *x, uint32_t n)
{
    for (uint32_t i = 0; i < x->candidates.n; i++)
        x->candidates.at[i]->beside = i < n;
    x->events = x->beside = 0;
    for (uint32_t i = 0; i < x->lists.n; i++) {
        List *l = x->lists.at[i];
        list_streams(l, &x->choice, x->a);
        x->events += list_events(x->m, l, x->a);
        for (uint32_t k = 0; k < l->n; k++)
            x->beside += l->steps[k].stream != 0;
    }
}

/* What the temporaries would take. */
static int64_t frame_with(Schedule *x, uint32_t n)
{
    ArenaMark mark = arena_mark(x->a);
    apply(x, n);
    Live live = live_find(x->m, x->a);
    int64_t *at = NEW_ARRAY(x->a, int64_t, (size_t)live.n + 1);
    int64_t bytes = arrange(x->m, &live, BASE_frame, NULL, at, x->a) +
                    arrange(x->m, &live, BASE_lane, NULL, at, x->a);
    arena_pop(x->a, mark);
    return bytes;
}

/* The most candidates, by bisection, that keep the frame within bounds. */
static void decide(Schedule *x, int64_t growth, PassCtx *cx)
{
    uint32_t fits = 0, fails = x->candidates.n + 1;
    int64_t before = fails > 1 ? frame_with(x, 0) : 0, after = before;
    int64_t most = before + (int64_t)((double)before * (double)growth / 100);
    uint32_t n = x->candidates.n; /* all of them first */
    while (fails - fits > 1) {
        int64_t bytes = frame_with(x, n);
        if (bytes <= most) {
            fits = n;
            after = bytes;
        } else {
            fails = n;
        }
        n = fits + (fails - fits) / 2;
    }
    apply(x, fits);
    pass_remark(x->m, cx, (Loc){0},
                "%" PRIu32 " of %" PRIu32
                " that could leave stream 0 do, with %" PRIu32
                " events; the frame grows by %" PRId64 " bytes",
                x->beside, x->candidates.n, x->events, after - before);
}

static void bound_products(Schedule *x, bool alone, PassCtx *cx)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->lists.n && x->choice.on.channels; i++)
        n += list_bound(x->m, x->lists.at[i], &x->choice.on, alone, x->a);
    if (n)
        pass_remark(x->m, cx, (Loc){0},
                    "%" PRIu32 " products leave processors to collectives", n);
}

/* VALUE: what holds where the option is not said. */
static bool read_option(Module *m, PassCtx *cx, const char *name, int64_t least,
                        int64_t most, int64_t *value)
{
    *value = pass_option_int(m, cx, name, *value);
    if (*value >= least && *value <= most) return true;
    diag_error(m->diag, DIAG_pass_option, (Span){0},
               "option '%s' is from %" PRId64 " to %" PRId64 ", found %" PRId64,
               name, least, most, *value);
    return false;
}

/* What comes from the host and what goes there has a stream each, whether other
 * streams are asked for or not. */
enum { TRANSFER_STREAMS = 2 };

static bool has_transfers(const Module *m)
{
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (fn_kind(m, m->fns.at[f]) == FK_transfer) return true;
    return false;
}

bool pass_schedule(Module *m, PassCtx *cx)
{
    bool sums = has_collectives(m, false), messages = has_collectives(m, true);
    bool transfers = has_transfers(m);
    Machine on = machine_of(m, cx);
    Schedule x = {.m = m, .a = m->scratch};
    uint32_t groups = find_groups(&x);
    int64_t streams = sums && on.links ? 1 + groups : 1;
    if (streams > MOST_STREAMS - TRANSFER_STREAMS)
        streams = MOST_STREAMS - TRANSFER_STREAMS;
    int64_t growth = 0, spread = 0, alone = 0;
    if (!read_option(m, cx, "streams", 1, MOST_STREAMS, &streams) ||
        !read_option(m, cx, "growth", 0, 100, &growth) ||
        !read_option(m, cx, "spread", 0, 1, &spread) ||
        !read_option(m, cx, "nccl", 0, 1, &alone))
        return false;
    if (streams == 1 && module_streams(m) == 1 && !transfers) return true;
    if (transfers && streams > MOST_STREAMS - TRANSFER_STREAMS)
        streams = MOST_STREAMS - TRANSFER_STREAMS;
    uint32_t talks = sums ? groups : messages;
    if (talks >= streams) talks = (uint32_t)streams - 1;
    x.choice = (Choice){(uint32_t)streams, spread != 0, talks, !sums, on};
    x.begin = arena_mark(x.a);
    find_lists(&x);
    find_costs(&x);
    if (x.choice.talks) {
        reorder(&x, list_filled);
        reorder(&x, collectives_ahead);
        move_turns(&x);
        reorder(&x, list_filled);
        reorder(&x, collectives_ahead); /* the first gathers of turns */
        if (x.choice.talks > 1) reorder(&x, collectives_apart);
    }
    if (streams - talks > 1) find_candidates(&x);
    decide(&x, growth, cx);
    if (x.choice.talks) bound_products(&x, alone != 0, cx);
    return true;
}
