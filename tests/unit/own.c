/* links: titan_codegen titan_passes titan_runtime */
/*
 * What of an image begins with a device's own rows of what is gathered: the
 * products of these rows, but not where they read, or write over, what is moved
 * together with the gather, of which their own rows say nothing.  Rows that the
 * program makes stay until the products have read them.
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
#include "runtime/titan.h"
#include "tests/unit/sealed.h"

static const char pipeline[] =
    "localise,chunk{target=sm_90a},fuse{target=sm_90a},expand,"
    "schedule{streams=2},memplan";

static const char sizes[] =
    "mesh (tp = 2)\n"
    "axes (seq = 8192, in = 4096, out = 28672, few = 16)\n";

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

static const char rows_made[] =
    "entry fn local @f(%x : bf16[seq/tp, in] input \"x\", %w : bf16[in, out] "
    "input \"w\", %v : bf16[out, few] input \"v\") -> (bf16[seq, few] "
    "output \"s\") {\n"
    "  %z : bf16[seq/tp, in] = map %x { bf16(f32(_0) * f32(_0)) }\n"
    "  %g : bf16[seq, in] = all_gather %z axis seq over (tp)\n"
    "  %y : bf16[seq, out] = einsum %g, %w sum (in)\n"
    "  %s : bf16[seq, few] = einsum %y, %v sum (out)\n"
    "  ret %s\n"
    "}\n";

static void check_no_errors(const Diag *d)
{
    Buf b = {0};
    diag_render(d, DIAG_TEXT, &b);
    if (b.n) fputs(b.at, stderr);
    buf_release(&b);
    assert_int_equal(d->nerrors, 0);
}

/* Of an image: commands that are kernels or gemms, of these parts of a gather,
 * and the stream, + 1, on which that stays. */
typedef struct Counts {
    uint32_t products, parts, stays;
} Counts;

static const void *table_at(const char *image, TitanTableId table, uint32_t row)
{
    const TitanTable *t =
        &((const TitanHeader *)(const void *)image)->tables[table];
    assert_true(row < t->n);
    return image + t->offset + (size_t)row * t->row;
}

static const TitanOperand *operand(const char *image, const TitanCommand *cmd,
                                   uint32_t k)
{
    return table_at(image, TITAN_TABLE_operands, cmd->operands.first + k);
}

/* A part writes nothing where the gather's source stays. */
static void check_apart(const char *image, const TitanCommand *part)
{
    const TitanCommand *gather =
        table_at(image, TITAN_TABLE_commands, part->fed - 1);
    const TitanOperand *from = operand(image, gather, 1);
    for (uint32_t k = 0; k < part->operands.n; k++) {
        const TitanOperand *o = operand(image, part, k);
        assert_true(o->base != from->base ||
                    o->offset + o->bytes <= from->offset ||
                    from->offset + from->bytes <= o->offset);
    }
}

static Counts count(const char *image)
{
    const TitanHeader *h = (const void *)image;
    Counts n = {0};
    for (uint32_t i = 0; i < h->tables[TITAN_TABLE_commands].n; i++) {
        const TitanCommand *cmd = table_at(image, TITAN_TABLE_commands, i);
        n.stays |= cmd->stays;
        if (cmd->kind != TITAN_COMMAND_kernel &&
            cmd->kind != TITAN_COMMAND_gemm)
            continue;
        n.products++;
        n.parts += cmd->fed != 0;
        if (cmd->fed) check_apart(image, cmd);
    }
    return n;
}

/* An operand of a part that goes beyond a member's piece is refused. */
static void check_longer(Arena *a, const void *image, size_t size)
{
    char *copy = arena_alloc(a, size);
    TitanStory story = {0};
    TitanImage im;
    memcpy(copy, image, size);
    assert_int_equal(titan_image_open(&story, copy, size, &im), TITAN_OK);
    const TitanHeader *h = (const void *)copy;
    for (uint32_t i = 0; i < h->tables[TITAN_TABLE_commands].n; i++) {
        const TitanCommand *cmd = table_at(copy, TITAN_TABLE_commands, i);
        if (!cmd->fed) continue;
        const TitanCommand *from =
            table_at(copy, TITAN_TABLE_commands, cmd->fed - 1);
        const TitanOperand *all =
            table_at(copy, TITAN_TABLE_operands, from->operands.first);
        for (uint32_t k = 0; k < cmd->operands.n; k++) {
            const TitanOperand *o =
                table_at(copy, TITAN_TABLE_operands, cmd->operands.first + k);
            if (o->base == all->base && o->offset == all->offset)
                ((TitanOperand *)(uintptr_t)o)->bytes = all->bytes;
        }
    }
    seal((TitanHeader *)(void *)copy);
    assert_int_equal(titan_image_open(&story, copy, size, &im), TITAN_BAD_DATA);
}

static Counts counts_of(const char *program)
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
    assert_true(image_write(m, &o, kernels_new(m, &o), &image, &size));
    check_no_errors(&diag);
    Counts n = count(image);
    if (n.stays) check_longer(&arena, image, size);
    arena_release(&scratch);
    arena_release(&arena);
    return n;
}

static void own_rows_begin(void **state)
{
    (void)state;
    Counts n = counts_of(rows);
    assert_int_equal(n.parts, 2);
    assert_int_equal(n.products, 2);
    assert_int_equal(n.stays, 0);
}

static void rows_that_are_made_stay(void **state)
{
    (void)state;
    Counts n = counts_of(rows_made);
    assert_int_equal(n.parts, 2);
    assert_int_equal(n.stays, 1);
}

static void what_is_moved_together_is_waited_for(void **state)
{
    (void)state;
    Counts n = counts_of(rows_and_weights);
    assert_int_equal(n.parts, 0);
    assert_int_equal(n.products, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_rows_begin),
        cmocka_unit_test(rows_that_are_made_stay),
        cmocka_unit_test(what_is_moved_together_is_waited_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
