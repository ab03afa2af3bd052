/*
 * mesh.c: the ranks of a step as one device.
 *
 * A range of a whole base is cut into the runs of bytes that each rank holds
 * (parts.h), which go to that rank together.  Ranks of the host lag behind
 * nothing: records are gathered when they are kept, and a copy of the state is
 * made when it is asked for.  Ranks that lag keep and stage for themselves, and
 * what they have is put together when somebody looks, as far as he does.
 */
#include "mesh.h"

#include "nccl.h"
#include "remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS = 1024, ZEROS = 1 << 16 };

typedef struct Mesh Mesh;

/* A device that has what was staged. */
typedef struct Copies {
    TitanDevice device; /* first */
    Mesh *mesh;
    PartRun *runs; /* of the thread that reads */
} Copies;

struct Mesh {
    TitanDevice device; /* first */
    DeviceClass class;  /* what its ranks can */
    const TitanImage *im;
    Crew *crew;
    char *kept; /* the whole io base: records and checks */
    bool stages;
    char *staging; /* the whole persistent base, or NULL: see `copies` */
    Copies copies;
    char *zeros; /* for pads */
    PartRun *runs;
    const TitanEntry *keeps; /* whose ports were kept last */
};

static size_t whole(const Mesh *m, TitanBase base)
{
    return (size_t)m->im->header->whole_bytes[base];
}

/* ----------------------------------------------------------------- moves -- */

typedef struct Batch {
    PartSink sink; /* first */
    Mesh *mesh;
    TitanStory *story; /* of a thread that reads what was staged, or NULL */
    PartRun *runs;
    uint32_t rank;
    uint64_t from; /* byte of the whole base that is the first of order.at */
    Order order;
} Batch;

static TitanStatus flush(Batch *b)
{
    Crew *crew = b->mesh->crew;
    Order told = b->order;
    b->order.nparts = 0;
    if (told.nparts == 0) return TITAN_OK;
    return b->story ? crew->class->staged(crew, b->rank, b->story, &told)
                    : crew->class->one(crew, b->rank, &told);
}

static TitanStatus fill_pads(Batch *b, const PartRun *r)
{
    TRY(flush(b));
    for (size_t done = 0, n; done < r->bytes; done += n) {
        n = r->bytes - done < ZEROS ? r->bytes - done : ZEROS;
        PartRun some = {.own = r->own + done, .bytes = n};
        Order o = b->order;
        o.at = b->mesh->zeros;
        o.parts = &some;
        o.nparts = 1;
        TRY(b->mesh->crew->class->one(b->mesh->crew, b->rank, &o));
    }
    return TITAN_OK;
}

static TitanStatus take(PartSink *sink, const PartRun *r)
{
    Batch *b = (Batch *)sink;
    if (r->pads)
        return b->order.kind == ORDER_write ? fill_pads(b, r) : TITAN_OK;
    if (b->order.nparts == RUNS) TRY(flush(b));
    PartRun *mine = &b->runs[b->order.nparts++];
    *mine = *r;
    mine->whole -= b->from;
    return TITAN_OK;
}

/* Bytes of the whole base, at AT on the host. */
typedef struct Range {
    TitanBase base;
    uint64_t from, to;
    char *at;
} Range;

/* LIKE: whose order says which way, and the turn of what was kept. */
static TitanStatus move_by(const Batch *like, const Tensor *t, const Range *r)
{
    Batch b = *like;
    b.sink.take = take;
    b.from = r->from;
    b.order.base = r->base;
    b.order.parts = b.runs;
    b.order.at = r->at;
    bool writes = b.order.kind == ORDER_write;
    for (b.rank = 0; b.rank < b.mesh->crew->ranks; b.rank++) {
        PartAsk ask = {b.rank, r->from, r->to, .first = !writes};
        TRY(tensor_runs(t, &ask, &b.sink));
        TRY(flush(&b));
    }
    return TITAN_OK;
}

static TitanStatus move_tensor(Mesh *m, const Tensor *t, const Range *r,
                               Order kind)
{
    Batch b = {.mesh = m, .runs = m->runs, .order = kind};
    return move_by(&b, t, r);
}

static TitanStatus move_slots(const Batch *like, const Range *r)
{
    const TitanImage *im = like->mesh->im;
    for (uint32_t i = 0; i < im->nslots; i++) {
        const TitanSlot *s = &im->slots[i];
        uint64_t reach =
            (uint64_t)titan_slot_reach(im, s) * titan_dtype_bytes(s->dtype);
        bool other = titan_slot_base(s) != r->base;
        if (other || s->offset >= r->to || s->offset + reach <= r->from)
            continue;
        Tensor t = tensor_of_slot(im, s);
        TRY(move_by(like, &t, r));
    }
    return TITAN_OK;
}

static TitanStatus move_port(Mesh *m, const TitanPort *p, char *at, Order kind)
{
    Tensor t = tensor_of_port(m->im, p);
    Range r = {TITAN_BASE_io, p->offset, p->offset + tensor_bytes(&t), at};
    return move_tensor(m, &t, &r, kind);
}

static TitanStatus only_slots(Mesh *m, TitanBase base)
{
    if (base == TITAN_BASE_persistent || base == TITAN_BASE_host)
        return TITAN_OK;
    return titan_fail(m->device.story, TITAN_INTERNAL,
                      "of several ranks, ports and slots can be reached, "
                      "base %d cannot",
                      base);
}

static TitanStatus mesh_write(TitanDevice *d, TitanBase base, uint64_t offset,
                              const void *from, size_t bytes)
{
    Mesh *m = (Mesh *)d;
    TRY(only_slots(m, base));
    /* it is read only */
    Range r = {base, offset, offset + bytes, (char *)(uintptr_t)from};
    Batch b = {.mesh = m, .runs = m->runs, .order = {.kind = ORDER_write}};
    return move_slots(&b, &r);
}

static TitanStatus mesh_read(TitanDevice *d, TitanBase base, uint64_t offset,
                             void *to, size_t bytes)
{
    Mesh *m = (Mesh *)d;
    TRY(only_slots(m, base));
    Range r = {base, offset, offset + bytes, to};
    memset(to, 0, bytes);
    Batch b = {.mesh = m, .runs = m->runs, .order = {.kind = ORDER_read}};
    return move_slots(&b, &r);
}

static TitanStatus mesh_put(TitanDevice *d, const TitanPort *p,
                            const void *from)
{
    return move_port((Mesh *)d, p, (char *)(uintptr_t)from,
                     (Order){.kind = ORDER_write});
}

static TitanStatus mesh_get(TitanDevice *d, const TitanPort *p, void *to)
{
    return move_port((Mesh *)d, p, to, (Order){.kind = ORDER_read});
}

/* ------------------------------------------------------------------ runs -- */

static TitanStatus all(Mesh *m, const Order *o)
{
    return m->crew->class->all(m->crew, o);
}

static uint32_t row_of(const Mesh *m, const TitanEntry *e)
{
    return (uint32_t)(e - m->im->entries);
}

static TitanStatus mesh_prepare(TitanDevice *d, const TitanEntry *e)
{
    Mesh *m = (Mesh *)d;
    Order o = {.kind = ORDER_prepare, .entry = row_of(m, e)};
    return all(m, &o);
}

static TitanStatus mesh_run(TitanDevice *d, const TitanEntry *e)
{
    Mesh *m = (Mesh *)d;
    Order o = {.kind = ORDER_run, .entry = row_of(m, e)};
    return all(m, &o);
}

/* What each rank has found is fetched when all are done. */
static TitanStatus mesh_examine(TitanDevice *d, const TitanEntry *e,
                                const Exam *x, Finding *out)
{
    Mesh *m = (Mesh *)d;
    Order o = {.kind = ORDER_examine, .entry = row_of(m, e), .exam = *x};
    *out = (Finding){0};
    TRY(all(m, &o));
    for (uint32_t r = 0; r < m->crew->ranks; r++) {
        Order one = {.kind = ORDER_found};
        TRY(m->crew->class->one(m->crew, r, &one));
        finding_add(m->im, x, out, &one.found);
    }
    return TITAN_OK;
}

/* All ranks time their commands. */
static TitanStatus mesh_profile(TitanDevice *d, const TitanEntry *e)
{
    Mesh *m = (Mesh *)d;
    Order o = {.kind = ORDER_profile, .entry = row_of(m, e)};
    return all(m, &o);
}

static TitanStatus mesh_profile_write(TitanDevice *d, const char *path)
{
    return crew_profile_write(((Mesh *)d)->crew, path);
}

/* --------------------------------------------------------------- records -- */

static TitanStatus gather_kept(Mesh *m, const TitanEntry *e, Order kind)
{
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &m->im->ports[e->ports.first + i];
        if (port_is_kept(p)) TRY(move_port(m, p, m->kept + p->offset, kind));
    }
    return TITAN_OK;
}

static TitanStatus mesh_keep(TitanDevice *d, const TitanEntry *e, int64_t turn)
{
    Mesh *m = (Mesh *)d;
    m->keeps = e;
    if (d->lag == 0) return gather_kept(m, e, (Order){.kind = ORDER_read});
    Order o = {.kind = ORDER_keep, .entry = row_of(m, e), .turn = turn};
    return all(m, &o);
}

static TitanStatus mesh_kept(TitanDevice *d, int64_t turn, const char **io)
{
    Mesh *m = (Mesh *)d;
    *io = m->kept;
    if (d->lag == 0) return TITAN_OK;
    return gather_kept(m, m->keeps, (Order){.kind = ORDER_kept, .turn = turn});
}

/* ---------------------------------------------------------------- copies -- */

/* Where ranks lag, each must be able to keep a copy that is reached from here;
 * rank 0, which always is, comes last. */
static bool ranks_stage(Mesh *m)
{
    bool can = !titan_has_host_slots(m->im);
    for (uint32_t r = m->crew->ranks; m->device.lag && can && r-- > 0;) {
        Order o = {.kind = ORDER_stage_open};
        can = m->crew->class->one(m->crew, r, &o) == TITAN_OK && o.at;
    }
    if (can && !m->copies.runs)
        m->copies.runs = malloc(RUNS * sizeof *m->copies.runs);
    return can && m->copies.runs;
}

/* Of ranks that do not lag, rank 0 has a copy of the whole, where that leaves
 * as much again. */
static bool open_whole(Mesh *m)
{
    size_t bytes = whole(m, TITAN_BASE_persistent);
    uint64_t available = host_available();
    if (available && bytes > available / 2) return false;
    m->staging = calloc(1, bytes + 1);
    return m->staging != NULL;
}

static bool mesh_stage_open(TitanDevice *d)
{
    Mesh *m = (Mesh *)d;
    if (!m->stages && ranks_stage(m)) m->stages = d->lag || open_whole(m);
    return m->stages;
}

static TitanStatus mesh_stage(TitanDevice *d)
{
    Mesh *m = (Mesh *)d;
    Order o = {.kind = ORDER_stage};
    if (d->lag) return all(m, &o);
    return mesh_read(d, TITAN_BASE_persistent, 0, m->staging,
                     whole(m, TITAN_BASE_persistent));
}

/* The ranks' copies stay apart, and are put together where somebody reads. */
static TitanStatus read_copies(TitanDevice *d, TitanBase base, uint64_t offset,
                               void *to, size_t bytes)
{
    const Copies *c = (const Copies *)d;
    Range r = {base, offset, offset + bytes, to};
    Batch b = {.mesh = c->mesh,
               .story = d->story,
               .runs = c->runs,
               .order = {.kind = ORDER_read}};
    memset(to, 0, bytes);
    return move_slots(&b, &r);
}

static const DeviceClass copies_class = {.read = read_copies};

static TitanStatus mesh_staged(TitanDevice *d, TitanStory *story,
                               TitanDevice **copy)
{
    Mesh *m = (Mesh *)d;
    m->copies.device = (TitanDevice){.class = &copies_class, .story = story};
    m->copies.device.arena[TITAN_BASE_persistent] = m->staging;
    m->copies.mesh = m;
    *copy = &m->copies.device;
    return TITAN_OK;
}

/* ---------------------------------------------------------------- device -- */

static void mesh_free(TitanDevice *d)
{
    Mesh *m = (Mesh *)d;
    if (m->crew) m->crew->class->free(m->crew);
    free(m->kept);
    free(m->staging);
    free(m->copies.runs);
    free(m->zeros);
    free(m->runs);
    free(m);
}

static const DeviceClass mesh_class = {.write = mesh_write,
                                       .read = mesh_read,
                                       .put = mesh_put,
                                       .get = mesh_get,
                                       .prepare = mesh_prepare,
                                       .run = mesh_run,
                                       .examine = mesh_examine,
                                       .keep = mesh_keep,
                                       .kept = mesh_kept,
                                       .stage_open = mesh_stage_open,
                                       .stage = mesh_stage,
                                       .staged = mesh_staged,
                                       .free = mesh_free};

/* As the first rank is. */
static void describe(Mesh *m)
{
    const TitanDevice *first = m->crew->first;
    if (first->class->profile) {
        m->class.profile = mesh_profile;
        m->class.profile_write = mesh_profile_write;
    }
    m->device.lag = first->lag;
    m->device.peak_flops = first->peak_flops;
    m->device.memory_bytes = first->memory_bytes;
    snprintf(m->device.about, sizeof m->device.about, "%s of %.400s",
             m->crew->about, first->about);
}

TitanStatus mesh_new(TitanStory *story, const TitanImage *im,
                     const TitanCode *code, const DeviceOptions *o,
                     TitanDevice **out)
{
    Mesh *m = calloc(1, sizeof *m);
    if (!m) return titan_no_memory(story);
    m->class = mesh_class;
    m->device = (TitanDevice){.class = &m->class, .story = story};
    m->im = im;
    m->kept = calloc(1, whole(m, TITAN_BASE_io) + 1);
    m->zeros = calloc(1, ZEROS);
    m->runs = malloc(RUNS * sizeof *m->runs);
    if (im->header->target != TITAN_TARGET_host) {
        nccl_keep_order();
        if (!o->nccl_copies) nccl_open_registered();
        if (!o->link && !o->processes) nccl_keep_buffers();
    }
    CrewNew *new_crew = o->link ? remote_crew_new : crew_new;
    TitanStatus st = m->kept && m->zeros && m->runs
                         ? new_crew(story, im, code, o, &m->crew)
                         : titan_no_memory(story);
    if (st != TITAN_OK) {
        m->crew = NULL;
        mesh_free(&m->device);
        return st;
    }
    describe(m);
    *out = &m->device;
    return TITAN_OK;
}
