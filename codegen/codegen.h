/*
 * codegen.h: from the kernel view to PTX, host objects and the step image.
 */
#ifndef TITAN_CODEGEN_H
#define TITAN_CODEGEN_H

#include "../ir/ir.h"

typedef enum TargetId {
#define TARGET(id, text, kind, triple, cpu) TARGET_##id,
#include "targets.def"
#undef TARGET
    TARGET_count
} TargetId;

bool target_find(const char *text, TargetId *out);
/* Its number in an image (runtime/abi.h). */
uint32_t target_in_image(TargetId t);
const char *target_name(TargetId t); /* "host", "sm_90a", "sm_100a" */
bool target_is_gpu(TargetId t);

/* A rehearsal of a mesh whose axes have one size N is for N ranks: rank i plays
 * the device that has the coordinate i on every axis, and is a member of each
 * group in its place there.  So it makes and moves what that device would, in
 * the same time; the numbers mean nothing, as what one mesh axis splits meets
 * what another does.  Sums over several axes at once are over N. */
typedef struct Rehearsal {
    uint32_t ranks;  /* 0: there is none */
    uint32_t plays;  /* devices of the mesh; more than there is room for: as
                        many as that */
    const char *why; /* there is none */
} Rehearsal;

/* That of M's mesh. */
Rehearsal rehearsal_of(const Module *m);

typedef struct CodegenOpts {
    TargetId target;
    const char *cpu; /* host: x86-64-v3 (default), x86-64-v4, native */
    int level;       /* 0 .. 3 */
    bool line_info;  /* -g */
    /* GPU: who makes matrix products: "library" (also NULL); "fused", those
     * with maps of their results are kernels; "tuned", plain ones too where
     * that was measured to be faster; "generated", where they can be, or a
     * tile's name (tiles.def). */
    const char *matmul;
    const char *tune; /* choices that were measured; NULL: those built in */
    /* GPU: a matrix product runs on at most so many, so that communication has
     * the others; 0: on all. */
    uint32_t processors;
    uint32_t chip; /* GPU: how many it has; 0: SM90_PROCESSORS */
    Rehearsal rehearsal;
} CodegenOpts;

/* Whether `matmul` may be this. */
bool matmul_maker_known(const char *text);
/* The line of a table of choices that is none, from 1; 0: all are. */
uint32_t matmul_table_check(const char *text);
/* Tables that are built in, by target, as they lie in tune/. */
typedef struct TuneTable {
    const char *target, *text;
    uint32_t size;
} TuneTable;
extern const TuneTable tune_tables[]; /* the last has no target */

/* Everything that code generation makes from a planned module.  The strings
 * live in the module's arena. */
typedef struct Artifact {
    const void *image; /* the serialized step image (runtime/abi.h) */
    size_t image_size;
    const char *text; /* PTX, or LLVM IR where that was asked for */
    size_t text_size;
    const void *object; /* host: the kernels as an ELF object */
    size_t object_size;
    uint32_t kernels; /* distinct kernels */
    bool exact;       /* GPU: each of them gives the host's bits */
} Artifact;

enum { WANT_image = 1, WANT_llvm = 2, WANT_ptx = 4, WANT_object = 8 };

/* M is planned (PROP_planned).  False: errors were reported. */
bool codegen_run(Module *m, const CodegenOpts *o, uint32_t want, Artifact *out);

/* The step.ptx text: header records, kernels, and the image as .b64 words. */
void ptx_container(Module *m, const CodegenOpts *o, const Artifact *a,
                   Buf *out);
/* The listing of an image, as `--emit=image` and `--describe` print it, is
 * made by the runtime (runtime/describe.c). */

#endif
