/*
 * nccl.c: NCCL without a GPU, between processes.
 *
 * The members of a communicator share memory under the name that its id is:
 * a box for each pair, which one fills and the other empties, chunk by chunk.
 * A collective is a piece of work of the fake driver, of sends and receives and
 * perhaps a sum of what has come, in the order of the members; it is given up
 * when its communicator is.
 */
#include "fake.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "number.h"
#include "runtime/nccl.h"

#define NAME "/titan-fake-nccl-"

enum { BOX = 32 << 10, MOST = 16, LEAST_FLOAT = 6 };

typedef struct Box {
    _Atomic uint32_t filled, emptied;
    size_t bytes;
    char at[BOX];
} Box;

struct NcclCommRow {
    int n, me;
    Box *boxes; /* [from][to] */
    atomic_bool aborted;
    int registered; /* pieces of memory */
    bool sent;      /* something, when there were such */
};

/* What goes to a peer and comes from it. */
typedef struct Pair {
    const char *out;
    char *in;
    size_t sends, gets, sent, got;
} Pair;

typedef struct Work {
    NcclComm comm;
    Pair pairs[MOST];
    char *pieces; /* of all members, for a sum; or NULL */
    char *to;
    size_t count;
    int op, type;
} Work;

#define NCCL(name, ...) int name(__VA_ARGS__);
#include "runtime/nccl.def"
#undef NCCL
const char *ncclGetErrorString(int result);
const char *ncclGetLastError(NcclComm comm);

/* -------------------------------------------------------------- exchange -- */

static Box *box_of(NcclComm c, int from, int to)
{
    return &c->boxes[from * c->n + to];
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void fill(Box *b, Pair *p)
{
    if (p->sent == p->sends || b->filled != b->emptied) return;
    b->bytes = smaller(p->sends - p->sent, BOX);
    const char *from = fake_span((CuPtr)(p->out + p->sent), b->bytes, "NCCL");
    if (!from) return;
    memcpy(b->at, from, b->bytes);
    p->sent += b->bytes;
    b->filled++;
}

static void empty(Box *b, Pair *p)
{
    if (p->got == p->gets || b->filled == b->emptied) return;
    memcpy(fake_host((CuPtr)(p->in + p->got)), b->at, b->bytes);
    p->got += b->bytes;
    b->emptied++;
}

static size_t bytes_of(int type)
{
    static const size_t bytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
    return bytes[type];
}

static PtxType float_of(int type)
{
    static const PtxType floats[] = {
        [6] = PT_f16,  [7] = PT_f32,   [8] = PT_f64,
        [9] = PT_bf16, [10] = PT_e4m3, [11] = PT_e5m2};
    return floats[type];
}

/* In the order of the members, in f32 for narrower floats, rounded once. */
static double combine(const Work *w, PtxType t, size_t i)
{
    double all = number_at(t, w->pieces, i);
    for (int m = 1; m < w->comm->n; m++) {
        double x = number_at(t, w->pieces, (size_t)m * w->count + i);
        all = w->op == NCCL_sum ? all + x : x > all ? x : all;
        if (t != PT_f64) all = (double)(float)all;
    }
    return all;
}

/* Integers: all but the lowest bytes of a sum may be any. */
static int64_t integer_at(const Work *w, size_t i)
{
    size_t bytes = bytes_of(w->type);
    bool sign = w->type == 0 || w->type == 2 || w->type == 4;
    int64_t x = 0;
    memcpy(&x, w->pieces + i * bytes, bytes);
    int above = 64 - 8 * (int)bytes;
    return sign ? (int64_t)((uint64_t)x << above) >> above : x;
}

static int64_t combine_integers(const Work *w, size_t i)
{
    int64_t all = integer_at(w, i);
    for (int m = 1; m < w->comm->n; m++) {
        int64_t x = integer_at(w, (size_t)m * w->count + i);
        bool more = w->type == 5 ? (uint64_t)x > (uint64_t)all : x > all;
        if (w->op == NCCL_sum)
            all = (int64_t)((uint64_t)all + (uint64_t)x);
        else if (more)
            all = x;
    }
    return all;
}

static void add_up(const Work *w)
{
    size_t bytes = bytes_of(w->type);
    char *to = fake_span((CuPtr)w->to, w->count * bytes, "NCCL");
    for (size_t i = 0; to && i < w->count; i++) {
        if (w->type >= LEAST_FLOAT) {
            number_put(float_of(w->type), to, i,
                       combine(w, float_of(w->type), i));
            continue;
        }
        int64_t x = combine_integers(w, i);
        memcpy(to + i * bytes, &x, bytes);
    }
}

static bool get_on(void *data)
{
    Work *w = data;
    NcclComm c = w->comm;
    bool over = true;
    for (int i = 0; i < c->n && !c->aborted; i++) {
        Pair *p = &w->pairs[i];
        fill(box_of(c, c->me, i), p);
        empty(box_of(c, i, c->me), p);
        over = over && p->sent == p->sends && p->got == p->gets;
    }
    if (over && !c->aborted && w->pieces) add_up(w);
    return over || c->aborted;
}

/* To every member its piece of FROM, and of every member the piece at TO. */
static Work exchange(NcclComm c, const void *from, bool spread, void *to,
                     size_t bytes)
{
    Work w = {.comm = c};
    for (int i = 0; i < c->n; i++)
        w.pairs[i] =
            (Pair){.out = (const char *)from + (spread ? i * bytes : 0),
                   .in = (char *)to + i * bytes,
                   .sends = bytes,
                   .gets = bytes};
    return w;
}

static int put(const Work *w, CuStream stream)
{
    if (fake_fails("nccl")) return 1;
    fake_until(stream, get_on, w, sizeof *w);
    return NCCL_success;
}

/* The pieces are lost with the process. */
static int reduce(NcclComm c, const void *from, bool spread, void *to, size_t n,
                  int type, int op, CuStream stream)
{
    size_t bytes = n * bytes_of(type);
    char *pieces = malloc((size_t)c->n * bytes + 1);
    Work w = exchange(c, from, spread, pieces, bytes);
    w.pieces = pieces;
    w.to = to;
    w.count = n;
    w.type = type;
    w.op = op;
    return put(&w, stream);
}

/* ------------------------------------------------------------- the calls -- */

/* FAKE_NCCL: another version. */
int ncclGetVersion(int *version)
{
    const char *said = getenv("FAKE_NCCL");
    *version = said ? atoi(said) : 22809;
    return NCCL_success;
}

/* Before 2.23 it does to other ranks of its process, unless it is told not to;
 * what they have is not mapped there. */
static bool writes_straight(NcclId id, int rank)
{
    const char *no = getenv("NCCL_P2P_DIRECT_DISABLE");
    int version, pid = 0;
    ncclGetVersion(&version);
    sscanf(id.byte, NAME "%d", &pid);
    return version < 22300 && rank > 0 && pid == getpid() &&
           !(no && !strcmp(no, "1"));
}

/* Before 2.29.2 a collective behind something that was sent reads addresses
 * that there are not, where memory is registered. */
static bool is_lost(NcclComm comm)
{
    int version;
    ncclGetVersion(&version);
    return comm->registered && comm->sent && version < 22902;
}

const char *ncclGetErrorString(int result)
{
    return result == NCCL_success ? "no error" : "unhandled";
}

const char *ncclGetLastError(NcclComm comm)
{
    (void)comm;
    return "as asked for";
}

/* What is there of that name is of a process of the same number that was killed
 * before the others came. */
int ncclGetUniqueId(NcclId *id)
{
    static _Atomic int number;
    snprintf(id->byte, sizeof id->byte, NAME "%d-%d", (int)getpid(),
             FAKE_COUNT(number, 1));
    shm_unlink(id->byte);
    return NCCL_success;
}

/* The last to come takes the name away. */
int ncclCommInitRankConfig(NcclComm *comm, int n, NcclId id, int rank,
                           NcclConfig *config)
{
    size_t bytes = sizeof(Box) * ((size_t)n * n + 1);
    int fd = shm_open(id.byte, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || n > MOST || config->blocking) return 1;
    if (writes_straight(id, rank)) return 1;
    if (ftruncate(fd, (off_t)bytes) != 0) return 1;
    Box *boxes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (boxes == MAP_FAILED) return 1;
    if (atomic_fetch_add(&boxes[n * n].filled, 1) == (uint32_t)n - 1)
        shm_unlink(id.byte);
    fake_run_beside(); /* other members wait for what this one has to do */
    *comm = calloc(1, sizeof **comm);
    **comm = (struct NcclCommRow){.n = n, .me = rank, .boxes = boxes};
    return NCCL_success;
}

int ncclCommGetAsyncError(NcclComm comm, int *state)
{
    (void)comm;
    *state = NCCL_success;
    return NCCL_success;
}

int ncclCommRegister(NcclComm comm, void *at, size_t bytes, void **handle)
{
    (void)at;
    (void)bytes;
    if (fake_fails("register")) return 1;
    comm->registered++;
    FAKE_COUNT(fake_device()->registered, 1);
    *handle = &comm->registered;
    return NCCL_success;
}

int ncclCommDeregister(NcclComm comm, void *handle)
{
    if (handle != &comm->registered || comm->registered == 0) abort();
    comm->registered--;
    FAKE_COUNT(fake_device()->registered, -1);
    return NCCL_success;
}

/* Work that is pending may look at it still. */
int ncclCommAbort(NcclComm comm)
{
    comm->aborted = true;
    return NCCL_success;
}

int ncclCommDestroy(NcclComm comm)
{
    return ncclCommAbort(comm);
}

int ncclAllGather(const void *from, void *to, size_t n, int dtype,
                  NcclComm comm, CuStream stream)
{
    Work w = exchange(comm, from, false, to, n * bytes_of(dtype));
    return is_lost(comm) ? 1 : put(&w, stream);
}

int ncclReduceScatter(const void *from, void *to, size_t n, int dtype, int op,
                      NcclComm comm, CuStream stream)
{
    return reduce(comm, from, true, to, n, dtype, op, stream);
}

int ncclAllReduce(const void *from, void *to, size_t n, int dtype, int op,
                  NcclComm comm, CuStream stream)
{
    if (is_lost(comm)) return 1;
    return reduce(comm, from, false, to, n, dtype, op, stream);
}

/* Sends and receives of a group are one piece of work. */
static _Thread_local struct {
    int depth;
    CuStream stream;
    Work work;
} group;

static int add(NcclComm comm, int peer, Pair what, CuStream stream)
{
    int depth = group.depth;
    if (depth == 0) ncclGroupStart();
    Pair *p = &group.work.pairs[peer];
    group.work.comm = comm;
    comm->sent |= comm->registered > 0;
    group.stream = stream;
    if (what.out) p->out = what.out, p->sends = what.sends;
    if (what.in) p->in = what.in, p->gets = what.gets;
    return depth == 0 ? ncclGroupEnd() : NCCL_success;
}

int ncclSend(const void *from, size_t n, int dtype, int peer, NcclComm comm,
             CuStream stream)
{
    return add(comm, peer, (Pair){.out = from, .sends = n * bytes_of(dtype)},
               stream);
}

int ncclRecv(void *to, size_t n, int dtype, int peer, NcclComm comm,
             CuStream stream)
{
    return add(comm, peer, (Pair){.in = to, .gets = n * bytes_of(dtype)},
               stream);
}

int ncclGroupStart(void)
{
    if (group.depth++ == 0) group.work = (Work){0};
    return NCCL_success;
}

int ncclGroupEnd(void)
{
    if (--group.depth > 0 || !group.work.comm) return NCCL_success;
    return put(&group.work, group.stream);
}
