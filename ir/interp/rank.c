/*
 * rank.c: rank functions, which send to and receive from each other.
 *
 * The rank functions of a module (kind "rank", one per pp coordinate, in
 * order) run by turns: each goes on until it waits for a message that is not
 * there yet.  Messages between two ranks on one channel arrive in order.
 * When none can go on, they wait for one another.
 */
#include "run.h"

typedef struct Message {
    uint32_t from, to;
    int64_t channel;
    Val v;
    bool taken;
} Message;

struct Ranks {
    VEC(Message) messages;
    uint32_t n;
};

/* A value that outlives the frame that sent it. */
static Val kept_copy(Run *r, const Val *v)
{
    Val copy = *v;
    size_t n = (size_t)v->n * r->ndev;
    copy.dot = NULL;
    copy.at = NEW_ARRAY(&r->keep, Cell, n);
    if (n) memcpy(copy.at, v->at, n * sizeof *copy.at);
    return copy;
}

static bool in_ranks(Frame *f, const Inst *in)
{
    if (!f->r->ranks)
        run_fail(f->r, f->fn, in, DIAG_interp_ranks,
                 "'%s' outside of the rank functions of a pipeline",
                 op_info((Op)in->op)->name);
    return !f->r->failed;
}

void rank_send(Frame *f, const Inst *in, const Val *v)
{
    Run *r = f->r;
    if (!in_ranks(f, in)) return;
    Message m = {.from = r->rank};
    m.to = (uint32_t)attr_int(r->m, in->attr, AT_peer, 0);
    m.channel = attr_int(r->m, in->attr, AT_channel, 0);
    m.v = kept_copy(r, v);
    vec_push(&r->keep, &r->ranks->messages, m);
}

void rank_recv(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    if (!in_ranks(f, in)) return;
    uint32_t from = (uint32_t)attr_int(r->m, in->attr, AT_peer, 0);
    int64_t channel = attr_int(r->m, in->attr, AT_channel, 0);
    for (uint32_t i = 0; i < r->ranks->messages.n; i++) {
        Message *m = &r->ranks->messages.at[i];
        if (m->taken || m->from != from || m->to != r->rank ||
            m->channel != channel)
            continue;
        *out = m->v;
        out->type = in->type;
        m->taken = true;
        return;
    }
    f->blocked = true;
}

void interp_send(Frame *f, const Inst *in, Val *out)
{
    *out = (Val){.type = in->type};
    rank_send(f, in, frame_arg(f, in, 0));
}

void interp_recv(Frame *f, const Inst *in, Val *out)
{
    *out = (Val){.type = in->type};
    if (!attr_flag(f->r->m, in->attr, AT_started)) rank_recv(f, in, out);
}

static void report_deadlock(Run *r, const Frame *frames, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const Frame *f = &frames[i];
        if (f->next == f->fn->ninsts) continue;
        const Inst *in = &f->fn->insts[f->next];
        run_fail(r, f->fn, in, DIAG_interp_ranks,
                 "rank %u waits for a message from rank %lld on channel %lld "
                 "that is never sent",
                 i, (long long)attr_int(r->m, in->attr, AT_peer, 0),
                 (long long)attr_int(r->m, in->attr, AT_channel, 0));
    }
}

static void run_ranks(Run *r, Frame *frames, uint32_t n)
{
    uint32_t finished = 0;
    bool progress = true;
    while (progress && !r->failed && finished < n) {
        progress = false;
        finished = 0;
        for (uint32_t i = 0; i < n && !r->failed; i++) {
            uint32_t before = frames[i].next;
            r->rank = i;
            run_body(&frames[i]);
            progress |= frames[i].next > before;
            finished += frames[i].next == frames[i].fn->ninsts;
        }
    }
    if (finished < n) report_deadlock(r, frames, n);
}

bool interp_ranks(Module *m, const Fn *const *fns, uint32_t n,
                  const InterpOpts *o, const Tensor *const *args,
                  Tensor *const *results, Arena *arena)
{
    Run r;
    run_begin(&r, m, o, fns[0]);
    Ranks ranks = {.n = n};
    r.ranks = &ranks;
    Frame *frames = NEW_ARRAY(&r.temp, Frame, n);
    for (uint32_t i = 0; i < n; i++)
        frames[i] = frame_new(&r, fns[i], vals_of_tensors(&r, fns[i], args[i]));
    run_ranks(&r, frames, n);
    for (uint32_t i = 0; i < n && !r.failed; i++) {
        Val *out = vals_of_results(&r, fns[i]);
        for (uint32_t k = 0; k < fns[i]->nresults; k++)
            out[k] = frames[i].vals[fns[i]->result_values[k].id];
        tensors_of_vals(&r, fns[i], out, results[i], arena);
    }
    run_end(&r);
    return !r.failed;
}
