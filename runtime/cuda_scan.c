/*
 * cuda_scan.c: where the GPU's memory holds a float that is not finite.
 *
 * A step that is looked into has more tensors than can go through the host, and
 * nearly all of them are well.  So one kernel reads a tensor where it lies and
 * leaves the number of its first bad element; what is bad is then counted by
 * the host.  The kernel belongs to no program: its PTX is here, of the oldest
 * kind that any GPU of ours takes, and is compiled when it is first needed.  A
 * driver that does not take it leaves all the looking to the host.
 *
 * A float is looked at as an integer.  With all but its sign masked away, the
 * numbers of a dtype lie below its infinity and NaNs above it.
 */
#include "cuda_scan.h"

#include "cuda_device.h"
#include "narrow.h"

#include <string.h>

enum { THREADS = 256, BLOCKS = 4096 };
static const char kernel[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry " CUDA_SCAN_KERNEL "(.param .align 8 .b8 what[312])\n"
    "{\n"
    ".reg .pred %p<8>;\n.reg .b32 %r<8>;\n.reg .b64 %d<24>;\n"
    "ld.param.u64 %d1, [what];\n"    /* d1: the first element */
    "ld.param.u64 %d2, [what+8];\n"  /* d2: how many */
    "ld.param.u64 %d3, [what+16];\n" /* d3: where the result is */
    "ld.param.u64 %d4, [what+24];\n" /* d4: magnitude */
    "ld.param.u64 %d5, [what+32];\n" /* d5: infinite */
    "ld.param.u32 %r1, [what+40];\n" /* r1: infinities that are meant */
    "ld.param.u32 %r2, [what+44];\n" /* r2: bytes of one */
    "ld.param.u64 %d6, [what+48];\n" /* d6: spans */
    "mov.b64 %d7, what;\n"           /* d7: .. begin 56 bytes behind it */
    "mov.u32 %r3, %ctaid.x;\nmov.u32 %r4, %ntid.x;\n"
    "mov.u32 %r5, %tid.x;\nmov.u32 %r6, %nctaid.x;\n"
    "mul.wide.u32 %d8, %r3, %r4;\ncvt.u64.u32 %d9, %r5;\n"
    "add.u64 %d8, %d8, %d9;\n"      /* d8: number of this thread's next */
    "mul.wide.u32 %d9, %r6, %r4;\n" /* d9: threads */
    "setp.eq.u32 %p1, %r2, 1;\nsetp.eq.u32 %p2, %r2, 2;\n"
    "setp.eq.u32 %p3, %r2, 4;\nsetp.eq.u32 %p4, %r2, 8;\n"
    "NEXT:\n"
    "setp.ge.u64 %p5, %d8, %d2;\n@%p5 ret;\n"
    "mov.u64 %d10, %d1;\n" /* d10: its address */
    "mov.u64 %d11, %d8;\n" /* d11: what is left of the number */
    "mov.u64 %d12, %d6;\n" /* d12: spans that are left */
    "SPAN:\n"
    "setp.eq.u64 %p5, %d12, 0;\n@%p5 bra LOAD;\n"
    "sub.u64 %d12, %d12, 1;\n"
    "shl.b64 %d13, %d12, 4;\nadd.u64 %d13, %d13, %d7;\n"
    "ld.param.u64 %d14, [%d13+56];\nld.param.u64 %d15, [%d13+64];\n"
    "setp.ne.u64 %p5, %d12, 0;\n@%p5 bra TURN;\n"
    "mad.lo.u64 %d10, %d11, %d15, %d10;\n" /* the outermost has no turns */
    "bra LOAD;\n"
    "TURN:\n"
    "div.u64 %d16, %d11, %d14;\nmul.lo.u64 %d17, %d16, %d14;\n"
    "sub.u64 %d17, %d11, %d17;\nmad.lo.u64 %d10, %d17, %d15, %d10;\n"
    "mov.u64 %d11, %d16;\n"
    "bra SPAN;\n"
    "LOAD:\n"
    "@%p1 ld.global.u8 %d18, [%d10];\n@%p2 ld.global.u16 %d18, [%d10];\n"
    "@%p3 ld.global.u32 %d18, [%d10];\n@%p4 ld.global.u64 %d18, [%d10];\n"
    "and.b64 %d19, %d18, %d4;\n"
    "setp.lt.u64 %p5, %d19, %d5;\n@%p5 bra WELL;\n"
    "setp.gt.u64 %p5, %d19, %d5;\n@%p5 bra BAD;\n"
    "setp.gt.u64 %p6, %d18, %d4;\n" /* the sign */
    "selp.b32 %r7, 2, 1, %p6;\nand.b32 %r7, %r7, %r1;\n"
    "setp.ne.u32 %p5, %r7, 0;\n@%p5 bra WELL;\n"
    "BAD:\n"
    "red.global.min.u64 [%d3], %d8;\n"
    "WELL:\n"
    "add.u64 %d8, %d8, %d9;\n"
    "bra NEXT;\n"
    "}\n";

const char *cuda_scan_ptx(void)
{
    return kernel;
}

/* What a dtype's infinity is without its sign; where it has none, its largest
 * number stands for it. */
static uint64_t infinite_of(const NarrowFormat *f, unsigned *may)
{
    uint64_t all = (UINT64_C(1) << (f->exp + f->man)) - 1;
    if (f->top == NARROW_ieee) return all & ~((UINT64_C(1) << f->man) - 1);
    *may = TITAN_MAY_plus | TITAN_MAY_minus;
    return all - (f->top == NARROW_one);
}

/* Failures before the first scan say only that this driver has none. */
static bool open_scan(Cuda *c)
{
    CudaScan *s = &c->scan;
    if (s->tried) return s->function != NULL;
    s->tried = true;
    if (c->cu.cuModuleLoadDataEx(&s->module, kernel, 0, NULL, NULL) != 0)
        return false;
    if (c->cu.cuMemAlloc(&s->first, sizeof(uint64_t)) != 0) return false;
    if (c->cu.cuModuleGetFunction(&s->function, s->module, CUDA_SCAN_KERNEL))
        s->function = NULL;
    return s->function != NULL;
}

void cuda_scan_close(Cuda *c)
{
    if (c->scan.first) c->cu.cuMemFree(c->scan.first);
    if (c->scan.module) c->cu.cuModuleUnload(c->scan.module);
}

static CudaScanArgs args_of(Cuda *c, TitanBase base, uint64_t offset,
                            const DeviceFloats *f)
{
    CudaScanArgs a = {.at = c->base[base] + offset,
                      .n = 1,
                      .first = c->scan.first,
                      .bytes = titan_dtype_bytes(f->dtype),
                      .nspans = f->nspans};
    unsigned may = f->may;
    const NarrowFormat *format = narrow_format(f->dtype);
    a.infinite = infinite_of(format, &may);
    a.may = may;
    a.magnitude = (UINT64_C(1) << (format->exp + format->man)) - 1;
    memcpy(a.span, f->spans, f->nspans * sizeof *a.span);
    for (uint32_t i = 0; i < f->nspans; i++)
        a.n *= (uint64_t)a.span[i].n;
    return a;
}

static TitanStatus launch(Cuda *c, CudaScanArgs *a)
{
    uint64_t blocks = (a->n + THREADS - 1) / THREADS;
    void *args[] = {a};
    CU_TRY(c, cuMemsetD8Async(a->first, 0xff, sizeof a->first, c->stream));
    CU_TRY(c, cuLaunchKernel(c->scan.function,
                             blocks < BLOCKS ? (unsigned)blocks : BLOCKS, 1, 1,
                             THREADS, 1, 1, 0, c->stream, args, NULL));
    return TITAN_OK;
}

TitanStatus cuda_scan(TitanDevice *d, TitanBase base, uint64_t offset,
                      const DeviceFloats *f, bool *clean)
{
    Cuda *c = (Cuda *)d;
    uint64_t first = 0;
    *clean = false;
    if (!open_scan(c)) return TITAN_OK;
    CudaScanArgs a = args_of(c, base, offset, f);
    if (a.n > 0) {
        TRY(launch(c, &a));
        CU_TRY(c, cuMemcpyDtoHAsync(&first, a.first, sizeof first, c->stream));
        TRY(cuda_wait_stream(c, c->stream));
    }
    *clean = a.n == 0 || first == ~UINT64_C(0);
    return TITAN_OK;
}
