/*
 * label.c: the names by which a plan speaks of values.
 *
 * A matmul has the path of the parameter that it contracts, a region that of
 * the module that it was found in, any value the name that the program gives
 * it.  A plan may leave out the front of a path.  A matmul that is quantised
 * contracts the same parameter (scaled.c), so it is called as it was.
 */
#include "remat.h"

Value taken_from(const Fn *fn, Value v)
{
    for (;;) {
        const Inst *in = inst_of(fn, v);
        switch ((Op)in->op) {
        case OP_map:
            if (in->nargs != 1) return v;
            break;
        case OP_rename:
        case OP_split:
        case OP_merge:
        case OP_slice:
        case OP_pick:
        case OP_gather:
        case OP_all_gather:
            break;
        default:
            return v;
        }
        v = inst_arg(fn, in, 0);
    }
}

static bool is_param(const Fn *fn, Value v)
{
    return v.id < fn->nparams;
}

bool find_caller(const Module *m, const Fn *fn, uint32_t i, const Fn **caller,
                 Value *operand)
{
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *at = m->fns.at[f];
        for (uint32_t k = 0; at && k < at->ninsts; k++) {
            const Inst *in = &at->insts[k];
            if (in->op != OP_repeat && in->op != OP_call) continue;
            const Fn *called = fn_of(m, attr_fn(m, in->attr, AT_fn));
            if (called->name.id != fn->name.id || i >= in->nargs) continue;
            *caller = at;
            *operand = inst_arg(at, in, i);
            return true;
        }
    }
    return false;
}

/* What V is made of first, SUMMED: or summed up from. */
static Value origin_of(const Fn *fn, Value v, bool summed)
{
    v = taken_from(fn, v);
    while (summed && is_between(inst_of(fn, v)))
        v = inst_arg(fn, inst_of(fn, v), 0);
    return v;
}

/* The port of the slot that parameter I of FN is, through its callers.  SUMMED:
 * or that it is made of, as a scale is. */
static const Port *slot_port(const Module *m, const Fn *fn, uint32_t i,
                             bool summed)
{
    enum { MOST_LEVELS = 64 };
    for (uint32_t level = 0; level < MOST_LEVELS; level++) {
        Value operand;
        if (fn->entry) {
            const Port *port = &fn->params[i];
            return role_is_slot(port->role) ? port : NULL;
        }
        if (!find_caller(m, fn, i, &fn, &operand)) return NULL;
        operand = origin_of(fn, operand, summed);
        if (!is_param(fn, operand)) return NULL;
        i = operand.id;
    }
    return NULL;
}

static Value param_of(const Module *m, const Fn *of, Value v, bool arrow)
{
    const Inst *in = inst_of(of, v);
    for (uint32_t k = 0; in->op == OP_einsum && k < in->nargs; k++) {
        Value from = scaled_from(m, of, inst_arg(of, in, k));
        if (!is_param(of, from)) continue;
        const Port *port = slot_port(m, of, from.id, false);
        const Slot *slot = port ? slot_find(m, port->path) : NULL;
        if (arrow ? slot && slot->nfrom : port != NULL) return from;
    }
    return NO_VALUE;
}

Value layer_param(const Module *m, const Fn *of, Value v)
{
    return param_of(m, of, v, true);
}

Value linear_param(const Module *m, const Fn *of, Value v)
{
    Value layer = layer_param(m, of, v);
    return value_eq(layer, NO_VALUE) ? param_of(m, of, v, false) : layer;
}

const char *forward_path(Module *m, const Fn *forward)
{
    const char *name = str_of(m, forward->name), *end = NULL;
    for (const char *at = name; (at = strstr(at, ".forward")); at++)
        end = at;
    size_t n = end ? (size_t)(end - name) : strlen(name);
    return arena_strndup(m->scratch, name, n);
}

const char *param_path(const Module *m, const Fn *of, Value param)
{
    const Port *port = slot_port(m, of, param.id, true);
    if (!port) return NULL;
    /* a stage's part is called so too */
    const Slot *slot = slot_find(m, port->path);
    return str_of(m, slot && slot->whole.id ? slot->whole : port->path);
}

const char *linear_path(const Module *m, const Fn *of, Value v)
{
    Value param = linear_param(m, of, v);
    return value_eq(param, NO_VALUE) ? NULL : param_path(m, of, param);
}

/* What a matmul gives is called by its parameter; moved, by a name of its own,
 * if it has one. */
const char *label_of(Module *m, const Pair *p, Value v)
{
    const Inst *in = inst_of(p->of, v);
    bool moved = in->op != OP_einsum && in->op != OP_map;
    Str name = p->of->names[v.id];
    const char *path =
        moved && name.id ? NULL : linear_path(m, p->of, p->products[v.id]);
    if (path) return path;
    if (in->op == OP_call)
        return forward_path(m, fn_of(m, attr_fn(m, in->attr, AT_fn)));
    return name.id ? str_of(m, name) : NULL;
}

/* A name without the number that tells values of one name apart in text. */
static const char *name_alone(Module *m, const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name || strspn(dot + 1, "0123456789") != strlen(dot + 1))
        return name;
    return arena_strndup(m->scratch, name, (size_t)(dot - name));
}

static bool is_called(Module *m, const Fn *fn, uint32_t v, const char *name)
{
    if (!fn->names[v].id) return false;
    const char *text = str_of(m, fn->names[v]);
    return path_ends(text, name) || path_ends(name_alone(m, text), name);
}

/* A product is called as what it is with its scales, too. */
bool is_named(Module *m, const Pair *p, Value v, const char *name)
{
    const char *label = label_of(m, p, v);
    if (label && path_ends(label, name)) return true;
    bool product = inst_of(p->of, v)->op == OP_einsum;
    for (uint32_t i = v.id; product && i < p->of->ninsts; i++)
        if (value_eq(p->products[i], v) && is_called(m, p->of, i, name))
            return true;
    return is_called(m, p->of, v.id, name);
}
