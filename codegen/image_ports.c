/*
 * image_ports.c: what an image says about the outside: slots with their
 * places in checkpoints, ports of entries, numbers for reports.
 */
#include "image.h"

#include <stdlib.h>
#include <string.h>

static uint32_t role_number(Role r)
{
    switch (r) {
    case ROLE_param:
        return TITAN_ROLE_param;
    case ROLE_state:
        return TITAN_ROLE_state;
    case ROLE_scalar:
        return TITAN_ROLE_scalar;
    case ROLE_record:
        return TITAN_ROLE_record;
    case ROLE_check:
        return TITAN_ROLE_check;
    case ROLE_output:
        return TITAN_ROLE_output;
    case ROLE_skip:
        return TITAN_ROLE_skip;
    default:
        return TITAN_ROLE_input;
    }
}

/* ----------------------------------------------------------------- slots -- */

/* The place of a port on a stage. */
typedef struct PortAt {
    const Fn *fn; /* NULL: it has none there */
    Value v;
    const Port *port;
} PortAt;

static bool is_slot_of(const Port *p, Str path)
{
    return role_is_slot(p->role) && str_eq(p->path, path);
}

static PortAt slot_at(const ImageTables *t, uint32_t stage, Str path)
{
    for (uint32_t f = 0; f < t->nentries; f++) {
        const Fn *fn = t->entry_fns[stage][f];
        for (uint32_t i = 0; i < fn->nparams; i++)
            if (is_slot_of(&fn->params[i], path))
                return (PortAt){fn, {i}, &fn->params[i]};
        for (uint32_t i = 0; i < fn->nresults; i++)
            if (is_slot_of(&fn->results[i], path))
                return (PortAt){fn, fn->result_values[i], &fn->results[i]};
    }
    return (PortAt){0};
}

static TitanRange slot_dims(ImageTables *t, const Slot *s)
{
    TitanRange r = {t->dims.n, s->ckpt.ndims};
    for (uint32_t i = 0; i < s->ckpt.ndims; i++) {
        const CkptDim *d = &s->ckpt.dims[i];
        TitanDim row = {.axes = {t->axes.n, d->naxes},
                        .offset = d->offset,
                        .block = d->block};
        int64_t n = 1;
        for (uint32_t k = 0; k < d->naxes; k++) {
            int64_t size = type_size(t->m, s->type, d->axes[k]);
            TitanAxis axis = {
                .name = image_string(t, t->m->axes.at[d->axes[k].id].name),
                .size = size};
            n *= size;
            vec_push(t->a, &t->axes, axis);
        }
        row.total = d->total ? d->total : n;
        vec_push(t->a, &t->dims, row);
    }
    return r;
}

/* The pieces of a slot that lies between the rows of others. */
static void put_pieces(ImageTables *t, Layout l, TitanPart *row)
{
    const Module *m = t->m;
    Axis *order = NEW_ARRAY(t->a, Axis, type_info(m, l.type)->naxes + 1u);
    int64_t dense = 1;
    if (layout_is_packed(m, l)) return;
    for (uint32_t i = layout_order(m, l, order); i-- > 0;) {
        int64_t n = type_local_size(m, type_axis(m, l.type, order[i]));
        int64_t stride = layout_stride(m, l, order[i]);
        if (n > 1 && stride != dense && !row->piece) {
            row->piece = (uint64_t)dense;
            row->pitch = (uint64_t)stride;
        }
        dense *= n;
    }
}

/* The whole of a part. */
static Type whole_type(Module *m, const Slot *s, Type t)
{
    if (!s->whole.id) return t;
    TypeAxis a = *type_axis(m, t, s->along);
    a.size = s->total;
    return type_with_axis(m, t, a);
}

static uint32_t axis_number(const Module *m, Layout l, Axis axis, Arena *a)
{
    Axis *order = NEW_ARRAY(a, Axis, type_info(m, l.type)->naxes + 1u);
    uint32_t n = layout_order(m, l, order), i = 0;
    while (i < n && order[i].id != axis.id)
        i++;
    return i;
}

/* A slot in the making; the axes of all its parts are in one order. */
typedef struct SlotRow {
    const Slot *s; /* whole, or the first part */
    Layout order;
} SlotRow;

/* What a stage has of a slot, or of a part of one. */
static TitanPart slot_part(ImageTables *t, const SlotRow *x, const Slot *s,
                           PortAt at)
{
    Module *m = t->m;
    Layout l = layout_of(m, at.fn, at.v, t->a);
    Attr a = inst_of(at.fn, at.v)->attr;
    TitanPart part = {.offset = (uint64_t)attr_int(m, a, AT_offset, 0),
                      .stage = t->stage};
    put_pieces(t, l, &part);
    if (s->whole.id) {
        part.axis = axis_number(m, x->order, s->along, t->a);
        part.first = s->start;
        part.n = type_size(m, s->type, s->along);
    }
    image_reserve(t, s->host ? TITAN_BASE_host : TITAN_BASE_persistent,
                  part.offset + (uint64_t)layout_bytes(m, l));
    return part;
}

static void add_slot_parts(ImageTables *t, const SlotRow *x, const Slot *s)
{
    for (t->stage = 0; t->stage < t->stages.n; t->stage++) {
        PortAt at = slot_at(t, t->stage, s->path);
        if (!at.fn) continue;
        TitanPart part = slot_part(t, x, s, at);
        image_part(t, x->order, port_whole(at.port), part);
    }
    t->stage = 0;
}

static PortAt first_place(const ImageTables *t, Str path)
{
    PortAt at = {0};
    for (uint32_t i = 0; i < t->stages.n && !at.fn; i++)
        at = slot_at(t, i, path);
    return at;
}

static bool is_part_of(const Slot *x, const Slot *s)
{
    return x == s || (s->whole.id && str_eq(x->whole, s->whole));
}

/* The order of the axes, as the longest part has it; an axis of which nobody
 * has more than one index lies anywhere, and stands first. */
static Layout slot_order(const ImageTables *t, const Slot *s)
{
    Module *m = t->m;
    const Slot *longest = s;
    for (uint32_t i = 0; i < m->slots.n && s->whole.id; i++)
        if (is_part_of(&m->slots.at[i], s) &&
            type_size(m, m->slots.at[i].type, s->along) >
                type_size(m, longest->type, s->along))
            longest = &m->slots.at[i];
    PortAt at = first_place(t, longest->path);
    Layout l = layout_of(m, at.fn, at.v, t->a);
    const TypeInfo *ti = type_info(m, l.type);
    int64_t *stride = NEW_ARRAY(t->a, int64_t, ti->naxes + 1u);
    for (uint32_t i = 0; i < ti->naxes; i++) {
        bool alone = s->whole.id && ti->axes[i].axis.id == s->along.id &&
                     ti->axes[i].size == 1;
        stride[i] = alone ? INT64_MAX : l.stride[i];
    }
    l.stride = stride;
    return l;
}

static TitanRange add_parts(ImageTables *t, const SlotRow *x)
{
    const Module *m = t->m;
    TitanRange r = {.first = t->parts.n};
    if (!x->s->whole.id) add_slot_parts(t, x, x->s);
    for (uint32_t i = 0; i < m->slots.n && x->s->whole.id; i++)
        if (is_part_of(&m->slots.at[i], x->s))
            add_slot_parts(t, x, &m->slots.at[i]);
    r.n = t->parts.n - r.first;
    return r;
}

static void add_slot(ImageTables *t, const Slot *s)
{
    Module *m = t->m;
    /* nobody outside of its entries asks for it */
    if (!s->saved || (s->whole.id && s->start)) return;
    PortAt at = first_place(t, s->path);
    if (!at.fn) return; /* no entry knows it: it has no place */
    SlotRow x = {s, slot_order(t, s)};
    Layout l = x.order;
    Type whole = whole_type(m, s, port_whole(at.port));
    TitanSlot row = {.path = image_string(t, s->whole.id ? s->whole : s->path),
                     .role = role_number(s->role),
                     .dtype = type_dtype(m, l.type),
                     .flags = (s->frozen ? TITAN_SLOT_frozen : 0u) |
                              (s->saved ? TITAN_SLOT_saved : 0u) |
                              (s->has_ckpt ? TITAN_SLOT_ckpt : 0u) |
                              (s->host ? TITAN_SLOT_host : 0u),
                     .axes = image_whole_axes(t, l, whole)};
    if (t->ranks > 1) {
        row.offset = image_whole_place(
            t, s->host ? TITAN_BASE_host : TITAN_BASE_persistent, whole);
        row.parts = add_parts(t, &x);
    } else {
        TitanPart all = slot_part(t, &x, s, at);
        row.offset = all.offset;
        row.piece = all.piece;
        row.pitch = all.pitch;
    }
    if (s->has_ckpt) {
        Slot all = *s;
        all.type = whole_type(m, s, s->type);
        row.ckpt = image_string(t, s->ckpt.name);
        if (s->ckpt.scale.id) row.scale = image_string(t, s->ckpt.scale);
        row.dims = slot_dims(t, &all);
    }
    vec_push(t->a, &t->slots, row);
}

/* Ports of slots that the module does not list. */
static void add_unlisted(ImageTables *t, const Port *p, Map *seen)
{
    uint32_t at;
    if (!role_is_slot(p->role) || slot_find(t->m, p->path) ||
        map_find(seen, p->path.id, &at))
        return;
    map_add(seen, p->path.id, 1);
    Slot s = {
        .path = p->path, .type = port_whole(p), .role = p->role, .saved = true};
    add_slot(t, &s);
}

void image_slots(ImageTables *t)
{
    Module *m = t->m;
    Map seen;
    map_init(&seen, m->scratch);
    for (uint32_t i = 0; i < m->slots.n; i++)
        add_slot(t, &m->slots.at[i]);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        if (!fn->entry || fn->view != VIEW_kernel) continue;
        for (uint32_t i = 0; i < fn->nparams; i++)
            add_unlisted(t, &fn->params[i], &seen);
        for (uint32_t i = 0; i < fn->nresults; i++)
            add_unlisted(t, &fn->results[i], &seen);
    }
}

/* ----------------------------------------------------------------- ports -- */

/* Values of an input that chooses from an axis stay below its size. */
static uint32_t bound_of(const ImageTables *t, const Port *p)
{
    if (p->role != ROLE_input) return 0;
    const char *name = arena_printf(t->a, "bound.%s", str_of(t->m, p->path));
    return (uint32_t)option_int(t->m, name, 0);
}

static Str port_path(PortAt x)
{
    return x.port->path.id ? x.port->path : x.fn->names[x.v.id];
}

static Role port_role(PortAt x)
{
    return x.port->role == ROLE_none ? ROLE_output : x.port->role;
}

/* Port I of a function, its results behind its parameters. */
static PortAt port_of(const Fn *fn, uint32_t i)
{
    if (i < fn->nparams) return (PortAt){fn, {i}, &fn->params[i]};
    i -= fn->nparams;
    return (PortAt){fn, fn->result_values[i], &fn->results[i]};
}

/* The same port of another function. */
static PortAt port_in(const Fn *fn, PortAt x)
{
    for (uint32_t i = 0; i < fn->nparams + fn->nresults; i++) {
        PortAt y = port_of(fn, i);
        if (port_role(y) == port_role(x) && str_eq(port_path(y), port_path(x)))
            return y;
    }
    return (PortAt){0};
}

static uint64_t port_offset(const Module *m, PortAt x)
{
    return (uint64_t)attr_int(m, inst_of(x.fn, x.v)->attr, AT_offset, 0);
}

static void add_port(ImageTables *t, const Fn *const *fns, PortAt x)
{
    Module *m = t->m;
    Layout l = layout_of(m, x.fn, x.v, t->a);
    TitanPort row = {.path = image_string(t, port_path(x)),
                     .role = role_number(port_role(x)),
                     .dtype = type_dtype(m, l.type),
                     .bound = bound_of(t, x.port),
                     .offset = port_offset(m, x),
                     .axes = image_whole_axes(t, l, port_whole(x.port))};
    if (t->ranks > 1)
        row.offset = image_whole_place(t, TITAN_BASE_io, port_whole(x.port));
    row.parts.first = t->parts.n;
    for (t->stage = 0; t->stage < t->stages.n; t->stage++) {
        PortAt y = t->stages.n > 1 ? port_in(fns[t->stage], x) : x;
        if (!y.fn) continue;
        l = layout_of(m, y.fn, y.v, t->a);
        TitanPart part = {.offset = port_offset(m, y), .stage = t->stage};
        image_reserve(t, TITAN_BASE_io,
                      part.offset + (uint64_t)layout_bytes(m, l));
        if (t->ranks > 1) image_part(t, l, port_whole(y.port), part);
    }
    t->stage = 0;
    row.parts.n = t->parts.n - row.parts.first;
    if (t->ranks == 1) row.parts = (TitanRange){0, 0};
    vec_push(t->a, &t->ports, row);
}

/* An earlier stage has it, too. */
static bool is_added(const Fn *const *fns, uint32_t stage, PortAt x)
{
    for (uint32_t s = 0; s < stage; s++)
        if (port_in(fns[s], x).fn) return true;
    return false;
}

TitanRange image_ports(ImageTables *t, const Fn *const *fns)
{
    TitanRange r = {.first = t->ports.n};
    for (uint32_t s = 0; s < t->stages.n; s++)
        for (uint32_t i = 0; i < fns[s]->nparams + fns[s]->nresults; i++) {
            PortAt x = port_of(fns[s], i);
            if (!role_is_slot(x.port->role) && !is_added(fns, s, x))
                add_port(t, fns, x);
        }
    r.n = t->ports.n - r.first;
    return r;
}

/* ----------------------------------------------------------------- facts -- */

void image_fact(ImageTables *t, const char *name, double value)
{
    TitanFact f = {.name = image_text(t, name), .value = value};
    vec_push(t->a, &t->facts, f);
}

static void text_fact(ImageTables *t, const char *name, const char *text)
{
    TitanFact f = {.name = image_text(t, name), .text = image_text(t, text)};
    vec_push(t->a, &t->facts, f);
}

/* Every option that is a number is a fact, and so are texts of config. */
static void add_options(ImageTables *t)
{
    for (uint32_t i = 0; i < t->m->options.n; i++) {
        const char *name = str_of(t->m, t->m->options.at[i].name);
        const char *text = str_of(t->m, t->m->options.at[i].value);
        char *end;
        double value = strtod(text, &end);
        if (end != text && *end == 0)
            image_fact(t, name, value);
        else if (*text && strncmp(name, "config.", 7) == 0)
            text_fact(t, name, text);
    }
}

/* A buffer without a name is called by the function that fills it first. */
static Str buffer_name(ImageTables *t, const LiveBuffer *b)
{
    Module *m = t->m;
    Str name = b->fn->names[b->value.id];
    for (uint32_t i = b->value.id; i < b->fn->ninsts && !name.id; i++) {
        const Inst *in = &b->fn->insts[i];
        if (in->op != OP_launch && in->op != OP_loop) continue;
        for (uint32_t k = 0; k < in->nargs && !name.id; k++) {
            Spot s = spot_of(m, b->fn, inst_arg(b->fn, in, k), t->a);
            if (!value_eq(s.root, b->value)) continue;
            const Fn *by = fn_of(m, attr_fn(m, in->attr, AT_fn));
            name =
                module_str(m, arena_printf(t->a, "(%s)", str_of(m, by->name)));
        }
    }
    return name;
}

typedef struct Held {
    const LiveBuffer *b;
    int64_t bytes;
} Held;

static int by_bytes(const void *a, const void *b)
{
    const Held *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->b < y->b ? -1 : 1;
}

static void add_peaks(ImageTables *t, const Live *live, LiveMoment moment)
{
    Held *at = NEW_ARRAY(t->a, Held, (size_t)live->n + 1);
    TitanRange *rows = &t->stages.at[t->stage].peaks;
    uint32_t n = 0;
    for (uint32_t i = 0; i < live->n; i++) {
        const LiveBuffer *b = &live->at[i];
        int64_t bytes = b->base == BASE_frame ? live_bytes(b, moment) : 0;
        if (bytes > 0) at[n++] = (Held){b, bytes};
    }
    *rows = (TitanRange){t->peaks.n, n};
    qsort(at, n, sizeof *at, by_bytes);
    for (uint32_t i = 0; i < n; i++) {
        const LiveBuffer *b = at[i].b;
        TitanPeak row = {.name = image_string(t, buffer_name(t, b)),
                         .bytes = (uint64_t)at[i].bytes};
        image_line(t, inst_of(b->fn, b->value)->loc, &row.file, &row.line);
        vec_push(t->a, &t->peaks, row);
    }
}

/* What no plan could go below: beside the temporaries, what has a place of its
 * own. */
static uint64_t lower_bound(ImageTables *t)
{
    Live live = image_live(t);
    LiveMoment moment, lane;
    int64_t least = live_most(&live, BASE_frame, &moment, t->a);
    int64_t least_lane = live_most(&live, BASE_lane, &lane, t->a);
    add_peaks(t, &live, moment);
    const uint64_t *bytes = t->stages.at[t->stage].base_bytes;
    uint64_t fixed = bytes[TITAN_BASE_persistent] + bytes[TITAN_BASE_io];
    return fixed + (uint64_t)least + (uint64_t)least_lane * t->lanes;
}

void image_facts(ImageTables *t)
{
    uint64_t most = 0;
    for (t->stage = 0; t->stage < t->stages.n; t->stage++) {
        uint64_t least = lower_bound(t);
        if (most < least) most = least;
    }
    t->stage = 0;
    add_options(t);
    image_fact(t, "lower_bound", (double)most);
}
