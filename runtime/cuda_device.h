/*
 * cuda_device.h: one GPU and the program on it.
 *
 *     arena      persistent | io | frame | lane 0       one allocation
 *     workspaces of cuBLASLt, one for each stream that needs it, outside
 *     streams    stream 0 begins and ends every run, and takes all copies
 *
 * An entry that runs often is a *plan*: the walk through its list is captured
 * once into CUDA graphs, one for each segment, and replayed for every run.
 */
#ifndef TITAN_CUDA_DEVICE_H
#define TITAN_CUDA_DEVICE_H

#include "cuda.h"
#include "cuda_sums.h"
#include "device.h"
#include "ranks.h"
#include "reserve.h"

enum { CUDA_TURNS = 2, CUDA_MOST_MODULES = 16 };

/* So many of the GPU's memory. */
typedef struct CudaBytes {
    CuPtr at;
    uint64_t n;
} CudaBytes;

/* Memory that the GPUs of other ranks may reach: one's own, or another's. */
typedef struct CudaShared {
    CuPtr at; /* 0: there is none */
    size_t bytes;
    bool mapped;     /* among threads: an address of this GPU's own */
    CuMemory memory; /* what is mapped, of the rank that made it */
} CudaShared;

/* How others come to it. */
typedef struct CudaHandle {
    CuIpcHandle ipc; /* of a process */
    CuMemory memory; /* of a thread */
    size_t bytes;
} CudaHandle;

static inline bool cuda_bytes_meet(CudaBytes x, CudaBytes y)
{
    return x.at < y.at + y.n && y.at < x.at + x.n;
}

/* Room for batches on their way to the GPU, and for records on their way
 * back; turn by turn, so that neither side waits. */
typedef struct CudaTurn {
    char *in, *out; /* pinned, as large as the io base */
    CuEvent used;   /* behind the last copy out of `in` */
    CuEvent kept;   /* behind the last copy to `out` */
} CudaTurn;

typedef struct CudaPlan {
    const TitanEntry *entry; /* NULL: not prepared */
    CuGraphExec *graphs;
    uint32_t ngraphs;
    size_t nodes; /* of all */
    bool launched;
    uint32_t update; /* the first graph that writes parameters and states */
} CudaPlan;

/* A copy of the persistent base on its way to the host, on a stream of its
 * own.  The next update waits for it, what comes before that does not. */
typedef struct CudaStage {
    char *at; /* pinned; NULL: nobody wants copies */
    size_t bytes;
    CuStream stream;
    CuEvent reached, copied; /* the state is there; so is the copy */
    bool holds;              /* an update must wait for `copied` */
} CudaStage;

/* The kernel that looks for what is not finite. */
typedef struct CudaScan {
    CuModule module;
    CuFunction function; /* NULL: there is none */
    CuPtr first;
    bool tried;
} CudaScan;

/* The kernels that add what came from each rank, and room for that. */
typedef struct CudaSums {
    CuModule module;
    CuFunction any, wide[SUM_none];
    CuPtr room[TITAN_MOST_STREAMS]; /* of --rank-order */
} CudaSums;

typedef struct CudaCompiler CudaCompiler;
typedef struct CudaGemm CudaGemm;
typedef struct CudaTable CudaTable;
typedef struct CudaProfile CudaProfile;
typedef struct CudaRanks CudaRanks;
typedef struct CudaPeers CudaPeers;
typedef struct CudaHolds CudaHolds;
typedef struct CudaBeside CudaBeside;

typedef struct Cuda {
    TitanDevice device; /* first */
    TitanStory *story;
    const TitanImage *im;
    DeviceOptions options;

    CuApi cu;
    CuDevice gpu;
    char name[128];
    CuContext context;
    CuStream stream; /* streams[0] */
    CuStream streams[TITAN_MOST_STREAMS];
    CuEvent *events;        /* of signals and waits */
    CudaCompiler *compiler; /* NULL: there is machine code */
    DeviceGuard own_guard;
    CuModule modules[CUDA_MOST_MODULES];
    unsigned nmodules;
    CuFunction *functions; /* by row of `kernels`; NULL: not asked for yet */
    uint32_t most_args, most_maps;
    uint64_t *args; /* of one launch */
    CuTensorMap *maps;
    void **params;

    size_t before; /* bytes of the GPU in use when its context was there */
    double said;   /* with --verbose: when something was said, and bytes in */
    size_t said_used; /* use then */
    CudaShared whole; /* the arena, in whole pages */
    CuPtr arena, base[TITAN_BASE_COUNT];
    size_t arena_bytes; /* of these pages */
    char *host;         /* pinned: the base `host` */
    size_t host_bytes;
    CudaTurn turn[CUDA_TURNS];
    unsigned now; /* turn whose `in` takes the next writes */
    char *staging;

    LtApi lt;
    LtHandle handle;
    CuPtr workspace[TITAN_MOST_STREAMS];
    CudaGemm *gemms;  /* choices so far, newest first */
    CudaTable *table; /* those of --gemm-table, or NULL */
    bool timing;      /* the stream is free, and temporaries too */
    bool seen;        /* somebody looks at all that commands write */

    TitanRank rank;             /* of several; else 0 */
    uint64_t *coordinates;      /* the rank's, of each group */
    CudaRanks *ranks;           /* NULL: there is one */
    CudaPeers *peers;           /* those whose memory is at hand, or NULL */
    CudaHolds *holds;           /* of processes; or NULL */
    bool stays;                 /* others have memory of this rank open still */
    const TitanCommand **feeds; /* by command: the exchange that a product is
                                   made for; NULL: nobody asked */
    CudaBeside *beside; /* kernels beside streams; NULL: there are none */

    CudaPlan *plans; /* by row of `entries` */
    CudaProfile *profile;
    CudaScan scan;
    CudaSums sums;
    CudaStage stage;
    TitanDevice copy; /* nothing but the staged bytes */
} Cuda;

/* ------------------------------------------------------- cuda_memory.c -- */

/* Arena, memory of the host and workspaces; UNAVAILABLE where they do not fit
 * with what comes later. */
TitanStatus cuda_memory_open(Cuda *c);
void cuda_memory_close(Cuda *c);
/* Memory that others may reach; released by cuda_shared_free.  The handle is
 * good for as long as it is there. */
TitanStatus cuda_shared_alloc(Cuda *c, size_t bytes, CudaShared *out);
void cuda_shared_free(Cuda *c, CudaShared *s);
/* How others come to it; false: they do not. */
bool cuda_shared_handle(const Cuda *c, const CudaShared *s, CudaHandle *out);
/* What another rank has, at an address of this one's GPU, until
 * cuda_shared_close; false: it cannot be reached. */
bool cuda_shared_open(const Cuda *c, const CudaHandle *h, CudaShared *out);
void cuda_shared_close(const Cuda *c, CudaShared *s);
/* What it may have beside the arena, with what was in use before; ENGINES: of
 * each group whether copy engines bring what they can. */
ReserveAsk cuda_reserve_ask(const Cuda *c, const bool *engines);
TitanStatus cuda_reserve(const Cuda *c, const bool *engines, Reserve *out);
/* UNAVAILABLE where so many bytes more do not fit. */
TitanStatus cuda_memory_check(Cuda *c, uint64_t more, const Reserve *r);
/* With --verbose: what the start has spent since it was last told, time and
 * memory; without words nothing is said, and it is told. */
void cuda_say(Cuda *c, const char *what);
void cuda_say_memory(Cuda *c);

/* ------------------------------------------------------- cuda_module.c -- */

/* Machine code for exactly this GPU, else PTX, which the driver compiles, from
 * the begin on, which is without a context. */
TitanStatus cuda_load_begin(Cuda *c, const TitanCode *code);
TitanStatus cuda_load(Cuda *c, const TitanCode *code, char *how, size_t size);
TitanStatus cuda_function(Cuda *c, uint32_t kernel, CuFunction *out);
void cuda_unload(Cuda *c);

/* Nothing is compiled any more; in any state. */
static inline void cuda_unguard(Cuda *c)
{
    device_guard_end(c->options.guard ? c->options.guard : &c->own_guard);
}

/* -------------------------------------------------------- cuda_compile.c -- */

/* Threads begin to compile the PTX, with a context or without one; the end
 * waits for them and has the modules, as does the close, of any state. */
TitanStatus cuda_compile_begin(Cuda *c, const TitanCode *code);
TitanStatus cuda_compile_end(Cuda *c, double *seconds);
void cuda_compile_close(Cuda *c);

/* --------------------------------------------------------- cuda_list.c -- */

/* Who looks on while a list is walked; each may be NULL.  `command` is called
 * in front of each command, `segment` at each host point, `update` where the
 * entry begins to write parameters and states. */
typedef struct CudaWatch {
    void *user;
    TitanStatus (*command)(void *user, const TitanCommand *c);
    TitanStatus (*segment)(void *user);
    TitanStatus (*update)(void *user);
    bool choose; /* gemms are chosen, and nothing is put on a stream */
} CudaWatch;

/* Puts all commands of an entry on the stream. */
TitanStatus cuda_walk(Cuda *c, const TitanEntry *e, const CudaWatch *w);
/* The same for the first RUNS runs, the host waiting for each command. */
TitanStatus cuda_watch(TitanDevice *d, const TitanEntry *e, uint32_t runs,
                       TitanWatch *w);
/* Loops with a condition need the host between turns. */
bool cuda_has_while(const TitanImage *im, const TitanEntry *e);

/* -------------------------------------------------------- cuda_graph.c -- */

TitanStatus cuda_capture(Cuda *c, const TitanEntry *e, const CudaWatch *w,
                         CudaPlan *out);
TitanStatus cuda_replay(Cuda *c, const CudaPlan *p);
void cuda_plan_release(Cuda *c, CudaPlan *p);

/* --------------------------------------------------------- cuda_gemm.c -- */

TitanStatus cuda_gemm_open(Cuda *c);
void cuda_gemm_close(Cuda *c);
/* Bytes for a stream: each that multiplies, and stream 0, where products are
 * timed, needs some. */
uint64_t cuda_gemm_workspace(const TitanImage *im, uint32_t stream);
/* One of PARTS of the rows.  AT: of A, B, D and what is added (D's own where
 * nothing else is). */
TitanStatus cuda_gemm(Cuda *c, const TitanCommand *cmd, uint32_t parts,
                      const CuPtr at[TITAN_GEMM_PLACES]);
/* Chooses how it will be done, and does nothing. */
TitanStatus cuda_gemm_ready(Cuda *c, uint32_t gemm, uint32_t parts,
                            const CuPtr at[TITAN_GEMM_PLACES]);
/* Chooses for all gemms of an entry, outside of a capture. */
TitanStatus cuda_gemm_tune(Cuda *c, const TitanEntry *e);

/* -------------------------------------------------------- cuda_ranks.c -- */

/* Of several ranks: before memory is allocated, and when all come here. */
TitanStatus cuda_ranks_begin(Cuda *c);
TitanStatus cuda_ranks_open(Cuda *c);
void cuda_ranks_close(Cuda *c);
/* Words for people, or none. */
void cuda_ranks_about(const Cuda *c, char *out, size_t size);
/* TO and FROM: destination and source, 0 where there is none. */
TitanStatus cuda_collective(Cuda *c, const TitanCommand *cmd, CuPtr to,
                            CuPtr from);
/* Collectives between these, among N commands from FIRST on, are one kernel. */
TitanStatus cuda_collectives_begin(Cuda *c, const TitanCommand *first,
                                   uint32_t n);
TitanStatus cuda_collectives_end(Cuda *c, const TitanCommand *first);

/* BYTES of each member of a group go to OUT, in their order; all come here with
 * as many, at most a page. */
TitanStatus cuda_ranks_share(Cuda *c, uint32_t group, const void *from,
                             size_t bytes, void *out);

/* Which collective the GPU has come to goes to the board. */
void cuda_ranks_tell(Cuda *c);
/* RANK_LOST: another rank has ended, or a collective has failed. */
TitanStatus cuda_ranks_look(Cuda *c);
/* Nothing more is waited for: what this rank had under way with others that
 * are not there any more is given up.  Its plans are gone. */
void cuda_ranks_leave(Cuda *c);

/* Bytes to a member of a group, and from it. */
typedef struct CudaPass {
    CuPtr out, in;
    size_t sends, gets;
} CudaPass;

/* Between all members of a collective's group at once. */
TitanStatus cuda_ranks_pass(Cuda *c, const TitanCommand *cmd,
                            const CudaPass *with);

/* -------------------------------------------------------- cuda_holds.c -- */

/* All ranks come here, before one opens what another has. */
TitanStatus cuda_holds_open(Cuda *c);
/* Whether RANK frees nothing that this rank has open; false: it may. */
bool cuda_holds(const Cuda *c, uint32_t rank);
/* Nothing of others is open any more.  Returns when they have nothing of this
 * rank open either, or, where they do not close in time, with `stays`: what
 * others may have open is neither freed nor is its context left. */
void cuda_holds_close(Cuda *c);

/* -------------------------------------------------------- cuda_peers.c -- */

/* All ranks come here; the arena is there. */
TitanStatus cuda_peers_open(Cuda *c);
/* What is others' is closed; then, what is this rank's. */
void cuda_peers_part(Cuda *c);
void cuda_peers_close(Cuda *c);
/* Those, by group, for which copy engines make what they can; or NULL. */
const bool *cuda_peers_groups(const Cuda *c);
/* Whether copy engines make any collectives, or this one. */
bool cuda_peers_any(const Cuda *c);
bool cuda_peers_have(const Cuda *c, const TitanCommand *cmd);
/* Those of one group on one stream, among N commands, between begin and end. */
TitanStatus cuda_peers_begin(Cuda *c, const TitanCommand *cmd, uint32_t n);
TitanStatus cuda_peers_run(Cuda *c, const TitanCommand *cmd, CuPtr to,
                           CuPtr from);
TitanStatus cuda_peers_end(Cuda *c, const TitanCommand *cmd);
/* Products that exchanges are made of are cut into a part for each member, by
 * engines or not, so that they have the same bits.  The exchange of one, or
 * NULL; how many parts, 1: it is none; all parts in their places, AT as for
 * cuda_gemm. */
TitanStatus cuda_feeds_open(Cuda *c);
void cuda_feeds_close(Cuda *c);
const TitanCommand *cuda_feeds(const Cuda *c, const TitanCommand *gemm);
uint32_t cuda_feeds_parts(const Cuda *c, const TitanCommand *gemm);
/* In how many steps a part for another member is made. */
uint32_t cuda_feeds_steps(const Cuda *c, const TitanCommand *gemm);
TitanStatus cuda_feeds_make(Cuda *c, const TitanCommand *gemm,
                            const CuPtr at[TITAN_GEMM_PLACES]);

/* Whether engines take an exchange's parts while a product makes them: those of
 * others first. */
bool cuda_peers_fed(const Cuda *c, const TitanCommand *cmd);
/* The product, AT as for cuda_gemm, whose parts go TO where the exchange begins
 * to write; then the exchange, which waits for those of the others. */
TitanStatus cuda_peers_feed(Cuda *c, const TitanCommand *gemm,
                            const CuPtr at[TITAN_GEMM_PLACES], CuPtr to);
TitanStatus cuda_peers_come(Cuda *c, const TitanCommand *cmd);
/* From here on streams wait no longer for who is not there any more, until
 * they have come to their end. */
void cuda_peers_leave(Cuda *c);
void cuda_peers_left(Cuda *c);

/* ------------------------------------------------------- cuda_beside.c -- */

/* For copies and sums beside a stream. */
TitanStatus cuda_beside_open(Cuda *c, uint32_t stream);
void cuda_beside_close(Cuda *c);
/* Those that follow need nothing of the stream behind this point. */
TitanStatus cuda_beside_begin(Cuda *c, uint32_t stream);
TitanStatus cuda_beside_copy(Cuda *c, uint32_t stream, CuPtr to, CuPtr from,
                             size_t bytes);
TitanStatus cuda_beside_sum(Cuda *c, uint32_t stream, const CudaSumArgs *what);
/* In front of what reads bytes, or writes them: the stream waits for those that
 * have to do with them; and for all. */
TitanStatus cuda_beside_await(Cuda *c, uint32_t stream, CudaBytes what,
                              bool written);
TitanStatus cuda_beside_join(Cuda *c, uint32_t stream);
/* The event is behind all that the stream has been asked for, and what is
 * beside it. */
TitanStatus cuda_beside_signal(Cuda *c, uint32_t stream, CuEvent event);
/* Streams have come behind all of them, or never will: nothing is waited for by
 * events of a graph that is whole, or was given up. */
void cuda_beside_forget(Cuda *c);
/* None is on its way. */
bool cuda_beside_done(const Cuda *c);
/* Another stream waits for what is copied to some bytes beside this one; false:
 * it is not known there. */
TitanStatus cuda_beside_reach(Cuda *c, uint32_t stream, CudaBytes what,
                              uint32_t other, bool *known);

/* -------------------------------------------------------- cuda_order.c -- */

/* Whether a sum depends on an order, and that of the ranks was asked for. */
bool cuda_in_order(const Cuda *c, const TitanCollective *x);
TitanStatus cuda_reduce_in_order(Cuda *c, const TitanCommand *cmd, CuPtr to,
                                 CuPtr from);

/* --------------------------------------------------------- cuda_sums.c -- */

#define CUDA_SUMS_ROOM ((size_t)32 << 20)

TitanStatus cuda_sums_open(Cuda *c);
void cuda_sums_close(Cuda *c);
/* The number of a dtype there; SUM_none: it has no order of sums. */
uint32_t cuda_sums_kind(uint32_t dtype);
/* Of an element. */
uint32_t cuda_sums_bytes(uint32_t kind);
TitanStatus cuda_sums_add(Cuda *c, const CudaSumArgs *what, CuStream on);

/* --------------------------------------------------------- cuda_wait.c -- */

/* To the others, of several ranks: that this one waits for its GPU. */
void cuda_say_waits(const Cuda *c, bool waits);
TitanStatus cuda_wait_event(Cuda *c, CuEvent e);
TitanStatus cuda_wait_stream(Cuda *c, CuStream s);

/* ----------------------------------------------------------- cuda_io.c -- */

TitanStatus cuda_io_open(Cuda *c);
void cuda_io_close(Cuda *c);
/* Called in front of each run. */
TitanStatus cuda_next_turn(Cuda *c);
TitanStatus cuda_write(TitanDevice *d, TitanBase base, uint64_t offset,
                       const void *from, size_t bytes);
TitanStatus cuda_read(TitanDevice *d, TitanBase base, uint64_t offset, void *to,
                      size_t bytes);
TitanStatus cuda_keep(TitanDevice *d, const TitanEntry *e, int64_t turn);
TitanStatus cuda_kept(TitanDevice *d, int64_t turn, const char **io);

/* ---------------------------------------------------------- cuda_pin.c -- */

/* BYTES of the host, more than 0, that are zero. */
TitanStatus cuda_pin(Cuda *c, size_t bytes, char **out);
void cuda_unpin(Cuda *c, char *at, size_t bytes);

/* -------------------------------------------------------- cuda_stage.c -- */

bool cuda_stage_open(TitanDevice *d);
TitanStatus cuda_stage(TitanDevice *d);
TitanStatus cuda_staged(TitanDevice *d, TitanStory *story, TitanDevice **copy);
/* What is put on the stream from here on waits for a copy on its way. */
TitanStatus cuda_hold(Cuda *c);
void cuda_stage_close(Cuda *c);

/* --------------------------------------------------------- cuda_scan.c -- */

TitanStatus cuda_scan(TitanDevice *d, TitanBase base, uint64_t offset,
                      const DeviceFloats *f, bool *clean);
void cuda_scan_close(Cuda *c);

/* ------------------------------------------------------ cuda_profile.c -- */

TitanStatus cuda_profile(TitanDevice *d, const TitanEntry *e);
/* Where the profile is captured: what the stream is at has waited for all
 * members; what it needs is added on another stream, from here or up to here.
 */
TitanStatus cuda_profile_met(Cuda *c, uint32_t stream);
TitanStatus cuda_profile_adds(Cuda *c, uint32_t stream, CuStream on, bool end);
/* As adds, for a copy; and: the stream comes behind what was beside it. */
void cuda_profile_copies(Cuda *c, uint32_t stream, bool end);
void cuda_profile_joins(Cuda *c, uint32_t stream);
/* From here, or up to here, it is done for a command that is yet to come. */
TitanStatus cuda_profile_early(Cuda *c, const TitanCommand *cmd, bool end);
/* An ordinary step is next: none is timed. */
void cuda_profile_rest(Cuda *c);
void cuda_profile_free(Cuda *c);

/* ------------------------------------------------------- cuda_report.c -- */

TitanStatus cuda_profile_table(TitanDevice *d);
/* Of dense products in bf16, 0: not known. */
double cuda_peak_flops(const Cuda *c);

/* -------------------------------------------------------- cuda_trace.c -- */

TitanStatus cuda_profiled(TitanDevice *d, uint64_t from);
TitanStatus cuda_profile_write(TitanDevice *d, const char *path);

#endif
