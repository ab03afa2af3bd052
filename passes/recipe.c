/*
 * recipe.c: which contractions are quantised, as a plan says.
 *
 *   needs    inlined; before autodiff, which hands it on to the derivatives
 *   keeps    everything
 *   result   a contraction with a parameter that the option `recipes` names
 *            has the attribute `recipe`
 *
 *     recipes := recipe (' ' path '?'?)+ ('; ' ...)*
 *
 * What the attribute does is written down in quantise.c, which removes it.  A
 * contraction that sums something else than the parameter's input side, or is
 * in a region, has none: recognise makes no loss of the product of a parameter
 * that a rule names, so that the head of a model has it where a plan says so;
 * with `?`, of a rule for all, the head stays in its loss.  Where rows choose a
 * matrix each, the gather that chooses has it too, for the derivative of the
 * weight is that of the gather.
 */
#include "recipe.h"

#include <string.h>

#include "remat/remat.h"

const char *recipe_of(Module *m, const PassCtx *cx, const char *path,
                      bool *named)
{
    size_t n = strlen(path);
    for (const char *at = pass_option(m, cx, "recipes", ""); *at;) {
        const char *name = arena_strndup(m->scratch, at, strcspn(at, " ;"));
        for (at += strlen(name); *at == ' ';) {
            size_t k = strcspn(++at, " ;");
            *named = k > 0 && at[k - 1] != '?';
            if (k - !*named == n && strncmp(at, path, n) == 0) return name;
            at += k;
        }
        at += strspn(at, "; ");
    }
    return NULL;
}

static bool sums_input(const Module *m, const Slot *slot, const Inst *einsum)
{
    const AttrItem *sum = attr_get(m, einsum->attr, AT_sum);
    bool all = sum->n == slot->nfrom;
    for (uint32_t i = 0; i < slot->nfrom && all; i++) {
        all = false;
        for (uint32_t k = 0; k < sum->n; k++)
            all = all || sum->axes[k].id == slot->fan[i].id;
    }
    return all;
}

static void mark(Module *m, Inst *in, const char *recipe)
{
    AttrList l = attr_list(m, in->attr);
    attr_put_id(&l, AT_recipe, module_str(m, recipe).id);
    in->attr = attr_intern(m, &l);
}

/* The gather has the axes that are summed, by the names of the sum. */
static bool has_sum(const Module *m, const Fn *fn, const Inst *gather,
                    const AttrItem *sum)
{
    Type of = value_type(fn, inst_arg(fn, gather, 0));
    for (uint32_t i = 0; i < sum->n; i++)
        if (!type_axis(m, of, sum->axes[i])) return false;
    return true;
}

static void mark_gather(Module *m, Inst *in, const AttrItem *sum,
                        const char *recipe)
{
    AttrList l = attr_list(m, in->attr);
    attr_drop(&l, AT_sum);
    attr_put_axes(&l, AT_sum, sum->axes, sum->n);
    in->attr = attr_intern(m, &l);
    mark(m, in, recipe);
}

/* Where rows choose among the matrices of the parameter: so are the products
 * of what is chosen. */
static void mark_chosen(Module *m, PassCtx *cx, const Fn *fn, uint32_t einsum,
                        const char *recipe)
{
    Value param = layer_param(m, fn, (Value){einsum});
    const AttrItem *sum = attr_get(m, fn->insts[einsum].attr, AT_sum);
    for (uint32_t k = 0; k < 2; k++) {
        Value v = inst_arg(fn, &fn->insts[einsum], k);
        if (!value_eq(taken_from(fn, v), param)) continue;
        for (; !value_eq(v, param); v = inst_arg(fn, inst_of(fn, v), 0)) {
            Inst *in = &fn->insts[v.id];
            if (in->op != OP_gather) continue;
            if (has_sum(m, fn, in, sum))
                mark_gather(m, in, sum, recipe);
            else
                pass_missed(m, cx, in->loc,
                            "the gradient of what rows choose is not "
                            "quantised: its axes have other names here than "
                            "in the product");
        }
    }
}

/* The recipe of a contraction that is to have one, or NULL. */
static const char *recipe_for(Module *m, const PassCtx *cx, const Fn *fn,
                              uint32_t einsum)
{
    const Inst *in = &fn->insts[einsum];
    const char *path = linear_path(m, fn, (Value){einsum});
    bool named = false;
    const char *recipe = path ? recipe_of(m, cx, path, &named) : NULL;
    if (!recipe) return NULL;
    if (fn->kind.id) {
        pass_missed(m, cx, in->loc,
                    "a product with %s is not quantised: it is a part of %s",
                    path,
                    fn_kind(m, fn) == FK_loss ? "the loss; name it in a rule"
                                              : "attention");
        return NULL;
    }
    if (sums_input(m, slot_find(m, module_str(m, path)), in)) return recipe;
    pass_missed(m, cx, in->loc,
                "a product with %s is not quantised: it sums something else "
                "than the input side",
                path);
    return NULL;
}

static uint32_t mark_fn(Module *m, PassCtx *cx, Fn *fn)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Inst *in = &fn->insts[i];
        if (in->op != OP_einsum) continue;
        const char *recipe = recipe_for(m, cx, fn, i);
        if (!recipe) continue;
        mark(m, in, recipe);
        mark_chosen(m, cx, fn, i, recipe);
        n++;
    }
    return n;
}

bool pass_recipe(Module *m, PassCtx *cx)
{
    const char *recipes = pass_option(m, cx, "recipes", "");
    for (uint32_t f = 0; f < m->fns.n && *recipes; f++) {
        Fn *fn = m->fns.at[f];
        uint32_t n = mark_fn(m, cx, fn);
        if (n)
            pass_remark(m, cx, fn->loc, "%u contraction%s of @%s %s quantised",
                        n, n > 1 ? "s" : "", str_of(m, fn->name),
                        n > 1 ? "are" : "is");
    }
    return true;
}
