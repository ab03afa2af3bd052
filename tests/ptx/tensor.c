/*
 * tensor.c: products of a warpgroup's matrices that are on their way.
 *
 * A product is made at a drawn moment between its issue and the wait for it,
 * those of a warp in order: until then the registers of D, and those of A, are
 * its own, and shared memory is read when it is made.  The four warps of a
 * group make it together: who has waited for it knows that all four have read.
 */
#include "tests/ptx/tensor.h"

#include <stdlib.h>
#include <string.h>

struct PtxTensor {
    Product *open; /* in order of issue */
    uint32_t n, cap;
    uint32_t made;      /* of them, the first ones */
    uint32_t groups;    /* committed */
    uint32_t issued;    /* all in all */
    bool fenced;        /* since none was open last */
    uint32_t *results;  /* of each register: open products that have it in D */
    uint32_t *operands; /* ... and in A */
    uint32_t *doubts;   /* ... what it holds may be anything: WHY */
    char why[PTX_RACE];
    uint32_t why_line;
};

static PtxTensor *tensor_of(PtxWarp *w, const PtxInst *i)
{
    if (w->tensor) return w->tensor;
    PtxTensor *t = calloc(1, sizeof *t);
    uint32_t nregs = w->block->kernel->nregs;
    if (t) t->results = calloc(3 * (size_t)nregs, sizeof *t->results);
    if (!t || !t->results) {
        free(t);
        ptx_fault(w, i, -1, "no memory for products");
        return NULL;
    }
    t->operands = t->results + nregs;
    t->doubts = t->operands + nregs;
    return w->tensor = t;
}

static void count(PtxWarp *w, uint32_t *of, const PtxArg *list, int by)
{
    for (uint32_t k = 0; list->kind == PA_list && k < list->n; k++) {
        const PtxArg *a = ptx_item(w, list, k);
        if (a->kind == PA_reg) of[a->reg] += (uint32_t)by;
    }
}

/* Any of a list's registers that counts. */
static bool counts(const PtxWarp *w, const uint32_t *of, const PtxArg *list)
{
    for (uint32_t k = 0; list->kind == PA_list && k < list->n; k++)
        if (of[ptx_item(w, list, k)->reg]) return true;
    return false;
}

/* -------------------------------------------------------------------- issue */

static const char *refusal(const PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxType a = (PtxType)i->type[1], b = (PtxType)i->type[2];
    const PtxArg *d = ptx_arg(w, i, 0), *from = ptx_arg(w, i, 1);
    bool eight = a == PT_e4m3 || a == PT_e5m2;
    bool known = eight ? b == PT_e4m3 || b == PT_e5m2
                       : (a == PT_bf16 || a == PT_f16) && b == a;
    if (mask != UINT32_MAX) return "lacks lanes of its warp";
    if (i->ntypes != 3 || i->type[0] != PT_f32 || !known)
        return "is of types that are not known";
    if (i->shape[0] != 64 || i->shape[2] != (eight ? 32 : 16) || !i->shape[1] ||
        i->shape[1] % 8 || i->shape[1] > PRODUCT_MOST_N)
        return "has a shape that cannot be";
    if (d->kind != PA_list || d->n != i->shape[1] / 2u ||
        (from->kind == PA_list && from->n != 4))
        return "has too many registers, or too few";
    for (uint32_t k = 0; k < d->n; k++)
        if (ptx_item(w, d, k)->kind != PA_reg) return "has no register for D";
    return NULL;
}

/* Descriptors and the predicate are the same on all lanes. */
static bool same(PtxWarp *w, const PtxInst *i, uint32_t k, uint64_t *out)
{
    const PtxArg *a = ptx_arg(w, i, k);
    *out = ptx_get(w, a, 0);
    for (unsigned l = 1; l < PTX_LANES; l++)
        if (ptx_get(w, a, l) != *out) {
            ptx_fault(w, i, (int)l, "operand %u is not the same on all lanes",
                      k);
            return false;
        }
    return true;
}

static bool is_descriptor(PtxWarp *w, const PtxInst *i, uint64_t x)
{
    if (!(x >> 49 & 7)) return true;
    ptx_fault(w, i, -1, "a descriptor with a base offset: 0x%llx",
              (unsigned long long)x);
    return false;
}

/* A fence before the first product, and since the last wait for all of them;
 * and between what wrote a register of the product and it, which is looked for
 * as far as the text goes straight. */
static bool is_fenced(PtxWarp *w, const PtxInst *i)
{
    const PtxKernel *k = w->block->kernel;
    const PtxTensor *t = w->tensor;
    for (const PtxInst *p = i - 1; t->fenced && p >= k->insts; p--) {
        if (p->op == PO_wgmma_fence || p->op == PO_bra || p->op == PO_brx ||
            p->op == PO_ret || p->op == PO_exit)
            return true;
        if (p->op == PO_wgmma || !p->nargs) continue;
        const PtxArg *to = ptx_arg(w, p, 0);
        bool writes =
            to->kind == PA_reg && (t->results[to->reg] || t->operands[to->reg]);
        if (writes || counts(w, t->results, to) || counts(w, t->operands, to))
            break;
    }
    ptx_fault(w, i, -1, "no wgmma.fence since %s",
              t->fenced ? "its registers were written" : "none is open");
    return false;
}

static bool keep(PtxWarp *w, const PtxInst *i, const Product *p)
{
    PtxTensor *t = w->tensor;
    if (t->n == t->cap) {
        uint32_t cap = 2 * t->cap + 16;
        Product *more = realloc(t->open, cap * sizeof *more);
        if (!more) {
            ptx_fault(w, i, -1, "no memory for a product");
            return false;
        }
        t->open = more;
        t->cap = cap;
    }
    t->open[t->n++] = *p;
    t->issued++;
    w->open++;
    return true;
}

/* ------------------------------------------- what nobody may use as it is
 *
 * A product whose operands others write meanwhile has a result that may be
 * anything, which is no fault: a loop that begins before its first operands are
 * there throws the first results away.  To use them is one.
 */

static void doubt(PtxWarp *w, uint32_t reg, bool doubtful)
{
    uint32_t *at = &w->tensor->doubts[reg];
    if (*at == doubtful) return;
    *at = doubtful;
    w->open += doubtful ? 1u : ~0u;
}

static bool tell_doubt(PtxWarp *w, const PtxInst *i)
{
    const PtxTensor *t = w->tensor;
    ptx_fault(w, i, -1, "uses what the product at line %u gave, which %s",
              t->why_line, t->why);
    return false;
}

/* D of P, which holds what it holds now or what comes of its operands. */
static bool ask_race(PtxWarp *w, const Product *p)
{
    PtxTensor *t = w->tensor;
    char why[PTX_RACE];
    const PtxArg *d = ptx_arg(w, p->inst, 0), *a = ptx_arg(w, p->inst, 1);
    if (!w->block->cluster->race) return true;
    if (counts(w, t->doubts, a)) return tell_doubt(w, p->inst);
    bool races = !ptx_product_race(w, p, why);
    if (races) {
        memcpy(t->why, why, sizeof why);
        t->why_line = p->inst->line;
    }
    for (uint32_t k = 0; k < d->n; k++) {
        uint32_t reg = ptx_item(w, d, k)->reg;
        doubt(w, reg, races || (p->adds && t->doubts[reg]));
    }
    return true;
}

/* d, a, b, scale-d, scale-a, scale-b (, trans-a), trans-b */
static PtxStep issue(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxTensor *t = tensor_of(w, i);
    const char *why = refusal(w, i, mask);
    if (!t) return PX_fault;
    if (why) return ptx_fault(w, i, -1, "the product %s", why);
    const PtxArg *d = ptx_arg(w, i, 0), *a = ptx_arg(w, i, 1);
    Product p = {.inst = i, .number = t->issued + 1};
    uint64_t adds, scale[2];
    bool held = a->kind == PA_list;
    if (!held && (!same(w, i, 1, &p.a) || !is_descriptor(w, i, p.a)))
        return PX_fault;
    if (!same(w, i, 2, &p.b) || !is_descriptor(w, i, p.b)) return PX_fault;
    if (!same(w, i, 3, &adds)) return PX_fault;
    for (uint32_t k = 0; k < 2; k++) {
        scale[k] = ptx_get(w, ptx_arg(w, i, 4 + k), 0);
        if (scale[k] != 1 && scale[k] != UINT64_MAX)
            return ptx_fault(w, i, -1, "a factor is scaled by 1 or -1");
    }
    p.adds = adds;
    p.negative = scale[0] != scale[1];
    if (i->nargs > 6) p.b_across = ptx_get(w, ptx_arg(w, i, i->nargs - 1), 0);
    if (i->nargs > 7) p.a_across = ptx_get(w, ptx_arg(w, i, 6), 0);
    if (counts(w, t->results, a) || counts(w, t->operands, d))
        return ptx_fault(w, i, -1,
                         "an open product has registers of D in A, or of A in "
                         "D");
    count(w, t->results, d, 1);
    count(w, t->operands, a, 1);
    bool ok = is_fenced(w, i) && ask_race(w, &p) && keep(w, i, &p);
    return ok ? PX_next : PX_fault;
}

/* -------------------------------------------------------------------- waits */

/* The first N open ones, those that were not yet. */
static bool make(PtxWarp *w, uint32_t n)
{
    PtxTensor *t = w->tensor;
    for (; t->made < n; t->made++)
        if (!ptx_product(w, &t->open[t->made])) return false;
    return true;
}

/* Those of a group that is committed are the first ones. */
static uint32_t committed(const PtxTensor *t, uint32_t group)
{
    uint32_t n = 0;
    while (n < t->n && t->open[n].group && t->open[n].group <= group)
        n++;
    return n;
}

bool ptx_tensor_turn(PtxWarp *w)
{
    PtxTensor *t = w->tensor;
    uint32_t most = committed(t, t->groups);
    if (t->made >= most) return false;
    return make(w, t->made + 1 + ptx_draw(w->block->machine, most - t->made));
}

static PtxStep commit(PtxWarp *w, const PtxInst *i)
{
    PtxTensor *t = tensor_of(w, i);
    if (!t) return PX_fault;
    t->groups++;
    for (uint32_t k = t->n; k > 0 && !t->open[k - 1].group; k--)
        t->open[k - 1].group = t->groups;
    if (ptx_draw(w->block->machine, 4) == 0 && !make(w, t->n)) return PX_fault;
    return PX_next;
}

/* The warp's products up to NUMBER. */
static bool make_up_to(PtxWarp *w, uint32_t number)
{
    const PtxTensor *t = w->tensor;
    uint32_t n = 0;
    while (n < t->n && t->open[n].number <= number)
        n++;
    return make(w, n);
}

/* Warp K of W's group, NULL: there is none, or it is over. */
static PtxWarp *member(const PtxWarp *w, unsigned k)
{
    PtxBlock *b = w->block;
    unsigned number = w->number / PTX_WARPGROUP * PTX_WARPGROUP + k;
    if (number >= b->nwarps || !b->warps[number].live) return NULL;
    return &b->warps[number];
}

/* All warps of the group have come as far. */
static bool group_has(const PtxWarp *w, uint32_t number)
{
    for (unsigned k = 0; k < PTX_WARPGROUP; k++) {
        const PtxWarp *o = member(w, k);
        if (o && (!o->tensor || o->tensor->issued < number)) return false;
    }
    return true;
}

static PtxStep wait(PtxWarp *w, const PtxInst *i)
{
    PtxTensor *t = w->tensor;
    uint64_t left = ptx_get(w, ptx_arg(w, i, 0), 0);
    if (!t || left >= t->groups) return PX_next;
    uint32_t n = committed(t, t->groups - (uint32_t)left);
    if (!n) return PX_next;
    uint32_t number = t->open[n - 1].number;
    if (!group_has(w, number)) return PX_again;
    /* others go on first, now and then */
    if (t->made < n && ptx_draw(w->block->machine, 2)) return PX_again;
    for (unsigned k = 0; k < PTX_WARPGROUP; k++) {
        PtxWarp *o = member(w, k);
        if (o && !make_up_to(o, number)) return PX_fault;
    }
    ptx_race_made(w, number);
    for (uint32_t k = 0; k < n; k++) {
        count(w, t->results, ptx_arg(w, t->open[k].inst, 0), -1);
        count(w, t->operands, ptx_arg(w, t->open[k].inst, 1), -1);
    }
    memmove(t->open, t->open + n, (t->n - n) * sizeof *t->open);
    t->n -= n;
    t->made -= n;
    w->open -= n;
    if (!t->n) t->fenced = false;
    return PX_next;
}

/* ----------------------------------------- who uses an open one's registers */

/* Its first operand is no result. */
static bool stores(const PtxInst *i)
{
    return i->op == PO_st || i->op == PO_red || i->op == PO_stmatrix;
}

static bool uses(const PtxWarp *w, const PtxArg *a, bool writes)
{
    const PtxTensor *t = w->tensor;
    if (a->kind == PA_list) {
        for (uint32_t k = 0; k < a->n; k++)
            if (uses(w, ptx_item(w, a, k), writes)) return true;
        return false;
    }
    if (a->kind != PA_reg && a->kind != PA_sum) return false;
    return t->results[a->reg] || (writes && t->operands[a->reg]);
}

/* Moved with its doubts; what is written has none. */
static bool keeps_doubts(PtxWarp *w, const PtxInst *i)
{
    const PtxArg *to = ptx_arg(w, i, 0);
    bool moves = i->op == PO_mov && to->kind == PA_reg;
    bool any = false;
    for (uint32_t k = moves; k < i->nargs; k++) {
        const PtxArg *a = ptx_arg(w, i, k);
        bool reads = k > 0 || a->kind == PA_sum || stores(i);
        if (a->kind == PA_reg || a->kind == PA_sum)
            any |= reads && w->tensor->doubts[a->reg];
        else
            any |= reads && counts(w, w->tensor->doubts, a);
    }
    if (any && !moves) return tell_doubt(w, i);
    if (to->kind == PA_reg && !stores(i)) doubt(w, to->reg, any);
    for (uint32_t k = 0; to->kind == PA_list && k < to->n; k++)
        if (ptx_item(w, to, k)->kind == PA_reg)
            doubt(w, ptx_item(w, to, k)->reg, false);
    return true;
}

bool ptx_tensor_allows(PtxWarp *w, const PtxInst *i)
{
    if ((i->op >= PO_wgmma && i->op <= PO_wgmma_wait) || !i->nargs) return true;
    if (w->block->cluster->race && !keeps_doubts(w, i)) return false;
    for (uint32_t k = 0; k < i->nargs; k++)
        if (uses(w, ptx_arg(w, i, k), k == 0 && !stores(i))) {
            ptx_fault(w, i, -1,
                      "operand %u is of a product that nobody waited for", k);
            return false;
        }
    return true;
}

/* ----------------------------------------------------------- the unit's own */

PtxStep ptx_do_tensor(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    switch (i->op) {
    case PO_wgmma:
        return issue(w, i, mask);
    case PO_wgmma_commit:
        return commit(w, i);
    case PO_wgmma_wait:
        return wait(w, i);
    case PO_wgmma_fence: {
        PtxTensor *t = tensor_of(w, i);
        if (t) t->fenced = true;
        return t ? PX_next : PX_fault;
    }
    default:
        return ptx_do_matrix(w, i, mask);
    }
}

/* The four warps of a group make the same products. */
bool ptx_tensor_end(PtxWarp *w)
{
    const PtxTensor *t = w->tensor;
    unsigned first = w->number / PTX_WARPGROUP * PTX_WARPGROUP;
    if (t && t->n) {
        ptx_fault_late(w->block, t->open->inst->line,
                       "warp %u ends, and nobody waited for its product",
                       w->number);
        return false;
    }
    uint32_t issued = t ? t->issued : 0;
    for (unsigned k = first; k < first + PTX_WARPGROUP; k++) {
        const PtxWarp *o = k < w->block->nwarps ? &w->block->warps[k] : NULL;
        if (o && o->live) continue;
        uint32_t its = o && o->tensor ? o->tensor->issued : 0;
        if (its == issued) continue;
        ptx_fault_late(w->block, w->block->kernel->insts->line,
                       "warp %u has made %u products, warp %u of its group %u",
                       w->number, issued, k, its);
        return false;
    }
    return true;
}

void ptx_tensor_free(PtxWarp *w)
{
    free(w->tensor->open);
    free(w->tensor->results);
    free(w->tensor);
    w->tensor = NULL;
}
