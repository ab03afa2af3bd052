/*
 * mbarrier.c: barriers in shared memory that count arrivals and bytes.
 *
 * What they are is kept beside shared memory, which has a copy: whoever writes
 * over that is found when the barrier is used next.
 */
#include "tests/ptx/async.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_COUNT = (1 << 20) - 1, BYTES = 8 };

static uint32_t offset_of(uint64_t at)
{
    return (uint32_t)(at & ((UINT64_C(1) << PTX_RANK_SHIFT) - 1));
}

/* Bits 0 .. 20 tx, 21 .. 40 pending, 41 .. 60 expected, 61 the phase's parity;
 * 63 is set. */
static uint64_t bits_of(const Barrier *x)
{
    return (uint64_t)(x->tx & 0x1fffff) | (uint64_t)x->pending << 21 |
           (uint64_t)x->expected << 41 | (uint64_t)(x->phase & 1) << 61 |
           UINT64_C(1) << 63;
}

static void keep(PtxBlock *b, const Barrier *x)
{
    uint64_t bits = bits_of(x);
    memcpy(b->shared + x->at, &bits, BYTES);
}

static Barrier *find(PtxBlock *b, uint32_t at)
{
    for (uint32_t k = 0; b->async && k < b->async->nbarriers; k++)
        if (b->async->barriers[k].at == at) return &b->async->barriers[k];
    return NULL;
}

/* What orders who waits behind who has arrived: all that arrived, and what had
 * when the last phase ended. */
static uint64_t arrivals(const PtxBlock *b, const Barrier *x)
{
    return (uint64_t)b->rank << PTX_RANK_SHIFT | x->at;
}

static uint64_t passed(const PtxBlock *b, const Barrier *x)
{
    return arrivals(b, x) | UINT64_C(1) << 59;
}

/* Not over yet, with somebody left in it. */
static bool is_there(const PtxBlock *b)
{
    return b->ended < b->nwarps;
}

/* The barrier at AT and its block; NULL after a fault. */
static Barrier *named(PtxWarp *w, const PtxInst *i, int lane, uint64_t at,
                      bool others, PtxBlock **of)
{
    unsigned char *p = ptx_shared(w, i, lane, at, BYTES, 0, false, others);
    if (!p) return NULL;
    *of = &w->block->cluster->blocks[at >> PTX_RANK_SHIFT];
    if (!is_there(*of)) {
        ptx_fault(w, i, lane, "block %u of the cluster is over", (*of)->rank);
        return NULL;
    }
    Barrier *x = find(*of, offset_of(at));
    if (!x) {
        ptx_fault(w, i, lane, "there is no barrier at 0x%llx",
                  (unsigned long long)at);
        return NULL;
    }
    uint64_t bits = bits_of(x);
    if (memcmp(p, &bits, BYTES) != 0) {
        ptx_fault(w, i, lane, "the barrier at 0x%llx was written over",
                  (unsigned long long)at);
        return NULL;
    }
    return x;
}

/* Copies and other blocks see a barrier once who made it has told of it. */
static bool is_told(PtxWarp *w, const PtxInst *i, int lane, const Barrier *x)
{
    if (!x->unfenced) return true;
    ptx_fault(w, i, lane,
              "no fence.mbarrier_init since the barrier at 0x%x was made",
              x->at);
    return false;
}

bool ptx_barrier_is(PtxWarp *w, const PtxInst *i, int lane, uint64_t at)
{
    PtxBlock *of;
    const Barrier *x = named(w, i, lane, at, true, &of);
    return x && is_told(w, i, lane, x);
}

void ptx_barriers_fence(PtxWarp *w)
{
    PtxAsync *a = w->block->async;
    for (uint32_t k = 0; a && k < a->nbarriers; k++)
        if (a->barriers[k].unfenced == w) a->barriers[k].unfenced = NULL;
}

/* After a change: the phase may be complete.  Why that cannot be, or NULL. */
static const char *settle(PtxBlock *b, Barrier *x)
{
    const char *why = NULL;
    if (x->tx > MOST_COUNT || x->tx < -MOST_COUNT)
        why = "counts more bytes than it can";
    else if (!x->pending && x->tx < 0)
        why = "got more bytes than it expects";
    else if (!x->pending && !x->tx) {
        if (x->seen < x->phase)
            why = "completes a phase, and nobody has seen the last one";
        x->phase++;
        x->pending = x->expected;
        b->machine->events++;
        ptx_race_pass(b, arrivals(b, x), passed(b, x));
    }
    keep(b, x);
    return why;
}

bool ptx_barrier_bytes(const Copy *c)
{
    PtxBlock *b = c->block;
    Barrier *x = find(b, c->barrier);
    const char *why = x ? NULL : "is no barrier any more";
    if (!is_there(b)) why = "is of a block that is over: nobody waited for it";
    if (!why) {
        x->filled = x->phase + 1;
        x->line = c->line;
        x->tx -= (int32_t)c->bytes;
        ptx_race_tell(c->from, &c->stamp, arrivals(b, x));
        why = settle(b, x);
    }
    if (why)
        ptx_fault_late(c->from, c->line, "0x%x of block %u's shared memory %s",
                       c->barrier, b->rank, why);
    return !why;
}

bool ptx_barrier_commit(PtxBlock *b, uint32_t line, uint32_t at,
                        const PtxStamp *s)
{
    Barrier *x = find(b, at);
    const char *why = !x            ? "is no barrier any more"
                      : !x->pending ? "waits for nobody"
                                    : NULL;
    if (!why) {
        x->pending--;
        b->machine->events++;
        ptx_race_tell(b, s, arrivals(b, x));
        why = settle(b, x);
    }
    if (why)
        ptx_fault_late(b, line, "0x%x of block %u's shared memory %s", at,
                       b->rank, why);
    return !why;
}

static PtxStep begin(PtxWarp *w, const PtxInst *i, int lane, uint64_t at,
                     uint64_t count)
{
    PtxAsync *a = ptx_async_of(w, i, w->block);
    if (!a) return PX_fault;
    if (!ptx_shared(w, i, lane, at, BYTES, 0, true, false)) return PX_fault;
    if (find(w->block, offset_of(at)))
        return ptx_fault(w, i, lane, "0x%llx is a barrier already",
                         (unsigned long long)at);
    if (!count || count > MOST_COUNT)
        return ptx_fault(w, i, lane, "a barrier of %llu arrivals",
                         (unsigned long long)count);
    if (a->nbarriers == a->barriers_cap) {
        uint32_t cap = 2 * a->barriers_cap + 16;
        Barrier *more = realloc(a->barriers, cap * sizeof *more);
        if (!more) return ptx_fault(w, i, lane, "no memory for a barrier");
        a->barriers = more;
        a->barriers_cap = cap;
    }
    Barrier *x = &a->barriers[a->nbarriers++];
    *x = (Barrier){.at = offset_of(at),
                   .unfenced = w,
                   .expected = (uint32_t)count,
                   .pending = (uint32_t)count};
    keep(w->block, x);
    return PX_next;
}

static PtxStep end(PtxWarp *w, const PtxInst *i, int lane, uint64_t at)
{
    PtxBlock *b;
    Barrier *x = named(w, i, lane, at, false, &b);
    if (!x) return PX_fault;
    if (x->tx)
        return ptx_fault(w, i, lane, "%d bytes are expected there", x->tx);
    *x = b->async->barriers[--b->async->nbarriers];
    return PX_next;
}

static PtxStep arrive(PtxWarp *w, const PtxInst *i, int lane)
{
    uint32_t first = i->op == PO_mbarrier_arrive; /* a result before it */
    uint64_t at = ptx_get(w, ptx_arg(w, i, first), (unsigned)lane), n = 1;
    bool bytes = i->op == PO_mbarrier_expect || ptx_has(i, PM_expect_tx);
    if (i->nargs > first + 1)
        n = ptx_get(w, ptx_arg(w, i, first + 1), (unsigned)lane) & UINT32_MAX;
    PtxBlock *b;
    Barrier *x = named(w, i, lane, at, i->space[0] == PS_cluster, &b);
    if (!x || (b != w->block && !is_told(w, i, lane, x))) return PX_fault;
    uint64_t state = bits_of(x);
    uint32_t phase = x->phase, come = bytes ? first : (uint32_t)n;
    if (n > MOST_COUNT || (first && !come))
        return ptx_fault(w, i, lane, "a barrier cannot count %llu",
                         (unsigned long long)n);
    if (come > x->pending)
        return ptx_fault(w, i, lane,
                         "%u arrive at a barrier that waits for %u of %u more",
                         come, x->pending, x->expected);
    ptx_race_arrive(w, arrivals(b, x));
    b->machine->events++;
    if (bytes) {
        x->tx += (int32_t)n;
        x->line = i->line;
    }
    x->pending -= come;
    const char *why = settle(b, x);
    if (why)
        return ptx_fault(w, i, lane, "the barrier at 0x%llx %s (%d)",
                         (unsigned long long)at, why, -x->tx);
    if (ptx_has(i, PM_noComplete) && x->phase != phase)
        return ptx_fault(w, i, lane, "the arrival completes the phase");
    if (first) ptx_put(w, ptx_arg(w, i, 0), (unsigned)lane, state);
    return PX_next;
}

/* Of .parity the phase before this one is asked for, or this one; else the one
 * in which a state was got. */
static bool is_complete(const Barrier *x, const PtxInst *i, uint64_t asked)
{
    unsigned parity = ptx_has(i, PM_parity) ? asked & 1 : asked >> 61 & 1;
    return (x->phase & 1) != parity;
}

/* One who waits goes round, or stays here; it goes round no more when nothing
 * happens. */
static bool stays(PtxBlock *b)
{
    enum { MOST_TIMES = 16 };
    PtxAsync *a = b->async;
    if (a->refused != b->machine->events) a->times = 0;
    a->refused = b->machine->events;
    return ptx_draw(b->machine, 8) || ++a->times > MOST_TIMES;
}

static PtxStep test(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    bool waits = i->op == PO_mbarrier_try, some = false;
    bool yes[PTX_LANES] = {false};
    w->block->machine->looks++;
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        uint64_t at = ptx_get(w, ptx_arg(w, i, 1), l);
        uint64_t asked = ptx_get(w, ptx_arg(w, i, 2), l);
        if (ptx_has(i, PM_parity) && asked > 1)
            return ptx_fault(w, i, (int)l, "%llu is no parity",
                             (unsigned long long)asked);
        PtxBlock *b;
        Barrier *x = named(w, i, (int)l, at, false, &b);
        if (!x) return PX_fault;
        if (!is_complete(x, i, asked) && waits &&
            ptx_draw(b->machine, 4) == 0 && !ptx_async_fill(b, x->at))
            return PX_fault;
        yes[l] = is_complete(x, i, asked);
        if (yes[l]) {
            x->seen = x->phase;
            ptx_race_wait(w, passed(b, x));
            w->passed = true;
        }
        some |= yes[l];
    }
    if (waits && !some && stays(w->block)) return PX_again;
    for (unsigned l = 0; l < PTX_LANES; l++)
        if (mask >> l & 1) ptx_put(w, ptx_arg(w, i, 0), l, yes[l]);
    return PX_next;
}

PtxStep ptx_do_barrier(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxStep step = PX_next;
    if (i->op == PO_mbarrier_test || i->op == PO_mbarrier_try)
        return test(w, i, mask);
    for (unsigned l = 0; l < PTX_LANES && step == PX_next; l++) {
        if (!(mask >> l & 1)) continue;
        if (i->op == PO_mbarrier_init)
            step = begin(w, i, (int)l, ptx_get(w, ptx_arg(w, i, 0), l),
                         ptx_get(w, ptx_arg(w, i, 1), l));
        else if (i->op == PO_mbarrier_inval)
            step = end(w, i, (int)l, ptx_get(w, ptx_arg(w, i, 0), l));
        else
            step = arrive(w, i, (int)l);
    }
    return step;
}

bool ptx_barriers_end(PtxBlock *b)
{
    for (uint32_t k = 0; k < b->async->nbarriers; k++) {
        const Barrier *x = &b->async->barriers[k];
        if (x->filled <= x->seen && !x->tx) continue;
        ptx_fault_late(b, x->line,
                       x->tx ? "the barrier at 0x%x of block %u's shared "
                               "memory is %d bytes short at the end"
                             : "nobody waited for what came by the barrier at "
                               "0x%x of block %u's shared memory",
                       x->at, b->rank, x->tx);
        return false;
    }
    return true;
}
