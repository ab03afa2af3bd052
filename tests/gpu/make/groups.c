/*
 * Makes the kernels of the groups in a file, for programs without a compiler.
 *
 *     make-groups FILE.tir OUT
 *
 * Every function of the file is one group; operands are dense, in the order of
 * their axes.  OUT.ptx has the kernels, OUT.txt a description that other
 * programs read (tests/gpu/attention.py), one record a line:
 *
 *     fn   function kernel blocks threads shared-bytes
 *     map  argument dtype rank swizzle, then per dimension: size, bytes, box
 *     arg  dtype written sizes...
 *     apart  function: it goes both ways, and no kernel has room for both
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codegen/kernel.h"

static const int64_t *dense_strides(Module *m, const TypeInfo *t)
{
    int64_t *stride = NEW_ARRAY(m->arena, int64_t, t->naxes + 1), n = 1;
    for (uint32_t k = t->naxes; k-- > 0;) {
        stride[k] = n;
        n *= t->axes[k].size;
    }
    return stride;
}

static Type operand_type(const Fn *fn, uint32_t i)
{
    return i < fn->nparams ? fn->params[i].type
                           : fn->results[i - fn->nparams].type;
}

static void write_map(FILE *f, const TitanMap *t)
{
    fprintf(f, "map %" PRIu32 " %s %" PRIu32 " %" PRIu32, t->arg,
            dtype_name((DType)t->dtype), t->rank, t->swizzle);
    for (uint32_t d = 0; d < t->rank; d++)
        fprintf(f, " %" PRId64 " %" PRId64 " %" PRIu32, t->size[d],
                t->stride[d], t->box[d]);
    fprintf(f, "\n");
}

static void write_arg(FILE *f, const TypeInfo *t, bool written)
{
    fprintf(f, "arg %s %d", dtype_name(t->dtype), written);
    for (uint32_t k = 0; k < t->naxes; k++)
        fprintf(f, " %" PRId64, t->axes[k].size);
    fprintf(f, "\n");
}

static void write_group(FILE *f, Module *m, KernelSet *set, const Fn *fn)
{
    uint32_t n = fn->nparams + fn->nresults, row;
    KernelArg *args = NEW_ARRAY(m->arena, KernelArg, n);
    for (uint32_t i = 0; i < n; i++) {
        Type t = operand_type(fn, i);
        args[i] = (KernelArg){.type = t,
                              .stride = dense_strides(m, type_info(m, t)),
                              .align = 16,
                              .written = i >= fn->nparams,
                              .same = -1};
    }
    bool product =
        fn_is(m, fn, FK_product) && kernels_add_matmul(set, fn, args, &row);
    if (!product && !kernels_add(set, fn, args, n, &row)) {
        fprintf(f, "apart %s\n", str_of(m, fn->name));
        return;
    }
    const Kernel *k = kernel_at(set, row);
    fprintf(f, "fn %s %s %" PRId64 " %" PRIu32 " %" PRIu32 "\n",
            str_of(m, fn->name), k->name, k->items, k->threads, k->shared);
    for (uint32_t i = 0; i < k->nmaps; i++)
        write_map(f, &k->maps[i]);
    for (uint32_t i = 0; i < n; i++)
        write_arg(f, type_info(m, args[i].type), args[i].written);
}

static FILE *create(Arena *a, const char *stem, const char *suffix)
{
    const char *path = arena_printf(a, "%s%s", stem, suffix);
    FILE *f = fopen(path, "w");
    if (!f) fprintf(stderr, "make-groups: cannot write %s\n", path);
    return f;
}

static bool write_kernels(KernelSet *set, Module *m, const char *stem)
{
    FILE *f = create(m->arena, stem, ".txt");
    bool good = f != NULL;
    for (uint32_t i = 0; good && i < m->fns.n; i++)
        write_group(f, m, set, m->fns.at[i]);
    if (f && fclose(f)) good = false;
    const char *text;
    size_t size;
    if (!good || !kernels_ptx(set, &text, &size)) return false;
    f = create(m->arena, stem, ".ptx");
    return f && fwrite(text, 1, size, f) == size && fclose(f) == 0;
}

static bool write_all(Module *m, const char *stem)
{
    KernelSet *set =
        kernels_new(m, &(CodegenOpts){.target = TARGET_sm_90a, .level = 2});
    bool good = write_kernels(set, m, stem);
    kernels_free(set);
    return good;
}

int main(int argc, char **argv)
{
    static Arena arena, scratch;
    static Diag diag;
    static Module m;
    if (argc != 3) {
        fprintf(stderr, "usage: make-groups FILE.tir OUT\n");
        return 2;
    }
    arena_init(&arena, "module");
    arena_init(&scratch, "scratch");
    diag_init(&diag, &arena);
    size_t size;
    char *text = read_file(&arena, argv[1], &size);
    if (!text) {
        fprintf(stderr, "make-groups: cannot read %s\n", argv[1]);
        return 1;
    }
    module_init(&m, &arena, &scratch, &diag);
    uint32_t source = diag_add_source(&diag, argv[1], text, size);
    bool good =
        module_parse(&m, source) && module_verify(&m) && write_all(&m, argv[2]);
    Buf out = {0};
    diag_render(&diag, DIAG_TEXT, &out);
    if (out.n) fputs(out.at, stderr);
    buf_release(&out);
    arena_release(&scratch);
    arena_release(&arena);
    return good ? 0 : 1;
}
