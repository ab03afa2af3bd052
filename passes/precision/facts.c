/*
 * facts.c: which values are activations, and which of them may be rounded.
 *
 * Two sweeps over all functions, each repeated until nothing changes.  The
 * first goes forward and says what a value is made of; the second goes
 * backward and finds the values that somebody reads roughly, or that a linear
 * layer gives.  Both know only one direction of change, so they end.
 */
#include "../added.h"
#include "precision.h"

bool is_f32(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    return t.id != 0 && !info->is_tuple && info->dtype == DT_f32;
}

bool is_update(const Facts *f, const Inst *in)
{
    return f->update || in->phase == PHASE_update;
}

/* A slot that is made of activations. */
static bool is_session(const Module *m, const Port *port)
{
    const Slot *s = port->role == ROLE_state ? slot_find(m, port->path) : NULL;
    return s && !s->saved;
}

static bool is_wide(const Module *m, Type t)
{
    return is_f32(m, t) && type_info(m, t)->naxes > 0;
}

bool is_narrow_slot(const Precision *p, const Slot *s)
{
    return (p->states || s->frozen || !s->saved) && is_wide(p->m, s->type);
}

bool is_narrow_port(const Precision *p, const Fn *fn, const Port *port)
{
    if (!fn->entry || !role_is_slot(port->role)) return false;
    if (!is_wide(p->m, port->type)) return false;
    const Slot *s = slot_find(p->m, port->path);
    return p->states || (s && is_narrow_slot(p, s));
}

static Kind kind_at(const Facts *f, const Inst *in, uint32_t i)
{
    return (Kind)f->kind[f->first[inst_arg(f->fn, in, i).id]];
}

static bool is_pinned(const Precision *p, const Facts *f, Value v)
{
    return attr_flag(p->m, inst_of(f->fn, v)->attr, AT_pinned);
}

const char *why_not_rounded(const Precision *p, const Facts *f, const Inst *in)
{
    bool active = false, data = false, param = false;
    if (is_update(f, in)) return "it belongs to the update";
    if (!is_f32(p->m, in->type)) return "it is not f32";
    for (uint32_t i = 0; i < 2; i++) {
        Kind k = kind_at(f, in, i);
        if (is_pinned(p, f, inst_arg(f->fn, in, i)))
            return "an operand has a dtype that the source says";
        active = active || k == KIND_active;
        data = data || k == KIND_data;
        param = param || k == KIND_param;
    }
    const AttrItem *sum = attr_get(p->m, in->attr, AT_sum);
    if (active || (data && param && sum && sum->n > 0)) return NULL;
    return data ? "it contracts data with no parameter"
                : "it reads constants, statistics and parameters alone";
}

static bool is_rounded_einsum(const Precision *p, const Facts *f,
                              const Inst *in)
{
    return !why_not_rounded(p, f, in);
}

static bool has_axis(const Precision *p, const Facts *f, Value v, Axis a)
{
    return type_axis(p->m, value_type(f->fn, v), a) != NULL;
}

/* It has axes of its own, which ids and the other operand lack, and the sum is
 * over others that ids lack.  Rows of a table have none. */
bool is_chosen(const Precision *p, const Facts *f, const Inst *in, uint32_t k)
{
    Value v = inst_arg(f->fn, in, k), beside = inst_arg(f->fn, in, 1 - k);
    const Inst *gather = inst_of(f->fn, v);
    if (gather->op != OP_gather || kind_at(f, gather, 0) != KIND_param)
        return false;
    Value ids = inst_arg(f->fn, gather, 1);
    const AttrItem *sum = attr_get(p->m, in->attr, AT_sum);
    for (uint32_t i = 0; i < sum->n; i++)
        if (has_axis(p, f, ids, sum->axes[i])) return false;
    const TypeInfo *t = type_info(p->m, value_type(f->fn, v));
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!has_axis(p, f, ids, t->axes[i].axis) &&
            !has_axis(p, f, beside, t->axes[i].axis))
            return sum->n > 0;
    return false;
}

/* Of an activation, or data, with a parameter: what a linear layer gives, be it
 * one for all rows or one that each chooses. */
bool is_linear(const Precision *p, const Facts *f, const Inst *in)
{
    if (in->op != OP_einsum || !is_rounded_einsum(p, f, in)) return false;
    bool one = kind_at(f, in, 0) == KIND_param;
    bool other = kind_at(f, in, 1) == KIND_param;
    return one != other || is_chosen(p, f, in, 0) != is_chosen(p, f, in, 1);
}

/* What rows make with matrices that they choose, moved or added to each other:
 * as if one product gave it, of all that they sum over. */
static bool is_of_chosen(const Precision *p, const Facts *f, const Inst *in)
{
    switch ((Op)in->op) {
    case OP_einsum:
        return is_linear(p, f, in) &&
               (is_chosen(p, f, in, 0) || is_chosen(p, f, in, 1));
    case OP_rename:
    case OP_split:
    case OP_merge:
    case OP_gather:
        return f->of_chosen[inst_arg(f->fn, in, 0).id];
    case OP_map: {
        if (!map_is_sum(p->m, in)) return false;
        for (uint32_t i = 0; i < in->nargs; i++)
            if (!f->of_chosen[inst_arg(f->fn, in, i).id]) return false;
        return true;
    }
    default:
        return false;
    }
}

static void note_chosen(Precision *p, Facts *f)
{
    f->of_chosen = NEW_ARRAY(p->m->scratch, bool, f->fn->ninsts + 1);
    for (uint32_t i = 0; i < f->fn->ninsts; i++)
        f->of_chosen[i] = is_of_chosen(p, f, &f->fn->insts[i]);
}

/* The cell that a proj reads. */
static uint32_t proj_cell(const Precision *p, const Facts *f, const Inst *in)
{
    int64_t field = attr_int(p->m, in->attr, AT_index, 0);
    return cell_of(f, inst_arg(f->fn, in, 0), (uint32_t)field);
}

/* ---------------------------------------------------------------- kinds -- */

static void raise_kind(Precision *p, uint8_t *kind, Kind to)
{
    if (*kind >= to) return;
    *kind = (uint8_t)to;
    p->changed = true;
}

static Kind param_kind(const Module *m, const Fn *fn, uint32_t i)
{
    switch (fn->params[i].role) {
    case ROLE_param:
    case ROLE_state:
        return is_session(m, &fn->params[i]) ? KIND_active : KIND_param;
    case ROLE_input:
        return dtype_class(type_dtype(m, fn->params[i].type)) == DC_float
                   ? KIND_active
                   : KIND_data;
    default:
        return KIND_table;
    }
}

static Kind operands_kind(const Precision *p, const Facts *f, const Inst *in)
{
    Kind k = KIND_table;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Type t = value_type(f->fn, inst_arg(f->fn, in, i));
        Kind x = kind_at(f, in, i);
        bool counts = is_f32(p->m, t) ||
                      (x == KIND_data && in->op != OP_gather); /* not its ids */
        if (counts && x > k) k = x;
    }
    return k;
}

static bool is_drawn(const Precision *p, const Inst *in)
{
    uint32_t n;
    bool drawn = false;
    ArenaMark mark = arena_mark(p->m->scratch);
    Expr *nodes = expr_walk(p->m, attr_expr(p->m, in->attr), p->m->scratch, &n);
    for (uint32_t i = 0; i < n; i++)
        drawn = drawn || expr_info(p->m, nodes[i])->op == SC_random;
    arena_pop(p->m->scratch, mark);
    return drawn;
}

static Kind inst_kind(const Precision *p, const Facts *f, Value v)
{
    const Inst *in = inst_of(f->fn, v);
    Kind k = operands_kind(p, f, in);
    switch ((Op)in->op) {
    case OP_arg:
        return (Kind)f->kind[f->first[v.id]];
    case OP_reduce: /* a statistic */
        return k < KIND_data ? KIND_table : KIND_data;
    case OP_map:
        return k < KIND_data && is_drawn(p, in) ? KIND_data : k;
    case OP_einsum: /* with a parameter, data becomes an activation */
        return is_rounded_einsum(p, f, in) ? KIND_active : k;
    case OP_gather: /* rows chosen by the data */
        return k == KIND_param ? KIND_active : k;
    case OP_proj:
        return (Kind)f->kind[proj_cell(p, f, in)];
    default:
        return k;
    }
}

static Facts *callee_of(const Precision *p, const Inst *in)
{
    return &p->facts[attr_fn(p->m, in->attr, AT_fn).id];
}

/* The condition of a `repeat ... while`, or NULL. */
static Facts *condition_of(const Precision *p, const Inst *in)
{
    if (!attr_get(p->m, in->attr, AT_while)) return NULL;
    return &p->facts[attr_fn(p->m, in->attr, AT_while).id];
}

static void call_kinds(Precision *p, const Facts *f, Value v)
{
    const Inst *in = inst_of(f->fn, v);
    Facts *callee = callee_of(p, in);
    for (uint32_t i = 0; i < in->nargs; i++)
        raise_kind(p, &callee->kind[i], kind_at(f, in, i));
    for (uint32_t i = 0; i < callee->fn->nresults; i++) {
        Value result = callee->fn->result_values[i];
        Kind k = (Kind)callee->kind[callee->first[result.id]];
        raise_kind(p, &f->kind[cell_of(f, v, i)], k);
        if (i < callee->carry) raise_kind(p, &callee->kind[i], k);
    }
    Facts *cond = condition_of(p, in);
    for (uint32_t i = 0; cond && i < cond->fn->nparams; i++)
        raise_kind(p, &cond->kind[i], (Kind)callee->kind[i]);
}

static void fn_kinds(Precision *p, Facts *f)
{
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        if (inst_calls(in))
            call_kinds(p, f, (Value){i});
        else if (!type_info(p->m, in->type)->is_tuple)
            raise_kind(p, &f->kind[f->first[i]], inst_kind(p, f, (Value){i}));
    }
}

/* ---------------------------------------------------------- roughness -- */

static bool is_statistic(Kind k)
{
    return k == KIND_table || k == KIND_data;
}

/* A map of the kind exp(x - m), m a statistic: the numerator of a softmax, or
 * its derivative.  What stands in an exponent is not rounded before. */
static bool is_softmax(const Precision *p, const Facts *f, const Inst *in)
{
    bool statistic = false, power = false;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Type t = value_type(f->fn, inst_arg(f->fn, in, i));
        statistic =
            statistic || (is_f32(p->m, t) && type_info(p->m, t)->naxes > 0 &&
                          is_statistic(kind_at(f, in, i)));
    }
    if (!statistic) return false;
    uint32_t n;
    ArenaMark mark = arena_mark(p->m->scratch);
    Expr *nodes = expr_walk(p->m, attr_expr(p->m, in->attr), p->m->scratch, &n);
    for (uint32_t i = 0; i < n; i++)
        power = power || expr_info(p->m, nodes[i])->op == SC_exp;
    arena_pop(p->m->scratch, mark);
    return power;
}

static void roughen(Precision *p, const Facts *f, uint32_t cell)
{
    if (f->rough[cell] || f->kept[cell] || f->kind[cell] != KIND_active) return;
    f->rough[cell] = true;
    p->changed = true;
}

static void roughen_operands(Precision *p, const Facts *f, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++)
        roughen(p, f, f->first[inst_arg(f->fn, in, i).id]);
}

static void roughen_result(Precision *p, Facts *f, uint32_t i)
{
    if (f->rough_result[i]) return;
    f->rough_result[i] = true;
    p->changed = true;
}

static void roughen_both(Precision *p, const Facts *a, const Facts *b,
                         uint32_t param)
{
    if (a->rough[param]) roughen(p, b, param);
    if (b->rough[param]) roughen(p, a, param);
}

/* Operands as roughly as the callee reads them; results as roughly as the
 * caller reads the fields. */
static void call_roughness(Precision *p, const Facts *f, Value v)
{
    const Inst *in = inst_of(f->fn, v);
    Facts *callee = callee_of(p, in);
    const Facts *cond = condition_of(p, in);
    for (uint32_t i = 0; cond && i < cond->fn->nparams; i++)
        roughen_both(p, cond, callee, i);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (callee->rough[i])
            roughen(p, f, f->first[inst_arg(f->fn, in, i).id]);
    for (uint32_t i = 0; i < callee->fn->nresults; i++)
        if (f->rough[cell_of(f, v, i)]) roughen_result(p, callee, i);
}

static bool map_reads_roughly(const Precision *p, const Facts *f, Value v)
{
    const Inst *in = inst_of(f->fn, v);
    return f->rough[f->first[v.id]] && !is_softmax(p, f, in);
}

static void inst_roughness(Precision *p, const Facts *f, Value v)
{
    const Inst *in = inst_of(f->fn, v);
    if (inst_calls(in)) {
        call_roughness(p, f, v);
    } else if (is_update(f, in)) {
        if (p->states) roughen_operands(p, f, in);
    } else if (in->op == OP_einsum) {
        if (is_rounded_einsum(p, f, in)) roughen_operands(p, f, in);
        if (is_linear(p, f, in)) roughen(p, f, f->first[v.id]);
    } else if (in->op == OP_map) {
        if (f->of_chosen[v.id]) roughen(p, f, f->first[v.id]);
        if (map_reads_roughly(p, f, v)) roughen_operands(p, f, in);
    } else if (in->op == OP_proj) {
        if (f->rough[f->first[v.id]]) roughen(p, f, proj_cell(p, f, in));
    } else if (in->op != OP_reduce && in->op != OP_scatter &&
               in->op != OP_cumsum && in->op != OP_top) {
        if (f->rough[f->first[v.id]]) roughen_operands(p, f, in);
    }
}

/* A softmax numerator that is summed stays as it is, whoever else reads it;
 * so does what one map alone reads, for the two will be one; but a sum that a
 * matmul makes stays apart. */
static bool is_kept(const Precision *p, const Facts *f, const Uses *uses,
                    Value v)
{
    const Inst *in = inst_of(f->fn, v);
    if (in->op != OP_map) return false;
    const Value *user = uses->at + uses->first[v.id];
    uint32_t n = uses->first[v.id + 1] - uses->first[v.id];
    uint32_t einsum;
    if (n == 1 && !uses->nresult[v.id] && inst_of(f->fn, user[0])->op == OP_map)
        return !map_adds_einsum(p->m, f->fn, in, uses, &einsum);
    if (!is_softmax(p, f, in)) return false;
    for (uint32_t i = 0; i < n; i++)
        if (inst_of(f->fn, user[i])->op == OP_reduce) return true;
    return false;
}

/* What a result is bound to; inside a region nothing is rounded but what an
 * einsum reads, what a linear layer gives and what leaves it. */
static void result_roughness(Precision *p, Facts *f)
{
    for (uint32_t i = 0; i < f->fn->nresults; i++) {
        uint32_t cell = f->first[f->fn->result_values[i].id];
        if (i < f->carry && (f->rough[i] || f->rough_result[i])) {
            roughen_result(p, f, i);
            roughen(p, f, i);
        }
        if (f->rough_result[i]) roughen(p, f, cell);
        Value v = f->fn->result_values[i];
        bool stored = f->fn->kind.id == 0 || is_linear(p, f, inst_of(f->fn, v));
        if (stored && !f->fn->entry && f->rough[cell]) roughen_result(p, f, i);
    }
}

static void fn_roughness(Precision *p, Facts *f)
{
    result_roughness(p, f);
    for (uint32_t i = f->fn->ninsts; i-- > 0;)
        inst_roughness(p, f, (Value){i});
}

/* ---------------------------------------------------------------- setup -- */

static void facts_init(Precision *p, Facts *f, const Fn *fn)
{
    Arena *a = p->m->scratch;
    uint32_t n = 0;
    f->fn = fn;
    f->first = NEW_ARRAY(a, uint32_t, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const TypeInfo *t = type_info(p->m, fn->insts[i].type);
        f->first[i] = n;
        n += t->is_tuple ? t->nfields : 1;
    }
    f->first[fn->ninsts] = n;
    f->kind = NEW_ARRAY(a, uint8_t, n + 1);
    f->rough = NEW_ARRAY(a, bool, n + 1);
    f->kept = NEW_ARRAY(a, bool, n + 1);
    f->precise_given = NEW_ARRAY(a, bool, fn->nparams + 1);
    f->narrow = NEW_ARRAY(a, bool, fn->nparams + 1);
    f->update = !fn->entry;
    f->rough_result = NEW_ARRAY(a, bool, fn->nresults + 1);
    for (uint32_t i = 0; i < fn->nparams; i++)
        f->kind[i] = (uint8_t)param_kind(p->m, fn, i);
    for (uint32_t i = 0; i < fn->nparams; i++)
        f->narrow[i] = fn->entry ? is_narrow_port(p, fn, &fn->params[i])
                                 : is_wide(p->m, fn->params[i].type);
    for (uint32_t i = 0; i < fn->nresults; i++)
        f->rough_result[i] = is_session(p->m, &fn->results[i]) &&
                             is_narrow_port(p, fn, &fn->results[i]);
}

static void note_call(Precision *p, Facts *callee, bool update, uint32_t carry)
{
    p->changed = p->changed || (callee->update && !update);
    callee->update = callee->update && update;
    callee->called = true;
    if (carry > callee->carry) callee->carry = carry;
}

/* A function that the update alone calls belongs to it. */
static void note_calls(Precision *p, Facts *f)
{
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        if (!inst_calls(in)) continue;
        bool update = is_update(f, in);
        uint32_t carry = (uint32_t)attr_int(p->m, in->attr, AT_carry, 0);
        note_call(p, callee_of(p, in), update, carry);
        if (condition_of(p, in))
            note_call(p, condition_of(p, in), update, carry);
    }
}

static void note_uncalled(Precision *p, Facts *f)
{
    p->changed = p->changed || (!f->called && f->update);
    f->update = f->update && f->called;
}

static void note_kept(Precision *p, Facts *f)
{
    Uses uses = fn_uses(f->fn, p->m->scratch);
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        bool kept =
            is_update(f, &f->fn->insts[i]) || is_kept(p, f, &uses, (Value){i});
        for (uint32_t c = f->first[i]; c < f->first[i + 1]; c++)
            f->kept[c] = kept;
    }
}

static void each(Precision *p, void (*visit)(Precision *, Facts *))
{
    for (uint32_t i = 0; i < p->m->fns.n; i++)
        if (p->m->fns.at[i]) visit(p, &p->facts[i]);
}

/* What every caller has in bf16 is not widened to be handed in. */
static void widen_nothing(Precision *p, Facts *f)
{
    for (uint32_t i = f->carry; i < f->fn->nparams; i++)
        if (f->called && !f->precise_given[i]) roughen(p, f, i);
}

/* V is a parameter that is stored in bf16, perhaps moved. */
static bool is_narrow(const Precision *p, const Facts *f, Value v)
{
    const Inst *in = inst_of(f->fn, v);
    if (in->op == OP_arg) return f->narrow[v.id];
    return op_has((Op)in->op, OPF_SAME) &&
           is_narrow(p, f, inst_arg(f->fn, in, 0));
}

static void widen(Precision *p, Facts *f, uint32_t param)
{
    if (!f->narrow[param]) return;
    f->narrow[param] = false;
    p->changed = true;
}

/* What some caller has in f32, and what is carried, is handed in so. */
static void note_narrow(Precision *p, Facts *f)
{
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        if (!inst_calls(in)) continue;
        Facts *callee = callee_of(p, in), *cond = condition_of(p, in);
        for (uint32_t k = 0; k < in->nargs; k++) {
            bool narrow = is_narrow(p, f, inst_arg(f->fn, in, k)) &&
                          k >= callee->carry &&
                          !(cond && k < cond->fn->nparams && !cond->narrow[k]);
            if (!narrow) widen(p, callee, k);
        }
        for (uint32_t k = 0; cond && k < cond->fn->nparams; k++)
            if (!callee->narrow[k]) widen(p, cond, k);
    }
}

static void forget_given(Precision *p, Facts *f)
{
    (void)p;
    memset(f->precise_given, 0, f->fn->nparams * sizeof *f->precise_given);
}

static void note_given(Precision *p, Facts *f)
{
    for (uint32_t i = 0; i < f->fn->ninsts; i++) {
        const Inst *in = &f->fn->insts[i];
        if (!inst_calls(in)) continue;
        const Facts *cond = condition_of(p, in), *callee = callee_of(p, in);
        for (uint32_t k = 0; k < in->nargs; k++) {
            bool rough = f->rough[f->first[inst_arg(f->fn, in, k).id]];
            callee->precise_given[k] = callee->precise_given[k] || !rough;
        }
        for (uint32_t k = 0; cond && k < cond->fn->nparams; k++)
            cond->precise_given[k] = callee->precise_given[k] = true;
    }
}

static void until_settled(Precision *p, void (*visit)(Precision *, Facts *))
{
    do {
        p->changed = false;
        each(p, visit);
    } while (p->changed);
}

void facts_find(Precision *p)
{
    p->facts = NEW_ARRAY(p->m->scratch, Facts, p->m->fns.n + 1);
    for (uint32_t i = 0; i < p->m->fns.n; i++)
        if (p->m->fns.at[i]) facts_init(p, &p->facts[i], p->m->fns.at[i]);
    each(p, note_calls);
    each(p, note_uncalled);
    until_settled(p, note_calls);
    until_settled(p, note_narrow);
    until_settled(p, fn_kinds);
    each(p, note_chosen);
    each(p, note_kept);
    until_settled(p, fn_roughness);
    do {
        p->changed = false;
        each(p, forget_given);
        each(p, note_given);
        each(p, widen_nothing);
    } while (p->changed);
}
