/*
 * cut.c: which forward values the backward keeps, which it makes again.
 *
 * A forward value that the backward reads is either saved, at the price of
 * its bytes, or made again from others, for which the same holds.  Cheap ops
 * (maps, moves, gathers) can be made again, contractions and reductions
 * cannot; parameters are there anyway, unless they are marked as paid (what a
 * repeat carries changes every turn).  The least bytes are a minimum cut
 * between what cannot be made again and what the backward reads:
 *
 *     x -> [einsum] -> gate -> silu -\
 *                                     product   read by the gradient of down
 *     x -> [einsum] -> up   ---------/
 *
 * saves gate and up, not the product, when both are read anyway.  Of equal
 * cuts the one nearest to the backward wins: it makes least again.
 *
 * In a region everything is made again but for its results, which are there
 * anyway, and small statistics (a softmax's row maximum and sum), so that no
 * score matrix and no logits are saved.
 */
#include "autodiff.h"

/* A statistic is small when it is at most this part of what the region takes
 * and gives. */
#define SMALL_PART 8

static bool is_backward(const Joint *j, uint32_t i)
{
    return i >= j->backward_at || (i >= j->cots_at && i < j->forward_at);
}

static int64_t small_bytes(const Module *m, const Fn *of)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < of->nparams; i++)
        bytes += type_bytes(m, of->params[i].type);
    for (uint32_t i = 0; i < of->nresults; i++)
        bytes += type_bytes(m, of->results[i].type);
    return bytes / SMALL_PART;
}

static bool can_remake(const Module *m, const Joint *j, Value v,
                       const CutRule *rule, int64_t small)
{
    const Inst *in = inst_of(j->fn, v);
    if (remade_cheaply((Op)in->op)) return true;
    if (!rule->region || in->op == OP_arg || in->op == OP_call ||
        in->op == OP_repeat)
        return false;
    return type_bytes(m, in->type) > small;
}

static bool is_result(const Joint *j, uint32_t i)
{
    for (uint32_t r = 0; r < j->of->nresults; r++)
        if (j->results[r].id == i) return true;
    return false;
}

static int64_t save_cost(const Module *m, const Joint *j, uint32_t i,
                         const CutRule *rule)
{
    Type t = j->fn->insts[i].type;
    if (type_info(m, t)->is_tuple) return INT64_MAX;
    if (rule->region && is_result(j, i)) return 0;
    if (i < j->cots_at && !(rule->paid && rule->paid[i])) return 0;
    int64_t bytes = type_bytes(m, t);
    return bytes > 0 ? bytes : 1;
}

/* What the roots need, in the whole joint function. */
static void mark_needed(const Joint *j, bool *needed, const Value *roots,
                        uint32_t nroots)
{
    for (uint32_t i = 0; i < nroots; i++)
        if (!value_eq(roots[i], NO_VALUE)) needed[roots[i].id] = true;
    for (uint32_t i = j->fn->ninsts; i-- > j->backward_at;) {
        const Inst *in = &j->fn->insts[i];
        if (!needed[i]) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            needed[inst_arg(j->fn, in, k).id] = true;
    }
}

static CutGraph graph_of(Autodiff *ad, const Joint *j, const bool *needed,
                         const CutRule *rule)
{
    const Fn *fn = j->fn;
    CutNode *nodes = NEW_ARRAY(ad->arena, CutNode, j->backward_at + 1);
    CutEdge *edges = NEW_ARRAY(ad->arena, CutEdge, fn->nargs + 1);
    CutGraph g = {.n = j->backward_at, .nodes = nodes, .edges = edges};
    int64_t small = small_bytes(ad->m, j->of);
    for (uint32_t i = 0; i < j->backward_at; i++) {
        if (is_backward(j, i)) continue;
        const Inst *in = &fn->insts[i];
        bool remake = can_remake(ad->m, j, (Value){i}, rule, small);
        nodes[i] = (CutNode){.save = save_cost(ad->m, j, i, rule),
                             .remake = remake ? 0 : INT64_MAX,
                             .sink = needed[i]};
        for (uint32_t k = 0; remake && k < in->nargs; k++)
            edges[g.nedges++] = (CutEdge){inst_arg(fn, in, k).id, i};
    }
    return g;
}

Cut cut_joint(Autodiff *ad, const Joint *j, const Value *roots, uint32_t nroots,
              const CutRule *rule)
{
    Cut cut = {.needed = NEW_ARRAY(ad->arena, bool, j->fn->ninsts + 1),
               .kept = NEW_ARRAY(ad->arena, uint8_t, j->backward_at + 1)};
    mark_needed(j, cut.needed, roots, nroots);
    CutGraph g = graph_of(ad, j, cut.needed, rule);
    bool *saved = NEW_ARRAY(ad->arena, bool, g.n + 1);
    bool *below = NEW_ARRAY(ad->arena, bool, g.n + 1);
    mincut(ad->arena, &g, saved, below);
    for (uint32_t i = 0; i < g.n; i++)
        cut.kept[i] = saved[i] ? KEPT_saved : below[i] ? KEPT_remade : KEPT_not;
    return cut;
}
