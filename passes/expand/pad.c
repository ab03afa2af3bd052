/*
 * pad.c: lines that begin at multiples of 16 bytes.
 *
 * Matrix products and the vectors of a GPU's kernels want every line of memory
 * to begin at a multiple of 16 bytes.  Where the innermost axis has another
 * length, as a vocabulary of 50,257 in 16 bits, the next axis steps over a pad:
 *
 *     line 0   | e0 e1 .. e50256 | 47 of pad |
 *     line 1   | e0 ..
 *
 * and where lines are long, to one of 128 bytes, as memory is fetched.
 *
 * Nothing means the pad: sizes stay what they are, and whoever walks over lines
 * walks over their elements.  A buffer's pads are nobody else's.
 *
 * An axis is padded in all buffers in which it is innermost, and in no slot, if
 *
 *   - what products with such lines take less, by their operations at the rates
 *     of lines of either kind, is more than what loops lose that go over slots
 *     of such lines as well: these stay as they are, so that not all of a
 *     loop's operands have whole vectors.  Products that read or write a slot
 *     of such lines gain nothing;
 *   - no merge wants the lines side by side, and no product has the axis as one
 *     with another.
 *
 * A line's pad is at most a 32nd of it, and what has one line has none.
 */
#include "expand.h"

enum { UNIT = 16, LEAST_LINES = 32 /* of pads in a line */ };
/* How much longer a loop takes whose lanes come one by one. */
enum { ONE_BY_ONE = 5 };

/* --------------------------------------------------------------- layouts -- */

/* The axis along which elements lie side by side; NULL: there is one line. */
static const TypeAxis *line_of(const Module *m, Layout l, const int64_t **at)
{
    const TypeInfo *t = type_info(m, l.type);
    for (uint32_t i = 0; i < t->naxes; i++) {
        int64_t n = type_local_size(m, &t->axes[i]);
        if (l.stride[i] != 1 || n == 1) continue;
        *at = &l.stride[i];
        return type_local_elements(m, l.type) > n ? &t->axes[i] : NULL;
    }
    return NULL;
}

/* Elements from a line to the next where it has a pad; 0: it has none. */
static int64_t pitch_of(const Expand *x, Layout l, const TypeAxis *line)
{
    int64_t bytes = dtype_bytes(type_dtype(x->m, l.type));
    int64_t own = type_local_size(x->m, line) * bytes;
    int64_t far = x->line - own % x->line, near = UNIT - own % UNIT;
    if (UNIT % bytes != 0 || near == UNIT) return 0;
    if (far <= own / LEAST_LINES) return (own + far) / bytes;
    bool may = x->all_padded || near <= own / LEAST_LINES;
    return may ? (own + near) / bytes : 0;
}

Layout layout_padded(const Expand *x, Layout l)
{
    const Module *m = x->m;
    const TypeInfo *t = type_info(m, l.type);
    const int64_t *inner;
    const TypeAxis *line = x->padded ? line_of(m, l, &inner) : NULL;
    if (!line || !x->padded[line->axis.id] || !layout_is_packed(m, l)) return l;
    int64_t n = type_local_size(m, line), pitch = pitch_of(x, l, line);
    if (!pitch) return l;
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)t->naxes + 1);
    for (uint32_t i = 0; i < t->naxes; i++)
        stride[i] = &l.stride[i] != inner && l.stride[i] % n == 0
                        ? l.stride[i] / n * pitch
                        : l.stride[i];
    return (Layout){l.type, stride};
}

/* --------------------------------------------------------------- weights -- */

/* What padding the lines of each axis gains and loses: microseconds. */
typedef struct Scales {
    const Expand *x;
    Machine machine;
    double *gain, *loss; /* by axis */
    bool *beside;        /* by axis: its lines lie side by side */
} Scales;

/* The axis whose lines a value of type T would have padded. */
static bool odd_line(const Expand *x, Type t, Axis *out)
{
    const int64_t *at;
    Layout l = default_layout(x, t);
    const TypeAxis *line = line_of(x->m, l, &at);
    if (!line || !pitch_of(x, l, line)) return false;
    *out = line->axis;
    return true;
}

/* A slot lies so, perhaps this one. */
static bool is_slot(const Module *m, Type t)
{
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (type_eq(m->slots.at[i].type, t)) return true;
    return false;
}

static double operations_of(const Module *m, const Fn *g, const Inst *einsum)
{
    double n = 2 * (double)type_local_elements(m, einsum->type);
    Type a = value_type(g, inst_arg(g, einsum, 0));
    const AttrItem *sum = attr_get(m, einsum->attr, AT_sum);
    for (uint32_t i = 0; i < sum->n; i++)
        n *= (double)type_local_size(m, type_axis(m, a, sum->axes[i]));
    return n;
}

/* Lines of a product's operands and of what it makes. */
static void weigh_product(Scales *s, const Fn *g)
{
    const Module *m = s->x->m;
    const Inst *in = group_einsum(g);
    Type types[3] = {g->params[einsum_param(g, in, 0)].type,
                     g->params[einsum_param(g, in, 1)].type,
                     g->results[0].type};
    Axis odd[3];
    uint32_t n = 0;
    for (uint32_t i = 0; i < 3; i++) {
        if (!odd_line(s->x, types[i], &odd[n])) continue;
        if (i < 2 && is_slot(m, types[i])) return;
        n++;
    }
    double of = operations_of(m, g, in);
    for (uint32_t i = 0; i < n; i++)
        if (!axes_have(odd, i, odd[i]))
            s->gain[odd[i].id] +=
                of * (1 / s->machine.odd - 1 / s->machine.flops);
}

/* Lines of slots, and of what has their axes, in a loop. */
static void weigh_loop(Scales *s, const Fn *g)
{
    Axis odd;
    for (uint32_t i = 0; i < g->nparams + g->nresults; i++) {
        Type t = i < g->nparams ? g->params[i].type
                                : g->results[i - g->nparams].type;
        if (!has_slot(s->x, t) || !odd_line(s->x, t, &odd)) continue;
        s->loss[odd.id] += (double)type_bytes(s->x->m, t) * (ONE_BY_ONE - 1) /
                           s->machine.bytes;
    }
}

/* ------------------------------------------------------------------ axes -- */

/* A merge is a view where its inner part has no pad. */
static void note_merged(const Scales *s, const Inst *in)
{
    if (in->op != OP_merge) return;
    const AttrItem *from = attr_get(s->x->m, in->attr, AT_from);
    for (uint32_t i = 1; i < from->n; i++)
        s->beside[from->axes[i].id] = true;
}

/* A gemm takes several axes of one role as one. */
static void note_folded(const Scales *s, const Fn *g, const Inst *in, Type t)
{
    const Module *m = s->x->m;
    const TypeInfo *ti = type_info(m, t);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        EinsumRole role = einsum_role(m, g, in, ti->axes[i].axis);
        for (uint32_t k = 0; k < i && role != EINSUM_batch; k++) {
            if (type_local_size(m, &ti->axes[i]) == 1 ||
                type_local_size(m, &ti->axes[k]) == 1 ||
                einsum_role(m, g, in, ti->axes[k].axis) != role)
                continue;
            s->beside[ti->axes[i].axis.id] = true;
            s->beside[ti->axes[k].axis.id] = true;
        }
    }
}

static void note_products(const Scales *s, const Fn *g)
{
    for (uint32_t i = 0; i < g->ninsts; i++) {
        const Inst *in = &g->insts[i];
        if (in->op != OP_einsum) continue;
        note_folded(s, g, in, value_type(g, inst_arg(g, in, 0)));
        note_folded(s, g, in, value_type(g, inst_arg(g, in, 1)));
        note_folded(s, g, in, in->type);
    }
}

static bool is_product(const Module *m, const Fn *g)
{
    return fn_is(m, g, FK_matmul) || fn_is(m, g, FK_product);
}

/* Axes whose lines have to lie side by side, and those of merges, which are
 * copied otherwise. */
static void find_beside(const Scales *s, bool merges)
{
    const Module *m = s->x->m;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        bool group = !fn_is(m, fn, FK_none) && !fn_is(m, fn, FK_rank) &&
                     !fn_is_tile(m, fn);
        if (is_product(m, fn)) note_products(s, fn);
        for (uint32_t i = 0; i < fn->ninsts && merges && !group; i++)
            note_merged(s, &fn->insts[i]);
    }
}

/* What holds of one name of an axis holds of the other. */
static bool agree_renamed(const Module *m, const Inst *in, bool *is)
{
    const AttrItem *from = attr_get(m, in->attr, AT_from);
    const AttrItem *to = attr_get(m, in->attr, AT_to);
    bool changed = false;
    for (uint32_t i = 0; i < from->n; i++) {
        bool *a = &is[from->axes[i].id], *b = &is[to->axes[i].id];
        changed |= *a != *b;
        *a = *b = *a || *b;
    }
    return changed;
}

static bool agree_renames(const Module *m, bool *is)
{
    bool changed = false;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++)
            if (fn->insts[i].op == OP_rename)
                changed |= agree_renamed(m, &fn->insts[i], is);
    }
    return changed;
}

void pads_find(Expand *x)
{
    Module *m = x->m;
    size_t n = (size_t)m->axes.n + 1;
    Scales s = {x, machine_of(m, x->cx), NEW_ARRAY(x->a, double, n),
                NEW_ARRAY(x->a, double, n), NEW_ARRAY(x->a, bool, n)};
    x->line = pass_option_int(m, x->cx, "lines", 128) / UNIT * UNIT;
    x->all_padded = pass_option_int(m, x->cx, "padded", 0) != 0;
    if (x->line <= 0) return;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *g = m->fns.at[f];
        if (g->view != VIEW_local) continue;
        if (is_product(m, g)) weigh_product(&s, g);
        if (fn_is(m, g, FK_loop)) weigh_loop(&s, g);
    }
    find_beside(&s, !x->all_padded);
    bool *padded = NEW_ARRAY(x->a, bool, n);
    for (uint32_t i = 0; i < m->axes.n; i++)
        padded[i] = x->all_padded || s.gain[i] > s.loss[i];
    while (agree_renames(m, padded) || agree_renames(m, s.beside))
        ;
    for (uint32_t i = 0; i < m->axes.n; i++)
        padded[i] &= !s.beside[i];
    x->padded = padded;
}
