/* links: titan_runtime */
/*
 * ranks.c: what ranks do together.  Collectives of every kind on every group of
 * meshes of up to 2 x 2 x 2, between threads and between processes, are held
 * against a plain writing of what they mean; so are the parts of tensors.  As
 * `link`, started 2, 4 or 8 times by a launcher, the collectives between these.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/link.h"
#include "runtime/narrow.h"
#include "runtime/parts.h"
#include "runtime/transport.h"

enum { MOST = 8, GROUPS = 16 };

/* A mesh, and all groups of its axes in their order and backwards. */
typedef struct World {
    TitanImage im;
    TitanHeader header;
    TitanStage stage;
    TitanMeshAxis mesh[3];
    TitanGroup groups[GROUPS];
    TitanLevel levels[3 * GROUPS];
    TitanCollective op;
} World;

static void add_group(World *w, const uint32_t *axes, uint32_t n)
{
    TitanGroup *g = &w->groups[w->im.ngroups++];
    g->levels = (TitanRange){w->im.nlevels, n};
    for (uint32_t i = 0; i < n; i++)
        w->levels[w->im.nlevels++].mesh = axes[i];
}

static void make_world(World *w, const uint32_t *sizes, uint32_t n)
{
    *w = (World){.header.ranks = 1};
    w->im = (TitanImage){.header = &w->header,
                         .stages = &w->stage,
                         .nstages = 1,
                         .mesh = w->mesh,
                         .nmesh = n,
                         .groups = w->groups,
                         .levels = w->levels,
                         .collectives = &w->op,
                         .ncollectives = 1,
                         .strings = ""};
    for (uint32_t i = 0; i < n; i++) {
        w->mesh[i].size = sizes[i];
        w->header.ranks *= sizes[i];
    }
    for (uint32_t set = 1; set < 1u << n; set++) {
        uint32_t up[3], down[3], k = 0;
        for (uint32_t i = 0; i < n; i++)
            if (set >> i & 1) up[k++] = i;
        for (uint32_t i = 0; i < k; i++)
            down[i] = up[k - 1 - i];
        add_group(w, up, k);
        if (k > 1) add_group(w, down, k);
    }
}

/* --------------------------------------------------------- plain meaning -- */

/* The coordinates of a rank, row-major. */
static void plain_coordinates(const World *w, uint32_t rank, uint32_t *at)
{
    for (uint32_t i = w->im.nmesh; i-- > 0;) {
        at[i] = rank % w->mesh[i].size;
        rank /= w->mesh[i].size;
    }
}

/* The ranks of the group of RANK, in order. */
static uint32_t plain_group(const World *w, uint32_t group, uint32_t rank,
                            uint32_t *out)
{
    uint32_t mine[3], n = 1, found = 0;
    TitanRange l = w->groups[group].levels;
    plain_coordinates(w, rank, mine);
    for (uint32_t i = 0; i < l.n; i++)
        n *= w->mesh[w->levels[l.first + i].mesh].size;
    for (uint32_t m = 0; m < n; m++) {
        uint32_t want[3], left = m;
        memcpy(want, mine, sizeof want);
        for (uint32_t i = l.n; i-- > 0;) {
            uint32_t axis = w->levels[l.first + i].mesh;
            want[axis] = left % w->mesh[axis].size;
            left /= w->mesh[axis].size;
        }
        for (uint32_t r = 0; r < w->header.ranks; r++) {
            uint32_t at[3];
            plain_coordinates(w, r, at);
            if (memcmp(at, want, w->im.nmesh * sizeof *at) == 0)
                out[found++] = r;
        }
    }
    assert_int_equal(found, n);
    return n;
}

/* An element in the order of ranks, as f32 or as an integer or f64. */
static void plain_reduce(const World *w, const char *const *src, uint32_t n,
                         char *out)
{
    const TitanCollective *x = &w->op;
    unsigned size = titan_dtype_bytes(x->dtype);
    bool narrow = titan_dtype_is_float(x->dtype) && size < 8;
    double acc = narrow_load_one(x->dtype, src[0]);
    for (uint32_t i = 1; i < n; i++) {
        double v = narrow_load_one(x->dtype, src[i]);
        if (x->reduce == TITAN_REDUCE_max)
            acc = v > acc ? v : acc;
        else
            acc = narrow ? (double)((float)acc + (float)v) : acc + v;
    }
    narrow_store_one(x->dtype, acc, out);
}

/* What a rank's destination is; SRC: of all ranks. */
static void plain(const World *w, uint32_t rank, char *const *src, char *dst)
{
    const TitanCollective *x = &w->op;
    uint32_t ranks[MOST], me = 0, n = plain_group(w, x->group, rank, ranks);
    size_t size = titan_dtype_bytes(x->dtype), piece = (size_t)x->count * size;
    const char *from[MOST];
    while (ranks[me] != rank)
        me++;
    for (uint32_t i = 0; i < n; i++) {
        const char *other = src[ranks[i]];
        if (x->kind == TITAN_COLLECTIVE_all_gather)
            memcpy(dst + i * piece, other, piece);
        if (x->kind == TITAN_COLLECTIVE_all_to_all)
            memcpy(dst + i * piece, other + me * piece, piece);
        if (x->kind == TITAN_COLLECTIVE_permute &&
            (int64_t)me == ((int64_t)i + x->shift + 16 * (int64_t)n) % n)
            memcpy(dst, other, piece);
    }
    bool scatter = x->kind == TITAN_COLLECTIVE_reduce_scatter;
    if (!scatter && x->kind != TITAN_COLLECTIVE_all_reduce) return;
    for (size_t e = 0; e < piece; e += size) {
        for (uint32_t i = 0; i < n; i++)
            from[i] = src[ranks[i]] + e + (scatter ? me * piece : 0);
        plain_reduce(w, from, n, dst + e);
    }
}

/* --------------------------------------------------------------- running -- */

typedef enum How { THREADS, PROCESSES, LINK } How;

typedef struct Play {
    World w;
    Board *board;
    Hall *hall;
    char *memory; /* shared: each rank's source and destination */
    size_t each;  /* bytes of one of them */
    bool in_place;
    How how;
    Link *link;
} Play;

static char *source(const Play *p, uint32_t rank)
{
    return p->memory + 2 * rank * p->each;
}

static char *destination(const Play *p, uint32_t rank)
{
    return source(p, rank) + (p->in_place ? 0 : p->each);
}

static TitanStatus open_transport(Play *p, uint32_t rank, TitanStory *s,
                                  Transport **out)
{
    BoardWait wait = {.board = p->board, .rank = rank};
    if (p->how == LINK) return link_transport(s, &p->w.im, p->link, out);
    return hall_transport(s, p->hall, &wait, out);
}

static TitanStatus play_rank(Play *p, uint32_t rank)
{
    TitanStory story = {0};
    Transport *t;
    Collectives c;
    TRY(open_transport(p, rank, &story, &t));
    TRY(collectives_open(&c, t, NULL));
    TitanStatus st =
        collective_run(&c, &p->w.op, destination(p, rank), source(p, rank));
    /* a second one meets what the first has left */
    TitanCollective again = {.dtype = 0, .group = p->w.op.group, .count = 1};
    double one[MOST], mine = rank;
    if (st == TITAN_OK)
        st = collective_run(&c, &again, (char *)one, (const char *)&mine);
    collectives_close(&c);
    t->class->free(t);
    return st;
}

typedef struct Thread {
    Play *play;
    uint32_t rank;
    TitanStatus status;
} Thread;

static void *play_thread(void *user)
{
    Thread *t = user;
    t->status = play_rank(t->play, t->rank);
    return NULL;
}

static void play_threads(Play *p)
{
    pthread_t thread[MOST];
    Thread at[MOST];
    for (uint32_t r = 0; r < p->w.header.ranks; r++) {
        at[r] = (Thread){p, r, TITAN_OK};
        pthread_create(&thread[r], NULL, play_thread, &at[r]);
    }
    for (uint32_t r = 0; r < p->w.header.ranks; r++) {
        pthread_join(thread[r], NULL);
        assert_int_equal(at[r].status, TITAN_OK);
    }
}

static void play_processes(Play *p)
{
    pid_t pid[MOST];
    int status;
    for (uint32_t r = 0; r < p->w.header.ranks; r++) {
        pid[r] = fork();
        if (pid[r] == 0) _exit(play_rank(p, r));
    }
    for (uint32_t r = 0; r < p->w.header.ranks; r++) {
        waitpid(pid[r], &status, 0);
        assert_int_equal(status, 0);
    }
}

/* Small numbers, so that casts to narrow floats keep them apart. */
static void fill(const Play *p, uint32_t rank, size_t elements)
{
    unsigned size = titan_dtype_bytes(p->w.op.dtype);
    uint32_t x = rank * 977 + 5;
    for (size_t i = 0; i < elements; i++) {
        x = x * 1664525 + 1013904223;
        double v = titan_dtype_is_float(p->w.op.dtype)
                       ? (double)(x >> 16) / 9973.0
                       : (double)(x >> 27);
        narrow_store_one(p->w.op.dtype, v, source(p, rank) + i * size);
    }
}

static bool may_be_in_place(uint32_t kind)
{
    return kind == TITAN_COLLECTIVE_all_reduce ||
           kind == TITAN_COLLECTIVE_all_to_all ||
           kind == TITAN_COLLECTIVE_permute;
}

static void play_all(Play *p)
{
    if (p->how == THREADS)
        play_threads(p);
    else if (p->how == PROCESSES)
        play_processes(p);
    else
        assert_int_equal(play_rank(p, p->link->rank), TITAN_OK);
}

static void hold_against(Play *p, char *const *src, size_t bytes)
{
    char *want = calloc(1, p->each);
    for (uint32_t r = 0; r < p->w.header.ranks; r++) {
        if (p->how == LINK && r != p->link->rank) continue;
        plain(&p->w, r, src, want);
        if (memcmp(destination(p, r), want, bytes) != 0)
            fail_msg("%s of %s over group %u, count %d%s, rank %u",
                     collective_name(p->w.op.kind),
                     titan_dtype_name(p->w.op.dtype), p->w.op.group,
                     (int)p->w.op.count, p->in_place ? ", in place" : "", r);
    }
    free(want);
}

static void play(Play *p)
{
    uint32_t ranks = p->w.header.ranks;
    uint64_t pieces[2];
    collective_pieces(&p->w.im, &p->w.op, pieces);
    size_t piece = (size_t)p->w.op.count * titan_dtype_bytes(p->w.op.dtype);
    size_t out = pieces[0] * piece;
    char *src[MOST];
    TitanStory story = {0};
    p->each = MOST * piece + 64;
    p->memory = board_memory(2 * MOST * p->each);
    p->board = board_new(ranks);
    assert_int_equal(hall_new(&story, &p->w.im, p->board, &p->hall), TITAN_OK);
    for (uint32_t r = 0; r < ranks; r++) {
        fill(p, r, (size_t)p->w.op.count * pieces[1]);
        src[r] = malloc(p->each);
        memcpy(src[r], source(p, r), p->each);
    }
    play_all(p);
    hold_against(p, src, out);
    for (uint32_t r = 0; r < ranks; r++)
        free(src[r]);
    hall_free(p->hall);
    board_free(p->board);
    munmap(p->memory, 2 * MOST * p->each);
}

static void play_kinds(const uint32_t *sizes, How how, uint32_t dtype,
                       int64_t count, Link *link)
{
    Play p = {.how = how, .link = link};
    uint32_t n = 0;
    while (n < 3 && sizes[n] > 0)
        n++;
    make_world(&p.w, sizes, n);
    for (uint32_t g = 0; g < p.w.im.ngroups; g++)
        for (uint32_t k = 0; k <= TITAN_COLLECTIVE_permute; k++) {
            p.w.op = (TitanCollective){.kind = k,
                                       .dtype = dtype,
                                       .reduce = (g + k) % 2,
                                       .group = g,
                                       .count = count,
                                       .shift = g % 2 ? 1 : -1};
            p.in_place = false;
            play(&p);
            p.in_place = may_be_in_place(k);
            if (p.in_place) play(&p);
        }
}

enum { F64, F32, BF16, F16, E4M3, E5M2, I64, I32, U8 = 13 };

static void gives_what_is_meant(void **state)
{
    static const uint32_t line[3] = {2}, three[3] = {3}, square[3] = {2, 3},
                          cube[] = {2, 2, 2};
    static const uint32_t dtypes[] = {F64, F32, BF16, F16, E4M3, I64, I32, U8};
    (void)state;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        play_kinds(line, THREADS, dtypes[i], 5, NULL);
        play_kinds(square, i % 2 ? PROCESSES : THREADS, dtypes[i], 7, NULL);
    }
    play_kinds(three, PROCESSES, F32, 70001, NULL);
    play_kinds(line, THREADS, BF16, 300001, NULL);
    play_kinds(cube, THREADS, F32, 9001, NULL);
    play_kinds(cube, PROCESSES, F32, 3, NULL);
}

static void passes_nothing(void **state)
{
    static const uint32_t line[3] = {2};
    (void)state;
    play_kinds(line, THREADS, F32, 0, NULL);
}

/* ---------------------------------------------------------- end of a run -- */

static void *wait_for_nobody(void *user)
{
    Thread *t = user;
    t->status = play_rank(t->play, 0);
    return NULL;
}

static void ends_when_a_rank_does(void **state)
{
    static const uint32_t line[] = {2};
    (void)state;
    Play p = {.how = THREADS, .each = 4096};
    TitanStory story = {0};
    pthread_t thread;
    make_world(&p.w, line, 1);
    p.w.op = (TitanCollective){
        .kind = TITAN_COLLECTIVE_all_reduce, .dtype = F32, .count = 4};
    p.memory = board_memory(4 * p.each);
    p.board = board_new(2);
    assert_int_equal(hall_new(&story, &p.w.im, p.board, &p.hall), TITAN_OK);
    Thread t = {&p, 0, TITAN_OK};
    pthread_create(&thread, NULL, wait_for_nobody, &t);
    while (atomic_load(&p.board->rows[0].waits) != 2)
        usleep(1000);
    board_end(p.board, 1);
    pthread_join(thread, NULL);
    assert_int_equal(t.status, TITAN_RANK_LOST);
    hall_free(p.hall);
    board_free(p.board);
    munmap(p.memory, 4 * p.each);
}

/* ----------------------------------------------------------------- parts -- */

enum { WHOLE = 4096, OWN = 4096 };

/* A tensor of three axes, i16, its axes split as `splits` say. */
typedef struct Parted {
    World w;
    TitanAxis axes[3];
    TitanSplit splits[3];
    TitanPart parts[2];
    TitanSlot slot;
    int16_t whole[WHOLE], own[MOST][OWN];
} Parted;

typedef struct Copy {
    PartSink sink;
    Parted *p;
    uint32_t rank;
    bool back;
} Copy;

static TitanStatus copy(PartSink *sink, const PartRun *r)
{
    Copy *c = (Copy *)sink;
    char *own = (char *)c->p->own[c->rank] + r->own;
    char *whole = (char *)c->p->whole + r->whole;
    assert_true(r->own + r->bytes <= sizeof c->p->own[0]);
    if (r->pads && !c->back) memset(own, 0, r->bytes);
    if (r->pads) return TITAN_OK;
    assert_true(r->whole + r->bytes <= sizeof c->p->whole);
    memcpy(c->back ? whole : own, c->back ? own : whole, r->bytes);
    return TITAN_OK;
}

/* Where an index of an axis lies in a part on a rank, -1: elsewhere. */
static int64_t plain_index(const Parted *p, const TitanPart *part,
                           uint32_t axis, uint32_t rank, int64_t i)
{
    uint32_t at[3];
    int64_t size = p->axes[axis].size;
    plain_coordinates(&p->w, rank, at);
    if (part->n && axis == part->axis) {
        if (i < part->first || i >= part->first + part->n) return -1;
        i -= part->first;
        size = part->n;
    }
    for (uint32_t k = 0; k < part->splits.n; k++) {
        const TitanSplit *s = &p->splits[k];
        int64_t n = p->w.mesh[s->mesh].size, c = at[s->mesh];
        if (s->axis != axis) continue;
        if (s->spread == TITAN_SPREAD_zig) {
            int64_t cut = (size + 2 * n - 1) / (2 * n), which = i / cut;
            if (which == c) return i % cut;
            return which == 2 * n - 1 - c ? cut + i % cut : -1;
        }
        size = (size + n - 1) / n;
        if (i / size != c) return -1;
        i %= size;
    }
    return i;
}

static int64_t pieced(uint64_t piece, uint64_t pitch, int64_t i)
{
    if (piece == 0) return i;
    return i / (int64_t)piece * (int64_t)pitch + i % (int64_t)piece;
}

static int64_t plain_place(const Parted *p, const TitanPart *part,
                           uint32_t rank, const int64_t *at)
{
    int64_t i = 0;
    uint32_t mine[3];
    plain_coordinates(&p->w, rank, mine);
    if (p->w.im.nstages > 1 && part->stage != mine[0]) return -1;
    for (uint32_t a = 0; a < 3; a++) {
        int64_t own = plain_index(p, part, a, rank, at[a]);
        if (own < 0) return -1;
        i = i * part_axis_size(&p->w.im, part, a, p->axes[a].size) + own;
    }
    return (int64_t)part->offset / 2 + pieced(part->piece, part->pitch, i);
}

static void hold_against_plain(Parted *p)
{
    int64_t n = titan_elements(&p->w.im, p->slot.axes), seen = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at[3] = {i / (p->axes[1].size * p->axes[2].size),
                               i / p->axes[2].size % p->axes[1].size,
                               i % p->axes[2].size};
        int16_t value = p->whole[(int64_t)p->slot.offset / 2 +
                                 pieced(p->slot.piece, p->slot.pitch, i)];
        for (uint32_t k = 0; k < p->w.header.ranks * p->slot.parts.n; k++) {
            uint32_t r = k / p->slot.parts.n;
            int64_t place =
                plain_place(p, &p->parts[k % p->slot.parts.n], r, at);
            if (place < 0) continue;
            assert_int_equal(p->own[r][place], value);
            seen++;
        }
    }
    assert_true(seen >= n);
}

static void scatter(Parted *p, uint64_t from, uint64_t to)
{
    Tensor t = tensor_of_slot(&p->w.im, &p->slot);
    for (uint32_t r = 0; r < p->w.header.ranks; r++) {
        Copy c = {{copy}, p, r, false};
        PartAsk ask = {r, from, to, false};
        assert_int_equal(tensor_runs(&t, &ask, &c.sink), TITAN_OK);
    }
}

/* Goes to the parts in two halves, and comes back from the first that hold. */
static void try_parts(Parted *p)
{
    uint64_t bytes = (uint64_t)titan_slot_reach(&p->w.im, &p->slot) * 2;
    uint64_t from = p->slot.offset, to = from + bytes, mid = from + bytes / 3;
    Tensor t = tensor_of_slot(&p->w.im, &p->slot);
    int16_t before[WHOLE];
    memset(p->own, 0x77, sizeof p->own);
    for (int i = 0; i < WHOLE; i++)
        p->whole[i] = (int16_t)(i + 1);
    scatter(p, from, mid & ~UINT64_C(1));
    scatter(p, mid & ~UINT64_C(1), to);
    hold_against_plain(p);
    memcpy(before, p->whole, sizeof before);
    int64_t n = titan_elements(&p->w.im, p->slot.axes);
    for (int64_t i = 0; i < n; i++)
        p->whole[(int64_t)from / 2 + pieced(p->slot.piece, p->slot.pitch, i)] =
            -1;
    for (uint32_t r = 0; r < p->w.header.ranks; r++) {
        Copy c = {{copy}, p, r, true};
        PartAsk ask = {r, from, to, true};
        tensor_runs(&t, &ask, &c.sink);
    }
    assert_memory_equal(p->whole, before, sizeof before);
}

static void make_parted(Parted *p, const int64_t *size, const TitanSplit *s,
                        uint32_t nsplits)
{
    static const uint32_t cube[] = {2, 2, 2};
    *p = (Parted){0};
    make_world(&p->w, cube, 3);
    for (int i = 0; i < 3; i++)
        p->axes[i].size = size[i];
    for (uint32_t i = 0; i < nsplits; i++)
        p->splits[i] = s[i];
    p->parts[0] = (TitanPart){.offset = 32, .splits = {0, nsplits}};
    p->slot =
        (TitanSlot){.dtype = 8, .offset = 64, .axes = {0, 3}, .parts = {0, 1}};
    p->w.im.axes = p->axes;
    p->w.im.splits = p->splits;
    p->w.im.parts = p->parts;
    p->w.im.nparts = 2;
}

static void parts_lie_where_splits_say(void **state)
{
    static const int64_t sizes[][3] = {{4, 6, 8}, {3, 5, 7}, {1, 9, 2}};
    (void)state;
    static Parted p;
    for (int s = 0; s < 3; s++)
        for (uint32_t code = 0; code < 64; code++) {
            /* each mesh axis on one of three axes, or on none */
            TitanSplit splits[3];
            uint32_t n = 0;
            for (uint32_t m = 0; m < 3; m++) {
                uint32_t axis = code >> (2 * m) & 3;
                if (axis < 3)
                    splits[n++] = (TitanSplit){.axis = axis, .mesh = m};
            }
            make_parted(&p, sizes[s], splits, n);
            try_parts(&p);
            p.slot.piece = (uint64_t)(sizes[s][1] * sizes[s][2]);
            p.slot.pitch = p.slot.piece + 3;
            TitanPart *part = p.parts;
            part->piece = 1;
            for (uint32_t a = 1; a < 3; a++)
                part->piece *=
                    (uint64_t)part_axis_size(&p.w.im, part, a, p.axes[a].size);
            part->pitch = part->piece + 5;
            try_parts(&p);
        }
}

/* Two stages over the first mesh axis have what lies in front of an index and
 * the rest, or each has all; each part is split over the other mesh axes. */
static void stages_have_their_indices(void **state)
{
    static const int64_t size[] = {3, 5, 7};
    TitanStage stages[2] = {{.base_bytes = {4096}}, {.base_bytes = {4096}}};
    TitanStory story = {0};
    (void)state;
    static Parted p;
    for (uint32_t code = 0; code < 16 * 4; code++) {
        TitanSplit splits[2];
        uint32_t n = 0, axis = code >> 4;
        for (uint32_t m = 0; m < 2; m++)
            if ((code >> (2 * m) & 3) < 3)
                splits[n++] =
                    (TitanSplit){.axis = code >> (2 * m) & 3, .mesh = m + 1};
        make_parted(&p, size, splits, n);
        p.w.im.stages = stages;
        p.w.im.nstages = 2;
        p.parts[1] = p.parts[0];
        p.parts[1].stage = 1;
        p.parts[1].offset = 64;
        for (uint32_t k = 0; k < 2 && axis < 3; k++) {
            p.parts[k].axis = axis;
            p.parts[k].first = k ? 1 : 0;
            p.parts[k].n = k ? size[axis] - 1 : 1;
        }
        p.slot.parts.n = 2;
        Tensor t = tensor_of_slot(&p.w.im, &p.slot);
        assert_int_equal(parts_check(&story, "it", &t), TITAN_OK);
        try_parts(&p);
    }
}

static TitanStatus checked(uint32_t rehearses, uint32_t nsplits)
{
    static const int64_t size[] = {4, 4, 4};
    static const TitanSplit splits[] = {{.axis = 0}, {.axis = 0}, {.axis = 1}};
    static Parted p;
    TitanStage stage = {.base_bytes = {4096}};
    TitanStory story = {0};
    make_parted(&p, size, splits, nsplits);
    p.w.mesh[0].size = p.w.header.ranks = 2;
    p.w.im.nmesh = 1;
    p.w.im.ngroups = p.w.im.ncollectives = 0;
    p.w.im.nsplits = nsplits;
    p.w.header.strings_size = 1;
    p.w.header.rehearses = rehearses;
    p.w.im.stages = &stage;
    Tensor t = tensor_of_slot(&p.w.im, &p.slot);
    TRY(ranks_check(&story, &p.w.im));
    return parts_check(&story, "it", &t);
}

/* Two ranks play a power of two, and split no more often than that has mesh
 * axes; no others split twice. */
static void rehearsals_are_checked(void **state)
{
    (void)state;
    assert_int_equal(checked(0, 1), TITAN_OK);
    assert_int_equal(checked(0, 2), TITAN_BAD_DATA);
    assert_int_equal(checked(2, 1), TITAN_OK);
    assert_int_equal(checked(2, 2), TITAN_BAD_DATA);
    assert_int_equal(checked(4, 2), TITAN_OK);
    assert_int_equal(checked(4, 3), TITAN_BAD_DATA);
    assert_int_equal(checked(1u << 31, 3), TITAN_OK);
    assert_int_equal(checked(1, 1), TITAN_BAD_DATA);
    assert_int_equal(checked(6, 1), TITAN_BAD_DATA);
    assert_int_equal(checked(UINT32_MAX, 1), TITAN_BAD_DATA);
}

static void zig_gives_both_ends(void **state)
{
    static const int64_t sizes[][3] = {{2, 8, 3}, {2, 10, 3}, {1, 7, 1}};
    (void)state;
    static Parted p;
    for (int s = 0; s < 3; s++) {
        TitanSplit zig[] = {{.axis = 0, .mesh = 0},
                            {.axis = 1, .spread = TITAN_SPREAD_zig, .mesh = 1},
                            {.axis = 2, .mesh = 2}};
        make_parted(&p, sizes[s], zig, 3);
        try_parts(&p);
    }
}

/* Padded by a row of 2: whoever has none of it has zeros. */
static void pads_are_zeros(void **state)
{
    static const int64_t size[] = {2, 3, 2};
    static const TitanSplit split = {.axis = 1, .mesh = 0};
    (void)state;
    static Parted p;
    make_parted(&p, size, &split, 1);
    try_parts(&p);
    for (uint32_t r = 4; r < 8; r++)
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < 2; k++)
                assert_int_equal(p.own[r][16 + i * 4 + 2 + k], 0);
}

static int main_link(void)
{
    static const uint32_t meshes[][3] = {{2}, {2, 2}, {2, 2, 2}};
    TitanStory story = {0};
    Link *l;
    if (link_open(&story, 0, &l) != TITAN_OK) return 1;
    const uint32_t *mesh = meshes[l->ranks == 8 ? 2 : l->ranks == 4];
    play_kinds(mesh, LINK, BF16, 7, l);
    if (l->ranks < 8) play_kinds(mesh, LINK, F32, 70001, l);
    if (l->rank == 0) printf("%u ranks agree\n", l->ranks);
    link_close(l);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "link") == 0) return main_link();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_what_is_meant),
        cmocka_unit_test(passes_nothing),
        cmocka_unit_test(ends_when_a_rank_does),
        cmocka_unit_test(parts_lie_where_splits_say),
        cmocka_unit_test(stages_have_their_indices),
        cmocka_unit_test(rehearsals_are_checked),
        cmocka_unit_test(zig_gives_both_ends),
        cmocka_unit_test(pads_are_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
