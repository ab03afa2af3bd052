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

static void hand_over(Frame *f, const Inst *in, const Val *v)
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
    hand_over(f, in, frame_arg(f, in, 0));
}

void interp_recv(Frame *f, const Inst *in, Val *out)
{
    *out = (Val){.type = in->type};
    if (!attr_flag(f->r->m, in->attr, AT_started)) rank_recv(f, in, out);
}

/* A rank that has not come to its end. */
typedef struct RankRun {
    Frame f;
    Queue *steps; /* kernel view: of its launches and loops */
    bool done;
} RankRun;

/* The receive that a rank waits in: in the kernel view, a launch of one. */
static const Inst *waits_in(const Run *r, const Frame *f)
{
    const Inst *in = &f->fn->insts[f->next];
    return in->op == OP_launch ? launched_message(r->m, in) : in;
}

static void report_deadlock(Run *r, const RankRun *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (x[i].done) continue;
        const Inst *in = waits_in(r, &x[i].f);
        run_fail(r, x[i].f.fn, &x[i].f.fn->insts[x[i].f.next],
                 DIAG_interp_ranks,
                 "rank %u waits for a message from rank %lld on channel %lld "
                 "that is never sent",
                 i, (long long)attr_int(r->m, in->attr, AT_peer, 0),
                 (long long)attr_int(r->m, in->attr, AT_channel, 0));
    }
}

static bool go_on(RankRun *x)
{
    bool progress = false;
    if (x->steps) {
        x->done = places_go(x->steps, &progress);
        return progress || x->done;
    }
    uint32_t before = x->f.next;
    run_body(&x->f);
    x->done = x->f.next == x->f.fn->ninsts;
    return x->f.next > before || x->done;
}

static void run_ranks(Run *r, RankRun *x, uint32_t n)
{
    uint32_t left = n;
    for (bool progress = true; progress && left && !r->failed;) {
        progress = false;
        for (uint32_t i = 0; i < n && !r->failed; i++) {
            if (x[i].done) continue;
            r->rank = i;
            progress |= go_on(&x[i]);
            left -= x[i].done;
        }
    }
    if (left && !r->failed) report_deadlock(r, x, n);
}

static void begin(Run *r, RankRun *x)
{
    if (x->f.fn->view != VIEW_kernel) return;
    places_fill(&x->f);
    if (!r->failed) x->steps = places_begin(&x->f);
}

static void take_results(Run *r, RankRun *x, Tensor *results, Arena *arena)
{
    const Fn *fn = x->f.fn;
    Val *out = vals_of_results(r, fn);
    if (x->steps) places_results(&x->f, out);
    for (uint32_t k = 0; k < fn->nresults && !x->steps; k++)
        out[k] = x->f.vals[fn->result_values[k].id];
    tensors_of_vals(r, fn, out, results, arena);
}

bool interp_ranks(Module *m, const Fn *const *fns, uint32_t n,
                  const InterpOpts *o, const Tensor *const *args,
                  Tensor *const *results, Arena *arena)
{
    Run r;
    run_begin(&r, m, o, fns[0]);
    Ranks ranks = {.n = n};
    r.ranks = &ranks;
    if (fns[0]->view == VIEW_kernel) places_open(&r, n);
    RankRun *x = NEW_ARRAY(&r.temp, RankRun, n);
    for (uint32_t i = 0; i < n && !r.failed; i++) {
        r.rank = i;
        x[i].f = frame_new(&r, fns[i], vals_of_tensors(&r, fns[i], args[i]));
        begin(&r, &x[i]);
    }
    if (!r.failed) run_ranks(&r, x, n);
    for (uint32_t i = 0; i < n && !r.failed; i++)
        take_results(&r, &x[i], results[i], arena);
    run_end(&r);
    return !r.failed;
}
