/*
 * streams.c: the driver without a GPU: streams, events and graphs.
 *
 * All streams of a GPU share one order, the order of the calls, which is one
 * that every stream allows; a stream with nothing before it, that has never
 * waited, may fill memory ahead of the others.  Work stands in a list until
 * somebody waits.  A thread has the GPU whose context is its current one, and
 * at first the first.  Each GPU has a lock of its own, so that what threads of
 * several ranks do is in an order with each other only where the runtime, or a
 * word that one writes and the other waits for, makes one.
 *
 * Of a capture it is known what comes behind what: a stream is in one that has
 * waited for an event of it, and when it ends the first stream has come behind
 * all that the others have been asked for.  Two copies or sums that write what
 * the other has come one behind the other.
 */
#include "driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Node {
    struct Node *next;
    CuStream stream;
    void (*run)(const void *data);
    bool (*poll)(void *data); /* instead of it: until it is true */
    FakeKind kind;
    uint64_t made, launched; /* its number as it is captured; of its copy */
    size_t bytes;
    _Alignas(16) char data[];
} Node;

struct CuGraphRow {
    Node *first, *last;
    _Atomic unsigned users;
};

struct CuEventRow {
    int number;
    uint64_t us;
    _Atomic int pending; /* records that are not done */
    unsigned capture;    /* it was recorded in; 0: in none */
    unsigned external;   /* as capture, for whom to read it behind the graph */
    Clock clock;
};

/* What a captured command has to do with. */
typedef struct Touch {
    CuPtr at;
    size_t n;
    bool writes;
    unsigned row, number; /* its stream's, and its own there */
} Touch;

enum { UNJOINED = 904, CAPTURED = 907, RACE = 999 }; /* results */

/* Of a GPU.  Who waits for a copy may be another thread than the one that asks
 * for work. */
typedef struct Line {
    pthread_mutex_t lock;
    struct CuGraphRow *capturing;
    unsigned captures, members; /* so far; streams in the last of them */
    Clock captured;             /* by them */
    Touch *touches;
    size_t ntouches;
    bool race;
    struct CuGraphRow pending; /* work that nobody has waited for */
    bool beside;               /* it is done while nobody waits, too */
    _Atomic unsigned calls, launches;
    _Atomic CuResult fault;
    atomic_bool leaving;
} Line;

static Line lines[FAKE_GPUS];
static pthread_once_t has_locks = PTHREAD_ONCE_INIT;
static _Thread_local Line *current;
static _Atomic int streams, events;
static _Atomic uint64_t numbers; /* of nodes, so far */
static const FakeWatch *_Atomic watcher;

static Line *line(void)
{
    return current ? current : &lines[0];
}

static void make_locks(void)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    for (int i = 0; i < FAKE_GPUS; i++)
        pthread_mutex_init(&lines[i].lock, &recursive);
}

static Line *hold(void)
{
    pthread_once(&has_locks, make_locks);
    pthread_mutex_lock(&line()->lock);
    return line();
}

static void let_go(Line **held)
{
    pthread_mutex_unlock(&(*held)->lock);
}

/* The thread's GPU, until the end of the block. */
#define HOLD(name) __attribute__((cleanup(let_go))) Line *name = hold()

CuContext fake_context(CuDevice gpu)
{
    return (CuContext)(void *)&lines[gpu];
}

void fake_use(CuContext context)
{
    current = (Line *)(void *)context;
}

int fake_gpu(void)
{
    return (int)(line() - lines);
}

unsigned fake_count_call(void)
{
    return FAKE_COUNT(line()->calls, 1) + 1;
}

unsigned fake_count_launch(void)
{
    return FAKE_COUNT(line()->launches, 1) + 1;
}

void fake_fault(CuResult fault)
{
    line()->fault = fault;
}

CuResult fake_faulted(void)
{
    return line()->fault;
}

void fake_leave(void)
{
    line()->leaving = true;
}

bool fake_is_leaving(void)
{
    return line()->leaving;
}

/* ----------------------------------------------------------------- order -- */

static void join_capture(Line *l, CuStream stream)
{
    if (stream->capture == l->captures) return;
    stream->capture = l->captures;
    stream->row = l->members++ % FAKE_CAPTURED;
    stream->clock = (Clock){{0}};
}

static void come_behind(Clock *x, const Clock *y)
{
    for (int i = 0; i < FAKE_CAPTURED; i++)
        if (y->at[i] > x->at[i]) x->at[i] = y->at[i];
}

static bool is_captured(const Line *l, const struct CuStreamRow *stream)
{
    return l->capturing && stream && stream->capture == l->captures;
}

static void count_captured(Line *l, CuStream stream)
{
    if (is_captured(l, stream))
        stream->clock.at[stream->row] = ++l->captured.at[stream->row];
}

static bool races(const Touch *x, const Touch *y, const Clock *now)
{
    return (x->writes || y->writes) && x->at < y->at + y->n &&
           y->at < x->at + x->n && now->at[x->row] < x->number;
}

void fake_touch(CuStream stream, CuPtr at, size_t n, bool writes)
{
    HOLD(l);
    if (!is_captured(l, stream)) return;
    Touch t = {at, n, writes, stream->row, stream->clock.at[stream->row]};
    for (size_t i = 0; i < l->ntouches; i++)
        l->race |= races(&l->touches[i], &t, &stream->clock);
    l->touches = realloc(l->touches, (l->ntouches + 1) * sizeof t);
    l->touches[l->ntouches++] = t;
}

/* ------------------------------------------------------------------ work -- */

static void release_graph(CuGraph g)
{
    if (!g || --g->users > 0) return;
    for (Node *n = g->first; n;) {
        Node *next = n->next;
        free(n);
        n = next;
    }
    free(g);
}

/* False: it waits for somebody else. */
static bool do_node(Node *n)
{
    if (fake_faulted()) return true;
    if (n->poll) return n->poll(n->data);
    n->run(n->data);
    return true;
}

/* Does the first piece that is pending, if it can be done.  False: it cannot.
 */
static bool do_one(void)
{
    HOLD(l);
    Node *node = l->pending.first;
    if (!node) return true;
    if (!do_node(node)) return false;
    l->pending.first = node->next;
    if (!l->pending.first) l->pending.last = NULL;
    free(node);
    return true;
}

/* NULL: of any. */
static bool is_pending(CuStream stream)
{
    HOLD(l);
    const Node *n = l->pending.first;
    while (n && stream && n->stream != stream)
        n = n->next;
    return n;
}

static void finish(CuStream stream)
{
    const struct timespec nap = {0, 100000};
    while (is_pending(stream))
        if (!do_one()) nanosleep(&nap, NULL);
}

void fake_finish(void)
{
    finish(NULL);
}

static void *run_beside(void *user)
{
    const struct timespec nap = {0, 100000};
    for (current = user;; nanosleep(&nap, NULL))
        do_one();
    return user;
}

void fake_run_beside(void)
{
    pthread_t thread;
    HOLD(l);
    if (l->beside) return;
    l->beside = true;
    pthread_create(&thread, NULL, run_beside, l);
}

static Node *new_node(CuStream stream, const void *data, size_t bytes)
{
    Node *node = calloc(1, sizeof *node + bytes);
    node->stream = stream;
    node->bytes = bytes;
    memcpy(node->data, data, bytes);
    return node;
}

void fake_watch(const FakeWatch *w)
{
    watcher = w;
}

static void number(CuGraph graph, Node *node)
{
    const FakeWatch *w = watcher;
    node->made = FAKE_COUNT(numbers, 1) + 1;
    if (w) w->made(graph, &node->made);
}

static void append(Node *node)
{
    HOLD(l);
    struct CuGraphRow *to = l->capturing ? l->capturing : &l->pending;
    if (l->capturing) number(l->capturing, node);
    count_captured(l, node->stream);
    if (to->last)
        to->last->next = node;
    else
        to->first = node;
    to->last = node;
}

void fake_work_of(FakeKind kind, CuStream stream, void (*run)(const void *data),
                  const void *data, size_t n)
{
    Node *node = new_node(stream, data, n);
    node->run = run;
    node->kind = kind;
    append(node);
}

void fake_work(CuStream stream, void (*run)(const void *data), const void *data,
               size_t n)
{
    fake_work_of(FAKE_kernel, stream, run, data, n);
}

static void wait_until(FakeKind kind, CuStream stream, bool (*poll)(void *data),
                       const void *data, size_t n)
{
    Node *node = new_node(stream, data, n);
    node->poll = poll;
    node->kind = kind;
    append(node);
}

void fake_until(CuStream stream, bool (*poll)(void *data), const void *data,
                size_t n)
{
    wait_until(FAKE_kernel, stream, poll, data, n);
}

bool fake_is_free(CuStream stream)
{
    HOLD(l);
    return !l->capturing && stream && !stream->waits && !is_pending(stream);
}

void fake_streams_reset(void)
{
    fake_finish();
    HOLD(l);
    release_graph(l->capturing);
    l->capturing = NULL;
    l->leaving = false;
    l->fault = 0;
    streams = events = 0;
}

/* ----------------------------------------------------------------- calls -- */

CuResult cuStreamCreate(CuStream *stream, unsigned flags)
{
    BEGIN();
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    (*stream)->number = FAKE_COUNT(streams, 1);
    return 0;
}

CuResult cuStreamCreateWithPriority(CuStream *stream, unsigned flags,
                                    int priority)
{
    (void)priority;
    return cuStreamCreate(stream, flags);
}

CuResult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    BEGIN();
    *least = 0;
    *greatest = -5;
    return 0;
}

CuResult cuStreamDestroy(CuStream stream)
{
    free(stream);
    return 0;
}

static bool is_capturing(void)
{
    HOLD(l);
    return l->capturing;
}

CuResult cuStreamSynchronize(CuStream stream)
{
    BEGIN();
    if (is_capturing()) return 900;
    finish(stream);
    return fake_faulted();
}

CuResult cuStreamQuery(CuStream stream)
{
    BEGIN();
    do_one();
    return is_pending(stream) ? CU_error_not_ready : fake_faulted();
}

typedef struct Word {
    CuPtr at;
    uint32_t value;
} Word;

static _Atomic uint32_t *word_at(CuPtr at)
{
    return fake_host(at);
}

/* What comes behind a wait for it comes behind what is in front of it. */
void fake_put(CuPtr at, uint32_t word)
{
    atomic_store_explicit(word_at(at), word, memory_order_release);
}

static void write_word(const void *data)
{
    const Word *w = data;
    fake_put(w->at, w->value);
}

CuResult cuStreamWriteValue32(CuStream stream, CuPtr at, uint32_t value,
                              unsigned flags)
{
    BEGIN();
    fake_work_of(FAKE_none, stream, write_word, &(Word){at, value},
                 sizeof(Word));
    return flags ? 1 : 0;
}

static bool has_word(void *data)
{
    const Word *w = data;
    return atomic_load_explicit(word_at(w->at), memory_order_acquire) ==
           w->value;
}

CuResult cuStreamWaitValue32(CuStream stream, CuPtr at, uint32_t value,
                             unsigned flags)
{
    BEGIN();
    wait_until(FAKE_none, stream, has_word, &(Word){at, value}, sizeof(Word));
    return flags != CU_wait_equal;
}

static void nothing(const void *data)
{
    (void)data;
}

CuResult cuStreamWaitEvent(CuStream stream, CuEvent event, unsigned flags)
{
    BEGIN();
    HOLD(l);
    (void)flags;
    if (event->capture && !(l->capturing && event->capture == l->captures))
        return CAPTURED;
    if (event->capture) {
        join_capture(l, stream);
        come_behind(&stream->clock, &event->clock);
    }
    stream->waits = true;
    /* it is pending as long as what is in front of that event */
    if (!l->capturing) fake_work_of(FAKE_none, stream, nothing, &flags, 1);
    fake_log("stream %d waits for event %d\n", stream->number, event->number);
    return 0;
}

CuResult cuStreamBeginCapture(CuStream stream, int mode)
{
    (void)mode;
    BEGIN();
    HOLD(l);
    l->capturing = calloc(1, sizeof *l->capturing);
    l->capturing->users = 1;
    l->captures++;
    l->members = 0;
    l->ntouches = 0;
    l->race = false;
    l->captured = (Clock){{0}};
    join_capture(l, stream);
    fake_log("capture\n");
    return 0;
}

CuResult cuStreamEndCapture(CuStream stream, CuGraph *graph)
{
    BEGIN();
    HOLD(l);
    bool joined = !memcmp(&stream->clock, &l->captured, sizeof l->captured);
    *graph = l->capturing;
    l->capturing = NULL;
    if (l->race) fprintf(stderr, "fake driver: a race within a graph\n");
    if (joined && !l->race) return 0;
    release_graph(*graph);
    *graph = NULL;
    return l->race ? RACE : UNJOINED;
}

CuResult cuGraphGetNodes(CuGraph graph, void *nodes, size_t *n)
{
    BEGIN();
    (void)nodes;
    *n = 0;
    for (const Node *at = graph->first; at; at = at->next)
        ++*n;
    return 0;
}

CuResult cuGraphInstantiate(CuGraphExec *exec, CuGraph graph,
                            unsigned long long flags)
{
    (void)flags;
    BEGIN();
    const FakeWatch *w = watcher;
    for (Node *n = graph->first; n; n = n->next) {
        n->launched = FAKE_COUNT(numbers, 1) + 1;
        if (w) w->made(graph, &n->launched);
        if (w) w->cloned(graph, &n->launched, &n->made);
    }
    fake_log("instantiate\n");
    FAKE_COUNT(fake_device()->graphs, 1);
    graph->users++;
    *exec = (CuGraphExec)(void *)graph;
    return 0;
}

/* A launch, its next node, and what that has made of its data. */
typedef struct Launched {
    CuGraph graph;
    Node *next, *copy;
    uint64_t since; /* when the copy was made */
    bool begun;
} Launched;

/* A node is done on a copy, since the graph is launched again. */
static bool do_next(Launched *l)
{
    size_t bytes = sizeof *l->next + l->next->bytes;
    if (!l->copy) {
        l->copy = malloc(bytes);
        memcpy(l->copy, l->next, bytes);
        l->since = fake_device()->us;
    }
    if (!do_node(l->copy)) return false;
    const FakeWatch *w = watcher;
    if (w && l->next->kind != FAKE_none)
        w->done(l->next->kind, l->next->launched, l->since, fake_device()->us);
    free(l->copy);
    l->copy = NULL;
    l->next = l->next->next;
    return true;
}

static bool run_graph(void *data)
{
    Launched *l = data;
    if (!l->begun) {
        fake_log("graph\n");
        l->next = l->graph->first;
        l->begun = true;
    }
    while (l->next)
        if (!do_next(l)) return false;
    release_graph(l->graph);
    return true;
}

/* FAKE_FULL: where there is never room for more, a launch waits until it is
 * over. */
CuResult cuGraphLaunch(CuGraphExec exec, CuStream stream)
{
    BEGIN();
    CuGraph g = (CuGraph)(void *)exec;
    g->users++;
    fake_until(stream, run_graph, &(Launched){.graph = g}, sizeof(Launched));
    if (getenv("FAKE_FULL")) fake_finish();
    return 0;
}

CuResult cuGraphDestroy(CuGraph graph)
{
    release_graph(graph);
    return 0;
}

CuResult cuGraphExecDestroy(CuGraphExec exec)
{
    FAKE_COUNT(fake_device()->graphs, -1);
    release_graph((CuGraph)(void *)exec);
    return 0;
}

CuResult cuEventCreate(CuEvent *event, unsigned flags)
{
    BEGIN();
    (void)flags;
    *event = calloc(1, sizeof **event);
    (*event)->number = FAKE_COUNT(events, 1);
    return 0;
}

static bool would_be_recorded(const struct CuEventRow *event)
{
    HOLD(l);
    return l->capturing && event->external == l->captures;
}

/* A graph that is being captured would record it. */
CuResult cuEventDestroy(CuEvent event)
{
    if (would_be_recorded(event)) return 1;
    if (event->pending > 0) fake_finish();
    free(event);
    return 0;
}

static void record(const void *data)
{
    CuEvent e = *(const CuEvent *)data;
    e->us = fake_device()->us;
    e->pending--;
}

CuResult cuEventRecord(CuEvent event, CuStream stream)
{
    BEGIN();
    HOLD(l);
    event->capture = l->capturing ? l->captures : 0;
    if (l->capturing) {
        event->clock = stream->clock;
        fake_log("event %d on stream %d\n", event->number, stream->number);
        return 0;
    }
    event->pending++;
    fake_work_of(FAKE_none, stream, record, &event, sizeof event);
    return 0;
}

CuResult cuEventRecordWithFlags(CuEvent event, CuStream stream, unsigned flags)
{
    BEGIN();
    HOLD(l);
    if (l->capturing) event->external = l->captures;
    fake_work_of(FAKE_none, stream, record, &event, sizeof event);
    return flags == CU_event_record_external ? 0 : 1;
}

CuResult cuEventQuery(CuEvent event)
{
    BEGIN();
    if (event->pending > 0) do_one();
    if (fake_faulted()) return fake_faulted();
    return event->pending > 0 ? CU_error_not_ready : 0;
}

CuResult cuEventSynchronize(CuEvent event)
{
    const struct timespec nap = {0, 100000};
    BEGIN();
    while (event->pending > 0 && is_pending(NULL))
        if (!do_one()) nanosleep(&nap, NULL);
    return fake_faulted();
}

CuResult cuEventElapsedTime(float *milliseconds, CuEvent from, CuEvent to)
{
    BEGIN();
    *milliseconds = (float)(to->us - from->us) / 1000;
    return 0;
}
