/*
 * kernel.h: from group functions to kernels.
 *
 * A launch of the kernel view runs a group function on buffers.  The set of
 * kernels takes the group with the layout of each operand and returns the
 * kernel that does it: one that exists already when the loop nest is the same
 * (names of axes, values and functions play no part), else a new one.
 *
 *     KernelSet *set = kernels_new(m, opts);
 *     uint32_t row;
 *     kernels_add(set, group, args, nargs, &row)     once per launch
 *     kernel_at(set, row)                            its facts for the image
 *
 * Arguments are in the order of the launch's operands: the parameters of the
 * group, then its results (`written`).  A kernel takes one 64-bit word for
 * each, in that order: the address of element (0, .., 0), or the value of a
 * counter.
 *
 * Groups are as docs/architecture.md promises (G1 to G7).  A written operand
 * that the launch names also as a read one (K3) says so in `same`.
 *
 * A kernel writes only some elements of the results that `zero` names, or adds
 * to them: these must be zero bytes before the launch.
 */
#ifndef TITAN_KERNEL_H
#define TITAN_KERNEL_H

#include "../runtime/abi.h"
#include "codegen.h"

typedef struct KernelArg {
    Type type;
    const int64_t *stride; /* elements, one per axis of the type, in order */
    uint32_t align;        /* bytes that divide the address in every launch */
    bool written;          /* a result of the group */
    int32_t same;          /* written: the argument at the same place; -1 */
    bool counter;          /* i32 by value; no stride */
    int64_t pad;           /* elements behind each line, the last one's too,
                              that are nobody's and may be written */
} KernelArg;

/* Of one launch, for reports. */
typedef struct KernelWork {
    uint64_t flops, bytes;
    uint64_t scalars; /* operations of f32 beside flops */
    uint32_t width;   /* bytes of the numbers that flops multiply */
    TitanClass limit;
} KernelWork;

typedef struct Kernel {
    const char *name; /* the symbol */
    uint32_t nargs;
    int64_t items;    /* host: work items; GPU: blocks of the grid */
    uint32_t cluster; /* GPU: fewer blocks, a multiple of this, do the same
                         work; 0: all have to be there */
    uint32_t threads; /* GPU: per block */
    uint32_t shared;  /* GPU: bytes of dynamic shared memory; usually 0 */
    KernelWork work;
    uint64_t zero;        /* bits: arguments that must be zero before */
    bool exact;           /* GPU: the host's bits, but for those of a NaN */
    const TitanMap *maps; /* GPU: tensor maps, parameters after the others */
    uint32_t nmaps;
} Kernel;

static inline bool kernel_zeroes(const Kernel *k, uint32_t arg)
{
    return arg < 64 && k->zero >> arg & 1;
}

typedef struct KernelSet KernelSet;

/* The set lives in the module's arena. */
KernelSet *kernels_new(Module *m, const CodegenOpts *o);

/* Whether kernels added from now on give the host's bits on a GPU, also where a
 * neighbour of a result is faster.  Maps, and kernels that draw numbers, always
 * do. */
void kernels_exact(KernelSet *s, bool exact);

/* The kernel of a launch: its row, in order of first use.  False: a tile group
 * that no kernel makes at once; its parts (tile_cut) are kernels.  Groups of
 * kind matmul never come here; groups of kind tile come here for a GPU alone.
 */
bool kernels_add(KernelSet *s, const Fn *group, const KernelArg *args,
                 uint32_t nargs, uint32_t *kernel);

/* The kernel of a launch of a matmul group, where one is to be generated: on a
 * GPU that has it, for operands that it can take, and as the options say. */
bool kernels_add_matmul(KernelSet *s, const Fn *group, const KernelArg *args,
                        uint32_t *kernel);

uint32_t kernels_count(const KernelSet *s);
const Kernel *kernel_at(const KernelSet *s, uint32_t i);

/* Output, once, after the last kernel was added; the bytes live in the
 * module's arena.  The LLVM IR as it goes to the back end; PTX; or an ELF
 * object of the host that holds the kernels, `titan_kernels` (by row) and the
 * image under its two symbols. */
bool kernels_llvm(KernelSet *s, const char **text, size_t *size);
bool kernels_ptx(KernelSet *s, const char **text, size_t *size);
bool kernels_object(KernelSet *s, const void *image, size_t image_size,
                    const void **object, size_t *size);
/* What LLVM holds; the rows stay. */
void kernels_free(KernelSet *s);

/* ---------------------------------------------- the image (image.c) -- */

/* Writes the image of a planned module and adds the kernel of each launch to
 * the set.  The bytes live in the module's arena. */
bool image_write(Module *m, const CodegenOpts *o, KernelSet *kernels,
                 const void **image, size_t *size);

#endif
