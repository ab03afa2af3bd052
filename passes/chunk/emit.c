/*
 * emit.c: a function in which some values are made part by part.
 *
 *     %g = all_gather %x axis tp        [seq:8] -> [seq:8, tp:2]
 *     %w = merge %g axis seq from (tp, seq)
 *     %y = einsum %w, %p sum (in)
 *
 * becomes, for each part of four rows,
 *
 *     %x0 = slice %x axis seq start 0   [seq:4]
 *     %g0 = all_gather %x0 axis tp      [seq:4, tp:2]
 *     %y0 = einsum %g0, %p sum (in)
 *
 * or, where a part are the rows of one device,
 *
 *     %x0 = pick %g axis tp
 *     %y0 = einsum %x0, %p sum (in)
 *
 * where rows of all devices keep the axis that counts these.  Who reads all of
 * %y reads the parts together: a concat, in whose place they are made.  All of
 * the first part stand in front of the second, as far as others allow.
 */
#include "chunk.h"

typedef struct Emit {
    const Chunk *c;
    Rewrite rw;
    int64_t n;
    Value *made;   /* by old value and part */
    uint32_t done; /* old values in front of it are made */
} Emit;

static Value *part_at(const Emit *e, Value v, int64_t part)
{
    return &e->made[(int64_t)v.id * e->n + part];
}

static bool by_rows(const Chunk *c)
{
    return c->cut.id == c->rows.row.id;
}

static TypeAxis group_axis(const Chunk *c)
{
    return (TypeAxis){.axis = c->rows.group, .size = c->rows.devices};
}

static Type part_type(const Emit *e, Type t)
{
    const Chunk *c = e->c;
    TypeAxis a = {.axis = c->cut, .size = c->size / e->n};
    bool whole = by_rows(c) && chunk_is_whole(c, t);
    if (c->own) a.size = c->rows.part;
    t = type_with_axis(c->m, t, a);
    return whole && !c->own ? type_with_axis(c->m, t, group_axis(c)) : t;
}

/* A part of what is made as a whole. */
static Value part_of_whole(Emit *e, Value old, int64_t part)
{
    const Chunk *c = e->c;
    Value v = rewrite_value(&e->rw, old);
    int64_t size = c->size / e->n;
    if (by_rows(c) && chunk_is_whole(c, value_type(c->fn, old))) {
        TypeAxis to[2] = {group_axis(c),
                          {.axis = c->rows.row, .size = c->rows.part}};
        v = emit_split(&e->rw.b, v, c->rows.row, to, 2);
    }
    if (c->own) return emit_pick(&e->rw.b, v, c->rows.group, part);
    return emit_slice(&e->rw.b, v, c->cut, part * size, size, 1);
}

static Value operand(Emit *e, Value old, int64_t part)
{
    const Chunk *c = e->c;
    if (c->cuts[old.id]) return *part_at(e, old, part);
    if (!type_axis(c->m, value_type(c->fn, old), c->cut))
        return rewrite_value(&e->rw, old);
    return part_of_whole(e, old, part);
}

/* What only says that rows of all devices are one axis. */
static bool is_joint(const Emit *e, const Inst *in)
{
    const Chunk *c = e->c;
    if ((in->op != OP_merge && in->op != OP_split) || !by_rows(c)) return false;
    return attr_axis(c->m, in->attr, AT_axis).id == c->rows.row.id;
}

static void emit_part(Emit *e, Value old, int64_t part)
{
    const Fn *fn = e->c->fn;
    const Inst *in = inst_of(fn, old);
    Value *args = NEW_ARRAY(e->c->m->scratch, Value, (size_t)in->nargs + 1);
    e->rw.b.loc = in->loc;
    e->rw.b.phase = (Phase)in->phase;
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = operand(e, inst_arg(fn, in, i), part);
    Value v = is_joint(e, in)
                  ? args[0]
                  : emit(&e->rw.b, (Op)in->op, part_type(e, in->type), in->attr,
                         args, in->nargs);
    value_set_name(&e->rw.b, v, fn->names[old.id]);
    *part_at(e, old, part) = v;
}

static bool is_made(const Emit *e, Value old)
{
    return !value_eq(*part_at(e, old, 0), NO_VALUE);
}

/* All parts of what is cut in front of an instruction. */
static void emit_parts(Emit *e, uint32_t end)
{
    for (int64_t part = 0; part < e->n; part++)
        for (uint32_t i = e->done; i < end; i++)
            if (e->c->cuts[i]) emit_part(e, (Value){i}, part);
    e->done = end;
}

/* What is cut and needs nothing but what is made already, in front of who reads
 * the rows of all devices: one part of each behind the other. */
static void emit_ready(Emit *e, uint32_t at)
{
    const Fn *fn = e->c->fn;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        bool ready = e->c->cuts[i] && !is_made(e, (Value){i});
        for (uint32_t k = 0; k < fn->insts[i].nargs && ready; k++) {
            Value x = inst_arg(fn, &fn->insts[i], k);
            ready = e->c->cuts[x.id] ? is_made(e, x) : x.id < at;
        }
        for (int64_t part = 0; part < e->n && ready; part++)
            emit_part(e, (Value){i}, part);
    }
}

static void emit_whole(Emit *e, Value old)
{
    const Chunk *c = e->c;
    const Inst *in = inst_of(c->fn, old);
    Axis from[2] = {c->rows.group, c->rows.row};
    e->rw.b.loc = in->loc;
    e->rw.b.phase = (Phase)in->phase;
    const Value *parts = part_at(e, old, 0);
    Value v = c->own ? emit_stack(&e->rw.b, parts, (uint32_t)e->n, from[0])
                     : emit_concat(&e->rw.b, parts, (uint32_t)e->n, c->cut);
    if (by_rows(c) && chunk_is_whole(c, in->type))
        v = emit_merge(&e->rw.b, v, from, 2, c->rows.row);
    value_set_name(&e->rw.b, v, c->fn->names[old.id]);
    rewrite_set(&e->rw, old, v);
}

/* The old value as a whole, for who is not cut. */
static void need_whole(Emit *e, Value old, uint32_t at)
{
    if (!e->c->cuts[old.id] || !value_eq(e->rw.map[old.id], NO_VALUE)) return;
    if (e->c->own)
        emit_ready(e, at);
    else if (old.id >= e->done)
        emit_parts(e, at);
    emit_whole(e, old);
}

Fn *chunk_emit(const Chunk *c, int64_t n)
{
    const Fn *fn = c->fn;
    Emit e = {.c = c, .n = n, .done = fn->nparams};
    e.made = no_values(c->m->scratch, (uint32_t)((int64_t)fn->ninsts * n));
    rewrite_begin(&e.rw, c->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (c->cuts[i]) continue;
        /* who reads all rows stands behind the first who do not */
        if (c->own && in->op == OP_einsum) emit_ready(&e, i);
        for (uint32_t k = 0; k < in->nargs; k++)
            need_whole(&e, inst_arg(fn, in, k), i);
        rewrite_copy(&e.rw, (Value){i});
    }
    for (uint32_t i = 0; i < fn->nresults; i++)
        need_whole(&e, fn->result_values[i], fn->ninsts);
    Fn *made = rewrite_end(&e.rw);
    made->kind = fn->kind;
    return fn_without_unneeded(c->m, made);
}
