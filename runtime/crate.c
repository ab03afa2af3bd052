/*
 * crate.c: bytes on their way to a rank whose memory is elsewhere, or back.
 */
#include "crate.h"

#include <string.h>

static bool is_full(const Crate *p)
{
    return p->n == CRATE_RUNS || p->bytes == CRATE_BYTES;
}

/* As much of a run as there is room for. */
static size_t add_run(Crate *p, const PartRun *r, size_t done)
{
    size_t left = r->bytes - done, room = CRATE_BYTES - p->bytes;
    size_t n = left < room ? left : room;
    p->runs[p->n] =
        (PartRun){.whole = p->bytes, .own = r->own + done, .bytes = n};
    p->place[p->n++] = r->whole + done;
    p->bytes += n;
    return n;
}

bool crate_fill(Crate *p, const Order *o, CrateWalk *w)
{
    p->n = p->bytes = 0;
    while (w->run < o->nparts && !is_full(p)) {
        const PartRun *r = &o->parts[w->run];
        w->done += add_run(p, r, w->done);
        if (w->done < r->bytes) continue;
        w->run++;
        w->done = 0;
    }
    for (size_t i = 0; o->kind == ORDER_write && i < p->n; i++)
        memcpy(p->at + p->runs[i].whole, o->at + p->place[i], p->runs[i].bytes);
    return p->n > 0;
}

Order crate_order(Crate *p, const Order *o)
{
    Order told = *o;
    told.parts = p->runs;
    told.nparts = p->n;
    told.at = p->at;
    return told;
}

size_t crate_close(Crate *p)
{
    p->bytes = 0;
    for (size_t i = 0; i < p->n; i++) {
        const PartRun *r = &p->runs[i];
        if (r->whole != p->bytes || r->bytes > CRATE_BYTES - p->bytes) return i;
        p->bytes += r->bytes;
    }
    return p->n;
}

void crate_unpack(const Crate *p, const Order *o)
{
    for (size_t i = 0; i < p->n; i++)
        memcpy(o->at + p->place[i], p->at + p->runs[i].whole, p->runs[i].bytes);
}
