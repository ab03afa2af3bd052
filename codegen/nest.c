/*
 * nest.c: which nest a loop group is.
 *
 * Whether lanes are inside or across (lower.c), in which order the rows are,
 * and how many of them are flattened into the lanes, is found by building the
 * nest and counting the accesses that are not unit stride.  Where the bounds of
 * a pad or concat cut the lanes, they run in segments, in which those bounds
 * always hold or never do.
 */
#include "nest.h"

static LoopId lanes_above(const Kir *k, LoopId loop)
{
    while (loop && k->loops.at[loop].kind != LOOP_lanes)
        loop = k->loops.at[loop].parent;
    return loop;
}

typedef struct Trial {
    int64_t cost;
    int64_t beside; /* accesses that lie beside those of other items */
    int64_t loads;  /* loads among these */
    int64_t jumps;  /* loads of lanes that do not lie side by side */
    bool linear;    /* every index is linear in the lanes */
    int64_t cuts[MOST_CUTS + 2];
    uint32_t ncuts;
} Trial;

static void add_cut(Trial *t, int64_t at)
{
    uint32_t i = 0;
    while (i < t->ncuts && t->cuts[i] < at)
        i++;
    if ((i < t->ncuts && t->cuts[i] == at) || t->ncuts > MOST_CUTS) return;
    for (uint32_t j = t->ncuts++; j > i; j--)
        t->cuts[j] = t->cuts[j - 1];
    t->cuts[i] = at;
}

/* A bound on the lanes' variable alone cuts them where it changes. */
static void find_cuts(const Kir *k, const NodeInfo *in, LoopId lanes, Trial *t)
{
    const Loop *l = &k->loops.at[lanes];
    const IxInfo *x = ix_info(k, in->ix);
    if (in->op != KN_inside || x->n != 1 || l->accs.n) return;
    const Atom *a = &k->atoms.at[x->terms[0].atom];
    if (a->kind != ATOM_var || a->loop != lanes) return;
    int64_t c = x->terms[0].coef, at[2];
    if (c == 1) {
        at[0] = -x->base;
        at[1] = in->n - x->base;
    } else if (c == -1) {
        at[0] = x->base - in->n + 1;
        at[1] = x->base + 1;
    } else {
        return;
    }
    for (int i = 0; i < 2; i++)
        if (at[i] > l->lo && at[i] < l->hi) add_cut(t, at[i]);
}

static void weigh(const Kir *k, const NodeInfo *in, LoopId lanes, Trial *t)
{
    const Loop *l = &k->loops.at[lanes];
    int64_t coef;
    t->linear &= ix_linear(k, in->ix, lanes, &coef);
    if (in->op != KN_load && in->op != KN_store) return;
    bool steps = ix_steps(k, in->ix, lanes, k->width, &coef) &&
                 l->hi - l->lo >= k->width;
    bool near = steps && (coef == 0 || coef == 1);
    t->cost += near ? 1 : 8;
    t->jumps += !near && in->op == KN_load;
    bool beside = ix_beside(k, in->ix, lanes, l->parent);
    t->beside += beside;
    t->loads += beside && in->op == KN_load;
}

static Trial try_nest(const Lower *l, const Nest *nest, const LowerOpts *o)
{
    ArenaMark mark = arena_mark(l->k->arena);
    Kir k;
    kir_init(&k, l->k->arena);
    k.args = l->k->args;
    k.nargs = l->k->nargs;
    k.arg_dtypes = l->k->arg_dtypes;
    k.lined = l->k->lined;
    Lower trial;
    lower_init(&trial, l->m, l->fn, &k);
    nest_build(&trial, nest, o);
    Trial t = {.linear = true};
    for (uint32_t i = 1; i < k.nodes.n; i++) {
        const NodeInfo *in = &k.nodes.at[i];
        LoopId lanes = lanes_above(&k, in->loop);
        if (!lanes) continue;
        weigh(&k, in, lanes, &t);
        find_cuts(&k, in, lanes, &t);
    }
    arena_pop(l->k->arena, mark);
    return t;
}

/* The longest suffix of P over which nothing has to be cut into coordinates. */
static Trial try_across(const Lower *l, Nest *nest, const LowerOpts *o)
{
    Trial t = {0};
    nest->across = true;
    for (nest->suffix = nest->nrows;; nest->suffix--) {
        t = try_nest(l, nest, o);
        if (t.linear || nest->suffix <= 1) return t;
    }
}

/* Whether ids choose rows of an operand. */
static bool is_chosen_from(const Lower *l, uint32_t arg)
{
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++) {
        const Inst *in = &l->fn->insts[i];
        if (in->op != OP_gather) continue;
        Value v = inst_arg(l->fn, in, 0);
        while (v.id >= l->fn->nparams && inst_of(l->fn, v)->nargs > 0)
            v = inst_arg(l->fn, inst_of(l->fn, v), 0);
        if (v.id == arg) return true;
    }
    return false;
}

/* P in the order of an operand's memory, behind what it has not: *MISSES, of
 * one that ids choose from.  NULL: it has not all of P otherwise. */
static TypeAxis *rows_of_operand(const Lower *l, const Nest *nest, uint32_t arg,
                                 bool *misses)
{
    const TypeInfo *t = type_info(l->m, l->k->args[arg].type);
    TypeAxis *rows = NEW_ARRAY(l->k->arena, TypeAxis, nest->nrows);
    int64_t *stride = NEW_ARRAY(l->k->arena, int64_t, nest->nrows);
    uint32_t n = 0, has = 0;
    for (uint32_t i = 0; i < nest->nrows; i++) {
        Axis a = nest->rows[i].axis;
        Root root = nest_root(l, l->fn->result_values[0], a);
        if (root.param.id == arg) a = root.axis;
        uint32_t k = 0;
        while (k < t->naxes && t->axes[k].axis.id != a.id)
            k++;
        has += k < t->naxes;
        int64_t s = k < t->naxes ? l->k->args[arg].stride[k] : INT64_MAX;
        uint32_t at = n++;
        for (; at > 0 && stride[at - 1] < s; at--) {
            rows[at] = rows[at - 1];
            stride[at] = stride[at - 1];
        }
        rows[at] = nest->rows[i];
        stride[at] = s;
    }
    *misses = has < nest->nrows;
    return !*misses || (has && is_chosen_from(l, arg)) ? rows : NULL;
}

/* On a GPU a kernel that turns operands round has its lanes along these, which
 * are wider than what it makes of them or as wide: results cross. */
static void turn_rows(const Lower *l, Nest *nest, const LowerOpts *o, Trial *t)
{
    for (uint32_t i = 0; i < l->fn->nparams && (t->loads || t->jumps); i++) {
        Nest other = *nest;
        bool misses;
        if (l->k->args[i].counter) continue;
        other.rows = rows_of_operand(l, nest, i, &misses);
        if (!other.rows) continue;
        Trial turned = try_across(l, &other, o);
        bool better =
            misses ? turned.jumps < t->jumps : turned.loads < t->loads;
        if (!better) continue;
        *nest = other;
        *t = turned;
    }
}

/* Whether the order of what is reduced does not matter. */
static bool only_maxima(const Lower *l)
{
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++) {
        const Inst *in = &l->fn->insts[i];
        if (in->op == OP_reduce && !attr_is(l->m, in->attr, AT_kind, "max"))
            return false;
    }
    return true;
}

/* The lanes are better along an operand's rows than along those of P. */
static void lanes_of_operand(const Lower *l, Nest *nest, const LowerOpts *o,
                             Trial *t)
{
    for (uint32_t i = 0; i < l->fn->nparams; i++) {
        Nest other = *nest;
        bool misses;
        if (l->k->args[i].counter) continue;
        other.rows = rows_of_operand(l, nest, i, &misses);
        if (!other.rows || misses) continue;
        Trial along = try_across(l, &other, o);
        if (along.jumps >= t->jumps) continue;
        *nest = other;
        *t = along;
    }
}

/* R in the order of an operand's memory, which has all of it; NULL: it has not.
 */
static TypeAxis *inner_of_operand(const Lower *l, const Nest *nest,
                                  uint32_t arg)
{
    Layout at = {l->k->args[arg].type, l->k->args[arg].stride};
    TypeAxis *inner = NEW_ARRAY(l->k->arena, TypeAxis, nest->ninner);
    for (uint32_t i = 0; i < nest->ninner; i++) {
        Axis axis = nest->inner[i].axis;
        if (!type_axis(l->m, at.type, axis)) return NULL;
        uint32_t to = i;
        for (; to > 0 && layout_stride(l->m, at, inner[to - 1].axis) <
                             layout_stride(l->m, at, axis);
             to--)
            inner[to] = inner[to - 1];
        inner[to] = nest->inner[i];
    }
    return inner;
}

/* Lanes inside better go along an operand's memory than in the order in which
 * axes are named. */
static void order_inner(const Lower *l, Nest *nest, const LowerOpts *o,
                        Trial *t)
{
    for (uint32_t i = 0; i < l->fn->nparams; i++) {
        Nest other = *nest;
        if (l->k->args[i].counter) continue;
        other.inner = inner_of_operand(l, nest, i);
        other.ordered = true;
        if (!other.inner) continue;
        Trial along = try_nest(l, &other, o);
        if (along.jumps >= t->jumps) continue;
        *nest = other;
        *t = along;
    }
}

/* On a GPU the items may have any order: an axis along which operands lie that
 * the lanes jump over goes last. */
static void order_items(const Lower *l, Nest *nest, const LowerOpts *o)
{
    uint32_t outer = nest->nrows - nest->suffix;
    int64_t most = 0;
    const TypeAxis *rows = nest->rows;
    for (uint32_t last = outer; last-- > 0;) {
        TypeAxis *order = NEW_ARRAY(l->k->arena, TypeAxis, nest->nrows);
        uint32_t n = 0;
        for (uint32_t i = 0; i < outer; i++)
            if (i != last) order[n++] = rows[i];
        order[n++] = rows[last];
        for (uint32_t i = outer; i < nest->nrows; i++)
            order[n++] = rows[i];
        Nest other = *nest;
        other.rows = order;
        int64_t beside = try_nest(l, &other, o).beside;
        if (last + 1 < outer && beside <= most) continue;
        most = beside;
        nest->rows = order;
    }
}

/* A product whose blocks of columns share what is reduced over them. */
static bool shares_sums(const Lower *l)
{
    if (!fn_is(l->m, l->fn, FK_product)) return false;
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++)
        if (l->level[i] > 1) return true;
    return false;
}

/* Elements that are reduced are many more than what comes of them. */
static bool is_better(const Trial *inside, const Trial *across, bool any_order)
{
    if (any_order && inside->jumps != across->jumps)
        return inside->jumps < across->jumps;
    return inside->cost <= across->cost;
}

void nest_choose(const Lower *l, Nest *nest, const LowerOpts *o)
{
    Trial across = try_across(l, nest, o);
    bool any_order = o->gpu && nest->ninner && only_maxima(l);
    if (any_order) lanes_of_operand(l, nest, o, &across);
    Trial best = across;
    if (nest->ninner && !fn_has_op(l->fn, OP_cumsum) && !nest->each &&
        !shares_sums(l)) {
        Nest inside = *nest;
        inside.across = false;
        Trial t = try_nest(l, &inside, o);
        if (any_order) order_inner(l, &inside, o, &t);
        if (is_better(&t, &across, any_order)) {
            *nest = inside;
            best = t;
        }
    }
    bool maps = o->gpu && nest->across && !nest->ninner;
    if (maps) {
        order_items(l, nest, o);
        best = try_nest(l, nest, o);
        turn_rows(l, nest, o, &best);
        order_items(l, nest, o);
    }
    if (best.ncuts == 0 || best.ncuts >= MOST_CUTS || o->gpu) return;
    uint32_t outer = nest->nrows - nest->suffix;
    nest->cuts[nest->ncuts++] = 0;
    for (uint32_t i = 0; i < best.ncuts; i++)
        nest->cuts[nest->ncuts++] = best.cuts[i];
    nest->cuts[nest->ncuts++] =
        nest->across ? axes_extent(l, nest->rows + outer, nest->suffix)
                     : axes_extent(l, nest->inner, nest->ninner);
}
