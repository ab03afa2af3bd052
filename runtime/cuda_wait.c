/*
 * cuda_wait.c: the host waits for its GPU.
 *
 * Alone it waits in the driver.  One of several ranks looks again and again,
 * since a collective that lacks a member never ends, and looks at the others
 * meanwhile; the board says what it waits for.
 */
#include "cuda_device.h"

#include "board.h"

#include <time.h>

enum { SPINS = 20, NAP_NS = 50000, LOOKS = 40 };

/* An event, or a stream. */
typedef struct Wanted {
    CuEvent event;
    CuStream stream;
} Wanted;

static CuResult query(const Cuda *c, const Wanted *w)
{
    return w->event ? c->cu.cuEventQuery(w->event)
                    : c->cu.cuStreamQuery(w->stream);
}

void cuda_say_waits(const Cuda *c, bool waits)
{
    Board *b = c->options.board;
    if (b && c->ranks)
        atomic_store(&b->rows[c->rank.rank].waits, waits ? BOARD_GPU : 0);
}

static TitanStatus look_again(Cuda *c, const Wanted *w, CuResult *r)
{
    const struct timespec nap = {0, NAP_NS};
    for (unsigned looks = 1; *r == CU_error_not_ready; looks++) {
        if (looks > SPINS) nanosleep(&nap, NULL);
        cuda_ranks_tell(c);
        if (looks % LOOKS == 0) TRY(cuda_ranks_look(c));
        *r = query(c, w);
    }
    return TITAN_OK;
}

static TitanStatus wait_beside(Cuda *c, const Wanted *w, CuResult *r)
{
    *r = query(c, w);
    cuda_ranks_tell(c);
    if (*r != CU_error_not_ready) return TITAN_OK;
    cuda_say_waits(c, true);
    TitanStatus st = look_again(c, w, r);
    cuda_say_waits(c, false);
    return st;
}

static CuResult wait_alone(const Cuda *c, const Wanted *w)
{
    return w->event ? c->cu.cuEventSynchronize(w->event)
                    : c->cu.cuStreamSynchronize(w->stream);
}

static TitanStatus wait_for(Cuda *c, const Wanted *w)
{
    CuResult r = 0;
    if (c->ranks)
        TRY(wait_beside(c, w, &r));
    else
        r = wait_alone(c, w);
    if (r == 0) return TITAN_OK;
    return cu_fail(c->story, &c->cu,
                   w->event ? "cuEventSynchronize" : "cuStreamSynchronize", r);
}

/* A kernel's error shows where the host first waits for it. */
TitanStatus cuda_wait_event(Cuda *c, CuEvent e)
{
    TitanStatus st = wait_for(c, &(Wanted){.event = e});
    if (st == TITAN_RANK_LOST) return st;
    return titan_while(c->story, st,
                       "waiting for a command of the step; run with --sync to "
                       "see which one");
}

TitanStatus cuda_wait_stream(Cuda *c, CuStream s)
{
    return wait_for(c, &(Wanted){.stream = s});
}
