/*
 * made.h: a list over two kernels, made by hand, and the device that runs it on
 * a driver without a GPU (fake/cuda.c).
 */
#ifndef TITAN_TESTS_MADE_H
#define TITAN_TESTS_MADE_H

#include <string.h>

#include "runtime/device.h"
#include "tests/unit/fake/fake.h"

/* An image made by hand: a list over two kernels, one of them with a map. */
enum { F64 = 0, F32 = 1, BF16 = 2, BOOL = 14, MOST = 32 };

static const char strings[] = "\0bump\0tile\0m.tt\0loss\0x\0add";
enum { S_bump = 1, S_tile = 6, S_file = 11, S_loss = 16, S_x = 21, S_add = 23 };

typedef struct Made {
    TitanHeader header;
    TitanStage stage;
    TitanEntry entry;
    TitanRun runs[MOST];
    TitanProgram programs[MOST];
    TitanCommand commands[MOST];
    TitanOperand operands[MOST];
    TitanTurn turns[MOST];
    TitanGemm gemms[4];
    TitanKernel kernels[2];
    TitanMap map;
    TitanPort ports[2];
    TitanImage im;
} Made;

static inline void begin(Made *m)
{
    *m = (Made){
        .header = {.target = TITAN_TARGET_sm_90a,
                   .lanes = 1,
                   .streams = 1,
                   .ranks = 1},
        .stage = {.base_bytes = {65536, 256, 1024, 0}, .arena_bytes = 66816}};
    m->kernels[0] = (TitanKernel){.name = S_bump, .args = 2, .threads = 128};
    m->kernels[1] = (TitanKernel){.name = S_tile,
                                  .args = 2,
                                  .threads = 384,
                                  .shared_bytes = 200000,
                                  .maps = {0, 1}};
    m->map = (TitanMap){.arg = 0,
                        .dtype = BF16,
                        .rank = 2,
                        .swizzle = 128,
                        .offset = 64,
                        .size = {64, 8},
                        .stride = {2, 256},
                        .box = {64, 4}};
    m->ports[0] = (TitanPort){
        .path = S_loss, .role = TITAN_ROLE_record, .dtype = F32, .offset = 0};
    m->ports[1] = (TitanPort){
        .path = S_x, .role = TITAN_ROLE_input, .dtype = F32, .offset = 64};
    m->im = (TitanImage){.header = &m->header,
                         .stages = &m->stage,
                         .nstages = 1,
                         .entries = &m->entry,
                         .nentries = 1,
                         .runs = m->runs,
                         .programs = m->programs,
                         .commands = m->commands,
                         .operands = m->operands,
                         .turns = m->turns,
                         .gemms = m->gemms,
                         .kernels = m->kernels,
                         .nkernels = 2,
                         .maps = &m->map,
                         .nmaps = 1,
                         .ports = m->ports,
                         .nports = 2,
                         .strings = strings};
    m->entry.ports = (TitanRange){0, 2};
}

static inline uint32_t operand(Made *m, TitanBase base, uint64_t offset,
                               int64_t per_turn)
{
    TitanOperand *o = &m->operands[m->im.noperands];
    *o = (TitanOperand){.base = base, .offset = offset};
    o->turns.first = m->im.nturns;
    if (per_turn) {
        m->turns[m->im.nturns++] = (TitanTurn){.bytes = per_turn};
        o->turns.n = 1;
    }
    return m->im.noperands++;
}

static inline uint32_t counter(Made *m)
{
    m->operands[m->im.noperands] =
        (TitanOperand){.kind = TITAN_OPERAND_counter};
    return m->im.noperands++;
}

/* A command of the operands since the last one, as a program of its own. */
static inline TitanCommand *command(Made *m, TitanCommandKind kind,
                                    uint32_t index, int64_t items)
{
    TitanCommand *last =
        m->im.ncommands ? &m->commands[m->im.ncommands - 1] : NULL;
    uint32_t first = last ? last->operands.first + last->operands.n : 0;
    TitanCommand *c = &m->commands[m->im.ncommands];
    *c = (TitanCommand){.kind = kind,
                        .index = index,
                        .operands = {first, m->im.noperands - first},
                        .items = items,
                        .file = S_file,
                        .line = m->im.ncommands + 1};
    m->programs[m->im.nprograms] =
        (TitanProgram){.commands = {m->im.ncommands++, 1}};
    m->runs[m->im.nruns++] = (TitanRun){.program = m->im.nprograms++};
    m->entry.runs.n = m->im.nruns;
    return c;
}

static inline void bump(Made *m, uint64_t at)
{
    operand(m, TITAN_BASE_io, at, 0);
    operand(m, TITAN_BASE_io, 0, 0);
    command(m, TITAN_COMMAND_kernel, 0, 3);
}

static inline void run(Made *m, TitanRunKind kind, uint32_t flags,
                       int64_t count)
{
    m->runs[m->im.nruns++] =
        (TitanRun){.kind = kind, .flags = flags, .count = count};
    m->entry.runs.n = m->im.nruns;
}

/* Text of which a driver makes the kernels. */
#define FRONT       "// a step\n.version 8.7\n"
#define ENTRY(name) ".visible .entry " name "(\n.param .u64 p\n)\n{\nret;\n}\n"
static const char kernels[] = FRONT ENTRY("bump") ENTRY("add") ENTRY("other");

/* --------------------------------------------------------------- devices -- */

static TitanStory story;

static inline TitanStatus open_with(Made *m, const TitanCode *code,
                                    const DeviceOptions *o, TitanDevice **d)
{
    story = (TitanStory){0};
    return device_new(&story, &m->im, code, o, d);
}

static inline TitanDevice *open_asked(Made *m, const DeviceOptions *o)
{
    static const TitanCode code = {.cubin = "machine code"};
    TitanDevice *d;
    if (open_with(m, &code, o, &d) != TITAN_OK) fail_msg("%s", story.line[0]);
    fake_device()->log[0] = 0;
    return d;
}

static inline TitanDevice *open_device(Made *m)
{
    static const DeviceOptions o;
    return open_asked(m, &o);
}

static inline void ok(TitanStatus st)
{
    if (st != TITAN_OK) fail_msg("%s", story.line[0]);
}

/* Waits for all that was asked for. */
static inline void settle(TitanDevice *d)
{
    char byte;
    ok(device_read(d, TITAN_BASE_io, 0, &byte, 1));
}

static inline void expect_log(TitanDevice *d, const char *want)
{
    settle(d);
    assert_string_equal(fake_device()->log, want);
    fake_device()->log[0] = 0;
}

static inline int reset(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

/* A device gives back what it took. */
static inline void close_device(TitanDevice *d)
{
    device_free(d);
    assert_int_equal(fake_device()->allocations, 0);
    assert_int_equal(fake_device()->graphs, 0);
}

#endif
