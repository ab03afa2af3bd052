/*
 * sm100.c: Blackwell's own instructions, as inline assembly.
 */
#include "sm100.h"

static LV wide(const Site *s, LV x)
{
    return LLVMBuildZExt(s->b, x, LLVMInt64TypeInContext(s->cx), "");
}

void sm100_allocate(const Site *s, LV to, unsigned columns)
{
    LV args[] = {to, sm90_i32(s, columns)};
    sm90_instruct(s,
                  "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 "
                  "[$0], $1;\n\t"
                  "tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;",
                  "r,n,~{memory}", args, 2);
}

void sm100_free(const Site *s, LV tensor, unsigned columns)
{
    LV args[] = {tensor, sm90_i32(s, columns)};
    sm90_instruct(s, "tcgen05.dealloc.cta_group::1.sync.aligned.b32 $0, $1;",
                  "r,n,~{memory}", args, 2);
}

void sm100_fence_before(const Site *s)
{
    sm90_instruct(s, "tcgen05.fence::before_thread_sync;", "~{memory}", NULL,
                  0);
}

void sm100_fence_after(const Site *s)
{
    sm90_instruct(s, "tcgen05.fence::after_thread_sync;", "~{memory}", NULL, 0);
}

void sm100_commit(const Site *s, LV bar)
{
    sm90_instruct(s,
                  "tcgen05.commit.cta_group::1.mbarrier::arrive::one."
                  "shared::cluster.b64 [$0];",
                  "r,~{memory}", &bar, 1);
}

void sm100_bring(const Site *s, LV to, LV from, unsigned bytes, LV bar)
{
    LV args[] = {to, from, sm90_i32(s, bytes), bar};
    sm90_instruct(s,
                  "cp.async.bulk.shared::cluster.global.mbarrier::"
                  "complete_tx::bytes [$0], [$1], $2, [$3];",
                  "r,l,r,r,~{memory}", args, 4);
}

LV sm100_descriptor(const Site *s, LV address, uint32_t bytes, uint32_t stride)
{
    enum { UNIT = 4 /* bits that addresses leave out */ };
    uint64_t how = bytes == 128 ? 2 : bytes == 64 ? 4 : bytes == 32 ? 6 : 0;
    uint64_t bits =
        (uint64_t)(stride >> UNIT) << 32 | UINT64_C(1) << 46 | how << 61;
    LV at = LLVMBuildLShr(s->b, address, sm90_i32(s, UNIT), "");
    at = LLVMBuildAnd(s->b, at, sm90_i32(s, 0x3fff), "");
    return LLVMBuildOr(s->b, wide(s, at), sm90_i64(s, bits), "");
}

void sm100_bring_scales(const Site *s, LV tensor, LV descriptor)
{
    LV args[] = {tensor, descriptor};
    sm90_instruct(s, "tcgen05.cp.cta_group::1.32x128b.warpx4 [$0], $1;",
                  "r,l,~{memory}", args, 2);
}

/* 9.7.16.4.2: the formats of A and B, e4m3, are 0, and so are majors along K.
 */
static uint32_t instruction_bits(const Sm100Mma *op)
{
    enum { SCALES_POWERS = 1u << 23, ROWS_128 = 1u << 27 };
    return op->which << 4 | (op->n >> 3) << 17 | SCALES_POWERS | ROWS_128 |
           op->which << 29;
}

void sm100_mma(const Site *s, const Sm100Mma *op, LV d, LV a, LV b, LV scale_a,
               LV scale_b, LV add)
{
    LV more = LLVMBuildZExt(s->b, add, LLVMInt32TypeInContext(s->cx), "");
    LV args[] = {d,       a,       b,   sm90_i32(s, instruction_bits(op)),
                 scale_a, scale_b, more};
    sm90_instruct(s,
                  "{\n\t.reg .pred p;\n\t"
                  "setp.ne.b32 p, $6, 0;\n\t"
                  "tcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale."
                  "scale_vec::1X [$0], $1, $2, $3, [$4], [$5], p;\n\t}",
                  "r,l,l,r,r,r,r,~{memory}", args, 7);
}

void sm100_load(const Site *s, LV tensor, LV out[SM100_LOADED])
{
    LLVMTypeRef types[SM100_LOADED];
    Buf text = {0}, constraints = {0};
    buf_puts(&text, "tcgen05.ld.sync.aligned.32x32b.x32.b32 {");
    for (unsigned i = 0; i < SM100_LOADED; i++) {
        types[i] = LLVMInt32TypeInContext(s->cx);
        buf_printf(&text, i ? ", $%u" : "$%u", i);
        buf_puts(&constraints, "=r,");
    }
    buf_printf(&text, "}, [$%d];\n\ttcgen05.wait::ld.sync.aligned;",
               SM100_LOADED);
    buf_puts(&constraints, "r,~{memory}");
    LLVMTypeRef all =
        LLVMStructTypeInContext(s->cx, types, SM100_LOADED, false);
    LV loaded = sm90_ask(s, all, text.at, constraints.at, &tensor, 1);
    for (unsigned i = 0; i < SM100_LOADED; i++)
        out[i] = LLVMBuildExtractValue(s->b, loaded, i, "");
    buf_release(&text);
    buf_release(&constraints);
}
