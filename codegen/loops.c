/*
 * loops.c: loops and accumulators of the kernel IR as LLVM IR, and their
 * mapping to the host.
 *
 * A loop over lanes runs in steps of the vector width and then, for what is
 * left, one index at a time; its body is emitted for both.  The partial sums
 * of a reduction (kir.h) lie in an array on the stack: index k adds to partial
 * k mod L, and the tree over the partials does not know how many were taken
 * at once.
 */
#include "lines.h"

/* --------------------------------------------------------- counted loops */

Count count_begin(Emit *e, LV from, LV to, int64_t step)
{
    LLVMBuilderRef b = e->s.b;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
    Count c = {emit_block(e, "head"), emit_block(e, "latch"),
               emit_block(e, "exit"), NULL};
    LLVMBasicBlockRef body = emit_block(e, "body");
    LLVMBuildBr(b, c.head);
    LLVMPositionBuilderAtEnd(b, c.latch);
    LLVMPositionBuilderAtEnd(b, c.head);
    c.i = LLVMBuildPhi(b, LLVMTypeOf(from), "i");
    LLVMAddIncoming(c.i, &from, &before, 1);
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, c.i, to, ""), body, c.exit);
    LLVMPositionBuilderAtEnd(b, c.latch);
    LV by = LLVMConstInt(LLVMTypeOf(from), (uint64_t)step, true);
    LV next = LLVMBuildNSWAdd(b, c.i, by, "");
    LLVMBuildBr(b, c.head);
    LLVMAddIncoming(c.i, &next, &c.latch, 1);
    LLVMPositionBuilderAtEnd(b, body);
    return c;
}

void count_end(Emit *e, Count *c)
{
    LLVMBuildBr(e->s.b, c->latch);
    LLVMPositionBuilderAtEnd(e->s.b, c->exit);
}

/* ---------------------------------------------------------- accumulators */

static Site at_width(const Emit *e, unsigned w)
{
    Site s = e->s;
    s.w = w;
    return s;
}

static double float_limit(const Acc *a)
{
    switch (a->kind) {
    case ACC_sum:
        return 0;
    case ACC_prod:
        return 1;
    case ACC_max:
        return -__builtin_inf();
    case ACC_min:
        return __builtin_inf();
    }
    return 0;
}

static int64_t int_limit(const Acc *a)
{
    unsigned bits = 8 * dtype_bytes(a->dtype);
    bool sign = dtype_class(a->dtype) == DC_int;
    int64_t top =
        bits == 64 ? INT64_MAX : ((int64_t)1 << (sign ? bits - 1 : bits)) - 1;
    if (bits == 64 && !sign) top = -1; /* all ones */
    switch (a->kind) {
    case ACC_sum:
        return 0;
    case ACC_prod:
        return 1;
    case ACC_max:
        return sign ? -top - 1 : 0;
    case ACC_min:
        return top;
    }
    return 0;
}

LV acc_identity(Emit *e, const Acc *a, unsigned w)
{
    Site s = at_width(e, w);
    return dtype_class(a->dtype) == DC_float
               ? site_float(&s, a->dtype, float_limit(a))
               : site_int(&s, a->dtype, int_limit(a));
}

LV acc_combine(Emit *e, const Acc *a, LV x, LV y, unsigned w)
{
    static const ScalarOp ops[] = {[ACC_sum] = SC_add,
                                   [ACC_max] = SC_max,
                                   [ACC_min] = SC_min,
                                   [ACC_prod] = SC_mul};
    Site s = at_width(e, w);
    return emit_scalar(&s, ops[a->kind], a->dtype, (LV[]){x, y, NULL});
}

void emit_set_results(Emit *e, LoopId loop, const LV *values)
{
    for (uint32_t n = 1; n < e->k->nodes.n; n++) {
        const NodeInfo *in = node_info(e->k, (Node){n});
        if (in->op != KN_result || in->inner != loop) continue;
        LV v = values[in->n];
        e->vals[n] = v;
        e->wide[n] = LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
    }
}

/* The partial sums of one accumulator: `n` slots, each `w` values wide. */
typedef struct Slots {
    LV at;
    LLVMTypeRef type; /* of one slot */
    unsigned w;
    int64_t n;
} Slots;

static LV slot_at(Emit *e, const Slots *s, LV i)
{
    return LLVMBuildGEP2(e->s.b, s->type, s->at, &i, 1, "");
}

static Slots slots_new(Emit *e, const Acc *a, int64_t n, unsigned w)
{
    Site s = at_width(e, w);
    Slots x = {.w = w, .n = n, .type = site_type(&s, dtype_reg(&s, a->dtype))};
    x.at = emit_alloca(e, x.type, n);
    LV zero = acc_identity(e, a, w);
    if (n == 1) {
        LLVMBuildStore(e->s.b, zero, x.at);
        return x;
    }
    Count c = count_begin(e, emit_iconst(e, 0), emit_iconst(e, n), 1);
    LLVMBuildStore(e->s.b, zero, slot_at(e, &x, c.i));
    count_end(e, &c);
    return x;
}

static void partial_add(Emit *e, const Acc *a, LV p, LLVMTypeRef t, LV x,
                        unsigned w)
{
    LV old = LLVMBuildLoad2(e->s.b, t, p, "");
    LLVMSetAlignment(old, dtype_bytes(a->dtype));
    LV st = LLVMBuildStore(e->s.b, acc_combine(e, a, old, x, w), p);
    LLVMSetAlignment(st, dtype_bytes(a->dtype));
}

/* Adds the upper half to the lower until one slot is left. */
static void slots_fold(Emit *e, const Acc *a, const Slots *s)
{
    for (int64_t half = s->n / 2; half > 0; half /= 2) {
        Count c = count_begin(e, emit_iconst(e, 0), emit_iconst(e, half), 1);
        LV up = LLVMBuildAdd(e->s.b, c.i, emit_iconst(e, half), "");
        LV x = LLVMBuildLoad2(e->s.b, s->type, slot_at(e, s, up), "");
        LLVMSetAlignment(x, dtype_bytes(a->dtype));
        partial_add(e, a, slot_at(e, s, c.i), s->type, x, s->w);
        count_end(e, &c);
    }
}

LV fold_vector(Emit *e, const Acc *a, LV v, unsigned w)
{
    LLVMTypeRef i32 = LLVMInt32TypeInContext(e->s.cx);
    for (unsigned half = w / 2; half > 0; half /= 2) {
        LV lo[64], hi[64];
        for (unsigned i = 0; i < half; i++) {
            lo[i] = LLVMConstInt(i32, i, false);
            hi[i] = LLVMConstInt(i32, half + i, false);
        }
        LV none = LLVMGetPoison(LLVMTypeOf(v));
        LV x = LLVMBuildShuffleVector(e->s.b, v, none,
                                      LLVMConstVector(lo, half), "");
        LV y = LLVMBuildShuffleVector(e->s.b, v, none,
                                      LLVMConstVector(hi, half), "");
        if (half == 1) {
            LV zero = LLVMConstInt(i32, 0, false);
            x = LLVMBuildExtractElement(e->s.b, x, zero, "");
            y = LLVMBuildExtractElement(e->s.b, y, zero, "");
        }
        v = acc_combine(e, a, x, y, half);
    }
    return v;
}

static LV slots_result(Emit *e, const Acc *a, const Slots *s)
{
    slots_fold(e, a, s);
    return LLVMBuildLoad2(e->s.b, s->type, s->at, "");
}

/* The first n slots in groups of g neighbours: slot i gets the sum of group i.
 */
static void fold_groups(Emit *e, const Acc *a, const Slots *s, int64_t n,
                        unsigned g)
{
    Site site = at_width(e, g);
    LLVMTypeRef t = site_type(&site, dtype_reg(&site, a->dtype));
    if (g == 1) return;
    Count c = count_begin(e, emit_iconst(e, 0), emit_iconst(e, n / g), 1);
    LV first = LLVMBuildMul(e->s.b, c.i, emit_iconst(e, g), "");
    LV v = LLVMBuildLoad2(e->s.b, t, slot_at(e, s, first), "");
    LLVMSetAlignment(v, dtype_bytes(a->dtype));
    LLVMBuildStore(e->s.b, fold_vector(e, a, v, g), slot_at(e, s, c.i));
    count_end(e, &c);
}

/* The tree of a row (kir.h) over T threads. */
static LV row_result(Emit *e, const Acc *a, const Slots *s, int64_t t)
{
    unsigned group = t < ROW_GROUP ? (unsigned)t : ROW_GROUP;
    fold_groups(e, a, s, s->n, ROW_LANES);
    fold_groups(e, a, s, t, group);
    fold_groups(e, a, s, t / group, (unsigned)(t / group));
    return LLVMBuildLoad2(e->s.b, s->type, s->at, "");
}

/* ------------------------------------------------------------- scans, turns */

static void prepare_scans(Emit *e, LoopId loop, LV *slots)
{
    const Loop *l = &e->k->loops.at[loop];
    for (uint32_t i = 0; i < l->body.n; i++) {
        Node n = l->body.at[i];
        const NodeInfo *in = node_info(e->k, n);
        if (in->op != KN_scan || in->inner != loop) continue;
        Acc a = {ACC_sum, (DType)in->dtype, in->a, {0}, false};
        if (!slots[i]) {
            Site s = e->s;
            slots[i] = emit_alloca(e, site_type(&s, dtype_reg(&s, a.dtype)), 1);
            LLVMBuildStore(s.b, acc_identity(e, &a, s.w), slots[i]);
        }
        e->vals[n.id] = slots[i];
    }
}

void emit_turn(Emit *e, LoopId loop, LV i, LLVMBasicBlockRef latch)
{
    e->latch[loop] = latch;
    emit_enter(e, loop, i);
    emit_body(e, loop);
}

/* ------------------------------------------------- one index after another */

/* A thread of a GPU would have more partial sums in memory. */
enum { UNROLLED = 8, UNROLLED_GPU = 16 };

/* So few elements that each is its own partial sum, in registers. */
static void emit_unrolled(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    LV parts[UNROLLED_GPU];
    unsigned n = (unsigned)l->hi;
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n + 1);
    LV *all = NEW_ARRAY(e->k->arena, LV, l->accs.n * n);
    for (unsigned i = 0; i < n; i++) {
        emit_turn(e, loop, emit_iconst(e, i), NULL);
        for (uint32_t a = 0; a < l->accs.n; a++) {
            LV id = acc_identity(e, &l->accs.at[a], e->s.w);
            all[a * n + i] =
                acc_combine(e, &l->accs.at[a], id,
                            emit_use(e, l->accs.at[a].value), e->s.w);
        }
    }
    for (uint32_t a = 0; a < l->accs.n; a++) {
        unsigned m = (unsigned)tree_partials(n);
        for (unsigned i = 0; i < m; i++)
            parts[i] = i < n ? all[a * n + i] : NULL;
        for (; m > 1; m /= 2)
            for (unsigned i = 0; i < m / 2; i++)
                if (parts[i + m / 2])
                    parts[i] = acc_combine(e, &l->accs.at[a], parts[i],
                                           parts[i + m / 2], e->s.w);
        results[a] = parts[0];
    }
    emit_set_results(e, loop, results);
}

LV loop_first(Emit *e, const Loop *l)
{
    if (!l->from.id) return emit_iconst(e, l->lo);
    return LLVMBuildIntCast2(e->s.b, e->vals[l->from.id], e->ity, true, "");
}

LV loop_end(Emit *e, const Loop *l)
{
    if (!l->to.id) return emit_iconst(e, l->hi);
    LV to = LLVMBuildIntCast2(e->s.b, e->vals[l->to.id], e->ity, true, "");
    return LLVMBuildAdd(e->s.b, to, emit_iconst(e, 1), "");
}

/* Whether a thread of a GPU better has several turns under way at a time: what
 * comes of them may be combined in any order. */
static bool goes_together(const Emit *e, const Loop *l)
{
    return e->s.gpu && e->map == MAP_thread && gpu_takes_blocks(e->k) &&
           !l->in_order && !l->scans && !l->when.id && !l->from.id &&
           !l->to.id && !l->reverse && l->lo == 0 && l->hi % UNROLLED == 0;
}

static void emit_together(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    unsigned w = e->s.w;
    LV *at = NEW_ARRAY(e->k->arena, LV, l->accs.n + 1);
    for (uint32_t a = 0; a < l->accs.n; a++) {
        at[a] = emit_alloca(e, acc_type(e, &l->accs.at[a], w), 1);
        LLVMBuildStore(e->s.b, acc_identity(e, &l->accs.at[a], w), at[a]);
    }
    Count c =
        count_begin(e, emit_iconst(e, 0), emit_iconst(e, l->hi / UNROLLED), 1);
    LV first = LLVMBuildMul(e->s.b, c.i, emit_iconst(e, UNROLLED), "");
    for (unsigned i = 0; i < UNROLLED; i++) {
        emit_turn(e, loop, LLVMBuildAdd(e->s.b, first, emit_iconst(e, i), ""),
                  NULL);
        for (uint32_t a = 0; a < l->accs.n; a++) {
            const Acc *acc = &l->accs.at[a];
            LV old = LLVMBuildLoad2(e->s.b, acc_type(e, acc, w), at[a], "");
            LV x = acc_combine(e, acc, old, emit_use(e, acc->value), w);
            LLVMBuildStore(e->s.b, x, at[a]);
        }
    }
    count_end(e, &c);
    for (uint32_t a = 0; a < l->accs.n; a++)
        at[a] =
            LLVMBuildLoad2(e->s.b, acc_type(e, &l->accs.at[a], w), at[a], "");
    emit_set_results(e, loop, at);
}

static int64_t most_unrolled(const Emit *e, const Loop *l)
{
    enum { FEW_ACCS = 2 };
    bool few = e->map == MAP_thread && l->accs.n <= FEW_ACCS;
    return few ? UNROLLED_GPU : UNROLLED;
}

void emit_seq(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    if (goes_together(e, l)) {
        emit_together(e, loop);
        return;
    }
    if (l->accs.n && !l->in_order && !l->scans && !l->when.id &&
        l->hi <= most_unrolled(e, l)) {
        emit_unrolled(e, loop);
        return;
    }
    unsigned w = e->s.w;
    int64_t n = l->in_order ? 1 : tree_partials(l->hi);
    Slots *slots = NEW_ARRAY(e->k->arena, Slots, l->accs.n);
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    LV *scans = NEW_ARRAY(e->k->arena, LV, l->body.n);
    for (uint32_t i = 0; i < l->accs.n; i++)
        slots[i] = slots_new(e, &l->accs.at[i], n, w);
    prepare_scans(e, loop, scans);
    Count c = count_begin(e, loop_first(e, l), loop_end(e, l), 1);
    LV i = c.i;
    if (l->reverse)
        i = LLVMBuildSub(e->s.b, emit_iconst(e, l->hi + l->lo - 1), i, "");
    emit_turn(e, loop, i, c.latch);
    for (uint32_t a = 0; a < l->accs.n; a++) {
        LV at = LLVMBuildAnd(e->s.b, i, emit_iconst(e, n - 1), "");
        partial_add(e, &l->accs.at[a], slot_at(e, &slots[a], at), slots[a].type,
                    emit_use(e, l->accs.at[a].value), w);
    }
    count_end(e, &c);
    for (uint32_t a = 0; a < l->accs.n; a++)
        results[a] = slots_result(e, &l->accs.at[a], &slots[a]);
    emit_set_results(e, loop, results);
}

/* ---------------------------------------------------------- lanes, on the host
 */

static bool whole_chunks(const Emit *e, const Loop *l, unsigned w)
{
    return e->k->chunks == 1 || l->chunk % w == 0;
}

/* Whether the lanes always come in whole vectors. */
static bool no_rest(const Emit *e, const Loop *l, unsigned w)
{
    if (e->k->chunks == 1 || !l->chunk) return (l->hi - l->lo) % w == 0;
    return l->lo % w == 0 && l->hi % w == 0 && l->chunk % w == 0;
}

/* The turns from .. to of a lanes loop, `w` indices each. */
static void lanes_part(Emit *e, LoopId loop, LV from, LV to, unsigned w,
                       const Slots *slots)
{
    const Loop *l = &e->k->loops.at[loop];
    unsigned outer = e->s.w;
    e->s.w = w;
    e->lanes = w > 1 ? loop : 0;
    e->aligned = l->lo % w == 0 && whole_chunks(e, l, w);
    Count c = count_begin(e, from, to, w);
    emit_turn(e, loop, c.i, c.latch);
    Site s = e->s;
    for (uint32_t a = 0; a < l->accs.n; a++) {
        LV at = LLVMBuildAnd(e->s.b, c.i, emit_iconst(e, slots[a].n - 1), "");
        LLVMTypeRef t = site_type(&s, dtype_reg(&s, l->accs.at[a].dtype));
        partial_add(e, &l->accs.at[a], slot_at(e, &slots[a], at), t,
                    emit_use(e, l->accs.at[a].value), w);
    }
    count_end(e, &c);
    e->s.w = outer;
    e->lanes = 0;
    e->aligned = false;
}

static LV bound(Emit *e, LV x, LV y, LLVMIntPredicate keep)
{
    return LLVMBuildSelect(e->s.b, LLVMBuildICmp(e->s.b, keep, x, y, ""), x, y,
                           "");
}

static void lanes_bounds(Emit *e, const Loop *l, LV *lo, LV *hi)
{
    *lo = emit_iconst(e, l->lo);
    *hi = emit_iconst(e, l->hi);
    if (!l->chunk || e->k->chunks == 1) return;
    LV first = LLVMBuildMul(e->s.b, e->chunk, emit_iconst(e, l->chunk), "");
    LV end = LLVMBuildAdd(e->s.b, first, emit_iconst(e, l->chunk), "");
    *lo = bound(e, *lo, first, LLVMIntSGT);
    *hi = bound(e, *hi, end, LLVMIntSLT);
    *hi = bound(e, *hi, *lo, LLVMIntSGT); /* a chunk beside the segment */
}

static void emit_lanes(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    LV lo, hi;
    lanes_bounds(e, l, &lo, &hi);
    unsigned w = (unsigned)e->k->width;
    int64_t t = row_threads(l->hi), n = t * ROW_LANES, all = l->hi - l->lo;
    Slots *slots = NEW_ARRAY(e->k->arena, Slots, l->accs.n);
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n);
    for (uint32_t i = 0; i < l->accs.n; i++)
        slots[i] = slots_new(e, &l->accs.at[i], n, 1);
    if (all >= w) {
        LV span = LLVMBuildSub(e->s.b, hi, lo, "");
        LV whole = LLVMBuildAnd(e->s.b, span, emit_iconst(e, -(int64_t)w), "");
        LV end = LLVMBuildAdd(e->s.b, lo, whole, "");
        lanes_part(e, loop, lo, end, w, slots);
        lo = end;
    }
    if (all < w || !no_rest(e, l, w)) lanes_part(e, loop, lo, hi, 1, slots);
    for (uint32_t i = 0; i < l->accs.n; i++)
        results[i] = row_result(e, &l->accs.at[i], &slots[i], t);
    emit_set_results(e, loop, results);
}

/* ------------------------------------------------------------ the function */

static void load_args(Emit *e, LV words)
{
    LLVMTypeRef i64 = LLVMInt64TypeInContext(e->s.cx);
    LLVMTypeRef ptr = LLVMPointerTypeInContext(e->s.cx, 0);
    for (uint32_t i = 0; i < e->k->nargs; i++) {
        LV at = emit_iconst(e, i);
        LV p = LLVMBuildGEP2(e->s.b, i64, words, &at, 1, "");
        bool number = e->k->args[i].counter;
        e->args[i] = LLVMBuildLoad2(e->s.b, number ? i64 : ptr, p, "");
    }
}

static void emit_items(Emit *e, LoopId items)
{
    LV begin = LLVMGetParam(e->fn, 1), end = LLVMGetParam(e->fn, 2);
    Count c = count_begin(e, begin, end, 1);
    LV row = c.i;
    if (e->k->chunks > 1) {
        LV n = emit_iconst(e, e->k->chunks);
        row = LLVMBuildUDiv(e->s.b, c.i, n, "");
        e->chunk = LLVMBuildURem(e->s.b, c.i, n, "");
    }
    emit_turn(e, items, row, c.latch);
    count_end(e, &c);
}

void emit_loop_host(Emit *e, LoopId loop)
{
    switch (e->k->loops.at[loop].kind) {
    case LOOP_items:
        emit_items(e, loop);
        return;
    case LOOP_seq:
        emit_seq(e, loop);
        return;
    case LOOP_lanes:
        emit_lanes(e, loop);
        return;
    case LOOP_kernel:
    case LOOP_sweep:
    case LOOP_dot:
    case LOOP_outer:
    case LOOP_wide:
    case LOOP_blocks:
    case LOOP_rows:
    case LOOP_columns:
        break;
    }
    BUG("a loop that the host has no mapping for");
}

/* void k(const uint64_t *args, int64_t begin, int64_t end) */
void emit_host_kernel(Emit *e, const char *name)
{
    LLVMContextRef cx = e->s.cx;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(cx);
    LLVMTypeRef params[] = {LLVMPointerTypeInContext(cx, 0), i64, i64};
    LLVMTypeRef t =
        LLVMFunctionType(LLVMVoidTypeInContext(cx), params, 3, false);
    e->fn = LLVMAddFunction(e->s.module, name, t);
    e->ity = i64;
    lines_begin(e->lines, e, name, e->loc);
    LLVMBasicBlockRef entry = emit_block(e, "entry");
    LLVMBasicBlockRef start = emit_block(e, "start");
    LLVMPositionBuilderAtEnd(e->s.b, start);
    load_args(e, LLVMGetParam(e->fn, 0));
    emit_body(e, 0);
    LLVMBuildRetVoid(e->s.b);
    LLVMPositionBuilderAtEnd(e->s.b, entry);
    LLVMBuildBr(e->s.b, start);
}
