/*
 * region.c: what each axis of a region means to its results (see region.h).
 *
 * For one axis, one forward sweep gives every value a state: what the value
 * that a tile computes has to do with the value of the whole.
 *
 *     same    no part in the axis: every tile computes the value itself
 *     slice   has the axis, and index i of it depends on index i alone
 *     part    lacks the axis; the whole is the sum of the tiles' values
 *     broken  needs more than its tile
 *
 * An op that names the axis in its attributes breaks it, but for the sums,
 * which turn a slice into a part.  Parts pass through what is linear in them.
 */
#include "region.h"

typedef enum State { ST_same, ST_slice, ST_part, ST_broken } State;

typedef struct Sweep {
    Module *m;
    const Fn *fn;
    Axis axis;
    uint8_t *states; /* State by value */
} Sweep;

static bool has_axis(const Sweep *s, Value v)
{
    return type_axis(s->m, value_type(s->fn, v), s->axis) != NULL;
}

static State state_at(const Sweep *s, const Inst *in, uint32_t i)
{
    return (State)s->states[inst_arg(s->fn, in, i).id];
}

static bool names_axis(const Sweep *s, const Inst *in)
{
    return attr_names_axis(s->m, in->attr, s->axis);
}

static State map_state(const Sweep *s, const Inst *in)
{
    bool part = false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        if (state_at(s, in, i) == ST_broken) return ST_broken;
        part |= state_at(s, in, i) == ST_part;
    }
    bool has = type_axis(s->m, in->type, s->axis) != NULL;
    if (!part) return has ? ST_slice : ST_same;
    if (has) return ST_broken;
    bool *parts = NEW_ARRAY(s->m->scratch, bool, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        parts[i] = state_at(s, in, i) == ST_part;
    Degree d = expr_degree(s->m, attr_expr(s->m, in->attr), parts);
    return d == DEGREE_linear ? ST_part : ST_broken;
}

/* A product of two operands is linear in a part when the other is none. */
static State product_state(const Sweep *s, const Inst *in)
{
    State x = state_at(s, in, 0), y = state_at(s, in, 1);
    if (x == ST_broken || y == ST_broken) return ST_broken;
    if (names_axis(s, in)) return ST_part;
    if (x == ST_part || y == ST_part) {
        bool other_same = x == ST_same || y == ST_same;
        return other_same ? ST_part : ST_broken;
    }
    return x == ST_slice || y == ST_slice ? ST_slice : ST_same;
}

static State reduce_state(const Sweep *s, const Inst *in)
{
    State x = state_at(s, in, 0);
    bool sum = attr_is(s->m, in->attr, AT_kind, "sum");
    if (names_axis(s, in)) return sum && x == ST_slice ? ST_part : ST_broken;
    if (x == ST_part && !sum) return ST_broken;
    return x;
}

/* gather and scatter: operand `data` is moved, operand `ids` says where. */
static State indexed_state(const Sweep *s, const Inst *in, uint32_t data,
                           uint32_t ids)
{
    State x = state_at(s, in, data), at = state_at(s, in, ids);
    if (x == ST_broken || at == ST_broken || at == ST_part) return ST_broken;
    if (names_axis(s, in)) return ST_broken;
    bool has = type_axis(s->m, in->type, s->axis) != NULL;
    if (x == ST_part) return at == ST_same ? ST_part : ST_broken;
    if (x == ST_same && at == ST_same) return ST_same;
    return has ? ST_slice : ST_part;
}

/* Everything that treats its operands alike. */
static State joined_state(const Sweep *s, const Inst *in)
{
    if (in->nargs == 0) return ST_same;
    bool any[4] = {false, false, false, false};
    for (uint32_t i = 0; i < in->nargs; i++)
        any[state_at(s, in, i)] = true;
    if (any[ST_broken]) return ST_broken;
    if (names_axis(s, in)) return ST_broken;
    if (any[ST_part]) {
        bool linear = (op_info((Op)in->op)->flags & OPF_LINEAR) != 0;
        return linear && !any[ST_slice] && !any[ST_same] ? ST_part : ST_broken;
    }
    return any[ST_slice] ? ST_slice : ST_same;
}

/* Calls and repeats are not looked into. */
static State opaque_state(const Sweep *s, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++)
        if (state_at(s, in, i) != ST_same) return ST_broken;
    return names_axis(s, in) ? ST_broken : ST_same;
}

/* Ranks meet for the rows of a tile as for all rows: of a loss, whose tiles run
 * one after the other then.  Attention may be one kernel, in which nobody
 * meets. */
static State meeting_state(const Sweep *s, const Inst *in)
{
    bool rows = state_at(s, in, 0) == ST_slice && !names_axis(s, in);
    return rows && fn_kind(s->m, s->fn) == FK_loss ? ST_slice : ST_broken;
}

static State inst_state(const Sweep *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    if (op_info((Op)in->op)->flags & OPF_COMM) return meeting_state(s, in);
    switch ((Op)in->op) {
    case OP_arg:
        return has_axis(s, v) ? ST_slice : ST_same;
    case OP_map:
        return map_state(s, in);
    case OP_einsum:
        return product_state(s, in);
    case OP_reduce:
        return reduce_state(s, in);
    case OP_gather:
        return indexed_state(s, in, 0, 1);
    case OP_scatter:
        return indexed_state(s, in, 1, 0);
    case OP_call:
    case OP_repeat:
        return opaque_state(s, in);
    default:
        return joined_state(s, in);
    }
}

static void axis_results(Sweep *s, RegionAxis *ra, Arena *a)
{
    for (uint32_t i = 0; i < s->fn->ninsts; i++)
        s->states[i] = (uint8_t)inst_state(s, (Value){i});

    ResultUse *uses = NEW_ARRAY(a, ResultUse, s->fn->nresults + 1);
    bool slices = false, sums = false;
    for (uint32_t r = 0; r < s->fn->nresults; r++) {
        State st = (State)s->states[s->fn->result_values[r].id];
        if (st == ST_broken) return;
        uses[r] = st == ST_slice  ? RESULT_slice
                  : st == ST_part ? RESULT_sum
                                  : RESULT_whole;
        slices |= st == ST_slice;
        sums |= st == ST_part;
    }
    if (!slices && !sums) return;
    ra->results = uses;
    ra->use = sums ? AXIS_accumulated : AXIS_parallel;
}

/* Sorted by Axis.id; an axis that occurs in two sizes has size 0. */
static RegionAxes collect_axes(const Module *m, const Fn *fn, Arena *a)
{
    RegionAxis *by_id = NEW_ARRAY(a, RegionAxis, m->axes.n + 1);
    bool *seen = NEW_ARRAY(a, bool, m->axes.n + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const TypeInfo *t = type_info(m, fn->insts[i].type);
        for (uint32_t k = 0; k < t->naxes; k++) {
            uint32_t id = t->axes[k].axis.id;
            int64_t size = t->axes[k].size;
            bool first = !seen[id];
            seen[id] = true;
            by_id[id].axis = t->axes[k].axis;
            if (first) by_id[id].size = size;
            if (by_id[id].size != size) by_id[id].size = 0;
        }
    }
    RegionAxes axes = {by_id, 0};
    for (uint32_t id = 0; id < m->axes.n; id++)
        if (seen[id]) by_id[axes.n++] = by_id[id];
    return axes;
}

RegionAxes region_axes(Module *m, const Fn *fn, Arena *a)
{
    RegionAxes axes = collect_axes(m, fn, a);
    uint8_t *states = NEW_ARRAY(a, uint8_t, fn->ninsts + 1);
    for (uint32_t i = 0; i < axes.n; i++) {
        Sweep s = {m, fn, axes.at[i].axis, states};
        if (axes.at[i].size > 0) axis_results(&s, &axes.at[i], a);
    }
    return axes;
}

bool region_meets(const Fn *fn)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (op_info((Op)fn->insts[i].op)->flags & OPF_COMM) return true;
    return false;
}
