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

/* ------------------------------------------------------------------ slots --
 */

/* The value of a slot in some entry, and its port; NULL: no entry has it. */
static const Fn *slot_value(const Module *m, Str path, Value *out,
                            const Port **port)
{
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        if (!fn->entry || fn->view != VIEW_kernel) continue;
        for (uint32_t i = 0; i < fn->nparams; i++) {
            *port = &fn->params[i];
            *out = (Value){i};
            if (role_is_slot((*port)->role) && str_eq((*port)->path, path))
                return fn;
        }
        for (uint32_t i = 0; i < fn->nresults; i++) {
            *port = &fn->results[i];
            *out = fn->result_values[i];
            if (role_is_slot((*port)->role) && str_eq((*port)->path, path))
                return fn;
        }
    }
    return NULL;
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

static void add_slot(ImageTables *t, const Slot *s)
{
    Module *m = t->m;
    Value v;
    if (!s->saved) return; /* nobody outside of its entries asks for it */
    const Port *port;
    const Fn *fn = slot_value(m, s->path, &v, &port);
    if (!fn) return; /* no entry knows it: it has no place */
    uint64_t offset = (uint64_t)attr_int(m, inst_of(fn, v)->attr, AT_offset, 0);
    Layout l = layout_of(m, fn, v, t->a);
    TitanBase base = s->host ? TITAN_BASE_host : TITAN_BASE_persistent;
    TitanPart part = {.offset = offset};
    put_pieces(t, l, &part);
    TitanSlot row = {.path = image_string(t, s->path),
                     .role = role_number(s->role),
                     .dtype = type_dtype(m, l.type),
                     .flags = (s->frozen ? TITAN_SLOT_frozen : 0u) |
                              (s->saved ? TITAN_SLOT_saved : 0u) |
                              (s->has_ckpt ? TITAN_SLOT_ckpt : 0u) |
                              (s->host ? TITAN_SLOT_host : 0u),
                     .offset = offset,
                     .piece = part.piece,
                     .pitch = part.pitch,
                     .axes = image_whole_axes(t, l, port_whole(port))};
    if (t->ranks > 1) {
        row.offset = image_whole_place(t, base, port_whole(port));
        row.piece = row.pitch = 0;
        row.parts = image_part(t, l, port_whole(port), part);
    }
    if (s->has_ckpt) {
        row.ckpt = image_string(t, s->ckpt.name);
        if (s->ckpt.scale.id) row.scale = image_string(t, s->ckpt.scale);
        row.dims = slot_dims(t, s);
    }
    vec_push(t->a, &t->slots, row);
    image_reserve(t, base, offset + (uint64_t)layout_bytes(m, l));
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

/* ------------------------------------------------------------------ ports --
 */

/* Values of an input that chooses from an axis stay below its size. */
static uint32_t bound_of(const ImageTables *t, const Port *p)
{
    if (p->role != ROLE_input) return 0;
    const char *name = arena_printf(t->a, "bound.%s", str_of(t->m, p->path));
    return (uint32_t)option_int(t->m, name, 0);
}

static void add_port(ImageTables *t, const Fn *fn, Value v, const Port *p)
{
    Module *m = t->m;
    if (role_is_slot(p->role)) return;
    uint64_t offset = (uint64_t)attr_int(m, inst_of(fn, v)->attr, AT_offset, 0);
    Layout l = layout_of(m, fn, v, t->a);
    Str path = p->path.id ? p->path : fn->names[v.id];
    TitanPort row = {.path = image_string(t, path),
                     .role = role_number(p->role),
                     .dtype = type_dtype(m, l.type),
                     .bound = bound_of(t, p),
                     .offset = offset,
                     .axes = image_whole_axes(t, l, port_whole(p))};
    if (t->ranks > 1) {
        row.offset = image_whole_place(t, TITAN_BASE_io, port_whole(p));
        row.parts =
            image_part(t, l, port_whole(p), (TitanPart){.offset = offset});
    }
    vec_push(t->a, &t->ports, row);
    image_reserve(t, TITAN_BASE_io, offset + (uint64_t)layout_bytes(m, l));
}

TitanRange image_ports(ImageTables *t, const Fn *entry)
{
    TitanRange r = {.first = t->ports.n};
    for (uint32_t i = 0; i < entry->nparams; i++)
        add_port(t, entry, (Value){i}, &entry->params[i]);
    for (uint32_t i = 0; i < entry->nresults; i++) {
        Port p = entry->results[i];
        if (p.role == ROLE_none) p.role = ROLE_output;
        add_port(t, entry, entry->result_values[i], &p);
    }
    r.n = t->ports.n - r.first;
    return r;
}

/* ------------------------------------------------------------------ facts --
 */

void image_fact(ImageTables *t, const char *name, double value)
{
    TitanFact f = {.name = image_text(t, name), .value = value};
    vec_push(t->a, &t->facts, f);
}

/* Every option that is a number is a fact. */
static void add_options(ImageTables *t)
{
    for (uint32_t i = 0; i < t->m->options.n; i++) {
        const char *text = str_of(t->m, t->m->options.at[i].value);
        char *end;
        double value = strtod(text, &end);
        if (end != text && *end == 0)
            image_fact(t, str_of(t->m, t->m->options.at[i].name), value);
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
    uint32_t n = 0;
    for (uint32_t i = 0; i < live->n; i++) {
        const LiveBuffer *b = &live->at[i];
        int64_t bytes = b->base == BASE_frame ? live_bytes(b, moment) : 0;
        if (bytes > 0) at[n++] = (Held){b, bytes};
    }
    qsort(at, n, sizeof *at, by_bytes);
    for (uint32_t i = 0; i < n; i++) {
        const LiveBuffer *b = at[i].b;
        TitanPeak row = {.name = image_string(t, buffer_name(t, b)),
                         .bytes = (uint64_t)at[i].bytes};
        image_line(t, inst_of(b->fn, b->value)->loc, &row.file, &row.line);
        vec_push(t->a, &t->peaks, row);
    }
}

void image_facts(ImageTables *t)
{
    Live live = live_find(t->m, t->a);
    LiveMoment moment, lane;
    int64_t least = live_most(&live, BASE_frame, &moment);
    int64_t least_lane = live_most(&live, BASE_lane, &lane);
    add_peaks(t, &live, moment);
    add_options(t);
    /* What no plan could go below: beside the temporaries, what has a place of
     * its own. */
    uint64_t fixed =
        t->base_bytes[TITAN_BASE_persistent] + t->base_bytes[TITAN_BASE_io];
    image_fact(
        t, "lower_bound",
        (double)(fixed + (uint64_t)least + (uint64_t)least_lane * t->lanes));
}
