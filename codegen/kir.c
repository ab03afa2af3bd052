/*
 * kir.c: nodes and loops of the kernel IR, and their canonical text.
 *
 * A pure node is interned and put into the body of the innermost loop on
 * which it depends.  A loop goes into its parent's body when it is closed, so
 * what was found to be constant in it while it was built stands before it.
 */
#include "kir.h"

#include "tensor.h"

void kir_init(Kir *k, Arena *arena)
{
    *k = (Kir){.arena = arena};
    map_init(&k->ix_map, arena);
    map_init(&k->atom_map, arena);
    map_init(&k->node_map, arena);
    vec_push(arena, &k->loops, ((Loop){.kind = LOOP_kernel, .hi = 1}));
    vec_push(arena, &k->nodes, ((NodeInfo){.op = KN_none}));
    ix_const(k, 0);
}

int64_t tree_partials(int64_t n)
{
    int64_t p = 1;
    while (p < n && p < TREE_MOST)
        p *= 2;
    return p;
}

/* As many threads as give each 32 elements; a row that fills a multiprocessor
 * has all of its threads. */
int64_t row_threads(int64_t n)
{
    int64_t t = n <= ROW_LANES ? 1 : 2;
    if (n >= LONG_ROW) return 2 * ROW_MOST;
    while (t * ROW_GROUP < n && t < ROW_MOST)
        t *= 2;
    return t;
}

bool row_has_vectors(const Kir *k, int64_t n)
{
    return n % ROW_LANES == 0 || k->lined;
}

bool row_is_long(const Kir *k, int64_t n)
{
    return row_has_vectors(k, n) && n > ROW_HELD * ROW_LANES * row_threads(n);
}

LoopId loop_open(Kir *k, LoopKind kind, LoopId parent, int64_t lo, int64_t hi)
{
    Loop l = {.kind = kind, .parent = parent, .lo = lo, .hi = hi};
    l.depth = k->loops.at[parent].depth + 1;
    vec_push(k->arena, &k->loops, l);
    return k->loops.n - 1;
}

/* ------------------------------------------------------------------ nodes */

static LoopId home(const Kir *k, const NodeInfo *in)
{
    LoopId l = ix_info(k, in->ix)->loop;
    l = loop_deeper(k, l, node_info(k, in->a)->loop);
    l = loop_deeper(k, l, node_info(k, in->b)->loop);
    return loop_deeper(k, l, node_info(k, in->c)->loop);
}

static Node node_append(Kir *k, const NodeInfo *in)
{
    vec_push(k->arena, &k->nodes, *in);
    Node n = {k->nodes.n - 1};
    k->nodes.at[n.id].loc = k->loc;
    vec_push(k->arena, &k->loops.at[in->loop].body, n);
    return n;
}

/* What tells nodes apart; `loop` follows from the rest. */
static uint64_t node_key(const NodeInfo *in)
{
    uint64_t words[] = {(uint64_t)in->op | (uint64_t)in->dtype << 8 |
                            (uint64_t)in->sc << 16,
                        (uint64_t)in->a.id << 32 | in->b.id,
                        (uint64_t)in->c.id << 32 | in->ix.id,
                        (uint64_t)in->arg << 32 | in->inner,
                        (uint64_t)in->n,
                        (uint64_t)in->i};
    return hash_bytes(words, sizeof words, 7);
}

static bool node_same(const NodeInfo *a, const NodeInfo *b)
{
    return a->op == b->op && a->dtype == b->dtype && a->sc == b->sc &&
           a->a.id == b->a.id && a->b.id == b->b.id && a->c.id == b->c.id &&
           a->ix.id == b->ix.id && a->arg == b->arg && a->inner == b->inner &&
           a->n == b->n && a->i == b->i;
}

static Node node_intern_at(Kir *k, NodeInfo *in, LoopId loop)
{
    uint64_t key = node_key(in);
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&k->node_map, key, &it, &id); ok;
         ok = map_next(&k->node_map, &it, &id))
        if (node_same(&k->nodes.at[id], in)) return (Node){id};
    in->loop = loop;
    Node n = node_append(k, in);
    map_add(&k->node_map, key, n.id);
    return n;
}

static Node node_intern(Kir *k, NodeInfo *in)
{
    return node_intern_at(k, in, home(k, in));
}

Node node_const_int(Kir *k, DType d, int64_t i)
{
    return node_intern(
        k, &(NodeInfo){.op = KN_const, .dtype = (uint8_t)d, .i = i});
}

Node node_const_float(Kir *k, DType d, double f)
{
    return node_intern(
        k, &(NodeInfo){.op = KN_const, .dtype = (uint8_t)d, .f = f});
}

Node node_index(Kir *k, DType d, Ix ix)
{
    const IxInfo *x = ix_info(k, ix);
    if (x->n == 0) return node_const_int(k, d, x->base);
    return node_intern(
        k, &(NodeInfo){.op = KN_index, .dtype = (uint8_t)d, .ix = ix});
}

Node node_inside(Kir *k, Ix ix, int64_t n)
{
    if (ix_within(k, ix, n)) return (Node){0};
    const IxInfo *x = ix_info(k, ix);
    if (x->hi < 0 || x->lo >= n) return node_const_int(k, DT_bool, 0);
    return node_intern(
        k, &(NodeInfo){.op = KN_inside, .dtype = DT_bool, .ix = ix, .n = n});
}

Node node_divides(Kir *k, Ix ix, int64_t n)
{
    const IxInfo *x = ix_info(k, ix_mod(k, ix, n));
    if (x->n == 0)
        return x->base == 0 ? (Node){0} : node_const_int(k, DT_bool, 0);
    return node_intern(
        k, &(NodeInfo){.op = KN_divides, .dtype = DT_bool, .ix = ix, .n = n});
}

static bool is_false(const Kir *k, Node n)
{
    const NodeInfo *in = node_info(k, n);
    return in->op == KN_const && in->i == 0;
}

Node node_and(Kir *k, Node a, Node b)
{
    if (!a.id || a.id == b.id || is_false(k, b)) return b;
    if (!b.id || is_false(k, a)) return a;
    return node_scalar(k, SC_and, DT_bool, a, b, (Node){0});
}

Node node_load(Kir *k, uint32_t arg, Ix ix, Node guard)
{
    DType d = k->arg_dtypes[arg];
    if (is_false(k, guard) && guard.id) {
        if (dtype_class(d) == DC_float) return node_const_float(k, d, 0);
        return node_const_int(k, d, 0);
    }
    return node_intern(k, &(NodeInfo){.op = KN_load,
                                      .dtype = (uint8_t)d,
                                      .arg = arg,
                                      .ix = ix,
                                      .a = guard});
}

Node node_counter(Kir *k, uint32_t arg)
{
    return node_intern(
        k, &(NodeInfo){.op = KN_counter, .dtype = DT_i32, .arg = arg});
}

Node node_scalar(Kir *k, ScalarOp sc, DType d, Node a, Node b, Node c)
{
    if (sc == SC_stop) return a;
    if (sc == SC_where && node_info(k, a)->op == KN_const)
        return node_info(k, a)->i ? b : c;
    return node_intern(k, &(NodeInfo){.op = KN_scalar,
                                      .dtype = (uint8_t)d,
                                      .sc = (uint8_t)sc,
                                      .a = a,
                                      .b = b,
                                      .c = c});
}

Node node_cast(Kir *k, DType d, Node a)
{
    if (node_info(k, a)->dtype == d) return a;
    return node_intern(k,
                       &(NodeInfo){.op = KN_cast, .dtype = (uint8_t)d, .a = a});
}

Node node_or_zero(Kir *k, Node guard, Node a)
{
    if (!guard.id) return a;
    DType d = node_info(k, a)->dtype;
    Node zero = dtype_class(d) == DC_float ? node_const_float(k, d, 0)
                                           : node_const_int(k, d, 0);
    return node_scalar(k, SC_where, d, guard, a, zero);
}

Node node_result_in(Kir *k, LoopId home_loop, LoopId loop, uint32_t acc)
{
    const Loop *l = &k->loops.at[loop];
    NodeInfo in = {.op = KN_result,
                   .dtype = (uint8_t)l->accs.at[acc].dtype,
                   .arg = home_loop,
                   .inner = loop,
                   .n = acc};
    return node_intern_at(k, &in, home_loop);
}

Node node_result(Kir *k, LoopId loop, uint32_t acc)
{
    return node_result_in(k, k->loops.at[loop].parent, loop, acc);
}

Node node_scan(Kir *k, LoopId loop, Node a, bool exclusive)
{
    k->loops.at[loop].scans = true;
    NodeInfo in = {.op = KN_scan,
                   .dtype = node_info(k, a)->dtype,
                   .a = a,
                   .inner = loop,
                   .n = exclusive};
    return node_intern_at(k, &in, loop_deeper(k, loop, node_info(k, a)->loop));
}

Node node_piece(Kir *k, LoopId home_loop, DType d, uint32_t n)
{
    NodeInfo in = {
        .op = KN_piece, .dtype = (uint8_t)d, .inner = home_loop, .n = n};
    return node_intern_at(k, &in, home_loop);
}

Node node_exp2(Kir *k, Node a)
{
    return node_intern(k, &(NodeInfo){.op = KN_exp2, .dtype = DT_f32, .a = a});
}

Node node_rcp(Kir *k, Node a)
{
    return node_intern(k, &(NodeInfo){.op = KN_rcp, .dtype = DT_f32, .a = a});
}

void node_store(Kir *k, LoopId loop, uint32_t arg, Ix ix, Node guard, Node v)
{
    node_append(k, &(NodeInfo){.op = KN_store,
                               .dtype = (uint8_t)k->arg_dtypes[arg],
                               .loop = loop,
                               .arg = arg,
                               .ix = ix,
                               .a = guard,
                               .b = v});
}

void node_total(Kir *k, LoopId loop, uint32_t arg, Ix ix, const Acc *total,
                LoopId walk)
{
    node_append(k, &(NodeInfo){.op = KN_total,
                               .dtype = (uint8_t)k->arg_dtypes[arg],
                               .loop = loop,
                               .arg = arg,
                               .ix = ix,
                               .b = total->value,
                               .n = total->kind,
                               .inner = walk});
}

void loop_close(Kir *k, LoopId loop)
{
    k->loops.at[loop].closed = true;
    node_append(k, &(NodeInfo){.op = KN_loop,
                               .loop = k->loops.at[loop].parent,
                               .inner = loop});
}

/* ------------------------------------------------------------------ sweep */

static void mark_node(const Kir *k, Node n, bool *needed);

static void mark_ix(const Kir *k, Ix ix, bool *needed)
{
    const IxInfo *x = ix_info(k, ix);
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &k->atoms.at[x->terms[i].atom];
        if (a->kind == ATOM_node) mark_node(k, a->node, needed);
        if (a->kind == ATOM_div || a->kind == ATOM_mod)
            mark_ix(k, a->of, needed);
    }
}

static void mark_node(const Kir *k, Node n, bool *needed)
{
    if (needed[n.id]) return;
    needed[n.id] = true;
    const NodeInfo *in = node_info(k, n);
    mark_node(k, in->a, needed);
    mark_node(k, in->b, needed);
    mark_node(k, in->c, needed);
    mark_ix(k, in->ix, needed);
}

static bool stays(const NodeInfo *in)
{
    return in->op == KN_store || in->op == KN_total || in->op == KN_loop;
}

void kir_sweep(Kir *k)
{
    bool *needed = NEW_ARRAY(k->arena, bool, k->nodes.n);
    needed[0] = true;
    for (uint32_t i = 1; i < k->nodes.n; i++)
        if (stays(&k->nodes.at[i])) mark_node(k, (Node){i}, needed);
    for (uint32_t i = 0; i < k->loops.n; i++) {
        mark_node(k, k->loops.at[i].when, needed);
        mark_node(k, k->loops.at[i].from, needed);
        mark_node(k, k->loops.at[i].to, needed);
        for (uint32_t a = 0; a < k->loops.at[i].accs.n; a++) {
            mark_node(k, k->loops.at[i].accs.at[a].value, needed);
            mark_node(k, k->loops.at[i].accs.at[a].by, needed);
        }
    }
    for (uint32_t i = 0; i < k->loops.n; i++) {
        Loop *l = &k->loops.at[i];
        uint32_t n = 0;
        for (uint32_t j = 0; j < l->body.n; j++)
            if (needed[l->body.at[j].id]) l->body.at[n++] = l->body.at[j];
        l->body.n = n;
    }
}

/* Turns of a loop: of a range that is known when the kernel runs one, as where
 * each item of a list is somebody's; where elements of a matrix are made once,
 * those that no other lane or row has, too. */
static int64_t loop_turns(const Kir *k, const Loop *l)
{
    int64_t n = l->hi - l->lo;
    if (l->from.id || l->to.id) return 1;
    if (!k->elements.n || !l->accs.n) return n;
    if (k->loops.at[l->parent].kind == LOOP_seq) return 1;
    for (LoopId i = 1; i < k->loops.n; i++) {
        const Loop *sweep = &k->loops.at[i];
        bool rows = sweep->kind == LOOP_seq && !sweep->accs.n;
        if (rows && sweep->hi < n) n = sweep->hi;
    }
    return n;
}

static uint64_t loop_flops(const Kir *k, LoopId id)
{
    const Loop *l = &k->loops.at[id];
    uint64_t n = l->accs.n;
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(k, l->body.at[i]);
        if (in->op == KN_scalar || in->op == KN_scan || in->op == KN_total) n++;
        if (in->op == KN_loop) n += loop_flops(k, in->inner);
    }
    return n * (uint64_t)loop_turns(k, l);
}

uint64_t kir_flops(const Kir *k)
{
    return loop_flops(k, 0);
}

int64_t kir_runs(const Kir *k, Node n)
{
    int64_t runs = 1;
    for (LoopId at = node_info(k, n)->loop; at; at = k->loops.at[at].parent)
        runs *= loop_turns(k, &k->loops.at[at]);
    return runs;
}

/* ------------------------------------------------------------------- text */

static void print_atom(const Kir *k, uint32_t id, Buf *out);

void ix_print(const Kir *k, Ix ix, Buf *out)
{
    const IxInfo *x = ix_info(k, ix);
    buf_printf(out, "%lld", (long long)x->base);
    for (uint32_t i = 0; i < x->n; i++) {
        buf_printf(out, " + %lld*", (long long)x->terms[i].coef);
        print_atom(k, x->terms[i].atom, out);
    }
}

static void print_atom(const Kir *k, uint32_t id, Buf *out)
{
    const Atom *a = &k->atoms.at[id];
    switch (a->kind) {
    case ATOM_var:
        buf_printf(out, "i%u", a->loop);
        return;
    case ATOM_node:
        buf_printf(out, "%%%u", a->node.id);
        return;
    case ATOM_div:
    case ATOM_mod:
        buf_puts(out, "(");
        ix_print(k, a->of, out);
        buf_printf(out, ") %c %lld", a->kind == ATOM_div ? '/' : '%',
                   (long long)a->by);
        return;
    }
}

static const char *node_word(const NodeInfo *in)
{
    static const char *const words[] = {
        "none",    "const",  "index", "inside", "divides", "load",
        "counter", "scalar", "cast",  "result", "piece",   "exp2",
        "rcp",     "scan",   "store", "total",  "loop"};
    return in->op == KN_scalar ? scalar_info((ScalarOp)in->sc)->name
                               : words[in->op];
}

static void print_operands(const NodeInfo *in, Buf *out)
{
    const Node all[] = {in->a, in->b, in->c};
    for (int i = 0; i < 3; i++)
        if (all[i].id) buf_printf(out, " %%%u", all[i].id);
}

static void print_node(const Kir *k, Node n, Buf *out)
{
    const NodeInfo *in = node_info(k, n);
    buf_printf(out, "%%%u : %s = %s", n.id, dtype_name((DType)in->dtype),
               node_word(in));
    print_operands(in, out);
    switch ((NodeOp)in->op) {
    case KN_const:
        buf_printf(out, " %llx", (unsigned long long)in->i);
        break;
    case KN_load:
    case KN_store:
        buf_printf(out, " arg %u [", in->arg);
        ix_print(k, in->ix, out);
        buf_putc(out, ']');
        break;
    case KN_total:
        buf_printf(out, " loop %u %lld arg %u [", in->inner, (long long)in->n,
                   in->arg);
        ix_print(k, in->ix, out);
        buf_putc(out, ']');
        break;
    case KN_index:
    case KN_inside:
    case KN_divides:
        buf_puts(out, " [");
        ix_print(k, in->ix, out);
        buf_printf(out, "] %lld", (long long)in->n);
        break;
    case KN_counter:
        buf_printf(out, " arg %u", in->arg);
        break;
    case KN_result:
    case KN_piece:
    case KN_scan:
        buf_printf(out, " loop %u %lld", in->inner, (long long)in->n);
        break;
    case KN_none:
    case KN_exp2:
    case KN_rcp:
    case KN_scalar:
    case KN_cast:
    case KN_loop:
        break;
    }
    buf_putc(out, '\n');
}

static void print_loop(const Kir *k, LoopId id, Buf *out)
{
    static const char *const kinds[] = {"kernel", "items", "seq",    "lanes",
                                        "sweep",  "dot",   "outer",  "wide",
                                        "blocks", "rows",  "columns"};
    static const char *const accs[] = {"sum", "max", "min", "prod"};
    const Loop *l = &k->loops.at[id];
    buf_printf(out, "%*s%s i%u in %lld .. %lld chunk %lld%s\n",
               (int)l->depth * 2, "", kinds[l->kind], id, (long long)l->lo,
               (long long)l->hi, (long long)l->chunk,
               l->reverse    ? " reverse"
               : l->walks    ? " walk"
               : l->in_order ? " in order"
                             : "");
    if (l->online)
        buf_printf(out, "%*sonline i%u %u\n", (int)l->depth * 2 + 2, "",
                   l->online, l->top);
    if (l->when.id)
        buf_printf(out, "%*swhen %%%u\n", (int)l->depth * 2 + 2, "",
                   l->when.id);
    if (l->from.id)
        buf_printf(out, "%*sfrom %%%u to %%%u\n", (int)l->depth * 2 + 2, "",
                   l->from.id, l->to.id);
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(k, l->body.at[i]);
        if (in->op == KN_loop) {
            print_loop(k, in->inner, out);
            continue;
        }
        buf_printf(out, "%*s", (int)l->depth * 2 + 2, "");
        print_node(k, l->body.at[i], out);
    }
    for (uint32_t i = 0; i < l->accs.n; i++)
        buf_printf(out, "%*s%s %s %%%u %%%u\n", (int)l->depth * 2 + 2, "",
                   dtype_name(l->accs.at[i].dtype),
                   l->accs.at[i].keep ? "keep" : accs[l->accs.at[i].kind],
                   l->accs.at[i].value.id, l->accs.at[i].by.id);
}

void kir_print(const Kir *k, Buf *out)
{
    for (uint32_t i = 0; i < k->nargs; i++)
        buf_printf(out, "arg %u %s align %u%s\n", i,
                   dtype_name(k->arg_dtypes[i]), k->args[i].align,
                   k->args[i].written ? " written" : "");
    buf_printf(out, "rows %lld chunks %lld width %lld zero %llx\n",
               (long long)k->rows, (long long)k->chunks, (long long)k->width,
               (unsigned long long)k->zero);
    if (k->exact) buf_printf(out, "exact\n");
    if (k->lined) buf_printf(out, "lined\n");
    if (k->tensor) tensor_print(k->tensor, k, out);
    print_loop(k, 0, out);
}
