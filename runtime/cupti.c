/*
 * cupti.c: opens CUPTI, hears of the nodes that graphs are made of, and keeps
 * what GPUs say of them.
 *
 * CUPTI calls back: in front of a driver's call's return, with locks of its own
 * held, and with full buffers from any thread.  So `lock`, which is taken
 * there, is held around no call of CUPTI's; `turn` is, and is never taken
 * there.
 */
#include "cupti.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 1 << 20 };

typedef struct CuptiApi {
    void *library;
#define CUPTI(name, symbol, ...) CuptiResult (*name)(__VA_ARGS__);
#include "cupti.def"
#undef CUPTI
} CuptiApi;

/* The process's, for CUPTI hands its buffers to functions without a word of
 * whose they are: it can hang off nothing. */
static struct {
    pthread_mutex_t turn; /* of who changes what CUPTI does */
    CuptiApi api;         /* it stays open: it has threads */
    uint32_t version;
    unsigned users, watchers;
    CuptiSubscriber subscriber;

    pthread_mutex_t lock; /* of what follows */
    CuptiListener *listeners;
    CuptiTime *times;
    size_t n, cap;
} the = {.turn = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER};

static void let_go(pthread_mutex_t **held)
{
    pthread_mutex_unlock(*held);
}

static pthread_mutex_t *hold(pthread_mutex_t *m)
{
    pthread_mutex_lock(m);
    return m;
}

/* Until the end of the block. */
#define HOLD(which) \
    __attribute__((cleanup(let_go))) pthread_mutex_t *held = hold(&the.which)

/* ------------------------------------------------------------- callbacks -- */

static void keep(const CuptiTime *t)
{
    HOLD(lock);
    if (the.n == the.cap) {
        size_t cap = the.cap ? 2 * the.cap : 4096;
        CuptiTime *more = realloc(the.times, cap * sizeof *more);
        if (!more) return;
        the.times = more;
        the.cap = cap;
    }
    the.times[the.n++] = *t;
}

static uint64_t word_at(const uint8_t *record, size_t byte)
{
    uint64_t x;
    memcpy(&x, record + byte, sizeof x);
    return x;
}

/* Of what is no node's, and what nobody has seen, there is nothing to know. */
static void read_record(const uint8_t *r)
{
    CuptiTime t = {0};
    int kind;
    memcpy(&kind, r, sizeof kind);
    switch (kind) {
#define CUPTI_RECORD(name, number, begin, end, node)                           \
    case number:                                                               \
        t = (CuptiTime){word_at(r, node), word_at(r, begin), word_at(r, end)}; \
        break;
#include "cupti.def"
#undef CUPTI_RECORD
    default:
        break;
    }
    if (t.node && t.begin && t.end >= t.begin) keep(&t);
}

static void give_buffer(uint8_t **buffer, size_t *bytes, size_t *most)
{
    *buffer = aligned_alloc(64, BUFFER);
    *bytes = *buffer ? BUFFER : 0;
    *most = 0;
}

static void take_buffer(CuContext context, uint32_t stream, uint8_t *buffer,
                        size_t bytes, size_t filled)
{
    const uint8_t *record = NULL;
    (void)context, (void)stream, (void)bytes;
    while (filled && the.api.next(buffer, filled, &record) == 0)
        read_record(record);
    free(buffer);
}

/* NCCL's nodes are made by threads of its own, in the graph of a thread that
 * was heard before. */
static CuptiListener *listener_of(const void *graph)
{
    for (CuptiListener *l = the.listeners; l; l = l->next)
        if (pthread_equal(l->thread, pthread_self())) return l;
    for (CuptiListener *l = the.listeners; l; l = l->next)
        if (l->graph == graph) return l;
    return NULL;
}

static void hear(void *user, int domain, uint32_t what, const void *data)
{
    const CuptiGraphData *d = ((const CuptiResource *)data)->data;
    uint64_t node, of = 0;
    (void)user;
    if (domain != CUPTI_resources || the.api.node_number(d->node, &node) != 0)
        return;
    if (what == CUPTI_node_cloned && the.api.node_number(d->node_of, &of) != 0)
        return;
    HOLD(lock);
    CuptiListener *l = listener_of(d->graph);
    if (!l) return;
    if (pthread_equal(l->thread, pthread_self())) l->graph = d->graph;
    if (what == CUPTI_node_created) l->made(l->user, node);
    if (what == CUPTI_node_cloned) l->cloned(l->user, node, of);
}

/* --------------------------------------------------------------- library -- */

static const char *find_all(CuptiApi *a)
{
#define CUPTI(name, symbol, ...) \
    if (!symbol_find(a->library, symbol, &a->name)) return symbol;
#include "cupti.def"
#undef CUPTI
    return NULL;
}

static bool call(CuptiResult r, const char *what, char *why, size_t size)
{
    const char *name = NULL;
    if (r == 0) return true;
    the.api.result_name(r, &name);
    snprintf(why, size, "CUPTI could not %s: %s", what,
             name ? name : "an unknown error");
    return false;
}

/* TITAN_CUPTI says where it is, where that is not where a toolkit has it. */
static bool open_library(char *why, size_t size)
{
    static const char *const names[] = {"libcupti.so.13", "libcupti.so.12"};
    const char *path = getenv("TITAN_CUPTI"), *missing;
    CuptiApi a = {0};
    a.library = path && *path
                    ? dlopen(path, RTLD_NOW | RTLD_LOCAL)
                    : toolkit_open(names, sizeof names / sizeof *names);
    if (!a.library) {
        snprintf(why, size, "could not open CUPTI (%s)",
                 path && *path ? path : names[0]);
        return false;
    }
    missing = find_all(&a);
    if (missing) {
        snprintf(why, size, "CUPTI has no %s", missing);
        dlclose(a.library);
        return false;
    }
    the.api = a;
    if (a.version(&the.version) != 0) the.version = 0;
    return true;
}

bool cupti_open(char *why, size_t size)
{
    HOLD(turn);
    if (!the.api.library && !open_library(why, size)) return false;
    if (the.users == 0 && !call(the.api.hand_buffers(give_buffer, take_buffer),
                                "take buffers", why, size))
        return false;
    the.users++;
    return true;
}

static void forget_times(void)
{
    HOLD(lock);
    free(the.times);
    the.times = NULL;
    the.n = the.cap = 0;
}

void cupti_close(void)
{
    HOLD(turn);
    if (--the.users == 0) forget_times();
}

uint32_t cupti_version(void)
{
    return the.version;
}

/* -------------------------------------------------------------- watching -- */

static const int kinds[] = {
#define CUPTI_RECORD(kind, ...) CUPTI_##kind,
#include "cupti.def"
#undef CUPTI_RECORD
};

static void ignore_all(void)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        the.api.ignore(kinds[i]);
}

bool cupti_watch(char *why, size_t size)
{
    HOLD(turn);
    for (size_t i = 0; !the.watchers && i < sizeof kinds / sizeof *kinds; i++)
        if (!call(the.api.record(kinds[i]), "watch the GPU", why, size)) {
            ignore_all();
            return false;
        }
    the.watchers++;
    return true;
}

void cupti_rest(void)
{
    HOLD(turn);
    if (--the.watchers == 0) ignore_all();
}

/* ------------------------------------------------------------- listening -- */

static CuptiListener **place_of(const CuptiListener *l)
{
    CuptiListener **at = &the.listeners;
    while (*at && *at != l)
        at = &(*at)->next;
    return at;
}

static void add_listener(CuptiListener *l)
{
    HOLD(lock);
    l->thread = pthread_self();
    l->graph = NULL;
    l->next = the.listeners;
    the.listeners = l;
}

/* False: there are others. */
static bool remove_listener(CuptiListener *l)
{
    HOLD(lock);
    *place_of(l) = l->next;
    return !the.listeners;
}

static bool subscribe(char *why, size_t size)
{
    static const uint32_t whats[] = {CUPTI_node_created, CUPTI_node_cloned};
    if (the.subscriber) return true;
    if (!call(the.api.subscribe(&the.subscriber, hear, NULL), "subscribe", why,
              size)) {
        the.subscriber = NULL;
        return false;
    }
    for (size_t i = 0; i < sizeof whats / sizeof *whats; i++)
        if (!call(the.api.watch(1, the.subscriber, CUPTI_resources, whats[i]),
                  "tell of nodes", why, size)) {
            the.api.unsubscribe(the.subscriber);
            the.subscriber = NULL;
            return false;
        }
    return true;
}

bool cupti_listen(CuptiListener *l, char *why, size_t size)
{
    HOLD(turn);
    if (!subscribe(why, size)) return false;
    add_listener(l);
    return true;
}

/* Nobody calls back who is not subscribed: what a call costs, it costs while
 * graphs are captured. */
void cupti_ignore(CuptiListener *l)
{
    HOLD(turn);
    if (!remove_listener(l)) return;
    the.api.unsubscribe(the.subscriber);
    the.subscriber = NULL;
}

/* ----------------------------------------------------------------- times -- */

uint64_t cupti_now(void)
{
    uint64_t ns = 0;
    return the.api.now(&ns) == 0 ? ns : 0;
}

void cupti_collect(bool all)
{
    HOLD(turn);
    the.api.flush(all ? CUPTI_flush_forced : 0);
}

void cupti_times(void (*call_with)(void *user, const CuptiTime *t), void *user)
{
    HOLD(lock);
    for (size_t i = 0; i < the.n; i++)
        call_with(user, &the.times[i]);
}
