/*
 * comm.c: verifying what talks to other devices.
 *
 * `over` is one group, its first mesh axis outermost.  The mesh axes that a
 * collective gathers or scatters are the innermost splits of its axis, in the
 * group's order, so that the parts lie in the order of the devices.
 */
#include "verify.h"

static bool check_over(const Verify *vf, const char *rule)
{
    const AttrItem *over = verify_list(vf, AT_over);
    if (!over->n) return verify_fail(vf, "over no mesh axis (%s)", rule);
    for (uint32_t i = 1; i < over->n; i++)
        if (mesh_axes_have(over->mesh, i, over->mesh[i]))
            return verify_fail(vf, "mesh axis '%s' is listed twice (%s)",
                               mesh_name(vf->m, over->mesh[i]), rule);
    return true;
}

/* T with the splits of an axis replaced.  One that gets its first ones may be
 * spread either way, as the result says. */
static Type with_splits(const Verify *vf, Type t, Axis axis,
                        const MeshAxis *splits, uint32_t n)
{
    TypeAxis a = *type_axis(vf->m, t, axis);
    const TypeAxis *result = type_axis(vf->m, vf->in->type, axis);
    if (!a.nsplits && result) a.spread = result->spread;
    a.splits = splits;
    a.nsplits = n;
    if (!n) a.spread = SPREAD_block;
    return type_with_axis(vf->m, t, a);
}

/* T whose axis has lost its innermost splits, which are `over`. */
static bool gathered(const Verify *vf, Type *t, Axis axis, const char *rule)
{
    const AttrItem *over = verify_list(vf, AT_over);
    const TypeAxis *a = type_axis(vf->m, *t, axis);
    bool ends = a->nsplits >= over->n;
    for (uint32_t i = 0; ends && i < over->n; i++)
        ends = a->splits[a->nsplits - over->n + i].id == over->mesh[i].id;
    if (!ends)
        return verify_fail(vf,
                           "the innermost splits of axis '%s' are not "
                           "the mesh axes gathered (%s)",
                           axis_name(vf->m, axis), rule);
    *t = with_splits(vf, *t, axis, a->splits, a->nsplits - over->n);
    return true;
}

/* T whose axis has `over` as further, innermost splits. */
static Type scattered(const Verify *vf, Type t, Axis axis)
{
    const AttrItem *over = verify_list(vf, AT_over);
    const TypeAxis *a = type_axis(vf->m, t, axis);
    uint32_t n = a->nsplits + over->n;
    MeshAxis *splits = NEW_ARRAY(vf->m->scratch, MeshAxis, n);
    for (uint32_t i = 0; i < n; i++)
        splits[i] = i < a->nsplits ? a->splits[i] : over->mesh[i - a->nsplits];
    return with_splits(vf, t, axis, splits, n);
}

/* T with `over` no longer pending. */
static bool made(const Verify *vf, Type *t, const char *rule)
{
    const AttrItem *over = verify_list(vf, AT_over);
    TypeInfo info = *type_info(vf->m, *t);
    MeshAxis *left = NEW_ARRAY(vf->m->scratch, MeshAxis, info.npending);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info.npending; i++)
        if (!mesh_axes_have(over->mesh, over->n, info.pending[i]))
            left[n++] = info.pending[i];
    if (n + over->n != info.npending)
        return verify_fail(vf,
                           "operand %s is not pending over all of the "
                           "mesh axes (%s)",
                           verify_name(vf, operand_at(vf, 0)), rule);
    info.pending = left;
    info.npending = n;
    *t = type_intern(vf->m, &info);
    return true;
}

/* ------------------------------------------------ types without splits -- */

/* T with the group axis. */
static Type with_group(const Verify *vf, Type t, Axis group)
{
    const AttrItem *over = verify_list(vf, AT_over);
    return type_with_axis(
        vf->m, t,
        (TypeAxis){.axis = group,
                   .size = group_size(vf->m, over->mesh, over->n)});
}

/* The operand has it, with an index for each device. */
static bool check_group(const Verify *vf, Axis group, const char *rule)
{
    const AttrItem *over = verify_list(vf, AT_over);
    if (!check_axis(vf, 0, group, rule)) return false;
    int64_t size = type_size(vf->m, operand_type(vf, 0), group);
    int64_t want = group_size(vf->m, over->mesh, over->n);
    if (size == want) return true;
    return verify_fail(vf, "axis '%s' has %lld indices for %lld devices (%s)",
                       axis_name(vf->m, group), (long long)size,
                       (long long)want, rule);
}

static bool check_kind(const Verify *vf, const char *rule)
{
    if (attr_is(vf->m, vf->in->attr, AT_kind, "sum") ||
        attr_is(vf->m, vf->in->attr, AT_kind, "max"))
        return true;
    return verify_fail(vf, "kind '%s' is not sum or max (%s)",
                       str_of(vf->m, attr_str(vf->m, vf->in->attr, AT_kind)),
                       rule);
}

static bool is_dense(const Verify *vf, Axis *group)
{
    return collective_is_dense(vf->m, vf->fn, vf->in, group);
}

bool verify_all_gather(const Verify *vf)
{
    Type t = operand_type(vf, 0);
    Axis axis = verify_axis(vf);
    if (is_dense(vf, &axis))
        return check_over(vf, "AG1") &&
               check_result(vf, with_group(vf, t, axis), "AG4");
    return check_over(vf, "AG1") && check_axis(vf, 0, axis, "AG2") &&
           gathered(vf, &t, axis, "AG2") && check_result(vf, t, "AG3");
}

bool verify_reduce_scatter(const Verify *vf)
{
    Type t = operand_type(vf, 0);
    Axis axis = verify_axis(vf);
    if (is_dense(vf, &axis))
        return check_over(vf, "RS1") && check_settled(vf, 0, "RS5") &&
               check_kind(vf, "RS5") && check_group(vf, axis, "RS5") &&
               check_result(vf, type_without_axis(vf->m, t, axis), "RS6");
    return check_over(vf, "RS1") && check_axis(vf, 0, axis, "RS2") &&
           made(vf, &t, "RS3") &&
           check_result(vf, scattered(vf, t, axis), "RS4");
}

bool verify_cut(const Verify *vf)
{
    Axis axis = verify_axis(vf);
    return check_over(vf, "CT1") && check_axis(vf, 0, axis, "CT2") &&
           check_result(vf, scattered(vf, operand_type(vf, 0), axis), "CT3");
}

bool verify_all_reduce(const Verify *vf)
{
    Type t = operand_type(vf, 0);
    Axis none;
    if (is_dense(vf, &none))
        return check_over(vf, "AR1") && check_settled(vf, 0, "AR4") &&
               check_kind(vf, "AR4") && check_result(vf, t, "AR4");
    return check_over(vf, "AR1") && made(vf, &t, "AR2") &&
           check_result(vf, t, "AR3");
}

bool verify_all_to_all(const Verify *vf)
{
    Type t = operand_type(vf, 0);
    const AttrItem *from = verify_list(vf, AT_from);
    const AttrItem *to = verify_list(vf, AT_to);
    Axis group;
    if (attr_int(vf->m, vf->in->attr, AT_steps, 1) < 1)
        return verify_fail(vf, "what is exchanged comes in at least one step "
                               "(AA6)");
    if (from->n == 1 && to->n == 1 && is_dense(vf, &group))
        return check_over(vf, "AA1") && check_group(vf, group, "AA5") &&
               check_result(vf, t, "AA5");
    if (from->n != 1 || to->n != 1)
        return verify_fail(vf, "the split moves from one axis to another "
                               "(AA2)");
    return check_over(vf, "AA1") && check_axes(vf, 0, from, "AA2") &&
           check_axes(vf, 0, to, "AA2") &&
           gathered(vf, &t, from->axes[0], "AA3") &&
           check_result(vf, scattered(vf, t, to->axes[0]), "AA4");
}

/* T without what is pending over the splits of an axis. */
static Type settled(const Verify *vf, Type t, const TypeAxis *a)
{
    TypeInfo info = *type_info(vf->m, t);
    MeshAxis *left = NEW_ARRAY(vf->m->scratch, MeshAxis, info.npending);
    uint32_t n = 0;
    for (uint32_t i = 0; i < info.npending; i++)
        if (!mesh_axes_have(a->splits, a->nsplits, info.pending[i]))
            left[n++] = info.pending[i];
    info.pending = left;
    info.npending = n;
    if (!n) info.pending_kind = PENDING_none;
    return type_intern(vf->m, &info);
}

static bool divides(const Verify *vf, const TypeAxis *a)
{
    int64_t parts = a->spread == SPREAD_zig && a->nsplits ? 2 : 1;
    for (uint32_t i = 0; i < a->nsplits; i++)
        parts *= vf->m->mesh.at[a->splits[i].id].size;
    return a->size % parts == 0;
}

bool verify_part(const Verify *vf)
{
    const AttrItem *from = verify_list(vf, AT_from);
    const AttrItem *to = verify_list(vf, AT_to);
    Type t = operand_type(vf, 0);
    if (from->n != 1 || to->n != 1)
        return verify_fail(vf, "a part of one axis gets one name (PT1)");
    if (!check_axes(vf, 0, from, "PT1")) return false;
    const TypeAxis *a = type_axis(vf->m, t, from->axes[0]);
    const TypeAxis *b = type_axis(vf->m, vf->in->type, to->axes[0]);
    Type rest = type_without_axis(vf->m, t, from->axes[0]);
    if (!check_new(vf, rest, to, "PT2")) return false;
    if (!b || (a->nsplits && b->nsplits) || !divides(vf, a) ||
        !divides(vf, b) ||
        type_local_size(vf->m, a) != type_local_size(vf->m, b))
        return verify_fail(vf,
                           "the part of '%s' on a device is not that of "
                           "'%s' (PT3)",
                           axis_name(vf->m, from->axes[0]),
                           axis_name(vf->m, to->axes[0]));
    TypeAxis part = *b;
    rest = settled(vf, rest, &part);
    return check_result(vf, type_with_axis(vf->m, rest, part), "PT4");
}

bool verify_permute(const Verify *vf)
{
    return check_over(vf, "PM1") &&
           check_result(vf, operand_type(vf, 0), "PM2");
}

static bool is_started(const Verify *vf, Value v)
{
    return attr_flag(vf->m, inst_of(vf->fn, v)->attr, AT_started);
}

bool verify_done(const Verify *vf)
{
    if (!is_started(vf, operand_at(vf, 0)))
        return verify_fail(vf, "operand %s was not started (DN1)",
                           verify_name(vf, operand_at(vf, 0)));
    return check_result(vf, operand_type(vf, 0), "DN2");
}

bool verify_pending(const Verify *vf)
{
    Module *m = vf->m;
    const AttrItem *over = verify_list(vf, AT_over);
    TypeInfo info = *type_info(m, operand_type(vf, 0));
    Str word = attr_str(m, vf->in->attr, AT_kind);
    bool max = word.id && attr_is(m, vf->in->attr, AT_kind, "max");
    PendingKind kind = max ? PENDING_max : PENDING_sum;
    if (!check_over(vf, "PE1")) return false;
    if (word.id && !max && !attr_is(m, vf->in->attr, AT_kind, "sum"))
        return verify_fail(vf, "kind '%s' is not sum or max (PE2)",
                           str_of(m, word));
    if (info.npending && info.pending_kind != kind)
        return verify_fail(vf, "operand %s is pending in another kind (PE2)",
                           verify_name(vf, operand_at(vf, 0)));
    uint32_t n = info.npending;
    MeshAxis *all = NEW_ARRAY(m->scratch, MeshAxis, n + over->n);
    for (uint32_t i = 0; i < n + over->n; i++)
        all[i] = i < n ? info.pending[i] : over->mesh[i - n];
    info.pending = all;
    info.npending = n + over->n;
    info.pending_kind = kind;
    return check_result(vf, type_intern(m, &info), "PE3");
}

/* T without splits, and with nothing pending. */
static Type plain(const Verify *vf, Type t)
{
    const TypeInfo *info = type_info(vf->m, t);
    return type_tensor(vf->m, info->dtype, info->axes, info->naxes);
}

bool verify_reshard(const Verify *vf)
{
    const TypeInfo *x = type_info(vf->m, operand_type(vf, 0));
    const TypeInfo *y = type_info(vf->m, vf->in->type);
    if (y->is_tuple ||
        !type_eq(plain(vf, operand_type(vf, 0)), plain(vf, vf->in->type)))
        return verify_fail(vf, "its type is %s, that of the operand %s (RH2)",
                           type_str(vf->m, vf->in->type),
                           type_str(vf->m, operand_type(vf, 0)));
    if (x->npending && y->npending && x->pending_kind != y->pending_kind)
        return verify_fail(vf, "operand %s is pending in another kind (RH3)",
                           verify_name(vf, operand_at(vf, 0)));
    return true;
}

bool verify_coord(const Verify *vf)
{
    return check_over(vf, "CO1") &&
           check_result(vf, type_scalar(vf->m, DT_i32), "CO2");
}

/* Only rank functions have effects; in the kernel view, what they launch. */
static bool check_rank(const Verify *vf, const char *rule)
{
    if (fn_is(vf->m, vf->fn, FK_rank) || fn_is(vf->m, vf->fn, FK_collective))
        return true;
    return verify_fail(vf, "only a rank function has it (%s)", rule);
}

static bool check_peer(const Verify *vf, const char *rule)
{
    if (verify_int(vf, AT_peer, 0) >= 0 && verify_int(vf, AT_channel, 0) >= 0)
        return true;
    return verify_fail(vf, "peer and channel count from 0 (%s)", rule);
}

bool verify_send(const Verify *vf)
{
    return check_rank(vf, "SE1") && check_peer(vf, "SE2") &&
           (!vf->in->type.id || check_result(vf, operand_type(vf, 0), "SE3"));
}

bool verify_recv(const Verify *vf)
{
    return check_rank(vf, "RC1") && check_peer(vf, "RC2");
}
