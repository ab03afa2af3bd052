/* links: titan_runtime */
/*
 * reader.c: the image reader, on a small image made by hand.  As it is it is
 * taken; with one number changed, so that who executes it would leave its
 * memory, it is refused with a line that says what is wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/titan.h"

enum { F32 = 1, BF16 = 2, NRUNS = 5 };

/* loop 3 { loop 2, while a byte of the frame holds { kernel, gemm } } */
typedef struct Made {
    TitanHeader header;
    TitanStage stage;
    TitanEntry entry;
    TitanRun runs[NRUNS];
    TitanProgram program;
    TitanCommand commands[2];
    TitanOperand operands[6]; /* kernel: 1; gemm: 3 and a workspace; while: 1 */
    TitanTurn turn;
    TitanGemm gemm;
    TitanKernel kernel;
    TitanMap map;
    TitanPort port;
    TitanAxis axis, rows[2]; /* of the port, of the slot */
    TitanSlot slot;
    TitanCollective collective;
    TitanGroup group;
    char strings[8];
} Made;

static void add_table(Made *m, TitanTableId id, const void *at, uint32_t n,
                      size_t row)
{
    m->header.tables[id] = (TitanTable){
        (uint64_t)((const char *)at - (const char *)m), n, (uint32_t)row};
}

static void add_tables(Made *m)
{
#define T(name, type) add_table(m, TITAN_TABLE_##name, m, 0, sizeof(type));
    TITAN_TABLES(T)
#undef T
    add_table(m, TITAN_TABLE_stages, &m->stage, 1, sizeof m->stage);
    add_table(m, TITAN_TABLE_entries, &m->entry, 1, sizeof m->entry);
    add_table(m, TITAN_TABLE_runs, m->runs, NRUNS, sizeof *m->runs);
    add_table(m, TITAN_TABLE_programs, &m->program, 1, sizeof m->program);
    add_table(m, TITAN_TABLE_commands, m->commands, 2, sizeof *m->commands);
    add_table(m, TITAN_TABLE_operands, m->operands, 6, sizeof *m->operands);
    add_table(m, TITAN_TABLE_turns, &m->turn, 1, sizeof m->turn);
    add_table(m, TITAN_TABLE_gemms, &m->gemm, 1, sizeof m->gemm);
    add_table(m, TITAN_TABLE_kernels, &m->kernel, 1, sizeof m->kernel);
    add_table(m, TITAN_TABLE_maps, &m->map, 1, sizeof m->map);
    add_table(m, TITAN_TABLE_ports, &m->port, 1, sizeof m->port);
    add_table(m, TITAN_TABLE_axes, &m->axis, 3, sizeof m->axis);
    add_table(m, TITAN_TABLE_slots, &m->slot, 1, sizeof m->slot);
    add_table(m, TITAN_TABLE_collectives, &m->collective, 1,
              sizeof m->collective);
    add_table(m, TITAN_TABLE_groups, &m->group, 1, sizeof m->group);
    m->header.strings_offset = offsetof(Made, strings);
    m->header.strings_size = sizeof m->strings;
}

static TitanOperand frame(uint64_t offset, uint64_t bytes)
{
    return (TitanOperand){
        .base = TITAN_BASE_frame, .offset = offset, .bytes = bytes};
}

static void add_commands(Made *m)
{
    m->operands[0] = frame(256, 1024);
    m->operands[0].turns = (TitanRange){0, 1};
    m->turn.bytes = 128;
    m->operands[1] = frame(0, 64); /* 4 x 8 bf16 */
    m->operands[2] = frame(0, 96); /* 8 x 6 bf16 */
    m->operands[3] = frame(0, 48);
    m->operands[4] = frame(2048, 1024);
    m->operands[5] = frame(0, 1);
    m->gemm = (TitanGemm){.dtype_a = BF16,
                          .dtype_b = BF16,
                          .dtype_d = BF16,
                          .acc = F32,
                          .m = 4,
                          .n = 6,
                          .k = 8,
                          .a_row = 8,
                          .a_col = 1,
                          .b_row = 6,
                          .b_col = 1,
                          .d_row = 6,
                          .d_col = 1};
    m->kernel = (TitanKernel){.args = 1, .maps = {0, 1}};
    m->map = (TitanMap){.dtype = F32,
                        .rank = 2,
                        .size = {32, 8},
                        .stride = {4, 128},
                        .box = {32, 4}};
    m->commands[0] = (TitanCommand){.operands = {0, 1}, .items = 1};
    m->commands[1] =
        (TitanCommand){.kind = TITAN_COMMAND_gemm, .operands = {1, 4}};
    m->program.commands.n = 2;
}

static void make(Made *m)
{
    *m = (Made){.header = {.magic = TITAN_IMAGE_MAGIC,
                           .version = TITAN_IMAGE_VERSION,
                           .size = sizeof *m,
                           .whole_bytes = {256, 256},
                           .lanes = 1,
                           .ranks = 1,
                           .streams = 1,
                           .arena_bytes = 4608},
                .stage = {.base_bytes = {256, 256, 4096, 0},
                          .arena_bytes = 4608,
                          .entries = {0, 1}}};
    add_tables(m);
    add_commands(m);
    m->runs[0] = (TitanRun){.kind = TITAN_RUN_loop, .program = 4, .count = 3};
    m->runs[1] = (TitanRun){.kind = TITAN_RUN_loop,
                            .flags = TITAN_LOOP_while,
                            .operand = 5,
                            .program = 3,
                            .count = 2};
    m->runs[2] = (TitanRun){.kind = TITAN_RUN_program};
    m->runs[3] = m->runs[4] = (TitanRun){.kind = TITAN_RUN_end};
    m->entry.runs.n = NRUNS;
    m->port = (TitanPort){
        .role = TITAN_ROLE_record, .dtype = F32, .offset = 252, .axes = {0, 1}};
    m->axis.size = 1;
    m->rows[0].size = 3;
    m->rows[1].size = 4;
    m->slot = (TitanSlot){
        .dtype = F32, .piece = 4, .pitch = 30, .axes = {1, 2}}; /* 64 floats */
    m->entry.ports.n = 1;
}

static void seal(Made *m)
{
    XXH128_canonical_t c;
    memset(m->header.hash, 0, sizeof m->header.hash);
    XXH128_canonicalFromHash(&c, XXH3_128bits(m, m->header.size));
    memcpy(m->header.hash, c.digest, sizeof m->header.hash);
}

static void expect(Made *m, const char *want)
{
    TitanStory story = {0};
    TitanImage im;
    seal(m);
    TitanStatus st = titan_image_open(&story, m, m->header.size, &im);
    if (st != (want ? TITAN_BAD_DATA : TITAN_OK))
        fail_msg("status %d: %s", st, story.line[0]);
    if (want) assert_string_equal(story.line[0], want);
}

static void takes_what_is_whole(void **state)
{
    (void)state;
    Made m;
    make(&m);
    expect(&m, NULL);
}

/* A counter is a number, not a place. */
static void refuses_counters_as_memory(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.operands[5] = (TitanOperand){
        .kind = TITAN_OPERAND_counter, .base = 1000, .bytes = 1024};
    expect(&m, "image: a loop's condition is not in memory");
    make(&m);
    m.operands[4] = (TitanOperand){
        .kind = TITAN_OPERAND_counter, .base = 1000, .bytes = 1024};
    expect(&m, "image: a gemm has no workspace");
}

/* Who executes them would wait for nobody, or reach past the tables. */
static void refuses_ranks_that_are_not_there(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.commands[0] =
        (TitanCommand){.kind = TITAN_COMMAND_collective, .operands = {1, 2}};
    expect(&m, "image: a collective, and one rank");
    m.commands[0].index = 1;
    expect(&m, "image: collective 1 is missing");
    make(&m);
    m.header.ranks = 2;
    expect(&m, "image: a mesh of 1 ranks, and the header says 2");
    make(&m);
    m.collective.kind = TITAN_COLLECTIVE_send;
    m.collective.peer = 1;
    expect(&m, "image: collective 0 has no peer 1");
    make(&m);
    m.group.levels.n = 1;
    expect(&m, "image: group 0 is damaged");
}

/* What two stages say of the slot's three rows: of the first the first, of the
 * other the rest.  Both run the one entry. */
typedef struct Staged {
    Made made; /* first */
    TitanStage stages[2];
    TitanEntry entries[2];
    TitanMeshAxis mesh[2];
    TitanPart parts[3];
    TitanSplit split;
} Staged;

static void make_staged(Staged *s)
{
    Made *m = &s->made;
    *s = (Staged){0};
    make(m);
    m->header.size = sizeof *s;
    m->header.ranks = 4;
    m->header.stage_mesh = 1;
    m->port.parts = (TitanRange){0, 1};
    m->slot.parts = (TitanRange){1, 2};
    for (int i = 0; i < 2; i++) {
        s->stages[i] = m->stage;
        s->stages[i].entries = (TitanRange){(uint32_t)i, 1};
        s->entries[i] = m->entry;
        s->mesh[i].size = 2;
    }
    s->parts[1] = (TitanPart){.n = 1};
    s->parts[2] = (TitanPart){.stage = 1, .first = 1, .n = 2};
    add_table(m, TITAN_TABLE_stages, s->stages, 2, sizeof *s->stages);
    add_table(m, TITAN_TABLE_entries, s->entries, 2, sizeof *s->entries);
    add_table(m, TITAN_TABLE_mesh, s->mesh, 2, sizeof *s->mesh);
    add_table(m, TITAN_TABLE_parts, s->parts, 3, sizeof *s->parts);
    add_table(m, TITAN_TABLE_splits, &s->split, 1, sizeof s->split);
}

static void expect_staged(Staged *s, const char *want)
{
    expect(&s->made, want);
    make_staged(s);
}

static void takes_stages(void **state)
{
    (void)state;
    Staged s;
    make_staged(&s);
    expect_staged(&s, NULL);
    s.parts[2] = s.parts[1]; /* both have all of it */
    s.parts[1].n = s.parts[2].n = 0;
    s.parts[2].stage = 1;
    expect_staged(&s, NULL);
    s.entries[1].runs.n = 0;
    expect_staged(&s, NULL);
}

static void refuses_stages_that_differ(void **state)
{
    (void)state;
    Staged s;
    make_staged(&s);
    s.made.header.stage_mesh = 2;
    expect_staged(&s,
                  "image: 2 stages, and no mesh axis of that size for them");
    s.stages[1].entries.first = 0;
    expect_staged(&s, "image: stage 1 does not have its entries");
    s.entries[1].name = 1;
    expect_staged(&s, "image: entry 0 of stage 1 is another");
    s.entries[1].ports.n = 0;
    expect_staged(&s, "image: entry 0 of stage 1 is another");
    s.stages[1].arena_bytes = 4096;
    expect_staged(&s, "image: the parts of the arena make 4608 bytes, its "
                      "stage says 4096");
    s.made.header.arena_bytes = 9216;
    expect_staged(&s, "image: the largest arena has 4608 bytes, the header "
                      "says 9216");
    s.stages[1].peaks.n = 1;
    expect_staged(&s, "image: the peaks of stage 1 are missing");
    s.stages[1].base_bytes[TITAN_BASE_frame] = 256;
    s.stages[1].arena_bytes = 768;
    expect_staged(&s, "image: operand 0 lies outside its base");
}

static void refuses_parts_that_are_not_the_whole(void **state)
{
    static const char apart[] = "image: the parts of  do not follow each other";
    (void)state;
    Staged s;
    make_staged(&s);
    s.parts[2].n = 1;
    expect_staged(&s, "image: the parts of  are not all of it");
    s.parts[2].n = 3;
    expect_staged(&s, "image: the part of  is outside of it");
    s.parts[2].axis = 2;
    expect_staged(&s, "image: the part of  is outside of it");
    s.parts[2].stage = 2;
    expect_staged(&s, "image:  has no stage");
    s.parts[2].first = 0;
    expect_staged(&s, apart);
    s.parts[1].n = 0;
    expect_staged(&s, apart);
    s.parts[2].axis = 1;
    expect_staged(&s, apart);
    s.parts[1] = s.parts[2]; /* the same indices, twice of one stage */
    expect_staged(&s, apart);
    s.parts[2].offset = 256;
    expect_staged(&s, "image: the part of  does not lie in its base");
    s.made.slot.parts.n = 0;
    expect_staged(&s, "image:  has no part");
    s.parts[1].splits.n = 1; /* over what tells the stages apart */
    s.split.mesh = 1;
    expect_staged(&s, "image:  is split twice");
}

static void refuses_turns_that_leave(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.turn.bytes = INT64_MIN;
    expect(&m, "image: operand 0 lies outside its base");
}

/* Of a matrix whose columns lie closer than its rows are long, the libraries
 * would take more bytes than the strides say. */
static void refuses_matrices_that_overlap(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.gemm.a_row = 0;
    expect(&m, "image: gemm 0 has strides of no matrix");
    make(&m);
    m.gemm.d_row = 5;
    expect(&m, "image: gemm 0 has strides of no matrix");
    make(&m);
    m.gemm.m = 1, m.gemm.a_row = m.gemm.d_row = 0; /* one row: no stride */
    expect(&m, NULL);
    make(&m);
    m.gemm.nbatch = 2;
    m.gemm.batch[0] = m.gemm.batch[1] = INT64_C(1) << 40;
    expect(&m, "image: gemm 0 has a batch that is too large");
}

/* The copy engine takes the innermost elements as neighbours. */
static void refuses_maps_with_gaps(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.map.stride[0] = 0;
    m.map.size[0] = 4096;
    expect(&m, "image: map 0 is damaged");
}

static void refuses_records_of_nothing(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.axis.size = 0;
    m.port.offset = 256;
    expect(&m, "image: port 0 has no element");
}

/* Turns that run beside each other cannot wait for one to end the loop. */
static void refuses_parallel_conditions(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.runs[1].flags |= TITAN_LOOP_parallel;
    expect(&m, "image: loop at run 1 has a condition, and turns in no order");
}

static void refuses_pieces_that_leave(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.slot.pitch = 31;
    expect(&m, "image:  does not lie in its base");
    make(&m);
    m.slot.pitch = UINT64_MAX / 2;
    expect(&m, "image:  does not lie in its base");
    make(&m);
    m.slot.pitch = 3;
    expect(&m, "image:  is in pieces that overlap");
    make(&m);
    m.slot.piece = 5;
    expect(&m, "image:  is in pieces that overlap");
}

static void refuses_unknown_targets(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.header.target = 3;
    expect(&m, "image: target 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_is_whole),
        cmocka_unit_test(refuses_counters_as_memory),
        cmocka_unit_test(refuses_ranks_that_are_not_there),
        cmocka_unit_test(takes_stages),
        cmocka_unit_test(refuses_stages_that_differ),
        cmocka_unit_test(refuses_parts_that_are_not_the_whole),
        cmocka_unit_test(refuses_turns_that_leave),
        cmocka_unit_test(refuses_matrices_that_overlap),
        cmocka_unit_test(refuses_maps_with_gaps),
        cmocka_unit_test(refuses_records_of_nothing),
        cmocka_unit_test(refuses_parallel_conditions),
        cmocka_unit_test(refuses_pieces_that_leave),
        cmocka_unit_test(refuses_unknown_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
