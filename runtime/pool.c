/*
 * pool.c: workers that wait for a ticket, take chunks by an atomic counter,
 * and report back.  A worker spins for a short while before it sleeps, so
 * that the thousands of small commands of a step do not each pay for a wake.
 */
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPINS = 2000 };

typedef struct Worker {
    Pool *pool;
    unsigned id;
    pthread_t thread;
} Worker;

struct Pool {
    unsigned threads, started;
    Worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    atomic_uint ticket;  /* number of the current job */
    atomic_uint running; /* workers that have not finished it */
    atomic_bool stop;
    atomic_llong next;
    PoolWork work;
    void *user;
    int64_t n, chunk;
};

static void take_chunks(Pool *p, unsigned worker)
{
    for (;;) {
        int64_t begin = atomic_fetch_add(&p->next, p->chunk);
        if (begin >= p->n) return;
        int64_t end = begin + p->chunk < p->n ? begin + p->chunk : p->n;
        p->work(p->user, begin, end, worker);
    }
}

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Returns the new ticket. */
static unsigned wait_ticket(Pool *p, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        unsigned t = atomic_load_explicit(&p->ticket, memory_order_acquire);
        if (t != seen) return t;
        pause_cpu();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->ticket) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return atomic_load(&p->ticket);
}

static void *worker_main(void *arg)
{
    Worker *w = arg;
    Pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_ticket(p, seen);
        if (atomic_load(&p->stop)) return NULL;
        take_chunks(p, w->id);
        if (atomic_fetch_sub(&p->running, 1) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->idle);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void publish(Pool *p)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->ticket, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void wait_idle(Pool *p)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&p->running) == 0) return;
        pause_cpu();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->running) != 0)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(Pool *p, PoolWork work, void *user, int64_t n, int64_t chunk)
{
    if (n <= 0) return;
    if (p->threads == 1 || n <= chunk) {
        work(user, 0, n, 0);
        return;
    }
    p->work = work;
    p->user = user;
    p->n = n;
    p->chunk = chunk;
    atomic_store(&p->next, 0);
    atomic_store(&p->running, p->threads - 1);
    publish(p);
    take_chunks(p, 0);
    wait_idle(p);
}

/* Signals are for the main thread alone: workers block them all. */
static bool start_workers(Pool *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; i < p->threads; i++) {
        Worker *w = &p->workers[i];
        *w = (Worker){.pool = p, .id = i};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break;
        p->started = i;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p->started == p->threads - 1;
}

unsigned pool_share(unsigned asked, uint32_t pools)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    long each = pools ? online / (long)pools : online;
    return asked ? asked : each > 1 ? (unsigned)each : 1;
}

Pool *pool_new(unsigned threads)
{
    Pool *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->threads = threads;
    p->workers = calloc(threads, sizeof *p->workers);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->idle, NULL);
    if (p->workers && start_workers(p)) return p;
    pool_free(p);
    return NULL;
}

void pool_free(Pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, true);
    publish(p);
    for (unsigned i = 1; i <= p->started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}

unsigned pool_threads(const Pool *p)
{
    return p->threads;
}
