/*
 * pads.c: a sum of parts that were padded to the whole is their concatenation.
 *
 *     x  [ 0  1  2 ]                  pad high 2:  [ 0  1  2  .  . ]
 *     y           [ 3  4 ]            pad low 3:   [ .  .  .  3  4 ]
 *
 * The derivatives of slices and picks add up such parts.  Where the parts
 * meet without overlap and leave nothing out, each element of the sum is one
 * element plus zeros, so no rounding changes.  One further summand may stand
 * beside them; with two, the order of the sum would change.
 */
#include <stdlib.h>

#include "../added.h"
#include "canonicalise.h"

typedef struct Part {
    Value x; /* before padding, in the old function */
    int64_t low, size;
} Part;

typedef struct Parts {
    Axis axis;
    Part *at;
    uint32_t n;
    Value other; /* the further summand, or NO_VALUE */
} Parts;

static bool is_part(Module *m, const Fn *fn, const Uses *uses, Value v,
                    const Inst *sum)
{
    const Inst *in = inst_of(fn, v);
    return in->op == OP_pad && in->phase == sum->phase &&
           type_eq(in->type, sum->type) && !uses->nresult[v.id] &&
           uses->first[v.id + 1] - uses->first[v.id] == 1 &&
           attr_int(m, in->attr, AT_step, 1) == 1;
}

static int by_place(const void *a, const void *b)
{
    int64_t x = ((const Part *)a)->low, y = ((const Part *)b)->low;
    return (x > y) - (x < y);
}

static bool covers(const Parts *p, int64_t size)
{
    int64_t at = 0;
    qsort(p->at, p->n, sizeof *p->at, by_place);
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->at[i].low != at) return false;
        at += p->at[i].size;
    }
    return at == size;
}

static bool find_parts(Module *m, const Fn *fn, const Uses *uses,
                       const Inst *in, Parts *p)
{
    *p = (Parts){.at = NEW_ARRAY(m->scratch, Part, in->nargs),
                 .other = NO_VALUE};
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value v = inst_arg(fn, in, i);
        const Inst *pad = inst_of(fn, v);
        Axis axis = {UINT32_MAX};
        if (is_part(m, fn, uses, v, in))
            axis = attr_axis(m, pad->attr, AT_axis);
        if (axis.id == UINT32_MAX || (p->n && axis.id != p->axis.id)) {
            if (!value_eq(p->other, NO_VALUE)) return false;
            p->other = v;
            continue;
        }
        Value x = inst_arg(fn, pad, 0);
        p->axis = axis;
        p->at[p->n++] = (Part){x, attr_int(m, pad->attr, AT_low, 0),
                               type_size(m, value_type(fn, x), axis)};
    }
    return p->n > 1 && covers(p, type_size(m, in->type, p->axis));
}

static void emit_parts(Rewrite *rw, const Parts *p, Value old)
{
    Builder *b = &rw->b;
    const Inst *in = inst_of(rw->old, old);
    Value *xs = NEW_ARRAY(b->m->scratch, Value, p->n);
    for (uint32_t i = 0; i < p->n; i++)
        xs[i] = rewrite_value(rw, p->at[i].x);
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    Value v = emit_concat(b, xs, p->n, p->axis);
    if (!value_eq(p->other, NO_VALUE)) {
        DType d = type_dtype(b->m, in->type);
        Expr sum =
            expr_op2(b->m, SC_add, expr_arg(b->m, 0, d), expr_arg(b->m, 1, d));
        v = emit(b, OP_map, in->type,
                 attr_with_id(b->m, in->attr, AT_body, sum.id),
                 (Value[]){rewrite_value(rw, p->other), v}, 2);
    }
    value_set_name(b, v, rw->old->names[old.id]);
    rewrite_set(rw, old, v);
}

Fn *canon_pads(Module *m, Fn *fn, bool *changed)
{
    Rewrite rw;
    if (!fn_has_op(fn, OP_pad)) return fn;
    Uses uses = fn_uses(fn, m->scratch);
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        Parts p;
        if (in->op == OP_map && map_is_sum(m, in) &&
            find_parts(m, fn, &uses, in, &p)) {
            emit_parts(&rw, &p, (Value){i});
            *changed = true;
        } else {
            rewrite_copy(&rw, (Value){i});
        }
    }
    return rewrite_end(&rw);
}
