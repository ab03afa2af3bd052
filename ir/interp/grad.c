/*
 * grad.c: the op `grad`, by forward-mode dual numbers.
 *
 * For each element of each `wrt` value, the slice of the function between
 * that value and the loss runs once with a unit tangent there, and the
 * tangent of the loss is the derivative.  This is slow and independent of
 * passes/autodiff, which is what it judges.
 */
#include "run.h"

/* What the loss needs, and of that what depends on the wrt value. */
static bool *slice_between(Frame *f, Value loss, Value wrt)
{
    const Fn *fn = f->fn;
    uint32_t n = loss.id + 1;
    bool *needed = NEW_ARRAY(&f->r->temp, bool, n);
    bool *moved = NEW_ARRAY(&f->r->temp, bool, n);
    needed[loss.id] = true;
    for (uint32_t i = n; i-- > 0;) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; needed[i] && k < in->nargs; k++)
            needed[inst_arg(fn, in, k).id] = true;
    }
    moved[wrt.id] = true;
    for (uint32_t i = wrt.id + 1; i < n; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            moved[i] |= moved[inst_arg(fn, in, k).id];
        moved[i] &= needed[i];
    }
    return moved;
}

/* The derivative along the element of `wrt` whose tangent is set. */
static double slice_run(Frame *f, const bool *moved, Value wrt, Value loss)
{
    Run *r = f->r;
    ArenaMark mark = arena_mark(&r->temp);
    for (uint32_t i = wrt.id + 1; i <= loss.id && !r->failed; i++)
        if (moved[i]) run_inst(f, (Value){i}, &f->vals[i]);
    const Val *v = &f->vals[loss.id];
    double d = v->dot ? v->dot[0] : 0;
    arena_pop(&r->temp, mark);
    return d;
}

/* Works on a copy of the frame, whose values of the slice it replaces. */
static void grad_one(const Frame *f, Value loss, Value wrt, Val *out)
{
    Run *r = f->r;
    ArenaMark mark = arena_mark(&r->temp);
    Frame g = *f;
    g.vals = NEW_ARRAY(&r->temp, Val, f->fn->ninsts);
    memcpy(g.vals, f->vals,
           (wrt.id > loss.id ? wrt.id : loss.id) * sizeof *g.vals +
               sizeof *g.vals);
    Val *x = &g.vals[wrt.id];
    DType dtype = type_dtype(r->m, x->type);
    x->dot = NEW_ARRAY(&r->temp, double, (size_t)x->n);
    bool *moved = wrt.id > loss.id ? NULL : slice_between(&g, loss, wrt);
    for (int64_t i = 0; moved && moved[loss.id] && i < x->n && !r->failed;
         i++) {
        x->dot[i] = 1;
        out->at[i].f = run_round(r, dtype, slice_run(&g, moved, wrt, loss));
        x->dot[i] = 0;
    }
    arena_pop(&r->temp, mark);
}

void interp_grad(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    val_init(r, out, in->type, false);
    if (args_active(f, in)) {
        run_fail(r, f->fn, in, DIAG_grad_twice,
                 "cannot differentiate a derivative");
        return;
    }
    Value loss = inst_arg(f->fn, in, 0);
    for (uint32_t i = 1; i < in->nargs; i++)
        grad_one(f, loss, inst_arg(f->fn, in, i), &out->fields[i - 1]);
}
