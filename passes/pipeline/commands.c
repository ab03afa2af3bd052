/*
 * commands.c: the commands of a schedule, its transfers among them.
 *
 * A transfer stands, on both ranks, where the action ends that makes what it
 * carries, in the one order of the simulation.  Where actions wait in a circle
 * there is no such order for them: they come last, row by row, each behind what
 * it receives, so that the check has a circle to find.
 */
#include "schedule.h"

typedef struct Lists {
    Arena *a;
    const Schedule *s;
    CommandList *at;
    bool *received; /* by tag */
} Lists;

/* A number for what is carried, equal on both sides. */
static uint64_t tag_of(const Schedule *s, Action x)
{
    uint64_t back = x.kind != ACTION_forward;
    return (back * s->stages + x.stage) * s->micros + x.micro;
}

/* What it carries is made by an action of another rank; else it is no
 * transfer. */
static bool is_transfer(const Schedule *s, Action x, uint32_t to)
{
    return to < s->stages && s->owner[x.stage] != s->owner[to];
}

static void put_transfer(Lists *l, CommandKind kind, Action x, uint32_t to)
{
    uint32_t from_rank = l->s->owner[x.stage], to_rank = l->s->owner[to];
    bool sends = kind == COMMAND_send;
    Command c = {.kind = kind,
                 .channel = x.stage * l->s->stages + to,
                 .peer = sends ? to_rank : from_rank,
                 .tag = tag_of(l->s, x),
                 .action = x,
                 .to_stage = to};
    vec_push(l->a, &l->at[sends ? from_rank : to_rank].rows, c);
    l->received[c.tag] |= !sends;
}

static bool makes(Action x)
{
    return x.kind != ACTION_weight;
}

/* The stage that reads what an action makes; beyond the stages: none. */
static uint32_t reader_of(Action x)
{
    return x.kind == ACTION_forward ? x.stage + 1 : x.stage - 1;
}

/* What an action reads of another stage. */
static bool read_of(const Schedule *s, Action x, Action *out)
{
    *out = x;
    out->stage = x.kind == ACTION_forward ? x.stage - 1 : x.stage + 1;
    return makes(x) && out->stage < s->stages;
}

static void put_action(Lists *l, Action x)
{
    Command c = {.kind = COMMAND_action, .action = x};
    vec_push(l->a, &l->at[l->s->owner[x.stage]].rows, c);
}

static void put_end(Lists *l, Action x)
{
    uint32_t to = reader_of(x);
    if (!makes(x) || !is_transfer(l->s, x, to)) return;
    put_transfer(l, COMMAND_send, x, to);
    put_transfer(l, COMMAND_receive, x, to);
}

/* Of a circle: what it receives, if nobody sent it, itself, what it sends. */
static void put_stuck(Lists *l, Action x)
{
    Action y;
    uint32_t to = reader_of(x);
    if (read_of(l->s, x, &y) && is_transfer(l->s, y, x.stage) &&
        !l->received[tag_of(l->s, y)])
        put_transfer(l, COMMAND_receive, y, x.stage);
    put_action(l, x);
    if (makes(x) && is_transfer(l->s, x, to))
        put_transfer(l, COMMAND_send, x, to);
}

CommandList *schedule_commands(Arena *a, const Schedule *s,
                               const Simulation *run)
{
    Lists l = {a, s, NEW_ARRAY(a, CommandList, s->ranks + 1), NULL};
    l.received = NEW_ARRAY(a, bool, 2 * (size_t)s->stages * s->micros + 1);
    uint32_t *done = NEW_ARRAY(a, uint32_t, s->ranks + 1);
    for (uint32_t i = 0; i < 2 * run->n; i++) {
        const Started *x = run->moments[i].of;
        Action action = s->rows[x->rank].at[x->place];
        if (run->moments[i].ends)
            put_end(&l, action);
        else
            put_action(&l, action);
        done[x->rank] = x->place + 1;
    }
    for (uint32_t r = 0; r < s->ranks; r++)
        for (uint32_t i = done[r]; i < s->rows[r].n; i++)
            if (s->rows[r].at[i].kind != ACTION_idle)
                put_stuck(&l, s->rows[r].at[i]);
    return l.at;
}
