/*
 * cuda_cupti.c: the times of a step's commands by CUPTI.
 *
 * While the step is captured CUPTI tells of each node that is made, which
 * belongs to the command that is walked then, and of its copy in the graph that
 * is launched.  What a GPU took for a node is that command's: from its first
 * node to its last one, apart from what is beside its stream.  Nothing is added
 * to the graph.
 *
 *     node -> launch, part          made while it is captured
 *     copy of it -> the same        made when the graph is instantiated
 *
 * A collective by copy engines begins when its stream has come to it and what
 * it waits for is there, and moves from its first copy on: between the two it
 * waits for other members.
 */
#include "cuda_profile.h"
#include "cupti.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A node and whose it is, or, of a copy, the node that it is one of. */
typedef struct Node {
    uint64_t node, of;
} Node;

typedef struct Nodes {
    Node *at;
    size_t n, cap;
} Nodes;

typedef struct Span {
    uint64_t begin, end; /* ns; 0: there is none */
} Span;

struct CudaCupti {
    CuptiListener listener;
    _Atomic uint64_t mark; /* whose a node is that is made now */
    Nodes made, copies;
    bool short_of;    /* there was no memory for one */
    Node *owners;     /* a table: by number of a node, 0: free */
    size_t room;      /* power of two */
    uint64_t *begins; /* of steps */
    size_t steps;
    bool watches;
};

/* ----------------------------------------------------------------- nodes -- */

static bool add_node(Nodes *list, uint64_t node, uint64_t of)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 4096;
        Node *more = realloc(list->at, cap * sizeof *more);
        if (!more) return false;
        list->at = more;
        list->cap = cap;
    }
    list->at[list->n++] = (Node){node, of};
    return true;
}

static void made(void *user, uint64_t node)
{
    CudaCupti *t = user;
    if (!add_node(&t->made, node, atomic_load(&t->mark))) t->short_of = true;
}

static void cloned(void *user, uint64_t node, uint64_t of)
{
    CudaCupti *t = user;
    if (!add_node(&t->copies, node, of)) t->short_of = true;
}

/* Its place, or the free one where it would be.  Numbers of several graphs have
 * the same lower halves: all bits go into the upper half of the product. */
static Node *owner_of(const CudaCupti *t, uint64_t node)
{
    size_t i = (size_t)(node * 0x9e3779b97f4a7c15u >> 32) & (t->room - 1);
    while (t->owners[i].node && t->owners[i].node != node)
        i = (i + 1) & (t->room - 1);
    return &t->owners[i];
}

/* CUPTI may say of a copy that it was made, too: whose it is counts. */
static bool find_owners(CudaCupti *t)
{
    for (t->room = 16; t->room < 2 * (t->made.n + t->copies.n);)
        t->room *= 2;
    t->owners = calloc(t->room, sizeof *t->owners);
    if (!t->owners) return false;
    for (size_t i = 0; i < t->made.n; i++)
        *owner_of(t, t->made.at[i].node) = t->made.at[i];
    for (size_t i = 0; i < t->copies.n; i++) {
        Node copy = t->copies.at[i], of = *owner_of(t, copy.of);
        if (of.node) *owner_of(t, copy.node) = (Node){copy.node, of.of};
    }
    return true;
}

void cuda_cupti_part(CudaCupti *t, uint32_t launch, CudaPart part)
{
    atomic_store(&t->mark, (uint64_t)launch * PART_COUNT + part);
}

CudaCupti *cuda_cupti_new(char *why, size_t size)
{
    CudaCupti *t = calloc(1, sizeof *t);
    snprintf(why, size, "no memory");
    if (!t) return NULL;
    if (!cupti_open(why, size)) {
        free(t);
        return NULL;
    }
    t->watches = cupti_watch(why, size);
    if (t->watches) return t;
    cuda_cupti_free(t);
    return NULL;
}

void cuda_cupti_free(CudaCupti *t)
{
    if (!t) return;
    cuda_cupti_rest(t);
    cupti_close();
    free(t->made.at);
    free(t->copies.at);
    free(t->owners);
    free(t->begins);
    free(t);
}

void cuda_cupti_about(char *out, size_t size)
{
    uint32_t v = cupti_version();
    snprintf(out, size, "CUPTI %" PRIu32 ".%" PRIu32, v / 10000, v / 100 % 100);
}

bool cuda_cupti_listen(CudaCupti *t, char *why, size_t size)
{
    t->listener = (CuptiListener){.made = made, .cloned = cloned, .user = t};
    return cupti_listen(&t->listener, why, size);
}

bool cuda_cupti_heard(CudaCupti *t, char *why, size_t size)
{
    cupti_ignore(&t->listener);
    snprintf(why, size, "CUPTI says nothing of a graph's nodes");
    if (t->made.n == 0) return false;
    snprintf(why, size, "no memory");
    return !t->short_of && find_owners(t);
}

/* ----------------------------------------------------------------- steps -- */

TitanStatus cuda_cupti_begin(Cuda *c)
{
    CudaCupti *t = c->profile->cupti;
    char why[160];
    uint64_t *more = realloc(t->begins, (t->steps + 1) * sizeof *more);
    if (!more) return titan_no_memory(c->story);
    t->begins = more;
    if (!t->watches) t->watches = cupti_watch(why, sizeof why);
    if (!t->watches)
        return titan_fail(c->story, TITAN_UNAVAILABLE, "--profile: %s", why);
    t->begins[t->steps++] = cupti_now();
    return TITAN_OK;
}

void cuda_cupti_end(void)
{
    cupti_collect(false);
}

void cuda_cupti_rest(CudaCupti *t)
{
    if (!t->watches) return;
    cupti_collect(false);
    cupti_rest();
    t->watches = false;
}

/* ----------------------------------------------------------------- times -- */

/* Of the times that are kept, those of one step. */
typedef struct Reading {
    const CudaCupti *t;
    uint64_t from, to;         /* what begins between */
    Span (*spans)[PART_COUNT]; /* by launch; NULL: they are counted */
    Span *busy;                /* of all that runs, and how many have room */
    size_t n, most;
} Reading;

static void take_time(void *user, const CuptiTime *time)
{
    Reading *r = user;
    const Node *of = owner_of(r->t, time->node);
    if (!of->node || time->begin < r->from || time->begin >= r->to) return;
    if (r->spans && r->n < r->most) {
        Span *s = &r->spans[of->of / PART_COUNT][of->of % PART_COUNT];
        if (!s->begin || time->begin < s->begin) s->begin = time->begin;
        if (time->end > s->end) s->end = time->end;
        r->busy[r->n] = (Span){time->begin, time->end};
    }
    r->n++;
}

bool cuda_cupti_any(const CudaCupti *t)
{
    Reading r = {.t = t, .to = UINT64_MAX};
    cupti_times(take_time, &r);
    return r.n > 0;
}

static int by_begin(const void *a, const void *b)
{
    const Span *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static double ms_of(uint64_t ns)
{
    return (double)ns * 1e-6;
}

/* From the first to the last, and what of it is without anything. */
static void read_step(CudaProfile *p, Reading *r)
{
    uint64_t end = 0;
    qsort(r->busy, r->n, sizeof *r->busy, by_begin);
    p->begin = end = r->busy[0].begin;
    for (size_t i = 0; i < r->n; i++) {
        const Span *s = &r->busy[i];
        if (s->begin > end) p->idle_ms += ms_of(s->begin - end);
        if (s->end > end) end = s->end;
    }
    p->step_ms += ms_of(end - p->begin);
}

static Interval interval(const CudaProfile *p, Span s)
{
    if (!s.begin) return (Interval){0};
    return (Interval){true, ms_of(s.begin - p->begin), ms_of(s.end - s.begin)};
}

static uint64_t later(uint64_t x, uint64_t y)
{
    return x > y ? x : y;
}

/* When streams have done what they were asked for so far, and what is beside
 * them; and when events were reached. */
typedef struct Reached {
    uint64_t stream[TITAN_MOST_STREAMS], beside[TITAN_MOST_STREAMS];
    uint64_t *event; /* by number */
} Reached;

/* Returns when the stream is ready for the launch. */
static uint64_t reach(Reached *at, const Launch *l,
                      const Span spans[PART_COUNT])
{
    const TitanCommand *cmd = l->command;
    uint64_t *stream = &at->stream[cmd->stream],
             *beside = &at->beside[cmd->stream];
    if (l->joins) *stream = later(*stream, *beside);
    uint64_t ready = *stream;
    if (cmd->kind == TITAN_COMMAND_wait)
        *stream = later(*stream, at->event[cmd->index]);
    if (cmd->kind == TITAN_COMMAND_signal)
        at->event[cmd->index] = later(*stream, *beside);
    *stream = later(*stream, spans[PART_own].end);
    *beside =
        later(*beside, later(spans[PART_adds].end, spans[PART_copies].end));
    return ready;
}

static void set_times(CudaProfile *p, Launch *l, Span spans[PART_COUNT],
                      uint64_t ready)
{
    Span *own = &spans[PART_own];
    bool waits = l->meets && own->begin && ready >= p->begin;
    l->waits = 0;
    if (waits && ready < own->begin) {
        l->waits = ms_of(own->begin - ready);
        own->begin = ready;
    }
    l->own = interval(p, *own);
    l->adds = interval(p, spans[PART_adds]);
    l->copies = interval(p, spans[PART_copies]);
}

static bool misses(const Launch *l)
{
    const TitanCommand *cmd = l->command;
    bool has = cmd->kind == TITAN_COMMAND_gemm ||
               (cmd->kind == TITAN_COMMAND_kernel && cmd->items > 0);
    return has && !l->own.there;
}

static void set_launches(Cuda *c, Reading *r, Reached *at)
{
    CudaProfile *p = c->profile;
    p->missed = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        Launch *l = &p->launches[i];
        uint64_t ready = reach(at, l, r->spans[i]);
        set_times(p, l, r->spans[i], ready);
        p->missed += misses(l);
        cuda_profile_count(c, l);
    }
}

/* A step of which there is nothing is left out. */
static TitanStatus read_one(Cuda *c, Reading *r)
{
    Reached at = {
        .event = calloc((size_t)c->im->header->events + 1, sizeof *at.event)};
    cupti_times(take_time, r);
    r->most = r->n;
    r->n = 0;
    r->spans = calloc((size_t)c->profile->n + 1, sizeof *r->spans);
    r->busy = malloc((r->most + 1) * sizeof *r->busy);
    bool room = at.event && r->spans && r->busy;
    if (room) cupti_times(take_time, r);
    if (room && r->n > 0) {
        r->n = r->n < r->most ? r->n : r->most;
        read_step(c->profile, r);
        set_launches(c, r, &at);
        c->profile->steps++;
    }
    free(at.event);
    free(r->spans);
    free(r->busy);
    return room ? TITAN_OK : titan_no_memory(c->story);
}

TitanStatus cuda_cupti_read(Cuda *c)
{
    CudaProfile *p = c->profile;
    const CudaCupti *t = p->cupti;
    cupti_collect(true);
    p->steps = 0;
    p->step_ms = p->idle_ms = 0;
    memset(p->rows, 0, c->im->ncommands * sizeof *p->rows);
    for (size_t i = 0; i < t->steps; i++) {
        bool last = i + 1 == t->steps;
        TRY(read_one(c,
                     &(Reading){.t = t,
                                .from = i ? t->begins[i] : 0,
                                .to = last ? UINT64_MAX : t->begins[i + 1]}));
    }
    if (p->steps) return TITAN_OK;
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "--profile: CUPTI has said nothing of a step; "
                      "TITAN_CUPTI=none times by events");
}
