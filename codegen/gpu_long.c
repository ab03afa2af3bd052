/*
 * gpu_long.c: rows that registers do not hold.
 *
 * A block takes a row.  The first sweep that loads something which a later one
 * loads again leaves it in shared memory, as much as there is room for, each
 * thread for itself, so that nobody waits:
 *
 *     row     | in shared memory: loaded once         | loaded by each sweep |
 *     turns   | group | group | group                 | group                |
 *
 * The rest is short, and likely found in the cache.  A turn is a few chunks
 * (gpu_rows.c), all loads of which are made before anything else.
 *
 * Sums of exp(x - maximum) run in the turns that find the maximum (online.c):
 * a thread has its own maximum so far, and when it grows, multiplies its sums
 * by exp(old - new).  At the end so do all, by the maximum of the row.
 */
#include "gpu_rows.h"
#include "sm90.h"

/* ------------------------------------------------------------------ stash */

/* Neighbours lie side by side, and nothing chooses the place. */
static bool is_dense(const Kir *k, const NodeInfo *in)
{
    int64_t coef;
    if (in->op != KN_load || in->a.id || in->dtype == DT_bool) return false;
    if (ix_chosen(k, in->ix)) return false;
    return ix_steps(k, in->ix, in->loop, ROW_LANES, &coef) && coef == 1;
}

/* Whether the two stand in one body, x first. */
static bool runs_before(const Kir *k, LoopId x, LoopId y)
{
    const Loop *parent = &k->loops.at[k->loops.at[y].parent];
    for (uint32_t i = 0; i < parent->body.n; i++) {
        const NodeInfo *in = node_info(k, parent->body.at[i]);
        if (in->op == KN_loop && (in->inner == x || in->inner == y))
            return in->inner == x;
    }
    return false;
}

/* Whether a loop other than the one that runs along with it loads it again,
 * and all that do come after it. */
static bool is_stashed(const Kir *k, Node n)
{
    const NodeInfo *in = node_info(k, n);
    const Loop *l = &k->loops.at[in->loop];
    if (l->kind != LOOP_lanes || !row_is_long(k, l->hi) ||
        !row_is_plain(k, l) || !is_dense(k, in))
        return false;
    bool again = false;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *y = &k->nodes.at[i];
        if (!row_same_load(k, in, y)) continue;
        if (!runs_before(k, in->loop, y->loop)) return false;
        again |= k->loops.at[y->loop].online != in->loop;
    }
    return again;
}

static bool has_long_rows(const Kir *k)
{
    for (LoopId i = 1; i < k->loops.n; i++)
        if (k->loops.at[i].kind == LOOP_lanes &&
            row_is_long(k, k->loops.at[i].hi))
            return true;
    return false;
}

void gpu_stash_plan(Emit *e, const Kir *k, uint32_t row_threads,
                    uint32_t *bytes)
{
    enum { ALIGN = 1024 };
    int64_t size = 0, lanes = 0;
    *bytes = 0;
    if (!has_long_rows(k)) return;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        if (!is_stashed(k, (Node){i})) continue;
        const NodeInfo *in = &k->nodes.at[i];
        size += dtype_bytes((DType)in->dtype);
        int64_t hi = k->loops.at[in->loop].hi;
        if (!lanes || hi < lanes) lanes = hi;
    }
    if (!size) return;
    int64_t own = (int64_t)gpu_rows_places(k, row_threads) * 8;
    int64_t room = SM90_SHARED_MOST - (own + ALIGN - 1) / ALIGN * ALIGN;
    int64_t group = (int64_t)row_threads * ROW_LANES * ROW_TOGETHER;
    if (room / size < lanes) lanes = room / size;
    lanes = lanes / group * group;
    *bytes = (uint32_t)(lanes * size);
    if (!e) return;
    e->stash_lanes = lanes;
    uint32_t offset = 0;
    for (uint32_t i = 1; i < k->nodes.n && lanes; i++) {
        if (!is_stashed(k, (Node){i})) continue;
        vec_push(k->arena, &e->stash, ((Stash){{i}, offset}));
        offset += (uint32_t)lanes * dtype_bytes(k->nodes.at[i].dtype);
    }
}

static LV stash_at(Emit *e, const Stash *s, DType d)
{
    LV at = LLVMBuildIntCast2(e->s.b, e->vars[e->lanes],
                              LLVMInt32TypeInContext(e->s.cx), true, "");
    at = LLVMBuildMul(e->s.b, at, sm90_i32(&e->s, dtype_bytes(d)), "");
    at = LLVMBuildAdd(e->s.b, at, sm90_i32(&e->s, s->offset), "");
    at = LLVMBuildAdd(e->s.b, sm90_shared(&e->s), at, "");
    return sm90_at(&e->s, at);
}

static unsigned stash_align(const NodeInfo *in)
{
    unsigned bytes = ROW_LANES * dtype_bytes((DType)in->dtype);
    return bytes < 16 ? bytes : 16;
}

/* A vector of neighbours: from the stash, where an earlier sweep has left it,
 * or from memory. */
static LV load_row(Emit *e, const NodeInfo *in)
{
    for (uint32_t i = 0; i < e->stash.n && e->in_stash; i++) {
        const Stash *s = &e->stash.at[i];
        if (!row_same_load(e->k, node_info(e->k, s->node), in)) continue;
        LLVMTypeRef elem = dtype_mem(&e->s, (DType)in->dtype);
        LV v = LLVMBuildLoad2(e->s.b, site_type(&e->s, elem),
                              stash_at(e, s, (DType)in->dtype), "");
        LLVMSetAlignment(v, stash_align(in));
        return v;
    }
    return emit_load_ahead(e, in);
}

static void stash_loaded(Emit *e, const Loaded *x)
{
    const NodeInfo *in = node_info(e->k, x->node);
    for (uint32_t i = 0; i < e->stash.n && e->in_stash; i++) {
        if (e->stash.at[i].node.id != x->node.id) continue;
        LV p = stash_at(e, &e->stash.at[i], (DType)in->dtype);
        LLVMSetAlignment(LLVMBuildStore(e->s.b, x->value, p), stash_align(in));
    }
}

/* ------------------------------------------------------------------ turns */

/* The sweep at hand, and the one that runs along with it. */
typedef struct Long {
    Sweep s, sums;   /* sums.l: NULL: none */
    LV top;          /* the slot of the maximum so far */
    unsigned chunks; /* of a turn */
} Long;

typedef struct Chunk {
    LV at, active, offsets;
} Chunk;

static LoopId along_with(const Kir *k, LoopId loop)
{
    for (LoopId i = 1; i < k->loops.n; i++)
        if (k->loops.at[i].online == loop) return i;
    return 0;
}

static void load_chunk(Emit *e, const Long *g, const Chunk *c, unsigned number)
{
    e->offsets = c->offsets;
    emit_enter(e, g->s.loop, c->at);
    e->lanes = g->s.loop;
    e->chunk_number = number;
    for (uint32_t i = 0; i < g->s.l->body.n; i++) {
        Node n = g->s.l->body.at[i];
        if (!is_dense(e->k, node_info(e->k, n))) continue;
        LV v = load_row(e, node_info(e->k, n));
        if (v) vec_push(e->k->arena, &e->loaded, ((Loaded){n, number, v}));
    }
}

/* Not before all loads are on their way. */
static void stash_chunk(Emit *e, const Long *g, const Chunk *c, unsigned number)
{
    emit_enter(e, g->s.loop, c->at);
    for (uint32_t i = 0; i < e->loaded.n; i++)
        if (e->loaded.at[i].chunk == number) stash_loaded(e, &e->loaded.at[i]);
}

static void run_chunk(Emit *e, LoopId loop, const Chunk *c, unsigned number)
{
    e->lanes = loop;
    e->chunk_number = number;
    e->active = c->active;
    e->offsets = c->offsets;
    emit_turn(e, loop, c->at, NULL);
}

static LV masked(Emit *e, const Acc *acc, LV x)
{
    if (!e->active) return x;
    LV none = acc_identity(e, acc, ROW_LANES);
    if (e->offsets)
        x = LLVMBuildSelect(e->s.b, gpu_lanes_exist(e), x, none, "");
    return LLVMBuildSelect(e->s.b, e->active, x, none, "");
}

static const Acc *top_of(const Long *g)
{
    return &g->s.l->accs.at[g->sums.l->top];
}

static void set_top(Emit *e, const Long *g, LV v)
{
    for (uint32_t n = 1; n < e->k->nodes.n; n++) {
        const NodeInfo *in = node_info(e->k, (Node){n});
        if (in->op != KN_result || in->inner != g->s.loop ||
            in->n != (int64_t)g->sums.l->top)
            continue;
        e->vals[n] = v;
        e->wide[n] = false;
    }
    emit_between(e, g->s.loop, g->sums.loop);
}

/* exp(x - top), of one value */
static LV falling(Emit *e, LV x, LV top)
{
    Site one = e->s;
    one.w = 1;
    LV d = LLVMBuildFSub(one.b, x, top, "");
    return emit_scalar(&one, SC_exp, DT_f32, (LV[]){d, NULL, NULL});
}

static void scale_sums(Emit *e, const Long *g, LV by)
{
    const Partials *p = &g->sums.partials;
    LV all = site_splat(&e->s, by);
    for (uint32_t a = 0; a < g->sums.l->accs.n; a++) {
        LLVMTypeRef t = acc_type(e, &g->sums.l->accs.at[a], p->w);
        LV x = LLVMBuildLoad2(e->s.b, t, p->at[a], "");
        LLVMBuildStore(e->s.b, LLVMBuildFMul(e->s.b, x, all, ""), p->at[a]);
    }
}

/* The maximum grows to that of X; what has seen nothing yet counts from 0. */
static void raise_top(Emit *e, const Long *g, LV x)
{
    LLVMBuilderRef b = e->s.b;
    const Acc *acc = top_of(g);
    LLVMTypeRef t = acc_type(e, acc, 1);
    LV old = LLVMBuildLoad2(b, t, g->top, "");
    LV new = acc_combine(e, acc, old, fold_vector(e, acc, x, ROW_LANES), 1);
    LLVMBuildStore(b, new, g->top);
    LV none = LLVMBuildFCmp(b, LLVMRealOEQ, new, acc_identity(e, acc, 1), "");
    LV from = LLVMBuildSelect(b, none, LLVMConstNull(t), new, "");
    scale_sums(e, g, falling(e, old, from));
    set_top(e, g, from);
}

static void run_maximum(Emit *e, const Long *g, const Chunk *c, unsigned n)
{
    LV x = NULL;
    for (unsigned i = 0; i < n; i++) {
        run_chunk(e, g->s.loop, &c[i], i);
        LV y = masked(e, top_of(g), emit_use(e, top_of(g)->value));
        x = x ? acc_combine(e, top_of(g), x, y, ROW_LANES) : y;
        row_partials_add(e, g->s.l, &g->s.partials, 0);
    }
    raise_top(e, g, x);
    for (unsigned i = 0; i < n; i++) {
        run_chunk(e, g->sums.loop, &c[i], i);
        row_partials_add(e, g->sums.l, &g->sums.partials, 0);
    }
}

/* N chunks from lane FROM on; of the last one some lanes may be missing. */
static void turn(Emit *e, const Long *g, LV from, unsigned n, bool cut)
{
    Chunk c[ROW_TOGETHER];
    for (unsigned i = 0; i < n; i++) {
        LV at = LLVMBuildAdd(e->s.b, g->s.first, from, "");
        at = LLVMBuildAdd(e->s.b, at, emit_iconst(e, i * g->s.span), "");
        c[i].at = row_lane(e, &g->s, at, 0, cut && i + 1 == n);
        c[i].active = e->active;
        c[i].offsets = e->offsets;
        e->offsets = NULL;
    }
    e->active = NULL;
    for (unsigned i = 0; i < n; i++)
        load_chunk(e, g, &c[i], i);
    for (unsigned i = 0; i < n; i++)
        stash_chunk(e, g, &c[i], i);
    if (g->sums.l) {
        run_maximum(e, g, c, n);
    } else {
        for (unsigned i = 0; i < n; i++) {
            run_chunk(e, g->s.loop, &c[i], i);
            row_partials_add(e, g->s.l, &g->s.partials, 0);
        }
    }
    e->active = e->offsets = NULL;
    e->loaded.n = 0;
    e->chunk_number = -1;
}

/* Whole turns; returns the lane that comes next. */
static int64_t turns(Emit *e, const Long *g, int64_t from, int64_t to)
{
    int64_t step = g->chunks * g->s.span;
    to = from + (to - from) / step * step;
    if (from == to) return from;
    Count c = count_begin(e, emit_iconst(e, from), emit_iconst(e, to), step);
    turn(e, g, c.i, g->chunks, false);
    count_end(e, &c);
    return to;
}

static void sweep(Emit *e, const Long *g)
{
    int64_t hi = g->s.l->hi, stash = e->stash_lanes < hi ? e->stash_lanes : hi;
    e->in_stash = true;
    int64_t at = turns(e, g, 0, stash);
    e->in_stash = false;
    at = turns(e, g, at, hi);
    while (at < hi) {
        int64_t left = (hi - at + g->s.span - 1) / g->s.span;
        unsigned n = left < g->chunks ? (unsigned)left : g->chunks;
        turn(e, g, emit_iconst(e, at), n, at + n * g->s.span > hi);
        at += n * g->s.span;
    }
}

/* --------------------------------------------------------------- the whole */

/* Chunks of a turn: fewer where two sweeps hold much. */
static unsigned together(const Kir *k, const Loop *l, const Loop *along)
{
    enum { FEW_NODES = 8 };
    unsigned n = row_together(k, l);
    bool many = along && l->body.n + along->body.n > FEW_NODES;
    return many && n > 1 ? n / 2 : n;
}

static void finish(Emit *e, const Long *g)
{
    const Loop *l = g->s.l;
    LV *results = NEW_ARRAY(e->k->arena, LV, l->accs.n + 1);
    LV own = NULL;
    for (uint32_t a = 0; a < l->accs.n; a++) {
        const Acc *acc = &l->accs.at[a];
        if (g->sums.l && acc == top_of(g))
            results[a] = own =
                LLVMBuildLoad2(e->s.b, acc_type(e, acc, 1), g->top, "");
        else
            results[a] = row_partials_sum(e, acc, &g->s.partials, a);
    }
    gpu_over_row(e, l->accs.at, results, l->accs.n);
    emit_set_results(e, g->s.loop, results);
    if (!g->sums.l) return;
    LV by = falling(e, own, results[g->sums.l->top]);
    LV *sums = NEW_ARRAY(e->k->arena, LV, g->sums.l->accs.n);
    for (uint32_t a = 0; a < g->sums.l->accs.n; a++) {
        const Acc *acc = &g->sums.l->accs.at[a];
        sums[a] = row_partials_sum(e, acc, &g->sums.partials, a);
        sums[a] = LLVMBuildFMul(e->s.b, sums[a], by, "");
    }
    gpu_over_row(e, g->sums.l->accs.at, sums, g->sums.l->accs.n);
    emit_set_results(e, g->sums.loop, sums);
}

void gpu_long_lanes(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    LoopId along = along_with(e->k, loop);
    uint32_t bytes;
    if (!e->stash.n) gpu_stash_plan(e, e->k, e->row_threads, &bytes);
    Long g = {.s = {.loop = loop, .l = l}};
    g.chunks = together(e->k, l, along ? &e->k->loops.at[along] : NULL);
    g.s.partials = row_partials_new(e, l, ROW_LANES);
    g.s.span = (int64_t)e->row_threads * ROW_LANES;
    g.s.first = LLVMBuildMul(e->s.b, e->place, emit_iconst(e, ROW_LANES), "");
    g.s.first = gpu_opaque(e, g.s.first);
    if (along) {
        g.sums = (Sweep){.loop = along, .l = &e->k->loops.at[along]};
        g.sums.partials = row_partials_new(e, g.sums.l, ROW_LANES);
        g.top = emit_alloca(e, acc_type(e, top_of(&g), 1), 1);
        LLVMBuildStore(e->s.b, acc_identity(e, top_of(&g), 1), g.top);
    }
    e->s.w = ROW_LANES;
    e->aligned = true;
    sweep(e, &g);
    e->s.w = 1;
    e->lanes = 0;
    e->aligned = false;
    finish(e, &g);
}
