/*
 * streams.c: the driver without a GPU: streams, events and graphs.
 *
 * All streams of a GPU share one order, the order of the calls, which is one
 * that every stream allows; a stream with nothing before it, that has never
 * waited, may fill memory ahead of the others.  Work stands in a list until
 * somebody waits.  A thread has the GPU whose context is its current one, and
 * at first the first.
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
    size_t bytes;
    _Alignas(16) char data[];
} Node;

struct CuGraphRow {
    Node *first, *last;
    unsigned users;
};

struct CuEventRow {
    int number;
    double ms;
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

/* Of a GPU. */
typedef struct Line {
    struct CuGraphRow *capturing;
    unsigned captures, members; /* so far; streams in the last of them */
    Clock captured;             /* by them */
    Touch *touches;
    size_t ntouches;
    bool race;
    struct CuGraphRow pending; /* work that nobody has waited for */
    bool beside;               /* it is done while nobody waits, too */
} Line;

static Line lines[FAKE_GPUS];
static _Thread_local Line *current;
static int streams, events;

static Line *line(void)
{
    return current ? current : &lines[0];
}

CuContext fake_context(CuDevice gpu)
{
    return (CuContext)(void *)&lines[gpu];
}

void fake_use(CuContext context)
{
    current = (Line *)(void *)context;
}

/* ----------------------------------------------------------------- order -- */

static void join_capture(CuStream stream)
{
    if (stream->capture == line()->captures) return;
    stream->capture = line()->captures;
    stream->row = line()->members++ % FAKE_CAPTURED;
    stream->clock = (Clock){{0}};
}

static void come_behind(Clock *x, const Clock *y)
{
    for (int i = 0; i < FAKE_CAPTURED; i++)
        if (y->at[i] > x->at[i]) x->at[i] = y->at[i];
}

static void count_captured(CuStream stream)
{
    if (!line()->capturing || !stream || stream->capture != line()->captures)
        return;
    stream->clock.at[stream->row] = ++line()->captured.at[stream->row];
}

static bool races(const Touch *x, const Touch *y, const Clock *now)
{
    return (x->writes || y->writes) && x->at < y->at + y->n &&
           y->at < x->at + x->n && now->at[x->row] < x->number;
}

void fake_touch(CuStream stream, CuPtr at, size_t n, bool writes)
{
    if (!line()->capturing || !stream || stream->capture != line()->captures)
        return;
    Touch t = {at, n, writes, stream->row, stream->clock.at[stream->row]};
    for (size_t i = 0; i < line()->ntouches; i++)
        line()->race |= races(&line()->touches[i], &t, &stream->clock);
    line()->touches =
        realloc(line()->touches, (line()->ntouches + 1) * sizeof t);
    line()->touches[line()->ntouches++] = t;
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

/* Who waits for a copy may be another thread than the one that asks for work.
 */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* False: it waits for somebody else. */
static bool do_node(Node *n)
{
    if (n->poll) return n->poll(n->data);
    n->run(n->data);
    return true;
}

/* Does the first piece that is pending, if it can be done. */
static void do_one(void)
{
    pthread_mutex_lock(&lock);
    Node *node = line()->pending.first;
    if (node && do_node(node)) {
        line()->pending.first = node->next;
        if (!line()->pending.first) line()->pending.last = NULL;
        free(node);
    }
    pthread_mutex_unlock(&lock);
}

void fake_finish(void)
{
    const struct timespec nap = {0, 100000};
    while (line()->pending.first) {
        Node *first = line()->pending.first;
        do_one();
        if (line()->pending.first == first) nanosleep(&nap, NULL);
    }
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
    if (line()->beside) return;
    line()->beside = true;
    pthread_create(&thread, NULL, run_beside, line());
}

static Node *new_node(CuStream stream, const void *data, size_t bytes)
{
    Node *node = calloc(1, sizeof *node + bytes);
    node->stream = stream;
    node->bytes = bytes;
    memcpy(node->data, data, bytes);
    return node;
}

static void append(Node *node)
{
    struct CuGraphRow *to =
        line()->capturing ? line()->capturing : &line()->pending;
    count_captured(node->stream);
    pthread_mutex_lock(&lock);
    if (to->last)
        to->last->next = node;
    else
        to->first = node;
    to->last = node;
    pthread_mutex_unlock(&lock);
}

void fake_work(CuStream stream, void (*run)(const void *data), const void *data,
               size_t n)
{
    Node *node = new_node(stream, data, n);
    node->run = run;
    append(node);
}

void fake_until(CuStream stream, bool (*poll)(void *data), const void *data,
                size_t n)
{
    Node *node = new_node(stream, data, n);
    node->poll = poll;
    append(node);
}

bool fake_is_free(CuStream stream)
{
    if (line()->capturing || !stream || stream->waits) return false;
    pthread_mutex_lock(&lock);
    const Node *n = line()->pending.first;
    while (n && n->stream != stream)
        n = n->next;
    pthread_mutex_unlock(&lock);
    return !n;
}

void fake_streams_reset(void)
{
    fake_finish();
    release_graph(line()->capturing);
    line()->capturing = NULL;
    streams = events = 0;
}

/* ----------------------------------------------------------------- calls -- */

CuResult cuStreamCreate(CuStream *stream, unsigned flags)
{
    BEGIN();
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    (*stream)->number = streams++;
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

CuResult cuStreamSynchronize(CuStream stream)
{
    (void)stream;
    BEGIN();
    if (line()->capturing) return 900;
    fake_finish();
    return 0;
}

CuResult cuStreamQuery(CuStream stream)
{
    (void)stream;
    BEGIN();
    do_one();
    return line()->pending.first ? CU_error_not_ready : 0;
}

typedef struct Word {
    CuPtr at;
    uint32_t value;
} Word;

static void write_word(const void *data)
{
    const Word *w = data;
    memcpy((void *)(uintptr_t)w->at, &w->value, sizeof w->value);
}

CuResult cuStreamWriteValue32(CuStream stream, CuPtr at, uint32_t value,
                              unsigned flags)
{
    BEGIN();
    fake_work(stream, write_word, &(Word){at, value}, sizeof(Word));
    return flags ? 1 : 0;
}

static bool has_word(void *data)
{
    const Word *w = data;
    uint32_t value;
    memcpy(&value, (const void *)(uintptr_t)w->at, sizeof value);
    return value == w->value;
}

CuResult cuStreamWaitValue32(CuStream stream, CuPtr at, uint32_t value,
                             unsigned flags)
{
    BEGIN();
    fake_until(stream, has_word, &(Word){at, value}, sizeof(Word));
    return flags != CU_wait_equal;
}

CuResult cuStreamWaitEvent(CuStream stream, CuEvent event, unsigned flags)
{
    BEGIN();
    (void)flags;
    if (event->capture &&
        !(line()->capturing && event->capture == line()->captures))
        return CAPTURED;
    if (event->capture) {
        join_capture(stream);
        come_behind(&stream->clock, &event->clock);
    }
    stream->waits = true;
    fake_log("stream %d waits for event %d\n", stream->number, event->number);
    return 0;
}

CuResult cuStreamBeginCapture(CuStream stream, int mode)
{
    (void)mode;
    BEGIN();
    line()->capturing = calloc(1, sizeof *line()->capturing);
    line()->capturing->users = 1;
    line()->captures++;
    line()->members = 0;
    line()->ntouches = 0;
    line()->race = false;
    line()->captured = (Clock){{0}};
    join_capture(stream);
    fake_log("capture\n");
    return 0;
}

CuResult cuStreamEndCapture(CuStream stream, CuGraph *graph)
{
    BEGIN();
    bool joined =
        !memcmp(&stream->clock, &line()->captured, sizeof line()->captured);
    *graph = line()->capturing;
    line()->capturing = NULL;
    if (line()->race)
        fprintf(stderr, "fake driver: a race within a graph\n");
    if (joined && !line()->race) return 0;
    release_graph(*graph);
    *graph = NULL;
    return line()->race ? RACE : UNJOINED;
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
    fake_log("instantiate\n");
    fake_device()->graphs++;
    graph->users++;
    *exec = (CuGraphExec)(void *)graph;
    return 0;
}

/* A launch, its next node, and what that has made of its data. */
typedef struct Launched {
    CuGraph graph;
    Node *next, *copy;
    bool begun;
} Launched;

/* A node is done on a copy, since the graph is launched again. */
static bool do_next(Launched *l)
{
    size_t bytes = sizeof *l->next + l->next->bytes;
    if (!l->copy) {
        l->copy = malloc(bytes);
        memcpy(l->copy, l->next, bytes);
    }
    if (!do_node(l->copy)) return false;
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
    fake_device()->graphs--;
    release_graph((CuGraph)(void *)exec);
    return 0;
}

CuResult cuEventCreate(CuEvent *event, unsigned flags)
{
    BEGIN();
    (void)flags;
    *event = calloc(1, sizeof **event);
    (*event)->number = events++;
    return 0;
}

/* A graph that is being captured would record it. */
CuResult cuEventDestroy(CuEvent event)
{
    if (line()->capturing && event->external == line()->captures) return 1;
    if (event->pending > 0) fake_finish();
    free(event);
    return 0;
}

static void record(const void *data)
{
    CuEvent e = *(const CuEvent *)data;
    e->ms = fake_device()->ms;
    e->pending--;
}

CuResult cuEventRecord(CuEvent event, CuStream stream)
{
    BEGIN();
    event->capture = line()->capturing ? line()->captures : 0;
    if (line()->capturing) {
        event->clock = stream->clock;
        fake_log("event %d on stream %d\n", event->number, stream->number);
        return 0;
    }
    event->pending++;
    fake_work(stream, record, &event, sizeof event);
    return 0;
}

CuResult cuEventRecordWithFlags(CuEvent event, CuStream stream, unsigned flags)
{
    BEGIN();
    if (line()->capturing) event->external = line()->captures;
    fake_work(stream, record, &event, sizeof event);
    return flags == CU_event_record_external ? 0 : 1;
}

CuResult cuEventQuery(CuEvent event)
{
    BEGIN();
    if (event->pending > 0) do_one();
    return event->pending > 0 ? CU_error_not_ready : 0;
}

CuResult cuEventSynchronize(CuEvent event)
{
    BEGIN();
    while (event->pending > 0 && line()->pending.first)
        do_one();
    return 0;
}

CuResult cuEventElapsedTime(float *milliseconds, CuEvent from, CuEvent to)
{
    BEGIN();
    *milliseconds = (float)(to->ms - from->ms);
    return 0;
}
