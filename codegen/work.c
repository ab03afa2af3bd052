/*
 * work.c: what a kernel has to do, for reports.
 *
 * Bytes are those of the arguments, once, whatever the cache brings again.  Of
 * an argument that is read or written at ids alone, they are the rows that the
 * ids choose, each as often as it is chosen where a cache does not hold all.
 *
 * The products of a tile are those of the region, of which a mask leaves out
 * whole tiles.  What it leaves is counted over a sample of tiles, by the
 * conditions that the kernel itself asks (classes.c): operands that are
 * constants fold.  Conditions that read memory, as those of documents do, leave
 * out nothing here.  Of its maps exponentials and their like count.
 *
 * A product of eight-bit numbers adds the sums of a stage to others of f32,
 * where sums may not be short; with scales, it multiplies them first.  What
 * that costs was measured (titan_stage_scalars).
 */
#include "work.h"

#include "classes.h"

enum { SAMPLES = 64 };

/* ----------------------------------------------------------------- bytes -- */

/* Reads and writes of an argument. */
typedef struct Use {
    bool whole;     /* not at ids alone */
    int64_t chosen; /* elements at these */
} Use;

static Use use_of(const Kir *k, uint32_t arg)
{
    Use use = {.whole = true};
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if ((in->op != KN_load && in->op != KN_store) || in->arg != arg)
            continue;
        if (!ix_chosen(k, in->ix)) return (Use){.whole = true};
        use.whole = false;
        use.chosen += kir_runs(k, (Node){i});
    }
    return use;
}

static uint64_t arg_bytes(Module *m, const KernelArg *a)
{
    return a->counter ? 0 : (uint64_t)type_bytes(m, a->type);
}

/* What is chosen again is in the cache still where all of it finds room. */
static uint64_t use_bytes(Module *m, const Kir *k, uint32_t arg)
{
    const uint64_t cache = 32 << 20, all = arg_bytes(m, &k->args[arg]);
    Use use = use_of(k, arg);
    uint64_t chosen = (uint64_t)use.chosen * dtype_bytes(k->arg_dtypes[arg]);
    return use.whole || (chosen > all && all <= cache) ? all : chosen;
}

/* Of those that rows are chosen of by ids, the rows. */
static uint64_t touched_bytes(Module *m, const Kir *k)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < k->nargs; i++)
        bytes += use_bytes(m, k, i);
    return bytes;
}

static uint64_t all_bytes(Module *m, const KernelArg *args, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += arg_bytes(m, &args[i]);
    return bytes;
}

/* ----------------------------------------------------------------- loops -- */

KernelWork loop_work(Module *m, const Kir *k)
{
    return (KernelWork){.flops = kir_flops(k),
                        .bytes = touched_bytes(m, k),
                        .width = 4,
                        .limit = TITAN_CLASS_loop};
}

/* ----------------------------------------------------------------- tiles -- */

static double region_flops(Module *m, const Fn *fn)
{
    double n = 0;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (fn->insts[i].op == OP_einsum)
            n += einsum_flops(m, fn, &fn->insts[i]);
    return n;
}

/* Made by the special functions' units, as few as a sixteenth of all operations
 * of f32; half of that is beside products. */
static unsigned expr_scalars(Module *m, Expr e)
{
    enum { SPECIAL = 8 };
    uint32_t nodes;
    unsigned n = 0;
    ArenaMark mark = arena_mark(m->scratch);
    const Expr *walk = expr_walk(m, e, m->scratch, &nodes);
    for (uint32_t i = 0; i < nodes; i++)
        switch (expr_info(m, walk[i])->op) {
        case SC_exp:
        case SC_log:
        case SC_log1p:
        case SC_pow:
        case SC_sin:
        case SC_cos:
        case SC_tanh:
        case SC_erf:
        case SC_sigmoid:
            n += SPECIAL;
            break;
        default:
            break;
        }
    arena_pop(m->scratch, mark);
    return n;
}

static double region_scalars(Module *m, const Fn *fn)
{
    double n = 0;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_map)
            n += (double)type_elements(m, in->type) *
                 expr_scalars(m, attr_expr(m, in->attr));
    }
    return n;
}

static bool is_empty(const Site *s, const Kir *k, int64_t item, int64_t step)
{
    LLVMTypeRef i64 = LLVMInt64TypeInContext(s->cx);
    Tile3 tile = {.s = s,
                  .k = k,
                  .item = LLVMConstInt(i64, (uint64_t)item, 0),
                  .step = LLVMConstInt(i64, (uint64_t)step, 0)};
    LV empty, full;
    classes_of_step(&tile, k->tensor, &empty, &full);
    return LLVMIsAConstantInt(empty) && LLVMConstIntGetZExtValue(empty);
}

/* The share of the tiles that are not empty. */
static double share_of(const Site *s, const Kir *k)
{
    const TensorTile *t = k->tensor;
    int64_t items = k->loops.at[t->items].hi, steps = t->nblocks, full = 0;
    int64_t n = steps < SAMPLES ? steps : SAMPLES;
    double at = 0;
    for (int i = 0; i < SAMPLES; i++) {
        at += 0.6180339887498949; /* spread over the items, whatever their order
                                   */
        at -= (int64_t)at;
        for (int64_t k2 = 0; k2 < n; k2++)
            full += !is_empty(s, k, (int64_t)(at * (double)items),
                              (2 * k2 + 1) * steps / (2 * n));
    }
    return (double)full / (double)(n * SAMPLES);
}

KernelWork tile_work(Module *m, const Fn *group, LLVMContextRef cx,
                     const Kir *k)
{
    double share = 1;
    if (k->tensor) {
        Site s = {.cx = cx, .b = LLVMCreateBuilderInContext(cx), .w = 1};
        share = share_of(&s, k);
        LLVMDisposeBuilder(s.b);
    }
    bool both = k->tensor && k->tensor->cross;
    return (KernelWork){.flops = (uint64_t)(share * region_flops(m, group)),
                        .bytes = all_bytes(m, k->args, k->nargs),
                        .scalars = (uint64_t)(share * region_scalars(m, group)),
                        .width = k->tensor ? 2 : 4,
                        .limit = both ? TITAN_CLASS_both : TITAN_CLASS_sweep};
}

/* -------------------------------------------------------------- products -- */

KernelWork matmul_work(const Matmul *p, const KernelArg *args)
{
    const Gemm *g = &p->g;
    uint64_t sums = (uint64_t)g->m * (uint64_t)g->n * p->products;
    for (uint32_t i = 0; i < g->nbatch; i++)
        sums *= (uint64_t)g->batch[i];
    uint64_t stages = ((uint64_t)g->k + matmul_k(p) - 1) / matmul_k(p);
    unsigned own = 0; /* sides with a scale of each index */
    for (unsigned i = 0; p->scales && i < 2; i++)
        own += !p->scale[i].square;
    uint64_t each = p->promotes ? titan_stage_scalars(own) : 0;
    return (KernelWork){.flops = 2 * sums * (uint64_t)g->k,
                        .bytes = all_bytes(p->m, args, p->nargs),
                        .scalars = sums * stages * each,
                        .width = dtype_bytes(g->a),
                        .limit = TITAN_CLASS_product};
}

KernelWork scaled_work(Module *m, const Scaled *p, const KernelArg *args)
{
    const Gemm *g = &p->g;
    return (KernelWork){.flops = 2 * (uint64_t)g->m * (uint64_t)g->n *
                                 (uint64_t)g->k,
                        .bytes = all_bytes(m, args, p->nargs),
                        .width = dtype_bytes(g->a),
                        .limit = TITAN_CLASS_product};
}
