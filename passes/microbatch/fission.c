/*
 * fission.c: a repeat whose turns both work on rows and make something of
 * sums over them is made two.
 *
 *     %t = repeat %x, %w, %seen fn @layer ..           rows, next state
 *
 * becomes, where the next state of a layer is a function of a sum over rows,
 *
 *     %r = repeat %x, %w, %seen fn @layer.rows ..      rows, sums
 *     %s = repeat %seen, sums of %r fn @layer.sums ..  next state
 *
 * so that the first runs in the turns of the batch and the second once, on
 * the whole sums.  It can be done where what is late is not carried and reads
 * nothing that is.
 */
#include "microbatch.h"

typedef struct Fission {
    Micro *mi;
    const Fn *step;
    Value at; /* the repeat */
    const Inst *in;
    uint32_t carry, invariant;
    Classes body;
    bool *late;         /* by body value: belongs to the second */
    bool *frontier;     /* by body value: a sum that the second reads */
    Rewrite rows, sums; /* the two bodies */
    uint32_t *field;    /* by frontier value: result of the first body */
    uint32_t *place;    /* by old result: where it is now */
} Fission;

static Class cell_class(const Fission *f, Value v)
{
    return f->body.at[f->body.first[v.id]];
}

static bool is_late_result(const Fission *f, uint32_t i)
{
    return i >= f->carry &&
           cell_class(f, f->body.fn->result_values[i]).kind == CLASS_late;
}

/* False: the second would read a carried value or rows. */
static bool mark_operand(Fission *f, Value o)
{
    Class k = cell_class(f, o);
    bool arg = o.id < f->body.fn->nparams;
    if (k.kind == CLASS_row || (arg && o.id < f->carry)) return false;
    if (k.kind == CLASS_part)
        f->frontier[o.id] = true;
    else if (!arg || o.id + 1 < f->body.fn->nparams)
        f->late[o.id] = true;
    return true;
}

static bool mark_late(Fission *f)
{
    const Fn *fn = f->body.fn;
    bool any = false;
    for (uint32_t i = 0; i < fn->nresults; i++) {
        Class k = cell_class(f, fn->result_values[i]);
        if (k.kind != CLASS_late) continue;
        if (k.fault || i < f->carry) return false;
        f->late[fn->result_values[i].id] = any = true;
    }
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        if (!f->late[i]) continue;
        for (uint32_t k = 0; k < fn->insts[i].nargs; k++)
            if (!mark_operand(f, inst_arg(fn, &fn->insts[i], k))) return false;
    }
    return any;
}

/* --------------------------------------------------------------- bodies -- */

static void copy_marked(Rewrite *rw, const bool *marked)
{
    for (uint32_t i = rw->old->nparams; i < rw->old->ninsts; i++)
        if (marked[i]) rewrite_copy(rw, (Value){i});
}

static void fresh_body(Fission *f, Fn *fn, const char *what)
{
    Module *m = f->mi->m;
    const char *stem =
        arena_printf(m->scratch, "%s.%s", str_of(m, f->body.fn->name), what);
    fn->name = fn_fresh_name(m, stem);
}

/* What the results of the first need. */
static bool *needed_rows(const Fission *f)
{
    const Fn *fn = f->body.fn;
    bool *need = NEW_ARRAY(f->mi->m->scratch, bool, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (!is_late_result(f, i)) need[fn->result_values[i].id] = true;
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        need[i] = need[i] || f->frontier[i];
        for (uint32_t k = 0; need[i] && k < fn->insts[i].nargs; k++)
            need[inst_arg(fn, &fn->insts[i], k).id] = true;
    }
    return need;
}

/* The old results but the late ones, then what the second reads. */
static FnRef write_rows(Fission *f)
{
    const Fn *fn = f->body.fn;
    Rewrite *rw = &f->rows;
    rewrite_begin(rw, f->mi->m, fn);
    fresh_body(f, rw->b.fn, "rows");
    copy_marked(rw, needed_rows(f));
    for (uint32_t i = 0; i < fn->nresults; i++) {
        if (is_late_result(f, i)) continue;
        f->place[i] = rw->b.fn->nresults;
        builder_result(&rw->b, rewrite_value(rw, fn->result_values[i]),
                       fn->results[i]);
    }
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!f->frontier[i]) continue;
        Port port = {.loc = fn->insts[i].loc};
        f->field[i] = rw->b.fn->nresults;
        builder_result(&rw->b, rewrite_value(rw, (Value){i}), port);
    }
    return module_add_fn(f->mi->m, rw->b.fn);
}

static bool is_param_read(const Fission *f, uint32_t i)
{
    return f->late[i] && i + 1 < f->body.fn->nparams;
}

static void add_param(Rewrite *rw, uint32_t i, Port port)
{
    rewrite_set(rw, (Value){i}, builder_param(&rw->b, port));
}

/* Parameters in order: invariant ones, stacked ones, sums, the turn. */
static FnRef write_sums(Fission *f)
{
    Module *m = f->mi->m;
    const Fn *fn = f->body.fn;
    Rewrite *rw = &f->sums;
    *rw = (Rewrite){.old = fn};
    builder_init(&rw->b, m, fn_new(m, fn->name, fn->view));
    fresh_body(f, rw->b.fn, "sums");
    rw->b.fn->loc = fn->loc;
    rw->map = NEW_ARRAY(m->scratch, Value, fn->ninsts + 1);
    memset(rw->map, 0xff, fn->ninsts * sizeof *rw->map);
    for (uint32_t i = 0; i + 1 < fn->nparams; i++)
        if (is_param_read(f, i)) add_param(rw, i, fn->params[i]);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Port port = {.name = fn->names[i],
                     .type = fn->insts[i].type,
                     .loc = fn->insts[i].loc};
        if (f->frontier[i]) add_param(rw, i, port);
    }
    add_param(rw, fn->nparams - 1, fn->params[fn->nparams - 1]);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (f->late[i]) rewrite_copy(rw, (Value){i});
    for (uint32_t i = 0; i < fn->nresults; i++) {
        if (!is_late_result(f, i)) continue;
        f->place[i] = rw->b.fn->nresults;
        builder_result(&rw->b, rewrite_value(rw, fn->result_values[i]),
                       fn->results[i]);
    }
    return module_add_fn(m, rw->b.fn);
}

/* ------------------------------------------------------------------ step -- */

static Value emit_repeat(Fission *f, Builder *b, FnRef body, const Value *args,
                         uint32_t n, uint32_t carry, uint32_t invariant)
{
    Module *m = f->mi->m;
    const Fn *fn = fn_of(m, body);
    AttrList l = attr_list(m, f->in->attr);
    const AttrKey keys[] = {AT_fn, AT_carry, AT_invariant};
    for (size_t i = 0; i < 3; i++)
        attr_drop(&l, keys[i]);
    attr_put_id(&l, AT_fn, body.id);
    if (carry) attr_put_int(&l, AT_carry, carry);
    if (invariant) attr_put_int(&l, AT_invariant, invariant);
    Type t = repeat_type(m, fn, carry, attr_axis(m, f->in->attr, AT_axis),
                         attr_int(m, f->in->attr, AT_count, 0));
    return emit(b, OP_repeat, t, attr_intern(m, &l), args, n);
}

static Value emit_rows(Fission *f, Rewrite *rw, FnRef body)
{
    Value *args = NEW_ARRAY(f->mi->m->scratch, Value, f->in->nargs + 1);
    for (uint32_t i = 0; i < f->in->nargs; i++)
        args[i] = rewrite_value(rw, inst_arg(f->step, f->in, i));
    return emit_repeat(f, &rw->b, body, args, f->in->nargs, f->carry,
                       f->invariant);
}

static Value emit_sums(Fission *f, Rewrite *rw, FnRef body, Value rows)
{
    const Fn *fn = f->body.fn;
    VEC(Value) args = {0};
    Arena *a = f->mi->m->scratch;
    uint32_t invariant = 0;
    for (uint32_t i = 0; i + 1 < fn->nparams; i++) {
        if (!is_param_read(f, i)) continue;
        Value v = rewrite_value(rw, inst_arg(f->step, f->in, i));
        vec_push(a, &args, v);
        invariant += i < f->carry + f->invariant;
    }
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!f->frontier[i]) continue;
        Value v = emit_proj(&rw->b, rows, f->field[i]);
        vec_push(a, &args, v);
    }
    return emit_repeat(f, &rw->b, body, args.at, args.n, 0, invariant);
}

static bool is_field(const Fission *f, const Inst *in)
{
    return in->op == OP_proj && value_eq(inst_arg(f->step, in, 0), f->at);
}

static void write_step(Fission *f, Rewrite *rw)
{
    Value rows = NO_VALUE, sums = NO_VALUE;
    FnRef first = write_rows(f), second = write_sums(f);
    for (uint32_t i = f->step->nparams; i < f->step->ninsts; i++) {
        Value v = {i};
        const Inst *in = inst_of(f->step, v);
        rw->b.loc = in->loc;
        rw->b.phase = (Phase)in->phase;
        if (value_eq(v, f->at)) {
            rows = emit_rows(f, rw, first);
            sums = emit_sums(f, rw, second, rows);
        } else if (is_field(f, in)) {
            int64_t k = attr_int(f->mi->m, in->attr, AT_index, 0);
            Value from = is_late_result(f, (uint32_t)k) ? sums : rows;
            Value made = emit_proj(&rw->b, from, f->place[k]);
            value_set_name(&rw->b, made, f->step->names[i]);
            rewrite_set(rw, v, made);
        } else {
            rewrite_copy(rw, v);
        }
    }
}

static bool reads_rows(const Fission *f, const Classes *c)
{
    for (uint32_t i = 0; i < f->in->nargs; i++)
        if (operand_class(f->mi, c, f->in, i).kind == CLASS_row) return true;
    return false;
}

/* Is this a repeat to be made two?  Fills in what the writers read. */
static bool can_part(Fission *f, const Classes *c, Value v)
{
    Module *m = f->mi->m;
    f->at = v;
    f->in = inst_of(c->fn, v);
    if (f->in->op != OP_repeat || c->early[v.id] || !reads_rows(f, c) ||
        attr_get(m, f->in->attr, AT_while))
        return false;
    const Fn *body = fn_of(m, attr_fn(m, f->in->attr, AT_fn));
    f->carry = (uint32_t)attr_int(m, f->in->attr, AT_carry, 0);
    f->invariant = (uint32_t)attr_int(m, f->in->attr, AT_invariant, 0);
    f->body = classify(f->mi, body, callee_params(f->mi, c, f->in));
    f->late = NEW_ARRAY(m->scratch, bool, body->ninsts + 1);
    f->frontier = NEW_ARRAY(m->scratch, bool, body->ninsts + 1);
    f->field = NEW_ARRAY(m->scratch, uint32_t, body->ninsts + 1);
    f->place = NEW_ARRAY(m->scratch, uint32_t, body->nresults + 1);
    return mark_late(f);
}

bool part_repeat(Micro *mi, uint32_t at)
{
    const Fn *step = mi->m->fns.at[at];
    Classes c = classify(mi, step, NULL);
    for (uint32_t i = step->nparams; i < step->ninsts; i++) {
        Fission f = {.mi = mi, .step = step};
        if (!can_part(&f, &c, (Value){i})) continue;
        Rewrite rw;
        rewrite_begin(&rw, mi->m, step);
        write_step(&f, &rw);
        mi->m->fns.at[at] = rewrite_end(&rw);
        return true;
    }
    return false;
}
