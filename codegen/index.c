/*
 * index.c: index expressions of the kernel IR.
 *
 * A sum of atoms with constant factors, interned with the terms sorted by
 * atom.  What makes the algebra worth its lines: a flat index that was cut
 * into coordinates (quotients and remainders) and is put together again by
 * strides becomes the flat index again,
 *
 *     d * (x / d) + x % d  =  x
 *
 * so dense operands are found without looking at layouts, and a bound that
 * always holds is seen from the ranges.
 */
#include "kir.h"

/* Ranges saturate here: far from overflow, and far from any real index. */
#define FAR (INT64_MAX / 8)

static int64_t clamp(int64_t x)
{
    return x > FAR ? FAR : x < -FAR ? -FAR : x;
}

static int64_t times(int64_t a, int64_t b)
{
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return (a < 0) == (b < 0) ? FAR : -FAR;
    return clamp(r);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static bool atom_eq(const Atom *a, const Atom *b)
{
    return a->kind == b->kind && a->loop == b->loop && a->of.id == b->of.id &&
           a->by == b->by && a->node.id == b->node.id;
}

static uint32_t atom_intern(Kir *k, const Atom *a)
{
    uint64_t words[] = {a->kind, a->loop, a->of.id, (uint64_t)a->by,
                        a->node.id};
    uint64_t key = hash_bytes(words, sizeof words, 1);
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&k->atom_map, key, &it, &id); ok;
         ok = map_next(&k->atom_map, &it, &id))
        if (atom_eq(&k->atoms.at[id], a)) return id;
    vec_push(k->arena, &k->atoms, *a);
    map_add(&k->atom_map, key, k->atoms.n - 1);
    return k->atoms.n - 1;
}

static void find_range(const Kir *k, IxInfo *x)
{
    x->lo = x->hi = clamp(x->base);
    x->loop = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &k->atoms.at[x->terms[i].atom];
        int64_t c = x->terms[i].coef;
        int64_t lo = times(c, a->lo), hi = times(c, a->hi);
        x->lo = clamp(x->lo + (c < 0 ? hi : lo));
        x->hi = clamp(x->hi + (c < 0 ? lo : hi));
        x->loop = loop_deeper(k, x->loop, a->loop);
    }
}

static Ix ix_intern(Kir *k, int64_t base, const IxTerm *terms, uint32_t n)
{
    uint64_t key = hash_bytes(&base, sizeof base, n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t words[] = {terms[i].atom, (uint64_t)terms[i].coef};
        key = hash_bytes(words, sizeof words, key);
    }
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&k->ix_map, key, &it, &id); ok;
         ok = map_next(&k->ix_map, &it, &id)) {
        const IxInfo *x = &k->ixs.at[id];
        bool same = x->base == base && x->n == n;
        for (uint32_t i = 0; same && i < n; i++)
            same = x->terms[i].atom == terms[i].atom &&
                   x->terms[i].coef == terms[i].coef;
        if (same) return (Ix){id};
    }
    IxTerm *copy = NEW_ARRAY(k->arena, IxTerm, n);
    for (uint32_t i = 0; i < n; i++)
        copy[i] = terms[i];
    IxInfo x = {.base = base, .n = n, .terms = copy};
    find_range(k, &x);
    vec_push(k->arena, &k->ixs, x);
    map_add(&k->ix_map, key, k->ixs.n - 1);
    return (Ix){k->ixs.n - 1};
}

Ix ix_const(Kir *k, int64_t c)
{
    return ix_intern(k, c, NULL, 0);
}

static Ix ix_atom(Kir *k, const Atom *a)
{
    if (a->lo == a->hi) return ix_const(k, a->lo);
    IxTerm t = {atom_intern(k, a), 1};
    return ix_intern(k, 0, &t, 1);
}

Ix ix_var(Kir *k, LoopId loop)
{
    const Loop *l = &k->loops.at[loop];
    return ix_atom(
        k,
        &(Atom){.kind = ATOM_var, .loop = loop, .lo = l->lo, .hi = l->hi - 1});
}

Ix ix_node(Kir *k, Node n)
{
    const NodeInfo *in = node_info(k, n);
    if (in->op == KN_const) return ix_const(k, in->i);
    if (in->op == KN_index) return in->ix;
    return ix_atom(k, &(Atom){.kind = ATOM_node,
                              .loop = in->loop,
                              .node = n,
                              .lo = -FAR,
                              .hi = FAR});
}

Ix ix_scale(Kir *k, Ix a, int64_t c)
{
    return ix_add_scaled(k, ix_const(k, 0), a, c);
}

Ix ix_add(Kir *k, Ix a, Ix b)
{
    return ix_add_scaled(k, a, b, 1);
}

static uint32_t merge_terms(const IxInfo *a, const IxInfo *b, int64_t c,
                            IxTerm *out)
{
    uint32_t n = 0, i = 0, j = 0;
    while (i < a->n || j < b->n) {
        IxTerm t;
        if (j == b->n || (i < a->n && a->terms[i].atom < b->terms[j].atom)) {
            t = a->terms[i++];
        } else {
            t = b->terms[j++];
            t.coef *= c;
            if (i < a->n && a->terms[i].atom == t.atom)
                t.coef += a->terms[i++].coef;
        }
        if (t.coef) out[n++] = t;
    }
    return n;
}

/* Two terms that are quotient and remainder of one expression, with factors
 * that put it together again. */
static bool find_pair(const Kir *k, const IxTerm *t, uint32_t n, uint32_t *div,
                      uint32_t *mod)
{
    for (uint32_t i = 0; i < n; i++) {
        const Atom *q = &k->atoms.at[t[i].atom];
        if (q->kind != ATOM_div) continue;
        for (uint32_t j = 0; j < n; j++) {
            const Atom *r = &k->atoms.at[t[j].atom];
            if (r->kind != ATOM_mod || r->of.id != q->of.id || r->by != q->by ||
                t[i].coef != t[j].coef * q->by)
                continue;
            *div = i;
            *mod = j;
            return true;
        }
    }
    return false;
}

Ix ix_add_scaled(Kir *k, Ix a, Ix b, int64_t c)
{
    const IxInfo *x = ix_info(k, a), *y = ix_info(k, b);
    IxTerm *terms = NEW_ARRAY(k->arena, IxTerm, x->n + y->n);
    uint32_t n = merge_terms(x, y, c, terms);
    int64_t base = x->base + c * y->base;
    uint32_t div, mod;
    if (!find_pair(k, terms, n, &div, &mod))
        return ix_intern(k, base, terms, n);
    Ix whole = k->atoms.at[terms[div].atom].of;
    int64_t coef = terms[mod].coef;
    uint32_t rest = 0;
    for (uint32_t i = 0; i < n; i++)
        if (i != div && i != mod) terms[rest++] = terms[i];
    return ix_add_scaled(k, ix_intern(k, base, terms, rest), whole, coef);
}

/* a = by * *times + *rest, where *rest keeps what `by` does not divide. */
static void take_multiples(Kir *k, Ix a, int64_t by, Ix *multiple, Ix *rest)
{
    const IxInfo *x = ix_info(k, a);
    IxTerm *in = NEW_ARRAY(k->arena, IxTerm, x->n);
    IxTerm *out = NEW_ARRAY(k->arena, IxTerm, x->n);
    uint32_t nin = 0, nout = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        IxTerm t = x->terms[i];
        if (t.coef % by == 0)
            in[nin++] = (IxTerm){t.atom, t.coef / by};
        else
            out[nout++] = t;
    }
    int64_t base = x->base, q = floor_div(base, by);
    *multiple = ix_intern(k, q, in, nin);
    *rest = ix_intern(k, base - q * by, out, nout);
}

Ix ix_div(Kir *k, Ix a, int64_t by)
{
    if (by == 1) return a;
    Ix multiple, rest;
    take_multiples(k, a, by, &multiple, &rest);
    const IxInfo *r = ix_info(k, rest);
    if (r->lo >= 0 && r->hi < by) return multiple;
    Ix q = ix_atom(k, &(Atom){.kind = ATOM_div,
                              .loop = r->loop,
                              .of = rest,
                              .by = by,
                              .lo = floor_div(r->lo, by),
                              .hi = floor_div(r->hi, by)});
    return ix_add(k, multiple, q);
}

Ix ix_mod(Kir *k, Ix a, int64_t by)
{
    if (by == 1) return ix_const(k, 0);
    Ix multiple, rest;
    take_multiples(k, a, by, &multiple, &rest);
    const IxInfo *r = ix_info(k, rest);
    if (r->lo >= 0 && r->hi < by) return rest;
    return ix_atom(k, &(Atom){.kind = ATOM_mod,
                              .loop = r->loop,
                              .of = rest,
                              .by = by,
                              .lo = 0,
                              .hi = by - 1});
}

bool ix_within(const Kir *k, Ix x, int64_t n)
{
    return ix_info(k, x)->lo >= 0 && ix_info(k, x)->hi < n;
}

bool node_uses(const Kir *k, Node n, LoopId loop)
{
    const NodeInfo *in = node_info(k, n);
    if (!n.id || k->loops.at[in->loop].depth < k->loops.at[loop].depth)
        return false;
    switch ((NodeOp)in->op) {
    case KN_const:
    case KN_counter:
        return false;
    case KN_load:
    case KN_inside:
    case KN_divides:
    case KN_index:
    case KN_scalar:
    case KN_cast:
        return ix_uses(k, in->ix, loop) || node_uses(k, in->a, loop) ||
               node_uses(k, in->b, loop) || node_uses(k, in->c, loop);
    default:
        return true;
    }
}

bool ix_uses(const Kir *k, Ix x, LoopId loop)
{
    const IxInfo *e = ix_info(k, x);
    for (uint32_t i = 0; i < e->n; i++) {
        const Atom *a = &k->atoms.at[e->terms[i].atom];
        switch (a->kind) {
        case ATOM_var:
            if (a->loop == loop) return true;
            break;
        case ATOM_div:
        case ATOM_mod:
            if (ix_uses(k, a->of, loop)) return true;
            break;
        case ATOM_node:
            if (node_uses(k, a->node, loop)) return true;
            break;
        }
    }
    return false;
}

bool ix_chosen(const Kir *k, Ix x)
{
    const IxInfo *e = ix_info(k, x);
    for (uint32_t i = 0; i < e->n; i++) {
        const Atom *a = &k->atoms.at[e->terms[i].atom];
        if (a->kind == ATOM_node) return true;
        if (a->kind != ATOM_var && ix_chosen(k, a->of)) return true;
    }
    return false;
}

bool ix_linear(const Kir *k, Ix x, LoopId loop, int64_t *coef)
{
    const IxInfo *e = ix_info(k, x);
    *coef = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        const Atom *a = &k->atoms.at[e->terms[i].atom];
        if (a->kind == ATOM_var) {
            if (a->loop == loop) *coef = e->terms[i].coef;
        } else if (a->kind == ATOM_node) {
            if (node_uses(k, a->node, loop)) return false;
        } else if (ix_uses(k, a->of, loop)) {
            return false;
        }
    }
    return true;
}

bool node_alike(const Kir *k, Node x, LoopId from, Node y, LoopId to)
{
    const NodeInfo *a = node_info(k, x), *b = node_info(k, y);
    if (x.id == y.id) return true;
    bool loads = a->op == KN_load && b->op == KN_load && a->arg == b->arg;
    bool bounds = a->op == KN_inside && b->op == KN_inside && a->n == b->n;
    return x.id && y.id && (loads || bounds) &&
           node_alike(k, a->a, from, b->a, to) &&
           ix_alike(k, a->ix, from, b->ix, to);
}

static bool atom_alike(const Kir *k, uint32_t x, LoopId from, uint32_t y,
                       LoopId to)
{
    const Atom *a = &k->atoms.at[x], *b = &k->atoms.at[y];
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case ATOM_var:
        return a->loop == from ? b->loop == to : a->loop == b->loop;
    case ATOM_div:
    case ATOM_mod:
        return a->by == b->by && ix_alike(k, a->of, from, b->of, to);
    case ATOM_node:
        return node_alike(k, a->node, from, b->node, to);
    }
    return false;
}

bool ix_alike(const Kir *k, Ix x, LoopId from, Ix y, LoopId to)
{
    const IxInfo *a = ix_info(k, x), *b = ix_info(k, y);
    if (a->base != b->base || a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++) {
        uint32_t j = 0;
        while (j < b->n &&
               (a->terms[i].coef != b->terms[j].coef ||
                !atom_alike(k, a->terms[i].atom, from, b->terms[j].atom, to)))
            j++;
        if (j == b->n) return false;
    }
    return true;
}

/* An atom within a block of w: a remainder steps with its operand when the
 * block cannot straddle a multiple of the divisor, and a quotient stands; so
 * does what is made of something that stands. */
bool atom_steps(const Kir *k, const Atom *a, LoopId loop, int64_t w,
                int64_t *coef)
{
    int64_t c;
    if (!ix_uses(k, a->of, loop)) {
        *coef = 0;
        return true;
    }
    if (ix_steps(k, a->of, loop, w, &c) && c == 0) {
        *coef = 0;
        return true;
    }
    if (!ix_linear(k, a->of, loop, &c) || c != 1 || a->by % w) return false;
    const IxInfo *x = ix_info(k, a->of);
    if (x->base % w) return false;
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *t = &k->atoms.at[x->terms[i].atom];
        bool self = t->kind == ATOM_var && t->loop == loop;
        if (!self && x->terms[i].coef % w) return false;
    }
    *coef = a->kind == ATOM_mod;
    return true;
}

bool ix_steps(const Kir *k, Ix x, LoopId loop, int64_t w, int64_t *coef)
{
    const IxInfo *e = ix_info(k, x);
    *coef = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        const Atom *a = &k->atoms.at[e->terms[i].atom];
        int64_t c = 0;
        if (a->kind == ATOM_var)
            c = a->loop == loop;
        else if (a->kind == ATOM_node)
            c = node_uses(k, a->node, loop) ? 2 : 0;
        else if (!atom_steps(k, a, loop, w, &c))
            return false;
        if (a->kind == ATOM_node && c) return false;
        *coef += c * e->terms[i].coef;
    }
    return true;
}

bool ix_beside(const Kir *k, Ix x, LoopId lanes, LoopId items)
{
    enum { SOME_LANES = 2, SOME_ITEMS = 32 };
    int64_t coef;
    if (!ix_uses(k, x, lanes)) return false;
    if (ix_steps(k, x, lanes, SOME_LANES, &coef) && (coef == 0 || coef == 1))
        return false;
    return ix_steps(k, x, items, SOME_ITEMS, &coef) && coef == 1;
}
