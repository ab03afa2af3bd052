/*
 * orders.c: what a rank is told, done on its device.
 */
#include "crew.h"

#include <string.h>

static TitanStatus move(TitanDevice *d, const Order *o)
{
    for (size_t i = 0; i < o->nparts; i++) {
        const PartRun *r = &o->parts[i];
        char *at = o->at + r->whole;
        TRY(o->kind == ORDER_write
                ? device_write(d, o->base, r->own, at, r->bytes)
                : device_read(d, o->base, r->own, at, r->bytes));
    }
    return TITAN_OK;
}

static TitanStatus bring_kept(TitanDevice *d, const Order *o)
{
    const char *io;
    TRY(device_kept(d, o->turn, &io));
    for (size_t i = 0; i < o->nparts; i++) {
        const PartRun *r = &o->parts[i];
        memcpy(o->at + r->whole, io + r->own, r->bytes);
    }
    return TITAN_OK;
}

static TitanStatus bring_trace(const TitanDevice *d, const Order *o)
{
    for (size_t i = 0; i < o->nparts; i++) {
        const PartRun *r = &o->parts[i];
        memcpy(o->at + r->whole, d->profiled.text + r->own, r->bytes);
    }
    return TITAN_OK;
}

static TitanStatus tell_profile(TitanDevice *d, Order *o)
{
    TRY(d->class->profiled(d, o->profiled.begin));
    o->profiled = d->profiled;
    return TITAN_OK;
}

TitanStatus order_staged(TitanStory *story, TitanDevice *d, const Order *o)
{
    TitanDevice *copy;
    TRY(device_staged(d, story, &copy));
    for (size_t i = 0; i < o->nparts; i++) {
        const PartRun *r = &o->parts[i];
        memcpy(o->at + r->whole, copy->arena[o->base] + r->own, r->bytes);
    }
    return TITAN_OK;
}

TitanStatus order_run(const TitanImage *im, TitanDevice *d, Order *o)
{
    const TitanEntry *e =
        stage_entry(im, rank_stage(im, d->rank), &im->entries[o->entry]);
    switch (o->kind) {
    case ORDER_prepare:
        return device_prepare(d, e);
    case ORDER_run:
        return device_run(d, e);
    case ORDER_examine:
        return exam_run(im, d, e, &o->exam, &d->finding);
    case ORDER_found:
        o->found = d->finding;
        return TITAN_OK;
    case ORDER_profile:
        return d->class->profile(d, e);
    case ORDER_profiled:
        return tell_profile(d, o);
    case ORDER_trace:
        return bring_trace(d, o);
    case ORDER_keep:
        return device_keep(d, e, o->turn);
    case ORDER_stage_open:
        o->at = device_stage_open(d) ? (char *)d : NULL;
        return TITAN_OK;
    case ORDER_stage:
        return device_stage(d);
    case ORDER_write:
    case ORDER_read:
        return move(d, o);
    case ORDER_kept:
        return bring_kept(d, o);
    case ORDER_close:
    case ORDER_end:
        break;
    }
    return TITAN_OK;
}
