/*
 * remote.h: the crew of processes that a launcher has started.
 */
#ifndef TITAN_REMOTE_H
#define TITAN_REMOTE_H

#include "crew.h"
#include "link.h"

/* Compares image and options, given as one text, with those of rank 0.  All
 * ranks come here; MISMATCH on all of them, with a story on rank 0.  Then the
 * board of L is that of rank 0, wherever it is reached: its own is the
 * caller's. */
TitanStatus remote_compare(TitanStory *story, Link *l, const TitanImage *im,
                           const char *options);

/* On rank 0: the others serve. */
CrewNew remote_crew_new;

/* On the others: until rank 0 ends the run.  Returns how it has ended. */
TitanStatus remote_serve(TitanStory *story, const TitanImage *im,
                         const TitanCode *code, const DeviceOptions *o);
/* On rank 0, when its run is over: the others end with STATUS. */
void remote_dismiss(Link *l, TitanStatus status);

/* Ends all ranks at once: this one cannot go on. */
void remote_abort(Link *l, TitanStatus status);

#endif
