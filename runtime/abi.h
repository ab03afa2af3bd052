/*
 * abi.h: the step image, the one thing that compiler and runtime share.
 *
 * An image is little-endian data: a header, then tables of fixed-size rows,
 * then string bytes.  Every table starts at a multiple of 8.  References are
 * row numbers or ranges [first, first + n) of another table; strings are byte
 * offsets into the string bytes, NUL-terminated.  Nothing is a pointer.  The
 * reader (runtime/image.c) checks every reference before anything is used.
 *
 *     header | tables in the order of TITAN_TABLES | string bytes
 *
 * Two levels.  A *program* is a range of commands.  A *list* is a range of
 * runs: RUN (a program), LOOP (count, ...) and END.  A command names memory by
 * operands: base + offset + sum over enclosing loops of counter * turn.  So
 * neither layers nor microbatches make an image larger.
 *
 * Memory of a rank is one arena: persistent | io | frame | lanes * lane.  What
 * a plan moves out of it lies in `host`, memory of the host that the device
 * reaches as well.
 *
 * Ranks.  An image for several ranks is one program that all of them run; they
 * differ by their coordinates on the mesh alone.  With a pipeline it is one
 * program for each stage, and all ranks of a stage run that.  Slots and ports
 * describe the whole tensors, in bases that no rank has; `parts` say what of
 * one a rank holds, and where.  Operands, and the bytes of bases, are a rank's
 * own.  In an image for one rank the whole is the part.
 */
#ifndef TITAN_ABI_H
#define TITAN_ABI_H

#include <stdint.h>

#define TITAN_IMAGE_MAGIC   0x00474d494e415454ull /* "TTANIMG\0" */
#define TITAN_IMAGE_VERSION 7

/* First lines of a step.ptx:  // titan: image <key> <value>  */
#define TITAN_PTX_MAGIC "// titan step image 1"

typedef enum TitanTarget {
    TITAN_TARGET_host,
    TITAN_TARGET_sm_90a,
    TITAN_TARGET_sm_100a
} TitanTarget;

typedef struct TitanRange { uint32_t first, n; } TitanRange;

/* The tables, in their order in the file. */
#define TITAN_TABLES(T)                                                        \
    T(stages, TitanStage)                                                      \
    T(entries, TitanEntry)                                                     \
    T(runs, TitanRun)                                                          \
    T(programs, TitanProgram)                                                  \
    T(commands, TitanCommand)                                                  \
    T(operands, TitanOperand)                                                  \
    T(results, TitanResult)                                                    \
    T(spans, TitanSpan)                                                        \
    T(turns, TitanTurn)                                                        \
    T(gemms, TitanGemm)                                                        \
    T(collectives, TitanCollective)                                            \
    T(groups, TitanGroup)                                                      \
    T(levels, TitanLevel)                                                      \
    T(mesh, TitanMeshAxis)                                                     \
    T(parts, TitanPart)                                                        \
    T(splits, TitanSplit)                                                      \
    T(kernels, TitanKernel)                                                    \
    T(maps, TitanMap)                                                          \
    T(slots, TitanSlot)                                                        \
    T(ports, TitanPort)                                                        \
    T(axes, TitanAxis)                                                         \
    T(dims, TitanDim)                                                          \
    T(peaks, TitanPeak)                                                        \
    T(facts, TitanFact)

typedef enum TitanTableId {
#define T(name, type) TITAN_TABLE_##name,
    TITAN_TABLES(T)
#undef T
    TITAN_TABLE_COUNT
} TitanTableId;

typedef struct TitanTable {
    uint64_t offset; /* bytes from the start of the image */
    uint32_t n, row; /* rows, bytes of a row */
} TitanTable;

/* Bases of operands: the parts of the arena, and memory of the host. */
#define TITAN_BASES(B) B(persistent) B(io) B(frame) B(lane) B(host)

typedef enum TitanBase {
#define B(name) TITAN_BASE_##name,
    TITAN_BASES(B)
#undef B
    TITAN_BASE_COUNT
} TitanBase;

typedef struct TitanHeader {
    uint64_t magic;
    uint32_t version, target;     /* TitanTarget */
    uint64_t size;                /* of the whole image */
    uint8_t hash[16];             /* of the image with these bytes zero: XXH3-128, big-endian */
    uint64_t whole_bytes[TITAN_BASE_COUNT]; /* as slots and ports say; frame, lane: 0 */
    uint32_t lanes;               /* most threads that a run may use */
    uint32_t ranks;
    uint32_t streams;             /* 1 .. TITAN_MOST_STREAMS */
    uint32_t events;
    uint32_t stage_mesh;          /* several stages: row of the mesh */
    uint32_t rehearses;           /* the ranks that these play; 0: themselves */
    uint64_t arena_bytes;         /* of the stage that has the largest */
    uint64_t strings_offset, strings_size;
    TitanTable tables[TITAN_TABLE_COUNT];
} TitanHeader;

/* What the ranks of a stage run, and the memory of one of them.  The stage of a
 * rank is its coordinate on the row `stage_mesh` of the mesh, whose size is the
 * number of stages; without a pipeline there is one.
 *
 * Stages have entries of the same names in the same order, one stage behind the
 * other in the table, and an entry has the same ports in all of them.  Where a
 * stage has nothing to do, its entry has no runs. */
typedef struct TitanStage {
    uint64_t base_bytes[TITAN_BASE_COUNT]; /* lane: bytes of one lane */
    uint64_t arena_bytes;         /* the sum of its parts, each rounded up to 256 */
    TitanRange entries;
    TitanRange peaks;
} TitanStage;

/* An entry: train, validate, init, ... over one persistent segment.  Of an
 * entry that writes parameters or states, the first `until` runs write none,
 * outside of all loops: `diagnose` has the runs of `train`, and what executes
 * it stops there. */
typedef struct TitanEntry {
    uint32_t name;      /* string */
    uint32_t until;     /* runs; 0: not said */
    TitanRange runs;
    TitanRange ports;   /* inputs, scalars, records, checks, outputs */
} TitanEntry;

typedef enum TitanRunKind {
    TITAN_RUN_program,  /* program */
    TITAN_RUN_loop,     /* count turns until the matching end */
    TITAN_RUN_end,
    TITAN_RUN_segment   /* a host point: what follows is another segment */
} TitanRunKind;

enum { TITAN_LOOP_reverse = 1, TITAN_LOOP_parallel = 2, TITAN_LOOP_while = 4 };

/* The counter of a loop runs 0 .. count-1, or count-1 .. 0 when reversed.  A
 * parallel loop's turns are independent: each runs in some lane.  A loop with
 * `while` reads a bool from `operand` before each turn; it is not parallel. */
typedef struct TitanRun {
    uint32_t kind;      /* TitanRunKind */
    uint32_t flags;
    uint32_t program;   /* RUN_program; loops: row of the matching end */
    uint32_t operand;   /* while */
    int64_t count;
    uint32_t name;      /* string, loops: the axis that the counter counts */
    uint32_t pad;
} TitanRun;

typedef struct TitanProgram {
    uint32_t name;      /* string: the function it comes from */
    uint32_t pad;
    TitanRange commands;
} TitanProgram;

/* Streams and events.  A command runs behind what came before it on its
 * stream; streams run side by side.  What holds between them is said by two
 * commands without operands: `signal` marks where its stream is, under the
 * number of an event; `wait` holds its stream until what the last signal of
 * the event, in the order of the list, has marked is done.  They mean what
 * recording an event and waiting for it mean, in a captured graph too, and in
 * a loop each turn signals anew.
 *
 * A list is cut at host points: its begin and end, a run `segment`, and each
 * turn of a `while` loop.  Between two cuts every stream but 0 begins with a
 * wait, all waits are for signals of the same part, and stream 0 has waited,
 * itself or through others, for the last command of every stream when the part
 * ends.  So each part can be captured as it is, from stream 0.
 *
 * The order of the list is one that streams and events allow: who executes it
 * command by command, as the host does, passes over signals and waits. */
enum { TITAN_MOST_STREAMS = 8 };

typedef enum TitanCommandKind {
    TITAN_COMMAND_kernel,
    TITAN_COMMAND_gemm,
    TITAN_COMMAND_copy,   /* operands dst, src; `items` bytes */
    TITAN_COMMAND_zero,   /* operand dst; `items` bytes */
    TITAN_COMMAND_signal, /* event `index`, behind what is on the stream */
    TITAN_COMMAND_wait,   /* for event `index`, before what follows on it */
    TITAN_COMMAND_collective /* row `index` */
} TitanCommandKind;

typedef struct TitanCommand {
    uint32_t kind;
    uint32_t index;        /* kernel, gemm, event or collective */
    TitanRange operands;   /* kernels: one per argument;
                              gemm: A, B, D [, C] [, scales of A] [, of B]
                              [, workspace] */
    int64_t items;         /* host kernels: work items, split over threads;
                              GPU: blocks of the grid; copy, zero: bytes */
    uint32_t stream;
    uint32_t file, line;   /* string and line of the source; 0: none */
    uint32_t processors;   /* GPU: of a kernel, on which its blocks find room at
                              once, so that others are left; 0: it was not asked */
    uint32_t fed;          /* an exchange whose destination is free from there
                              on: the row, + 1, of the gemm command that makes
                              its source, dense by rows, just in front of it and
                              for nobody else, so that rows may go to their
                              members while others are made.  A kernel or gemm:
                              the row, + 1, of a gather; it and its neighbours
                              of the same are one command for each member of the
                              group, in their order, which reads of all that is
                              gathered the member's piece and writes nothing of
                              what the others or the gather have to do with, so
                              a member may do its own in front of the wait for
                              the gather, and in any order.  0: none */
    uint32_t stays;        /* a gather whose source stays as it is until its parts
                              (see `fed`) are made: the stream, + 1, on which a
                              command in front of it in its program has made
                              that; 0: it may be written over */
    TitanRange results;    /* those of a float dtype */
} TitanCommand;

/* A float tensor that a command writes, for those who look for values that
 * are not finite.  Its elements lie `bytes` apart along each span, outermost
 * first.  `may`: infinities that the program means, as a mask does. */
typedef enum TitanPhase {
    TITAN_PHASE_forward,
    TITAN_PHASE_backward,
    TITAN_PHASE_update
} TitanPhase;
enum { TITAN_MAY_plus = 1, TITAN_MAY_minus = 2 };
enum { TITAN_MOST_SPANS = 16 };

typedef struct TitanResult {
    uint32_t name;         /* string: of the value; empty: it has none */
    uint32_t op;           /* string: what makes it */
    uint32_t file, line;   /* of the op */
    uint32_t operand;      /* of the command: which */
    uint32_t dtype, may;
    uint32_t phase;        /* TitanPhase */
    TitanRange spans;
} TitanResult;

typedef struct TitanSpan {
    int64_t n, bytes;
} TitanSpan;

typedef enum TitanOperandKind {
    TITAN_OPERAND_memory,
    TITAN_OPERAND_counter, /* by value: the counter of loop `offset` (0: innermost) */
    TITAN_OPERAND_coordinate /* by value: the rank's place in its group of the
                                row `offset` of groups */
} TitanOperandKind;

typedef struct TitanOperand {
    uint32_t kind, base;
    uint64_t offset;
    uint64_t bytes;        /* how far an access may reach from here, for checks */
    TitanRange turns;
} TitanOperand;

/* In a ring, whose rows are used over and over, the loop's counter c counts as
 * (c + shift) mod ring. */
typedef struct TitanTurn {
    uint32_t depth;        /* enclosing loop, 0: innermost */
    uint16_t ring, shift;  /* ring: 0: it is none */
    int64_t bytes;
} TitanTurn;

static inline int64_t titan_turn_bytes(const TitanTurn *t, int64_t counter)
{
    return (t->ring ? (counter + t->shift) % t->ring : counter) * t->bytes;
}

/* How the host runtime cuts a gemm, whatever the number of threads: tiles of
 * at most M x N of the result, and for dtypes that the BLAS does not take,
 * blocks of K that are widened to f32 in a workspace. */
enum { TITAN_GEMM_M = 384, TITAN_GEMM_N = 768, TITAN_GEMM_K = 1024 };

/* Bytes of workspace for one worker of such a gemm, with its result as it is
 * or transposed.  It needs them for every lane of the image, or for one lane
 * inside a parallel loop. */
static inline uint64_t titan_gemm_block(int64_t m, int64_t n, int64_t k)
{
    uint64_t rows = (uint64_t)(m < TITAN_GEMM_N ? m : TITAN_GEMM_N);
    uint64_t cols = (uint64_t)(n < TITAN_GEMM_N ? n : TITAN_GEMM_N);
    uint64_t sums = (uint64_t)(k < TITAN_GEMM_K ? k : TITAN_GEMM_K);
    uint64_t floats = rows * sums + sums * cols + rows * cols;
    return (4 * floats + 255) & ~UINT64_C(255);
}

/* What becomes of a gemm's sums: nothing is added, D as it was, or C, a fourth
 * matrix of the dtype and strides of D that shares no byte with it; or, of
 * operands of eight bits, they are multiplied by an f32, the fourth operand.
 * That is done in `acc` and rounded once. */
enum { TITAN_GEMM_add_d = 1, TITAN_GEMM_add_c = 2, TITAN_GEMM_scaled = 3 };

/* What rows of A (columns of B), or blocks of them, are multiplied by, f32:
 *   row128    each 128 of K of a row of A (column of B); rows lie side by side
 *   block128  each 128 of K of 128 rows; blocks of K lie side by side, and there
 *             is room for a multiple of four of them
 *   row       all of K of a row of A (column of B) */
enum { TITAN_SCALE_BLOCK = 128 };
enum {
    TITAN_SCALE_none,
    TITAN_SCALE_row128,
    TITAN_SCALE_block128,
    TITAN_SCALE_row,
    TITAN_SCALE_COUNT
};

/* Operands of a gemm command, without a workspace. */
enum { TITAN_GEMM_PLACES = 6 };

/* D[m, n] = sum over k of A[m, k] * B[k, n], and what `accumulate` says.
 * Row and column strides in elements; one of each pair is 1.  Batches: up to
 * four nested counts with strides in elements. */
typedef struct TitanGemm {
    uint32_t dtype_a, dtype_b, dtype_d, acc; /* numbers of dtypes.def */
    int64_t m, n, k;
    int64_t a_row, a_col, b_row, b_col, d_row, d_col;
    uint32_t accumulate, nbatch;
    int64_t batch[4], a_batch[4], b_batch[4], d_batch[4];
    uint64_t workspace;    /* bytes that the runtime may use, the last operand */
    uint64_t processors;   /* GPU: on which it may run; 0: on all */
    uint32_t scale_a, scale_b;
    uint32_t fast;         /* of eight bits: fewer bits than those of acc may hold the sums */
    uint32_t pad;
} TitanGemm;

/* What several ranks do together.  Ranks are numbered row-major over the axes
 * of the mesh.  The group of a rank are those that differ from it on the levels
 * of the group alone, numbered row-major over these, the first the outermost.
 * Every rank of a group comes to the same collectives in the same order.
 *
 * What each does is in collectives.def.  The operands are destination and source
 * of dense pieces, without those that it does not have.
 *
 * Sums are of the members in order, in f32 for narrower floats, rounded once;
 * an implementation that sums in another order says so.  dst may be src where
 * both have the same size. */
typedef enum TitanCollectiveKind {
#define COLLECTIVE(name, destination, source) TITAN_COLLECTIVE_##name,
#include "collectives.def"
#undef COLLECTIVE
    TITAN_COLLECTIVE_COUNT
} TitanCollectiveKind;

enum { TITAN_REDUCE_sum, TITAN_REDUCE_max };

typedef struct TitanCollective {
    uint32_t kind;         /* TitanCollectiveKind */
    uint32_t dtype;
    uint32_t reduce;       /* TITAN_REDUCE_ */
    uint32_t group;
    int64_t count;         /* elements of a piece */
    int32_t shift;         /* permute */
    uint32_t peer;         /* send, receive: the member of the group */
    uint32_t channel;      /* messages between two ranks on one are in order */
    uint32_t steps;        /* an exchange: what is made for a member by a product
                              that feeds it is made, and taken there, in so many
                              steps of as many rows; 0 otherwise */
} TitanCollective;

typedef struct TitanGroup {
    uint32_t name, pad;    /* string: the mesh axes, for people */
    TitanRange levels;
} TitanGroup;

typedef struct TitanLevel {
    uint32_t mesh;         /* row of the mesh */
} TitanLevel;

typedef struct TitanMeshAxis {
    uint32_t name;         /* string */
    uint32_t size;
} TitanMeshAxis;

/* What the ranks of a stage hold of a slot or port: the indices [first, first +
 * n) of an axis, or all of it; and of that each rank what splits leave, dense
 * in the order of the axes.  The splits of an axis follow each other,
 * outermost first: each cuts what it finds into parts of the rounded-up size,
 * of which the rank has the one of its coordinate; zig: into twice as many, of
 * which coordinate c of n has c and 2n - 1 - c (only where it is the only split
 * of the axis).  What goes beyond what is cut are pads: written as zeros, not
 * read.
 *
 * The parts of a slot or port are all whole, or all of one axis, by `first`.
 * What several stages hold has a part for each, in their order, with the same
 * indices: a write goes to all of them, a read comes from the first.  Together
 * they are the whole.  A port has a part where it is read, or made. */
typedef struct TitanPart {
    uint64_t offset;       /* in the rank's own base */
    uint64_t piece, pitch; /* as of a slot, of the part */
    TitanRange splits;
    uint32_t stage;
    uint32_t axis;         /* of the slot or port: which, from 0 */
    int64_t first, n;      /* n 0: all, and `axis` says nothing */
} TitanPart;

enum { TITAN_SPREAD_block, TITAN_SPREAD_zig };

typedef struct TitanSplit {
    uint32_t axis;         /* of the slot or port: which, from 0 */
    uint32_t spread;       /* TITAN_SPREAD_ */
    uint32_t mesh;         /* row of the mesh */
    uint32_t pad;
} TitanSplit;

/* What limits a command (classes.def), for reports. */
typedef enum TitanClass {
#define CLASS(name, words) TITAN_CLASS_##name,
#include "classes.def"
#undef CLASS
    TITAN_CLASS_COUNT
} TitanClass;

/* Operations of f32, as good as so many, that a sum of eight-bit products takes
 * for each stage of 128 terms, where it may not be short: it is added to
 * another; where one operand has scales of each index, or both, it is multiplied
 * first, and by a scale that is made for it. */
static inline uint32_t titan_stage_scalars(uint32_t scaled)
{
    return scaled == 0 ? 1 : scaled == 1 ? 2 : 10;
}

typedef struct TitanKernel {
    uint32_t name;         /* string: the symbol */
    uint32_t args;
    uint32_t threads;      /* GPU: per block */
    uint32_t shared_bytes; /* GPU: dynamic shared memory */
    uint64_t flops, bytes; /* of one run of all items, for reports */
    uint64_t scalars;      /* operations of f32 beside those, for reports */
    TitanRange maps;       /* GPU: further parameters, after the arguments */
    uint32_t width;        /* bytes of the numbers that flops multiply, for reports */
    uint32_t limit;        /* TitanClass, for reports */
} TitanKernel;

/* A view of an argument that a GPU's copy engine reads or writes box by box (a
 * tensor map): up to five dimensions, innermost first.  Its element 0 is
 * `offset` bytes from the argument's address.  The runtime encodes it for each
 * launch; the kernel takes the 128 bytes by value. */
enum { TITAN_MAP_DIMS = 5 };
typedef struct TitanMap {
    uint32_t arg, dtype;
    uint32_t rank, swizzle; /* swizzle: 0, 32, 64 or 128 bytes */
    int64_t offset;
    int64_t size[TITAN_MAP_DIMS];
    int64_t stride[TITAN_MAP_DIMS]; /* bytes; the first is an element's */
    uint32_t box[TITAN_MAP_DIMS];
    uint32_t pad;
} TitanMap;

typedef enum TitanRole {
    TITAN_ROLE_param, TITAN_ROLE_state, TITAN_ROLE_input, TITAN_ROLE_scalar,
    TITAN_ROLE_record, TITAN_ROLE_check, TITAN_ROLE_output, TITAN_ROLE_skip
} TitanRole;

enum {
    TITAN_SLOT_frozen = 1,
    TITAN_SLOT_saved = 2,
    TITAN_SLOT_ckpt = 4,
    TITAN_SLOT_host = 8    /* it lies in the base `host` */
};

/* A parameter or state: dense, row-major in the order of its axes. */
typedef struct TitanSlot {
    uint32_t path;         /* string */
    uint32_t role, dtype, flags;
    uint64_t offset;       /* in the persistent base, or in `host` */
    uint64_t piece, pitch; /* elements: so many lie together, and the next so
                              many begin that far on; piece 0: all together */
    TitanRange axes;
    uint32_t ckpt;         /* string: a name with braces (layout.h) */
    uint32_t scale;        /* string: as `ckpt`, of the tensor that its values
                              are multiplied by; empty: none */
    TitanRange dims;       /* of the checkpoint's tensor */
    TitanRange parts;      /* several ranks: at least one; one: none */
} TitanSlot;

/* An input, scalar, record, check or output of an entry, in the io base;
 * dense, row-major in the order of its axes. */
typedef struct TitanPort {
    uint32_t path, role, dtype;
    uint32_t bound;        /* integer inputs: values must be below; 0: any */
    uint64_t offset;
    TitanRange axes;
    TitanRange parts;      /* as of a slot */
} TitanPort;

typedef struct TitanAxis {
    uint32_t name;         /* string */
    uint32_t pad;
    int64_t size;
} TitanAxis;

/* One dimension of a checkpoint tensor: the product of some of the slot's
 * axes (names in `axes`, major first), at `offset` of `total`. */
typedef struct TitanDim {
    TitanRange axes;
    int64_t offset, total;
    int64_t block;         /* indices of `total` that share an element of the
                              scale; 0: the scale has no such dimension */
} TitanDim;

/* A buffer that is live at the peak of the frame, largest first. */
typedef struct TitanPeak {
    uint32_t name, file, line, pad;
    uint64_t bytes;
} TitanPeak;

/* A named number for reports: flops_per_token, parameters, lower_bound...; or a
 * text of the program's config. */
typedef struct TitanFact {
    uint32_t name, text; /* 0: a number */
    double value;
} TitanFact;

_Static_assert(sizeof(TitanStage) == 64, "image row");
_Static_assert(sizeof(TitanEntry) == 24, "image row");
_Static_assert(sizeof(TitanRun) == 32, "image row");
_Static_assert(sizeof(TitanProgram) == 16, "image row");
_Static_assert(sizeof(TitanCommand) == 56, "image row");
_Static_assert(sizeof(TitanResult) == 40, "image row");
_Static_assert(sizeof(TitanSpan) == 16, "image row");
_Static_assert(sizeof(TitanOperand) == 32, "image row");
_Static_assert(sizeof(TitanTurn) == 16, "image row");
_Static_assert(sizeof(TitanGemm) == 256, "image row");
_Static_assert(sizeof(TitanKernel) == 56, "image row");
_Static_assert(sizeof(TitanMap) == 128, "image row");
_Static_assert(sizeof(TitanCollective) == 40, "image row");
_Static_assert(sizeof(TitanGroup) == 16, "image row");
_Static_assert(sizeof(TitanLevel) == 4, "image row");
_Static_assert(sizeof(TitanMeshAxis) == 8, "image row");
_Static_assert(sizeof(TitanPart) == 56, "image row");
_Static_assert(sizeof(TitanSplit) == 16, "image row");
_Static_assert(sizeof(TitanSlot) == 72, "image row");
_Static_assert(sizeof(TitanPort) == 40, "image row");
_Static_assert(sizeof(TitanAxis) == 16, "image row");
_Static_assert(sizeof(TitanDim) == 32, "image row");
_Static_assert(sizeof(TitanPeak) == 24, "image row");
_Static_assert(sizeof(TitanFact) == 16, "image row");

/* A host kernel runs work items [begin, end).  args: one 64-bit word per
 * argument, a pointer, or the value of a counter. */
typedef void (*TitanHostKernel)(const uint64_t *args, int64_t begin,
                                int64_t end);

/* Symbols of a host object (step.o, and inside a training program). */
#define TITAN_SYMBOL_IMAGE   "titan_image"        /* the bytes */
#define TITAN_SYMBOL_SIZE    "titan_image_size"   /* uint64_t */
#define TITAN_SYMBOL_KERNELS "titan_kernels"      /* TitanHostKernel[], by row of `kernels` */

#endif
