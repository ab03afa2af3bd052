/*
 * words.c: what the processes of a run say to each other before they are ranks.
 */
#include "words.h"

#include <string.h>

#include "clock.h"

enum { SAY_SECONDS = 10 }; /* until the first word of who is waited for */

static const char magic[8] = "titan 3";

Words words_of(uint32_t rank, uint32_t ranks, JoinUse use)
{
    Words w = {.who = {rank, use}, .ranks = ranks};
    memcpy(w.magic, magic, sizeof magic);
    return w;
}

bool words_are_known(const Words *w)
{
    return memcmp(w->magic, magic, sizeof magic) == 0;
}

bool answer_is_known(const Answer *a)
{
    return memcmp(a->magic, magic, sizeof magic) == 0;
}

bool answer_say(int fd, uint32_t verdict)
{
    Answer a = {.verdict = verdict};
    memcpy(a.magic, magic, sizeof magic);
    return fd_put(fd, &a, sizeof a, in_seconds(HELLO_SECONDS));
}

TitanStatus answer_status(uint32_t word)
{
    return word >= TITAN_USAGE && word < 128 ? (TitanStatus)word
                                             : TITAN_RANK_LOST;
}

Patience patience_of(double seconds)
{
    double now = seconds_now();
    return (Patience){now + seconds, now + SAY_SECONDS, SAY_SECONDS};
}

double patience_says(Patience *p)
{
    double now = seconds_now();
    if (now < p->next || now >= p->end) return 0;
    p->next = now + p->pause;
    p->pause *= 2;
    return p->end - now;
}
