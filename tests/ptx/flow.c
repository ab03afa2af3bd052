/*
 * flow.c: barriers, fences, and what lanes of a warp tell each other.
 */
#include "tests/ptx/run.h"

uint32_t ptx_members(const PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    unsigned lane = (unsigned)__builtin_ctz(mask);
    uint32_t k;
    switch (i->op) {
    case PO_shfl:
    case PO_vote:
    case PO_redux:
    case PO_elect:
    case PO_match:
    case PO_bar_warp:
        k = i->nargs - 1;
        return (uint32_t)ptx_get(w, ptx_arg(w, i, k), lane) & w->live;
    case PO_bar_sync:
    case PO_bar_arrive:
        return w->live;
    default:
        return ptx_has(i, PM_aligned) ? w->live : mask;
    }
}

/* ---------------------------------------------------------------- barriers */

static void open_barrier(PtxBlock *b, struct PtxBarrier *at)
{
    uint64_t key = ptx_bar_key(b, (unsigned)(at - b->barrier));
    for (unsigned k = 0; k < b->nwarps; k++) {
        if (!(at->waiting >> k & 1)) continue;
        b->warps[k].stopped = false;
        b->warps[k].passed = true;
        ptx_race_wait(&b->warps[k], key);
    }
    ptx_race_clear(b, key);
    *at = (struct PtxBarrier){0};
    b->machine->events++;
}

static bool is_full(const PtxBlock *b, const struct PtxBarrier *at)
{
    unsigned all = (b->nwarps - b->ended) * PTX_LANES;
    return at->arrived && at->arrived >= (at->wanted ? at->wanted : all);
}

/* Warps count with all their lanes. */
static PtxStep meet(PtxWarp *w, const PtxInst *i, uint32_t mask, bool waits)
{
    unsigned lane = (unsigned)__builtin_ctz(mask);
    PtxBlock *b = w->block;
    uint64_t number = ptx_get(w, ptx_arg(w, i, 0), lane), wanted = 0;
    if (number >= sizeof b->barrier / sizeof *b->barrier)
        return ptx_fault(w, i, -1, "there is no barrier %llu",
                         (unsigned long long)number);
    if (i->nargs > 1) {
        wanted = ptx_get(w, ptx_arg(w, i, 1), lane);
        if (!wanted || wanted % PTX_LANES || wanted > b->nwarps * PTX_LANES)
            return ptx_fault(w, i, -1,
                             "%llu threads cannot meet: of %u in the block, "
                             "a multiple of 32",
                             (unsigned long long)wanted, b->nthreads);
    }
    struct PtxBarrier *at = &b->barrier[number];
    if (at->arrived && at->wanted != wanted)
        return ptx_fault(w, i, -1,
                         "barrier %llu is waited for by %u threads and by "
                         "%llu (0: all)",
                         (unsigned long long)number, at->wanted,
                         (unsigned long long)wanted);
    at->wanted = (unsigned)wanted;
    at->arrived += PTX_LANES;
    ptx_race_arrive(w, ptx_bar_key(b, (unsigned)number));
    if (waits) {
        at->waiting |= UINT32_C(1) << w->number;
        w->stopped = true;
    }
    if (is_full(b, at)) open_barrier(b, at);
    return PX_next;
}

static unsigned threads_alive(const PtxCluster *c)
{
    unsigned n = 0;
    for (unsigned k = 0; k < c->n; k++)
        for (unsigned j = 0; j < c->blocks[k].nwarps; j++)
            n += (unsigned)__builtin_popcount(c->blocks[k].warps[j].live);
    return n;
}

static void try_cluster(PtxWarp *w)
{
    PtxCluster *c = w->block->cluster;
    if (!c->arrived || c->arrived < threads_alive(c)) return;
    c->arrived = 0;
    c->phase++;
    w->block->machine->events++;
}

void ptx_lanes_end(PtxWarp *w, uint32_t mask)
{
    PtxBlock *b = w->block;
    w->live &= ~mask;
    w->held = 0; /* who waited for them looks again */
    if (!w->live) {
        b->ended++;
        for (unsigned k = 0; k < sizeof b->barrier / sizeof *b->barrier; k++)
            if (!b->barrier[k].wanted && is_full(b, &b->barrier[k]))
                open_barrier(b, &b->barrier[k]);
    }
    b->machine->events++;
    try_cluster(w);
}

/* ------------------------------------------------------- lanes among lanes */

/* PTX ISA, shfl.sync: the lane that lane L reads from; false: its own. */
static bool partner(const PtxInst *i, unsigned lane, uint64_t b, uint64_t c,
                    unsigned *from)
{
    unsigned by = b & 31, clamp = c & 31, segment = c >> 8 & 31;
    unsigned most = (lane & segment) | (clamp & ~segment);
    unsigned least = lane & segment, j;
    bool in;
    if (ptx_has(i, PM_up)) {
        j = lane - by;
        in = (int)j >= (int)most;
    } else if (ptx_has(i, PM_down)) {
        j = lane + by;
        in = j <= most;
    } else if (ptx_has(i, PM_bfly)) {
        j = lane ^ by;
        in = j <= most;
    } else {
        j = least | (by & ~segment);
        in = j <= most;
    }
    *from = in ? j : lane;
    return in;
}

static PtxStep shuffle(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    const PtxArg *to = ptx_arg(w, i, 0), *flag = NULL;
    uint64_t x[PTX_LANES];
    if (to->kind == PA_list) {
        flag = ptx_item(w, to, 1);
        to = ptx_item(w, to, 0);
    }
    for (unsigned l = 0; l < PTX_LANES; l++)
        x[l] = ptx_get(w, ptx_arg(w, i, 1), l);
    bool in[PTX_LANES] = {false};
    unsigned from[PTX_LANES];
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        in[l] = partner(i, l, ptx_get(w, ptx_arg(w, i, 2), l),
                        ptx_get(w, ptx_arg(w, i, 3), l), &from[l]);
        if (!(mask >> from[l] & 1))
            return ptx_fault(w, i, (int)l,
                             "lane %u, which it reads, is not "
                             "there",
                             from[l]);
    }
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        ptx_put(w, to, l, x[from[l]]);
        if (flag) ptx_put(w, flag, l, in[l]);
    }
    return PX_next;
}

static PtxStep vote(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    uint32_t yes = 0;
    for (unsigned l = 0; l < PTX_LANES; l++)
        if (mask >> l & 1 && ptx_get(w, ptx_arg(w, i, 1), l))
            yes |= UINT32_C(1) << l;
    uint64_t out = ptx_has(i, PM_ballot) ? yes
                   : ptx_has(i, PM_any)  ? yes != 0
                   : ptx_has(i, PM_all)  ? yes == mask
                                         : yes == mask || !yes;
    for (unsigned l = 0; l < PTX_LANES; l++)
        if (mask >> l & 1) ptx_put(w, ptx_arg(w, i, 0), l, out);
    return PX_next;
}

static uint32_t join(const PtxInst *i, uint32_t a, uint32_t b)
{
    bool sign = ptx_types[i->type[0]].kind == PK_signed;
    bool less = sign ? (int32_t)a < (int32_t)b : a < b;
    if (ptx_has(i, PM_add)) return a + b;
    if (ptx_has(i, PM_min)) return less ? a : b;
    if (ptx_has(i, PM_max)) return less ? b : a;
    if (ptx_has(i, PM_and)) return a & b;
    if (ptx_has(i, PM_or)) return a | b;
    return a ^ b;
}

static PtxStep reduce(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    unsigned first = (unsigned)__builtin_ctz(mask);
    uint32_t x = (uint32_t)ptx_get(w, ptx_arg(w, i, 1), first);
    for (unsigned l = first + 1; l < PTX_LANES; l++)
        if (mask >> l & 1)
            x = join(i, x, (uint32_t)ptx_get(w, ptx_arg(w, i, 1), l));
    for (unsigned l = 0; l < PTX_LANES; l++)
        if (mask >> l & 1) ptx_put(w, ptx_arg(w, i, 0), l, x);
    return PX_next;
}

static PtxStep elect(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    const PtxArg *to = ptx_arg(w, i, 0);
    unsigned chosen = (unsigned)__builtin_ctz(mask);
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        ptx_put(w, ptx_item(w, to, 0), l, chosen);
        ptx_put(w, ptx_item(w, to, 1), l, l == chosen);
    }
    return PX_next;
}

static PtxStep match(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    unsigned bits = ptx_types[i->type[0]].bits;
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        uint32_t same = 0;
        uint64_t x = ptx_get(w, ptx_arg(w, i, 1), l);
        for (unsigned o = 0; o < PTX_LANES; o++) {
            uint64_t y = ptx_get(w, ptx_arg(w, i, 1), o);
            if (mask >> o & 1 && (x ^ y) << (64 - bits) == 0)
                same |= UINT32_C(1) << o;
        }
        ptx_put(w, ptx_arg(w, i, 0), l, same);
    }
    return PX_next;
}

PtxStep ptx_do_flow(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxCluster *c = w->block->cluster;
    switch (i->op) {
    case PO_ret:
    case PO_exit:
        ptx_lanes_end(w, mask);
        return PX_ended;
    case PO_trap:
        return ptx_fault(w, i, __builtin_ctz(mask), "a trap");
    case PO_bar_sync:
    case PO_barrier_sync:
        return meet(w, i, mask, true);
    case PO_bar_arrive:
    case PO_barrier_arrive:
        return meet(w, i, mask, false);
    case PO_cluster_arrive:
        w->phase = c->phase;
        c->arrived += (unsigned)__builtin_popcount(mask);
        ptx_race_arrive(w, ptx_cluster_key(c->phase));
        try_cluster(w);
        return PX_next;
    case PO_cluster_wait:
        if (c->phase == w->phase) return PX_again;
        ptx_race_wait(w, ptx_cluster_key(w->phase));
        return PX_next;
    case PO_fence:
        if (ptx_has(i, PM_async)) ptx_race_fence(w);
        if (ptx_has(i, PM_async) || ptx_has(i, PM_mbarrier_init))
            ptx_barriers_fence(w);
        return PX_next;
    case PO_shfl:
        return shuffle(w, i, mask);
    case PO_vote:
        return vote(w, i, mask);
    case PO_redux:
        return reduce(w, i, mask);
    case PO_elect:
        return elect(w, i, mask);
    case PO_match:
        return match(w, i, mask);
    case PO_activemask:
        for (unsigned l = 0; l < PTX_LANES; l++)
            if (mask >> l & 1) ptx_put(w, ptx_arg(w, i, 0), l, mask);
        return PX_next;
    default:
        return PX_next; /* fences, registers, naps */
    }
}
