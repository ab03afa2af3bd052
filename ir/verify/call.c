/*
 * call.c: verifying grad, call, repeat and proj, and that no function calls
 * itself.
 */
#include "verify.h"

static const char *fn_text(const Verify *vf, const Fn *fn)
{
    return str_of(vf->m, fn->name);
}

static bool check_scalar(const Verify *vf, Type t, DType d, const char *what,
                         const char *rule)
{
    if (type_eq(t, type_scalar(vf->m, d))) return true;
    return verify_fail(vf, "%s is %s, not %s[] (%s)", what, type_str(vf->m, t),
                       dtype_name(d), rule);
}

/* ----------------------------------------------------------------- grad -- */

static bool is_plain_float(const Verify *vf, Type t)
{
    const TypeInfo *info = type_info(vf->m, t);
    return dtype_class(info->dtype) == DC_float && !info->npending;
}

bool verify_grad(const Verify *vf)
{
    uint32_t n = vf->in->nargs;
    Type *fields = NEW_ARRAY(vf->m->scratch, Type, n);
    Type loss = operand_type(vf, 0);
    if (type_info(vf->m, loss)->naxes || !is_plain_float(vf, loss))
        return verify_fail(vf, "the loss is %s, not a float scalar (Y1)",
                           type_str(vf->m, loss));
    for (uint32_t i = 1; i < n; i++) {
        fields[i - 1] = operand_type(vf, i);
        if (!is_plain_float(vf, fields[i - 1]))
            return verify_fail(vf, "operand %s is %s, not floats (Y2)",
                               verify_name(vf, operand_at(vf, i)),
                               type_str(vf->m, fields[i - 1]));
    }
    return check_result(vf, type_tuple(vf->m, fields, n - 1), "Y3");
}

/* ----------------------------------------------------------------- call -- */

static bool check_callee(const Verify *vf, const Fn *f, const char *rule)
{
    if (f->view == vf->fn->view && !f->entry) return true;
    return verify_fail(vf, "@%s is %s (%s)", fn_text(vf, f),
                       f->entry ? "an entry" : "of another view", rule);
}

static bool check_passed(const Verify *vf, const Fn *f, uint32_t i, Type have,
                         const char *rule)
{
    Type want = f->params[i].type;
    if (type_eq(have, want)) return true;
    return verify_fail(vf, "parameter %u of @%s is %s, it is given %s (%s)",
                       i + 1, fn_text(vf, f), type_str(vf->m, want),
                       type_str(vf->m, have), rule);
}

static bool check_count(const Verify *vf, const Fn *f, uint32_t nparams,
                        const char *rule)
{
    if (f->nparams == nparams) return true;
    return verify_fail(vf, "@%s has %u parameters, it is given %u (%s)",
                       fn_text(vf, f), f->nparams, nparams, rule);
}

bool verify_call(const Verify *vf)
{
    Module *m = vf->m;
    const Fn *f = fn_of(m, attr_fn(m, vf->in->attr, AT_fn));
    if (!check_callee(vf, f, "C3") || !check_count(vf, f, vf->in->nargs, "C1"))
        return false;
    for (uint32_t i = 0; i < vf->in->nargs; i++)
        if (!check_passed(vf, f, i, operand_type(vf, i), "C1")) return false;
    Type *fields = NEW_ARRAY(m->scratch, Type, f->nresults);
    for (uint32_t i = 0; i < f->nresults; i++)
        fields[i] = f->results[i].type;
    return check_result(
        vf, f->nresults == 1 ? fields[0] : type_tuple(m, fields, f->nresults),
        "C2");
}

/* --------------------------------------------------------------- repeat -- */

typedef struct RepeatInfo {
    const Fn *body;
    Axis axis;
    int64_t count;
    uint32_t carry, invariant;
} RepeatInfo;

static bool repeat_counts(const Verify *vf, RepeatInfo *r) /* B1 */
{
    int64_t carry = verify_int(vf, AT_carry, 0);
    int64_t invariant = verify_int(vf, AT_invariant, 0);
    int64_t n = vf->in->nargs;
    r->count = verify_int(vf, AT_count, 0);
    if (carry < 0 || invariant < 0 || carry > n || invariant > n - carry)
        return verify_fail(vf,
                           "%lld carried and %lld invariant of %lld "
                           "operands (B1)",
                           (long long)carry, (long long)invariant,
                           (long long)n);
    if (r->count < 1 || r->count > INT32_MAX)
        return verify_fail(vf, "%lld turns (B1)", (long long)r->count);
    r->carry = (uint32_t)carry;
    r->invariant = (uint32_t)invariant;
    return true;
}

static bool check_stacked(const Verify *vf, const RepeatInfo *r,
                          uint32_t i) /* B4 */
{
    const TypeAxis *a = type_axis(vf->m, operand_type(vf, i), r->axis);
    if (!check_axis(vf, i, r->axis, "B4")) return false;
    if (a->size != r->count || a->nsplits)
        return verify_fail(vf,
                           "operand %s has not one index of '%s' for each "
                           "of %lld turns (B4)",
                           verify_name(vf, operand_at(vf, i)),
                           axis_name(vf->m, r->axis), (long long)r->count);
    Type one = type_without_axis(vf->m, operand_type(vf, i), r->axis);
    return check_passed(vf, r->body, i, one, "B4");
}

static bool check_repeat_params(const Verify *vf, const RepeatInfo *r)
{
    uint32_t n = vf->in->nargs, whole = r->carry + r->invariant;
    if (!check_count(vf, r->body, n + 1, "B2")) return false;
    for (uint32_t i = 0; i < n; i++)
        if (i < whole ? !check_passed(vf, r->body, i, operand_type(vf, i), "B3")
                      : !check_stacked(vf, r, i))
            return false;
    return check_scalar(vf, r->body->params[n].type, DT_i32,
                        "the last parameter, the turn,", "B5");
}

static bool check_repeat_results(const Verify *vf, const RepeatInfo *r)
{
    const Fn *body = r->body;
    if (body->nresults < r->carry)
        return verify_fail(vf, "@%s has %u results for %u carried values (B6)",
                           fn_text(vf, body), body->nresults, r->carry);
    Type *fields = NEW_ARRAY(vf->m->scratch, Type, body->nresults);
    for (uint32_t i = 0; i < body->nresults; i++) {
        fields[i] = body->results[i].type;
        if (i < r->carry && !type_eq(fields[i], operand_type(vf, i)))
            return verify_fail(vf, "%s is carried as %s, @%s gives %s (B6)",
                               verify_name(vf, operand_at(vf, i)),
                               type_str(vf->m, operand_type(vf, i)),
                               fn_text(vf, body), type_str(vf->m, fields[i]));
        if (i < r->carry) continue;
        if (type_axis(vf->m, fields[i], r->axis))
            return verify_fail(vf, "result %u of @%s has the axis '%s' (B7)",
                               i + 1, fn_text(vf, body),
                               axis_name(vf->m, r->axis));
        TypeAxis a = {.axis = r->axis, .size = r->count};
        fields[i] = type_with_axis(vf->m, fields[i], a);
    }
    return check_result(vf, type_tuple(vf->m, fields, body->nresults), "B7");
}

static bool check_while(const Verify *vf, const RepeatInfo *r) /* B8 */
{
    if (!attr_get(vf->m, vf->in->attr, AT_while)) return true;
    const Fn *f = fn_of(vf->m, attr_fn(vf->m, vf->in->attr, AT_while));
    uint32_t n = r->carry + r->invariant;
    if (!check_callee(vf, f, "B8") || !check_count(vf, f, n, "B8"))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!check_passed(vf, f, i, operand_type(vf, i), "B8")) return false;
    if (f->nresults != 1)
        return verify_fail(vf, "@%s has %u results, not one (B8)",
                           fn_text(vf, f), f->nresults);
    return check_scalar(vf, f->results[0].type, DT_bool, "the condition", "B8");
}

bool verify_repeat(const Verify *vf)
{
    RepeatInfo r = {.axis = verify_axis(vf)};
    r.body = fn_of(vf->m, attr_fn(vf->m, vf->in->attr, AT_fn));
    return check_callee(vf, r.body, "B9") && repeat_counts(vf, &r) &&
           check_repeat_params(vf, &r) && check_repeat_results(vf, &r) &&
           check_while(vf, &r);
}

/* ----------------------------------------------------------------- proj -- */

bool verify_proj(const Verify *vf)
{
    const TypeInfo *t = type_info(vf->m, operand_type(vf, 0));
    int64_t i = verify_int(vf, AT_index, 0);
    if (!t->is_tuple)
        return verify_fail(vf, "operand %s is no tuple (J1)",
                           verify_name(vf, operand_at(vf, 0)));
    if (i < 0 || i >= t->nfields)
        return verify_fail(vf, "field %lld of %u (J2)", (long long)i,
                           t->nfields);
    return check_result(vf, t->fields[i], "J3");
}

/* ------------------------------------------------------------ recursion -- */

static const AttrKey callees[] = {AT_fn, AT_while};

/* Calls `visit` for each function that fn calls. */
static void each_callee(Module *m, const Fn *fn,
                        void (*visit)(uint32_t callee, const Inst *, void *),
                        void *user)
{
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < 2; k++) {
            const AttrItem *it = attr_get(m, in->attr, callees[k]);
            if (it) visit(it->id, in, user);
        }
    }
}

typedef struct Callers {
    uint32_t *n;        /* by function: calls of it that are left */
    VEC(uint32_t) free; /* functions that nobody left calls */
    Module *m;
    const Inst *at; /* a call of a function that has callers left */
    uint32_t callee;
} Callers;

static void count_call(uint32_t callee, const Inst *in, void *user)
{
    (void)in;
    ((Callers *)user)->n[callee]++;
}

static void drop_call(uint32_t callee, const Inst *in, void *user)
{
    Callers *c = user;
    (void)in;
    if (--c->n[callee] == 0) vec_push(c->m->scratch, &c->free, callee);
}

static void find_call(uint32_t callee, const Inst *in, void *user)
{
    Callers *c = user;
    if (!c->n[callee] || c->at) return;
    c->at = in;
    c->callee = callee;
}

/* Functions that nobody calls are taken away until none is left; what stays
 * is on a cycle, or called from one. */
bool verify_module_calls(Module *m)
{
    Callers c = {.n = NEW_ARRAY(m->scratch, uint32_t, m->fns.n), .m = m};
    for (uint32_t i = 0; i < m->fns.n; i++)
        each_callee(m, m->fns.at[i], count_call, &c);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (!c.n[i]) vec_push(m->scratch, &c.free, i);
    while (c.free.n)
        each_callee(m, m->fns.at[c.free.at[--c.free.n]], drop_call, &c);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!c.n[i]) continue;
        each_callee(m, m->fns.at[i], find_call, &c);
        if (!c.at) continue;
        diag_error(m->diag, DIAG_ir_verify, loc_span(m, c.at->loc),
                   "@%s is called by itself, through @%s (C4)",
                   str_of(m, m->fns.at[i]->name),
                   str_of(m, m->fns.at[c.callee]->name));
        return false;
    }
    return true;
}
