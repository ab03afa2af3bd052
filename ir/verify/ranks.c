/*
 * ranks.c: verifying the messages of rank functions in the kernel view.
 *
 * The lists of all ranks are played together, each in its order, and a message
 * is passed when both sides have come to it (RK1): then they come to their ends
 * whatever the speed of each, even where a send waits to be received.
 */
#include "verify.h"

typedef struct Side {
    const Fn *fn; /* NULL: there is no such rank */
    uint32_t at;  /* instruction */
} Side;

static Type message_type(const Fn *fn, const Inst *launch)
{
    return value_type(fn, inst_arg(fn, launch, 0));
}

static bool fail(Module *m, const Fn *fn, const Inst *in, const char *why)
{
    const Inst *of = launched_message(m, in);
    diag_error(m->diag, DIAG_ir_verify, loc_span(m, in->loc),
               "@%s: %s rank %lld on channel %lld %s", str_of(m, fn->name),
               of->op == OP_send ? "what it sends to" : "what it receives from",
               (long long)attr_int(m, of->attr, AT_peer, 0),
               (long long)attr_int(m, of->attr, AT_channel, 0), why);
    return false;
}

/* To its next message; false: it has none. */
static bool go_to_message(const Module *m, Side *s)
{
    if (!s->fn) return false;
    while (s->at < s->fn->ninsts && !launched_message(m, &s->fn->insts[s->at]))
        s->at++;
    return s->at < s->fn->ninsts;
}

/* Both sides have come to one message. */
static bool meet(const Module *m, const Side *at, uint32_t rank, uint32_t peer)
{
    const Inst *x = &at[rank].fn->insts[at[rank].at];
    const Inst *y = &at[peer].fn->insts[at[peer].at];
    const Inst *p = launched_message(m, x), *q = launched_message(m, y);
    return p->op != q->op && attr_int(m, q->attr, AT_peer, 0) == rank &&
           attr_int(m, p->attr, AT_channel, 0) ==
               attr_int(m, q->attr, AT_channel, 0) &&
           type_eq(message_type(at[rank].fn, x), message_type(at[peer].fn, y));
}

/* Passes what can be passed; false: nothing can. */
static bool pass_message(const Module *m, Side *at, uint32_t n, uint32_t rank)
{
    if (!go_to_message(m, &at[rank])) return false;
    const Inst *x = launched_message(m, &at[rank].fn->insts[at[rank].at]);
    int64_t peer = attr_int(m, x->attr, AT_peer, 0);
    if (peer >= n || peer == rank || !go_to_message(m, &at[peer]) ||
        !meet(m, at, rank, (uint32_t)peer))
        return false;
    at[rank].at++;
    at[peer].at++;
    return true;
}

/* RK1 of the ranks of one entry. */
static bool play(Module *m, Side *at, uint32_t n)
{
    for (bool progress = true; progress;) {
        progress = false;
        for (uint32_t r = 0; r < n; r++)
            while (pass_message(m, at, n, r))
                progress = true;
    }
    for (uint32_t r = 0; r < n; r++)
        if (go_to_message(m, &at[r]))
            return fail(m, at[r].fn, &at[r].fn->insts[at[r].at],
                        "never meets its other side (RK1)");
    return true;
}

/* The rank functions of the entry that FN is rank 0 of. */
static Side *sides_of(Module *m, const Fn *fn, size_t stem, uint32_t n)
{
    Side *at = NEW_ARRAY(m->scratch, Side, (size_t)n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        uint32_t rank;
        const Fn *other = m->fns.at[i];
        if (fn_rank(m, other, &rank) == stem && other->view == VIEW_kernel &&
            !strncmp(str_of(m, other->name), str_of(m, fn->name), stem))
            at[rank].fn = other;
    }
    return at;
}

/* RK2, RK3. */
static bool check_fn(Module *m, const Fn *fn)
{
    StepOrder o = {0};
    uint32_t last = UINT32_MAX;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!launched_message(m, in)) continue;
        if (!fn_is(m, fn, FK_rank))
            return fail(m, fn, in, "is in no rank function (RK2)");
        if (last == UINT32_MAX) o = order_of(m, fn, m->scratch);
        if (last != UINT32_MAX && !order_before(&o, last, i))
            return fail(m, fn, in,
                        "does not wait for the message before it (RK3)");
        last = i;
    }
    return true;
}

bool verify_module_ranks(Module *m)
{
    uint32_t n = module_ranks(m), rank;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->view == VIEW_kernel && !check_fn(m, m->fns.at[i]))
            return false;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        size_t stem = fn_rank(m, fn, &rank);
        if (stem && rank == 0 && fn->view == VIEW_kernel &&
            !play(m, sides_of(m, fn, stem, n), n))
            return false;
    }
    return true;
}
