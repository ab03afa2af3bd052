/* links: titan_runtime
 *
 * work.c: what commands have to do, and how long they are predicted to take, of
 * an image made by hand: a command of each class.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "runtime/work.h"

enum { F32 = 1, BF16 = 2, E4M3 = 4, KERNELS = 5 };

/* Peaks and shares of which each figure below is easily had. */
static const Machine machine = {.memory = 1e12,
                                .f32 = 1e12,
                                .f16 = 8e12,
                                .f8 = 16e12,
                                .bus = 1e10,
                                .processors = 100,
                                .copies = 0.5,
                                .library = {0.5, 0.25},
                                .odd = 0.125,
                                .products = 0.25,
                                .sweeps = 0.125,
                                .both = 0.0625,
                                .loops = 0.5,
                                .buses = 0.5,
                                .command = 1e-6,
                                .block = 1e-5};

/* A kernel of each class with the same counts. */
static const TitanKernel kernels[KERNELS] = {
    {.bytes = 1000000, .flops = 1000, .width = 4, .limit = TITAN_CLASS_loop},
    {.bytes = 1000, .flops = 1000000, .width = 4, .limit = TITAN_CLASS_loop},
    {.bytes = 1000,
     .flops = 2000000000,
     .scalars = 1000000,
     .width = 1,
     .limit = TITAN_CLASS_product},
    {.bytes = 1000,
     .flops = 1000000000,
     .width = 2,
     .limit = TITAN_CLASS_sweep},
    {.bytes = 1000,
     .flops = 1000000000,
     .width = 2,
     .limit = TITAN_CLASS_both}};

static double microseconds(const TitanImage *im, TitanCommand cmd)
{
    double us = 1e6 * work_seconds(&machine, im, &cmd);
    return round(us * 1e6) / 1e6;
}

/* A launch of a kernel, as the command says. */
static double of_kernel(TitanCommand cmd)
{
    TitanImage im = {.kernels = kernels, .nkernels = KERNELS};
    cmd.kind = TITAN_COMMAND_kernel;
    return microseconds(&im, cmd);
}

/* A product of the library. */
static double of_gemm(const TitanGemm *g)
{
    TitanImage im = {.gemms = g, .ngemms = 1};
    return microseconds(&im, (TitanCommand){.kind = TITAN_COMMAND_gemm});
}

/* One of bf16, of sides of 1000, with 2000 terms. */
static const TitanGemm plain = {.dtype_a = BF16,
                                .dtype_b = BF16,
                                .dtype_d = BF16,
                                .m = 1000,
                                .n = 1000,
                                .k = 2000};

/* A loop takes as long as its bytes or its operations; a product has what is
 * made beside the tensor cores too, and begins and ends. */
static void a_kernel_takes_what_its_class_keeps(void **state)
{
    (void)state;
    assert_true(of_kernel((TitanCommand){.index = 0}) == 1 + 2);
    assert_true(of_kernel((TitanCommand){.index = 1}) == 1 + 2);
    assert_true(of_kernel((TitanCommand){.index = 2}) == 1 + 10 + 500 + 1);
    assert_true(of_kernel((TitanCommand){.index = 3}) == 1 + 10 + 1000);
    assert_true(of_kernel((TitanCommand){.index = 4}) == 1 + 10 + 2000);
}

/* On half of the processors a product takes twice as long. */
static void processors_that_are_left_cost_time(void **state)
{
    (void)state;
    TitanCommand cmd = {.index = 2, .processors = 50};
    assert_true(of_kernel(cmd) == 1 + 10 + 1000 + 1);
}

/* Attention has a block for each tile, of which a processor has its share; no
 * processor begins less than one. */
static void each_tile_begins_and_ends(void **state)
{
    (void)state;
    const TitanCommand many = {.index = 3, .items = 250};
    const TitanCommand few = {.index = 3, .items = 50};
    const TitanCommand product = {.index = 2, .items = 250};
    assert_true(of_kernel(many) == 1 + 25 + 1000);
    assert_true(of_kernel(few) == 1 + 10 + 1000);
    assert_true(of_kernel(product) == 1 + 10 + 500 + 1);
}

/* Of eight bits, and where sums may not be short, those of 128 terms are added
 * to others, after they were multiplied by scales of one side or of both. */
static void sums_of_stages_take_operations(void **state)
{
    (void)state;
    TitanGemm g = plain;
    assert_true(of_gemm(&g) == 1 + 10 + 1000);
    g.dtype_a = g.dtype_b = E4M3;
    g.k = 1280;
    g.fast = 1;
    assert_true(of_gemm(&g) == 1 + 10 + 640);
    g.fast = 0;
    assert_true(of_gemm(&g) == 1 + 10 + 640 + 10);
    g.scale_a = TITAN_SCALE_row128;
    g.scale_b = TITAN_SCALE_block128;
    assert_true(of_gemm(&g) == 1 + 10 + 640 + 20);
    g.scale_b = TITAN_SCALE_row128;
    assert_true(of_gemm(&g) == 1 + 10 + 640 + 100);
}

/* Lines that begin at no multiple of 16 bytes are fetched by the element; one
 * line has no next. */
static void odd_lines_take_longer(void **state)
{
    (void)state;
    TitanGemm g = plain;
    g.a_row = g.b_col = 2000;
    g.d_row = 1000;
    g.a_col = g.b_row = g.d_col = 1;
    assert_true(of_gemm(&g) == 1 + 10 + 1000);
    g.d_row = 1004;
    assert_true(of_gemm(&g) == 1 + 10 + 4000);
    g.dtype_d = F32;
    assert_true(of_gemm(&g) == 1 + 10 + 1000);
    g.b_col = 2001;
    assert_true(of_gemm(&g) == 1 + 10 + 4000);
    g.n = 1;
    assert_true(of_gemm(&g) < 1 + 10 + 10);
}

/* Nor do they end there, along the sum or in the result. */
static void cut_lines_take_longer(void **state)
{
    (void)state;
    TitanGemm g = plain;
    g.a_row = g.b_col = 2000;
    g.d_row = 1000;
    g.a_col = g.b_row = g.d_col = 1;
    int64_t k = g.k, n = g.n;
    g.k = k - 1;
    assert_true(of_gemm(&g) > 1 + 10 + 2000);
    g.a_col = g.b_row = 2000;
    g.a_row = g.b_col = 1;
    assert_true(of_gemm(&g) < 1 + 10 + 2000);
    g.k = k;
    g.n = n - 1;
    assert_true(of_gemm(&g) > 1 + 10 + 2000);
}

/* What a copy reads it writes; of one to the host's memory the bus counts. */
static void what_is_moved_takes_its_way(void **state)
{
    (void)state;
    TitanOperand operands[] = {{.base = TITAN_BASE_frame},
                               {.base = TITAN_BASE_frame},
                               {.base = TITAN_BASE_host},
                               {.base = TITAN_BASE_frame}};
    TitanImage im = {.operands = operands, .noperands = 4};
    TitanCommand copy = {
        .kind = TITAN_COMMAND_copy, .operands = {0, 2}, .items = 1000000};
    TitanCommand zero = {
        .kind = TITAN_COMMAND_zero, .operands = {0, 1}, .items = 1000000};
    assert_true(microseconds(&im, copy) == 1 + 4);
    assert_true(microseconds(&im, zero) == 1 + 2);
    copy.operands.first = 2;
    assert_true(microseconds(&im, copy) == 1 + 200);
    assert_true(
        microseconds(&im, (TitanCommand){.kind = TITAN_COMMAND_signal}) == 0);
}

/* A machine that is known keeps no more than there is, and has words for every
 * class. */
static void machines_keep_shares(void **state)
{
    (void)state;
    const Machine *m = machine_named("NVIDIA H200");
    assert_non_null(m);
    const double kept[] = {m->copies,   m->library[0], m->library[1], m->odd,
                           m->products, m->sweeps,     m->both,       m->loops,
                           m->links,    m->engines,    m->buses};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(kept[i] > 0 && kept[i] <= 1);
    for (int k = 0; k < TITAN_CLASS_COUNT; k++)
        assert_true(*class_words((TitanClass)k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_takes_what_its_class_keeps),
        cmocka_unit_test(processors_that_are_left_cost_time),
        cmocka_unit_test(each_tile_begins_and_ends),
        cmocka_unit_test(sums_of_stages_take_operations),
        cmocka_unit_test(odd_lines_take_longer),
        cmocka_unit_test(cut_lines_take_longer),
        cmocka_unit_test(what_is_moved_takes_its_way),
        cmocka_unit_test(machines_keep_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
