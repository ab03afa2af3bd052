/*
 * rig.h: small kernels of PTX, run by the tests' machine on memory of the
 * test's own.
 *
 * Behind cmocka.h.  A body finds %rd0, the memory's address; %rd1 and %rd2,
 * those of maps; %r0 its thread; %r1 where dynamic shared memory begins; %r2
 * its block's rank in the cluster; %p0 in thread 0.  Registers of its own are
 * others of %r, %rd, %h (16 bits), %f, %p.
 */
#ifndef TITAN_TESTS_UNIT_RIG_H
#define TITAN_TESTS_UNIT_RIG_H

#include "tests/ptx/ptx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIG_AT UINT64_C(0x100000000)

typedef struct Rig {
    unsigned char *bytes; /* of global memory, n from RIG_AT on */
    size_t n;
    PtxMap map[2];
    unsigned blocks, cluster, threads; /* 0: 1, 1, 32 */
    unsigned shared;                   /* dynamic bytes */
    uint64_t seed;
    bool races;
    char why[PTX_FAULT];
    PtxTally tally;
    char *body; /* rig_say */
    size_t said;
} Rig;

enum { RIG_BODY = 1 << 20 };

/* xorshift64: numbers of a test. */
static inline uint64_t rig_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D) >> 16;
}

static inline void rig_open(Rig *r, size_t n)
{
    *r = (Rig){.n = n, .bytes = calloc(n, 1), .body = calloc(RIG_BODY, 1)};
    assert_non_null(r->bytes);
    assert_non_null(r->body);
}

static inline void rig_close(Rig *r)
{
    free(r->bytes);
    free(r->body);
}

static inline void rig_fill(Rig *r, uint64_t *state)
{
    for (size_t k = 0; k < r->n; k++)
        r->bytes[k] = (unsigned char)rig_random(state);
}

static inline void rig_say(Rig *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* More of the body. */
static inline void rig_say(Rig *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(r->body + r->said, RIG_BODY - r->said, fmt, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < RIG_BODY - r->said);
    r->said += (size_t)n;
}

/* A new body. */
static inline void rig_clear(Rig *r)
{
    r->said = 0;
    r->body[0] = '\0';
}

/* A row-major tensor at OFFSET of the memory: sizes and boxes innermost first,
 * PAD bytes behind each row. */
static inline PtxMap rig_map(uint64_t offset, unsigned rank, unsigned dtype,
                             unsigned each, const uint64_t *size,
                             const uint16_t *box, unsigned swizzle,
                             uint64_t pad)
{
    PtxMap m = {.at = RIG_AT + offset,
                .rank = (uint8_t)rank,
                .dtype = (uint8_t)dtype,
                .swizzle = (uint8_t)swizzle,
                .sign = PTX_MAP};
    uint64_t stride = each;
    for (unsigned d = 0; d < rank; d++) {
        m.size[d] = size[d];
        m.box[d] = box[d];
        m.step[d] = 1;
        m.stride[d] = stride;
        stride *= size[d];
        if (d == 0) stride = (stride + pad + 15) / 16 * 16;
    }
    return m;
}

static inline bool rig_pane(void *user, uint64_t at, PtxPane *out)
{
    Rig *r = user;
    *out = (PtxPane){RIG_AT, r->n, r->bytes};
    return at - RIG_AT < r->n;
}

static const char rig_head[] =
    ".version 9.0\n.target sm_90a\n.address_size 64\n"
    ".extern .shared .align 1024 .b8 tile[];\n"
    ".visible .entry k(.param .u64 m, .param .align 64 .b8 a[128],\n"
    ".param .align 64 .b8 b[128])\n";

static const char rig_begin[] =
    "{\n.reg .b32 %r<256>;\n.reg .b64 %rd<64>;\n.reg .b16 %h<32>;\n"
    ".reg .f32 %f<256>;\n.reg .pred %p<32>;\n"
    "ld.param.u64 %rd0, [m];\nmov.b64 %rd1, a;\n"
    "cvta.param.u64 %rd1, %rd1;\nmov.b64 %rd2, b;\n"
    "cvta.param.u64 %rd2, %rd2;\nmov.u32 %r0, %tid.x;\n"
    "mov.u32 %r1, tile;\nmov.u32 %r2, %cluster_ctarank;\n"
    "setp.eq.u32 %p0, %r0, 0;\n";

/* Runs the body; false: why. */
static inline bool rig_run(Rig *r)
{
    unsigned threads = r->threads ? r->threads : 32;
    unsigned blocks = r->blocks ? r->blocks : 1;
    size_t room = r->said + 4096, n;
    char *text = malloc(room);
    struct {
        uint64_t m, none[7];
        PtxMap a;
        char rest[128 - sizeof(PtxMap)];
        PtxMap b;
        char more[128 - sizeof(PtxMap)];
    } params = {.m = RIG_AT, .a = r->map[0], .b = r->map[1]};
    assert_non_null(text);
    n = (size_t)snprintf(text, room, "%s.maxntid %u, 1, 1\n", rig_head,
                         threads);
    if (r->cluster > 1)
        n += (size_t)snprintf(text + n, room - n,
                              ".explicitcluster\n.reqnctapercluster %u, 1, 1\n",
                              r->cluster);
    n += (size_t)snprintf(text + n, room - n, "%s", rig_begin);
    n += (size_t)snprintf(text + n, room - n, "%sret;\n}\n", r->body);
    PtxModule *m = ptx_read(text, n, r->why);
    if (!m) fail_msg("%s%s", r->why, text);
    const PtxKernel *k = ptx_kernel(m, "k");
    assert_int_equal(ptx_kernel_params(k), sizeof params);
    PtxLaunch l = {.kernel = k,
                   .grid = {blocks, 1, 1},
                   .block = {threads, 1, 1},
                   .shared = r->shared,
                   .params = &params,
                   .seed = r->seed,
                   .races = r->races,
                   .pane = rig_pane,
                   .user = r};
    bool ok = ptx_run(&l, &r->tally, r->why);
    ptx_free(m);
    free(text);
    return ok;
}

static inline void rig_works(Rig *r)
{
    if (!rig_run(r)) fail_msg("seed %u: %s", (unsigned)r->seed, r->why);
}

/* It is refused under each of some seeds, with WHAT. */
static inline void rig_fails(Rig *r, const char *what)
{
    for (r->seed = 1; r->seed <= 20; r->seed++) {
        if (rig_run(r)) fail_msg("seed %u: no fault", (unsigned)r->seed);
        if (!strstr(r->why, what))
            fail_msg("seed %u: %s", (unsigned)r->seed, r->why);
    }
}

/* All threads: N bytes of shared memory from offset FROM on are moved to global
 * memory at offset TO, or the other way.  LABEL tells it from others. */
static inline void rig_move(Rig *r, const char *label, unsigned from,
                            uint64_t to, unsigned n, bool out)
{
    rig_say(r, "shl.b32 %%r250, %%r0, 2;\n");
    rig_say(r, "%s:\nsetp.ge.u32 %%p30, %%r250, %u;\n@%%p30 bra %s_end;\n",
            label, n, label);
    rig_say(r, "add.u32 %%r251, %%r1, %%r250;\n");
    rig_say(r, "cvt.u64.u32 %%rd60, %%r250;\nadd.u64 %%rd60, %%rd60, %%rd0;\n");
    if (out)
        rig_say(r,
                "ld.shared.b32 %%r252, [%%r251+%u];\n"
                "st.global.b32 [%%rd60+%llu], %%r252;\n",
                from, (unsigned long long)to);
    else
        rig_say(r,
                "ld.global.b32 %%r252, [%%rd60+%llu];\n"
                "st.shared.b32 [%%r251+%u], %%r252;\n",
                (unsigned long long)to, from);
    rig_say(r, "add.u32 %%r250, %%r250, %u;\nbra %s;\n%s_end:\n",
            4 * (r->threads ? r->threads : 32), label, label);
}

/* Thread 0 makes a barrier of COUNT arrivals at offset AT of shared memory. */
static inline void rig_barrier(Rig *r, unsigned at, unsigned count)
{
    rig_say(r,
            "add.u32 %%r240, %%r1, %u;\n"
            "@%%p0 mbarrier.init.shared::cta.b64 [%%r240], %u;\n"
            "fence.mbarrier_init.release.cluster;\nbar.sync 0;\n",
            at, count);
}

/* Until the phase of PARITY of barrier AT is complete. */
static inline void rig_wait(Rig *r, const char *label, unsigned at,
                            unsigned parity)
{
    rig_say(r,
            "%s:\nmbarrier.try_wait.parity.shared::cta.b64 %%p29, [%%r1+%u], "
            "%u;\n@!%%p29 bra %s;\n",
            label, at, parity, label);
}

#endif
