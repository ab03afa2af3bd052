/*
 * machine.c: the rates of the first machine that machines.def has for a target,
 * at the shares of its peaks that are kept, and of a few cores; a GPU that it
 * has not is weighed as the first that it has.
 *
 * The figures only weigh steps against each other.
 */
#include "machine.h"

/* A row of machines.def, as far as passes ask for it: a second's. */
typedef struct Row {
    const char *target;
    double memory, f16, link, far, bus, host; /* peaks */
    uint32_t processors;
    double copies, library, odd, nccl, engines, buses; /* shares */
    double beside, command, collective;                /* share; seconds */
} Row;

static const Row rows[] = {
#define PEAK(m, f32, f16_, f8, l, far_, b, host_, room, n)                     \
    .memory = m, .f16 = f16_, .link = l, .far = far_, .bus = b, .host = host_, \
    .processors = n
#define KEPT(c, l, l8, odd_, products, sweeps, both, loops, nccl_, e, b) \
    .copies = c, .library = l, .odd = odd_, .nccl = nccl_, .engines = e, \
    .buses = b
#define BESIDE(compute, l, ...) .beside = l
#define START(c, block, l)      .command = c, .collective = l
#define MACHINE(name, on, ...)  {.target = #on, __VA_ARGS__},
#include "../runtime/machines.def"
#undef MACHINE
#undef START
#undef BESIDE
#undef KEPT
#undef PEAK
};

/* Lines that are odd for a GPU count as they do there, so that programs lie as
 * they will. */
static const Machine host = {.flops = 2e5,
                             .odd = 3e4,
                             .bytes = 2e4,
                             .transfer = 1e4,
                             .launch = 1,
                             .wait = 1,
                             .tiles = 1,
                             .elements = 1 << 14,
                             .link = 2e3,
                             .meet = 1,
                             .alone = 2e3,
                             .near = 2e3,
                             .far = 2e3,
                             .least = 1,
                             .host = UINT32_MAX};

enum { RESIDENT = 2048 }; /* threads of a processor */
/* Blocks of NCCL's kernels (runtime/reserve.c). */
enum { CHANNELS = 24 };
/* Of a collective: it weighs small ones against each other and against work,
 * and next to large ones it is nothing. */
enum { LEAST = 8192 };

static Machine gpu_of(const Row *r)
{
    double link = r->link * r->engines * 1e-6;
    return (Machine){.flops = r->f16 * r->library * 1e-6,
                     .odd = r->f16 * r->odd * 1e-6,
                     .bytes = r->memory * r->copies * 1e-6,
                     .transfer = r->bus * r->buses * 1e-6,
                     .launch = r->command * 1e6,
                     .wait = 1,
                     .tiles = r->processors,
                     .elements = (double)r->processors * RESIDENT * 4,
                     .links = true,
                     .link = link * r->beside,
                     .meet = r->collective * 1e6,
                     .alone = link,
                     .taken = 8,
                     .near = r->link * r->nccl * 1e-6,
                     .far = r->far * r->nccl * 1e-6,
                     .least = LEAST,
                     .processors = r->processors,
                     .host = (uint32_t)r->host,
                     .channels = CHANNELS};
}

Machine machine_of(const Module *m, const PassCtx *cx)
{
    const char *target = pass_option(m, cx, "target", "host");
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].target, target)) return gpu_of(&rows[i]);
    return strncmp(target, "sm_", 3) ? host : gpu_of(&rows[0]);
}

/* The ranks of a pipeline are along a mesh axis that has one index while they
 * are compiled. */
static double mesh_ranks(const Module *m, MeshAxis of)
{
    MeshAxis ranks;
    bool is = mesh_find(m, option_get(m, "rank-axis"), &ranks);
    return is && ranks.id == of.id ? module_ranks(m)
                                   : (double)m->mesh.at[of.id].size;
}

double group_spread(const Module *m, const MeshAxis *over, uint32_t n)
{
    double far = 0, stride = 1;
    for (uint32_t i = m->mesh.n; i-- > 0;) {
        MeshAxis axis = {i};
        double size = mesh_ranks(m, axis);
        if (mesh_axes_have(over, n, axis)) far += (size - 1) * stride;
        stride *= size;
    }
    return far;
}

bool leaves_host(const Machine *on, double spread)
{
    return spread >= on->host;
}

double link_rate(const Machine *on, double spread)
{
    return leaves_host(on, spread) ? on->far : on->near;
}
