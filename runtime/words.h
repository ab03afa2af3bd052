/*
 * words.h: what the processes of a run say to each other before they are ranks,
 * and how long they wait for it.
 *
 *     rank        come, or why it does not                    rank 0
 *     rank 0      heard                                       rank
 *     rank 0      all are there: number, places; or a status  rank
 */
#ifndef TITAN_WORDS_H
#define TITAN_WORDS_H

#include "join.h"

/* Rank 0 waits so long for a word of whoever has connected.  A run that cannot
 * begin lingers for who is late. */
enum { HELLO_SECONDS = 5, LINGER_SECONDS = 5, DOOR_MS = 100 };

/* What a rank says that comes, or calls. */
typedef struct Words {
    char magic[8];
    char key[RUN_NAME]; /* the name of the run; in a call the token */
    Caller who;
    uint32_t ranks;
    uint32_t port;   /* as the network has it */
    uint32_t status; /* of one that declines; its story follows */
    uint32_t pad;
} Words;

/* What rank 0 says: a status, or one of these. */
enum { HEARD = 1, OTHER_RUN = 2 };

typedef struct Answer {
    char magic[8];
    uint32_t verdict, pad;
} Answer;

/* Without a key. */
Words words_of(uint32_t rank, uint32_t ranks, JoinUse use);
/* Whether they are of this version of the runtime. */
bool words_are_known(const Words *w);
bool answer_is_known(const Answer *a);
bool answer_say(int fd, uint32_t verdict);
/* What another process has sent as a status. */
TitanStatus answer_status(uint32_t word);

/* Says now and then for whom one waits: each time twice as long after. */
typedef struct Patience {
    double end, next, pause;
} Patience;

Patience patience_of(double seconds);
/* Seconds that are left, where it is time to say so; else 0. */
double patience_says(Patience *p);

/* Of rank 0: until all others have come, PATIENCE seconds; or, with a STATUS,
 * for a while, to say that they come in vain. */
TitanStatus gather_ranks(TitanStory *s, const World *w, double patience,
                         Joined *j);
void gather_in_vain(const World *w, TitanStatus status);

#endif
