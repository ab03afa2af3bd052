/*
 * move.c: verifying new names and new places: rename, split, merge, slice,
 * pick, pad, concat, stack, window, fold.
 *
 * Sizes are at least 1 and their products were checked with the types; the
 * arithmetic on starts, steps and factors is checked here.
 */
#include "verify.h"

/* Operand i without an axis. */
static Type rest_of(const Verify *vf, Axis a)
{
    return type_without_axis(vf->m, operand_type(vf, 0), a);
}

static Type resized(const Verify *vf, Axis a, int64_t size)
{
    TypeAxis axis = *type_axis(vf->m, operand_type(vf, 0), a);
    axis.size = size;
    return type_with_axis(vf->m, operand_type(vf, 0), axis);
}

static bool check_listed_sizes(const Verify *vf, const AttrItem *to,
                               const char *rule)
{
    for (uint32_t i = 0; i < to->n; i++)
        if (!type_axis(vf->m, vf->in->type, to->axes[i]))
            return verify_fail(vf, "the result has no axis '%s' (%s)",
                               axis_name(vf->m, to->axes[i]), rule);
    return true;
}

/* ---------------------------------------------------------------- names -- */

bool verify_rename(const Verify *vf)
{
    const AttrItem *from = verify_list(vf, AT_from);
    const AttrItem *to = verify_list(vf, AT_to);
    Type t = operand_type(vf, 0);
    if (from->n != to->n)
        return verify_fail(vf, "%u axes get %u names (N1)", from->n, to->n);
    if (!check_axes(vf, 0, from, "N1")) return false;
    Type rest = type_without_axes(vf->m, t, from->axes, from->n);
    if (!check_new(vf, rest, to, "N2")) return false;
    return check_result(
        vf, type_renamed(vf->m, t, from->axes, to->axes, from->n), "N3");
}

static bool splits_divide(const Verify *vf, const TypeAxis *a)
{
    int64_t left = a->size;
    for (uint32_t i = 0; i < a->nsplits; i++) {
        int64_t n = vf->m->mesh.at[a->splits[i].id].size;
        if (left % n) return false;
        left /= n;
    }
    return a->spread == SPREAD_block;
}

/* The splits of the whole axis are those of its first part, which they
 * divide; in a local view the other parts are whole. */
static bool check_parts(const Verify *vf, Type parts, const AttrItem *list,
                        const char *rule)
{
    for (uint32_t i = 0; i < list->n; i++) {
        const TypeAxis *a = type_axis(vf->m, parts, list->axes[i]);
        const char *name = axis_name(vf->m, a->axis);
        if (!a->nsplits || !verify_is_local(vf)) continue;
        if (i > 0)
            return verify_fail(vf,
                               "axis '%s' is split and is not the first "
                               "part (%s)",
                               name, rule);
        if (!splits_divide(vf, a))
            return verify_fail(vf,
                               "axis '%s' is split and its parts do not "
                               "stay together (%s)",
                               name, rule);
    }
    return true;
}

static bool parts_size(const Verify *vf, Type t, const AttrItem *list,
                       int64_t *size)
{
    *size = 1;
    for (uint32_t i = 0; i < list->n; i++)
        if (__builtin_mul_overflow(*size, type_size(vf->m, t, list->axes[i]),
                                   size))
            return false;
    return true;
}

/* The type with `list` in place of one axis that has the splits of the
 * first. */
static Type merged_type(const Verify *vf, Type t, const AttrItem *list,
                        Axis axis, int64_t size)
{
    TypeAxis a = {.axis = axis};
    if (list->n) a = *type_axis(vf->m, t, list->axes[0]);
    a.axis = axis;
    a.size = size;
    Type rest = type_without_axes(vf->m, t, list->axes, list->n);
    return type_with_axis(vf->m, rest, a);
}

bool verify_split(const Verify *vf)
{
    const AttrItem *to = verify_list(vf, AT_to);
    Axis axis = verify_axis(vf);
    Type r = vf->in->type, x = operand_type(vf, 0);
    int64_t size;
    if (!check_axis(vf, 0, axis, "S1")) return false;
    if (!to->n) return verify_fail(vf, "into no axis (S1)");
    if (!check_new(vf, rest_of(vf, axis), to, "S2") ||
        !check_listed_sizes(vf, to, "S3"))
        return false;
    if (!parts_size(vf, r, to, &size) || size != type_size(vf->m, x, axis))
        return verify_fail(vf,
                           "the parts of axis '%s' make %lld, not %lld "
                           "(S1)",
                           axis_name(vf->m, axis), (long long)size,
                           (long long)type_size(vf->m, x, axis));
    if (!check_parts(vf, r, to, "S4")) return false;
    if (type_eq(merged_type(vf, r, to, axis, size), x)) return true;
    return verify_fail(vf, "its type is %s, which %s does not give (S3)",
                       type_str(vf->m, r), type_str(vf->m, x));
}

bool verify_merge(const Verify *vf)
{
    const AttrItem *from = verify_list(vf, AT_from);
    Axis axis = verify_axis(vf);
    Type x = operand_type(vf, 0);
    int64_t size;
    if (!from->n) return verify_fail(vf, "of no axis (G1)");
    if (!check_axes(vf, 0, from, "G1")) return false;
    Type rest = type_without_axes(vf->m, x, from->axes, from->n);
    if (type_axis(vf->m, rest, axis))
        return verify_fail(vf, "axis '%s' is there already (G2)",
                           axis_name(vf->m, axis));
    if (!check_parts(vf, x, from, "G4")) return false;
    if (!parts_size(vf, x, from, &size))
        return verify_fail(vf, "the merged axis is too long (G3)");
    return check_result(vf, merged_type(vf, x, from, axis, size), "G3");
}

/* --------------------------------------------------------------- places -- */

bool verify_slice(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    int64_t start = verify_int(vf, AT_start, 0);
    int64_t step = verify_int(vf, AT_step, 1);
    if (!check_whole(vf, 0, axis, "L2")) return false;
    int64_t n = type_size(vf->m, operand_type(vf, 0), axis);
    int64_t size = type_size(vf->m, vf->in->type, axis);
    if (size < 1) return check_result(vf, operand_type(vf, 0), "L3");
    if (step < 1 || start < 0 || start >= n ||
        (size - 1) > (n - 1 - start) / step)
        return verify_fail(vf,
                           "%lld indices from %lld by %lld are not within "
                           "axis '%s' of size %lld (L1)",
                           (long long)size, (long long)start, (long long)step,
                           axis_name(vf->m, axis), (long long)n);
    return check_result(vf, resized(vf, axis, size), "L3");
}

bool verify_pick(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    int64_t start = verify_int(vf, AT_start, 0);
    if (!check_whole(vf, 0, axis, "I2")) return false;
    int64_t n = type_size(vf->m, operand_type(vf, 0), axis);
    if (start < 0 || start >= n)
        return verify_fail(vf,
                           "index %lld is not within axis '%s' of size "
                           "%lld (I1)",
                           (long long)start, axis_name(vf->m, axis),
                           (long long)n);
    return check_result(vf, rest_of(vf, axis), "I2");
}

static bool padded_size(int64_t n, int64_t low, int64_t high, int64_t step,
                        int64_t *size)
{
    return !__builtin_mul_overflow(n - 1, step, size) &&
           !__builtin_add_overflow(*size, low + 1, size) &&
           !__builtin_add_overflow(*size, high, size);
}

bool verify_pad(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    int64_t low = verify_int(vf, AT_low, 0), high = verify_int(vf, AT_high, 0);
    int64_t step = verify_int(vf, AT_step, 1), size;
    if (!check_whole(vf, 0, axis, "D2") || !check_sum(vf, 0, "D3"))
        return false;
    int64_t n = type_size(vf->m, operand_type(vf, 0), axis);
    if (low < 0 || high < 0 || step < 1 || low == INT64_MAX ||
        !padded_size(n, low, high, step, &size))
        return verify_fail(vf,
                           "low %lld, high %lld, step %lld make no size "
                           "(D1)",
                           (long long)low, (long long)high, (long long)step);
    return check_result(vf, resized(vf, axis, size), "D2");
}

bool verify_concat(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    int64_t sum = 0;
    for (uint32_t i = 0; i < vf->in->nargs; i++) {
        if (!check_whole(vf, i, axis, "A1")) return false;
        int64_t n = type_size(vf->m, operand_type(vf, i), axis);
        Type like = resized(vf, axis, n);
        if (!type_eq(like, operand_type(vf, i)))
            return verify_fail(vf, "operands are %s and %s (A2)",
                               type_str(vf->m, operand_type(vf, 0)),
                               type_str(vf->m, operand_type(vf, i)));
        if (__builtin_add_overflow(sum, n, &sum))
            return verify_fail(vf, "axis '%s' is too long (A3)",
                               axis_name(vf->m, axis));
    }
    return check_result(vf, resized(vf, axis, sum), "A3");
}

bool verify_stack(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    Type t = operand_type(vf, 0);
    for (uint32_t i = 0; i < vf->in->nargs; i++)
        if (!type_eq(t, operand_type(vf, i)))
            return verify_fail(vf, "operands are %s and %s (T1)",
                               type_str(vf->m, t),
                               type_str(vf->m, operand_type(vf, i)));
    if (type_axis(vf->m, t, axis))
        return verify_fail(vf, "axis '%s' is there already (T2)",
                           axis_name(vf->m, axis));
    TypeAxis a = {.axis = axis, .size = vf->in->nargs};
    return check_result(vf, type_with_axis(vf->m, t, a), "T3");
}

/* -------------------------------------------------------------- windows -- */

/* Every index start + sum of coef * index fits 64 bits with room. */
static bool window_fits(const Verify *vf, Type t, const AttrItem *to,
                        const AttrItem *coef)
{
    const int64_t most = INT64_MAX / 4;
    int64_t start = verify_int(vf, AT_start, 0), reach = 0;
    if (start < -most || start > most) return false;
    for (uint32_t i = 0; i < to->n; i++) {
        int64_t c = coef->ints[i], far;
        if (c < -most || c > most) return false;
        if (__builtin_mul_overflow(
                c < 0 ? -c : c, type_size(vf->m, t, to->axes[i]) - 1, &far) ||
            __builtin_add_overflow(reach, far, &reach) || reach > most)
            return false;
    }
    return true;
}

static bool check_window(const Verify *vf, Type t, const AttrItem *to,
                         const char *rule)
{
    const AttrItem *coef = verify_list(vf, AT_coef);
    if (coef->n != to->n)
        return verify_fail(vf, "%u axes have %u factors (%s)", to->n, coef->n,
                           rule);
    if (!window_fits(vf, t, to, coef))
        return verify_fail(vf, "start and factors reach too far (%s)", rule);
    return true;
}

bool verify_window(const Verify *vf)
{
    const AttrItem *to = verify_list(vf, AT_to);
    Axis axis = verify_axis(vf);
    if (!check_whole(vf, 0, axis, "W1") || !check_sum(vf, 0, "W4") ||
        !check_new(vf, rest_of(vf, axis), to, "W2") ||
        !check_listed_sizes(vf, to, "W2") ||
        !check_window(vf, vf->in->type, to, "W3"))
        return false;
    Type t = rest_of(vf, axis);
    for (uint32_t i = 0; i < to->n; i++) {
        TypeAxis a = {.axis = to->axes[i]};
        a.size = type_size(vf->m, vf->in->type, a.axis);
        t = type_with_axis(vf->m, t, a);
    }
    return check_result(vf, t, "W1");
}

bool verify_fold(const Verify *vf)
{
    const AttrItem *to = verify_list(vf, AT_to);
    TypeAxis a = {.axis = verify_axis(vf)};
    Type x = operand_type(vf, 0);
    if (!check_axes(vf, 0, to, "F1") || !check_sum(vf, 0, "F4")) return false;
    for (uint32_t i = 0; i < to->n; i++)
        if (!check_whole(vf, 0, to->axes[i], "F1")) return false;
    Type rest = type_without_axes(vf->m, x, to->axes, to->n);
    if (type_axis(vf->m, rest, a.axis))
        return verify_fail(vf, "axis '%s' is there already (F2)",
                           axis_name(vf->m, a.axis));
    if (!check_window(vf, x, to, "F3")) return false;
    a.size = type_size(vf->m, vf->in->type, a.axis);
    return check_result(vf, type_with_axis(vf->m, rest, a), "F2");
}
