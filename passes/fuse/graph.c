/*
 * graph.c: the instructions of a function as nodes to be clustered.
 *
 * A map that costs less to compute again than to read back (a constant, an
 * index, a cast of something that is in memory anyway) gets a node of its own
 * at each use in a loop, so that it is never the reason for a buffer; so do, in
 * each product, operands that it makes of narrow numbers and their scales, and
 * the matrices that its blocks of rows choose (blocks.c).  What is made anew
 * (anew.c) has two nodes.
 */
#include "../added.h"
#include "fuse.h"

#include <string.h>

bool expr_is_cheap(const Module *m, Expr e)
{
    enum { MOST = 16 };
    Expr seen[MOST];
    uint32_t n = 1;
    seen[0] = e;
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *x = expr_info(m, seen[i]);
        if (!scalar_is_cheap((ScalarOp)x->op)) return false;
        for (uint32_t k = 0; k < x->nargs; k++) {
            uint32_t at = 0;
            while (at < n && seen[at].id != x->args[k].id)
                at++;
            if (at < n) continue;
            if (n == MOST) return false;
            seen[n++] = x->args[k];
        }
    }
    return true;
}

static NodeKind kind_of(Op op)
{
    switch (op) {
    case OP_arg:
        return NODE_arg;
    case OP_map:
    case OP_reduce:
    case OP_pad:
    case OP_window:
    case OP_fold:
    case OP_gather:
    case OP_cumsum:
        return NODE_loop;
    case OP_rename:
    case OP_split:
    case OP_merge:
    case OP_slice:
    case OP_pick:
    case OP_concat:
    case OP_stack:
    case OP_proj:
        return NODE_free;
    case OP_einsum:
        return NODE_matmul;
    case OP_top:
        return NODE_sort;
    case OP_scatter:
    case OP_put:
        return NODE_scatter;
    case OP_all_gather:
    case OP_reduce_scatter:
    case OP_all_reduce:
    case OP_all_to_all:
    case OP_permute:
        return NODE_collective;
    case OP_grad:
    case OP_call:
    case OP_repeat:
    case OP_cut:
    case OP_part:
    case OP_reshard:
    case OP_done:
    case OP_pending:
    case OP_coord:
    case OP_send:
    case OP_recv:
    case OP_buffer:
    case OP_view:
    case OP_counter:
    case OP_launch:
    case OP_loop:
    case OP_count:
        break;
    }
    return NODE_opaque;
}

typedef struct Make {
    Graph *g;
    Uses uses;
    bool *again;   /* by value: computed again at each use in a loop */
    bool *scales;  /* and in a product, of which it is an operand */
    bool *chooses; /* the product's second operand is a gather of its own */
    Anew anew;
    uint32_t *second; /* by value that is made anew: its node behind + 1 */
    uint32_t cap;
    uint32_t messages; /* sends and receives so far */
} Make;

/* Reading the operand again in each user costs no more than writing the value
 * and reading it there. */
static bool saves_traffic(const Make *mk, Value v, Value operand)
{
    const Graph *g = mk->g;
    const Module *m = g->fx->m;
    if (type_elements(m, value_type(g->fn, v)) !=
        type_elements(m, value_type(g->fn, operand)))
        return false;
    int64_t uses = mk->uses.first[v.id + 1] - mk->uses.first[v.id];
    int64_t in = type_bytes(m, value_type(g->fn, operand));
    int64_t out = type_bytes(m, value_type(g->fn, v));
    return in * uses <= in + out * (uses + 1);
}

/* The value is smaller than its operand, which nobody else reads, and is asked
 * for behind a repeat: the operand would have to be kept until then. */
static bool waits_smaller(const Make *mk, Value v, Value operand)
{
    const Graph *g = mk->g;
    const Module *m = g->fx->m;
    uint32_t read = mk->uses.first[operand.id + 1] -
                    mk->uses.first[operand.id] + mk->uses.nresult[operand.id];
    uint32_t last = v.id;
    if (read > 1 || inst_of(g->fn, operand)->op == OP_arg ||
        type_bytes(m, value_type(g->fn, v)) >=
            type_bytes(m, value_type(g->fn, operand)))
        return false;
    for (uint32_t i = mk->uses.first[v.id]; i < mk->uses.first[v.id + 1]; i++)
        if (mk->uses.at[i].id > last) last = mk->uses.at[i].id;
    for (uint32_t i = v.id; i < last; i++)
        if (g->fn->insts[i].op == OP_repeat) return true;
    return false;
}

/* Ranks meet between those who read the value, so no kernel holds it for all of
 * them. */
static bool waits_for_meeting(const Make *mk, Value v)
{
    const Fn *fn = mk->g->fn;
    uint32_t first = UINT32_MAX, last = 0;
    for (uint32_t i = mk->uses.first[v.id]; i < mk->uses.first[v.id + 1]; i++) {
        uint32_t user = mk->uses.at[i].id;
        if (user < first) first = user;
        if (user > last) last = user;
    }
    for (uint32_t i = v.id; i < last; i++)
        if (i > first && (op_info((Op)fn->insts[i].op)->flags & OPF_COMM))
            return true;
    return false;
}

/* A map on a GPU of one value as large as it, and of less: whoever reads it
 * behind a meeting makes it again, from what lies in fewer bytes. */
static bool made_behind_meeting(const Make *mk, Value v)
{
    const Graph *g = mk->g;
    const Module *m = g->fx->m;
    const Inst *in = inst_of(g->fn, v);
    int64_t all = type_elements(m, in->type);
    uint32_t large = 0;
    if (!g->fx->gpu || in->op != OP_map || mk->uses.nresult[v.id]) return false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Type t = value_type(g->fn, inst_arg(g->fn, in, i));
        large += type_elements(m, t) == all;
        if (type_elements(m, t) > all ||
            (type_elements(m, t) == all &&
             type_bytes(m, t) > type_bytes(m, in->type)))
            return false;
    }
    return large == 1 && waits_for_meeting(mk, v);
}

static bool computed_again(const Make *mk, Value v)
{
    const Graph *g = mk->g;
    const Module *m = g->fx->m;
    const Inst *in = inst_of(g->fn, v);
    if (in->op != OP_map || !expr_is_cheap(m, attr_expr(m, in->attr)))
        return false;
    uint32_t einsum;
    if (map_casts_scatter(m, g->fn, in, &mk->uses) ||
        map_scales_einsum(m, g->fn, in, &mk->uses, &einsum))
        return false;
    /* One number is read sooner than the several it is made of. */
    if (in->nargs > 1 && type_info(m, in->type)->naxes == 0) return false;
    Value large = NO_VALUE;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(g->fn, in, i);
        if (type_info(m, value_type(g->fn, x))->naxes == 0) continue;
        if (!value_eq(large, NO_VALUE)) return false;
        large = x;
    }
    if (value_eq(large, NO_VALUE)) return true;
    return saves_traffic(mk, v, large) && !waits_smaller(mk, v, large);
}

/* An operand that the product makes of narrow numbers and their scales. */
static bool is_made_there(const Make *mk, Value v)
{
    const Graph *g = mk->g;
    return g->fx->gpu && map_scales_operand(g->fx->m, g->fn, inst_of(g->fn, v));
}

/* Whether each user has a node of its own for X, if that is made again. */
static bool asks_again(const Make *mk, const Inst *in, Value x)
{
    return kind_of((Op)in->op) == NODE_loop ||
           (in->op == OP_einsum && mk->scales[x.id]);
}

/* What a product chooses of is made there, too, where both its operands are. */
static bool scales_chosen(const Make *mk, const Inst *product, Value of)
{
    return mk->scales[of.id] && mk->scales[inst_arg(mk->g->fn, product, 0).id];
}

static uint32_t node_add(Make *mk, Value v)
{
    Graph *g = mk->g;
    const Inst *in = inst_of(g->fn, v);
    if (g->n == mk->cap)
        g->nodes = vec_grown(g->fx->a, g->nodes, g->n, &mk->cap, g->n + 1,
                             sizeof *g->nodes);
    uint32_t at = g->n++;
    g->nodes[at] =
        (Node){.value = v,
               .kind = kind_of((Op)in->op),
               .after = mk->messages,
               .nargs = in->nargs,
               .args = NEW_ARRAY(g->fx->a, uint32_t, (size_t)in->nargs + 1)};
    return at;
}

static uint32_t node_again(Make *mk, Value v)
{
    Graph *g = mk->g;
    if (!mk->again[v.id]) return g->primary[v.id];
    const Inst *in = inst_of(g->fn, v);
    uint32_t *args = NEW_ARRAY(g->fx->a, uint32_t, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = node_again(mk, inst_arg(g->fn, in, i));
    uint32_t at = node_add(mk, v);
    g->nodes[at].args = args;
    g->nodes[at].again = true;
    return at;
}

/* The node of an operand, for whoever is neither of a kind nor behind. */
static uint32_t node_read(Make *mk, const Inst *in, Value x)
{
    return asks_again(mk, in, x) ? node_again(mk, x) : mk->g->primary[x.id];
}

/* The node of the gather of a product. */
static uint32_t node_chosen(Make *mk, const Inst *product)
{
    Graph *g = mk->g;
    Value v = inst_arg(g->fn, product, 1);
    Value of = inst_arg(g->fn, inst_of(g->fn, v), 0);
    Value ids = inst_arg(g->fn, inst_of(g->fn, v), 1);
    bool scales = scales_chosen(mk, product, of);
    uint32_t from = scales ? node_again(mk, of) : g->primary[of.id];
    uint32_t at = node_add(mk, v);
    g->nodes[at].args[0] = from;
    g->nodes[at].args[1] = g->primary[ids.id];
    g->nodes[at].again = true;
    return at;
}

/* The node of what is made anew, for all that is behind its number. */
static uint32_t node_second(Make *mk, Value v)
{
    Graph *g = mk->g;
    if (mk->second[v.id]) return mk->second[v.id] - 1;
    const Inst *in = inst_of(g->fn, v);
    uint32_t *args = NEW_ARRAY(g->fx->a, uint32_t, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = node_read(mk, in, inst_arg(g->fn, in, i));
    uint32_t at = node_add(mk, v);
    g->nodes[at].args = args;
    g->nodes[at].anew = g->nodes[at].second = true;
    mk->second[v.id] = at + 1;
    return at;
}

static void node_make(Make *mk, Value v)
{
    Graph *g = mk->g;
    const Inst *in = inst_of(g->fn, v);
    uint32_t *args = NEW_ARRAY(g->fx->a, uint32_t, (size_t)in->nargs + 1);
    uint32_t nargs = in->nargs;
    if (mk->chooses[v.id]) args[--nargs] = node_chosen(mk, in);
    for (uint32_t i = 0; i < nargs; i++) {
        Value x = inst_arg(g->fn, in, i);
        bool second = mk->anew.behind[v.id] && mk->anew.value[x.id];
        args[i] = second ? node_second(mk, x) : node_read(mk, in, x);
    }
    uint32_t at = node_add(mk, v);
    g->nodes[at].args = args;
    g->nodes[at].anew = mk->anew.value[v.id];
    g->primary[v.id] = at;
    mk->messages += is_message(in);
}

/* What the gather of a product asks for. */
static void need_chosen(const Make *mk, const Inst *product, bool *needed,
                        bool *wanted)
{
    const Fn *fn = mk->g->fn;
    const Inst *chosen = inst_of(fn, inst_arg(fn, product, 1));
    Value of = inst_arg(fn, chosen, 0);
    wanted[of.id] = true;
    if (!scales_chosen(mk, product, of)) needed[of.id] = true;
    needed[inst_arg(fn, chosen, 1).id] = true;
}

/* Values that somebody other than a loop asks for; operands of those that are
 * computed again are asked for in their place. */
static bool *find_needed(const Make *mk)
{
    const Graph *g = mk->g;
    const Fn *fn = g->fn;
    bool *needed = NEW_ARRAY(g->fx->a, bool, fn->ninsts);
    for (uint32_t i = 0; i < fn->nresults; i++)
        needed[fn->result_values[i].id] = true;
    bool *wanted = NEW_ARRAY(g->fx->a, bool, fn->ninsts);
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        const Inst *in = &fn->insts[i];
        bool effect = !(op_info((Op)in->op)->flags & OPF_PURE);
        bool live = needed[i] || effect || (!mk->again[i] && wanted[i]);
        needed[i] = live || in->op == OP_arg;
        if (!live && !wanted[i]) continue;
        uint32_t nargs = in->nargs;
        if (mk->chooses[i]) {
            nargs--;
            need_chosen(mk, in, needed, wanted);
        }
        for (uint32_t k = 0; k < nargs; k++) {
            Value x = inst_arg(fn, in, k);
            wanted[x.id] = true;
            if (!asks_again(mk, in, x)) needed[x.id] = true;
        }
    }
    return needed;
}

static void find_users(Graph *g)
{
    for (uint32_t i = 0; i < g->n; i++)
        for (uint32_t k = 0; k < g->nodes[i].nargs; k++)
            g->nodes[g->nodes[i].args[k]].nusers++;
    for (uint32_t i = 0; i < g->n; i++) {
        Node *x = &g->nodes[i];
        x->users = NEW_ARRAY(g->fx->a, uint32_t, (size_t)x->nusers + 1);
        x->nusers = 0;
        for (uint32_t k = 0; k < x->nargs; k++) {
            Node *arg = &g->nodes[x->args[k]];
            arg->users[arg->nusers++] = i;
        }
    }
}

/* Which collectives each node has to wait for. */
static void find_met(Graph *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n; i++)
        n += g->nodes[i].kind == NODE_collective;
    g->words = (n + 63) / 64;
    g->met = NEW_ARRAY(g->fx->a, uint64_t, (size_t)g->n * g->words + 1);
    n = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        uint64_t *mine = g->met + (size_t)i * g->words;
        const Node *x = &g->nodes[i];
        for (uint32_t a = 0; a < x->nargs; a++)
            for (uint32_t w = 0; w < g->words; w++)
                mine[w] |= g->met[(size_t)x->args[a] * g->words + w];
        if (x->kind != NODE_collective) continue;
        mine[n / 64] |= UINT64_C(1) << n % 64;
        n++;
    }
}

Graph *fuse_graph(Fuse *fx, const Fn *fn)
{
    Graph *g = NEW(fx->a, Graph);
    *g = (Graph){.fx = fx, .fn = fn};
    g->primary = NEW_ARRAY(fx->a, uint32_t, (size_t)fn->ninsts + 1);
    Make mk = {.g = g, .uses = fn_uses(fn, fx->a)};
    mk.again = NEW_ARRAY(fx->a, bool, (size_t)fn->ninsts + 1);
    mk.scales = NEW_ARRAY(fx->a, bool, (size_t)fn->ninsts + 1);
    mk.chooses = NEW_ARRAY(fx->a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        mk.scales[i] = is_made_there(&mk, (Value){i});
        mk.chooses[i] = fuse_chooses(fx, fn, (Value){i}, &mk.uses);
        mk.again[i] = mk.scales[i] || computed_again(&mk, (Value){i}) ||
                      made_behind_meeting(&mk, (Value){i});
    }
    mk.anew = fuse_anew(fx, fn, &mk.uses, mk.again);
    mk.second = NEW_ARRAY(fx->a, uint32_t, (size_t)fn->ninsts + 1);
    bool *needed = find_needed(&mk);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        g->primary[i] = UINT32_MAX;
        if (needed[i]) node_make(&mk, (Value){i});
    }
    for (uint32_t i = 0; i < fn->nresults; i++)
        g->nodes[g->primary[fn->result_values[i].id]].result = true;
    find_users(g);
    find_met(g);
    g->clusters = NEW_ARRAY(fx->a, Cluster, (size_t)g->n + 1);
    for (uint32_t i = 0; i < g->n; i++) {
        g->nodes[i].cluster = i;
        vec_push(fx->a, &g->clusters[i].nodes, i);
    }
    return g;
}

const Inst *node_inst(const Graph *g, uint32_t node)
{
    return inst_of(g->fn, g->nodes[node].value);
}

Type node_type(const Graph *g, uint32_t node)
{
    return node_inst(g, node)->type;
}

Type node_axes(const Graph *g, uint32_t node)
{
    return type_with_dtype(g->fx->m, node_type(g, node), DT_f32);
}

bool is_listed(const Numbers *list, uint32_t number)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (list->at[i] == number) return true;
    return false;
}

static uint32_t *only(const Graph *g, uint32_t x)
{
    uint32_t *one = NEW_ARRAY(g->fx->a, uint32_t, 1);
    *one = x;
    return one;
}

/* Room for one more. */
static uint32_t add_node(Graph *g, Node x)
{
    Arena *a = g->fx->a;
    Node *nodes = NEW_ARRAY(a, Node, (size_t)g->n + 1);
    Cluster *clusters = NEW_ARRAY(a, Cluster, (size_t)g->n + 2);
    memcpy(nodes, g->nodes, g->n * sizeof *nodes);
    memcpy(clusters, g->clusters, g->n * sizeof *clusters);
    g->nodes = nodes;
    g->clusters = clusters;
    nodes[g->n] = x;
    return g->n++;
}

uint32_t fuse_part(Graph *g, uint32_t node, Node x)
{
    uint32_t of = g->nodes[node].args[0];
    x.value = g->nodes[node].value;
    x.part = true;
    x.nargs = x.nusers = 1;
    x.args = only(g, of);
    x.users = only(g, node);
    uint32_t part = add_node(g, x);
    vec_push(g->fx->a, &g->clusters[x.cluster].nodes, part);
    for (uint32_t u = 0; u < g->nodes[of].nusers; u++)
        if (g->nodes[of].users[u] == node) g->nodes[of].users[u] = part;
    g->nodes[node].args = only(g, part);
    return part;
}
