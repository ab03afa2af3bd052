/* links: titan_codegen titan_passes titan_runtime */
/*
 * What of an image begins with a device's own rows of what is gathered: the
 * products of these rows, but not where they read, or write over, what is moved
 * together with the gather, of which their own rows say nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "codegen/kernel.h"
#include "passes/pass.h"
#include "runtime/abi.h"

static const char pipeline[] =
    "localise,chunk{target=sm_90a},fuse{target=sm_90a},expand,"
    "schedule{streams=2},memplan";

static const char sizes[] = "mesh (tp = 2)\n"
                            "axes (seq = 8192, in = 4096, out = 28672)\n";

static const char rows[] =
    "entry fn local @f(%x : bf16[seq/tp, in] input \"x\", %w : bf16[in, out] "
    "input \"w\") -> (bf16[seq, out] output \"y\") {\n"
    "  %g : bf16[seq, in] = all_gather %x axis seq over (tp)\n"
    "  %y : bf16[seq, out] = einsum %g, %w sum (in)\n"
    "  ret %y\n"
    "}\n";

static const char rows_and_weights[] =
    "entry fn local @f(%x : bf16[seq/tp, in] input \"x\", %w : bf16[in/tp, "
    "out] "
    "input \"w\") -> (bf16[seq, out] output \"y\") {\n"
    "  %v : bf16[in, out] = all_gather %w axis in over (tp)\n"
    "  %g : bf16[seq, in] = all_gather %x axis seq over (tp)\n"
    "  %y : bf16[seq, out] = einsum %g, %v sum (in)\n"
    "  ret %y\n"
    "}\n";

static void check_no_errors(const Diag *d)
{
    Buf b = {0};
    diag_render(d, DIAG_TEXT, &b);
    if (b.n) fputs(b.at, stderr);
    buf_release(&b);
    assert_int_equal(d->nerrors, 0);
}

/* Commands of the image that are kernels or gemms; FED: of these, parts. */
static uint32_t count_products(const char *image, uint32_t *fed)
{
    const TitanHeader *h = (const void *)image;
    const TitanTable *t = &h->tables[TITAN_TABLE_commands];
    const TitanCommand *at = (const void *)(image + t->offset);
    uint32_t n = 0;
    *fed = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (at[i].kind != TITAN_COMMAND_kernel &&
            at[i].kind != TITAN_COMMAND_gemm)
            continue;
        n++;
        *fed += at[i].fed != 0;
    }
    return n;
}

static uint32_t fed_of(const char *program, uint32_t *products)
{
    Arena arena = {0}, scratch = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Module *m = NEW(&arena, Module);
    module_init(m, &arena, &scratch, &diag);
    const char *text = arena_printf(&arena, "%s%s", sizes, program);
    uint32_t source = diag_add_source(&diag, "own.tir", text, strlen(text));
    PipelineOpts p = {0};
    bool ok = module_parse(m, source) && module_verify(m) &&
              pipeline_run(m, pipeline, &p);
    check_no_errors(&diag);
    assert_true(ok);
    CodegenOpts o = {.target = TARGET_sm_90a, .level = 2};
    const void *image;
    size_t size;
    uint32_t fed;
    assert_true(image_write(m, &o, kernels_new(m, &o), &image, &size));
    check_no_errors(&diag);
    *products = count_products(image, &fed);
    arena_release(&scratch);
    arena_release(&arena);
    return fed;
}

static void own_rows_begin(void **state)
{
    (void)state;
    uint32_t products;
    assert_int_equal(fed_of(rows, &products), 2);
    assert_int_equal(products, 2);
}

static void what_is_moved_together_is_waited_for(void **state)
{
    (void)state;
    uint32_t products;
    assert_int_equal(fed_of(rows_and_weights, &products), 0);
    assert_int_equal(products, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_rows_begin),
        cmocka_unit_test(what_is_moved_together_is_waited_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
