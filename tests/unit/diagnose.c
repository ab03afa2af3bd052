/* links: titan_runtime */
/*
 * What is not finite is counted in every dtype and any layout, infinities that
 * are meant are passed over, and the first bad tensor is named with its turns;
 * on a device that is an array and a list of moments.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/census.h"
#include "runtime/diagnose.h"
#include "runtime/narrow.h"

enum { F64, F32, BF16, F16, E4M3, E5M2, I32 = 7 };

/* ---------------------------------------------------------------- census -- */

static void counts_in_every_dtype(void **state)
{
    (void)state;
    static const struct {
        uint32_t dtype;
        bool infinite;
    } cases[] = {{F64, true}, {F32, true},   {BF16, true},
                 {F16, true}, {E4M3, false}, {E5M2, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum { N = 3000 };
        uint32_t d = cases[i].dtype;
        unsigned bytes = titan_dtype_bytes(d);
        char at[N * 8];
        for (int64_t k = 0; k < N; k++)
            narrow_store_one(d, (double)(k % 7), at + k * bytes);
        Census c = {0};
        census_add(&c, d, 0, at, N);
        assert_int_equal(c.n, N);
        assert_false(census_bad(&c));
        narrow_store_one(d, NAN, at + 2500 * bytes);
        census_add(&c, d, 0, at, N);
        assert_int_equal(c.nan, 1);
        assert_int_equal(c.first, N + 2500);
        if (!cases[i].infinite || d == E5M2) continue; /* casts saturate */
        narrow_store_one(d, INFINITY, at + 7 * bytes);
        narrow_store_one(d, -INFINITY, at + 8 * bytes);
        c = (Census){0};
        census_add(&c, d, TITAN_MAY_minus, at, N);
        assert_int_equal(c.plus, 1);
        assert_int_equal(c.minus, 0);
        assert_int_equal(c.first, 7);
    }
}

static void says_what_it_counted(void **state)
{
    (void)state;
    char text[160];
    Census c = {.n = 10, .nan = 2, .minus = 1, .first = 4};
    assert_string_equal(census_words(&c, text, sizeof text),
                        "2 nan, 1 -inf among 10 elements, the first at 4");
}

static void reads_faults(void **state)
{
    (void)state;
    Inject i;
    assert_true(inject_parse("3:14", &i));
    assert_true(i.step == 3 && i.result == 14 && isnan(i.value));
    assert_true(inject_parse("1:2:-inf", &i) && i.value == -INFINITY);
    assert_true(inject_parse("3:14@2", &i) && i.rank == 2 && isnan(i.value));
    assert_true(inject_parse("3:14:inf@5", &i) && i.rank == 5);
    assert_true(i.value == INFINITY);
    static const char *const wrong[] = {
        "",     "3",   ":4",   "3:",    "0:1",    "3:1:no",
        "3:1:", "x:1", "3:1@", "3:1@x", "3:1:@2", "3:1@2x"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
        assert_false(inject_parse(wrong[k], &i));
}

/* ---------------------------------------------------------------- device -- */

static const char strings[] = "\0x\0map\0train\0layer\0w\0m.tt";
enum { S_x = 1, S_map = 3, S_train = 7, S_layer = 13, S_w = 19, S_file = 21 };

/* Two layers write 2 x 3 elements, rows 4 apart, into 8 of their own. */
typedef struct World {
    TitanDevice device; /* first */
    float memory[64];
    TitanImage im;
    uint32_t visited;
} World;

static const TitanHeader header = {.ranks = 1};
static const TitanOperand operand = {
    .base = TITAN_BASE_frame, .offset = 128, .bytes = 28, .turns = {0, 1}};
static const TitanTurn turn = {.bytes = 32};
static const TitanSpan spans[] = {{2, 16}, {3, 4}};
static const TitanCommand command = {.operands = {0, 1}, .results = {0, 1}};
static const TitanProgram program = {.name = S_train};
static const TitanRun loop = {.count = 2, .name = S_layer};
static const TitanSlot slot = {.path = S_w, .dtype = F32};
static TitanResult result = {.name = S_x,
                             .op = S_map,
                             .file = S_file,
                             .line = 5,
                             .dtype = F32,
                             .spans = {0, 2}};

static TitanStatus watch(TitanDevice *d, const TitanEntry *e, uint32_t runs,
                         TitanWatch *w)
{
    World *y = (World *)d;
    (void)e, (void)runs;
    for (int64_t i = 0; i < 2 && !w->stop; i++) {
        TitanMoment at = {&program, &command, 1, {&loop}, {i}};
        y->visited++;
        TitanStatus st = w->after(w, &at);
        if (st != TITAN_OK) return st;
    }
    return TITAN_OK;
}

static TitanStatus fetch(TitanDevice *d, TitanBase base, uint64_t offset,
                         void *to, size_t bytes)
{
    (void)base;
    memcpy(to, (const char *)((World *)d)->memory + offset, bytes);
    return TITAN_OK;
}

static TitanStatus put(TitanDevice *d, TitanBase base, uint64_t offset,
                       const void *from, size_t bytes)
{
    (void)base;
    memcpy((char *)((World *)d)->memory + offset, from, bytes);
    return TITAN_OK;
}

static const DeviceClass class = {.watch = watch, .read = fetch, .write = put};

static void begin(World *y)
{
    *y = (World){.device = {.class = &class},
                 .im = {.operands = &operand,
                        .turns = &turn,
                        .spans = spans,
                        .results = &result,
                        .slots = &slot,
                        .nslots = 1,
                        .header = &header,
                        .strings = strings}};
    y->device.arena[TITAN_BASE_frame] = (char *)y->memory;
    y->device.arena[TITAN_BASE_persistent] = (char *)y->memory;
    result.may = 0;
}

static void expect_said(World *y, const Inject *fault, const char *want)
{
    char text[1000] = {0};
    TitanEntry e = {.until = 3};
    Suspect s = {&y->im, &y->device, 1, fault};
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    assert_int_equal(diagnose_run(&s, &e, out), TITAN_OK);
    fclose(out);
    assert_string_equal(text, want);
}

static void names_the_first(void **state)
{
    (void)state;
    static const Inject none;
    World y;
    begin(&y);
    y.memory[35] = NAN; /* between the rows of layer 0 */
    expect_said(&y, &none,
                "  all 2 float tensors up to the update are finite\n");
    y.memory[40 + 5] = -INFINITY; /* row 1, column 1 of layer 1 */
    expect_said(&y, &none,
                "  first in the forward pass: 'x' (map, m.tt:5) in train, "
                "layer = 1\n"
                "  it has 1 -inf among 6 elements, the first at 4\n");
    result.may = TITAN_MAY_minus;
    expect_said(&y, &none,
                "  all 2 float tensors up to the update are finite\n");
}

static void looks_at_what_there_was(void **state)
{
    (void)state;
    static const Inject none;
    World y;
    begin(&y);
    y.memory[0] = NAN;
    expect_said(&y, &none,
                "  before the step: parameter 'w' has 1 nan among 1 elements, "
                "the first at 0\n"
                "  all 2 float tensors up to the update are finite\n");
}

/* A device whose memory is its own, and a result without gaps. */
static void fetches_what_it_cannot_reach(void **state)
{
    (void)state;
    static const Inject none;
    World y;
    begin(&y);
    y.device.arena[TITAN_BASE_frame] = NULL;
    y.device.arena[TITAN_BASE_persistent] = NULL;
    y.memory[0] = INFINITY;
    y.memory[40 + 2] = NAN; /* row 0, column 2 of layer 1 */
    static const char strided[] =
        "  before the step: parameter 'w' has 1 inf among 1 elements, the "
        "first at 0\n"
        "  first in the forward pass: 'x' (map, m.tt:5) in train, layer = 1\n"
        "  it has 1 nan among 6 elements, the first at 2\n";
    expect_said(&y, &none, strided);
    result.spans = (TitanRange){1, 1};
    y.memory[0] = 0;
    expect_said(
        &y, &none,
        "  first in the forward pass: 'x' (map, m.tt:5) in train, layer = 1\n"
        "  it has 1 nan among 3 elements, the first at 2\n");
    result.spans = (TitanRange){0, 2};
}

static void finds_its_own_fault(void **state)
{
    (void)state;
    const Inject fault = {1, 1, INFINITY, 0};
    World y;
    begin(&y);
    expect_said(&y, &fault,
                "  first in the forward pass: 'x' (map, m.tt:5) in train, "
                "layer = 0\n"
                "  it has 1 inf among 6 elements, the first at 4\n");
    assert_int_equal(y.visited, 1); /* and looked no further */
}

/* What four ranks of two stages have seen, in this order. */
static const Finding *first_of(const Exam *x, const Finding seen[4])
{
    static const TitanHeader four = {.ranks = 4};
    static const TitanMeshAxis mesh[] = {{.size = 2}, {.size = 2}};
    static Finding all;
    TitanImage im = {.header = &four, .nstages = 2, .mesh = mesh, .nmesh = 2};
    all = (Finding){0};
    for (uint32_t r = 0; r < 4; r++) {
        Finding one = seen[r];
        one.rank = r;
        if (one.found) snprintf(one.text, sizeof one.text, "%u", r);
        finding_add(&im, x, &all, &one);
    }
    return &all;
}

static void names_the_rank_that_made_it(void **state)
{
    (void)state;
    const Exam look = {.look = true}, fault = {.fault = 3, .rank = 2};
    const Finding none[4] = {
        {.seen = 5}, {.seen = 5}, {.seen = 7}, {.seen = 7}};
    const Finding *f = first_of(&look, none);
    assert_false(f->found);
    assert_int_equal(f->seen, 24);
    /* of one stage the earlier command, whoever was faster */
    assert_string_equal(
        first_of(&look, (Finding[4]){{.seen = 5, .found = true, .when = 1},
                                     {.seen = 4, .found = true, .when = 2}})
            ->text,
        "1");
    /* of two stages the earlier one, and what was brought is not made */
    assert_string_equal(
        first_of(&look,
                 (Finding[4]){{.seen = 9, .found = true, .when = 1},
                              {.seen = 2, .found = true, .brought = true},
                              {.seen = 1, .found = true, .when = 3}})
            ->text,
        "0");
    Finding told[4] = {{.seen = 5}, {.seen = 5}, {.seen = 7, .text = "x"}};
    f = first_of(&fault, told);
    assert_string_equal(f->text, "x");
    assert_int_equal(f->seen, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_in_every_dtype),
        cmocka_unit_test(says_what_it_counted),
        cmocka_unit_test(reads_faults),
        cmocka_unit_test(names_the_first),
        cmocka_unit_test(looks_at_what_there_was),
        cmocka_unit_test(fetches_what_it_cannot_reach),
        cmocka_unit_test(finds_its_own_fault),
        cmocka_unit_test(names_the_rank_that_made_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
