/*
 * ports.c: verifying the parameters and the results of a function.
 */
#include "verify.h"

static bool port_fail(const Verify *vf, Loc loc, const char *what, uint32_t i,
                      const char *why)
{
    diag_error(vf->m->diag, DIAG_ir_verify, loc_span(vf->m, loc),
               "%s %u of @%s %s", what, i + 1, str_of(vf->m, vf->fn->name),
               why);
    return false;
}

/* One value: no tuple, no error. */
static bool is_tensor(const Verify *vf, Type t)
{
    const TypeInfo *info = type_info(vf->m, t);
    return t.id && !info->is_error && !info->is_tuple;
}

/* A port of a part has the type of what one device holds. */
static bool check_part(const Verify *vf, const Port *p, const char *what,
                       uint32_t i)
{
    if (!p->whole.id) return true;
    Loc loc = p->loc.id ? p->loc : vf->fn->loc;
    if (!is_tensor(vf, p->whole) || vf->fn->view == VIEW_global)
        return port_fail(vf, loc, what, i, "is a part of no tensor (PA2)");
    if (type_eq(type_local(vf->m, p->whole), p->type)) return true;
    return port_fail(
        vf, loc, what, i,
        arena_printf(vf->m->scratch,
                     "is %s, and one device holds %s of the whole (PA2)",
                     type_str(vf->m, p->type),
                     type_str(vf->m, type_local(vf->m, p->whole))));
}

static bool check_params(const Verify *vf)
{
    for (uint32_t i = 0; i < vf->fn->nparams; i++) {
        const Port *p = &vf->fn->params[i];
        if (!is_tensor(vf, p->type))
            return port_fail(vf, p->loc, "parameter", i, "is no tensor (PA1)");
        if (!type_eq(p->type, vf->fn->insts[i].type))
            return port_fail(vf, p->loc, "parameter", i,
                             "has another type than its value (PA1)");
        if (!check_part(vf, p, "parameter", i)) return false;
    }
    return true;
}

static bool check_result_value(const Verify *vf, uint32_t i)
{
    const Fn *fn = vf->fn;
    const Port *p = &fn->results[i];
    Loc loc = p->loc.id ? p->loc : fn->loc;
    if (fn->result_values[i].id >= fn->ninsts)
        return port_fail(vf, loc, "result", i, "is no value (RE1)");
    Type t = value_type(fn, fn->result_values[i]);
    if (!is_tensor(vf, t))
        return port_fail(vf, loc, "result", i, "is no tensor (RE1)");
    if (attr_flag(vf->m, inst_of(fn, fn->result_values[i])->attr, AT_started))
        return port_fail(vf, loc, "result", i, "is not done (V9)");
    if (type_eq(p->type, t)) return check_part(vf, p, "result", i);
    const char *why =
        arena_printf(vf->m->scratch,
                     "is declared %s and is %s "
                     "(RE1)",
                     type_str(vf->m, p->type), type_str(vf->m, t));
    return port_fail(vf, loc, "result", i, why);
}

/* In the kernel view an entry's results are places, and nothing else has
 * results. */
static bool check_kernel_result(const Verify *vf, uint32_t i)
{
    const Fn *fn = vf->fn;
    uint8_t op = inst_of(fn, fn->result_values[i])->op;
    if (fn->view != VIEW_kernel) return true;
    if (!fn->entry)
        return port_fail(vf, fn->loc, "result", i,
                         "of a kernel function that is no entry (RE2)");
    if (op == OP_arg || op == OP_buffer) return true;
    return port_fail(vf, fn->loc, "result", i,
                     "is no argument or buffer (RE2)");
}

/* The next value of a parameter or state has the type of its slot. */
static bool check_next(const Verify *vf, uint32_t i)
{
    const Fn *fn = vf->fn;
    const Port *r = &fn->results[i];
    if ((r->role != ROLE_param && r->role != ROLE_state) || !r->path.id)
        return true;
    for (uint32_t k = 0; k < fn->nparams; k++) {
        const Port *p = &fn->params[k];
        if (p->role != r->role || !str_eq(p->path, r->path)) continue;
        if (!type_eq(p->type, r->type))
            return port_fail(vf, r->loc.id ? r->loc : fn->loc, "result", i,
                             "is the next value of a parameter of another "
                             "type (RE3)");
    }
    return true;
}

bool verify_ports(const Verify *vf)
{
    if (!check_params(vf)) return false;
    for (uint32_t i = 0; i < vf->fn->nresults; i++)
        if (!check_result_value(vf, i) || !check_kernel_result(vf, i) ||
            !check_next(vf, i))
            return false;
    return true;
}
