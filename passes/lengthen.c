/*
 * lengthen.c: a sum of products with parameters becomes one product.
 *
 *   needs    inlined, gradless
 *   keeps    everything but the order in which terms of a sum are added
 *   result   no function adds products with several parameters of the model, of
 *            which one sums over few indices, where one product would do;
 *            these parameters are a block (Slot)
 *
 *     dx = dq @ wq + dk @ wk + dv @ wv
 *        = (dq | dk | dv) @ (wq | wk | wv)       | : one behind the other
 *
 * A short product that is added to what is there reads and writes that once
 * more, which takes as long as to multiply.  The long one writes its result
 * once.
 *
 * A concatenation is a place, not a copy, where its parts can be made in it.
 * The cotangents are, by whoever makes them.  The parameters are, if they lie
 * so from the first: they become a block, which `expand` lays out.  Nothing
 * else changes for them, neither their names nor what a checkpoint has.
 * Their concatenation is made in front of all repeats (passes/lift.c), with the
 * axes of these, so that where it has to be copied that is done once a step.
 *
 * Products of one operand with several parameters (x @ wq, x @ wk, x @ wv) stay
 * as they are, and so do the gradients of these: side by side they run no
 * faster as one (8,192 rows: 590 us as three, 647 as one; 600 and 600).
 *
 * It is not done of frozen and trained parameters together where the former
 * have another dtype (P11 of precision.c); where all products are long anyway;
 * where a parameter would be part of two concatenations, or is read by several
 * repeats' bodies as one function; where its summed axes are not its outermost;
 * on a mesh, other than of the ranks of a pipeline.
 */
#include "lengthen/lengthen.h"
#include "lift.h"

/* The ranks of a pipeline have whole layers, and with them whole blocks. */
static bool is_for_ranks(const Lengthen *w, MeshAxis a)
{
    const char *rule = pass_option(w->m, w->cx, "pipeline", "");
    const char *over = strstr(rule, " over "), *name = mesh_name(w->m, a);
    size_t n = strlen(name);
    if (!over || strncmp(over + 6, name, n) != 0) return false;
    return !over[6 + n] || over[6 + n] == ' ';
}

static bool is_one_device(const Lengthen *w)
{
    for (uint32_t i = 0; i < w->m->mesh.n; i++)
        if (w->m->mesh.at[i].size > 1 && !is_for_ranks(w, (MeshAxis){i}))
            return false;
    return true;
}

static void say_found(const Lengthen *w, const Fn *fn, const Found *found)
{
    for (uint32_t i = 0; i < found->n; i++) {
        const Sum *s = &found->at[i];
        pass_remark(w->m, w->cx, inst_of(fn, s->root)->loc,
                    "%u products of a sum in @%s are one", s->n,
                    str_of(w->m, fn->name));
    }
}

static void make_blocks(const Lengthen *w)
{
    for (uint32_t k = 0; k < w->joined.n; k++) {
        const Joined *j = &w->joined.at[k];
        for (uint32_t i = 0; i < j->n; i++)
            j->slot[i]->block = j->slot[0]->path;
    }
}

static bool is_concat(void *user, uint32_t body, Value v)
{
    const Lengthen *w = user;
    return inst_of(w->m->fns.at[body], v)->op == OP_concat;
}

/* Until no body makes a concatenation of weights any more. */
static void lift_concats(Lengthen *w)
{
    Lift l = {w->m, &w->weights, is_concat, NULL, w};
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 0; i < w->m->fns.n && !again; i++) {
            const Fn *fn = w->m->fns.at[i];
            again = !fn->kind.id && fn->view != VIEW_kernel && lift_out(&l, i);
        }
        if (again) w->weights = weights_find(w->m, w->a);
    }
}

bool pass_lengthen(Module *m, PassCtx *cx)
{
    Lengthen w = {.m = m, .cx = cx, .a = m->scratch};
    if (!is_one_device(&w)) return true;
    w.apart = strcmp(pass_option(m, cx, "dtype", "bf16"), "bf16") == 0;
    w.weights = weights_find(m, w.a);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        if (fn->kind.id || fn->view == VIEW_kernel) continue;
        Found found = lengthen_find(&w, i);
        if (!found.n) continue;
        say_found(&w, fn, &found);
        m->fns.at[i] = lengthen_write(&w, fn, &found);
    }
    if (w.joined.n) lift_concats(&w);
    make_blocks(&w);
    return true;
}
