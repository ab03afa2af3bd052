/*
 * tensor.c: a tile region as a kernel for tensor cores (tensor.h).
 *
 * The region must be one whose dots and contractions read parameters of bf16
 * or f16 that the copy engine can fetch by the tile: one line axis (rows, or
 * columns), one axis of terms, one of the two dense in memory, every other
 * stride a multiple of 16 bytes.  Head sizes are multiples of 16 up to 256.
 * Anything else stays with tile.c.
 */
#include <math.h>

#include "lower.h"
#include "sm90.h"
#include "tensor.h"

enum { MOST_TERMS = 256, MOST_STEPS = 16384, SPARE = 30, SPARE_LATE = 24 };
enum { SPARE_BOUNDS = 40 }; /* where columns end inside a tile */
enum { SIMPLE = 6 }; /* functions of a pair that few registers suffice for */
/* Below so many terms the nests take longer than the products. */
enum { SHORT_TERMS = 128 };
enum { RESERVE = 2560 }; /* bytes for what is staged, and tables */

typedef struct Cores {
    Lower *l;
    TileFit fit;
    TensorTile *t;
    VEC(TypeAxis) own, swept; /* the axis of lines last */
    Env base;                 /* other own axes */
    Ix first_row;             /* of the tile */
    Env step;                 /* and other swept axes, in a pass */
    Ix first_column;
    Node whole; /* guard of the nest: the element exists; none: always */
    Node column_in;
} Cores;

/* -------------------------------------------------------------------- axes */

static int64_t size_of(const Cores *c, const TypeAxis *a)
{
    return type_local_size(c->l->m, a);
}

static const TypeAxis *rows_of(const Cores *c)
{
    return &c->own.at[c->own.n - 1];
}

static const TypeAxis *columns_of(const Cores *c)
{
    return &c->swept.at[c->swept.n - 1];
}

static const TypeAxis *find_axis(const Lower *l, Axis a)
{
    for (uint32_t i = 0; i < l->fn->ninsts; i++) {
        const TypeAxis *x = type_axis(l->m, l->fn->insts[i].type, a);
        if (x) return x;
    }
    BUG("no value has axis '%s'", axis_name(l->m, a));
}

/* The longest axis goes last: lines are neighbours along it. */
static void longest_last(const Cores *c, TypeAxis *axes, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (size_of(c, &axes[i]) > size_of(c, &axes[best])) best = i;
    TypeAxis x = axes[best];
    for (uint32_t i = best; i + 1 < n; i++)
        axes[i] = axes[i + 1];
    axes[n - 1] = x;
}

static bool find_axes(Cores *c)
{
    Lower *l = c->l;
    for (uint32_t i = 0; i < c->fit.nown; i++)
        vec_push(l->k->arena, &c->own, *find_axis(l, c->fit.own[i]));
    for (uint32_t i = 0; i < c->fit.nswept; i++)
        vec_push(l->k->arena, &c->swept, *find_axis(l, c->fit.swept[i]));
    if (!c->own.n || !c->swept.n) return false;
    longest_last(c, c->own.at, c->own.n);
    longest_last(c, c->swept.at, c->swept.n);
    return true;
}

static bool listed(const TypeAxis *axes, uint32_t n, Axis a)
{
    for (uint32_t i = 0; i < n; i++)
        if (axes[i].axis.id == a.id) return true;
    return false;
}

static bool is_own(const Cores *c, Axis a)
{
    return listed(c->own.at, c->own.n, a);
}

static bool is_swept(const Cores *c, Axis a)
{
    return listed(c->swept.at, c->swept.n, a);
}

/* The one axis of a type that is neither own nor swept, or NULL. */
static const TypeAxis *terms_axis(const Cores *c, Type t)
{
    const TypeInfo *ti = type_info(c->l->m, t);
    const TypeAxis *found = NULL;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        if (is_own(c, ti->axes[i].axis) || is_swept(c, ti->axes[i].axis))
            continue;
        if (found) return NULL;
        found = &ti->axes[i];
    }
    return found;
}

/* ------------------------------------------------------------------ panels */

/* What a parameter must be to be fetched by the tile. */
static bool has_tiles(const Cores *c, Value x, const TypeAxis *line)
{
    const Lower *l = c->l;
    if (inst_of(l->fn, x)->op != OP_arg) return false;
    const KernelArg *arg = &l->k->args[x.id];
    const TypeInfo *ti = type_info(l->m, arg->type);
    const TypeAxis *terms = terms_axis(c, arg->type);
    if (!terms || (ti->dtype != DT_bf16 && ti->dtype != DT_f16)) return false;
    int64_t n = size_of(c, terms);
    if (n % 16 || n > MOST_TERMS || arg->align % 16) return false;
    if (ti->naxes > TITAN_MAP_DIMS) return false;
    bool dense = false, lined = false;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis a = ti->axes[i].axis;
        bool inner = a.id == line->axis.id || a.id == terms->axis.id;
        lined |= a.id == line->axis.id;
        if (a.id == rows_of(c)->axis.id && line != rows_of(c)) return false;
        if (inner && arg->stride[i] == 1 && !dense)
            dense = true;
        else if (arg->stride[i] % 8 || arg->stride[i] <= 0)
            return false;
        if (size_of(c, &ti->axes[i]) >= INT32_MAX) return false;
    }
    return dense && lined;
}

static bool reads_swept(const Cores *c, Type t)
{
    const TypeInfo *ti = type_info(c->l->m, t);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (is_swept(c, ti->axes[i].axis)) return true;
    return false;
}

static uint32_t panel_of(Cores *c, Value x)
{
    TensorTile *t = c->t;
    for (uint32_t i = 0; i < t->panels.n; i++)
        if (t->panels.at[i].arg == x.id) return i;
    Type type = value_type(c->l->fn, x);
    Panel p = {.arg = x.id, .swept = reads_swept(c, type)};
    p.terms = size_of(c, terms_axis(c, type));
    p.dtype = type_dtype(c->l->m, type);
    vec_push(c->l->k->arena, &t->panels, p);
    return t->panels.n - 1;
}

/* ------------------------------------------------------- dots and sweeps */

static DType acc_of(const Cores *c, const Inst *in)
{
    Value x = inst_arg(c->l->fn, in, 0);
    DType d = type_dtype(c->l->m, value_type(c->l->fn, x));
    return attr_dtype(c->l->m, in->attr, AT_acc, default_acc(d));
}

static bool add_dot(Cores *c, uint32_t v)
{
    const Lower *l = c->l;
    const Inst *in = &l->fn->insts[v];
    Value a = inst_arg(l->fn, in, 0), b = inst_arg(l->fn, in, 1);
    if (reads_swept(c, value_type(l->fn, a))) {
        Value x = a;
        a = b;
        b = x;
    }
    const AttrItem *sum = attr_get(l->m, in->attr, AT_sum);
    Type ta = value_type(l->fn, a), tb = value_type(l->fn, b);
    if (reads_swept(c, ta) || !reads_swept(c, tb)) return false;
    if (!has_tiles(c, a, rows_of(c)) || !has_tiles(c, b, columns_of(c)))
        return false;
    if (sum->n != 1 || terms_axis(c, ta)->axis.id != sum->axes[0].id ||
        terms_axis(c, tb)->axis.id != sum->axes[0].id)
        return false;
    if (type_dtype(l->m, ta) != type_dtype(l->m, tb) || acc_of(c, in) != DT_f32)
        return false;
    TensorDot d = {v, panel_of(c, a), panel_of(c, b), c->t->npieces++};
    vec_push(l->k->arena, &c->t->dots, d);
    return true;
}

static bool add_wide(Cores *c, uint32_t v, TensorSweep *s)
{
    const Lower *l = c->l;
    const Inst *in = &l->fn->insts[v];
    bool first = c->fit.role[inst_arg(l->fn, in, 0).id] == TILE_pair;
    Value pair = inst_arg(l->fn, in, first ? 0 : 1);
    Value side = inst_arg(l->fn, in, first ? 1 : 0);
    Type ts = value_type(l->fn, side);
    if (!reads_swept(c, ts) || !has_tiles(c, side, columns_of(c)) ||
        acc_of(c, in) != DT_f32 ||
        type_dtype(l->m, value_type(l->fn, pair)) != type_dtype(l->m, ts))
        return false;
    if (!terms_axis(c, in->type)) return false;
    s->wide = true;
    s->panel = panel_of(c, side);
    s->terms = (uint32_t)c->t->panels.at[s->panel].terms;
    return true;
}

static bool add_sweep(Cores *c, uint32_t v)
{
    const Lower *l = c->l;
    const Inst *in = &l->fn->insts[v];
    TensorSweep s = {.value = v, .turn = c->fit.turn[v], .by = -1, .scale = 1};
    s.kind = ACC_sum;
    if (in->op == OP_einsum) {
        if (!add_wide(c, v, &s)) return false;
    } else {
        s.kind = acc_kind(l, in->attr);
        if (acc_of(c, in) != DT_f32) return false;
    }
    s.piece = c->t->npieces++;
    vec_push(l->k->arena, &c->t->sweeps, s);
    return true;
}

static bool find_parts(Cores *c)
{
    const Fn *fn = c->l->fn;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++) {
        if (c->fit.role[v] == TILE_dot && !add_dot(c, v)) return false;
        if (c->fit.sweep[v] && !add_sweep(c, v)) return false;
    }
    for (uint32_t r = 0; r < fn->nresults; r++) {
        Value v = fn->result_values[r];
        Type t = value_type(fn, v);
        if (c->fit.role[v.id] == TILE_wide &&
            (!terms_axis(c, t) || size_of(c, terms_axis(c, t)) % 8))
            return false;
    }
    return c->t->dots.n > 0;
}

/* ------------------------------------------------------------------- shape */

typedef struct Shape {
    uint32_t groups;
    int64_t columns;
    bool lags;
} Shape;

static uint32_t budget(uint32_t groups)
{
    return groups == 3 ? 160 : 240;
}

static uint32_t count_ops(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    uint32_t n = x->nargs > 0 && x->op != SC_cast && x->op != SC_stop;
    for (unsigned i = 0; i < x->nargs; i++)
        n += count_ops(m, x->args[i]);
    return n;
}

/* Functions that make the pairs of one element, and its bounds. */
static uint32_t pair_ops(const Cores *c, int64_t columns)
{
    const Fn *fn = c->l->fn;
    uint32_t n = size_of(c, columns_of(c)) % columns ? 2 : 0;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++)
        if (c->fit.role[v] == TILE_pair && fn->insts[v].op == OP_map)
            n += count_ops(c->l->m, attr_expr(c->l->m, fn->insts[v].attr));
    return n;
}

static bool registers_fit(const Cores *c, const Shape *s)
{
    const TensorTile *t = c->t;
    uint32_t wide = 0, pairs = 0, step = (uint32_t)s->columns;
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        wide += t->sweeps.at[i].terms / 2;
        pairs += t->sweeps.at[i].wide ? step / 4 : 0;
    }
    uint32_t dots = t->dots.n * step / 2;
    uint32_t spare = s->lags ? pairs + SPARE : SPARE_LATE;
    bool ragged = size_of(c, columns_of(c)) % s->columns != 0;
    uint32_t all = wide + dots + spare + (ragged ? SPARE_BOUNDS : 0);
    return all <= budget(s->groups);
}

static uint32_t boxes_of(const Panel *p, uint32_t *box_bytes)
{
    int64_t inner = p->across ? p->lines : p->terms;
    int64_t outer = p->across ? p->terms : p->lines;
    *box_bytes = (uint32_t)outer * PANEL_BYTES;
    return (uint32_t)((inner + PANEL_WIDTH - 1) / PANEL_WIDTH);
}

static uint32_t up(uint32_t x, uint32_t to)
{
    return (x + to - 1) / to * to;
}

/* Places the panels; false: too many bytes. */
static bool place_panels(TensorTile *t, uint32_t slots)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < t->panels.n; i++) {
        Panel *p = &t->panels.at[i];
        p->lines = p->swept ? t->columns : t->lines;
        p->boxes = boxes_of(p, &p->box_bytes);
        p->box_bytes = up(p->box_bytes, 1024);
        p->offset = at;
        at += panel_bytes(p) * (p->swept ? slots : 1);
    }
    t->slots = slots;
    t->list_offset = at;
    uint32_t list = t->nblocks <= MOST_STEPS ? 2 * (uint32_t)t->nblocks : 0;
    t->bar_offset = up(at + 16 + list, 16);
    t->shared = t->bar_offset + 8 * (1 + 2 * slots * (t->panels.n + 1));
    return t->shared + RESERVE <= SM90_SHARED_MOST;
}

/* Tables of what conditions read per column; one without room is done
 * without. */
static void place_tables(TensorTile *t)
{
    t->listed = t->conditions.n > 0 && t->nblocks <= MOST_STEPS;
    for (uint32_t i = 0; i < t->vectors.n && t->listed; i++) {
        uint32_t at = up(t->shared, 8), size = 8 * (uint32_t)t->nblocks;
        if (!t->vectors.at[i].columns || i >= MOST_CONDITIONS ||
            at + size > SM90_SHARED_MOST)
            continue;
        t->vectors.at[i].offset = at;
        t->shared = at + size;
    }
}

/* Of all products of a pair. */
static int64_t terms_of(const TensorTile *t)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < t->dots.n; i++)
        n += t->panels.at[t->dots.at[i].own].terms;
    for (uint32_t i = 0; i < t->sweeps.n; i++)
        n += t->sweeps.at[i].terms;
    return n;
}

static void set_shape(Cores *c, const Shape *s)
{
    TensorTile *t = c->t;
    t->groups = s->groups;
    t->lines = (int64_t)s->groups * GROUP_LINES;
    t->columns = s->columns;
    t->lags = s->lags;
    t->registers = budget(s->groups);
    t->takes_turns = s->lags && s->groups > 1 && terms_of(t) <= SHORT_TERMS;
    int64_t n = size_of(c, columns_of(c));
    t->nblocks = (n + t->columns - 1) / t->columns *
                 axes_extent(c->l, c->swept.at, c->swept.n - 1);
}

/* Whether a smaller shape would hold all rows, or all columns, as well. */
static bool is_loose(const Cores *c, const Shape *s)
{
    int64_t rows = size_of(c, rows_of(c)), columns = size_of(c, columns_of(c));
    return (s->groups > 1 && rows <= (int64_t)(s->groups - 1) * GROUP_LINES) ||
           (s->columns > GROUP_LINES && columns <= GROUP_LINES);
}

/* The first that fits.  Swept panels have at least two slots; a panel that is
 * across needs whole boxes of lines. */
static bool choose_shape(Cores *c)
{
    static const Shape shapes[] = {
        {3, 128, true}, {2, 128, true}, {2, 64, true}, {2, 128, false},
        {2, 64, false}, {1, 128, true}, {1, 64, true}, {1, 64, false}};
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (!registers_fit(c, &shapes[i]) || is_loose(c, &shapes[i])) continue;
        if (shapes[i].groups == 3 && pair_ops(c, shapes[i].columns) > SIMPLE)
            continue;
        set_shape(c, &shapes[i]);
        for (uint32_t slots = 4; slots >= 2; slots--)
            if (place_panels(c->t, slots)) return true;
    }
    return false;
}

/* -------------------------------------------------------------------- maps */

static Ix line_start(const Cores *c, const Panel *p)
{
    return p->swept ? c->first_column : c->first_row;
}

/* The tensor map of a panel: its inner dimension, the other of lines and
 * terms, then the rest. */
static void make_map(Cores *c, Panel *p)
{
    Lower *l = c->l;
    const KernelArg *arg = &l->k->args[p->arg];
    const TypeInfo *ti = type_info(l->m, arg->type);
    const TypeAxis *line = p->swept ? columns_of(c) : rows_of(c);
    const TypeAxis *terms = terms_axis(c, arg->type);
    uint32_t bytes = dtype_bytes(p->dtype);
    TitanMap m = {.arg = p->arg,
                  .dtype = p->dtype,
                  .rank = ti->naxes,
                  .swizzle = PANEL_BYTES};
    const Env *env = p->swept ? &c->step : &c->base;
    uint32_t next = 2;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        const TypeAxis *x = &ti->axes[i];
        bool lines = x->axis.id == line->axis.id;
        bool inner = lines == p->across;
        bool both = lines || x->axis.id == terms->axis.id;
        uint32_t d = !both ? next++ : inner ? 0 : 1;
        int64_t tile = lines ? p->lines : p->terms;
        m.size[d] = size_of(c, x);
        m.stride[d] = arg->stride[i] * bytes;
        m.box[d] = !both ? 1 : inner ? PANEL_WIDTH : (uint32_t)tile;
        p->at[d] = !both   ? env_lookup(l, env, x->axis)
                   : lines ? line_start(c, p)
                           : ix_const(l->k, 0);
    }
    p->rank = m.rank;
    p->map = c->t->maps.n;
    vec_push(l->k->arena, &c->t->maps, m);
}

/* Which of lines and terms is dense. */
static void find_direction(Cores *c, Panel *p)
{
    const KernelArg *arg = &c->l->k->args[p->arg];
    const TypeInfo *ti = type_info(c->l->m, arg->type);
    const TypeAxis *terms = terms_axis(c, arg->type);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (ti->axes[i].axis.id == terms->axis.id)
            p->across = arg->stride[i] != 1;
}

/* ------------------------------------------------------------------- items */

/* Blocks of neighbouring numbers share a tile of rows, and mostly the columns'
 * side; tiles go backwards, so that under a causal mask the longest come
 * first. */
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
    Ix item = ix_var(k, l->items), tile = ix_div(k, item, others);
    env_bind_flat(l, &c->base, c->own.at, n, ix_mod(k, item, others));
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

/* The dots below each value, as bits. */
static uint32_t *find_dots(const Cores *c)
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
 * gives, or the others. */
typedef enum NestPart { NEST_all, NEST_first, NEST_rest } NestPart;

static bool in_part(const Cores *c, const TensorSweep *s, NestPart part,
                    const TensorKept *kept, const uint32_t *dots)
{
    if (part == NEST_all) return true;
    const Fn *fn = c->l->fn;
    uint32_t bits = 0;
    for (uint32_t i = 0; i < fn->insts[s->value].nargs; i++)
        bits |= dots[inst_arg(fn, &fn->insts[s->value], i).id];
    return (bits == 1u << kept->dot) == (part == NEST_first);
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
    if (part == NEST_rest)
        remember(c, &e, kept->value,
                 node_piece(k, columns, DT_f32, kept->piece));
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        TensorSweep *s = &t->sweeps.at[i];
        if (s->turn != turn || !in_part(c, s, part, kept, dots)) continue;
        Node n = s->wide ? wide_value(c, &e, s) : row_value(c, &e, s);
        s->columns = columns;
        s->acc = k->loops.at[columns].accs.n;
        vec_push(k->arena, &k->loops.at[columns].accs,
                 ((Acc){s->kind, DT_f32, n, {0}, s->wide}));
    }
    if (part == NEST_first) {
        kept->columns = columns;
        kept->acc = k->loops.at[columns].accs.n;
        Node n = operand(c, &e, (Value){kept->value});
        vec_push(k->arena, &k->loops.at[columns].accs,
                 ((Acc){ACC_sum, DT_f32, n, {0}, true}));
    }
    loop_close(k, columns);
    loop_close(k, rows);
    p->nests[p->nnests++] = rows;
}

/* A pass of one turn without rescaling, and of several dots, begins with what
 * the first of them gives. */
static void make_nests(Cores *c, TensorPass *p)
{
    const uint32_t *dots = find_dots(c);
    TensorKept kept = {0};
    if (p->nturns == 1 && find_kept(c, dots, &kept)) {
        kept.piece = c->t->npieces++;
        p->kept = (int32_t)c->t->kept.n;
        vec_push(c->l->k->arena, &c->t->kept, kept);
        make_nest(c, p, p->turn, NEST_first, dots);
        make_nest(c, p, p->turn, NEST_rest, dots);
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
    Ix b = ix_var(k, blocks);
    c->step = c->base;
    env_bind_flat(l, &c->step, c->swept.at, c->swept.n - 1, ix_div(k, b, per));
    c->first_column = ix_scale(k, ix_mod(k, b, per), c->t->columns);
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
        make_map(c, &t->panels.at[i]);
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
        if (s->wide && terms_axis(c, t)->axis.id == terms.id)
            remember(c, e, s->value,
                     node_piece(l->k, columns, DT_f32, s->piece));
    }
}

static void store_result(Cores *c, uint32_t result)
{
    Lower *l = c->l;
    Kir *k = l->k;
    Value v = l->fn->result_values[result];
    const TypeAxis *terms = terms_axis(c, l->fn->results[result].type);
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
    if (!find_axes(&c) || !find_parts(&c)) return false;
    for (uint32_t i = 0; i < t->panels.n; i++)
        find_direction(&c, &t->panels.at[i]);
    if (!choose_shape(&c)) return false;
    k->tile = true;
    k->width = k->chunks = 1;
    bind_items(&c);
    for (uint32_t turn = 0; turn < c.fit.turns;)
        turn = make_pass(&c, turn);
    for (uint32_t r = 0; r < l->fn->nresults; r++)
        store_result(&c, r);
    loop_close(k, t->items);
    classes_find(k, t);
    place_tables(t);
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
