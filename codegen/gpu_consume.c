/*
 * gpu_consume.c: what a consumer warpgroup does (gpu_tensor.c).
 *
 * The state of a pass goes round its loops in registers: a value for each of
 * a thread's two rows per row sweep, an accumulator per wide sweep, and, where
 * wide products lag, the packed pairs of the step before.
 *
 * Sums of a row are those of the thread's own columns until the end of the
 * pass, when the four threads that share the row add theirs; a maximum that
 * rescales is that of the row after every step.
 */
#include <math.h>

#include "gpu_tensor.h"

typedef struct Run {
    Core *c;
    uint32_t pass;
    LV *state; /* that of the sweeps, then pairs */
    uint32_t nstate, npairs, first_pair;
    uint32_t at[MOST_SWEEPS], pair_at[MOST_SWEEPS]; /* per sweep */
    LV grown[MOST_SWEEPS][FRAGMENT_ROWS]; /* per maximum: the factor */
    LV safe[MOST_SWEEPS][FRAGMENT_ROWS];  /* and itself, finite */
    LV *dots[MOST_SWEEPS];
    bool any; /* the step is of either class */
    LV step;  /* of which the second halves of dots are to come */
} Run;

static const TensorPass *pass_of(const Run *r)
{
    return &r->c->t->passes.at[r->pass];
}

static const TensorSweep *sweep_at(const Run *r, uint32_t i)
{
    return &r->c->t->sweeps.at[i];
}

static bool runs(const Run *r, uint32_t i)
{
    return sweep_in(pass_of(r), sweep_at(r, i));
}

static Acc acc_for(const TensorSweep *s)
{
    return (Acc){s->kind, DT_f32, {0}, {0}, false};
}

static LV f32(const Run *r, double x)
{
    return LLVMConstReal(LLVMFloatTypeInContext(r->c->e->s.cx), x);
}

static LV multiply_add(const Run *r, LV x, LV y, LV z)
{
    return site_call(&r->c->e->s, "llvm.fma", (LV[]){x, y, z}, 3);
}

/* ------------------------------------------------------------------- state */

static void make_state(Run *r)
{
    Core *c = r->c;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const TensorSweep *s = sweep_at(r, i);
        r->at[i] = n;
        if (runs(r, i)) n += s->wide ? s->terms / 2 : FRAGMENT_ROWS;
    }
    r->nstate = r->first_pair = n;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        r->pair_at[i] = n;
        if (runs(r, i) && sweep_at(r, i)->wide)
            n += (uint32_t)c->t->columns / 4;
    }
    r->npairs = n - r->nstate;
    r->state = NEW_ARRAY(c->e->k->arena, LV, (size_t)n + 1);
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const TensorSweep *s = sweep_at(r, i);
        Acc a = acc_for(s);
        uint32_t size = s->wide ? s->terms / 2 : FRAGMENT_ROWS;
        for (uint32_t j = 0; runs(r, i) && j < size; j++)
            r->state[r->at[i] + j] = acc_identity(c->e, &a, 1);
    }
    for (uint32_t j = 0; j < r->npairs; j++)
        r->state[r->first_pair + j] = core_i32(c, 0);
}

/* -------------------------------------------------------------------- nests */

/* Over the four threads that share a row. */
static LV over_quad(Run *r, const Acc *a, LV x)
{
    for (unsigned mask = 1; mask < 4; mask *= 2)
        x = acc_combine(
            r->c->e, a, x,
            gpu_shuffle(r->c->e, SHUFFLE_xor, x, core_i32(r->c, mask)), 1);
    return x;
}

static bool rescales(const Run *r, uint32_t i)
{
    for (uint32_t j = 0; j < r->c->t->sweeps.n; j++)
        if (runs(r, j) && sweep_at(r, j)->by == (int32_t)i) return true;
    return false;
}

/* The maximum so far, and by how much sums that went by the one before have
 * to shrink.  A row of which all is masked so far keeps its sums at 0. */
static void raise_maximum(Run *r, uint32_t i, unsigned row, LV seen)
{
    LLVMBuilderRef b = r->c->e->s.b;
    const TensorSweep *s = sweep_at(r, i);
    const Acc a = acc_for(s);
    LV *state = &r->state[r->at[i] + row], old = *state;
    LV top = acc_combine(r->c->e, &a, old, over_quad(r, &a, seen), 1);
    LV none = LLVMBuildFCmp(b, LLVMRealOEQ, top, f32(r, -INFINITY), "");
    LV safe = LLVMBuildSelect(b, none, f32(r, 0), top, "");
    LV by = f32(r, s->scale * M_LOG2E);
    LV drop = LLVMBuildFMul(b, LLVMBuildFSub(b, old, safe, ""), by, "");
    r->grown[i][row] = sm90_exp2(&r->c->e->s, drop);
    r->safe[i][row] = safe;
    *state = top;
}

static void take_row(Run *r, uint32_t i, unsigned row, LV x)
{
    const TensorSweep *s = sweep_at(r, i);
    const Acc a = acc_for(s);
    LV *state = &r->state[r->at[i] + row];
    if (rescales(r, i)) {
        raise_maximum(r, i, row, x);
        r->c->e->pieces[s->piece] = r->safe[i];
    } else if (s->by >= 0) {
        *state = multiply_add(r, *state, r->grown[s->by][row], x);
    } else {
        *state = acc_combine(r->c->e, &a, *state, x, 1);
    }
}

static void run_nest(Run *r, uint32_t nest)
{
    Emit *e = r->c->e;
    LoopId rows = pass_of(r)->nests[nest];
    emit_fragment(e, rows);
    for (uint32_t i = 0; i < r->c->t->sweeps.n; i++) {
        const TensorSweep *s = sweep_at(r, i);
        if (e->k->loops.at[s->columns].parent != rows || s->wide) continue;
        LV *x = fragment_kept(e, s->columns, s->acc);
        for (unsigned row = 0; row < FRAGMENT_ROWS; row++)
            take_row(r, i, row, x[row]);
    }
}

/* Before the nests of a step.  full: all conditions are known to hold. */
static void enter_step(Run *r, LV i, bool full)
{
    Core *c = r->c;
    Emit *e = c->e;
    for (uint32_t d = 0; d < c->t->conditions.n; d++)
        e->holds[c->t->conditions.at[d].id] = full;
    LV step = core_step(c, i,
                        full     ? STEP_full
                        : r->any ? STEP_either
                                 : STEP_mixed);
    emit_enter(e, pass_of(r)->blocks, core_index(c, step));
    emit_straight(e, pass_of(r)->blocks);
    core_stage_wait(c, r->pass, i);
}

static const TensorKept *kept_of(const Run *r)
{
    int32_t kept = pass_of(r)->kept;
    return kept < 0 ? NULL : &r->c->t->kept.at[kept];
}

/* The nest that needs one dot alone, if there is one. */
static void run_first(Run *r)
{
    const TensorKept *kept = kept_of(r);
    if (!kept) return;
    run_nest(r, 0);
    r->c->e->pieces[kept->piece] =
        fragment_kept(r->c->e, kept->columns, kept->acc);
}

/* The others; all dots are there. */
static void run_rest(Run *r, LV i)
{
    for (uint32_t n = kept_of(r) ? 1 : 0; n < pass_of(r)->nnests; n++)
        run_nest(r, n);
    core_stage_release(r->c, r->pass, i);
}

static void rescale_wide(Run *r)
{
    LLVMBuilderRef b = r->c->e->s.b;
    for (uint32_t i = 0; i < r->c->t->sweeps.n; i++) {
        const TensorSweep *s = sweep_at(r, i);
        if (!runs(r, i) || !s->wide || s->by < 0) continue;
        for (uint32_t j = 0; j < s->terms / 2; j++) {
            LV *x = &r->state[r->at[i] + j];
            *x = LLVMBuildFMul(b, *x, r->grown[s->by][j / 2 % 2], "");
        }
    }
}

/* ----------------------------------------------------------------- products */

/* Which of a pass's dots, or contractions: those that the first nest reads or
 * makes, the others, or all. */
typedef enum Which { FIRST, REST, ALL } Which;

static bool is_dot(const Run *r, uint32_t d, Which which)
{
    const TensorKept *kept = kept_of(r);
    if (!dot_in(r->c->e->k, pass_of(r), &r->c->t->dots.at[d])) return false;
    return which == ALL || (kept && kept->dot == d) == (which == FIRST);
}

static bool is_wide(const Run *r, uint32_t i, Which which)
{
    const TensorKept *kept = kept_of(r);
    const TensorSweep *s = sweep_at(r, i);
    if (!runs(r, i) || !s->wide) return false;
    return which == ALL ||
           (kept && s->columns == kept->columns) == (which == FIRST);
}

/* Each dot, and each contraction, is a group of its own. */
static uint32_t issue_dots(Run *r, LV i, Which which, CoreHalf half)
{
    Core *c = r->c;
    uint32_t n = 0;
    for (uint32_t d = 0; d < c->t->dots.n; d++) {
        const TensorDot *dot = &c->t->dots.at[d];
        if (!is_dot(r, d, which)) continue;
        if (half != HALF_second) {
            core_wait_full(c, r->pass, dot->swept, i);
            r->dots[d] =
                NEW_ARRAY(c->e->k->arena, LV, (size_t)c->t->columns / 2);
        }
        core_dot(c, r->pass, dot, i, half, r->dots[d]);
        n++;
    }
    return n;
}

static uint32_t issue_wides(Run *r, LV i, Which which)
{
    Core *c = r->c;
    uint32_t n = 0;
    for (uint32_t w = 0; w < c->t->sweeps.n; w++) {
        const TensorSweep *s = sweep_at(r, w);
        if (!is_wide(r, w, which)) continue;
        core_wait_full(c, r->pass, s->panel, i);
        core_wide(c, r->pass, s, i, &r->state[r->pair_at[w]],
                  &r->state[r->at[w]]);
        n++;
    }
    return n;
}

static void wait_dots(Run *r, Which which, uint32_t pending)
{
    Core *c = r->c;
    uint32_t regs = (uint32_t)c->t->columns / 2;
    LV *all = NEW_ARRAY(c->e->k->arena, LV, (size_t)regs * c->t->dots.n + 1);
    uint32_t n = 0;
    for (uint32_t d = 0; d < c->t->dots.n; d++)
        for (uint32_t j = 0; is_dot(r, d, which) && j < regs; j++)
            all[n++] = r->dots[d][j];
    sm90_mma_wait(&c->e->s, pending, all, n);
    n = 0;
    for (uint32_t d = 0; d < c->t->dots.n; d++) {
        if (!is_dot(r, d, which)) continue;
        for (uint32_t j = 0; j < regs; j++)
            r->dots[d][j] = all[n++];
        c->e->pieces[c->t->dots.at[d].piece] = r->dots[d];
    }
}

static void wait_wides(Run *r)
{
    Core *c = r->c;
    LV *all = NEW_ARRAY(c->e->k->arena, LV, (size_t)r->nstate + 1);
    uint32_t n = 0;
    for (uint32_t w = 0; w < c->t->sweeps.n; w++)
        for (uint32_t j = 0; runs(r, w) && j < sweep_at(r, w)->terms / 2; j++)
            all[n++] = r->state[r->at[w] + j];
    sm90_mma_wait(&c->e->s, 0, all, n);
    n = 0;
    for (uint32_t w = 0; w < c->t->sweeps.n; w++)
        for (uint32_t j = 0; runs(r, w) && j < sweep_at(r, w)->terms / 2; j++)
            r->state[r->at[w] + j] = all[n++];
}

/* Pairs as the first operand of wgmma. */
static void pack_pairs(Run *r, Which which)
{
    Core *c = r->c;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const TensorSweep *s = sweep_at(r, i);
        if (!is_wide(r, i, which)) continue;
        DType d = c->t->panels.at[s->panel].dtype;
        const LV *x = fragment_kept(c->e, s->columns, s->acc);
        for (uint32_t j = 0; j < c->t->columns / 4; j++)
            r->state[r->pair_at[i] + j] =
                sm90_pack(&c->e->s, d, x[2 * j], x[2 * j + 1]);
    }
}

/* Slots that dots alone have read, or those of wide products. */
static void release(Run *r, LV i, bool wides)
{
    Core *c = r->c;
    for (uint32_t p = 0; p < c->t->panels.n; p++) {
        bool wide = core_reads(c, r->pass, p, false);
        bool dot = core_reads(c, r->pass, p, true);
        if (wides ? wide : dot && !wide) core_release(c, r->pass, p, i);
    }
}

/* -------------------------------------------------------------------- steps */

static bool has_wides(const Run *r)
{
    return r->npairs > 0;
}

/* A warpgroup issues no more instructions than the tensor cores take ahead, and
 * waits to issue the next: of longer products half are issued amid the nest. */
enum { TAKEN_AHEAD = 4 };

static bool in_halves(const Run *r)
{
    const TensorTile *t = r->c->t;
    bool some = false;
    if (!t->cross || !kept_of(r)) return false;
    for (uint32_t d = 0; d < t->dots.n; d++)
        some |= is_dot(r, d, REST) &&
                t->panels.at[t->dots.at[d].own].terms > TAKEN_AHEAD * 16;
    return some;
}

static void second_halves(void *of)
{
    Run *r = of;
    issue_dots(r, r->step, REST, HALF_second);
}

/* The rest of the dots runs under the first nest, and the contractions of
 * that under the other nests. */
static void run_nests(Run *r, LV i, bool full)
{
    bool halves = in_halves(r);
    issue_dots(r, i, FIRST, HALF_both);
    uint32_t rest = halves ? 0 : issue_dots(r, i, REST, HALF_both);
    enter_step(r, i, full);
    if (kept_of(r)) wait_dots(r, FIRST, rest);
    if (halves) {
        rest = issue_dots(r, i, REST, HALF_first);
        r->step = i;
        r->c->e->halfway = (Halfway){second_halves, r};
    }
    if (!rest) release(r, i, false);
    run_first(r);
    r->c->e->halfway = (Halfway){0};
    pack_pairs(r, FIRST);
    uint32_t wides = issue_wides(r, i, FIRST);
    if (rest) {
        wait_dots(r, REST, wides);
        release(r, i, false);
    }
    run_rest(r, i);
}

static void step_at_once(Run *r, LV i, bool full)
{
    run_nests(r, i, full);
    if (!has_wides(r)) return;
    rescale_wide(r);
    pack_pairs(r, REST);
    issue_wides(r, i, REST);
    wait_wides(r);
    release(r, i, true);
}

/* Wide products of WHICH and those that cross are done. */
static void wait_crossing(Run *r, Which which, uint32_t pending, LV *sums)
{
    Core *c = r->c;
    uint32_t n = 0, width = core_cross_width(c) / 2;
    LV *all = NEW_ARRAY(c->e->k->arena, LV, (size_t)r->nstate + width + 1);
    for (int back = 0; back < 2; back++) {
        for (uint32_t w = 0; w < c->t->sweeps.n; w++)
            for (uint32_t j = 0;
                 is_wide(r, w, which) && j < sweep_at(r, w)->terms / 2; j++) {
                LV *x = &r->state[r->at[w] + j];
                *(back ? x : &all[n]) = *(back ? &all[n] : x);
                n++;
            }
        for (uint32_t j = 0; j < width; j++, n++)
            *(back ? &sums[j] : &all[n]) = *(back ? &all[n] : &sums[j]);
        if (!back) sm90_mma_wait(&c->e->s, pending, all, n);
        n = 0;
    }
}

/* Only where i is not negative. */
static void leave_if(Core *c, LV i, const LV *sums)
{
    LLVMBuilderRef b = c->e->s.b;
    LV any = LLVMBuildICmp(b, LLVMIntSGE, i, core_i32(c, 0), "");
    LLVMBasicBlockRef on = emit_when(c->e, any, "leave");
    core_cross_leave(c, i, sums);
    emit_on(c->e, on);
}

/* What crosses is multiplied a step late: then no warpgroup waits for the
 * pairs of another. */
static bool crosses_late(const Core *c)
{
    return c->t->cross && c->t->cross->pairs == 2;
}

/* Warpgroups issue their products in turn, so that one's nests run under
 * another's products: group g passes on to the next at barrier 1 + g. */
static LV turn_of(const Core *c, bool next)
{
    LLVMBuilderRef b = c->e->s.b;
    LV g = core_add(c, c->group, core_i32(c, next));
    LV last = core_i32(c, c->t->groups - 1);
    LV over = LLVMBuildICmp(b, LLVMIntUGT, g, last, "");
    g = LLVMBuildSelect(b, over, core_i32(c, 0), g, "");
    return core_add(c, g, core_i32(c, 1));
}

enum { TURN_THREADS = 2 * SM90_GROUP };

static void take_turn(Core *c)
{
    if (c->t->takes_turns)
        sm90_sync_at(&c->e->s, turn_of(c, false), TURN_THREADS);
}

static void pass_turn(Core *c)
{
    if (c->t->takes_turns)
        sm90_arrive_at(&c->e->s, turn_of(c, true), TURN_THREADS);
}

/* One more turn is passed on than is taken: the last group begins. */
static void only_group(Core *c, uint32_t group, void (*fn)(Core *c))
{
    LLVMBuilderRef b = c->e->s.b;
    LV is = LLVMBuildICmp(b, LLVMIntEQ, c->group, core_i32(c, group), "");
    LLVMBasicBlockRef on = emit_when(c->e, is, "turn");
    fn(c);
    emit_on(c->e, on);
}

/* The sums that cross are taken away under the last contractions.  Where
 * warpgroups take turns, no two are here at a time. */
static void step_crossing(Run *r, LV i, bool full)
{
    Core *c = r->c;
    LV *sums = NEW_ARRAY(c->e->k->arena, LV, core_cross_width(c));
    run_nests(r, i, full);
    pack_pairs(r, REST);
    core_cross_put(c, i, &r->state[r->pair_at[c->t->cross->sweep]]);
    LV of = i;
    if (crosses_late(c)) of = LLVMBuildSub(c->e->s.b, i, core_i32(c, 1), "");
    take_turn(c);
    core_cross_multiply(c, of, sums);
    uint32_t last = issue_wides(r, i, REST);
    wait_crossing(r, FIRST, last, sums);
    leave_if(c, of, sums);
    wait_wides(r);
    pass_turn(c);
    release(r, i, true);
}

/* The product of the last step, if there was one. */
static void cross_last(Run *r)
{
    Core *c = r->c;
    LV *sums = NEW_ARRAY(c->e->k->arena, LV, core_cross_width(c));
    LV last =
        LLVMBuildSub(c->e->s.b, core_count(c, COUNT_run), core_i32(c, 1), "");
    core_cross_multiply(c, last, sums);
    sm90_mma_wait(&c->e->s, 0, sums, core_cross_width(c) / 2);
    leave_if(c, last, sums);
}

static void step_lagging(Run *r, LV i, bool full)
{
    LLVMBuilderRef b = r->c->e->s.b;
    LV before = LLVMBuildSub(b, i, core_i32(r->c, 1), "");
    take_turn(r->c);
    issue_dots(r, i, FIRST, HALF_both);
    uint32_t rest = issue_dots(r, i, REST, HALF_both);
    uint32_t wides = issue_wides(r, before, ALL);
    pass_turn(r->c);
    enter_step(r, i, full);
    if (kept_of(r)) wait_dots(r, FIRST, rest + wides);
    if (!rest) release(r, i, false);
    run_first(r);
    if (rest) {
        wait_dots(r, REST, wides);
        release(r, i, false);
    }
    run_rest(r, i);
    wait_wides(r);
    release(r, before, true);
    rescale_wide(r);
    pack_pairs(r, ALL);
}

typedef void StepFn(Run *r, LV i, bool full);

static LV larger(Run *r, LV x, LV y)
{
    LLVMBuilderRef b = r->c->e->s.b;
    LV more = LLVMBuildICmp(b, LLVMIntSGT, x, y, "");
    return LLVMBuildSelect(b, more, x, y, "");
}

/* The other way round where sums cross. */
static void run_full_first(Run *r, uint32_t n, StepFn *step)
{
    Core *c = r->c;
    LV one = core_i32(c, 1);
    CoreLoop f = core_loop(c, core_i32(c, 0), COUNT_full, r->state, n);
    if (c->t->listed) step(r, f.i, true);
    core_loop_end(c, &f, r->state, one);
    CoreLoop l =
        core_loop(c, core_count(c, COUNT_full), COUNT_run, r->state, n);
    step(r, l.i, false);
    core_loop_end(c, &l, r->state, one);
}

/* Steps that ask their conditions come first, then the full ones. */
static void run_steps(Run *r, LV from, uint32_t n, StepFn *step)
{
    Core *c = r->c;
    LV one = core_i32(c, 1);
    if (core_full_first(c)) {
        run_full_first(r, n, step);
        return;
    }
    CoreLoop l = core_loop(c, from, COUNT_mixed, r->state, n);
    step(r, l.i, false);
    core_loop_end(c, &l, r->state, one);
    if (!c->t->listed) return;
    CoreLoop f = core_loop(c, larger(r, from, core_count(c, COUNT_mixed)),
                           COUNT_run, r->state, n);
    step(r, f.i, true);
    core_loop_end(c, &f, r->state, one);
}

static void run_lagging(Run *r)
{
    Core *c = r->c;
    LV zero = core_i32(c, 0);
    issue_dots(r, zero, ALL, HALF_both);
    wait_dots(r, ALL, 0);
    release(r, zero, false);
    r->any = true;
    enter_step(r, zero, false);
    run_first(r);
    run_rest(r, zero);
    pack_pairs(r, ALL);
    r->any = false;
    run_steps(r, core_i32(c, 1), r->nstate + r->npairs, step_lagging);
    LV last =
        LLVMBuildSub(c->e->s.b, core_count(c, COUNT_run), core_i32(c, 1), "");
    issue_wides(r, last, ALL);
    wait_wides(r);
    release(r, last, true);
}

/* Nothing at all to do leaves the state as it was. */
static void run_if_any(Run *r)
{
    Core *c = r->c;
    LLVMBuilderRef b = c->e->s.b;
    LV any = LLVMBuildICmp(b, LLVMIntSGT, core_count(c, COUNT_run),
                           core_i32(c, 0), "");
    LV *before = NEW_ARRAY(c->e->k->arena, LV, (size_t)r->nstate + 1);
    memcpy(before, r->state, r->nstate * sizeof *before);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(b);
    LLVMBasicBlockRef on = emit_when(c->e, any, "steps");
    run_lagging(r);
    LLVMBasicBlockRef done = LLVMGetInsertBlock(b);
    emit_on(c->e, on);
    for (uint32_t i = 0; i < r->nstate; i++) {
        LV phi = LLVMBuildPhi(b, LLVMTypeOf(before[i]), "");
        LLVMAddIncoming(phi, &before[i], &from, 1);
        LLVMAddIncoming(phi, &r->state[i], &done, 1);
        r->state[i] = phi;
    }
}

/* ------------------------------------------------------------------ results */

/* What a sum by a maximum is when that is not finite: not a number, as it
 * would be had the maximum been known before. */
static LV judged(Run *r, const TensorSweep *s, unsigned row, LV x)
{
    LLVMBuilderRef b = r->c->e->s.b;
    if (s->by < 0) return x;
    LV top = r->state[r->at[s->by] + row];
    return LLVMBuildFAdd(b, x, LLVMBuildFSub(b, top, top, ""), "");
}

static void finish(Run *r)
{
    Emit *e = r->c->e;
    for (uint32_t i = 0; i < r->c->t->sweeps.n; i++) {
        const TensorSweep *s = sweep_at(r, i);
        if (!runs(r, i)) continue;
        const Acc a = acc_for(s);
        LV *x = &r->state[r->at[i]];
        e->pieces[s->piece] = x;
        for (uint32_t j = 0; s->wide && j < s->terms / 2; j++)
            x[j] = judged(r, s, j / 2 % 2, x[j]);
        for (unsigned row = 0; !s->wide && row < FRAGMENT_ROWS; row++)
            x[row] = judged(r, s, row,
                            rescales(r, i) ? x[row] : over_quad(r, &a, x[row]));
    }
}

static void run_pass(Core *c, uint32_t pass)
{
    Run r = {.c = c, .pass = pass};
    make_state(&r);
    if (c->t->lags && has_wides(&r))
        run_if_any(&r);
    else
        run_steps(&r, core_i32(c, 0), r.nstate,
                  c->t->cross ? step_crossing : step_at_once);
    if (crosses_late(c)) cross_last(&r);
    finish(&r);
}

void core_consume(Core *c)
{
    const Kir *k = c->e->k;
    if (c->t->takes_turns) only_group(c, c->t->groups - 1, pass_turn);
    for (uint32_t p = 0; p < c->t->passes.n; p++)
        run_pass(c, p);
    if (c->t->takes_turns) only_group(c, 0, take_turn);
    const Loop *items = &k->loops.at[c->t->items];
    for (uint32_t i = 0; i < items->body.n; i++) {
        const NodeInfo *in = node_info(k, items->body.at[i]);
        if (in->op == KN_loop && k->loops.at[in->inner].kind == LOOP_rows)
            emit_fragment(c->e, in->inner);
    }
}
