/*
 * tensor.c: a tile region as a kernel for tensor cores (tensor.h).
 *
 * Parts and panels are found (tensor_parts.c), a shape is chosen
 * (tensor_shape.c); then the passes and their nests are built of nodes as any
 * other kernel, with rows and columns bound to the tile's.  What does not fit
 * stays with tile.c.
 */
#include <math.h>

#include "cores.h"

/* ------------------------------------------------------------------- items */

/* Items whose numbers are neighbours before the next tile of rows comes.  Where
 * sums cross these are so few that they and their tiles keep all processors
 * busy: what they read and add to is near for longer. */
static int64_t items_beside(const Cores *c, int64_t tiles, int64_t others)
{
    if (!c->t->cross) return others;
    for (int64_t n = 1; n < others; n++)
        if (others % n == 0 && 2 * tiles * n >= 3 * SM90_PROCESSORS) return n;
    return others;
}

/* Blocks of neighbouring numbers have the same rows, and mostly the columns'
 * side in common. */
static void bind_items(Cores *c)
{
    Lower *l = c->l;
    Kir *k = l->k;
    TensorTile *t = c->t;
    uint32_t n = c->own.n - 1;
    int64_t rows = size_of(c, rows_of(c));
    int64_t tiles = (rows + t->lines - 1) / t->lines;
    int64_t others = axes_extent(l, c->own.at, n);
    k->rows = tiles * others;
    l->items = t->items = loop_open(k, LOOP_items, 0, 0, k->rows);
    t->ntiles = tiles;
    t->beside = items_beside(c, tiles, others);
    Ix item = ix_var(k, l->items);
    Ix group = ix_div(k, item, tiles * t->beside);
    Ix tile = ix_div(k, ix_mod(k, item, tiles * t->beside), t->beside);
    Ix other = ix_add_scaled(k, ix_mod(k, item, t->beside), group, t->beside);
    env_bind_flat(l, &c->base, c->own.at, n, other);
    c->first_row = ix_scale(k, tile, t->lines);
}

/* ------------------------------------------------------------------ passes */

bool sweep_in(const TensorPass *p, const TensorSweep *s)
{
    return s->turn >= p->turn && s->turn < p->turn + p->nturns;
}

static bool all_maxima(const Cores *c, uint32_t turn, bool *maxima)
{
    bool all = true;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const TensorSweep *s = &c->t->sweeps.at[i];
        if (s->turn != turn) continue;
        bool max = !s->wide && s->kind == ACC_max;
        maxima[s->value] = max;
        all &= max;
    }
    return all;
}

/* Whether the sweeps of the next turn can run beside the maxima of this one;
 * then each knows by which it is rescaled. */
static bool joins(Cores *c, uint32_t turn)
{
    const Fn *fn = c->l->fn;
    TensorTile *t = c->t;
    bool *maxima = NEW_ARRAY(c->l->k->arena, bool, fn->ninsts);
    if (turn + 1 >= c->fit.turns || !all_maxima(c, turn, maxima)) return false;
    const int32_t *how = online_find(c->l, maxima);
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        TensorSweep *s = &t->sweeps.at[i];
        const Inst *in = &fn->insts[s->value];
        if (s->turn != turn + 1) continue;
        if (s->kind != ACC_sum) return false;
        int32_t by = how[inst_arg(fn, in, 0).id];
        if (s->wide && by == DEPENDS_not) by = how[inst_arg(fn, in, 1).id];
        if (by < 0 || by > (int32_t)fn->ninsts) return false;
        for (uint32_t j = 0; j < t->sweeps.n; j++)
            if (by && t->sweeps.at[j].value == (uint32_t)by - 1)
                s->by = (int32_t)j;
    }
    return true;
}

static void remember(Cores *c, const Env *e, uint32_t v, Node n)
{
    Lower *l = c->l;
    Type t = value_type(l->fn, (Value){v});
    const Ix *ix = env_ix(l, e, t);
    n = node_cast(l->k, type_dtype(l->m, t), n);
    eval_remember(l, (Value){v}, ix, n);
    if (c->whole.id) eval_remember_under(l, (Value){v}, ix, c->whole, n);
}

/* Values per row of turns before this one. */
static void name_rows(Cores *c, const Env *e, LoopId rows, uint32_t turn)
{
    Kir *k = c->l->k;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const TensorSweep *s = &c->t->sweeps.at[i];
        if (s->wide || s->turn >= turn) continue;
        Node n = node_piece(k, rows, DT_f32, s->piece);
        if (s->scale != 1)
            n = node_scalar(k, SC_mul, DT_f32, n,
                            node_const_float(k, DT_f32, (float)s->scale),
                            (Node){0});
        remember(c, e, s->value, n);
    }
}

static void name_dots(Cores *c, const Env *e, LoopId columns)
{
    for (uint32_t i = 0; i < c->t->dots.n; i++) {
        const TensorDot *d = &c->t->dots.at[i];
        remember(c, e, d->value,
                 node_piece(c->l->k, columns, DT_f32, d->piece));
    }
}

static Node operand(Cores *c, const Env *e, Value x)
{
    return algebra_fast(c->l->k, env_eval(c->l, e, x, c->whole));
}

/* A row's sweep in its nest: columns that are not there count for nothing. */
static Node row_value(Cores *c, const Env *e, TensorSweep *s)
{
    Kir *k = c->l->k;
    const Inst *in = &c->l->fn->insts[s->value];
    Node n = operand(c, e, inst_arg(c->l->fn, in, 0));
    n = node_cast(k, DT_f32, n);
    double none[] = {[ACC_sum] = 0,
                     [ACC_max] = -INFINITY,
                     [ACC_min] = INFINITY,
                     [ACC_prod] = 1};
    if (c->column_in.id)
        n = node_scalar(k, SC_where, DT_f32, c->column_in, n,
                        node_const_float(k, DT_f32, none[s->kind]));
    if (s->kind == ACC_max) n = algebra_strip(k, n, &s->scale);
    return n;
}

/* The pairs of a contraction, before they are rounded. */
static Node wide_value(Cores *c, const Env *e, const TensorSweep *s)
{
    Kir *k = c->l->k;
    const Fn *fn = c->l->fn;
    const Inst *in = &fn->insts[s->value];
    bool first = c->fit.role[inst_arg(fn, in, 0).id] == TILE_pair;
    Node n = operand(c, e, inst_arg(fn, in, first ? 0 : 1));
    const NodeInfo *x = node_info(k, n);
    n = x->op == KN_cast && node_info(k, x->a)->dtype == DT_f32
            ? x->a
            : node_cast(k, DT_f32, n);
    return node_or_zero(k, c->column_in, n);
}

const uint32_t *cores_find_dots(const Cores *c)
{
    const Fn *fn = c->l->fn;
    uint32_t *dots = NEW_ARRAY(c->l->k->arena, uint32_t, fn->ninsts);
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++) {
        for (uint32_t i = 0; i < fn->insts[v].nargs; i++)
            dots[v] |= dots[inst_arg(fn, &fn->insts[v], i).id];
        for (uint32_t d = 0; d < c->t->dots.n; d++)
            if (c->t->dots.at[d].value == v) dots[v] = 1u << d;
    }
    return dots;
}

static bool is_one(uint32_t bits)
{
    return bits && !(bits & (bits - 1));
}

/* A map of one dot that maps of several read: the last of those. */
static bool find_kept(const Cores *c, const uint32_t *dots, TensorKept *out)
{
    const Fn *fn = c->l->fn;
    bool found = false;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++)
        for (uint32_t i = 0; i < fn->insts[v].nargs; i++) {
            uint32_t x = inst_arg(fn, &fn->insts[v], i).id;
            bool f32 = type_dtype(c->l->m, fn->insts[x].type) == DT_f32;
            if (c->fit.role[v] != TILE_pair || c->fit.role[x] != TILE_pair ||
                !is_one(dots[x]) || is_one(dots[v]) || !f32)
                continue;
            out->value = x;
            out->dot = (uint32_t)__builtin_ctz(dots[x]);
            found = true;
        }
    return found;
}

/* What a nest makes: all sweeps of its turn, those that the first dot alone
 * gives, or the others; or all, and it keeps what they read, or reads that. */
typedef enum NestPart {
    NEST_all,
    NEST_first,
    NEST_rest,
    NEST_keeps,
    NEST_reads
} NestPart;

static bool in_part(const Cores *c, const TensorSweep *s, NestPart part,
                    const TensorKept *kept, const uint32_t *dots)
{
    if (part != NEST_first && part != NEST_rest) return true;
    const Fn *fn = c->l->fn;
    uint32_t bits = 0;
    for (uint32_t i = 0; i < fn->insts[s->value].nargs; i++)
        bits |= dots[inst_arg(fn, &fn->insts[s->value], i).id];
    return (bits == 1u << kept->dot) == (part == NEST_first);
}

static void name_kept(Cores *c, const Env *e, const TensorKept *kept,
                      LoopId columns)
{
    Kir *k = c->l->k;
    Node n = node_piece(k, columns, DT_f32, kept->piece);
    if (kept->scale != 1)
        n = node_scalar(k, SC_mul, DT_f32, n,
                        node_const_float(k, DT_f32, kept->scale), (Node){0});
    remember(c, e, kept->value, n);
}

/* The last accumulator of the loop. */
static void keep_pairs(Cores *c, const Env *e, TensorKept *kept, NestPart part,
                       LoopId columns)
{
    Kir *k = c->l->k;
    Node n = operand(c, e, (Value){kept->value});
    kept->columns = columns;
    kept->acc = k->loops.at[columns].accs.n;
    if (part == NEST_keeps) n = algebra_strip(k, n, &kept->scale);
    vec_push(k->arena, &k->loops.at[columns].accs,
             ((Acc){ACC_sum, DT_f32, n, {0}, true}));
}

static void make_nest(Cores *c, TensorPass *p, uint32_t turn, NestPart part,
                      const uint32_t *dots)
{
    Lower *l = c->l;
    Kir *k = l->k;
    TensorTile *t = c->t;
    TensorKept *kept = p->kept < 0 ? NULL : &t->kept.at[p->kept];
    LoopId rows = loop_open(k, LOOP_rows, p->blocks, 0, t->lines);
    LoopId columns = loop_open(k, LOOP_columns, rows, 0, t->columns);
    Env e = c->step;
    Ix row = ix_add(k, c->first_row, ix_var(k, rows));
    Ix column = ix_add(k, c->first_column, ix_var(k, columns));
    env_bind(&e, rows_of(c)->axis, row);
    env_bind(&e, columns_of(c)->axis, column);
    c->column_in = node_inside(k, column, size_of(c, columns_of(c)));
    c->whole =
        node_and(k, node_inside(k, row, size_of(c, rows_of(c))), c->column_in);
    name_rows(c, &e, rows, turn);
    name_dots(c, &e, columns);
    if (part == NEST_rest || part == NEST_reads)
        name_kept(c, &e, kept, columns);
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        TensorSweep *s = &t->sweeps.at[i];
        if (s->turn != turn || !in_part(c, s, part, kept, dots)) continue;
        Node n = s->wide ? wide_value(c, &e, s) : row_value(c, &e, s);
        s->columns = columns;
        s->acc = k->loops.at[columns].accs.n;
        vec_push(k->arena, &k->loops.at[columns].accs,
                 ((Acc){s->kind, DT_f32, n, {0}, s->wide}));
    }
    if (part == NEST_first || part == NEST_keeps)
        keep_pairs(c, &e, kept, part, columns);
    loop_close(k, columns);
    loop_close(k, rows);
    p->nests[p->nnests++] = rows;
}

static bool has_choice(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    bool found = x->op == SC_where;
    for (unsigned i = 0; i < x->nargs && !found; i++)
        found = has_choice(m, x->args[i]);
    return found;
}

/* The scores that all maxima of a turn read, where a mask has a part in them:
 * it is asked once. */
static bool find_masked(const Cores *c, uint32_t turn, const uint32_t *dots,
                        TensorKept *out)
{
    const Module *m = c->l->m;
    const Fn *fn = c->l->fn;
    uint32_t x = 0;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const TensorSweep *s = &c->t->sweeps.at[i];
        if (s->turn != turn) continue;
        uint32_t read = inst_arg(fn, &fn->insts[s->value], 0).id;
        if (x && read != x) return false;
        x = read;
    }
    const Inst *in = &fn->insts[x];
    if (in->op != OP_map || c->fit.role[x] != TILE_pair || !is_one(dots[x]) ||
        type_dtype(m, in->type) != DT_f32 ||
        !has_choice(m, attr_expr(m, in->attr)))
        return false;
    out->value = x;
    out->dot = (uint32_t)__builtin_ctz(dots[x]);
    return true;
}

static void keep(Cores *c, TensorPass *p, TensorKept *kept)
{
    kept->piece = c->t->npieces++;
    kept->scale = 1;
    p->kept = (int32_t)c->t->kept.n;
    vec_push(c->l->k->arena, &c->t->kept, *kept);
}

/* A pass of one turn without rescaling, and of several dots, begins with what
 * the first of them gives.  Where contractions do not lag there is nothing to
 * win: they would come in more and smaller pieces. */
static void make_nests(Cores *c, TensorPass *p)
{
    const uint32_t *dots = cores_find_dots(c);
    TensorKept kept = {0};
    bool apart = c->t->lags || c->t->cross;
    if (apart && p->nturns == 1 && find_kept(c, dots, &kept)) {
        keep(c, p, &kept);
        make_nest(c, p, p->turn, NEST_first, dots);
        make_nest(c, p, p->turn, NEST_rest, dots);
        return;
    }
    if (p->nturns == 2 && find_masked(c, p->turn, dots, &kept)) {
        keep(c, p, &kept);
        make_nest(c, p, p->turn, NEST_keeps, dots);
        make_nest(c, p, p->turn + 1, NEST_reads, dots);
        return;
    }
    for (uint32_t i = 0; i < p->nturns; i++)
        make_nest(c, p, p->turn + i, NEST_all, dots);
}

static void bind_step(Cores *c, LoopId blocks)
{
    Lower *l = c->l;
    Kir *k = l->k;
    int64_t n = size_of(c, columns_of(c));
    int64_t per = (n + c->t->columns - 1) / c->t->columns;
    Ix b = ix_var(k, blocks), tile = ix_mod(k, b, per),
       other = ix_div(k, b, per);
    if (c->t->cross) {
        int64_t others = axes_extent(l, c->swept.at, c->swept.n - 1);
        other = ix_mod(k, b, others);
        tile = ix_add_scaled(k, ix_const(k, per - 1), ix_div(k, b, others), -1);
    }
    c->step = c->base;
    env_bind_flat(l, &c->step, c->swept.at, c->swept.n - 1, other);
    c->first_column = ix_scale(k, tile, c->t->columns);
}

/* The words that say whose turn it is: that of a step is the word of its first
 * column, that of all blocks the one of column 1, with which no step begins. */
static void place_turns(Cores *c)
{
    Lower *l = c->l;
    Kir *k = l->k;
    TensorCross *x = c->t->cross;
    Env e = c->step;
    env_bind(&e, columns_of(c)->axis, c->first_column);
    x->turn = env_place(l, &e, x->turns);
    for (uint32_t i = 0; i < e.n; i++)
        e.at[i].ix = ix_const(k, e.at[i].axis.id == columns_of(c)->axis.id);
    x->ticket = env_place(l, &e, x->turns);
    k->zero |= UINT64_C(1) << x->turns;
    cores_make_map(c, &x->to);
}

static uint32_t make_pass(Cores *c, uint32_t turn)
{
    Kir *k = c->l->k;
    TensorTile *t = c->t;
    TensorPass p = {.turn = turn, .kept = -1};
    p.nturns = joins(c, turn) ? 2 : 1;
    p.blocks = loop_open(k, LOOP_blocks, t->items, 0, t->nblocks);
    bind_step(c, p.blocks);
    for (uint32_t i = 0; i < t->panels.n && turn == 0; i++)
        cores_make_map(c, &t->panels.at[i]);
    if (t->cross) place_turns(c);
    make_nests(c, &p);
    loop_close(k, p.blocks);
    vec_push(k->arena, &t->passes, p);
    return turn + p.nturns;
}

/* ----------------------------------------------------------------- results */

static void name_vectors(Cores *c, const Env *e, LoopId columns, Axis terms)
{
    Lower *l = c->l;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const TensorSweep *s = &c->t->sweeps.at[i];
        Type t = value_type(l->fn, (Value){s->value});
        if (s->wide && cores_terms(c, t)->axis.id == terms.id)
            remember(c, e, s->value,
                     node_piece(l->k, columns, DT_f32, s->piece));
    }
}

static void store_result(Cores *c, uint32_t result)
{
    Lower *l = c->l;
    Kir *k = l->k;
    Value v = l->fn->result_values[result];
    const TypeAxis *terms = cores_terms(c, l->fn->results[result].type);
    LoopId rows = loop_open(k, LOOP_rows, c->t->items, 0, c->t->lines);
    LoopId inner = rows;
    Env e = c->base;
    Ix row = ix_add(k, c->first_row, ix_var(k, rows));
    env_bind(&e, rows_of(c)->axis, row);
    c->whole = node_inside(k, row, size_of(c, rows_of(c)));
    if (terms) {
        inner = loop_open(k, LOOP_columns, rows, 0, size_of(c, terms));
        env_bind(&e, terms->axis, ix_var(k, inner));
        name_vectors(c, &e, inner, terms->axis);
    }
    name_rows(c, &e, rows, c->fit.turns);
    uint32_t arg = l->fn->nparams + result;
    Node n = operand(c, &e, v);
    node_store(k, inner, arg, env_place(l, &e, arg), c->whole, n);
    if (terms) loop_close(k, inner);
    loop_close(k, rows);
}

static bool has_counters(const Kir *k)
{
    for (uint32_t i = 0; i < k->nargs; i++)
        if (k->args[i].counter) return true;
    return false;
}

bool lower_tensor(Lower *l)
{
    Kir *k = l->k;
    TensorTile *t = NEW(k->arena, TensorTile);
    Cores c = {.l = l, .t = t};
    if (has_counters(k) || !tile_fit(l->m, l->fn, &c.fit, k->arena))
        return false;
    if (!cores_find_parts(&c) || !cores_choose_shape(&c)) return false;
    k->tile = true;
    k->width = k->chunks = 1;
    bind_items(&c);
    for (uint32_t turn = 0; turn < c.fit.turns;)
        turn = make_pass(&c, turn);
    for (uint32_t r = 0; r < l->fn->nresults; r++) {
        uint32_t arg = l->fn->nparams + r;
        bool crosses =
            t->cross && (arg == t->cross->sums || arg == t->cross->turns);
        if (!crosses) store_result(&c, r);
    }
    loop_close(k, t->items);
    classes_find(k, t);
    /* of what others load a block knows nothing */
    if (t->cross && t->vectors.n) return false;
    cores_place_tables(t);
    k->tensor = t;
    kir_sweep(k);
    stage_find(k, t);
    return true;
}

/* ------------------------------------------------------------------- asking */

Node kept_node(const Kir *k, const TensorTile *t, Node piece)
{
    const NodeInfo *in = node_info(k, piece);
    for (uint32_t i = 0; in->op == KN_piece && i < t->kept.n; i++) {
        const TensorKept *x = &t->kept.at[i];
        if (in->n == x->piece)
            return k->loops.at[x->columns].accs.at[x->acc].value;
    }
    return (Node){0};
}

static bool needs_piece(const Kir *k, Node n, uint32_t piece, bool *seen)
{
    const NodeInfo *in = node_info(k, n);
    if (!n.id || seen[n.id]) return false;
    seen[n.id] = true;
    if (in->op == KN_piece && in->n == piece) return true;
    return needs_piece(k, in->a, piece, seen) ||
           needs_piece(k, in->b, piece, seen) ||
           needs_piece(k, in->c, piece, seen) ||
           needs_piece(k, kept_node(k, k->tensor, n), piece, seen);
}

bool dot_in(const Kir *k, const TensorPass *p, const TensorDot *d)
{
    const TensorTile *t = k->tensor;
    bool *seen = NEW_ARRAY(k->arena, bool, k->nodes.n);
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        const TensorSweep *s = &t->sweeps.at[i];
        if (sweep_in(p, s) &&
            needs_piece(k, k->loops.at[s->columns].accs.at[s->acc].value,
                        d->piece, seen))
            return true;
    }
    return false;
}
