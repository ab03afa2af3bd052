/*
 * kernel.c: the kernel view on real bytes.
 *
 * A value of a kernel function is a place: an offset into one of the bases
 * (persistent, io, frame, lane), or into bytes of its own where no plan has
 * been made.  A launch loads its operands, interprets the group function and
 * stores its results: in their dtypes when the run rounds, else unrounded
 * beside the bytes that they take, so that overlaps show all the same.
 *
 * Every byte starts as poison (0xff, which is NaN in every float dtype), a
 * buffer is poisoned again after its last use (but for bytes that another one
 * has taken over), and each turn of an outermost
 * parallel loop begins with a poisoned lane.  So a plan that lets two live
 * buffers overlap, or a kernel that reads what nobody wrote, gives a wrong
 * result.  With `order` the turns of parallel loops run in a random order, and
 * launches and loops in one that streams and events allow (steps.c).
 */
#include <math.h>
#include <string.h>

#include "run.h"

enum { POISON = 0xff, MOST_BYTES = 1 << 28 };

/* Per device n bytes.  A run that does not round keeps whole cells beside
 * them: a tag says that the element of a dtype starts at a byte (its number
 * plus 1), goes on there (CONTINUED), or that nothing is there (0). */
struct Space {
    int64_t n;
    uint8_t *at, *tag;
    Cell *cells;
};
enum { CONTINUED = 0xff };

static void *grown(Run *r, const Space *s, int64_t want, const void *old,
                   size_t size, int fill)
{
    size_t n = (size_t)s->n * size, m = (size_t)want * size;
    uint8_t *p = NEW_ARRAY(&r->keep, uint8_t, m * r->ndev);
    memset(p, fill, m * r->ndev);
    for (uint32_t d = 0; d < r->ndev && n; d++)
        memcpy(p + m * d, (const uint8_t *)old + n * d, n);
    return p;
}

static void space_grow(Run *r, Space *s, int64_t n)
{
    if (n <= s->n) return;
    int64_t want = s->n * 2 > n ? s->n * 2 : n;
    if (r->o.round) {
        s->at = grown(r, s, want, s->at, 1, POISON);
    } else {
        s->tag = grown(r, s, want, s->tag, 1, 0);
        s->cells = grown(r, s, want, s->cells, sizeof *s->cells, 0);
    }
    s->n = want;
}

static uint32_t space_new(Run *r)
{
    Space *s = NEW(&r->keep, Space);
    vec_push(&r->keep, &r->spaces, s);
    return r->spaces.n;
}

/* Each rank of a pipeline has bases of its own. */
static uint32_t base_space(const Run *r, Base base)
{
    return r->rank * BASE_count + base;
}

static Space *space_of(const Run *r, const Memory *p)
{
    return r->spaces.at[p->space - 1];
}

static void space_poison(Space *s, int64_t from, int64_t n)
{
    if (!n) return;
    if (s->at) memset(s->at + from, POISON, (size_t)n);
    if (s->tag) memset(s->tag + from, 0, (size_t)n);
}

/* Stores at a byte: as its dtype, or whole and tagged. */
static void cell_store(Space *s, int64_t at, DType d, Cell c)
{
    if (s->at) {
        dtype_store(d, c, s->at + at);
        return;
    }
    memset(s->tag + at, CONTINUED, dtype_bytes(d));
    s->tag[at] = (uint8_t)(d + 1);
    s->cells[at] = c;
}

/* What lies there, if it is whole; else poison. */
static Cell cell_load(const Space *s, int64_t at, DType d)
{
    if (s->at) return dtype_load(d, s->at + at);
    bool whole = s->tag[at] == d + 1;
    for (unsigned i = 1; i < dtype_bytes(d); i++)
        whole &= s->tag[at + i] == CONTINUED;
    if (whole) return s->cells[at];
    Cell poison = {.i = -1};
    if (dtype_class(d) == DC_float) poison.f = NAN;
    return poison;
}

/* --------------------------------------------------------- values, bytes -- */

static void place_check(Frame *f, const Inst *in, const Val *v, int64_t bytes)
{
    if (v->place.offset < 0 || v->place.offset + bytes > MOST_BYTES)
        run_fail(f->r, f->fn, in, DIAG_interp_limit,
                 "a buffer ends at byte %lld of its base",
                 (long long)(v->place.offset + bytes));
    else
        space_grow(f->r, space_of(f->r, &v->place), v->place.offset + bytes);
}

/* Between the elements of a place and dense cells. */
static void place_copy(Run *r, const Val *place, Cell *cells, bool store)
{
    DType d = type_dtype(r->m, place->type);
    Space *s = space_of(r, &place->place);
    const TypeInfo *info = type_info(r->m, place->type);
    Walk w;
    walk_init(&w, r, place->type, 1);
    for (uint32_t i = 0; i < w.ndims; i++)
        walk_step(&w, 0, info->axes[i].axis,
                  place->place.stride[i] * dtype_bytes(d));
    for (uint32_t v = 0; v < r->ndev; v++) {
        int64_t at = s->n * v + place->place.offset;
        for (bool go = walk_start(&w); go; go = walk_next(&w), cells++) {
            if (store)
                cell_store(s, at + w.at[0], d, *cells);
            else
                *cells = cell_load(s, at + w.at[0], d);
        }
    }
}

int64_t place_extent(const Run *r, const Val *v)
{
    return layout_bytes(r->m, (Layout){v->type, v->place.stride});
}

void place_poison(const Run *r, const Val *v, int64_t from, int64_t to)
{
    Space *s = space_of(r, &v->place);
    for (uint32_t d = 0; d < r->ndev; d++)
        space_poison(s, s->n * d + from, to - from);
}

/* ---------------------------------------------------------------- places -- */

/* The place that `base` and `offset` say; bytes of its own without them. */
static void place_new(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Value v = {(uint32_t)(in - f->fn->insts)};
    *out = (Val){.type = in->type};
    out->place.stride = layout_of(r->m, f->fn, v, &r->temp).stride;
    out->place.offset = attr_int(r->m, in->attr, AT_offset, 0);
    for (uint32_t i = 0; i < BASE_count; i++)
        if (attr_is(r->m, in->attr, AT_base, base_name((Base)i)))
            out->place.space = base_space(r, (Base)i) + 1;
    const AttrItem *within = attr_get(r->m, in->attr, AT_within);
    if (within && !out->place.space) {
        const Memory *around = &f->vals[within->i].place;
        out->place.space = around->space;
        out->place.offset =
            around->offset + attr_int(r->m, in->attr, AT_start, 0);
    }
    if (!out->place.space) out->place.space = space_new(r);
    place_check(f, in, out, place_extent(r, out));
}

void place_arg(Frame *f, const Inst *in, const Val *arg, Val *out)
{
    Value v = {(uint32_t)(in - f->fn->insts)};
    if (!f->outer) {
        place_new(f, in, out);
        return;
    }
    *out = (Val){.type = in->type, .place = arg->place};
    out->place.stride = layout_of(f->r->m, f->fn, v, &f->r->temp).stride;
}

void interp_buffer(Frame *f, const Inst *in, Val *out)
{
    place_new(f, in, out);
}

void interp_view(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    Value v = {(uint32_t)(in - f->fn->insts)};
    const AttrItem *turn = attr_get(r->m, in->attr, AT_turn);
    *out = (Val){.type = in->type, .place = frame_arg(f, in, 0)->place};
    out->place.stride = layout_of(r->m, f->fn, v, &r->temp).stride;
    out->place.offset += attr_int(r->m, in->attr, AT_offset, 0);
    const Frame *loop = f;
    TurnRing ring = ring_of(r->m, in);
    for (uint32_t i = 0; turn && i < turn->n && loop->outer; i++) {
        int64_t at = i ? loop->counter : ring_turn(ring, loop->counter);
        out->place.offset += turn->ints[i] * at;
        loop = loop->outer;
    }
    place_check(f, in, out, place_extent(r, out));
}

void interp_counter(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Frame *loop = f;
    for (int64_t i = attr_int(r->m, in->attr, AT_index, 0);
         i > 0 && loop->outer; i--)
        loop = loop->outer;
    val_init(r, out, in->type, false);
    for (uint32_t d = 0; d < r->ndev; d++)
        out->at[d].i = loop->counter;
}

/* --------------------------------------------------------------- running -- */

static Val place_load(Run *r, const Val *v)
{
    if (v->at) return *v; /* a counter */
    Val x;
    val_init(r, &x, v->type, false);
    place_copy(r, v, x.at, false);
    return x;
}

/* Where it waits, the rank's frame does. */
static void receive(Frame *f, const Fn *group, const Inst *launch)
{
    Val got = {0};
    rank_recv(f, group_collective(group), &got);
    if (!f->blocked && !f->r->failed)
        place_copy(f->r, frame_arg(f, launch, 0), got.at, true);
}

void interp_launch(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Fn *group = fn_of(r->m, attr_fn(r->m, in->attr, AT_fn));
    uint32_t outs = (uint32_t)attr_int(r->m, in->attr, AT_outs, 0);
    uint32_t ins = in->nargs - outs;
    *out = (Val){.type = in->type};
    const Inst *message = launched_message(r->m, in);
    if (message && message->op == OP_recv) {
        receive(f, group, in);
        return;
    }
    ArenaMark mark = arena_mark(&r->temp);
    Val *args = NEW_ARRAY(&r->temp, Val, ins);
    for (uint32_t i = 0; i < ins; i++)
        args[i] = place_load(r, frame_arg(f, in, i));
    Val *results = vals_of_results(r, group);
    run_call(r, group, args, results);
    for (uint32_t i = 0; i < outs && !r->failed; i++)
        place_copy(r, frame_arg(f, in, ins + i), results[i].at, true);
    arena_pop(&r->temp, mark);
}

/* The order of the turns of a loop: as written, or any for a parallel one. */
static int64_t *turn_order(Run *r, const Inst *in, int64_t count)
{
    int64_t *order = NEW_ARRAY(&r->temp, int64_t, (size_t)count);
    bool reverse = attr_flag(r->m, in->attr, AT_reverse);
    for (int64_t i = 0; i < count; i++)
        order[i] = reverse ? count - 1 - i : i;
    if (!r->o.order || !attr_flag(r->m, in->attr, AT_parallel)) return order;
    for (int64_t i = count; i > 1; i--) {
        int64_t k = (int64_t)(philox(r->o.order, 0, r->draws++) % (uint64_t)i);
        int64_t t = order[k];
        order[k] = order[i - 1];
        order[i - 1] = t;
    }
    return order;
}

static bool inside_parallel(const Frame *f)
{
    for (; f; f = f->outer)
        if (f->parallel) return true;
    return false;
}

static void poison_lane(Run *r)
{
    Space *lane = r->spaces.at[base_space(r, BASE_lane)];
    space_poison(lane, 0, lane->n * r->ndev);
}

void interp_loop(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Fn *body = fn_of(r->m, attr_fn(r->m, in->attr, AT_fn));
    int64_t count = attr_int(r->m, in->attr, AT_count, 0);
    bool parallel = attr_flag(r->m, in->attr, AT_parallel);
    bool outermost = parallel && !inside_parallel(f);
    *out = (Val){.type = in->type};
    ArenaMark mark = arena_mark(&r->temp);
    int64_t *order = turn_order(r, in, count);
    Val *args = NEW_ARRAY(&r->temp, Val, in->nargs);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = *frame_arg(f, in, i);
    for (int64_t i = 0; i < count && !r->failed; i++) {
        ArenaMark turn = arena_mark(&r->temp);
        if (attr_flag(r->m, in->attr, AT_guarded) &&
            !place_load(r, &args[0]).at[0].i)
            break;
        if (outermost) poison_lane(r);
        Frame g = frame_new(r, body, args);
        g.outer = f;
        g.counter = order[i];
        g.parallel = parallel;
        run_places(&g);
        arena_pop(&r->temp, turn);
    }
    arena_pop(&r->temp, mark);
}

void places_open(Run *r, uint32_t ranks)
{
    for (uint32_t i = 0; i < BASE_count * ranks; i++)
        space_new(r);
    r->streams = module_streams(r->m);
}

void places_fill(Frame *f)
{
    Run *r = f->r;
    for (uint32_t i = 0; i < f->fn->nparams && !r->failed; i++) {
        Val *place = &f->vals[i];
        place_arg(f, &f->fn->insts[i], &f->args[i], place);
        if (!r->failed) place_copy(r, place, f->args[i].at, true);
    }
}

void places_results(Frame *f, Val *results)
{
    for (uint32_t i = 0; i < f->fn->nresults && !f->r->failed; i++)
        place_copy(f->r, &f->vals[f->fn->result_values[i].id], results[i].at,
                   false);
}

void run_kernel_fn(Run *r, const Fn *fn, const Val *args, Val *results)
{
    places_open(r, 1);
    Frame f = frame_new(r, fn, args);
    places_fill(&f);
    run_places(&f);
    places_results(&f, results);
}
