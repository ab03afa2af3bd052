/*
 * outline.c: clusters become group functions, and the function calls them.
 *
 * Clusters are emitted in an order that keeps operands before users and, with
 * that, follows the program.  Groups of equal content share one function.
 */
#include "fuse.h"

typedef struct Outline {
    Graph *g;
    Builder b;
    Value *made; /* node -> value of the new function */
    uint32_t kinds[NODE_opaque + 1];
} Outline;

static const char *kind_word(NodeKind k)
{
    switch (k) {
    case NODE_matmul:
        return fn_kind_word(FK_matmul);
    case NODE_sort:
        return fn_kind_word(FK_sort);
    case NODE_product:
        return fn_kind_word(FK_product);
    case NODE_scatter:
        return fn_kind_word(FK_scatter);
    case NODE_collective:
        return fn_kind_word(FK_collective);
    default:
        return fn_kind_word(FK_loop);
    }
}

/* ------------------------------------------------------ group functions -- */

typedef struct Body {
    Outline *o;
    const Cluster *c;
    Builder b;
    VEC(uint32_t) params;  /* nodes outside that are read */
    VEC(uint32_t) results; /* nodes inside that are read outside */
    uint32_t *local;       /* node -> value id in the group + 1; 0: none */
} Body;

static Value body_param(Body *y, uint32_t node, bool fresh)
{
    Graph *g = y->o->g;
    if (y->local[node] && !fresh) return (Value){y->local[node] - 1};
    Value outer = y->o->made[node];
    Port port = {.name = y->o->b.fn->names[outer.id],
                 .type = value_type(y->o->b.fn, outer)};
    Value v = builder_param(&y->b, port);
    vec_push(g->fx->a, &y->params, node);
    y->local[node] = v.id + 1;
    return v;
}

/* Parameters come first.  A matmul has one for each operand, even of equal
 * ones; the accumulator is last. */
static void body_params(Body *y)
{
    const Graph *g = y->o->g;
    for (uint32_t i = 0; i < y->c->nodes.n; i++) {
        const Node *x = &g->nodes[y->c->nodes.at[i]];
        bool fresh = x->kind == NODE_matmul;
        for (uint32_t a = 0; a < x->nargs; a++)
            if (g->nodes[x->args[a]].cluster != x->cluster)
                body_param(y, x->args[a], fresh);
    }
}

static Value body_operand(const Body *y, const Node *x, const Inst *in,
                          uint32_t a)
{
    /* The operands of a matmul's einsum are the first two parameters, unless
     * they are made in the group. */
    bool outside = y->o->g->nodes[x->args[a]].cluster != x->cluster;
    if (in->op == OP_einsum && x->kind == NODE_matmul && outside)
        return (Value){a};
    return (Value){y->local[x->args[a]] - 1};
}

static Axis turn_axis(Fuse *fx, Axis axis, int64_t turns)
{
    for (uint32_t i = 0; i < fx->walks.n; i++)
        if (fx->walks.at[i].axis.id == axis.id &&
            fx->walks.at[i].turns == turns)
            return fx->walks.at[i].turn;
    Axis turn = axis_fresh(fx->m, axis_name(fx->m, axis), turns);
    vec_push(fx->a, &fx->walks, ((Walk){axis, turns, turn}));
    return turn;
}

static DType acc_of(const Graph *g, const Inst *in)
{
    const Module *m = g->fx->m;
    DType d = type_dtype(m, value_type(g->fn, inst_arg(g->fn, in, 0)));
    return attr_dtype(m, in->attr, AT_acc, dtype_acc(d));
}

static const char *kind_of(const Graph *g, const Inst *in)
{
    return str_of(g->fx->m, attr_str(g->fx->m, in->attr, AT_kind));
}

/* Of a reduction over rows the group gives that of some of them (ir/column.h).
 */
static Value part_of_rows(Body *y, const Node *x, const Inst *in, Value of)
{
    Fuse *fx = y->o->g->fx;
    Axis turn = turn_axis(fx, x->walked, x->turns);
    int64_t size =
        type_size(fx->m, value_type(y->b.fn, of), x->walked) / x->turns;
    TypeAxis to[2] = {{.axis = x->walked, .size = size},
                      {.axis = turn, .size = x->turns}};
    DType acc = acc_of(y->o->g, in);
    of = emit_split(&y->b, of, x->walked, to, 2);
    return emit_reduce(&y->b, kind_of(y->o->g, in), of, &turn, 1, acc, acc);
}

/* The first part of a reduction that goes along the last axis. */
static Value tally_of(Body *y, const Node *x, const Inst *in, Value of)
{
    Fuse *fx = y->o->g->fx;
    Type t = value_type(y->b.fn, of);
    const TypeInfo *ti = type_info(fx->m, t);
    Axis last = ti->axes[ti->naxes - 1].axis;
    Axis part = turn_axis(fx, last, x->each);
    TypeAxis to[2] = {
        {.axis = last, .size = type_size(fx->m, t, last) / x->each},
        {.axis = part, .size = x->each}};
    of = emit_split(&y->b, of, last, to, 2);
    return emit_reduce(&y->b, kind_of(y->o->g, in), of, &part, 1, DT_f32,
                       DT_f32);
}

/* Groups that make the same say so. */
static Attr node_attr(const Graph *g, const Node *x, const Inst *in)
{
    if (!x->anew) return in->attr;
    AttrList l = attr_list(g->fx->m, in->attr);
    attr_put_int(&l, AT_again, 1);
    return attr_intern(g->fx->m, &l);
}

static void body_node(Body *y, uint32_t node)
{
    const Graph *g = y->o->g;
    const Node *x = &g->nodes[node];
    const Inst *in = inst_of(g->fn, x->value);
    Value *args = NEW_ARRAY(g->fx->a, Value, (size_t)x->nargs + 1);
    for (uint32_t a = 0; a < x->nargs; a++)
        args[a] = body_operand(y, x, in, a);
    y->b.loc = in->loc;
    y->b.phase = (Phase)in->phase;
    Value v = x->turns  ? part_of_rows(y, x, in, args[0])
              : x->each ? tally_of(y, x, in, args[0])
                        : emit(&y->b, (Op)in->op, in->type, node_attr(g, x, in),
                               args, x->nargs);
    if (!x->part) value_set_name(&y->b, v, g->fn->names[x->value.id]);
    y->local[node] = v.id + 1;
}

static uint64_t group_hash(const Fn *f)
{
    uint64_t h = hash_bytes(&f->kind, sizeof f->kind, f->nparams);
    for (uint32_t i = 0; i < f->ninsts; i++) {
        const Inst *in = &f->insts[i];
        uint32_t key[4] = {in->op, in->type.id, in->attr.id, in->nargs};
        h = hash_bytes(key, sizeof key, h);
        h = hash_bytes(&f->args[in->first], in->nargs * sizeof(Value), h);
    }
    return hash_bytes(f->result_values, f->nresults * sizeof(Value), h);
}

static bool group_same(const Fn *x, const Fn *y)
{
    if (!str_eq(x->kind, y->kind) || x->nparams != y->nparams ||
        x->ninsts != y->ninsts || x->nresults != y->nresults ||
        memcmp(x->result_values, y->result_values,
               x->nresults * sizeof(Value)) != 0)
        return false;
    for (uint32_t i = 0; i < x->ninsts; i++) {
        const Inst *p = &x->insts[i], *q = &y->insts[i];
        if (p->op != q->op || p->type.id != q->type.id ||
            p->attr.id != q->attr.id || p->nargs != q->nargs ||
            (p->nargs > 0 && memcmp(&x->args[p->first], &y->args[q->first],
                                    p->nargs * sizeof(Value)) != 0))
            return false;
    }
    return true;
}

static FnRef group_share(Fuse *fx, Fn *fn, const char *stem)
{
    uint64_t h = group_hash(fn);
    MapIter it;
    uint32_t at;
    for (bool more = map_first(&fx->groups, h, &it, &at); more;
         more = map_next(&fx->groups, &it, &at))
        if (group_same(fn, fn_of(fx->m, (FnRef){at}))) return (FnRef){at};
    fn->name = fn_fresh_name(fx->m, stem);
    FnRef f = module_add_fn(fx->m, fn);
    map_add(&fx->groups, h, f.id);
    return f;
}

static FnRef make_group(Body *y, NodeKind kind)
{
    Graph *g = y->o->g;
    Fuse *fx = g->fx;
    Fn *fn = fn_new(fx->m, (Str){0}, VIEW_local);
    fn->kind = module_str(fx->m, kind_word(kind));
    fn->loc = inst_of(g->fn, g->nodes[vec_last(&y->c->nodes)].value)->loc;
    builder_init(&y->b, fx->m, fn);
    body_params(y);
    for (uint32_t i = 0; i < y->c->nodes.n; i++)
        body_node(y, y->c->nodes.at[i]);
    for (uint32_t i = 0; i < y->c->nodes.n; i++) {
        uint32_t node = y->c->nodes.at[i];
        if (!fuse_is_read_outside(g, node)) continue;
        vec_push(fx->a, &y->results, node);
        builder_result(&y->b, (Value){y->local[node] - 1},
                       (Port){.loc = fn->loc});
    }
    return group_share(fx, fn,
                       arena_printf(fx->a, "%s.%s", str_of(fx->m, g->fn->name),
                                    kind_word(kind)));
}

/* "2 map, reduce, map": the ops of a cluster in order. */
static void op_words(const Graph *g, const Cluster *c, Buf *out)
{
    for (uint32_t i = 0, n; i < c->nodes.n; i += n) {
        uint8_t op = inst_of(g->fn, g->nodes[c->nodes.at[i]].value)->op;
        for (n = 1; i + n < c->nodes.n; n++)
            if (inst_of(g->fn, g->nodes[c->nodes.at[i + n]].value)->op != op)
                break;
        if (i > 0) buf_puts(out, ", ");
        if (n > 1) buf_printf(out, "%u ", n);
        buf_puts(out, op_info((Op)op)->name);
    }
}

static void say_fused(const Graph *g, const Cluster *c, const Fn *group)
{
    Fuse *fx = g->fx;
    uint32_t last = vec_last(&c->nodes);
    const char *kind = kind_word(g->nodes[last].kind);
    bool adds = g->nodes[last].kind == NODE_matmul &&
                group_gemm(group).third != NO_PARAM;
    Buf ops = {0};
    op_words(g, c, &ops);
    pass_remark(fx->m, fx->cx, inst_of(g->fn, g->nodes[last].value)->loc,
                c->nodes.n == 1 ? "%s is a %s of its own, @%s%s"
                                : "%s in one %s, @%s%s",
                ops.at, kind, str_of(fx->m, group->name),
                adds ? ", which adds to what is there" : "");
    buf_release(&ops);
}

static void call_group(Outline *o, const Cluster *c)
{
    Graph *g = o->g;
    Fuse *fx = g->fx;
    uint32_t last = vec_last(&c->nodes);
    Body y = {.o = o, .c = c, .local = NEW_ARRAY(fx->a, uint32_t, g->n)};
    FnRef f = make_group(&y, g->nodes[last].kind);
    Value *args = NEW_ARRAY(fx->a, Value, (size_t)y.params.n + 1);
    for (uint32_t i = 0; i < y.params.n; i++)
        args[i] = o->made[y.params.at[i]];
    const Inst *in = inst_of(g->fn, g->nodes[last].value);
    o->b.loc = in->loc;
    o->b.phase = (Phase)in->phase;
    Value call = emit_call(&o->b, f, args, y.params.n);
    for (uint32_t i = 0; i < y.results.n; i++) {
        Value v = y.results.n == 1 ? call : emit_proj(&o->b, call, i);
        const Node *x = &g->nodes[y.results.at[i]];
        if (!x->part) value_set_name(&o->b, v, g->fn->names[x->value.id]);
        o->made[y.results.at[i]] = v;
    }
    if (pass_remarks(fx->m, fx->cx, false)) say_fused(g, c, fn_of(fx->m, f));
}

/* ------------------------------------------------------ the new function -- */

static void copy_node(Outline *o, uint32_t node)
{
    Graph *g = o->g;
    const Node *x = &g->nodes[node];
    const Inst *in = inst_of(g->fn, x->value);
    Value *args = NEW_ARRAY(g->fx->a, Value, (size_t)x->nargs + 1);
    for (uint32_t a = 0; a < x->nargs; a++)
        args[a] = o->made[x->args[a]];
    o->b.loc = in->loc;
    o->b.phase = (Phase)in->phase;
    o->made[node] = emit(&o->b, (Op)in->op, in->type, in->attr, args, x->nargs);
    value_set_name(&o->b, o->made[node], g->fn->names[x->value.id]);
}

/* Ready clusters wait in the order of their last node. */
typedef struct Order {
    uint32_t *waits; /* operands outside that are not made yet */
    uint32_t *key;   /* last node, or first that is read outside */
    VEC(uint32_t) ready;
} Order;

static void take_early(const Graph *g, Order *r)
{
    for (uint32_t c = 0; c < g->n; c++) {
        const Cluster *x = &g->clusters[c];
        for (uint32_t i = 0; i < x->nodes.n && x->early; i++) {
            if (!fuse_is_read_outside(g, x->nodes.at[i])) continue;
            r->key[c] = x->nodes.at[i];
            break;
        }
    }
}

/* A cluster of parts alone stands where the first of what they are for does. */
static void take_parts(const Graph *g, Order *r)
{
    for (uint32_t c = 0; c < g->n; c++) {
        const Cluster *x = &g->clusters[c];
        if (x->nodes.n == 0 || r->key[c]) continue;
        const Node *n = &g->nodes[x->nodes.at[0]];
        if (n->part) r->key[c] = n->users[0];
    }
}

static void count_waits(const Graph *g, Order *r)
{
    r->waits = NEW_ARRAY(g->fx->a, uint32_t, (size_t)g->n + 1);
    r->key = NEW_ARRAY(g->fx->a, uint32_t, (size_t)g->n + 1);
    for (uint32_t i = 0; i < g->n; i++) {
        const Node *x = &g->nodes[i];
        if (r->key[x->cluster] < i && !x->part) r->key[x->cluster] = i;
        for (uint32_t a = 0; a < x->nargs; a++)
            if (g->nodes[x->args[a]].cluster != x->cluster)
                r->waits[x->cluster]++;
    }
    take_parts(g, r);
    take_early(g, r);
    for (uint32_t i = 0; i < g->n; i++)
        if (g->clusters[i].nodes.n > 0 && r->waits[i] == 0)
            vec_push(g->fx->a, &r->ready, i);
}

static uint32_t take_first(Order *r)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < r->ready.n; i++)
        if (r->key[r->ready.at[i]] < r->key[r->ready.at[best]]) best = i;
    uint32_t c = r->ready.at[best];
    r->ready.at[best] = r->ready.at[--r->ready.n];
    return c;
}

static void release_users(const Graph *g, Order *r, uint32_t c)
{
    const Cluster *from = &g->clusters[c];
    for (uint32_t i = 0; i < from->nodes.n; i++) {
        const Node *x = &g->nodes[from->nodes.at[i]];
        for (uint32_t u = 0; u < x->nusers; u++) {
            uint32_t to = g->nodes[x->users[u]].cluster;
            if (to != c && --r->waits[to] == 0)
                vec_push(g->fx->a, &r->ready, to);
        }
    }
}

static void emit_clusters(Outline *o)
{
    Graph *g = o->g;
    Order r = {0};
    count_waits(g, &r);
    while (r.ready.n > 0) {
        uint32_t c = take_first(&r);
        const Cluster *cl = &g->clusters[c];
        NodeKind kind = g->nodes[cl->nodes.at[0]].kind;
        bool group = kind == NODE_loop || kind == NODE_matmul ||
                     kind == NODE_product || kind == NODE_sort ||
                     kind == NODE_scatter || kind == NODE_collective ||
                     cl->nodes.n > 1;
        if (kind == NODE_arg)
            ;
        else if (group)
            call_group(o, cl);
        else
            copy_node(o, cl->nodes.at[0]);
        release_users(g, &r, c);
    }
}

Fn *fuse_outline(Graph *g)
{
    Module *m = g->fx->m;
    const Fn *old = g->fn;
    Outline o = {.g = g, .made = NEW_ARRAY(g->fx->a, Value, (size_t)g->n + 1)};
    Fn *fn = fn_new(m, old->name, VIEW_local);
    fn->entry = old->entry;
    fn->kind = old->kind;
    fn->loc = old->loc;
    builder_init(&o.b, m, fn);
    for (uint32_t i = 0; i < old->nparams; i++)
        o.made[g->primary[i]] = builder_param(&o.b, old->params[i]);
    emit_clusters(&o);
    for (uint32_t i = 0; i < old->nresults; i++)
        builder_result(&o.b, o.made[g->primary[old->result_values[i].id]],
                       old->results[i]);
    return fn;
}
