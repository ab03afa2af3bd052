/*
 * near.c: how far a compiled program may be from the interpreter.
 */
#include "smith.h"

#include <math.h>

static int64_t longest_sum(const Module *m)
{
    int64_t longest = 1;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            const Inst *in = &fn->insts[i];
            int64_t n =
                in->nargs
                    ? type_elements(m, value_type(fn, inst_arg(fn, in, 0)))
                    : 1;
            if (n > longest && in->op != OP_grad) longest = n;
        }
    }
    return longest;
}

static bool has_dtype(const Module *m, DType d)
{
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++) {
            const TypeInfo *t = type_info(m, m->fns.at[f]->insts[i].type);
            if (!t->is_tuple && t->dtype == d) return true;
        }
    return false;
}

/* Only derivatives round an inexact value to fewer digits: those of bf16
 * values to bf16, those of still narrower ones to f32. */
double program_unit(const Module *m, const Fn *fn)
{
    double unit = dtype_unit(has_dtype(m, DT_f32) ? DT_f32 : DT_f64);
    bool narrow = has_dtype(m, DT_f16) || has_dtype(m, DT_e4m3) ||
                  has_dtype(m, DT_e5m2) || has_dtype(m, DT_e2m1);
    if (fn_has_op(fn, OP_grad) && narrow) unit = dtype_unit(DT_f32);
    if (fn_has_op(fn, OP_grad) && has_dtype(m, DT_bf16))
        unit = dtype_unit(DT_bf16);
    return unit;
}

double program_bound(const Module *m, double unit)
{
    return 64 * unit * (1 + log2((double)longest_sum(m)));
}

bool tensor_is_floats(const Module *m, const Tensor *t)
{
    return dtype_class(type_dtype(m, t->type)) == DC_float;
}

double tensor_largest(const Tensor *t)
{
    double largest = 0;
    for (int64_t i = 0; i < t->n; i++)
        if (fabs(t->at[i].f) > largest) largest = fabs(t->at[i].f);
    return largest;
}

static double moved_from(const Module *m, const Tensor *was, const Tensor *is)
{
    double most = 0;
    for (int64_t e = 0; e < is->n; e++) {
        double off = tensor_is_floats(m, is)
                         ? fabs(is->at[e].f - was->at[e].f)
                         : (double)(is->at[e].i != was->at[e].i);
        if (off > most) most = off;
    }
    return most;
}

bool program_moved(Module *m, const Fn *fn, const InterpOpts *how,
                   const Tensor *args, const Tensor *results, double *moved)
{
    enum { RUNS = 3 };
    InterpOpts o = *how;
    Tensor *now = NEW_ARRAY(m->arena, Tensor, fn->nresults);
    for (o.chance = 1; o.chance <= RUNS; o.chance++) {
        if (!interp_fn(m, fn, &o, args, now, m->arena)) return false;
        for (uint32_t i = 0; i < fn->nresults; i++)
            moved[i] = fmax(moved[i], moved_from(m, &results[i], &now[i]));
    }
    return true;
}
