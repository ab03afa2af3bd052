/*
 * guard.c: a step that is not finite changes nothing.
 *
 * `applied` is one bool of a step: the loss, the norm of the gradients and
 * every number without axes that the update reads are finite, and no state that
 * is such a number stops being finite.  Every next value of a parameter or a
 * state is chosen by it, element by element, from the new value and the present
 * one.  An update reads the present value anyway, so this is a select in front
 * of its store: no other pass over memory, no branch, and the same on every
 * device.
 *
 * The norm stands for all gradients: its sum of squares is finite only where
 * each of them is.  (Squares that overflow f32 count as not finite.)  It is the
 * norm that is logged, so it costs nothing more.
 *
 * A `skip` of the train block is one condition more: where it holds, the step
 * is not applied.
 *
 * The state `updates` counts the steps that were applied.
 */
#include "train.h"

void guard_updates(Sema *s)
{
    Mem mem = {.path = module_str(s->m, "updates"),
               .role = ROLE_state,
               .type = type_scalar(s->m, DT_i32),
               .has_slot = true,
               .init = val_whole(0)};
    mem.name = mem.path;
    mem.at = s->train->at;
    s->updates = mem_make(s, mem);
}

Val updates_value(Sema *s, Span at)
{
    Val before = val_tensor(s, mem_read(s, s->frame, s->updates));
    return elementwise2(s, at, SC_add, before, val_whole(1));
}

/* ------------------------------------------------------------- predicate -- */

/* The instructions that make the next values. */
static bool *mark_update(Sema *s, const Next *next, uint32_t n)
{
    const Fn *fn = s->frame->fn;
    bool *needed = NEW_ARRAY(s->m->scratch, bool, fn->ninsts + 1);
    for (uint32_t i = 0; i < n; i++)
        needed[next[i].value.id] = true;
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        const Inst *in = &fn->insts[i];
        if (!needed[i]) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            needed[inst_arg(fn, in, k).id] = true;
    }
    return needed;
}

static bool has_axes(Sema *s, Type t)
{
    return type_info(s->m, t)->naxes > 0;
}

static bool is_number(Sema *s, const Inst *in)
{
    const TypeInfo *t = type_info(s->m, in->type);
    return in->op != OP_arg && !t->is_tuple && t->naxes == 0 &&
           dtype_class(t->dtype) == DC_float;
}

/* Rates, factors of clipping, corrections: what tensors of the update read. */
static bool *mark_numbers(Sema *s, const Next *next, uint32_t n)
{
    const Fn *fn = s->frame->fn;
    const bool *needed = mark_update(s, next, n);
    bool *read = NEW_ARRAY(s->m->scratch, bool, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!needed[i] || in->phase != PHASE_update || !has_axes(s, in->type))
            continue;
        for (uint32_t k = 0; k < in->nargs; k++) {
            Value v = inst_arg(fn, in, k);
            read[v.id] |= is_number(s, inst_of(fn, v));
        }
    }
    return read;
}

static Value both(Sema *s, Value all, Value x)
{
    return emit_binary(here(s), SC_and, all,
                       emit_unary(here(s), SC_isfinite, x));
}

/* A state may begin as inf, as the best value so far does. */
static Value stays_finite(Sema *s, Value all, const Next *next)
{
    Value before = mem_before(s, s->frame, next->mem);
    Value was = emit_unary(here(s), SC_isfinite, before);
    Value is = emit_unary(here(s), SC_isfinite, next->value);
    Value fine =
        emit_binary(here(s), SC_or, is, emit_unary(here(s), SC_not, was));
    return emit_binary(here(s), SC_and, all, fine);
}

static Value not_skipped(Sema *s, Value all)
{
    const Frame *f = s->frame;
    for (uint32_t i = 0; i < f->exports.n; i++)
        if (f->exports.at[i].kind == EXPORT_skip)
            all = emit_binary(
                here(s), SC_and, all,
                emit_unary(here(s), SC_not, f->exports.at[i].value));
    return all;
}

static Value emit_applied(Sema *s, const Next *next, uint32_t n)
{
    Train *t = s->train;
    uint32_t ninsts = s->frame->fn->ninsts;
    const bool *numbers = mark_numbers(s, next, n);
    here(s)->loc = loc_of(s->m, t->loss_at);
    Value loss = val_use(s, &t->loss, DT_f32);
    Value all = emit_unary(here(s), SC_isfinite, loss);
    if (s->trained.n) {
        Val norm = bundle_norm(s, t->loss_at, &t->raw);
        all = both(s, all, val_use(s, &norm, DT_f32));
    }
    for (uint32_t i = 0; i < ninsts; i++)
        if (numbers[i]) all = both(s, all, (Value){i});
    for (uint32_t i = 0; i < n; i++)
        if (is_number(s, inst_of(s->frame->fn, next[i].value)))
            all = stays_finite(s, all, &next[i]);
    all = not_skipped(s, all);
    value_set_name(here(s), all, module_str(s->m, "applied"));
    return all;
}

/* ------------------------------------------------------------------ step -- */

Value guard_step(Sema *s, Next *next, uint32_t n)
{
    here(s)->phase = PHASE_update;
    Value applied = emit_applied(s, next, n);
    for (uint32_t i = 0; i < n; i++) {
        Value before = mem_before(s, s->frame, next[i].mem);
        here(s)->loc = loc_of(s->m, next[i].mem->at);
        next[i].value = emit_where(here(s), applied, next[i].value, before);
    }
    return applied;
}
