/*
 * race.c: vector clocks of shared memory, and who touched global memory.
 */
#include "tests/ptx/race.h"

#include "tests/ptx/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An epoch is an agent and its clock.  Agents are the cluster's warps, the
 * copies that nobody waits for, which share one, and the products of each
 * warpgroup; the clocks of these are their numbers. */
enum { CLOCK_BITS = 22, WORD = 4 };
#define MOST_CLOCK ((UINT32_C(1) << CLOCK_BITS) - 1)

typedef struct Barrier {
    uint64_t key;
    uint32_t *clocks;
} Barrier;

struct PtxRace {
    unsigned agents, copies; /* how many; the number of the copies' agent */
    uint32_t *clocks;        /* of warp W: agents of what it knows, then of what
                              * the async proxy sees of that */
    uint32_t number;         /* of the last copy */
    Barrier *barriers;
    size_t nbarriers, room;
    struct Shadow {
        uint32_t *wrote; /* of each byte: the epoch that wrote it */
        uint32_t *read; /* of each word and agent: the clock of its last read */
    } * shadow;         /* by rank */
    unsigned nblocks, nwarps, groups; /* warps and groups of a block */
};

PtxRace *ptx_race_new(PtxCluster *c)
{
    PtxRace *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->nblocks = c->n;
    r->nwarps = c->blocks->nwarps;
    r->copies = r->nblocks * r->nwarps;
    r->groups = (r->nwarps + PTX_WARPGROUP - 1) / PTX_WARPGROUP;
    r->agents = r->copies + 1 + r->nblocks * r->groups;
    r->clocks = calloc((size_t)r->copies * 2 * r->agents, sizeof *r->clocks);
    r->shadow = calloc(r->nblocks, sizeof *r->shadow);
    bool ok = r->clocks && r->shadow;
    for (unsigned k = 0; ok && k < r->nblocks; k++) {
        size_t bytes = c->blocks[k].shared_bytes + 1;
        r->shadow[k].wrote = calloc(bytes, sizeof(uint32_t));
        r->shadow[k].read =
            calloc((bytes / WORD + 1) * r->agents, sizeof(uint32_t));
        ok = r->shadow[k].wrote && r->shadow[k].read;
    }
    for (unsigned k = 0; ok && k < r->copies; k++)
        r->clocks[(size_t)k * 2 * r->agents + k] = 1;
    if (ok) return r;
    ptx_race_free(r);
    return NULL;
}

void ptx_race_free(PtxRace *r)
{
    if (!r) return;
    for (unsigned k = 0; r->shadow && k < r->nblocks; k++) {
        free(r->shadow[k].wrote);
        free(r->shadow[k].read);
    }
    for (size_t k = 0; k < r->nbarriers; k++)
        free(r->barriers[k].clocks);
    free(r->barriers);
    free(r->shadow);
    free(r->clocks);
    free(r);
}

/* ------------------------------------------------------------------- clocks */

static unsigned agent_of(const PtxRace *r, const PtxWarp *w)
{
    return w->block->rank * r->nwarps + w->number;
}

static uint32_t *clocks_of(const PtxRace *r, unsigned agent)
{
    return r->clocks + (size_t)agent * 2 * r->agents;
}

/* What an agent's clock is where nobody told of it. */
static uint32_t epoch(unsigned agent, uint32_t clock)
{
    return agent << CLOCK_BITS | (clock & MOST_CLOCK);
}

static void join(uint32_t *to, const uint32_t *from, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        if (from[k] > to[k]) to[k] = from[k];
}

static Barrier *barrier_of(PtxRace *r, uint64_t key)
{
    for (size_t k = 0; k < r->nbarriers; k++)
        if (r->barriers[k].key == key) return &r->barriers[k];
    if (r->nbarriers == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        Barrier *more = realloc(r->barriers, room * sizeof *more);
        if (!more) return NULL;
        r->barriers = more;
        r->room = room;
    }
    uint32_t *clocks = calloc(2 * (size_t)r->agents, sizeof *clocks);
    if (!clocks) return NULL;
    r->barriers[r->nbarriers] = (Barrier){key, clocks};
    return &r->barriers[r->nbarriers++];
}

enum { OWN = 1, CLUSTER = 2 }; /* above addresses of shared memory */

uint64_t ptx_bar_key(const PtxBlock *b, unsigned number)
{
    return (uint64_t)OWN << 60 | (uint64_t)b->rank << PTX_RANK_SHIFT | number;
}

uint64_t ptx_cluster_key(unsigned phase)
{
    return (uint64_t)CLUSTER << 60 | phase;
}

void ptx_race_arrive(PtxWarp *w, uint64_t key)
{
    PtxRace *r = w->block->cluster->race;
    Barrier *b = r ? barrier_of(r, key) : NULL;
    if (!b) return;
    unsigned a = agent_of(r, w);
    uint32_t *mine = clocks_of(r, a);
    join(b->clocks, mine, 2 * r->agents);
    if (mine[a] < MOST_CLOCK) mine[a]++;
}

void ptx_race_wait(PtxWarp *w, uint64_t key)
{
    PtxRace *r = w->block->cluster->race;
    Barrier *b = r ? barrier_of(r, key) : NULL;
    if (b) join(clocks_of(r, agent_of(r, w)), b->clocks, 2 * r->agents);
}

void ptx_race_clear(PtxBlock *b, uint64_t key)
{
    PtxRace *r = b->cluster->race;
    Barrier *at = r ? barrier_of(r, key) : NULL;
    if (at) memset(at->clocks, 0, 2 * r->agents * sizeof *at->clocks);
}

void ptx_race_pass(PtxBlock *b, uint64_t from, uint64_t to)
{
    PtxRace *r = b->cluster->race;
    /* The second may move the first. */
    bool ok = r && barrier_of(r, from) && barrier_of(r, to);
    if (ok)
        join(barrier_of(r, to)->clocks, barrier_of(r, from)->clocks,
             2 * r->agents);
}

void ptx_race_fence(PtxWarp *w)
{
    PtxRace *r = w->block->cluster->race;
    if (!r) return;
    uint32_t *mine = clocks_of(r, agent_of(r, w));
    join(mine + r->agents, mine, r->agents);
}

/* ------------------------------------------------------------------- places */

static void tell(const PtxRace *r, uint32_t e, char text[64])
{
    unsigned agent = e >> CLOCK_BITS;
    unsigned group = agent - r->copies - 1;
    if (agent == r->copies)
        snprintf(text, 64, "a copy");
    else if (agent > r->copies)
        snprintf(text, 64, "a product of warpgroup %u of block %u",
                 group % r->groups, group / r->groups);
    else if (r->nblocks > 1)
        snprintf(text, 64, "warp %u of block %u of the cluster",
                 agent % r->nwarps, agent / r->nwarps);
    else
        snprintf(text, 64, "warp %u", agent);
}

static const char *const unordered =
    "%s shared memory at 0x%x that %s %s, with nothing between that orders the "
    "two%s";
static const char *const unfenced = " for the async proxy (fence.proxy.async)";

/* Whether all that wrote the bytes is in CLOCKS; else the byte and epoch. */
static bool knows_writes(const struct Shadow *s, const uint32_t *clocks,
                         uint32_t at, uint32_t n, uint32_t *byte)
{
    for (uint32_t k = at; k < at + n; k++) {
        uint32_t e = s->wrote[k];
        if ((e & MOST_CLOCK) > clocks[e >> CLOCK_BITS]) {
            *byte = k;
            return false;
        }
    }
    return true;
}

static bool knows_reads(const PtxRace *r, const struct Shadow *s,
                        const uint32_t *clocks, uint32_t at, uint32_t n,
                        uint32_t *byte, unsigned *agent)
{
    for (uint32_t k = at / WORD; k <= (at + n - 1) / WORD; k++) {
        const uint32_t *read = s->read + (size_t)k * r->agents;
        for (unsigned a = 0; a < r->agents; a++)
            if (read[a] > clocks[a]) {
                *byte = k * WORD > at ? k * WORD : at;
                *agent = a;
                return false;
            }
    }
    return true;
}

static void mark_read(PtxRace *r, struct Shadow *s, unsigned agent,
                      uint32_t clock, uint32_t at, uint32_t n)
{
    for (uint32_t k = at / WORD; k <= (at + n - 1) / WORD; k++) {
        uint32_t *to = &s->read[(size_t)k * r->agents + agent];
        if (clock > *to) *to = clock;
    }
}

/* Reads before it stay: who knows of the write knows of them. */
static void mark_write(struct Shadow *s, uint32_t e, uint32_t at, uint32_t n)
{
    for (uint32_t k = at; k < at + n; k++)
        s->wrote[k] = e;
}

/* Whether what wrote the bytes comes before what the warp DOES; else a fault.
 */
static bool is_behind_writes(PtxWarp *w, const PtxInst *i, int lane,
                             const struct Shadow *s, const uint32_t *mine,
                             uint32_t at, uint32_t n, const char *does)
{
    uint32_t byte;
    char who[64];
    if (knows_writes(s, mine, at, n, &byte)) return true;
    tell(w->block->cluster->race, s->wrote[byte], who);
    ptx_fault(w, i, lane, unordered, does, byte, who, "wrote", "");
    return false;
}

bool ptx_race_read(PtxWarp *w, const PtxInst *i, int lane, PtxBlock *of,
                   uint32_t at, uint32_t n)
{
    PtxRace *r = w->block->cluster->race;
    if (!r) return true;
    unsigned a = agent_of(r, w);
    struct Shadow *s = &r->shadow[of->rank];
    uint32_t *mine = clocks_of(r, a);
    if (!is_behind_writes(w, i, lane, s, mine, at, n, "reads")) return false;
    mark_read(r, s, a, mine[a], at, n);
    return true;
}

static unsigned products_of(const PtxRace *r, const PtxWarp *w)
{
    return r->copies + 1 + w->block->rank * r->groups +
           w->number / PTX_WARPGROUP;
}

bool ptx_race_product(PtxWarp *w, uint32_t at, uint32_t n, uint32_t number,
                      char why[PTX_RACE])
{
    PtxRace *r = w->block->cluster->race;
    if (!r) return true;
    struct Shadow *s = &r->shadow[w->block->rank];
    uint32_t *mine = clocks_of(r, agent_of(r, w)), *seen = mine + r->agents;
    uint32_t byte;
    char who[64];
    seen[r->copies] = mine[r->copies]; /* what copies wrote */
    bool knows = knows_writes(s, mine, at, n, &byte);
    if (!knows || !knows_writes(s, seen, at, n, &byte)) {
        tell(r, s->wrote[byte], who);
        snprintf(why, PTX_RACE, unordered, "reads", byte, who, "wrote",
                 knows ? unfenced : "");
        return false;
    }
    for (uint32_t k = at; k < at + n; k += WORD)
        if (s->wrote[k]) mark_read(r, s, products_of(r, w), number, k, WORD);
    return true;
}

void ptx_race_made(PtxWarp *w, uint32_t number)
{
    PtxRace *r = w->block->cluster->race;
    if (!r) return;
    uint32_t *mine = clocks_of(r, agent_of(r, w)) + products_of(r, w);
    if (number > *mine) *mine = number;
}

bool ptx_race_write(PtxWarp *w, const PtxInst *i, int lane, PtxBlock *of,
                    uint32_t at, uint32_t n)
{
    PtxRace *r = w->block->cluster->race;
    if (!r) return true;
    unsigned a = agent_of(r, w), reader;
    struct Shadow *s = &r->shadow[of->rank];
    uint32_t *mine = clocks_of(r, a), byte;
    char who[64];
    if (!is_behind_writes(w, i, lane, s, mine, at, n, "writes")) return false;
    if (!knows_reads(r, s, mine, at, n, &byte, &reader)) {
        tell(r, epoch(reader, 0), who);
        ptx_fault(w, i, lane, unordered, "writes", byte, who, "reads", "");
        return false;
    }
    mark_write(s, epoch(a, mine[a]), at, n);
    return true;
}

/* ------------------------------------------------------------------- copies */

PtxStamp ptx_race_issue(PtxWarp *w)
{
    PtxRace *r = w->block->cluster->race;
    if (!r) return (PtxStamp){0};
    PtxStamp s = {.clocks = malloc(2 * r->agents * sizeof *s.clocks)};
    if (!s.clocks) return (PtxStamp){0};
    memcpy(s.clocks, clocks_of(r, agent_of(r, w)),
           2 * r->agents * sizeof *s.clocks);
    s.clocks[r->agents + r->copies] = s.clocks[r->copies];
    if (r->number < MOST_CLOCK) r->number++;
    s.number = r->number;
    return s;
}

bool ptx_race_copy(PtxBlock *b, uint32_t line, const PtxStamp *s, PtxBlock *of,
                   uint32_t at, uint32_t n, bool writes)
{
    PtxRace *r = b->cluster->race;
    if (!r || !s->number || !n) return true;
    struct Shadow *shadow = &r->shadow[of->rank];
    const char *does = writes ? "a copy writes" : "a copy reads";
    uint32_t byte;
    unsigned reader;
    char who[64];
    if (!knows_writes(shadow, s->clocks, at, n, &byte)) {
        tell(r, shadow->wrote[byte], who);
        ptx_fault_late(b, line, unordered, does, byte, who, "wrote", "");
        return false;
    }
    if (!writes) {
        if (!knows_writes(shadow, s->clocks + r->agents, at, n, &byte)) {
            tell(r, shadow->wrote[byte], who);
            ptx_fault_late(b, line, unordered, does, byte, who, "wrote",
                           unfenced);
            return false;
        }
        mark_read(r, shadow, r->copies, s->number, at, n);
        return true;
    }
    if (!knows_reads(r, shadow, s->clocks, at, n, &byte, &reader)) {
        tell(r, epoch(reader, 0), who);
        ptx_fault_late(b, line, unordered, does, byte, who, "reads", "");
        return false;
    }
    mark_write(shadow, epoch(r->copies, s->number), at, n);
    return true;
}

void ptx_race_tell(PtxBlock *b, const PtxStamp *s, uint64_t key)
{
    PtxRace *r = b->cluster->race;
    Barrier *to = r && s->number ? barrier_of(r, key) : NULL;
    if (!to) return;
    if (s->number > to->clocks[r->copies]) to->clocks[r->copies] = s->number;
}

void ptx_race_waited(PtxWarp *w, const PtxStamp *s)
{
    PtxRace *r = w->block->cluster->race;
    if (!r || !s->number) return;
    uint32_t *mine = clocks_of(r, agent_of(r, w));
    if (s->number > mine[r->copies]) mine[r->copies] = s->number;
}

void ptx_stamp_free(PtxStamp *s)
{
    free(s->clocks);
    *s = (PtxStamp){0};
}

/* ------------------------------------------------------------ global memory */

enum { PAGE = 1024, SEVERAL = 1 };

/* Numbers of blocks from 2 on; 0: nobody, SEVERAL: more than one. */
typedef struct Page {
    uint64_t at;
    struct Page *next;
    uint32_t wrote[PAGE], read[PAGE];
} Page;

struct PtxGlobals {
    Page **table;
    size_t room, n;
    Page *last;
    bool failed; /* no memory: nothing is told from then on */
};

static bool orders_blocks(const PtxKernel *k)
{
    for (uint32_t n = 0; n < k->ninsts; n++) {
        const PtxInst *i = &k->insts[n];
        bool wide = ptx_has(i, PM_gpu) || ptx_has(i, PM_sys);
        if (i->op == PO_atom || i->op == PO_red || i->op == PO_membar)
            return true;
        if (wide && (i->op == PO_ld || i->op == PO_st || i->op == PO_fence))
            return true;
    }
    return false;
}

PtxGlobals *ptx_globals_new(const PtxKernel *k)
{
    if (orders_blocks(k)) return NULL;
    PtxGlobals *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->room = 1 << 12;
    g->table = calloc(g->room, sizeof(Page *));
    if (g->table) return g;
    free(g);
    return NULL;
}

void ptx_globals_free(PtxGlobals *g)
{
    for (size_t k = 0; g && k < g->room; k++)
        for (Page *p = g->table[k], *next; p; p = next) {
            next = p->next;
            free(p);
        }
    if (g) free(g->table);
    free(g);
}

static Page *page_of(PtxGlobals *g, uint64_t at)
{
    uint64_t number = at / PAGE;
    if (g->last && g->last->at == number) return g->last;
    size_t k = number * UINT64_C(0x9E3779B97F4A7C15) >> 52 & (g->room - 1);
    Page *p = g->table[k];
    while (p && p->at != number)
        p = p->next;
    if (!p && (p = calloc(1, sizeof *p)) != NULL) {
        p->at = number;
        p->next = g->table[k];
        g->table[k] = p;
    }
    g->failed |= !p;
    return g->last = p;
}

int64_t ptx_globals_touch(PtxGlobals *g, uint32_t block, uint64_t at,
                          uint64_t n, bool writes)
{
    uint32_t me = block + 2, other = 0;
    for (uint64_t k = at; k < at + n && !g->failed; k++) {
        Page *p = page_of(g, k);
        if (!p) break;
        uint32_t *wrote = &p->wrote[k % PAGE], *read = &p->read[k % PAGE];
        if (*wrote && *wrote != me) other = *wrote;
        if (writes) {
            if (*read && *read != me) other = *read;
            *wrote = me;
        } else {
            *read = !*read || *read == me ? me : (uint32_t)SEVERAL;
        }
        if (other) return other == SEVERAL ? -2 : (int64_t)other - 2;
    }
    return -1;
}
