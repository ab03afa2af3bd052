/*
 * cupti.c: CUPTI without a GPU: it tells of the nodes of graphs, and hands out
 * a record for each that is done, of zeros but for what is looked at.
 *
 * FAKE_CUPTI, while a call is made: the name of one that fails; `deaf`: nothing
 * is told of nodes; `mute`: there are no records; `early`: some come out of a
 * flush that is not forced, and the rest of one that is.
 */
#include "fake.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cupti.h"

enum { RECORD = 256, KINDS = 64, FAILS = 999, AT_END = 12 };

/* The prototypes, and the names under which dlsym finds them. */
#define CUPTI(name, symbol, ...) \
    CuptiResult do_##name(__VA_ARGS__) __asm__(symbol);
#include "runtime/cupti.def"
#undef CUPTI

typedef struct Row {
    uint8_t byte[RECORD];
} Row;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CuptiCallback *callback;
static void *callback_user;
static _Atomic bool created, cloned, kinds[KINDS];
static CuptiGive *give;
static CuptiTake *take;
static Row *rows;
static size_t nrows;

static bool is_to(const char *what)
{
    const char *said = getenv("FAKE_CUPTI");
    return said && !strcmp(said, what);
}

#define FAIL(symbol) \
    if (is_to(symbol)) return FAILS

/* ---------------------------------------------------------------- nodes -- */

static void tell(uint32_t what, const void *graph, const uint64_t *node,
                 const uint64_t *of)
{
    CuptiGraphData d = {.graph = (void *)(uintptr_t)graph,
                        .node = (void *)(uintptr_t)node,
                        .node_of = (void *)(uintptr_t)of};
    CuptiResource r = {.data = &d};
    if (callback && !is_to("deaf"))
        callback(callback_user, CUPTI_resources, what, &r);
}

static void on_made(const void *graph, const uint64_t *node)
{
    if (created) tell(CUPTI_node_created, graph, node, NULL);
}

static void on_cloned(const void *graph, const uint64_t *node,
                      const uint64_t *of)
{
    if (cloned) tell(CUPTI_node_cloned, graph, node, of);
}

/* As many as a clock of today has: more than a double tells apart. */
static uint64_t ns_at(uint64_t us)
{
    return (UINT64_C(1) << 60) + 1000 * us;
}

static void put(Row *r, size_t byte, uint64_t x)
{
    memcpy(r->byte + byte, &x, sizeof x);
}

static void on_done(FakeKind kind, uint64_t node, uint64_t begin, uint64_t end)
{
    static const int numbers[] = {[FAKE_kernel] = CUPTI_kernel,
                                  [FAKE_copy] = CUPTI_peer_copy,
                                  [FAKE_fill] = CUPTI_fill};
    Row r = {{0}};
    memcpy(r.byte, &numbers[kind], sizeof numbers[kind]);
    switch (numbers[kind]) {
#define CUPTI_RECORD(name, number, at_begin, at_end, at_node) \
    case number:                                              \
        put(&r, at_begin, ns_at(begin));                      \
        put(&r, at_end, ns_at(end));                          \
        put(&r, at_node, node);                               \
        break;
#include "runtime/cupti.def"
#undef CUPTI_RECORD
    default:
        return;
    }
    if (!kinds[numbers[kind]] || is_to("mute")) return;
    pthread_mutex_lock(&lock);
    rows = realloc(rows, (nrows + 1) * sizeof *rows);
    rows[nrows++] = r;
    pthread_mutex_unlock(&lock);
}

static const FakeWatch watch_all = {on_made, on_cloned, on_done};

/* ---------------------------------------------------------------- calls -- */

CuptiResult do_subscribe(CuptiSubscriber *subscriber, CuptiCallback *call,
                         void *user)
{
    FAIL("cuptiSubscribe");
    if (callback) return FAILS; /* there is one already */
    callback = call;
    callback_user = user;
    *subscriber = (CuptiSubscriber)(void *)&lock;
    fake_watch(&watch_all);
    return 0;
}

CuptiResult do_unsubscribe(CuptiSubscriber subscriber)
{
    callback = NULL;
    created = cloned = false;
    return subscriber ? 0 : FAILS;
}

CuptiResult do_watch(uint32_t on, CuptiSubscriber subscriber, int domain,
                     uint32_t what)
{
    FAIL("cuptiEnableCallback");
    if (what == CUPTI_node_created) created = on;
    if (what == CUPTI_node_cloned) cloned = on;
    return subscriber && domain == CUPTI_resources ? 0 : FAILS;
}

CuptiResult do_node_number(void *node, uint64_t *number)
{
    FAIL("cuptiGetGraphNodeId");
    *number = *(const uint64_t *)node;
    return 0;
}

CuptiResult do_hand_buffers(CuptiGive *gives, CuptiTake *takes)
{
    FAIL("cuptiActivityRegisterCallbacks");
    give = gives;
    take = takes;
    return 0;
}

CuptiResult do_record(int kind)
{
    FAIL("cuptiActivityEnable");
    fake_watch(&watch_all);
    kinds[kind] = true;
    return 0;
}

CuptiResult do_ignore(int kind)
{
    kinds[kind] = false;
    return 0;
}

unsigned fake_recorded(void)
{
    unsigned n = 0;
    for (int i = 0; i < KINDS; i++)
        n += kinds[i];
    return n;
}

/* As many rows as a buffer holds. */
static size_t hand_out(size_t from, size_t to)
{
    uint8_t *buffer;
    size_t bytes, most, n;
    give(&buffer, &bytes, &most);
    n = bytes / RECORD < to - from ? bytes / RECORD : to - from;
    if (n) memcpy(buffer, rows + from, n * RECORD);
    take(NULL, 0, buffer, bytes, n * RECORD);
    return n;
}

CuptiResult do_flush(uint32_t flags)
{
    pthread_mutex_lock(&lock);
    size_t done = 0, most = is_to("early") && !flags ? nrows / 2 : nrows;
    while (done < most)
        done += hand_out(done, most);
    memmove(rows, rows + done, (nrows - done) * sizeof *rows);
    nrows -= done;
    pthread_mutex_unlock(&lock);
    return 0;
}

CuptiResult do_next(uint8_t *buffer, size_t bytes, const uint8_t **record)
{
    const uint8_t *next = *record ? *record + RECORD : buffer;
    if (next >= buffer + bytes) return AT_END;
    *record = next;
    return 0;
}

CuptiResult do_now(uint64_t *ns)
{
    *ns = ns_at(fake_device()->us);
    return 0;
}

CuptiResult do_version(uint32_t *version)
{
    *version = 130001;
    return 0;
}

CuptiResult do_result_name(CuptiResult r, const char **name)
{
    *name = r == FAILS ? "CUPTI_ERROR_UNKNOWN" : NULL;
    return 0;
}
