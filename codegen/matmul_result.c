/*
 * matmul_result.c: the sums of a tile become results.
 *
 * Each warp walks over chunks of columns of its 16 rows.  What a chunk reads
 * comes by the copy engine into slots of shared memory, one for each value, and
 * what it makes leaves from there; `ahead` chunks are under way, and the first
 * of a tile are sent for before its sums are made.  No warp waits for another.
 * Tallies grow in registers from unit to unit (matmul_tally.c).
 */
#include "matmul_emit.h"

/* A warp's rows of a chunk of columns. */
typedef struct Chunk {
    uint32_t set, use; /* its slots, and how often this tile used them before */
    LV shared, bar;
    LV row, column; /* of the whole result */
    uint32_t from;  /* column of the tile */
    const Corner *corner;
    const LV *acc; /* of the first product: chunk / 2 registers */
} Chunk;

bool mm_fetches(const Mm *m)
{
    return m->p->fetched > 0;
}

static Chunk chunk_of(const Mm *m, const Corner *at, uint32_t i, const LV *acc)
{
    const Matmul *p = m->p;
    uint32_t wide = p->group_n / p->chunk, ahead = p->t.ahead;
    Chunk c = {.set = i % ahead,
               .use = i / ahead,
               .from = p->chunk * (i % wide),
               .corner = at};
    LV warp = mm_add(m, mm_times(m, m->group, 4), m->warp);
    LV number = mm_plus(m, mm_times(m, warp, ahead), c.set);
    LV slots = mm_times(m, number, p->slots * p->slot);
    c.shared = mm_plus(m, mm_add(m, m->base, slots), p->slots_at);
    c.bar = mm_plus(m, mm_add(m, m->base, mm_times(m, number, 8)),
                    p->bars_at + 16 * p->t.stages);
    c.row = mm_plus(m, mm_add(m, at->m, mm_times(m, m->warp, MATMUL_ROWS)),
                    64 * (i / wide));
    if (!p->t.turns)
        c.row = mm_add(m, c.row, mm_times(m, m->group, p->group_m));
    c.column = mm_plus(m, at->n, c.from);
    c.acc = acc + p->t.n / 2 * (i / wide) + c.from / 2;
    return c;
}

static LV slot_of(const Mm *m, const Chunk *c, const MatmulValue *v)
{
    return mm_plus(m, c->shared, m->p->slot * v->slot);
}

static uint32_t row_bytes(const Mm *m, const MatmulValue *v)
{
    return m->p->chunk * dtype_bytes(v->dtype);
}

/* What is larger than the cache would only drive the operands out of it.  Made
 * where it is used: registers are dearer than an instruction. */
static LV policy_of(const Mm *m, const MatmulValue *v)
{
    return v->passes ? sm90_policy(&m->s, true) : NULL;
}

static uint32_t place_of(const Mm *m, const Chunk *c, const MatmulValue *v,
                         LV at[SM90_DIMS])
{
    return mm_coordinates(&m->p->view[v->view], c->corner, c->column, c->row,
                          at);
}

/* ------------------------------------------------------- units of a slot -- */

/* Elements of 16 bits go as matrices, others in pairs of neighbours. */
static bool goes_in_pairs(const MatmulValue *v)
{
    return dtype_bytes(v->dtype) != 2;
}

/* Where this thread's part of the first 16 columns lies: the row of one of four
 * matrices, or the first pair. */
static LV unit_base(const Mm *m, LV slot, const MatmulValue *v)
{
    LLVMBuilderRef b = m->s.b;
    bool pairs = goes_in_pairs(v);
    uint32_t bytes = row_bytes(m, v), pair = 2 * dtype_bytes(v->dtype);
    LV row = pairs ? mm_over(m, m->lane, 4) : mm_rest(m, m->lane, 16);
    LV in = pairs ? mm_times(m, mm_rest(m, m->lane, 4), pair)
                  : mm_times(m, mm_over(m, m->lane, 16), 16);
    LV at = LLVMBuildOr(b, mm_times(m, row, bytes), in, "");
    return mm_add(m, slot, sm90_swizzle(&m->s, at, bytes));
}

/* Bits of the column, which the swizzle leaves where they are. */
static LV unit_at(const Mm *m, LV base, uint32_t bytes)
{
    return LLVMBuildXor(m->s.b, base, mm_num(m, bytes), "");
}

static LV as_vector(const Mm *m, const LV words[4])
{
    LLVMTypeRef i32 = LLVMInt32TypeInContext(m->s.cx);
    LLVMTypeRef i16 = LLVMInt16TypeInContext(m->s.cx);
    LV v = LLVMGetPoison(LLVMVectorType(i32, 4));
    for (int i = 0; i < 4; i++)
        v = LLVMBuildInsertElement(m->s.b, v, words[i], mm_num(m, i), "");
    return LLVMBuildBitCast(m->s.b, v, LLVMVectorType(i16, MATMUL_UNIT), "");
}

static void as_words(const Mm *m, LV vector, LV words[4])
{
    LLVMTypeRef i32 = LLVMInt32TypeInContext(m->s.cx);
    LV v = LLVMBuildBitCast(m->s.b, vector, LLVMVectorType(i32, 4), "");
    for (int i = 0; i < 4; i++)
        words[i] = LLVMBuildExtractElement(m->s.b, v, mm_num(m, i), "");
}

/* The address of pair i of a unit. */
static LV pair_at(const Mm *m, LV base, uint32_t unit, unsigned i,
                  const MatmulValue *v)
{
    uint32_t each = dtype_bytes(v->dtype);
    LV at = unit_at(m, base, each * (16 * unit + 8 * (i / 2)));
    return sm90_at(&m->s, mm_plus(m, at, 8 * row_bytes(m, v) * (i % 2)));
}

static LV read_pairs(const Mm *m, LV base, uint32_t unit, const MatmulValue *v)
{
    LLVMBuilderRef b = m->s.b;
    LLVMTypeRef t = dtype_mem(&m->s, v->dtype);
    LV out = LLVMGetPoison(LLVMVectorType(t, MATMUL_UNIT));
    for (unsigned i = 0; i < MATMUL_UNIT; i++) {
        LV p = pair_at(m, base, unit, i / 2, v), at = mm_num(m, i % 2);
        LV pair = LLVMBuildLoad2(b, LLVMVectorType(t, 2), p, "");
        LLVMSetAlignment(pair, 2 * dtype_bytes(v->dtype));
        out = LLVMBuildInsertElement(
            b, out, LLVMBuildExtractElement(b, pair, at, ""), mm_num(m, i), "");
    }
    return out;
}

static void write_pairs(const Mm *m, LV base, uint32_t unit,
                        const MatmulValue *v, LV vector)
{
    LLVMBuilderRef b = m->s.b;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(m->s.cx);
    for (unsigned i = 0; i < MATMUL_UNIT / 2; i++) {
        LV two[] = {LLVMConstInt(i32, 2 * i, false),
                    LLVMConstInt(i32, 2 * i + 1, false)};
        LV pair = LLVMBuildShuffleVector(b, vector, vector,
                                         LLVMConstVector(two, 2), "");
        LV st = LLVMBuildStore(b, pair, pair_at(m, base, unit, i, v));
        LLVMSetAlignment(st, 2 * dtype_bytes(v->dtype));
    }
}

/* --------------------------------------------- values that are not there -- */

/* The offset in elements of element (row, column) of a value; 0 where that lies
 * outside.  Columns are those of a part, or of the whole result. */
static LV element_of(const Mm *m, const Chunk *c, const MatmulValue *v, LV row,
                     LV column)
{
    const Gemm *g = &m->p->g;
    LLVMBuilderRef b = m->s.b;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(m->s.cx);
    LV in = mm_is(m, LLVMIntULT, row, mm_num(m, g->m));
    if (!v->parted)
        in = mm_and(m, in, mm_is(m, LLVMIntULT, column, mm_num(m, g->n)));
    LV at = sm90_i64(&m->s, 0);
    const LV index[] = {row, column};
    const int64_t stride[] = {v->at.row, v->parted ? v->part : v->at.col};
    for (uint32_t i = 0; i < 2 + g->nbatch; i++) {
        int64_t by = i < 2 ? stride[i] : v->at.batch[i - 2];
        LV x = i < 2 ? index[i] : c->corner->batch[i - 2];
        if (!by) continue;
        x = LLVMBuildMul(b, LLVMBuildZExt(b, x, i64, ""),
                         sm90_i64(&m->s, (uint64_t)by), "");
        at = LLVMBuildAdd(b, at, x, "");
    }
    return LLVMBuildSelect(b, in, at, sm90_i64(&m->s, 0), "");
}

/* N elements that lie side by side, into OUT from I on. */
static LV load_elements(const Mm *m, const MatmulValue *v, LV at, unsigned n,
                        LV out, unsigned i)
{
    LLVMBuilderRef b = m->s.b;
    LLVMTypeRef t = dtype_mem(&m->s, v->dtype);
    LV p = LLVMBuildGEP2(b, t, LLVMGetParam(m->fn, v->arg), &at, 1, "");
    LV x = LLVMBuildLoad2(b, LLVMVectorType(t, n), p, "");
    LLVMSetAlignment(x, n * dtype_bytes(v->dtype));
    for (unsigned k = 0; k < n; k++) {
        LV e = LLVMBuildExtractElement(b, x, mm_num(m, k), "");
        out = LLVMBuildInsertElement(b, out, e, mm_num(m, i + k), "");
    }
    return out;
}

static LV copy_elements(const Mm *m, LV out, unsigned from, unsigned n,
                        unsigned i)
{
    for (unsigned k = 0; k < n; k++) {
        LV e = LLVMBuildExtractElement(m->s.b, out, mm_num(m, from + k), "");
        out = LLVMBuildInsertElement(m->s.b, out, e, mm_num(m, i + k), "");
    }
    return out;
}

/* The first element of a unit that lies where element I does: bit 1 of I is the
 * row, the others are the column. */
static unsigned first_like(const MatmulValue *v, unsigned i)
{
    bool stands = v->parted ? v->part == 0 : v->at.col == 0;
    return i & (v->at.row == 0 ? ~2u : ~0u) & (stands ? 2u : ~0u);
}

/* A unit at column FROM of the chunk, of a part where there are parts. */
static LV read_elements(const Mm *m, const Chunk *c, uint32_t from,
                        const MatmulValue *v)
{
    LLVMTypeRef t = dtype_mem(&m->s, v->dtype);
    LV out = LLVMGetPoison(LLVMVectorType(t, MATMUL_UNIT));
    LV row = mm_add(m, c->row, mm_over(m, m->lane, 4));
    LV pair = mm_times(m, mm_rest(m, m->lane, 4), 2);
    LV column = v->parted ? pair : mm_add(m, c->column, pair);
    unsigned n = v->pairs ? 2 : 1;
    if (v->parted) from %= m->p->part;
    for (unsigned i = 0; i < MATMUL_UNIT; i += n) {
        unsigned like = first_like(v, i);
        if (like < i) {
            out = copy_elements(m, out, like, n, i);
            continue;
        }
        LV r = mm_plus(m, row, 8 * (i / 2 % 2));
        LV k = mm_plus(m, column, from + i % 2 + 8 * (i / 4));
        out = load_elements(m, v, element_of(m, c, v, r, k), n, out, i);
    }
    return out;
}

/* ---------------------------------------------------------------- chunks -- */

/* Chunks that are made together; columns count from the first. */
typedef struct Units {
    const Mm *m;
    const Chunk *chunks;
    LV *base; /* per chunk and value */
} Units;

static const LV *unit_sums(const MatmulPoint *at, uint32_t product,
                           uint32_t column)
{
    const Units *u = at->context;
    return u->chunks->acc + column / 2 + u->m->p->group_n / 2 * product;
}

static LV *unit_slot(const Units *u, uint32_t value, uint32_t column)
{
    const Matmul *p = u->m->p;
    return &u->base[column / p->chunk * p->nvalues + value];
}

static LV unit_read(const MatmulPoint *at, const MatmulValue *v,
                    uint32_t column)
{
    const Units *u = at->context;
    const Matmul *p = u->m->p;
    LV words[4];
    if (v->view < 0) return read_elements(u->m, u->chunks, column, v);
    LV base = *unit_slot(u, (uint32_t)(v - p->value), column);
    uint32_t unit = column % p->chunk / 16;
    if (goes_in_pairs(v)) return read_pairs(u->m, base, unit, v);
    sm90_ldmatrix(&u->m->s, unit_at(u->m, base, 32 * unit), false, words);
    return as_vector(u->m, words);
}

static void unit_write(const Units *u, uint32_t i, uint32_t column, LV vector)
{
    const Matmul *p = u->m->p;
    const MatmulValue *v = &p->value[i];
    LV words[4], base = *unit_slot(u, i, column);
    uint32_t unit = column % p->chunk / 16;
    if (goes_in_pairs(v)) {
        write_pairs(u->m, base, unit, v, vector);
        return;
    }
    as_words(u->m, vector, words);
    sm90_stmatrix(&u->m->s, unit_at(u->m, base, 32 * unit), false, words);
}

static void find_slots(const Units *u)
{
    const Matmul *p = u->m->p;
    for (uint32_t c = 0; c < p->joint; c++)
        for (uint32_t i = 0; i < p->nvalues; i++)
            if (p->value[i].view >= 0)
                *unit_slot(u, i, c * p->chunk) =
                    unit_base(u->m, slot_of(u->m, &u->chunks[c], &p->value[i]),
                              &p->value[i]);
}

/* A unit at column FROM of the chunk, of what each tally is of. */
static void tally_unit(const Mm *m, const Chunk *c, uint32_t from,
                       const LV *units, MmTally *tallies)
{
    for (uint32_t i = 0; i < m->p->ntallies; i++) {
        const MatmulTally *t = &m->p->tally[i];
        mm_tally_add(m, t, units[i], &tallies[i]);
        if ((c->from + from + 16) % t->columns != 0) continue;
        LV column = mm_plus(m, c->column, from + 16 - t->columns);
        mm_tally_end(m, t, c->corner, c->row, column, &tallies[i]);
    }
}

/* The first thread of the warp sends for what a chunk reads. */
static void fetch_chunk(const Mm *m, const Chunk *c)
{
    LV at[SM90_DIMS];
    sm90_mbar_expect(&m->s, c->bar, mm_num(m, m->p->fetched));
    for (uint32_t i = 0; i < m->p->nvalues; i++) {
        const MatmulValue *v = &m->p->value[i];
        if (v->written || v->view < 0) continue;
        uint32_t dims = place_of(m, c, v, at);
        sm90_load_as(&m->s, slot_of(m, c, v), m->map[v->view], at, dims, c->bar,
                     &(Sm90How){.policy = policy_of(m, v)});
    }
}

void mm_fetch_first(const Mm *m, const Corner *at)
{
    LLVMBasicBlockRef after = mm_if(m, m->first);
    sm90_store_wait(&m->s, 0, true);
    for (uint32_t i = 0; i < m->p->t.ahead; i++) {
        Chunk c = chunk_of(m, at, i, NULL);
        fetch_chunk(m, &c);
    }
    mm_if_end(m, after);
    sm90_sync_warp(&m->s);
}

/* Whether a chunk waits for its slots when its results are there. */
static bool waits_late(const Mm *m)
{
    return m->p->shares && !mm_fetches(m);
}

/* The slots are this warp's to write: they have arrived, or those of all
 * chunks that are made together, or late of this one, have been read. */
static void await_chunk(const Mm *m, const Chunk *c, LV uses)
{
    uint32_t n = waits_late(m) ? 1 : m->p->joint;
    if (mm_fetches(m)) {
        LV use = mm_and(m, mm_plus(m, uses, c->use), mm_num(m, 1));
        sm90_mbar_wait(&m->s, c->bar, use);
        return;
    }
    LLVMBasicBlockRef after = mm_if(m, m->first);
    sm90_store_wait(&m->s, m->p->t.ahead - n, true);
    mm_if_end(m, after);
    sm90_sync_warp(&m->s);
}

static void send_chunk(const Mm *m, const Chunk *c, const Chunk *next)
{
    LV at[SM90_DIMS];
    sm90_proxy_fence(&m->s);
    sm90_sync_warp(&m->s);
    LLVMBasicBlockRef after = mm_if(m, m->first);
    for (uint32_t i = 0; i < m->p->nvalues; i++) {
        const MatmulValue *v = &m->p->value[i];
        if (!v->written) continue;
        uint32_t dims = place_of(m, c, v, at);
        sm90_store_as(&m->s, m->map[v->view], at, dims, slot_of(m, c, v),
                      policy_of(m, v));
    }
    sm90_store_commit(&m->s);
    if (next) {
        sm90_store_wait(&m->s, 0, true);
        fetch_chunk(m, next);
    }
    mm_if_end(m, after);
    sm90_sync_warp(&m->s);
}

static void write_units(const Mm *m, const Units *u, uint32_t column,
                        const LV **results)
{
    const Matmul *p = m->p;
    const Chunk *c = &u->chunks[column / p->chunk];
    if (waits_late(m) && column % p->chunk == 0) await_chunk(m, c, NULL);
    for (uint32_t i = 0; i < p->nvalues; i++)
        if (p->value[i].written) unit_write(u, i, column, *(*results)++);
    if (waits_late(m) && (column + 16) % p->chunk == 0) send_chunk(m, c, NULL);
}

/* Everything that a unit reads is read before its place is written: of parts,
 * the same place of each at a time, of a block that shares something, all. */
static void make_chunks(const Mm *m, const Chunk *chunks, MmTally *tallies)
{
    const Matmul *p = m->p;
    LV base[MATMUL_UNITS * MATMUL_VALUES];
    LV results[MATMUL_UNITS * (MATMUL_VALUES + MATMUL_TALLIES)];
    uint32_t columns[MATMUL_UNITS], end = p->joint * p->chunk;
    Units u = {m, chunks, base};
    find_slots(&u);
    for (uint32_t from = 0; from < p->part && from < end; from += 16) {
        MatmulPoint at = {columns, 0, unit_sums, unit_read, &u};
        for (uint32_t c = from; c < end; c += p->part)
            columns[at.n++] = c;
        matmul_values(&m->s, p, &at, results);
        const LV *next = results;
        for (uint32_t c = 0; c < at.n; c++) {
            write_units(m, &u, columns[c], &next);
            tally_unit(m, chunks, columns[c], next, tallies);
            next += p->ntallies;
        }
    }
}

void mm_result(const Mm *m, const Corner *at, LV before, const LV *acc)
{
    uint32_t n = m->p->chunks, ahead = m->p->t.ahead, joint = m->p->joint;
    LV uses = mm_times(m, before, n / ahead);
    Chunk c[MATMUL_UNITS], next;
    MmTally tallies[MATMUL_TALLIES] = {0};
    for (uint32_t i = 0; i < n; i += joint) {
        for (uint32_t k = 0; k < joint; k++) {
            c[k] = chunk_of(m, at, i + k, acc);
            if (mm_fetches(m) || (k == 0 && !waits_late(m)))
                await_chunk(m, &c[k], uses);
        }
        make_chunks(m, c, tallies);
        for (uint32_t k = 0; k < joint && !waits_late(m); k++) {
            bool more = mm_fetches(m) && i + k + ahead < n;
            if (more) next = chunk_of(m, at, i + k + ahead, NULL);
            send_chunk(m, &c[k], more ? &next : NULL);
        }
    }
}
