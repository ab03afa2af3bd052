/*
 * recognise.c: name regions: attention, and head with loss.
 *
 *   needs    inlined; better after canonicalise, which merges maps
 *   keeps    everything, up to rounding and the order of independent
 *            instructions
 *   result   a contraction whose result is only used in a softmax or a
 *            log-sum-exp over one side of it, and what it is used for, are a
 *            function of kind `attention` (the other end is a contraction over
 *            that side) or `loss`; equal ones are one function
 *
 * What is looked for is a value that is large because two operands meet in it,
 * and that nobody needs as a whole:
 *
 *     q   k          [seq, hd] [ctx, hd]     x   w     [seq, embed] [embed, v]
 *      \ /                                    \ /
 *     scores  mask   [seq, ctx]              logits  label
 *       |    /                                 |  \   /
 *     softmax   v    over ctx                lse  gather   over v
 *         \    /                               \  /
 *          out       [seq, hd]                 loss        [seq]
 *
 * The sum of exponentials over an axis is the mark.  From there one walks back
 * to the contractions that make the axis (the heads), and forward to all that
 * is computed from them until the axis is gone: by a reduction, a contraction
 * or a gather over it.  Any mask, bias, cap, penalty or smoothing is on the
 * way, so none has to be known.  If a value that has the axis is needed by
 * anything else, there is no region.  Large masks that maps make are made
 * inside.
 *
 * Norms are no regions: their statistics are small and their maps are merged
 * with their neighbours, which a border would prevent.
 */
#include "late.h"
#include "outline.h"
#include "recipe.h"
#include "remat/remat.h"

typedef struct Search {
    Module *m;
    const PassCtx *cx;
    Arena *arena;
    const Fn *fn;
    Uses uses;
    const Axis *axes; /* over which the exponentials are summed */
    uint32_t naxes;
    bool *in; /* the region, by value */
    bool *copied;
    bool contracted; /* the axis ends in a contraction */
    const char *why; /* there is no region */
    Value culprit;
} Search;

static bool refuse(Search *s, const char *why, Value culprit)
{
    s->why = why;
    s->culprit = culprit;
    return false;
}

static bool has_axes(const Search *s, Value v)
{
    for (uint32_t i = 0; i < s->naxes; i++)
        if (type_axis(s->m, value_type(s->fn, v), s->axes[i])) return true;
    return false;
}

/* ---------------------------------------------------------------- mark -- */

static bool mentions_exp(Module *m, Arena *a, Expr body)
{
    uint32_t n;
    const Expr *nodes = expr_walk(m, body, a, &n);
    for (uint32_t i = 0; i < n; i++)
        if (expr_info(m, nodes[i])->op == SC_exp) return true;
    return false;
}

/* reduce sum of a map with an exponential */
static bool is_mark(Search *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    if (in->op != OP_reduce || !attr_is(s->m, in->attr, AT_kind, "sum"))
        return false;
    const Inst *of = inst_of(s->fn, inst_arg(s->fn, in, 0));
    if (of->op != OP_map ||
        !mentions_exp(s->m, s->arena, attr_expr(s->m, of->attr)))
        return false;
    const AttrItem *axes = attr_get(s->m, in->attr, AT_axes);
    s->axes = axes->axes;
    s->naxes = axes->n;
    return true;
}

/* --------------------------------------------------------------- heads -- */

static bool touches_axes(const Search *s, const Inst *in)
{
    static const AttrKey keys[] = {AT_axis, AT_from, AT_to};
    for (unsigned k = 0; k < sizeof keys / sizeof *keys; k++) {
        const AttrItem *item = attr_get(s->m, in->attr, keys[k]);
        uint32_t n = !item ? 0 : keys[k] == AT_axis ? 1 : item->n;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < s->naxes; j++) {
                uint32_t id = keys[k] == AT_axis ? item->id : item->axes[i].id;
                if (id == s->axes[j].id) return true;
            }
    }
    return false;
}

/* Ops that a region may be made of; what they do along the axes is looked at
 * apart. */
static const bool inner[OP_count] = {
    [OP_map] = true,    [OP_reduce] = true, [OP_einsum] = true,
    [OP_gather] = true, [OP_rename] = true, [OP_split] = true,
    [OP_merge] = true,  [OP_slice] = true,  [OP_pick] = true,
    [OP_pad] = true,    [OP_concat] = true, [OP_stack] = true,
};

/* Marks the contractions that V, which has the axes, is computed from. */
static bool find_heads(Search *s, Value v, bool *seen)
{
    if (seen[v.id] || !has_axes(s, v)) return false;
    seen[v.id] = true;
    const Inst *in = inst_of(s->fn, v);
    if (in->op == OP_einsum) {
        s->in[v.id] = true;
        return true;
    }
    if (!inner[in->op] || touches_axes(s, in)) return false;
    bool found = false;
    for (uint32_t i = 0; i < in->nargs; i++)
        found |= find_heads(s, inst_arg(s->fn, in, i), seen);
    return found;
}

/* -------------------------------------------------------------- growth -- */

/* Whether V, which reads values of the region, may be part of it: renaming,
 * splitting or merging the axes would let them live on under other names. */
static bool may_join(const Search *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    if (!inner[in->op]) return false;
    return in->op == OP_gather || !touches_axes(s, in);
}

static bool reads_large(const Search *s, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(s->fn, in, i);
        if (s->in[x.id] && has_axes(s, x)) return true;
    }
    return false;
}

/* Adds the users of large values.  False: one may not join. */
static bool add_users(Search *s, bool *more)
{
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        const Inst *in = &s->fn->insts[i];
        if (s->in[i] || !reads_large(s, in)) continue;
        if (!may_join(s, (Value){i}))
            return refuse(s, "cannot be made in tiles", (Value){i});
        s->in[i] = *more = true;
    }
    return true;
}

/* Adds what lies on a path from the region back into it. */
static bool add_between(Search *s, bool *more)
{
    uint32_t n = s->fn->ninsts;
    bool *below = NEW_ARRAY(s->arena, bool, n + 1);
    bool *above = NEW_ARRAY(s->arena, bool, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const Inst *in = &s->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t x = inst_arg(s->fn, in, k).id;
            below[i] |= s->in[x] || below[x];
        }
    }
    for (uint32_t i = n; i-- > 0;) {
        const Inst *in = &s->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            above[inst_arg(s->fn, in, k).id] |= s->in[i] || above[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        if (s->in[i] || !below[i] || !above[i]) continue;
        if (!may_join(s, (Value){i}))
            return refuse(s, "cannot be made in tiles", (Value){i});
        s->in[i] = *more = true;
    }
    return true;
}

static bool grow(Search *s)
{
    for (bool more = true; more;) {
        more = false;
        if (!add_users(s, &more) || !add_between(s, &more)) return false;
    }
    return true;
}

/* --------------------------------------------------------------- border -- */

static bool used_outside(const Search *s, Value v)
{
    if (s->uses.nresult[v.id]) return true;
    for (uint32_t k = s->uses.first[v.id]; k < s->uses.first[v.id + 1]; k++)
        if (!s->in[s->uses.at[k].id]) return true;
    return false;
}

/* Something leaves, but no value with the axes; notes how they end. */
static bool is_closed(Search *s)
{
    bool used = false;
    for (uint32_t i = 0; i < s->fn->ninsts; i++) {
        const Inst *in = &s->fn->insts[i];
        if (!s->in[i]) continue;
        bool large = has_axes(s, (Value){i});
        bool leaves = used_outside(s, (Value){i});
        if (large && leaves) return refuse(s, "is needed whole", (Value){i});
        if (in->op == OP_einsum && !large) s->contracted = true;
        used |= leaves;
    }
    return used;
}

/* Whether anything that V reads is computed from the region. */
static bool depends(const Search *s, Value v, const bool *below)
{
    const Inst *in = inst_of(s->fn, v);
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t x = inst_arg(s->fn, in, i).id;
        if (!s->in[x] && below[x]) return true;
    }
    return false;
}

/* How many results of the region nobody but V reads. */
static uint32_t results_ended(const Search *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    uint32_t n = 0;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(s->fn, in, i);
        if (!s->in[x.id] || s->uses.nresult[x.id]) continue;
        bool alone = true;
        for (uint32_t k = s->uses.first[x.id]; k < s->uses.first[x.id + 1]; k++)
            alone &= s->in[s->uses.at[k].id] || value_eq(s->uses.at[k], v);
        n += alone;
    }
    return n;
}

/* Takes in the maps that make one result of several: log(sum) + maximum -
 * label's logit, or a sum of weights by which an output is divided. */
static void add_endings(Search *s)
{
    bool *below = NEW_ARRAY(s->arena, bool, s->fn->ninsts + 1);
    for (uint32_t i = 0; i < s->fn->ninsts; i++) {
        const Inst *in = &s->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t x = inst_arg(s->fn, in, k).id;
            below[i] |= s->in[x] || below[x];
        }
        if (s->in[i] || in->op != OP_map || !below[i]) continue;
        if (results_ended(s, (Value){i}) < 2) continue;
        if (!depends(s, (Value){i}, below)) s->in[i] = true;
    }
}

/* A map, or a table read by position, that is larger than what it is made
 * from. */
static bool is_expansion(const Search *s, const Inst *in)
{
    if (in->op != OP_map && in->op != OP_gather) return false;
    int64_t read = 0;
    for (uint32_t i = 0; i < in->nargs; i++)
        read += type_elements(s->m, value_type(s->fn, inst_arg(s->fn, in, i)));
    return read < type_elements(s->m, in->type);
}

/* Large masks and biases are made inside. */
static void copy_masks(Search *s)
{
    for (uint32_t i = s->fn->ninsts; i-- > s->fn->nparams;) {
        if (!s->in[i] && !s->copied[i]) continue;
        const Inst *in = &s->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            Value x = inst_arg(s->fn, in, k);
            if (!s->in[x.id] && has_axes(s, x))
                s->copied[x.id] = is_expansion(s, inst_of(s->fn, x));
        }
    }
}

/* ----------------------------------------------------------------- pass -- */

/* A loss has no product that a plan quantises by name: scales of the logits'
 * cotangents are of more than a tile. */
static bool is_free(Search *s)
{
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts && !s->contracted; i++)
        if (s->in[i] && s->fn->insts[i].op == OP_einsum) {
            const char *path = linear_path(s->m, s->fn, (Value){i});
            bool named = false;
            if (path && recipe_of(s->m, s->cx, path, &named) && named)
                return refuse(s, "is quantised", (Value){i});
        }
    return true;
}

static bool find_region(Search *s, Value mark)
{
    uint32_t n = s->fn->ninsts;
    s->in = NEW_ARRAY(s->arena, bool, n + 1);
    s->copied = NEW_ARRAY(s->arena, bool, n + 1);
    s->contracted = false;
    bool *seen = NEW_ARRAY(s->arena, bool, n + 1);
    Value of = inst_arg(s->fn, inst_of(s->fn, mark), 0);
    if (!find_heads(s, of, seen))
        return refuse(s, "is not made from a contraction", of);
    if (!grow(s)) return false;
    s->why = NULL;
    if (!is_closed(s)) return s->why ? false : refuse(s, "is not used", mark);
    if (!is_free(s)) return false;
    add_endings(s);
    copy_masks(s);
    return true;
}

static void say_refused(const Search *s)
{
    Module *m = s->m;
    const Inst *in = inst_of(s->fn, s->culprit);
    Str name = s->fn->names[s->culprit.id];
    if (!pass_remarks(m, s->cx, true)) return;
    pass_missed(m, s->cx, in->loc,
                "the exponentials over %s are summed in no region: %s%s%s %s",
                axes_str(m, s->axes, s->naxes), op_info((Op)in->op)->name,
                name.id ? " " : "", name.id ? str_of(m, name) : "", s->why);
}

static Fn *next_region(Module *m, PassCtx *cx, const Fn *fn)
{
    Search s = {.m = m, .cx = cx, .arena = m->scratch, .fn = fn};
    s.uses = fn_uses(fn, m->scratch);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (!is_mark(&s, (Value){i})) continue;
        if (!find_region(&s, (Value){i})) {
            say_refused(&s);
            continue;
        }
        const char *kind = fn_kind_word(s.contracted ? FK_attention : FK_loss);
        Str stem = str_printf(&m->strs, "%s.%s", str_of(m, fn->name), kind);
        Outline o = {.in = s.in,
                     .copied = s.copied,
                     .name = fn_fresh_name(m, str_of(m, stem)),
                     .kind = module_str(m, kind),
                     .finish = late_scales};
        pass_remark(m, cx, fn->insts[i].loc, "%s over %s in @%s", kind,
                    axes_str(m, s.axes, s.naxes), str_of(m, fn->name));
        return outline(m, fn, &o);
    }
    return NULL;
}

bool pass_recognise(Module *m, PassCtx *cx)
{
    uint32_t n = m->fns.n;
    for (uint32_t i = 0; i < n; i++) {
        if (m->fns.at[i]->kind.id || m->fns.at[i]->view != VIEW_global)
            continue;
        Fn *made;
        while ((made = next_region(m, cx, m->fns.at[i])))
            m->fns.at[i] = made;
    }
    return true;
}
