/*
 * stage.c: the functions of the stages.
 *
 * The body of the repeat over microbatches is cut by stage, and each stage's
 * part into what runs forward, what runs backward, and, where the schedule asks
 * for it, what is made for weights alone.  A microbatch goes through the stages
 * forward, then back, so a value is forward where nothing it reads is made
 * later than that:
 *
 *      forward 0, forward 1, .., backward .., backward 1, backward 0
 *
 * Of what is backward, the part is input that another stage waits for, or the
 * layers before it.  Sums over microbatches are a part of the function in which
 * they stand; where a stage does not take its microbatches in order they are a
 * function of their own, which waits for its turn, so that sums are always in
 * the order of microbatches.  Stages that do the same call one function, so a
 * pipeline of many ranks is not much larger than one of few.
 */
#include "../outline.h"
#include "cut.h"

/* ---------------------------------------------------------------- groups -- */

static uint8_t *group_of(Stages *st, Piece x)
{
    return &st->group[piece_index(st->c, x)];
}

static bool report_order(Stages *st, Piece x, uint32_t reader, uint32_t maker)
{
    const Fn *fn = st->p->fn;
    Report *r = diag_error(
        st->c->m->diag, DIAG_pipeline_rule,
        loc_span(st->c->m, inst_of(fn, x.v)->loc),
        "what stage %u makes backward is read here by stage %u, which is done "
        "by then",
        maker, reader);
    report_help(r, "layers that read what later layers give cannot be apart");
    return false;
}

/* What a piece reads, as it is made on that stage. */
typedef struct Asked {
    PieceVec pieces;
} Asked;

static Value note_piece(Site *s, Piece x)
{
    Asked *a = s->user;
    vec_push(s->c->a, &a->pieces, x);
    return (Value){0};
}

/* What is there for one piece is not for another. */
static PieceVec reads_of(Stages *st, Piece x)
{
    Asked a = {0};
    site_clear(&st->ask);
    st->ask.user = &a;
    site_write(&st->ask, x);
    return a.pieces;
}

/* The least group in which a piece can be, by one that it reads. */
static bool raise_group(Stages *st, Piece x, uint32_t stage, Piece read)
{
    uint32_t maker;
    uint8_t *g = group_of(st, x);
    if (!piece_home(st->c, st->p, read, &maker)) return true;
    uint8_t made = *group_of(st, read);
    if (made == GROUP_forward && maker <= stage) return true;
    if (made == GROUP_back && maker < stage)
        return report_order(st, x, stage, maker);
    if (made == GROUP_sums && maker != stage)
        return report_order(st, x, stage, maker);
    uint8_t least = made == GROUP_forward ? GROUP_back : made;
    if (*g < least) *g = least;
    return true;
}

/* Values that something forward reads. */
static bool *forward_values(const Stages *st)
{
    const Fn *fn = st->p->fn;
    bool *is = NEW_ARRAY(st->c->a, bool, fn->ninsts + 1);
    for (uint32_t v = fn->ninsts; v-- > fn->nparams;) {
        const Inst *in = &fn->insts[v];
        is[v] |= in->phase == PHASE_forward && !st->p->back[v];
        for (uint32_t i = 0; is[v] && i < in->nargs; i++)
            is[inst_arg(fn, in, i).id] = true;
    }
    return is;
}

typedef bool PieceRule(Stages *st, Piece x, uint32_t stage);

/* Each piece that an instruction of a stage makes, in order. */
static bool each_piece(Stages *st, PieceRule *rule)
{
    const Fn *fn = st->p->fn;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++) {
        bool parts = st->p->at[v].kind == SEAT_parts;
        for (uint32_t k = 0; k <= st->c->stages; k++) {
            Piece x = {{v}, k == st->c->stages ? WHOLE : k};
            uint32_t stage;
            if (parts != (x.part != WHOLE)) continue;
            if (parts && !layers_of(st->p->at[v].layers, k)) continue;
            if (!piece_home(st->c, st->p, x, &stage)) continue;
            if (!rule(st, x, stage)) return false;
        }
    }
    return true;
}

static bool group_piece(Stages *st, Piece x, uint32_t stage)
{
    PieceVec reads = reads_of(st, x);
    for (uint32_t i = 0; i < reads.n; i++)
        if (!raise_group(st, x, stage, reads.at[i])) return false;
    uint8_t *g = group_of(st, x);
    if (st->sums[stage] && st->p->sums[x.v.id]) *g = GROUP_sums;
    return true;
}

static bool start_backward(Stages *st, Piece x, uint32_t stage)
{
    (void)stage;
    if (!st->forward[x.v.id]) *group_of(st, x) = GROUP_back;
    return true;
}

/* ------------------------------------------------------------ two halves -- */

static bool is_chain_piece(const Stages *st, Piece x)
{
    return st->p->pinned[x.v.id] &&
           repeat_of(st->c->m, inst_of(st->p->fn, x.v)).carry;
}

/* From the last piece to the first: what others wait for is made first. */
static void find_waited(Stages *st)
{
    const Fn *fn = st->p->fn;
    bool *waited =
        NEW_ARRAY(st->c->a, bool, (size_t)fn->ninsts *(st->c->stages + 1) + 1);
    for (size_t k = st->pieces.n; k-- > 0;) {
        Piece x = st->pieces.at[k];
        uint32_t stage, maker;
        piece_home(st->c, st->p, x, &stage);
        if (*group_of(st, x) != GROUP_back) continue;
        bool first = waited[piece_index(st->c, x)] || is_chain_piece(st, x);
        PieceVec reads = reads_of(st, x);
        for (uint32_t i = 0; i < reads.n; i++) {
            Piece o = reads.at[i];
            if (!piece_home(st->c, st->p, o, &maker)) continue;
            if (first || maker != stage) waited[piece_index(st->c, o)] = true;
        }
        if (!first) *group_of(st, x) = GROUP_weights;
    }
}

/* A tuple is read by its projections alone, which are made with it. */
static bool join_tuple(Stages *st, Piece x, uint32_t stage)
{
    const Inst *in = inst_of(st->p->fn, x.v);
    if (in->op != OP_proj) return true;
    Piece tuple = {inst_arg(st->p->fn, in, 0), x.part};
    if (piece_home(st->c, st->p, tuple, &stage))
        *group_of(st, x) = *group_of(st, tuple);
    return true;
}

static bool keep_piece(Stages *st, Piece x, uint32_t stage)
{
    (void)stage;
    vec_push(st->c->a, &st->pieces, x);
    return true;
}

/* -------------------------------------------------------------- in, out -- */

static bool has_piece(const PieceVec *v, Piece x)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (v->at[i].v.id == x.v.id && v->at[i].part == x.part) return true;
    return false;
}

static StageFn *stage_fn(const Stages *st, uint32_t group, uint32_t stage)
{
    return &st->at[group][stage];
}

/* Only what somebody needs is made. */
static bool *needed_pieces(Stages *st)
{
    size_t n = (size_t)st->p->fn->ninsts * (st->c->stages + 1) + 1;
    bool *needed = NEW_ARRAY(st->c->a, bool, n);
    for (uint32_t i = 0; i < st->results.n; i++)
        needed[piece_index(st->c, st->results.at[i])] = true;
    for (size_t k = st->pieces.n; k-- > 0;) {
        if (!needed[piece_index(st->c, st->pieces.at[k])]) continue;
        PieceVec reads = reads_of(st, st->pieces.at[k]);
        for (uint32_t i = 0; i < reads.n; i++)
            needed[piece_index(st->c, reads.at[i])] = true;
    }
    return needed;
}

static void sort_pieces(Stages *st)
{
    bool *needed = needed_pieces(st);
    for (uint32_t k = 0; k < st->pieces.n; k++) {
        Piece x = st->pieces.at[k];
        uint32_t stage;
        if (!needed[piece_index(st->c, x)]) continue;
        piece_home(st->c, st->p, x, &stage);
        StageFn *f = stage_fn(st, *group_of(st, x), stage);
        f->any = true;
        vec_push(st->c->a, &f->made, x);
    }
}

/* What a function reads that it does not make. */
static void find_inputs(Stages *st, StageFn *f)
{
    Asked a = {0};
    Site s;
    site_init(&s, st->c, st->p, NULL);
    s.bring = note_piece;
    s.user = &a;
    for (uint32_t i = 0; i < f->made.n; i++) {
        Value *made = &s.made[piece_index(st->c, f->made.at[i])];
        *made = site_write(&s, f->made.at[i]);
    }
    f->in = a.pieces;
}

static void each_fn(Stages *st, void (*rule)(Stages *st, StageFn *f))
{
    for (uint32_t g = 0; g < GROUP_count; g++)
        for (uint32_t i = 0; i < st->c->stages; i++)
            if (stage_fn(st, g, i)->any) rule(st, stage_fn(st, g, i));
}

static void note_read(Stages *st, StageFn *f)
{
    for (uint32_t i = 0; i < f->in.n; i++)
        st->read[piece_index(st->c, f->in.at[i])] = true;
}

static void find_outputs(Stages *st, StageFn *f)
{
    for (uint32_t i = 0; i < f->made.n; i++) {
        Piece x = f->made.at[i];
        bool tuple = type_info(st->c->m, value_type(st->p->fn, x.v))->is_tuple;
        if (!tuple &&
            (st->read[piece_index(st->c, x)] || has_piece(&st->results, x)))
            vec_push(st->c->a, &f->out, x);
    }
}

/* --------------------------------------------------------------- writing -- */

static Type piece_type(const Stages *st, Piece x)
{
    Type t = value_type(st->p->fn, x.v);
    const Layers *l = x.part == WHOLE ? NULL : layers_in(st->c, t);
    return l ? part_type(st->c, t, l, x.part) : t;
}

static Value never_brought(Site *s, Piece x)
{
    BUG("a stage lacks value %u of '%s', part %u", x.v.id,
        str_of(s->c->m, s->p->fn->name), x.part);
}

static void write_fn(Stages *st, StageFn *f)
{
    static const char *const words[] = {"forward", "backward", "weights",
                                        "sums"};
    Cut *c = st->c;
    const Fn *fn = st->p->fn;
    uint32_t stage;
    piece_home(c, st->p, f->made.at[0], &stage);
    uint8_t group = *group_of(st, f->made.at[0]);
    const char *stem = arena_printf(
        c->a, "%s.stage%u.%s", str_of(c->m, fn->name), stage, words[group]);
    Fn *made = fn_new(c->m, fn_fresh_name(c->m, stem), fn->view);
    made->kind = module_str(c->m, fn_kind_word(FK_stage));
    made->loc = fn->loc;
    Builder b;
    Site s;
    builder_init(&b, c->m, made);
    site_init(&s, c, st->p, &b);
    s.bring = never_brought;
    for (uint32_t i = 0; i < f->in.n; i++) {
        Piece x = f->in.at[i];
        Port port = {.name = fn->names[x.v.id],
                     .type = piece_type(st, x),
                     .loc = inst_of(fn, x.v)->loc};
        s.made[piece_index(c, x)] = builder_param(&b, port);
    }
    for (uint32_t i = 0; i < f->made.n; i++) {
        Value *v = &s.made[piece_index(c, f->made.at[i])];
        *v = site_write(&s, f->made.at[i]);
    }
    for (uint32_t i = 0; i < f->out.n; i++) {
        Port port = {.loc = inst_of(fn, f->out.at[i].v)->loc};
        builder_result(&b, s.made[piece_index(c, f->out.at[i])], port);
    }
    f->fn = fn_add_once(c->m, made);
}

/* ----------------------------------------------------------------- whole -- */

/* Pieces that the results of the body follow from. */
static void find_results(Stages *st)
{
    const Fn *fn = st->p->fn;
    Asked a = {0};
    Site s;
    site_init(&s, st->c, st->p, NULL);
    s.bring = note_piece;
    s.user = &a;
    for (uint32_t i = 0; i < fn->nresults; i++) {
        Value v = fn->result_values[i];
        Seat at = st->p->at[v.id];
        if (at.kind != SEAT_parts) site_get(&s, (Piece){v, WHOLE});
        for (uint32_t k = 0; k < st->c->stages; k++)
            if (at.kind == SEAT_parts && layers_of(at.layers, k))
                site_get(&s, (Piece){v, k});
    }
    st->results = a.pieces;
}

/* Whether a stage takes its microbatches in order, in each kind of action; a
 * backward that is whole makes its weights too. */
static bool takes_in_order(const Schedule *s, uint32_t stage)
{
    uint32_t next[ACTION_count] = {0};
    const ActionVec *row = &s->rows[s->owner[stage]];
    for (uint32_t i = 0; i < row->n; i++) {
        Action x = row->at[i];
        if (x.kind == ACTION_idle || x.stage != stage) continue;
        bool whole = x.kind == ACTION_backward;
        ActionKind k = whole ? ACTION_input : x.kind;
        if (x.micro < next[k] || (whole && x.micro < next[ACTION_weight]))
            return false;
        next[k] = x.micro;
        if (whole) next[ACTION_weight] = x.micro;
    }
    return true;
}

Stages *stages_make(Cut *c, Seated *p)
{
    Stages *st = NEW(c->a, Stages);
    size_t n = (size_t)p->fn->ninsts * (c->stages + 1) + 1;
    *st = (Stages){.c = c, .p = p};
    st->group = NEW_ARRAY(c->a, uint8_t, n);
    st->read = NEW_ARRAY(c->a, bool, n);
    st->sums = NEW_ARRAY(c->a, bool, c->stages + 1);
    st->forward = forward_values(st);
    site_init(&st->ask, c, p, NULL);
    st->ask.bring = note_piece;
    for (uint32_t g = 0; g < GROUP_count; g++)
        st->at[g] = NEW_ARRAY(c->a, StageFn, c->stages + 1);
    for (uint32_t i = 0; i < c->stages; i++)
        st->sums[i] = !takes_in_order(c->s, i);
    each_piece(st, start_backward);
    if (!each_piece(st, group_piece)) return NULL;
    each_piece(st, keep_piece);
    if (c->splits) find_waited(st);
    each_piece(st, join_tuple);
    find_results(st);
    sort_pieces(st);
    each_fn(st, find_inputs);
    each_fn(st, note_read);
    each_fn(st, find_outputs);
    each_fn(st, write_fn);
    return st;
}
