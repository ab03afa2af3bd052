/*
 * cuda_ranks.c: a GPU as one rank of several: communicators and collectives.
 *
 * There is one communicator for each group of ranks and each stream on which
 * the program has collectives of it, so what a stream does is in its own order
 * and captured with the rest.  Their ids go round by the transport of the host.
 * All are made, and used once, before anything is captured: NCCL connects at
 * the first use.
 *
 * What copy engines can bring is not NCCL's (cuda_peers.c).  Other sums are, in
 * an order of its own, the same each time on one machine with one version and
 * as many ranks.  Or, where that is asked for, they are made in the order of
 * the ranks: each member gets a stretch of everybody, adds, and hands it out.
 *
 * In front of each collective the stream writes its number to the host, where
 * it goes to the board whenever the rank waits, so that others know where one
 * that is lost or stuck was.
 */
#include "cuda_device.h"

#include "board.h"
#include "clock.h"
#include "cuda_sums.h"
#include "nccl.h"
#include "transport.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM = RESERVE_WARM, LOOKS = 100 };
enum { WARM_KNOWN = 16 << 20 }; /* bytes of a first use of the arena */
enum { PATIENCE = 120 };        /* seconds, without --join-timeout */
enum { KNOWS_BOTH = 22902 };    /* NCCL 2.29.2: see may_register */

struct CudaRanks {
    NcclApi nccl;
    NcclComm *comms;    /* [group][stream], NULL: not used */
    void **handles;     /* as comms: of the arena, NULL: not registered */
    ReserveComm *needs; /* as comms */
    /* for exchanges in place, of which no two run side by side, and first
     * uses */
    CuPtr scratch;
    _Atomic uint32_t *mark;    /* pinned: the number of the command */
    bool joined;               /* several collectives are being made one */
    const TitanCommand *first; /* of these; among njoined commands */
    uint32_t njoined;
    const TitanCommand *engines; /* of these, the first that copy engines make
                                  */
};

static NcclComm *comm_of(const Cuda *c, uint32_t group, uint32_t stream)
{
    return &c->ranks->comms[group * c->im->header->streams + stream];
}

static ReserveComm needs_of(const Cuda *c, uint32_t group, uint32_t stream)
{
    return c->ranks->needs[group * c->im->header->streams + stream];
}

static TitanStatus fail(Cuda *c, const char *call, int result)
{
    return titan_fail(c->story, TITAN_RANK_LOST, "%.*s failed: %s (%s)",
                      (int)strcspn(call, "("), call,
                      c->ranks->nccl.error_string(result),
                      c->ranks->nccl.last_error(NULL));
}

#define NCCL_TRY(c, call)                                                   \
    do {                                                                    \
        int nccl_result = (c)->ranks->nccl.call;                            \
        if (nccl_result != NCCL_success && nccl_result != NCCL_in_progress) \
            return fail(c, #call, nccl_result);                             \
    } while (0)

static TitanStatus look_at_ranks(Cuda *c)
{
    Transport *t = c->rank.transport;
    return t ? t->class->look(t) : TITAN_OK;
}

/* Until what was asked of a communicator is under way on its stream. */
static TitanStatus settle(Cuda *c, NcclComm comm)
{
    const struct timespec nap = {0, 20000};
    double begin = seconds_now();
    double patience = c->options.patience > 0 ? c->options.patience : PATIENCE;
    int state = NCCL_in_progress;
    for (unsigned looks = 0;; looks++) {
        NCCL_TRY(c, ncclCommGetAsyncError(comm, &state));
        if (state == NCCL_success) return TITAN_OK;
        if (state != NCCL_in_progress) return fail(c, "NCCL", state);
        if (seconds_now() - begin > patience) break;
        if (looks % LOOKS == LOOKS - 1) TRY(look_at_ranks(c));
        nanosleep(&nap, NULL);
    }
    return titan_fail(c->story, TITAN_RANK_LOST,
                      "rank %" PRIu32 " has waited %.0f s for the others; "
                      "--join-timeout waits longer",
                      c->rank.rank, patience);
}

/* --------------------------------------------------------- communicators -- */

TitanStatus cuda_ranks_share(Cuda *c, uint32_t group, const void *from,
                             size_t bytes, void *out)
{
    Transport *t = c->rank.transport;
    uint32_t n = ranks_in_group(c->im, group);
    char **in = calloc(n, sizeof *in), *to = out;
    if (!in) return titan_no_memory(c->story);
    if (c->rank.arena) from = memcpy(c->rank.arena, from, bytes);
    Exchange x = {.group = group,
                  .out = from,
                  .bytes = bytes,
                  .to = ALL_MEMBERS,
                  .from = ALL_MEMBERS};
    for (uint32_t i = 0; i < n; i++)
        in[i] = to + i * bytes;
    TitanStatus st = t->class->begin(t, &x, in);
    if (st == TITAN_OK) {
        for (uint32_t i = 0; i < n; i++)
            if (in[i] != to + i * bytes) memcpy(to + i * bytes, in[i], bytes);
        st = t->class->end(t, &x);
    }
    free(in);
    return st;
}

/* From the first member, out of memory that the others may read. */
static TitanStatus share_id(Cuda *c, uint32_t group, NcclId *id)
{
    Transport *t = c->rank.transport;
    uint32_t n = ranks_in_group(c->im, group);
    uint32_t me = rank_member(c->im, group, c->rank.rank);
    NcclId here = {{0}}, *mine = c->rank.arena ? c->rank.arena : &here;
    if (me == 0) NCCL_TRY(c, ncclGetUniqueId(mine));
    char **in = calloc(n, sizeof *in);
    if (!in) return titan_no_memory(c->story);
    Exchange x = {.group = group,
                  .out = mine->byte,
                  .bytes = sizeof *mine,
                  .to = me == 0 ? ALL_MEMBERS : (int64_t)me,
                  .from = 0};
    TitanStatus st = t->class->begin(t, &x, in);
    if (st == TITAN_OK) {
        memcpy(id, in[0], sizeof *id);
        st = t->class->end(t, &x);
    }
    free(in);
    return st;
}

static TitanStatus open_comm(Cuda *c, uint32_t group, uint32_t stream)
{
    NcclComm *out = comm_of(c, group, stream);
    uint32_t channels = needs_of(c, group, stream).channels;
    NcclConfig config = nccl_config(&c->ranks->nccl, (int)channels);
    NcclId id;
    TRY(share_id(c, group, &id));
    NCCL_TRY(c, ncclCommInitRankConfig(
                    out, (int)ranks_in_group(c->im, group), id,
                    (int)rank_member(c->im, group, c->rank.rank), &config));
    return settle(c, *out);
}

static void *address(CuPtr at)
{
    return (void *)(uintptr_t)at;
}

/* ---------------------------------------------------------- registration -- */

static void **handle_of(const Cuda *c, uint32_t group, uint32_t stream)
{
    return &c->ranks->handles[group * c->im->header->streams + stream];
}

/* Not where NCCL reads addresses that there are not: 2.28 does of sums to
 * parts, and before 2.29.2 of collectives behind something that was sent (its
 * issue 1859: the addresses of others that it keeps for these are kept on the
 * host alone then). */
static bool may_register(const Cuda *c, uint32_t kinds)
{
    bool sends = kinds & ~(uint32_t)RESERVE_COLLECTIVES;
    bool both = sends && kinds & RESERVE_COLLECTIVES;
    return !(kinds & RESERVE_scatter) &&
           !(both && c->ranks->nccl.version < KNOWS_BOTH);
}

/* What members give and get then goes from one arena to the other where NCCL
 * can do so, and through its own buffers elsewhere.  All of them register, or
 * none: it holds for an operation when it does for every member. */
static TitanStatus register_arena(Cuda *c, uint32_t group, uint32_t stream)
{
    NcclComm comm = *comm_of(c, group, stream);
    bool may = may_register(c, needs_of(c, group, stream).kinds);
    if (c->options.nccl_copies || !may) return TITAN_OK;
    NCCL_TRY(c, ncclCommRegister(comm, address(c->arena), c->arena_bytes,
                                 handle_of(c, group, stream)));
    return settle(c, comm);
}

/* Graphs that use it are gone. */
static void deregister_arena(Cuda *c)
{
    size_t n = (size_t)c->im->ngroups * c->im->header->streams;
    for (size_t i = 0; c->ranks->comms && i < n; i++)
        if (c->ranks->handles[i])
            c->ranks->nccl.ncclCommDeregister(c->ranks->comms[i],
                                              c->ranks->handles[i]);
}

/* ------------------------------------------------------------- exchanges -- */

/* Pieces of so many bytes between all members. */
static TitanStatus exchange_all(Cuda *c, NcclComm comm, uint32_t n, CuPtr to,
                                CuPtr from, size_t bytes, CuStream on)
{
    NCCL_TRY(c, ncclGroupStart());
    for (uint32_t i = 0; i < n; i++) {
        NCCL_TRY(
            c, ncclSend(address(from + i * bytes), bytes, 1, (int)i, comm, on));
        NCCL_TRY(c,
                 ncclRecv(address(to + i * bytes), bytes, 1, (int)i, comm, on));
    }
    NCCL_TRY(c, ncclGroupEnd());
    return settle(c, comm);
}

/* What is sent in place is sent from beside it. */
static TitanStatus set_aside(Cuda *c, CuPtr to, CuPtr *from, size_t bytes,
                             CuStream on)
{
    if (to != *from || bytes == 0) return TITAN_OK;
    CU_TRY(c, cuMemcpyAsync(c->ranks->scratch, *from, bytes, on));
    *from = c->ranks->scratch;
    return TITAN_OK;
}

static TitanStatus permute(Cuda *c, const TitanCollective *x, NcclComm comm,
                           CuPtr to, CuPtr from, CuStream on)
{
    size_t bytes = collective_piece_bytes(x);
    int n = (int)ranks_in_group(c->im, x->group);
    int me = (int)rank_member(c->im, x->group, c->rank.rank);
    int shift = (x->shift % n + n) % n;
    if (shift == 0 && to == from) return TITAN_OK;
    TRY(set_aside(c, to, &from, bytes, on));
    NCCL_TRY(c, ncclGroupStart());
    NCCL_TRY(c, ncclSend(address(from), bytes, 1, (me + shift) % n, comm, on));
    NCCL_TRY(c,
             ncclRecv(address(to), bytes, 1, (me + n - shift) % n, comm, on));
    NCCL_TRY(c, ncclGroupEnd());
    return settle(c, comm);
}

static TitanStatus all_to_all(Cuda *c, const TitanCollective *x, NcclComm comm,
                              CuPtr to, CuPtr from, CuStream on)
{
    size_t bytes = collective_piece_bytes(x);
    uint32_t n = ranks_in_group(c->im, x->group);
    TRY(set_aside(c, to, &from, n * bytes, on));
    return exchange_all(c, comm, n, to, from, bytes, on);
}

/* ------------------------------------------------------------ commands -- */

TitanStatus cuda_ranks_pass(Cuda *c, const TitanCommand *cmd,
                            const CudaPass *with)
{
    uint32_t group = c->im->collectives[cmd->index].group;
    NcclComm comm = *comm_of(c, group, cmd->stream);
    CuStream on = c->streams[cmd->stream];
    int n = (int)ranks_in_group(c->im, group);
    NCCL_TRY(c, ncclGroupStart());
    for (int i = 0; i < n; i++) {
        const CudaPass *p = &with[i];
        if (p->sends > 0)
            NCCL_TRY(c, ncclSend(address(p->out), p->sends, 1, i, comm, on));
        if (p->gets > 0)
            NCCL_TRY(c, ncclRecv(address(p->in), p->gets, 1, i, comm, on));
    }
    NCCL_TRY(c, ncclGroupEnd());
    return settle(c, comm);
}

/* The number of a command from 1, as the host's ranks have it. */
static TitanStatus put_mark(Cuda *c, const TitanCommand *cmd)
{
    uint32_t number = (uint32_t)(cmd - c->im->commands) + 1;
    CuPtr mark = (CuPtr)(uintptr_t)c->ranks->mark;
    CU_TRY(c, cuStreamWriteValue32(c->streams[cmd->stream], mark, number, 0));
    return TITAN_OK;
}

static TitanStatus run_collective(Cuda *c, const TitanCommand *cmd, CuPtr to,
                                  CuPtr from)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    NcclComm comm = *comm_of(c, x->group, cmd->stream);
    CuStream on = c->streams[cmd->stream];
    size_t n = (size_t)x->count, bytes = n * titan_dtype_bytes(x->dtype);
    int type = nccl_dtype(x->dtype);
    int op = x->reduce == TITAN_REDUCE_max ? NCCL_max : NCCL_sum;
    if (n == 0) return TITAN_OK;
    switch ((TitanCollectiveKind)x->kind) {
    case TITAN_COLLECTIVE_all_gather:
        NCCL_TRY(c,
                 ncclAllGather(address(from), address(to), bytes, 1, comm, on));
        break;
    case TITAN_COLLECTIVE_reduce_scatter:
        NCCL_TRY(c, ncclReduceScatter(address(from), address(to), n, type, op,
                                      comm, on));
        break;
    case TITAN_COLLECTIVE_all_reduce:
        NCCL_TRY(c, ncclAllReduce(address(from), address(to), n, type, op, comm,
                                  on));
        break;
    case TITAN_COLLECTIVE_all_to_all:
        return all_to_all(c, x, comm, to, from, on);
    case TITAN_COLLECTIVE_permute:
        return permute(c, x, comm, to, from, on);
    case TITAN_COLLECTIVE_send:
        NCCL_TRY(c, ncclSend(address(from), bytes, 1, (int)x->peer, comm, on));
        break;
    case TITAN_COLLECTIVE_receive:
        NCCL_TRY(c, ncclRecv(address(to), bytes, 1, (int)x->peer, comm, on));
        break;
    case TITAN_COLLECTIVE_COUNT:
        break;
    }
    return c->ranks->joined ? TITAN_OK : settle(c, comm);
}

/* Those that are joined begin with the first and end together. */
static TitanStatus run_by_engines(Cuda *c, const TitanCommand *cmd, CuPtr to,
                                  CuPtr from)
{
    CudaRanks *r = c->ranks;
    if (!r->joined)
        TRY(cuda_peers_begin(c, cmd, 1));
    else if (!r->engines)
        TRY(cuda_peers_begin(c, r->first, r->njoined));
    TRY(cuda_peers_run(c, cmd, to, from));
    if (!r->joined) return cuda_peers_end(c, cmd);
    if (!r->engines) r->engines = cmd;
    return TITAN_OK;
}

TitanStatus cuda_collectives_begin(Cuda *c, const TitanCommand *first,
                                   uint32_t n)
{
    c->ranks->engines = NULL;
    c->ranks->first = first;
    c->ranks->njoined = n;
    NCCL_TRY(c, ncclGroupStart());
    c->ranks->joined = true;
    return TITAN_OK;
}

TitanStatus cuda_collectives_end(Cuda *c, const TitanCommand *first)
{
    uint32_t group = c->im->collectives[first->index].group;
    c->ranks->joined = false;
    NCCL_TRY(c, ncclGroupEnd());
    NcclComm comm = *comm_of(c, group, first->stream);
    if (comm) TRY(settle(c, comm));
    return c->ranks->engines ? cuda_peers_end(c, c->ranks->engines) : TITAN_OK;
}

TitanStatus cuda_collective(Cuda *c, const TitanCommand *cmd, CuPtr to,
                            CuPtr from)
{
    TRY(put_mark(c, cmd));
    if (cuda_peers_fed(c, cmd)) return cuda_peers_come(c, cmd);
    if (cuda_peers_have(c, cmd)) return run_by_engines(c, cmd, to, from);
    if (cuda_in_order(c, &c->im->collectives[cmd->index]))
        return cuda_reduce_in_order(c, cmd, to, from);
    return run_collective(c, cmd, to, from);
}

/* ------------------------------------------------------------ the others -- */

void cuda_ranks_tell(Cuda *c)
{
    if (c->options.command && c->ranks->mark)
        atomic_store(c->options.command, atomic_load(c->ranks->mark));
}

TitanStatus cuda_ranks_look(Cuda *c)
{
    TRY(look_at_ranks(c));
    size_t n = (size_t)c->im->ngroups * c->im->header->streams;
    for (size_t i = 0; i < n; i++) {
        int state = NCCL_success;
        if (!c->ranks->comms[i]) continue;
        NCCL_TRY(c, ncclCommGetAsyncError(c->ranks->comms[i], &state));
        if (state != NCCL_success && state != NCCL_in_progress)
            return fail(c, "NCCL", state);
    }
    return TITAN_OK;
}

/* A communicator with somebody missing cannot be closed, only left. */
static void abort_comms(Cuda *c)
{
    size_t n = (size_t)c->im->ngroups * c->im->header->streams;
    for (size_t i = 0; c->ranks->comms && i < n; i++)
        if (c->ranks->comms[i])
            c->ranks->nccl.ncclCommAbort(c->ranks->comms[i]);
    free(c->ranks->comms);
    free(c->ranks->handles);
    free(c->ranks->needs);
    c->ranks->comms = NULL;
    c->ranks->handles = NULL;
    c->ranks->needs = NULL;
}

/* Communicators are held by the graphs that use them. */
void cuda_ranks_leave(Cuda *c)
{
    TitanStory first = *c->story;
    if (!c->ranks || !c->ranks->comms) return;
    TitanStatus st = cuda_ranks_look(c);
    *c->story = first;
    if (st == TITAN_OK) return;
    cuda_peers_leave(c);
    for (uint32_t i = 0; c->plans && i < c->im->nentries; i++)
        cuda_plan_release(c, &c->plans[i]);
    abort_comms(c);
    cuda_peers_left(c);
}

/* --------------------------------------------------------- begin and end -- */

/* The GPU reaches pinned memory at its address on the host. */
static TitanStatus open_mark(Cuda *c)
{
    void *at = NULL;
    CU_TRY(c, cuMemHostAlloc(&at, sizeof *c->ranks->mark, 0));
    c->ranks->mark = at;
    atomic_store(c->ranks->mark, 0);
    return TITAN_OK;
}

/* Of what a reduction cannot be of, nothing is known to NCCL. */
static TitanStatus check_dtypes(Cuda *c)
{
    for (uint32_t i = 0; i < c->im->ncollectives; i++) {
        const TitanCollective *x = &c->im->collectives[i];
        bool sums = x->kind == TITAN_COLLECTIVE_reduce_scatter ||
                    x->kind == TITAN_COLLECTIVE_all_reduce;
        if (sums && nccl_dtype(x->dtype) < 0)
            return titan_fail(c->story, TITAN_MISMATCH, "NCCL reduces no %s",
                              titan_dtype_name(x->dtype));
        if (cuda_in_order(c, x) && cuda_sums_kind(x->dtype) == SUM_none)
            return titan_fail(c->story, TITAN_USAGE,
                              "--rank-order adds f64, f32, bf16 and f16; this "
                              "program adds %s over ranks",
                              titan_dtype_name(x->dtype));
    }
    return TITAN_OK;
}

static TitanStatus alloc_scratch(Cuda *c)
{
    uint64_t bytes = reserve_exchange(c->im);
    CU_TRY(c, cuMemAlloc(&c->ranks->scratch, bytes));
    CU_TRY(c, cuMemsetD8Async(c->ranks->scratch, 0, bytes, c->stream));
    return TITAN_OK;
}

/* Members may be of several stages, and give each other as much. */
static size_t least_arena(const Cuda *c)
{
    uint64_t least = c->arena_bytes;
    for (uint32_t i = 0; i < c->im->nstages; i++)
        if (c->im->stages[i].arena_bytes < least)
            least = c->im->stages[i].arena_bytes;
    return (size_t)least;
}

/* Where a first use takes place, HALF bytes from each member and as many to it:
 * in the arena, all of which is zero yet, if NCCL knows it, and of so many
 * bytes that it opens the others' then, and not in a capture. */
static CuPtr warm_at(const Cuda *c, uint32_t group, uint32_t stream,
                     size_t *half)
{
    size_t most = least_arena(c) / (2 * ranks_in_group(c->im, group));
    *half = WARM / 2;
    if (!*handle_of(c, group, stream) || most < WARM) return c->ranks->scratch;
    *half = most < WARM_KNOWN ? most - most % WARM : WARM_KNOWN;
    return c->arena;
}

/* Each kind that is used once: connections take memory. */
static TitanStatus warm(Cuda *c, uint32_t group, uint32_t stream)
{
    NcclComm comm = *comm_of(c, group, stream);
    uint32_t n = ranks_in_group(c->im, group),
             kinds = needs_of(c, group, stream).kinds;
    CuStream on = c->streams[stream];
    size_t half;
    CuPtr at = warm_at(c, group, stream, &half);
    void *from = address(at), *to = address(at + n * half);
    int f32 = nccl_dtype(1);
    if (kinds & ~(uint32_t)RESERVE_COLLECTIVES)
        TRY(exchange_all(c, comm, n, at + n * half, at, half, on));
    if (kinds & RESERVE_reduce)
        NCCL_TRY(c,
                 ncclAllReduce(from, from, half / 4, f32, NCCL_sum, comm, on));
    if (kinds) TRY(settle(c, comm));
    if (kinds & RESERVE_gather)
        NCCL_TRY(c, ncclAllGather(from, to, half / n, 1, comm, on));
    if (kinds) TRY(settle(c, comm));
    if (kinds & RESERVE_scatter)
        NCCL_TRY(c, ncclReduceScatter(from, to, half / 4 / n, f32, NCCL_sum,
                                      comm, on));
    if (kinds) TRY(settle(c, comm));
    return cuda_wait_stream(c, on);
}

/* "NCCL over dp, stream 1" */
static void say_comm(Cuda *c, uint32_t group, uint32_t stream)
{
    const char *name = titan_string(c->im, c->im->groups[group].name);
    char text[96];
    snprintf(text, sizeof text, "NCCL over %s, stream %" PRIu32, name, stream);
    cuda_say(c, text);
}

/* And used once. */
static TitanStatus open_comms(Cuda *c)
{
    for (uint32_t g = 0; g < c->im->ngroups; g++)
        for (uint32_t s = 0; s < c->im->header->streams; s++) {
            if (!needs_of(c, g, s).kinds) continue;
            TRY(open_comm(c, g, s));
            TRY(titan_while(c->story, register_arena(c, g, s),
                            "registering the arena with NCCL; --nccl-buffers "
                            "copied does without"));
            TRY(warm(c, g, s));
            say_comm(c, g, s);
        }
    return TITAN_OK;
}

/* Who copy engines reach is known: what is left to NCCL, and whether that has
 * room. */
static TitanStatus settle_reserve(Cuda *c)
{
    const bool *engines = cuda_peers_groups(c);
    ReserveAsk ask = cuda_reserve_ask(c, engines);
    Reserve r;
    reserve_comms(&ask, c->ranks->needs);
    TRY(cuda_reserve(c, engines, &r));
    return cuda_memory_check(c, r.nccl + r.graphs, &r);
}

static TitanStatus open_ranks(Cuda *c)
{
    TRY(alloc_scratch(c));
    TRY(cuda_sums_open(c));
    TRY(open_mark(c));
    CU_TRY(c, cuStreamSynchronize(c->stream));
    cuda_say(c, "exchanges");
    TRY(cuda_feeds_open(c));
    TRY(cuda_holds_open(c));
    if (!c->options.nccl_alone) TRY(cuda_peers_open(c));
    cuda_say(c, "room for copy engines");
    TRY(settle_reserve(c));
    return open_comms(c);
}

TitanStatus cuda_ranks_open(Cuda *c)
{
    if (!c->ranks) return TITAN_OK;
    return titan_while(c->story, open_ranks(c),
                       "connecting the GPU of rank %" PRIu32, c->rank.rank);
}

TitanStatus cuda_ranks_begin(Cuda *c)
{
    const TitanImage *im = c->im;
    size_t n = (size_t)im->ngroups * im->header->streams;
    c->coordinates = calloc((size_t)im->ngroups + 1, sizeof *c->coordinates);
    if (!c->coordinates) return titan_no_memory(c->story);
    if (im->header->ranks == 1) return TITAN_OK;
    for (uint32_t g = 0; g < im->ngroups; g++)
        c->coordinates[g] = rank_member(im, g, c->rank.rank);
    c->ranks = calloc(1, sizeof *c->ranks);
    if (!c->ranks) return titan_no_memory(c->story);
    c->ranks->comms = calloc(n + 1, sizeof(NcclComm));
    c->ranks->handles = calloc(n + 1, sizeof *c->ranks->handles);
    c->ranks->needs = calloc(n + 1, sizeof *c->ranks->needs);
    if (!c->ranks->comms || !c->ranks->handles || !c->ranks->needs)
        return titan_no_memory(c->story);
    TRY(nccl_open(c->story, &c->ranks->nccl));
    return check_dtypes(c);
}

void cuda_ranks_about(const Cuda *c, char *out, size_t size)
{
    int v = c->ranks ? c->ranks->nccl.version : 0;
    out[0] = 0;
    if (v)
        snprintf(out, size, ", NCCL %d.%d.%d, sums in %s order%s", v / 10000,
                 v / 100 % 100, v % 100,
                 c->options.rank_order ? "the ranks'" : "its own",
                 cuda_peers_any(c) ? ", copy engines" : "");
}

void cuda_ranks_close(Cuda *c)
{
    free(c->coordinates);
    c->coordinates = NULL;
    if (!c->ranks) return;
    deregister_arena(c);
    abort_comms(c);
    cuda_peers_part(c);
    cuda_holds_close(c);
    cuda_peers_close(c);
    cuda_feeds_close(c);
    cuda_beside_close(c);
    cuda_sums_close(c);
    if (c->ranks->scratch) c->cu.cuMemFree(c->ranks->scratch);
    if (c->ranks->mark) c->cu.cuMemFreeHost(c->ranks->mark);
    free(c->ranks);
    c->ranks = NULL;
}
