/*
 * added.c: sums that a matmul or a scatter makes (see added.h).
 */
#include "added.h"

bool map_is_sum(Module *m, const Inst *map)
{
    uint32_t n;
    ArenaMark mark = arena_mark(m->scratch);
    const Expr *walk = expr_walk(m, attr_expr(m, map->attr), m->scratch, &n);
    bool sum = map->nargs > 1 && n == 2 * (uint32_t)map->nargs - 1;
    for (uint32_t i = 0; sum && i < n; i++) {
        uint8_t op = expr_info(m, walk[i])->op;
        sum = op == SC_arg || op == SC_add;
    }
    arena_pop(m->scratch, mark);
    return sum;
}

static Expr below_cast(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    return x->op == SC_cast ? x->args[0] : e;
}

/* The operand that a term is, widened or not; -1: it is more than that. */
static int term_operand(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, below_cast(m, e));
    return x->op == SC_arg ? (int)x->operand : -1;
}

static bool same_axes(const Module *m, Type x, Type y)
{
    const TypeInfo *a = type_info(m, x), *b = type_info(m, y);
    if (a->naxes != b->naxes) return false;
    for (uint32_t i = 0; i < a->naxes; i++)
        if (a->axes[i].axis.id != b->axes[i].axis.id ||
            a->axes[i].size != b->axes[i].size)
            return false;
    return true;
}

/* V is an einsum's result that one instruction reads, once, in the dtype in
 * which it was summed. */
static bool is_product(const Module *m, const Fn *fn, Value v, DType sum,
                       const Uses *uses)
{
    const Inst *in = inst_of(fn, v);
    if (in->op != OP_einsum || type_dtype(m, in->type) != sum ||
        uses->nresult[v.id] || uses->first[v.id + 1] - uses->first[v.id] != 1)
        return false;
    DType x = type_dtype(m, value_type(fn, inst_arg(fn, in, 0)));
    DType y = type_dtype(m, value_type(fn, inst_arg(fn, in, 1)));
    return x == y && attr_dtype(m, in->attr, AT_acc, dtype_acc(x)) == sum;
}

/* What a gemm can give: its sums, or its sums in the dtype of its operands. */
static bool fits_result(const Module *m, const Fn *fn, const Inst *map,
                        uint32_t einsum, DType sum)
{
    const Inst *in = inst_of(fn, inst_arg(fn, map, einsum));
    DType d = type_dtype(m, map->type);
    DType x = type_dtype(m, value_type(fn, inst_arg(fn, in, 0)));
    DType other = type_dtype(m, value_type(fn, inst_arg(fn, map, 1 - einsum)));
    return other == d && (d == sum || d == x);
}

bool map_adds_einsum(const Module *m, const Fn *fn, const Inst *map,
                     const Uses *uses, uint32_t *einsum)
{
    if (map->op != OP_map || map->nargs != 2) return false;
    const ExprInfo *e = expr_info(m, below_cast(m, attr_expr(m, map->attr)));
    if (e->op != SC_add || (e->dtype != DT_f32 && e->dtype != DT_f64))
        return false;
    int x = term_operand(m, e->args[0]), y = term_operand(m, e->args[1]);
    if (x < 0 || y < 0 || x == y) return false;
    for (uint32_t i = 0; i < 2; i++)
        if (!same_axes(m, value_type(fn, inst_arg(fn, map, i)), map->type))
            return false;
    bool later = inst_arg(fn, map, 1).id > inst_arg(fn, map, 0).id;
    for (uint32_t i = 0; i < 2; i++) {
        *einsum = later != (i == 1);
        if (is_product(m, fn, inst_arg(fn, map, *einsum), (DType)e->dtype,
                       uses) &&
            fits_result(m, fn, map, *einsum, (DType)e->dtype))
            return true;
    }
    return false;
}

static bool is_scale(const Module *m, Type t)
{
    return type_info(m, t)->naxes == 0 && type_dtype(m, t) == DT_f32;
}

/* V is a sum of products of eight-bit numbers, in f32, that one instruction
 * reads. */
static bool is_byte_product(const Module *m, const Fn *fn, Value v,
                            const Uses *uses)
{
    const Inst *in = inst_of(fn, v);
    if (in->op != OP_einsum || type_dtype(m, in->type) != DT_f32 ||
        uses->nresult[v.id] || uses->first[v.id + 1] - uses->first[v.id] != 1)
        return false;
    for (uint32_t k = 0; k < 2; k++)
        if (dtype_bytes(type_dtype(m, value_type(fn, inst_arg(fn, in, k)))) !=
            1)
            return false;
    return true;
}

bool map_scales_einsum(const Module *m, const Fn *fn, const Inst *map,
                       const Uses *uses, uint32_t *einsum)
{
    if (!map_multiplies(m, map)) return false;
    DType d = type_dtype(m, map->type);
    if (d != DT_f32 && d != DT_bf16 && d != DT_f16) return false;
    for (*einsum = 0; *einsum < 2; ++*einsum) {
        Value x = inst_arg(fn, map, *einsum),
              s = inst_arg(fn, map, 1 - *einsum);
        if (is_byte_product(m, fn, x, uses) && is_scale(m, value_type(fn, s)) &&
            same_axes(m, value_type(fn, x), map->type))
            return true;
    }
    return false;
}

void einsum_sizes(const Module *m, const Fn *fn, const Inst *einsum,
                  int64_t size[4])
{
    for (uint32_t i = 0; i < 4; i++)
        size[i] = 1;
    for (uint32_t i = 0; i < 2; i++) {
        const TypeInfo *t =
            type_info(m, value_type(fn, inst_arg(fn, einsum, i)));
        for (uint32_t k = 0; k < t->naxes; k++) {
            EinsumRole role = einsum_role(m, fn, einsum, t->axes[k].axis);
            bool both = role == EINSUM_sum || role == EINSUM_batch;
            if (i == 0 || !both) size[role] *= type_local_size(m, &t->axes[k]);
        }
    }
}

bool einsum_fills_units(const Module *m, const Fn *fn, const Inst *einsum,
                        EinsumRole side)
{
    enum { UNIT = 16 };
    int64_t size[4];
    einsum_sizes(m, fn, einsum, size);
    bool matters = side == EINSUM_row || side == EINSUM_column;
    return size[EINSUM_sum] % UNIT == 0 && !(matters && size[side] % UNIT);
}

bool map_scales_operand(const Module *m, const Fn *fn, const Inst *map)
{
    DType to = type_dtype(m, map->type);
    if (!map_multiplies(m, map) || (to != DT_bf16 && to != DT_f32))
        return false;
    Type x = value_type(fn, inst_arg(fn, map, 0));
    Type s = value_type(fn, inst_arg(fn, map, 1));
    DType d = type_dtype(m, x), by = type_dtype(m, s);
    return (by == DT_f32 || by == DT_e8m0) && dtype_bytes(d) == 1 &&
           dtype_class(d) == DC_float && same_axes(m, x, map->type) &&
           type_info(m, s)->naxes > 0 &&
           type_info(m, s)->naxes < type_info(m, x)->naxes;
}

/* What the scales of an operand are for. */
typedef enum Sharing {
    SHARE_none,
    SHARE_row,
    SHARE_block,
    SHARE_square
} Sharing;

static Sharing sharing_of(const Module *m, const Fn *fn, const Inst *einsum,
                          const Inst *map)
{
    enum { BLOCK = 128, TILE = 32 };
    Type s = value_type(fn, inst_arg(fn, map, 1));
    int64_t block = type_dtype(m, s) == DT_e8m0 ? TILE : BLOCK;
    const TypeInfo *t = type_info(m, map->type);
    uint32_t blocks = 0, parts = 0, whole = 0, square = 0;
    for (uint32_t i = 0; i < t->naxes; i++) {
        EinsumRole role = einsum_role(m, fn, einsum, t->axes[i].axis);
        bool has = type_axis(m, s, t->axes[i].axis) != NULL;
        int64_t n = type_local_size(m, &t->axes[i]);
        if (role == EINSUM_batch) return SHARE_none;
        if (role == EINSUM_sum)
            *(has ? &blocks : n == block ? &parts : &whole) += 1;
        else if (!has)
            square += n == block ? 1 : 2;
    }
    if (square > 1) return SHARE_none;
    if (blocks == 0 && !square) return SHARE_row;
    bool tiles = block == TILE && blocks > 0;
    if ((blocks != 1 && !tiles) || parts != 1 || whole) return SHARE_none;
    return square ? SHARE_square : SHARE_block;
}

bool einsum_takes_scales(const Module *m, const Fn *fn, const Inst *einsum)
{
    Sharing of[2];
    for (uint32_t k = 0; k < 2; k++) {
        const Inst *map = inst_of(fn, inst_arg(fn, einsum, k));
        if (!map_scales_operand(m, fn, map)) return false;
        of[k] = sharing_of(m, fn, einsum, map);
    }
    bool rows = of[0] == SHARE_row && of[1] == SHARE_row;
    bool blocks = of[0] >= SHARE_block && of[1] >= SHARE_block;
    return (rows || (blocks && of[0] + of[1] < 2 * SHARE_square)) &&
           einsum_fills_units(m, fn, einsum, EINSUM_row) &&
           einsum_fills_units(m, fn, einsum, EINSUM_column);
}

bool einsum_takes_chosen_scales(const Module *m, const Fn *fn,
                                const Inst *einsum)
{
    bool chosen = false;
    for (uint32_t k = 0; k < 2; k++) {
        Value v = inst_arg(fn, einsum, k);
        const TypeInfo *t = type_info(m, value_type(fn, v));
        if (!map_scales_operand(m, fn, below_gather(fn, v))) return false;
        for (uint32_t i = 0; i < t->naxes; i++)
            chosen |=
                einsum_role(m, fn, einsum, t->axes[i].axis) == EINSUM_batch;
    }
    return chosen;
}

/* The operand that a term is below any casts; -1: it is more than that. */
static int cast_operand(const Module *m, Expr e)
{
    const ExprInfo *x = expr_info(m, e);
    while (x->op == SC_cast)
        x = expr_info(m, x->args[0]);
    return x->op == SC_arg ? (int)x->operand : -1;
}

static bool is_read_once(const Uses *uses, Value v)
{
    return !uses->nresult[v.id] &&
           uses->first[v.id + 1] - uses->first[v.id] == 1;
}

bool map_adds_scatter(const Module *m, const Fn *fn, const Inst *map,
                      const Uses *uses, uint32_t *scatter)
{
    if (map->op != OP_map || map->nargs != 2) return false;
    const ExprInfo *e = expr_info(m, below_cast(m, attr_expr(m, map->attr)));
    if (e->op != SC_add || dtype_class((DType)e->dtype) != DC_float)
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        int base = term_operand(m, e->args[i]);
        int sums = cast_operand(m, e->args[1 - i]);
        if (base < 0 || sums < 0 || base == sums) continue;
        Value b = inst_arg(fn, map, (uint32_t)base);
        Value s = inst_arg(fn, map, (uint32_t)sums);
        if (inst_of(fn, s)->op != OP_scatter || !is_read_once(uses, s) ||
            !type_eq(value_type(fn, b), map->type) ||
            !same_axes(m, value_type(fn, s), map->type))
            continue;
        *scatter = (uint32_t)sums;
        return true;
    }
    return false;
}

bool map_casts_scatter(const Module *m, const Fn *fn, const Inst *map,
                       const Uses *uses)
{
    if (map->op != OP_map || map->nargs != 1 ||
        cast_operand(m, attr_expr(m, map->attr)) != 0)
        return false;
    Value s = inst_arg(fn, map, 0);
    return inst_of(fn, s)->op == OP_scatter && is_read_once(uses, s);
}
