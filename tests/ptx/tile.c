/*
 * tile.c: boxes of tensors, between global and shared memory.
 *
 * A box lies in shared memory row by row, its innermost dimension first, each
 * 16 bytes of it where the swizzle puts their address.  Between the two, and
 * here, it lies without a swizzle.
 */
#include "tests/ptx/async.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BOX = 256, MOST_TILE = 232448 };

/* --------------------------------------------------------------------- maps */

/* As the driver numbers them. */
typedef struct MapType {
    uint8_t bytes;
    PtxType add; /* how such numbers are added */
} MapType;

static const MapType map_types[] = {{1, PT_none}, {2, PT_none}, /* u8, u16 */
                                    {4, PT_u32},  {4, PT_s32},  {8, PT_u64},
                                    {8, PT_s64},  {2, PT_f16},  {4, PT_f32},
                                    {8, PT_f64},  {2, PT_bf16}};

const char *ptx_map_refusal(const PtxMap *m)
{
    if (m->sign != PTX_MAP) return "is no tensor map";
    if (m->dtype >= sizeof map_types / sizeof *map_types)
        return "has numbers of a type that is not known";
    if (!m->rank || m->rank > PTX_DIMS) return "has no rank of 1 to 5";
    uint32_t row = m->box[0] * (uint32_t)map_types[m->dtype].bytes;
    if (m->at % PTX_CHUNK) return "begins at no multiple of 16 bytes";
    if (row % PTX_CHUNK) return "has a box of no multiple of 16 bytes";
    if (m->swizzle && row != m->swizzle)
        return "has a box that is not as wide as its swizzle";
    if (m->fill) return "fills with something else than zeros";
    for (unsigned d = 0; d < m->rank; d++)
        if (!m->size[d] || !m->box[d] || m->box[d] > MOST_BOX || !m->step[d] ||
            (d && (!m->stride[d] || m->stride[d] % PTX_CHUNK)))
            return "has a size, a box or a stride that cannot be";
    return ptx_tile_bytes(m) > MOST_TILE ? "has a box beyond shared memory"
                                         : NULL;
}

/* Elements of a box along D, of which every step-th counts; of the innermost
 * dimension each does. */
static uint32_t count_of(const PtxMap *m, unsigned d)
{
    if (d >= m->rank) return 1;
    return d ? (m->box[d] + m->step[d] - 1u) / m->step[d] : m->box[0];
}

uint32_t ptx_tile_bytes(const PtxMap *m)
{
    uint64_t n = map_types[m->dtype].bytes;
    for (unsigned d = 0; d < m->rank; d++)
        n *= count_of(m, d);
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* ------------------------------------------------------------ shared memory */

/* Where the 16 bytes at AT of shared memory lie: 3, 2 or 1 of the bits above
 * those of 128 bytes change those below. */
static uint32_t swizzled(uint32_t at, uint32_t swizzle)
{
    uint32_t mask = swizzle ? swizzle - PTX_CHUNK : 0;
    return at ^ (at >> 3 & mask);
}

static bool tell(const Copy *c, const char *what, uint64_t at)
{
    ptx_fault_late(c->from, c->line, "%s at 0x%llx", what,
                   (unsigned long long)at);
    return false;
}

/* N bytes of global memory; NULL after a fault. */
static unsigned char *global(const Copy *c, uint64_t at, uint32_t n,
                             bool writes)
{
    unsigned char *p = ptx_global_late(c->from->machine, at, n, writes);
    if (!p) {
        tell(c,
             writes ? "stores to memory that nobody has"
                    : "loads memory that nobody has",
             at);
        return NULL;
    }
    if (c->kind == COPY_add || ptx_global_race(c->from, at, n, writes) == -1)
        return p;
    tell(c,
         writes ? "stores what another block reads or writes, and nothing "
                  "orders the two,"
                : "loads what another block writes, and nothing orders the "
                  "two,",
         at);
    return NULL;
}

/* --------------------------------------------------------------------- rows */

/* A part of a box that is one piece of global memory. */
typedef struct Row {
    uint64_t global;
    uint32_t at, n; /* bytes in the box */
} Row;

typedef struct Walk {
    const Copy *c;
    uint32_t index[PTX_DIMS];
    uint32_t at;
    bool over;
} Walk;

static void go_on(Walk *w, uint32_t row)
{
    const PtxMap *m = &w->c->map;
    unsigned d = 1;
    w->at += row;
    while (d < m->rank && ++w->index[d] == count_of(m, d))
        w->index[d++] = 0;
    w->over = d >= m->rank;
}

/* Where row W->index of the box begins along the dimensions without the
 * innermost one; false: outside. */
static bool place(const Walk *w, uint64_t *global)
{
    const PtxMap *m = &w->c->map;
    *global = m->at;
    for (unsigned d = 1; d < m->rank; d++) {
        int64_t x = w->c->at[d] + (int64_t)w->index[d] * m->step[d];
        if (x < 0 || (uint64_t)x >= m->size[d]) return false;
        *global += (uint64_t)x * m->stride[d];
    }
    return true;
}

/* The next row with something in the tensor. */
static bool next_row(Walk *w, Row *out)
{
    const Copy *c = w->c;
    if (!c->map.rank) {
        *out = (Row){c->global, 0, c->bytes};
        bool first = !w->over;
        w->over = true;
        return first;
    }
    uint32_t each = map_types[c->map.dtype].bytes, n = c->map.box[0];
    int64_t from = c->at[0], to = from + n, size = (int64_t)c->map.size[0];
    int64_t least = from < 0 ? 0 : from, most = to < size ? to : size;
    while (!w->over) {
        uint64_t global;
        uint32_t at = w->at;
        bool in = place(w, &global) && least < most;
        go_on(w, n * each);
        if (!in) continue;
        *out = (Row){global + (uint64_t)least * each,
                     at + (uint32_t)(least - from) * each,
                     (uint32_t)(most - least) * each};
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------- copies */

bool ptx_tile_read(Copy *c)
{
    PtxBlock *b = c->block;
    bool ok = ptx_race_copy(c->from, c->line, &c->stamp, b, c->shared, c->bytes,
                            false);
    c->held = malloc(c->bytes + 1);
    if (!c->held) return tell(c, "no memory for a copy", c->shared);
    for (uint32_t k = 0; k < c->bytes; k += PTX_CHUNK) {
        uint32_t from = swizzled(c->shared + k, c->map.swizzle);
        memcpy(c->held + k, b->shared + from, PTX_CHUNK);
    }
    return ok;
}

static void add(unsigned char *to, const unsigned char *from, uint32_t n,
                const MapType *t)
{
    for (uint32_t k = 0; k < n; k += t->bytes) {
        uint64_t x = 0, y = 0;
        memcpy(&x, to + k, t->bytes);
        memcpy(&y, from + k, t->bytes);
        x = ptx_types[t->add].kind == PK_float
                ? ptx_bits(t->add,
                           ptx_number(t->add, x) + ptx_number(t->add, y))
                : x + y;
        memcpy(to + k, &x, t->bytes);
    }
}

bool ptx_tile_write(Copy *c)
{
    const MapType *t = &map_types[c->map.dtype];
    Walk w = {.c = c};
    Row r;
    if (c->kind == COPY_add && t->add == PT_none)
        return tell(c, "adds numbers of a type that is not known", c->map.at);
    while (next_row(&w, &r)) {
        unsigned char *to = global(c, r.global, r.n, true);
        if (!to) return false;
        if (c->kind == COPY_add)
            add(to, c->held + r.at, r.n, t);
        else
            memcpy(to, c->held + r.at, r.n);
    }
    free(c->held);
    c->held = NULL;
    return true;
}

bool ptx_tile_load(Copy *c)
{
    PtxBlock *b = c->block;
    unsigned char *tile = calloc(c->bytes, 1);
    Walk w = {.c = c};
    Row r;
    bool ok = tile != NULL;
    while (ok && next_row(&w, &r)) {
        const unsigned char *from = global(c, r.global, r.n, false);
        ok = from != NULL;
        if (ok) memcpy(tile + r.at, from, r.n);
    }
    ok = ok && ptx_race_copy(c->from, c->line, &c->stamp, b, c->shared,
                             c->bytes, true);
    for (uint32_t k = 0; ok && k < c->bytes; k += PTX_CHUNK) {
        uint32_t to = swizzled(c->shared + k, c->map.swizzle);
        memcpy(b->shared + to, tile + k, PTX_CHUNK);
    }
    free(tile);
    return ok;
}
