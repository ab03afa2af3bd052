/*
 * image.c: reads a step image with full bounds checks.
 *
 * After titan_image_open succeeded, every row number, range, string offset
 * and operand reach of the image is valid, loops and ends match, and nothing
 * that follows checks again.  The bytes may come from anywhere.
 */
#include "titan.h"

#include "ranks.h"
#include "streams.h"

#include <inttypes.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_COMMANDS = 10000000 };

typedef struct Check {
    TitanStory *story;
    TitanImage *im;
    uint64_t commands; /* checked so far: a program may run in many places */
    uint32_t parallel; /* parallel loops around */
} Check;

#define BAD(c, ...) \
    titan_fail((c)->story, TITAN_BAD_DATA, "image: " __VA_ARGS__)

static const unsigned dtype_sizes[] = {
#define DTYPE(name, bytes, cls, st) bytes,
#include "dtypes.def"
#undef DTYPE
};
static const char *const dtype_names[] = {
#define DTYPE(name, bytes, cls, st) #name,
#include "dtypes.def"
#undef DTYPE
};
static const char dtype_classes[][8] = {
#define DTYPE(name, bytes, cls, st) #cls,
#include "dtypes.def"
#undef DTYPE
};
enum { DTYPES = sizeof dtype_sizes / sizeof *dtype_sizes };

unsigned titan_dtype_bytes(uint32_t dtype)
{
    return dtype < DTYPES ? dtype_sizes[dtype] : 0;
}

const char *titan_dtype_name(uint32_t dtype)
{
    return dtype < DTYPES ? dtype_names[dtype] : "?";
}

bool titan_dtype_is_float(uint32_t dtype)
{
    return dtype < DTYPES && strcmp(dtype_classes[dtype], "float") == 0;
}

/* Product of the sizes; the reader has checked that it fits. */
int64_t titan_elements(const TitanImage *im, TitanRange axes)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < axes.n; i++)
        n *= im->axes[axes.first + i].size;
    return n;
}

int64_t titan_slot_place(const TitanSlot *s, int64_t before)
{
    int64_t piece = (int64_t)s->piece;
    if (piece == 0 || before < piece) return before;
    return before / piece * (int64_t)s->pitch + before % piece;
}

int64_t titan_slot_reach(const TitanImage *im, const TitanSlot *s)
{
    int64_t n = titan_elements(im, s->axes);
    return n ? titan_slot_place(s, n - 1) + 1 : 0;
}

static bool range_ok(TitanRange r, uint32_t n)
{
    return r.first <= n && r.n <= n - r.first;
}

static TitanStatus check_string(Check *c, uint32_t offset)
{
    if (offset >= c->im->header->strings_size)
        return BAD(c, "string %" PRIu32 " is outside the strings", offset);
    return TITAN_OK;
}

static TitanStatus check_header(Check *c, size_t size)
{
    const TitanHeader *h = c->im->header;
    if (h->magic != TITAN_IMAGE_MAGIC) return BAD(c, "no magic number");
    if (h->version != TITAN_IMAGE_VERSION)
        return titan_fail(c->story, TITAN_MISMATCH,
                          "image has version %" PRIu32
                          ", this program reads %d",
                          h->version, TITAN_IMAGE_VERSION);
    if (h->size != size)
        return BAD(c, "the header says %" PRIu64 " bytes, there are %zu",
                   h->size, size);
    if (h->lanes == 0 || h->lanes > 1024 || h->ranks == 0)
        return BAD(c, "%" PRIu32 " lanes and %" PRIu32 " ranks", h->lanes,
                   h->ranks);
    if (h->target > TITAN_TARGET_sm_100a)
        return BAD(c, "target %" PRIu32, h->target);
    if (h->streams == 0 || h->streams > TITAN_MOST_STREAMS)
        return BAD(c, "%" PRIu32 " streams", h->streams);
    return TITAN_OK;
}

static TitanStatus check_hash(Check *c)
{
    TitanHeader zeroed = *c->im->header;
    memset(zeroed.hash, 0, sizeof zeroed.hash);
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &zeroed, sizeof zeroed);
    XXH3_128bits_update(&state, c->im->at + sizeof zeroed,
                        c->im->size - sizeof zeroed);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
    if (memcmp(canonical.digest, c->im->header->hash, 16) != 0)
        return BAD(c, "the hash does not match the content");
    return TITAN_OK;
}

static TitanStatus check_arena(Check *c)
{
    const TitanHeader *h = c->im->header;
    uint64_t total = 0;
    for (int b = 0; b < TITAN_BASE_COUNT; b++) {
        uint64_t count = b == TITAN_BASE_lane ? h->lanes : 1;
        if (h->base_bytes[b] > (UINT64_C(1) << 50))
            return BAD(c, "base %d has %" PRIu64 " bytes", b, h->base_bytes[b]);
        if (b == TITAN_BASE_host) continue;
        total += ((h->base_bytes[b] + 255) & ~UINT64_C(255)) * count;
    }
    if (total != h->arena_bytes)
        return BAD(c,
                   "the parts of the arena make %" PRIu64
                   " bytes, the header says %" PRIu64,
                   total, h->arena_bytes);
    return TITAN_OK;
}

static TitanStatus open_table(Check *c, int id, size_t row, const void **at,
                              uint32_t *n)
{
    const TitanTable *t = &c->im->header->tables[id];
    if (t->row != row || t->offset % 8 || t->offset > c->im->size ||
        t->n > (c->im->size - t->offset) / row)
        return BAD(c, "table %d does not fit", id);
    *at = c->im->at + t->offset;
    *n = t->n;
    return TITAN_OK;
}

static TitanStatus open_tables(Check *c)
{
    TitanImage *im = c->im;
#define T(name, type)                                            \
    {                                                            \
        const void *at;                                          \
        TRY(open_table(c, TITAN_TABLE_##name, sizeof(type), &at, \
                       &im->n##name));                           \
        im->name = at;                                           \
    }
    TITAN_TABLES(T)
#undef T
    const TitanHeader *h = im->header;
    if (h->strings_size == 0 || h->strings_offset > im->size ||
        h->strings_size > im->size - h->strings_offset)
        return BAD(c, "the strings do not fit");
    im->strings = (const char *)im->at + h->strings_offset;
    if (im->strings[h->strings_size - 1] != 0)
        return BAD(c, "the strings do not end");
    return TITAN_OK;
}

static TitanStatus check_axes(Check *c)
{
    for (uint32_t i = 0; i < c->im->naxes; i++) {
        const TitanAxis *a = &c->im->axes[i];
        TRY(check_string(c, a->name));
        if (a->size < 0 || a->size > (INT64_C(1) << 40))
            return BAD(c, "axis %" PRIu32 " has size %" PRId64, i, a->size);
    }
    return TITAN_OK;
}

/* Bytes of a base as slots and ports say; in the memory of the host each rank
 * holds all. */
static uint64_t whole_room(const Check *c, TitanBase base)
{
    const TitanHeader *h = c->im->header;
    return base == TITAN_BASE_host ? h->base_bytes[base] : h->whole_bytes[base];
}

/* Bytes of a dense tensor, which must lie in a base. */
static TitanStatus check_tensor(Check *c, const char *what, uint32_t dtype,
                                TitanRange axes, TitanBase base,
                                uint64_t offset)
{
    if (dtype >= DTYPES) return BAD(c, "%s has dtype %" PRIu32, what, dtype);
    if (!range_ok(axes, c->im->naxes)) return BAD(c, "%s has no axes", what);
    uint64_t bytes = dtype_sizes[dtype];
    uint64_t room = whole_room(c, base);
    for (uint32_t i = 0; i < axes.n; i++)
        if (__builtin_mul_overflow(
                bytes, (uint64_t)c->im->axes[axes.first + i].size, &bytes))
            return BAD(c, "%s is too large", what);
    if (offset > room || bytes > room - offset)
        return BAD(c, "%s does not lie in its base", what);
    return TITAN_OK;
}

/* The last piece lies in the base, too. */
static TitanStatus check_pieces(Check *c, const TitanSlot *s)
{
    const char *what = titan_string(c->im, s->path);
    uint64_t n = (uint64_t)titan_elements(c->im, s->axes), reach;
    uint64_t room = whole_room(c, titan_slot_base(s));
    if (s->piece == 0) return TITAN_OK;
    if (s->pitch < s->piece || n % s->piece != 0)
        return BAD(c, "%s is in pieces that overlap", what);
    if (n == 0) return TITAN_OK;
    if (__builtin_mul_overflow(n / s->piece - 1, s->pitch, &reach) ||
        __builtin_add_overflow(reach, s->piece, &reach) ||
        __builtin_mul_overflow(reach, dtype_sizes[s->dtype], &reach) ||
        reach > room - s->offset)
        return BAD(c, "%s does not lie in its base", what);
    return TITAN_OK;
}

static TitanStatus check_slots(Check *c)
{
    const TitanImage *im = c->im;
    for (uint32_t i = 0; i < im->nslots; i++) {
        const TitanSlot *s = &im->slots[i];
        TRY(check_string(c, s->path));
        TRY(check_string(c, s->ckpt));
        TRY(check_string(c, s->scale));
        TRY(check_tensor(c, titan_string(im, s->path), s->dtype, s->axes,
                         titan_slot_base(s), s->offset));
        TRY(check_pieces(c, s));
        TRY(ranks_check_part(c->story, im, titan_string(im, s->path), s->part,
                             s->dtype, s->axes, titan_slot_base(s)));
        if (!range_ok(s->dims, im->ndims)) return BAD(c, "slot without dims");
    }
    for (uint32_t i = 0; i < im->ndims; i++) {
        const TitanDim *d = &im->dims[i];
        if (!range_ok(d->axes, im->naxes) || d->axes.n > 32)
            return BAD(c, "dim %" PRIu32 " without axes", i);
        int64_t n = 1;
        for (uint32_t k = 0; k < d->axes.n; k++)
            if (__builtin_mul_overflow(n, im->axes[d->axes.first + k].size, &n))
                return BAD(c, "dim %" PRIu32 " is too large", i);
        if (d->offset < 0 || d->total < 0 || d->offset > d->total ||
            n > d->total - d->offset || d->block < 0)
            return BAD(c, "dim %" PRIu32 " is outside its tensor", i);
    }
    return TITAN_OK;
}

static TitanStatus check_ports(Check *c)
{
    const TitanImage *im = c->im;
    for (uint32_t i = 0; i < im->nports; i++) {
        const TitanPort *p = &im->ports[i];
        TRY(check_string(c, p->path));
        if (p->role > TITAN_ROLE_skip)
            return BAD(c, "port %" PRIu32 " has role %" PRIu32, i, p->role);
        TRY(check_tensor(c, titan_string(im, p->path), p->dtype, p->axes,
                         TITAN_BASE_io, p->offset));
        TRY(ranks_check_part(c->story, im, titan_string(im, p->path), p->part,
                             p->dtype, p->axes, TITAN_BASE_io));
        bool empty = titan_elements(im, p->axes) == 0;
        if (empty && p->role != TITAN_ROLE_input)
            return BAD(c, "port %" PRIu32 " has no element", i);
    }
    return TITAN_OK;
}

/* A counter has no place in memory, whatever its base says. */
static bool has_bytes(const TitanOperand *o, uint64_t bytes)
{
    return o->kind == TITAN_OPERAND_memory && o->bytes >= bytes;
}

static TitanStatus check_operand(Check *c, uint32_t i, const int64_t *counts,
                                 uint32_t depth)
{
    const TitanImage *im = c->im;
    if (i >= im->noperands) return BAD(c, "operand %" PRIu32 " is missing", i);
    const TitanOperand *o = &im->operands[i];
    if (o->kind == TITAN_OPERAND_counter)
        return o->offset < depth ? TITAN_OK : BAD(c, "counter without loop");
    if (o->kind == TITAN_OPERAND_coordinate)
        return o->offset < im->ngroups ? TITAN_OK
                                       : BAD(c, "coordinate without group");
    if (o->kind != TITAN_OPERAND_memory || o->base >= TITAN_BASE_COUNT ||
        !range_ok(o->turns, im->nturns))
        return BAD(c, "operand %" PRIu32 " is damaged", i);
    int64_t low = 0, high = 0;
    for (uint32_t k = 0; k < o->turns.n; k++) {
        const TitanTurn *t = &im->turns[o->turns.first + k];
        int64_t reach;
        if (t->depth >= depth) return BAD(c, "turn without loop");
        int64_t most = counts[depth - 1 - t->depth] - 1;
        if (t->ring) most = t->ring - 1;
        if (__builtin_mul_overflow(t->bytes, most, &reach) ||
            __builtin_add_overflow(reach < 0 ? low : high, reach,
                                   reach < 0 ? &low : &high))
            return BAD(c, "operand %" PRIu32 " reaches too far", i);
    }
    uint64_t room = im->header->base_bytes[o->base];
    if (o->offset > room || 0 - (uint64_t)low > o->offset ||
        o->bytes > room - o->offset ||
        (uint64_t)high > room - o->offset - o->bytes)
        return BAD(c, "operand %" PRIu32 " lies outside its base", i);
    return TITAN_OK;
}

/* As matrix products take it: one stride is 1, and what the other counts does
 * not overlap.  The stride of an axis of one element says nothing. */
static bool lies_well(int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    bool down = (row == 1 || rows == 1) && (col >= rows || cols == 1);
    bool across = (col == 1 || cols == 1) && (row >= cols || rows == 1);
    return down || across;
}

/* The reach in bytes of one operand of a gemm, 0: nonsense. */
static uint64_t gemm_reach(const TitanGemm *g, int which)
{
    int64_t rows = which == 1 ? g->k : g->m, cols = which == 0 ? g->k : g->n;
    int64_t row = (&g->a_row)[2 * which], col = (&g->a_col)[2 * which];
    const int64_t *batch = which == 0   ? g->a_batch
                           : which == 1 ? g->b_batch
                                        : g->d_batch;
    int64_t last = 0, part;
    if (row < 0 || col < 0 || !lies_well(rows, cols, row, col)) return 0;
    if (__builtin_mul_overflow(rows - 1, row, &part) ||
        __builtin_add_overflow(last, part, &last) ||
        __builtin_mul_overflow(cols - 1, col, &part) ||
        __builtin_add_overflow(last, part, &last))
        return 0;
    for (uint32_t i = 0; i < g->nbatch; i++) {
        if (batch[i] < 0) return 0;
        if (__builtin_mul_overflow(g->batch[i] - 1, batch[i], &part) ||
            __builtin_add_overflow(last, part, &last))
            return 0;
    }
    if (last > (INT64_C(1) << 48)) return 0;
    uint32_t dtype = (&g->dtype_a)[which];
    return (uint64_t)(last + 1) * dtype_sizes[dtype];
}

static bool is_of_bytes(const TitanGemm *g)
{
    return dtype_sizes[g->dtype_a] == 1 && dtype_sizes[g->dtype_b] == 1;
}

static TitanStatus check_gemms(Check *c)
{
    for (uint32_t i = 0; i < c->im->ngemms; i++) {
        const TitanGemm *g = &c->im->gemms[i];
        if (g->dtype_a >= DTYPES || g->dtype_b >= DTYPES ||
            g->dtype_d >= DTYPES || g->acc >= DTYPES || g->nbatch > 4 ||
            g->accumulate > TITAN_GEMM_scaled || g->m < 1 || g->n < 1 ||
            g->k < 1 || g->processors > UINT16_MAX ||
            (g->accumulate == TITAN_GEMM_scaled && !is_of_bytes(g)))
            return BAD(c, "gemm %" PRIu32 " is damaged", i);
        int64_t batches = 1;
        for (uint32_t b = 0; b < g->nbatch; b++)
            if (g->batch[b] < 1 ||
                __builtin_mul_overflow(batches, g->batch[b], &batches))
                return BAD(c, "gemm %" PRIu32 " has a batch that is %s", i,
                           g->batch[b] < 1 ? "empty" : "too large");
        for (int w = 0; w < 3; w++)
            if (gemm_reach(g, w) == 0)
                return BAD(c, "gemm %" PRIu32 " has strides of no matrix", i);
    }
    return TITAN_OK;
}

/* f32 and f64 lie as the BLAS takes them; the rest is widened. */
static bool is_widened(const TitanGemm *g)
{
    return g->dtype_a != g->dtype_b || g->dtype_a != g->dtype_d ||
           g->dtype_a > 1;
}

/* Enough for every worker that may run this gemm at one time. */
static uint64_t least_workspace(const Check *c, const TitanGemm *g)
{
    const TitanHeader *h = c->im->header;
    if (h->target != TITAN_TARGET_host || !is_widened(g)) return 0;
    uint64_t block = titan_gemm_block(g->m, g->n, g->k);
    return c->parallel ? block : block * h->lanes;
}

static TitanStatus check_gemm_command(Check *c, const TitanCommand *cmd)
{
    const TitanImage *im = c->im;
    if (cmd->index >= im->ngemms) return BAD(c, "a gemm command is damaged");
    const TitanGemm *g = &im->gemms[cmd->index];
    bool scaled = g->accumulate == TITAN_GEMM_scaled;
    uint32_t places = scaled || g->accumulate == TITAN_GEMM_add_c ? 4 : 3;
    if (cmd->operands.n < places) return BAD(c, "a gemm command is damaged");
    const TitanOperand *o = &im->operands[cmd->operands.first];
    for (uint32_t w = 0; w < places; w++)
        if (!has_bytes(&o[w], scaled && w == 3
                                  ? sizeof(float)
                                  : gemm_reach(g, w < 2 ? (int)w : 2)))
            return BAD(c, "a gemm reaches past its operand");
    uint64_t least = least_workspace(c, g);
    bool has = cmd->operands.n > places;
    if (has ? !has_bytes(&o[places], least) : least > 0)
        return BAD(c, "a gemm has no workspace");
    return TITAN_OK;
}

static TitanStatus check_bytes_command(Check *c, const TitanCommand *cmd)
{
    uint32_t want = cmd->kind == TITAN_COMMAND_copy ? 2 : 1;
    const TitanOperand *o = &c->im->operands[cmd->operands.first];
    if (cmd->operands.n != want) return BAD(c, "a copy command is damaged");
    for (uint32_t i = 0; i < want; i++)
        if (!has_bytes(&o[i], (uint64_t)cmd->items))
            return BAD(c, "a copy reaches past its operand");
    return TITAN_OK;
}

static TitanStatus check_collective(Check *c, const TitanCommand *cmd)
{
    if (cmd->index >= c->im->ncollectives)
        return BAD(c, "collective %" PRIu32 " is missing", cmd->index);
    const TitanCollective *x = &c->im->collectives[cmd->index];
    const TitanOperand *o = &c->im->operands[cmd->operands.first];
    uint64_t pieces[2], bytes;
    uint32_t want = collective_pieces(c->im, x, pieces), k = 0;
    if (c->im->header->ranks == 1) return BAD(c, "a collective, and one rank");
    if (c->parallel)
        return BAD(c, "a collective stands among turns in no order");
    if (cmd->operands.n != want) return BAD(c, "a collective is damaged");
    for (uint32_t i = 0; i < 2; i++) {
        if (pieces[i] == 0) continue;
        if (__builtin_mul_overflow(pieces[i] * titan_dtype_bytes(x->dtype),
                                   (uint64_t)x->count, &bytes) ||
            !has_bytes(&o[k++], bytes))
            return BAD(c, "a collective reaches past its operand");
    }
    return TITAN_OK;
}

/* How far beyond an argument's address a map reads; UINT64_MAX: nonsense. */
static uint64_t map_reach(const TitanMap *m)
{
    uint64_t reach = (uint64_t)m->offset;
    if (m->stride[0] != titan_dtype_bytes(m->dtype)) return UINT64_MAX;
    for (uint32_t d = 0; d < m->rank; d++) {
        uint64_t span;
        if (m->size[d] < 1 || m->stride[d] < 0 || m->box[d] < 1 ||
            __builtin_mul_overflow((uint64_t)m->size[d] - 1,
                                   (uint64_t)m->stride[d], &span) ||
            __builtin_add_overflow(reach, span, &reach))
            return UINT64_MAX;
    }
    if (__builtin_add_overflow(reach, titan_dtype_bytes(m->dtype), &reach))
        return UINT64_MAX;
    return reach;
}

static TitanStatus check_kernel(Check *c, const TitanKernel *k)
{
    TRY(check_string(c, k->name));
    if (!range_ok(k->maps, c->im->nmaps))
        return BAD(c, "a kernel's maps are missing");
    for (uint32_t i = 0; i < k->maps.n; i++) {
        const TitanMap *m = &c->im->maps[k->maps.first + i];
        if (m->arg >= k->args || m->rank < 1 || m->rank > TITAN_MAP_DIMS ||
            titan_dtype_bytes(m->dtype) == 0 || m->offset < 0 ||
            map_reach(m) == UINT64_MAX)
            return BAD(c, "map %" PRIu32 " is damaged", k->maps.first + i);
    }
    return TITAN_OK;
}

/* The arguments of a launch, and that its maps stay inside of them. */
static TitanStatus check_launch(Check *c, const TitanCommand *cmd)
{
    const TitanImage *im = c->im;
    if (cmd->index >= im->nkernels ||
        im->kernels[cmd->index].args != cmd->operands.n)
        return BAD(c, "a kernel command is damaged");
    const TitanKernel *k = &im->kernels[cmd->index];
    for (uint32_t i = 0; i < k->maps.n; i++) {
        const TitanMap *m = &im->maps[k->maps.first + i];
        const TitanOperand *o = &im->operands[cmd->operands.first + m->arg];
        if (!has_bytes(o, map_reach(m)))
            return BAD(c, "a map reaches past its operand");
    }
    return TITAN_OK;
}

static TitanStatus check_result(Check *c, const TitanCommand *cmd,
                                const TitanResult *r)
{
    const TitanImage *im = c->im;
    TRY(check_string(c, r->name));
    TRY(check_string(c, r->op));
    TRY(check_string(c, r->file));
    if (r->operand >= cmd->operands.n || !titan_dtype_is_float(r->dtype) ||
        r->phase > TITAN_PHASE_update || !range_ok(r->spans, im->nspans) ||
        r->spans.n > TITAN_MOST_SPANS)
        return BAD(c, "a result is damaged");
    const TitanOperand *o = &im->operands[cmd->operands.first + r->operand];
    uint64_t reach = dtype_sizes[r->dtype], elements = 1;
    for (uint32_t i = 0; i < r->spans.n; i++) {
        const TitanSpan *s = &im->spans[r->spans.first + i];
        uint64_t part;
        if (s->n < 1 || s->bytes < 0 ||
            __builtin_mul_overflow((uint64_t)s->n - 1, (uint64_t)s->bytes,
                                   &part) ||
            __builtin_add_overflow(reach, part, &reach) ||
            __builtin_mul_overflow(elements, (uint64_t)s->n, &elements))
            return BAD(c, "a result is too large");
    }
    if (!has_bytes(o, reach))
        return BAD(c, "a result reaches past its operand");
    return TITAN_OK;
}

static TitanStatus check_results(Check *c, const TitanCommand *cmd)
{
    if (!range_ok(cmd->results, c->im->nresults))
        return BAD(c, "a command's results are missing");
    for (uint32_t i = 0; i < cmd->results.n; i++)
        TRY(check_result(c, cmd, &c->im->results[cmd->results.first + i]));
    return TITAN_OK;
}

static TitanStatus check_command(Check *c, const TitanCommand *cmd,
                                 const int64_t *counts, uint32_t depth)
{
    const TitanImage *im = c->im;
    TRY(check_string(c, cmd->file));
    if (cmd->items < 0 || !range_ok(cmd->operands, im->noperands) ||
        cmd->stream >= im->header->streams)
        return BAD(c, "a command is damaged");
    for (uint32_t i = 0; i < cmd->operands.n; i++)
        TRY(check_operand(c, cmd->operands.first + i, counts, depth));
    TRY(check_results(c, cmd));
    switch ((TitanCommandKind)cmd->kind) {
    case TITAN_COMMAND_kernel:
        return check_launch(c, cmd);
    case TITAN_COMMAND_gemm:
        return check_gemm_command(c, cmd);
    case TITAN_COMMAND_copy:
    case TITAN_COMMAND_zero:
        return check_bytes_command(c, cmd);
    case TITAN_COMMAND_collective:
        return check_collective(c, cmd);
    case TITAN_COMMAND_signal:
    case TITAN_COMMAND_wait:
        if (cmd->operands.n == 0 && cmd->index < im->header->events)
            return TITAN_OK;
        return BAD(c, "a signal or wait is damaged");
    }
    return BAD(c, "command of kind %" PRIu32, cmd->kind);
}

static TitanStatus check_program(Check *c, uint32_t id, const int64_t *counts,
                                 uint32_t depth)
{
    const TitanImage *im = c->im;
    if (id >= im->nprograms)
        return BAD(c, "program %" PRIu32 " is missing", id);
    const TitanProgram *p = &im->programs[id];
    TRY(check_string(c, p->name));
    if (!range_ok(p->commands, im->ncommands))
        return BAD(c, "program %" PRIu32 " has no commands", id);
    c->commands += p->commands.n;
    if (c->commands > MAX_COMMANDS) return BAD(c, "too many commands");
    for (uint32_t i = 0; i < p->commands.n; i++)
        TRY(check_command(c, &im->commands[p->commands.first + i], counts,
                          depth));
    return TITAN_OK;
}

/* A bool that is read in front of each turn. */
static TitanStatus check_condition(Check *c, uint32_t operand,
                                   const int64_t *counts, uint32_t depth)
{
    TRY(check_operand(c, operand, counts, depth));
    if (has_bytes(&c->im->operands[operand], 1)) return TITAN_OK;
    return BAD(c, "a loop's condition is not in memory");
}

/* Walks an entry's runs once, with the counts of the loops around. */
static TitanStatus check_runs(Check *c, TitanRange runs, uint32_t until)
{
    int64_t counts[TITAN_MOST_LOOPS];
    uint32_t ends[TITAN_MOST_LOOPS], loops[TITAN_MOST_LOOPS], depth = 0;
    c->parallel = 0;
    if (!range_ok(runs, c->im->nruns)) return BAD(c, "an entry has no runs");
    for (uint32_t i = runs.first; i < runs.first + runs.n; i++) {
        const TitanRun *r = &c->im->runs[i];
        TRY(check_string(c, r->name));
        if (i - runs.first == until && depth > 0)
            return BAD(c, "an entry is cut inside a loop");
        switch ((TitanRunKind)r->kind) {
        case TITAN_RUN_program:
            TRY(check_program(c, r->program, counts, depth));
            continue;
        case TITAN_RUN_loop:
            if (r->count < 1 || depth == TITAN_MOST_LOOPS || r->program <= i ||
                r->program >= runs.first + runs.n)
                return BAD(c, "loop at run %" PRIu32 " is damaged", i);
            if ((r->flags & TITAN_LOOP_while) &&
                (r->flags & TITAN_LOOP_parallel))
                return BAD(c,
                           "loop at run %" PRIu32
                           " has a condition, and turns in no order",
                           i);
            if (r->flags & TITAN_LOOP_while)
                TRY(check_condition(c, r->operand, counts, depth));
            counts[depth] = r->count;
            ends[depth++] = r->program;
            loops[depth - 1] = (r->flags & TITAN_LOOP_parallel) != 0;
            c->parallel += loops[depth - 1];
            continue;
        case TITAN_RUN_end:
            if (depth == 0 || ends[depth - 1] != i)
                return BAD(c, "end at run %" PRIu32 " without its loop", i);
            depth--;
            c->parallel -= loops[depth];
            continue;
        case TITAN_RUN_segment:
            continue;
        }
        return BAD(c, "run of kind %" PRIu32, r->kind);
    }
    return depth == 0 ? TITAN_OK : BAD(c, "a loop has no end");
}

static TitanStatus check_entries(Check *c)
{
    const TitanImage *im = c->im;
    for (uint32_t i = 0; i < im->nkernels; i++)
        TRY(check_kernel(c, &im->kernels[i]));
    for (uint32_t i = 0; i < im->nfacts; i++)
        TRY(check_string(c, im->facts[i].name));
    for (uint32_t i = 0; i < im->npeaks; i++) {
        TRY(check_string(c, im->peaks[i].name));
        TRY(check_string(c, im->peaks[i].file));
    }
    for (uint32_t i = 0; i < im->nentries; i++) {
        const TitanEntry *e = &im->entries[i];
        TRY(check_string(c, e->name));
        if (!range_ok(e->ports, im->nports))
            return BAD(c, "an entry has no ports");
        if (e->until > e->runs.n) return BAD(c, "an entry has too few runs");
        TRY(check_runs(c, e->runs, e->until));
    }
    return streams_check(c->story, im);
}

TitanStatus titan_image_open(TitanStory *s, const void *at, size_t size,
                             TitanImage *out)
{
    *out = (TitanImage){.at = at, .size = size, .header = at};
    Check c = {.story = s, .im = out};
    if (size < sizeof(TitanHeader) || (uintptr_t)at % 8)
        return BAD(&c, "%zu bytes are too few for a header", size);
    TRY(check_header(&c, size));
    TRY(check_hash(&c));
    TRY(check_arena(&c));
    TRY(open_tables(&c));
    TRY(check_axes(&c));
    TRY(ranks_check(s, out));
    TRY(check_slots(&c));
    TRY(check_ports(&c));
    TRY(check_gemms(&c));
    return check_entries(&c);
}

const TitanEntry *titan_entry(const TitanImage *im, const char *name)
{
    for (uint32_t i = 0; i < im->nentries; i++)
        if (strcmp(titan_string(im, im->entries[i].name), name) == 0)
            return &im->entries[i];
    return NULL;
}

const TitanPort *titan_port(const TitanImage *im, const TitanEntry *e,
                            TitanRole role, const char *path)
{
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &im->ports[e->ports.first + i];
        if (p->role == role && strcmp(titan_string(im, p->path), path) == 0)
            return p;
    }
    return NULL;
}

double titan_fact(const TitanImage *im, const char *name, double otherwise)
{
    for (uint32_t i = 0; i < im->nfacts; i++)
        if (strcmp(titan_string(im, im->facts[i].name), name) == 0)
            return im->facts[i].value;
    return otherwise;
}
