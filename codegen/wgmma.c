/*
 * wgmma.c: Hopper's matrix product of a warpgroup, and the moves between its
 * registers and shared memory.
 *
 * What a product adds to are operands that the text reads and writes in place,
 * so each has two numbers: $i as a result, and its own as an operand.
 */
#include "sm90.h"

enum { MOST_OPERANDS = 256 };

static LLVMTypeRef values_type(const Site *s, const LV *values, unsigned n)
{
    LLVMTypeRef types[MOST_OPERANDS];
    for (unsigned i = 0; i < n; i++)
        types[i] = LLVMTypeOf(values[i]);
    return LLVMStructTypeInContext(s->cx, types, n, false);
}

static const char *register_of(LV v)
{
    LLVMTypeRef t = LLVMTypeOf(v);
    if (LLVMGetTypeKind(t) == LLVMFloatTypeKind) return "f";
    return LLVMGetTypeKind(t) == LLVMIntegerTypeKind &&
                   LLVMGetIntTypeWidth(t) == 64
               ? "l"
               : "r";
}

/* "=f,...,0,1,...": n values that the text reads and writes in place. */
static void tie(Buf *b, const LV *values, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_printf(b, "%s=%s", i ? "," : "", register_of(values[i]));
    for (unsigned i = 0; i < n; i++)
        buf_printf(b, ",%u", i);
}

static void untie(const Site *s, LV result, LV *values, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        values[i] = LLVMBuildExtractValue(s->b, result, i, "");
}

typedef struct MmaText {
    const Sm90Mma *op;
    unsigned a, b, add; /* the numbers of the first operands */
} MmaText;

/* On the way to this step, in the units of a descriptor. */
static uint32_t step_units(unsigned step, uint32_t each, uint32_t run,
                           uint32_t skip)
{
    return (each + (run && step % run == 0 ? skip : 0)) / 16;
}

static void print_kind(Buf *b, const Sm90Mma *op)
{
    bool eight = dtype_bytes(op->dtype) == 1;
    const char *x = dtype_name(op->dtype);
    const char *y = dtype_name(eight ? op->b_dtype : op->dtype);
    buf_printf(b, "wgmma.mma_async.sync.aligned.m64n%uk%u.f32.%s.%s\n\t ",
               op->n, eight ? 32 : 16, x, y);
}

static void print_step(Buf *b, const MmaText *t, unsigned step)
{
    const Sm90Mma *op = t->op;
    unsigned regs = op->n / 2;
    if (step > op->from && !op->a_registers)
        buf_printf(b, "add.s64 a, a, %u;\n\t",
                   step_units(step, op->a_step, op->a_run, op->a_skip));
    if (step > op->from)
        buf_printf(b, "add.s64 b, b, %u;\n\t",
                   step_units(step, op->b_step, op->b_run, op->b_skip));
    print_kind(b, op);
    sm90_print_list(b, 0, regs);
    buf_printf(b, ",\n\t ");
    if (op->a_registers)
        sm90_print_list(b, t->a + 4 * step, 4);
    else
        buf_printf(b, "a");
    buf_printf(b, ", b, %s, 1, 1", step > op->from ? "1" : "p");
    bool eight = dtype_bytes(op->dtype) == 1;
    if (!op->a_registers && !eight) buf_printf(b, ", %d", op->a_across);
    if (!eight) buf_printf(b, ", %d", op->b_across);
    buf_puts(b, ";\n\t");
}

/* From the first step to `from`. */
static unsigned units_before(const Sm90Mma *op, uint32_t by, uint32_t run,
                             uint32_t skip)
{
    unsigned n = 0;
    for (unsigned i = 1; i <= op->from; i++)
        n += step_units(i, by, run, skip);
    return n;
}

static void print_mma(Buf *b, const MmaText *t)
{
    buf_printf(b, "{\n\t.reg .pred p;\n\t.reg .b64 a, b;\n\t"
                  "wgmma.fence.sync.aligned;\n\t");
    buf_printf(b, "setp.ne.b32 p, $%u, 0;\n\t", t->add);
    if (!t->op->a_registers) buf_printf(b, "mov.b64 a, $%u;\n\t", t->a);
    buf_printf(b, "mov.b64 b, $%u;\n\t", t->b);
    const Sm90Mma *op = t->op;
    if (op->from && !op->a_registers)
        buf_printf(b, "add.s64 a, a, %u;\n\t",
                   units_before(op, op->a_step, op->a_run, op->a_skip));
    if (op->from)
        buf_printf(b, "add.s64 b, b, %u;\n\t",
                   units_before(op, op->b_step, op->b_run, op->b_skip));
    for (unsigned i = op->from; i < op->steps; i++)
        print_step(b, t, i);
    buf_printf(b, "wgmma.commit_group.sync.aligned;\n\t}");
}

void sm90_mma(const Site *s, const Sm90Mma *op, LV *acc, const LV *a, LV b,
              LV add)
{
    unsigned regs = op->n / 2, na = op->a_registers ? 4 * op->steps : 1;
    LV args[MOST_OPERANDS],
        flag = LLVMBuildZExt(s->b, add, LLVMInt32TypeInContext(s->cx), "");
    if (regs + na + 2 > MOST_OPERANDS) BUG("wgmma with %u registers of A", na);
    Buf text = {0}, kinds = {0};
    tie(&kinds, acc, regs);
    for (unsigned i = 0; i < regs; i++)
        args[i] = acc[i];
    for (unsigned i = 0; i < na; i++) {
        args[regs + i] = a[i];
        buf_printf(&kinds, ",%s", register_of(a[i]));
    }
    args[regs + na] = b;
    args[regs + na + 1] = flag;
    buf_printf(&kinds, ",l,r,~{memory}");
    /* tied operands have numbers of their own */
    MmaText t = {op, 2 * regs, 2 * regs + na, 2 * regs + na + 1};
    print_mma(&text, &t);
    LV r = sm90_ask(s, values_type(s, acc, regs), text.at, kinds.at, args,
                    regs + na + 2);
    untie(s, r, acc, regs);
    buf_release(&text);
    buf_release(&kinds);
}

void sm90_mma_wait(const Site *s, unsigned pending, LV *values, unsigned n)
{
    Buf text = {0}, kinds = {0};
    buf_printf(&text, "wgmma.wait_group.sync.aligned %u;", pending);
    tie(&kinds, values, n);
    buf_printf(&kinds, "%s~{memory}", n ? "," : "");
    LLVMTypeRef t =
        n ? values_type(s, values, n) : LLVMVoidTypeInContext(s->cx);
    LV r = sm90_ask(s, t, text.at, kinds.at, values, n);
    untie(s, r, values, n);
    buf_release(&text);
    buf_release(&kinds);
}

uint64_t sm90_descriptor_bits(uint32_t bytes, uint32_t lead, uint32_t stride)
{
    uint64_t mode = bytes == 128 ? 1 : bytes == 64 ? 2 : bytes == 32 ? 3 : 0;
    return mode << 62 | (uint64_t)(stride >> 4 & 0x3fff) << 32 |
           (uint64_t)(lead >> 4 & 0x3fff) << 16;
}

LV sm90_descriptor(const Site *s, LV address, uint64_t bits)
{
    LV at = LLVMBuildLShr(s->b, address, sm90_i32(s, 4), "");
    at = LLVMBuildAnd(s->b, at, sm90_i32(s, 0x3fff), "");
    at = LLVMBuildZExt(s->b, at, LLVMInt64TypeInContext(s->cx), "");
    return LLVMBuildOr(s->b, at, sm90_i64(s, bits), "");
}

void sm90_ldmatrix(const Site *s, LV address, bool transposed, LV out[4])
{
    LV like[4] = {address, address, address, address};
    const char *text =
        transposed ? "ldmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 "
                     "{$0, $1, $2, $3}, [$4];"
                   : "ldmatrix.sync.aligned.m8n8.x4.shared::cta.b16 "
                     "{$0, $1, $2, $3}, [$4];";
    LV r = sm90_ask(s, values_type(s, like, 4), text, "=r,=r,=r,=r,r,~{memory}",
                    &address, 1);
    untie(s, r, out, 4);
}

void sm90_stmatrix(const Site *s, LV address, bool transposed,
                   const LV values[4])
{
    LV args[] = {address, values[0], values[1], values[2], values[3]};
    sm90_instruct(s,
                  transposed
                      ? "stmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 "
                        "[$0], {$1, $2, $3, $4};"
                      : "stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 "
                        "[$0], {$1, $2, $3, $4};",
                  "r,r,r,r,r,~{memory}", args, 5);
}
