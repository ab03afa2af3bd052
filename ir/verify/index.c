/*
 * index.c: verifying what goes by computed indices: gather, scatter, put,
 * top.
 */
#include "verify.h"

#include <string.h>

/* Of rows that were sent: the axes along which, and in how many parts. */
static bool check_sent(const Verify *vf, uint32_t ids, const char *rule)
{
    const AttrItem *sent = verify_list(vf, AT_sent);
    const AttrItem *parts = verify_list(vf, AT_parts);
    if (!sent && !parts) return true;
    if (!sent || !parts || sent->n != parts->n || !verify_list(vf, AT_recipe))
        return verify_fail(vf,
                           "rows that were sent have no recipe, or other "
                           "parts than axes (%s)",
                           rule);
    for (uint32_t k = 0; k < sent->n; k++) {
        if (!check_axis(vf, ids, sent->axes[k], rule)) return false;
        int64_t n = type_size(vf->m, operand_type(vf, ids), sent->axes[k]);
        if (parts->ints[k] < 1 || n % parts->ints[k] != 0)
            return verify_fail(vf, "%lld of '%s' in %lld parts (%s)",
                               (long long)n, axis_name(vf->m, sent->axes[k]),
                               (long long)parts->ints[k], rule);
    }
    return true;
}

/* Of what is chosen by ids: how products that sum some axes of it are
 * quantised. */
static bool check_marked(const Verify *vf, uint32_t i, const char *rule)
{
    const AttrItem *sum = verify_list(vf, AT_sum);
    const AttrItem *recipe = verify_list(vf, AT_recipe);
    if (!sum != !recipe)
        return verify_fail(vf, "a recipe without axes, or the reverse (%s)",
                           rule);
    for (uint32_t k = 0; sum && k < sum->n; k++)
        if (!check_axis(vf, i, sum->axes[k], rule)) return false;
    return check_recipe(vf, rule);
}

bool verify_gather(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    Type x = operand_type(vf, 0), ids = operand_type(vf, 1);
    if (!check_ids(vf, 1, "H1") || !check_settled(vf, 1, "H1") ||
        !check_axis(vf, 0, axis, "H2") || !check_sum(vf, 0, "H5") ||
        !check_marked(vf, 0, "H6") || !check_sent(vf, 1, "H7"))
        return false;
    Type rest = summed_type(vf, x, &axis, 1, PENDING_sum);
    if (!check_aligned(vf, rest, ids, "H3")) return false;
    return check_result(vf, type_union(vf->m, rest, ids), "H4");
}

static bool check_no_axis(const Verify *vf, uint32_t i, Axis a,
                          const char *rule)
{
    if (!type_axis(vf->m, operand_type(vf, i), a)) return true;
    return verify_fail(vf, "operand %s has the axis '%s' (%s)",
                       verify_name(vf, operand_at(vf, i)), axis_name(vf->m, a),
                       rule);
}

/* The axes of `all` that are not in the result. */
static uint32_t summed_axes(const Verify *vf, Type all, Axis *out)
{
    const TypeInfo *info = type_info(vf->m, all);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->naxes; i++)
        if (!type_axis(vf->m, vf->in->type, info->axes[i].axis))
            out[n++] = info->axes[i].axis;
    return n;
}

static bool check_scatter_dtype(const Verify *vf) /* X4 */
{
    DType d = operand_dtype(vf, 1);
    if (d == DT_bool) return verify_fail(vf, "the sum of bool values (X4)");
    return check_acc(vf, d, "X4") && check_dtype(vf, d, "X4");
}

bool verify_scatter(const Verify *vf)
{
    Module *m = vf->m;
    Axis axis = verify_axis(vf);
    const TypeAxis *into = type_axis(m, vf->in->type, axis);
    if (!check_ids(vf, 0, "X1") || !check_no_axis(vf, 0, axis, "X2") ||
        !check_no_axis(vf, 1, axis, "X2") || !check_scatter_dtype(vf) ||
        !check_marked(vf, 1, "X6") || !check_sent(vf, 0, "X7"))
        return false;
    if (!into)
        return verify_fail(vf, "the result has no axis '%s' (X2)",
                           axis_name(m, axis));
    Type ids = operand_type(vf, 0), updates = operand_type(vf, 1);
    if (!check_aligned(vf, ids, updates, "X3")) return false;
    const TypeInfo *of = type_info(m, ids);
    if (attr_flag(m, vf->in->attr, AT_ascending) &&
        (of->naxes == 0 ||
         type_axis(m, vf->in->type, of->axes[of->naxes - 1].axis)))
        return verify_fail(vf, "ids ascend along no axis that is summed (X5)");
    Type all = type_union(m, updates, ids);
    Axis *summed = NEW_ARRAY(m->scratch, Axis, type_info(m, all)->naxes);
    uint32_t n = summed_axes(vf, all, summed);
    Type t = summed_type(vf, all, summed, n, PENDING_sum);
    t = type_with_dtype(m, t, type_dtype(m, vf->in->type));
    return check_result(vf, type_with_axis(m, t, *into), "X3");
}

bool verify_put(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    Type base = operand_type(vf, 0);
    if (!check_ids(vf, 1, "P1") || !check_whole(vf, 0, axis, "P2") ||
        !check_no_axis(vf, 1, axis, "P2") || !check_no_axis(vf, 2, axis, "P2"))
        return false;
    if (operand_dtype(vf, 2) != operand_dtype(vf, 0))
        return verify_fail(vf, "%s values into %s (P3)",
                           dtype_name(operand_dtype(vf, 2)),
                           dtype_name(operand_dtype(vf, 0)));
    return check_aligned(vf, base, operand_type(vf, 1), "P4") &&
           check_aligned(vf, base, operand_type(vf, 2), "P4") &&
           check_aligned(vf, operand_type(vf, 1), operand_type(vf, 2), "P4") &&
           check_result(vf, base, "P5");
}

bool verify_top(const Verify *vf)
{
    Module *m = vf->m;
    Axis axis = verify_axis(vf);
    const AttrItem *to = verify_list(vf, AT_to);
    const char *kind = str_of(m, attr_str(m, vf->in->attr, AT_kind));
    if (strcmp(kind, "max") && strcmp(kind, "min")) /* O1 */
        return verify_fail(vf, "kind '%s' is not max or min (O1)", kind);
    if (!check_whole(vf, 0, axis, "O2")) return false;
    Type rest = type_without_axis(m, operand_type(vf, 0), axis);
    if (to->n != 1) return verify_fail(vf, "%u axes for one (O2)", to->n);
    if (!check_new(vf, rest, to, "O2")) return false;
    int64_t n = type_size(m, operand_type(vf, 0), axis);
    TypeAxis k = {.axis = to->axes[0]};
    k.size = type_size(m, vf->in->type, k.axis);
    if (k.size < 1 || k.size > n || n > INT32_MAX)
        return verify_fail(vf, "%lld of the %lld elements along '%s' (O3)",
                           (long long)k.size, (long long)n, axis_name(m, axis));
    return check_result(
        vf, type_with_dtype(m, type_with_axis(m, rest, k), DT_i32), "O4");
}
