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

static void say_waits(const Cuda *c, uint32_t what)
{
    Board *b = c->options.board;
    if (b) atomic_store(&b->rows[c->rank.rank].waits, what);
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
    say_waits(c, BOARD_GPU);
    TitanStatus st = look_again(c, w, r);
    say_waits(c, 0);
    return st;
}

/* A kernel's error shows where the host first waits for it. */
TitanStatus cuda_wait_event(Cuda *c, CuEvent e)
{
    CuResult r = 0;
    if (c->ranks)
        TRY(wait_beside(c, &(Wanted){.event = e}, &r));
    else
        r = c->cu.cuEventSynchronize(e);
    if (r == 0) return TITAN_OK;
    TitanStatus st = cu_fail(c->story, &c->cu, "cuEventSynchronize", r);
    return titan_while(c->story, st,
                       "waiting for a command of the step; run with --sync to "
                       "see which one");
}

TitanStatus cuda_wait_stream(Cuda *c, CuStream s)
{
    CuResult r = 0;
    if (c->ranks)
        TRY(wait_beside(c, &(Wanted){.stream = s}, &r));
    else
        r = c->cu.cuStreamSynchronize(s);
    return r == 0 ? TITAN_OK
                  : cu_fail(c->story, &c->cu, "cuStreamSynchronize", r);
}
