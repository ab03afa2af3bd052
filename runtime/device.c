/*
 * device.c: the host as a device, the choice of one, and windows into a base.
 */
#include "mesh.h"
#include "parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct HostDevice {
    TitanDevice device; /* first */
    TitanHost *host;
    const TitanImage *im;
    char *kept; /* an io base: what records and checks were */
    char *staging;
    TitanDevice copy; /* nothing but the staged bytes */
    size_t bytes;     /* of the persistent base */
} HostDevice;

static TitanStatus host_write(TitanDevice *d, TitanBase base, uint64_t offset,
                              const void *from, size_t bytes)
{
    memcpy(d->arena[base] + offset, from, bytes);
    return TITAN_OK;
}

static TitanStatus host_read(TitanDevice *d, TitanBase base, uint64_t offset,
                             void *to, size_t bytes)
{
    memcpy(to, d->arena[base] + offset, bytes);
    return TITAN_OK;
}

static TitanStatus host_prepare(TitanDevice *d, const TitanEntry *e)
{
    (void)d, (void)e;
    return TITAN_OK;
}

static TitanStatus host_run(TitanDevice *d, const TitanEntry *e)
{
    return titan_host_run(((HostDevice *)d)->host, e);
}

static TitanStatus host_watch(TitanDevice *d, const TitanEntry *e,
                              uint32_t runs, TitanWatch *w)
{
    return titan_host_watch(((HostDevice *)d)->host, e, runs, w);
}

/* Nothing lags: there is one step to keep. */
static TitanStatus host_keep(TitanDevice *d, const TitanEntry *e, int64_t turn)
{
    HostDevice *h = (HostDevice *)d;
    (void)turn;
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &h->im->ports[e->ports.first + i];
        PortPlace own;
        uint32_t at = 0;
        while (port_is_kept(p) && port_place_next(h->im, p, d->rank, &at, &own))
            memcpy(h->kept + own.offset, d->arena[TITAN_BASE_io] + own.offset,
                   own.bytes);
    }
    return TITAN_OK;
}

static TitanStatus host_kept(TitanDevice *d, int64_t turn, const char **io)
{
    (void)turn;
    *io = ((HostDevice *)d)->kept;
    return TITAN_OK;
}

/* The pages are there before the first copy needs them. */
static bool host_stage_open(TitanDevice *d)
{
    HostDevice *h = (HostDevice *)d;
    if (titan_has_host_slots(h->im)) return false;
    if (!h->staging) h->staging = malloc(h->bytes + 1);
    if (h->staging) memset(h->staging, 0, h->bytes + 1);
    return h->staging != NULL;
}

static TitanStatus host_stage(TitanDevice *d)
{
    HostDevice *h = (HostDevice *)d;
    memcpy(h->staging, d->arena[TITAN_BASE_persistent], h->bytes);
    return TITAN_OK;
}

static TitanStatus host_staged(TitanDevice *d, TitanStory *story,
                               TitanDevice **copy)
{
    HostDevice *h = (HostDevice *)d;
    h->copy = (TitanDevice){.story = story};
    h->copy.arena[TITAN_BASE_persistent] = h->staging;
    *copy = &h->copy;
    return TITAN_OK;
}

static void host_free(TitanDevice *d)
{
    titan_host_free(((HostDevice *)d)->host);
    free(((HostDevice *)d)->staging);
    free(((HostDevice *)d)->kept);
    free(d);
}

static const DeviceClass host_class = {.write = host_write,
                                       .read = host_read,
                                       .prepare = host_prepare,
                                       .run = host_run,
                                       .watch = host_watch,
                                       .keep = host_keep,
                                       .kept = host_kept,
                                       .stage_open = host_stage_open,
                                       .stage = host_stage,
                                       .staged = host_staged,
                                       .free = host_free};

static TitanStatus device_host_new(TitanStory *story, const TitanImage *im,
                                   const TitanCode *code,
                                   const DeviceOptions *o, TitanDevice **out)
{
    HostDevice *h = calloc(1, sizeof *h);
    if (!h) return titan_no_memory(story);
    h->device.class = &host_class;
    h->device.story = story;
    h->device.rank = o->rank ? o->rank->rank : 0;
    const TitanStage *stage = stage_of(im, h->device.rank);
    h->im = im;
    h->bytes = (size_t)stage->base_bytes[TITAN_BASE_persistent];
    h->kept = calloc(1, (size_t)stage->base_bytes[TITAN_BASE_io] + 1);
    TitanRank alone = {0};
    TitanStatus st =
        h->kept ? titan_host_new_rank(story, im, code->kernels, o->threads,
                                      o->rank ? o->rank : &alone, &h->host)
                : titan_no_memory(story);
    if (st != TITAN_OK) {
        free(h->kept);
        free(h);
        return st;
    }
    titan_host_follow(h->host, o->command);
    for (int b = 0; b < TITAN_BASE_COUNT; b++)
        h->device.arena[b] = titan_host_base(h->host, (TitanBase)b);
    h->device.memory_bytes =
        (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    unsigned n = titan_host_threads(h->host);
    snprintf(h->device.about, sizeof h->device.about, "%u thread%s", n,
             n == 1 ? "" : "s");
    *out = &h->device;
    return TITAN_OK;
}

TitanStatus device_new(TitanStory *story, const TitanImage *im,
                       const TitanCode *code, const DeviceOptions *o,
                       TitanDevice **out)
{
    *out = NULL;
    if (im->header->ranks > 1 && !o->rank)
        return mesh_new(story, im, code, o, out);
    if (im->header->target == TITAN_TARGET_host)
        return device_host_new(story, im, code, o, out);
    return device_cuda_new(story, im, code, o, out);
}

uint64_t host_available(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1) break;
    if (f) fclose(f);
    return kib << 10;
}

/* --------------------------------------------------------------- windows -- */

TitanStatus window_open(TitanDevice *d, TitanBase base, uint64_t offset,
                        size_t bytes, bool fill, Window *out)
{
    *out = (Window){.base = base, .offset = offset, .bytes = bytes};
    if (d->arena[base]) {
        out->at = d->arena[base] + offset;
        return TITAN_OK;
    }
    out->at = malloc(bytes ? bytes : 1);
    if (!out->at) return titan_no_memory(d->story);
    out->copied = true;
    if (!fill) return TITAN_OK;
    TitanStatus st = device_read(d, base, offset, out->at, bytes);
    if (st != TITAN_OK) window_close(d, out, false);
    return st;
}

TitanStatus window_close(TitanDevice *d, Window *w, bool flush)
{
    TitanStatus st = TITAN_OK;
    if (!w->copied) return st;
    if (flush) st = device_write(d, w->base, w->offset, w->at, w->bytes);
    free(w->at);
    *w = (Window){0};
    return st;
}
