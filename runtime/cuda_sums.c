/*
 * cuda_sums.c: the runtime's own kernels that add what came from each rank.
 *
 * They belong to no program: their PTX is here, of the oldest kind that any GPU
 * of ours takes.  A sum is made as the host's ranks make it (collective.c): in
 * the order of the ranks, in f32 for narrower floats, rounded once.
 */
#include "cuda_sums.h"

#include "cuda_device.h"

#include <string.h>

enum { THREADS = 256, BLOCKS = 2048, FOUR = 4 };

/* d5: where the next piece has the element, d11 if it is that of number r11,
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

/* d1: the result; d2, d4: the pieces; d3: fours of elements; d5: number of this
 * thread's next; d6: threads. */
#define PAIR                                                                  \
    ".visible .entry " CUDA_PAIR_KERNEL "(.param .align 8 .b8 what[56])\n{\n" \
    ".reg .pred %p;\n.reg .b32 %r<5>;\n.reg .b64 %d<11>;\n"                   \
    ".reg .f32 %f<8>;\n"                                                      \
    "ld.param.u64 %d1, [what];\nld.param.u64 %d2, [what+8];\n"                \
    "ld.param.u64 %d3, [what+16];\nld.param.u64 %d4, [what+40];\n"            \
    "shr.u64 %d3, %d3, 2;\n"                                                  \
    "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\n"                         \
    "mov.u32 %r3, %tid.x;\nmov.u32 %r4, %nctaid.x;\n"                         \
    "mul.wide.u32 %d5, %r1, %r2;\ncvt.u64.u32 %d6, %r3;\n"                    \
    "add.u64 %d5, %d5, %d6;\nmul.wide.u32 %d6, %r4, %r2;\n"                   \
    "PAIR:\nsetp.ge.u64 %p, %d5, %d3;\n@%p ret;\n"                            \
    "shl.b64 %d7, %d5, 4;\nadd.u64 %d8, %d2, %d7;\n"                          \
    "add.u64 %d9, %d4, %d7;\nadd.u64 %d10, %d1, %d7;\n"                       \
    "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%d8];\n"                         \
    "ld.global.v4.f32 {%f4, %f5, %f6, %f7}, [%d9];\n"                         \
    "add.rn.f32 %f0, %f0, %f4;\nadd.rn.f32 %f1, %f1, %f5;\n"                  \
    "add.rn.f32 %f2, %f2, %f6;\nadd.rn.f32 %f3, %f3, %f7;\n"                  \
    "st.global.v4.f32 [%d10], {%f0, %f1, %f2, %f3};\n"                        \
    "add.u64 %d5, %d5, %d6;\nbra PAIR;\n}\n"

static const char kernel[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n" PAIR
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
    "mov.u32 %r6, %ctaid.x;\nmov.u32 %r7, %ntid.x;\n"
    "mov.u32 %r8, %tid.x;\nmov.u32 %r9, %nctaid.x;\n"
    "mul.wide.u32 %d7, %r6, %r7;\ncvt.u64.u32 %d8, %r8;\n"
    "add.u64 %d7, %d7, %d8;\n"      /* d7: number of this thread's next */
    "mul.wide.u32 %d8, %r9, %r7;\n" /* d8: threads */
    "setp.eq.u32 %p1, %r2, 1;\nselp.u32 %r3, 3, 2, %p1;\n"
    "setp.gt.u32 %p1, %r2, 1;\nselp.u32 %r3, 1, %r3, %p1;\n" /* r3: shift */
    "NEXT:\n"
    "setp.ge.u64 %p1, %d7, %d3;\n@%p1 ret;\n"
    "shl.b64 %d9, %d7, %r3;\n"
    "add.u64 %d10, %d2, %d9;\nadd.u64 %d11, %d12, %d9;\n"
    "add.u64 %d6, %d1, %d9;\nmov.u32 %r4, %r1;\nmov.u32 %r10, 0;\n"
    "setp.eq.u32 %p1, %r2, 1;\n@%p1 bra F64;\n"
    "setp.eq.u32 %p1, %r2, 2;\n@%p1 bra BF16;\n"
    "setp.eq.u32 %p1, %r2, 3;\n@%p1 bra F16;\n" KIND("F32", LOAD_f32, ADD_f32,
                                                     STORE_f32)
        KIND("F64", LOAD_f64, ADD_f64, STORE_f64)
            KIND("BF16", LOAD_bf16, ADD_f32, STORE_bf16)
                KIND("F16", LOAD_f16, ADD_f32,
                     STORE_f16) "STEP:\n"
                                "add.u64 %d7, %d7, %d8;\nbra NEXT;\n"
                                "}\n";

const char *cuda_sums_ptx(void)
{
    return kernel;
}

uint32_t cuda_sums_kind(uint32_t dtype)
{
    static const char *const names[] = {"f32", "f64", "bf16", "f16"};
    uint32_t k = 0;
    while (k < SUM_none && strcmp(names[k], titan_dtype_name(dtype)) != 0)
        k++;
    return k;
}

TitanStatus cuda_sums_open(Cuda *c)
{
    CudaSums *s = &c->sums;
    CU_TRY(c, cuModuleLoadDataEx(&s->module, kernel, 0, NULL, NULL));
    CU_TRY(c, cuModuleGetFunction(&s->function, s->module, CUDA_SUMS_KERNEL));
    CU_TRY(c, cuModuleGetFunction(&s->pair, s->module, CUDA_PAIR_KERNEL));
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

/* Two pieces of f32, one of them this member's, in sixteen bytes at a time. */
static bool is_pair(const CudaSumArgs *a)
{
    return a->n == 2 && a->me < a->n && a->kind == SUM_f32 &&
           a->count % FOUR == 0 &&
           (a->to | a->from | a->mine) % (FOUR * sizeof(float)) == 0;
}

TitanStatus cuda_sums_add(Cuda *c, const struct CudaSumArgs *what, CuStream on)
{
    CudaSumArgs a = *what;
    void *args[] = {&a};
    bool pair = is_pair(&a);
    uint64_t lanes = pair ? a.count / FOUR : a.count;
    uint64_t blocks = (lanes + THREADS - 1) / THREADS;
    if (a.count == 0) return TITAN_OK;
    CU_TRY(c, cuLaunchKernel(pair ? c->sums.pair : c->sums.function,
                             blocks < BLOCKS ? (unsigned)blocks : BLOCKS, 1, 1,
                             THREADS, 1, 1, 0, on, args, NULL));
    return TITAN_OK;
}
