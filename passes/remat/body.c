/*
 * body.c: forward and backward of a pair with another record.
 *
 * The forward stacks what others than the backward read of it, then the
 * record.  The backward is copied, and a value of the forward that is not in
 * the record is made just before its first reader, from what is; so nothing
 * lives longer than it must.
 *
 * The copies are the forward's own instructions, of the same types, so the
 * same values come out bit by bit.
 */
#include "../added.h"
#include "remat.h"

static Fn *fresh_fn(Module *m, const Pair *p, const Fn *like, const char *what)
{
    const char *stem = arena_printf(m->scratch, "%s.%s", p->path, what);
    Fn *fn = fn_new(m, fn_fresh_name(m, stem), like->view);
    fn->loc = like->loc;
    return fn;
}

/* By value of the body: it is a matmul that is added to a value which was
 * recorded and is not any more. */
static bool *find_apart(Module *m, const Pair *p, const Range *r)
{
    const Fn *of = p->of;
    Uses uses = fn_uses(of, m->scratch);
    const Record *before = record_present(m, p);
    bool *apart = NEW_ARRAY(m->scratch, bool, of->ninsts + 1);
    for (uint32_t i = of->nparams; i < of->ninsts; i++) {
        const Inst *in = &of->insts[i];
        uint32_t einsum;
        if (!map_adds_einsum(m, of, in, &uses, &einsum)) continue;
        uint32_t added = inst_arg(of, in, 1 - einsum).id;
        apart[inst_arg(of, in, einsum).id] =
            before->saved[added] && !r->record->saved[added];
    }
    return apart;
}

/* The attributes of the body's values.  A matmul that is made again is to have
 * the bits of the first, so the same kernel has to make both.  One whose sums
 * could not lie over a value of the old record is not to lie over it where
 * that is free: the kernel for that is another. */
static Attr *attrs_of(Module *m, const Pair *p, const Range *r)
{
    const Fn *of = p->of;
    const bool *remade = record_remade(m, p, r->record);
    const bool *apart = find_apart(m, p, r);
    Attr *attrs = NEW_ARRAY(m->scratch, Attr, of->ninsts + 1);
    for (uint32_t i = 0; i < of->ninsts; i++) {
        attrs[i] = of->insts[i].attr;
        if (of->insts[i].op != OP_einsum || !(remade[i] || apart[i])) continue;
        AttrList l = attr_list(m, attrs[i]);
        attr_drop(&l, AT_twin);
        if (remade[i]) attr_put_int(&l, AT_twin, p->twins + i);
        if (apart[i]) attr_put_int(&l, AT_apart, 1);
        attrs[i] = attr_intern(m, &l);
    }
    return attrs;
}

/* A value that is another one with its axes renamed. */
static Value turn_inst(Builder *b, const Pair *p, uint32_t i, const Value *map,
                       Phase phase)
{
    const Inst *in = &p->of->insts[i];
    b->loc = in->loc;
    b->phase = phase;
    Value v = emit(b, OP_rename, in->type, p->turns[i].rename,
                   &map[p->turns[i].from.id], 1);
    if (p->of->names[i].id) value_set_name(b, v, p->of->names[i]);
    return v;
}

static Value copy_inst(Builder *b, const Fn *from, uint32_t i, Attr attr,
                       const Value *map, Phase phase)
{
    const Inst *in = &from->insts[i];
    Value *args = NEW_ARRAY(b->m->scratch, Value, in->nargs + 1u);
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = map[inst_arg(from, in, k).id];
    b->loc = in->loc;
    b->phase = phase;
    Value v = emit(b, (Op)in->op, in->type, attr, args, in->nargs);
    if (from->names[i].id) value_set_name(b, v, from->names[i]);
    return v;
}

/* The turn as the whole repeat counts it. */
static Value whole_turn(Builder *b, Value turn, int64_t first, Phase phase)
{
    if (first == 0) return turn;
    Module *m = b->m;
    b->phase = phase;
    Expr body = expr_op2(m, SC_add, expr_arg(m, 0, DT_i32), expr_i32(m, first));
    return emit_map(b, body, &turn, 1);
}

/* ------------------------------------------------------------- forward -- */

/* The result of `of` that V is and that the new forward stacks, or none. */
static bool is_other(const Pair *p, const Range *r, uint32_t v)
{
    for (uint32_t i = 0; i < r->others.n; i++)
        if (p->of->result_values[r->others.at[i]].id == v) return true;
    return false;
}

static void list_results(Module *m, const Pair *p, Range *r)
{
    for (uint32_t i = p->f.carry; i < p->of->nresults; i++)
        if (p->asked[i]) vec_push(m->scratch, &r->others, i);
    for (uint32_t i = 0; i < r->takes.n; i++) {
        Take t = r->takes.at[i];
        if (t.kind == TAKE_saved && !is_other(p, r, t.at))
            vec_push(m->scratch, &r->saved, t.at);
    }
}

typedef struct Front {
    const Pair *p;
    const Range *r;
    Builder b;
    const Attr *attrs;
    Value *map;   /* by value of the body */
    bool *needed; /* and: the new one has it */
} Front;

static void need(Front *k, uint32_t v)
{
    const Record *r = k->r->record;
    if (k->needed[v]) return;
    k->needed[v] = true;
    for (uint32_t a = 0; a < record_nargs(k->p, r, v); a++)
        need(k, record_arg(k->p, r, v, a));
}

static void find_forward_needed(Front *k)
{
    const Fn *of = k->p->of;
    for (uint32_t i = 0; i < k->p->f.carry; i++)
        need(k, of->result_values[i].id);
    for (uint32_t i = 0; i < k->r->others.n; i++)
        need(k, of->result_values[k->r->others.at[i]].id);
    for (uint32_t i = 0; i < k->r->saved.n; i++)
        need(k, k->r->saved.at[i]);
}

/* What stands behind it in the body is placed before it, if it is made of
 * that. */
static void place_forward(Front *k, uint32_t v)
{
    const Record *r = k->r->record;
    Phase phase = (Phase)k->p->of->insts[v].phase;
    if (!value_eq(k->map[v], NO_VALUE)) return;
    for (uint32_t a = 0; a < record_nargs(k->p, r, v); a++)
        place_forward(k, record_arg(k->p, r, v, a));
    k->map[v] = r->turned[v]
                    ? turn_inst(&k->b, k->p, v, k->map, phase)
                    : copy_inst(&k->b, k->p->of, v, k->attrs[v], k->map, phase);
}

static Fn *make_forward(Module *m, const Pair *p, const Range *r,
                        const Attr *attrs)
{
    const Fn *of = p->of;
    Front k = {.p = p, .r = r, .attrs = attrs};
    Fn *fn = fresh_fn(m, p, of, "forward");
    builder_init(&k.b, m, fn);
    k.map = no_values(m->scratch, of->ninsts);
    k.needed = NEW_ARRAY(m->scratch, bool, of->ninsts + 1);
    find_forward_needed(&k);
    uint32_t turn = of->nparams - 1;
    for (uint32_t i = 0; i < of->nparams; i++)
        k.map[i] = builder_param(&k.b, of->params[i]);
    if (k.needed[turn])
        k.map[turn] = whole_turn(&k.b, k.map[turn], r->first, PHASE_forward);
    for (uint32_t i = of->nparams; i < of->ninsts; i++)
        if (k.needed[i]) place_forward(&k, i);
    for (uint32_t i = 0; i < p->f.carry; i++)
        builder_result(&k.b, k.map[of->result_values[i].id], of->results[i]);
    for (uint32_t i = 0; i < r->others.n; i++) {
        uint32_t at = r->others.at[i];
        builder_result(&k.b, k.map[of->result_values[at].id], of->results[at]);
    }
    for (uint32_t i = 0; i < r->saved.n; i++)
        builder_result(&k.b, k.map[r->saved.at[i]],
                       (Port){.name = of->names[r->saved.at[i]]});
    return fn;
}

/* ------------------------------------------------------------ backward -- */

typedef struct Back {
    const Pair *p;
    Range *r;
    Builder b;
    const Attr *attrs; /* by value of the body */
    bool *read;        /* by value of the body: the backward takes it */
    bool *owned;       /* by parameter of `back`: some instruction reads it */
    Value *of;         /* by value of the body */
    Value *own;        /* by value of `back` */
} Back;

/* What is taken: what is read by what is made again, and by the backward's
 * own instructions. */
static void find_read(Module *m, Back *k)
{
    const Pair *p = k->p;
    const Record *r = k->r->record;
    bool *remade = record_remade(m, p, r);
    k->read = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    k->owned = NEW_ARRAY(m->scratch, bool, p->back->ninsts + 1);
    for (uint32_t i = 0; i < p->of->ninsts; i++) {
        uint32_t n = remade[i] ? record_nargs(p, r, i) : 0;
        for (uint32_t a = 0; a < n; a++)
            k->read[record_arg(p, r, i, a)] = true;
    }
    for (uint32_t i = p->back->nparams; i < p->back->ninsts; i++) {
        const Inst *in = &p->back->insts[i];
        if (!value_eq(p->same[i], NO_VALUE)) continue;
        for (uint32_t a = 0; a < in->nargs; a++)
            k->owned[inst_arg(p->back, in, a).id] = true;
    }
    for (uint32_t i = 0; i < p->back->nresults; i++)
        k->owned[p->back->result_values[i].id] = true;
    for (uint32_t i = 0; i < p->back->ninsts; i++)
        if (k->owned[i] && !value_eq(p->same[i], NO_VALUE))
            k->read[p->same[i].id] = true;
    for (uint32_t i = 0; i < p->of->ninsts; i++)
        k->read[i] &= r->saved[i];
}

static void take(Back *k, TakeKind kind, uint32_t at)
{
    const Pair *p = k->p;
    vec_push(k->b.m->scratch, &k->r->takes, ((Take){kind, at}));
    if (kind == TAKE_own) {
        Value v = p->same[at], port = builder_param(&k->b, p->back->params[at]);
        if (value_eq(v, NO_VALUE))
            k->own[at] = port;
        else
            k->of[v.id] = port;
    } else
        k->of[at] = builder_param(&k->b, (Port){.name = p->of->names[at],
                                                .type = p->of->insts[at].type});
}

static bool is_free(const Back *k, uint32_t v)
{
    return k->read[v] && value_eq(k->of[v], NO_VALUE);
}

/* The parameters of `back` from `first` on that are still read, then those of
 * the body that are read besides. */
static void take_range(Back *k, uint32_t first, uint32_t end, uint32_t of_first,
                       uint32_t of_end)
{
    const Pair *p = k->p;
    for (uint32_t i = first; i < end; i++) {
        Value v = p->same[i];
        if (value_eq(v, NO_VALUE)) {
            if (k->owned[i]) take(k, TAKE_own, i);
        } else if (is_free(k, v.id)) {
            take(k, is_at_hand(p, v.id) ? TAKE_own : TAKE_saved,
                 is_at_hand(p, v.id) ? i : v.id);
        }
    }
    for (uint32_t i = of_first; i < of_end; i++)
        if (is_free(k, i)) take(k, TAKE_param, i);
}

static void take_all(Back *k)
{
    const Pair *p = k->p;
    uint32_t invariant = p->b.carry + p->b.invariant;
    uint32_t turn = p->back->nparams - 1, of_turn = p->of->nparams - 1;
    for (uint32_t i = 0; i < p->b.carry; i++)
        k->own[i] = builder_param(&k->b, p->back->params[i]);
    take_range(k, p->b.carry, invariant, p->f.carry,
               p->f.carry + p->f.invariant);
    k->r->invariant = k->r->takes.n;
    take_range(k, invariant, turn, p->f.carry + p->f.invariant, of_turn);
    for (uint32_t i = 0; i < p->of->ninsts; i++)
        if (is_free(k, i) && !is_at_hand(p, i)) take(k, TAKE_saved, i);
    Value t = builder_param(&k->b, p->back->params[turn]);
    if (k->read[of_turn])
        k->of[of_turn] = whole_turn(&k->b, t, k->r->first, PHASE_backward);
}

static Value place(Back *k, uint32_t v)
{
    const Record *r = k->r->record;
    if (!value_eq(k->of[v], NO_VALUE)) return k->of[v];
    for (uint32_t a = 0; a < record_nargs(k->p, r, v); a++)
        place(k, record_arg(k->p, r, v, a));
    k->of[v] = r->turned[v] ? turn_inst(&k->b, k->p, v, k->of, PHASE_backward)
                            : copy_inst(&k->b, k->p->of, v, k->attrs[v], k->of,
                                        PHASE_backward);
    return k->of[v];
}

/* The value of `back` in the copy. */
static void have(Back *k, uint32_t v)
{
    if (!value_eq(k->p->same[v], NO_VALUE))
        k->own[v] = place(k, k->p->same[v].id);
}

static Fn *make_backward(Module *m, const Pair *p, Range *r, const Attr *attrs)
{
    const Fn *back = p->back;
    Back k = {.p = p, .r = r, .attrs = attrs};
    Fn *fn = fresh_fn(m, p, back, "backward");
    builder_init(&k.b, m, fn);
    k.of = no_values(m->scratch, p->of->ninsts);
    k.own = no_values(m->scratch, back->ninsts);
    find_read(m, &k);
    take_all(&k);
    for (uint32_t i = back->nparams; i < back->ninsts; i++) {
        const Inst *in = &back->insts[i];
        if (!value_eq(p->same[i], NO_VALUE)) continue;
        for (uint32_t a = 0; a < in->nargs; a++)
            have(&k, inst_arg(back, in, a).id);
        k.own[i] = copy_inst(&k.b, back, i, in->attr, k.own, (Phase)in->phase);
    }
    for (uint32_t i = 0; i < back->nresults; i++) {
        have(&k, back->result_values[i].id);
        builder_result(&k.b, k.own[back->result_values[i].id],
                       back->results[i]);
    }
    return fn;
}

void bodies_make(Module *m, const Pair *p, Range *r)
{
    const Attr *attrs = attrs_of(m, p, r);
    Fn *backward = make_backward(m, p, r, attrs);
    list_results(m, p, r);
    /* the forward comes first: what makes its matmuls makes them again */
    r->forward = module_add_fn(m, make_forward(m, p, r, attrs));
    r->backward = module_add_fn(m, backward);
}
