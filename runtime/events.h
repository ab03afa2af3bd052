/*
 * events.h: scalars in an event file of TensorBoard.
 *
 *     events_begin(&e, step);
 *     events_scalar(&e, "loss", 2.5);
 *     TRY(events_end(story, &e));
 */
#ifndef TITAN_EVENTS_H
#define TITAN_EVENTS_H

#include "sink.h"

typedef struct Bytes {
    unsigned char *at;
    size_t n, cap;
    bool failed; /* memory ran out */
} Bytes;

typedef struct Events {
    Sink sink;
    int64_t step;
    Bytes summary, record;
} Events;

/* A new file in FOLDER, which is made where it is not there.  What earlier
 * files say of steps behind DONE, TensorBoard forgets. */
TitanStatus events_open(TitanStory *s, Events *e, const char *folder,
                        int64_t done);
TitanStatus events_close(TitanStory *s, Events *e);
static inline bool events_are_open(const Events *e)
{
    return e->sink.path != NULL;
}

void events_begin(Events *e, int64_t step);
void events_scalar(Events *e, const char *tag, double x);
TitanStatus events_end(TitanStory *s, Events *e);

#endif
