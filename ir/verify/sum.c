/*
 * sum.c: verifying what adds up: reduce, einsum, cumsum.
 */
#include "verify.h"

#include <string.h>

static bool check_kind(const Verify *vf, const char *kind, DType d) /* R4 */
{
    bool extremum = !strcmp(kind, "max") || !strcmp(kind, "min");
    if (!extremum && strcmp(kind, "sum") && strcmp(kind, "prod"))
        return verify_fail(vf, "kind '%s' is not sum, max, min or prod (R4)",
                           kind);
    if (d == DT_bool && !extremum)
        return verify_fail(vf, "kind '%s' of bool values (R4)", kind);
    return true;
}

/* A sum of pending sums and a maximum of pending maxima stay pending; min and
 * prod have no pending kind. */
static bool check_reduce_pending(const Verify *vf, const char *kind,
                                 const AttrItem *axes) /* R6 */
{
    Type t = operand_type(vf, 0);
    PendingKind have = type_info(vf->m, t)->pending_kind;
    bool sum = !strcmp(kind, "sum"), max = !strcmp(kind, "max");
    if ((have == PENDING_sum && !sum) || (have == PENDING_max && !max))
        return verify_fail(vf, "kind '%s' of operand %s, which is pending (R6)",
                           kind, verify_name(vf, operand_at(vf, 0)));
    for (uint32_t i = 0; !sum && !max && i < axes->n; i++)
        if (!check_whole(vf, 0, axes->axes[i], "R6")) return false;
    return true;
}

/* What a loop group sums along, its results go along too: one loop is for all
 * of them. */
static bool check_group(const Verify *vf, const AttrItem *axes) /* R7 */
{
    const Fn *fn = vf->fn;
    ColumnSum sum;
    if (!fn_is(vf->m, fn, FK_loop) || column_sum(vf->m, fn, vf->v, &sum))
        return true;
    for (uint32_t r = 0; r < fn->nresults; r++) {
        Value v = fn->result_values[r];
        if (column_sum(vf->m, fn, v, &sum)) continue;
        for (uint32_t i = 0; i < axes->n; i++) {
            Axis a = axes->axes[i];
            int64_t size = type_axis(vf->m, operand_type(vf, 0), a)->size;
            const TypeAxis *has = type_axis(vf->m, value_type(fn, v), a);
            if (has && has->size != size)
                return verify_fail(
                    vf,
                    "%lld elements along '%s' in a group whose result %s "
                    "has %lld (R7)",
                    (long long)size, axis_name(vf->m, a), verify_name(vf, v),
                    (long long)has->size);
        }
    }
    return true;
}

bool verify_reduce(const Verify *vf)
{
    const AttrItem *axes = verify_list(vf, AT_axes);
    const char *kind = str_of(vf->m, attr_str(vf->m, vf->in->attr, AT_kind));
    DType d = operand_dtype(vf, 0);
    PendingKind pend = strcmp(kind, "max") ? PENDING_sum : PENDING_max;
    if (!check_axes(vf, 0, axes, "R1") || !check_kind(vf, kind, d) ||
        !check_reduce_pending(vf, kind, axes) || !check_acc(vf, d, "R5") ||
        !check_dtype(vf, d, "R3") || !check_group(vf, axes))
        return false;
    Type t = summed_type(vf, operand_type(vf, 0), axes->axes, axes->n, pend);
    t = type_with_dtype(vf->m, t, type_dtype(vf->m, vf->in->type));
    return check_result(vf, t, "R2");
}

static bool check_floats(const Verify *vf) /* E3 */
{
    DType a = operand_dtype(vf, 0), b = operand_dtype(vf, 1);
    DType r = type_dtype(vf->m, vf->in->type);
    bool bytes = dtype_bytes(a) == 1 && dtype_bytes(b) == 1;
    if (a != b && !bytes)
        return verify_fail(vf, "operands are %s and %s (E3)", dtype_name(a),
                           dtype_name(b));
    if (dtype_class(a) != DC_float || dtype_class(r) != DC_float)
        return verify_fail(vf,
                           "operands are %s, the result is %s: not floats "
                           "(E3)",
                           dtype_name(a), dtype_name(r));
    return true;
}

static bool check_einsum_pending(const Verify *vf) /* E4 */
{
    if (!check_sum(vf, 0, "E4") || !check_sum(vf, 1, "E4")) return false;
    if (!type_info(vf->m, operand_type(vf, 0))->npending) return true;
    return check_settled(vf, 1, "E4");
}

bool check_recipe(const Verify *vf, const char *rule)
{
    static const char *const recipes[] = {
#define RECIPE(name, rule, multiple, what) #name,
#include "../recipes.def"
#undef RECIPE
    };
    const AttrItem *recipe = attr_get(vf->m, vf->in->attr, AT_recipe);
    const char *name =
        recipe ? str_of(vf->m, attr_str(vf->m, vf->in->attr, AT_recipe))
               : recipes[0];
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (strcmp(name, recipes[i]) == 0) return true;
    return verify_fail(vf, "there is no recipe '%s' (%s)", name, rule);
}

static bool check_cot(const Verify *vf) /* E7 */
{
    const AttrItem *recipe = attr_get(vf->m, vf->in->attr, AT_recipe);
    const AttrItem *cot = attr_get(vf->m, vf->in->attr, AT_cot);
    int64_t which = attr_int(vf->m, vf->in->attr, AT_cot, 0);
    if (!cot || (recipe && which >= 1 && which <= 2)) return true;
    return verify_fail(vf, "cot %lld names no operand with a recipe (E7)",
                       (long long)which);
}

bool verify_einsum(const Verify *vf)
{
    Module *m = vf->m;
    const AttrItem *sum = verify_list(vf, AT_sum);
    Type x = operand_type(vf, 0), y = operand_type(vf, 1);
    if (!check_axes(vf, 0, sum, "E1") || !check_axes(vf, 1, sum, "E1") ||
        !check_floats(vf) || !check_aligned(vf, x, y, "E2") ||
        !check_einsum_pending(vf) ||
        !check_acc(vf, operand_dtype(vf, 0), "E5") || !check_cot(vf) ||
        !check_recipe(vf, "E6"))
        return false;
    bool pending = type_info(m, y)->npending > 0;
    Type t = pending ? type_union(m, y, x) : type_union(m, x, y);
    t = summed_type(vf, t, sum->axes, sum->n, PENDING_sum);
    t = type_with_dtype(m, t, type_dtype(m, vf->in->type));
    return check_result(vf, t, "E2");
}

bool verify_cumsum(const Verify *vf)
{
    DType d = operand_dtype(vf, 0);
    if (!check_whole(vf, 0, verify_axis(vf), "U1")) return false;
    if (d == DT_bool)
        return verify_fail(vf, "the running sum of bool values (U2)");
    if (!check_acc(vf, d, "U2") || !check_dtype(vf, d, "U2") ||
        !check_sum(vf, 0, "U3"))
        return false;
    DType r = type_dtype(vf->m, vf->in->type);
    return check_result(vf, type_with_dtype(vf->m, operand_type(vf, 0), r),
                        "U2");
}
