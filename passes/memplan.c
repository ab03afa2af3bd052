/*
 * memplan.c: a place for every buffer.
 *
 *   needs    kernel view
 *   gives    base and offset of every buffer and of every entry's arguments
 *   keeps    everything else
 *   result   two buffers overlap only if every use of one comes before every
 *            use of the other, in whatever order streams and events allow; or
 *            if one loop leaves the one behind and fills the other, and row by
 *            row it is so (ir/live.h)
 *
 * Slots lie in `persistent`, in the order of the module, once for all entries,
 * of a pipeline for all of a rank; one that lies within another's place, there.
 * Those of a session, which nobody saves, lie in `frame`, behind what is
 * temporary in the entries that have them: other entries may take their bytes,
 * for these end the session. Inputs, scalars and results of an entry lie in
 * `io`, from 0 in each.  What is left is temporary: of lanes in `lane`, else in
 * `frame` (arrange.c).  What is to lie in the memory of the host does so in
 * `host`, slots first.
 */
#include "arrange.h"
#include "reach.h"

#include <inttypes.h>

static void set_place(Module *m, Inst *in, const char *base, int64_t offset)
{
    AttrList l = attr_list(m, in->attr);
    attr_put_id(&l, AT_base, module_str(m, base).id);
    attr_put_int(&l, AT_offset, offset);
    in->attr = attr_intern(m, &l);
}

/* ------------------------------------------------- slots and other ports -- */

/* A slot in the place of another, or one with others in its place. */
typedef struct Within {
    Str path, around; /* around: empty: its own */
    int64_t start, end;
} Within;

typedef struct Ports {
    Module *m;
    Map slots; /* path -> number in offsets */
    VEC(int64_t) offsets;
    VEC(Within) within;
    int64_t persistent, io, host;
} Ports;

static Within *within_of(const Ports *p, Str path)
{
    for (uint32_t i = 0; i < p->within.n; i++)
        if (str_eq(p->within.at[i].path, path)) return &p->within.at[i];
    return NULL;
}

static int64_t arg_bytes(Module *m, const Fn *fn, Value v)
{
    return layout_bytes(m, layout_of(m, fn, v, m->scratch));
}

static void note_within(Ports *p, const Fn *fn, Value v)
{
    Module *m = p->m;
    const Inst *in = inst_of(fn, v);
    const AttrItem *within = attr_get(m, in->attr, AT_within);
    Str path = fn->params[v.id].path;
    if (!within || within_of(p, path)) return;
    Value around = {(uint32_t)within->i};
    Str first = fn->params[around.id].path;
    Within w = {path, first, attr_int(m, in->attr, AT_start, 0), 0};
    w.end = w.start + arg_bytes(m, fn, v);
    Within *of = within_of(p, first);
    if (!of) {
        Within own = {.path = first, .end = arg_bytes(m, fn, around)};
        vec_push(m->scratch, &p->within, own);
        of = &vec_last(&p->within);
    }
    if (of->end < w.end) of->end = w.end;
    vec_push(m->scratch, &p->within, w);
}

static bool is_host(const Module *m, Str path)
{
    const Slot *s = slot_find(m, path);
    return s && s->host;
}

static int64_t slot_place(Ports *p, Str path, Type t)
{
    uint32_t at;
    if (map_find(&p->slots, path.id, &at)) return p->offsets.at[at];
    const Within *w = within_of(p, path);
    int64_t *base = is_host(p->m, path) ? &p->host : &p->persistent;
    int64_t offset = *base;
    if (w && w->around.id)
        offset = slot_place(p, w->around, t) + w->start;
    else
        *base += place_aligned(w ? w->end : type_bytes(p->m, t));
    map_add(&p->slots, path.id, p->offsets.n);
    vec_push(p->m->scratch, &p->offsets, offset);
    return offset;
}

static bool is_session(const Module *m, const Port *port)
{
    const Slot *s = role_is_slot(port->role) ? slot_find(m, port->path) : NULL;
    return s && !s->saved;
}

static void place_port(Ports *p, Fn *fn, Value v, const Port *port)
{
    Inst *in = &fn->insts[v.id];
    if (is_session(p->m, port)) return; /* when the frame is known */
    if (role_is_slot(port->role)) {
        set_place(p->m, in, is_host(p->m, port->path) ? "host" : "persistent",
                  slot_place(p, port->path, port->type));
        return;
    }
    Layout l = layout_of(p->m, fn, v, p->m->scratch);
    set_place(p->m, in, "io", p->io);
    p->io += place_aligned(layout_bytes(p->m, l));
}

static void mark_slot(const Module *m, const Port *p, bool *has)
{
    const Slot *s = role_is_slot(p->role) ? slot_find(m, p->path) : NULL;
    if (s) has[s - m->slots.at] = true;
}

/* By slot: one of the rank's entries has it; without ranks, all. */
static bool *slots_of(const Module *m, uint32_t rank, bool all)
{
    bool *has = NEW_ARRAY(m->scratch, bool, m->slots.n + 1);
    for (uint32_t i = 0; i < m->slots.n; i++)
        has[i] = all;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        if (!fn_runs_on(m, fn, rank)) continue;
        for (uint32_t i = 0; i < fn->nparams; i++)
            mark_slot(m, &fn->params[i], has);
        for (uint32_t i = 0; i < fn->nresults; i++)
            mark_slot(m, &fn->results[i], has);
    }
    return has;
}

static void place_entry(Ports *p, Fn *fn)
{
    p->io = 0;
    for (uint32_t i = 0; i < fn->nparams; i++)
        place_port(p, fn, (Value){i}, &fn->params[i]);
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (inst_of(fn, fn->result_values[i])->op == OP_buffer)
            place_port(p, fn, fn->result_values[i], &fn->results[i]);
}

static int64_t place_rank(Module *m, uint32_t rank, bool all)
{
    Ports p = {.m = m};
    const bool *has = slots_of(m, rank, all);
    map_init(&p.slots, m->scratch);
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->nparams; i++)
            note_within(&p, m->fns.at[f], (Value){i});
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (m->slots.at[i].saved && has[i])
            slot_place(&p, m->slots.at[i].path, m->slots.at[i].type);
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (fn_runs_on(m, m->fns.at[f], rank)) place_entry(&p, m->fns.at[f]);
    return p.host;
}

/* Returns the bytes of slots in the memory of the host, the most of a rank. */
static int64_t place_ports(Module *m)
{
    uint32_t ranks = module_ranks(m);
    int64_t host = place_rank(m, 0, ranks == 0);
    for (uint32_t r = 1; r < ranks; r++) {
        int64_t more = place_rank(m, r, false);
        if (more > host) host = more;
    }
    return host;
}

/* ----------------------------------------------------------- temporaries -- */

/* Of the functions that are IN. */
static int64_t bytes_of(Module *m, const bool *in)
{
    int64_t ends[BASE_count] = {0}, all = 0;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        bool planned = in[f] && fn->view == VIEW_kernel;
        for (uint32_t i = 0; planned && i < fn->ninsts; i++) {
            const Inst *x = &fn->insts[i];
            if (!attr_get(m, x->attr, AT_base)) continue;
            Layout l = layout_of(m, fn, (Value){i}, m->scratch);
            int64_t end =
                attr_int(m, x->attr, AT_offset, 0) + layout_bytes(m, l);
            for (int b = 0; b < BASE_count; b++)
                if (attr_is(m, x->attr, AT_base, base_name((Base)b)) &&
                    ends[b] < end)
                    ends[b] = end;
        }
    }
    for (int b = 0; b < BASE_count; b++)
        if (b != BASE_host) all += ends[b];
    return all;
}

static uint32_t places_of(const Module *m)
{
    uint32_t ranks = module_ranks(m);
    return ranks ? ranks : 1;
}

/* By rank. */
static int64_t *planned_by_rank(Module *m)
{
    uint32_t n = places_of(m);
    int64_t *bytes = NEW_ARRAY(m->scratch, int64_t, n);
    bool *all = NEW_ARRAY(m->scratch, bool, m->fns.n + 1);
    memset(all, true, m->fns.n);
    for (uint32_t r = 0; r < n; r++)
        bytes[r] = bytes_of(m, n > 1 ? rank_reaches(m, r, m->scratch) : all);
    return bytes;
}

int64_t planned_bytes(Module *m)
{
    const int64_t *bytes = planned_by_rank(m);
    int64_t most = 0;
    for (uint32_t r = 0; r < places_of(m); r++)
        if (bytes[r] > most) most = bytes[r];
    return most;
}

/* From byte FIRST of the base on. */
static int64_t place_temporaries(Module *m, const Live *live, Base base,
                                 const int64_t *rooms, int64_t first)
{
    int64_t *at = NEW_ARRAY(m->scratch, int64_t, (size_t)live->n + 1);
    int64_t peak = arrange(m, live, base, rooms, at, m->scratch);
    for (uint32_t i = 0; i < live->n; i++) {
        const LiveBuffer *b = &live->at[i];
        if (b->base == base)
            set_place(m, &b->fn->insts[b->value.id], base_name(base),
                      first + at[i]);
    }
    return peak;
}

/* -------------------------------------------------------------- sessions -- */

static bool has_session(const Module *m, const Fn *fn)
{
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (is_session(m, &fn->params[i])) return true;
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (is_session(m, &fn->results[i])) return true;
    return false;
}

static int64_t temporaries_end(Module *m, const Live *live, const bool *in)
{
    int64_t end = 0;
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; in[f] && i < live->n; i++) {
            const LiveBuffer *b = &live->at[i];
            if (b->fn != m->fns.at[f] || b->base != BASE_frame) continue;
            Attr a = inst_of(b->fn, b->value)->attr;
            int64_t to = attr_int(m, a, AT_offset, 0) + b->bytes;
            if (to > end) end = to;
        }
    return end;
}

static void place_session(Module *m, Fn *fn, const Map *at)
{
    uint32_t offset;
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (is_session(m, &fn->params[i]) &&
            map_find(at, fn->params[i].path.id, &offset))
            set_place(m, &fn->insts[i], "frame", (int64_t)offset * PLACE_ALIGN);
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (is_session(m, &fn->results[i]) &&
            map_find(at, fn->results[i].path.id, &offset))
            set_place(m, &fn->insts[fn->result_values[i].id], "frame",
                      (int64_t)offset * PLACE_ALIGN);
}

static void place_sessions(Module *m, const Live *live)
{
    Roots roots = {NEW_ARRAY(m->scratch, bool, m->fns.n + 1)};
    Map at;
    map_init(&at, m->scratch);
    for (uint32_t f = 0; f < m->fns.n; f++)
        roots.is[f] = m->fns.at[f]->view == VIEW_kernel &&
                      m->fns.at[f]->entry && has_session(m, m->fns.at[f]);
    int64_t end =
        place_aligned(temporaries_end(m, live, fns_reached(m, &roots)));
    for (uint32_t i = 0; i < m->slots.n; i++) {
        const Slot *s = &m->slots.at[i];
        if (s->saved) continue;
        map_add(&at, s->path.id, (uint32_t)(end / PLACE_ALIGN));
        end += place_aligned(type_bytes(m, s->type));
    }
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (roots.is[f]) place_session(m, m->fns.at[f], &at);
}

/* What the option `room` leaves to the frame of each rank, if nothing else lies
 * there or in lanes: all that counts is whether the plan is within it. */
static int64_t *rooms_of(Module *m, const Live *live, PassCtx *cx)
{
    int64_t room = pass_option_int(m, cx, "room", LOWEST);
    if (room == LOWEST) return NULL;
    for (uint32_t i = 0; i < live->n; i++)
        if (live->at[i].base == BASE_lane) return NULL;
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (!m->slots.at[i].saved) return NULL;
    int64_t *rooms = planned_by_rank(m);
    for (uint32_t r = 0; r < places_of(m); r++)
        rooms[r] = room > rooms[r] ? room - rooms[r] : 0;
    return rooms;
}

bool pass_memplan(Module *m, PassCtx *cx)
{
    static const Base bases[] = {BASE_frame, BASE_lane, BASE_host};
    int64_t slots = place_ports(m);
    Live live = live_find(m, m->scratch);
    const int64_t *rooms = rooms_of(m, &live, cx);
    for (unsigned i = 0; i < sizeof bases / sizeof *bases; i++) {
        LiveMoment moment;
        int64_t first = bases[i] == BASE_host ? slots : 0;
        int64_t peak = place_temporaries(
            m, &live, bases[i], bases[i] == BASE_frame ? rooms : NULL, first);
        int64_t least = live_most(&live, bases[i], &moment, m->scratch);
        if (bases[i] == BASE_host && first + peak == 0) continue;
        pass_remark(m, cx, (Loc){0},
                    "%s has %" PRId64 " bytes, at least %" PRId64
                    " live at once",
                    base_name(bases[i]), first + peak, first + least);
    }
    place_sessions(m, &live);
    return true;
}
