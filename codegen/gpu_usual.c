/*
 * gpu_usual.c: the lanes of a thread, made in two ways.
 *
 * A quotient, a root or a power of e that has the host's bits for every operand
 * takes many instructions for operands that hardly ever come: near the least
 * and the greatest number, infinite, or NaN.  So the lanes of a thread are made
 * by the forms for usual operands first (gpu_math.c), which note whether theirs
 * were.  Where one was not, all lanes of the thread are made again, by the
 * forms for any operand, before anything is stored:
 *
 *     loads, values; all usual? --yes--> stores
 *                        |                 ^
 *                        no --> values, ---|
 *
 * The second way begins with what was loaded, in registers or made so by the
 * first: it passes through an empty piece of assembly, so that nothing else has
 * to be held for it.
 */
#include "gpu_rows.h"

static bool is_f32(const Kir *k, Node n)
{
    return node_info(k, n)->dtype == DT_f32;
}

static bool has_usual_form(const Kir *k, const NodeInfo *in)
{
    if (in->op != KN_scalar || !is_f32(k, in->a)) return false;
    switch ((ScalarOp)in->sc) {
    case SC_div:
    case SC_sqrt:
    case SC_rsqrt:
    case SC_exp:
    case SC_log:
    case SC_log1p:
    case SC_tanh:
    case SC_erf:
    case SC_sigmoid:
        return true;
    default:
        return false;
    }
}

/* A body of loads, values and stores. */
static bool is_simple(const Kir *k, const Loop *l)
{
    bool helps = false;
    if (l->when.id) return false;
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(k, l->body.at[i]);
        if (in->op == KN_loop || in->op == KN_scan || in->op == KN_total)
            return false;
        helps |= has_usual_form(k, in);
    }
    return helps;
}

static bool is_store(const Kir *k, const NodeInfo *in)
{
    (void)k;
    return in->op == KN_store;
}

/* Loads that need no value. */
static bool is_early(const Kir *k, const NodeInfo *in)
{
    return in->op == KN_load && !in->a.id && !ix_chosen(k, in->ix);
}

static bool is_late(const Kir *k, const NodeInfo *in)
{
    return in->op != KN_store && !is_early(k, in);
}

static bool is_value(const Kir *k, const NodeInfo *in)
{
    (void)k;
    return in->op != KN_store && in->op != KN_load;
}

/* What stores of the body use, by node, as narrow as it is; the rest is NULL.
 */
static LV *values_stored(Emit *e, const Loop *l)
{
    LV *v = NEW_ARRAY(e->k->arena, LV, e->k->nodes.n);
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *st = node_info(e->k, l->body.at[i]);
        if (st->op != KN_store) continue;
        v[st->a.id] = e->vals[st->a.id];
        v[st->b.id] = gpu_opaque(e, e->vals[st->b.id]);
    }
    v[0] = NULL;
    return v;
}

/* Loads of the body pass by what the compiler knows, or are as they were. */
static void hide_loads(Emit *e, const Loop *l, LV *was)
{
    for (uint32_t i = 0; i < l->body.n; i++) {
        uint32_t id = l->body.at[i].id;
        if (node_info(e->k, l->body.at[i])->op != KN_load) continue;
        was[id] = e->vals[id];
        e->vals[id] = gpu_opaque(e, e->vals[id]);
    }
}

static void show_loads(Emit *e, const Loop *l, const LV *was)
{
    for (uint32_t i = 0; i < l->body.n; i++)
        if (was[l->body.at[i].id])
            e->vals[l->body.at[i].id] = was[l->body.at[i].id];
}

/* Almost never to the second. */
static void branch_usual(Emit *e, LV usual, LLVMBasicBlockRef on,
                         LLVMBasicBlockRef rare)
{
    LLVMContextRef cx = e->s.cx;
    LV br = LLVMBuildCondBr(e->s.b, usual, on, rare);
    LLVMTypeRef word = LLVMInt32TypeInContext(cx);
    LLVMMetadataRef weights[] = {
        LLVMMDStringInContext2(cx, "branch_weights", 14),
        LLVMValueAsMetadata(LLVMConstInt(word, 1 << 20, false)),
        LLVMValueAsMetadata(LLVMConstInt(word, 1, false))};
    LV md = LLVMMetadataAsValue(cx, LLVMMDNodeInContext2(cx, weights, 3));
    LLVMSetMetadata(br, LLVMGetMDKindIDInContext(cx, "prof", 4), md);
}

/* Values of the second way, where the thread came from there. */
static void join(Emit *e, LV *first, LLVMBasicBlockRef from,
                 LLVMBasicBlockRef rare)
{
    for (uint32_t i = 1; i < e->k->nodes.n; i++) {
        LV other = e->vals[i];
        if (!first[i]) continue;
        e->vals[i] = LLVMBuildPhi(e->s.b, LLVMTypeOf(other), "");
        LLVMAddIncoming(e->vals[i], &first[i], &from, 1);
        LLVMAddIncoming(e->vals[i], &other, &rare, 1);
    }
}

static void lanes_usual(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    LV usual = LLVMConstInt(LLVMInt1TypeInContext(e->s.cx), 1, false);
    emit_some(e, loop, is_early);
    e->s.usual = &usual;
    emit_some(e, loop, is_late);
    e->s.usual = NULL;
    LV *first = values_stored(e, l);
    LV *was = NEW_ARRAY(e->k->arena, LV, e->k->nodes.n);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->s.b),
                      rare = emit_block(e, "rare"), on = emit_block(e, "on");
    branch_usual(e, usual, on, rare);
    LLVMPositionBuilderAtEnd(e->s.b, rare);
    hide_loads(e, l, was);
    emit_some(e, loop, is_value);
    show_loads(e, l, was);
    rare = LLVMGetInsertBlock(e->s.b);
    LLVMBuildBr(e->s.b, on);
    LLVMPositionBuilderAtEnd(e->s.b, on);
    join(e, first, from, rare);
    emit_some(e, loop, is_store);
}

/* A condition, one for all lanes, by which the body chooses more than once; or
 * none. */
static Node common_condition(const Emit *e, const Loop *l)
{
    Node found = {0};
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(e->k, l->body.at[i]);
        bool chooses = in->op == KN_scalar && in->sc == SC_where &&
                       e->vals[in->a.id] && !e->wide[in->a.id];
        if (!chooses || e->holds[in->a.id]) continue;
        if (found.id == in->a.id) return found;
        if (!found.id) found = in->a;
    }
    return (Node){0};
}

/* Whether N is made by a form for usual operands, where BY is HELD. */
static bool needs_form(const Kir *k, Node n, Node by, bool held)
{
    const NodeInfo *in = node_info(k, n);
    if (!n.id || in->op == KN_load || in->op == KN_loop) return false;
    if (has_usual_form(k, in)) return true;
    if (in->op == KN_scalar && in->sc == SC_where && in->a.id == by.id)
        return needs_form(k, held ? in->b : in->c, by, held);
    return needs_form(k, in->a, by, held) || needs_form(k, in->b, by, held) ||
           needs_form(k, in->c, by, held);
}

static bool stores_need_form(const Kir *k, const Loop *l, Node by, bool held)
{
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(k, l->body.at[i]);
        if (in->op == KN_store && needs_form(k, in->b, by, held)) return true;
    }
    return false;
}

/* Where the lanes choose by such a condition, as an update does by whether it
 * is applied, there is a way for either: nothing is chosen lane by lane. */
bool gpu_lanes_usual(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    if (!e->s.exact || e->s.w == 1 || !is_simple(e->k, l)) return false;
    Node by = common_condition(e, l);
    if (!by.id) {
        lanes_usual(e, loop);
        return true;
    }
    LV was = e->vals[by.id], bit[2];
    LLVMBasicBlockRef on = emit_block(e, "on"),
                      way[2] = {emit_block(e, "else"), emit_block(e, "then")};
    bit[0] = LLVMConstNull(LLVMTypeOf(was));
    bit[1] = LLVMConstInt(LLVMTypeOf(was), 1, false);
    LLVMBuildCondBr(e->s.b, was, way[1], way[0]);
    for (int i = 0; i < 2; i++) {
        LLVMPositionBuilderAtEnd(e->s.b, way[i]);
        e->vals[by.id] = bit[i];
        if (stores_need_form(e->k, l, by, i))
            lanes_usual(e, loop);
        else
            emit_body(e, loop);
        LLVMBuildBr(e->s.b, on);
    }
    e->vals[by.id] = was;
    LLVMPositionBuilderAtEnd(e->s.b, on);
    return true;
}
