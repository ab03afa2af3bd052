/*
 * tensor_shape.c: how many rows and columns a tile on tensor cores has.
 *
 * What limits it are registers: wide accumulators stay in them from step to
 * step, those of dots within a step, and where wide products lag so do packed
 * pairs.  A hundred and sixty registers a thread allow three warpgroups of
 * consumers, 240 two.
 */
#include "cores.h"

enum { MOST_STEPS = 16384, SPARE = 30, SPARE_LATE = 24 };
enum { SPARE_KEPT = 14 };  /* where one dot's pairs wait for another's */
enum { SPARE_CROSS = 24 }; /* pairs of one contraction are under way */
/* Where columns end inside a tile; and in the least shape, in which what goes
 * round by itself is less. */
enum { SPARE_BOUNDS = 40, SPARE_BOUNDS_LEAST = 24 };
enum { SIMPLE = 6 }; /* functions of a pair that few registers suffice for */
/* Below so many terms the nests take longer than the products. */
enum { SHORT_TERMS = 128 };
/* Above so many, where sums cross, the products take longer. */
enum { LONG_TERMS = 256 };
enum { RESERVE = 1792 }; /* bytes for what is staged, and tables */

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

/* Values of one dot that maps of several read: those after the first of each
 * dot stand beside it until the other dots are there. */
static uint32_t standing(const Cores *c)
{
    const Fn *fn = c->l->fn;
    const uint32_t *dots = cores_find_dots(c);
    bool *seen = NEW_ARRAY(c->l->k->arena, bool, fn->ninsts);
    uint32_t n = 0, of = 0;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++)
        for (uint32_t i = 0; i < fn->insts[v].nargs; i++) {
            uint32_t x = inst_arg(fn, &fn->insts[v], i).id;
            bool several = dots[v] & (dots[v] - 1);
            bool one = dots[x] && !(dots[x] & (dots[x] - 1));
            if (seen[x] || !several || !one || c->fit.role[v] != TILE_pair)
                continue;
            seen[x] = true;
            n += (of & dots[x]) != 0;
            of |= dots[x];
        }
    return n;
}

/* all: what stands too; else that may go to memory and back. */
static bool registers_fit(const Cores *c, const Shape *s, bool all)
{
    const TensorTile *t = c->t;
    uint32_t wide = 0, pairs = 0, step = (uint32_t)s->columns;
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        wide += t->sweeps.at[i].terms / 2;
        pairs += t->sweeps.at[i].wide ? step / 4 : 0;
    }
    uint32_t dots = (t->dots.n + (all ? standing(c) : 0)) * step / 2;
    uint32_t spare = s->lags ? pairs + SPARE : SPARE_LATE;
    if (t->cross) spare += SPARE_CROSS;
    if (s->lags && t->dots.n > 1) spare += SPARE_KEPT;
    bool ragged = size_of(c, columns_of(c)) % s->columns != 0;
    bool least = s->groups == 1 && s->columns == GROUP_LINES && !s->lags;
    if (ragged) spare += least ? SPARE_BOUNDS_LEAST : SPARE_BOUNDS;
    return wide + dots + spare <= budget(s->groups);
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

/* The pairs as the first operand of a product, and tiles of sums. */
static uint32_t place_cross(TensorTile *t, uint32_t at)
{
    TensorCross *x = t->cross;
    x->pairs_offset = at;
    x->box_bytes = (uint32_t)t->lines * PANEL_BYTES;
    at += x->pairs * (uint32_t)(t->columns / PANEL_WIDTH) * x->box_bytes;
    Panel *p = &x->to;
    p->lines = t->columns;
    p->box_bytes = (uint32_t)t->columns * PANEL_BYTES;
    p->boxes = (4 * x->terms + PANEL_BYTES - 1) / PANEL_BYTES;
    p->offset = at;
    return at + x->stages * panel_bytes(p);
}

/* Warpgroups share the columns of sums, 64 each, or else their terms.  One
 * warpgroup alone would take so few rows that two kernels are faster. */
static bool cross_fits(TensorTile *t)
{
    TensorCross *x = t->cross;
    uint32_t part = x->terms / t->groups;
    x->by_terms = t->columns != t->groups * GROUP_LINES;
    if (t->groups == 1) return false;
    return !x->by_terms ||
           (t->columns == GROUP_LINES && x->terms % (32 * t->groups) == 0 &&
            (part % PANEL_WIDTH == 0 || PANEL_WIDTH % part == 0));
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
    if (t->cross) at = place_cross(t, at);
    t->slots = slots;
    t->list_offset = at;
    uint32_t list = t->nblocks <= MOST_STEPS ? 2 * (uint32_t)t->nblocks : 0;
    t->bar_offset = up(at + 16 + list, 16);
    t->shared = t->bar_offset + 8 * (1 + 2 * slots * (t->panels.n + 1));
    if (t->cross) {
        t->cross->bar_offset = t->shared;
        t->shared += 8 * CROSS_BARRIERS;
    }
    return t->shared + RESERVE <= SM90_SHARED_MOST;
}

/* What crosses is multiplied a step late where there is room for the pairs of
 * two steps. */
static bool find_room(TensorTile *t)
{
    static const uint32_t rooms[][2] = {{2, 2}, {1, 2}, {2, 1}, {1, 1}};
    for (uint32_t r = 0; r < (t->cross ? 4 : 1); r++) {
        if (t->cross) {
            t->cross->pairs = rooms[r][0];
            t->cross->stages = rooms[r][1];
        }
        for (uint32_t slots = 4; slots >= 2; slots--)
            if (place_panels(t, slots)) return true;
    }
    return false;
}

void cores_place_tables(TensorTile *t)
{
    t->listed = t->conditions.n > 0 && t->nblocks <= MOST_STEPS;
    for (uint32_t i = 0; i < t->vectors.n && t->listed; i++) {
        uint32_t at = up(t->shared, 8), size = 8 * (uint32_t)t->nblocks;
        TensorVector *v = &t->vectors.at[i];
        v->offset = t->vectors.at[v->as].offset;
        if (!v->columns || v->as != i || at + size > SM90_SHARED_MOST) continue;
        v->offset = at;
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

/* Products that lag stand before nests that take longer, and what crosses
 * stands alone where it is long: else all warpgroups would do the same at once.
 */
static bool takes_turns(const TensorTile *t, const Shape *s)
{
    if (t->cross) return terms_of(t) > LONG_TERMS;
    return s->lags && terms_of(t) <= SHORT_TERMS;
}

static void set_shape(Cores *c, const Shape *s)
{
    TensorTile *t = c->t;
    t->groups = s->groups;
    t->lines = (int64_t)s->groups * GROUP_LINES;
    t->columns = s->columns;
    t->lags = s->lags;
    t->registers = budget(s->groups);
    t->takes_turns = s->groups > 1 && takes_turns(t, s);
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
static bool choose(Cores *c, bool all)
{
    static const Shape shapes[] = {
        {3, 128, true}, {2, 128, true}, {2, 64, true}, {2, 128, false},
        {2, 64, false}, {1, 128, true}, {1, 64, true}, {1, 64, false}};
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const Shape *s = &shapes[i];
        if (!registers_fit(c, s, all) || is_loose(c, s)) continue;
        if (s->groups == 3 && pair_ops(c, s->columns) > SIMPLE) continue;
        if (all && s->groups == 1) continue;
        if (c->t->cross && s->lags) continue;
        set_shape(c, s);
        if (c->t->cross && !cross_fits(c->t)) continue;
        if (find_room(c->t)) return true;
    }
    return false;
}

/* Two warpgroups that hold everything come before any that do not. */
bool cores_choose_shape(Cores *c)
{
    return choose(c, true) || choose(c, false);
}
