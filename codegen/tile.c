/*
 * tile.c: attention and its backward as one kernel (ir/tile.h).
 *
 * An item is a few neighbouring rows.  It sweeps the columns once per turn;
 * in each sweep the dots are made again, which is cheaper than keeping them,
 * whatever the mask or bias: pairs are read off at (row, column) like any
 * other value.
 *
 *     items          rows r .. r + M
 *         sweep      columns, one a thread
 *             dot        sum over the terms, for each row
 *             pairs      -> sums and maxima per row
 *             outer      over the columns that the warp holds
 *                 wide       the side's vector times the pairs, added per row
 *         row results
 *         wide       results that are vectors
 */
#include "lower.h"

enum { MOST_ROWS = 4 };

typedef struct Tile {
    Lower *l;
    TileFit fit;
    uint32_t rows;      /* of an item */
    Env env[MOST_ROWS]; /* own axes, per row */
    VEC(TypeAxis) own, swept;
    int64_t columns;
    Node made[MOST_ROWS];
    VEC(uint32_t) vectors; /* contractions made so far, ... */
    VEC(LoopId) outers;    /* ... and the loops that made them */
} Tile;

/* ------------------------------------------------------------- axes, rows */

/* Neighbouring rows are neighbours along the longest own axis. */
static void find_axes(Tile *t)
{
    Lower *l = t->l;
    Arena *a = l->k->arena;
    uint32_t best = 0;
    for (uint32_t i = 0; i < t->fit.nown; i++) {
        vec_push(a, &t->own, *fn_axis(l, t->fit.own[i]));
        if (t->own.at[i].size > t->own.at[best].size) best = i;
    }
    TypeAxis x = t->own.at[best];
    t->own.at[best] = vec_last(&t->own);
    vec_last(&t->own) = x;
    for (uint32_t i = 0; i < l->fn->ninsts && !t->swept.n; i++) {
        if (!t->fit.sweep[i]) continue;
        Value from = inst_arg(l->fn, &l->fn->insts[i], 0);
        const TypeInfo *ti = type_info(l->m, value_type(l->fn, from));
        for (uint32_t k = 0; k < ti->naxes; k++)
            for (uint32_t j = 0; j < t->fit.nswept; j++)
                if (t->fit.swept[j].id == ti->axes[k].axis.id)
                    vec_push(a, &t->swept, ti->axes[k]);
    }
    t->columns = axes_extent(l, t->swept.at, t->swept.n);
}

static void bind_rows(Tile *t)
{
    Lower *l = t->l;
    Kir *k = l->k;
    int64_t last = type_local_size(l->m, &vec_last(&t->own));
    t->rows = last % 4 == 0 ? 4 : last % 2 == 0 ? 2 : 1;
    uint32_t n = t->own.n;
    k->rows = axes_extent(l, t->own.at, n) / t->rows;
    l->items = loop_open(k, LOOP_items, 0, 0, k->rows);
    Ix item = ix_var(k, l->items), group = ix_mod(k, item, last / t->rows);
    for (uint32_t r = 0; r < t->rows; r++) {
        env_bind_flat(l, &t->env[r], t->own.at, n - 1,
                      ix_div(k, item, last / t->rows));
        env_bind(&t->env[r], t->own.at[n - 1].axis,
                 ix_add_scaled(k, ix_const(k, r), group, t->rows));
    }
}

/* The axes of a vector per row. */
static const TypeAxis *wide_axes(const Tile *t, Type type, uint32_t *n)
{
    const TypeInfo *ti = type_info(t->l->m, type);
    TypeAxis *out = NEW_ARRAY(t->l->k->arena, TypeAxis, ti->naxes);
    *n = 0;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        bool own = false;
        for (uint32_t j = 0; j < t->own.n; j++)
            own |= t->own.at[j].axis.id == ti->axes[i].axis.id;
        if (!own) out[(*n)++] = ti->axes[i];
    }
    return out;
}

/* -------------------------------------------------------------------- dots */

static DType acc_of(const Lower *l, const Inst *in, Type operand)
{
    return attr_dtype(l->m, in->attr, AT_acc,
                      default_acc(type_dtype(l->m, operand)));
}

static void make_dot(Tile *t, uint32_t v, LoopId sweep, const Env *at)
{
    Lower *l = t->l;
    Kir *k = l->k;
    const Inst *in = &l->fn->insts[v];
    const AttrItem *sum = attr_get(l->m, in->attr, AT_sum);
    Value x = inst_arg(l->fn, in, 0), y = inst_arg(l->fn, in, 1);
    DType acc = acc_of(l, in, value_type(l->fn, x));
    TypeAxis *axes = NEW_ARRAY(k->arena, TypeAxis, sum->n);
    for (uint32_t i = 0; i < sum->n; i++)
        axes[i] = *type_axis(l->m, value_type(l->fn, x), sum->axes[i]);
    LoopId dot = loop_open(k, LOOP_dot, sweep, 0, axes_extent(l, axes, sum->n));
    for (uint32_t r = 0; r < t->rows; r++) {
        Env e = at[r];
        env_bind_flat(l, &e, axes, sum->n, ix_var(k, dot));
        Acc a = {ACC_sum, acc, node_cast(k, acc, env_eval(l, &e, x, (Node){0})),
                 node_cast(k, acc, env_eval(l, &e, y, (Node){0})), false};
        vec_push(k->arena, &k->loops.at[dot].accs, a);
    }
    loop_close(k, dot);
    for (uint32_t r = 0; r < t->rows; r++)
        eval_remember(
            l, (Value){v}, env_ix(l, &at[r], in->type),
            node_cast(k, type_dtype(l->m, in->type), node_result(k, dot, r)));
}

/* ------------------------------------------------------------------ sweeps */

static void mark_needed(const Tile *t, uint32_t v, bool *needed)
{
    if (needed[v]) return;
    needed[v] = true;
    if (t->fit.sweep[v]) return;
    const Inst *in = &t->l->fn->insts[v];
    for (uint32_t i = 0; i < in->nargs; i++)
        mark_needed(t, inst_arg(t->l->fn, in, i).id, needed);
}

static bool in_turn(const Tile *t, uint32_t v, uint32_t turn)
{
    return t->fit.sweep[v] && t->fit.turn[v] == turn;
}

/* The values that the sweeps of a turn need, those themselves left out. */
static bool *needed_in(const Tile *t, uint32_t turn)
{
    const Fn *fn = t->l->fn;
    bool *needed = NEW_ARRAY(t->l->k->arena, bool, fn->ninsts);
    for (uint32_t v = 0; v < fn->ninsts; v++)
        for (uint32_t i = 0; in_turn(t, v, turn) && i < fn->insts[v].nargs; i++)
            mark_needed(t, inst_arg(fn, &fn->insts[v], i).id, needed);
    return needed;
}

static void sweep_rows(Tile *t, const Inst *in, LoopId sweep, const Env *at)
{
    Lower *l = t->l;
    Value x = inst_arg(l->fn, in, 0);
    DType acc = acc_of(l, in, value_type(l->fn, x));
    if (acc == DT_bool) acc = DT_i32;
    for (uint32_t r = 0; r < t->rows; r++) {
        Node v = env_eval(l, &at[r], x, (Node){0});
        Acc a = {
            acc_kind(l, in->attr), acc, node_cast(l->k, acc, v), {0}, false};
        vec_push(l->k->arena, &l->k->loops.at[sweep].accs, a);
    }
}

static void sweep_vector(Tile *t, uint32_t v, LoopId sweep, const Env *at)
{
    Lower *l = t->l;
    Kir *k = l->k;
    const Inst *in = &l->fn->insts[v];
    bool first = t->fit.role[inst_arg(l->fn, in, 0).id] == TILE_pair;
    Value pair = inst_arg(l->fn, in, first ? 0 : 1);
    Value side = inst_arg(l->fn, in, first ? 1 : 0);
    DType acc = acc_of(l, in, value_type(l->fn, pair));
    Node p[MOST_ROWS];
    for (uint32_t r = 0; r < t->rows; r++)
        p[r] = node_cast(k, acc, env_eval(l, &at[r], pair, (Node){0}));
    uint32_t n;
    const TypeAxis *axes = wide_axes(t, in->type, &n);
    LoopId outer = loop_open(k, LOOP_outer, sweep, 0, t->columns);
    LoopId wide = loop_open(k, LOOP_wide, outer, 0, axes_extent(l, axes, n));
    for (uint32_t r = 0; r < t->rows; r++) {
        Env e = t->env[r];
        env_bind_flat(l, &e, t->swept.at, t->swept.n, ix_var(k, outer));
        env_bind_flat(l, &e, axes, n, ix_var(k, wide));
        Node s = node_cast(k, acc, env_eval(l, &e, side, (Node){0}));
        vec_push(k->arena, &k->loops.at[outer].accs,
                 ((Acc){ACC_sum, acc, s, p[r], false}));
    }
    loop_close(k, wide);
    loop_close(k, outer);
    vec_push(k->arena, &t->vectors, v);
    vec_push(k->arena, &t->outers, outer);
}

/* Row values that the sweep has made, for what comes after it. */
static void name_rows(Tile *t, LoopId sweep, uint32_t turn)
{
    Lower *l = t->l;
    uint32_t acc = 0;
    for (uint32_t v = 0; v < l->fn->ninsts; v++) {
        const Inst *in = &l->fn->insts[v];
        if (!in_turn(t, v, turn) || in->op != OP_reduce) continue;
        for (uint32_t r = 0; r < t->rows; r++) {
            Node x = node_result(l->k, sweep, acc++);
            eval_remember(l, (Value){v}, env_ix(l, &t->env[r], in->type),
                          node_cast(l->k, type_dtype(l->m, in->type), x));
        }
    }
}

static void make_sweep(Tile *t, uint32_t turn)
{
    Lower *l = t->l;
    LoopId sweep = loop_open(l->k, LOOP_sweep, l->items, 0, t->columns);
    Env at[MOST_ROWS];
    for (uint32_t r = 0; r < t->rows; r++) {
        at[r] = t->env[r];
        env_bind_flat(l, &at[r], t->swept.at, t->swept.n, ix_var(l->k, sweep));
    }
    const bool *needed = needed_in(t, turn);
    for (uint32_t v = 0; v < l->fn->ninsts; v++)
        if (needed[v] && t->fit.role[v] == TILE_dot) make_dot(t, v, sweep, at);
    for (uint32_t v = 0; v < l->fn->ninsts; v++) {
        if (!in_turn(t, v, turn)) continue;
        if (l->fn->insts[v].op == OP_reduce)
            sweep_rows(t, &l->fn->insts[v], sweep, at);
        else
            sweep_vector(t, v, sweep, at);
    }
    loop_close(l->k, sweep);
    name_rows(t, sweep, turn);
}

/* ----------------------------------------------------------------- results */

/* The contractions with these axes, read along the loop over them. */
static void name_vectors(Tile *t, LoopId wide, const TypeAxis *axes, uint32_t n)
{
    Lower *l = t->l;
    for (uint32_t i = 0; i < t->vectors.n; i++) {
        Value v = {t->vectors.at[i]};
        uint32_t m;
        const TypeAxis *own = wide_axes(t, value_type(l->fn, v), &m);
        bool same = m == n;
        for (uint32_t j = 0; same && j < n; j++)
            same = own[j].axis.id == axes[j].axis.id;
        for (uint32_t r = 0; same && r < t->rows; r++) {
            Env e = t->env[r];
            env_bind_flat(l, &e, axes, n, ix_var(l->k, wide));
            Type type = value_type(l->fn, v);
            Node x = node_result_in(l->k, wide, t->outers.at[i], r);
            eval_remember(l, v, env_ix(l, &e, type),
                          node_cast(l->k, type_dtype(l->m, type), x));
        }
    }
}

static void store_wide(Tile *t, uint32_t result)
{
    Lower *l = t->l;
    Kir *k = l->k;
    uint32_t n;
    const TypeAxis *axes = wide_axes(t, l->fn->results[result].type, &n);
    LoopId wide = loop_open(k, LOOP_wide, l->items, 0, axes_extent(l, axes, n));
    name_vectors(t, wide, axes, n);
    Env e[MOST_ROWS];
    for (uint32_t r = 0; r < t->rows; r++) {
        e[r] = t->env[r];
        env_bind_flat(l, &e[r], axes, n, ix_var(k, wide));
        t->made[r] =
            env_eval(l, &e[r], l->fn->result_values[result], (Node){0});
    }
    uint32_t arg = l->fn->nparams + result;
    for (uint32_t r = 0; r < t->rows; r++)
        node_store(k, wide, arg, env_place(l, &e[r], arg), (Node){0},
                   t->made[r]);
    loop_close(k, wide);
}

static void store_row(Tile *t, uint32_t result)
{
    Lower *l = t->l;
    uint32_t arg = l->fn->nparams + result;
    for (uint32_t r = 0; r < t->rows; r++)
        t->made[r] =
            env_eval(l, &t->env[r], l->fn->result_values[result], (Node){0});
    for (uint32_t r = 0; r < t->rows; r++)
        node_store(l->k, l->items, arg, env_place(l, &t->env[r], arg),
                   (Node){0}, t->made[r]);
}

/* Whether a warp can hold the vectors of its rows. */
static bool vectors_fit(Tile *t)
{
    for (uint32_t v = 0; v < t->l->fn->ninsts; v++) {
        if (t->fit.role[v] != TILE_wide) continue;
        uint32_t n;
        const TypeAxis *axes = wide_axes(t, t->l->fn->insts[v].type, &n);
        if (!tile_lanes(axes_extent(t->l, axes, n))) return false;
    }
    return true;
}

bool lower_tile(Lower *l)
{
    Tile t = {.l = l};
    if (!tile_fit(l->m, l->fn, &t.fit, l->k->arena) || t.fit.crosses)
        return false;
    Kir *k = l->k;
    find_axes(&t);
    if (!vectors_fit(&t)) return false;
    k->tile = true;
    k->width = k->chunks = 1;
    bind_rows(&t);
    for (uint32_t turn = 0; turn < t.fit.turns; turn++)
        make_sweep(&t, turn);
    for (uint32_t r = 0; r < l->fn->nresults; r++)
        if (t.fit.role[l->fn->result_values[r].id] == TILE_row)
            store_row(&t, r);
        else
            store_wide(&t, r);
    loop_close(k, l->items);
    return true;
}
