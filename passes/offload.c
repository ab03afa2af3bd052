/*
 * offload.c: rows of stacks in the memory of the host are copied beside
 * compute.
 *
 *   needs    kernel view
 *   gives    transfers: launches of groups of kind `transfer`
 *   keeps    everything else; the value of every result, bit by bit
 *   result   no step of a loop works on a row of a stack that lies on the
 *            host, but on a row of a ring in the frame
 *
 * A stack that says `host`, or a slot that does, has a row for each turn of a
 * loop.  In place of the row a turn has one of the n rows of a ring, and while
 * it runs the others are on their way:
 *
 *     turn c     reads row c     copies in row c + 1
 *                writes row c    copies out row c - 1, or, where it is read as
 *                                well, row c at its end
 *
 * What comes first is copied in front of the loop, what comes last behind it.
 * The counter goes round: the last turn copies in the first row once more, and
 * the first copies out what the ring held before, to the last row, whose own
 * copy comes later.  So a transfer needs no condition, and a turn more than is
 * needed is what that costs.
 *
 * A launch that changes slots outside of all loops becomes a loop over slices
 * of `slice` bytes or less first (offload/slice.c).
 *
 * Rows that are no rows of one loop, and what else is in no loop, stay where
 * they are: kernels read and write the memory of the host as any other.
 */
#include "offload/slice.h"
#include "pass.h"

#include "reach.h"

#include <inttypes.h>

/* A transfer of 32 MiB takes 0.6 ms on PCIe 5, a turn's begin and end 0.01. */
enum { MOST_SLICE = 32 << 20 };

typedef struct Offload {
    Module *m;
    PassCtx *cx;
    Arena *a;
    Transfers transfers;
} Offload;

/* An operand of a loop whose rows go to the host and back. */
typedef struct Job {
    uint32_t operand;
    Type row;
    int64_t pitch, count;
    bool in, out, reverse;
    int64_t rings; /* rows of the ring */
    Layout layout; /* of the stack */
    Value ring;    /* in the body: the parameter */
} Job;

typedef VEC(Job) JobVec;

/* --------------------------------------------------------------- touches -- */

/* What a function does to one of its parameters, in the order of the list. */
typedef struct Touch {
    bool reads, writes; /* reads: before all of what is read was written */
    bool other;         /* it is used in another way than row by row */
    int64_t pitch;
    VEC(int64_t) written; /* first and end of what was written */
} Touch;

typedef struct Bytes {
    int64_t first, end;
} Bytes;

static Value root_of(const Fn *fn, Value v)
{
    while (inst_of(fn, v)->op == OP_view)
        v = inst_arg(fn, inst_of(fn, v), 0);
    return v;
}

static bool was_written(const Touch *t, Bytes b)
{
    for (uint32_t i = 0; i + 1 < t->written.n; i += 2)
        if (t->written.at[i] <= b.first && b.end <= t->written.at[i + 1])
            return true;
    return false;
}

static void note_read(Touch *t, Bytes b)
{
    t->reads |= !was_written(t, b);
}

static void note_write(Offload *x, Touch *t, Bytes b)
{
    t->writes = true;
    vec_push(x->a, &t->written, b.first);
    vec_push(x->a, &t->written, b.end);
}

static void touch_any(Offload *x, const Fn *fn, uint32_t param, bool *reads,
                      bool *writes);

static void touch_step(Offload *x, const Inst *in, uint32_t operand,
                       bool *reads, bool *writes)
{
    if (in->op == OP_loop) {
        const Fn *body = fn_of(x->m, attr_fn(x->m, in->attr, AT_fn));
        touch_any(x, body, operand, reads, writes);
    } else {
        *(step_writes(x->m, in, operand) ? writes : reads) = true;
    }
}

/* Whatever part of the parameter it is. */
static void touch_any(Offload *x, const Fn *fn, uint32_t param, bool *reads,
                      bool *writes)
{
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; is_step(in) && k < in->nargs; k++)
            if (root_of(fn, inst_arg(fn, in, k)).id == param)
                touch_step(x, in, k, reads, writes);
    }
}

/* Views of the parameter go along with the turns, each in one row. */
static bool moves_by_rows(Offload *x, const Fn *body, uint32_t param,
                          int64_t *pitch)
{
    *pitch = 0;
    for (uint32_t i = 0; i < body->ninsts; i++) {
        const Inst *in = &body->insts[i];
        bool used = false;
        for (uint32_t k = 0; k < in->nargs; k++)
            used |= inst_arg(body, in, k).id == param;
        if (!used) continue;
        const AttrItem *turn = attr_get(x->m, in->attr, AT_turn);
        if (in->op != OP_view || !turn || turn->n != 1 || turn->ints[0] <= 0 ||
            attr_get(x->m, in->attr, AT_ring) ||
            (*pitch && *pitch != turn->ints[0]))
            return false;
        *pitch = turn->ints[0];
        Layout l = layout_of(x->m, body, (Value){i}, x->a);
        if (attr_int(x->m, in->attr, AT_offset, 0) + layout_bytes(x->m, l) >
            *pitch)
            return false;
    }
    return *pitch > 0;
}

static Touch touch_rows(Offload *x, const Fn *body, uint32_t param)
{
    Touch t = {.reads = false};
    t.other = !moves_by_rows(x, body, param, &t.pitch);
    for (uint32_t i = 0; i < body->ninsts && !t.other; i++) {
        const Inst *in = &body->insts[i];
        for (uint32_t k = 0; is_step(in) && k < in->nargs; k++) {
            Value v = inst_arg(body, in, k);
            if (root_of(body, v).id != param) continue;
            Spot s = spot_of(x->m, body, v, x->a);
            Bytes b = {s.offset, s.offset + layout_bytes(x->m, s.layout)};
            bool reads = false, writes = false;
            touch_step(x, in, k, &reads, &writes);
            if (reads) note_read(&t, b);
            /* an inner loop may write less than all */
            if (writes && in->op == OP_launch) note_write(x, &t, b);
            t.writes |= writes;
        }
    }
    return t;
}

/* ------------------------------------------------------------------ jobs -- */

static bool is_host(const Module *m, const Fn *fn, Value v, const bool *given)
{
    Value root = root_of(fn, v);
    const Inst *in = inst_of(fn, root);
    if (in->op == OP_buffer) return attr_flag(m, in->attr, AT_host);
    if (in->op != OP_arg) return false;
    if (!fn->entry) return given[root.id];
    const Slot *s = slot_find(m, fn->params[root.id].path);
    return s && s->host;
}

/* The rows are pieces of the stack, as long as they are far apart. */
static bool has_rows(Offload *x, const Inst *loop, Job *j)
{
    Module *m = x->m;
    Axis axis = attr_axis(m, loop->attr, AT_axis);
    const TypeAxis *rows = type_axis(m, j->layout.type, axis);
    if (!rows || type_local_size(m, rows) != j->count) return false;
    j->row = type_without_axis(m, j->layout.type, axis);
    int64_t stride =
        layout_stride(m, j->layout, axis) * dtype_bytes(type_dtype(m, j->row));
    return stride == j->pitch && type_bytes(m, j->row) == j->pitch &&
           layout_is_packed(m, j->layout);
}

/* A buffer that nothing in front of step I writes: what the turns of a loop
 * there read of their rows, they have written themselves. */
static bool is_empty(Offload *x, const Fn *fn, uint32_t i, Value v)
{
    Value root = root_of(fn, v);
    bool reads = false, writes = false;
    for (uint32_t s = 0; s < i; s++) {
        const Inst *in = &fn->insts[s];
        for (uint32_t k = 0; is_step(in) && k < in->nargs; k++)
            if (value_eq(root_of(fn, inst_arg(fn, in, k)), root))
                touch_step(x, in, k, &reads, &writes);
    }
    return inst_of(fn, root)->op == OP_buffer && !writes;
}

static void find_job(Offload *x, const Fn *fn, uint32_t i, uint32_t k,
                     JobVec *jobs)
{
    Module *m = x->m;
    const Inst *loop = &fn->insts[i];
    const Fn *body = fn_of(m, attr_fn(m, loop->attr, AT_fn));
    bool fixed = attr_flag(m, loop->attr, AT_parallel) ||
                 attr_flag(m, loop->attr, AT_guarded);
    Touch t = touch_rows(x, body, k);
    Job j = {.operand = k,
             .pitch = t.pitch,
             .count = attr_int(m, loop->attr, AT_count, 0),
             .reverse = attr_flag(m, loop->attr, AT_reverse),
             .in = t.reads && !is_empty(x, fn, i, inst_arg(fn, loop, k)),
             .out = t.writes,
             .rings = 2,
             .layout = layout_of(m, fn, inst_arg(fn, loop, k), x->a)};
    if (t.other || !(t.reads || t.writes)) return;
    if (fixed || j.count > UINT16_MAX || !has_rows(x, loop, &j)) {
        pass_missed(m, x->cx, loop->loc,
                    "%s stays in the memory of the host while a loop works on "
                    "it: its rows are not those of the turns",
                    type_str(m, j.layout.type));
        return;
    }
    pass_remark(m, x->cx, loop->loc,
                "%" PRId64 " rows of %" PRId64 " bytes are copied%s%s", j.count,
                j.pitch, j.in ? " in" : "", j.out ? " out" : "");
    vec_push(x->a, jobs, j);
}

/* ----------------------------------------------------------------- loops -- */

/* A row of a stack or ring.  `ring`: it goes along with the turns; else it is
 * row number `shift`. */
static Value row_view(Offload *x, Builder *b, const Job *j, Value of,
                      const TurnRing *ring, int64_t row)
{
    Module *m = x->m;
    AttrList l = {.n = 0};
    const TypeInfo *ti = type_info(m, j->row);
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)ti->naxes + 1);
    for (uint32_t i = 0; i < ti->naxes; i++)
        stride[i] = layout_stride(m, j->layout, ti->axes[i].axis);
    if (ring) {
        int64_t ints[2] = {ring->n, ring->shift};
        attr_put_ints(&l, AT_turn, &j->pitch, 1);
        attr_put_ints(&l, AT_ring, ints, 2);
    } else if (row) {
        attr_put_int(&l, AT_offset, row * j->pitch);
    }
    layout_put_stride(m, (Layout){j->row, stride}, &l);
    return emit(b, OP_view, j->row, attr_intern(m, &l), &of, 1);
}

/* The next turn's number, and the last turn's, round the ring. */
static TurnRing ring_next(const Job *j, int64_t n)
{
    return (TurnRing){n, (j->reverse ? n - 1 : 1) % n};
}
static TurnRing ring_last(const Job *j, int64_t n)
{
    return (TurnRing){n, (j->reverse ? 1 : n - 1) % n};
}

/* What runs beside the whole turn. */
static void begin_turn(Offload *x, Builder *b, const Job *j, Value stack)
{
    TurnRing rows = j->in ? ring_next(j, j->count) : ring_last(j, j->count);
    TurnRing ring = j->in ? ring_next(j, j->rings) : ring_last(j, j->rings);
    Value there = row_view(x, b, j, stack, &rows, 0);
    Value here = row_view(x, b, j, j->ring, &ring, 0);
    transfer_emit(&x->transfers, b, j->in, there, here);
}

static void end_turn(Offload *x, Builder *b, const Job *j, Value stack)
{
    TurnRing rows = {j->count, 0}, ring = {j->rings, 0};
    if (!j->in || !j->out) return;
    Value there = row_view(x, b, j, stack, &rows, 0);
    Value here = row_view(x, b, j, j->ring, &ring, 0);
    transfer_emit(&x->transfers, b, false, there, here);
}

/* ---------------------------------------------------------------- bodies -- */

static const Job *job_of(const JobVec *jobs, const Fn *body, const Inst *in)
{
    for (uint32_t i = 0; in->op == OP_view && i < jobs->n; i++)
        if (inst_arg(body, in, 0).id == jobs->at[i].operand)
            return &jobs->at[i];
    return NULL;
}

static void copy_view(Offload *x, Rewrite *rw, uint32_t i, const Job *j)
{
    const Inst *in = &rw->old->insts[i];
    AttrList l = attr_list(x->m, in->attr);
    int64_t ints[2] = {j->rings, 0};
    attr_put_ints(&l, AT_ring, ints, 2);
    rw->b.loc = in->loc;
    Value v =
        emit(&rw->b, OP_view, in->type, attr_intern(x->m, &l), &j->ring, 1);
    value_set_name(&rw->b, v, rw->old->names[i]);
    rewrite_set(rw, (Value){i}, v);
}

static Layout ring_layout(Offload *x, const Job *j, Axis axis)
{
    Module *m = x->m;
    const TypeInfo *ti = type_info(m, j->layout.type);
    TypeAxis rows = *type_axis(m, j->layout.type, axis);
    rows.size = j->rings;
    Layout l = {type_with_axis(m, j->layout.type, rows), NULL};
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)ti->naxes + 1);
    for (uint32_t i = 0; i < ti->naxes; i++)
        stride[i] =
            layout_stride(m, j->layout, type_info(m, l.type)->axes[i].axis);
    l.stride = stride;
    return l;
}

static Fn *offload_body(Offload *x, const Fn *fn, const bool *given,
                        JobVec *jobs, Axis axis);

/* The loop with its rings, each filled in front and emptied behind. */
static void emit_loop(Offload *x, Rewrite *rw, uint32_t i, JobVec *jobs,
                      FnRef body)
{
    Module *m = x->m;
    Builder *b = &rw->b;
    const Inst *in = &rw->old->insts[i];
    Axis axis = attr_axis(m, in->attr, AT_axis);
    Value *args = NEW_ARRAY(x->a, Value, (size_t)in->nargs + jobs->n + 1);
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = rewrite_value(rw, inst_arg(rw->old, in, k));
    for (uint32_t k = 0; k < jobs->n; k++) {
        const Job *j = &jobs->at[k];
        Layout ring = ring_layout(x, j, axis);
        Value v = emit(b, OP_buffer, ring.type, layout_stride_attr(x->m, ring),
                       NULL, 0);
        value_set_name(
            b, v,
            rw->old->names[root_of(rw->old, inst_arg(rw->old, in, j->operand))
                               .id]);
        args[in->nargs + k] = v;
        int64_t row = j->reverse ? j->count - 1 : 0;
        if (j->in)
            transfer_emit(&x->transfers, b, true,
                          row_view(x, b, j, args[j->operand], NULL, row),
                          row_view(x, b, j, v, NULL, row % j->rings));
    }
    Attr attr = attr_with_id(m, in->attr, AT_fn, body.id);
    emit(b, OP_loop, (Type){0}, attr, args, in->nargs + jobs->n);
    for (uint32_t k = 0; k < jobs->n; k++) {
        const Job *j = &jobs->at[k];
        int64_t row = j->reverse ? 0 : j->count - 1;
        if (j->out && !j->in)
            transfer_emit(
                &x->transfers, b, false,
                row_view(x, b, j, args[j->operand], NULL, row),
                row_view(x, b, j, args[in->nargs + k], NULL, row % j->rings));
    }
}

static void walk_loop(Offload *x, Rewrite *rw, uint32_t i, const bool *given)
{
    Module *m = x->m;
    const Fn *fn = rw->old;
    const Inst *in = &fn->insts[i];
    const Fn *body = fn_of(m, attr_fn(m, in->attr, AT_fn));
    JobVec jobs = {0};
    bool any = false;
    bool *inner = NEW_ARRAY(x->a, bool, (size_t)in->nargs + 1);
    for (uint32_t k = 0; k < in->nargs; k++) {
        inner[k] = is_host(m, fn, inst_arg(fn, in, k), given);
        uint32_t n = jobs.n;
        if (inner[k]) find_job(x, fn, i, k, &jobs);
        inner[k] &= jobs.n == n;
        any |= inner[k];
    }
    if (!any && !jobs.n) {
        rewrite_copy(rw, (Value){i});
        return;
    }
    Fn *made =
        offload_body(x, body, inner, &jobs, attr_axis(m, in->attr, AT_axis));
    emit_loop(x, rw, i, &jobs, module_add_fn(m, made));
}

static void walk_insts(Offload *x, Rewrite *rw, const bool *given,
                       const JobVec *jobs)
{
    const Fn *fn = rw->old;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        const Job *j = jobs ? job_of(jobs, fn, in) : NULL;
        if (j)
            copy_view(x, rw, i, j);
        else if (in->op == OP_loop)
            walk_loop(x, rw, i, given);
        else
            rewrite_copy(rw, (Value){i});
    }
}

static Fn *offload_body(Offload *x, const Fn *fn, const bool *given,
                        JobVec *jobs, Axis axis)
{
    Rewrite rw;
    rewrite_begin(&rw, x->m, fn);
    rw.b.fn->name = fn_fresh_name(x->m, str_of(x->m, fn->name));
    for (uint32_t k = 0; k < jobs->n; k++) {
        Job *j = &jobs->at[k];
        Layout ring = ring_layout(x, j, axis);
        j->ring =
            builder_param(&rw.b, (Port){.type = ring.type, .loc = fn->loc});
        rw.b.fn->insts[j->ring.id].attr = layout_stride_attr(x->m, ring);
    }
    rw.b.loc = fn->loc;
    for (uint32_t k = 0; k < jobs->n; k++)
        begin_turn(x, &rw.b, &jobs->at[k],
                   rewrite_value(&rw, (Value){jobs->at[k].operand}));
    walk_insts(x, &rw, given, jobs);
    rw.b.loc = fn->loc;
    for (uint32_t k = 0; k < jobs->n; k++)
        end_turn(x, &rw.b, &jobs->at[k],
                 rewrite_value(&rw, (Value){jobs->at[k].operand}));
    return rewrite_end(&rw);
}

/* ------------------------------------------------------------------ pass -- */

static bool has_host(const Module *m)
{
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (m->slots.at[i].host) return true;
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++) {
            const Inst *in = &m->fns.at[f]->insts[i];
            if (in->op == OP_buffer && attr_flag(m, in->attr, AT_host))
                return true;
        }
    return false;
}

bool pass_offload(Module *m, PassCtx *cx)
{
    Offload x = {.m = m, .cx = cx, .a = m->scratch};
    int64_t slice = pass_option_int(m, cx, "slice", MOST_SLICE);
    if (!has_host(m)) return true;
    Roots roots = roots_of(m);
    uint32_t nfns = m->fns.n;
    transfers_init(&x.transfers, m);
    for (uint32_t f = 0; f < nfns; f++) {
        const Fn *fn = m->fns.at[f];
        if (!fn->entry || fn->view != VIEW_kernel) continue;
        Rewrite rw;
        fn = offload_sliced(&x.transfers, cx, fn, slice);
        rewrite_begin(&rw, m, fn);
        walk_insts(&x, &rw, NULL, NULL);
        m->fns.at[f] = rewrite_end(&rw);
    }
    bool *is = NEW_ARRAY(m->scratch, bool, m->fns.n + 1);
    memcpy(is, roots.is, nfns * sizeof *is);
    drop_unreached(m, &(Roots){is});
    return true;
}
