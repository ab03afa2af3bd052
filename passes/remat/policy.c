/*
 * policy.c: what each mode allows to be made again.
 *
 * Maps, moves and gathers are made again by the kernels that read them, in
 * every mode.  Of the rest, which is costly:
 *
 *     full     everything
 *     ops      nothing but every second matmul with a parameter, counted in
 *              the order of the program; and what is quick beside a matmul
 *              (sums of rows, without their maximum)
 *     keep     everything but the values named
 *     remake   the values named, and parameters that a turn gathers
 *
 * Of the latter none that a rule keeps are, whatever its mode (gathered.c).
 */
#include "remat.h"

bool is_costly(const Fn *of, Value v)
{
    Op op = (Op)inst_of(of, v)->op;
    return op != OP_arg && !remade_cheaply(op);
}

static bool can_remake(const Fn *of, Value v)
{
    const Inst *in = inst_of(of, v);
    return in->op != OP_arg && (op_info((Op)in->op)->flags & OPF_PURE);
}

static bool named_in(Module *m, const Pair *p, Value v, const RematWords *names,
                     bool *named)
{
    bool found = false;
    for (uint32_t i = 0; i < names->n; i++) {
        if (!is_named(m, p, v, names->at[i])) continue;
        named[i] = true;
        found = true;
    }
    return found;
}

/* ----------------------------------------------------------------- ops -- */

/* The elements of a matmul's parameter, those that it sums and the others.
 * Where it is quantised its sums may be called otherwise, or be in blocks. */
static void sides(const Module *m, const Fn *of, const Inst *in, Value param,
                  int64_t *inner, int64_t *outer)
{
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    Value x = inst_arg(of, in, 0);
    uint32_t k = !value_eq(scaled_from(m, of, x), param);
    Type t = value_type(of, inst_arg(of, in, k));
    *inner = 1;
    for (uint32_t i = 0; sum && i < sum->n; i++)
        if (type_axis(m, t, sum->axes[i]))
            *inner *= type_size(m, t, sum->axes[i]);
    *outer = type_elements(m, value_type(of, param)) / *inner;
}

/* Whether some matmul of the same sides is excepted: the match is by sides,
 * as the operation that it stands for has no name. */
static bool is_excepted(Module *m, const Pair *p, Value v, RematRule *rule)
{
    Value param = linear_param(m, p->of, v);
    int64_t inner, outer;
    bool found = false;
    sides(m, p->of, inst_of(p->of, v), param, &inner, &outer);
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++) {
        Value w = {i}, other = linear_param(m, p->of, w);
        int64_t n, k;
        if (value_eq(other, NO_VALUE)) continue;
        sides(m, p->of, inst_of(p->of, w), other, &n, &k);
        if (n == inner && k == outer &&
            named_in(m, p, w, &rule->except, rule->named + rule->names.n))
            found = true;
    }
    return found;
}

static bool is_kept_op(const Module *m, const Fn *of, Value v)
{
    const Inst *in = inst_of(of, v);
    if (inst_calls(in)) return true;
    if (in->op == OP_reduce) return attr_is(m, in->attr, AT_kind, "max");
    return in->op != OP_all_gather && (op_info((Op)in->op)->flags & OPF_COMM);
}

static void ops_costs(Module *m, const Pair *p, RematRule *rule, int64_t *costs)
{
    uint32_t count = 0;
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++) {
        Value v = {i};
        costs[i] = is_kept_op(m, p->of, v) ? INT64_MAX : 0;
        if (value_eq(linear_param(m, p->of, v), NO_VALUE)) continue;
        if (is_excepted(m, p, v, rule)) continue;
        if (count++ % 2 == 0) costs[i] = INT64_MAX;
    }
}

/* --------------------------------------------------------------- modes -- */

int64_t *policy_costs(Module *m, const Pair *p, RematRule *rule)
{
    const Fn *of = p->of;
    int64_t *costs = NEW_ARRAY(m->scratch, int64_t, of->ninsts + 1);
    const bool *turned = gathered_turned(m, p, rule);
    if (rule->mode == REMAT_ops) ops_costs(m, p, rule, costs);
    for (uint32_t i = 0; i < of->ninsts; i++) {
        Value v = {i};
        bool named = named_in(m, p, v, &rule->names, rule->named);
        if (rule->mode == REMAT_keep && named) costs[i] = INT64_MAX;
        if (rule->mode == REMAT_remake && is_costly(of, v) && !named &&
            !gathered_path(m, p, v))
            costs[i] = INT64_MAX;
        if (is_late(p, i)) costs[i] = 0;
        if (is_gathered(m, p, v, rule) && !turned[i]) costs[i] = INT64_MAX;
        if (!can_remake(of, v)) costs[i] = INT64_MAX;
    }
    return costs;
}
