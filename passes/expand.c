/*
 * expand.c: groups and repeats become launches and loops on buffers.
 *
 *   needs    grouped local functions
 *   gives    kernel view: each entry is a kernel function (a function that
 *            nobody calls becomes an entry), each repeat a loop over one;
 *            groups stay local functions
 *   keeps    the ports of entries, the order of groups, names and places of
 *            source
 *   result   every value has a place; places are not planned yet
 *
 * Names and places of values (rename, split, slice, concat, ...) become views
 * and placements; what cannot is copied.  Parameters and states are updated in
 * the place of their slot where nobody reads the old value afterwards.
 *
 * The axes of repeats are outermost in memory, so that one turn's part of a
 * stacked value is in one piece; axes of tiles are not.  A renamed axis stays
 * where it was (expand/order.c).
 */
#include "expand/expand.h"

/* Marks bodies and conditions. */
static void find_bodies(const Module *m, bool *is_body)
{
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            const Inst *in = &fn->insts[i];
            if (in->op != OP_repeat) continue;
            is_body[attr_fn(m, in->attr, AT_fn).id] = true;
            if (attr_get(m, in->attr, AT_while))
                is_body[attr_fn(m, in->attr, AT_while).id] = true;
        }
    }
}

static bool is_group(const Module *m, const Fn *fn)
{
    return !fn_is(m, fn, FK_none) && !fn_is(m, fn, FK_rank) &&
           !fn_is_tile(m, fn);
}

static Layout port_layout(Expand *x, const Port *port)
{
    return role_is_slot(port->role) ? slot_layout(x, port->path, port->type)
                                    : layout_dense(x->m, port->type, x->a);
}

/* The argument that stands for the block in which argument I lies, other than
 * itself. */
static bool find_around(const Expand *x, const Fn *fn, uint32_t i,
                        const Member **member, uint32_t *around)
{
    const Port *port = &fn->params[i];
    *member = port->role == ROLE_param ? block_member(x, port->path) : NULL;
    for (*around = 0; *member && *around < i; ++*around)
        if (fn->params[*around].role == ROLE_param &&
            str_eq(fn->params[*around].path, (*member)->first))
            return true;
    return false;
}

static Home entry_arg(Scene *s, Builder *b, const Fn *fn, uint32_t i,
                      const Home *args)
{
    Expand *x = s->x;
    const Port *port = &fn->params[i];
    const Member *member;
    uint32_t around;
    Home h = {.layout = port_layout(x, port)};
    AttrList list = {.n = 0};
    Value v = builder_param(b, *port);
    layout_put_stride(x->m, h.layout, &list);
    if (find_around(x, fn, i, &member, &around)) {
        h.root = args[around].root;
        h.offset =
            member->start * (int64_t)dtype_bytes(type_dtype(x->m, port->type));
        attr_put_int(&list, AT_within, around);
        attr_put_int(&list, AT_start, h.offset);
    } else {
        h.root = root_new(s, h.layout, port->name, port->loc);
        h.root->value = v;
    }
    if (list.n) b->fn->insts[v.id].attr = attr_intern(x->m, &list);
    return h;
}

/* The slot's argument where there is one, else a buffer. */
static Home entry_result(Scene *s, const Fn *fn, const Home *args, uint32_t i)
{
    const Port *port = &fn->results[i];
    for (uint32_t k = 0; k < fn->nparams && role_is_slot(port->role); k++)
        if (fn->params[k].role == port->role &&
            str_eq(fn->params[k].path, port->path))
            return args[k];
    Layout l = port_layout(s->x, port);
    Str name = port->path.id ? port->path : fn->names[fn->result_values[i].id];
    return (Home){.root = root_new(s, l, name, port->loc), .layout = l};
}

/* The argument or the buffer that a result is. */
static Value result_value(Scene *s, const Home *target, const Home *args)
{
    for (uint32_t i = 0; i < s->fn->nparams; i++)
        if (home_same(s->x->m, target, &args[i])) return (Value){i};
    return home_value(s, target);
}

static Fn *expand_entry(Expand *x, const Fn *fn)
{
    Fn *made = fn_new(x->m, fn->name, VIEW_kernel);
    made->entry = true;
    made->kind = fn->kind;
    made->loc = fn->loc;
    Builder b;
    builder_init(&b, x->m, made);
    Scene s = {.x = x};
    Home *args = NEW_ARRAY(x->a, Home, (size_t)fn->nparams + 1);
    Home *targets = NEW_ARRAY(x->a, Home, (size_t)fn->nresults + 1);
    for (uint32_t i = 0; i < fn->nparams; i++)
        args[i] = entry_arg(&s, &b, fn, i, args);
    for (uint32_t i = 0; i < fn->nresults; i++)
        targets[i] = entry_result(&s, fn, args, i);
    scene_init(&s, x, fn, &b, args, targets);
    scene_emit(&s);
    for (uint32_t i = 0; i < fn->nresults; i++)
        builder_result(&b, result_value(&s, &targets[i], args), fn->results[i]);
    return made;
}

static bool is_placeable(Op op)
{
    return op == OP_arg || op == OP_call || op == OP_repeat || op == OP_proj ||
           op == OP_coord || op == OP_concat || op == OP_stack ||
           op == OP_send || op == OP_recv || is_alias(op);
}

static bool check_grouped(Module *m, const Fn *fn)
{
    if (fn->view != VIEW_local || is_group(m, fn)) return true;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        Op op = (Op)in->op;
        if (is_placeable(op)) continue;
        Span span = loc_span(m, in->loc);
        Report *r = diag_error(m->diag, DIAG_pass_order, span,
                               "pass 'expand' needs ops in groups, this '%s' "
                               "is in none",
                               op_info(op)->name);
        report_help(r, "run 'fuse' before it");
        return false;
    }
    return true;
}

bool pass_expand(Module *m, PassCtx *cx)
{
    Expand x = {.m = m, .cx = cx, .a = m->scratch};
    uint32_t n = m->fns.n;
    bool *is_body = NEW_ARRAY(x.a, bool, (size_t)n + 1);
    x.outer = outer_axes(m, x.a);
    map_init(&x.copies, x.a);
    map_init(&x.zeros, x.a);
    map_init(&x.messages, x.a);
    map_init(&x.aliases, x.a);
    orders_find(&x);
    blocks_find(&x);
    pads_find(&x);
    for (uint32_t i = 0; i < n; i++)
        if (!check_grouped(m, m->fns.at[i])) return false;
    find_bodies(m, is_body);
    bool *entry = NEW_ARRAY(x.a, bool, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        Fn *fn = m->fns.at[i];
        bool rank = fn_is(m, fn, FK_rank);
        if (fn->view != VIEW_local || (fn->kind.id && !rank) || is_body[i])
            continue;
        entry[i] = true;
        fn = expand_entry(&x, fn);
        m->fns.at[i] = fn;
    }
    bool *roots = NEW_ARRAY(x.a, bool, (size_t)m->fns.n + 1);
    memcpy(roots, entry, n * sizeof *roots);
    module_sweep(m, roots);
    return true;
}
