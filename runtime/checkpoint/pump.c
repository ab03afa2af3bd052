/*
 * pump.c: a ring of what waits to be written.
 */
#include "pump.h"

static void *run(void *user)
{
    Pump *p = user;
    pthread_setname_np(pthread_self(), "save-write");
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->written == p->put && !p->ends)
            pthread_cond_wait(&p->changed, &p->lock);
        if (p->written == p->put) break;
        const void *at = p->slot[p->written % PUMP_SLOTS].at;
        size_t n = p->slot[p->written % PUMP_SLOTS].n;
        pthread_mutex_unlock(&p->lock);
        file_write(p->to, at, n);
        pthread_mutex_lock(&p->lock);
        p->written++;
        p->failed = p->to->error != 0;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void pump_begin(Pump *p, FileWriter *to)
{
    *p = (Pump){.to = to, .failed = to->error != 0};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->threaded = pthread_create(&p->thread, NULL, run, p) == 0;
}

bool pump_put(Pump *p, const void *at, size_t n)
{
    if (!p->threaded) {
        file_write(p->to, at, n);
        return p->to->error == 0;
    }
    pthread_mutex_lock(&p->lock);
    while (p->put - p->written == PUMP_SLOTS)
        pthread_cond_wait(&p->changed, &p->lock);
    p->slot[p->put % PUMP_SLOTS].at = at;
    p->slot[p->put % PUMP_SLOTS].n = n;
    p->put++;
    bool whole = !p->failed;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return whole;
}

void pump_wait(Pump *p, uint64_t count)
{
    if (!p->threaded) return;
    pthread_mutex_lock(&p->lock);
    while (p->written < count)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pump_end(Pump *p)
{
    if (p->threaded) {
        pthread_mutex_lock(&p->lock);
        p->ends = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL);
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
}
