/*
 * kernels.c: the set of distinct kernels, and the module that holds them.
 *
 * The key of a kernel is the text of its kernel IR, which names no axis, no
 * value and no function: layers, and groups that happen to do the same, share
 * one.  A kernel is emitted when it is first seen, so that its IR can go.
 */
#include <ctype.h>

#include "lines.h"
#include "matmul.h"
#include "scaled.h"
#include "target.h"
#include "tensor.h"
#include "work.h"

typedef struct Row {
    Kernel kernel;
    const char *key;
    LV fn;
} Row;

/* A group that was added before, with operands that lie alike. */
typedef struct Added {
    const Fn *group;
    const KernelArg *args;
    bool exact;
    uint32_t nargs, row;
} Added;

struct KernelSet {
    Module *m;
    CodegenOpts opts;
    LowerOpts lower;
    LLVMContextRef cx;
    LLVMModuleRef module;
    LLVMTargetMachineRef machine;
    Lines *lines;
    bool exact; /* kernels from now on give the host's bits */
    Map map;
    VEC(Row) rows;
    Map added_map; /* hash of group and operands -> number in `added` */
    VEC(Added) added;
    bool optimised;
};

KernelSet *kernels_new(Module *m, const CodegenOpts *o)
{
    KernelSet *s = NEW(m->arena, KernelSet);
    s->m = m;
    s->opts = *o;
    s->lower = (LowerOpts){.gpu = target_is_gpu(o->target),
                           .lanes = machine_lanes(o),
                           .sm90 = o->target == TARGET_sm_90a};
    s->machine = machine_new(o);
    s->cx = LLVMContextCreate();
    s->module = LLVMModuleCreateWithNameInContext("titan", s->cx);
    machine_prepare(s->machine, s->module);
    if (o->line_info) s->lines = lines_new(m, s->cx, s->module);
    map_init(&s->map, m->arena);
    map_init(&s->added_map, m->arena);
    return s;
}

void kernels_free(KernelSet *s)
{
    lines_finish(s->lines);
    LLVMDisposeModule(s->module);
    LLVMContextDispose(s->cx);
    LLVMDisposeTargetMachine(s->machine);
}

uint32_t kernels_count(const KernelSet *s)
{
    return s->rows.n;
}

const Kernel *kernel_at(const KernelSet *s, uint32_t i)
{
    return &s->rows.at[i].kernel;
}

/* ------------------------------------------------------------------ adding */

/* A symbol from the name of the first group that is this kernel. */
static const char *symbol(const KernelSet *s, const Fn *group)
{
    Buf b = {0};
    buf_printf(&b, "k%u_", s->rows.n);
    for (const char *p = str_of(s->m, group->name); *p; p++)
        buf_putc(&b, isalnum((unsigned char)*p) ? *p : '_');
    const char *name = arena_strdup(s->m->arena, b.at);
    buf_release(&b);
    return name;
}

/* What is drawn is the same on every target, so a model begins alike. */
static bool draws(const Kir *k)
{
    for (uint32_t i = 0; i < k->nodes.n; i++)
        if (k->nodes.at[i].op == KN_scalar && k->nodes.at[i].sc == SC_random)
            return true;
    return false;
}

/* Once more, without what may change a bit. */
static void lower_exactly(const KernelSet *s, const Fn *group, Kir *k)
{
    Kir again;
    LowerOpts o = s->lower;
    o.exact = true;
    kir_init(&again, k->arena);
    again.args = k->args;
    again.nargs = k->nargs;
    again.arg_dtypes = k->arg_dtypes;
    again.loc = k->loc;
    lower_group(s->m, group, &o, &again);
    again.exact = true;
    again.sm90 = k->sm90;
    again.processors = k->processors;
    *k = again;
}

/* Whether each element is made by itself, of elements that are given. */
static bool is_map(const Kir *k)
{
    for (uint32_t i = 0; i < k->loops.n; i++)
        if (k->loops.at[i].accs.n || k->loops.at[i].scans ||
            k->loops.at[i].walks)
            return false;
    return true;
}

/* Another kernel makes of the same values what this one makes. */
static bool makes_again(const Module *m, const Fn *group)
{
    for (uint32_t i = 0; i < group->ninsts; i++)
        if (attr_flag(m, group->insts[i].attr, AT_again)) return true;
    return false;
}

/* The host's bits are asked for where they can be had: a map of given values
 * has one result to compare with, and so has what is drawn or a model begins
 * with.  What is made beside a product, a sum or a scan has none: its operands
 * are sums in another order already; and what is made there, too, has the bits
 * that it has there. */
static bool keeps_bits(const KernelSet *s, const Fn *group, const Kir *k)
{
    return s->exact || draws(k) || (is_map(k) && !makes_again(s->m, group));
}

static LV emit_kernel(KernelSet *s, const Kir *k, const Grid *grid, Kernel *out)
{
    Arena *a = k->arena;
    Emit e = {.k = k, .map = grid->map, .lines = s->lines, .loc = k->loc};
    e.s = (Site){.cx = s->cx,
                 .module = s->module,
                 .b = LLVMCreateBuilderInContext(s->cx),
                 .w = 1,
                 .gpu = s->lower.gpu,
                 .exact = k->exact,
                 .words = s->lower.gpu && !k->tensor};
    e.args = NEW_ARRAY(a, LV, k->nargs);
    e.vals = NEW_ARRAY(a, LV, k->nodes.n);
    e.wide = NEW_ARRAY(a, bool, k->nodes.n);
    e.vars = NEW_ARRAY(a, LV, k->loops.n);
    e.atoms = NEW_ARRAY(a, LV, k->atoms.n);
    e.held = NEW_ARRAY(a, LV *, k->loops.n);
    e.kept = NEW_ARRAY(a, LV *, k->loops.n);
    e.staged = NEW_ARRAY(a, LV, k->nodes.n);
    e.holds = NEW_ARRAY(a, bool, k->nodes.n);
    if (grid->map == MAP_both) e.skips = NEW_ARRAY(a, bool, k->nodes.n);
    if (k->tensor) e.pieces = NEW_ARRAY(a, LV *, k->tensor->npieces);
    e.latch = NEW_ARRAY(a, LLVMBasicBlockRef, k->loops.n);
    if (s->lower.gpu)
        emit_gpu_kernel(&e, out->name, grid);
    else
        emit_host_kernel(&e, out->name);
    out->zero |= e.zero;
    LLVMDisposeBuilder(e.s.b);
    return e.fn;
}

static void add_tensor(KernelSet *s, const TensorTile *t, Kernel *out)
{
    TitanMap *maps = NEW_ARRAY(s->m->arena, TitanMap, t->maps.n);
    memcpy(maps, t->maps.at, t->maps.n * sizeof *maps);
    out->maps = maps;
    out->nmaps = t->maps.n;
    out->shared = t->shared;
}

static void say_no_tile(const KernelSet *s, const Fn *group)
{
    diag_remark(s->m->diag, "codegen", true, loc_span(s->m, group->loc),
                "@%s makes a matrix in both orders without tiles: each element "
                "as often as it is asked for",
                str_of(s->m, group->name));
}

static void add_row(KernelSet *s, Kir *k, const Fn *group, const char *key)
{
    Grid grid = {.map = MAP_host, .blocks = k->rows * k->chunks, .threads = 1};
    if (s->lower.gpu) grid = gpu_grid(k);
    if (s->lower.gpu && k->elements.n && grid.map != MAP_both)
        say_no_tile(s, group);
    Row row = {.key = arena_strdup(s->m->arena, key)};
    row.kernel = (Kernel){.name = symbol(s, group),
                          .nargs = k->nargs,
                          .items = grid.blocks,
                          .threads = grid.threads,
                          .work = fn_is(s->m, group, FK_tile)
                                      ? tile_work(s->m, group, s->cx, k)
                                      : loop_work(s->m, k),
                          .zero = k->zero,
                          .exact = k->exact};
    row.kernel.shared = grid.shared;
    if (k->tensor) add_tensor(s, k->tensor, &row.kernel);
    row.fn = emit_kernel(s, k, &grid, &row.kernel);
    vec_push(s->m->arena, &s->rows, row);
}

static bool find_row(const KernelSet *s, uint64_t hash, const char *key,
                     uint32_t *out)
{
    MapIter it;
    for (bool ok = map_first(&s->map, hash, &it, out); ok;
         ok = map_next(&s->map, &it, out))
        if (strcmp(s->rows.at[*out].key, key) == 0) return true;
    return false;
}

void kernels_exact(KernelSet *s, bool exact)
{
    s->exact = s->lower.exact = exact;
}

static uint32_t strides_of(const KernelSet *s, const KernelArg *a)
{
    return a->counter ? 0 : type_info(s->m, a->type)->naxes;
}

static uint64_t added_hash(const KernelSet *s, const Added *x)
{
    uint64_t hash = hash_words(&x->group, sizeof x->group, x->exact);
    for (uint32_t i = 0; i < x->nargs; i++) {
        const KernelArg *a = &x->args[i];
        uint32_t words[4] = {a->type.id, a->align, (uint32_t)a->same,
                             (uint32_t)a->written << 1 | a->counter};
        hash = hash_words(words, sizeof words, hash);
        hash = hash_words((uint32_t[]){(uint32_t)a->pad}, 4, hash);
        uint32_t n = strides_of(s, a);
        if (n) hash = hash_words(a->stride, n * sizeof *a->stride, hash);
    }
    return hash;
}

static bool args_equal(const KernelSet *s, const KernelArg *a,
                       const KernelArg *b)
{
    if (a->type.id != b->type.id || a->align != b->align ||
        a->same != b->same || a->written != b->written ||
        a->counter != b->counter || a->pad != b->pad)
        return false;
    uint32_t n = strides_of(s, a);
    return n == 0 || memcmp(a->stride, b->stride, n * sizeof *a->stride) == 0;
}

static bool was_added(const KernelSet *s, const Added *x, uint64_t hash,
                      uint32_t *row)
{
    MapIter it;
    uint32_t at;
    for (bool ok = map_first(&s->added_map, hash, &it, &at); ok;
         ok = map_next(&s->added_map, &it, &at)) {
        const Added *y = &s->added.at[at];
        bool same = y->group == x->group && y->nargs == x->nargs &&
                    y->exact == x->exact;
        for (uint32_t i = 0; same && i < x->nargs; i++)
            same = args_equal(s, &x->args[i], &y->args[i]);
        *row = y->row;
        if (same) return true;
    }
    return false;
}

static void note_added(KernelSet *s, Added x, uint64_t hash)
{
    Arena *a = s->m->arena;
    KernelArg *args = NEW_ARRAY(a, KernelArg, (size_t)x.nargs + 1);
    for (uint32_t i = 0; i < x.nargs; i++) {
        args[i] = x.args[i];
        uint32_t n = strides_of(s, &args[i]);
        int64_t *stride = NEW_ARRAY(a, int64_t, (size_t)n + 1);
        if (n) memcpy(stride, x.args[i].stride, n * sizeof *stride);
        args[i].stride = stride;
    }
    x.args = args;
    map_add(&s->added_map, hash, s->added.n);
    vec_push(a, &s->added, x);
}

static bool add_group(KernelSet *s, const Fn *group, const KernelArg *args,
                      uint32_t nargs, uint32_t *kernel)
{
    ArenaMark mark = arena_mark(s->m->scratch);
    Kir k;
    kir_init(&k, s->m->scratch);
    DType *dtypes = NEW_ARRAY(k.arena, DType, nargs);
    for (uint32_t i = 0; i < nargs; i++)
        dtypes[i] = args[i].counter ? DT_i32 : type_dtype(s->m, args[i].type);
    k.args = args;
    k.nargs = nargs;
    k.arg_dtypes = dtypes;
    k.loc = group->loc;
    if (!lower_group(s->m, group, &s->lower, &k)) {
        arena_pop(s->m->scratch, mark);
        return false;
    }
    k.sm90 = s->lower.sm90;
    k.processors = s->opts.chip ? s->opts.chip : SM90_PROCESSORS;
    k.exact = s->lower.gpu && keeps_bits(s, group, &k);
    if (k.exact && !s->exact && !is_map(&k)) lower_exactly(s, group, &k);
    Buf text = {0};
    kir_print(&k, &text);
    uint64_t hash = hash_bytes(text.at, text.n, 0);
    if (!find_row(s, hash, text.at, kernel)) {
        *kernel = s->rows.n;
        add_row(s, &k, group, text.at);
        map_add(&s->map, hash, *kernel);
    }
    buf_release(&text);
    arena_pop(s->m->scratch, mark);
    return true;
}

bool kernels_add(KernelSet *s, const Fn *group, const KernelArg *args,
                 uint32_t nargs, uint32_t *kernel)
{
    Added x = {group, args, s->exact, nargs, 0};
    uint64_t hash = added_hash(s, &x);
    if (was_added(s, &x, hash, kernel)) return true;
    if (!add_group(s, group, args, nargs, kernel)) return false;
    x.row = *kernel;
    note_added(s, x, hash);
    return true;
}

/* ---------------------------------------------------------------- matmuls */

static void add_matmul(KernelSet *s, const Matmul *p, const KernelArg *args,
                       const char *key)
{
    TitanMap *maps = NEW_ARRAY(s->m->arena, TitanMap, p->nviews);
    for (uint32_t i = 0; i < p->nviews; i++)
        maps[i] = p->view[i].map;
    Row row = {.key = arena_strdup(s->m->arena, key)};
    row.kernel = (Kernel){.name = symbol(s, p->group),
                          .nargs = p->nargs,
                          .items = matmul_blocks(p),
                          .cluster = p->blocks,
                          .threads = p->threads,
                          .shared = p->shared,
                          .work = matmul_work(p, args),
                          .maps = maps,
                          .nmaps = p->nviews};
    row.fn = matmul_emit(s->module, row.kernel.name, p);
    vec_push(s->m->arena, &s->rows, row);
}

/* Profiles know kernels by their names. */
static void say_product(const KernelSet *s, const Matmul *p, const char *name)
{
    Buf key = {0};
    matmul_key(p, &key);
    diag_remark(s->m->diag, "codegen", false, loc_span(s->m, p->group->loc),
                "%s makes %s", name, key.at);
    buf_release(&key);
}

static void add_scaled(KernelSet *s, const Fn *group, const Scaled *p,
                       const KernelArg *args, const char *key)
{
    TitanMap *maps = NEW_ARRAY(s->m->arena, TitanMap, SCALED_MAPS);
    memcpy(maps, p->map, sizeof p->map);
    Row row = {.key = arena_strdup(s->m->arena, key)};
    row.kernel = (Kernel){.name = symbol(s, group),
                          .nargs = p->nargs,
                          .items = p->tiles_m * p->tiles_n,
                          .threads = SCALED_THREADS,
                          .shared = p->shared,
                          .work = scaled_work(s->m, p, args),
                          .maps = maps,
                          .nmaps = SCALED_MAPS};
    row.fn = scaled_emit(s->module, row.kernel.name, p);
    vec_push(s->m->arena, &s->rows, row);
}

/* A product of blocks with scales. */
static bool kernels_add_scaled(KernelSet *s, const Fn *group,
                               const KernelArg *args, uint32_t *kernel)
{
    Scaled p;
    Buf text = {0};
    if (!scaled_plan(s->m, group, args, &p)) return false;
    scaled_print(&p, &text);
    uint64_t hash = hash_bytes(text.at, text.n, 0);
    if (!find_row(s, hash, text.at, kernel)) {
        *kernel = s->rows.n;
        add_scaled(s, group, &p, args, text.at);
        map_add(&s->map, hash, *kernel);
    }
    buf_release(&text);
    return true;
}

bool kernels_add_matmul(KernelSet *s, const Fn *group, const KernelArg *args,
                        uint32_t *kernel)
{
    Matmul p;
    if (s->opts.target == TARGET_sm_100a && fn_is(s->m, group, FK_matmul))
        return kernels_add_scaled(s, group, args, kernel);
    if (s->opts.target != TARGET_sm_90a ||
        !matmul_choose(&s->opts, s->m, group, args, &p))
        return false;
    Buf text = {0};
    matmul_print(&p, &text);
    uint64_t hash = hash_bytes(text.at, text.n, 0);
    if (!find_row(s, hash, text.at, kernel)) {
        *kernel = s->rows.n;
        add_matmul(s, &p, args, text.at);
        map_add(&s->map, hash, *kernel);
    }
    buf_release(&text);
    say_product(s, &p, s->rows.at[*kernel].kernel.name);
    return true;
}

/* ------------------------------------------------------------------ output */

static void add_bytes(KernelSet *s, const char *name, LV value)
{
    LV g = LLVMAddGlobal(s->module, LLVMTypeOf(value), name);
    LLVMSetInitializer(g, value);
    LLVMSetGlobalConstant(g, true);
    LLVMSetAlignment(g, 64);
}

/* The image and the table of kernels; kernels are reached through it alone. */
static void add_tables(KernelSet *s, const void *image, size_t size)
{
    LLVMTypeRef ptr = LLVMPointerTypeInContext(s->cx, 0);
    LV *fns = NEW_ARRAY(s->m->arena, LV, s->rows.n + 1);
    for (uint32_t i = 0; i < s->rows.n; i++) {
        fns[i] = s->rows.at[i].fn;
        LLVMSetLinkage(fns[i], LLVMInternalLinkage);
    }
    fns[s->rows.n] = LLVMConstNull(ptr);
    add_bytes(s, TITAN_SYMBOL_KERNELS,
              LLVMConstArray2(ptr, fns, s->rows.n + 1));
    LLVMTypeRef i64 = LLVMInt64TypeInContext(s->cx);
    add_bytes(s, TITAN_SYMBOL_SIZE, LLVMConstInt(i64, size, false));
    add_bytes(s, TITAN_SYMBOL_IMAGE,
              LLVMConstStringInContext2(s->cx, image, size, true));
}

static void optimise(KernelSet *s)
{
    if (!s->optimised) machine_optimise(s->machine, s->module, s->opts.level);
    s->optimised = true;
}

bool kernels_llvm(KernelSet *s, const char **text, size_t *size)
{
    optimise(s);
    char *ir = LLVMPrintModuleToString(s->module);
    *size = strlen(ir);
    *text = arena_strndup(s->m->arena, ir, *size);
    LLVMDisposeMessage(ir);
    return true;
}

bool kernels_ptx(KernelSet *s, const char **text, size_t *size)
{
    optimise(s);
    *text = machine_emit(s->machine, s->module, LLVMAssemblyFile, s->m->arena,
                         size);
    *text = ptx_halves(*text, s->m->arena, size);
    return true;
}

bool kernels_object(KernelSet *s, const void *image, size_t image_size,
                    const void **object, size_t *size)
{
    add_tables(s, image, image_size);
    optimise(s);
    *object =
        machine_emit(s->machine, s->module, LLVMObjectFile, s->m->arena, size);
    return true;
}
