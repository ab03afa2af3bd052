/*
 * play.c: the lists of an entry on a clock (see play.h).
 *
 * Each command has the seconds that it takes alone, and runs at a rate that
 * depends on what runs beside it:
 *
 *   a collective       needs memory: beside compute it keeps a share of its
 *                      rate, and leaves compute one; it is on processors, but
 *                      inside of a host copy engines bring what is gathered or
 *                      to be summed, which leave compute more; a kernel that
 *                      needs processors copies a member's own piece, or adds,
 *                      and signals wait for that, but not the stream; those
 *                      of several streams share the links, within a host or
 *                      between hosts
 *   a product          holds all processors until it ends: a collective that
 *                      comes meanwhile, or at once with it, waits for that, and
 *                      then comes before what else waits; two products share
 *                      the processors; one that is bounded leaves some
 *   other kernels      end block by block, so whatever comes finds room
 *                      what is one command for each member of a gather begins
 *                      with the first in front of the wait for it
 *   a copy of the bus  takes nothing from anybody
 *
 * The clock goes from one end of a command to the next, of all stages; between
 * two all rates stay the same.
 */
#include "play.h"

#include <math.h>

#include "../runtime/engines.h"
#include "../runtime/ranks.h"

static const TitanCommand *command_of(const Play *x, uint32_t task)
{
    return &x->w->im->commands[x->tasks.at[task].command];
}

/* The next of a stream; NULL: none. */
static const TitanCommand *head_of(const Play *x, const Lane *l)
{
    if (l->next >= l->tasks.n) return NULL;
    return command_of(x, l->tasks.at[l->next]);
}

/* --------------------------------------------------------------- seconds -- */

/* How far apart the members of a group are, in ranks. */
static uint32_t spread_of(const TitanImage *im, uint32_t group)
{
    uint32_t far = 0;
    TitanRange levels = im->groups[group].levels;
    for (uint32_t i = 0; i < levels.n; i++) {
        uint32_t mesh = im->levels[levels.first + i].mesh, stride = 1;
        for (uint32_t k = mesh + 1; k < im->nmesh; k++)
            stride *= im->mesh[k].size;
        far += (im->mesh[mesh].size - 1) * stride;
    }
    return far;
}

static bool leaves_host(const World *w, const TitanCommand *cmd)
{
    uint32_t group = w->im->collectives[cmd->index].group;
    return spread_of(w->im, group) >= w->machine->host;
}

/* As the runtime has it where the ranks of a host reach each other's GPUs. */
static bool by_engines(const World *w, const TitanCommand *cmd)
{
    return engines_take(w->im, cmd) && !leaves_host(w, cmd);
}

/* Of compute: seconds of its operations. */
static double product_seconds(const World *w, const TitanCommand *cmd)
{
    return work_sums(w->machine, work_of(w->im, cmd));
}

/* What is not moved yet when the product that feeds it has been made: of the
 * first step on all, or the last part for another, behind which is the
 * member's own. */
static double late_seconds(const World *w, const TitanCommand *cmd,
                           double moves)
{
    const TitanCollective *x = &w->im->collectives[cmd->index];
    if (!engines_fed(w->im, cmd)) return moves;
    double made = product_seconds(w, &w->im->commands[cmd->fed - 1]);
    double n = ranks_in_group(w->im, x->group), steps = x->steps;
    double first = made / n / steps + moves - made;
    double last = moves / ((n - 1) * steps) - made / n;
    return fmax(0, fmax(first, last));
}

/* What the other members have comes over the link; of a sum a kernel reads that
 * and the member's own piece, and writes the sum. */
static double engines_seconds(const World *w, const TitanCommand *cmd)
{
    const Machine *m = w->machine;
    const TitanCollective *x = &w->im->collectives[cmd->index];
    bool sums = x->kind == TITAN_COLLECTIVE_reduce_scatter;
    double n = ranks_in_group(w->im, x->group), moved = work_moved(w->im, cmd);
    double added = !sums || n < 2 ? 0 : moved / (n - 1) * (n + 1);
    return late_seconds(w, cmd, moved / (m->link * m->engines)) +
           added / (m->memory * m->copies);
}

static double collective_seconds(const World *w, const TitanCommand *cmd,
                                 bool joins)
{
    const Machine *m = w->machine;
    double link = leaves_host(w, cmd) ? m->network : m->link;
    double begins = joins ? 0 : m->collective;
    if (by_engines(w, cmd)) return begins + engines_seconds(w, cmd);
    return begins + work_moved(w->im, cmd) / (link * m->links);
}

static double seconds_of(const World *w, const TitanCommand *cmd, bool joins)
{
    if (cmd->kind == TITAN_COMMAND_collective)
        return collective_seconds(w, cmd, joins);
    return work_seconds(w->machine, w->im, cmd);
}

/* ----------------------------------------------------------------- rates -- */

typedef enum Use {
    USE_none,
    USE_link,  /* and processors */
    USE_hosts, /* likewise, of the links between hosts */
    USE_engines,
    USE_bus,
    USE_all, /* processors */
    USE_part
} Use;

/* It has nothing left but what rounding leaves of the clock. */
static bool is_over(const Play *x, const Lane *l)
{
    const double nothing = 1e-12; /* seconds of one */
    return l->left <= nothing * fmax(x->now, 1);
}

/* What of the machine a stream's command has now. */
static Use use_of(const Play *x, const Lane *l)
{
    const World *w = x->w;
    if (!l->runs) return USE_none;
    const TitanCommand *cmd = head_of(x, l);
    if (cmd->kind == TITAN_COMMAND_collective)
        return by_engines(w, cmd)    ? USE_engines
               : leaves_host(w, cmd) ? USE_hosts
                                     : USE_link;
    if (work_offloaded(w->im, cmd) > 0) return USE_bus;
    Work work = work_of(w->im, cmd);
    bool all = !cmd->processors && work.limit != TITAN_CLASS_loop &&
               work_sums(w->machine, work) > work_memory(w->machine, work);
    return all ? USE_all : USE_part;
}

static void count_uses(const Play *x, uint32_t n[USE_part + 1])
{
    for (uint32_t s = 0; s < x->w->im->header->streams; s++)
        n[use_of(x, &x->lanes[s])]++;
}

static double rate_of(const World *w, Use use, const uint32_t *n)
{
    const Machine *m = w->machine;
    bool computes = n[USE_all] + n[USE_part];
    double beside = n[USE_link] + n[USE_hosts] ? m->compute_beside
                    : n[USE_engines]           ? m->engines_beside
                                               : 1;
    double share = computes ? m->link_beside : 1;
    switch (use) {
    case USE_none:
    case USE_bus:
        return 1;
    case USE_link:
    case USE_engines:
        return share / (n[USE_link] + n[USE_engines]);
    case USE_hosts:
        return share / n[USE_hosts];
    case USE_all:
    case USE_part:
        break;
    }
    return beside / (use == USE_all ? n[USE_all] : 1);
}

static void advance(Play *x, double to)
{
    uint32_t n[USE_part + 1] = {0};
    count_uses(x, n);
    for (uint32_t s = 0; s < x->w->im->header->streams; s++) {
        Lane *l = &x->lanes[s];
        if (l->runs) l->left -= (to - x->now) * rate_of(x->w, use_of(x, l), n);
    }
    x->now = to;
}

static void find_end(Play *x)
{
    uint32_t n[USE_part + 1] = {0};
    count_uses(x, n);
    x->ends = INFINITY;
    for (uint32_t s = 0; s < x->w->im->header->streams; s++) {
        const Lane *l = &x->lanes[s];
        if (!l->runs) continue;
        double left = fmax(l->left, 0) / rate_of(x->w, use_of(x, l), n);
        x->ends = fmin(x->ends, x->now + left);
    }
}

/* ------------------------------------------------------------------ ends -- */

static void count_moved(Play *x, uint32_t command, double seconds)
{
    World *w = x->w;
    const TitanCommand *cmd = &w->im->commands[command];
    Prediction *p = x->p;
    uint32_t *row = &x->moved_row[command];
    if (!*row) {
        vec_push(w->a, &p->moved, ((Moved){.command = command}));
        *row = p->moved.n;
    }
    Moved *m = &p->moved.at[*row - 1];
    double bytes = work_moved(w->im, cmd);
    m->times++;
    m->bytes += bytes;
    m->seconds += seconds;
    *(leaves_host(w, cmd) ? &p->network : &p->link) += bytes;
    p->collectives += seconds;
}

static void put_played(Play *x, const Lane *l)
{
    const TitanCommand *cmd = head_of(x, l);
    double seconds = x->now - l->start;
    Played row = {.command = x->tasks.at[l->tasks.at[l->next]].command,
                  .stream = cmd->stream,
                  .stage = x->stage,
                  .start = l->start,
                  .seconds = seconds};
    vec_push(x->w->a, &x->p->played, row);
    x->p->seconds = x->now;
    if (cmd->kind == TITAN_COMMAND_collective)
        count_moved(x, row.command, seconds);
    else if (cmd->kind == TITAN_COMMAND_gemm)
        x->p->products += seconds;
    else
        x->p->rest += seconds;
}

static void end_command(Play *x, Lane *l)
{
    const TitanCommand *cmd = head_of(x, l);
    put_played(x, l);
    l->owes |= cmd->kind == TITAN_COMMAND_collective && by_engines(x->w, cmd);
    l->runs = false;
    l->next++;
}

/* What engines have brought is copied and added. */
static void give_late(Play *x)
{
    for (uint32_t i = 0; i < x->late.n; i++)
        x->signalled[x->late.at[i]] = true;
    x->late.n = 0;
    for (uint32_t s = 0; s < x->w->im->header->streams; s++)
        x->lanes[s].owes = false;
}

static void end_commands(Play *x)
{
    uint32_t streams = x->w->im->header->streams, n[USE_part + 1] = {0};
    for (uint32_t s = 0; s < streams; s++) {
        Lane *l = &x->lanes[s];
        if (l->runs && is_over(x, l)) end_command(x, l);
    }
    count_uses(x, n);
    if (!n[USE_all]) give_late(x);
}

/* ---------------------------------------------------------------- starts -- */

static void start(Play *x, Lane *l)
{
    const Task *t = &x->tasks.at[l->tasks.at[l->next]];
    l->runs = true;
    l->ready = false;
    l->start = x->now;
    l->left = seconds_of(x->w, &x->w->im->commands[t->command], t->joins);
}

static bool is_message(const TitanImage *im, const TitanCommand *cmd)
{
    uint32_t kind = im->collectives[cmd->index].kind;
    return kind == TITAN_COLLECTIVE_send || kind == TITAN_COLLECTIVE_receive;
}

/* Which message it is: the so-and-so-many-th between two stages on a channel.
 */
static uint64_t message_of(Play *x, const TitanCollective *c)
{
    bool sends = c->kind == TITAN_COLLECTIVE_send;
    uint64_t from = sends ? x->stage : c->peer, to = sends ? c->peer : x->stage;
    uint64_t channel = (from << 12 | to) << 20 | c->channel;
    uint32_t n = 0;
    map_find(&x->messages, channel, &n);
    map_set(&x->messages, channel, n + 1);
    return channel << 20 | n;
}

/* It begins when both sides have come to it. */
static void come_to_message(Play *x, Lane *l)
{
    World *w = x->w;
    const TitanCommand *cmd = head_of(x, l);
    uint32_t of;
    if (l->meets) return;
    uint64_t key = message_of(x, &w->im->collectives[cmd->index]);
    if (!map_find(&w->by_message, key, &of)) {
        vec_push(w->a, &w->meets, ((Meet){x->stage, cmd->stream}));
        map_add(&w->by_message, key, w->meets.n);
        l->meets = w->meets.n;
        return;
    }
    Meet other = w->meets.at[of - 1];
    Play *y = &w->plays[other.stage];
    advance(y, x->now);
    y->lanes[other.stream].meets = 0;
    start(y, &y->lanes[other.stream]);
    find_end(y);
    start(x, l);
}

/* Collectives that a product does not keep from processors. */
static void start_collective(Play *x, Lane *l)
{
    uint32_t n[USE_part + 1] = {0};
    bool joins = x->tasks.at[l->tasks.at[l->next]].joins;
    count_uses(x, n);
    l->ready = true;
    if (n[USE_all] && !joins && !by_engines(x->w, head_of(x, l))) return;
    if (is_message(x->w->im, head_of(x, l)))
        come_to_message(x, l);
    else
        start(x, l);
}

/* Signals, waits that are over, compute; true: something goes on. */
static bool go_on(Play *x, Lane *l)
{
    bool moved = false;
    for (const TitanCommand *cmd; !l->runs && (cmd = head_of(x, l));) {
        uint32_t task = l->tasks.at[l->next], after = x->tasks.at[task].after;
        if (cmd->kind == TITAN_COMMAND_collective) break;
        if (cmd->kind == TITAN_COMMAND_wait && after &&
            !x->signalled[after - 1])
            break;
        moved = true;
        if (command_works(cmd)) {
            start(x, l);
            break;
        }
        if (cmd->kind == TITAN_COMMAND_signal && l->owes)
            vec_push(x->w->a, &x->late, task);
        else
            x->signalled[task] = true;
        l->next++;
    }
    return moved;
}

static bool has_collective(const Play *x, const Lane *l)
{
    const TitanCommand *cmd = l->runs ? NULL : head_of(x, l);
    return cmd && cmd->kind == TITAN_COMMAND_collective;
}

/* All that can start now: collectives that have waited, compute, the others. */
static void start_commands(Play *x)
{
    uint32_t n = x->w->im->header->streams;
    for (uint32_t s = 0; s < n; s++)
        if (x->lanes[s].ready && has_collective(x, &x->lanes[s]))
            start_collective(x, &x->lanes[s]);
    for (bool more = true; more;) {
        more = false;
        for (uint32_t s = 0; s < n; s++)
            more |= go_on(x, &x->lanes[s]);
    }
    for (uint32_t s = 0; s < n; s++)
        if (has_collective(x, &x->lanes[s])) start_collective(x, &x->lanes[s]);
    find_end(x);
}

/* ------------------------------------------------------------------ list -- */

/* The list while it is unrolled. */
typedef struct Unroll {
    Play *x;
    uint32_t *signals; /* by event: the last task that gives it, plus 1 */
    /* a collective, with nothing but signals behind */
    const TitanCommand *last;
} Unroll;

static void put_task(Unroll *u, uint32_t command)
{
    Play *x = u->x;
    const TitanImage *im = x->w->im;
    const TitanCommand *cmd = &im->commands[command];
    Task t = {.command = command};
    if (cmd->kind == TITAN_COMMAND_wait) t.after = u->signals[cmd->index];
    if (cmd->kind == TITAN_COMMAND_signal)
        u->signals[cmd->index] = x->tasks.n + 1;
    if (cmd->kind == TITAN_COMMAND_collective)
        t.joins = u->last && collectives_join(im, u->last, cmd);
    if (cmd->kind != TITAN_COMMAND_signal)
        u->last = cmd->kind == TITAN_COMMAND_collective ? cmd : NULL;
    vec_push(x->w->a, &x->lanes[cmd->stream].tasks, x->tasks.n);
    vec_push(x->w->a, &x->tasks, t);
}

/* What is behind a gather says so first by this event. */
static uint32_t event_behind(const World *w, const TitanCommand *gather)
{
    const TitanCommand *cmd = gather + 1;
    const TitanCommand *end = w->im->commands + w->im->ncommands;
    while (cmd < end &&
           (cmd->kind != TITAN_COMMAND_signal || cmd->stream != gather->stream))
        cmd++;
    return cmd < end ? cmd->index : UINT32_MAX;
}

/* As a member of a gather comes to commands, of which one for each member needs
 * no more than that one's piece: the waits for others, one of these, then the
 * wait for the gather. */
static uint32_t put_parts(Unroll *u, uint32_t first, uint32_t end)
{
    const World *w = u->x->w;
    const TitanCommand *cmd = &w->im->commands[first];
    uint32_t waits = 0, n = end - first;
    while (waits < n && cmd[waits].kind == TITAN_COMMAND_wait &&
           cmd[waits].stream == cmd->stream)
        waits++;
    if (waits == 0 || waits == n || !cmd[waits].fed ||
        cmd[waits].kind == TITAN_COMMAND_collective ||
        !by_engines(w, &w->im->commands[cmd[waits].fed - 1]))
        return 0;
    uint32_t late = event_behind(w, &w->im->commands[cmd[waits].fed - 1]);
    for (uint32_t i = 0; i < waits; i++)
        if (cmd[i].index != late) put_task(u, first + i);
    put_task(u, first + waits);
    for (uint32_t i = 0; i < waits; i++)
        if (cmd[i].index == late) put_task(u, first + i);
    return waits + 1;
}

static void unroll(Unroll *u, uint32_t from, uint32_t to)
{
    const TitanImage *im = u->x->w->im;
    for (uint32_t i = from; i < to; i++) {
        const TitanRun *r = &im->runs[i];
        if (r->kind == TITAN_RUN_loop) {
            for (int64_t k = 0; k < r->count; k++)
                unroll(u, i + 1, r->program);
            i = r->program;
        } else if (r->kind == TITAN_RUN_program) {
            TitanRange c = im->programs[r->program].commands;
            for (uint32_t k = 0, n; k < c.n; k += n) {
                n = put_parts(u, c.first + k, c.first + c.n);
                if (n) continue;
                put_task(u, c.first + k);
                n = 1;
            }
        }
    }
}

static void begin_stage(World *w, uint32_t stage, uint32_t entry)
{
    const TitanImage *im = w->im;
    Play *x = &w->plays[stage];
    const TitanEntry *e = &im->entries[im->stages[stage].entries.first + entry];
    *x = (Play){.w = w, .stage = stage, .p = NEW(w->a, Prediction)};
    x->p->machine = w->machine;
    map_init(&x->messages, w->a);
    Unroll u = {.x = x};
    u.signals = NEW_ARRAY(w->a, uint32_t, (size_t)im->header->events + 1);
    unroll(&u, e->runs.first, e->runs.first + e->runs.n);
    x->signalled = NEW_ARRAY(w->a, bool, (size_t)x->tasks.n + 1);
    x->moved_row = NEW_ARRAY(w->a, uint32_t, (size_t)w->im->ncommands + 1);
}

/* The stage in which a command ends first; NULL: none runs. */
static Play *next_stage(World *w)
{
    Play *first = &w->plays[0];
    for (uint32_t s = 1; s < w->n; s++)
        if (w->plays[s].ends < first->ends) first = &w->plays[s];
    return isinf(first->ends) ? NULL : first;
}

void play(World *w, uint32_t entry)
{
    w->n = w->im->nstages;
    w->plays = NEW_ARRAY(w->a, Play, (size_t)w->n + 1);
    map_init(&w->by_message, w->a);
    for (uint32_t s = 0; s < w->n; s++)
        begin_stage(w, s, entry);
    for (uint32_t s = 0; s < w->n; s++)
        start_commands(&w->plays[s]);
    for (Play *x; (x = next_stage(w));) {
        advance(x, x->ends);
        end_commands(x);
        start_commands(x);
    }
}
