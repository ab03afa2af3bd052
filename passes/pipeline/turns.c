/*
 * turns.c: the microbatches, in the order of the schedule.
 *
 * An action is a call of the stage's function for one microbatch.  What other
 * ranks read of its results is sent when it ends, once to each.  Sums
 * are handed from a microbatch's call to the next one's.
 */
#include "cut.h"

struct Turns {
    Ranks *r;
    Stages *st;
    uint32_t *number; /* by piece: of those that calls give, plus 1 */
    uint32_t n;
    Value *table;     /* by rank, microbatch, number */
    uint32_t *left;   /* by stage, microbatch: actions to come */
    uint32_t *summed; /* by stage: microbatches whose sums are made */
    Value *picked;    /* by rank, microbatch, parameter, part */
};

static Value *table_at(Turns *t, uint32_t rank, uint32_t micro, Piece x)
{
    uint32_t n = t->number[piece_index(t->r->c, x)];
    if (!n) return NULL;
    return &t->table[((size_t)rank * t->r->c->micros + micro) * t->n + n - 1];
}

static void number_pieces(Turns *t)
{
    Cut *c = t->r->c;
    for (uint32_t g = 0; g < GROUP_count; g++)
        for (uint32_t i = 0; i < c->stages; i++) {
            const StageFn *f = &t->st->at[g][i];
            for (uint32_t k = 0; k < f->out.n; k++)
                t->number[piece_index(c, f->out.at[k])] = ++t->n;
        }
    size_t n = (size_t)c->ranks * c->micros * t->n + 1;
    t->table = NEW_ARRAY(c->a, Value, n);
    memset(t->table, 0xff, n * sizeof *t->table);
}

/* --------------------------------------------------------------- reading -- */

static Value resolve(Turns *t, uint32_t rank, uint32_t micro, Piece x);

/* The rows of one microbatch. */
static Value pick_turn(Turns *t, uint32_t rank, uint32_t micro, Piece operand,
                       uint32_t param)
{
    Cut *c = t->r->c;
    Builder *b = &t->r->builders[rank];
    size_t nparams = t->r->p->body->fn->nparams;
    size_t at = ((size_t)rank * c->micros + micro) * nparams + param;
    if (operand.part == WHOLE && !value_eq(t->picked[at], NO_VALUE))
        return t->picked[at];
    Value whole = site_get(&t->r->sites[rank], operand);
    Value v = emit_pick(b, whole, t->r->p->repeat.axis, micro);
    if (operand.part == WHOLE) t->picked[at] = v;
    return v;
}

static Value resolve_param(Turns *t, uint32_t rank, uint32_t micro, Piece x)
{
    const Seated *p = t->r->p;
    const Repeat *rep = &p->repeat;
    Builder *b = &t->r->builders[rank];
    uint32_t i = x.v.id;
    const Inst *in = inst_of(p->fn, p->turns);
    if (i + 1 == p->body->fn->nparams) return emit_const(b, DT_i32, micro);
    Piece operand = {inst_arg(p->fn, in, i), x.part};
    if (i < rep->carry && micro > 0) {
        Piece before = {p->body->fn->result_values[i], x.part};
        return resolve(t, rank, micro - 1, before);
    }
    if (i < rep->carry + rep->invariant)
        return site_get(&t->r->sites[rank], operand);
    return pick_turn(t, rank, micro, operand, i);
}

/* A piece of the body, for one microbatch. */
static Value resolve(Turns *t, uint32_t rank, uint32_t micro, Piece x)
{
    const Seated *b = t->r->p->body;
    Cut *c = t->r->c;
    uint32_t stage;
    if (x.v.id < b->fn->nparams) return resolve_param(t, rank, micro, x);
    const Inst *in = inst_of(b->fn, x.v);
    if (x.part != WHOLE && is_ranges(c, b->fn, x.v)) {
        uint32_t k = range_operand(b->at[x.v.id].layers, x.part);
        return resolve(t, rank, micro, (Piece){inst_arg(b->fn, in, k), WHOLE});
    }
    if (x.part == WHOLE && is_range(c, b->fn, x.v, &stage))
        return resolve(t, rank, micro, (Piece){inst_arg(b->fn, in, 0), stage});
    Value *v = table_at(t, rank, micro, x);
    if (!v || value_eq(*v, NO_VALUE))
        BUG("rank %u lacks value %u of microbatch %u, part %u", rank, x.v.id,
            micro, x.part);
    return *v;
}

/* --------------------------------------------------------------- calling -- */

static bool reads_piece(const StageFn *f, Piece x)
{
    for (uint32_t i = 0; f->any && i < f->in.n; i++)
        if (f->in.at[i].v.id == x.v.id && f->in.at[i].part == x.part)
            return true;
    return false;
}

/* To each rank with a stage that reads it, once. */
static void send_piece(Turns *t, uint32_t stage, uint32_t micro, Piece x)
{
    Cut *c = t->r->c;
    uint32_t from = c->s->owner[stage];
    Value v = *table_at(t, from, micro, x);
    for (uint32_t i = 0; i < c->stages; i++) {
        uint32_t to = c->s->owner[i];
        bool reads = false;
        for (uint32_t g = 0; g < GROUP_count; g++)
            reads |= reads_piece(&t->st->at[g][i], x);
        Value *there = table_at(t, to, micro, x);
        if (!reads || !value_eq(*there, NO_VALUE)) continue;
        *there = ranks_send(t->r, from, to, stage * c->stages + i, v);
    }
}

static void call_stage(Turns *t, uint32_t group, uint32_t stage, uint32_t micro)
{
    Cut *c = t->r->c;
    const StageFn *f = &t->st->at[group][stage];
    uint32_t rank = c->s->owner[stage];
    Builder *b = &t->r->builders[rank];
    if (!f->any) return;
    Phase phase = group == GROUP_forward ? PHASE_forward : PHASE_backward;
    Value *args = NEW_ARRAY(c->a, Value, f->in.n + 1);
    for (uint32_t i = 0; i < f->in.n; i++) {
        b->phase = phase;
        b->loc = t->r->p->fn->loc;
        args[i] = resolve(t, rank, micro, f->in.at[i]);
    }
    b->phase = phase;
    b->loc = t->r->p->fn->loc;
    Value made = emit_call(b, f->fn, args, f->in.n);
    for (uint32_t i = 0; i < f->out.n; i++)
        *table_at(t, rank, micro, f->out.at[i]) =
            f->out.n == 1 ? made : emit_proj(b, made, i);
}

static void send_results(Turns *t, uint32_t group, uint32_t stage,
                         uint32_t micro)
{
    const StageFn *f = &t->st->at[group][stage];
    for (uint32_t i = 0; f->any && i < f->out.n; i++)
        send_piece(t, stage, micro, f->out.at[i]);
}

/* Sums that wait for their turn. */
static void sum_stage(Turns *t, uint32_t stage)
{
    Cut *c = t->r->c;
    uint32_t *next = &t->summed[stage];
    while (*next < c->micros &&
           t->left[(size_t)stage * c->micros + *next] == 0) {
        call_stage(t, GROUP_sums, stage, *next);
        send_results(t, GROUP_sums, stage, (*next)++);
    }
}

static bool goes_back(Action x)
{
    return x.kind == ACTION_backward || x.kind == ACTION_input;
}

static bool gives_weights(Action x)
{
    return x.kind == ACTION_backward || x.kind == ACTION_weight;
}

static void run_action(Turns *t, Action x)
{
    if (x.kind == ACTION_forward)
        call_stage(t, GROUP_forward, x.stage, x.micro);
    if (goes_back(x)) call_stage(t, GROUP_back, x.stage, x.micro);
    if (gives_weights(x)) call_stage(t, GROUP_weights, x.stage, x.micro);
}

static void end_action(Turns *t, Action x)
{
    if (x.kind == ACTION_forward)
        send_results(t, GROUP_forward, x.stage, x.micro);
    if (goes_back(x)) send_results(t, GROUP_back, x.stage, x.micro);
    if (gives_weights(x)) send_results(t, GROUP_weights, x.stage, x.micro);
    t->left[(size_t)x.stage * t->r->c->micros + x.micro]--;
    sum_stage(t, x.stage);
}

static void count_actions(Turns *t)
{
    const Schedule *s = t->r->c->s;
    for (uint32_t r = 0; r < s->ranks; r++)
        for (uint32_t i = 0; i < s->rows[r].n; i++) {
            Action x = s->rows[r].at[i];
            if (x.kind != ACTION_idle)
                t->left[(size_t)x.stage * s->micros + x.micro]++;
        }
}

/* What a stage keeps of each microbatch between its forward and backward. */
static void say_kept(const Turns *t)
{
    Cut *c = t->r->c;
    for (uint32_t i = 0; i < c->stages; i++) {
        const StageFn *f = &t->st->at[GROUP_forward][i];
        int64_t bytes = 0;
        for (uint32_t k = 0; k < f->out.n; k++) {
            Piece x = f->out.at[k];
            Type type = value_type(t->r->p->body->fn, x.v);
            const Layers *l = x.part == WHOLE ? NULL : layers_in(c, type);
            if (reads_piece(&t->st->at[GROUP_back][i], x) ||
                reads_piece(&t->st->at[GROUP_weights][i], x))
                bytes += type_bytes(c->m, l ? part_type(c, type, l, i) : type);
        }
        pass_remark(c->m, c->cx, t->r->p->fn->loc,
                    "stage %u keeps %lld bytes of a microbatch for its "
                    "backward, before they are split",
                    i, (long long)bytes);
    }
}

/* What all microbatches read comes before the first. */
static void bring_invariants(Turns *t)
{
    const Repeat *rep = &t->r->p->repeat;
    Cut *c = t->r->c;
    for (uint32_t g = 0; g < GROUP_count; g++)
        for (uint32_t i = 0; i < c->stages; i++) {
            const StageFn *f = &t->st->at[g][i];
            for (uint32_t k = 0; f->any && k < f->in.n; k++) {
                uint32_t v = f->in.at[k].v.id;
                if (v >= rep->carry && v < rep->carry + rep->invariant)
                    resolve(t, c->s->owner[i], 0, f->in.at[k]);
            }
        }
}

bool turns_run(Ranks *r)
{
    Cut *c = r->c;
    Turns *t = NEW(c->a, Turns);
    *t = (Turns){.r = r, .st = stages_make(c, r->p->body)};
    if (!t->st) return false;
    r->turns = t;
    const Fn *body = r->p->body->fn;
    size_t cells = (size_t)c->stages * c->micros + 1;
    size_t picks = (size_t)c->ranks * c->micros * body->nparams + 1;
    t->number =
        NEW_ARRAY(c->a, uint32_t, (size_t)body->ninsts * (c->stages + 1) + 1);
    t->left = NEW_ARRAY(c->a, uint32_t, cells);
    t->summed = NEW_ARRAY(c->a, uint32_t, c->stages + 1);
    t->picked = NEW_ARRAY(c->a, Value, picks);
    memset(t->picked, 0xff, picks * sizeof *t->picked);
    number_pieces(t);
    count_actions(t);
    if (pass_remarks(c->m, c->cx, false)) say_kept(t);
    bring_invariants(t);
    for (uint32_t i = 0; i < 2 * c->run.n; i++) {
        const Moment *x = &c->run.moments[i];
        Action action = c->s->rows[x->of->rank].at[x->of->place];
        if (x->ends)
            end_action(t, action);
        else
            run_action(t, action);
    }
    return true;
}

/* A field of the turns: the last sum, or the rows of all. */
Value turns_result(Ranks *r, uint32_t rank, Piece x)
{
    Turns *t = r->turns;
    Builder *b = &r->builders[rank];
    const Inst *in = inst_of(r->p->fn, x.v);
    uint32_t i = (uint32_t)attr_int(r->c->m, in->attr, AT_index, 0);
    Piece result = {r->p->body->fn->result_values[i], x.part};
    if (i < r->p->repeat.carry)
        return resolve(t, rank, r->c->micros - 1, result);
    Value *rows = NEW_ARRAY(r->c->a, Value, r->c->micros + 1);
    for (uint32_t m = 0; m < r->c->micros; m++)
        rows[m] = resolve(t, rank, m, result);
    return emit_stack(b, rows, r->c->micros, r->p->repeat.axis);
}
