/*
 * order.c: the memory order of a value that has a place of its own.
 *
 * By default the order of the axes in the module, axes of repeats outermost.
 * A matmul's result has its rows side by side and its columns; a stack is in
 * the order of its rows; a renamed axis stays where it was.
 *
 * A slot of which devices have parts along an axis lies by that axis first, and
 * so does all that has the same axes: then the parts that are gathered lie one
 * behind the other as one, and a gradient is scattered from where it is made.
 * Tables, of which rows are chosen, keep their rows.
 *
 * The axes of ids by which rows are chosen lie outside of what a row has, where
 * they are declared behind it too: as those of rows that go to their experts.
 * So does an axis by which they are chosen under another name, which is
 * declared in front: as the experts of a device, whose products take them by
 * blocks.
 */
#include "expand.h"

/* ---------------------------------------------- axes with devices' parts -- */

static bool counts_devices(const Expand *x, Axis a)
{
    for (uint32_t i = x->outer.repeats; i < x->outer.n; i++)
        if (x->outer.at[i].id == a.id) return true;
    return false;
}

/* They have the same axes, but for outer ones. */
static bool same_axes(const Expand *x, Type a, Type b)
{
    const TypeInfo *t[2] = {type_info(x->m, a), type_info(x->m, b)};
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < t[k]->naxes; i++) {
            Axis axis = t[k]->axes[i].axis;
            if (!outer_has(&x->outer, axis) &&
                !type_axis(x->m, k ? a : b, axis))
                return false;
        }
    return true;
}

bool has_slot(const Expand *x, Type t)
{
    for (uint32_t i = 0; i < x->m->slots.n; i++)
        if (same_axes(x, x->m->slots.at[i].type, t)) return true;
    return false;
}

static bool is_table(const Expand *x, Type t)
{
    const Module *m = x->m;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            const Inst *in = &fn->insts[i];
            bool reads =
                in->op == OP_gather &&
                type_info(m, value_type(fn, inst_arg(fn, in, 1)))->naxes > 0;
            Type of = reads ? value_type(fn, inst_arg(fn, in, 0)) : in->type;
            if ((reads || in->op == OP_scatter) && same_axes(x, of, t))
                return true;
        }
    }
    return false;
}

/* Parts of an axis that devices have, made one axis or taken from it. */
static void note_order(Expand *x, const Inst *in)
{
    const Module *m = x->m;
    if (in->op != OP_merge && in->op != OP_split) return;
    bool merge = in->op == OP_merge;
    const AttrItem *parts = attr_get(m, in->attr, merge ? AT_from : AT_to);
    Axis axis = attr_axis(m, in->attr, AT_axis);
    if (parts->n != 2 || parts->axes[1].id != axis.id ||
        !counts_devices(x, parts->axes[0]) || outer_has(&x->outer, axis))
        return;
    for (uint32_t i = 0; i < x->orders.n; i++)
        if (same_axes(x, x->orders.at[i].type, in->type)) return;
    if (!has_slot(x, in->type) || is_table(x, in->type)) return;
    vec_push(x->a, &x->orders, ((Order){in->type, axis}));
}

/* -------------------------------------------------- rows that are chosen -- */

static bool is_row_axis(const Expand *x, Axis a)
{
    for (uint32_t i = 0; i < x->rows.n; i++)
        if (x->rows.at[i].id == a.id) return true;
    return false;
}

static bool slot_has(const Expand *x, Axis a)
{
    const Module *m = x->m;
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (type_axis(m, m->slots.at[i].type, a)) return true;
    return false;
}

static void add_row_axis(Expand *x, Axis a)
{
    if (!is_row_axis(x, a)) vec_push(x->a, &x->rows, a);
}

/* Ids, of which an axis is declared behind one that the rows have; what rows
 * are chosen by, if it is, and no slot's. */
static void note_rows(Expand *x, const Fn *fn, const Inst *in)
{
    const Module *m = x->m;
    if (in->op != OP_gather) return;
    Type ids = value_type(fn, inst_arg(fn, in, 1));
    const TypeInfo *of = type_info(m, value_type(fn, inst_arg(fn, in, 0)));
    const TypeInfo *ti = type_info(m, ids);
    Axis chosen = attr_axis(m, in->attr, AT_axis);
    bool behind = false, inside = false;
    for (uint32_t i = 0; i < of->naxes && ti->naxes; i++) {
        Axis a = of->axes[i].axis;
        if (a.id == chosen.id || type_axis(m, ids, a)) continue;
        behind |= a.id < ti->axes[ti->naxes - 1].axis.id;
        inside |= a.id < chosen.id;
    }
    for (uint32_t i = 0; i < ti->naxes && behind; i++)
        add_row_axis(x, ti->axes[i].axis);
    if (inside && !slot_has(x, chosen)) add_row_axis(x, chosen);
}

static void note_chosen(const Module *m, const Fn *fn, bool *chosen)
{
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        bool parts = in->op == OP_merge || in->op == OP_split;
        if (in->op == OP_gather || in->op == OP_scatter)
            chosen[attr_axis(m, in->attr, AT_axis).id] = true;
        if (!parts || !chosen[attr_axis(m, in->attr, AT_axis).id]) continue;
        const AttrItem *of =
            attr_get(m, in->attr, in->op == OP_merge ? AT_from : AT_to);
        for (uint32_t k = 0; k < of->n; k++)
            chosen[of->axes[k].id] = true;
    }
}

/* By axis: rows are taken or added to along it, or one that is made of it. */
static bool *chosen_axes(const Expand *x)
{
    const Module *m = x->m;
    bool *chosen = NEW_ARRAY(x->a, bool, (size_t)m->axes.n + 1);
    for (int sweep = 0; sweep < 2; sweep++) /* groups come behind */
        for (uint32_t f = 0; f < m->fns.n; f++)
            note_chosen(m, m->fns.at[f], chosen);
    return chosen;
}

/* A rename brings other axes from inside of this one to outside, or back. */
static bool changes_sides(const Module *m, const Inst *in, Axis a)
{
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    bool any = false;
    for (uint32_t i = 0; i < from->n; i++)
        any |= (from->axes[i].id > a.id) != (to->axes[i].id > a.id);
    return any && !axes_have(from->axes, from->n, a);
}

static void note_renamed(Expand *x, const Fn *fn, const Inst *in,
                         const bool *chosen)
{
    if (in->op != OP_rename) return;
    const TypeInfo *t = type_info(x->m, value_type(fn, inst_arg(fn, in, 0)));
    for (uint32_t i = 0; i < t->naxes; i++) {
        Axis a = t->axes[i].axis;
        if (chosen[a.id] && !slot_has(x, a) && changes_sides(x->m, in, a))
            add_row_axis(x, a);
    }
}

void orders_find(Expand *x)
{
    const bool *chosen = chosen_axes(x);
    for (uint32_t f = 0; f < x->m->fns.n; f++) {
        const Fn *fn = x->m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            note_order(x, &fn->insts[i]);
            note_rows(x, fn, &fn->insts[i]);
            note_renamed(x, fn, &fn->insts[i], chosen);
        }
    }
}

/* --------------------------------------------------------------- orders -- */

Layout default_layout(const Expand *x, Type t)
{
    const OuterAxes *outer = &x->outer;
    uint32_t n = outer->n;
    Axis *order = NEW_ARRAY(x->a, Axis, (size_t)n + x->rows.n + 1);
    if (n) memcpy(order, outer->at, n * sizeof *order);
    for (uint32_t i = 0; i < x->rows.n; i++)
        if (!outer_has(outer, x->rows.at[i])) order[n++] = x->rows.at[i];
    for (uint32_t i = 0; i < x->orders.n; i++)
        if (same_axes(x, x->orders.at[i].type, t)) {
            order[n++] = x->orders.at[i].first;
            break;
        }
    return layout_ordered(x->m, t, order, n, x->a);
}

/* The result of a matmul: its rows side by side, and its columns, so that
 * each folds to one axis; the side that is innermost by default stays so.  An
 * axis that counts devices is outermost, as everywhere. */
static Layout matmul_layout(const Scene *s, const Fn *g, Type t)
{
    const Module *m = s->x->m;
    const Inst *in = group_einsum(g);
    const TypeInfo *ti = type_info(m, t);
    Axis *order = NEW_ARRAY(s->x->a, Axis, (size_t)ti->naxes + 1);
    EinsumRole inner = EINSUM_column;
    uint32_t n = 0;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        EinsumRole role = einsum_role(m, g, in, ti->axes[i].axis);
        if (counts_devices(s->x, ti->axes[i].axis))
            order[n++] = ti->axes[i].axis;
        else if (role != EINSUM_batch)
            inner = role;
    }
    EinsumRole outer = inner == EINSUM_row ? EINSUM_column : EINSUM_row;
    EinsumRole roles[3] = {EINSUM_batch, outer, inner};
    for (uint32_t r = 0; r < 3; r++)
        for (uint32_t i = 0; i < ti->naxes; i++)
            if (!counts_devices(s->x, ti->axes[i].axis) &&
                einsum_role(m, g, in, ti->axes[i].axis) == roles[r])
                order[n++] = ti->axes[i].axis;
    return layout_ordered(s->x->m, t, order, n, s->x->a);
}

/* Where the order of the module's axes would tear a renamed axis out of its
 * place, the name that was declared first decides: with k[seq -> ctx] and ctx
 * declared last, k lies as it is made, its heads in a row. */
bool renames_back(const Module *m, const Inst *in)
{
    if (in->op != OP_rename) return false;
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    for (uint32_t i = 0; i < from->n; i++)
        if (to->axes[i].id > from->axes[i].id) return false;
    return true;
}

/* The order in which a function has one of its results. */
static Layout made_layout(Expand *x, const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    Layout l = default_layout(x, in->type);
    if (in->op != OP_rename || renames_back(x->m, in)) return l;
    Home of = {.layout = made_layout(x, fn, inst_arg(fn, in, 0))}, to;
    return home_forward(x, fn, in, &of, &to) ? to.layout : l;
}

/* A stack has the axes of repeats outermost and goes on as its rows do. */
static Layout stack_layout(const Scene *s, Type t, Layout row)
{
    const OuterAxes *outer = &s->x->outer;
    uint32_t n = type_info(s->x->m, row.type)->naxes;
    Axis *order = NEW_ARRAY(s->x->a, Axis, (size_t)outer->n + n + 1);
    Axis *rows = NEW_ARRAY(s->x->a, Axis, (size_t)n + 1);
    if (outer->n) memcpy(order, outer->at, outer->n * sizeof *order);
    uint32_t all = outer->n, most = layout_order(s->x->m, row, rows);
    for (uint32_t i = 0; i < most; i++)
        if (!outer_has(outer, rows[i])) order[all++] = rows[i];
    return layout_ordered(s->x->m, t, order, all, s->x->a);
}

/* The body of the repeat that OWNER is a stacked result of, and which one. */
static const Fn *stacking_body(const Scene *s, Value owner, uint32_t *result)
{
    const Module *m = s->x->m;
    Value maker;
    if (!owner_result(s, owner, &maker, result)) return NULL;
    const Inst *in = inst_of(s->fn, maker);
    if (in->op != OP_repeat || *result < attr_int(m, in->attr, AT_carry, 0))
        return NULL;
    const Fn *body = fn_of(m, attr_fn(m, in->attr, AT_fn));
    return fn_is_tile(m, body) ? NULL : body;
}

/* What a scatter fills is cleared as one piece, what is copied to the memory of
 * the host goes there as one. */
static bool is_one_piece(const Scene *s, Value owner)
{
    const Module *m = s->x->m;
    const Inst *in = inst_of(s->fn, owner);
    bool scatter = in->op == OP_call &&
                   fn_is(m, fn_of(m, attr_fn(m, in->attr, AT_fn)), FK_scatter);
    return scatter || attr_flag(m, in->attr, AT_host);
}

static Layout unpadded_layout(const Scene *s, Value owner)
{
    const Module *m = s->x->m;
    Type t = value_type(s->fn, owner);
    uint32_t result;
    const Fn *body = stacking_body(s, owner, &result);
    if (body)
        return stack_layout(
            s, t, made_layout(s->x, body, body->result_values[result]));
    const Inst *in = inst_of(s->fn, owner);
    if (in->op == OP_proj) in = inst_of(s->fn, inst_arg(s->fn, in, 0));
    if (in->op == OP_call) {
        const Fn *g = fn_of(m, attr_fn(m, in->attr, AT_fn));
        if (fn_is(m, g, FK_matmul) || fn_is(m, g, FK_product))
            return matmul_layout(s, g, t);
    }
    return default_layout(s->x, t);
}

Layout own_layout(const Scene *s, Value owner)
{
    Type t = value_type(s->fn, owner);
    if (is_collective(s, owner)) return collective_layout(s, owner);
    if (inst_of(s->fn, owner)->op == OP_recv) return message_layout(s, t);
    Layout like = s->like[owner.id];
    bool one = is_one_piece(s, owner);
    if (like.stride && (!one || layout_is_packed(s->x->m, like))) return like;
    Layout l = unpadded_layout(s, owner);
    return one ? l : layout_padded(s->x, l);
}
