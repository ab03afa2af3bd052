/*
 * emit.c: launches, views and copies, in the order of the function.
 */
#include "expand.h"

#include <inttypes.h>

/* A place that has a value in the kernel function. */
typedef struct Seen {
    Home at;
    Value value;
    struct Seen *next;
} Seen;

/* ---------------------------------------------------------------- places -- */

static Value root_value(Scene *s, Root *r)
{
    if (!value_eq(r->value, NO_VALUE)) return r->value;
    AttrList l = {.n = 0};
    layout_put_stride(s->x->m, r->layout, &l);
    if (r->host) attr_put_int(&l, AT_host, 1);
    s->b->loc = r->loc;
    r->value = emit(s->b, OP_buffer, r->layout.type, attr_intern(s->x->m, &l),
                    NULL, 0);
    value_set_name(s->b, r->value, r->name);
    return r->value;
}

static Value view_value(Scene *s, const Home *h)
{
    for (Seen *e = s->seen; e; e = e->next)
        if (home_same(s->x->m, &e->at, h)) return e->value;
    Value root = root_value(s, h->root);
    AttrList l = {.n = 0};
    if (h->offset) attr_put_int(&l, AT_offset, h->offset);
    layout_put_stride(s->x->m, h->layout, &l);
    if (h->turn) attr_put_ints(&l, AT_turn, &h->turn, 1);
    Seen *e = NEW(s->x->a, Seen);
    *e = (Seen){
        *h,
        emit(s->b, OP_view, h->layout.type, attr_intern(s->x->m, &l), &root, 1),
        s->seen};
    s->seen = e;
    return e->value;
}

Value home_value(Scene *s, const Home *h)
{
    CHECK(h->root);
    bool whole = h->offset == 0 && h->turn == 0 &&
                 layout_same(s->x->m, h->layout, h->root->layout);
    return whole ? root_value(s, h->root) : view_value(s, h);
}

/* -------------------------------------------------------------- launches -- */

void emit_launch(Scene *s, FnRef group, const Value *args, uint32_t nargs,
                 const Value *outs, uint32_t nouts)
{
    Value *all = NEW_ARRAY(s->x->a, Value, (size_t)nargs + nouts);
    if (nargs) memcpy(all, args, nargs * sizeof *all);
    if (nouts) memcpy(all + nargs, outs, nouts * sizeof *all);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_fn, group.id);
    attr_put_int(&l, AT_outs, nouts);
    emit(s->b, OP_launch, (Type){0}, attr_intern(s->x->m, &l), all,
         nargs + nouts);
}

/* A group of one op, or of none: the parameter is the result. */
static FnRef small_group(Scene *s, const char *name, const Inst *op, Type from)
{
    Module *m = s->x->m;
    Fn *fn = fn_new(m, fn_fresh_name(m, name), VIEW_local);
    fn->kind = module_str(m, fn_kind_word(FK_loop));
    fn->loc = s->b->loc;
    Builder b;
    builder_init(&b, m, fn);
    b.loc = s->b->loc;
    Value v = NO_VALUE;
    if (from.id) v = builder_param(&b, (Port){.type = from});
    if (op) v = emit(&b, (Op)op->op, op->type, op->attr, &v, from.id != 0);
    builder_result(&b, v, (Port){.loc = b.loc});
    return module_add_fn(m, fn);
}

void emit_copy(Scene *s, const Home *from, const Home *to)
{
    Expand *x = s->x;
    if (home_same(x->m, from, to)) return;
    Type t = from->layout.type;
    uint32_t f;
    const char *where = str_of(x->m, s->fn->name);
    pass_missed(x->m, x->cx, s->b->loc,
                "%s, %" PRId64 " bytes, is copied in %s%s: it lies in another "
                "place or order than is needed",
                type_str(x->m, t), layout_bytes(x->m, from->layout),
                *where ? "@" : "a turn", where);
    if (!map_find(&x->copies, t.id, &f)) {
        f = small_group(s, "copy", NULL, t).id;
        map_add(&x->copies, t.id, f);
    }
    Value in = home_value(s, from), out = home_value(s, to);
    emit_launch(s, (FnRef){f}, &in, 1, &out, 1);
}

void emit_zero(Scene *s, const Home *to)
{
    Module *m = s->x->m;
    Type t = to->layout.type;
    uint32_t f;
    if (!map_find(&s->x->zeros, t.id, &f)) {
        DType d = type_dtype(m, t);
        Expr zero = dtype_class(d) == DC_float ? expr_float(m, d, 0)
                                               : expr_int(m, d, 0);
        AttrList l = {.n = 0};
        attr_put_id(&l, AT_body, zero.id);
        Inst fill = {.op = OP_map, .type = t, .attr = attr_intern(m, &l)};
        f = small_group(s, "zero", &fill, (Type){0}).id;
        map_add(&s->x->zeros, t.id, f);
    }
    Value out = home_value(s, to);
    emit_launch(s, (FnRef){f}, NULL, 0, &out, 1);
}

/* ------------------------------------------------------ the instructions -- */

static Value counter_value(Scene *s)
{
    if (value_eq(s->counter, NO_VALUE)) {
        AttrList l = {.n = 0};
        attr_put_int(&l, AT_index, 0);
        s->counter = emit(s->b, OP_counter, type_scalar(s->x->m, DT_i32),
                          attr_intern(s->x->m, &l), NULL, 0);
    }
    return s->counter;
}

static Value coord_value(Scene *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    return emit(s->b, OP_coord, in->type, in->attr, NULL, 0);
}

/* Kernels on tensor cores take no numbers by value. */
static bool takes_numbers(const Scene *s, const Inst *in)
{
    const Module *m = s->x->m;
    return in->op == OP_call &&
           !fn_is(m, fn_of(m, attr_fn(m, in->attr, AT_fn)), FK_tile);
}

/* The turn and coordinates are passed by value. */
static Value operand_value(Scene *s, Value v)
{
    if (value_eq(v, s->turn)) return counter_value(s);
    if (inst_of(s->fn, v)->op == OP_coord) return coord_value(s, v);
    return home_value(s, &s->home[v.id]);
}

Home *result_homes(Scene *s, Value maker, uint32_t n)
{
    const Inst *in = inst_of(s->fn, maker);
    const TypeInfo *ti = type_info(s->x->m, in->type);
    Home *homes = NEW_ARRAY(s->x->a, Home, (size_t)n + 1);
    if (!ti->is_tuple) homes[0] = s->home[maker.id];
    for (uint32_t i = maker.id + 1; i < s->fn->ninsts && ti->is_tuple; i++) {
        const Inst *p = &s->fn->insts[i];
        if (p->op != OP_proj || !value_eq(inst_arg(s->fn, p, 0), maker))
            continue;
        Home *h = &homes[attr_int(s->x->m, p->attr, AT_index, 0)];
        if (!h->root) *h = s->home[s->owner[i].id];
    }
    for (uint32_t i = 0; i < n; i++) {
        if (homes[i].root) continue;
        Layout l = default_layout(
            s->x,
            ti->is_tuple ? type_info(s->x->m, in->type)->fields[i] : in->type);
        homes[i] =
            (Home){.root = root_new(s, l, (Str){0}, in->loc), .layout = l};
    }
    return homes;
}

static bool begins(const Scene *s, const Inst *user, Value v)
{
    int64_t carry = attr_int(s->x->m, user->attr, AT_carry, 0);
    for (uint32_t k = 0; k < user->nargs; k++)
        if (value_eq(inst_arg(s->fn, user, k), v) &&
            (user->op != OP_repeat || k >= carry))
            return false;
    return true;
}

bool is_beginning(const Scene *s, Value v)
{
    const Inst *in = inst_of(s->fn, v);
    if (in->op != OP_call || in->nargs > 0 ||
        type_info(s->x->m, in->type)->is_tuple)
        return false;
    for (uint32_t i = 0; i < s->fn->nresults; i++)
        if (value_eq(s->fn->result_values[i], v)) return false;
    for (uint32_t i = v.id + 1; i < s->fn->ninsts; i++)
        if (!begins(s, &s->fn->insts[i], v)) return false;
    return true;
}

void emit_beginning(Scene *s, Value v, const Home *to)
{
    FnRef f = attr_fn(s->x->m, inst_of(s->fn, v)->attr, AT_fn);
    Value out = home_value(s, to);
    emit_launch(s, f, NULL, 0, &out, 1);
}

/* What a scatter adds to lies where the result will. */
static void emit_base(Scene *s, const Inst *call, const Home *result,
                      Value *args)
{
    const Fn *g = fn_of(s->x->m, attr_fn(s->x->m, call->attr, AT_fn));
    Value base = group_base(g);
    if (value_eq(base, NO_VALUE)) return;
    emit_copy(s, &s->home[inst_arg(s->fn, call, base.id).id], result);
    args[base.id] = home_value(s, result);
}

static void emit_call_group(Scene *s, uint32_t i)
{
    Module *m = s->x->m;
    const Inst *in = &s->fn->insts[i];
    if (is_beginning(s, (Value){i})) return;
    FnRef f = attr_fn(m, in->attr, AT_fn);
    const Fn *g = fn_of(m, f);
    Home *homes = result_homes(s, (Value){i}, g->nresults);
    if (fn_is(m, g, FK_matmul)) {
        emit_matmul(s, in, &homes[0]);
        return;
    }
    if (fn_is(m, g, FK_collective)) {
        emit_collective(s, in, &homes[0]);
        return;
    }
    Value *args = NEW_ARRAY(s->x->a, Value, (size_t)in->nargs + 1);
    Value *outs = NEW_ARRAY(s->x->a, Value, (size_t)g->nresults + 1);
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = takes_numbers(s, in)
                      ? operand_value(s, inst_arg(s->fn, in, k))
                      : home_value(s, &s->home[inst_arg(s->fn, in, k).id]);
    if (fn_is(m, g, FK_scatter)) emit_base(s, in, &homes[0], args);
    if (fn_is(m, g, FK_product)) emit_product_operands(s, in, &homes[0], args);
    for (uint32_t k = 0; k < g->nresults; k++)
        outs[k] = home_value(s, &homes[k]);
    emit_launch(s, f, args, in->nargs, outs, g->nresults);
}

static bool is_group_of(const Fn *group, const Inst *in, Type from)
{
    const Inst *op = &group->insts[group->nparams];
    return op->op == in->op && op->attr.id == in->attr.id &&
           type_eq(op->type, in->type) && type_eq(group->params[0].type, from);
}

/* Bodies are many, and what they copy is alike. */
static FnRef alias_group(Scene *s, const Inst *in, Type from)
{
    uint32_t key[] = {in->op, in->attr.id, in->type.id, from.id}, f;
    uint64_t h = hash_bytes(key, sizeof key, 0);
    MapIter it;
    for (bool more = map_first(&s->x->aliases, h, &it, &f); more;
         more = map_next(&s->x->aliases, &it, &f))
        if (is_group_of(fn_of(s->x->m, (FnRef){f}), in, from))
            return (FnRef){f};
    FnRef made = small_group(s, op_info((Op)in->op)->name, in, from);
    map_add(&s->x->aliases, h, made.id);
    return made;
}

/* A merge whose parts do not lie one in the other is copied. */
static void emit_alias(Scene *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    Value x = inst_arg(s->fn, in, 0);
    if (home_forward(s->x, s->fn, in, &s->home[x.id], &s->home[i])) return;
    Layout l = layout_padded(s->x, default_layout(s->x, in->type));
    s->home[i] =
        (Home){.root = root_new(s, l, s->fn->names[i], in->loc), .layout = l};
    FnRef f = alias_group(s, in, value_type(s->fn, x));
    Value from = operand_value(s, x), to = home_value(s, &s->home[i]);
    emit_launch(s, f, &from, 1, &to, 1);
}

static void emit_parts(Scene *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    for (uint32_t k = 0; k < in->nargs; k++) {
        Home to = home_part(s->x, s->fn, in, k, &s->home[i]);
        emit_copy(s, &s->home[inst_arg(s->fn, in, k).id], &to);
    }
}

static bool is_read_from_memory(const Scene *s, Value v)
{
    for (uint32_t i = 0; i < s->fn->nresults; i++)
        if (value_eq(s->fn->result_values[i], v)) return true;
    for (uint32_t i = 0; i < s->fn->ninsts; i++) {
        const Inst *in = &s->fn->insts[i];
        for (uint32_t k = 0; k < in->nargs && !takes_numbers(s, in); k++)
            if (value_eq(inst_arg(s->fn, in, k), v)) return true;
    }
    return false;
}

/* What launches take by value lies in memory too where somebody else reads it.
 */
static void emit_scalar(Scene *s, Value in, const Home *to)
{
    Type t = type_scalar(s->x->m, DT_i32);
    uint32_t f;
    if (!map_find(&s->x->copies, t.id, &f)) {
        f = small_group(s, "copy", NULL, t).id;
        map_add(&s->x->copies, t.id, f);
    }
    Value out = home_value(s, to);
    emit_launch(s, (FnRef){f}, &in, 1, &out, 1);
}

static void emit_coord(Scene *s, uint32_t i)
{
    if (is_read_from_memory(s, (Value){i}))
        emit_scalar(s, coord_value(s, (Value){i}), &s->home[i]);
}

static void emit_inst(Scene *s, uint32_t i)
{
    const Inst *in = &s->fn->insts[i];
    s->b->loc = in->loc;
    s->b->phase = (Phase)in->phase;
    switch ((Op)in->op) {
    case OP_call:
        emit_call_group(s, i);
        return;
    case OP_repeat:
        emit_loop(s, (Value){i});
        return;
    case OP_coord:
        emit_coord(s, i);
        return;
    case OP_send:
    case OP_recv:
        emit_message(s, (Value){i});
        return;
    case OP_concat:
    case OP_stack:
        emit_parts(s, i);
        return;
    case OP_proj:
        s->home[i] = s->home[s->owner[i].id];
        return;
    default:
        if (!is_alias((Op)in->op))
            BUG("'%s' is left in '%s', which has to be groups alone",
                op_info((Op)in->op)->name, str_of(s->x->m, s->fn->name));
        emit_alias(s, i);
    }
}

/* --------------------------------------------------------------- results -- */

typedef struct Move {
    Home from, to;
} Move;

/* Some other move has yet to read what move I would overwrite. */
static bool overwrites(const Move *moves, uint32_t n, uint32_t i)
{
    for (uint32_t k = 0; k < n; k++)
        if (k != i && moves[k].from.root == moves[i].to.root) return true;
    return false;
}

static void save_source(Scene *s, Move *mv)
{
    Layout l = default_layout(s->x, mv->from.layout.type);
    Home safe = {.root = root_new(s, l, (Str){0}, s->b->loc), .layout = l};
    emit_copy(s, &mv->from, &safe);
    mv->from = safe;
}

/* Values that are not yet where they have to end, in an order in which none is
 * overwritten before it is read; where they go round in a circle, one is saved
 * first. */
static void emit_results(Scene *s)
{
    uint32_t n = 0;
    Move *moves = NEW_ARRAY(s->x->a, Move, (size_t)s->fn->nresults + 1);
    for (uint32_t i = 0; i < s->fn->nresults; i++) {
        Move mv = {s->home[s->fn->result_values[i].id], s->targets[i]};
        if (!home_same(s->x->m, &mv.from, &mv.to)) moves[n++] = mv;
    }
    while (n > 0) {
        uint32_t i = 0;
        while (i < n && overwrites(moves, n, i))
            i++;
        if (i == n) {
            for (i = 0; i < n && moves[i].from.root != moves[0].to.root;)
                i++;
            save_source(s, &moves[i]);
            continue;
        }
        emit_copy(s, &moves[i].from, &moves[i].to);
        memmove(&moves[i], &moves[i + 1], (--n - i) * sizeof *moves);
    }
}

static void emit_turn(Scene *s)
{
    if (value_eq(s->turn, NO_VALUE) || !s->home[s->turn.id].root) return;
    emit_scalar(s, counter_value(s), &s->home[s->turn.id]);
}

void scene_init(Scene *s, Expand *x, const Fn *fn, Builder *b, const Home *args,
                const Home *targets)
{
    size_t n = (size_t)fn->ninsts + 1;
    *s = (Scene){
        .x = x, .fn = fn, .b = b, .turn = NO_VALUE, .counter = NO_VALUE};
    s->want = NEW_ARRAY(x->a, Home, n);
    s->want_family = NEW_ARRAY(x->a, uint32_t, n);
    s->like = NEW_ARRAY(x->a, Layout, n);
    s->home = NEW_ARRAY(x->a, Home, n);
    s->targets = NEW_ARRAY(x->a, Home, (size_t)fn->nresults + 1);
    s->trails = NEW_ARRAY(x->a, Trail **, n);
    memcpy(s->targets, targets, fn->nresults * sizeof *targets);
    for (uint32_t i = 0; i < fn->nparams; i++) {
        s->home[i] = args[i];
        if (args[i].root) continue;
        s->turn = (Value){i};
        Layout l = layout_dense(x->m, fn->params[i].type, x->a);
        if (is_read_from_memory(s, s->turn))
            s->home[i] =
                (Home){.root = root_new(s, l, fn->params[i].name, fn->loc),
                       .layout = l};
    }
    scene_alias(s);
}

void scene_emit(Scene *s)
{
    scene_homes(s);
    emit_turn(s);
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++)
        emit_inst(s, i);
    emit_results(s);
}
