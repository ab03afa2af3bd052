/*
 * additive.c: states against microbatches.
 *
 * A step is the whole batch.  Where it is made in parts, what a state becomes
 * has to follow from sums, maxima or counts over the batch; a value that mixes
 * elements of the batch in another way (one of them, their order, a statistic
 * that comes back to each) is not one.
 *
 *     clean     does not see the batch, or is a sum over it
 *     each      has the batch axis, an element sees itself only
 *     summed    made by a reduction over the batch
 *     mixed     sees other elements of the batch in another way
 */
#include "plan.h"

typedef enum Mix { MIX_clean, MIX_summed, MIX_each, MIX_mixed } Mix;

typedef struct Walk {
    Sema *s;
    Axis batch;
} Walk;

static Mix *walk_fn(Walk *w, const Fn *fn, const Mix *args);

static bool has_batch(Walk *w, Type t)
{
    return type_axis(w->s->m, t, w->batch) != NULL;
}

static bool names_batch(Walk *w, const Inst *in, AttrKey key)
{
    const AttrItem *it = attr_get(w->s->m, in->attr, key);
    if (!it) return false;
    if (attr_kind(key) == AK_axis) return it->id == w->batch.id;
    for (uint32_t i = 0; i < it->n; i++)
        if (it->axes[i].id == w->batch.id) return true;
    return false;
}

/* The op works along the batch axis, and not as a sum. */
static bool works_along(Walk *w, const Inst *in)
{
    switch ((Op)in->op) {
    case OP_reduce:
    case OP_einsum:
    case OP_rename:
        return false;
    case OP_map: {
        Expr e = attr_expr(w->s->m, in->attr);
        return expr_uses_index(w->s->m, e, w->batch);
    }
    default:
        return names_batch(w, in, AT_axis) || names_batch(w, in, AT_from) ||
               names_batch(w, in, AT_to);
    }
}

static Mix join(Walk *w, const Fn *fn, const Inst *in, const Mix *mix)
{
    Mix m = MIX_clean;
    bool each = false, summed = false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Mix a = mix[inst_arg(fn, in, i).id];
        each |= a == MIX_each;
        summed |= a == MIX_summed;
        if (a > m) m = a;
    }
    if (each && (summed || works_along(w, in))) return MIX_mixed;
    if (m != MIX_each) return m;
    bool sums = (in->op == OP_reduce && names_batch(w, in, AT_axes)) ||
                (in->op == OP_einsum && names_batch(w, in, AT_sum)) ||
                (in->op == OP_scatter && !has_batch(w, in->type));
    return sums ? MIX_summed : has_batch(w, in->type) ? MIX_each : MIX_mixed;
}

typedef struct Parts {
    const Inst *in; /* call or repeat */
    Mix *at;        /* by result */
} Parts;

static Mix *gather_args(Walk *w, const Fn *fn, const Inst *in, const Mix *mix,
                        uint32_t n)
{
    Mix *args = NEW_ARRAY(w->s->m->scratch, Mix, n + 1);
    for (uint32_t i = 0; i < in->nargs && i < n; i++)
        args[i] = mix[inst_arg(fn, in, i).id];
    return args;
}

static Mix *results_of(Walk *w, const Fn *fn, const Mix *mix)
{
    Mix *out = NEW_ARRAY(w->s->m->scratch, Mix, fn->nresults + 1);
    for (uint32_t i = 0; i < fn->nresults; i++)
        out[i] = mix[fn->result_values[i].id];
    return out;
}

static Mix *inner(Walk *w, const Fn *fn, const Inst *in, const Mix *mix)
{
    const Fn *callee = fn_of(w->s->m, attr_fn(w->s->m, in->attr, AT_fn));
    Mix *args = gather_args(w, fn, in, mix, callee->nparams), *out;
    int64_t carry =
        in->op == OP_repeat ? attr_int(w->s->m, in->attr, AT_carry, 0) : 0;
    for (int turn = 0;; turn++) {
        out = results_of(w, callee, walk_fn(w, callee, args));
        bool again = false;
        for (int64_t i = 0; i < carry; i++)
            if (out[i] > args[i]) {
                args[i] = out[i];
                again = true;
            }
        if (!again || turn > 8) return out;
    }
}

static Mix *walk_fn(Walk *w, const Fn *fn, const Mix *args)
{
    Arena *a = w->s->m->scratch;
    Mix *mix = NEW_ARRAY(a, Mix, fn->ninsts + 1);
    Mix **parts = NEW_ARRAY(a, Mix *, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (i < fn->nparams) {
            mix[i] = args[i];
        } else if (inst_calls(in)) {
            parts[i] = inner(w, fn, in, mix);
            mix[i] = parts[i][0];
        } else if (in->op == OP_proj) {
            Value t = inst_arg(fn, in, 0);
            int64_t k = attr_int(w->s->m, in->attr, AT_index, 0);
            mix[i] = parts[t.id] ? parts[t.id][k] : MIX_clean;
        } else if (in->op == OP_grad) {
            mix[i] = MIX_clean;
        } else {
            mix[i] = join(w, fn, in, mix);
        }
    }
    return mix;
}

static void refuse(Sema *s, const Mem *mem, int64_t parts)
{
    Report *r = sema_error(
        s, DIAG_state_not_additive, mem->at,
        "state '%s' is not a sum over microbatches, and the plan makes %lld",
        STR(s, mem->name), (long long)parts);
    report_help(r,
                "bind it to what sums, maxima or counts over the batch give");
}

/* Every state follows from the loss: which op of it mixes rows is said by who
 * cuts the step (microbatch). */
static bool loss_mixes(Sema *s, const Fn *fn, const Mix *results)
{
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (fn->results[i].role == ROLE_record &&
            strcmp(STR(s, fn->results[i].path), "loss") == 0)
            return results[i] >= MIX_each;
    return false;
}

bool check_additive(Sema *s)
{
    FnRef ref;
    Walk w = {.s = s};
    int64_t parts = option_int(s->m, "accumulate", 1);
    Str batch = option_get(s->m, "batch_axis");
    if (parts <= 1 || !axis_find(s->m, batch, &w.batch)) return true;
    if (!fn_find(s->m, module_str(s->m, "train"), &ref)) return true;
    const Fn *fn = fn_of(s->m, ref);
    Mix *args = NEW_ARRAY(s->m->scratch, Mix, fn->nparams + 1);
    for (uint32_t i = 0; i < fn->nparams; i++)
        args[i] = fn->params[i].role != ROLE_input    ? MIX_clean
                  : has_batch(&w, fn->params[i].type) ? MIX_each
                                                      : MIX_clean;
    Mix *results = results_of(&w, fn, walk_fn(&w, fn, args));
    bool ok = true;
    if (loss_mixes(s, fn, results)) return true;
    for (uint32_t i = 0; i < fn->nresults; i++) {
        if (fn->results[i].role != ROLE_state || results[i] < MIX_each)
            continue;
        refuse(s, mem_find(s, fn->results[i].path), parts);
        ok = false;
    }
    return ok;
}
