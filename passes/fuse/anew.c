/*
 * anew.c: what is made again behind a number that is made of it.
 *
 * The scale of a tensor follows from its largest element, so nothing is scaled
 * before all of it has been made once:
 *
 *     %y = map %a, %b ...             one kernel: writes %y
 *     %n = reduce (map %y) kind max
 *     %s = map %n ...
 *     %q = map %y, %s ...             another one: reads %y
 *
 * Where %a and %b lie in memory anyway, and are fewer bytes than %y written and
 * read, the first kernel gives the number alone, and whoever scales makes %y
 * once more.  Maps that read the same operands, as those of a product's two
 * cotangents, are looked at together: one kernel reads what they share once.
 *
 * Both kernels make %y by the same forms, and so with the same bits: the second
 * one's maps say `again` (ir/ops.md).
 */
#include "../added.h"
#include "fuse.h"

/* How an instruction depends on the value that is looked at. */
typedef enum Reach { REACH_not, REACH_directly, REACH_number } Reach;

typedef struct Look {
    Fuse *fx;
    const Fn *fn;
    const Uses *uses;
    const bool *again; /* whoever reads it makes it */
    uint32_t *family;  /* of a value that could be made anew; 0: it cannot */
    bool *behind;      /* its operand would be what is made anew */
    Reach *reach;      /* scratch of one value */
} Look;

static bool is_large(const Look *l, Value x, Value beside)
{
    enum { LITTLE = 16 };
    const Module *m = l->fx->m;
    return type_elements(m, value_type(l->fn, x)) * LITTLE >
           type_elements(m, value_type(l->fn, beside));
}

/* It is in memory whoever reads it: no kernel could keep it for itself, as
 * that of a map or of a product does with what its own maps read. */
static bool is_stored(const Look *l, Value x)
{
    const Inst *in = inst_of(l->fn, x);
    uint32_t einsum;
    if (l->uses->nresult[x.id] ||
        map_scales_einsum(l->fx->m, l->fn, in, l->uses, &einsum))
        return true;
    if (in->op == OP_rename) return is_stored(l, inst_arg(l->fn, in, 0));
    return in->op == OP_arg || in->op == OP_proj;
}

static bool has_operands(const Look *l, Value v)
{
    const Inst *in = inst_of(l->fn, v);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(l->fn, in, i);
        if (is_large(l, x, v) && !is_stored(l, x)) return false;
    }
    return in->nargs > 0;
}

static void find_reach(Look *l, Value v)
{
    const Module *m = l->fx->m;
    memset(l->reach, 0, v.id * sizeof *l->reach);
    l->reach[v.id] = REACH_directly;
    for (uint32_t i = v.id + 1; i < l->fn->ninsts; i++) {
        const Inst *in = &l->fn->insts[i];
        Reach most = REACH_not;
        for (uint32_t k = 0; k < in->nargs; k++) {
            Value x = inst_arg(l->fn, in, k);
            if (l->reach[x.id] > most) most = l->reach[x.id];
        }
        bool number = in->op == OP_reduce && !type_info(m, in->type)->naxes;
        l->reach[i] = most && number ? REACH_number : most;
    }
}

/* A map of what is made anew, and of a number behind it. */
static bool scales(const Look *l, const Inst *in)
{
    bool number = false;
    for (uint32_t k = 0; k < in->nargs; k++)
        number |= l->reach[inst_arg(l->fn, in, k).id] == REACH_number;
    return in->op == OP_map && number;
}

static bool all_users(const Look *l, uint32_t v,
                      bool (*is)(const Look *, const Inst *))
{
    if (l->uses->nresult[v]) return false;
    for (uint32_t u = l->uses->first[v]; u < l->uses->first[v + 1]; u++)
        if (!is(l, inst_of(l->fn, l->uses->at[u]))) return false;
    return true;
}

static bool reduces(const Look *l, const Inst *in)
{
    (void)l;
    return in->op == OP_reduce;
}

/* Nothing of it leaves the kernel but what reductions leave. */
static bool is_reduced(const Look *l, const Inst *in)
{
    uint32_t at = (uint32_t)(in - l->fn->insts);
    return in->op == OP_reduce || (l->again[at] && all_users(l, at, reduces));
}

/* Whoever reads it either reduces it or waits for a number that is made of it,
 * and there are both. */
static bool waits_for_number(Look *l, Value v)
{
    bool first = false, second = false;
    for (uint32_t u = l->uses->first[v.id]; u < l->uses->first[v.id + 1]; u++) {
        const Inst *in = inst_of(l->fn, l->uses->at[u]);
        bool name = in->op == OP_rename;
        if (scales(l, in) || (name && all_users(l, l->uses->at[u].id, scales)))
            second = true;
        else if (is_reduced(l, in))
            first = true;
        else
            return false;
    }
    return first && second && !l->uses->nresult[v.id];
}

static bool could_be(Look *l, Value v)
{
    const Inst *in = inst_of(l->fn, v);
    if (in->op != OP_map || l->again[v.id] || !has_operands(l, v)) return false;
    find_reach(l, v);
    return waits_for_number(l, v);
}

/* ------------------------------------------------------------- families -- */

static bool share_operand(const Look *l, Value v, Value w)
{
    const Inst *x = inst_of(l->fn, v), *y = inst_of(l->fn, w);
    for (uint32_t i = 0; i < x->nargs; i++)
        for (uint32_t k = 0; k < y->nargs; k++)
            if (value_eq(inst_arg(l->fn, x, i), inst_arg(l->fn, y, k)) &&
                is_large(l, inst_arg(l->fn, x, i), v))
                return true;
    return false;
}

/* Values that share a large operand, directly or by others, are of one family,
 * which has the number of its first value. */
static void find_families(Look *l)
{
    for (uint32_t v = 0; v < l->fn->ninsts; v++) {
        if (!could_be(l, (Value){v})) continue;
        l->family[v] = v;
        for (uint32_t w = 0; w < v; w++) {
            uint32_t was = l->family[w];
            if (!was || was == l->family[v] ||
                !share_operand(l, (Value){v}, (Value){w}))
                continue;
            for (uint32_t x = 0; x <= v; x++)
                if (l->family[x] == was) l->family[x] = l->family[v];
        }
    }
}

/* Fewer bytes are read again than were written and read. */
static bool saves_bytes(const Look *l, uint32_t family)
{
    const Module *m = l->fx->m;
    bool *read = NEW_ARRAY(l->fx->a, bool, (size_t)l->fn->ninsts + 1);
    int64_t more = 0, less = 0;
    for (uint32_t v = 0; v < l->fn->ninsts; v++) {
        const Inst *in = &l->fn->insts[v];
        if (l->family[v] != family) continue;
        less += 2 * type_bytes(m, in->type);
        for (uint32_t k = 0; k < in->nargs; k++) {
            Value x = inst_arg(l->fn, in, k);
            if (!read[x.id]) more += type_bytes(m, value_type(l->fn, x));
            read[x.id] = true;
        }
    }
    return more < less;
}

static void find_behind(Look *l, Value v)
{
    find_reach(l, v);
    for (uint32_t u = l->uses->first[v.id]; u < l->uses->first[v.id + 1]; u++) {
        Value x = l->uses->at[u];
        const Inst *in = inst_of(l->fn, x);
        l->behind[x.id] |= in->op == OP_rename || scales(l, in);
    }
}

Anew fuse_anew(Fuse *fx, const Fn *fn, const Uses *uses, const bool *again)
{
    size_t n = (size_t)fn->ninsts + 1;
    Look l = {.fx = fx,
              .fn = fn,
              .uses = uses,
              .again = again,
              .family = NEW_ARRAY(fx->a, uint32_t, n),
              .behind = NEW_ARRAY(fx->a, bool, n),
              .reach = NEW_ARRAY(fx->a, Reach, n)};
    Anew out = {.value = NEW_ARRAY(fx->a, bool, n), .behind = l.behind};
    if (!fx->gpu) return out;
    find_families(&l);
    for (uint32_t v = 0; v < fn->ninsts; v++) {
        if (!l.family[v] || !saves_bytes(&l, l.family[v])) continue;
        out.value[v] = true;
        find_behind(&l, (Value){v});
        pass_remark(fx->m, fx->cx, fn->insts[v].loc,
                    "made again behind the number that is made of it");
    }
    return out;
}
