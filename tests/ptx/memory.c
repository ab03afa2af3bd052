/*
 * memory.c: loads, stores and atomic operations.
 */
#include "tests/ptx/run.h"

#include <string.h>

/* ------------------------------------------------------------------ places */

/* Of the machine's own addresses, and of the driver's. */
static bool find_pane(PtxMachine *m, uint64_t at, PtxPane *out)
{
    const PtxKernel *k = m->launch->kernel;
    *out = (PtxPane){PTX_PARAMS, k->param_bytes, m->params};
    if (at - PTX_PARAMS < out->n) return true;
    *out = (PtxPane){PTX_GLOBALS, k->module->global_bytes, k->module->globals};
    if (at - PTX_GLOBALS < out->n) return true;
    return m->launch->pane(m->launch->user, at, out) && at - out->at < out->n;
}

unsigned char *ptx_global_late(PtxMachine *m, uint64_t at, uint64_t n,
                               bool writes)
{
    const PtxPane *p = NULL;
    for (unsigned k = 0; k < PTX_PANES && !p; k++)
        if (at - m->panes[k].at < m->panes[k].n) p = &m->panes[k];
    if (!p) {
        PtxPane found;
        if (!find_pane(m, at, &found)) return NULL;
        PtxPane *to = &m->panes[m->next_pane++ % PTX_PANES];
        *to = found;
        p = to;
    }
    if (n > p->n - (at - p->at)) return NULL;
    *(writes ? &m->tally.stored : &m->tally.loaded) += n;
    m->events += writes;
    return p->host + (at - p->at);
}

int64_t ptx_global_race(PtxBlock *b, uint64_t at, uint64_t n, bool writes)
{
    PtxMachine *m = b->machine;
    const unsigned *grid = m->launch->grid;
    if (!m->globals) return -1;
    uint32_t block = (b->at[2] * grid[1] + b->at[1]) * grid[0] + b->at[0];
    return ptx_globals_touch(m->globals, block, at, n, writes);
}

unsigned char *ptx_global(PtxWarp *w, const PtxInst *i, int lane, uint64_t at,
                          uint64_t n, uint32_t align, bool writes)
{
    if (!align) align = (uint32_t)n;
    if (at % align) {
        ptx_fault(w, i, lane, "the address 0x%llx is no multiple of %u",
                  (unsigned long long)at, align);
        return NULL;
    }
    unsigned char *p = ptx_global_late(w->block->machine, at, n, writes);
    if (!p) {
        ptx_fault(w, i, lane, "%s %llu bytes at 0x%llx, which nobody has",
                  writes ? "writes" : "reads", (unsigned long long)n,
                  (unsigned long long)at);
        return NULL;
    }
    int64_t other = ptx_global_race(w->block, at, n, writes);
    if (other != -1) {
        ptx_fault(w, i, lane,
                  "%s %llu bytes at 0x%llx, where block %lld (-2: several) "
                  "%s, and nothing orders the two",
                  writes ? "writes" : "reads", (unsigned long long)n,
                  (unsigned long long)at, (long long)other,
                  writes ? "reads or writes" : "wrote");
        return NULL;
    }
    return p;
}

/* The block that has the address, NULL: none in this cluster. */
static PtxBlock *owner(PtxBlock *b, uint64_t at)
{
    uint64_t rank = at >> PTX_RANK_SHIFT;
    return rank < b->cluster->n ? &b->cluster->blocks[rank] : NULL;
}

static uint32_t offset_of(uint64_t at)
{
    return (uint32_t)(at & ((UINT64_C(1) << PTX_RANK_SHIFT) - 1));
}

unsigned char *ptx_shared_late(PtxBlock *b, uint64_t at, uint32_t n)
{
    PtxBlock *of = owner(b, at);
    uint32_t from = offset_of(at);
    if (!of || n > of->shared_bytes || from > of->shared_bytes - n) return NULL;
    return of->shared + from;
}

unsigned char *ptx_shared(PtxWarp *w, const PtxInst *i, int lane, uint64_t at,
                          uint32_t n, uint32_t align, bool writes, bool others)
{
    PtxBlock *of = owner(w->block, at);
    uint32_t from = offset_of(at);
    if (!align) align = n;
    if (at % align) {
        ptx_fault(w, i, lane, "the shared address 0x%llx is no multiple of %u",
                  (unsigned long long)at, align);
        return NULL;
    }
    if (!of || (of != w->block && !others) || n > of->shared_bytes ||
        from > of->shared_bytes - n) {
        ptx_fault(w, i, lane,
                  "%s %u bytes at 0x%llx of shared memory: the block has %u "
                  "from 0x%x on",
                  writes ? "writes" : "reads", n, (unsigned long long)at,
                  w->block->shared_bytes, w->block->rank << PTX_RANK_SHIFT);
        return NULL;
    }
    if (w->block->cluster->race &&
        !(writes ? ptx_race_write(w, i, lane, of, from, n)
                 : ptx_race_read(w, i, lane, of, from, n)))
        return NULL;
    return of->shared + from;
}

/* N bytes of space S; NULL after a fault. */
static unsigned char *place(PtxWarp *w, const PtxInst *i, PtxSpace s, int lane,
                            uint64_t at, uint32_t n, bool writes)
{
    const PtxKernel *k = w->block->kernel;
    switch (s) {
    case PS_shared:
    case PS_cluster:
        return ptx_shared(w, i, lane, at, n, 0, writes, s == PS_cluster);
    case PS_local:
        if (at % n || at > k->local || n > k->local - at) break;
        return w->local + (size_t)lane * k->local + at;
    case PS_param:
        if (writes || at > k->param_bytes || n > k->param_bytes - at) break;
        return w->block->machine->params + at;
    default:
        return ptx_global(w, i, lane, at, n, 0, writes);
    }
    ptx_fault(w, i, lane, "%u bytes at 0x%llx are not the kernel's", n,
              (unsigned long long)at);
    return NULL;
}

/* --------------------------------------------------------- loads and stores */

static uint64_t load_bits(const unsigned char *p, unsigned bytes)
{
    uint64_t x = 0;
    memcpy(&x, p, bytes);
    return x;
}

/* What a register takes of a value of type T: one with a sign fills it. */
static uint64_t widened(const PtxKernel *k, const PtxArg *to, PtxType t,
                        uint64_t x)
{
    const PtxTypeRow *row = &ptx_types[t];
    if (row->kind != PK_signed || to->kind != PA_reg) return x;
    unsigned has = k->reg_bits[to->reg], rest = 64 - row->bits;
    x = (uint64_t)((int64_t)(x << rest) >> rest);
    return has < 64 ? x & ((UINT64_C(1) << has) - 1) : x;
}

static const PtxArg *part(const PtxWarp *w, const PtxArg *a, unsigned k)
{
    return a->kind == PA_list ? ptx_item(w, a, k) : a;
}

static PtxStep load(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxSpace s = i->nspaces ? (PtxSpace)i->space[0] : PS_generic;
    const PtxArg *to = ptx_arg(w, i, 0), *from = ptx_arg(w, i, 1);
    PtxType t = (PtxType)i->type[0];
    unsigned bytes = ptx_types[t].bits / 8;
    unsigned n = ptx_has(i, PM_v4) ? 4 : ptx_has(i, PM_v2) ? 2 : 1;
    uint64_t got[4];
    bool looks = ptx_has(i, PM_acquire) || ptx_has(i, PM_relaxed) ||
                 ptx_has(i, PM_volatile);
    w->block->machine->looks += looks;
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        const unsigned char *p =
            place(w, i, s, (int)l, ptx_get(w, from, l), n * bytes, false);
        if (!p) return PX_fault;
        for (unsigned k = 0; k < n; k++)
            got[k] = load_bits(p + k * bytes, bytes);
        for (unsigned k = 0; k < n; k++) {
            const PtxArg *a = part(w, to, k);
            ptx_put(w, a, l, widened(w->block->kernel, a, t, got[k]));
        }
    }
    return PX_next;
}

static PtxStep store(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxSpace s = i->nspaces ? (PtxSpace)i->space[0] : PS_generic;
    const PtxArg *to = ptx_arg(w, i, 0), *from = ptx_arg(w, i, 1);
    unsigned bytes = ptx_types[i->type[0]].bits / 8;
    unsigned n = ptx_has(i, PM_v4) ? 4 : ptx_has(i, PM_v2) ? 2 : 1;
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        unsigned char *p =
            place(w, i, s, (int)l, ptx_get(w, to, l), n * bytes, true);
        if (!p) return PX_fault;
        for (unsigned k = 0; k < n; k++) {
            uint64_t x = ptx_get(w, part(w, from, k), l);
            memcpy(p + k * bytes, &x, bytes);
        }
    }
    return PX_next;
}

/* ------------------------------------------------------------------ atomics */

static uint64_t below(uint64_t x, unsigned bits)
{
    return bits < 64 ? x & ((UINT64_C(1) << bits) - 1) : x;
}

static int64_t with_sign(uint64_t x, unsigned bits)
{
    return (int64_t)(x << (64 - bits)) >> (64 - bits);
}

/* One number. */
static uint64_t joined(const PtxInst *i, PtxType t, uint64_t old, uint64_t x)
{
    const PtxTypeRow *row = &ptx_types[t];
    if (row->kind == PK_float) {
        double a = ptx_number(t, old), b = ptx_number(t, x);
        if (ptx_has(i, PM_add)) return ptx_bits(t, a + b);
        if (a != a || b != b) return a != a ? x : old;
        return ptx_has(i, PM_min) == (a < b) ? old : x;
    }
    bool less = row->kind == PK_signed
                    ? with_sign(old, row->bits) < with_sign(x, row->bits)
                    : below(old, row->bits) < below(x, row->bits);
    if (ptx_has(i, PM_add)) return below(old + x, row->bits);
    if (ptx_has(i, PM_min)) return less ? old : x;
    if (ptx_has(i, PM_max)) return less ? x : old;
    if (ptx_has(i, PM_and)) return old & x;
    if (ptx_has(i, PM_or)) return old | x;
    if (ptx_has(i, PM_xor)) return old ^ x;
    if (ptx_has(i, PM_inc)) return old >= x ? 0 : old + 1;
    if (ptx_has(i, PM_dec)) return !old || old > x ? x : old - 1;
    return x; /* exch */
}

static uint64_t changed(const PtxInst *i, PtxType t, uint64_t old, uint64_t x)
{
    PtxType half = t == PT_f16x2 ? PT_f16 : t == PT_bf16x2 ? PT_bf16 : PT_none;
    if (half == PT_none) return joined(i, t, old, x);
    return joined(i, half, old & 0xffff, x & 0xffff) |
           joined(i, half, old >> 16 & 0xffff, x >> 16 & 0xffff) << 16;
}

/* Of an atomic operation, which races with none of its kind: it orders those
 * that follow behind those that came before. */
static unsigned char *atomic_place(PtxWarp *w, const PtxInst *i, PtxSpace s,
                                   int lane, uint64_t at, uint32_t n)
{
    PtxBlock *b = w->block;
    if (s != PS_shared && s != PS_cluster)
        return place(w, i, s, lane, at, n, true);
    unsigned char *p = at % n ? NULL : ptx_shared_late(b, at, n);
    if (!p || (s == PS_shared && owner(b, at) != b)) {
        ptx_fault(w, i, lane, "changes %u bytes at 0x%llx of shared memory", n,
                  (unsigned long long)at);
        return NULL;
    }
    ptx_race_wait(w, at);
    ptx_race_arrive(w, at);
    return p;
}

/* atom d, [a], b (, c); red [a], b.  Lanes come in a drawn order: from a drawn
 * one on, round. */
static PtxStep change(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    PtxSpace s = i->nspaces ? (PtxSpace)i->space[0] : PS_generic;
    uint32_t first = i->op == PO_atom;
    PtxType t = (PtxType)i->type[0];
    unsigned bytes = ptx_types[t].bits / 8;
    unsigned begin = ptx_draw(w->block->machine, PTX_LANES);
    for (unsigned n = 0; n < PTX_LANES; n++) {
        unsigned l = (begin + n) % PTX_LANES;
        if (!(mask >> l & 1)) continue;
        uint64_t at = ptx_get(w, ptx_arg(w, i, first), l);
        uint64_t x = ptx_get(w, ptx_arg(w, i, first + 1), l);
        unsigned char *p = atomic_place(w, i, s, (int)l, at, bytes);
        if (!p) return PX_fault;
        uint64_t old = load_bits(p, bytes), now;
        if (ptx_has(i, PM_cas))
            now = old == below(x, 8 * bytes)
                      ? ptx_get(w, ptx_arg(w, i, first + 2), l)
                      : old;
        else
            now = changed(i, t, old, x);
        memcpy(p, &now, bytes);
        if (first) ptx_put(w, ptx_arg(w, i, 0), l, old);
    }
    return PX_next;
}

/* mapa d, a, rank; of a rank that the cluster has not, a place that nobody has.
 */
static PtxStep map_address(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    enum { MOST_RANK = (1 << (32 - PTX_RANK_SHIFT)) - 1 };
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(mask >> l & 1)) continue;
        uint64_t rank = ptx_get(w, ptx_arg(w, i, 2), l);
        if (rank > MOST_RANK) rank = MOST_RANK;
        ptx_put(w, ptx_arg(w, i, 0), l,
                offset_of(ptx_get(w, ptx_arg(w, i, 1), l)) |
                    rank << PTX_RANK_SHIFT);
    }
    return PX_next;
}

PtxStep ptx_do_memory(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    switch (i->op) {
    case PO_ld:
        return load(w, i, mask);
    case PO_st:
        return store(w, i, mask);
    case PO_atom:
    case PO_red:
        return change(w, i, mask);
    case PO_mapa:
        return map_address(w, i, mask);
    default:
        return PX_next; /* prefetch */
    }
}
