/*
 * matmul.c: places from which one gemm can be made.
 *
 * Where the operands' memory orders allow no gemm, an operand is copied to an
 * order that does; at the last, the result is made in a place of its own and
 * copied from there.  So are the scales of blocks, which are few.  Numbers of
 * eight bits lie along the sum, which is how tensor cores take them, and what
 * lies together in their result fills units.
 */
#include "../added.h"
#include "expand.h"

typedef struct Product {
    Scene *s;
    const Fn *g;
    const Inst *einsum;
    Home at[3];  /* two operands and the result */
    bool pieces; /* the sum may lie in */
} Product;

static bool is_eight(const Product *p)
{
    Type a = p->at[0].layout.type;
    return dtype_bytes(type_dtype(p->s->x->m, a)) == 1;
}

static bool fills_units(const Product *p, EinsumRole side)
{
    return !is_eight(p) ||
           einsum_fills_units(p->s->x->m, p->g, p->einsum, side);
}

/* The side that lies together in the result. */
static EinsumRole inner_side(const Product *p)
{
    const Module *m = p->s->x->m;
    Layout l = p->at[2].layout;
    Axis *order =
        NEW_ARRAY(p->s->x->a, Axis, (size_t)type_info(m, l.type)->naxes + 1);
    uint32_t n = layout_order(m, l, order);
    while (n && type_local_size(m, type_axis(m, l.type, order[n - 1])) == 1)
        n--;
    return n ? einsum_role(m, p->g, p->einsum, order[n - 1]) : EINSUM_batch;
}

/* A host's products need no units, so there may be none on either side. */
static bool is_better_turned(const Product *p)
{
    EinsumRole inner = inner_side(p);
    EinsumRole outer = inner == EINSUM_row ? EINSUM_column : EINSUM_row;
    return !fills_units(p, inner) && fills_units(p, outer);
}

static bool fits(const Product *p)
{
    Layout layouts[3];
    Gemm gemm;
    for (int i = 0; i < 3; i++)
        layouts[i] = p->at[i].layout;
    if (!(p->pieces ? gemm_fit_pieces : gemm_fit)(p->s->x->m, p->g, layouts,
                                                  &gemm))
        return false;
    if (dtype_bytes(gemm.a) != 1 || gemm.k == 1) return true;
    return gemm.a_col == 1 && gemm.b_row == 1 &&
           (p->pieces || !is_better_turned(p));
}

/* The axes of one role, in the order in which `by` has them. */
static uint32_t axes_of_role(const Product *p, EinsumRole role, Layout by,
                             Axis *out)
{
    const Module *m = p->s->x->m;
    Axis *order =
        NEW_ARRAY(p->s->x->a, Axis, (size_t)type_info(m, by.type)->naxes + 1);
    uint32_t all = layout_order(m, by, order), n = 0;
    for (uint32_t i = 0; i < all; i++)
        if (einsum_role(m, p->g, p->einsum, order[i]) == role)
            out[n++] = order[i];
    return n;
}

/* Batch axes, then the operand's own, then the summed ones, each in the order
 * of the place that it has to agree with.  Innermost in the result are its
 * columns, or its rows where these alone fill units. */
static Layout order_for(const Product *p, int which)
{
    Module *m = p->s->x->m;
    Type t = p->at[which].layout.type;
    Axis *order =
        NEW_ARRAY(p->s->x->a, Axis, (size_t)type_info(m, t)->naxes + 1);
    bool turned = which == 2 && !fills_units(p, EINSUM_column) &&
                  fills_units(p, EINSUM_row);
    EinsumRole sides[2] = {turned ? EINSUM_column : EINSUM_row,
                           turned ? EINSUM_row : EINSUM_column};
    uint32_t n = axes_of_role(p, EINSUM_batch, p->at[2].layout, order);
    for (uint32_t i = 0; i < 2; i++)
        if (which != (sides[i] == EINSUM_row))
            n += axes_of_role(p, sides[i], p->at[2].layout, order + n);
    if (which != 2)
        axes_of_role(p, EINSUM_sum, p->at[1 - which].layout, order + n);
    return layout_ordered(m, t, order, type_info(m, t)->naxes, p->s->x->a);
}

static Home copy_room(const Product *p, int which)
{
    Layout l = layout_padded(p->s->x, order_for(p, which));
    Root *r = root_new(p->s, l, (Str){0}, p->s->b->loc);
    return (Home){.root = r, .layout = l};
}

static int64_t bytes_at(const Product *p, int which)
{
    return type_bytes(p->s->x->m, p->at[which].layout.type);
}

/* Tries the smaller operand, the other, both. */
static bool copy_operands(Product *p)
{
    int small = bytes_at(p, 0) <= bytes_at(p, 1) ? 0 : 1;
    static const int tries[3] = {1, 2, 3};
    for (int i = 0; i < 3; i++) {
        Product q = *p;
        for (int k = 0; k < 2; k++)
            if (tries[i] & (1 << k)) {
                int which = k == 0 ? small : 1 - small;
                q.at[which] = copy_room(&q, which);
            }
        if (!fits(&q)) continue;
        for (int k = 0; k < 2; k++)
            emit_copy(p->s, &p->at[k], &q.at[k]);
        *p = q;
        return true;
    }
    return false;
}

/* What is added lies where the result will, or apart in the same order; else
 * it is copied to the result's place. */
static Value added_place(const Product *p, const Home *added)
{
    Scene *s = p->s;
    const Home *to = &p->at[2];
    const TypeInfo *ti = type_info(s->x->m, to->layout.type);
    bool apart = !bytes_meet(s->x->m, added, to);
    for (uint32_t i = 0; i < ti->naxes; i++)
        apart &= added->layout.stride[i] == to->layout.stride[i] ||
                 type_local_size(s->x->m, &ti->axes[i]) == 1;
    if (apart) return home_value(s, added);
    emit_copy(s, added, to);
    return home_value(s, to);
}

/* The scales of operand WHICH, in the order in which the gemm reads them. */
static Value scales_place(const Product *p, const Home *of, uint32_t which)
{
    Home to = *of;
    GemmScale scale;
    if (!gemm_scale_layout(p->s->x->m, p->g, p->at[which].layout, which,
                           p->s->x->a, &to.layout, &scale))
        BUG("no gemm takes the scales of '%s'", str_of(p->s->x->m, p->g->name));
    if (layout_same(p->s->x->m, of->layout, to.layout))
        return home_value(p->s, of);
    to = (Home){.root = root_new(p->s, to.layout, (Str){0}, p->s->b->loc),
                .layout = to.layout};
    emit_copy(p->s, of, &to);
    return home_value(p->s, &to);
}

void emit_matmul(Scene *s, const Inst *call, const Home *result)
{
    Module *m = s->x->m;
    FnRef f = attr_fn(m, call->attr, AT_fn);
    Product p = {.s = s, .g = fn_of(m, f)};
    GemmParams params = group_gemm(p.g);
    const uint32_t operands[2] = {params.a, params.b};
    p.einsum = group_einsum(p.g);
    for (uint32_t i = 0; i < 2; i++)
        p.at[i] = s->home[inst_arg(s->fn, call, operands[i]).id];
    p.at[2] = *result;
    if (!fits(&p) && !copy_operands(&p)) {
        p.at[2] = copy_room(&p, 2);
        if (!fits(&p) && !copy_operands(&p))
            BUG("no order of operands makes a gemm of '%s'",
                str_of(m, p.g->name));
    }
    Value args[MOST_GEMM_PARAMS], out = home_value(s, &p.at[2]);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t scale = params.scale[i];
        args[operands[i]] = home_value(s, &p.at[i]);
        if (scale == NO_PARAM) continue;
        args[scale] =
            scales_place(&p, &s->home[inst_arg(s->fn, call, scale).id], i);
    }
    if (params.third != NO_PARAM) {
        const Home *third = &s->home[inst_arg(s->fn, call, params.third).id];
        args[params.third] = group_is_scaled(m, p.g) ? home_value(s, third)
                                                     : added_place(&p, third);
    }
    emit_launch(s, f, args, p.g->nparams, &out, 1);
    emit_copy(s, &p.at[2], result);
}

/* The operands of each product of a group of kind product, where the kernel can
 * walk over them beside its first result; operand K of the launch is ARGS[K].
 */
void emit_product_operands(Scene *s, const Inst *call, const Home *result,
                           Value *args)
{
    const Fn *g = fn_of(s->x->m, attr_fn(s->x->m, call->attr, AT_fn));
    ProductBlocks blocks;
    if (group_blocks(s->x->m, g, &blocks)) return;
    for (uint32_t i = 0; i < g->ninsts; i++) {
        Product p = {.s = s, .g = g, .einsum = &g->insts[i], .pieces = true};
        uint32_t param[2];
        if (p.einsum->op != OP_einsum) continue;
        for (uint32_t k = 0; k < 2; k++) {
            param[k] = einsum_param(g, p.einsum, k);
            p.at[k] = s->home[inst_arg(s->fn, call, param[k]).id];
        }
        p.at[2] = *result;
        if (fits(&p) || !copy_operands(&p)) continue;
        for (uint32_t k = 0; k < 2; k++)
            args[param[k]] = home_value(s, &p.at[k]);
    }
}
