/*
 * find.c: sums of products that can be one product.
 */
#include "lengthen.h"

/* A product that sums over fewer indices than this takes as long to add to
 * what is there, which is read and written once more, as to multiply; longer
 * ones hide it. */
enum { LONG_ENOUGH = 4096 };

typedef struct Finder {
    Lengthen *w;
    const Fn *fn;
    uint32_t id;
    Uses uses;
    Found *found;
} Finder;

/* -------------------------------------------------------------- products -- */

static bool push_axis(AxisList *l, TypeAxis a)
{
    if (l->n == MOST_TERM_AXES || a.nsplits) return false;
    l->at[l->n++] = a;
    return true;
}

static bool is_term(const Finder *f, Value v, Term *out)
{
    const Module *m = f->w->m;
    const Inst *in = inst_of(f->fn, v);
    if (in->op != OP_einsum || attr_get(m, in->attr, AT_recipe)) return false;
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    *out = (Term){.value = v};
    for (uint32_t k = 0; k < 2; k++) {
        out->operand[k] = inst_arg(f->fn, in, k);
        const TypeInfo *t = type_info(m, value_type(f->fn, out->operand[k]));
        Type other = value_type(f->fn, inst_arg(f->fn, in, 1 - k));
        for (uint32_t i = 0; i < t->naxes; i++) {
            bool summed = attr_item_has(sum, t->axes[i].axis);
            bool both = type_axis(m, other, t->axes[i].axis) != NULL;
            if (summed != both) return false;
            if (summed && k) continue;
            if (!push_axis(summed ? &out->sum : &out->own[k], t->axes[i]))
                return false;
        }
    }
    return out->sum.n && out->own[0].n && out->own[1].n;
}

static bool same_axes(const AxisList *x, const AxisList *y)
{
    if (x->n != y->n) return false;
    for (uint32_t i = 0; i < x->n; i++)
        if (x->at[i].axis.id != y->at[i].axis.id ||
            x->at[i].size != y->at[i].size)
            return false;
    return true;
}

/* One phase, one dtype of operands, sums and results, the same axes left. */
static bool same_kind(const Finder *f, const Term *x, const Term *y)
{
    const Module *m = f->w->m;
    const Inst *a = inst_of(f->fn, x->value), *b = inst_of(f->fn, y->value);
    bool same = a->phase == b->phase && type_eq(a->type, b->type) &&
                attr_dtype(m, a->attr, AT_acc, DT_f32) ==
                    attr_dtype(m, b->attr, AT_acc, DT_f32);
    for (uint32_t k = 0; k < 2; k++)
        same = same && same_axes(&x->own[k], &y->own[k]) &&
               type_dtype(m, value_type(f->fn, x->operand[k])) ==
                   type_dtype(m, value_type(f->fn, y->operand[k]));
    return same;
}

static int64_t shortest(const Sum *s)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < s->n; i++) {
        int64_t n = 1;
        for (uint32_t k = 0; k < s->term[i].sum.n; k++)
            n *= s->term[i].sum.at[k].size;
        if (n < least) least = n;
    }
    return least;
}

/* --------------------------------------------------------------- weights -- */

static Slot *weight_of(const Finder *f, Value v)
{
    if (v.id >= f->fn->nparams) return NULL;
    return weight_slot(f->w->m, &f->w->weights, f->id, v.id);
}

static Slot *term_slot(const Finder *f, const Sum *s, uint32_t i)
{
    return weight_of(f, s->term[i].operand[s->weights]);
}

static void sort_by_slot(const Finder *f, Sum *s)
{
    for (uint32_t i = 1; i < s->n; i++)
        for (uint32_t k = i; k > 0; k--) {
            Term t = s->term[k];
            if (term_slot(f, s, k - 1) <= term_slot(f, s, k)) break;
            s->term[k] = s->term[k - 1];
            s->term[k - 1] = t;
        }
}

/* The weights of S are joined already, or none of them is. */
static bool join_weights(const Finder *f, const Sum *s)
{
    Joined mine = {.n = s->n};
    for (uint32_t i = 0; i < s->n; i++)
        mine.slot[i] = term_slot(f, s, i);
    for (uint32_t k = 0; k < f->w->joined.n; k++) {
        const Joined *o = &f->w->joined.at[k];
        bool same = o->n == mine.n, meet = false;
        for (uint32_t i = 0; i < mine.n; i++) {
            same = same && o->slot[i] == mine.slot[i];
            for (uint32_t j = 0; j < o->n; j++)
                meet |= o->slot[j] == mine.slot[i];
        }
        if (same || meet) return same;
    }
    for (uint32_t i = 0; i < s->n; i++)
        if (mine.slot[i]->block.id) return false;
    vec_push(f->w->a, &f->w->joined, mine);
    return true;
}

static bool is_summed(const Term *t, Axis a)
{
    for (uint32_t i = 0; i < t->sum.n; i++)
        if (t->sum.at[i].axis.id == a.id) return true;
    return false;
}

/* The first summed axis of the first term.  Weights follow each other row by
 * row, so it has to be outermost in each. */
static bool choose_axis(const Finder *f, Sum *s)
{
    const Module *m = f->w->m;
    s->axis = s->term[0].sum.at[0].axis;
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = 0; k < 2; k++) {
            Type t = value_type(f->fn, s->term[i].operand[k]);
            const TypeInfo *ti = type_info(m, t);
            for (uint32_t j = 0; j < ti->naxes; j++) {
                Axis a = ti->axes[j].axis;
                if (is_summed(&s->term[i], a)) continue;
                if (a.id == s->axis.id) return false;
                if (k == s->weights && a.id < s->axis.id) return false;
            }
        }
    return true;
}

/* ------------------------------------------------------------------ sums -- */

/* A value that can be made where a concatenation wants it: it is made here,
 * and nobody else says where. */
static bool is_placeable(const Finder *f, Value v)
{
    for (;;) {
        const Inst *in = inst_of(f->fn, v);
        if (f->uses.nresult[v.id] || in->op == OP_arg) return false;
        if (in->op != OP_rename && in->op != OP_merge) return true;
        v = inst_arg(f->fn, in, 0);
    }
}

/* The terms of a sum, as far as it is nothing but a sum. */
typedef struct Terms {
    uint32_t n, ninner;
    Value at[MOST_TERMS];
    Value inner[MOST_TERMS]; /* partial sums */
} Terms;

static bool read_once(const Finder *f, Value v)
{
    return !f->uses.nresult[v.id] &&
           f->uses.first[v.id + 1] - f->uses.first[v.id] == 1;
}

static bool add_terms(const Finder *f, Value sum, Terms *out);

static bool add_operand(const Finder *f, Value x, Type t, Terms *out)
{
    const Inst *in = inst_of(f->fn, x);
    if (!type_eq(in->type, t)) return false;
    Terms more = *out;
    if (read_once(f, x) && more.ninner < MOST_TERMS && add_terms(f, x, &more)) {
        more.inner[more.ninner++] = x;
        *out = more;
        return true;
    }
    if (out->n == MOST_TERMS) return false;
    out->at[out->n++] = x;
    return true;
}

static bool add_expr(const Finder *f, const Inst *map, Expr e, Terms *out)
{
    const ExprInfo *x = expr_info(f->w->m, e);
    if (x->op == SC_arg)
        return add_operand(f, inst_arg(f->fn, map, x->operand), map->type, out);
    return x->op == SC_add && add_expr(f, map, x->args[0], out) &&
           add_expr(f, map, x->args[1], out);
}

static bool add_terms(const Finder *f, Value sum, Terms *out)
{
    const Inst *in = inst_of(f->fn, sum);
    return in->op == OP_map && in->nargs > 1 &&
           dtype_class(type_dtype(f->w->m, in->type)) == DC_float &&
           !attr_flag(f->w->m, in->attr, AT_pinned) &&
           add_expr(f, in, attr_expr(f->w->m, in->attr), out);
}

/* A product of a weight that fits those before it; FROZEN: of frozen ones,
 * where these have another dtype. */
static bool joins(const Finder *f, const Sum *s, const Term *t, bool frozen,
                  uint32_t *weights)
{
    *weights = weight_of(f, t->operand[1]) != NULL;
    const Slot *slot = weight_of(f, t->operand[*weights]);
    if (!slot || !read_once(f, t->value) ||
        !is_placeable(f, t->operand[1 - *weights]))
        return false;
    if (f->w->apart && slot->frozen != frozen) return false;
    for (uint32_t i = 0; i < s->n; i++)
        if (*weights != s->weights || !same_kind(f, t, &s->term[0]) ||
            value_eq(t->operand[0], s->term[i].operand[0]) ||
            value_eq(t->operand[1], s->term[i].operand[1]))
            return false;
    return true;
}

static void keep(Finder *f, const Sum *s, const Terms *terms)
{
    Sum *at = &f->found->at[f->found->n++];
    *at = *s;
    f->found->of[s->root.id] = at;
    for (uint32_t i = 0; i < s->n; i++)
        f->found->absorbed[s->term[i].value.id] = true;
    for (uint32_t i = 0; i < terms->ninner; i++)
        f->found->absorbed[terms->inner[i].id] = true;
}

static Sum sum_of(const Finder *f, Value root, const Terms *terms, bool frozen)
{
    Sum s = {.root = root};
    for (uint32_t i = 0; i < terms->n; i++) {
        Term t;
        uint32_t weights;
        if (is_term(f, terms->at[i], &t) &&
            joins(f, &s, &t, frozen, &weights)) {
            s.weights = weights;
            s.term[s.n++] = t;
        } else {
            s.rest[s.nrest++] = terms->at[i];
        }
    }
    return s;
}

static void find_sum(Finder *f, Value root)
{
    Terms terms = {.n = 0};
    if (f->found->absorbed[root.id] || !add_terms(f, root, &terms)) return;
    Sum s = sum_of(f, root, &terms, false);
    if (f->w->apart) {
        Sum frozen = sum_of(f, root, &terms, true);
        if (frozen.n > s.n) s = frozen;
    }
    if (s.n < 2 || shortest(&s) >= LONG_ENOUGH) return;
    sort_by_slot(f, &s);
    if (choose_axis(f, &s) && join_weights(f, &s)) keep(f, &s, &terms);
}

Found lengthen_find(Lengthen *w, uint32_t at)
{
    const Fn *fn = w->m->fns.at[at];
    Found found = {.at = NEW_ARRAY(w->a, Sum, (size_t)fn->ninsts + 1),
                   .of = NEW_ARRAY(w->a, Sum *, (size_t)fn->ninsts + 1),
                   .absorbed = NEW_ARRAY(w->a, bool, (size_t)fn->ninsts + 1)};
    Finder f = {
        .w = w, .fn = fn, .id = at, .uses = fn_uses(fn, w->a), .found = &found};
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;)
        find_sum(&f, (Value){i});
    return found;
}
