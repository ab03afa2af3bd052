/*
 * verify.c: every constraint of ir/ops.md, on any module that the parser or a
 * pass can make.
 *
 * First what is common to all ops: view, number of operands, attributes,
 * order, the type itself (V1 to V9).  The rule of the op, verify_<op>, runs
 * only on an instruction that has passed these, so it may look things up
 * without asking whether they are there.  One error for each instruction; an
 * instruction whose operand is wrong is not judged.
 */
#include "verify.h"

#include <string.h>

static bool (*const rules[])(const Verify *) = {
#define OP(name, least, most, flags, views, req, opt) \
    [OP_##name] = verify_##name,
#include "../ops.def"
#undef OP
};

/* ---------------------------------------------------------------- shape -- */

static const char *const view_names[] = {"global", "local", "kernel"};

static bool check_view(const Verify *vf) /* V1 */
{
    const OpInfo *op = op_info((Op)vf->in->op);
    if (op->views >> vf->fn->view & 1) return true;
    return verify_fail(vf, "the %s view has no such op (V1)",
                       view_names[vf->fn->view]);
}

static bool check_operand_count(const Verify *vf) /* V2 */
{
    const OpInfo *op = op_info((Op)vf->in->op);
    int n = vf->in->nargs;
    if (n < op->least)
        return verify_fail(vf, "%d operands, it takes at least %d (V2)", n,
                           op->least);
    if (op->most >= 0 && n > op->most)
        return verify_fail(vf, "%d operands, it takes at most %d (V2)", n,
                           op->most);
    return true;
}

static bool check_attrs(const Verify *vf) /* V3 */
{
    const OpInfo *op = op_info((Op)vf->in->op);
    const AttrInfo *info = &vf->m->attrs.at[vf->in->attr.id];
    uint64_t have = 0;
    for (uint32_t i = 0; i < info->n; i++) {
        AttrKey k = info->items[i].key;
        have |= UINT64_C(1) << k;
        if (!((op->required | op->optional) >> k & 1))
            return verify_fail(vf, "it has no attribute '%s' (V3)",
                               attr_name(k));
        if (attr_kind(k) == AK_fn && info->items[i].id >= vf->m->fns.n)
            return verify_fail(vf, "attribute '%s' names no function (V3)",
                               attr_name(k));
    }
    uint64_t missing = op->required & ~have;
    if (!missing) return true;
    return verify_fail(vf, "attribute '%s' is missing (V3)",
                       attr_name((AttrKey)__builtin_ctzll(missing)));
}

/* ---------------------------------------------------------------- types -- */

static bool type_fail(const Verify *vf, Type t, const char *why)
{
    return verify_fail(vf, "type %s %s (V5)", type_str(vf->m, t), why);
}

/* A mesh axis occurs once in a type, pending included.  There are few, so
 * each is looked for among those before it. */
static bool mesh_once(const Verify *vf, const TypeInfo *t)
{
    VEC(MeshAxis) seen = {0};
    for (uint32_t i = 0; i <= t->naxes; i++) {
        bool last = i == t->naxes;
        const MeshAxis *list = last ? t->pending : t->axes[i].splits;
        uint32_t n = last ? t->npending : t->axes[i].nsplits;
        for (uint32_t k = 0; k < n; k++) {
            for (uint32_t s = 0; s < seen.n; s++)
                if (seen.at[s].id == list[k].id) return false;
            vec_push(vf->m->scratch, &seen, list[k]);
        }
    }
    return true;
}

static bool check_tensor(const Verify *vf, Type type)
{
    const TypeInfo *t = type_info(vf->m, type);
    for (uint32_t i = 0; i < t->naxes; i++) {
        if (t->axes[i].size < 1)
            return type_fail(vf, type, "has an axis without a size");
        if (i && t->axes[i].axis.id == t->axes[i - 1].axis.id)
            return type_fail(vf, type, "has an axis twice");
    }
    if (!type_fits(vf->m, type, (View)vf->fn->view))
        return type_fail(vf, type, "is too large");
    if (!mesh_once(vf, t)) return type_fail(vf, type, "has a mesh axis twice");
    if (t->npending && dtype_class(t->dtype) == DC_bool)
        return type_fail(vf, type, "is bool and pending");
    if (t->npending && vf->fn->view == VIEW_global)
        return type_fail(vf, type, "is pending in the global view");
    return true;
}

/* Launches, loops and sends have no value. */
static bool needs_value(const Inst *in)
{
    return in->op != OP_launch && in->op != OP_loop && in->op != OP_send;
}

static bool check_tuple(const Verify *vf, const TypeInfo *t)
{
    for (uint32_t i = 0; i < t->nfields; i++) {
        const TypeInfo *f = type_info(vf->m, t->fields[i]);
        if (!t->fields[i].id || f->is_tuple || f->is_error)
            return type_fail(vf, vf->in->type, "has a field that is no tensor");
        if (!check_tensor(vf, t->fields[i])) return false;
    }
    uint8_t op = vf->in->op;
    if (op == OP_call || op == OP_repeat || op == OP_grad) return true;
    return type_fail(vf, vf->in->type, "is a tuple");
}

static bool check_type(const Verify *vf) /* V5 */
{
    const TypeInfo *t = type_info(vf->m, vf->in->type);
    bool has = vf->in->type.id != 0;
    if (has && t->is_error) return verify_fail(vf, "its type is wrong (V5)");
    if (!has && needs_value(vf->in))
        return verify_fail(vf, "it gives a value and has no type (V5)");
    if (has && (vf->in->op == OP_launch || vf->in->op == OP_loop))
        return verify_fail(vf, "it gives no value and has a type (V5)");
    if (!has) return true;
    return t->is_tuple ? check_tuple(vf, t) : check_tensor(vf, vf->in->type);
}

/* ------------------------------------------------------------- operands -- */

/* Ops that hand values on without computing with them. */
static bool passes_pending(Op op)
{
    return op == OP_call || op == OP_repeat || op == OP_map ||
           op == OP_reduce || op == OP_gather;
}

static bool check_operand(const Verify *vf, uint32_t i)
{
    Value v = operand_at(vf, i);
    if (v.id >= vf->v.id) /* V4 */
        return verify_fail(vf, "operand %s does not come before it (V4)",
                           verify_name(vf, v));
    const Inst *x = inst_of(vf->fn, v);
    const TypeInfo *t = type_info(vf->m, x->type);
    Op op = (Op)vf->in->op;
    if (!x->type.id) /* V6 */
        return verify_fail(vf, "an operand has no value (V6)");
    if (t->is_tuple && op != OP_proj)
        return verify_fail(vf, "operand %s is a tuple (V6)",
                           verify_name(vf, v));
    if (t->npending && !passes_pending(op) &&
        !(op_info(op)->flags & OPF_LINEAR)) /* V7 */
        return verify_fail(vf,
                           "operand %s is pending and the op is not "
                           "linear (V7)",
                           verify_name(vf, v));
    if (attr_flag(vf->m, x->attr, AT_started) && op != OP_done) /* V9 */
        return verify_fail(vf, "operand %s is not done (V9)",
                           verify_name(vf, v));
    if (vf->fn->view == VIEW_kernel && op != OP_launch &&
        (x->op == OP_counter || x->op == OP_coord))
        return verify_fail(vf,
                           "operand %s is a number by value: only launches "
                           "read it (CN3)",
                           verify_name(vf, v));
    return true;
}

/* The parameters are the first instructions, and nothing else is an arg. */
static bool check_arg_place(const Verify *vf) /* V8 */
{
    bool is_arg = vf->in->op == OP_arg;
    if (is_arg == (vf->v.id < vf->fn->nparams)) return true;
    return verify_fail(vf, "parameters come first, and only they are args "
                           "(V8)");
}

static bool check_common(const Verify *vf)
{
    if (!check_view(vf) || !check_arg_place(vf) || !check_operand_count(vf) ||
        !check_attrs(vf))
        return false;
    for (uint32_t i = 0; i < vf->in->nargs; i++)
        if (!check_operand(vf, i)) return false;
    return check_type(vf);
}

/* --------------------------------------------------------------- module -- */

static bool operand_wrong(const Verify *vf, const bool *wrong)
{
    for (uint32_t i = 0; i < vf->in->nargs; i++) {
        Value v = operand_at(vf, i);
        if (v.id < vf->v.id && wrong[v.id]) return true;
    }
    return false;
}

static bool verify_fn(Module *m, const Fn *fn)
{
    bool *wrong = NEW_ARRAY(m->scratch, bool, fn->ninsts);
    bool ok = true;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Verify vf = {m, fn, {i}, &fn->insts[i]};
        wrong[i] = operand_wrong(&vf, wrong) ||
                   !(check_common(&vf) && rules[vf.in->op](&vf));
        ok = ok && !wrong[i];
    }
    Verify vf = {.m = m, .fn = fn};
    return ok && verify_ports(&vf);
}

static bool check_mesh(Module *m)
{
    for (uint32_t i = 0; i < m->mesh.n; i++) {
        if (m->mesh.at[i].size >= 1) continue;
        diag_error(m->diag, DIAG_ir_verify, (Span){0},
                   "mesh axis '%s' has size %lld (FN1)",
                   str_of(m, m->mesh.at[i].name),
                   (long long)m->mesh.at[i].size);
        return false;
    }
    return true;
}

static bool check_names(Module *m)
{
    Map names;
    uint32_t other;
    map_init(&names, m->scratch);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        if (!map_find(&names, fn->name.id, &other)) {
            map_add(&names, fn->name.id, i);
            continue;
        }
        diag_error(m->diag, DIAG_ir_verify, loc_span(m, fn->loc),
                   "two functions are named @%s (FN2)", str_of(m, fn->name));
        return false;
    }
    return true;
}

bool module_verify(Module *m)
{
    bool ok = check_mesh(m) && check_names(m);
    if (!ok) return false;
    for (uint32_t i = 0; i < m->fns.n; i++)
        ok = verify_fn(m, m->fns.at[i]) && ok;
    return ok && verify_module_calls(m) && verify_module_order(m) &&
           verify_module_ranks(m);
}
