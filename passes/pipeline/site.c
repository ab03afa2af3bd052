/*
 * site.c: writing values where they are asked for.
 *
 * A site is where values of one function are written: a rank function, or the
 * function of a stage.  A value that is everywhere is written there and then,
 * of a value in parts the whole is the concatenation of the parts, and a part
 * of what is whole a slice of it; the rest has been made there, or is brought.
 * A site without a builder only asks.
 */
#include "cut.h"

void site_init(Site *s, Cut *c, const Seated *p, Builder *b)
{
    size_t n = (size_t)p->fn->ninsts * (c->stages + 1) + 1;
    *s = (Site){.c = c, .p = p, .b = b, .made = NEW_ARRAY(c->a, Value, n)};
    memset(s->made, 0xff, n * sizeof *s->made);
}

size_t piece_index(const Cut *c, Piece x)
{
    uint32_t part = x.part == WHOLE ? c->stages : x.part;
    return (size_t)x.v.id * (c->stages + 1) + part;
}

static const Layers *piece_layers(const Site *s, Piece x)
{
    Seat at = s->p->at[x.v.id];
    if (at.kind == SEAT_parts) return at.layers;
    return layers_in(s->c, value_type(s->p->fn, x.v));
}

/* ---------------------------------------------------------------- homes -- */

bool piece_home(const Cut *c, const Seated *p, Piece x, uint32_t *stage)
{
    Seat at = p->at[x.v.id];
    uint32_t part;
    if (x.v.id < p->fn->nparams || value_eq(x.v, p->turns)) return false;
    if (x.part == WHOLE) {
        *stage = at.stage;
        return at.kind == SEAT_stage && !is_range(c, p->fn, x.v, &part);
    }
    *stage = x.part;
    return at.kind == SEAT_parts && !is_ranges(c, p->fn, x.v);
}

/* --------------------------------------------------------------- writing -- */

Value site_write(Site *s, Piece x)
{
    const Fn *fn = s->p->fn;
    const Inst *in = inst_of(fn, x.v);
    const Layers *l = x.part == WHOLE ? NULL : piece_layers(s, x);
    Value *args = NEW_ARRAY(s->c->a, Value, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Piece o = {inst_arg(fn, in, i), WHOLE};
        if (l && layers_in(s->c, value_type(fn, o.v)) == l) o.part = x.part;
        args[i] = site_get(s, o);
    }
    if (!s->b) return (Value){0};
    if (l) return write_slice(s->c, s->b, fn, x.v, l, x.part, args);
    s->b->loc = in->loc;
    s->b->phase = (Phase)in->phase;
    Value made = emit(s->b, (Op)in->op, in->type, in->attr, args, in->nargs);
    value_set_name(s->b, made, fn->names[x.v.id]);
    return made;
}

static Value whole_of_parts(Site *s, Value v)
{
    const Layers *l = s->p->at[v.id].layers;
    Value *parts = NEW_ARRAY(s->c->a, Value, s->c->stages + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->c->stages; i++)
        if (layers_of(l, i)) parts[n++] = site_get(s, (Piece){v, i});
    if (!s->b) return (Value){0};
    return n == 1 ? parts[0] : emit_concat(s->b, parts, n, l->axis);
}

static Value part_of_whole(Site *s, Piece x)
{
    const Layers *l = piece_layers(s, x);
    Value whole = site_get(s, (Piece){x.v, WHOLE});
    if (!s->b) return whole;
    return emit_slice(s->b, whole, l->axis, l->start[x.part],
                      layers_of(l, x.part), 1);
}

static Value get_whole(Site *s, Piece x)
{
    Seat at = s->p->at[x.v.id];
    uint32_t stage;
    bool param = x.v.id < s->p->fn->nparams;
    if (at.kind == SEAT_parts) return whole_of_parts(s, x.v);
    if (at.kind == SEAT_all && !param) return site_write(s, x);
    if (at.kind == SEAT_stage && is_range(s->c, s->p->fn, x.v, &stage)) {
        const Inst *in = inst_of(s->p->fn, x.v);
        return site_get(s, (Piece){inst_arg(s->p->fn, in, 0), stage});
    }
    return s->bring(s, x);
}

static Value get_part(Site *s, Piece x)
{
    Seat at = s->p->at[x.v.id];
    bool param = x.v.id < s->p->fn->nparams;
    if (at.kind == SEAT_parts && is_ranges(s->c, s->p->fn, x.v)) {
        const Inst *in = inst_of(s->p->fn, x.v);
        uint32_t k = range_operand(at.layers, x.part);
        return site_get(s, (Piece){inst_arg(s->p->fn, in, k), WHOLE});
    }
    if (at.kind == SEAT_parts) return s->bring(s, x);
    if (at.kind == SEAT_all && !param &&
        can_slice(s->c, s->p->fn, x.v, piece_layers(s, x)))
        return site_write(s, x);
    return part_of_whole(s, x);
}

Value site_get(Site *s, Piece x)
{
    Value *made = &s->made[piece_index(s->c, x)];
    if (value_eq(*made, NO_VALUE)) {
        Value v = x.part == WHOLE ? get_whole(s, x) : get_part(s, x);
        s->made[piece_index(s->c, x)] = v;
        vec_push(s->c->a, &s->asked, piece_index(s->c, x));
    }
    return *made;
}

void site_clear(Site *s)
{
    for (uint32_t i = 0; i < s->asked.n; i++)
        s->made[s->asked.at[i]] = NO_VALUE;
    s->asked.n = 0;
}
