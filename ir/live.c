/*
 * live.c: when each buffer of a kernel module holds something (see live.h).
 *
 * One walk in the order of execution, with each loop's body walked once.  What
 * is handed to a loop is used by the loop, from its begin to its end.
 */
#include "ir.h"

static const uint32_t NO_BUFFER = UINT32_MAX;

/* A function in one place where it runs. */
typedef struct LivePlace {
    const struct LivePlace *around; /* NULL: an entry */
    uint32_t step;                  /* the loop there */
    uint32_t depth;
    StepOrder order;
} LivePlace;

typedef struct LiveWalk {
    Module *m;
    Arena *a;
    VEC(LiveBuffer) buffers;
    uint32_t **numbers; /* by function: value -> buffer + 1 */
    int64_t now;
    bool one_stream;
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

static void use(LiveWalk *w, uint32_t buffer, const LivePlace *p, uint32_t step)
{
    if (buffer == NO_BUFFER || w->one_stream) return;
    LiveUse u = {p, step};
    vec_push(w->a, &w->buffers.at[buffer].uses, u);
}

/* The buffer behind each value, through views; none behind an argument. */
static uint32_t *roots_of(LiveWalk *w, FnRef f)
{
    const Fn *fn = fn_of(w->m, f);
    const uint32_t *numbers = numbers_of(w, f);
    uint32_t *roots = NEW_ARRAY(w->a, uint32_t, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        roots[i] = NO_BUFFER;
        if (in->op == OP_buffer && numbers[i]) roots[i] = numbers[i] - 1;
        if (in->op == OP_view) roots[i] = roots[inst_arg(fn, in, 0).id];
    }
    return roots;
}

static void walk_fn(LiveWalk *w, FnRef f, LivePlace place, bool lane)
{
    const Fn *fn = fn_of(w->m, f);
    const uint32_t *roots = roots_of(w, f);
    LivePlace *p = NEW(w->a, LivePlace);
    *p = place;
    if (!w->one_stream) p->order = order_of(w->m, fn, w->a);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_buffer && roots[i] != NO_BUFFER)
            w->buffers.at[roots[i]].lane |= lane;
        if (!is_step(in)) continue;
        int64_t begin = w->now;
        if (in->op == OP_loop) {
            LivePlace inner = {.around = p, .step = i, .depth = p->depth + 1};
            bool lanes = lane || attr_flag(w->m, in->attr, AT_parallel);
            w->now++;
            walk_fn(w, attr_fn(w->m, in->attr, AT_fn), inner, lanes);
        }
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t root = roots[inst_arg(fn, in, k).id];
            touch(w, root, begin, w->now);
            use(w, root, p, i);
        }
        w->now++;
    }
}

Live live_find(Module *m, Arena *a)
{
    LiveWalk w = {.m = m, .a = a, .one_stream = module_streams(m) == 1};
    w.numbers = NEW_ARRAY(a, uint32_t *, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->entry && m->fns.at[i]->view == VIEW_kernel)
            walk_fn(&w, (FnRef){i}, (LivePlace){.around = NULL}, false);
    return (Live){w.buffers.at, w.buffers.n, w.one_stream};
}

/* Whether use X ends before use Y begins: the steps that they are, or are in,
 * of the innermost function around both.  Entries never run together. */
static bool ends_before(LiveUse x, LiveUse y)
{
    while (x.place != y.place) {
        LiveUse *deep = x.place->depth >= y.place->depth ? &x : &y;
        if (!deep->place->around) return true;
        *deep = (LiveUse){deep->place->around, deep->place->step};
    }
    return x.step < y.step && order_before(&x.place->order, x.step, y.step);
}

bool live_together(const Live *l, const LiveBuffer *x, const LiveBuffer *y)
{
    if (x->first <= y->last && y->first <= x->last) return true;
    if (l->one_stream) return false;
    const LiveBuffer *a = x->last < y->first ? x : y, *b = a == x ? y : x;
    for (uint32_t i = 0; i < a->uses.n; i++)
        for (uint32_t k = 0; k < b->uses.n; k++)
            if (!ends_before(a->uses.at[i], b->uses.at[k])) return true;
    return false;
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
