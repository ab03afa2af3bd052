/*
 * gpu_steps.c: which steps a block of threads runs, by class (classes.c).
 *
 * Before the roles part, one warp looks at all steps, 32 at a time, and lists
 * those that are not empty: the ones whose conditions have to be asked from
 * the front, the full ones from the back.
 *
 *     list_offset    how many are mixed, how many there are: two words
 *          + 8       the number of this block, where sums cross: a word
 *          + 16      numbers of steps, 16 bits each
 *
 * Where conditions read integers per column, the warps first find the least
 * and the most of each step that indices alone leave open, in tables of their
 * own.
 */
#include "gpu_tensor.h"

#include <limits.h>

static LLVMTypeRef word(const Core *c)
{
    return LLVMInt32TypeInContext(c->e->s.cx);
}

static LV place(const Core *c, LV i, int64_t by, int64_t offset)
{
    return sm90_at(&c->e->s, core_at(c, i, by, offset));
}

/* ----------------------------------------------------------------- vectors */

/* Least and most of a vector, in a tile or in a thread's part of it. */
typedef struct Ends {
    LV lo, hi;
} Ends;

static Ends none(const Core *c)
{
    return (Ends){core_i32(c, INT_MAX), core_i32(c, INT_MIN)};
}

static LV extreme(const Core *c, LLVMIntPredicate which, LV x, LV y)
{
    LLVMBuilderRef b = c->e->s.b;
    return LLVMBuildSelect(b, LLVMBuildICmp(b, which, x, y, ""), x, y, "");
}

static Ends joined(const Core *c, Ends a, Ends b)
{
    return (Ends){extreme(c, LLVMIntSLT, a.lo, b.lo),
                  extreme(c, LLVMIntSGT, a.hi, b.hi)};
}

/* What a thread loads of a tile's part of a vector, its warp all of it. */
enum { PART_MOST = 256 / WARP };
typedef struct Part {
    uint32_t n;
    LV x[PART_MOST], when[PART_MOST]; /* when: the element exists; NULL: yes */
} Part;

/* Only where `wanted` (NULL: everywhere). */
static void load_part(Core *c, const TensorVector *v, LV wanted, Part *out)
{
    Emit *e = c->e;
    LLVMBuilderRef b = e->s.b;
    const NodeInfo *in = node_info(e->k, v->load);
    out->n = (uint32_t)(e->k->loops.at[v->loop].hi / WARP);
    for (uint32_t u = 0; u < out->n; u++) {
        LV i = core_add(c, c->lane, core_i32(c, u * WARP));
        emit_enter(e, v->loop, core_index(c, i));
        LV when = in->a.id ? stage_guard(c, in->a, v->loop) : NULL;
        when = when && wanted ? LLVMBuildAnd(b, when, wanted, "")
               : when         ? when
                              : wanted;
        LV at = emit_ix(e, in->ix);
        if (when) at = LLVMBuildSelect(b, when, at, emit_iconst(e, 0), "");
        LV p = LLVMBuildGEP2(b, word(c), e->args[in->arg], &at, 1, "");
        out->x[u] = LLVMBuildLoad2(b, word(c), p, "");
        out->when[u] = when;
    }
}

static Ends ends_of(const Core *c, const Part *part)
{
    LLVMBuilderRef b = c->e->s.b;
    Ends s = none(c), outside = s;
    for (uint32_t u = 0; u < part->n; u++) {
        LV x = part->x[u], when = part->when[u];
        Ends one = {x, x};
        if (when) {
            one.lo = LLVMBuildSelect(b, when, x, outside.lo, "");
            one.hi = LLVMBuildSelect(b, when, x, outside.hi, "");
        }
        s = joined(c, s, one);
    }
    return s;
}

static Ends over_warp(const Core *c, Ends s)
{
    return (Ends){sm90_least(&c->e->s, s.lo), sm90_most(&c->e->s, s.hi)};
}

static LoopId blocks_of(const Core *c, const TensorVector *v)
{
    const Kir *k = c->e->k;
    LoopId rows = v->columns ? k->loops.at[v->loop].parent : v->loop;
    return k->loops.at[rows].parent;
}

/* Whether vector i has a table to be filled. */
static bool fills_table(const Core *c, uint32_t i)
{
    const TensorVector *v = &c->t->vectors.at[i];
    return v->columns && v->offset && v->as == i;
}

/* Those of the rows: loaded here, asked later. */
static void load_rows(Core *c, Part *rows)
{
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        const TensorVector *v = &c->t->vectors.at[i];
        if (v->columns || v->as != i) continue;
        emit_enter(c->e, blocks_of(c, v), core_index(c, core_i32(c, 0)));
        load_part(c, v, NULL, &rows[i]);
    }
}

/* ------------------------------------------------------------------ tables */

/* Steps that a warp looks at together: their loads are under way at once. */
enum { SCAN_STEPS = 8 };

typedef struct Scan {
    Core *c;
    LV step[SCAN_STEPS];
    LV wanted[SCAN_STEPS]; /* the step exists, and indices leave it open */
    Part part[SCAN_STEPS][MOST_VECTORS];
} Scan;

static LV is_wanted(Core *c, LV step)
{
    LLVMBuilderRef b = c->e->s.b;
    LV n = core_i32(c, c->t->nblocks), empty, full;
    Tile3 tile = {.s = &c->e->s,
                  .k = c->e->k,
                  .item = core_long(c, c->item),
                  .step = core_long(c, step)};
    classes_of_step(&tile, c->t, &empty, &full);
    return LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntSLT, step, n, ""),
                        LLVMBuildNot(b, empty, ""), "");
}

/* Without a branch: a load waits for no other. */
static void scan_loads(Scan *s, uint32_t u)
{
    Core *c = s->c;
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        const TensorVector *v = &c->t->vectors.at[i];
        if (!fills_table(c, i)) continue;
        emit_enter(c->e, blocks_of(c, v), core_index(c, s->step[u]));
        load_part(c, v, s->wanted[u], &s->part[u][i]);
    }
}

static void scan_stores(Scan *s, uint32_t u)
{
    Core *c = s->c;
    LLVMBuilderRef b = c->e->s.b;
    Ends found[MOST_VECTORS];
    for (uint32_t i = 0; i < c->t->vectors.n; i++)
        if (fills_table(c, i))
            found[i] = over_warp(c, ends_of(c, &s->part[u][i]));
    LLVMBasicBlockRef on = emit_when(c->e, s->wanted[u], "scanned");
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        uint32_t offset = c->t->vectors.at[i].offset;
        if (!fills_table(c, i)) continue;
        LLVMBuildStore(b, found[i].lo, place(c, s->step[u], 8, offset));
        LLVMBuildStore(b, found[i].hi, place(c, s->step[u], 8, offset + 4));
    }
    emit_on(c->e, on);
}

/* Tables by all warps.  A step that indices alone make empty is not looked at,
 * and its place in the tables says nothing that could make it another. */
static void scan_columns(Core *c)
{
    int64_t warps = 4 * (c->t->groups + 1);
    int64_t turns = (c->t->nblocks + warps - 1) / warps;
    uint32_t n = (uint32_t)(turns < SCAN_STEPS ? turns : SCAN_STEPS);
    CoreLoop l = core_loop(c, c->warp, COUNT_all, NULL, 0);
    Scan s = {.c = c};
    for (uint32_t u = 0; u < n; u++) {
        s.step[u] = core_add(c, l.i, core_i32(c, u * warps));
        s.wanted[u] = is_wanted(c, s.step[u]);
        scan_loads(&s, u);
    }
    for (uint32_t u = 0; u < n; u++)
        scan_stores(&s, u);
    core_loop_end(c, &l, NULL, core_i32(c, n * warps));
}

/* -------------------------------------------------------------------- list */

typedef struct Ranges {
    LV lo[MOST_VECTORS], hi[MOST_VECTORS];
} Ranges;

static void row_ranges(Core *c, const Part *rows, Ranges *r)
{
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        const TensorVector *v = &c->t->vectors.at[i];
        if (v->columns) continue;
        if (v->as == i) {
            Ends s = over_warp(c, ends_of(c, &rows[i]));
            r->lo[i] = core_long(c, s.lo);
            r->hi[i] = core_long(c, s.hi);
        }
        r->lo[i] = r->lo[v->as];
        r->hi[i] = r->hi[v->as];
    }
}

static void column_ranges(Core *c, LV step, Ranges *r)
{
    LLVMBuilderRef b = c->e->s.b;
    for (uint32_t i = 0; i < c->t->vectors.n; i++) {
        const TensorVector *v = &c->t->vectors.at[i];
        if (!v->columns || !v->offset) continue;
        LV lo = LLVMBuildLoad2(b, word(c), place(c, step, 8, v->offset), "");
        LV hi =
            LLVMBuildLoad2(b, word(c), place(c, step, 8, v->offset + 4), "");
        r->lo[i] = core_long(c, lo);
        r->hi[i] = core_long(c, hi);
    }
}

static LV count_bits(Core *c, LV x)
{
    return site_call(&c->e->s, "llvm.ctpop", &x, 1);
}

static void store_step(Core *c, LV when, LV at, LV step)
{
    LLVMBuilderRef b = c->e->s.b;
    LLVMBasicBlockRef on = emit_when(c->e, when, "listed");
    LLVMTypeRef half = LLVMInt16TypeInContext(c->e->s.cx);
    LLVMBuildStore(b, LLVMBuildTrunc(b, step, half, ""),
                   place(c, at, 2, c->t->list_offset + 16));
    emit_on(c->e, on);
}

/* Steps first .. first + 31: one a thread.  counts: mixed, full so far. */
static void list_turn(Core *c, LV first, Ranges *r, LV *counts)
{
    LLVMBuilderRef b = c->e->s.b;
    LV n = core_i32(c, c->t->nblocks), step = core_add(c, first, c->lane);
    LV exists = LLVMBuildICmp(b, LLVMIntSLT, step, n, "");
    step = LLVMBuildSelect(b, exists, step, core_i32(c, 0), "");
    column_ranges(c, step, r);
    Tile3 tile = {.s = &c->e->s,
                  .k = c->e->k,
                  .item = core_long(c, c->item),
                  .step = core_long(c, step),
                  .lo = r->lo,
                  .hi = r->hi};
    LV empty, full;
    classes_of_step(&tile, c->t, &empty, &full);
    LV some = LLVMBuildAnd(b, exists, LLVMBuildNot(b, empty, ""), "");
    LV whole = LLVMBuildAnd(b, some, full, "");
    LV part = LLVMBuildAnd(b, some, LLVMBuildNot(b, full, ""), "");
    LV parts = gpu_ballot(c->e, part), wholes = gpu_ballot(c->e, whole);
    LV below = LLVMBuildShl(b, core_i32(c, 1), c->lane, "");
    below = LLVMBuildSub(b, below, core_i32(c, 1), "");
    LV up = core_add(c, counts[0],
                     count_bits(c, LLVMBuildAnd(b, parts, below, "")));
    LV down = core_add(c, counts[1],
                       count_bits(c, LLVMBuildAnd(b, wholes, below, "")));
    down = LLVMBuildSub(b, core_i32(c, c->t->nblocks - 1), down, "");
    store_step(c, some, LLVMBuildSelect(b, part, up, down, ""), step);
    counts[0] = core_add(c, counts[0], count_bits(c, parts));
    counts[1] = core_add(c, counts[1], count_bits(c, wholes));
}

static void make_list(Core *c, const Part *rows)
{
    LLVMBuilderRef b = c->e->s.b;
    Ranges r = {{0}, {0}};
    row_ranges(c, rows, &r);
    LV zero = core_i32(c, 0), counts[] = {zero, zero};
    CoreLoop l = core_loop(c, zero, COUNT_all, counts, 2);
    list_turn(c, l.i, &r, counts);
    core_loop_end(c, &l, counts, core_i32(c, WARP));
    LLVMBuildStore(b, counts[0], place(c, zero, 0, c->t->list_offset));
    LLVMBuildStore(b, core_add(c, counts[0], counts[1]),
                   place(c, zero, 0, c->t->list_offset + 4));
}

/* Numbers that only the list is made of are not held for what comes after. */
void core_list(const Core *of)
{
    bool tables = false;
    Part rows[MOST_VECTORS];
    Core list = *of, *c = &list;
    if (!c->t->listed) return;
    c->lane = sm90_again(&c->e->s, c->lane);
    c->item = sm90_again(&c->e->s, c->item);
    for (uint32_t i = 0; i < c->t->vectors.n; i++)
        tables |= fills_table(c, i);
    load_rows(c, rows);
    if (tables) {
        scan_columns(c);
        sm90_sync_block(&c->e->s);
    }
    LLVMBuilderRef b = c->e->s.b;
    LV first = LLVMBuildICmp(b, LLVMIntEQ, c->warp, core_i32(c, 0), "");
    LLVMBasicBlockRef on = emit_when(c->e, first, "list");
    make_list(c, rows);
    emit_on(c->e, on);
}

/* No: it is known to be empty. */
static bool may_run(Core *c, int64_t item, int64_t step, bool *known)
{
    LLVMTypeRef wide = LLVMInt64TypeInContext(c->e->s.cx);
    Tile3 tile = {.s = &c->e->s,
                  .k = c->e->k,
                  .item = LLVMConstInt(wide, (uint64_t)item, true),
                  .step = LLVMConstInt(wide, (uint64_t)step, true)};
    LV empty, full;
    classes_of_step(&tile, c->t, &empty, &full);
    *known = LLVMIsAConstantInt(empty) != NULL;
    return !*known || !LLVMConstIntGetZExtValue(empty);
}

bool core_known(Core *c, int64_t item, int64_t step)
{
    bool known;
    return may_run(c, item, step, &known) && known;
}

/* How many steps of an item are not empty, as far as that is known now. */
static int64_t known_steps(Core *c, int64_t item)
{
    int64_t n = 0;
    bool known;
    for (int64_t i = 0; i < c->t->nblocks; i++)
        n += may_run(c, item, i, &known);
    return n;
}

bool core_backward(Core *c)
{
    return c->t->listed &&
           known_steps(c, c->e->k->rows - 1) > known_steps(c, 0);
}
