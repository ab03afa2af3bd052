/*
 * autodiff.c: derivatives, in reverse mode.
 *
 *   needs    inlined
 *   gives    gradless
 *   keeps    every instruction that is not a `grad`, in its order
 *   result   each `grad` is replaced by the instructions that compute it;
 *            these, and what they make again of the forward, have phase
 *            backward; functions that no entry reaches are gone
 *
 * One `grad` at a time, callees first, the first of a function first, so that
 * a later one may differentiate what an earlier one made.  The instructions
 * before the `grad` become a joint function of forward and backward (joint.c)
 * whose backward is put in the place of the `grad`, reading saved forward
 * values and making the cheap ones again (cut.c), so that large values need
 * not live until then.
 *
 * Requirements for whoever adds an op:
 *   1. grad_<op> hands the cotangent on with grad_give, which ignores operands
 *      that want none; grad_wants spares the work.
 *   2. It emits through g->b alone, and reads the forward's values with
 *      grad_operand and g->map, never the function that is differentiated.
 *   3. A contribution has the axes of its operand and the dtype cot_dtype.
 *   4. An op whose elements are cheap to make again is listed in ../mincut.c.
 */
#include "autodiff.h"

static bool find_grad(const Fn *fn, Value *out)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (fn->insts[i].op != OP_grad) continue;
        *out = (Value){i};
        return true;
    }
    return false;
}

/* A function under construction from an older one. */
typedef struct Replace {
    Builder b;
    const Fn *old;
    Value grad;
    const Joint *j;
    Value *forward;  /* by value of the joint function */
    Value *backward; /* likewise */
} Replace;

static void copy_forward(Autodiff *ad, Replace *r)
{
    const Fn *joint = r->j->fn;
    r->forward = no_values(ad->arena, joint->ninsts);
    for (uint32_t i = 0; i < r->old->nparams; i++)
        r->forward[i] = builder_param(&r->b, r->old->params[i]);
    for (uint32_t i = r->j->forward_at; i < r->j->backward_at; i++)
        r->forward[i] = copy_inst(&r->b, joint, (Value){i}, r->forward,
                                  (Phase)joint->insts[i].phase);
}

static void add_backward(Autodiff *ad, Replace *r)
{
    CutRule rule = {0};
    uint32_t n = inst_of(r->old, r->grad)->nargs - 1u;
    Cut cut = cut_joint(ad, r->j, r->j->cots, n, &rule);
    r->backward = no_values(ad->arena, r->j->fn->ninsts);
    for (uint32_t i = 0; i < r->j->backward_at; i++)
        if (cut.kept[i] == KEPT_saved) r->backward[i] = r->forward[i];
    copy_backward(&r->b, r->j, &cut, r->backward);
}

/* The instructions after the `grad`; its fields are the cotangents. */
static Value copy_rest(Replace *r, Value v, const Value *map)
{
    const Inst *in = inst_of(r->old, v);
    if (in->op == OP_proj && value_eq(inst_arg(r->old, in, 0), r->grad)) {
        int64_t k = attr_int(r->b.m, in->attr, AT_index, 0);
        Value cot = r->backward[r->j->cots[k].id];
        if (r->old->names[v.id].id)
            value_set_name(&r->b, cot, r->old->names[v.id]);
        return cot;
    }
    return copy_inst(&r->b, r->old, v, map, (Phase)in->phase);
}

static Fn *replace_grad(Autodiff *ad, const Fn *old, Value grad)
{
    Joint j = joint_of_grad(ad, old, grad);
    Replace r = {.old = old, .grad = grad, .j = &j};
    Fn *fn = fn_new(ad->m, old->name, old->view);
    fn->entry = old->entry;
    fn->kind = old->kind;
    fn->loc = old->loc;
    builder_init(&r.b, ad->m, fn);
    copy_forward(ad, &r);
    add_backward(ad, &r);

    Value *map = no_values(ad->arena, old->ninsts);
    for (uint32_t i = 0; i < grad.id; i++)
        if (!value_eq(j.map[i], NO_VALUE)) map[i] = r.forward[j.map[i].id];
    for (uint32_t i = grad.id + 1; i < old->ninsts; i++)
        map[i] = copy_rest(&r, (Value){i}, map);
    for (uint32_t i = 0; i < old->nresults; i++)
        builder_result(&r.b, map[old->result_values[i].id], old->results[i]);
    return join_losses(ad, fn);
}

static void run_fn(Autodiff *ad, bool *done, uint32_t at)
{
    if (done[at]) return;
    done[at] = true;
    const Fn *fn = ad->m->fns.at[at];
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Attr attr = fn->insts[i].attr;
        if (attr_get(ad->m, attr, AT_fn))
            run_fn(ad, done, attr_fn(ad->m, attr, AT_fn).id);
    }
    Value grad;
    while (find_grad(ad->m->fns.at[at], &grad))
        ad->m->fns.at[at] = replace_grad(ad, ad->m->fns.at[at], grad);
}

bool pass_autodiff(Module *m, PassCtx *cx)
{
    Autodiff ad = {.m = m, .cx = cx, .arena = m->scratch};
    uint32_t n = m->fns.n;
    bool *done = NEW_ARRAY(m->scratch, bool, n + 1);
    for (uint32_t i = 0; i < n; i++)
        if (m->fns.at[i]) run_fn(&ad, done, i);
    module_drop_unused(m);
    return true;
}
