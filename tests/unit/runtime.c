/* links: titan_runtime */
/*
 * The runtime's parts, each against a plain second writing: the pool covers
 * every index once, gemms agree with three loops in double, conversions round
 * as IEEE does, safetensors headers are taken or refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/blas.h"
#include "runtime/narrow.h"
#include "runtime/safetensors.h"

enum { F64, F32, BF16, F16, E4M3, E5M2 };

static void count(void *user, int64_t begin, int64_t end, unsigned worker)
{
    atomic_int *seen = user;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&seen[i], 1);
}

static void pool_covers_every_index_once(void **state)
{
    (void)state;
    static atomic_int seen[1000];
    Pool *p = pool_new(3);
    assert_non_null(p);
    for (int round = 1; round <= 50; round++) {
        pool_run(p, count, seen, 1000, 7);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(atomic_load(&seen[i]), round);
    }
    pool_free(p);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static float random_float(uint64_t *state)
{
    return (float)((double)next_random(state) / (double)(1u << 30) - 1.0);
}

typedef struct Case {
    int64_t m, n, k;
    bool ta, tb, td;
    uint32_t dtype, dtype_d;
    uint32_t accumulate;
    int64_t batch;
} Case;

static char *random_matrix(uint64_t *seed, uint32_t dtype, int64_t n)
{
    char *at = malloc((size_t)n * 8);
    for (int64_t i = 0; i < n; i++)
        narrow_store_one(dtype, random_float(seed),
                         at + i * titan_dtype_bytes(dtype));
    return at;
}

static double at(const char *p, uint32_t dtype, int64_t i)
{
    return narrow_load_one(dtype, p + i * titan_dtype_bytes(dtype));
}

static void check_gemm(const Blas *blas, Pool *pool, const Case *c)
{
    uint64_t seed = (uint64_t)(c->m * 31 + c->n * 7 + c->k);
    int64_t m = c->m, n = c->n, k = c->k;
    TitanGemm g = {.dtype_a = c->dtype,
                   .dtype_b = c->dtype,
                   .dtype_d = c->dtype_d,
                   .acc = F32,
                   .m = m,
                   .n = n,
                   .k = k,
                   .a_row = c->ta ? 1 : k,
                   .a_col = c->ta ? m : 1,
                   .b_row = c->tb ? 1 : n,
                   .b_col = c->tb ? k : 1,
                   .d_row = c->td ? 1 : n,
                   .d_col = c->td ? m : 1,
                   .accumulate = c->accumulate,
                   .nbatch = 1,
                   .batch = {c->batch},
                   .a_batch = {m * k},
                   .b_batch = {k * n},
                   .d_batch = {m * n}};
    char *a = random_matrix(&seed, c->dtype, m * k * c->batch);
    char *b = random_matrix(&seed, c->dtype, k * n * c->batch);
    char *d = random_matrix(&seed, c->dtype_d, m * n * c->batch);
    char *old = malloc((size_t)(m * n * c->batch) * 8);
    memcpy(old, d, (size_t)(m * n * c->batch) * titan_dtype_bytes(c->dtype_d));
    bool apart = c->accumulate == TITAN_GEMM_add_c;
    bool scaled = c->accumulate == TITAN_GEMM_scaled;
    bool adds = c->accumulate && !scaled;
    const float scale = 0.375f;
    if (apart)
        memset(d, 0xff,
               (size_t)(m * n * c->batch) * titan_dtype_bytes(c->dtype_d));
    /* of two workers */
    char *workspace = malloc((size_t)titan_gemm_block(m, n, k) * 2);
    GemmBuffers buffers = {.a = a,
                           .b = b,
                           .d = d,
                           .c = apart ? old : NULL,
                           .scale = scaled ? &scale : NULL,
                           .workspace = workspace};
    blas_gemm(blas, pool, &g, &buffers);
    double eps = c->dtype_d == BF16 ? 0.01 : c->dtype == F64 ? 1e-13 : 1e-5;
    for (int64_t x = 0; x < c->batch; x++)
        for (int64_t i = 0; i < m; i += 1 + m / 17)
            for (int64_t j = 0; j < n; j += 1 + n / 13) {
                int64_t at_d = x * m * n + i * g.d_row + j * g.d_col;
                double sum = adds ? at(old, c->dtype_d, at_d) : 0;
                double size = fabs(sum);
                for (int64_t p = 0; p < k; p++) {
                    double t =
                        at(a, c->dtype, x * m * k + i * g.a_row + p * g.a_col) *
                        at(b, c->dtype, x * k * n + p * g.b_row + j * g.b_col);
                    sum += t;
                    size += fabs(t);
                }
                sum *= scaled ? (double)scale : 1;
                assert_true(fabs(at(d, c->dtype_d, at_d) - sum) <= eps * size);
            }
    free(a);
    free(b);
    free(d);
    free(old);
    free(workspace);
}

static void gemms_agree_with_loops(void **state)
{
    (void)state;
    static const Case cases[] = {
        {5, 7, 3, false, false, false, F32, F32, 0, 1},
        {64, 48, 80, true, false, false, F32, F32, 0, 1},
        {70, 33, 90, false, true, true, F32, F32, TITAN_GEMM_add_d, 1},
        {500, 900, 40, true, true, false, F32, F32, 0, 1},
        {1, 40, 30, false, true, false, F32, F32, 0, 1},
        {40, 1, 30, true, false, false, F32, F32, TITAN_GEMM_add_d, 1},
        {17, 19, 23, false, false, false, F64, F64, TITAN_GEMM_add_d, 3},
        {60, 50, 1100, false, true, false, BF16, BF16, 0, 1},
        {60, 50, 1100, true, false, true, BF16, F32, TITAN_GEMM_add_d, 2},
        {30, 20, 10, false, false, false, F16, F32, 0, 4},
        {70, 33, 90, false, true, true, F32, F32, TITAN_GEMM_add_c, 1},
        {500, 900, 40, true, true, false, F32, F32, TITAN_GEMM_add_c, 1},
        {17, 19, 23, false, false, true, F64, F64, TITAN_GEMM_add_c, 3},
        {40, 1, 30, true, false, true, F32, F32, TITAN_GEMM_add_c, 1},
        {60, 50, 1100, true, false, true, BF16, BF16, TITAN_GEMM_add_c, 2},
        {60, 50, 1100, false, true, false, E4M3, BF16, TITAN_GEMM_scaled, 2},
        {30, 20, 10, false, true, true, E5M2, F32, TITAN_GEMM_scaled, 3},
    };
    TitanStory story = {0};
    Blas blas;
    if (blas_open(&story, &blas) != TITAN_OK) fail_msg("%s", story.line[0]);
    Pool *pool = pool_new(2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_gemm(&blas, pool, &cases[i]);
        check_gemm(&blas, NULL, &cases[i]);
    }
    pool_free(pool);
    blas_close(&blas);
}

static TitanStatus parse(const char *header, uint64_t data)
{
    TitanStory story = {0};
    StFile f;
    TitanStatus st = st_parse(&story, header, strlen(header), data, &f);
    if (st == TITAN_OK) st_close(&f);
    return st;
}

#define ONE(name, shape, offsets)                      \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape \
    ",\"data_offsets\":" offsets "}"

static void safetensors_takes_what_is_whole(void **state)
{
    (void)state;
    assert_int_equal(parse("{}", 0), TITAN_OK);
    assert_int_equal(parse("{" ONE("a", "[2,3]", "[0,24]") "}  ", 24),
                     TITAN_OK);
    assert_int_equal(
        parse("{" ONE("b", "[2]", "[4,12]") "," ONE("a", "[]", "[0,4]") "}",
              12),
        TITAN_OK);
    assert_int_equal(parse("{\"__metadata__\":{\"format\":\"pt\"}," ONE(
                               "a", "[0]", "[0,0]") "}",
                           0),
                     TITAN_OK);
}

static void safetensors_refuses_the_rest(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        uint64_t data;
    } cases[] = {
        {"", 0},
        {"{", 0},
        {"[]", 0},
        {"{} x", 0},
        {"{" ONE("a", "[2,3]", "[0,20]") "}", 20},
        {"{" ONE("a", "[2]", "[0,8]") "," ONE("a", "[2]", "[8,16]") "}", 16},
        {"{" ONE("a", "[2]", "[4,12]") "}", 12},
        {"{" ONE("a", "[2]", "[0,8]") "}", 12},
        {"{" ONE("a", "[2]", "[0,8]") "," ONE("b", "[2]", "[4,12]") "}", 12},
        {"{" ONE("a", "[-2]", "[0,8]") "}", 8},
        {"{" ONE("a", "[2.0]", "[0,8]") "}", 8},
        {"{" ONE("a", "[9223372036854775807,9]", "[0,8]") "}", 8},
        {"{" ONE("a", "[99999999999999999999]", "[0,8]") "}", 8},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[],\"data_offsets\":[0,4]}}", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"shape\":[],"
         "\"data_offsets\":[0,4]}}",
         4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4},
        {"{\"a\\u0000b\":{}}", 0},
        {"{\"a\\ud800\":{}}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(parse(cases[i].header, cases[i].data), TITAN_BAD_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_covers_every_index_once),
        cmocka_unit_test(gemms_agree_with_loops),
        cmocka_unit_test(safetensors_takes_what_is_whole),
        cmocka_unit_test(safetensors_refuses_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
