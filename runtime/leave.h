/*
 * leave.h: a process ends when its run has, whatever holds it.
 */
#ifndef TITAN_LEAVE_H
#define TITAN_LEAVE_H

#include "titan.h"

typedef struct Leave Leave;

/* Of the run; both are asked by a thread of their own. */
typedef struct LeaveRule {
    /* Whether it has ended for this process: a rank is lost, or cannot go on.
     * Asked again and again until then. */
    bool (*ended)(void *user);
    /* Why, where nobody has said it.  No story: others tell it. */
    TitanStatus (*why)(void *user, TitanStory *out);
    /* Before the process ends, while what is watched is open; or NULL. */
    void (*last)(void *user);
    void *user;
} LeaveRule;

/* Watches over the run from now on.  A few seconds after it has ended the
 * process does, wherever its own thread is: what a driver has under way with a
 * rank that is lost may never end.  NULL: there is no such thread; the other
 * functions take that too. */
Leave *leave_watch(LeaveRule rule);
/* The run has ended, with STATUS and its story; again: it has another. */
void leave_soon(Leave *l, const TitanStory *story, TitanStatus status);
/* What was watched is closed: nothing is asked any more.  A process whose run
 * has ended is ended all the same, without a word. */
void leave_stop(Leave *l);

#endif
