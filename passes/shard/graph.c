/*
 * graph.c: one graph of all functions.
 *
 * Each function is called in one place (functions_apart sees to it), so every
 * value of every function is one value of the step.  Where functions meet
 * stand ports, nodes without an op, to which values are handed over:
 *
 *      carried of a repeat     one port for what goes in, comes back and
 *                              comes out: two values are handed over to it
 *      other parameters        a port; the body sees it without the repeat's
 *                              axis
 *      results                 a port; outside it is stacked
 *      ports of an entry       where the rules put them, and nowhere else
 *      a message               a port: what one rank of a pipeline sends, the
 *                              other has there
 *
 * What a stage of a pipeline does is called for each microbatch: all these
 * calls hand over to the same ports.
 */
#include "../reach.h"
#include "../repeat.h"
#include "shard.h"

/* ----------------------------------------------------- functions, apart -- */

typedef struct Apart {
    Module *m;
    bool *called;
    uint32_t n;
} Apart;

static Fn *copy_of(Module *m, const Fn *fn)
{
    Fn *copy = NEW(m->arena, Fn);
    *copy = *fn;
    copy->insts = NEW_ARRAY(m->arena, Inst, (size_t)fn->ninsts + 1);
    memcpy(copy->insts, fn->insts, fn->ninsts * sizeof *fn->insts);
    copy->cap_insts = fn->ninsts;
    return copy;
}

static uint32_t another(Module *m, uint32_t f)
{
    Fn *copy = copy_of(m, m->fns.at[f]);
    copy->name = fn_fresh_name(m, str_of(m, copy->name));
    return module_add_fn(m, copy).id;
}

static void part_callees(Apart *p, uint32_t f)
{
    static const AttrKey keys[] = {AT_fn, AT_while};
    Module *m = p->m;
    Fn *fn = m->fns.at[f] = copy_of(m, m->fns.at[f]);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        for (uint32_t k = 0; k < 2; k++) {
            const AttrItem *it = attr_get(m, fn->insts[i].attr, keys[k]);
            if (!it) continue;
            uint32_t callee = it->id;
            bool again = callee < p->n && p->called[callee];
            if (again && fn_is(m, m->fns.at[callee], FK_stage)) continue;
            if (callee < p->n && !again) {
                p->called[callee] = true;
            } else {
                callee = another(m, callee);
                AttrList l = attr_list(m, fn->insts[i].attr);
                attr_put_id(&l, keys[k], callee);
                fn->insts[i].attr = attr_intern(m, &l);
            }
            part_callees(p, callee);
        }
}

void functions_apart(Module *m)
{
    Roots roots = roots_of(m);
    Apart p = {m, NEW_ARRAY(m->scratch, bool, m->fns.n), m->fns.n};
    for (uint32_t i = 0; i < p.n; i++)
        if (roots.is[i]) part_callees(&p, i);
}

/* ------------------------------------------------------------- building -- */

static double whole_bytes(const Module *m, Type t)
{
    return (double)type_elements(m, t) * (double)dtype_bytes(type_dtype(m, t));
}

static uint32_t node_new(Shard *s, Type t, double times)
{
    Node n = {.type = t, .times = times, .entry = s->entry};
    n.bytes = whole_bytes(s->m, t);
    vec_push(s->a, &s->nodes, n);
    return s->nodes.n - 1;
}

static uint32_t raw_of(const Shard *s, uint32_t f, Value v)
{
    return s->base[f] + v.id;
}

static void add_use(Shard *s, uint32_t raw, uint32_t item)
{
    vec_push(s->a, &s->args, ((Use){raw, item}));
}

/* A function, and how often a step runs it. */
typedef struct Run {
    uint32_t f;
    double times;
} Run;

/* A raw to the port that IT says. */
static void hand_over(Shard *s, Item it, uint32_t raw)
{
    it.v = NO_VALUE;
    it.raw = NO_RAW;
    it.n = 1;
    it.first = s->args.n;
    add_use(s, raw, s->items.n);
    vec_push(s->a, &s->items, it);
}

static void hand_operand(Shard *s, Run r, const Inst *in, uint32_t i,
                         uint32_t port)
{
    const Fn *fn = s->m->fns.at[r.f];
    Item it = {.fn = fn, .out = port, .times = r.times};
    it.phase = (Phase)in->phase;
    hand_over(s, it, raw_of(s, r.f, inst_arg(fn, in, i)));
}

static void hand_result(Shard *s, Run r, uint32_t i, uint32_t port)
{
    const Fn *fn = s->m->fns.at[r.f];
    Value v = fn->result_values[i];
    Item it = {.fn = fn, .out = port, .times = r.times};
    it.phase = (Phase)inst_of(fn, v)->phase;
    hand_over(s, it, raw_of(s, r.f, v));
}

static void add_item(Shard *s, uint32_t f, Value v, double times)
{
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    Item it = {.fn = fn, .v = v, .n = in->nargs, .times = times};
    it.first = s->args.n;
    it.raw = raw_of(s, f, v);
    it.phase = (Phase)in->phase;
    it.out = node_new(s, in->type, times);
    s->raws.at[it.raw].node = it.out;
    for (uint32_t k = 0; k < in->nargs; k++)
        add_use(s, raw_of(s, f, inst_arg(fn, in, k)), s->items.n);
    vec_push(s->a, &s->items, it);
}

static void visit(Shard *s, uint32_t f, double times, const uint32_t *ports);

/* What the results of a repeat have beside those of a call: those in front are
 * the ports of what is carried, and all of a stack is kept. */
typedef struct Stack {
    const uint32_t *carried;
    uint32_t ncarried;
    double kept;
} Stack;

/* Ports of the results of R, which CALL calls. */
static void result_ports(Shard *s, Run r, uint32_t call, const Stack *k)
{
    const Fn *g = s->m->fns.at[r.f];
    s->ports[call] = s->port_nodes.n + 1;
    s->ports[s->base[r.f] + g->ninsts] = s->port_nodes.n + 1;
    for (uint32_t i = 0; i < g->nresults; i++) {
        uint32_t p = i < k->ncarried ? k->carried[i]
                                     : node_new(s, g->results[i].type, r.times);
        hand_result(s, r, i, p);
        s->nodes.at[p].kept = k->kept;
        vec_push(s->a, &s->port_nodes, p);
    }
}

/* Whether an earlier call of the same function has that operand too. */
static bool handed_before(const Shard *s, const Fn *fn, Value v, uint32_t i)
{
    const Inst *in = inst_of(fn, v);
    uint32_t callee = attr_fn(s->m, in->attr, AT_fn).id;
    for (uint32_t k = v.id; k-- > fn->nparams;) {
        const Inst *x = &fn->insts[k];
        if (x->op == OP_call && attr_fn(s->m, x->attr, AT_fn).id == callee)
            return value_eq(inst_arg(fn, x, i), inst_arg(fn, in, i));
    }
    return false;
}

/* A further call of what a stage does. */
static void visit_again(Shard *s, uint32_t f, Value v, double times)
{
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    uint32_t callee = attr_fn(s->m, in->attr, AT_fn).id;
    const Fn *g = s->m->fns.at[callee];
    for (uint32_t i = 0; i < g->nparams; i++)
        if (!handed_before(s, fn, v, i))
            hand_operand(s, (Run){f, times}, in, i,
                         s->raws.at[s->base[callee] + i].node);
    uint32_t ports = s->ports[s->base[callee] + g->ninsts];
    s->ports[raw_of(s, f, v)] = ports;
    if (g->nresults == 1)
        s->raws.at[raw_of(s, f, v)].node = s->port_nodes.at[ports - 1];
}

static void visit_call(Shard *s, uint32_t f, Value v, double times)
{
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    uint32_t callee = attr_fn(s->m, in->attr, AT_fn).id;
    const Fn *g = s->m->fns.at[callee];
    if (s->ports[s->base[callee] + g->ninsts]) {
        visit_again(s, f, v, times);
        return;
    }
    double all = times * (double)s->calls[callee];
    uint32_t *ports = NEW_ARRAY(s->a, uint32_t, (size_t)g->nparams + 1);
    for (uint32_t i = 0; i < g->nparams; i++) {
        ports[i] = node_new(s, g->params[i].type, all);
        hand_operand(s, (Run){f, times}, in, i, ports[i]);
    }
    visit(s, callee, all, ports);
    result_ports(s, (Run){callee, all}, raw_of(s, f, v), &(Stack){.kept = 0});
    if (g->nresults == 1)
        s->raws.at[raw_of(s, f, v)].node =
            s->port_nodes.at[s->port_nodes.n - 1];
}

static void visit_condition(Shard *s, const Inst *in, double times,
                            const uint32_t *ports)
{
    if (!attr_get(s->m, in->attr, AT_while)) return;
    uint32_t f = attr_fn(s->m, in->attr, AT_while).id;
    visit(s, f, times, ports);
    uint32_t p = node_new(s, s->m->fns.at[f]->results[0].type, times);
    s->nodes.at[p].given = true;
    s->ports[s->base[f] + s->m->fns.at[f]->ninsts] = s->port_nodes.n + 1;
    vec_push(s->a, &s->port_nodes, p);
    hand_result(s, (Run){f, times}, 0, p);
}

static void visit_repeat(Shard *s, uint32_t f, Value v, double times)
{
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    Repeat r = repeat_of(s->m, in);
    uint32_t callee = r.fn.id, carry = r.carry;
    const Fn *g = s->m->fns.at[callee];
    double count = (double)r.count;
    uint32_t *ports = NEW_ARRAY(s->a, uint32_t, (size_t)g->nparams + 1);
    for (uint32_t i = 0; i < g->nparams; i++) {
        ports[i] = node_new(s, g->params[i].type, times * count);
        Node *n = &s->nodes.at[ports[i]];
        n->carried = i < carry;
        n->roles = i < carry ? FOR_residual : 0;
        n->kept = i < carry + r.invariant ? 1 : count;
        if (i < in->nargs)
            hand_operand(s, (Run){f, times}, in, i, ports[i]);
        else
            n->given = true; /* the turn */
    }
    visit(s, callee, times * count, ports);
    result_ports(s, (Run){callee, times * count}, raw_of(s, f, v),
                 &(Stack){ports, carry, count});
    visit_condition(s, in, times * count, ports);
}

static void visit_proj(Shard *s, uint32_t f, Value v)
{
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    uint32_t tuple = raw_of(s, f, inst_arg(fn, in, 0));
    uint32_t i = (uint32_t)attr_int(s->m, in->attr, AT_index, 0);
    s->raws.at[raw_of(s, f, v)].node =
        s->port_nodes.at[s->ports[tuple] - 1 + i];
}

/* The key of a message: its entry, ranks and channel, and how many of these
 * are in front of it. */
static uint64_t message_key(Shard *s, uint32_t f, Value v)
{
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    uint32_t rank = 0, before = 0;
    size_t n = fn_rank(s->m, fn, &rank);
    const char *entry = arena_strndup(s->a, str_of(s->m, fn->name), n);
    int64_t peer = attr_int(s->m, in->attr, AT_peer, 0);
    int64_t channel = attr_int(s->m, in->attr, AT_channel, 0);
    for (uint32_t i = fn->nparams; i < v.id; i++)
        before +=
            fn->insts[i].op == in->op && fn->insts[i].attr.id == in->attr.id;
    bool sends = in->op == OP_send;
    const char *key = arena_printf(
        s->a, "%s %lld %lld %lld %u", entry, (long long)(sends ? rank : peer),
        (long long)(sends ? peer : rank), (long long)channel, before);
    return module_str(s->m, key).id;
}

uint32_t message_port(Shard *s, uint32_t f, Value v)
{
    uint32_t port = 0;
    bool found = map_find(&s->messages, message_key(s, f, v), &port);
    CHECK(found);
    return port;
}

static void visit_message(Shard *s, uint32_t f, Value v, double times)
{
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    uint64_t key = message_key(s, f, v);
    Type t = in->op == OP_recv ? in->type : value_type(fn, inst_arg(fn, in, 0));
    uint32_t port;
    if (!map_find(&s->messages, key, &port)) {
        port = node_new(s, t, times);
        s->nodes.at[port].sent = times;
        map_add(&s->messages, key, port);
    }
    if (in->op == OP_recv)
        s->raws.at[raw_of(s, f, v)].node = port;
    else
        hand_operand(s, (Run){f, times}, in, 0, port);
}

static void visit(Shard *s, uint32_t f, double times, const uint32_t *ports)
{
    const Fn *fn = s->m->fns.at[f];
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Value v = {i};
        s->raws.at[raw_of(s, f, v)].type = fn->insts[i].type;
        switch ((Op)fn->insts[i].op) {
        case OP_arg:
            s->raws.at[raw_of(s, f, v)].node = ports[i];
            break;
        case OP_call:
            visit_call(s, f, v, times);
            break;
        case OP_repeat:
            visit_repeat(s, f, v, times);
            break;
        case OP_proj:
            visit_proj(s, f, v);
            break;
        case OP_send:
        case OP_recv:
            visit_message(s, f, v, times);
            break;
        default:
            add_item(s, f, v, times);
        }
    }
}

/* ---------------------------------------------------------------- roots -- */

static unsigned roles_of_port(const Port *p)
{
    switch (p->role) {
    case ROLE_param:
        return FOR_param;
    case ROLE_state:
        return FOR_state;
    case ROLE_record:
    case ROLE_check:
    case ROLE_skip:
    case ROLE_scalar:
        return 0;
    default:
        return FOR_activation;
    }
}

static uint32_t given_port(Shard *s, const Port *p)
{
    uint32_t n = node_new(s, p->type, 1);
    s->nodes.at[n].given = true;
    s->nodes.at[n].roles = roles_of_port(p);
    return n;
}

static void visit_root(Shard *s, uint32_t f)
{
    const Fn *fn = s->m->fns.at[f];
    s->entry = str_of(s->m, fn->name);
    uint32_t *ports = NEW_ARRAY(s->a, uint32_t, (size_t)fn->nparams + 1);
    for (uint32_t i = 0; i < fn->nparams; i++)
        ports[i] = given_port(s, &fn->params[i]);
    visit(s, f, 1, ports);
    s->ports[s->base[f] + fn->ninsts] = s->port_nodes.n + 1;
    for (uint32_t i = 0; i < fn->nresults; i++) {
        uint32_t p = given_port(s, &fn->results[i]);
        vec_push(s->a, &s->port_nodes, p);
        hand_result(s, (Run){f, 1}, i, p);
    }
}

/* Which uses a value has. */
static void index_uses(Shard *s)
{
    s->uses = NEW_ARRAY(s->a, uint32_t, (size_t)s->args.n + 1);
    for (uint32_t i = 0; i < s->args.n; i++)
        s->raws.at[s->args.at[i].raw].n++;
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->raws.n; i++) {
        s->raws.at[i].first = at;
        at += s->raws.at[i].n;
        s->raws.at[i].n = 0;
    }
    for (uint32_t i = 0; i < s->args.n; i++) {
        Raw *r = &s->raws.at[s->args.at[i].raw];
        s->uses[r->first + r->n++] = i;
        r->bytes = whole_bytes(s->m, r->type);
    }
}

static void count_calls(Shard *s)
{
    Module *m = s->m;
    s->calls = NEW_ARRAY(s->a, uint32_t, (size_t)m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++) {
            const Inst *in = &m->fns.at[f]->insts[i];
            if (in->op == OP_call) s->calls[attr_fn(m, in->attr, AT_fn).id]++;
        }
}

void graph_build(Shard *s, const Roots *roots)
{
    Module *m = s->m;
    uint32_t n = 0;
    count_calls(s);
    s->base = NEW_ARRAY(s->a, uint32_t, m->fns.n);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        s->base[i] = n;
        n += m->fns.at[i]->ninsts + 1; /* one for the function itself */
    }
    s->ports = NEW_ARRAY(s->a, uint32_t, (size_t)n + 1);
    map_init(&s->messages, s->a);
    for (uint32_t i = 0; i < n; i++)
        vec_push(s->a, &s->raws, ((Raw){.node = NO_RAW}));
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (roots->is[i]) visit_root(s, i);
    index_uses(s);
    s->kept = NEW_ARRAY(s->a, bool, (size_t)s->raws.n + 1);
}

/* ----------------------------------------------------------------- pins -- */

/* What an item makes: of a step, of its update, or a gradient for that. */
static void note_roles(Shard *s)
{
    for (uint32_t i = 0; i < s->items.n; i++) {
        const Item *it = &s->items.at[i];
        if (it->raw == NO_RAW) continue;
        bool update = inst_of(it->fn, it->v)->phase == PHASE_update;
        s->nodes.at[it->out].roles |= update ? FOR_update : FOR_activation;
        for (uint32_t k = 0; k < it->n && update; k++) {
            Node *n =
                &s->nodes.at[s->raws.at[s->args.at[it->first + k].raw].node];
            if (!n->given && !(n->roles & FOR_update)) n->roles |= FOR_grad;
        }
    }
}

/* A rule for every role says how an axis is used; one for parameters alone
 * says where they lie. */
static void pin(Shard *s, uint32_t node, const Where *where)
{
    uint32_t n = s->m->mesh.n;
    Where *used = NEW_ARRAY(s->a, Where, (size_t)n + 1);
    Ruled t = {.type = s->nodes.at[node].type,
               .roles = FOR_activation,
               .path = "",
               .entry = s->nodes.at[node].entry};
    rules_place(s, &t, used);
    for (uint32_t i = 0; i < n; i++) {
        MeshAxis m = {i};
        *pin_at(s, m, node) = s->nodes.at[node].whole ? used[i] : where[i];
        *used_at(s, m, node) = used[i];
    }
}

static bool pin_given(Shard *s, uint32_t f, Where *where)
{
    const Fn *fn = s->m->fns.at[f];
    for (uint32_t i = 0; i < fn->nparams + fn->nresults; i++) {
        const Port *p =
            i < fn->nparams ? &fn->params[i] : &fn->results[i - fn->nparams];
        uint32_t node =
            i < fn->nparams
                ? s->raws.at[s->base[f] + i].node
                : s->port_nodes.at[s->ports[s->base[f] + fn->ninsts] - 1 + i -
                                   fn->nparams];
        Ruled t = {.type = p->type, .roles = s->nodes.at[node].roles};
        t.path = str_of(s->m, p->path);
        if (!role_is_slot(p->role)) t.entry = s->nodes.at[node].entry;
        t.strict = true;
        if (!rules_place(s, &t, where)) return false;
        pin(s, node, where);
    }
    return true;
}

bool graph_pin(Shard *s)
{
    Module *m = s->m;
    Roots roots = roots_of(m);
    size_t nodes = (size_t)m->mesh.n * s->nodes.n;
    s->where = NEW_ARRAY(s->a, Where, nodes + 1);
    s->pin = NEW_ARRAY(s->a, Where, nodes + 1);
    s->used = NEW_ARRAY(s->a, Where, nodes + 1);
    s->need = NEW_ARRAY(s->a, Where, (size_t)m->mesh.n * s->args.n + 1);
    s->now = NEW_ARRAY(s->a, Where, (size_t)m->mesh.n + 1);
    Where *where = NEW_ARRAY(s->a, Where, (size_t)m->mesh.n + 1);
    note_roles(s);
    for (uint32_t i = 0; i < s->nodes.n; i++) {
        const Node *n = &s->nodes.at[i];
        if (n->given) continue;
        Ruled t = {
            .type = n->type, .roles = n->roles, .path = "", .entry = n->entry};
        rules_place(s, &t, where);
        pin(s, i, where);
    }
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (roots.is[i] && !pin_given(s, i, where)) return false;
    /* Until a mesh axis is decided, ports are taken to be as they are used. */
    for (size_t i = 0; i < nodes; i++) {
        bool given = s->nodes.at[i / m->mesh.n].given;
        s->where[i] = given || s->pin[i] != WHERE_none ? s->pin[i] : s->used[i];
    }
    return true;
}
