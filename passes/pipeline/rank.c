/*
 * rank.c: what each rank does in a step.
 *
 * The rank functions of an entry are written side by side, in the order of the
 * entry: each instruction where its value is, the turns over microbatches by
 * the schedule.  Where a rank reads what another has, the one sends and the
 * other receives, both there and then.  So all transfers have one order, which
 * the list of every rank keeps: whoever waits, waits for somebody who is
 * further in front.  That is checked of the functions as they are in the end.
 */
#include "cut.h"

/* -------------------------------------------------------------- messages -- */

static Attr message_attr(Module *m, uint32_t peer, uint32_t channel)
{
    AttrList l = {.n = 0};
    attr_put_int(&l, AT_peer, peer);
    attr_put_int(&l, AT_channel, channel);
    return attr_intern(m, &l);
}

Value ranks_send(Ranks *r, uint32_t from, uint32_t to, uint32_t channel,
                 Value v)
{
    Module *m = r->c->m;
    Builder *out = &r->builders[from], *in = &r->builders[to];
    if (from == to) return v;
    const Inst *made = inst_of(r->fns[from], v);
    Type t = made->type;
    in->loc = out->loc = made->loc;
    in->phase = out->phase = (Phase)made->phase;
    emit(out, OP_send, (Type){0}, message_attr(m, to, channel), &v, 1);
    Value got = emit(in, OP_recv, t, message_attr(m, from, channel), NULL, 0);
    value_set_name(in, got, r->fns[from]->names[v.id]);
    return got;
}

/* The rank that has a piece which is not everywhere. */
static uint32_t holder(const Ranks *r, Piece x)
{
    uint32_t stage = x.part;
    if (x.part == WHOLE) stage = r->p->at[x.v.id].stage;
    return r->c->s->owner[stage];
}

static bool is_turns_field(const Ranks *r, Value v)
{
    const Inst *in = inst_of(r->p->fn, v);
    return in->op == OP_proj && r->p->body &&
           value_eq(inst_arg(r->p->fn, in, 0), r->p->turns);
}

/* Messages outside of the microbatches have a channel of their own. */
static Value bring(Site *s, Piece x)
{
    Ranks *r = s->user;
    uint32_t from = holder(r, x), stages = r->c->stages;
    if (from == s->rank) {
        if (is_turns_field(r, x.v)) return turns_result(r, s->rank, x);
        BUG("rank %u lacks value %u of '%s'", from, x.v.id,
            str_of(r->c->m, r->p->fn->name));
    }
    return ranks_send(r, from, s->rank, stages * stages,
                      site_get(&r->sites[from], x));
}

/* ----------------------------------------------------------------- ports -- */

static void add_param(Ranks *r, uint32_t rank, Piece x)
{
    Port port = r->p->fn->params[x.v.id];
    if (x.part != WHOLE) {
        const Layers *l = r->p->at[x.v.id].layers;
        port.type = part_type(r->c, port.type, l, x.part);
        port.path = part_path(r->c, port.path, l, x.part);
    }
    r->sites[rank].made[piece_index(r->c, x)] =
        builder_param(&r->builders[rank], port);
}

static void add_params(Ranks *r)
{
    Cut *c = r->c;
    for (uint32_t i = 0; i < r->p->fn->nparams; i++) {
        Seat at = r->p->at[i];
        Value v = {i};
        for (uint32_t k = 0; k < c->ranks && at.kind == SEAT_all; k++)
            add_param(r, k, (Piece){v, WHOLE});
        if (at.kind == SEAT_stage)
            add_param(r, c->s->owner[at.stage], (Piece){v, WHOLE});
        for (uint32_t k = 0; k < c->stages && at.kind == SEAT_parts; k++)
            if (layers_of(at.layers, k))
                add_param(r, c->s->owner[k], (Piece){v, k});
    }
}

static void add_result(Ranks *r, uint32_t rank, Piece x, Port port)
{
    const Layers *l = layers_in(r->c, port.type);
    if (x.part != WHOLE) port.path = part_path(r->c, port.path, l, x.part);
    Value v = site_get(&r->sites[rank], x);
    builder_result(&r->builders[rank], v, port);
}

/* Slots where they are; numbers on every rank, so that each can report them;
 * the rest where it is made. */
static Seat result_seat(const Ranks *r, uint32_t i)
{
    const Port *port = &r->p->fn->results[i];
    const Slot *s = slot_find(r->c->m, port->path);
    Seat at = r->p->at[r->p->fn->result_values[i].id];
    if (role_is_slot(port->role) && s)
        return r->c->slots[s - r->c->m->slots.at];
    if (type_info(r->c->m, port->type)->naxes == 0 || at.kind == SEAT_all)
        return (Seat){.kind = SEAT_all};
    return (Seat){.kind = SEAT_stage,
                  .stage = at.kind == SEAT_stage ? at.stage : 0};
}

static void add_results(Ranks *r)
{
    Cut *c = r->c;
    for (uint32_t i = 0; i < r->p->fn->nresults; i++) {
        Seat at = result_seat(r, i);
        Port port = r->p->fn->results[i];
        Value v = r->p->fn->result_values[i];
        for (uint32_t k = 0; k < c->ranks && at.kind == SEAT_all; k++)
            add_result(r, k, (Piece){v, WHOLE}, port);
        if (at.kind == SEAT_stage)
            add_result(r, c->s->owner[at.stage], (Piece){v, WHOLE}, port);
        for (uint32_t k = 0; k < c->stages && at.kind == SEAT_parts; k++)
            if (layers_of(at.layers, k))
                add_result(r, c->s->owner[k], (Piece){v, k}, port);
    }
}

/* ---------------------------------------------------------------- bodies -- */

static void write_value(Ranks *r, Piece x)
{
    uint32_t stage;
    if (!piece_home(r->c, r->p, x, &stage) || is_turns_field(r, x.v)) return;
    Site *s = &r->sites[r->c->s->owner[stage]];
    s->made[piece_index(r->c, x)] = site_write(s, x);
}

static bool write_values(Ranks *r)
{
    const Fn *fn = r->p->fn;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++) {
        Seat at = r->p->at[v];
        if (at.kind == SEAT_turns && !turns_run(r)) return false;
        if (at.kind == SEAT_stage) write_value(r, (Piece){{v}, WHOLE});
        for (uint32_t k = 0; k < r->c->stages && at.kind == SEAT_parts; k++)
            if (layers_of(at.layers, k)) write_value(r, (Piece){{v}, k});
    }
    return true;
}

/* Without what no result needs, and the inputs that the rank does not read. */
static Fn *tidied(Module *m, const Fn *fn)
{
    const bool *needed = fn_needed(m, fn, m->scratch);
    Fn *made = fn_new(m, fn->name, fn->view);
    made->entry = fn->entry;
    made->kind = fn->kind;
    made->loc = fn->loc;
    Rewrite rw = {.old = fn,
                  .map = NEW_ARRAY(m->scratch, Value, fn->ninsts + 1)};
    builder_init(&rw.b, m, made);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        bool slot = i < fn->nparams && role_is_slot(fn->params[i].role);
        if (!needed[i] && !slot) continue;
        if (i < fn->nparams)
            rw.map[i] = builder_param(&rw.b, fn->params[i]);
        else
            rewrite_copy(&rw, (Value){i});
    }
    return rewrite_end(&rw);
}

bool ranks_make(Cut *c, const Fn *fn)
{
    Ranks r = {.c = c, .p = seat_entry(c, fn)};
    r.fns = NEW_ARRAY(c->a, Fn *, c->ranks + 1);
    r.builders = NEW_ARRAY(c->a, Builder, c->ranks + 1);
    r.sites = NEW_ARRAY(c->a, Site, c->ranks + 1);
    for (uint32_t i = 0; i < c->ranks; i++) {
        const char *name =
            arena_printf(c->a, "%s.rank%u", str_of(c->m, fn->name), i);
        r.fns[i] = fn_new(c->m, module_str(c->m, name), fn->view);
        r.fns[i]->entry = true;
        r.fns[i]->kind = module_str(c->m, fn_kind_word(FK_rank));
        r.fns[i]->loc = fn->loc;
        builder_init(&r.builders[i], c->m, r.fns[i]);
        site_init(&r.sites[i], c, r.p, &r.builders[i]);
        r.sites[i].bring = bring;
        r.sites[i].user = &r;
        r.sites[i].rank = i;
    }
    add_params(&r);
    if (!write_values(&r)) return false;
    add_results(&r);
    for (uint32_t i = 0; i < c->ranks; i++) {
        r.fns[i] = tidied(c->m, r.fns[i]);
        module_add_fn(c->m, r.fns[i]);
    }
    ScheduleAsk ask = {.arena = c->a, .diag = c->m->diag};
    ask.at = loc_span(c->m, fn->loc);
    return lists_check(&ask, c->m, r.fns, c->ranks);
}
