/*
 * machine.h: what the parts of the machine share: instructions as they are
 * read (read.c), blocks and warps as they run (run.c), and the units that do
 * the instructions (alu.c, memory.c, flow.c, async.c, tensor.c, tmem.c).
 *
 * A register is 64 bits of each lane, with what is narrower at the bottom and
 * nothing above it; a predicate is 0 or 1.
 */
#ifndef TITAN_TESTS_PTX_MACHINE_H
#define TITAN_TESTS_PTX_MACHINE_H

#include "tests/ptx/ptx.h"

enum { PTX_LANES = 32, PTX_WARPGROUP = 4 };

typedef enum PtxType {
    PT_none,
#define PTX_TYPE(name, bits, kind) PT_##name,
#include "tests/ptx/ptx.def"
#undef PTX_TYPE
    PT_COUNT
} PtxType;

typedef enum PtxKind {
    PK_bits,
    PK_unsigned,
    PK_signed,
    PK_float,
    PK_pred
} PtxKind;
typedef struct PtxTypeRow {
    const char *name;
    uint8_t bits;
    PtxKind kind;
} PtxTypeRow;
extern const PtxTypeRow ptx_types[PT_COUNT];

typedef enum PtxMod {
#define PTX_MOD(name) PM_##name,
#include "tests/ptx/ptx.def"
#undef PTX_MOD
    PM_COUNT
} PtxMod;

typedef enum PtxSpace {
#define PTX_SPACE(name) PS_##name,
#include "tests/ptx/ptx.def"
#undef PTX_SPACE
} PtxSpace;

typedef enum PtxOp {
#define PTX_OP(symbol, text, unit) PO_##symbol,
#include "tests/ptx/ptx.def"
#undef PTX_OP
    PO_COUNT
} PtxOp;

/* The first registers of every kernel; the reader's own come behind them. */
typedef enum PtxSpecial {
#define PTX_SPECIAL(symbol, text) PR_##symbol,
#include "tests/ptx/ptx.def"
#undef PTX_SPECIAL
    PR_COUNT
} PtxSpecial;

/* An operand.
 *   reg     a register
 *   value   bits of a constant, as wide as its type (an f32 constant of an f32
 *           instruction is the 32 bits of it); of mov, an address too
 *   sum     register reg + value, modulo 2^64: what stands in brackets, and a
 *           shared variable (PR_shared_base + its offset). Without a register,
 *           PR_zero
 *   list    {...} or a|b: n operands from the instruction's list on, at
 *           kernel->args[first]
 *   label   an instruction, value its number in kernel->insts
 *   labels  of brx.idx: n labels at kernel->args[first]
 *   none    `_`
 * N of a reg is its bits (1: a predicate), of others than lists 0.  A value is
 * cut to the width of the instruction's last type, without types to 32 bits; of
 * wgmma it is 64 bits as they are written (-1 is all ones). */
typedef enum PtxArgKind {
    PA_none,
    PA_reg,
    PA_value,
    PA_sum,
    PA_list,
    PA_label,
    PA_labels
} PtxArgKind;

typedef struct PtxArg {
    uint8_t kind;
    bool negated; /* !p */
    uint16_t n;
    uint32_t reg, first;
    uint64_t value;
} PtxArg;

/* An instruction.  Types are those behind its name, in order: of cvt the
 * result's and the operand's; of wgmma D's, A's and B's.  Spaces likewise
 * (cp.async.bulk.tensor.2d.shared::cluster.global: cluster, global).
 * Brackets with a map and coordinates, [m, {x, y}], are two operands: a sum and
 * a list. */
typedef struct PtxInst {
    uint16_t op;
    uint8_t type[4], ntypes;
    uint8_t space[2], nspaces;
    uint64_t mods[2];      /* a bit of each PtxMod */
    uint16_t shape[3];     /* m, n, k of wgmma */
    uint16_t form;         /* of alu.c: what does it */
    bool guarded, unless;  /* @p, @!p */
    uint32_t guard;        /* that register */
    uint32_t first, nargs; /* operands: kernel->args[first] on */
    uint32_t line;         /* of the text */
} PtxInst;

_Static_assert(PM_COUNT <= 128, "the words fit into PtxInst");

static inline bool ptx_has(const PtxInst *i, PtxMod m)
{
    return i->mods[m / 64] >> m % 64 & 1;
}

typedef struct PtxParam {
    size_t at, n;
} PtxParam;

struct PtxKernel {
    char *name;
    PtxModule *module;
    PtxInst *insts;
    uint32_t ninsts; /* the last one is ret, the reader's own if need be */
    PtxArg *args;
    uint32_t nargs;
    uint32_t nregs;    /* PR_COUNT and its own */
    uint8_t *reg_bits; /* of each: 1, 16, 32 or 64 */
    PtxParam *params;
    uint32_t nparams;
    size_t param_bytes;
    uint32_t shared; /* bytes of its own; dynamic ones begin behind them */
    uint32_t shared_align;
    uint32_t local;      /* bytes of a thread */
    unsigned cluster[3]; /* .reqnctapercluster, 1 without */
    unsigned threads[3]; /* .reqntid or .maxntid, 0 without */
    bool exactly;        /* .reqntid */
};

struct PtxModule {
    char *text; /* a copy, for complaints */
    size_t n;
    PtxKernel *kernels;
    uint32_t nkernels;
    unsigned char *globals; /* .global and .const variables, initialised */
    size_t global_bytes;    /* whose addresses are PTX_GLOBALS and on */
};

/* Addresses of what is no memory of the driver's: a module's variables, and a
 * launch's parameters (generic addresses of tensor maps). */
#define PTX_GLOBALS UINT64_C(0x7d0000000000)
#define PTX_PARAMS  UINT64_C(0x7e0000000000)

/* Shared memory of block R of a cluster begins at R << PTX_RANK_SHIFT. */
enum { PTX_RANK_SHIFT = 24 };

typedef struct PtxMachine PtxMachine; /* a launch that runs */
typedef struct PtxBlock PtxBlock;
typedef struct PtxCluster PtxCluster;
typedef struct PtxAsync PtxAsync;   /* async.c: a block's open copies */
typedef struct PtxTensor PtxTensor; /* tensor.c: a warp's open products */
typedef struct PtxTmem PtxTmem;     /* tmem.c: a block's tensor memory */

typedef struct PtxWarp {
    PtxBlock *block;
    unsigned number; /* in its block */
    uint64_t (*reg)[PTX_LANES];
    uint32_t pc[PTX_LANES];
    uint32_t live;  /* lanes that have not ended */
    uint32_t held;  /* lanes that wait for others of the warp, at their pc */
    uint32_t waits; /* lanes whose instruction was not done when it was tried */
    bool stopped;   /* waits at a barrier of its block or cluster */
    unsigned char *local;
    unsigned phase;    /* of its cluster's barrier, as it came there */
    PtxTensor *tensor; /* NULL until tensor.c makes it */
    unsigned open;     /* products that nobody waited for */
    /* It passed a barrier, and has not fenced tensor memory since; it has read
     * that, and has not fenced it since. */
    bool passed, has_read;
} PtxWarp;

/* Blocks that run together; one alone without .reqnctapercluster. */
struct PtxCluster {
    PtxBlock *blocks; /* by rank */
    unsigned n, ended;
    unsigned arrived, phase; /* threads at its barrier; how often it opened */
    struct PtxRace *race;    /* NULL: races are not looked for */
};

struct PtxBlock {
    PtxMachine *machine;
    const PtxKernel *kernel;
    unsigned at[3]; /* %ctaid */
    unsigned rank;  /* in its cluster */
    PtxCluster *cluster;
    unsigned char *shared;
    uint32_t shared_bytes;
    PtxWarp *warps;
    unsigned nwarps, nthreads;
    PtxAsync *async; /* NULL until async.c makes it */
    PtxTmem *tmem;   /* likewise tmem.c */
    /* run.c and flow.c */
    struct PtxBarrier {
        unsigned arrived, wanted; /* threads; wanted 0: all of the block */
        uint32_t waiting;         /* warps */
    } barrier[16];
    unsigned ended; /* warps */
};

/* How an instruction went for the lanes it was done for.
 *   next    the lanes' pcs go on by one
 *   moved   the unit has set the lanes' pcs itself
 *   again   nothing was done: the same instruction later, others first
 *   ended   those lanes are done (the unit has changed warp->live)
 *   fault   the launch is over: ptx_fault was called */
typedef enum PtxStep {
    PX_next,
    PX_moved,
    PX_again,
    PX_ended,
    PX_fault
} PtxStep;

/* Units: instruction I for the lanes of MASK, all of which have it in front of
 * them and whose guards let them; MASK is not 0.  Of one with .aligned or a
 * mask of members, all lanes are there that must be. */
PtxStep ptx_do_alu(PtxWarp *w, const PtxInst *i, uint32_t mask);
PtxStep ptx_do_memory(PtxWarp *w, const PtxInst *i, uint32_t mask);
PtxStep ptx_do_flow(PtxWarp *w, const PtxInst *i, uint32_t mask);
PtxStep ptx_do_async(PtxWarp *w, const PtxInst *i, uint32_t mask);
PtxStep ptx_do_tensor(PtxWarp *w, const PtxInst *i, uint32_t mask);
PtxStep ptx_do_tmem(PtxWarp *w, const PtxInst *i, uint32_t mask);

/* async.c: does some of the block's open copies, in an order that is drawn;
 * true when it did any, so that somebody who waits may go on. With ALL, each
 * of them that may be done.  A copy is made at the end of its block at the
 * latest; false from ptx_async_end when one still reads shared memory that
 * nobody waited for, after ptx_fault. */
bool ptx_async_turn(PtxBlock *b, bool all);
bool ptx_async_end(PtxBlock *b);
void ptx_async_free(PtxBlock *b);
/* mbarrier.c: copies and other blocks may use the barriers that W has made. */
void ptx_barriers_fence(PtxWarp *w);
/* tensor.c: as above, of a warp's products; a product that nobody waited for
 * when the warp ends is a fault. */
bool ptx_tensor_turn(PtxWarp *w);
/* Whether I leaves the registers of open products alone; else a fault. */
bool ptx_tensor_allows(PtxWarp *w, const PtxInst *i);
bool ptx_tensor_end(PtxWarp *w);
void ptx_tensor_free(PtxWarp *w);

/* tmem.c: as async.c's, of a block's copies into tensor memory and its products
 * there. */
bool ptx_tmem_turn(PtxBlock *b);
bool ptx_tmem_end(PtxBlock *b);
void ptx_tmem_free(PtxBlock *b);

/* words.c: the instruction that NAME (N bytes) says, without operands; false
 * and WHY when there is none such. */
bool ptx_words(const char *name, size_t n, PtxInst *out, char why[PTX_FAULT]);

/* alu.c: what does an instruction of its unit (PtxInst.form), by its name; 0:
 * nothing does.  And of one with that form and operands, what is wrong with
 * those; NULL: nothing. */
uint16_t ptx_alu_form(const PtxInst *i);
const char *ptx_alu_takes(const PtxKernel *k, const PtxInst *i);

/* ------------------------------------------------------- run.c, for units */

/* A number below N, drawn from the launch's seed. */
uint32_t ptx_draw(PtxMachine *m, uint32_t n);
PtxTally *ptx_tally(PtxMachine *m);
/* The launch's complaint, of which the first is kept: the kernel, I's line and
 * text, W's block, LANE's thread (-1: the warp), and what.  Returns PX_fault.
 */
PtxStep ptx_fault(PtxWarp *w, const PtxInst *i, int lane, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* As ptx_fault, of a copy of block B that was made at line LINE. */
void ptx_fault_late(PtxBlock *b, uint32_t line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Operands; A is the K-th of I. */
static inline const PtxArg *ptx_arg(const PtxWarp *w, const PtxInst *i,
                                    uint32_t k)
{
    return &w->block->kernel->args[i->first + k];
}
static inline const PtxArg *ptx_item(const PtxWarp *w, const PtxArg *list,
                                     uint32_t k)
{
    return &w->block->kernel->args[list->first + k];
}
/* What a reg, a value or a sum is on a lane. */
static inline uint64_t ptx_get(const PtxWarp *w, const PtxArg *a, unsigned lane)
{
    uint64_t x = a->kind == PA_value ? a->value
                 : a->kind == PA_sum ? w->reg[a->reg][lane] + a->value
                                     : w->reg[a->reg][lane];
    return a->negated ? !x : x;
}
/* A result: of a reg; none takes anything. */
static inline void ptx_put(PtxWarp *w, const PtxArg *a, unsigned lane,
                           uint64_t x)
{
    if (a->kind == PA_reg) w->reg[a->reg][lane] = x;
}

/* memory.c: where N bytes at an address lie, aligned by N when ALIGN is 0, else
 * by ALIGN; NULL after a fault.  Of shared memory AT has the rank of a block of
 * the cluster, with OTHERS another's too. */
unsigned char *ptx_shared(PtxWarp *w, const PtxInst *i, int lane, uint64_t at,
                          uint32_t n, uint32_t align, bool writes, bool others);
unsigned char *ptx_global(PtxWarp *w, const PtxInst *i, int lane, uint64_t at,
                          uint64_t n, uint32_t align, bool writes);
/* As these, later: of block B's shared memory, and of global memory; NULL
 * without a complaint. */
unsigned char *ptx_shared_late(PtxBlock *b, uint64_t at, uint32_t n);
unsigned char *ptx_global_late(PtxMachine *m, uint64_t at, uint64_t n,
                               bool writes);
/* Block B reads or writes [at, at + n) of global memory, not as one operation;
 * the block that it races with, -1: none, -2: several. */
int64_t ptx_global_race(PtxBlock *b, uint64_t at, uint64_t n, bool writes);

/* Numbers: bf16, f16, e4m3 and e5m2 bits as doubles, and back (to the nearest
 * even; eight-bit ones saturate to the largest finite number). number.c */
double ptx_number(PtxType t, uint64_t bits);
uint64_t ptx_bits(PtxType t, double x);

#endif
