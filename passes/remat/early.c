/*
 * early.c: what the backward multiplies in few bits is kept by the forward.
 *
 * The gradient of a weight sums over rows, so its product reads what the
 * forward's product reads in another order, quantised once more.  The backward
 * would make that of a value of two bytes, which it has or makes again; the
 * forward has it at hand and writes one byte for it, in the sweep that
 * quantises it for its own product.
 *
 *     forward    h   amax   q = cast(h * scale)
 *     backward   h   amax   q' = cast(turned(h) * scale)     again, for q'
 *     early      q' is a value of the forward, and in its record
 *
 * So it is of what is made of many largest elements, as what the product's rows
 * are divided by: a kernel of its own in the backward, and for nothing.
 *
 * Such values are copied behind the forward's own, so that they can be in a
 * record like any other (record.c).  On one device that is done with what is
 * made of parameters alone too, the weights themselves in their other order,
 * which one sweep then reads once for both.  Where there are several it stays
 * in the backward: a turn may have gathered them, and what would be kept for
 * all turns is whole.  The other order may have scales of its own, which only
 * the backward is handed; the forward is handed these too (give.c).
 */
#include "remat.h"

enum { LITTLE = 16 };

typedef struct Early {
    Module *m;
    const Pair *p;
    const bool *given; /* by parameter of the backward: the forward might be
                          handed it; NULL: none */
    bool *can;  /* by value of the backward: made of values of the forward */
    bool *turn; /* and worth to be kept for all turns */
} Early;

/* What chooses among such numbers makes none: it may be a matrix for each block
 * of rows, of which the product reads those that there are. */
static bool is_narrow(const Module *m, const Inst *in)
{
    return in->op != OP_gather && !type_info(m, in->type)->is_tuple &&
           dtype_class(type_dtype(m, in->type)) == DC_float &&
           dtype_bytes(type_dtype(m, in->type)) == 1;
}

bool is_light(const Inst *in)
{
    return remade_cheaply((Op)in->op) || in->op == OP_reduce ||
           (op_info((Op)in->op)->flags & OPF_COMM);
}

/* Value V of the backward is one of the forward, or might be. */
static bool has_value(const Early *e, uint32_t v)
{
    bool given = e->given && v < e->p->back->nparams && e->given[v];
    return given || !value_eq(e->p->same[v], NO_VALUE);
}

/* What of the backward is made of values of the forward: narrow numbers, and
 * what leads there. */
static bool find_narrow(Early *e)
{
    const Fn *back = e->p->back;
    bool any = false, alone = e->m->mesh.n == 0;
    for (uint32_t i = 0; i < back->ninsts; i++) {
        const Inst *in = &back->insts[i];
        bool has = has_value(e, i);
        e->turn[i] = has && (alone || !is_at_hand(e->p, e->p->same[i].id));
        e->can[i] = !has && in->nargs > 0 && is_light(in) &&
                    (op_info((Op)in->op)->flags & OPF_PURE);
        for (uint32_t k = 0; !has && k < in->nargs; k++) {
            uint32_t a = inst_arg(back, in, k).id;
            e->can[i] &= e->can[a] || has_value(e, a);
            e->turn[i] |= e->turn[a];
        }
        any |= e->can[i] && e->turn[i] && is_narrow(e->m, in);
    }
    return any;
}

/* By value of the backward: a narrow number that the forward is to make, or on
 * the way to one. */
static bool *find_wanted(const Early *e)
{
    const Fn *back = e->p->back;
    bool *wanted = NEW_ARRAY(e->m->scratch, bool, back->ninsts + 1);
    for (uint32_t i = back->ninsts; i-- > 0;) {
        const Inst *in = &back->insts[i];
        wanted[i] |= e->turn[i] && is_narrow(e->m, in);
        wanted[i] &= e->can[i];
        for (uint32_t k = 0; wanted[i] && k < in->nargs; k++)
            wanted[inst_arg(back, in, k).id] = true;
    }
    return wanted;
}

/* Much less than what is summed up. */
static bool is_summary(const Module *m, const Fn *of, const Inst *in)
{
    return in->op == OP_reduce &&
           type_elements(m, in->type) * LITTLE <=
               type_elements(m, value_type(of, inst_arg(of, in, 0)));
}

/* By value: a summary for which KNOWN holds, or several numbers made of such
 * alone, or what devices make of theirs; else single ones are made together in
 * a kernel that there is anyway. */
static bool *find_little(const Module *m, const Fn *fn, const bool *known)
{
    bool *little = NEW_ARRAY(m->scratch, bool, fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        bool meets = (op_info((Op)in->op)->flags & OPF_COMM) != 0;
        little[i] =
            in->nargs > 0 &&
            (meets || (in->op == OP_map && type_elements(m, in->type) > 1));
        for (uint32_t k = 0; k < in->nargs; k++)
            little[i] &= little[inst_arg(fn, in, k).id];
        little[i] |= known[i] && is_summary(m, fn, in);
    }
    return little;
}

/* What else is made of the scales' largest elements alone, as what a product
 * is divided by: a kernel of its own for a few numbers. */
static void add_little(const Early *e, bool *wanted)
{
    const bool *little = find_little(e->m, e->p->back, wanted);
    for (uint32_t i = 0; i < e->p->back->ninsts; i++)
        wanted[i] |= e->can[i] && little[i];
}

static Early early_of(Module *m, const Pair *p, const bool *given)
{
    size_t n = (size_t)p->back->ninsts + 1;
    return (Early){.m = m,
                   .p = p,
                   .given = given,
                   .can = NEW_ARRAY(m->scratch, bool, n),
                   .turn = NEW_ARRAY(m->scratch, bool, n)};
}

void pair_keep_asked(Module *m, const Pair *p, bool *given)
{
    Early e = early_of(m, p, given);
    bool *none = NEW_ARRAY(m->scratch, bool, p->back->ninsts + 1);
    pair_keep_read(m, p, find_narrow(&e) ? find_wanted(&e) : none, given);
}

void pair_add_early(Module *m, Pair *p)
{
    Early e = early_of(m, p, NULL);
    p->early = p->of->ninsts;
    if (!find_narrow(&e)) return;
    bool *wanted = find_wanted(&e);
    add_little(&e, wanted);
    pair_copy(m, p, wanted);
}

bool pair_is_early(const Pair *p)
{
    return p->early < p->late;
}

/* What nobody reads is not in it. */
static void drop_unread(Module *m, const Pair *p, Record *r)
{
    const Fn *of = p->of;
    const bool *remade = record_remade(m, p, r);
    bool *read = record_needed(m, p);
    for (uint32_t i = 0; i < of->ninsts; i++) {
        const Inst *in = &of->insts[i];
        for (uint32_t k = 0; remade[i] && k < in->nargs; k++)
            read[inst_arg(of, in, k).id] = true;
    }
    for (uint32_t i = 0; i < of->ninsts; i++)
        r->saved[i] &= read[i] || is_at_hand(p, i);
}

Record *record_early(Module *m, const Pair *p)
{
    const Fn *of = p->of;
    Record *r = record_present(m, p);
    for (uint32_t i = p->early; i < p->late; i++)
        r->saved[i] = is_narrow(m, &of->insts[i]);
    const bool *remade = record_remade(m, p, r);
    const bool *little = find_little(m, of, remade);
    for (uint32_t i = of->nparams; i < p->late; i++)
        r->saved[i] |= remade[i] && little[i];
    drop_unread(m, p, r);
    record_count(m, p, r);
    return r;
}
