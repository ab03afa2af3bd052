/*
 * identity.c: what a value is, whatever its axes are called and in which order.
 *
 *     a = rename w from (f) to (f_1)       [e/dp, f_1]
 *     b = map a { e4m3(_0) }
 *     v = all_gather b axis e              [e, f_1]
 *
 *     c = rename w from (e) to (e_1)       [f, e_1/dp]
 *     d = map c { e4m3(_0) }
 *     u = all_gather d axis e_1            [f, e_1]
 *
 * An *identity* is a number for what is done to which values, the same for u
 * and v, and a number for each axis that says of which axis of these values it
 * is, or of which part of one: e, f of v, and f, e of u.  So u is v with axes
 * e, f_1 renamed to e_1, f.
 *
 * Names and splits leave no trace in what is done, but in the axes.  What a map
 * or a reduction does has the axes in which its operands meet.  Anything else
 * is a value that is what it is, and so is what has one axis of these values
 * twice, as the outer product of a weight with itself: an element is known by
 * its index along each axis of these values, and that must be one.
 */
#include "remat.h"

typedef enum Tag {
    TAG_value, /* that is what it is */
    TAG_axis,
    TAG_part,  /* of a place, by its split */
    TAG_whole, /* places that were merged */
    TAG_inst   /* op, dtype, attributes, operands */
} Tag;

typedef struct Term {
    const uint32_t *words;
    uint32_t n;
} Term;

typedef VEC(uint32_t) Words32;

typedef struct Terms {
    Module *m;
    VEC(Term) terms; /* number i + 1 stands for terms i */
} Terms;

static void put(const Terms *x, Words32 *w, uint32_t word)
{
    vec_push(x->m->scratch, w, word);
}

static uint32_t term_of(Terms *x, const Words32 *w)
{
    for (uint32_t i = 0; i < x->terms.n; i++) {
        const Term *t = &x->terms.at[i];
        if (t->n == w->n && memcmp(t->words, w->at, w->n * sizeof *w->at) == 0)
            return i + 1;
    }
    vec_push(x->m->scratch, &x->terms, ((Term){w->at, w->n}));
    return x->terms.n;
}

static uint32_t term2(Terms *x, Tag tag, uint32_t word)
{
    Words32 w = {0};
    put(x, &w, tag);
    put(x, &w, word);
    return term_of(x, &w);
}

static Identity identity_new(Terms *x, Type t, uint32_t is)
{
    uint32_t n = type_info(x->m, t)->naxes;
    return (Identity){is, t, NEW_ARRAY(x->m->scratch, uint32_t, n + 1)};
}

static uint32_t place_of(const Module *m, const Identity *id, Axis axis)
{
    const TypeInfo *t = type_info(m, id->type);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (t->axes[i].axis.id == axis.id) return id->places[i];
    return 0;
}

static void sort_words(uint32_t *at, uint32_t n, uint32_t width)
{
    for (uint32_t i = width; i < n; i += width)
        for (uint32_t k = i; k > 0 && at[k - width] > at[k]; k -= width)
            for (uint32_t j = 0; j < width; j++) {
                uint32_t swap = at[k + j];
                at[k + j] = at[k + j - width];
                at[k + j - width] = swap;
            }
}

/* ---------------------------------------------------------- arrangements -- */

static uint32_t listed(const AttrItem *list, Axis axis)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (list->axes[i].id == axis.id) return i;
    return UINT32_MAX;
}

/* Part K of the axis with this place, which is split so. */
static uint32_t part_of(Terms *x, uint32_t place, Type t, const AttrItem *to,
                        uint32_t k)
{
    Words32 w = {0};
    put(x, &w, TAG_part);
    put(x, &w, place);
    put(x, &w, k);
    for (uint32_t i = 0; i < to->n; i++)
        put(x, &w, (uint32_t)type_axis(x->m, t, to->axes[i])->size);
    return term_of(x, &w);
}

/* The axis that these were, if they are all of one. */
static uint32_t whole_of(Terms *x, const Identity *of, const AttrItem *from)
{
    Words32 w = {0};
    put(x, &w, TAG_whole);
    for (uint32_t i = 0; i < from->n; i++)
        put(x, &w, place_of(x->m, of, from->axes[i]));
    Term first = x->terms.at[w.at[1] - 1];
    if (first.words[0] != TAG_part) return term_of(x, &w);
    for (uint32_t i = 0; i < from->n; i++)
        if (w.at[1 + i] != part_of(x, first.words[1], of->type, from, i))
            return term_of(x, &w);
    return first.words[1];
}

static uint32_t moved_place(Terms *x, const Inst *in, const Identity *of,
                            Axis axis)
{
    const AttrItem *from = attr_get(x->m, in->attr, AT_from);
    const AttrItem *to = attr_get(x->m, in->attr, AT_to);
    const AttrItem *one = attr_get(x->m, in->attr, AT_axis);
    uint32_t at = to ? listed(to, axis) : UINT32_MAX;
    if (in->op == OP_merge && axis.id == one->id) return whole_of(x, of, from);
    if (at == UINT32_MAX) return place_of(x->m, of, axis);
    if (in->op == OP_rename) return place_of(x->m, of, from->axes[at]);
    Axis whole = {one->id};
    return part_of(x, place_of(x->m, of, whole), in->type, to, at);
}

static Identity identity_moved(Terms *x, const Inst *in, const Identity *of)
{
    Identity id = identity_new(x, in->type, of->is);
    const TypeInfo *t = type_info(x->m, in->type);
    for (uint32_t i = 0; i < t->naxes; i++)
        id.places[i] = moved_place(x, in, of, t->axes[i].axis);
    return id;
}

/* -------------------------------------------------------------- the rest -- */

static void put_inst(Terms *x, Words32 *w, const Inst *in, AttrKey without)
{
    AttrList l = attr_list(x->m, in->attr);
    attr_drop(&l, without);
    put(x, w, TAG_inst);
    put(x, w, in->op);
    put(x, w, type_dtype(x->m, in->type));
    put(x, w, attr_intern(x->m, &l).id);
}

/* Of what is reduced or gathered along AXES. */
static Identity identity_along(Terms *x, const Inst *in, const Identity *of,
                               AttrKey key, const Axis *axes, uint32_t n)
{
    Words32 w = {0};
    put_inst(x, &w, in, key);
    put(x, &w, of->is);
    for (uint32_t i = 0; i < n; i++)
        put(x, &w, place_of(x->m, of, axes[i]));
    sort_words(w.at + w.n - n, n, 1);
    Identity id = identity_new(x, in->type, term_of(x, &w));
    const TypeInfo *t = type_info(x->m, in->type);
    for (uint32_t i = 0; i < t->naxes; i++)
        id.places[i] = place_of(x->m, of, t->axes[i].axis);
    return id;
}

/* Of a map: what each operand is, and which of its axes are which of the
 * first's that has them. */
static Identity identity_map(Terms *x, const Inst *in,
                             const Identity *const *args)
{
    Words32 w = {0};
    Identity id = identity_new(x, in->type, 0);
    const TypeInfo *t = type_info(x->m, in->type);
    if (map_asks_index(x->m, in, in->type)) return id;
    for (uint32_t i = 0; i < t->naxes; i++) {
        for (uint32_t k = 0; !id.places[i] && k < in->nargs; k++)
            id.places[i] = place_of(x->m, args[k], t->axes[i].axis);
        if (!id.places[i]) return id;
    }
    put_inst(x, &w, in, AT_axis);
    for (uint32_t k = 0; k < in->nargs; k++) {
        const TypeInfo *a = type_info(x->m, args[k]->type);
        put(x, &w, args[k]->is);
        put(x, &w, a->naxes);
        for (uint32_t i = 0; i < a->naxes; i++) {
            put(x, &w, place_of(x->m, &id, a->axes[i].axis));
            put(x, &w, args[k]->places[i]);
        }
        sort_words(w.at + w.n - 2 * a->naxes, 2 * a->naxes, 2);
    }
    id.is = term_of(x, &w);
    return id;
}

static Identity identity_inst(Terms *x, const Inst *in,
                              const Identity *const *args)
{
    const AttrItem *l;
    Axis axis;
    switch ((Op)in->op) {
    case OP_rename:
    case OP_split:
    case OP_merge:
        return identity_moved(x, in, args[0]);
    case OP_map:
        return identity_map(x, in, args);
    case OP_reduce:
        l = attr_get(x->m, in->attr, AT_axes);
        return identity_along(x, in, args[0], AT_axes, l->axes, l->n);
    case OP_all_gather:
        axis = attr_axis(x->m, in->attr, AT_axis);
        return identity_along(x, in, args[0], AT_axis, &axis, 1);
    default:
        return identity_new(x, in->type, 0);
    }
}

static Identity identity_value(Terms *x, const Fn *fn, uint32_t v)
{
    const TypeInfo *t = type_info(x->m, fn->insts[v].type);
    Identity id = identity_new(x, fn->insts[v].type, term2(x, TAG_value, v));
    for (uint32_t i = 0; i < t->naxes && !t->is_tuple; i++)
        id.places[i] = term2(x, TAG_axis, t->axes[i].axis.id);
    return id;
}

static Identity identity_of(Terms *x, const Fn *fn, uint32_t v,
                            const Identity *ids)
{
    const Inst *in = &fn->insts[v];
    const Identity **args =
        NEW_ARRAY(x->m->scratch, const Identity *, in->nargs + 1u);
    if (type_info(x->m, in->type)->is_tuple)
        return (Identity){.type = in->type};
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = &ids[inst_arg(fn, in, k).id];
    return identity_inst(x, in, args);
}

/* No two axes are one of these values', which would not say which is which. */
static bool are_distinct(const Module *m, const Identity *id)
{
    uint32_t n = type_info(m, id->type)->naxes;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (id->places[i] == id->places[k]) return false;
    return true;
}

Identity *identities_find(Module *m, const Fn *fn)
{
    Terms x = {.m = m};
    Identity *ids = NEW_ARRAY(m->scratch, Identity, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        ids[i] = identity_of(&x, fn, i, ids);
        if (!ids[i].is || !are_distinct(m, &ids[i]))
            ids[i] = identity_value(&x, fn, i);
    }
    return ids;
}

bool identity_rename(Module *m, const Identity *from, const Identity *to,
                     Attr *out)
{
    const TypeInfo *f = type_info(m, from->type), *t = type_info(m, to->type);
    Axis *axes = NEW_ARRAY(m->scratch, Axis, 2 * (size_t)f->naxes + 2);
    uint32_t n = 0;
    if (!from->is || from->is != to->is || f->naxes != t->naxes) return false;
    for (uint32_t i = 0; i < f->naxes; i++) {
        uint32_t k = 0;
        while (k < t->naxes && to->places[k] != from->places[i])
            k++;
        if (k == t->naxes) return false;
        if (f->axes[i].axis.id == t->axes[k].axis.id) continue;
        axes[n] = f->axes[i].axis;
        axes[f->naxes + n++] = t->axes[k].axis;
    }
    if (n == 0 ||
        !type_eq(type_renamed(m, from->type, axes, axes + f->naxes, n),
                 to->type))
        return false;
    AttrList l = {.n = 0};
    attr_put_axes(&l, AT_from, axes, n);
    attr_put_axes(&l, AT_to, axes + f->naxes, n);
    *out = attr_intern(m, &l);
    return true;
}
