/*
 * live.c: when each buffer of a kernel module holds something (see live.h).
 *
 * One walk in the order of execution, with each loop's body walked once.  A
 * use of a loop's argument is a use of the buffer that was handed in.
 */
#include "ir.h"

static const uint32_t NO_BUFFER = UINT32_MAX;

typedef struct LiveWalk {
    Module *m;
    Arena *a;
    VEC(LiveBuffer) buffers;
    uint32_t **numbers; /* by function: value -> buffer + 1 */
    int64_t now;
} LiveWalk;

static bool is_result(const Fn *fn, Value v)
{
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (value_eq(fn->result_values[i], v)) return true;
    return false;
}

/* Functions are numbered by their place in the module. */
static uint32_t *numbers_of(LiveWalk *w, FnRef f)
{
    if (w->numbers[f.id]) return w->numbers[f.id];
    Fn *fn = fn_of(w->m, f);
    uint32_t *n = NEW_ARRAY(w->a, uint32_t, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (fn->insts[i].op != OP_buffer || is_result(fn, (Value){i})) continue;
        LiveBuffer b = {.fn = fn, .value = {i}, .first = INT64_MAX, .last = -1};
        b.bytes = layout_bytes(w->m, layout_of(w->m, fn, (Value){i}, w->a));
        vec_push(w->a, &w->buffers, b);
        n[i] = w->buffers.n;
    }
    w->numbers[f.id] = n;
    return n;
}

static void touch(LiveWalk *w, uint32_t buffer, int64_t first, int64_t last)
{
    if (buffer == NO_BUFFER) return;
    LiveBuffer *b = &w->buffers.at[buffer];
    if (b->first > first) b->first = first;
    if (b->last < last) b->last = last;
}

/* The buffer behind each value: through views, and arguments. */
static uint32_t *roots_of(LiveWalk *w, FnRef f, const uint32_t *args)
{
    const Fn *fn = fn_of(w->m, f);
    const uint32_t *numbers = numbers_of(w, f);
    uint32_t *roots = NEW_ARRAY(w->a, uint32_t, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        roots[i] = NO_BUFFER;
        if (in->op == OP_buffer && numbers[i]) roots[i] = numbers[i] - 1;
        if (in->op == OP_view) roots[i] = roots[inst_arg(fn, in, 0).id];
        if (in->op == OP_arg && args) roots[i] = args[i];
    }
    return roots;
}

static void walk_fn(LiveWalk *w, FnRef f, const uint32_t *args, bool lane);

static void walk_loop(LiveWalk *w, const Fn *fn, const Inst *in,
                      const uint32_t *roots, bool lane)
{
    uint32_t *args = NEW_ARRAY(w->a, uint32_t, (size_t)in->nargs + 1);
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = roots[inst_arg(fn, in, k).id];
    int64_t begin = w->now++;
    walk_fn(w, attr_fn(w->m, in->attr, AT_fn), args,
            lane || attr_flag(w->m, in->attr, AT_parallel));
    for (uint32_t k = 0; k < in->nargs; k++)
        touch(w, args[k], begin, w->now);
    w->now++;
}

static void walk_fn(LiveWalk *w, FnRef f, const uint32_t *args, bool lane)
{
    const Fn *fn = fn_of(w->m, f);
    const uint32_t *roots = roots_of(w, f, args);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_buffer && roots[i] != NO_BUFFER)
            w->buffers.at[roots[i]].lane |= lane;
        if (in->op == OP_loop) walk_loop(w, fn, in, roots, lane);
        if (in->op != OP_launch) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            touch(w, roots[inst_arg(fn, in, k).id], w->now, w->now);
        w->now++;
    }
}

Live live_find(Module *m, Arena *a)
{
    LiveWalk w = {.m = m, .a = a};
    w.numbers = NEW_ARRAY(a, uint32_t *, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->entry && m->fns.at[i]->view == VIEW_kernel)
            walk_fn(&w, (FnRef){i}, NULL, false);
    return (Live){w.buffers.at, w.buffers.n};
}

int64_t live_most(const Live *l, bool lane, int64_t *moment, Arena *a)
{
    int64_t end = 0, most = 0, now = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->at[i].last >= end) end = l->at[i].last + 1;
    int64_t *change = NEW_ARRAY(a, int64_t, (size_t)end + 2);
    for (uint32_t i = 0; i < l->n; i++) {
        const LiveBuffer *b = &l->at[i];
        if (b->lane != lane || b->first > b->last) continue;
        change[b->first] += b->bytes;
        change[b->last + 1] -= b->bytes;
    }
    *moment = 0;
    for (int64_t t = 0; t < end; t++) {
        now += change[t];
        if (now <= most) continue;
        most = now;
        *moment = t;
    }
    return most;
}
