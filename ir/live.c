/*
 * live.c: when each buffer of a kernel module holds something (see live.h).
 *
 * One walk in the order of execution, with each loop's body walked once.  What
 * is handed to a loop is used by the loop, from its begin to its end; the walk
 * of the body says whether it was used row by row.
 */
#include "ir.h"

static const uint32_t NONE = UINT32_MAX;

typedef struct LiveWalk {
    Module *m;
    Arena *a;
    VEC(LiveBuffer) buffers;
    uint32_t **numbers; /* by function: value -> buffer + 1 */
    int64_t now;
    bool one_stream;
} LiveWalk;

/* What is behind a value: a buffer of the function, or a parameter. */
typedef struct Behind {
    uint32_t buffer, param;
    int64_t offset, turn;
    bool moves; /* with the loops further out, too */
} Behind;

/* A buffer that is used with a step whose operand it is not, and the next one
 * of that step, counted from 1. */
typedef struct Beside {
    uint32_t buffer, next;
} Beside;

/* The first and the last of a step; 0: none. */
typedef struct BesideStep {
    uint32_t first, last;
} BesideStep;

/* What the body of a loop does to the place that a parameter stands for. */
typedef struct Touch {
    bool any, whole; /* whole: not row by row */
    LiveRows rows;   /* bytes from the begin of the parameter */
} Touch;

/* One function in one place. */
typedef struct FnWalk {
    LiveWalk *w;
    const Fn *fn;
    const LivePlace *place;
    Behind *behind; /* by value */
    Touch *params;
    VEC(Beside) beside;
    BesideStep *of_step; /* by instruction */
    bool lane;
    bool aside; /* it, or a loop around it, is not on stream 0 */
} FnWalk;

/* A step that is being walked. */
typedef struct StepUse {
    uint32_t step;
    int64_t begin;
    const Touch *inside; /* of a loop, by operand */
} StepUse;

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
        LiveBuffer b = {
            .fn = fn, .ref = f, .value = {i}, .first = INT64_MAX, .last = -1};
        b.bytes = layout_bytes(w->m, layout_of(w->m, fn, (Value){i}, w->a));
        vec_push(w->a, &w->buffers, b);
        n[i] = w->buffers.n;
    }
    w->numbers[f.id] = n;
    return n;
}

static void find_behind(FnWalk *f, const uint32_t *numbers)
{
    const Module *m = f->w->m;
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        Behind *b = &f->behind[i];
        *b = (Behind){.buffer = NONE, .param = NONE};
        if (in->op == OP_buffer && numbers[i]) b->buffer = numbers[i] - 1;
        if (in->op == OP_arg) b->param = i;
        if (in->op != OP_view) continue;
        *b = f->behind[inst_arg(f->fn, in, 0).id];
        b->offset += attr_int(m, in->attr, AT_offset, 0);
        const AttrItem *turn = attr_get(m, in->attr, AT_turn);
        for (uint32_t k = 0; turn && k < turn->n; k++) {
            if (k == 0) b->turn += turn->ints[k];
            b->moves |= k > 0 && turn->ints[k] != 0;
        }
        b->moves |= ring_of(m, in).n != 0;
    }
}

/* ---------------------------------------------------------------- rows -- */

static void widen(LiveRows *r, bool first, int64_t lo, int64_t hi)
{
    if (first || lo < r->lo) r->lo = lo;
    if (first || hi > r->hi) r->hi = hi;
}

/* A step of a body uses parameter B->param, all of operand V or the rows that
 * an inner loop walks through. */
static void touch_param(FnWalk *f, const StepUse *u, Value v, const Touch *in)
{
    const Behind *b = &f->behind[v.id];
    LiveWalk *w = f->w;
    Touch *t = &f->params[b->param];
    LiveRows *r = &t->rows;
    int64_t lo = 0, hi;
    hi = layout_bytes(w->m, layout_of(w->m, f->fn, v, w->a));
    if (in && !in->whole) {
        lo = in->rows.lo;
        hi = in->rows.hi + in->rows.pitch * (in->rows.count - 1);
    }
    t->whole |= b->turn <= 0 || b->moves || (t->any && r->pitch != b->turn);
    widen(r, !t->any, b->offset + lo, b->offset + hi);
    if (!t->any) r->first = u->begin;
    r->last = w->now;
    r->pitch = b->turn;
    if (!r->steps.n || vec_last(&r->steps) != u->step)
        vec_push(w->a, &r->steps, u->step);
    t->any = true;
}

/* The rows of a buffer that a loop walks through, whichever operands hand it
 * in; NULL: not row by row. */
static const LiveRows *rows_of(const FnWalk *f, const StepUse *u,
                               uint32_t buffer)
{
    const Inst *in = &f->fn->insts[u->step];
    LiveRows *r = NULL;
    for (uint32_t k = 0; u->inside && k < in->nargs; k++) {
        const Behind *b = &f->behind[inst_arg(f->fn, in, k).id];
        const Touch *t = &u->inside[k];
        if (b->buffer != buffer || !t->any) continue;
        if (t->whole || b->turn || b->moves || (r && r->pitch != t->rows.pitch))
            return NULL;
        bool first = !r;
        if (first) {
            r = NEW(f->w->a, LiveRows);
            *r = t->rows;
            r->steps.n = r->steps.cap = 0;
            r->steps.at = NULL;
        }
        widen(r, first, b->offset + t->rows.lo, b->offset + t->rows.hi);
        if (t->rows.first < r->first) r->first = t->rows.first;
        if (t->rows.last > r->last) r->last = t->rows.last;
        for (uint32_t i = 0; i < t->rows.steps.n; i++)
            vec_push(f->w->a, &r->steps, t->rows.steps.at[i]);
    }
    return r;
}

/* What is handed in of a buffer, as one row. */
static LiveRows piece_of(const FnWalk *f, const StepUse *u, uint32_t buffer)
{
    LiveWalk *w = f->w;
    const Inst *in = &f->fn->insts[u->step];
    LiveRows r = {.count = 1,
                  .whole = true,
                  .first = u->begin,
                  .last = w->now,
                  .begin = u->begin,
                  .end = w->now};
    bool any = false, all = false;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value v = inst_arg(f->fn, in, k);
        const Behind *b = &f->behind[v.id];
        if (b->buffer != buffer) continue;
        int64_t bytes = layout_bytes(w->m, layout_of(w->m, f->fn, v, w->a));
        widen(&r, !any, b->offset, b->offset + bytes);
        any = true;
        all |= b->turn || b->moves;
        if (u->inside) r.body = u->inside[k].rows.body;
    }
    if (!any || all) widen(&r, true, 0, w->buffers.at[buffer].bytes);
    return r;
}

/* The birth, counted from 1, in whose bytes others are; 0: in none. */
static uint32_t birth_around(const LiveBuffer *b, const LiveRows *r)
{
    for (uint32_t i = 0; i < b->births.n; i++)
        if (rows_begin(r) >= rows_begin(b->births.at[i]) &&
            rows_end(r) <= rows_end(b->births.at[i]))
            return i + 1;
    return 0;
}

/* The bytes are none that were there before. */
static bool is_birth(const LiveBuffer *b, const LiveRows *r)
{
    if (b->born || !r->body) return false;
    for (uint32_t i = 0; i < b->births.n; i++)
        if (rows_begin(r) < rows_end(b->births.at[i]) &&
            rows_begin(b->births.at[i]) < rows_end(r))
            return false;
    return true;
}

/* Which birth a use has to do with, as LiveUse says. */
static uint32_t note_birth(LiveWalk *w, LiveBuffer *b, const LiveRows *rows,
                           const LiveRows *piece)
{
    const LiveRows *r = rows ? rows : piece;
    if (is_birth(b, r)) {
        LiveRows *kept = NEW(w->a, LiveRows);
        *kept = *r;
        vec_push(w->a, &b->births, kept);
    } else if (!birth_around(b, r)) {
        b->born = true;
    }
    return birth_around(b, r);
}

LiveSpan live_span(const LivePlace *place, uint32_t step)
{
    const StepOrder *o = &place->order;
    LiveSpan s = {.place = place};
    memcpy(s.begin, o->done[step], sizeof s.begin);
    s.end[o->stream[step]] = o->place[step];
    return s;
}

LiveSpan live_outer(const LiveBuffer *b, const LivePlace **loop)
{
    LiveSpan s = b->span;
    for (*loop = NULL; s.place && s.place->around;
         s = live_span((*loop)->around, (*loop)->step))
        *loop = s.place;
    return s;
}

static void note_use(LiveWalk *w, LiveBuffer *b, LiveUse use)
{
    LiveSpan s = live_span(use.place, use.step);
    if (!b->uses.n)
        b->span = s;
    else if (b->span.place != use.place)
        b->span.place = NULL;
    for (uint32_t k = 0; k < MOST_STREAMS; k++) {
        if (b->span.begin[k] > s.begin[k]) b->span.begin[k] = s.begin[k];
        if (b->span.end[k] < s.end[k]) b->span.end[k] = s.end[k];
    }
    vec_push(w->a, &b->uses, use);
}

static void touch_buffer(FnWalk *f, const StepUse *u, uint32_t buffer)
{
    LiveWalk *w = f->w;
    const LiveRows *rows = rows_of(f, u, buffer);
    LiveRows piece = piece_of(f, u, buffer);
    LiveBuffer *b = &w->buffers.at[buffer];
    uint32_t birth = note_birth(w, b, rows, &piece);
    b->dies = rows;
    if (b->first > u->begin) b->first = u->begin;
    if (b->last < w->now) b->last = w->now;
    if (w->one_stream) return;
    const Inst *in = &f->fn->insts[u->step];
    note_use(w, b, (LiveUse){f->place, u->step, birth});
    b->aside |= f->aside || attr_int(w->m, in->attr, AT_stream, 0) != 0;
}

/* ------------------------------------------------------------ the walk -- */

static void walk_fn(FnWalk *f, FnRef ref);

/* What the body does to each operand.  A guarded loop may leave turns out, the
 * turns of a parallel one have no order. */
static Touch *walk_loop(FnWalk *f, uint32_t step)
{
    LiveWalk *w = f->w;
    const Inst *in = &f->fn->insts[step];
    FnRef ref = attr_fn(w->m, in->attr, AT_fn);
    bool parallel = attr_flag(w->m, in->attr, AT_parallel);
    LivePlace *place = NEW(w->a, LivePlace);
    *place = (LivePlace){
        .around = f->place, .step = step, .depth = f->place->depth + 1};
    FnWalk body = {.w = w, .place = place, .lane = f->lane || parallel};
    body.aside = f->aside || attr_int(w->m, in->attr, AT_stream, 0) != 0;
    body.params = NEW_ARRAY(w->a, Touch, (size_t)in->nargs + 1);
    int64_t begin = w->now++;
    if (!w->one_stream) place->order = order_of(w->m, fn_of(w->m, ref), w->a);
    walk_fn(&body, ref);
    for (uint32_t k = 0; k < in->nargs; k++) {
        Touch *t = &body.params[k];
        t->whole |= parallel || attr_flag(w->m, in->attr, AT_guarded);
        t->rows.body = place;
        t->rows.count = attr_int(w->m, in->attr, AT_count, 0);
        t->rows.reverse = attr_flag(w->m, in->attr, AT_reverse);
        t->rows.begin = begin;
        t->rows.end = w->now;
    }
    return body.params;
}

static void walk_step(FnWalk *f, uint32_t i)
{
    const Inst *in = &f->fn->insts[i];
    StepUse u = {.step = i, .begin = f->w->now};
    if (in->op == OP_loop) u.inside = walk_loop(f, i);
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value v = inst_arg(f->fn, in, k);
        const Behind *b = &f->behind[v.id];
        const Touch *inside = u.inside ? &u.inside[k] : NULL;
        if (b->buffer != NONE) touch_buffer(f, &u, b->buffer);
        if (b->param != NONE && f->params && (!inside || inside->any))
            touch_param(f, &u, v, inside);
    }
    for (uint32_t k = f->of_step[i].first; k; k = f->beside.at[k - 1].next)
        touch_buffer(f, &u, f->beside.at[k - 1].buffer);
    f->w->now++;
}

static bool is_collective(const Module *m, const Inst *in, Op op)
{
    if (in->op != OP_launch) return false;
    const Fn *group = fn_of(m, attr_fn(m, in->attr, AT_fn));
    return fn_is(m, group, FK_collective) && group_collective(group)->op == op;
}

static bool is_beside(const FnWalk *f, const Inst *in, const Inst *other)
{
    const Module *m = f->w->m;
    return is_step(in) && attr_int(m, in->attr, AT_stream, 0) !=
                              attr_int(m, other->attr, AT_stream, 0);
}

static void put_beside(FnWalk *f, uint32_t step, uint32_t buffer)
{
    BesideStep *s = &f->of_step[step];
    vec_push(f->w->a, &f->beside, ((Beside){buffer, 0}));
    *(s->last ? &f->beside.at[s->last - 1].next : &s->first) = f->beside.n;
    s->last = f->beside.n;
}

/* The last product in front of a step whose result is the buffer; NONE: there
 * is none. */
static uint32_t product_of(const FnWalk *f, uint32_t step, uint32_t buffer)
{
    const Module *m = f->w->m;
    for (uint32_t i = step; i-- > 0;) {
        const Inst *in = &f->fn->insts[i];
        if (in->op != OP_launch || !in->nargs) continue;
        Value last = inst_arg(f->fn, in, in->nargs - 1);
        if (fn_is(m, fn_of(m, attr_fn(m, in->attr, AT_fn)), FK_matmul) &&
            f->behind[last.id].buffer == buffer)
            return i;
    }
    return NONE;
}

/* What devices exchange of a product comes while it is made. */
static void find_fed(FnWalk *f)
{
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        if (!is_collective(f->w->m, in, OP_all_to_all)) continue;
        uint32_t from = f->behind[inst_arg(f->fn, in, 0).id].buffer;
        uint32_t to = f->behind[inst_arg(f->fn, in, 1).id].buffer;
        uint32_t step = from == NONE ? NONE : product_of(f, i, from);
        if (to != NONE && step != NONE) put_beside(f, step, to);
    }
}

/* ---------------------------------------------------- what is gathered -- */

static bool has_gathers(const Module *m, const Fn *fn)
{
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (is_collective(m, &fn->insts[i], OP_all_gather)) return true;
    return false;
}

/* Views come behind what they are of. */
static uint32_t *find_roots(const Module *m, const Fn *fn, Arena *a)
{
    uint32_t *root = NEW_ARRAY(a, uint32_t, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        const AttrItem *within = attr_get(m, in->attr, AT_within);
        root[i] = within              ? (uint32_t)within->i
                  : in->op == OP_view ? root[inst_arg(fn, in, 0).id]
                                      : i;
    }
    return root;
}

/* What a step uses, each once; LAST: by root, the last step that did, plus 1.
 */
static uint32_t roots_used(const LiveUsers *u, uint32_t step, uint32_t *last,
                           uint32_t *used)
{
    const Inst *in = &u->fn->insts[step];
    uint32_t n = 0;
    for (uint32_t k = 0; k < in->nargs && is_step(in); k++) {
        uint32_t root = u->root[inst_arg(u->fn, in, k).id];
        if (last[root] == step + 1) continue;
        last[root] = step + 1;
        used[n++] = root;
    }
    return n;
}

LiveUsers live_users(const Module *m, const Fn *fn, Arena *a)
{
    LiveUsers u = {.m = m, .fn = fn};
    size_t n = (size_t)fn->ninsts + 2;
    if (!has_gathers(m, fn)) return u;
    u.root = find_roots(m, fn, a);
    u.first = NEW_ARRAY(a, uint32_t, n);
    u.at = NEW_ARRAY(a, uint32_t, (size_t)fn->nargs + 1);
    uint32_t *used = NEW_ARRAY(a, uint32_t, (size_t)fn->nargs + 1);
    uint32_t *last = NEW_ARRAY(a, uint32_t, n),
             *next = NEW_ARRAY(a, uint32_t, n);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        for (uint32_t k = roots_used(&u, i, last, used); k-- > 0;)
            u.first[used[k] + 1]++;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        u.first[i + 1] += u.first[i];
    memset(last, 0, n * sizeof *last);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        for (uint32_t k = roots_used(&u, i, last, used); k-- > 0;)
            u.at[u.first[used[k]] + next[used[k]]++] = i;
    return u;
}

static bool makes(const LiveUsers *u, uint32_t step, uint32_t root)
{
    const Inst *in = &u->fn->insts[step];
    for (uint32_t k = 0; k < in->nargs; k++)
        if (u->root[inst_arg(u->fn, in, k).id] == root &&
            step_writes(u->m, in, k))
            return true;
    return false;
}

/* The first step that writes to a buffer; WRITERS: how many do. */
static const Inst *writer_of(const LiveUsers *u, uint32_t root,
                             uint32_t *writers)
{
    const Inst *first = NULL;
    *writers = 0;
    for (uint32_t i = u->first[root]; i < u->first[root + 1]; i++) {
        if (!makes(u, u->at[i], root)) continue;
        if (!first) first = &u->fn->insts[u->at[i]];
        ++*writers;
    }
    return first;
}

int64_t live_stays(const LiveUsers *u, const Inst *gather)
{
    const Fn *fn = u->fn;
    uint32_t makers, writers;
    if (!is_collective(u->m, gather, OP_all_gather)) return -1;
    uint32_t from = u->root[inst_arg(fn, gather, 0).id];
    uint32_t to = u->root[inst_arg(fn, gather, 1).id];
    if (fn->insts[from].op != OP_buffer || fn->insts[to].op != OP_buffer ||
        from == to || is_result(fn, (Value){from}) ||
        is_result(fn, (Value){to}) || u->first[from + 1] - u->first[from] != 2)
        return -1;
    const Inst *made = writer_of(u, from, &makers);
    writer_of(u, to, &writers);
    if (makers != 1 || made > gather || made->op != OP_launch || writers != 1)
        return -1;
    return attr_int(u->m, made->attr, AT_stream, 0);
}

/* Who begins behind a collective on its stream does so before kernels beside
 * have copied what a device has itself, or added (cuda_beside.c).  They find
 * processors when what is launched next beside it has ended.  Who writes to the
 * bytes waits for them in any case, on this stream or behind an event of it; so
 * a row that is handed in, which is not looked at, costs time at most.  What an
 * exchange brings while its product is made, and what a gather leaves where it
 * was made, are asked of buffers of the function alone (codegen/image_fed.c,
 * live_stays). */
static void find_moved(FnWalk *f)
{
    const Module *m = f->w->m;
    for (uint32_t i = 0; i < f->fn->ninsts && !f->w->one_stream; i++) {
        const Inst *in = &f->fn->insts[i];
        if (!is_collective(m, in, OP_all_gather) &&
            !is_collective(m, in, OP_reduce_scatter))
            continue;
        uint32_t from = f->behind[inst_arg(f->fn, in, 0).id].buffer;
        uint32_t k = i + 1;
        while (k < f->fn->ninsts && !is_beside(f, &f->fn->insts[k], in))
            k++;
        if (from != NONE && k < f->fn->ninsts &&
            f->fn->insts[k].op == OP_launch)
            put_beside(f, k, from);
    }
}

/* A launch reads a part of the buffer, and not all. */
static bool reads_part(const FnWalk *f, const Inst *in, uint32_t buffer)
{
    const LiveWalk *w = f->w;
    for (uint32_t k = 0; k < in->nargs && in->op == OP_launch; k++) {
        Value v = inst_arg(f->fn, in, k);
        if (f->behind[v.id].buffer == buffer &&
            layout_bytes(w->m, layout_of(w->m, f->fn, v, w->a)) <
                w->buffers.at[buffer].bytes)
            return true;
    }
    return false;
}

/* What devices gather is there until parts of the gathered have been read. */
static void find_stays(FnWalk *f)
{
    if (f->w->one_stream) return;
    LiveUsers u = live_users(f->w->m, f->fn, f->w->a);
    for (uint32_t i = 0; u.first && i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        if (live_stays(&u, in) < 0) continue;
        uint32_t from = f->behind[inst_arg(f->fn, in, 0).id].buffer;
        Value to = inst_arg(f->fn, in, 1);
        uint32_t gathered = f->behind[to.id].buffer, root = u.root[to.id];
        for (uint32_t k = u.first[root]; k < u.first[root + 1]; k++)
            if (u.at[k] > i && reads_part(f, &f->fn->insts[u.at[k]], gathered))
                put_beside(f, u.at[k], from);
    }
}

/* Of a function that runs in lanes and elsewhere, lanes. */
static void set_base(const LiveWalk *w, LiveBuffer *b, const Inst *in,
                     bool lane)
{
    if (attr_flag(w->m, in->attr, AT_host))
        b->base = BASE_host;
    else if (lane || b->base != BASE_lane)
        b->base = lane ? BASE_lane : BASE_frame;
}

static void walk_fn(FnWalk *f, FnRef ref)
{
    LiveWalk *w = f->w;
    f->fn = fn_of(w->m, ref);
    f->behind = NEW_ARRAY(w->a, Behind, (size_t)f->fn->ninsts + 1);
    f->of_step = NEW_ARRAY(w->a, BesideStep, (size_t)f->fn->ninsts + 1);
    find_behind(f, numbers_of(w, ref));
    find_fed(f);
    find_moved(f);
    find_stays(f);
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        uint32_t buffer = f->behind[i].buffer;
        if (in->op == OP_buffer && buffer != NONE)
            set_base(w, &w->buffers.at[buffer], in, f->lane);
        if (is_step(in)) walk_step(f, i);
    }
}

Live live_of(const Live *l, const bool *fns, Arena *a)
{
    Live of = *l;
    of.n = 0;
    of.at = NEW_ARRAY(a, LiveBuffer, (size_t)l->n + 1);
    for (uint32_t i = 0; i < l->n; i++)
        if (fns[l->at[i].ref.id]) of.at[of.n++] = l->at[i];
    return of;
}

Live live_find(Module *m, Arena *a)
{
    LiveWalk w = {.m = m, .a = a, .one_stream = module_streams(m) == 1};
    w.numbers = NEW_ARRAY(a, uint32_t *, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        if (!fn->entry || fn->view != VIEW_kernel) continue;
        LivePlace *place = NEW(a, LivePlace);
        *place = (LivePlace){.around = NULL};
        if (!w.one_stream) place->order = order_of(m, fn, a);
        walk_fn(&(FnWalk){.w = &w, .place = place}, (FnRef){i});
    }
    return (Live){w.buffers.at, w.buffers.n, w.one_stream};
}
