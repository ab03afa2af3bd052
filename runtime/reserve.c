/*
 * reserve.c: what a rank may have of its GPU beside the arena.
 *
 * What the runtime allocates is known to the byte.  What the driver and NCCL
 * take was measured part by part, of 2 and 4 H200 of one machine, with CUDA 13
 * and NCCL 2.28 (docs/performance.md).  NCCL takes for a connection a buffer of
 * 10 MiB and 2 MiB at the other end, of each channel: collectives have one to
 * the next member, what is sent and received one to every other member.
 */
#include "reserve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_device.h"
#include "cuda_sums.h"
#include "engines.h"
#include "ranks.h"

#define MIB        ((uint64_t)1 << 20)
#define CONTEXT    (530 * MIB) /* of a process; with kernels and cuBLASLt */
#define LIBRARY    (4 * MIB)   /* cuBLASLt's handle */
#define NCCL       (442 * MIB) /* its kernels, and what their first launch takes */
#define COMM       (4 * MIB)
#define CHANNEL    (6 * MIB)
#define CONNECTION (12 * MIB)
#define LAUNCHES   (48 * MIB) /* NCCL's in graphs */
#define GRAPHS     (12 * MIB)
#define NODE       UINT64_C(1024)
#define DRIVER     (48 * MIB) /* what else it loads, and rounds up */
/* A rank that opens another's arena has an entry for each of its pages. */
enum { PAGE = 2 << 20, ENTRY = 16 };
/* Channels that NCCL makes between GPUs of a machine, and to another; ranks of
 * a machine; bytes that are worth a channel of their own. */
enum { RINGS = 24, PAIRS = 32, FAR = 2, HOST = 8, WORTH = 32 << 10 };

/* -------------------------------------------------------- communicators -- */

static const TitanCollective *collective_of(const TitanImage *im,
                                            const TitanCommand *cmd)
{
    return cmd->kind == TITAN_COMMAND_collective ? &im->collectives[cmd->index]
                                                 : NULL;
}

static bool by_engines(const ReserveAsk *a, const TitanCommand *cmd)
{
    const TitanCollective *x = &a->im->collectives[cmd->index];
    return a->engines && a->engines[x->group] && engines_take(a->im, cmd);
}

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void reserve_comms(const ReserveAsk *a, ReserveComm *out)
{
    const TitanImage *im = a->im;
    uint32_t streams = im->header->streams;
    memset(out, 0, (size_t)im->ngroups * streams * sizeof *out);
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *cmd = &im->commands[i];
        const TitanCollective *x = collective_of(im, cmd);
        if (!x || by_engines(a, cmd)) continue;
        bool ordered = a->in_order && collective_has_order(x);
        uint32_t kind = ordered ? TITAN_COLLECTIVE_all_to_all : x->kind;
        ReserveComm *c = &out[x->group * streams + cmd->stream];
        uint64_t channels = (collective_piece_bytes(x) + WORTH - 1) / WORTH;
        c->kinds |= 1u << kind;
        c->channels =
            (uint32_t)most_of(c->channels, channels < 1       ? 1
                                           : channels < PAIRS ? channels
                                                              : PAIRS);
    }
    for (uint32_t i = 0; i < im->ngroups * streams; i++)
        if (out[i].channels == PAIRS) out[i].channels = 0;
}

static uint64_t comm_bytes(const TitanImage *im, uint32_t group, ReserveComm c)
{
    uint64_t n = ranks_in_group(im, group), near = n < HOST ? n : HOST;
    uint64_t most = c.channels ? c.channels : PAIRS;
    uint64_t rings = most < RINGS ? most : RINGS;
    uint64_t far = most < FAR ? most : FAR;
    uint64_t bytes = COMM + most * CHANNEL;
    if (c.kinds == 0) return 0;
    if (c.kinds & RESERVE_COLLECTIVES) bytes += rings * CONNECTION;
    if (c.kinds & ~(uint32_t)RESERVE_COLLECTIVES)
        bytes += ((near - 1) * most + (n - near) * far) * CONNECTION;
    return bytes;
}

/* False: no memory. */
static bool nccl_bytes(const ReserveAsk *a, uint64_t *out)
{
    const TitanImage *im = a->im;
    size_t n = (size_t)im->ngroups * im->header->streams;
    ReserveComm *comms = calloc(n + 1, sizeof *comms);
    *out = 0;
    if (!comms) return false;
    reserve_comms(a, comms);
    for (size_t i = 0; i < n; i++)
        *out += comm_bytes(im, (uint32_t)(i / im->header->streams), comms[i]);
    if (*out) *out += NCCL + LAUNCHES;
    free(comms);
    return true;
}

uint64_t reserve_exchange(const TitanImage *im)
{
    uint64_t most = RESERVE_WARM * im->header->ranks;
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *cmd = &im->commands[i];
        const TitanCollective *x = collective_of(im, cmd);
        uint64_t pieces[2];
        if (!x || (x->kind != TITAN_COLLECTIVE_all_to_all &&
                   x->kind != TITAN_COLLECTIVE_permute))
            continue;
        collective_pieces(im, x, pieces);
        if (engines_in_place(im, cmd))
            most = most_of(most, pieces[1] * collective_piece_bytes(x));
    }
    return most;
}

/* ---------------------------------------------------------------- peers -- */

/* Ranks whose memory is opened; UINT32_MAX: no memory. */
static uint32_t count_peers(const ReserveAsk *a)
{
    const TitanImage *im = a->im;
    bool *open = calloc(im->header->ranks, sizeof *open);
    uint32_t n = 0;
    if (!open) return UINT32_MAX;
    for (uint32_t g = 0; g < im->ngroups; g++) {
        uint32_t members = a->engines && a->engines[g] && engines_use(im, g)
                               ? ranks_in_group(im, g)
                               : 0;
        for (uint32_t k = 0; k < members; k++) {
            uint32_t rank = rank_of_member(im, g, a->rank, k);
            n += rank != a->rank && !open[rank];
            open[rank] = true;
        }
    }
    free(open);
    return n;
}

static uint64_t page_tables(uint64_t bytes)
{
    uint64_t entries = (bytes + PAGE - 1) / PAGE * ENTRY;
    return (entries + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
}

/* ---------------------------------------------------------------- graphs -- */

/* Calls of the library: batches may lie so that they are one. */
static uint64_t calls(const TitanGemm *g)
{
    int64_t all = 1, most = 1;
    for (uint32_t i = 0; i < g->nbatch; i++) {
        all *= g->batch[i];
        if (g->batch[i] > most) most = g->batch[i];
    }
    return (uint64_t)(all / most);
}

static uint64_t command_nodes(const ReserveAsk *a, const TitanCommand *cmd)
{
    switch ((TitanCommandKind)cmd->kind) {
    case TITAN_COMMAND_signal:
    case TITAN_COMMAND_wait:
        return 0;
    case TITAN_COMMAND_gemm:
        return calls(&a->im->gemms[cmd->index]);
    case TITAN_COMMAND_collective:
        return by_engines(a, cmd) ? engines_nodes(a->im, cmd) : 2;
    case TITAN_COMMAND_kernel:
    case TITAN_COMMAND_copy:
    case TITAN_COMMAND_zero:
        break;
    }
    return 1;
}

static uint64_t program_nodes(const ReserveAsk *a, const TitanProgram *p)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < p->commands.n; i++)
        n += command_nodes(a, &a->im->commands[p->commands.first + i]);
    return n;
}

/* Of the rows [FROM, TO) of runs, loops as often as they go round. */
static uint64_t run_nodes(const ReserveAsk *a, uint32_t from, uint32_t to)
{
    uint64_t n = 0;
    for (uint32_t i = from; i < to; i++) {
        const TitanRun *r = &a->im->runs[i];
        if (r->kind == TITAN_RUN_program)
            n += program_nodes(a, &a->im->programs[r->program]);
        if (r->kind != TITAN_RUN_loop) continue;
        n += (uint64_t)r->count * run_nodes(a, i + 1, r->program);
        i = r->program;
    }
    return n;
}

/* Of its stage's entry with the most nodes; another that is kept as graphs, to
 * validate, has few beside them. */
static uint64_t graph_bytes(const ReserveAsk *a)
{
    const TitanStage *s = stage_of(a->im, a->rank);
    uint64_t most = 0;
    for (uint32_t i = 0; i < s->entries.n; i++) {
        const TitanEntry *e = &a->im->entries[s->entries.first + i];
        uint64_t n =
            cuda_has_while(a->im, e)
                ? 0
                : run_nodes(a, e->runs.first, e->runs.first + e->runs.n);
        most = most_of(most, n);
    }
    return GRAPHS + DRIVER + most * NODE;
}

/* ----------------------------------------------------------------- whole -- */

static uint64_t room_bytes(const ReserveAsk *a)
{
    const TitanImage *im = a->im;
    uint64_t bytes = reserve_exchange(im);
    bool any = false;
    for (uint32_t g = 0; a->engines && g < im->ngroups; g++)
        any |= a->engines[g] && engines_use(im, g);
    if (any) bytes += ENGINES_WORDS;
    for (uint32_t s = 0; s < im->header->streams; s++) {
        if (any) bytes += engines_room(im, s);
        if (a->in_order) bytes += CUDA_SUMS_ROOM;
    }
    return bytes;
}

bool reserve_of(const ReserveAsk *a, Reserve *out)
{
    const TitanImage *im = a->im;
    *out = (Reserve){.context = a->context + LIBRARY, .graphs = graph_bytes(a)};
    for (uint32_t s = 0; s < im->header->streams; s++)
        out->products += cuda_gemm_workspace(im, s);
    if (im->header->ranks == 1) return true;
    uint32_t peers = count_peers(a);
    uint64_t arena = stage_of(im, a->rank)->arena_bytes;
    out->peers = peers * page_tables(arena);
    out->room = room_bytes(a);
    return peers != UINT32_MAX && nccl_bytes(a, &out->nccl);
}

/* How far the members of a group are apart. */
static bool within_host(const TitanImage *im, uint32_t group, uint32_t rank,
                        uint32_t host)
{
    uint32_t last = ranks_in_group(im, group) - 1;
    return rank_of_member(im, group, rank, 0) / host ==
           rank_of_member(im, group, rank, last) / host;
}

uint64_t reserve_planned(const TitanImage *im, uint32_t stage, uint32_t host)
{
    uint32_t behind = 1, mesh = im->header->stage_mesh;
    for (uint32_t i = mesh + 1; i < im->nmesh && im->nstages > 1; i++)
        behind *= im->mesh[i].size;
    ReserveAsk a = {.im = im,
                    .rank = im->nstages > 1 ? stage * behind : 0,
                    .context = CONTEXT};
    bool *engines = calloc((size_t)im->ngroups + 1, sizeof *engines);
    Reserve r;
    if (!engines) return 0;
    for (uint32_t g = 0; g < im->ngroups; g++)
        engines[g] = within_host(im, g, a.rank, host) && engines_use(im, g);
    a.engines = engines;
    bool known = reserve_of(&a, &r);
    free(engines);
    return known ? reserve_sum(&r) : 0;
}

uint64_t reserve_sum(const Reserve *r)
{
    uint64_t sum = 0;
#define PART(name, words) sum += r->name;
    RESERVE_PARTS(PART)
#undef PART
    return sum;
}

void reserve_about(const Reserve *r, char *out, size_t size)
{
    const struct {
        uint64_t bytes;
        const char *words;
    } parts[] = {
#define PART(name, text) {r->name, text},
        RESERVE_PARTS(PART)
#undef PART
    };
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && n < size; i++)
        if (parts[i].bytes)
            n += (size_t)snprintf(
                out + n, size - n, "%s%.0f MiB %s", n ? ", " : "",
                (double)parts[i].bytes / (double)MIB, parts[i].words);
}
