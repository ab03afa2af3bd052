/*
 * check.c: the checks that several rules share.
 */
#include "verify.h"

#include <stdarg.h>

const char *verify_name(const Verify *vf, Value v)
{
    Str name = v.id < vf->fn->ninsts ? vf->fn->names[v.id] : (Str){0};
    if (name.id)
        return arena_printf(vf->m->scratch, "%%%s", str_of(vf->m, name));
    return arena_printf(vf->m->scratch, "%%%u", v.id);
}

bool verify_fail(const Verify *vf, const char *fmt, ...)
{
    Buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    const char *op = op_info((Op)vf->in->op)->name;
    const char *name =
        vf->in->type.id ? verify_name(vf, vf->v) : str_of(vf->m, vf->fn->name);
    diag_error(vf->m->diag, DIAG_ir_verify, loc_span(vf->m, vf->in->loc),
               vf->in->type.id ? "%s %s: %s" : "%s in @%s: %s", op, name,
               text.at);
    buf_release(&text);
    return false;
}

Value operand_at(const Verify *vf, uint32_t i)
{
    return inst_arg(vf->fn, vf->in, i);
}

Type operand_type(const Verify *vf, uint32_t i)
{
    return value_type(vf->fn, operand_at(vf, i));
}

DType operand_dtype(const Verify *vf, uint32_t i)
{
    return type_dtype(vf->m, operand_type(vf, i));
}

bool verify_is_local(const Verify *vf)
{
    return vf->fn->view == VIEW_local;
}

Axis verify_axis(const Verify *vf)
{
    return attr_axis(vf->m, vf->in->attr, AT_axis);
}

const AttrItem *verify_list(const Verify *vf, AttrKey k)
{
    return attr_get(vf->m, vf->in->attr, k);
}

int64_t verify_int(const Verify *vf, AttrKey k, int64_t otherwise)
{
    return attr_int(vf->m, vf->in->attr, k, otherwise);
}

static bool is_whole_number(DType d)
{
    return dtype_class(d) == DC_int || dtype_class(d) == DC_uint;
}

bool check_result(const Verify *vf, Type want, const char *rule)
{
    if (type_eq(vf->in->type, want)) return true;
    return verify_fail(vf, "its type is %s, but the operands give %s (%s)",
                       type_str(vf->m, vf->in->type), type_str(vf->m, want),
                       rule);
}

bool check_axis(const Verify *vf, uint32_t i, Axis a, const char *rule)
{
    if (type_axis(vf->m, operand_type(vf, i), a)) return true;
    return verify_fail(vf, "operand %s has no axis '%s' (%s)",
                       verify_name(vf, operand_at(vf, i)), axis_name(vf->m, a),
                       rule);
}

bool check_whole(const Verify *vf, uint32_t i, Axis a, const char *rule)
{
    if (!check_axis(vf, i, a, rule)) return false;
    if (!verify_is_local(vf) ||
        !type_axis(vf->m, operand_type(vf, i), a)->nsplits)
        return true;
    return verify_fail(vf, "axis '%s' of operand %s is split (%s)",
                       axis_name(vf->m, a), verify_name(vf, operand_at(vf, i)),
                       rule);
}

static bool check_once(const Verify *vf, const AttrItem *axes, const char *rule)
{
    for (uint32_t i = 0; i < axes->n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (axes->axes[i].id == axes->axes[k].id)
                return verify_fail(vf, "axis '%s' is listed twice (%s)",
                                   axis_name(vf->m, axes->axes[i]), rule);
    return true;
}

bool check_axes(const Verify *vf, uint32_t i, const AttrItem *axes,
                const char *rule)
{
    for (uint32_t k = 0; k < axes->n; k++)
        if (!check_axis(vf, i, axes->axes[k], rule)) return false;
    return check_once(vf, axes, rule);
}

bool check_new(const Verify *vf, Type rest, const AttrItem *axes,
               const char *rule)
{
    for (uint32_t k = 0; k < axes->n; k++)
        if (type_axis(vf->m, rest, axes->axes[k]))
            return verify_fail(vf, "axis '%s' is there already (%s)",
                               axis_name(vf->m, axes->axes[k]), rule);
    return check_once(vf, axes, rule);
}

bool check_aligned(const Verify *vf, Type a, Type b, const char *rule)
{
    const TypeInfo *info = type_info(vf->m, a);
    for (uint32_t i = 0; i < info->naxes; i++) {
        const TypeAxis *x = &info->axes[i], *y = type_axis(vf->m, b, x->axis);
        const char *name = axis_name(vf->m, x->axis);
        if (!y) continue;
        if (x->size != y->size)
            return verify_fail(vf, "axis '%s' has size %lld and %lld (%s)",
                               name, (long long)x->size, (long long)y->size,
                               rule);
        if (!splits_same(x, y))
            return verify_fail(vf, "axis '%s' is split in two ways (%s)", name,
                               rule);
    }
    return true;
}

bool check_ids(const Verify *vf, uint32_t i, const char *rule)
{
    if (is_whole_number(operand_dtype(vf, i))) return true;
    return verify_fail(vf, "indices %s are %s, not integers (%s)",
                       verify_name(vf, operand_at(vf, i)),
                       dtype_name(operand_dtype(vf, i)), rule);
}

bool check_acc(const Verify *vf, DType d, const char *rule)
{
    DType acc = attr_dtype(vf->m, vf->in->attr, AT_acc, dtype_acc(d));
    if (dtype_computes(acc) && dtype_class(acc) == dtype_class(d)) return true;
    return verify_fail(vf, "%s values cannot be added up in %s (%s)",
                       dtype_name(d), dtype_name(acc), rule);
}

bool check_dtype(const Verify *vf, DType d, const char *rule)
{
    DType have = type_dtype(vf->m, vf->in->type);
    DType acc = attr_dtype(vf->m, vf->in->attr, AT_acc, dtype_acc(d));
    if (have == d || have == acc) return true;
    return verify_fail(vf,
                       "its dtype is %s, not that of the operand, %s%s%s "
                       "(%s)",
                       dtype_name(have), dtype_name(d),
                       acc == d ? "" : ", or of the sum, ",
                       acc == d ? "" : dtype_name(acc), rule);
}

bool check_sum(const Verify *vf, uint32_t i, const char *rule)
{
    const TypeInfo *t = type_info(vf->m, operand_type(vf, i));
    if (t->pending_kind != PENDING_max) return true;
    return verify_fail(vf, "operand %s is a pending maximum (%s)",
                       verify_name(vf, operand_at(vf, i)), rule);
}

bool check_settled(const Verify *vf, uint32_t i, const char *rule)
{
    if (!type_info(vf->m, operand_type(vf, i))->npending) return true;
    return verify_fail(vf, "operand %s is pending (%s)",
                       verify_name(vf, operand_at(vf, i)), rule);
}

Type summed_type(const Verify *vf, Type t, const Axis *axes, uint32_t n,
                 PendingKind kind)
{
    Module *m = vf->m;
    TypeInfo info = *type_info(m, type_without_axes(m, t, axes, n));
    VEC(MeshAxis) pending = {0};
    for (uint32_t i = 0; i < info.npending; i++)
        vec_push(m->scratch, &pending, info.pending[i]);
    for (uint32_t i = 0; i < n && verify_is_local(vf); i++) {
        const TypeAxis *a = type_axis(m, t, axes[i]);
        for (uint32_t k = 0; a && k < a->nsplits; k++)
            vec_push(m->scratch, &pending, a->splits[k]);
    }
    if (pending.n > info.npending) info.pending_kind = kind;
    info.pending = pending.at;
    info.npending = pending.n;
    return type_intern(m, &info);
}
