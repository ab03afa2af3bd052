/*
 * leave.c: a process ends when its run has, whatever holds it.
 *
 * Its own thread may never learn that the run has ended.  A launch returns when
 * the queues of the GPU have room, and where a stream waits for a rank that is
 * lost they never have; nor does a copy end, or memory become free.  So another
 * thread looks too, and gives the first a few seconds to end by itself.
 */
#include "leave.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum { PATIENCE = 5, LOOK_MS = 100 }; /* seconds; between two looks */

struct Leave {
    LeaveRule rule;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, and of what is asked */
    pthread_cond_t stops; /* nobody asks any more */
    double since;         /* the run has ended; 0: it has not */
    bool told, stopped;
    TitanStory story;
    TitanStatus status;
};

/* The process, with the story that is known. */
static void leave(Leave *l)
{
    if (!l->told) l->status = l->rule.why(l->rule.user, &l->story);
    if (!l->stopped && l->rule.last) l->rule.last(l->rule.user);
    titan_story_print(&l->story, "titan");
    _exit((int)l->status);
}

/* False: nobody asks any more. */
static bool look(Leave *l)
{
    bool asks = !l->stopped || l->told;
    if (asks && l->since == 0 && l->rule.ended(l->rule.user))
        l->since = seconds_now();
    if (asks && l->since > 0 && seconds_now() - l->since > PATIENCE) leave(l);
    return asks;
}

static void nap(Leave *l)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&l->stops, &l->lock, &until);
}

static void *watch(void *user)
{
    Leave *l = user;
    pthread_mutex_lock(&l->lock);
    while (look(l))
        nap(l);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void init_locks(Leave *l)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->stops, &clock);
    pthread_condattr_destroy(&clock);
}

static void free_leave(Leave *l)
{
    pthread_cond_destroy(&l->stops);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

Leave *leave_watch(LeaveRule rule)
{
    sigset_t all, before;
    Leave *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->rule = rule;
    init_locks(l);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&l->thread, NULL, watch, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) return l;
    free_leave(l);
    return NULL;
}

void leave_soon(Leave *l, const TitanStory *story, TitanStatus status)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    if (l->since == 0) l->since = seconds_now();
    l->told = true;
    l->story = *story;
    l->status = status;
    pthread_mutex_unlock(&l->lock);
}

void leave_stop(Leave *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    bool goes_on = l->told;
    l->stopped = true;
    l->story = (TitanStory){0};
    pthread_cond_signal(&l->stops);
    pthread_mutex_unlock(&l->lock);
    if (goes_on) {
        pthread_detach(l->thread);
        return;
    }
    pthread_join(l->thread, NULL);
    free_leave(l);
}
