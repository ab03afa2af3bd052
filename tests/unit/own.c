/* links: titan_codegen titan_passes titan_runtime */
/*
 * What of an image begins with a device's own rows of what is gathered: the
 * products of these rows, but not where they read, or write over, what is moved
 * together with the gather, of which their own rows say nothing.  Rows that the
 * program makes stay until the products have read them.  Images whose parts or
 * exchanges are of something else are refused.
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

static const char exchanges[] =
    "entry fn local @f(%x : bf16[seq/tp, in] input \"x\", %w : bf16[in, "
    "out/tp] input \"w\", %v : bf16[out/tp, in] input \"v\") -> "
    "(bf16[seq/tp, in] output \"s\") {\n"
    "  %g : bf16[seq, in] = all_gather %x axis seq over (tp)\n"
    "  %y : bf16[seq, out/tp] = einsum %g, %w sum (in)\n"
    "  %p : bf16[seq, in]+tp = einsum %y, %v sum (out)\n"
    "  %s : bf16[seq/tp, in] = reduce_scatter %p axis seq over (tp)\n"
    "  %h : bf16[seq, in] = all_gather %s axis seq over (tp)\n"
    "  %z : bf16[seq, out/tp] = einsum %h, %w sum (in)\n"
    "  %q : bf16[seq, in]+tp = einsum %z, %v sum (out)\n"
    "  %t : bf16[seq/tp, in] = reduce_scatter %q axis seq over (tp)\n"
    "  ret %t\n"
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
 * the stream, + 1, on which that stays, and exchanges that are fed. */
typedef struct Counts {
    uint32_t products, parts, stays, fed;
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
        n.fed += cmd->kind == TITAN_COMMAND_collective && cmd->fed;
        if (cmd->kind != TITAN_COMMAND_kernel &&
            cmd->kind != TITAN_COMMAND_gemm)
            continue;
        n.products++;
        n.parts += cmd->fed != 0;
        if (cmd->fed) check_apart(image, cmd);
    }
    return n;
}

static void *row_of(char *image, TitanTableId table, uint32_t row)
{
    return (void *)(uintptr_t)table_at(image, table, row);
}

/* What is changed in an image is refused. */
static void check_refused(Arena *a, const void *image, size_t size,
                          void (*change)(char *image), const char *because)
{
    char *copy = arena_alloc(a, size);
    TitanStory story = {0};
    TitanImage im;
    memcpy(copy, image, size);
    assert_int_equal(titan_image_open(&story, copy, size, &im), TITAN_OK);
    change(copy);
    seal((TitanHeader *)(void *)copy);
    assert_int_equal(titan_image_open(&story, copy, size, &im), TITAN_BAD_DATA);
    assert_non_null(strstr(story.line[0], because));
}

/* The number of the first command, from one on, that is fed, a collective or
 * none. */
static uint32_t next_fed(const char *image, uint32_t from, bool collective)
{
    const TitanCommand *cmd;
    do
        cmd = table_at(image, TITAN_TABLE_commands, from++);
    while (!cmd->fed || (cmd->kind == TITAN_COMMAND_collective) != collective);
    return from - 1;
}

/* The number of the first part of what stays. */
static uint32_t first_of_what_stays(const char *image)
{
    for (uint32_t i = 0;; i++) {
        i = next_fed(image, i, false);
        const TitanCommand *cmd = table_at(image, TITAN_TABLE_commands, i);
        const TitanCommand *from =
            table_at(image, TITAN_TABLE_commands, cmd->fed - 1);
        if (from->stays) return i;
    }
}

/* It reads all that is gathered. */
static void make_longer(char *image)
{
    const TitanCommand *cmd =
        table_at(image, TITAN_TABLE_commands, first_of_what_stays(image));
    const TitanCommand *from =
        table_at(image, TITAN_TABLE_commands, cmd->fed - 1);
    const TitanOperand *all = operand(image, from, 0);
    for (uint32_t k = 0; k < cmd->operands.n; k++) {
        TitanOperand *o =
            row_of(image, TITAN_TABLE_operands, cmd->operands.first + k);
        if (o->base == all->base && o->offset == all->offset)
            o->bytes = all->bytes;
    }
}

/* Of two parts one is none. */
static void leave_out_last(char *image)
{
    uint32_t first = next_fed(image, 0, false);
    TitanCommand *last = row_of(image, TITAN_TABLE_commands, first + 1);
    last->fed = 0;
}

/* What says that the gather is over comes behind its parts. */
static void say_late(char *image)
{
    uint32_t i = next_fed(image, 0, false);
    const TitanCommand *cmd = table_at(image, TITAN_TABLE_commands, i);
    for (uint32_t k = cmd->fed; k < i; k++) {
        TitanCommand *at = row_of(image, TITAN_TABLE_commands, k);
        if (at->kind == TITAN_COMMAND_signal) at->stream = cmd->stream;
    }
}

/* The second exchange is of the first one's product. */
static void feed_twice(char *image)
{
    uint32_t first = next_fed(image, 0, true);
    const TitanCommand *one = table_at(image, TITAN_TABLE_commands, first);
    TitanCommand *two =
        row_of(image, TITAN_TABLE_commands, next_fed(image, first + 1, true));
    TitanOperand *from =
        row_of(image, TITAN_TABLE_operands, two->operands.first + 1);
    *from = *operand(image, one, 1);
    two->fed = one->fed;
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
    if (n.stays) check_refused(&arena, image, size, make_longer, "other parts");
    if (n.parts) {
        check_refused(&arena, image, size, leave_out_last, "other parts");
        check_refused(&arena, image, size, say_late, "other parts");
    }
    if (n.fed)
        check_refused(&arena, image, size, feed_twice, "a second exchange");
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

static void exchanges_have_products_of_their_own(void **state)
{
    (void)state;
    assert_int_equal(counts_of(exchanges).fed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_rows_begin),
        cmocka_unit_test(rows_that_are_made_stay),
        cmocka_unit_test(what_is_moved_together_is_waited_for),
        cmocka_unit_test(exchanges_have_products_of_their_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
