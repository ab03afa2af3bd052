/*
 * find.c: which collectives are cut, and what with them.
 *
 * What can be cut does to a part of the rows what it does to all of them.  A
 * collective is worth it if a product stands behind a gather, or in front of a
 * sum over devices, and if there is not enough work that has nothing to do with
 * it, which covers it as it is: of a backward, the gradients of weights.
 *
 * With the collectives are cut
 *
 *     what stands between two of them
 *     the first products behind a gather, and the maps of these
 *     the last product in front of a sum
 *     maps that read what such a map reads, as they share its kernel
 */
#include "chunk.h"

/* ----------------------------------------------------------------- rows -- */

static bool is_pair(const AttrItem *l, Axis group, Axis row)
{
    return l && l->n == 2 && l->axes[0].id == group.id &&
           l->axes[1].id == row.id;
}

/* The merge behind a gather, or the split in front of a sum. */
static bool is_joint(const Module *m, const Inst *in, Axis group, Axis *row)
{
    if (in->op != OP_merge && in->op != OP_split) return false;
    *row = attr_axis(m, in->attr, AT_axis);
    return is_pair(attr_get(m, in->attr, in->op == OP_merge ? AT_from : AT_to),
                   group, *row);
}

static bool find_row(const Module *m, const Fn *fn, Value v, Axis group,
                     Axis *row)
{
    const Inst *in = inst_of(fn, v);
    if (in->op == OP_reduce_scatter)
        return is_joint(m, inst_of(fn, inst_arg(fn, in, 0)), group, row);
    for (uint32_t i = v.id + 1; i < fn->ninsts; i++) {
        const Inst *user = &fn->insts[i];
        if (user->nargs == 1 && inst_arg(fn, user, 0).id == v.id &&
            is_joint(m, user, group, row))
            return true;
    }
    return false;
}

bool chunk_rows(const Module *m, const Fn *fn, Value v, Rows *out)
{
    const Inst *in = inst_of(fn, v);
    Axis group;
    if ((in->op != OP_all_gather && in->op != OP_reduce_scatter) ||
        !collective_is_dense(m, fn, in, &group) ||
        !find_row(m, fn, v, group, &out->row))
        return false;
    const AttrItem *over = attr_get(m, in->attr, AT_over);
    out->group = group;
    out->devices = group_size(m, over->mesh, over->n);
    out->part = type_size(m, in->type, out->row);
    return out->devices > 1 && out->part > 1;
}

bool rows_same(const Rows *a, const Rows *b)
{
    return a->row.id == b->row.id && a->group.id == b->group.id &&
           a->part == b->part && a->devices == b->devices;
}

bool chunk_is_whole(const Chunk *c, Type t)
{
    return type_size(c->m, t, c->rows.row) == c->rows.part * c->rows.devices &&
           !type_axis(c->m, t, c->rows.group);
}

/* ------------------------------------------------------- what can be cut -- */

static Type type_at(const Chunk *c, Value v)
{
    return value_type(c->fn, v);
}

/* It has the axis that is cut as some device has it, or all of them. */
static bool has_cut(const Chunk *c, Type t)
{
    int64_t n = type_size(c->m, t, c->cut);
    if (c->cut.id != c->rows.row.id) return n == c->size;
    return n == c->size || chunk_is_whole(c, t);
}

static bool is_ours(const Chunk *c, Value v)
{
    Rows r;
    return chunk_rows(c->m, c->fn, v, &r) && rows_same(&r, &c->rows);
}

/* Operands lie as the result does, or have nothing of the axis. */
static bool lies_as(const Chunk *c, const Inst *in)
{
    bool whole = chunk_is_whole(c, in->type);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Type t = type_at(c, inst_arg(c->fn, in, i));
        if (!type_axis(c->m, t, c->cut)) continue;
        if (!has_cut(c, t) ||
            (c->cut.id == c->rows.row.id && chunk_is_whole(c, t) != whole))
            return false;
    }
    return true;
}

static bool can_cut(const Chunk *c, Value v)
{
    const Inst *in = inst_of(c->fn, v);
    const Module *m = c->m;
    Axis row;
    if (!in->type.id || type_info(m, in->type)->is_tuple ||
        !has_cut(c, in->type))
        return false;
    switch ((Op)in->op) {
    case OP_all_gather:
    case OP_reduce_scatter:
        return is_ours(c, v);
    case OP_map:
        return lies_as(c, in) && in->nargs > 0 &&
               !expr_uses_index(m, attr_expr(m, in->attr), c->cut);
    case OP_merge:
    case OP_split:
        if (is_joint(m, in, c->rows.group, &row) && row.id == c->rows.row.id)
            return true;
        /* fallthrough */
    case OP_reduce:
    case OP_einsum:
    case OP_rename:
    case OP_pick:
    case OP_slice:
    case OP_pad:
    case OP_stack:
    case OP_concat:
        return lies_as(c, in) && !attr_names_axis(m, in->attr, c->cut);
    default:
        return false;
    }
}

/* The outermost axis in memory that has more than one index: parts of it are
 * in one piece. */
static bool find_cut(Chunk *c)
{
    for (uint32_t i = c->fn->nparams; i < c->fn->ninsts; i++) {
        if (!is_ours(c, (Value){i})) continue;
        const Inst *in = &c->fn->insts[i];
        Type t = in->op == OP_all_gather ? type_at(c, inst_arg(c->fn, in, 0))
                                         : in->type;
        const TypeInfo *info = type_info(c->m, t);
        for (uint32_t k = 0; k < info->naxes; k++) {
            if (info->axes[k].size == 1) continue;
            c->cut = info->axes[k].axis;
            c->size = info->axes[k].size;
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------ what covers what -- */

/* Marks what V is made of, or what is made of it. */
static void mark_before(const Chunk *c, Value v, bool *is)
{
    is[v.id] = true;
    for (uint32_t i = v.id + 1; i-- > 0;) {
        const Inst *in = &c->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs && is[i]; k++)
            is[inst_arg(c->fn, in, k).id] = true;
    }
}

static void mark_behind(const Chunk *c, Value v, bool *is)
{
    is[v.id] = true;
    for (uint32_t i = v.id + 1; i < c->fn->ninsts; i++) {
        const Inst *in = &c->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            is[i] |= is[inst_arg(c->fn, in, k).id];
    }
}

/* Products that neither need it nor are needed by it take twice as long.  What
 * turns hand on is gathered in the turn before, as soon as it is made
 * (schedule/turns.c): then, those that this does not need. */
bool chunk_is_covered(const Chunk *c, Value v)
{
    bool *near = NEW_ARRAY(c->m->scratch, bool, c->fn->ninsts);
    bool *behind = NEW_ARRAY(c->m->scratch, bool, c->fn->ninsts);
    double time = 0;
    Value from = inst_arg(c->fn, inst_of(c->fn, v), 0);
    bool handed =
        from.id < c->carried && inst_of(c->fn, v)->op == OP_all_gather;
    if (handed)
        mark_before(c, c->fn->result_values[from.id], near);
    else
        mark_before(c, v, near);
    if (!handed) mark_behind(c, v, behind);
    for (uint32_t i = c->fn->nparams; i < c->fn->ninsts; i++)
        if (c->fn->insts[i].op == OP_einsum && !near[i] && !behind[i])
            time += chunk_product_time(c, (Value){i}, 1);
    return time >= 2 * chunk_talk_time(c, v, 1);
}

/* ---------------------------------------------------------- what is cut -- */

/* From a gather on: products, and maps and moves behind them. */
static bool cut_behind(Chunk *c, Value v, bool made)
{
    bool any = made;
    for (uint32_t u = c->uses.first[v.id]; u < c->uses.first[v.id + 1]; u++) {
        Value user = c->uses.at[u];
        Op op = (Op)inst_of(c->fn, user)->op;
        if (!c->can[user.id] || op == OP_reduce || op == OP_all_gather ||
            op == OP_reduce_scatter || (made && op == OP_einsum))
            continue;
        if (cut_behind(c, user, made || op == OP_einsum))
            any = c->cuts[user.id] = true;
    }
    return any;
}

/* From a sum back to its product. */
static bool cut_before(Chunk *c, Value v)
{
    const Inst *in = inst_of(c->fn, v);
    bool any = in->op == OP_einsum;
    for (uint32_t i = 0; i < in->nargs && in->op != OP_einsum; i++) {
        Value x = inst_arg(c->fn, in, i);
        Op op = (Op)inst_of(c->fn, x)->op;
        if (c->can[x.id] && op != OP_reduce && op != OP_all_gather &&
            op != OP_reduce_scatter && cut_before(c, x))
            any = c->cuts[x.id] = true;
    }
    return any;
}

static void find_meets(Chunk *c)
{
    for (uint32_t i = c->fn->nparams; i < c->fn->ninsts; i++) {
        Value v = {i};
        if (!is_ours(c, v) || !c->can[i] || chunk_is_covered(c, v)) continue;
        bool gathers = c->fn->insts[i].op == OP_all_gather;
        c->meets[i] = gathers ? cut_behind(c, v, false) : cut_before(c, v);
        c->cuts[i] |= c->meets[i];
    }
}

/* What is behind one of them and in front of another. */
static void cut_between(Chunk *c)
{
    uint32_t n = c->fn->ninsts;
    bool *behind = NEW_ARRAY(c->m->scratch, bool, n);
    bool *before = NEW_ARRAY(c->m->scratch, bool, n);
    for (uint32_t i = 0; i < n; i++) {
        const Inst *in = &c->fn->insts[i];
        behind[i] = c->meets[i];
        for (uint32_t k = 0; k < in->nargs && c->can[i]; k++)
            behind[i] |= behind[inst_arg(c->fn, in, k).id];
    }
    for (uint32_t i = n; i-- > 0;) {
        const Inst *in = &c->fn->insts[i];
        before[i] |= c->meets[i];
        for (uint32_t k = 0; k < in->nargs && before[i] && c->can[i]; k++) {
            Value x = inst_arg(c->fn, in, k);
            before[x.id] |= c->can[x.id];
        }
        c->cuts[i] |= c->can[i] && behind[i] && before[i];
    }
}

/* Whether a map that is cut reads V. */
static bool is_read_by_cut(const Chunk *c, Value v)
{
    for (uint32_t u = c->uses.first[v.id]; u < c->uses.first[v.id + 1]; u++) {
        Value user = c->uses.at[u];
        if (c->cuts[user.id] && inst_of(c->fn, user)->op == OP_map) return true;
    }
    return false;
}

static void cut_beside(Chunk *c)
{
    for (uint32_t i = c->fn->nparams; i < c->fn->ninsts; i++) {
        const Inst *in = &c->fn->insts[i];
        bool all = in->op == OP_map && c->can[i] && chunk_is_whole(c, in->type);
        for (uint32_t k = 0; k < in->nargs && all; k++)
            all = is_read_by_cut(c, inst_arg(c->fn, in, k));
        c->cuts[i] |= all;
    }
}

static void begin(Chunk *c)
{
    uint32_t n = c->fn->ninsts;
    c->uses = fn_uses(c->fn, c->m->scratch);
    c->can = NEW_ARRAY(c->m->scratch, bool, n);
    c->meets = NEW_ARRAY(c->m->scratch, bool, n);
    c->cuts = NEW_ARRAY(c->m->scratch, bool, n);
}

bool chunk_find(Chunk *c)
{
    uint32_t n = c->fn->ninsts;
    bool any = false;
    begin(c);
    c->own = false;
    if (!find_cut(c)) return false;
    for (uint32_t i = c->fn->nparams; i < n; i++)
        c->can[i] = can_cut(c, (Value){i});
    find_meets(c);
    cut_between(c);
    cut_beside(c);
    for (uint32_t i = 0; i < n; i++)
        any |= c->meets[i];
    return any;
}

/* ------------------------------------------------------- rows of devices -- */

/* It has all rows, and is no collective, nor the joint of one. */
static bool can_divide(const Chunk *c, Value v)
{
    const Inst *in = inst_of(c->fn, v);
    Axis row;
    return can_cut(c, v) && in->op != OP_all_gather &&
           in->op != OP_reduce_scatter &&
           !(is_joint(c->m, in, c->rows.group, &row) &&
             row.id == c->rows.row.id) &&
           chunk_is_whole(c, in->type);
}

/* The products of a gather, behind its joint, that take no longer in parts,
 * with their maps. */
static bool divide_behind(Chunk *c, Value v)
{
    bool any = false;
    for (uint32_t u = c->uses.first[v.id]; u < c->uses.first[v.id + 1]; u++) {
        Value user = c->uses.at[u];
        const Inst *in = inst_of(c->fn, user);
        Axis row;
        if (is_joint(c->m, in, c->rows.group, &row) &&
            row.id == c->rows.row.id) {
            any |= divide_behind(c, user);
        } else if (in->op == OP_einsum && c->can[user.id] &&
                   chunk_divides(c, user)) {
            cut_behind(c, user, true);
            any = c->cuts[user.id] = true;
        }
    }
    return any;
}

bool chunk_find_own(Chunk *c)
{
    uint32_t n = c->fn->ninsts;
    bool any = false;
    begin(c);
    c->own = true;
    c->cut = c->rows.row;
    c->size = c->rows.devices;
    for (uint32_t i = c->fn->nparams; i < n; i++)
        c->can[i] = can_divide(c, (Value){i});
    for (uint32_t i = c->fn->nparams; i < n; i++) {
        Value v = {i};
        if (c->fn->insts[i].op != OP_all_gather || !is_ours(c, v) ||
            (chunk_is_covered(c, v) && !c->always))
            continue;
        any |= c->meets[i] = divide_behind(c, v);
    }
    return any;
}
