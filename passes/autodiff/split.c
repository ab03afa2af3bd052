/*
 * split.c: a joint function into a forward with a record and a backward.
 *
 * The forward is the function as it was, with the saved values as further
 * results (a saved value that is a result already is not given twice).  The
 * backward takes the parameters that it reads, the record and the cotangents.
 * What it makes again is made just before its first use, so that nothing
 * lives longer than it must.
 *
 * Derivatives of one function under equal masks are made once.
 */
#include "autodiff.h"

Value copy_inst(Builder *b, const Fn *from, Value v, const Value *map,
                Phase phase)
{
    const Inst *in = inst_of(from, v);
    Value *args = NEW_ARRAY(b->m->scratch, Value, in->nargs + 1u);
    for (uint32_t i = 0; i < in->nargs; i++) {
        args[i] = map[inst_arg(from, in, i).id];
        CHECK(!value_eq(args[i], NO_VALUE));
    }
    b->loc = in->loc;
    b->phase = phase;
    Value made = emit(b, (Op)in->op, in->type, in->attr, args, in->nargs);
    if (from->names[v.id].id) value_set_name(b, made, from->names[v.id]);
    return made;
}

static void place(Builder *b, const Joint *j, Value v, Value *map)
{
    if (!value_eq(map[v.id], NO_VALUE)) return;
    const Inst *in = inst_of(j->fn, v);
    for (uint32_t i = 0; i < in->nargs; i++)
        place(b, j, inst_arg(j->fn, in, i), map);
    map[v.id] = copy_inst(b, j->fn, v, map, PHASE_backward);
}

void copy_backward(Builder *b, const Joint *j, const Cut *cut, Value *map)
{
    for (uint32_t i = j->backward_at; i < j->fn->ninsts; i++)
        if (cut->needed[i]) place(b, j, (Value){i}, map);
    /* a root may be a forward value that is made again */
    for (uint32_t i = 0; i < j->backward_at; i++)
        if (cut->needed[i] && cut->kept[i] == KEPT_remade)
            place(b, j, (Value){i}, map);
}

/* -------------------------------------------------------------- record -- */

static bool is_paid(const Derived *d, uint32_t param)
{
    return d->is_repeat && param < d->repeat.carry;
}

/* The result of `of` that a value of the joint function is, or NO_RESULT.
 * Of what a repeat carries only the last turn's value comes out. */
static uint32_t result_at(const Derived *d, const Joint *j, uint32_t v)
{
    uint32_t first = d->is_repeat ? d->repeat.carry : 0;
    for (uint32_t i = first; i < d->of->nresults; i++)
        if (j->results[i].id == v) return i;
    return NO_RESULT;
}

/* Fills params and saved (as values of the joint function in `values`). */
static void list_saved(Autodiff *ad, Derived *d, const Joint *j, const Cut *cut)
{
    uint32_t most = j->backward_at + 1;
    d->params = NEW_ARRAY(ad->arena, uint32_t, most);
    d->saved = NEW_ARRAY(ad->arena, uint32_t, most);
    d->values = NEW_ARRAY(ad->arena, Value, most);
    uint32_t nresults = d->of->nresults;
    for (uint32_t i = 0; i < j->backward_at; i++) {
        if (cut->kept[i] != KEPT_saved) continue;
        if (i < j->cots_at && !is_paid(d, i)) {
            d->params[d->nparams++] = i;
            continue;
        }
        uint32_t at = result_at(d, j, i);
        if (at == NO_RESULT) at = nresults + d->nrecords++;
        d->values[d->nsaved] = (Value){i};
        d->saved[d->nsaved++] = at;
    }
}

/* One line for each value that a turn or a call keeps for the backward. */
static void remark_saved(const Autodiff *ad, const Derived *d, const Joint *j)
{
    for (uint32_t i = 0; i < d->nsaved; i++) {
        const Inst *in = inst_of(j->fn, d->values[i]);
        Str name = j->fn->names[d->values[i].id];
        pass_remark(ad->m, ad->cx, in->loc, "@%s keeps %s%s%s, %lld bytes%s",
                    str_of(ad->m, d->of->name),
                    name.id ? str_of(ad->m, name) : "", name.id ? " : " : "",
                    type_str(ad->m, in->type),
                    (long long)type_bytes(ad->m, in->type),
                    d->is_repeat ? " a turn" : "");
    }
}

/* ------------------------------------------------------------- forward -- */

static bool *forward_needed(Autodiff *ad, const Derived *d, const Joint *j)
{
    bool *needed = NEW_ARRAY(ad->arena, bool, j->fn->ninsts + 1);
    for (uint32_t i = 0; i < d->of->nresults; i++)
        needed[j->results[i].id] = true;
    for (uint32_t i = 0; i < d->nsaved; i++)
        needed[d->values[i].id] = true;
    for (uint32_t i = j->backward_at; i-- > j->forward_at;) {
        const Inst *in = &j->fn->insts[i];
        for (uint32_t k = 0; needed[i] && k < in->nargs; k++)
            needed[inst_arg(j->fn, in, k).id] = true;
    }
    return needed;
}

/* A record is stacked over the axis of its repeat: a value that has an axis
 * of that name goes out under another. */
static Value record_out(Builder *b, Derived *d, uint32_t k, Value v)
{
    const TypeAxis *ta =
        d->is_repeat ? type_axis(b->m, value_type(b->fn, v), d->repeat.axis)
                     : NULL;
    if (!ta) return v;
    d->renamed[k] = axis_fresh(b->m, axis_name(b->m, d->repeat.axis), ta->size);
    d->is_renamed[k] = true;
    return emit_rename(b, v, &d->repeat.axis, &d->renamed[k], 1);
}

static Value record_in(Builder *b, const Derived *d, uint32_t k, Value v)
{
    if (!d->is_renamed[k]) return v;
    return emit_rename(b, v, &d->renamed[k], &d->repeat.axis, 1);
}

static Fn *derived_fn(Autodiff *ad, const Derived *d, const char *suffix)
{
    Module *m = ad->m;
    Str stem = str_printf(&m->strs, "%s.%s", str_of(m, d->of->name), suffix);
    Fn *fn = fn_new(m, fn_fresh_name(m, str_of(m, stem)), d->of->view);
    fn->loc = d->of->loc;
    return fn;
}

static void give_records(Builder *b, Derived *d, const Joint *j,
                         const Value *map)
{
    uint32_t next = d->of->nresults;
    b->phase = PHASE_forward;
    for (uint32_t k = 0; k < d->nsaved; k++) {
        if (d->saved[k] != next) continue; /* a result as it is */
        next++;
        Value v = record_out(b, d, k, map[d->values[k].id]);
        builder_result(b, v, (Port){.name = j->fn->names[d->values[k].id]});
    }
    if (d->is_repeat && d->repeat.has_while) {
        d->ran = next;
        Value yes = emit_map(b, expr_int(b->m, DT_bool, 1), NULL, 0);
        builder_result(b, yes, (Port){0});
    }
}

static FnRef make_forward(Autodiff *ad, Derived *d, FnRef of, const Joint *j)
{
    bool has_while = d->is_repeat && d->repeat.has_while;
    if (j->plain && d->nrecords == 0 && !has_while) return of;
    Builder b;
    Fn *fn = derived_fn(ad, d, "forward");
    fn->kind = d->of->kind;
    builder_init(&b, ad->m, fn);
    bool *needed = forward_needed(ad, d, j);
    Value *map = no_values(ad->arena, j->fn->ninsts);
    for (uint32_t i = 0; i < d->of->nparams; i++)
        map[i] = builder_param(&b, d->of->params[i]);
    for (uint32_t i = j->forward_at; i < j->backward_at; i++)
        if (needed[i])
            map[i] = copy_inst(&b, j->fn, (Value){i}, map,
                               (Phase)j->fn->insts[i].phase);
    for (uint32_t i = 0; i < d->of->nresults; i++)
        builder_result(&b, map[j->results[i].id], d->of->results[i]);
    give_records(&b, d, j, map);
    return module_add_fn(ad->m, fn);
}

/* ------------------------------------------------------------ backward -- */

void take_param(Back *k, Value joint, Port port)
{
    k->map[joint.id] = builder_param(&k->b, port);
}

void take_saved(Back *k)
{
    const Derived *d = k->d;
    for (uint32_t i = 0; i < d->nsaved; i++) {
        Value v = d->values[i];
        Type t = value_type(k->j->fn, v);
        if (d->is_renamed[i])
            t = type_renamed(k->b.m, t, &d->repeat.axis, &d->renamed[i], 1);
        take_param(k, v, (Port){.name = k->j->fn->names[v.id], .type = t});
    }
}

void take_cots(Back *k, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        if (!k->d->masks.out[i]) continue;
        uint32_t at = k->j->cot_param[i];
        take_param(k, (Value){at}, k->j->fn->params[at]);
    }
}

void copy_body(Back *k)
{
    k->b.phase = PHASE_backward;
    for (uint32_t i = 0; i < k->d->nsaved; i++) {
        Value *v = &k->map[k->d->values[i].id];
        *v = record_in(&k->b, k->d, i, *v);
    }
    copy_backward(&k->b, k->j, k->cut, k->map);
    k->b.phase = PHASE_backward;
}

void give_cot(Back *k, Value v, uint32_t param)
{
    Module *m = k->b.m;
    Port port = {0};
    Str name = k->d->of->params[param].name;
    if (name.id) port.name = cot_name(m, name);
    k->d->cot_at[param] = k->b.fn->nresults;
    builder_result(&k->b, v, port);
}

static FnRef make_backward(Autodiff *ad, Derived *d, const Joint *j,
                           const Cut *cut)
{
    Back k = {.d = d, .j = j, .cut = cut};
    Fn *fn = derived_fn(ad, d, "backward");
    if (d->of->kind.id)
        fn->kind =
            str_printf(&ad->m->strs, "%s.backward", str_of(ad->m, d->of->kind));
    builder_init(&k.b, ad->m, fn);
    k.map = no_values(ad->arena, j->fn->ninsts);
    if (d->is_repeat)
        repeat_backward(&k);
    else
        call_backward(&k);
    return module_add_fn(ad->m, fn);
}

/* -------------------------------------------------------------- derive -- */

static bool same_masks(const Derived *d, const Masks *masks)
{
    for (uint32_t i = 0; i < d->of->nparams; i++)
        if (d->masks.in[i] != masks->in[i]) return false;
    for (uint32_t i = 0; i < d->of->nresults; i++)
        if (d->masks.out[i] != masks->out[i]) return false;
    return true;
}

static bool same_repeat(const Repeat *a, const Repeat *b)
{
    return a->axis.id == b->axis.id && a->carry == b->carry &&
           a->invariant == b->invariant && a->has_while == b->has_while;
}

static Derived *find_derived(const Autodiff *ad, const Fn *of,
                             const Repeat *repeat, const Masks *masks)
{
    for (uint32_t i = 0; i < ad->derived.n; i++) {
        Derived *d = ad->derived.at[i];
        if (d->of != of || d->is_repeat != (repeat != NULL)) continue;
        if (repeat && !same_repeat(&d->repeat, repeat)) continue;
        if (same_masks(d, masks)) return d;
    }
    return NULL;
}

Derived *derive(Autodiff *ad, FnRef fn, const Repeat *repeat,
                const Masks *masks)
{
    const Fn *of = fn_of(ad->m, fn);
    Derived *d = find_derived(ad, of, repeat, masks);
    if (d) return d;

    d = NEW(ad->arena, Derived);
    *d = (Derived){.of = of, .is_repeat = repeat != NULL, .masks = *masks};
    if (repeat) d->repeat = *repeat;
    Joint j = joint_of_fn(ad, of, masks);
    bool *paid = NEW_ARRAY(ad->arena, bool, of->nparams + 1);
    for (uint32_t i = 0; i < of->nparams; i++)
        paid[i] = is_paid(d, i);
    CutRule rule = {.paid = paid, .region = of->kind.id != 0};
    Cut cut = cut_joint(ad, &j, j.cots, of->nparams, &rule);
    list_saved(ad, d, &j, &cut);
    remark_saved(ad, d, &j);
    d->renamed = NEW_ARRAY(ad->arena, Axis, d->nsaved + 1);
    d->is_renamed = NEW_ARRAY(ad->arena, bool, d->nsaved + 1);
    d->cot_at = NEW_ARRAY(ad->arena, uint32_t, of->nparams + 1);
    for (uint32_t i = 0; i < of->nparams; i++)
        d->cot_at[i] = NO_RESULT;
    d->forward = make_forward(ad, d, fn, &j);
    d->backward = make_backward(ad, d, &j, &cut);
    vec_push(ad->arena, &ad->derived, d);
    return d;
}
