/*
 * block.c: slots that lie between each other's rows.
 *
 *     alone     wq |0000|1111|2222|   wk |00|11|22|   wv |00|11|22|
 *     a block      |0000 00 00|1111 11 11|2222 22 22|
 *
 * For each index of the axes of repeats (a row) the slots of a block lie one
 * behind the other, each as dense as alone, so that their concatenation along
 * their outermost axis is a place: it is not made, it is there.  The first
 * slot's argument stands for the whole block; the others are arguments within
 * it.
 *
 * Slots that say `block` are one where some entry has them all, of one dtype
 * and with the same axes of repeats; else each lies alone, and a concatenation
 * is copied together.
 */
#include "expand.h"

/* How many rows a device has of a slot. */
static int64_t rows_of(const Expand *x, Type t)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < x->outer.n; i++)
        if (type_axis(x->m, t, x->outer.at[i]))
            n *= type_local_size(x->m, type_axis(x->m, t, x->outer.at[i]));
    return n;
}

static bool entry_has(const Fn *fn, Str path)
{
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (fn->params[i].role == ROLE_param &&
            str_eq(fn->params[i].path, path))
            return true;
    return false;
}

static bool entry_has_all(const Module *m, const Fn *fn, Str block)
{
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (str_eq(m->slots.at[i].block, block) &&
            !entry_has(fn, m->slots.at[i].path))
            return false;
    return true;
}

static bool same_rows(const Expand *x, Type a, Type b)
{
    for (uint32_t i = 0; i < x->outer.n; i++)
        if (type_size(x->m, a, x->outer.at[i]) !=
            type_size(x->m, b, x->outer.at[i]))
            return false;
    return type_dtype(x->m, a) == type_dtype(x->m, b);
}

static bool is_block(const Expand *x, const Slot *first)
{
    const Module *m = x->m;
    bool all = false;
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (str_eq(m->slots.at[i].block, first->path) &&
            (m->slots.at[i].host ||
             !same_rows(x, m->slots.at[i].type, first->type)))
            return false;
    for (uint32_t f = 0; f < m->fns.n && !all; f++)
        all = m->fns.at[f]->view == VIEW_local &&
              entry_has_all(m, m->fns.at[f], first->path);
    return all;
}

static void add_members(Expand *x, const Slot *first)
{
    const Module *m = x->m;
    uint32_t begin = x->members.n;
    int64_t pitch = 0;
    for (uint32_t i = 0; i < m->slots.n; i++) {
        const Slot *s = &m->slots.at[i];
        if (!str_eq(s->block, first->path)) continue;
        Member one = {.path = s->path, .first = first->path, .start = pitch};
        one.piece = type_local_elements(m, s->type) / rows_of(x, s->type);
        pitch += one.piece;
        vec_push(x->a, &x->members, one);
    }
    for (uint32_t i = begin; i < x->members.n; i++)
        x->members.at[i].pitch = pitch;
}

void blocks_find(Expand *x)
{
    const Module *m = x->m;
    for (uint32_t i = 0; i < m->slots.n; i++) {
        const Slot *s = &m->slots.at[i];
        if (s->block.id && str_eq(s->block, s->path) && is_block(x, s))
            add_members(x, s);
    }
}

const Member *block_member(const Expand *x, Str path)
{
    for (uint32_t i = 0; i < x->members.n; i++)
        if (str_eq(x->members.at[i].path, path)) return &x->members.at[i];
    return NULL;
}

Layout slot_layout(Expand *x, Str path, Type t)
{
    const Member *of = block_member(x, path);
    Layout l = default_layout(x, t);
    if (!of) return l;
    uint32_t n = type_info(x->m, t)->naxes;
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++)
        stride[i] = l.stride[i] < of->piece
                        ? l.stride[i]
                        : l.stride[i] / of->piece * of->pitch;
    return (Layout){t, stride};
}

/* Where a name or place of an argument is. */
static bool argument_home(Scene *s, Value v, Home *out)
{
    const Inst *in = inst_of(s->fn, v);
    if (in->op == OP_arg) {
        *out = s->home[v.id];
        return out->root != NULL;
    }
    Home of;
    return is_alias((Op)in->op) &&
           argument_home(s, inst_arg(s->fn, in, 0), &of) &&
           home_forward(s->x, s->fn, in, &of, out);
}

bool block_joined(Scene *s, Value concat, Home *out)
{
    const Inst *in = inst_of(s->fn, concat);
    Home part;
    if (in->op != OP_concat || !argument_home(s, inst_arg(s->fn, in, 0), out))
        return false;
    out->layout = layout_from(s->x, in->type, out->layout);
    for (uint32_t k = 0; k < in->nargs; k++) {
        Home want = home_part(s->x, s->fn, in, k, out);
        if (!argument_home(s, inst_arg(s->fn, in, k), &part) ||
            !home_same(s->x->m, &part, &want))
            return false;
    }
    return true;
}
