/*
 * cuda_sums.c: the runtime's own kernels that add what came from each rank.
 *
 * They belong to no program: their PTX is here, of the oldest kind that any GPU
 * of ours takes.  A sum is made as the host's ranks make it (collective.c): in
 * the order of the ranks, in f32 for narrower floats, rounded once.  Of each
 * kind of sum one kernel has sixteen bytes of every piece at a time; another,
 * of all kinds, has an element, which is what the first leaves over and what
 * does not lie as it needs it.
 */
#include "cuda_sums.h"

#include "cuda_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 256, BLOCKS = 2048, WIDE = 16 };

static const char *const kinds[] = {[SUM_f32] = "f32",
                                    [SUM_f64] = "f64",
                                    [SUM_bf16] = "bf16",
                                    [SUM_f16] = "f16"};

/* d: the number of this thread; many: threads. */
#define NUMBER(d, many)                                                        \
    "mov.u32 %r6, %ctaid.x;\nmov.u32 %r7, %ntid.x;\n"                          \
    "mov.u32 %r8, %tid.x;\nmov.u32 %r9, %nctaid.x;\n"                          \
    "mul.wide.u32 %" d ", %r6, %r7;\ncvt.u64.u32 %" many ", %r8;\nadd.u64 %" d \
    ", %" d ", %" many ";\nmul.wide.u32 %" many ", %r9, %r7;\n"

/* ----------------------------------------------------------- any element -- */

/* d5: where the next piece has what is added, d11 if it is that of number r11,
 * else d10; r10: its number. */
#define NEXT_PIECE                                                   \
    "setp.eq.u32 %p3, %r10, %r11;\nselp.b64 %d5, %d11, %d10, %p3;\n" \
    "@!%p3 add.u64 %d10, %d10, %d4;\nadd.u32 %r10, %r10, 1;\n"

/* One kind: how an element is loaded, added to and stored.  d6: its address in
 * the result, r4: pieces that are left. */
#define KIND(name, load, add, store)                          \
    name ":\n" NEXT_PIECE load("ACC") name                    \
        "_MORE:\n"                                            \
        "setp.eq.u32 %p2, %r4, 0;\n@%p2 bra " name "_DONE;\n" \
        "sub.u32 %r4, %r4, 1;\n" NEXT_PIECE load("X") add     \
        "bra " name "_MORE;\n" name "_DONE:\n" store "bra STEP;\n"

#define LOAD_f32(to) "ld.global.f32 %f" to ", [%d5];\n"
#define ADD_f32      "add.rn.f32 %fACC, %fACC, %fX;\n"
#define STORE_f32    "st.global.f32 [%d6], %fACC;\n"
#define LOAD_f64(to) "ld.global.f64 %g" to ", [%d5];\n"
#define ADD_f64      "add.rn.f64 %gACC, %gACC, %gX;\n"
#define STORE_f64    "st.global.f64 [%d6], %gACC;\n"
#define LOAD_bf16(to)                                    \
    "ld.global.u16 %r5, [%d5];\nshl.b32 %r5, %r5, 16;\n" \
    "mov.b32 %f" to ", %r5;\n"
#define STORE_bf16   "cvt.rn.bf16.f32 %h1, %fACC;\nst.global.u16 [%d6], %h1;\n"
#define LOAD_f16(to) "ld.global.u16 %h1, [%d5];\ncvt.f32.f16 %f" to ", %h1;\n"
#define STORE_f16    "cvt.rn.f16.f32 %h1, %fACC;\nst.global.u16 [%d6], %h1;\n"

static const char narrow[] =
    ".visible .entry " CUDA_SUMS_KERNEL "(.param .align 8 .b8 what[56])\n"
    "{\n"
    ".reg .pred %p<4>;\n.reg .b16 %h<2>;\n.reg .b32 %r<12>;\n"
    ".reg .b64 %d<13>;\n.reg .f32 %fACC, %fX;\n.reg .f64 %gACC, %gX;\n"
    "ld.param.u64 %d1, [what];\n"    /* d1: the result */
    "ld.param.u64 %d2, [what+8];\n"  /* d2: the first piece */
    "ld.param.u64 %d3, [what+16];\n" /* d3: how many elements */
    "ld.param.u64 %d4, [what+24];\n" /* d4: bytes from piece to piece */
    "ld.param.u32 %r1, [what+32];\n" /* r1: pieces behind the first */
    "sub.u32 %r1, %r1, 1;\n"
    "ld.param.u32 %r2, [what+36];\n"  /* r2: the kind */
    "ld.param.u64 %d12, [what+40];\n" /* d12: this member's own piece */
    "ld.param.u32 %r11, [what+48];\n" /* r11: its number */
    /* d7: number of this thread's next, d8: threads */
    NUMBER(
        "d7",
        "d8") "setp.eq.u32 %p1, %r2, 1;\nselp.u32 %r3, 3, 2, %p1;\n"
              "setp.gt.u32 %p1, %r2, 1;\nselp.u32 %r3, 1, %r3, %p1;\n" /* r3:
                                                                          shift
                                                                        */
              "NEXT:\n"
              "setp.ge.u64 %p1, %d7, %d3;\n@%p1 ret;\n"
              "shl.b64 %d9, %d7, %r3;\n"
              "add.u64 %d10, %d2, %d9;\nadd.u64 %d11, %d12, %d9;\n"
              "add.u64 %d6, %d1, %d9;\nmov.u32 %r4, %r1;\nmov.u32 %r10, 0;\n"
              "setp.eq.u32 %p1, %r2, 1;\n@%p1 bra F64;\n"
              "setp.eq.u32 %p1, %r2, 2;\n@%p1 bra BF16;\n"
              "setp.eq.u32 %p1, %r2, 3;\n@%p1 bra F16;\n" KIND(
                  "F32", LOAD_f32, ADD_f32, STORE_f32)
                  KIND("F64", LOAD_f64, ADD_f64, STORE_f64)
                      KIND("BF16", LOAD_bf16, ADD_f32, STORE_bf16)
                          KIND("F16", LOAD_f16, ADD_f32,
                               STORE_f16) "STEP:\n"
                                          "add.u64 %d7, %d7, %d8;\nbra NEXT;\n"
                                          "}\n";

/* --------------------------------------------------------- sixteen bytes -- */

/* Those of up to four pieces at once, so that a thread waits for all of them
 * together: xJI is word I of the J-th, y and z what is added next, acc and wide
 * the sums, which begin with -0: that plus anything is the same, bit by bit. */
enum { FETCHED = 4, WORDS = WIDE / 4 };

#define WIDE_BEGIN                                                   \
    ".reg .pred %p<5>;\n.reg .b16 %h<2>;\n.reg .b32 %r<12>;\n"       \
    ".reg .b64 %d<13>;\n.reg .b32 %x<34>;\n.reg .f32 %acc<8>, %y;\n" \
    ".reg .f64 %wide<2>, %z;\n"                                      \
    "ld.param.u64 %d1, [what];\nld.param.u64 %d2, [what+8];\n"       \
    "ld.param.u64 %d3, [what+16];\nld.param.u64 %d4, [what+24];\n"   \
    "ld.param.u32 %r1, [what+32];\nld.param.u64 %d12, [what+40];\n"  \
    "ld.param.u32 %r11, [what+48];\n" NUMBER("d7", "d8")

/* d3: sixteens of bytes; r4: pieces that are left. */
#define WIDE_NEXT                                                          \
    "NEXT:\nsetp.ge.u64 %p1, %d7, %d3;\n@%p1 ret;\nshl.b64 %d9, %d7, 4;\n" \
    "add.u64 %d10, %d2, %d9;\nadd.u64 %d11, %d12, %d9;\n"                  \
    "add.u64 %d6, %d1, %d9;\nmov.u32 %r4, %r1;\nmov.u32 %r10, 0;\n"

static void write_sums(FILE *f, SumKind kind)
{
    for (int i = 0; i < 2 && kind == SUM_f64; i++)
        fprintf(f, "mov.f64 %%wide%d, 0d8000000000000000;\n", i);
    for (int i = 0; i < 2 * WORDS && kind != SUM_f64; i++)
        fprintf(f, "mov.f32 %%acc%d, 0f80000000;\n", i);
}

static void write_fetches(FILE *f)
{
    for (int j = 0; j < FETCHED; j++) {
        fputs(NEXT_PIECE, f);
        fprintf(f, "setp.gt.u32 %%p4, %%r4, %d;\n@%%p4 ld.global.v4.b32 {", j);
        for (int i = 0; i < WORDS; i++)
            fprintf(f, "%s%%x%d%d", i ? ", " : "", j, i);
        fputs("}, [%d5];\n", f);
    }
}

static void write_add(FILE *f, int i)
{
    fprintf(f, "add.rn.f32 %%acc%d, %%acc%d, %%y;\n", i, i);
}

/* What word I of the J-th piece holds. */
static void write_word(FILE *f, SumKind kind, int j, int i)
{
    if (kind == SUM_f32) {
        fprintf(f, "mov.b32 %%y, %%x%d%d;\n", j, i);
        write_add(f, i);
    } else if (kind == SUM_bf16) {
        fprintf(f, "shl.b32 %%r5, %%x%d%d, 16;\nmov.b32 %%y, %%r5;\n", j, i);
        write_add(f, 2 * i);
        fprintf(f, "and.b32 %%r5, %%x%d%d, -65536;\nmov.b32 %%y, %%r5;\n", j,
                i);
        write_add(f, 2 * i + 1);
    } else if (kind == SUM_f16) {
        fprintf(f, "mov.b32 {%%h0, %%h1}, %%x%d%d;\n", j, i);
        fputs("cvt.f32.f16 %y, %h0;\n", f);
        write_add(f, 2 * i);
        fputs("cvt.f32.f16 %y, %h1;\n", f);
        write_add(f, 2 * i + 1);
    } else if (i % 2 == 0) {
        fprintf(f, "mov.b64 %%z, {%%x%d%d, %%x%d%d};\n", j, i, j, i + 1);
        fprintf(f, "add.rn.f64 %%wide%d, %%wide%d, %%z;\n", i / 2, i / 2);
    }
}

static void write_store(FILE *f, SumKind kind)
{
    for (int i = 0; i < WORDS && kind != SUM_f64; i++)
        if (kind == SUM_f32)
            fprintf(f, "mov.b32 %%x0%d, %%acc%d;\n", i, i);
        else
            fprintf(f, "cvt.rn.%sx2.f32 %%x0%d, %%acc%d, %%acc%d;\n",
                    kinds[kind], i, 2 * i + 1, 2 * i);
    if (kind == SUM_f64)
        fputs("st.global.v2.f64 [%d6], {%wide0, %wide1};\n", f);
    else
        fputs("st.global.v4.b32 [%d6], {%x00, %x01, %x02, %x03};\n", f);
}

static void write_wide(FILE *f, SumKind kind)
{
    fprintf(f,
            ".visible .entry " CUDA_WIDE_KERNEL
            "%s(.param .align 8 .b8 what[56])\n{\n",
            kinds[kind]);
    fputs(WIDE_BEGIN WIDE_NEXT, f);
    write_sums(f, kind);
    fputs("MORE:\n", f);
    write_fetches(f);
    for (int j = 0; j < FETCHED; j++) {
        fprintf(f, "setp.le.u32 %%p4, %%r4, %d;\n@%%p4 bra DONE;\n", j);
        for (int i = 0; i < WORDS; i++)
            write_word(f, kind, j, i);
    }
    fprintf(f,
            "setp.le.u32 %%p4, %%r4, %d;\n@%%p4 bra DONE;\n"
            "sub.u32 %%r4, %%r4, %d;\nbra MORE;\nDONE:\n",
            FETCHED, FETCHED);
    write_store(f, kind);
    fputs("add.u64 %d7, %d7, %d8;\nbra NEXT;\n}\n", f);
}

/* ---------------------------------------------------------------- module -- */

char *cuda_sums_ptx(void)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) return NULL;
    fputs(".version 7.0\n.target sm_80\n.address_size 64\n", f);
    fputs(narrow, f);
    for (uint32_t k = 0; k < SUM_none; k++)
        write_wide(f, (SumKind)k);
    bool bad = ferror(f);
    if (fclose(f) == 0 && !bad) return text;
    free(text);
    return NULL;
}

uint32_t cuda_sums_kind(uint32_t dtype)
{
    uint32_t k = 0;
    while (k < SUM_none && strcmp(kinds[k], titan_dtype_name(dtype)) != 0)
        k++;
    return k;
}

static TitanStatus find_kernels(Cuda *c)
{
    CudaSums *s = &c->sums;
    char name[64];
    CU_TRY(c, cuModuleGetFunction(&s->any, s->module, CUDA_SUMS_KERNEL));
    for (uint32_t k = 0; k < SUM_none; k++) {
        snprintf(name, sizeof name, CUDA_WIDE_KERNEL "%s", kinds[k]);
        CU_TRY(c, cuModuleGetFunction(&s->wide[k], s->module, name));
    }
    return TITAN_OK;
}

TitanStatus cuda_sums_open(Cuda *c)
{
    CudaSums *s = &c->sums;
    char *text = cuda_sums_ptx();
    if (!text) return titan_no_memory(c->story);
    CuResult r = c->cu.cuModuleLoadDataEx(&s->module, text, 0, NULL, NULL);
    free(text);
    if (r != 0) return cu_fail(c->story, &c->cu, "cuModuleLoadDataEx", r);
    TRY(find_kernels(c));
    for (uint32_t i = 0; i < c->im->header->streams && c->options.rank_order;
         i++)
        CU_TRY(c, cuMemAlloc(&s->room[i], CUDA_SUMS_ROOM));
    return TITAN_OK;
}

void cuda_sums_close(Cuda *c)
{
    for (uint32_t i = 0; i < TITAN_MOST_STREAMS; i++)
        if (c->sums.room[i]) c->cu.cuMemFree(c->sums.room[i]);
    if (c->sums.module) c->cu.cuModuleUnload(c->sums.module);
    c->sums = (CudaSums){0};
}

/* -------------------------------------------------------------- launches -- */

/* Of N lanes. */
static unsigned blocks_of(uint64_t n, uint64_t most)
{
    uint64_t blocks = (n + THREADS - 1) / THREADS;
    return (unsigned)(blocks < most ? blocks : most);
}

/* Every piece lies on sixteen bytes. */
static bool lies_wide(const CudaSumArgs *a)
{
    uint64_t mine = a->me < a->n ? a->mine : 0;
    return (a->to | a->from | a->pitch | mine) % WIDE == 0;
}

/* In sixteens of bytes, as many as there are. */
static TitanStatus add_wide(Cuda *c, const CudaSumArgs *what, uint64_t n,
                            CuStream on)
{
    CudaSumArgs a = *what;
    void *args[] = {&a};
    a.count = n;
    if (n)
        CU_TRY(c, cuLaunchKernel(c->sums.wide[a.kind], blocks_of(n, BLOCKS), 1,
                                 1, THREADS, 1, 1, 0, on, args, NULL));
    return TITAN_OK;
}

/* From BYTES on, one element at a time. */
static TitanStatus add_any(Cuda *c, const CudaSumArgs *what, uint64_t done,
                           uint64_t bytes, CuStream on)
{
    CudaSumArgs a = *what;
    void *args[] = {&a};
    a.to += bytes;
    a.from += bytes;
    a.mine += bytes;
    a.count -= done;
    if (a.count)
        CU_TRY(c, cuLaunchKernel(c->sums.any, blocks_of(a.count, BLOCKS), 1, 1,
                                 THREADS, 1, 1, 0, on, args, NULL));
    return TITAN_OK;
}

uint32_t cuda_sums_bytes(uint32_t kind)
{
    static const uint32_t bytes[] = {
        [SUM_f32] = 4, [SUM_f64] = 8, [SUM_bf16] = 2, [SUM_f16] = 2};
    return bytes[kind];
}

TitanStatus cuda_sums_add(Cuda *c, const CudaSumArgs *what, CuStream on)
{
    uint64_t each = WIDE / cuda_sums_bytes(what->kind);
    uint64_t n = lies_wide(what) ? what->count / each : 0;
    TRY(add_wide(c, what, n, on));
    return add_any(c, what, n * each, n * WIDE, on);
}
