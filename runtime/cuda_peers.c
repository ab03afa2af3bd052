/*
 * cuda_peers.c: gathers, sums and exchanges by copy engines, out of the memory
 * of the other GPUs of this machine.
 *
 * Each rank opens the arenas of the ranks that it is in a group with
 * (cuda_shared.c).  Arenas of one stage are laid out alike, so a piece lies as
 * far from the begin of each.  Copies take no processor from the kernels that
 * run beside them, and move the same bytes; each member begins with the one
 * behind it, so that no two read from one GPU.  A member's own piece of what it
 * gathers is copied by a kernel beside (cuda_beside.c).  Of a sum the pieces of
 * the others come to a room of their own, and a kernel adds all in the order of
 * the ranks (cuda_sums.c).
 *
 * Beside its arena each rank has words that the streams of others write to and
 * its own waits for, two for each member of a group on a stream:
 *
 *     ready   what that member gives is there
 *     taken   it has copied what it wants
 *
 * A product whose parts are exchanged, and waited for at once, is made part by
 * part, those of others first, which copy engines take to them while the
 * next, and at last the member's own, is made.  They come to where they stay,
 * which nothing else uses from the product on; two words say so:
 *
 *     open    it may be written
 *     came    a part is there
 *
 * Who has waited for a word clears it, and only then goes on to the next one.
 * So a word is clear before it is written again, and the graph of a step
 * can be replayed with the same numbers.  All members come to the same
 * collectives in the same order, as they do with NCCL, and write before they
 * wait, so no copy that waits keeps another rank's from being asked for.
 *
 * Where a member of a group is on another machine, of another stage, or cannot
 * be reached, all members leave these to NCCL, and so they do with what lies in
 * memory of the host.
 */
#include "cuda_device.h"

#include "boot.h"
#include "clock.h"
#include "cuda_sums.h"
#include "engines.h"
#include "transport.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_SUMS = 64, /* that are in the room */
    GIVES_UP = 10   /* seconds for what streams still wait for */
};

typedef enum Word { WORD_ready, WORD_taken, WORD_open, WORD_came, WORDS } Word;

/* What a rank says of its memory. */
typedef struct Card {
    BootName boot;
    int pid;
    CudaHandle arena, words;
    bool reached; /* others may open it; then, it has opened them */
} Card;

typedef struct Peer {
    CudaShared arena, words;
} Peer;

/* Pieces that are in the room, or on their way there: USED bytes from BASE on.
 * What is in front of them may be yet to be added.  A sum is added when nobody
 * needs what it may lie over. */
typedef struct Room {
    CuPtr at;
    uint64_t bytes, base, used;
    CudaSumArgs sums[MOST_SUMS];
    uint32_t n;     /* of these */
    uint32_t parts; /* of sums for which there is something in the room */
} Room;

struct CudaPeers {
    Peer *ranks;  /* of the mesh */
    bool *groups; /* whose members reach each other */
    CudaShared words;
    CuEvent made;  /* a part of a product */
    uint32_t most; /* members of a group */
    Room room[TITAN_MOST_STREAMS];
    pthread_t thread; /* that writes words */
    bool leaving;
    _Atomic bool left;
};

/* In the words of a rank, what MEMBER writes there. */
static CuPtr word_at(const Cuda *c, CuPtr words, const TitanCommand *cmd,
                     uint32_t member, Word w)
{
    uint32_t group = c->im->collectives[cmd->index].group;
    size_t row = (size_t)group * c->im->header->streams +
                 (w >= WORD_open ? 0 : cmd->stream);
    return words +
           ((row * c->peers->most + member) * WORDS + w) * sizeof(uint32_t);
}

static const Peer *peer_of(const Cuda *c, uint32_t group, uint32_t member)
{
    return &c->peers->ranks[rank_of_member(c->im, group, c->rank.rank, member)];
}

/* -------------------------------------------------------------- opening -- */

static Card card_of(Cuda *c)
{
    Card card = {.boot = boot_name(), .pid = (int)getpid()};
    card.reached = cuda_shared_handle(c, &c->whole, &card.arena) &&
                   cuda_shared_handle(c, &c->peers->words, &card.words);
    return card;
}

static bool open_memory(Cuda *c, const Card *card, Peer *p)
{
    if (!cuda_shared_open(c, &card->arena, &p->arena)) return false;
    if (cuda_shared_open(c, &card->words, &p->words)) return true;
    cuda_shared_close(c, &p->arena);
    return false;
}

static bool open_peer(Cuda *c, uint32_t rank, const Card *mine,
                      const Card *theirs)
{
    Peer *p = &c->peers->ranks[rank];
    if (p->arena.at) return true;
    bool thread = mine->pid == theirs->pid;
    return theirs->reached && thread == c->rank.threads &&
           boot_is_same(&mine->boot, &theirs->boot) && cuda_holds(c, rank) &&
           open_memory(c, theirs, p);
}

/* All members do what follows, and all know whether all of them could. */
static TitanStatus open_group(Cuda *c, uint32_t group, Card *cards)
{
    uint32_t n = ranks_in_group(c->im, group);
    uint32_t me = (uint32_t)c->coordinates[group];
    Card mine = card_of(c);
    TRY(cuda_ranks_share(c, group, &mine, sizeof mine, cards));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = rank_of_member(c->im, group, c->rank.rank, i);
        if (i != me && mine.reached)
            mine.reached = open_peer(c, rank, &mine, &cards[i]);
    }
    TRY(cuda_ranks_share(c, group, &mine, sizeof mine, cards));
    bool all = n > 1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = rank_of_member(c->im, group, c->rank.rank, i);
        all &= cards[i].reached &&
               rank_stage(c->im, rank) == rank_stage(c->im, c->rank.rank);
    }
    c->peers->groups[group] = all;
    return TITAN_OK;
}

static TitanStatus open_groups(Cuda *c)
{
    Card *cards = calloc(c->peers->most, sizeof *cards);
    if (!cards) return titan_no_memory(c->story);
    TitanStatus st = TITAN_OK;
    for (uint32_t g = 0; g < c->im->ngroups && st == TITAN_OK; g++)
        if (engines_use(c->im, g)) st = open_group(c, g, cards);
    free(cards);
    return st;
}

/* Pieces of a sum that come to the room. */
static uint32_t pieces_of(const TitanImage *im, const TitanCollective *x)
{
    return ranks_in_group(im, x->group) - 1;
}

const bool *cuda_peers_groups(const Cuda *c)
{
    return c->peers ? c->peers->groups : NULL;
}

bool cuda_peers_any(const Cuda *c)
{
    bool any = false;
    for (uint32_t g = 0; c->peers && g < c->im->ngroups; g++)
        any |= c->peers->groups[g];
    return any;
}

static TitanStatus open_room(Cuda *c, uint32_t stream)
{
    Room *r = &c->peers->room[stream];
    r->bytes = engines_room(c->im, stream);
    if (r->bytes) CU_TRY(c, cuMemAlloc(&r->at, r->bytes));
    return TITAN_OK;
}

static TitanStatus open_words(Cuda *c)
{
    CudaPeers *p = c->peers;
    TRY(cuda_shared_alloc(c, ENGINES_WORDS, &p->words));
    CU_TRY(c, cuMemsetD32Async(p->words.at, 0, ENGINES_WORDS / 4, c->stream));
    CU_TRY(c, cuStreamSynchronize(c->stream));
    return TITAN_OK;
}

TitanStatus cuda_feeds_open(Cuda *c)
{
    const TitanImage *im = c->im;
    c->feeds = calloc((size_t)im->ncommands + 1, sizeof *c->feeds);
    if (!c->feeds) return titan_no_memory(c->story);
    for (uint32_t i = 0; i < im->ncommands; i++)
        if (engines_fed(im, &im->commands[i]))
            c->feeds[im->commands[i].fed - 1] = &im->commands[i];
    return TITAN_OK;
}

void cuda_feeds_close(Cuda *c)
{
    free(c->feeds);
    c->feeds = NULL;
}

TitanStatus cuda_peers_open(Cuda *c)
{
    const TitanImage *im = c->im;
    CudaPeers *p = c->peers = calloc(1, sizeof *p);
    if (!p) return titan_no_memory(c->story);
    p->most = ranks_most_members(im);
    p->ranks = calloc(im->header->ranks, sizeof *p->ranks);
    p->groups = calloc((size_t)im->ngroups + 1, sizeof *p->groups);
    if (!p->ranks || !p->groups) return titan_no_memory(c->story);
    size_t words = (size_t)im->ngroups * im->header->streams * p->most * WORDS;
    if (words * sizeof(uint32_t) > ENGINES_WORDS) return TITAN_OK;
    CU_TRY(c, cuEventCreate(&p->made, CU_event_no_timing));
    TRY(open_words(c));
    TRY(open_groups(c));
    cuda_say(c, "memory of other ranks");
    for (uint32_t i = 0; i < im->header->streams && cuda_peers_any(c); i++) {
        TRY(open_room(c, i));
        TRY(cuda_beside_open(c, i));
    }
    return TITAN_OK;
}

/* ---------------------------------------------------------- collectives -- */

bool cuda_peers_have(const Cuda *c, const TitanCommand *cmd)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    return c->peers && c->peers->groups[x->group] && engines_take(c->im, cmd);
}

/* Says so to another. */
static TitanStatus tell_one(Cuda *c, const TitanCommand *cmd, uint32_t member,
                            Word w)
{
    uint32_t group = c->im->collectives[cmd->index].group;
    uint32_t me = (uint32_t)c->coordinates[group];
    CuPtr there = word_at(c, peer_of(c, group, member)->words.at, cmd, me, w);
    CU_TRY(c, cuStreamWriteValue32(c->streams[cmd->stream], there, 1, 0));
    return TITAN_OK;
}

/* To all others. */
static TitanStatus tell(Cuda *c, const TitanCommand *cmd, Word w)
{
    uint32_t group = c->im->collectives[cmd->index].group;
    uint32_t n = ranks_in_group(c->im, group);
    uint32_t me = (uint32_t)c->coordinates[group];
    for (uint32_t k = 1; k < n; k++)
        TRY(tell_one(c, cmd, (me + k) % n, w));
    return TITAN_OK;
}

/* Waits until all of them have said it. */
static TitanStatus hear(Cuda *c, const TitanCommand *cmd, Word w)
{
    uint32_t group = c->im->collectives[cmd->index].group;
    uint32_t n = ranks_in_group(c->im, group);
    uint32_t me = (uint32_t)c->coordinates[group];
    CuStream on = c->streams[cmd->stream];
    for (uint32_t i = 0; i < n; i++) {
        CuPtr here = word_at(c, c->peers->words.at, cmd, i, w);
        if (i == me) continue;
        CU_TRY(c, cuStreamWaitValue32(on, here, 1, CU_wait_equal));
        CU_TRY(c, cuStreamWriteValue32(on, here, 0, 0));
    }
    return TITAN_OK;
}

static TitanStatus meet(Cuda *c, const TitanCommand *cmd, Word w)
{
    TRY(tell(c, cmd, w));
    return hear(c, cmd, w);
}

/* What lies at FROM in the arena of another member. */
static TitanStatus fetch(Cuda *c, const TitanCommand *cmd, uint32_t member,
                         CuPtr to, CuPtr from, size_t bytes)
{
    uint32_t group = c->im->collectives[cmd->index].group;
    CuPtr theirs = peer_of(c, group, member)->arena.at + (from - c->arena);
    CU_TRY(c, cuMemcpyAsync(to, theirs, bytes, c->streams[cmd->stream]));
    return TITAN_OK;
}

/* What waits is added, now that all have taken what they want, for a sum may
 * lie over what it is of. */
static TitanStatus finish(Cuda *c, const TitanCommand *cmd)
{
    Room *r = &c->peers->room[cmd->stream];
    TRY(meet(c, cmd, WORD_taken));
    if (r->n) TRY(cuda_beside_begin(c, cmd->stream));
    for (uint32_t i = 0; i < r->n; i++)
        TRY(cuda_beside_sum(c, cmd->stream, &r->sums[i]));
    r->n = r->parts = 0;
    r->base += r->used;
    r->used = 0;
    return TITAN_OK;
}

/* There is room for no more: all members come to that at the same time.  No
 * word is written twice in a row. */
static TitanStatus make_room(Cuda *c, const TitanCommand *cmd)
{
    uint64_t base = c->peers->room[cmd->stream].base;
    TRY(finish(c, cmd));
    c->peers->room[cmd->stream].base = base;
    return meet(c, cmd, WORD_ready);
}

/* The pieces of the others, each as far from its begin as FROM, and this
 * member's own. */
static TitanStatus gather(Cuda *c, const TitanCommand *cmd, CuPtr to,
                          CuPtr from)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    size_t bytes = collective_piece_bytes(x);
    uint32_t n = ranks_in_group(c->im, x->group);
    uint32_t me = (uint32_t)c->coordinates[x->group];
    for (uint32_t k = 1; k < n; k++) {
        uint32_t i = (me + k) % n;
        TRY(fetch(c, cmd, i, to + i * bytes, from, bytes));
    }
    return cuda_beside_copy(c, cmd->stream, to + me * bytes, from, bytes);
}

/* So many elements of the sum, whose pieces find room.  MINE is this member's
 * of them in its own operand, where it stays. */
static TitanStatus fetch_pieces(Cuda *c, const TitanCommand *cmd, CuPtr to,
                                CuPtr mine, size_t count, CudaSumArgs *out)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    Room *r = &c->peers->room[cmd->stream];
    uint32_t n = ranks_in_group(c->im, x->group);
    uint32_t me = (uint32_t)c->coordinates[x->group];
    size_t bytes = count * titan_dtype_bytes(x->dtype);
    size_t pitch = engines_pitch(bytes);
    CuPtr room = r->at + r->base + r->used;
    TRY(cuda_beside_await(c, cmd->stream, (CudaBytes){room, (n - 1) * pitch},
                          true));
    for (uint32_t k = 1; k < n; k++) {
        uint32_t i = (me + k) % n, slot = i - (i > me);
        TRY(fetch(c, cmd, i, room + slot * pitch, mine, bytes));
    }
    r->used += (n - 1) * pitch;
    r->parts++;
    *out = (CudaSumArgs){.to = to,
                         .from = room,
                         .count = count,
                         .pitch = pitch,
                         .n = n,
                         .kind = cuda_sums_kind(x->dtype),
                         .mine = mine,
                         .me = me};
    return TITAN_OK;
}

/* A sum that lies apart is added beside what comes next, others when all
 * members have taken what they want. */
static TitanStatus scatter(Cuda *c, const TitanCommand *cmd, CuPtr to,
                           CuPtr from)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    Room *r = &c->peers->room[cmd->stream];
    size_t size = titan_dtype_bytes(x->dtype), count = (size_t)x->count;
    uint32_t pieces = pieces_of(c->im, x);
    CuPtr mine = from + c->coordinates[x->group] * count * size;
    bool apart =
        to + count * size <= from || from + (pieces + 1) * count * size <= to;
    size_t most =
        (size_t)(r->bytes / pieces / ENGINES_ALIGNED * ENGINES_ALIGNED) / size;
    for (size_t done = 0, some; done < count; done += some) {
        CudaSumArgs a;
        some = count - done < most ? count - done : most;
        uint64_t need = pieces * engines_pitch(some * size);
        if (r->parts == MOST_SUMS || r->used + need > r->bytes)
            TRY(make_room(c, cmd));
        TRY(fetch_pieces(c, cmd, to + done * size, mine + done * size, some,
                         &a));
        if (!apart) {
            r->sums[r->n++] = a;
            continue;
        }
        TRY(cuda_beside_begin(c, cmd->stream));
        TRY(cuda_beside_sum(c, cmd->stream, &a));
    }
    return TITAN_OK;
}

/* Piece j of member i becomes piece i of j, so each gathers its own number. */
static TitanStatus exchange(Cuda *c, const TitanCommand *cmd, CuPtr to,
                            CuPtr from)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    uint64_t mine = c->coordinates[x->group] * collective_piece_bytes(x);
    return gather(c, cmd, to, from + mine);
}

static TitanStatus permute(Cuda *c, const TitanCommand *cmd, CuPtr to,
                           CuPtr from)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    size_t bytes = collective_piece_bytes(x);
    int n = (int)ranks_in_group(c->im, x->group);
    int me = (int)c->coordinates[x->group];
    int of = (me + n - (x->shift % n + n) % n) % n;
    if (of == me) return cuda_beside_copy(c, cmd->stream, to, from, bytes);
    return fetch(c, cmd, (uint32_t)of, to, from, bytes);
}

/* Of all pieces of the sums among N commands. */
static uint64_t room_of(const Cuda *c, const TitanCommand *cmd, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t k = 0; k < n; k++) {
        const TitanCollective *x = &c->im->collectives[cmd[k].index];
        if (cmd[k].kind == TITAN_COMMAND_collective &&
            x->kind == TITAN_COLLECTIVE_reduce_scatter &&
            cuda_peers_have(c, &cmd[k]))
            bytes +=
                pieces_of(c->im, x) * engines_pitch(collective_piece_bytes(x));
    }
    return bytes;
}

TitanStatus cuda_peers_begin(Cuda *c, const TitanCommand *cmd, uint32_t n)
{
    Room *r = &c->peers->room[cmd->stream];
    if (room_of(c, cmd, n) > r->bytes - r->base) r->base = 0;
    TRY(cuda_beside_begin(c, cmd->stream));
    TRY(meet(c, cmd, WORD_ready));
    return cuda_profile_met(c, cmd->stream);
}

TitanStatus cuda_peers_run(Cuda *c, const TitanCommand *cmd, CuPtr to,
                           CuPtr from)
{
    const TitanCollective *x = &c->im->collectives[cmd->index];
    if (x->count == 0) return TITAN_OK;
    switch ((TitanCollectiveKind)x->kind) {
    case TITAN_COLLECTIVE_all_gather:
        return gather(c, cmd, to, from);
    case TITAN_COLLECTIVE_reduce_scatter:
        return scatter(c, cmd, to, from);
    case TITAN_COLLECTIVE_all_to_all:
        return exchange(c, cmd, to, from);
    case TITAN_COLLECTIVE_permute:
        return permute(c, cmd, to, from);
    case TITAN_COLLECTIVE_all_reduce:
    case TITAN_COLLECTIVE_send:
    case TITAN_COLLECTIVE_receive:
    case TITAN_COLLECTIVE_COUNT:
        break;
    }
    return titan_fail(c->story, TITAN_INTERNAL, "copy engines make no %s",
                      collective_name(x->kind));
}

TitanStatus cuda_peers_end(Cuda *c, const TitanCommand *cmd)
{
    return finish(c, cmd);
}

/* ------------------------------------------ products that feed exchanges -- */

bool cuda_peers_fed(const Cuda *c, const TitanCommand *cmd)
{
    return !c->seen && engines_fed(c->im, cmd) && cuda_peers_have(c, cmd);
}

const TitanCommand *cuda_feeds(const Cuda *c, const TitanCommand *gemm)
{
    const TitanCommand *fed =
        c->feeds ? c->feeds[gemm - c->im->commands] : NULL;
    return fed && engines_fed(c->im, fed) ? fed : NULL;
}

uint32_t cuda_feeds_parts(const Cuda *c, const TitanCommand *gemm)
{
    const TitanCommand *of = cuda_feeds(c, gemm);
    return of ? ranks_in_group(c->im, c->im->collectives[of->index].group) : 1;
}

uint32_t cuda_feeds_steps(const Cuda *c, const TitanCommand *gemm)
{
    const TitanCommand *of = cuda_feeds(c, gemm);
    return of ? c->im->collectives[of->index].steps : 1;
}

/* Part I of PARTS of the rows; TO: where they go. */
static TitanStatus make_part(Cuda *c, const TitanCommand *gemm, uint32_t i,
                             uint32_t parts,
                             const CuPtr whole[TITAN_GEMM_PLACES], CuPtr to)
{
    const TitanGemm *g = &c->im->gemms[gemm->index];
    uint64_t rows = (uint64_t)g->m / parts;
    uint64_t made = rows * (uint64_t)g->n * titan_dtype_bytes(g->dtype_d);
    CuPtr at[TITAN_GEMM_PLACES];
    memcpy(at, whole, sizeof at);
    at[0] += i * rows * (uint64_t)g->a_row * titan_dtype_bytes(g->dtype_a);
    at[2] = to;
    at[3] = g->accumulate ? at[3] + i * made : to;
    return cuda_gemm(c, gemm, parts, at);
}

TitanStatus cuda_feeds_make(Cuda *c, const TitanCommand *gemm,
                            const CuPtr at[TITAN_GEMM_PLACES])
{
    const TitanCommand *of = cuda_feeds(c, gemm);
    const TitanCollective *x = &c->im->collectives[of->index];
    uint32_t n = cuda_feeds_parts(c, gemm), steps = cuda_feeds_steps(c, gemm);
    size_t bytes = collective_piece_bytes(x);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t parts = i == c->coordinates[x->group] ? 1 : steps;
        for (uint32_t k = 0; k < parts; k++)
            TRY(make_part(c, gemm, i * parts + k, n * parts, at,
                          at[2] + i * bytes + k * (bytes / parts)));
    }
    return TITAN_OK;
}

/* Those of another, which the exchange's stream takes TO its memory. */
static TitanStatus give_part(Cuda *c, const TitanCommand *gemm, uint32_t i,
                             const CuPtr at[TITAN_GEMM_PLACES], CuPtr to)
{
    const TitanCommand *of = cuda_feeds(c, gemm);
    const TitanCollective *x = &c->im->collectives[of->index];
    uint32_t steps = cuda_feeds_steps(c, gemm),
             parts = cuda_feeds_parts(c, gemm) * steps;
    size_t bytes = collective_piece_bytes(x), some = bytes / steps;
    CuPtr mine = at[2] + i * bytes;
    CuStream there = c->streams[of->stream];
    for (uint32_t k = 0; k < steps; k++) {
        TRY(make_part(c, gemm, i * steps + k, parts, at, mine + k * some));
        CU_TRY(c, cuEventRecord(c->peers->made, c->streams[gemm->stream]));
        CU_TRY(c, cuStreamWaitEvent(there, c->peers->made, 0));
        TRY(cuda_profile_early(c, of, false));
        CU_TRY(c, cuMemcpyAsync(to + k * some, mine + k * some, some, there));
        TRY(cuda_profile_early(c, of, true));
    }
    return tell_one(c, of, i, WORD_came);
}

/* From here on nothing else is where the exchange's result will be. */
TitanStatus cuda_peers_feed(Cuda *c, const TitanCommand *gemm,
                            const CuPtr at[TITAN_GEMM_PLACES], CuPtr to)
{
    const TitanCommand *of = cuda_feeds(c, gemm);
    const TitanCollective *x = &c->im->collectives[of->index];
    uint32_t n = ranks_in_group(c->im, x->group);
    uint32_t me = (uint32_t)c->coordinates[x->group];
    CuPtr mine = to + me * collective_piece_bytes(x);
    CuStream there = c->streams[of->stream];
    CU_TRY(c, cuEventRecord(c->peers->made, c->streams[gemm->stream]));
    CU_TRY(c, cuStreamWaitEvent(there, c->peers->made, 0));
    TRY(meet(c, of, WORD_open));
    for (uint32_t k = 1; k < n; k++) {
        uint32_t i = (me + k) % n;
        CuPtr arena = peer_of(c, x->group, i)->arena.at;
        TRY(give_part(c, gemm, i, at, arena + (mine - c->arena)));
    }
    return make_part(c, gemm, me, n, at, mine);
}

TitanStatus cuda_peers_come(Cuda *c, const TitanCommand *cmd)
{
    return hear(c, cmd, WORD_came);
}

/* -------------------------------------------------------------- the end -- */

static bool all_done(const Cuda *c)
{
    for (uint32_t i = 0; i < c->im->header->streams; i++)
        if (c->cu.cuStreamQuery(c->streams[i]) == CU_error_not_ready)
            return false;
    return cuda_beside_done(c);
}

/* Who is not there any more writes no words: they are written in its place,
 * again and again, as streams come to them. */
static void *write_words(void *user)
{
    const struct timespec nap = {0, 100000};
    Cuda *c = user;
    CuStream beside = NULL;
    if (c->cu.cuCtxSetCurrent(c->context) != 0 ||
        c->cu.cuStreamCreate(&beside, CU_stream_non_blocking) != 0)
        return NULL;
    while (!atomic_load(&c->peers->left) &&
           c->cu.cuMemsetD32Async(c->peers->words.at, 1, ENGINES_WORDS / 4,
                                  beside) == 0)
        nanosleep(&nap, NULL);
    c->cu.cuStreamDestroy(beside);
    return NULL;
}

void cuda_peers_leave(Cuda *c)
{
    CudaPeers *p = c->peers;
    if (!p || !p->words.at || p->leaving) return;
    p->leaving = pthread_create(&p->thread, NULL, write_words, c) == 0;
}

void cuda_peers_left(Cuda *c)
{
    const struct timespec nap = {0, 100000};
    CudaPeers *p = c->peers;
    double begin = seconds_now();
    if (!p || !p->leaving) return;
    while (!all_done(c) && seconds_now() - begin < GIVES_UP)
        nanosleep(&nap, NULL);
    atomic_store(&p->left, true);
    pthread_join(p->thread, NULL);
    p->leaving = false;
}

void cuda_peers_part(Cuda *c)
{
    const CudaPeers *p = c->peers;
    for (uint32_t r = 0; p && p->ranks && r < c->im->header->ranks; r++) {
        cuda_shared_close(c, &p->ranks[r].arena);
        cuda_shared_close(c, &p->ranks[r].words);
    }
}

void cuda_peers_close(Cuda *c)
{
    CudaPeers *p = c->peers;
    if (!p) return;
    for (uint32_t i = 0; i < TITAN_MOST_STREAMS; i++)
        if (p->room[i].at) c->cu.cuMemFree(p->room[i].at);
    cuda_shared_free(c, &p->words);
    if (p->made) c->cu.cuEventDestroy(p->made);
    free(p->ranks);
    free(p->groups);
    free(p);
    c->peers = NULL;
}
