/*
 * The kernels that add what came from each rank (runtime/cuda_sums.c), on this
 * machine's GPU: are their sums those of adding one rank after the other, bit
 * by bit?
 *
 *     gpu-sums [SEED [MiB]]
 *
 * Pieces are random bits, so that there are numbers of all sizes, infinities
 * and NaNs: of two to nine ranks, each of which may be this one, or none, of
 * all kinds, of lengths and at places that sixteen bytes divide and do not.  Of
 * MiB each the rates of a sum by sixteen bytes and by elements follow, and of a
 * copy.  The last line counts cases; the exit status is 1 if one failed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cuda_device.h"
#include "runtime/narrow.h"

enum { MOST_RANKS = 9, COUNT = 3001, PITCH = 8 * (COUNT + 31), TURNS = 20 };
enum { ROOM = MOST_RANKS * PITCH };

static const char *const dtypes[] = {"f32", "f64", "bf16", "f16"};

typedef struct Sums {
    Cuda c;
    TitanStory story;
    TitanImage im;
    TitanHeader header;
    uint64_t random;
    CuPtr room, mine, to; /* ROOM, PITCH and PITCH bytes */
    char pieces[ROOM], own[PITCH], got[PITCH], want[PITCH];
    unsigned cases, failed;
} Sums;

static uint64_t draw(Sums *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    return s->random ^= s->random << 17;
}

static void fill(Sums *s, char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (char)(draw(s) >> 24);
}

static uint32_t dtype_of(SumKind kind)
{
    uint32_t d = 0;
    while (strcmp(titan_dtype_name(d), dtypes[kind]) != 0)
        d++;
    return d;
}

/* ------------------------------------------------------------------ sums -- */

static const char *element(const Sums *s, const CudaSumArgs *a, uint32_t m,
                           uint64_t i)
{
    unsigned size = titan_dtype_bytes(dtype_of((SumKind)a->kind));
    uint64_t at = (m - (m > a->me)) * a->pitch + a->from - s->room;
    return m == a->me ? s->own + (a->mine - s->mine) + i * size
                      : s->pieces + at + i * size;
}

/* One rank after the other: f64 as it is, all else in f32, rounded once. */
static void add_on_host(Sums *s, const CudaSumArgs *a)
{
    uint32_t dtype = dtype_of((SumKind)a->kind);
    unsigned size = titan_dtype_bytes(dtype);
    for (uint64_t i = 0; i < a->count; i++) {
        double wide = 0, y;
        float sum = 0, x;
        for (uint32_t m = 0; m < a->n; m++) {
            const char *at = element(s, a, m, i);
            if (a->kind == SUM_f64) {
                memcpy(&y, at, sizeof y);
                wide = m ? wide + y : y;
            } else {
                narrow_load(dtype, at, &x, 1);
                sum = m ? sum + x : x;
            }
        }
        if (a->kind == SUM_f64)
            memcpy(s->want + i * size, &wide, sizeof wide);
        else
            narrow_store(dtype, &sum, s->want + i * size, 1);
    }
}

/* Any NaN is one. */
static bool is_same(uint32_t dtype, const char *got, const char *want)
{
    if (memcmp(got, want, titan_dtype_bytes(dtype)) == 0) return true;
    return isnan(narrow_load_one(dtype, got)) &&
           isnan(narrow_load_one(dtype, want));
}

static void compare(Sums *s, const CudaSumArgs *a)
{
    uint32_t dtype = dtype_of((SumKind)a->kind);
    unsigned size = titan_dtype_bytes(dtype);
    s->cases++;
    for (uint64_t i = 0; i < a->count; i++) {
        if (is_same(dtype, s->got + i * size, s->want + i * size)) continue;
        printf("%s, %u ranks, of number %u, element %" PRIu64 " of %" PRIu64
               ": %a, not %a\n",
               dtypes[a->kind], a->n, a->me, i, a->count,
               narrow_load_one(dtype, s->got + i * size),
               narrow_load_one(dtype, s->want + i * size));
        s->failed++;
        return;
    }
}

/* Nothing is written behind the sum. */
static bool is_kept(const Sums *s, size_t from)
{
    for (size_t i = from; i < PITCH; i++)
        if (s->got[i] != 0x55) return false;
    return true;
}

static TitanStatus run_sum(Sums *s, const CudaSumArgs *a)
{
    Cuda *c = &s->c;
    size_t size = titan_dtype_bytes(dtype_of((SumKind)a->kind));
    size_t at = a->to - s->to;
    fill(s, s->pieces, ROOM);
    fill(s, s->own, PITCH);
    CU_TRY(c, cuMemcpyHtoDAsync(s->room, s->pieces, ROOM, c->stream));
    CU_TRY(c, cuMemcpyHtoDAsync(s->mine, s->own, PITCH, c->stream));
    CU_TRY(c, cuMemsetD8Async(s->to, 0x55, PITCH, c->stream));
    TRY(cuda_sums_add(c, a, c->stream));
    CU_TRY(c, cuMemcpyDtoHAsync(s->got, a->to, PITCH - at, c->stream));
    CU_TRY(c, cuStreamSynchronize(c->stream));
    memset(s->got + PITCH - at, 0x55, at);
    add_on_host(s, a);
    compare(s, a);
    if (!is_kept(s, a->count * size)) {
        printf("%s, %u ranks, %" PRIu64 " elements: more is written\n",
               dtypes[a->kind], a->n, a->count);
        s->failed++;
    }
    return TITAN_OK;
}

/* Of one kind and so many ranks, this one among them or not. */
static TitanStatus run_ranks(Sums *s, SumKind kind, uint32_t n)
{
    size_t size = titan_dtype_bytes(dtype_of(kind));
    for (uint32_t k = 0; k <= 2 * n + 1; k++) {
        bool odd = k > n && draw(s) % 2;
        size_t shift = odd ? size * (1 + draw(s) % 7) : 0;
        CudaSumArgs a = {.to = s->to + (draw(s) % 2 ? shift : 0),
                         .from = s->room + (draw(s) % 2 ? shift : 0),
                         .mine = s->mine + shift,
                         .count = k == 0 ? 1 : draw(s) % COUNT + 1,
                         .pitch = PITCH - 256,
                         .n = n,
                         .kind = kind,
                         .me = k % (n + 1)};
        TRY(run_sum(s, &a));
    }
    return TITAN_OK;
}

static TitanStatus run_cases(Sums *s)
{
    for (uint32_t kind = 0; kind < SUM_none; kind++)
        for (uint32_t n = 2; n <= MOST_RANKS; n++)
            TRY(run_ranks(s, (SumKind)kind, n));
    return TITAN_OK;
}

/* ----------------------------------------------------------------- rates -- */

static TitanStatus time_one(Sums *s, const CudaSumArgs *a, double *seconds)
{
    Cuda *c = &s->c;
    CuEvent begin, end;
    float ms;
    CU_TRY(c, cuEventCreate(&begin, 0));
    CU_TRY(c, cuEventCreate(&end, 0));
    for (int i = -3; i < TURNS; i++) {
        if (i == 0) CU_TRY(c, cuEventRecord(begin, c->stream));
        TRY(cuda_sums_add(c, a, c->stream));
    }
    CU_TRY(c, cuEventRecord(end, c->stream));
    CU_TRY(c, cuEventSynchronize(end));
    CU_TRY(c, cuEventElapsedTime(&ms, begin, end));
    CU_TRY(c, cuEventDestroy(begin));
    CU_TRY(c, cuEventDestroy(end));
    *seconds = ms / 1e3 / TURNS;
    return TITAN_OK;
}

static TitanStatus time_sums(Sums *s, size_t bytes)
{
    static const uint32_t ranks[] = {2, 4, 8};
    Cuda *c = &s->c;
    CuPtr room;
    CU_TRY(c, cuMemAlloc(&room, 10 * bytes));
    for (uint32_t kind = 0; kind < SUM_none; kind++)
        for (int k = 0; k < 3; k++) {
            double wide, any;
            uint32_t n = ranks[k];
            size_t size = titan_dtype_bytes(dtype_of((SumKind)kind));
            CudaSumArgs a = {.to = room,
                             .mine = room + bytes,
                             .from = room + 2 * bytes,
                             .count = bytes / size - 1,
                             .pitch = bytes,
                             .n = n,
                             .kind = kind,
                             .me = 0};
            TRY(time_one(s, &a, &wide));
            a.mine += size;
            TRY(time_one(s, &a, &any));
            printf("%s, %u ranks, %zu bytes each: %.1f us (%.0f GB/s), by "
                   "elements %.1f us\n",
                   dtypes[kind], n, bytes, wide * 1e6,
                   (n + 1) * (double)bytes / wide / 1e9, any * 1e6);
        }
    CU_TRY(c, cuMemFree(room));
    return TITAN_OK;
}

static TitanStatus run(Sums *s, size_t mib)
{
    Cuda *c = &s->c;
    CU_TRY(c, cuInit(0));
    CU_TRY(c, cuDeviceGet(&c->gpu, 0));
    CU_TRY(c, cuDevicePrimaryCtxRetain(&c->context, c->gpu));
    CU_TRY(c, cuCtxSetCurrent(c->context));
    CU_TRY(c, cuStreamCreate(&c->stream, 0));
    CU_TRY(c, cuMemAlloc(&s->room, ROOM));
    CU_TRY(c, cuMemAlloc(&s->mine, PITCH));
    CU_TRY(c, cuMemAlloc(&s->to, PITCH));
    TRY(cuda_sums_open(c));
    TRY(run_cases(s));
    if (mib) TRY(time_sums(s, mib << 20));
    cuda_sums_close(c);
    return TITAN_OK;
}

int main(int argc, char **argv)
{
    static Sums s;
    s.random = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1) * 2 + 1;
    s.im.header = &s.header;
    s.header.streams = 1;
    s.c.im = &s.im;
    s.c.story = &s.story;
    TitanStatus st = cu_open(&s.story, &s.c.cu);
    if (st == TITAN_OK)
        st = run(&s, argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
    if (st != TITAN_OK) {
        titan_story_print(&s.story, "gpu-sums");
        return 1;
    }
    printf("%u cases, %u failed\n", s.cases, s.failed);
    return s.failed > 0;
}
