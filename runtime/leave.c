/*
 * leave.c: a process ends, whatever it cannot close.
 */
#include "leave.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct Leave {
    TitanStory story;
    TitanStatus status;
} Leave;

static void *leave(void *user)
{
    const struct timespec patience = {5, 0};
    Leave *l = user;
    nanosleep(&patience, NULL);
    titan_story_print(&l->story, "titan");
    _exit((int)l->status);
}

void leave_soon(const TitanStory *story, TitanStatus status)
{
    pthread_t thread;
    sigset_t all, before;
    Leave *l = calloc(1, sizeof *l);
    if (!l) return;
    *l = (Leave){*story, status};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, leave, l) == 0)
        pthread_detach(thread);
    else
        free(l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
