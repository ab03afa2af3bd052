/*
 * Makes the kernels of gpu-matmul: for each product of a list the kernel of
 * each tile, as PTX, and what a program without a compiler needs to run them.
 *
 *     make-matmul DIR < LIST
 *
 * A line of the list is NAME BODY M N K LAYOUT PAD TILES: what is made (bodies
 * below), the layouts of A and B as two letters (k: dense along K, m or n:
 * dense along that), least elements between rows, and names of tiles with
 * commas, or `all`.  Files are DIR/NAME.ptx and DIR/matmuls.txt, whose records
 * are those of tests/gpu/matmul.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/matmul.h"
#include "codegen/target.h"

typedef struct Body {
    const char *name, *text;
    int8_t same[8]; /* per result: 1 + the parameter at its place; 0: none */
} Body;

#define SILU "(f32(_0) * sigmoid(f32(_0)))"
static const Body bodies[] = {
    {"bf16",
     "(%0 : bf16[m, k], %1 : bf16[n, k]) -> bf16[m, n] kind matmul {\n"
     "  %2 : bf16[m, n] = einsum %0, %1 sum (k)\n  ret %2\n}\n",
     {0}},
    {"f32",
     "(%0 : bf16[m, k], %1 : bf16[n, k]) -> f32[m, n] kind matmul {\n"
     "  %2 : f32[m, n] = einsum %0, %1 sum (k)\n  ret %2\n}\n",
     {0}},
    {"add_f32",
     "(%0 : bf16[m, k], %1 : bf16[n, k], %2 : f32[m, n]) -> f32[m, n] kind "
     "matmul {\n"
     "  %3 : f32[m, n] = einsum %0, %1 sum (k)\n"
     "  %4 : f32[m, n] = map %3, %2 { _0 + _1 }\n  ret %4\n}\n",
     {3}},
    {"add_bf16",
     "(%0 : bf16[m, k], %1 : bf16[n, k], %2 : bf16[m, n]) -> bf16[m, n] kind "
     "matmul {\n"
     "  %3 : f32[m, n] = einsum %0, %1 sum (k)\n"
     "  %4 : bf16[m, n] = map %3, %2 { bf16(_0 + f32(_1)) }\n  ret %4\n}\n",
     {0}},
    {"swiglu",
     "(%0 : bf16[m, k], %1 : bf16[n, k], %2 : bf16[n, k]) -> (bf16[m, n], "
     "bf16[m, n], bf16[m, n]) kind product {\n"
     "  %3 : bf16[m, n] = einsum %0, %1 sum (k)\n"
     "  %4 : bf16[m, n] = einsum %0, %2 sum (k)\n"
     "  %5 : bf16[m, n] = map %3, %4 { bf16(" SILU " * f32(_1)) }\n"
     "  ret %3, %4, %5\n}\n",
     {0}},
    {"dswiglu",
     "(%0 : bf16[m, k], %1 : bf16[n, k], %2 : bf16[m, n], %3 : bf16[m, n]) -> "
     "(bf16[m, n], bf16[m, n], bf16[m, n]) kind product {\n"
     "  %4 : bf16[m, n] = einsum %0, %1 sum (k)\n"
     "  %5 : bf16[m, n] = map %2, %3, %4 { bf16(f32(_2) * f32(_1) * "
     "(sigmoid(f32(_0)) + " SILU " * (1 - sigmoid(f32(_0))))) }\n"
     "  %6 : bf16[m, n] = map %2, %4 { bf16(f32(_1) * " SILU ") }\n"
     "  %7 : bf16[m, n] = map %2, %3 { bf16(" SILU " * f32(_1)) }\n"
     "  ret %5, %6, %7\n}\n",
     {3, 4, 0}},
    {"bias",
     "(%0 : bf16[m, k], %1 : bf16[n, k], %2 : f32[n], %3 : f32[m]) -> "
     "bf16[m, n] kind product {\n"
     "  %4 : bf16[m, n] = einsum %0, %1 sum (k)\n"
     "  %5 : bf16[m, n] = map %4, %2, %3 { bf16((f32(_0) + _1) * _2) }\n"
     "  ret %5\n}\n",
     {0}},
};

typedef struct Product {
    char name[64], body[32], layout[4], tiles[128];
    long long m, n, k, pad;
    const Body *make;
} Product;

typedef struct Maker {
    const char *folder;
    FILE *index;
    LLVMTargetMachineRef machine;
    Arena arena, scratch;
    Diag diag;
} Maker;

static bool read_product(const char *line, Product *p)
{
    if (sscanf(line, "%63s %31s %lld %lld %lld %3s %lld %127s", p->name,
               p->body, &p->m, &p->n, &p->k, p->layout, &p->pad, p->tiles) != 8)
        return false;
    p->make = NULL;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        if (strcmp(bodies[i].name, p->body) == 0) p->make = &bodies[i];
    return p->make != NULL;
}

static bool wants(const Product *p, const char *tile)
{
    if (strcmp(p->tiles, "all") == 0) return true;
    size_t n = strlen(tile);
    for (const char *at = p->tiles; (at = strstr(at, tile)); at += n)
        if ((at == p->tiles || at[-1] == ',') && (!at[n] || at[n] == ','))
            return true;
    return false;
}

/* The group as the module has it; the program ends when the text is wrong. */
static const Fn *parse(Maker *k, const Product *p, Module *m)
{
    Buf b = {0};
    buf_printf(&b, "axes (m = %lld, n = %lld, k = %lld)\n\nfn local @group",
               p->m, p->n, p->k);
    buf_puts(&b, p->make->text);
    const char *text = arena_strndup(&k->arena, b.at, b.n);
    uint32_t source = diag_add_source(&k->diag, p->body, text, b.n);
    buf_release(&b);
    module_init(m, &k->arena, &k->scratch, &k->diag);
    if (module_parse(m, source) && module_verify(m)) return m->fns.at[0];
    diag_render(&k->diag, DIAG_TEXT, &b);
    fputs(b.at, stderr);
    exit(1);
}

/* From row to row: what the copy engine can take. */
static int64_t row_of(int64_t n, long long pad)
{
    return (n + pad + 7) / 8 * 8;
}

/* Operands 0, 1, .. as the layout has them; everything else by rows. */
static void lay_out(Maker *k, const Module *m, const Fn *f, const Product *p,
                    KernelArg *args)
{
    for (uint32_t i = 0; i < f->nparams + f->nresults; i++) {
        bool written = i >= f->nparams;
        Type t = written ? f->results[i - f->nparams].type : f->params[i].type;
        const TypeInfo *ti = type_info(m, t);
        int64_t *stride = NEW_ARRAY(&k->arena, int64_t, 2);
        bool sums =
            strcmp(axis_name(m, ti->axes[ti->naxes - 1].axis), "k") == 0;
        bool across = sums && p->layout[i > 0] != 'k';
        int at = written ? p->make->same[i - f->nparams] : 0;
        stride[0] = ti->naxes < 2 ? 1
                    : across      ? 1
                                  : row_of(ti->axes[1].size, p->pad);
        stride[1] = across ? row_of(ti->axes[0].size, p->pad) : 1;
        args[i] = (KernelArg){.type = t,
                              .stride = stride,
                              .align = 256,
                              .written = written,
                              .same = at - 1};
    }
}

static void write_args(const Maker *k, const Module *m, const KernelArg *args,
                       uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const TypeInfo *ti = type_info(m, args[i].type);
        bool two = ti->naxes > 1;
        fprintf(k->index, "arg %s %d %d", dtype_name((DType)ti->dtype),
                args[i].written, args[i].same);
        fprintf(k->index, " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
                ti->axes[0].size, args[i].stride[0], two ? ti->axes[1].size : 1,
                two ? args[i].stride[1] : 1);
    }
}

static void add_tile(Maker *k, LLVMModuleRef module, Module *m, const Fn *f,
                     const KernelArg *args, const Product *p,
                     const MatmulTile *t)
{
    Matmul plan;
    if (!wants(p, t->name) || !matmul_plan(m, f, args, t, &plan)) return;
    const char *name = arena_printf(&k->arena, "%s_%s", p->name, t->name);
    matmul_emit(module, name, &plan);
    fprintf(k->index, "kernel %s %u %u %u\n", name, matmul_blocks(&plan),
            plan.threads, plan.shared);
    for (uint32_t i = 0; i < plan.nviews; i++) {
        const TitanMap *x = &plan.view[i].map;
        fprintf(k->index, "map %u %u %u %u", x->arg, x->dtype, x->rank,
                x->swizzle);
        for (uint32_t j = 0; j < x->rank; j++)
            fprintf(k->index, " %" PRId64 " %" PRId64 " %u", x->size[j],
                    x->stride[j], x->box[j]);
        fputc('\n', k->index);
    }
}

static void make(Maker *k, const Product *p)
{
    Module *m = NEW(&k->arena, Module);
    const Fn *f = parse(k, p, m);
    KernelArg args[16];
    lay_out(k, m, f, p, args);
    fprintf(k->index, "product %s %s %lld %lld %lld\n", p->name, p->body, p->m,
            p->n, p->k);
    write_args(k, m, args, f->nparams + f->nresults);
    LLVMContextRef cx = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext(p->name, cx);
    machine_prepare(k->machine, module);
    const MatmulTile *tiles;
    uint32_t n = matmul_tiles(&tiles);
    for (uint32_t i = 0; i < n; i++)
        add_tile(k, module, m, f, args, p, &tiles[i]);
    machine_optimise(k->machine, module, 2);
    size_t size;
    const char *text =
        machine_emit(k->machine, module, LLVMAssemblyFile, &k->arena, &size);
    const char *path = arena_printf(&k->arena, "%s/%s.ptx", k->folder, p->name);
    if (!write_file(path, text, size, false)) perror(path);
    LLVMDisposeModule(module);
    LLVMContextDispose(cx);
}

int main(int argc, char **argv)
{
    if (argc != 2) return fputs("usage: make-matmul DIR < LIST\n", stderr), 1;
    CodegenOpts o = {.target = TARGET_sm_90a, .level = 2};
    static Maker k;
    k.folder = argv[1];
    k.machine = machine_new(&o);
    diag_init(&k.diag, &k.arena);
    char line[512];
    snprintf(line, sizeof line, "%s/matmuls.txt", argv[1]);
    k.index = fopen(line, "w");
    if (!k.index) return perror(line), 1;
    Product p;
    while (fgets(line, sizeof line, stdin))
        if (*line != '#' && read_product(line, &p)) make(&k, &p);
    LLVMDisposeTargetMachine(k.machine);
    arena_release(&k.scratch);
    arena_release(&k.arena);
    return fclose(k.index) != 0;
}
