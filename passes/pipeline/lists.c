/*
 * lists.c: the commands of rank functions as they are, for the check.
 *
 * A call is an action; the k-th send from one rank to another on a channel is
 * the k-th receive there.  All run on one stream, in the order of the function:
 * what ends so ends on any number of streams that wait for what they read.
 */
#include "schedule.h"

typedef struct Walk {
    Module *m;
    Arena *a;
    const Fn *fn;
    uint32_t rank;
    CommandList *out;
} Walk;

static const char *value_words(const Walk *w, Value v)
{
    const char *name = str_of(w->m, w->fn->names[v.id]);
    return *name ? arena_printf(w->a, "'%s'", name) : "a value";
}

/* How many of the same are in front of it. */
static uint64_t number_of(const Walk *w, const Command *c)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < w->out->rows.n; i++) {
        const Command *x = &w->out->rows.at[i];
        n += x->kind == c->kind && x->peer == c->peer &&
             x->channel == c->channel;
    }
    return n;
}

static void put_message(Walk *w, Value v)
{
    const Inst *in = inst_of(w->fn, v);
    bool sends = in->op == OP_send;
    Command c = {.kind = sends ? COMMAND_send : COMMAND_receive};
    c.peer = (uint32_t)attr_int(w->m, in->attr, AT_peer, 0);
    c.channel = (uint32_t)attr_int(w->m, in->attr, AT_channel, 0);
    c.tag = number_of(w, &c);
    c.text = arena_printf(
        w->a, "%s, message %u from rank %u to rank %u on channel %u,",
        value_words(w, sends ? inst_arg(w->fn, in, 0) : v), (uint32_t)c.tag,
        sends ? w->rank : c.peer, sends ? c.peer : w->rank, c.channel);
    vec_push(w->a, &w->out->rows, c);
}

static void put_call(Walk *w, const Inst *in)
{
    const Fn *g = fn_of(w->m, attr_fn(w->m, in->attr, AT_fn));
    Command c = {.kind = COMMAND_action};
    c.text = arena_printf(w->a, "a call of @%s", str_of(w->m, g->name));
    vec_push(w->a, &w->out->rows, c);
}

bool lists_check(const ScheduleAsk *ask, Module *m, Fn *const *fns, uint32_t n)
{
    CommandList *lists = NEW_ARRAY(ask->arena, CommandList, n + 1);
    for (uint32_t r = 0; r < n; r++) {
        Walk w = {m, ask->arena, fns[r], r, &lists[r]};
        for (uint32_t i = w.fn->nparams; i < w.fn->ninsts; i++) {
            const Inst *in = &w.fn->insts[i];
            if (is_message(in))
                put_message(&w, (Value){i});
            else if (in->op == OP_call)
                put_call(&w, in);
        }
    }
    return commands_check(ask, lists, n);
}
