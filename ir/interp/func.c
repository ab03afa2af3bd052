/*
 * func.c: functions: arg, call, repeat, proj.
 *
 * Values that leave a body are copied into values made before it ran, so that
 * its temporaries go at once.
 */
#include "run.h"

void interp_arg(Frame *f, const Inst *in, Val *out)
{
    uint32_t i = (uint32_t)(in - f->fn->insts);
    if (f->fn->view == VIEW_kernel)
        place_arg(f, in, &f->args[i], out);
    else
        *out = f->args[i];
}

void interp_proj(Frame *f, const Inst *in, Val *out)
{
    int64_t index = attr_int(f->r->m, in->attr, AT_index, 0);
    *out = frame_arg(f, in, 0)->fields[index];
}

void interp_call(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    const Fn *fn = fn_of(r->m, attr_fn(r->m, in->attr, AT_fn));
    val_result(f, in, out);
    ArenaMark mark = arena_mark(&r->temp);
    Val *args = NEW_ARRAY(&r->temp, Val, in->nargs);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = *frame_arg(f, in, i);
    run_call(r, fn, args, out->nfields ? out->fields : out);
    arena_pop(&r->temp, mark);
}

/* ---------------------------------------------------------------- repeat -- */

/* Copies between one turn's value and the stacked one. */
static void turn_copy(Run *r, Val *stacked, Val *one, Axis axis, int64_t turn,
                      bool out)
{
    ArenaMark mark = arena_mark(&r->temp);
    Walk w;
    walk_init(&w, r, one->type, 2);
    walk_align(&w, r, out ? 1 : 0, one->type, NO_AXIS);
    walk_align(&w, r, out ? 0 : 1, stacked->type, axis);
    int64_t at = turn * type_stride(r, stacked->type, axis);
    if (out)
        move_walk(r, &w, stacked, at, one, 0);
    else
        move_walk(r, &w, one, 0, stacked, at);
    arena_pop(&r->temp, mark);
}

/* The operands of a repeat while it runs: the body's arguments are carried
 * values (which live in the result), invariants, one turn of each stacked
 * operand, and the turn. */
typedef struct Turns {
    Frame *f;
    const Inst *in;
    const Fn *body, *cond;
    Axis axis;
    uint32_t ncarry, nwhole, nstacked;
    Val *args, *results, *out;
} Turns;

static Turns turns_of(Frame *f, const Inst *in, Val *out)
{
    const Module *m = f->r->m;
    Turns t = {.f = f, .in = in, .out = out};
    t.body = fn_of(m, attr_fn(m, in->attr, AT_fn));
    if (attr_get(m, in->attr, AT_while))
        t.cond = fn_of(m, attr_fn(m, in->attr, AT_while));
    t.axis = attr_axis(m, in->attr, AT_axis);
    t.ncarry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
    t.nwhole = (uint32_t)attr_int(m, in->attr, AT_invariant, 0);
    t.nstacked = in->nargs - t.ncarry - t.nwhole;
    return t;
}

static void turns_begin(Turns *t)
{
    Run *r = t->f->r;
    bool dual = args_active(t->f, t->in);
    t->args = NEW_ARRAY(&r->temp, Val, t->body->nparams);
    t->results = NEW_ARRAY(&r->temp, Val, t->body->nresults);
    for (uint32_t i = 0; i < t->in->nargs; i++) {
        t->args[i] = *frame_arg(t->f, t->in, i);
        if (i < t->ncarry) {
            val_copy(r, &t->out->fields[i], &t->args[i]);
            t->args[i] = t->out->fields[i];
        } else if (i >= t->ncarry + t->nwhole) {
            val_init(r, &t->args[i], t->body->params[i].type,
                     t->args[i].dot != NULL);
        }
    }
    val_init(r, &t->args[t->in->nargs], t->body->params[t->in->nargs].type,
             false);
    for (uint32_t i = 0; i < t->body->nresults; i++)
        val_init(r, &t->results[i], t->body->results[i].type, dual);
}

static bool turns_go_on(Turns *t)
{
    Run *r = t->f->r;
    if (!t->cond) return true;
    Val go;
    val_init(r, &go, t->cond->results[0].type, false);
    run_call(r, t->cond, t->args, &go);
    if (r->failed) return false;
    for (uint32_t d = 1; d < r->ndev; d++)
        if (go.at[d].i != go.at[0].i)
            run_fail(r, t->f->fn, t->in, DIAG_interp_uneven,
                     "the condition of a repeat is %s on device 0 and %s on "
                     "device %u",
                     go.at[0].i ? "true" : "false",
                     go.at[d].i ? "true" : "false", d);
    return go.at[0].i != 0;
}

static void turns_run(Turns *t, int64_t turn)
{
    Run *r = t->f->r;
    uint32_t n = t->in->nargs;
    for (uint32_t i = n - t->nstacked; i < n; i++) {
        Val whole = *frame_arg(t->f, t->in, i);
        turn_copy(r, &whole, &t->args[i], t->axis, turn, false);
    }
    for (uint32_t d = 0; d < r->ndev; d++)
        t->args[n].at[d].i = turn;
    run_call(r, t->body, t->args, t->results);
    if (r->failed) return;
    for (uint32_t i = 0; i < t->body->nresults; i++) {
        if (i < t->ncarry)
            val_copy(r, &t->out->fields[i], &t->results[i]);
        else
            turn_copy(r, &t->out->fields[i], &t->results[i], t->axis, turn,
                      true);
    }
}

void interp_repeat(Frame *f, const Inst *in, Val *out)
{
    Run *r = f->r;
    val_result(f, in, out);
    ArenaMark mark = arena_mark(&r->temp);
    Turns t = turns_of(f, in, out);
    int64_t count = attr_int(r->m, in->attr, AT_count, 0);
    bool reverse = attr_flag(r->m, in->attr, AT_reverse);
    turns_begin(&t);
    for (int64_t i = 0; i < count && !r->failed; i++) {
        if (!turns_go_on(&t)) break;
        turns_run(&t, reverse ? count - 1 - i : i);
    }
    arena_pop(&r->temp, mark);
}
