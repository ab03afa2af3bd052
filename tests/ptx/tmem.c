/*
 * tmem.c: tensor memory: who has columns of it, and what was asked for there
 * and is on its way (tcgen05).
 *
 * PTX ISA 9.0, 9.7.16.6 "Memory Consistency Model": copies and products are
 * done at moments that are drawn; a product behind the copies that its thread
 * asked for before it, and behind its products of the same sums, and in no
 * other order.  Who is to see them done waits for an mbarrier that a commit
 * told of them.  Until then what they write is nobody's: who reads it, or asks
 * for something that touches it and is not in line, is told of at once; so is
 * who writes scales that an open product reads.
 */
#include "tests/ptx/tmem.h"

#include "tests/ptx/async.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEAST = 32, /* columns of an allocation */
    COPIED = 4, /* columns of a copy */
    ALIGN = 4,  /* of scales, columns */
    WORD = 4
};

static PtxTmem *tmem_of(PtxWarp *w, const PtxInst *i)
{
    PtxBlock *b = w->block;
    if (b->tmem) return b->tmem;
    PtxTmem *t = calloc(1, sizeof *t);
    if (t) t->cell = malloc(TMEM_LANES * sizeof *t->cell);
    if (!t || !t->cell) {
        free(t);
        ptx_fault(w, i, -1, "no memory for tensor memory");
        return NULL;
    }
    return b->tmem = t;
}

static bool overlaps(TmemSpan a, TmemSpan b)
{
    return a.at < b.at + b.n && b.at < a.at + a.n;
}

/* ------------------------------------------------------------- who has what */

static bool is_free(const PtxTmem *t, TmemSpan s)
{
    for (unsigned k = 0; k < t->nheld; k++)
        if (overlaps(t->held[k], s)) return false;
    return true;
}

/* What nobody wrote is anything: no number, now and then. */
static void fill(PtxMachine *m, PtxTmem *t, TmemSpan s)
{
    bool numbers = ptx_draw(m, 2) == 0;
    for (unsigned l = 0; l < TMEM_LANES; l++)
        for (uint32_t c = s.at; c < s.at + s.n; c++)
            t->cell[l][c] = numbers ? ptx_draw(m, UINT32_MAX) : UINT32_MAX;
}

/* Where N free columns are: another block may have those before them. */
static bool find_free(PtxMachine *m, const PtxTmem *t, uint32_t n,
                      TmemSpan *out)
{
    uint32_t places = (TMEM_COLUMNS - n) / LEAST + 1;
    uint32_t from = ptx_draw(m, places);
    for (uint32_t k = 0; k < places; k++) {
        *out = (TmemSpan){(from + k) % places * LEAST, n};
        if (is_free(t, *out)) return true;
    }
    return false;
}

static bool is_size(uint64_t n)
{
    return n >= LEAST && n <= TMEM_COLUMNS && !(n & (n - 1));
}

/* [where its address goes], columns */
static PtxStep allocate(PtxWarp *w, const PtxInst *i)
{
    PtxTmem *t = tmem_of(w, i);
    TmemSpan s;
    if (!t) return PX_fault;
    uint64_t to = ptx_get(w, ptx_arg(w, i, 0), 0);
    uint64_t n = ptx_get(w, ptx_arg(w, i, 1), 0);
    if (t->closed) return ptx_fault(w, i, -1, "nobody allocates any more");
    if (!is_size(n))
        return ptx_fault(w, i, -1, "%llu columns cannot be allocated",
                         (unsigned long long)n);
    if (!find_free(w->block->machine, t, (uint32_t)n, &s))
        return ptx_fault(w, i, -1, "there are no %llu columns left",
                         (unsigned long long)n);
    unsigned char *p = ptx_shared(w, i, 0, to, WORD, 0, true, false);
    if (!p) return PX_fault;
    memcpy(p, &s.at, WORD);
    fill(w->block->machine, t, s);
    t->held[t->nheld++] = s;
    return PX_next;
}

/* Whoever has read there has said so to others. */
static PtxStep unfenced(PtxWarp *w, const PtxInst *i)
{
    for (unsigned k = 0; k < w->block->nwarps; k++)
        if (w->block->warps[k].has_read && &w->block->warps[k] != w)
            return ptx_fault(w, i, -1,
                             "warp %u has read tensor memory: no "
                             "tcgen05.fence::before_thread_sync since",
                             k);
    return PX_next;
}

/* What O writes. */
static bool writes(const TmemOp *o, TmemSpan s)
{
    return o->kind != TMEM_commit && overlaps(o->to, s);
}

static bool reads_scales(const TmemOp *o, TmemSpan s)
{
    return o->kind == TMEM_product &&
           (overlaps(o->scale[0], s) || overlaps(o->scale[1], s));
}

/* address, columns */
static PtxStep release(PtxWarp *w, const PtxInst *i)
{
    PtxTmem *t = tmem_of(w, i);
    if (!t) return PX_fault;
    uint64_t at = ptx_get(w, ptx_arg(w, i, 0), 0);
    uint64_t n = ptx_get(w, ptx_arg(w, i, 1), 0);
    unsigned k = 0;
    while (k < t->nheld && (t->held[k].at != at || t->held[k].n != n))
        k++;
    if (k == t->nheld)
        return ptx_fault(w, i, -1,
                         "nobody has allocated %llu columns at 0x%llx",
                         (unsigned long long)n, (unsigned long long)at);
    for (uint32_t o = 0; o < t->nops; o++)
        if (writes(&t->ops[o], t->held[k]) ||
            reads_scales(&t->ops[o], t->held[k]))
            return ptx_fault(w, i, -1,
                             "what was asked for at line %u is not waited for",
                             t->ops[o].line);
    t->held[k] = t->held[--t->nheld];
    return unfenced(w, i);
}

/* ------------------------------------------------------------------- places */

/* Columns N from an address of lane 0 on; false after a fault. */
static bool span(PtxWarp *w, const PtxInst *i, int lane, uint64_t at,
                 uint32_t n, uint32_t align, TmemSpan *out)
{
    const PtxTmem *t = w->block->tmem;
    *out = (TmemSpan){(uint32_t)at & 0xffff, n};
    bool held = false;
    for (unsigned k = 0; t && k < t->nheld; k++)
        held |= out->at >= t->held[k].at &&
                out->at + n <= t->held[k].at + t->held[k].n;
    if (held && !(out->at % align) && at >> 16 == 0) return true;
    ptx_fault(w, i, lane,
              "%u columns at 0x%llx of tensor memory, a multiple of %u, are "
              "not the block's",
              n, (unsigned long long)at, align);
    return false;
}

static bool is_fenced(PtxWarp *w, const PtxInst *i)
{
    if (!w->passed) return true;
    ptx_fault(w, i, -1,
              "no tcgen05.fence::after_thread_sync since a barrier was passed");
    return false;
}

/* -------------------------------------------------------------------- issue */

static bool grow(void **of, uint32_t n, uint32_t *cap, size_t each)
{
    if (n < *cap) return true;
    uint32_t more = 2 * *cap + 16;
    void *to = realloc(*of, more * each);
    if (!to) return false;
    *of = to;
    *cap = more;
    return true;
}

/* Products of the same sums are in line. */
static bool in_line(const TmemOp *before, const TmemOp *o)
{
    const uint32_t shape = ~(3u << 4 | 3u << 29);
    if (before->thread != o->thread || o->kind == TMEM_copy) return false;
    if (o->kind == TMEM_commit || before->kind == TMEM_copy) return true;
    return before->kind == TMEM_product && before->to.at == o->to.at &&
           (before->about & shape) == (o->about & shape);
}

/* Whether an open one and O touch the same, and are not in line. */
static bool conflicts(const TmemOp *open, const TmemOp *o)
{
    if (open->kind == TMEM_commit || in_line(open, o)) return false;
    bool reads = o->kind == TMEM_product && (overlaps(open->to, o->scale[0]) ||
                                             overlaps(open->to, o->scale[1]));
    return writes(open, o->to) || reads_scales(open, o->to) || reads;
}

static PtxStep append(PtxWarp *w, const PtxInst *i, unsigned lane, TmemOp *o)
{
    PtxTmem *t = tmem_of(w, i);
    if (!t) return PX_fault;
    o->line = i->line;
    o->thread = w->number * PTX_LANES + lane;
    for (uint32_t k = 0; o->kind != TMEM_commit && k < t->nops; k++)
        if (conflicts(&t->ops[k], o))
            return ptx_fault(w, i, (int)lane,
                             "it touches the tensor memory of line %u, which "
                             "is not waited for",
                             t->ops[k].line);
    if (!grow((void **)&t->ops, t->nops, &t->ops_cap, sizeof *t->ops))
        return ptx_fault(w, i, (int)lane, "no memory for a product");
    if (o->kind != TMEM_commit) o->stamp = ptx_race_issue(w);
    t->ops[t->nops++] = *o;
    return PX_next;
}

static PtxStep refuse(PtxWarp *w, const PtxInst *i, unsigned lane,
                      const char *what, uint64_t x)
{
    return ptx_fault(w, i, (int)lane, "0x%llx %s", (unsigned long long)x, what);
}

/* [to], from */
static PtxStep copy(PtxWarp *w, const PtxInst *i, unsigned lane)
{
    uint64_t to = ptx_get(w, ptx_arg(w, i, 0), lane);
    TmemOp o = {.kind = TMEM_copy, .a = ptx_get(w, ptx_arg(w, i, 1), lane)};
    const char *why = ptx_tmem_refuses_tile(o.a);
    if (why) return refuse(w, i, lane, why, o.a);
    if (!span(w, i, (int)lane, to, COPIED, ALIGN, &o.to)) return PX_fault;
    return append(w, i, lane, &o);
}

/* [d], a, b, about, [scales of a], [of b], adds */
static PtxStep multiply(PtxWarp *w, const PtxInst *i, unsigned lane)
{
    uint64_t x[7];
    for (uint32_t k = 0; k < 7; k++)
        x[k] = ptx_get(w, ptx_arg(w, i, k), lane);
    TmemOp o = {.kind = TMEM_product,
                .a = x[1],
                .b = x[2],
                .about = (uint32_t)x[3],
                .adds = x[6]};
    const char *why = ptx_tmem_refuses_product(o.about);
    if (why) return refuse(w, i, lane, why, x[3]);
    for (uint32_t k = 1; k <= 2; k++)
        if ((why = ptx_tmem_refuses_tile(x[k])) != NULL)
            return refuse(w, i, lane, why, x[k]);
    uint32_t n = ptx_tmem_product_n(o.about);
    uint32_t scales = (n + TMEM_QUARTER - 1) / TMEM_QUARTER;
    if (!span(w, i, (int)lane, x[0], n, 1, &o.to) ||
        !span(w, i, (int)lane, x[4], TMEM_LANES / TMEM_QUARTER, ALIGN,
              &o.scale[0]) ||
        !span(w, i, (int)lane, x[5], scales, ALIGN, &o.scale[1]))
        return PX_fault;
    return append(w, i, lane, &o);
}

/* [barrier] */
static PtxStep commit(PtxWarp *w, const PtxInst *i, unsigned lane)
{
    uint64_t at = ptx_get(w, ptx_arg(w, i, 0), lane);
    TmemOp o = {.kind = TMEM_commit, .barrier = (uint32_t)at};
    if (!ptx_barrier_is(w, i, (int)lane, at)) return PX_fault;
    if (at >> PTX_RANK_SHIFT != w->block->rank)
        return refuse(w, i, lane, "is another block's barrier", at);
    o.barrier &= (1u << PTX_RANK_SHIFT) - 1;
    return append(w, i, lane, &o);
}

/* -------------------------------------------------------------------- loads */

static void put_columns(const struct TmemLoad *l)
{
    const PtxTmem *t = l->w->block->tmem;
    const PtxArg *list = ptx_arg(l->w, l->i, 0);
    unsigned first = l->w->number % PTX_WARPGROUP * TMEM_QUARTER;
    uint32_t n = list->kind == PA_list ? list->n : 1;
    for (uint32_t k = 0; k < n; k++)
        for (unsigned lane = 0; lane < PTX_LANES; lane++)
            ptx_put(l->w,
                    list->kind == PA_list ? ptx_item(l->w, list, k) : list,
                    lane, t->cell[first + lane][l->at + k]);
}

/* {registers}, [from]: until they are waited for registers hold anything. */
static PtxStep load(PtxWarp *w, const PtxInst *i)
{
    PtxTmem *t = tmem_of(w, i);
    if (!t) return PX_fault;
    const PtxArg *list = ptx_arg(w, i, 0);
    uint32_t n = list->kind == PA_list ? list->n : 1;
    uint64_t at = ptx_get(w, ptx_arg(w, i, 1), 0);
    unsigned first = w->number % PTX_WARPGROUP * TMEM_QUARTER;
    TmemSpan s;
    if (!ptx_has(i, PM_lanes_32))
        return ptx_fault(w, i, -1, "a shape that is not known");
    for (unsigned l = 1; l < PTX_LANES; l++)
        if (ptx_get(w, ptx_arg(w, i, 1), l) != at)
            return ptx_fault(w, i, (int)l,
                             "the address is not the same on all lanes");
    if (at >> 16 != first)
        return ptx_fault(w, i, -1,
                         "reads lane %u of tensor memory: this warp reaches "
                         "%u and the %u behind it",
                         (unsigned)(at >> 16), first, TMEM_QUARTER - 1);
    if (!is_fenced(w, i) || !span(w, i, -1, at & 0xffff, n, 1, &s))
        return PX_fault;
    for (uint32_t k = 0; k < t->nops; k++)
        if (writes(&t->ops[k], s))
            return ptx_fault(w, i, -1,
                             "reads what line %u writes, which is not waited "
                             "for",
                             t->ops[k].line);
    if (!grow((void **)&t->loads, t->nloads, &t->loads_cap, sizeof *t->loads))
        return ptx_fault(w, i, -1, "no memory for a load");
    for (uint32_t k = 0; k < n; k++)
        for (unsigned l = 0; l < PTX_LANES; l++)
            ptx_put(w, list->kind == PA_list ? ptx_item(w, list, k) : list, l,
                    ptx_draw(w->block->machine, UINT32_MAX));
    t->loads[t->nloads++] = (struct TmemLoad){w, i, s.at};
    w->has_read = true;
    return PX_next;
}

static PtxStep wait(PtxWarp *w)
{
    PtxTmem *t = w->block->tmem;
    uint32_t n = 0;
    for (uint32_t k = 0; t && k < t->nloads; k++)
        if (t->loads[k].w == w)
            put_columns(&t->loads[k]);
        else
            t->loads[n++] = t->loads[k];
    if (t) t->nloads = n;
    return PX_next;
}

/* --------------------------------------------------------- the unit's own */

PtxStep ptx_do_tmem(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxStep step = PX_next;
    bool whole = ptx_has(i, PM_aligned);
    if (whole && mask != UINT32_MAX)
        return ptx_fault(w, i, -1, "lacks lanes of its warp");
    switch (i->op) {
    case PO_tmem_alloc:
        return allocate(w, i);
    case PO_tmem_free:
        return is_fenced(w, i) ? release(w, i) : PX_fault;
    case PO_tmem_permit:
        if (!tmem_of(w, i)) return PX_fault;
        w->block->tmem->closed = true;
        return PX_next;
    case PO_tmem_ld:
        return load(w, i);
    case PO_tmem_wait:
        return wait(w);
    case PO_tmem_before:
        w->has_read = false;
        return PX_next;
    case PO_tmem_after:
        w->passed = false;
        return PX_next;
    default:
        break;
    }
    if (i->op != PO_tmem_commit && !is_fenced(w, i)) return PX_fault;
    for (unsigned l = 0; l < PTX_LANES && step == PX_next; l++)
        if (mask >> l & 1)
            step = i->op == PO_tmem_copy  ? copy(w, i, l)
                   : i->op == PO_tmem_mma ? multiply(w, i, l)
                                          : commit(w, i, l);
    return step;
}

/* -------------------------------------------------------------- those open */

/* Nothing that it is behind of is open. */
static bool may(const PtxTmem *t, uint32_t k)
{
    for (uint32_t j = 0; j < k; j++)
        if (!t->ops[j].done && in_line(&t->ops[j], &t->ops[k])) return false;
    return !t->ops[k].done;
}

/* Those of a thread before number K are told of, and K itself. */
static bool tell(PtxBlock *b, uint32_t k)
{
    PtxTmem *t = b->tmem;
    TmemOp c = t->ops[k];
    PtxStamp last = {0};
    uint32_t n = 0;
    for (uint32_t j = 0; j < t->nops; j++) {
        TmemOp *o = &t->ops[j];
        if (j > k || o->thread != c.thread) {
            t->ops[n++] = *o;
            continue;
        }
        if (o->stamp.number > last.number) last.number = o->stamp.number;
        ptx_stamp_free(&o->stamp);
    }
    t->nops = n;
    return ptx_barrier_commit(b, c.line, c.barrier, &last);
}

/* Does one that may be, from a drawn one on; *did. False after a fault. */
static bool do_one(PtxBlock *b, bool *did)
{
    PtxTmem *t = b->tmem;
    uint32_t from = t->nops ? ptx_draw(b->machine, t->nops) : 0;
    *did = false;
    for (uint32_t n = 0; n < t->nops; n++) {
        uint32_t k = (from + n) % t->nops;
        TmemOp *o = &t->ops[k];
        if (!may(t, k)) continue;
        *did = true;
        o->done = true;
        if (o->kind == TMEM_commit) return tell(b, k);
        return o->kind == TMEM_copy ? ptx_tmem_copy(b, o)
                                    : ptx_tmem_product(b, o);
    }
    return true;
}

bool ptx_tmem_turn(PtxBlock *b)
{
    uint32_t most = 1 + ptx_draw(b->machine, 8);
    bool any = false, did = true;
    for (uint32_t k = 0; k < most && did; k++) {
        if (!do_one(b, &did)) return any;
        any |= did;
    }
    return any;
}

bool ptx_tmem_end(PtxBlock *b)
{
    PtxTmem *t = b->tmem;
    uint32_t line = b->kernel->insts->line;
    bool did = true;
    if (t->nheld) {
        ptx_fault_late(b, line, "%u columns of tensor memory are not freed",
                       t->held[0].n);
        return false;
    }
    if (t->nloads) {
        ptx_fault_late(b, t->loads->i->line, "nobody waited for a load");
        return false;
    }
    while (did)
        if (!do_one(b, &did)) return false;
    if (!t->nops) return true;
    ptx_fault_late(b, t->ops->line, "no commit tells of it");
    return false;
}

void ptx_tmem_free(PtxBlock *b)
{
    PtxTmem *t = b->tmem;
    for (uint32_t k = 0; k < t->nops; k++)
        ptx_stamp_free(&t->ops[k].stamp);
    free(t->ops);
    free(t->loads);
    free(t->cell);
    free(t);
    b->tmem = NULL;
}
