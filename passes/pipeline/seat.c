/*
 * seat.c: on which stages each value is.
 *
 * What depends on a range of a repeat is at a stage: behind a forward range, at
 * the latest stage of what it reads, and at the last stage behind the last
 * layer; behind a backward range at the earliest, and at the first stage behind
 * the first layer.  What has the layers and is made layer by layer is in parts.
 * What is made from inputs, scalars and constants alone is everywhere.  A
 * parameter is in parts, or at the first stage that reads it, whence the others
 * get it; a state is where the value is that becomes it.
 *
 *      tokens     all          x (table)      stage 0
 *      wq, d_wq   parts        loss, d_head   last stage
 *
 * In the update, numbers that stages do not share are sent to all of them:
 * norms and rates are scalars.  So are sums along layers, of one number each.
 * The pass `bundle` makes few messages of these.
 */
#include "cut.h"

static const Seat open = {.kind = SEAT_open};
static const Seat everywhere = {.kind = SEAT_all};

static Seat stage_seat(uint32_t stage)
{
    return (Seat){.kind = SEAT_stage, .stage = stage};
}

static Seat parts_seat(const Layers *l)
{
    return (Seat){.kind = SEAT_parts, .layers = l};
}

static bool is_fixed(Seat p)
{
    return p.kind == SEAT_stage || p.kind == SEAT_parts;
}

static Seated *seated_new(Cut *c, const Fn *fn, const uint32_t *pinned)
{
    Seated *p = NEW(c->a, Seated);
    *p = (Seated){.fn = fn, .pinned = pinned, .turns = NO_VALUE};
    p->at = NEW_ARRAY(c->a, Seat, fn->ninsts + 1);
    p->level = NEW_ARRAY(c->a, uint32_t, fn->ninsts + 1);
    p->back = NEW_ARRAY(c->a, bool, fn->ninsts + 1);
    p->sums = NEW_ARRAY(c->a, bool, fn->ninsts + 1);
    return p;
}

/* ---------------------------------------------------------------- ranges -- */

bool is_range(const Cut *c, const Fn *fn, Value v, uint32_t *stage)
{
    const Inst *in = inst_of(fn, v);
    if (in->op != OP_slice) return false;
    Axis axis = attr_axis(c->m, in->attr, AT_axis);
    Type t = value_type(fn, inst_arg(fn, in, 0));
    const Layers *l = layers_in(c, t);
    if (!l || l->axis.id != axis.id ||
        attr_int(c->m, in->attr, AT_step, 1) != 1)
        return false;
    int64_t start = attr_int(c->m, in->attr, AT_start, 0);
    int64_t size = type_size(c->m, in->type, axis);
    for (*stage = 0; *stage < c->stages; (*stage)++)
        if (l->start[*stage] == start && layers_of(l, *stage) == size)
            return true;
    return false;
}

bool is_ranges(const Cut *c, const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    const Layers *l = layers_in(c, in->type);
    if (in->op != OP_concat || !l ||
        attr_axis(c->m, in->attr, AT_axis).id != l->axis.id)
        return false;
    uint32_t k = 0;
    for (uint32_t i = 0; i < c->stages; i++) {
        if (!layers_of(l, i)) continue;
        if (k == in->nargs) return false;
        Type t = value_type(fn, inst_arg(fn, in, k++));
        if (type_size(c->m, t, l->axis) != layers_of(l, i)) return false;
    }
    return k == in->nargs;
}

uint32_t range_operand(const Layers *l, uint32_t stage)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < stage; i++)
        k += layers_of(l, i) > 0;
    return k;
}

/* Whether the range at a stage is the last that a repeat over layers has. */
static bool is_end(const Layers *l, uint32_t stage, uint32_t stages,
                   bool reverse)
{
    for (uint32_t i = 0; i < stages; i++)
        if (layers_of(l, i) && (reverse ? i < stage : i > stage)) return false;
    return true;
}

/* ---------------------------------------------------------- propagation -- */

/* The ends of the whole pipeline: behind the last layers of all. */
static uint32_t end_level(Cut *c, const Seated *p, uint32_t v, uint32_t stage)
{
    Repeat r = repeat_of(c->m, &p->fn->insts[v]);
    const Layers *l = layers_along(c, r.axis);
    if (!is_end(l, stage, c->stages, r.reverse)) return stage;
    uint32_t end = r.reverse ? 0 : c->stages - 1;
    for (uint32_t i = 0; i < c->layers.n; i++) {
        const Layers *x = &c->layers.at[i];
        bool further = false;
        for (uint32_t s = 0; s < c->stages; s++)
            further |= layers_of(x, s) && (r.reverse ? s < stage : s > stage);
        if (x != l && further) return stage;
    }
    return end;
}

static void seat_pinned(Cut *c, Seated *p, uint32_t v)
{
    uint32_t stage = p->pinned[v] - 1;
    Repeat r = repeat_of(c->m, &p->fn->insts[v]);
    p->at[v] = stage_seat(stage);
    p->level[v] = end_level(c, p, v, stage);
    p->back[v] = r.reverse;
}

/* What the operands say together. */
typedef struct Reads {
    bool open, stage, parts, back, spread; /* spread: at several stages */
    bool scalars;                          /* nothing else is at a stage */
    uint32_t first, last, late; /* stages; late: first of what is back */
    const Layers *layers;
} Reads;

static Reads reads_of(const Cut *c, const Seated *p, uint32_t v)
{
    Reads r = {.first = UINT32_MAX, .late = UINT32_MAX, .scalars = true};
    const Inst *in = &p->fn->insts[v];
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t o = inst_arg(p->fn, in, i).id;
        Seat at = p->at[o];
        r.open |= at.kind == SEAT_open;
        r.back |= p->back[o];
        if (at.kind == SEAT_parts) {
            r.parts = true;
            r.layers = at.layers;
        }
        if (at.kind != SEAT_stage) continue;
        uint32_t level = p->level[o];
        r.spread |= r.stage && at.stage != r.first;
        r.stage = true;
        r.scalars &= type_info(c->m, value_type(p->fn, (Value){o}))->naxes == 0;
        if (level < r.first) r.first = level;
        if (level > r.last) r.last = level;
        if (p->back[o] && level < r.late) r.late = level;
    }
    return r;
}

static void set_stage(Seated *p, uint32_t v, uint32_t stage)
{
    p->at[v] = stage_seat(stage);
    p->level[v] = stage;
}

/* An update: numbers go to all, and what is made of all layers is made by all;
 * the rest is where what it reads is. */
static void seat_update(Seated *p, uint32_t v, const Reads *r)
{
    if (r->parts || r->scalars)
        p->at[v] = everywhere;
    else
        set_stage(p, v, r->first);
}

static void seat_op(Cut *c, Seated *p, uint32_t v)
{
    const Inst *in = &p->fn->insts[v];
    Reads r = reads_of(c, p, v);
    uint32_t stage;
    p->back[v] = r.back;
    if (!r.stage && !r.parts) {
        p->at[v] = r.open ? open : everywhere;
        return;
    }
    if (in->op == OP_proj) { /* with its tuple */
        p->at[v] = p->at[inst_arg(p->fn, in, 0).id];
        p->level[v] = p->level[inst_arg(p->fn, in, 0).id];
        return;
    }
    if (is_range(c, p->fn, (Value){v}, &stage)) {
        set_stage(p, v, stage);
        return;
    }
    if (is_ranges(c, p->fn, (Value){v})) {
        p->at[v] = parts_seat(layers_in(c, in->type));
        return;
    }
    if (r.parts && can_slice(c, p->fn, (Value){v}, r.layers)) {
        p->at[v] = parts_seat(r.layers);
        return;
    }
    if (in->phase == PHASE_update)
        seat_update(p, v, &r);
    else if (r.back)
        set_stage(p, v, r.parts || r.late > c->stages ? 0 : r.late);
    else
        set_stage(p, v, r.parts ? c->stages - 1 : r.last);
}

static void seat_values(Cut *c, Seated *p, uint32_t from, uint32_t to)
{
    for (uint32_t v = from; v < to; v++) {
        const Inst *in = &p->fn->insts[v];
        if (v < p->fn->nparams) continue;
        if (p->pinned[v]) {
            seat_pinned(c, p, v);
        } else if (v == p->turns.id) {
            p->at[v] = (Seat){.kind = SEAT_turns};
        } else if (in->op == OP_proj && p->body &&
                   value_eq(inst_arg(p->fn, in, 0), p->turns)) {
            int64_t i = attr_int(c->m, in->attr, AT_index, 0);
            Value r = p->body->fn->result_values[i];
            p->at[v] = p->body->at[r.id];
            p->level[v] = p->at[v].stage;
        } else {
            seat_op(c, p, v);
        }
    }
}

/* -------------------------------------------------------------- demands -- */

/* Who asks for what is open. */
typedef struct Demand {
    uint32_t first; /* stage; UINT32_MAX: none */
    const Layers *parts;
} Demand;

static void demand_add(Demand *d, Demand x)
{
    if (x.first < d->first) d->first = x.first;
    if (x.parts) d->parts = x.parts;
}

static Demand demand_of(Cut *c, const Seated *p, uint32_t v, Demand own)
{
    uint32_t stage;
    Demand d = {.first = UINT32_MAX};
    Seat at = p->at[v];
    const Layers *l = layers_in(c, p->fn->insts[v].type);
    if (p->pinned[v]) return (Demand){.first = p->pinned[v] - 1};
    if (is_range(c, p->fn, (Value){v}, &stage))
        d.parts = layers_in(
            c, value_type(p->fn, inst_arg(p->fn, &p->fn->insts[v], 0)));
    else if (at.kind == SEAT_stage)
        d.first = at.stage;
    else if (at.kind == SEAT_parts)
        d.parts = at.layers;
    else if (at.kind == SEAT_open && own.parts &&
             (l != own.parts || !can_slice(c, p->fn, (Value){v}, l)))
        d.first = own.first < c->stages ? own.first : 0;
    else if (at.kind == SEAT_open)
        d = own;
    return d;
}

/* demand: by value; backwards from what has a place. */
static void find_demands(Cut *c, const Seated *p, Demand *demand)
{
    for (uint32_t v = p->fn->ninsts; v-- > p->fn->nparams;) {
        const Inst *in = &p->fn->insts[v];
        if (v == p->turns.id || in->phase == PHASE_update) continue;
        Demand d = demand_of(c, p, v, demand[v]);
        for (uint32_t i = 0; i < in->nargs; i++) {
            uint32_t o = inst_arg(p->fn, in, i).id;
            if (p->at[o].kind == SEAT_open) demand_add(&demand[o], d);
        }
    }
}

static Demand *demands_new(Cut *c, const Fn *fn)
{
    Demand *d = NEW_ARRAY(c->a, Demand, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        d[i].first = UINT32_MAX;
    return d;
}

/* ----------------------------------------------------------------- body -- */

/* Carried sums are where what they become is; the rest where its operand is. */
static void seat_params(Seated *p)
{
    Seated *b = p->body;
    const Inst *in = inst_of(p->fn, p->turns);
    for (uint32_t i = 0; i < b->fn->nparams; i++)
        b->at[i] = everywhere; /* the turn; sums move when what they become is
                                  seated */
    for (uint32_t i = p->repeat.carry; i < in->nargs; i++) {
        b->at[i] = p->at[inst_arg(p->fn, in, i).id];
        b->level[i] = b->at[i].stage;
    }
}

static void seat_body(Cut *c, Seated *p)
{
    Seated *b = p->body;
    seat_params(p);
    seat_values(c, b, 0, b->fn->ninsts);
    for (uint32_t i = 0; i < p->repeat.carry; i++) {
        Seat at = b->at[b->fn->result_values[i].id];
        if (!is_fixed(at)) at = stage_seat(c->stages - 1);
        b->at[i] = at;
        b->level[i] = at.stage;
    }
    seat_values(c, b, 0, b->fn->ninsts);
    for (uint32_t i = 0; i < p->repeat.carry; i++) {
        uint32_t v = b->fn->result_values[i].id;
        if (!is_fixed(b->at[v])) set_stage(b, v, c->stages - 1);
    }
}

static void mark_sums(Seated *b, uint32_t carry)
{
    for (uint32_t v = 0; v < b->fn->ninsts; v++) {
        const Inst *in = &b->fn->insts[v];
        b->sums[v] = v < carry;
        for (uint32_t i = 0; i < in->nargs && v >= b->fn->nparams; i++)
            b->sums[v] |= b->sums[inst_arg(b->fn, in, i).id];
    }
}

/* The repeat over microbatches: the one whose body runs through layers. */
static void find_turns(Cut *c, Seated *p)
{
    for (uint32_t v = p->fn->nparams; v < p->fn->ninsts; v++) {
        const Inst *in = &p->fn->insts[v];
        Repeat r;
        if (in->op != OP_repeat || p->pinned[v]) continue;
        r = repeat_of(c->m, in);
        Fn *body = fn_of(c->m, r.fn);
        bool chain = false;
        for (uint32_t i = 0; i < body->ninsts; i++) {
            Repeat inner;
            chain |= is_chain(c, &body->insts[i], &inner) && inner.carry;
        }
        if (!chain) continue;
        uint32_t *stages;
        if (c->splits) body = repeats_halved(c, body);
        body = repeats_ranged(c, body, &stages);
        p->turns = (Value){v};
        p->repeat = r;
        p->body = seated_new(c, body, stages);
        mark_sums(p->body, r.carry);
        return;
    }
}

/* ---------------------------------------------------------------- slots -- */

static Seat *slot_seat(Cut *c, Str path)
{
    Slot *s = slot_find(c->m, path);
    return s ? &c->slots[s - c->m->slots.at] : NULL;
}

static void seat_ports(Cut *c, Seated *p)
{
    for (uint32_t i = 0; i < p->fn->nparams; i++) {
        const Port *port = &p->fn->params[i];
        Seat *at = role_is_slot(port->role) ? slot_seat(c, port->path) : NULL;
        p->at[i] = at ? *at : everywhere;
        p->level[i] = p->at[i].stage;
    }
}

static void bind(Cut *c, const Seated *p, uint32_t param, Seat at)
{
    Seat *slot = slot_seat(c, p->fn->params[param].path);
    if (slot && slot->kind == SEAT_open) *slot = at;
}

/* By what asks for them before the update. */
static void bind_by_demand(Cut *c, Seated *p)
{
    Demand *d = demands_new(c, p->fn);
    if (p->body) {
        Demand *inner = demands_new(c, p->body->fn);
        find_demands(c, p->body, inner);
        const Inst *in = inst_of(p->fn, p->turns);
        for (uint32_t i = p->repeat.carry; i < in->nargs; i++)
            demand_add(&d[inst_arg(p->fn, in, i).id], inner[i]);
    }
    find_demands(c, p, d);
    for (uint32_t i = 0; i < p->fn->nparams; i++) {
        const Layers *l = layers_in(c, p->fn->params[i].type);
        if (d[i].parts && d[i].parts == l)
            bind(c, p, i, parts_seat(l));
        else if (d[i].first < c->stages || d[i].parts)
            bind(c, p, i, stage_seat(d[i].parts ? 0 : d[i].first));
    }
}

/* By what they are updated with. */
static bool bind_by_update(Cut *c, Seated *p)
{
    bool any = false;
    for (uint32_t v = p->fn->nparams; v < p->fn->ninsts; v++) {
        const Inst *in = &p->fn->insts[v];
        if (!is_fixed(p->at[v])) continue;
        for (uint32_t i = 0; i < in->nargs; i++) {
            uint32_t o = inst_arg(p->fn, in, i).id;
            if (o >= p->fn->nparams || p->at[o].kind != SEAT_open) continue;
            Seat at = p->at[v];
            Type t = p->fn->params[o].type;
            if (type_info(c->m, t)->naxes == 0 ||
                (at.kind == SEAT_parts && layers_in(c, t) != at.layers))
                at = everywhere;
            bind(c, p, o, at);
            any = true;
        }
    }
    return any;
}

static void bind_rest(Cut *c, Seated *p)
{
    for (uint32_t i = 0; i < p->fn->nparams; i++)
        if (p->at[i].kind == SEAT_open) bind(c, p, i, everywhere);
}

/* ----------------------------------------------------------------- entry -- */

static void seat_all(Cut *c, Seated *p)
{
    seat_ports(c, p);
    if (p->body) {
        seat_values(c, p, 0, p->turns.id);
        seat_body(c, p);
    }
    seat_values(c, p, p->body ? p->turns.id : 0, p->fn->ninsts);
}

Seated *seat_entry(Cut *c, const Fn *fn)
{
    uint32_t *stages;
    if (c->splits) fn = repeats_halved(c, fn);
    fn = repeats_ranged(c, fn, &stages);
    Seated *p = seated_new(c, fn, stages);
    find_turns(c, p);
    seat_all(c, p);
    bind_by_demand(c, p);
    seat_all(c, p);
    while (bind_by_update(c, p))
        seat_all(c, p);
    bind_rest(c, p);
    seat_all(c, p);
    return p;
}
