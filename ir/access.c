/*
 * access.c: which bytes each step of a kernel function touches (order.h).
 *
 * Functions are walked from those that no loop runs, each body in the place of
 * its loop, so that an argument stands for the place that was handed in.  A
 * place is a range of bytes of a space: of a base where there is a plan, of
 * the buffer alone where there is none.  What a loop touches is what its body
 * touches, in every turn at once; buffers of the body without a place are
 * nobody else's.
 *
 * Ranges are as wide as their strides.  Two places that lie between each
 * other's elements count as one, unless both are rows of one pitch: slots of a
 * block do not meet.  Sums that do not fit in 64 bits saturate: the program may
 * be any text.
 */
#include <stdlib.h>

#include "ir.h"

typedef struct Reach {
    bool is_place;
    uint32_t space;
    int64_t first;
    int64_t turn[MOST_LOOPS];
    RingReach ring;
} Reach;

typedef struct StepWalk {
    Module *m;
    Arena *a;
    StepsVisit *visit;
    void *user;
    uint32_t spaces;
} StepWalk;

/* What one function in one place has; `point` when a guarded loop is in it. */
typedef struct FnWalk {
    StepWalk *w;
    const Fn *fn;
    Reach *reach; /* by value */
    VEC(Access) at;
    bool *points;
    bool point;
    const int64_t *counts;
    uint32_t depth;
    uint32_t own; /* spaces before those of its buffers */
} FnWalk;

static int64_t plus(int64_t x, int64_t y)
{
    int64_t sum;
    if (__builtin_add_overflow(x, y, &sum))
        return x < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static int64_t times(int64_t x, int64_t y)
{
    int64_t product;
    if (__builtin_mul_overflow(x, y, &product))
        return (x < 0) == (y < 0) ? INT64_MAX : INT64_MIN;
    return product;
}

/* --------------------------------------------------------------- places -- */

static uint32_t space_of(StepWalk *w, const Inst *in)
{
    for (uint32_t b = 0; b < BASE_count; b++)
        if (attr_is(w->m, in->attr, AT_base, base_name((Base)b))) return b;
    return BASE_count + w->spaces++;
}

static void move_view(const FnWalk *f, const Inst *in, Reach *r)
{
    const Module *m = f->w->m;
    const AttrItem *turn = attr_get(m, in->attr, AT_turn);
    r->first = plus(r->first, attr_int(m, in->attr, AT_offset, 0));
    uint32_t loop = 0;
    if (attr_get(m, in->attr, AT_ring) && turn && turn->n && f->depth)
        r->ring = (RingReach){ring_of(m, in), turn->ints[loop++], 0};
    for (uint32_t i = loop; turn && i < turn->n && i < f->depth; i++)
        r->turn[i] = plus(r->turn[i], turn->ints[i]);
}

static void find_reach(FnWalk *f, uint32_t i, const Reach *args)
{
    const Inst *in = &f->fn->insts[i];
    Reach *r = &f->reach[i];
    bool root = in->op == OP_buffer || in->op == OP_arg;
    const AttrItem *within = attr_get(f->w->m, in->attr, AT_within);
    if (in->op == OP_arg && args) {
        *r = args[i];
    } else if (within && !attr_get(f->w->m, in->attr, AT_base)) {
        *r = f->reach[within->i];
        r->first = plus(r->first, attr_int(f->w->m, in->attr, AT_start, 0));
    } else if (root) {
        *r = (Reach){.is_place = true, .space = space_of(f->w, in)};
        r->first = attr_int(f->w->m, in->attr, AT_offset, 0);
    } else if (in->op == OP_view) {
        *r = f->reach[inst_arg(f->fn, in, 0).id];
        move_view(f, in, r);
    }
}

/* The rows of a place along its outermost axis. */
static void find_rows(const Module *m, Layout l, Access *x)
{
    const TypeInfo *ti = type_info(m, l.type);
    int64_t bytes = dtype_bytes((DType)ti->dtype), pitch = 0, row = bytes;
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (type_local_size(m, &ti->axes[i]) > 1 && l.stride[i] > pitch)
            pitch = l.stride[i];
    pitch = times(pitch, bytes);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        int64_t stride = times(l.stride[i], bytes);
        if (pitch > 0 && stride % pitch == 0) continue;
        row = plus(row, times(stride, type_local_size(m, &ti->axes[i]) - 1));
    }
    if (pitch == 0 || row > pitch || pitch == INT64_MAX) return;
    x->pitch = pitch;
    x->row = row;
}

static void touch(FnWalk *f, uint32_t step, Value v, bool write)
{
    const Reach *r = &f->reach[v.id];
    if (!r->is_place) return; /* a counter */
    Layout l = layout_of(f->w->m, f->fn, v, f->w->a);
    Access x = {.step = step, .write = write, .space = r->space};
    x.first = r->first;
    x.end = plus(r->first, layout_bytes(f->w->m, l));
    memcpy(x.turn, r->turn, sizeof x.turn);
    find_rows(f->w->m, l, &x);
    if (r->ring.ring.n) { /* all rows */
        x.ring = r->ring;
        x.end = plus(x.end, times(x.ring.pitch, x.ring.ring.n - 1));
        x.pitch = 0;
    }
    vec_push(f->w->a, &f->at, x);
}

/* ---------------------------------------------------------------- steps -- */

static void walk_launch(FnWalk *f, uint32_t i)
{
    const Inst *in = &f->fn->insts[i];
    for (uint32_t k = 0; k < in->nargs; k++)
        touch(f, i, inst_arg(f->fn, in, k), step_writes(f->w->m, in, k));
}

/* An access of the body, in all turns of the loop. */
static Access all_turns(const Access *in, uint32_t step, int64_t count)
{
    Access x = *in;
    int64_t far = times(in->turn[0], count - 1);
    x.step = step;
    if (x.pitch && x.turn[0] % x.pitch != 0) x.pitch = 0;
    if (!x.pitch && x.turn[0] > 0 && x.end - x.first <= x.turn[0]) {
        x.pitch = x.turn[0];
        x.row = x.end - x.first;
    }
    if (far < 0) x.first = plus(x.first, far);
    if (far > 0) x.end = plus(x.end, far);
    memmove(x.turn, in->turn + 1, sizeof x.turn - sizeof *x.turn);
    x.turn[MOST_LOOPS - 1] = 0;
    if (x.ring.loop-- == 0) x.ring = (RingReach){0};
    return x;
}

static bool walk_fn(StepWalk *w, FnRef ref, const Reach *args,
                    const FnWalk *around, int64_t count, FnWalk *out);

static Reach *hand_in(const FnWalk *f, const Inst *in)
{
    Reach *args = NEW_ARRAY(f->w->a, Reach, (size_t)in->nargs + 1);
    for (uint32_t k = 0; k < in->nargs; k++) {
        const Reach *r = &f->reach[inst_arg(f->fn, in, k).id];
        args[k] = *r;
        memmove(args[k].turn + 1, r->turn, sizeof r->turn - sizeof *r->turn);
        args[k].turn[0] = 0;
        args[k].ring.loop++;
    }
    return args;
}

static bool walk_loop(FnWalk *f, uint32_t i)
{
    StepWalk *w = f->w;
    const Inst *in = &f->fn->insts[i];
    int64_t count = attr_int(w->m, in->attr, AT_count, 0);
    uint32_t mine = w->spaces;
    FnWalk body;
    if (!walk_fn(w, attr_fn(w->m, in->attr, AT_fn), hand_in(f, in), f, count,
                 &body))
        return false;
    bool guarded = attr_flag(w->m, in->attr, AT_guarded);
    if (guarded) touch(f, i, inst_arg(f->fn, in, 0), false);
    f->points[i] = guarded || body.point;
    f->point |= f->points[i];
    for (uint32_t k = 0; k < body.at.n; k++) {
        const Access *x = &body.at.at[k];
        if (x->space >= BASE_count + mine) continue;
        vec_push(w->a, &f->at, all_turns(x, i, count));
    }
    return true;
}

/* Loops around beyond MOST_LOOPS are no loops for the turns of a view: such
 * a program is refused where it is compiled. */
static void set_counts(FnWalk *f, const FnWalk *around, int64_t count)
{
    if (!around) return;
    f->depth = around->depth < MOST_LOOPS ? around->depth + 1 : MOST_LOOPS;
    int64_t *counts = NEW_ARRAY(f->w->a, int64_t, f->depth);
    counts[0] = count;
    for (uint32_t i = 1; i < f->depth; i++)
        counts[i] = around->counts[i - 1];
    f->counts = counts;
}

static bool walk_fn(StepWalk *w, FnRef ref, const Reach *args,
                    const FnWalk *around, int64_t count, FnWalk *out)
{
    const Fn *fn = fn_of(w->m, ref);
    FnWalk f = {.w = w, .fn = fn};
    f.reach = NEW_ARRAY(w->a, Reach, (size_t)fn->ninsts + 1);
    f.points = NEW_ARRAY(w->a, bool, (size_t)fn->ninsts + 1);
    set_counts(&f, around, count);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        uint8_t op = fn->insts[i].op;
        if (i == fn->nparams) f.own = w->spaces;
        find_reach(&f, i, args);
        if (op == OP_launch) walk_launch(&f, i);
        if (op == OP_loop && !walk_loop(&f, i)) return false;
    }
    FnSteps s = {ref,      f.at.at,  f.at.n, BASE_count + f.own,
                 f.points, f.counts, f.depth};
    if (out) *out = f;
    return w->visit(w->user, &s);
}

bool steps_walk(Module *m, Arena *a, StepsVisit *visit, void *user)
{
    StepWalk w = {.m = m, .a = a, .visit = visit, .user = user};
    bool *inner = NEW_ARRAY(a, bool, (size_t)m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++) {
            const Inst *in = &m->fns.at[f]->insts[i];
            if (in->op == OP_loop) inner[attr_fn(m, in->attr, AT_fn).id] = true;
        }
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (m->fns.at[f]->view == VIEW_kernel && !inner[f] &&
            !walk_fn(&w, (FnRef){f}, NULL, NULL, 0, NULL))
            return false;
    return true;
}

/* -------------------------------------------------------------- clashes -- */

/* An access with the bytes of all turns around. */
typedef struct Wide {
    const Access *x;
    int64_t first, end;
    int64_t column; /* in its rows, in all turns; -1: none */
} Wide;

static int64_t column_of(const Access *x)
{
    if (!x->pitch || x->first < 0) return -1;
    for (uint32_t i = 0; i < MOST_LOOPS; i++)
        if (x->turn[i] % x->pitch != 0) return -1;
    return x->first % x->pitch;
}

static Wide widen(const FnSteps *s, const Access *x)
{
    Wide w = {x, x->first, x->end, column_of(x)};
    for (uint32_t i = 0; i < s->depth; i++) {
        int64_t far = times(x->turn[i], s->counts[i] - 1);
        if (far < 0) w.first = plus(w.first, far);
        if (far > 0) w.end = plus(w.end, far);
    }
    return w;
}

static int by_place(const void *a, const void *b)
{
    const Wide *x = a, *y = b;
    if (x->x->space != y->x->space) return x->x->space < y->x->space ? -1 : 1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->x < y->x ? -1 : x->x > y->x;
}

static int64_t floor_div(int64_t x, int64_t y)
{
    return x / y - (x % y < 0);
}

/* A number c of 0 .. count-1 with lo < step * c < hi, step > 0. */
static bool has_multiple(int64_t lo, int64_t step, int64_t hi, int64_t count)
{
    int64_t first = floor_div(lo, step) + 1;
    if (first < 0) first = 0;
    return first < count && first <= (INT64_MAX - 1) / step &&
           first * step < hi;
}

static bool is_small(int64_t n)
{
    return n > -(INT64_C(1) << 60) && n < INT64_C(1) << 60;
}

/* The two ranges meet in one turn of the loops around.  Where they move apart
 * with one loop alone that is exact: stacks that take over each other's bytes
 * do so (live.h). */
static bool meet_in_turn(const FnSteps *s, const Access *x, const Access *y)
{
    uint32_t loop = 0, n = 0;
    for (uint32_t i = 0; i < MOST_LOOPS; i++)
        if (x->turn[i] != y->turn[i]) {
            loop = i;
            n++;
        }
    if (n == 0) return x->first < y->end && y->first < x->end;
    if (n > 1 || loop >= s->depth || !is_small(x->first) || !is_small(x->end) ||
        !is_small(y->first) || !is_small(y->end) || !is_small(x->turn[loop]) ||
        !is_small(y->turn[loop]))
        return true;
    const Access *a = x->turn[loop] < y->turn[loop] ? y : x; /* moves more */
    const Access *b = a == x ? y : x;
    return has_multiple(b->first - a->end, a->turn[loop] - b->turn[loop],
                        b->end - a->first, s->counts[loop]);
}

/* Rows of one pitch, in all turns, of which neither reaches into the other's
 * columns. */
static bool lie_between(const Wide *x, const Wide *y)
{
    int64_t a = x->column, b = y->column, pitch = x->x->pitch;
    if (a < 0 || b < 0 || pitch != y->x->pitch) return false;
    return a < b ? a + x->x->row <= b && b + y->x->row <= a + pitch
                 : b + y->x->row <= a && a + x->x->row <= b + pitch;
}

/* Different rows of one ring. */
static bool are_other_rows(const Access *x, const Access *y)
{
    const RingReach *a = &x->ring, *b = &y->ring;
    if (!a->ring.n || a->ring.n != b->ring.n || a->pitch != b->pitch ||
        a->loop != b->loop || a->ring.shift == b->ring.shift)
        return false;
    int64_t first = x->first < y->first ? x->first : y->first;
    int64_t end = x->end > y->end ? x->end : y->end;
    return plus(end, -first) <= times(a->pitch, a->ring.n);
}

/* The wide ranges meet; do the ranges of one turn? */
static bool is_clash(const FnSteps *s, const Wide *x, const Wide *y)
{
    return x->x->step != y->x->step && !lie_between(x, y) &&
           !are_other_rows(x->x, y->x) && meet_in_turn(s, x->x, y->x);
}

/* Accesses in the order of their begin, and of those that reads and writes
 * behind may still meet, their numbers. */
typedef struct Clashes {
    const FnSteps *s;
    const Wide *at;
    uint32_t *open[2], n[2]; /* by: whether it writes */
    ClashVisit *visit;
    void *user;
} Clashes;

/* Of open reads or writes, what the access meets; others are over. */
static bool meet_open(Clashes *c, bool writes, uint32_t late)
{
    const Wide *y = &c->at[late];
    uint32_t *open = c->open[writes], n = c->n[writes];
    c->n[writes] = 0;
    for (uint32_t i = 0; i < n; i++) {
        const Wide *x = &c->at[open[i]];
        if (x->end <= y->first) continue;
        open[c->n[writes]++] = open[i];
        if (!is_clash(c->s, x, y)) continue;
        bool in_order = x->x->step < y->x->step;
        if (!c->visit(c->user, in_order ? x->x : y->x, in_order ? y->x : x->x))
            return false;
    }
    return true;
}

bool steps_clashes(const FnSteps *s, Arena *a, ClashVisit *visit, void *user)
{
    Wide *w = NEW_ARRAY(a, Wide, (size_t)s->n + 1);
    Clashes c = {.s = s, .at = w, .visit = visit, .user = user};
    for (uint32_t k = 0; k < 2; k++)
        c.open[k] = NEW_ARRAY(a, uint32_t, (size_t)s->n + 1);
    for (uint32_t i = 0; i < s->n; i++)
        w[i] = widen(s, &s->at[i]);
    qsort(w, s->n, sizeof *w, by_place);
    for (uint32_t i = 0; i < s->n; i++) {
        bool write = w[i].x->write;
        if (i && w[i].x->space != w[i - 1].x->space) c.n[0] = c.n[1] = 0;
        if (!meet_open(&c, true, i) || (write && !meet_open(&c, false, i)))
            return false;
        c.open[write][c.n[write]++] = i;
    }
    return true;
}
