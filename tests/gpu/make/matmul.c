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
 * are those of tests/gpu/products.h.
 *
 * A line may also be KEY = TILES, a product as tables of choices call it
 * (codegen/matmul_table.c).  Its results are functions that cost what those of
 * an activation do, of the sums and of what is read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/matmul.h"
#include "codegen/target.h"

enum { MOST_TILES = 32, MOST_ALONG = 5 };

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
    char name[64], body[32], layout[4], tiles[400];
    char dtype[8];
    long long m, n, k, pad;
    Body make;
} Product;

typedef struct Maker {
    const char *folder;
    FILE *index;
    uint32_t keys; /* products that came by their keys */
    bool keyed;    /* the key of the product is written */
    LLVMTargetMachineRef machine;
    Arena arena, scratch;
    Diag diag;
} Maker;

static bool read_named(const char *line, Product *p)
{
    if (sscanf(line, "%63s %31s %lld %lld %lld %3s %lld %399s", p->name,
               p->body, &p->m, &p->n, &p->k, p->layout, &p->pad, p->tiles) != 8)
        return false;
    strcpy(p->dtype, "bf16");
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        if (strcmp(bodies[i].name, p->body) == 0) p->make = bodies[i];
    return p->make.text != NULL;
}

/* What runs along with a product of a key. */
typedef struct Along {
    char dtype[MOST_ALONG][8];
    uint32_t n;
} Along;

static void add_along(Along *a, const char *word)
{
    if (a->n < MOST_ALONG) snprintf(a->dtype[a->n++], 8, "%.7s", word);
}

/* What is written elsewhere comes last. */
static bool join(Along *over, const Along *writes)
{
    for (uint32_t i = 0; i < writes->n; i++) {
        if (over->n == MOST_ALONG) return false;
        add_along(over, writes->dtype[i]);
    }
    return true;
}

/* The maps of a product: value i of `results` of `values`. */
static void print_map(Buf *b, uint32_t i, uint32_t first, uint32_t values,
                      const char *dtype)
{
    buf_printf(b, "  %%%u : %s[m, n] = map ", first + values + i, dtype);
    for (uint32_t v = 0; v < values; v++)
        buf_printf(b, v ? ", %%%u" : "%%%u", first + v);
    buf_printf(b, " { %s(f32(_%u) * sigmoid(f32(_%u))", dtype, i % values,
               (i + 1) % values);
    for (uint32_t v = 0; v < values; v++)
        buf_printf(b, " + f32(_%u)", v);
    buf_puts(b, ") }\n");
}

/* Parameters are A, the Bs, what is read; then come the products, so that these
 * and what is read are neighbours. */
static void print_group(Buf *b, const Product *p, uint32_t products,
                        const Along *reads, const Along *writes, bool plain)
{
    uint32_t first = 1 + products, at = first + reads->n;
    buf_printf(b, "(%%0 : %s[m, k]", p->dtype);
    for (uint32_t i = 1; i < first; i++)
        buf_printf(b, ", %%%u : %s[n, k]", i, p->dtype);
    for (uint32_t i = 0; i < reads->n; i++)
        buf_printf(b, ", %%%u : %s[m, n]", first + i, reads->dtype[i]);
    buf_puts(b, ") -> (");
    for (uint32_t i = 0; i < writes->n; i++)
        buf_printf(b, i ? ", %s[m, n]" : "%s[m, n]", writes->dtype[i]);
    buf_printf(b, ") kind %s {\n", plain ? "matmul" : "product");
    const char *sums = !plain ? p->dtype : reads->n ? "f32" : writes->dtype[0];
    for (uint32_t i = 0; i < products; i++)
        buf_printf(b, "  %%%u : %s[m, n] = einsum %%0, %%%u sum (k)\n", at + i,
                   sums, 1 + i);
    uint32_t result = at + products;
    if (plain && reads->n)
        buf_printf(b,
                   "  %%%u : %s[m, n] = map %%%u, %%2 { %s(_0 + f32(_1)) }\n",
                   result, writes->dtype[0], at, writes->dtype[0]);
    for (uint32_t i = 0; i < writes->n && !plain; i++)
        print_map(b, i, first, reads->n + products, writes->dtype[i]);
    if (plain && !reads->n) result = at;
    buf_puts(b, "  ret ");
    for (uint32_t i = 0; i < writes->n; i++)
        buf_printf(b, i ? ", %%%u" : "%%%u", result + i);
    buf_puts(b, "\n}\n");
}

/* False: none of those that are measured here (batches, values that do not run
 * along both sides). */
static bool read_key(Maker *k, const char *line, Product *p)
{
    char *save, *text = arena_printf(&k->arena, "%s", line);
    char *is = strchr(text, '=');
    Along reads = {.n = 0}, over = {.n = 0}, writes = {.n = 0}, *to = NULL;
    if (!is) return false;
    *is = 0;
    if (sscanf(is + 1, "%399s", p->tiles) != 1) return false;
    char kind[16];
    int used = 0;
    if (sscanf(text, "%15s %7s %3s %lldx%lldx%lld %n", kind, p->dtype,
               p->layout, &p->m, &p->n, &p->k, &used) != 6)
        return false;
    for (char *w = strtok_r(text + used, " ", &save); w;
         w = strtok_r(NULL, " ", &save)) {
        if (strcmp(w, "reads") == 0)
            to = &reads;
        else if (strcmp(w, "writes") == 0)
            to = &writes;
        else if (strcmp(w, "rewrites") == 0)
            to = &over;
        else if (!to || strchr(w, '*'))
            return false;
        else
            add_along(to, w);
    }
    if (!join(&over, &writes)) return false;
    Buf b = {0};
    uint32_t products = strcmp(kind, "product2") == 0 ? 2 : 1;
    print_group(&b, p, products, &reads, &over, strcmp(kind, "matmul") == 0);
    p->make.text = arena_strndup(&k->arena, b.at, b.n);
    buf_release(&b);
    snprintf(p->name, sizeof p->name, "p%u", k->keys++);
    strcpy(p->body, "key");
    for (uint32_t i = 0; i + writes.n < over.n; i++)
        p->make.same[i] = (int8_t)(2 + products + i);
    return over.n > 0;
}

static bool read_product(Maker *k, const char *line, Product *p)
{
    *p = (Product){.pad = 0};
    return strchr(line, '=') ? read_key(k, line, p) : read_named(line, p);
}

/* The names of the list, or all. */
static uint32_t list_tiles(Maker *k, const Product *p, MatmulTile *out)
{
    const MatmulRate *all;
    uint32_t rates = matmul_rates(&all), n = 0;
    if (strcmp(p->tiles, "all") == 0) {
        for (uint32_t i = 0; i < rates && n < MOST_TILES; i++)
            n += matmul_tile(all[i].tile, &out[n]);
        return n;
    }
    char *save, *list = arena_printf(&k->arena, "%s", p->tiles);
    for (char *t = strtok_r(list, ",", &save); t && n < MOST_TILES;
         t = strtok_r(NULL, ",", &save))
        if (matmul_tile(t, &out[n]))
            n++;
        else
            fprintf(stderr, "no tile is called %s\n", t);
    return n;
}

/* The group as the module has it; the program ends when the text is wrong. */
static const Fn *parse(Maker *k, const Product *p, Module *m)
{
    Buf b = {0};
    buf_printf(&b, "axes (m = %lld, n = %lld, k = %lld)\n\nfn local @group",
               p->m, p->n, p->k);
    buf_puts(&b, p->make.text);
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
        int at = written ? p->make.same[i - f->nparams] : 0;
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

/* The first plan of a product says what tables call it. */
static void write_key(Maker *k, const Matmul *plan)
{
    Buf key = {0};
    matmul_key(plan, &key);
    fprintf(k->index, "key %s\n", key.at);
    buf_release(&key);
    k->keyed = true;
}

static void add_tile(Maker *k, LLVMModuleRef module, Module *m, const Fn *f,
                     const KernelArg *args, const Product *p,
                     const MatmulTile *t)
{
    Matmul plan;
    if (!matmul_plan(m, f, args, t, &plan)) return;
    if (!k->keyed) write_key(k, &plan);
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
    k->keyed = false;
    LLVMContextRef cx = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext(p->name, cx);
    machine_prepare(k->machine, module);
    MatmulTile tiles[MOST_TILES];
    uint32_t n = list_tiles(k, p, tiles);
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
        if (*line != '#' && read_product(&k, line, &p)) make(&k, &p);
    LLVMDisposeTargetMachine(k.machine);
    arena_release(&k.scratch);
    arena_release(&k.arena);
    return fclose(k.index) != 0;
}
