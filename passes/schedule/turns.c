/*
 * turns.c: collectives of a loop that work for the next turn, or the last.
 *
 * A turn meets all its streams at its end, so what it gathers for its first
 * steps, and what it reduces of its last ones, runs beside nothing.  A ring of
 * two rows lets these stand in another turn, at its begin:
 *
 *     turn c     gathers into row c + 1 what turn c + 1 reads
 *                reduces from row c - 1 what turn c - 1 has made
 *
 * What comes first is gathered in front of the loop, what comes last is reduced
 * behind it.  The counter goes round as that of a transfer (offload.c): the
 * last turn gathers for the first once more, and the first reduces what the
 * ring held before, zeros, into the last row, whose own sum comes later.
 *
 * A gather is of a row of an operand that the loop does not write, and stands
 * in front of all else that has to do with its place; or it is of a value that
 * turns hand on, and then stands behind the step that makes this for the next
 * turn, which once is for nobody.  Where turns keep what they gather, each in a
 * row of an operand (remat), that needs no ring: turn c gathers into the next
 * turn's row, and reads its own.  A reduction goes to a
 * row of an operand that has to do with nothing else, and moves only where it
 * is not done by the end of the turn.
 */
#include "schedule.h"

enum {
    ROWS = 2,     /* of a ring */
    ALIGNED = 256 /* bytes: where a row of a ring may begin */
};

/* In the place of a buffer of the body. */
typedef struct Ring {
    Value buffer;
    Layout row, all;
    int64_t pitch;         /* bytes from row to row */
    Value inside, outside; /* in the new body, and around the loop */
} Ring;

/* A collective that goes to another turn. */
typedef struct Move {
    uint32_t step;
    bool gathers;
    bool behind; /* it is of what this turn makes for the next */
    Spot place;  /* of the operand of the loop */
    Ring *ring;  /* NULL: none, where turns keep what they gather */
    Spot row;    /* then: of the operand in which they do */
} Move;

/* A loop. */
typedef struct Turned {
    Module *m;
    Arena *a;
    const Inst *loop;
    const Fn *old; /* its body */
    const List *l; /* that of the body */
    int64_t count;
    bool reverse;
    uint32_t *root;  /* by value of the body: what it is a view of */
    uint32_t *outer; /* by operand: likewise, around the loop */
    VEC(Ring *) rings;
    VEC(Move) moves;
} Turned;

/* --------------------------------------------------------------- finding -- */

/* Whether a step of the body, but for one, has to do with what is behind an
 * operand of the loop, or writes it. */
static bool is_touched(const Turned *t, uint32_t operand, uint32_t but,
                       bool writes_alone)
{
    for (uint32_t i = 0; i < t->l->n; i++) {
        const Inst *in = &t->old->insts[t->l->steps[i].inst];
        if (i == but) continue;
        for (uint32_t k = 0; k < in->nargs; k++) {
            uint32_t r = t->root[inst_arg(t->old, in, k).id];
            if (r < t->old->nparams && t->outer[r] == t->outer[operand] &&
                (!writes_alone || step_writes(t->m, in, k)))
                return true;
        }
    }
    return false;
}

/* The place goes along with the loop, row by row, and with no loop around. */
static bool has_rows(const Turned *t, const Spot *s)
{
    for (uint32_t k = 1; k < s->nturns; k++)
        if (s->turn[k]) return false;
    return s->root.id < t->old->nparams && s->turn[0] > 0 && !s->ring.n;
}

static Ring *ring_new(Turned *t, Value row)
{
    Module *m = t->m;
    const Inst *in = inst_of(t->old, row);
    Axis axis = attr_axis(m, t->loop->attr, AT_axis);
    if (in->op != OP_buffer || attr_flag(m, in->attr, AT_host) ||
        type_axis(m, in->type, axis))
        return NULL;
    Ring *r = NEW(t->a, Ring);
    *r = (Ring){.buffer = row, .row = layout_of(m, t->old, row, t->a)};
    int64_t bytes = dtype_bytes(type_dtype(m, in->type));
    r->pitch = (layout_bytes(m, r->row) + ALIGNED - 1) / ALIGNED * ALIGNED;
    TypeAxis rows = {.axis = axis, .size = ROWS};
    r->all.type = type_with_axis(m, in->type, rows);
    const TypeInfo *ti = type_info(m, r->all.type);
    int64_t *stride = NEW_ARRAY(t->a, int64_t, ti->naxes);
    for (uint32_t i = 0; i < ti->naxes; i++)
        stride[i] = ti->axes[i].axis.id == axis.id
                        ? r->pitch / bytes
                        : layout_stride(m, r->row, ti->axes[i].axis);
    r->all.stride = stride;
    return r;
}

/* The ring in the place of a buffer of the body; NULL: there is none. */
static Ring *ring_of_buffer(Turned *t, Value row)
{
    for (uint32_t i = 0; i < t->rings.n; i++)
        if (value_eq(t->rings.at[i]->buffer, row)) return t->rings.at[i];
    Ring *r = ring_new(t, row);
    if (r) vec_push(t->a, &t->rings, r);
    return r;
}

static Spot spot_at(const Turned *t, uint32_t step, uint32_t operand)
{
    const Inst *in = &t->old->insts[t->l->steps[step].inst];
    return spot_of(t->m, t->old, inst_arg(t->old, in, operand), t->a);
}

static bool can_gather(const Turned *t, uint32_t step)
{
    Spot from = spot_at(t, step, 0);
    return has_rows(t, &from) && !has_needs(t->l, step) &&
           !is_touched(t, from.root.id, UINT32_MAX, true);
}

/* What it gathers stays in one place, where turns write it. */
static bool is_handed_on(const Turned *t, uint32_t step)
{
    Spot from = spot_at(t, step, 0);
    for (uint32_t k = 0; k < from.nturns; k++)
        if (from.turn[k]) return false;
    return from.root.id < t->old->nparams && !from.ring.n &&
           !has_needs(t->l, step) &&
           is_touched(t, from.root.id, UINT32_MAX, true);
}

static bool can_reduce(const Turned *t, uint32_t step)
{
    Spot to = spot_at(t, step, 1);
    return has_rows(t, &to) && !is_touched(t, to.root.id, step, false);
}

/* Whether the place is in that row of the operand which the turn has, as ROW
 * is.
 */
static bool is_in_row(const Turned *t, const Spot *s, const Spot *row)
{
    return has_rows(t, s) && s->root.id == row->root.id &&
           s->turn[0] == row->turn[0] && s->offset >= 0 &&
           s->offset + layout_bytes(t->m, s->layout) <= s->turn[0];
}

/* A gather keeps what it gathers in a row of an operand, of which turns have to
 * do with their own alone. */
static bool keeps_row(const Turned *t, uint32_t step, const Spot *row)
{
    if (!has_rows(t, row) || !is_in_row(t, row, row) ||
        is_touched(t, row->root.id, step, true))
        return false;
    for (uint32_t i = 0; i < t->l->n; i++) {
        const Inst *in = &t->old->insts[t->l->steps[i].inst];
        for (uint32_t k = 0; k < in->nargs; k++) {
            Spot s = spot_at(t, i, k);
            if (s.root.id < t->old->nparams &&
                t->outer[s.root.id] == t->outer[row->root.id] &&
                !is_in_row(t, &s, row))
                return false;
        }
    }
    return true;
}

static void add_move(Turned *t, uint32_t step, bool gathers, bool behind)
{
    Move x = {.step = step, .gathers = gathers, .behind = behind};
    x.place = spot_at(t, step, !gathers);
    x.row = spot_at(t, step, gathers);
    x.ring = ring_of_buffer(t, x.row.root);
    if (x.ring || (gathers && !behind && keeps_row(t, step, &x.row)))
        vec_push(t->a, &t->moves, x);
}

/* Reductions that the work behind them does not cover, from the last one on:
 * where one stays, those behind it have to be done by then, too. */
static bool *find_late(const Turned *t)
{
    bool *late = NEW_ARRAY(t->a, bool, (size_t)t->l->n + 1);
    double work = 0, queue = 0;
    for (uint32_t i = t->l->n; i-- > 0;) {
        const Step *s = &t->l->steps[i];
        if (!s->talks) {
            work += s->time;
            continue;
        }
        late[i] =
            !s->message && queue + talk_time(s) > work && can_reduce(t, i);
        if (!late[i]) queue += talk_time(s);
    }
    return late;
}

/* Reductions first: what they wait for is done. */
static void find_moves(Turned *t)
{
    const bool *late = find_late(t);
    for (uint32_t i = 0; i < t->l->n; i++)
        if (late[i]) add_move(t, i, false, false);
    for (uint32_t i = 0; i < t->l->n; i++) {
        const Step *s = &t->l->steps[i];
        if (!s->talks || s->message || late[i]) continue;
        if (can_gather(t, i))
            add_move(t, i, true, false);
        else if (s->grows && is_handed_on(t, i))
            add_move(t, i, true, true);
    }
}

/* --------------------------------------------------------------- writing -- */

static const TurnRing no_ring = {0, 0};

/* A view of V that goes along with the turns, if TURN is not 0. */
static Value emit_view(const Turned *t, Builder *b, Layout l, Value v,
                       int64_t offset, int64_t turn, TurnRing ring)
{
    AttrList list = {.n = 0};
    int64_t ints[2] = {ring.n, ring.shift};
    if (offset) attr_put_int(&list, AT_offset, offset);
    if (turn) attr_put_ints(&list, AT_turn, &turn, 1);
    if (turn) attr_put_ints(&list, AT_ring, ints, 2);
    layout_put_stride(t->m, l, &list);
    return emit(b, OP_view, l.type, attr_intern(t->m, &list), &v, 1);
}

/* The launch between a row of its operand, PLACE, and ROW, one of the ring or
 * that in which it stays. */
static void emit_move(const Turned *t, Builder *b, const Move *x, Value place,
                      Value row)
{
    const Inst *in = &t->old->insts[t->l->steps[x->step].inst];
    const Spot *s = &x->row;
    Value args[2];
    args[!x->gathers] = place;
    bool whole = !x->ring ||
                 (s->offset == 0 && layout_same(t->m, s->layout, x->ring->row));
    args[x->gathers] =
        whole ? row : emit_view(t, b, s->layout, row, s->offset, 0, no_ring);
    emit(b, OP_launch, (Type){0}, in->attr, args, 2);
}

static void say_where(const Turned *t, Builder *b, const Move *x)
{
    const Inst *in = &t->old->insts[t->l->steps[x->step].inst];
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
}

/* Bytes from turn to turn. */
static int64_t place_turn(const Move *x)
{
    return x->behind ? 0 : x->place.turn[0];
}

/* A place in a row of the operand in which turns keep what they gather. */
static Value emit_kept(const Turned *t, Builder *b, const Spot *s,
                       TurnRing rows)
{
    return emit_view(t, b, s->layout, (Value){s->root.id}, s->offset,
                     s->turn[0], rows);
}

/* With the next row, or the last. */
static void emit_in_turn(const Turned *t, Builder *b, const Move *x)
{
    bool up = x->gathers != t->reverse;
    TurnRing rows = {t->count, up ? 1 : t->count - 1}, other = {ROWS, 1};
    say_where(t, b, x);
    Value place = emit_view(t, b, x->place.layout, (Value){x->place.root.id},
                            x->place.offset, place_turn(x), rows);
    Value row = x->ring ? emit_view(t, b, x->ring->row, x->ring->inside, 0,
                                    x->ring->pitch, other)
                        : emit_kept(t, b, &x->row, rows);
    emit_move(t, b, x, place, row);
}

/* The row that a turn has. */
static Value fixed_row(const Turned *t, Builder *b, const Ring *r, int64_t turn)
{
    return emit_view(t, b, r->row, r->outside, turn % ROWS * r->pitch, 0,
                     no_ring);
}

/* Outside of the loop, whose operands these are: the first gather and the last
 * reduction. */
static void emit_at_end(const Turned *t, Builder *b, const Move *x,
                        const Value *args)
{
    int64_t turn = x->gathers == t->reverse ? t->count - 1 : 0;
    const Spot *p = &x->place, *r = &x->row;
    say_where(t, b, x);
    Value at = emit_view(t, b, p->layout, args[p->root.id],
                         p->offset + turn * place_turn(x), 0, no_ring);
    Value row = x->ring ? fixed_row(t, b, x->ring, turn)
                        : emit_view(t, b, r->layout, args[r->root.id],
                                    r->offset + turn * r->turn[0], 0, no_ring);
    emit_move(t, b, x, at, row);
}

static FnRef zero_group(const Turned *t, Type type, Loc loc)
{
    Module *m = t->m;
    DType d = type_dtype(m, type);
    Fn *fn = fn_new(m, fn_fresh_name(m, "zero"), VIEW_local);
    fn->kind = module_str(m, "loop");
    fn->loc = loc;
    Builder b;
    builder_init(&b, m, fn);
    b.loc = loc;
    Expr zero =
        dtype_class(d) == DC_float ? expr_float(m, d, 0) : expr_int(m, d, 0);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, zero.id);
    Value v = emit(&b, OP_map, type, attr_intern(m, &l), NULL, 0);
    builder_result(&b, v, (Port){.loc = loc});
    return module_add_fn(m, fn);
}

/* What the first turn reduces, which is nothing. */
static void emit_zeros(const Turned *t, Builder *b, const Move *x)
{
    AttrList list = {.n = 0};
    say_where(t, b, x);
    Value row = fixed_row(t, b, x->ring, t->reverse ? t->count : 1);
    Type type = x->ring->row.type;
    attr_put_id(&list, AT_fn, zero_group(t, type, b->loc).id);
    attr_put_int(&list, AT_outs, 1);
    emit(b, OP_launch, (Type){0}, attr_intern(t->m, &list), &row, 1);
}

static bool is_moved(const Turned *t, uint32_t step)
{
    for (uint32_t i = 0; i < t->moves.n; i++)
        if (t->moves.at[i].step == step) return true;
    return false;
}

/* With the places that it names: those of what has moved are not needed. */
static void copy_value(Rewrite *rw, Value v)
{
    const Inst *in = inst_of(rw->old, v);
    if (!value_eq(rw->map[v.id], NO_VALUE)) return;
    for (uint32_t k = 0; k < in->nargs; k++)
        copy_value(rw, inst_arg(rw->old, in, k));
    rewrite_copy(rw, v);
}

/* Who reads the rows in which turns keep what they gather reads the turn's. */
static void read_own_rows(const Turned *t, Rewrite *rw, const Move *x)
{
    TurnRing mine = {t->count, 0};
    for (uint32_t i = 0; i < t->l->n; i++) {
        const Inst *in = &t->old->insts[t->l->steps[i].inst];
        for (uint32_t k = 0; k < in->nargs; k++) {
            Value v = inst_arg(t->old, in, k);
            Spot s = spot_at(t, i, k);
            if (i == x->step || s.root.id != x->row.root.id ||
                !value_eq(rw->map[v.id], NO_VALUE))
                continue;
            rw->b.loc = inst_of(t->old, v)->loc;
            rewrite_set(rw, v, emit_kept(t, &rw->b, &s, mine));
        }
    }
}

static Fn *write_body(Turned *t)
{
    Rewrite rw;
    rewrite_begin(&rw, t->m, t->old);
    rw.b.no_fold = true;
    for (uint32_t i = 0; i < t->rings.n; i++) {
        Ring *r = t->rings.at[i];
        Port port = {.type = r->all.type, .loc = t->old->loc};
        r->inside = builder_param(&rw.b, port);
        rw.b.fn->insts[r->inside.id].attr = layout_stride_attr(t->m, r->all);
    }
    for (uint32_t i = 0; i < t->rings.n; i++) {
        const Ring *r = t->rings.at[i];
        TurnRing mine = {ROWS, 0};
        rewrite_set(&rw, r->buffer,
                    emit_view(t, &rw.b, r->row, r->inside, 0, r->pitch, mine));
    }
    for (uint32_t i = 0; i < t->moves.n; i++)
        if (!t->moves.at[i].ring) read_own_rows(t, &rw, &t->moves.at[i]);
    for (uint32_t i = 0; i < t->moves.n; i++)
        if (!t->moves.at[i].behind) emit_in_turn(t, &rw.b, &t->moves.at[i]);
    for (uint32_t i = 0; i < t->l->n; i++)
        if (!is_moved(t, i)) copy_value(&rw, (Value){t->l->steps[i].inst});
    for (uint32_t i = 0; i < t->moves.n; i++)
        if (t->moves.at[i].behind) emit_in_turn(t, &rw.b, &t->moves.at[i]);
    return rewrite_end(&rw);
}

/* The loop with its rings. */
static void write_loop(Turned *t, Rewrite *rw)
{
    const Inst *in = t->loop;
    Builder *b = &rw->b;
    uint32_t n = in->nargs;
    Value *args = NEW_ARRAY(t->a, Value, (size_t)n + t->rings.n + 1);
    for (uint32_t k = 0; k < n; k++)
        args[k] = rewrite_value(rw, inst_arg(rw->old, in, k));
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    for (uint32_t k = 0; k < t->rings.n; k++) {
        Ring *r = t->rings.at[k];
        r->outside = args[n + k] =
            emit(b, OP_buffer, r->all.type, layout_stride_attr(t->m, r->all),
                 NULL, 0);
    }
    for (uint32_t k = 0; k < t->moves.n; k++) {
        const Move *x = &t->moves.at[k];
        if (x->gathers)
            emit_at_end(t, b, x, args);
        else
            emit_zeros(t, b, x);
    }
    b->loc = in->loc;
    emit(b, OP_loop, (Type){0}, in->attr, args, n + t->rings.n);
    for (uint32_t k = 0; k < t->moves.n; k++)
        if (!t->moves.at[k].gathers) emit_at_end(t, b, &t->moves.at[k], args);
}

/* ----------------------------------------------------------------- loops -- */

/* What a value is a view of. */
static uint32_t root_of(const Turned *t, const Fn *fn, Value v)
{
    return spot_of(t->m, fn, v, t->a).root.id;
}

static bool turns_meet(const Module *m, const Inst *in)
{
    return !attr_flag(m, in->attr, AT_parallel) &&
           !attr_flag(m, in->attr, AT_guarded);
}

/* False: nothing of the loop goes to another turn. */
static bool turned_loop(Turned *t, const Fn *fn, const List *body,
                        const Inst *in)
{
    t->loop = in;
    t->l = body;
    t->old = body->fn;
    t->count = attr_int(t->m, in->attr, AT_count, 0);
    t->reverse = attr_flag(t->m, in->attr, AT_reverse);
    if (!turns_meet(t->m, in) || t->count < 2 || t->count > UINT16_MAX)
        return false;
    t->root = NEW_ARRAY(t->a, uint32_t, (size_t)t->old->ninsts + 1);
    for (uint32_t i = 0; i < t->old->ninsts; i++)
        t->root[i] = root_of(t, t->old, (Value){i});
    t->outer = NEW_ARRAY(t->a, uint32_t, (size_t)in->nargs + 1);
    for (uint32_t k = 0; k < in->nargs; k++)
        t->outer[k] = root_of(t, fn, inst_arg(fn, in, k));
    find_moves(t);
    return t->moves.n != 0;
}

void collectives_turned(Module *m, const List *l, const List *const *bodies,
                        Arena *a)
{
    Rewrite rw;
    rewrite_begin(&rw, m, l->fn);
    rw.b.no_fold = true;
    bool any = false;
    for (uint32_t i = l->fn->nparams; i < l->fn->ninsts; i++) {
        const Inst *in = &l->fn->insts[i];
        const List *body = in->op == OP_loop ? bodies[l->number[i]] : NULL;
        Turned t = {.m = m, .a = a};
        if (!body || !turned_loop(&t, l->fn, body, in)) {
            rewrite_copy(&rw, (Value){i});
            continue;
        }
        m->fns.at[body->ref.id] = write_body(&t);
        write_loop(&t, &rw);
        any = true;
    }
    if (any) m->fns.at[l->ref.id] = rewrite_end(&rw);
}
