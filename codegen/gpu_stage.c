/*
 * gpu_stage.c: values per column, brought to shared memory step by step.
 *
 * What the nests of a pass load per column (statistics of the swept rows,
 * document ids) would be loaded by every thread for each of its columns, from
 * far away and just when it is needed.  Instead a warp of the feeding group
 * runs ahead and lays the tile's values into slots, like a panel's.
 */
#include "gpu_tensor.h"

static bool plain_dtype(DType d)
{
    return d == DT_f32 || d == DT_i32 || d == DT_bf16 || d == DT_f16;
}

/* Whether an index is known without the nest's own loads and rows. */
static bool is_ahead(const Kir *k, Ix ix, LoopId rows)
{
    const IxInfo *x = ix_info(k, ix);
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &k->atoms.at[x->terms[i].atom];
        if (a->kind == ATOM_node) return false;
        if (a->kind == ATOM_var && a->loop == rows) return false;
        if (a->kind != ATOM_var && !is_ahead(k, a->of, rows)) return false;
    }
    return true;
}

static LoopId blocks_of(const Kir *k, LoopId columns)
{
    return k->loops.at[k->loops.at[columns].parent].parent;
}

static bool same_staged(const Kir *k, const TensorStaged *x,
                        const TensorStaged *y)
{
    return blocks_of(k, x->columns) == blocks_of(k, y->columns) &&
           loads_alike(k, x->load, y->load);
}

static void add_staged(Kir *k, TensorTile *t, Node n, LoopId columns)
{
    const NodeInfo *in = node_info(k, n);
    const Loop *l = &k->loops.at[columns];
    if (in->op != KN_load || !plain_dtype((DType)in->dtype)) return;
    if (!is_ahead(k, in->ix, l->parent)) return;
    uint32_t bytes = dtype_bytes((DType)in->dtype);
    TensorStaged s = {n, columns, 0, 0, (uint32_t)l->hi * bytes};
    while (s.as < t->staged.n && !same_staged(k, &t->staged.at[s.as], &s))
        s.as++;
    if (s.as < t->staged.n) {
        s.offset = t->staged.at[s.as].offset;
        vec_push(k->arena, &t->staged, s);
        return;
    }
    uint32_t at = (t->shared + 15) / 16 * 16;
    uint32_t end = at + t->slots * s.bytes;
    if (end > SM90_SHARED_MOST) return;
    s.offset = at;
    vec_push(k->arena, &t->staged, s);
    t->shared = end;
}

void stage_find(Kir *k, TensorTile *t)
{
    for (uint32_t i = 0; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        if (l->kind != LOOP_columns) continue;
        if (k->loops.at[blocks_of(k, i)].kind != LOOP_blocks) continue;
        for (uint32_t j = 0; j < l->body.n; j++)
            add_staged(k, t, l->body.at[j], i);
    }
}

/* ------------------------------------------------------------- the loader */

LV stage_guard(Core *c, Node n, LoopId loop)
{
    Emit *e = c->e;
    const NodeInfo *in = node_info(e->k, n);
    if (in->op == KN_inside && ix_uses(e->k, in->ix, loop))
        return LLVMBuildICmp(e->s.b, LLVMIntULT, emit_ix(e, in->ix),
                             emit_iconst(e, in->n), "");
    if (in->op != KN_scalar || in->sc != SC_and) return NULL;
    LV a = stage_guard(c, in->a, loop), b = stage_guard(c, in->b, loop);
    return a && b ? LLVMBuildAnd(e->s.b, a, b, "") : a ? a : b;
}

static bool staged_in(const Core *c, const TensorStaged *s, uint32_t pass)
{
    return blocks_of(c->e->k, s->columns) == c->t->passes.at[pass].blocks;
}

/* Element i of the tile, where it exists; elsewhere that of index 0. */
static LV load_element(Core *c, const TensorStaged *s, LV i)
{
    Emit *e = c->e;
    const NodeInfo *in = node_info(e->k, s->load);
    emit_enter(e, s->columns, core_index(c, i));
    LV when = in->a.id ? stage_guard(c, in->a, s->columns) : NULL;
    LV at = emit_ix(e, in->ix);
    if (when) at = LLVMBuildSelect(e->s.b, when, at, emit_iconst(e, 0), "");
    LLVMTypeRef t = dtype_mem(&e->s, (DType)in->dtype);
    LV p = LLVMBuildGEP2(e->s.b, t, e->args[in->arg], &at, 1, "");
    return LLVMBuildLoad2(e->s.b, t, p, "");
}

/* Nests load by themselves: values that one had and another needs too would be
 * held in registers between them. */
static LV staged_at(Core *c, const TensorStaged *s, LV slot)
{
    const Site *at = &c->e->s;
    return sm90_at(at, core_at(c, sm90_again(at, slot), s->bytes, s->offset));
}

/* All loads of a step are under way before the first is stored. */
static void stage_step(Core *c, uint32_t pass, LV i)
{
    Emit *e = c->e;
    LLVMBuilderRef b = e->s.b;
    uint32_t n = 0, per = (uint32_t)c->t->columns / WARP;
    LV *x = NEW_ARRAY(e->k->arena, LV, (size_t)c->t->staged.n * per);
    LV number, parity;
    core_stage_slot(c, pass, i, &number, &parity);
    emit_enter(e, c->t->passes.at[pass].blocks,
               core_index(c, core_step(c, i, STEP_either)));
    for (uint32_t v = 0; v < c->t->staged.n; v++)
        for (uint32_t u = 0; u < per; u++, n++)
            if (staged_in(c, &c->t->staged.at[v], pass) &&
                c->t->staged.at[v].as == v)
                x[n] = load_element(
                    c, &c->t->staged.at[v],
                    core_add(c, c->lane, core_i32(c, (int64_t)u * WARP)));
    LV fresh = LLVMBuildXor(b, parity, core_i32(c, 1), "");
    sm90_mbar_wait(&e->s, core_barrier(c, c->t->panels.n, number, true), fresh);
    n = 0;
    for (uint32_t v = 0; v < c->t->staged.n; v++)
        for (uint32_t u = 0; u < per; u++, n++) {
            if (!x[n]) continue;
            LV at = core_add(c, c->lane, core_i32(c, (int64_t)u * WARP));
            LV base = staged_at(c, &c->t->staged.at[v], number);
            LV p = LLVMBuildGEP2(b, LLVMTypeOf(x[n]), base, &at, 1, "");
            LLVMBuildStore(b, x[n], p);
        }
    sm90_mbar_arrive(&e->s, core_barrier(c, c->t->panels.n, number, false));
}

void core_stage(Core *c)
{
    for (uint32_t pass = 0; pass < c->t->passes.n; pass++) {
        CoreLoop l = core_loop(c, core_i32(c, 0), COUNT_run, NULL, 0);
        stage_step(c, pass, l.i);
        core_loop_end(c, &l, NULL, core_i32(c, 1));
    }
}

/* ---------------------------------------------------------- the consumers */

void core_stage_wait(Core *c, uint32_t pass, LV i)
{
    LV number, parity;
    if (!c->t->staged.n) return;
    core_stage_slot(c, pass, i, &number, &parity);
    sm90_mbar_wait(&c->e->s, core_barrier(c, c->t->panels.n, number, false),
                   parity);
    for (uint32_t v = 0; v < c->t->staged.n; v++)
        if (staged_in(c, &c->t->staged.at[v], pass))
            c->e->staged[c->t->staged.at[v].load.id] =
                staged_at(c, &c->t->staged.at[v], number);
}

/* Each lane gives back what it has read: racecheck does not see that one which
 * arrives for its warp comes after the others' reads. */
void core_stage_release(Core *c, uint32_t pass, LV i)
{
    LV number, parity;
    if (!c->t->staged.n) return;
    core_stage_slot(c, pass, i, &number, &parity);
    sm90_mbar_arrive(&c->e->s, core_barrier(c, c->t->panels.n, number, true));
}
