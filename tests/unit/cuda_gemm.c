/* links: titan_runtime fake_cuda fake_cublaslt titan_ptx
 *
 * cuda_gemm.c: gemms of an image as the column-major, perhaps batched products
 * of cuBLASLt: every choice of unit strides, sizes of one, what is added, and
 * batches that do and do not lie evenly give the sums that the image means.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cuda_gemm.h"
#include "runtime/device.h"
#include "tests/unit/fake/fake.h"
#include "tests/unit/fake/number.h"

enum { F64, F32, BF16, F16, E4M3, E5M2, WORDS = 8192 };

typedef struct One {
    TitanHeader header;
    TitanStage stage;
    TitanEntry entry;
    TitanRun run;
    TitanProgram program;
    TitanCommand command;
    TitanOperand operands[5];
    TitanGemm gemm;
    TitanImage im;
} One;

/* A, B, D and C, or scales, in the persistent base, WORDS elements each. */
static void make(One *x, TitanGemm g)
{
    uint64_t bytes = WORDS * 8;
    *x = (One){
        .header = {.target = TITAN_TARGET_sm_90a, .streams = 1},
        .stage = {.base_bytes = {5 * bytes, 0, 0, 0}, .arena_bytes = 5 * bytes},
        .entry = {.runs = {0, 1}},
        .program = {.commands = {0, 1}},
        .command = {.kind = TITAN_COMMAND_gemm, .operands = {0, 5}},
        .gemm = g};
    for (uint32_t i = 0; i < 5; i++)
        x->operands[i].offset = i * bytes;
    x->im = (TitanImage){.header = &x->header,
                         .stages = &x->stage,
                         .nstages = 1,
                         .entries = &x->entry,
                         .nentries = 1,
                         .runs = &x->run,
                         .programs = &x->program,
                         .commands = &x->command,
                         .ncommands = 1,
                         .operands = x->operands,
                         .gemms = &x->gemm,
                         .ngemms = 1,
                         .strings = ""};
}

static const PtxType types[] = {PT_f64, PT_f32,  PT_bf16,
                                PT_f16, PT_e4m3, PT_e5m2};

static double get(const void *at, uint32_t dtype, int64_t i)
{
    return number_at(types[dtype], at, (size_t)i);
}

static void put(void *at, uint32_t dtype, int64_t i, double v)
{
    number_put(types[dtype], at, (size_t)i, v);
}

/* What element K of row R (of B, of column R) of ROWS is multiplied by. */
static double scale(uint32_t kind, const float *scales, int64_t r, int64_t rows,
                    int64_t k, int64_t all)
{
    enum { BLOCK = TITAN_SCALE_BLOCK };
    int64_t four = (all / BLOCK + 3) / 4 * 4;
    return kind == TITAN_SCALE_row      ? (double)scales[r]
           : kind == TITAN_SCALE_row128 ? (double)scales[k / BLOCK * rows + r]
           : kind == TITAN_SCALE_block128
               ? (double)scales[r / BLOCK * four + k / BLOCK]
               : 1;
}

static double term(const TitanGemm *g, const void *a, const void *b,
                   const float *const scales[2], const int64_t at[3])
{
    int64_t r = at[0], n = at[1], k = at[2];
    return get(a, g->dtype_a, r * g->a_row + k * g->a_col) *
           get(b, g->dtype_b, k * g->b_row + n * g->b_col) *
           scale(g->scale_a, scales[0], r, g->m, k, g->k) *
           scale(g->scale_b, scales[1], n, g->n, k, g->k);
}

/* What the image means, one element after the other. */
static void reference(const TitanGemm *g, const void *a, const void *b,
                      const void *c, const float *const scales[2], void *d)
{
    size_t wa = number_bytes(types[g->dtype_a]),
           wb = number_bytes(types[g->dtype_b]);
    int64_t turns = 1;
    for (uint32_t i = 0; i < g->nbatch; i++)
        turns *= g->batch[i];
    for (int64_t t = 0; t < turns; t++) {
        int64_t rest = t, ia = 0, ib = 0, id = 0;
        for (uint32_t i = g->nbatch; i-- > 0; rest /= g->batch[i]) {
            ia += rest % g->batch[i] * g->a_batch[i];
            ib += rest % g->batch[i] * g->b_batch[i];
            id += rest % g->batch[i] * g->d_batch[i];
        }
        for (int64_t r = 0; r < g->m; r++)
            for (int64_t n = 0; n < g->n; n++) {
                int64_t at = id + r * g->d_row + n * g->d_col;
                double sum = g->accumulate ? get(c, g->dtype_d, at) : 0;
                for (int64_t k = 0; k < g->k; k++)
                    sum += term(g, (const char *)a + ia * (int64_t)wa,
                                (const char *)b + ib * (int64_t)wb, scales,
                                (int64_t[]){r, n, k});
                put(d, g->dtype_d, at, sum);
            }
    }
}

/* Small whole numbers, so that every order of the sum is exact. */
static void fill(double *at, unsigned seed, uint32_t dtype)
{
    for (size_t i = 0; i < WORDS * 8 / number_bytes(types[dtype]); i++) {
        seed = seed * 1664525u + 1013904223u;
        put(at, dtype, (int64_t)i, (double)(seed >> 28) - 8);
    }
}

static void check(TitanGemm g)
{
    static double at[5][WORDS], want[WORDS], have[WORDS];
    static const DeviceOptions o;
    static const TitanCode code = {.cubin = "machine code"};
    One x;
    TitanDevice *d;
    TitanStory story = {0};
    fake_reset();
    make(&x, g);
    if (device_new(&story, &x.im, &code, &o, &d) != TITAN_OK)
        fail_msg("%s", story.line[0]);
    for (unsigned i = 0; i < 5; i++) {
        fill(at[i], i + 1,
             i == 0   ? g.dtype_a
             : i == 1 ? g.dtype_b
             : i < 4  ? g.dtype_d
                      : F32);
        device_write(d, TITAN_BASE_persistent, i * sizeof at[i], at[i],
                     sizeof at[i]);
    }
    memcpy(want, at[2], sizeof want);
    bool other = g.accumulate == TITAN_GEMM_add_c;
    const float *const scales[2] = {(const float *)at[3], (const float *)at[4]};
    reference(&g, at[0], at[1], other ? at[3] : at[2], scales, want);
    if (device_run(d, &x.entry) != TITAN_OK) fail_msg("%s", story.line[0]);
    device_read(d, TITAN_BASE_persistent, 2 * sizeof have, have, sizeof have);
    device_free(d);
    assert_memory_equal(have, want, sizeof want);
}

/* ROW and COL of ROWS x COLS with its columns or its rows dense, padded. */
static void stride(int64_t rows, int64_t cols, bool by_rows, int64_t pad,
                   int64_t *row, int64_t *col)
{
    *row = by_rows ? cols + pad : 1;
    *col = by_rows ? 1 : rows + pad;
}

static TitanGemm gemm(int64_t m, int64_t n, int64_t k, unsigned how)
{
    TitanGemm g = {.dtype_a = F32,
                   .dtype_b = F32,
                   .dtype_d = F32,
                   .acc = F32,
                   .m = m,
                   .n = n,
                   .k = k};
    stride(m, k, how & 1, 3, &g.a_row, &g.a_col);
    stride(k, n, how & 2, 2, &g.b_row, &g.b_col);
    stride(m, n, how & 4, 1, &g.d_row, &g.d_col);
    return g;
}

static void every_layout(void **state)
{
    static const int64_t sizes[][3] = {{5, 7, 3}, {1, 7, 3}, {5, 1, 3},
                                       {5, 7, 1}, {1, 1, 4}, {1, 1, 1}};
    (void)state;
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned how = 0; how < 8; how++)
            for (uint32_t add = 0; add <= TITAN_GEMM_add_c; add++) {
                TitanGemm g = gemm(sizes[s][0], sizes[s][1], sizes[s][2], how);
                g.accumulate = add;
                check(g);
            }
}

static void doubles(void **state)
{
    (void)state;
    TitanGemm g = gemm(4, 6, 5, 7);
    g.dtype_a = g.dtype_b = g.dtype_d = g.acc = F64;
    g.accumulate = TITAN_GEMM_add_d;
    check(g);
}

static void narrow(void **state)
{
    static const uint32_t dtypes[][2] = {
        {BF16, BF16}, {BF16, F32}, {F16, F16}, {F16, F32}};
    (void)state;
    for (unsigned i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        for (unsigned how = 0; how < 8; how++) {
            TitanGemm g = gemm(6, 7, 5, how);
            g.dtype_a = g.dtype_b = dtypes[i][0];
            g.dtype_d = dtypes[i][1];
            g.accumulate = how % 3;
            check(g);
        }
}

static TitanGemm eight_bits(uint32_t a, uint32_t b, uint32_t d)
{
    return (TitanGemm){.dtype_a = a,
                       .dtype_b = b,
                       .dtype_d = d,
                       .acc = F32,
                       .m = 32,
                       .n = 48,
                       .k = 160,
                       .a_row = 160,
                       .a_col = 1,
                       .b_row = 1,
                       .b_col = 160,
                       .d_row = 48,
                       .d_col = 1};
}

/* Scales of whole rows, of parts of rows and of blocks; of parts K has whole
 * ones. */
static void scales_of_eight_bits(void **state)
{
    (void)state;
    check(eight_bits(E4M3, E5M2, BF16));
    for (uint32_t a = TITAN_SCALE_row128; a < TITAN_SCALE_COUNT; a++)
        for (uint32_t b = TITAN_SCALE_row128; b < TITAN_SCALE_COUNT; b++) {
            TitanGemm g = eight_bits(E4M3, E4M3, F32);
            if ((a == TITAN_SCALE_row) != (b == TITAN_SCALE_row)) continue;
            g.scale_a = a;
            g.scale_b = b;
            g.k = g.a_row = g.b_col = a == TITAN_SCALE_row ? 160 : 640;
            check(g);
        }
}

static unsigned calls(void)
{
    unsigned n = 0;
    for (const char *at = fake_device()->log; (at = strstr(at, "matmul")); at++)
        n++;
    return n;
}

static TitanGemm batched(uint32_t n, const int64_t *count)
{
    TitanGemm g = gemm(3, 4, 2, 7);
    int64_t a = 32, b = 32, d = 32;
    g.nbatch = n;
    for (uint32_t i = n; i-- > 0;) {
        g.batch[i] = count[i];
        g.a_batch[i] = a, g.b_batch[i] = b, g.d_batch[i] = d;
        a *= count[i], b *= count[i], d *= count[i];
    }
    return g;
}

/* Batches that lie evenly are one call, however many there are. */
static void even_batches(void **state)
{
    (void)state;
    check(batched(4, (int64_t[]){2, 3, 1, 5}));
    assert_int_equal(calls(), 1);
}

/* A shared operand lies evenly in one of two batches: the larger one is the
 * library's, the other a loop of calls. */
static void uneven_batches(void **state)
{
    (void)state;
    TitanGemm g = batched(2, (int64_t[]){6, 4});
    g.b_batch[0] = 0;
    check(g);
    assert_int_equal(calls(), 4);
    g = batched(3, (int64_t[]){2, 5, 3});
    g.a_batch[1] = 0;
    g.b_batch[0] = g.b_batch[2] = 0;
    check(g);
    assert_int_equal(calls(), 6);
}

/* The library is told of the alignment that holds in every call. */
static void alignment(void **state)
{
    (void)state;
    TitanGemm g = batched(2, (int64_t[]){6, 4});
    g.b_batch[0] = 0;
    g.b_batch[1] = 33;
    check(g);
    assert_non_null(strstr(fake_device()->log, "choose for 4 16 16 16"));
}

/* ---------------------------------------------------------------- choice -- */

static void read_text(const char *path, char *out, size_t size)
{
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    out[fread(out, 1, size - 1, in)] = 0;
    fclose(in);
}

/* The first row of the table has another algorithm. */
static void change_algo(const char *path, char *text, char digit)
{
    strstr(text, " algo=")[21] = digit;
    FILE *out = fopen(path, "w");
    fputs(text, out);
    fclose(out);
}

/* A product into the frame, which is what may be timed. */
static void make_temporary(One *x)
{
    make(x, gemm(5, 7, 3, 7));
    x->stage.base_bytes[TITAN_BASE_frame] = x->stage.arena_bytes;
    x->stage.arena_bytes *= 2;
    x->operands[2].base = TITAN_BASE_frame;
    x->operands[2].offset = 0;
}

static void run_with(One *x, const DeviceOptions *o)
{
    static const TitanCode code = {.cubin = "machine code"};
    TitanStory story = {0};
    TitanDevice *d;
    fake_reset();
    if (device_new(&story, &x->im, &code, o, &d) != TITAN_OK ||
        device_prepare(d, &x->entry) != TITAN_OK)
        fail_msg("%s", story.line[0]);
    char byte;
    device_read(d, TITAN_BASE_persistent, 0, &byte, 1);
    fake_device()->log[0] = 0;
    assert_int_equal(device_run(d, &x->entry), TITAN_OK);
    device_free(d);
}

/* Asked to time, the device takes the fastest way and leaves it in the table,
 * where the next run finds it; a way that the library no longer has is not
 * taken from there. */
static void times_and_remembers(void **state)
{
    (void)state;
    One x;
    char text[4096], path[] = "/tmp/titan-table-XXXXXX";
    close(mkstemp(path));
    make_temporary(&x);
    run_with(&x, &(DeviceOptions){0});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 1\n");
    run_with(&x, &(DeviceOptions){.gemm_algos = 4, .gemm_table = path});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 3\n");
    read_text(path, text, sizeof text);
    assert_memory_equal(text, "Fake_9000 lt=130100 f32*f32->f32/f32 m=5 n=7",
                        44);
    assert_non_null(strstr(text, " algo=0000000000000003"));
    assert_non_null(strstr(text, " us=1000.0\n"));
    run_with(&x, &(DeviceOptions){.gemm_table = path});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 3\n");
    change_algo(path, text, '9');
    run_with(&x, &(DeviceOptions){.gemm_table = path});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 1\n");
    unlink(path);
}

/* What a table lacks is chosen by the library's model, written down, and found
 * by the next run; a run that times does not take it for measured. */
static void records_what_is_unknown(void **state)
{
    (void)state;
    One x;
    char text[4096], path[] = "/tmp/titan-table-XXXXXX";
    close(mkstemp(path));
    make_temporary(&x);
    run_with(&x, &(DeviceOptions){.gemm_table = path});
    read_text(path, text, sizeof text);
    assert_non_null(strstr(text, "Fake_9000 lt=130100 "));
    assert_non_null(strstr(text, " algo=0000000000000001"));
    assert_null(strstr(text, " us="));
    change_algo(path, text, '2');
    run_with(&x, &(DeviceOptions){.gemm_table = path});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 2\n");
    run_with(&x, &(DeviceOptions){.gemm_algos = 4, .gemm_table = path});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 3\n");
    unlink(path);
}

#define ALGO(n) "000000000000000" n ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS
#define ZEROS   "0000000000000000"

/* What is built in is found by a whole key, on any line of any text. */
static void finds_what_is_built_in(void **state)
{
    (void)state;
    static const CudaText texts[] = {
        {"one", "A m=1 algo=x\n", 0},
        {"two",
         "B m=1 algo=" ALGO("1") "\n"
                                 "B m=12 algo=" ALGO("2") " us=3.0\n",
         0},
        {0}};
    LtAlgo algo;
    assert_true(cuda_text_find(texts, "B m=12", &algo));
    assert_int_equal(algo.word[0], 2);
    assert_true(cuda_text_find(texts, "B m=1", &algo));
    assert_int_equal(algo.word[0], 1);
    assert_false(cuda_text_find(texts, "A m=1", &algo)); /* no algorithm */
    assert_false(cuda_text_find(texts, "B m=2", &algo));
}

/* A product that leaves processors to others says so to the library, and is
 * another entry of the table. */
static void leaves_processors(void **state)
{
    (void)state;
    One x;
    char text[4096], path[] = "/tmp/titan-table-XXXXXX";
    close(mkstemp(path));
    make(&x, gemm(5, 7, 3, 7));
    x.gemm.processors = 100;
    run_with(&x, &(DeviceOptions){.gemm_table = path});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 1 on 100\n");
    read_text(path, text, sizeof text);
    assert_non_null(strstr(text, " processors=100 "));
    unlink(path);
}

/* Whichever call of the library fails, once: it is an error. */
static void every_call_fails_once(void **state)
{
    static const TitanCode code = {.cubin = "machine code"};
    const DeviceOptions o = {.gemm_algos = 3};
    TitanStatus st = TITAN_UNAVAILABLE;
    (void)state;
    for (unsigned n = 1; st != TITAN_OK; n++) {
        One x;
        TitanDevice *d = NULL;
        TitanStory story = {0};
        make(&x, batched(2, (int64_t[]){2, 3}));
        x.stage.base_bytes[TITAN_BASE_frame] = x.stage.arena_bytes;
        x.stage.arena_bytes *= 2;
        x.operands[2].base = TITAN_BASE_frame;
        x.operands[2].offset = 0;
        fake_reset();
        fake_device()->fails_at = n;
        st = device_new(&story, &x.im, &code, &o, &d);
        if (st == TITAN_OK) st = device_prepare(d, &x.entry);
        if (st == TITAN_OK) st = device_run(d, &x.entry);
        assert_int_equal(st != TITAN_OK, fake_device()->calls >= n);
        device_free(d);
        assert_int_equal(fake_device()->allocations, 0);
        assert_true(n < 1000);
    }
}

/* What lies in the persistent base is never written for a measurement. */
static void times_no_parameters(void **state)
{
    (void)state;
    One x;
    make(&x, gemm(5, 7, 3, 7));
    run_with(&x, &(DeviceOptions){.gemm_algos = 4});
    assert_string_equal(fake_device()->log, "graph\nmatmul way 1\n");
}

/* Products are timed on stream 0, whichever stream they belong to. */
static void times_for_other_streams(void **state)
{
    static const TitanCode code = {.cubin = "machine code"};
    const DeviceOptions o = {.gemm_algos = 4, .sync = true};
    (void)state;
    One x;
    TitanDevice *d;
    TitanStory story = {0};
    make(&x, gemm(5, 7, 3, 7));
    x.header.streams = 2;
    x.command.stream = 1;
    x.stage.base_bytes[TITAN_BASE_frame] = x.stage.arena_bytes;
    x.stage.arena_bytes *= 2;
    x.operands[2].base = TITAN_BASE_frame;
    x.operands[2].offset = 0;
    fake_reset();
    assert_int_equal(device_new(&story, &x.im, &code, &o, &d), TITAN_OK);
    if (device_prepare(d, &x.entry) != TITAN_OK) fail_msg("%s", story.line[0]);
    if (device_run(d, &x.entry) != TITAN_OK) fail_msg("%s", story.line[0]);
    assert_non_null(strstr(fake_device()->log, "matmul way 3\n"));
    device_free(d);
}

static void refuses_endless_batches(void **state)
{
    static const TitanCode code = {.cubin = "machine code"};
    static const DeviceOptions o;
    (void)state;
    One x;
    TitanDevice *d;
    TitanStory story = {0};
    TitanGemm g = gemm(5, 7, 3, 7);
    g.nbatch = 1;
    g.batch[0] = INT64_C(1) << 31;
    make(&x, g);
    fake_reset();
    assert_int_equal(device_new(&story, &x.im, &code, &o, &d), TITAN_OK);
    assert_int_equal(device_run(d, &x.entry), TITAN_MISMATCH);
    assert_string_equal(story.line[0],
                        "a batch has 2147483648 matrix products, cuBLASLt "
                        "takes 2^31 - 1");
    device_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout),
        cmocka_unit_test(doubles),
        cmocka_unit_test(narrow),
        cmocka_unit_test(scales_of_eight_bits),
        cmocka_unit_test(even_batches),
        cmocka_unit_test(uneven_batches),
        cmocka_unit_test(alignment),
        cmocka_unit_test(times_and_remembers),
        cmocka_unit_test(records_what_is_unknown),
        cmocka_unit_test(finds_what_is_built_in),
        cmocka_unit_test(leaves_processors),
        cmocka_unit_test(times_no_parameters),
        cmocka_unit_test(times_for_other_streams),
        cmocka_unit_test(refuses_endless_batches),
        cmocka_unit_test(every_call_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
