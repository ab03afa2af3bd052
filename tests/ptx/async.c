/*
 * async.c: copies that nobody waits for: boxes of tensors and runs of bytes,
 * between global and shared memory.
 *
 * A copy is made at a drawn moment after it was issued.  What fills shared
 * memory counts its bytes at a barrier; what stores belongs to groups of its
 * thread, and is made in two steps, of which each may be waited for: it reads
 * shared memory, and it writes global memory.  What a copy fills may hold
 * anything from its issue until it has come.
 */
#include "tests/ptx/async.h"

#include <stdlib.h>
#include <string.h>

enum { TILE_ALIGN = 128, MOST_BLOCKS = 16 };

PtxAsync *ptx_async_of(PtxWarp *w, const PtxInst *i, PtxBlock *b)
{
    PtxAsync *a = b->async;
    if (a) return a;
    a = calloc(1, sizeof *a);
    if (a) a->groups = calloc(b->nwarps * PTX_LANES, sizeof *a->groups);
    if (!a || !a->groups) {
        free(a);
        ptx_fault(w, i, -1, "no memory for copies");
        return NULL;
    }
    return b->async = a;
}

/* ------------------------------------------------------------ the open ones */

/* The next step of a copy; false after a fault. */
static bool step_on(Copy *c)
{
    if (c->kind == COPY_load) {
        c->done = true;
        return ptx_tile_load(c) && ptx_barrier_bytes(c);
    }
    if (!c->read) {
        c->read = true;
        return ptx_tile_read(c);
    }
    c->done = true;
    return ptx_tile_write(c);
}

/* Leaves out those that nothing more can be said of. */
static void prune(PtxAsync *a)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < a->ncopies; k++) {
        Copy *c = &a->copies[k];
        if (c->done && (c->kind == COPY_load || c->waited))
            ptx_stamp_free(&c->stamp);
        else
            a->copies[n++] = *c;
    }
    a->ncopies = n;
}

/* Makes one, or one step of it, of those that may be, from a drawn one on;
 * *did.  False after a fault. */
static bool make_one(PtxAsync *a, PtxMachine *m, bool lazy, bool *did)
{
    uint32_t from = ptx_draw(m, a->ncopies ? a->ncopies : 1);
    for (uint32_t n = 0; n < a->ncopies; n++) {
        Copy *c = &a->copies[(from + n) % a->ncopies];
        if (c->done || (c->lazy && !lazy)) continue;
        *did = true;
        return step_on(c);
    }
    *did = false;
    return true;
}

static bool turn(PtxBlock *b, bool all)
{
    PtxAsync *a = b->async;
    uint32_t most = all ? UINT32_MAX : 1 + ptx_draw(b->machine, 4);
    bool any = false, did = true;
    for (uint32_t k = 0; k < most && did; k++) {
        if (!make_one(a, b->machine, all, &did)) return any;
        any |= did;
    }
    prune(a);
    return any;
}

/* Blocks that are over have copies too, which others of their cluster may wait
 * for. */
bool ptx_async_turn(PtxBlock *b, bool all)
{
    bool any = turn(b, all);
    for (unsigned k = 0; k < b->cluster->n; k++) {
        PtxBlock *o = &b->cluster->blocks[k];
        if (o != b && o->async && o->ended == o->nwarps) any |= turn(o, all);
    }
    return any;
}

bool ptx_async_fill(PtxBlock *b, uint32_t at)
{
    for (unsigned k = 0; k < b->cluster->n; k++) {
        PtxAsync *a = b->cluster->blocks[k].async;
        for (uint32_t j = 0; a && j < a->ncopies; j++) {
            Copy *c = &a->copies[j];
            if (c->kind != COPY_load || c->done || c->block != b ||
                c->barrier != at)
                continue;
            if (!step_on(c)) return false;
        }
    }
    return true;
}

/* -------------------------------------------------------------------- issue */

/* An operand by its number: the next ones. */
typedef struct Args {
    PtxWarp *w;
    const PtxInst *i;
    unsigned lane;
    uint32_t next;
} Args;

static uint64_t take(Args *a)
{
    return ptx_get(a->w, ptx_arg(a->w, a->i, a->next++), a->lane);
}

static bool refuse(const Args *a, const char *what, uint64_t x)
{
    ptx_fault(a->w, a->i, (int)a->lane, "%s (0x%llx)", what,
              (unsigned long long)x);
    return false;
}

/* [map, {x, y}] */
static bool take_map(Args *a, Copy *c)
{
    uint64_t at = take(a);
    const PtxArg *list = ptx_arg(a->w, a->i, a->next++);
    const unsigned char *p =
        ptx_global(a->w, a->i, (int)a->lane, at, sizeof c->map, 64, false);
    if (!p) return false;
    memcpy(&c->map, p, sizeof c->map);
    const char *why = ptx_map_refusal(&c->map);
    if (why) {
        ptx_fault(a->w, a->i, (int)a->lane, "what is at 0x%llx %s",
                  (unsigned long long)at, why);
        return false;
    }
    if (list->n != c->map.rank)
        return refuse(a, "the map has another rank", c->map.rank);
    for (unsigned d = 0; d < list->n; d++)
        c->at[d] = (int32_t)ptx_get(a->w, ptx_item(a->w, list, d), a->lane);
    c->bytes = ptx_tile_bytes(&c->map);
    return true;
}

/* Where shared memory AT of C->bytes is, in the cluster; NULL after a fault. */
static PtxBlock *owner(const Args *a, const Copy *c, uint64_t at,
                       uint32_t align)
{
    PtxBlock *own = a->w->block;
    if (at % align) {
        ptx_fault(a->w, a->i, (int)a->lane,
                  "the shared address 0x%llx is no multiple of %u",
                  (unsigned long long)at, align);
        return NULL;
    }
    if (!ptx_shared_late(own, at, c->bytes)) {
        ptx_fault(a->w, a->i, (int)a->lane,
                  "a copy of %u bytes at 0x%llx of shared memory: the block "
                  "has %u",
                  c->bytes, (unsigned long long)at, own->shared_bytes);
        return NULL;
    }
    return &own->cluster->blocks[at >> PTX_RANK_SHIFT];
}

static bool append(const Args *a, const Copy *c)
{
    PtxAsync *own = ptx_async_of(a->w, a->i, a->w->block);
    if (!own) return false;
    if (own->ncopies == own->copies_cap) {
        uint32_t cap = 2 * own->copies_cap + 16;
        Copy *more = realloc(own->copies, cap * sizeof *more);
        if (!more) return refuse(a, "no memory for a copy", cap);
        own->copies = more;
        own->copies_cap = cap;
    }
    Copy *to = &own->copies[own->ncopies++];
    *to = *c;
    to->from = a->w->block;
    to->lazy = ptx_draw(to->from->machine, 2) == 0;
    to->stamp = ptx_race_issue(a->w);
    return true;
}

/* A load into block B: what lies there may be anything until it has come. */
static bool append_load(const Args *a, Copy *c, PtxBlock *b, uint64_t barrier)
{
    uint64_t at = (uint64_t)b->rank << PTX_RANK_SHIFT | barrier;
    if (!ptx_barrier_is(a->w, a->i, (int)a->lane, at)) return false;
    memset(b->shared + c->shared, (int)ptx_draw(b->machine, 256), c->bytes);
    c->block = b;
    c->barrier = (uint32_t)barrier;
    return append(a, c);
}

/* [to], [from ...], [barrier], with a mask of blocks or not. */
static bool issue_load(Args *a)
{
    const uint64_t inner = (UINT64_C(1) << PTX_RANK_SHIFT) - 1;
    bool tensor = a->i->op == PO_bulk_tensor;
    const PtxCluster *cluster = a->w->block->cluster;
    Copy c = {.kind = COPY_load, .line = a->i->line};
    if (a->i->nspaces > 1 && a->i->space[1] != PS_global)
        return refuse(a, "a copy from shared memory into shared memory", 0);
    uint64_t to = take(a);
    if (tensor) {
        if (!take_map(a, &c)) return false;
    } else {
        c.global = take(a);
        c.bytes = (uint32_t)take(a);
        if (c.global % PTX_CHUNK) return refuse(a, "reads from", c.global);
        if (c.bytes % PTX_CHUNK) return refuse(a, "bytes", c.bytes);
    }
    uint64_t barrier = take(a);
    PtxBlock *b = owner(a, &c, to, tensor ? TILE_ALIGN : PTX_CHUNK);
    if (!b) return false;
    c.shared = (uint32_t)(to & inner);
    if (!ptx_has(a->i, PM_multicast)) {
        if (barrier >> PTX_RANK_SHIFT != b->rank)
            return refuse(a, "its barrier is another block's", barrier);
        return append_load(a, &c, b, barrier & inner);
    }
    uint64_t mask = take(a) & 0xffff;
    if (!mask || mask >> cluster->n)
        return refuse(a, "a copy to blocks that the cluster has not", mask);
    for (unsigned k = 0; k < MOST_BLOCKS; k++)
        if (mask >> k & 1 &&
            !append_load(a, &c, &cluster->blocks[k], barrier & inner))
            return false;
    return true;
}

/* [map, {x, y}], [from]; [to], [from], bytes */
static bool issue_store(Args *a)
{
    Copy c = {.kind = a->i->op == PO_bulk_reduce_tensor ? COPY_add : COPY_store,
              .line = a->i->line,
              .thread = a->w->number * PTX_LANES + a->lane};
    bool tensor = a->i->op != PO_bulk;
    if (c.kind == COPY_add && !ptx_has(a->i, PM_add))
        return refuse(a, "only sums are known", 0);
    if (tensor && !take_map(a, &c)) return false;
    if (!tensor) c.global = take(a);
    uint64_t from = take(a);
    if (!tensor) {
        c.bytes = (uint32_t)take(a);
        if (c.global % PTX_CHUNK) return refuse(a, "writes to", c.global);
        if (c.bytes % PTX_CHUNK) return refuse(a, "bytes", c.bytes);
    }
    c.block = owner(a, &c, from, tensor ? TILE_ALIGN : PTX_CHUNK);
    if (!c.block) return false;
    if (c.block != a->w->block) return refuse(a, "another block's", from);
    c.shared = (uint32_t)(from & ((UINT64_C(1) << PTX_RANK_SHIFT) - 1));
    return append(a, &c);
}

/* ------------------------------------------------------------------- groups */

static bool commit(const Args *a)
{
    PtxAsync *own = ptx_async_of(a->w, a->i, a->w->block);
    uint32_t thread = a->w->number * PTX_LANES + a->lane;
    if (!own) return false;
    uint32_t group = ++own->groups[thread];
    for (uint32_t k = 0; k < own->ncopies; k++) {
        Copy *c = &own->copies[k];
        if (c->kind != COPY_load && c->thread == thread && !c->group)
            c->group = group;
    }
    return true;
}

/* One of the thread's that is in all but its last N groups. */
static bool is_named(const PtxAsync *own, const Copy *c, uint32_t thread,
                     uint64_t n)
{
    return c->kind != COPY_load && c->thread == thread && c->group &&
           c->group + n <= own->groups[thread];
}

/* Those have read, or are done. */
static bool wait(Args *a)
{
    PtxAsync *own = a->w->block->async;
    uint64_t n = take(a);
    uint32_t thread = a->w->number * PTX_LANES + a->lane;
    bool read = ptx_has(a->i, PM_read);
    if (!own || !own->ncopies) return true;
    uint32_t from = ptx_draw(a->w->block->machine, own->ncopies);
    for (uint32_t k = 0; k < own->ncopies; k++) {
        Copy *c = &own->copies[(from + k) % own->ncopies];
        if (!is_named(own, c, thread, n)) continue;
        while (!(read ? c->read : c->done))
            if (!step_on(c)) return false;
        c->waited = true;
        ptx_race_waited(a->w, &c->stamp);
    }
    prune(own);
    return true;
}

/* Others go on first, now and then, while something is waited for. */
static bool stays(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    const PtxAsync *own = w->block->async;
    if (i->op != PO_bulk_wait || !own) return false;
    for (uint32_t k = 0; k < own->ncopies; k++) {
        const Copy *c = &own->copies[k];
        uint32_t lane = c->thread % PTX_LANES;
        uint64_t n = ptx_get(w, ptx_arg(w, i, 0), lane);
        bool over = ptx_has(i, PM_read) ? c->read : c->done;
        if (c->thread / PTX_LANES == w->number && mask >> lane & 1 && !over &&
            is_named(own, c, c->thread, n))
            return ptx_draw(w->block->machine, 2);
    }
    return false;
}

/* ----------------------------------------------------------- the unit's own */

static bool do_lane(Args *a)
{
    switch (a->i->op) {
    case PO_bulk:
    case PO_bulk_tensor:
        return ptx_has(a->i, PM_bulk_group) ? issue_store(a) : issue_load(a);
    case PO_bulk_reduce_tensor:
        return issue_store(a);
    case PO_bulk_commit:
        return commit(a);
    case PO_bulk_wait:
        return wait(a);
    case PO_bulk_prefetch: { /* [from], bytes */
        uint64_t from = take(a), n = take(a);
        if (from % PTX_CHUNK) return refuse(a, "brings from", from);
        if (!n || n % PTX_CHUNK) return refuse(a, "brings bytes", n);
        return true;
    }
    default:
        return refuse(a, "no such copy is known", 0);
    }
}

PtxStep ptx_do_async(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    switch (i->op) {
    case PO_mbarrier_init:
    case PO_mbarrier_inval:
    case PO_mbarrier_arrive:
    case PO_mbarrier_expect:
    case PO_mbarrier_test:
    case PO_mbarrier_try:
        return ptx_do_barrier(w, i, mask);
    default:
        if (stays(w, i, mask)) return PX_again;
        for (unsigned l = 0; l < PTX_LANES; l++) {
            Args a = {w, i, l, 0};
            if (mask >> l & 1 && !do_lane(&a)) return PX_fault;
        }
        return PX_next;
    }
}

/* ------------------------------------------------------- the end of a block */

bool ptx_async_end(PtxBlock *b)
{
    PtxAsync *a = b->async;
    bool did = true;
    for (uint32_t k = 0; k < a->ncopies; k++) {
        const Copy *c = &a->copies[k];
        if (c->kind == COPY_load && c->done) continue;
        const char *why = c->kind == COPY_load ? "fills"
                          : c->waited          ? NULL
                                               : "reads";
        if (!why) continue;
        ptx_fault_late(b, c->line,
                       "a copy %s shared memory when the block is over: "
                       "nobody waited for it",
                       why);
        return false;
    }
    while (did)
        if (!make_one(a, b->machine, true, &did)) return false;
    return ptx_barriers_end(b);
}

void ptx_async_free(PtxBlock *b)
{
    PtxAsync *a = b->async;
    for (uint32_t k = 0; k < a->ncopies; k++) {
        free(a->copies[k].held);
        ptx_stamp_free(&a->copies[k].stamp);
    }
    free(a->copies);
    free(a->barriers);
    free(a->groups);
    free(a);
    b->async = NULL;
}
