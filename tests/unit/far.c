/* links: titan_codegen */
/*
 * far.c: kernels that choose among more than 2^32 elements.
 *
 * The last row of a `top` lies behind 2^32 bytes; only what is touched takes
 * memory.  Where an offset of 32 bits would lie there is a decoy, which has
 * another answer: a kernel with the defect, planted by moving its operand back
 * by 2^32 bytes, gives that one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

#include "codegen/kernel.h"
#include "tests/unit/opened.h"
#include "tests/unit/unit.h"

#define COLUMNS 64
#define ROWS    INT64_C(0x4100000) /* of 64 bytes: 2^32 and 2^26 of them */
#define TEXT                                                           \
    "axes (row = 68157440, col = 64, best = 2)\n"                      \
    "fn local @far(%x : u8[row, col]) -> i32[row, best] kind sort {\n" \
    "  %r : i32[row, best] = top %x axis col to (best) kind max\n"     \
    "  ret %r\n"                                                       \
    "}\n"

static char *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) skip();
    return p;
}

static void put_best(char *row, int first, int second)
{
    memset(row, 0, COLUMNS);
    row[first] = 9;
    row[second] = 7;
}

/* The row's choice is the one that was put there. */
static bool is_chosen(const int32_t *best)
{
    return best[0] == 5 && best[1] == 60;
}

static void top_reaches_far(void **state)
{
    (void)state;
    Unit u;
    unit_open(&u);
    assert_true(unit_parse(&u, "far", TEXT, strlen(TEXT)));
    assert_true(module_verify(&u.m));
    const Fn *fn = u.m.fns.at[0];
    const CodegenOpts o = {.target = TARGET_host, .level = 2};
    KernelSet *set = kernels_new(&u.m, &o);
    static const int64_t in[] = {COLUMNS, 1}, out[] = {2, 1};
    KernelArg args[] = {
        {.type = fn->params[0].type, .stride = in, .align = 64, .same = -1},
        {.type = fn->results[0].type,
         .stride = out,
         .align = 64,
         .written = true,
         .same = -1}};
    uint32_t row;
    assert_true(kernels_add(set, fn, args, 2, &row));
    const TitanHostKernel run = opened_object(&u.arena, set)[row];
    int64_t items = kernel_at(set, row)->items; /* one for each element */
    char *x = reserve(ROWS * COLUMNS);
    int32_t *best = (int32_t *)(void *)reserve(ROWS * 2 * sizeof *best);
    uint64_t last = (uint64_t)(ROWS - 1) * COLUMNS;
    put_best(x + last, 5, 60);
    put_best(x + (uint32_t)last, 33, 2);
    uint64_t words[] = {(uint64_t)(uintptr_t)x, (uint64_t)(uintptr_t)best};
    run(words, items - COLUMNS, items);
    assert_true(is_chosen(&best[(ROWS - 1) * 2]));
    words[0] -= UINT64_C(1) << 32;
    run(words, items - COLUMNS, items);
    assert_false(is_chosen(&best[(ROWS - 1) * 2]));
    kernels_free(set);
    unit_close(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(top_reaches_far)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
