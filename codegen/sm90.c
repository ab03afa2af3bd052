/*
 * sm90.c: Hopper's own instructions, as inline assembly; those of matrices are
 * in wgmma.c.
 *
 * The text is written here once, with its operands in the order of the PTX
 * manual.  Everything that orders or is ordered is marked as having side
 * effects on memory, and as convergent, so LLVM neither moves nor copies it.
 */
#include "sm90.h"

#include <string.h>

enum {
    PTX_KERNEL = 71,
    GLOBAL = 1,
    SHARED = 3,
    MAP_BYTES = 128,
    MOST_OPERANDS = 256
};

/* -------------------------------------------------------------- assembly -- */

static LLVMTypeRef i32_type(const Site *s)
{
    return LLVMInt32TypeInContext(s->cx);
}

static LLVMTypeRef void_type(const Site *s)
{
    return LLVMVoidTypeInContext(s->cx);
}

static void mark_convergent(const Site *s, LV call)
{
    unsigned kind = LLVMGetEnumAttributeKindForName("convergent", 10);
    LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex,
                             LLVMCreateEnumAttribute(s->cx, kind, 0));
}

/* Pure: a function of its operands alone. */
static LV assembly(const Site *s, bool pure, LLVMTypeRef ret, const char *text,
                   const char *constraints, const LV *args, unsigned n)
{
    LLVMTypeRef types[MOST_OPERANDS];
    LV values[MOST_OPERANDS];
    if (n > MOST_OPERANDS) BUG("an instruction of %u operands", n);
    for (unsigned i = 0; i < n; i++) {
        types[i] = LLVMTypeOf(args[i]);
        values[i] = args[i];
    }
    LLVMTypeRef t = LLVMFunctionType(ret, types, n, false);
    LV f = LLVMGetInlineAsm(t, text, strlen(text), constraints,
                            strlen(constraints), !pure, false,
                            LLVMInlineAsmDialectATT, false);
    LV call = LLVMBuildCall2(s->b, t, f, values, n, "");
    if (!pure) mark_convergent(s, call);
    return call;
}

/* An instruction without a result: operands $0 .. in order. */
static void instruct(const Site *s, const char *text, const char *constraints,
                     const LV *args, unsigned n)
{
    assembly(s, false, void_type(s), text, constraints, args, n);
}

void sm90_instruct(const Site *s, const char *text, const char *constraints,
                   const LV *args, unsigned n)
{
    instruct(s, text, constraints, args, n);
}

LV sm90_ask(const Site *s, LLVMTypeRef ret, const char *text,
            const char *constraints, const LV *args, unsigned n)
{
    return assembly(s, false, ret, text, constraints, args, n);
}

static void instruct_text(const Site *s, const char *text, ...) PRINTF(2, 3);

/* One whose operands are all known now. */
static void instruct_text(const Site *s, const char *text, ...)
{
    Buf b = {0};
    va_list list;
    va_start(list, text);
    buf_vprintf(&b, text, list);
    va_end(list);
    instruct(s, b.at, "~{memory}", NULL, 0);
    buf_release(&b);
}

/* --------------------------------------------------------------- kernels -- */

static void set_text(LLVMContextRef cx, LV fn, unsigned at, const char *key,
                     const char *value)
{
    LLVMAttributeRef a = LLVMCreateStringAttribute(
        cx, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(fn, at, a);
}

static void set_map(LLVMContextRef cx, LV fn, unsigned param)
{
    LLVMTypeRef bytes = LLVMArrayType2(LLVMInt8TypeInContext(cx), MAP_BYTES);
    unsigned byval = LLVMGetEnumAttributeKindForName("byval", 5);
    unsigned align = LLVMGetEnumAttributeKindForName("align", 5);
    LLVMAddAttributeAtIndex(fn, param + 1,
                            LLVMCreateTypeAttribute(cx, byval, bytes));
    LLVMAddAttributeAtIndex(fn, param + 1,
                            LLVMCreateEnumAttribute(cx, align, 64));
    set_text(cx, fn, param + 1, "nvvm.grid_constant", "");
}

LV sm90_kernel(LLVMModuleRef module, const char *name, unsigned nargs,
               unsigned nmaps, unsigned threads)
{
    LLVMContextRef cx = LLVMGetModuleContext(module);
    LLVMTypeRef params[SM90_MOST_PARAMS];
    if (nargs + nmaps > SM90_MOST_PARAMS)
        BUG("a kernel of %u parameters", nargs + nmaps);
    for (unsigned i = 0; i < nargs + nmaps; i++)
        params[i] = LLVMPointerTypeInContext(cx, i < nargs ? GLOBAL : 0);
    LLVMTypeRef t = LLVMFunctionType(LLVMVoidTypeInContext(cx), params,
                                     nargs + nmaps, false);
    LV fn = LLVMAddFunction(module, name, t);
    LLVMSetFunctionCallConv(fn, PTX_KERNEL);
    for (unsigned i = nargs; i < nargs + nmaps; i++)
        set_map(cx, fn, i);
    Buf bound = {0};
    buf_printf(&bound, "%u,1,1", threads);
    set_text(cx, fn, LLVMAttributeFunctionIndex, "nvvm.maxntid", bound.at);
    buf_release(&bound);
    set_text(cx, fn, LLVMAttributeFunctionIndex, "nvvm.minctasm", "1");
    return fn;
}

void sm90_cluster(LV kernel, unsigned blocks)
{
    LLVMContextRef cx = LLVMGetModuleContext(LLVMGetGlobalParent(kernel));
    Buf size = {0};
    buf_printf(&size, "%u,1,1", blocks);
    set_text(cx, kernel, LLVMAttributeFunctionIndex, "nvvm.cluster_dim",
             size.at);
    buf_release(&size);
}

LV sm90_i32(const Site *s, int64_t i)
{
    return LLVMConstInt(i32_type(s), (uint64_t)i, true);
}

LV sm90_i64(const Site *s, uint64_t i)
{
    return LLVMConstInt(LLVMInt64TypeInContext(s->cx), i, false);
}

LV sm90_again(const Site *s, LV x)
{
    return assembly(s, false, i32_type(s), "", "=r,0", &x, 1);
}

static LV special(const Site *s, const char *text)
{
    return assembly(s, true, i32_type(s), text, "=r", NULL, 0);
}

LV sm90_thread(const Site *s)
{
    return special(s, "mov.u32 $0, %tid.x;");
}

LV sm90_warp(const Site *s)
{
    LV warp = LLVMBuildLShr(s->b, sm90_thread(s), sm90_i32(s, 5), "");
    return assembly(s, false, i32_type(s),
                    "shfl.sync.idx.b32 $0, $1, 0, 31, 0xffffffff;", "=r,r",
                    &warp, 1);
}

LV sm90_lane(const Site *s)
{
    return LLVMBuildAnd(s->b, sm90_thread(s), sm90_i32(s, 31), "");
}

LV sm90_shuffle_xor(const Site *s, LV x, unsigned bits)
{
    LV args[2] = {x, sm90_i32(s, bits)};
    return assembly(s, false, LLVMFloatTypeInContext(s->cx),
                    "shfl.sync.bfly.b32 $0, $1, $2, 31, 0xffffffff;", "=f,f,r",
                    args, 2);
}

LV sm90_block(const Site *s)
{
    return special(s, "mov.u32 $0, %ctaid.x;");
}

LV sm90_blocks(const Site *s)
{
    return special(s, "mov.u32 $0, %nctaid.x;");
}

LV sm90_cluster_rank(const Site *s)
{
    return special(s, "mov.u32 $0, %cluster_ctarank;");
}

/* --------------------------------------------------------- shared memory -- */

LV sm90_shared(const Site *s)
{
    static const char name[] = "titan_dynamic_shared";
    LV g = LLVMGetNamedGlobal(s->module, name);
    if (!g) {
        LLVMTypeRef t = LLVMArrayType2(LLVMInt8TypeInContext(s->cx), 0);
        g = LLVMAddGlobalInAddressSpace(s->module, t, name, SHARED);
        LLVMSetLinkage(g, LLVMExternalLinkage);
        LLVMSetAlignment(g, 1024);
    }
    return LLVMBuildPtrToInt(s->b, g, i32_type(s), "");
}

LV sm90_at(const Site *s, LV address)
{
    return LLVMBuildIntToPtr(s->b, address,
                             LLVMPointerTypeInContext(s->cx, SHARED), "");
}

/* Bits 4 .. of the offset take up those of the 128-byte row: 3 bits of it for
 * rows of 128 bytes, 2 for 64, 1 for 32. */
static uint32_t swizzle_mask(uint32_t bytes)
{
    return bytes == 128 ? 0x70 : bytes == 64 ? 0x30 : bytes == 32 ? 0x10 : 0;
}

LV sm90_swizzle(const Site *s, LV offset, uint32_t bytes)
{
    LV bits = LLVMBuildLShr(s->b, offset, sm90_i32(s, 3), "");
    bits = LLVMBuildAnd(s->b, bits, sm90_i32(s, swizzle_mask(bytes)), "");
    return LLVMBuildXor(s->b, offset, bits, "");
}

/* ------------------------------------------------------------- mbarriers -- */

void sm90_mbar_init(const Site *s, LV bar, unsigned arrivals)
{
    LV args[] = {bar, sm90_i32(s, arrivals)};
    instruct(s, "mbarrier.init.shared::cta.b64 [$0], $1;", "r,r,~{memory}",
             args, 2);
}

void sm90_mbar_fence(const Site *s)
{
    instruct_text(s, "fence.mbarrier_init.release.cluster;");
}

void sm90_mbar_arrive(const Site *s, LV bar)
{
    instruct(s, "mbarrier.arrive.shared::cta.b64 _, [$0];", "r,~{memory}", &bar,
             1);
}

void sm90_mbar_arrive_if(const Site *s, LV bar, LV when)
{
    LV args[] = {bar, LLVMBuildZExt(s->b, when, i32_type(s), "")};
    instruct(s,
             "{\n\t.reg .pred p;\n\t"
             "setp.ne.b32 p, $1, 0;\n\t"
             "@p mbarrier.arrive.shared::cta.b64 _, [$0];\n\t}",
             "r,r,~{memory}", args, 2);
}

void sm90_mbar_arrive_there(const Site *s, LV bar, LV rank, LV when)
{
    LV args[] = {bar, rank, LLVMBuildZExt(s->b, when, i32_type(s), "")};
    instruct(s,
             "{\n\t.reg .pred p;\n\t.reg .b32 there;\n\t"
             "setp.ne.b32 p, $2, 0;\n\t"
             "mapa.shared::cluster.u32 there, $0, $1;\n\t"
             "@p mbarrier.arrive.shared::cluster.b64 _, "
             "[there];\n\t}",
             "r,r,r,~{memory}", args, 3);
}

void sm90_mbar_expect(const Site *s, LV bar, LV bytes)
{
    LV args[] = {bar, bytes};
    instruct(s, "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;",
             "r,r,~{memory}", args, 2);
}

void sm90_mbar_wait(const Site *s, LV bar, LV parity)
{
    LV args[] = {bar, parity};
    instruct(s,
             "{\n\t.reg .pred p;\n"
             "again:\n\t"
             "mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1;\n\t"
             "@!p bra again;\n\t}",
             "r,r,~{memory}", args, 2);
}

/* ------------------------------------------------------- the copy engine -- */

void sm90_map_prefetch(const Site *s, LV map)
{
    instruct(s, "prefetch.tensormap [$0];", "l,~{memory}", &map, 1);
}

void sm90_prefetch(const Site *s, LV from, uint32_t bytes, LV when)
{
    LV args[] = {from, sm90_i32(s, bytes),
                 LLVMBuildZExt(s->b, when, i32_type(s), "")};
    instruct(s,
             "{\n\t.reg .pred p;\n\t.reg .b64 a;\n\t"
             "setp.ne.u32 p, $2, 0;\n\t"
             "cvta.to.global.u64 a, $0;\n\t"
             "@p cp.async.bulk.prefetch.L2.global [a], $1;\n\t}",
             "l,r,r,~{memory}", args, 3);
}

/* "{$2, $3}" from operand `first` on. */
void sm90_print_list(Buf *b, unsigned first, unsigned n)
{
    buf_printf(b, "{");
    for (unsigned i = 0; i < n; i++)
        buf_printf(b, i ? ", $%u" : "$%u", first + i);
    buf_printf(b, "}");
}

LV sm90_policy(const Site *s, bool first)
{
    LLVMTypeRef i64 = LLVMInt64TypeInContext(s->cx);
    return assembly(s, false, i64,
                    first ? "createpolicy.fractional.L2::evict_first.b64 $0;"
                          : "createpolicy.fractional.L2::evict_last.b64 $0;",
                    "=l", NULL, 0);
}

/* "l,r,..": the constraints of a copy. */
static void print_constraints(Buf *b, const char *first, unsigned coordinates,
                              const char *last, bool policy)
{
    buf_puts(b, first);
    for (unsigned i = 0; i < coordinates; i++)
        buf_puts(b, ",r");
    buf_printf(b, "%s%s,~{memory}", last, policy ? ",l" : "");
}

void sm90_load_as(const Site *s, LV to, LV map, const LV *at, unsigned dims,
                  LV bar, const Sm90How *how)
{
    LV args[SM90_DIMS + 4] = {to, map};
    for (unsigned i = 0; i < dims; i++)
        args[2 + i] = at[i];
    args[2 + dims] = bar;
    args[3 + dims] = how->policy;
    Buf b = {0}, constraints = {0};
    print_constraints(&constraints, "r,l", dims, ",r", how->policy);
    if (how->blocks)
        buf_printf(&b, "{\n\t.reg .b16 all;\n\tmov.b16 all, %u;\n\t",
                   how->blocks);
    buf_printf(&b,
               "cp.async.bulk.tensor.%ud.shared::cluster.global.tile."
               "mbarrier::complete_tx::bytes%s%s [$0], [$1, ",
               dims, how->blocks ? ".multicast::cluster" : "",
               how->policy ? ".L2::cache_hint" : "");
    sm90_print_list(&b, 2, dims);
    buf_printf(&b, "], [$%u]%s", 2 + dims, how->blocks ? ", all" : "");
    if (how->policy) buf_printf(&b, ", $%u", 3 + dims);
    buf_puts(&b, how->blocks ? ";\n\t}" : ";");
    instruct(s, b.at, constraints.at, args, dims + (how->policy ? 4 : 3));
    buf_release(&b);
    buf_release(&constraints);
}

void sm90_load(const Site *s, LV to, LV map, const LV *at, unsigned dims,
               LV bar)
{
    sm90_load_as(s, to, map, at, dims, bar, &(Sm90How){0});
}

void sm90_store_as(const Site *s, LV map, const LV *at, unsigned dims, LV from,
                   LV policy)
{
    LV args[SM90_DIMS + 3] = {map};
    for (unsigned i = 0; i < dims; i++)
        args[1 + i] = at[i];
    args[1 + dims] = from;
    args[2 + dims] = policy;
    Buf b = {0}, constraints = {0};
    print_constraints(&constraints, "l", dims, ",r", policy);
    buf_printf(&b,
               "cp.async.bulk.tensor.%ud.global.shared::cta.tile.bulk_group%s "
               "[$0, ",
               dims, policy ? ".L2::cache_hint" : "");
    sm90_print_list(&b, 1, dims);
    buf_printf(&b, "], [$%u]", 1 + dims);
    if (policy) buf_printf(&b, ", $%u", 2 + dims);
    buf_puts(&b, ";");
    instruct(s, b.at, constraints.at, args, dims + (policy ? 3 : 2));
    buf_release(&b);
    buf_release(&constraints);
}

void sm90_store(const Site *s, LV map, const LV *at, unsigned dims, LV from)
{
    sm90_store_as(s, map, at, dims, from, NULL);
}

void sm90_add(const Site *s, LV map, const LV *at, unsigned dims, LV from)
{
    LV args[SM90_DIMS + 2] = {map};
    for (unsigned i = 0; i < dims; i++)
        args[1 + i] = at[i];
    args[1 + dims] = from;
    Buf b = {0}, constraints = {0};
    print_constraints(&constraints, "l", dims, ",r", NULL);
    buf_printf(&b,
               "cp.reduce.async.bulk.tensor.%ud.global.shared::cta.add.tile."
               "bulk_group [$0, ",
               dims);
    sm90_print_list(&b, 1, dims);
    buf_printf(&b, "], [$%u];", 1 + dims);
    instruct(s, b.at, constraints.at, args, dims + 2);
    buf_release(&b);
    buf_release(&constraints);
}

void sm90_store_commit(const Site *s)
{
    instruct_text(s, "cp.async.bulk.commit_group;");
}

void sm90_store_wait(const Site *s, unsigned pending, bool read)
{
    instruct_text(s, "cp.async.bulk.wait_group%s %u;", read ? ".read" : "",
                  pending);
}

void sm90_release(const Site *s, LV p, LV x)
{
    LV args[] = {p, x};
    instruct(s, "st.release.gpu.global.u32 [$0], $1;", "l,r,~{memory}", args,
             2);
}

LV sm90_count(const Site *s, LV p)
{
    return assembly(s, false, i32_type(s),
                    "atom.add.relaxed.gpu.global.u32 $0, [$1], 1;",
                    "=r,l,~{memory}", &p, 1);
}

void sm90_acquire_wait(const Site *s, LV p, LV x)
{
    LV args[] = {p, x};
    instruct(s,
             "{\n\t.reg .pred p;\n\t.reg .b32 x;\n"
             "again:\n\t"
             "ld.acquire.gpu.global.u32 x, [$0];\n\t"
             "setp.ne.u32 p, x, $1;\n\t"
             "@p bra again;\n\t"
             "fence.proxy.async.global;\n\t}",
             "l,r,~{memory}", args, 2);
}

void sm90_proxy_fence(const Site *s)
{
    instruct_text(s, "fence.proxy.async.shared::cta;");
}

/* --------------------------------------------------- warps and registers -- */

static void barrier_at(const Site *s, const char *what, LV id, unsigned threads)
{
    Buf b = {0};
    buf_printf(&b, "bar.%s $0, %u;", what, threads);
    instruct(s, b.at, "r,~{memory}", &id, 1);
    buf_release(&b);
}

void sm90_sync_at(const Site *s, LV id, unsigned threads)
{
    barrier_at(s, "sync", id, threads);
}

void sm90_arrive_at(const Site *s, LV id, unsigned threads)
{
    barrier_at(s, "arrive", id, threads);
}

void sm90_sync_block(const Site *s)
{
    instruct_text(s, "bar.sync 0;");
}

void sm90_sync_cluster(const Site *s, bool memory)
{
    instruct_text(s, "barrier.cluster.arrive%s;", memory ? "" : ".relaxed");
    instruct_text(s, "barrier.cluster.wait;");
}

void sm90_sync_warp(const Site *s)
{
    instruct_text(s, "bar.warp.sync 0xffffffff;");
}

LV sm90_least(const Site *s, LV x)
{
    return assembly(s, false, i32_type(s),
                    "redux.sync.min.s32 $0, $1, 0xffffffff;", "=r,r", &x, 1);
}

LV sm90_most(const Site *s, LV x)
{
    return assembly(s, false, i32_type(s),
                    "redux.sync.max.s32 $0, $1, 0xffffffff;", "=r,r", &x, 1);
}

void sm90_registers(const Site *s, unsigned n, bool more)
{
    instruct_text(s, "setmaxnreg.%s.sync.aligned.u32 %u;", more ? "inc" : "dec",
                  n);
}

/* --------------------------------------------------------------- numbers -- */

LV sm90_pack(const Site *s, DType to, LV low, LV high)
{
    LV args[] = {high, low};
    return assembly(s, true, i32_type(s),
                    to == DT_f16 ? "cvt.rn.f16x2.f32 $0, $1, $2;"
                                 : "cvt.rn.bf16x2.f32 $0, $1, $2;",
                    "=r,f,f", args, 2);
}

LV sm90_exp2(const Site *s, LV x)
{
    return assembly(s, true, LLVMFloatTypeInContext(s->cx),
                    "ex2.approx.ftz.f32 $0, $1;", "=f,f", &x, 1);
}

LV sm90_rcp(const Site *s, LV x)
{
    return assembly(s, true, LLVMFloatTypeInContext(s->cx),
                    "rcp.approx.ftz.f32 $0, $1;", "=f,f", &x, 1);
}
