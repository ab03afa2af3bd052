/*
 * gathered.c: parameters that a turn gathers, and keeps for its backward.
 *
 * A parameter that lies in parts is gathered in each turn of the forward, and
 * again in that of the backward (partition.c).  A rule may name such values,
 * which are in the record then, for as many turns as it is for: where memory
 * is free, links are too.
 *
 *     remat layer none gathered param first 10
 *
 * Where products are quantised parameters are gathered in eight bits, by the
 * backward in another order, for its product sums over the other side:
 *
 *     forward    q  = cast(w * s)       [f, e/dp]        v  = all_gather q
 *     backward   q' = cast(turn(w) * s) [e/dp, f_1]      v' = all_gather q'
 *
 * One scale for both, and v' is v with its axes renamed (identity.c): one of
 * the two is gathered and kept, a byte an element, and the other made of it.
 * That is the one in which the parts lie one behind the other.  Where scales
 * differ, as of rows and of columns, neither is made of the other: the forward
 * gathers what the backward reads besides, and keeps that alone.
 *
 * What a gather of the backward takes is what it is waited for, as far as the
 * rest of the turn does not cover it, and where it is covered what it takes of
 * the machine.
 */
#include "remat.h"

/* The part of a collective's time by which what runs beside it is longer. */
static const double beside_share = 0.3;

bool is_between(const Inst *in)
{
    return in->nargs > 0 && (is_light(in) || in->op == OP_cut);
}

/* The parameter that V is made of alone, as an operand in front. */
static Value made_of(const Fn *fn, Value v)
{
    while (v.id >= fn->nparams) {
        const Inst *in = inst_of(fn, v);
        if (!is_between(in)) return NO_VALUE;
        v = inst_arg(fn, in, 0);
    }
    return v;
}

const char *gathered_path(Module *m, const Pair *p, Value v)
{
    if (inst_of(p->of, v)->op != OP_all_gather) return NULL;
    Value param = made_of(p->of, v);
    if (value_eq(param, NO_VALUE) || !is_at_hand(p, param.id)) return NULL;
    return param_path(m, p->of, param);
}

bool is_gathered(Module *m, const Pair *p, Value v, RematRule *rule)
{
    const char *path = rule->gathered.n ? gathered_path(m, p, v) : NULL;
    bool *named =
        rule->named + rule->names.n + rule->except.n + rule->offload.n;
    bool found = false;
    for (uint32_t i = 0; path && i < rule->gathered.n; i++) {
        const char *name = rule->gathered.at[i];
        if (strcmp(name, "param") != 0 && !path_ends(path, name)) continue;
        found = named[i] = true;
    }
    return found;
}

/* -------------------------------------------------------- the backward's -- */

/* Whether value V of the backward is at hand in the forward, or given to it. */
static bool has_at_hand(const Pair *p, const bool *given, uint32_t v)
{
    Value same = p->same[v];
    if (given && v < p->back->nparams && given[v]) return true;
    return !value_eq(same, NO_VALUE) && is_at_hand(p, same.id);
}

/* By value of the backward: its own, and made of what is at hand alone. */
static bool *find_own(Module *m, const Pair *p, const bool *given)
{
    const Fn *back = p->back;
    bool *own = NEW_ARRAY(m->scratch, bool, back->ninsts + 1);
    for (uint32_t i = back->nparams; i < back->ninsts; i++) {
        const Inst *in = &back->insts[i];
        own[i] = value_eq(p->same[i], NO_VALUE) && is_between(in) &&
                 (op_info((Op)in->op)->flags & OPF_PURE);
        for (uint32_t k = 0; own[i] && k < in->nargs; k++) {
            uint32_t a = inst_arg(back, in, k).id;
            own[i] = own[a] || has_at_hand(p, given, a);
        }
    }
    return own;
}

/* And: a parameter that it gathers, or on the way to one. */
static bool *find_wanted(Module *m, const Pair *p, const bool *given)
{
    const Fn *back = p->back;
    const bool *own = find_own(m, p, given);
    bool *wanted = NEW_ARRAY(m->scratch, bool, back->ninsts + 1);
    for (uint32_t i = back->ninsts; i-- > back->nparams;) {
        const Inst *in = &back->insts[i];
        if (own[i] && in->op == OP_all_gather)
            wanted[i] |= param_path(m, back, made_of(back, (Value){i})) != NULL;
        wanted[i] &= own[i];
        for (uint32_t k = 0; wanted[i] && k < in->nargs; k++)
            wanted[inst_arg(back, in, k).id] = true;
    }
    return wanted;
}

void pair_keep_gathered(Module *m, const Pair *p, bool *given)
{
    pair_keep_read(m, p, find_wanted(m, p, given), given);
}

/* What the forward gathers that the backward's V is, if it has an order of its
 * own. */
static void find_turn(Module *m, Pair *p, const Identity *ids, uint32_t v)
{
    Attr rename;
    for (uint32_t i = p->of->nparams; i < p->early; i++) {
        if (p->of->insts[i].op != OP_all_gather ||
            !identity_rename(m, &ids[i], &ids[v], &rename))
            continue;
        p->turns[v] = (Turn){{i}, rename};
        if (value_eq(p->turns[i].from, NO_VALUE) &&
            identity_rename(m, &ids[v], &ids[i], &rename))
            p->turns[i] = (Turn){{v}, rename};
        return;
    }
}

void pair_add_gathered(Module *m, Pair *p)
{
    p->late = p->of->ninsts;
    pair_copy(m, p, find_wanted(m, p, NULL));
    p->turns = NEW_ARRAY(m->scratch, Turn, p->of->ninsts + 1);
    for (uint32_t i = 0; i < p->of->ninsts; i++)
        p->turns[i].from = NO_VALUE;
    if (p->late == p->of->ninsts) return;
    const Identity *ids = identities_find(m, p->of);
    for (uint32_t i = p->late; i < p->of->ninsts; i++)
        if (p->of->insts[i].op == OP_all_gather) find_turn(m, p, ids, i);
}

bool is_late(const Pair *p, uint32_t v)
{
    return v >= p->late;
}

/* --------------------------------------------------------------- records -- */

/* The parts of devices are one behind the other in it. */
static bool is_in_line(const Module *m, const Fn *of, Value v)
{
    const Inst *in = inst_of(of, v);
    return type_info(m, in->type)->axes[0].axis.id ==
           attr_axis(m, in->attr, AT_axis).id;
}

bool *gathered_turned(Module *m, const Pair *p, RematRule *rule)
{
    bool *turned = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    for (uint32_t i = p->late; i < p->of->ninsts; i++) {
        Value v = {i}, from = p->turns[i].from;
        if (value_eq(from, NO_VALUE) || !is_gathered(m, p, v, rule)) continue;
        bool away = value_eq(p->turns[from.id].from, v) &&
                    is_in_line(m, p->of, v) && !is_in_line(m, p->of, from);
        turned[away ? from.id : i] = true;
    }
    return turned;
}

Record *record_gathered(Module *m, const Pair *p, const Record *of,
                        RematRule *rule)
{
    Record *r = NEW(m->scratch, Record);
    size_t n = p->of->ninsts;
    r->saved = NEW_ARRAY(m->scratch, bool, n + 1);
    r->turned = gathered_turned(m, p, rule);
    memcpy(r->saved, of->saved, n * sizeof *r->saved);
    const bool *needed = record_remade(m, p, r);
    for (uint32_t i = 0; i < n; i++)
        r->saved[i] |=
            needed[i] && !r->turned[i] && is_gathered(m, p, (Value){i}, rule);
    record_count(m, p, r);
    return r;
}

/* ----------------------------------------------------------------- time -- */

static double backward_time(Module *m, const Pair *p, double *collectives)
{
    double compute = 0;
    *collectives = 0;
    for (uint32_t i = p->back->nparams; i < p->back->ninsts; i++) {
        Value v = {i};
        bool moves = op_info((Op)p->back->insts[i].op)->flags & OPF_COMM;
        if (moves)
            *collectives += collective_time(m, p->back, v);
        else
            compute += remake_time(m, p->back, v);
    }
    return compute;
}

static double beyond(double x, double y)
{
    return x > y ? x - y : 0;
}

/* What is kept of the backward's own is gathered by the forward instead, unless
 * that makes what it gathers itself of it. */
static bool is_spared(const Pair *p, const Record *r, uint32_t v)
{
    Value from = p->turns[v].from;
    return !is_late(p, v) || (!value_eq(from, NO_VALUE) && r->turned[from.id]);
}

RematWords gathered_spared(Module *m, const Pair *p, const Record *r)
{
    VEC(const char *) names = {0};
    bool all = true;
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++) {
        const char *path = r->saved[i] ? gathered_path(m, p, (Value){i}) : NULL;
        if (!path) continue;
        bool spared = is_spared(p, r, i), listed = false;
        for (uint32_t k = 0; k < names.n; k++)
            listed |= strcmp(names.at[k], path) == 0;
        if (spared && !listed) vec_push(m->scratch, &names, path);
        all &= spared;
    }
    if (all && names.n) {
        names.n = 0;
        vec_push(m->scratch, &names, "param");
    }
    return (RematWords){names.at, names.n};
}

double gathered_time(Module *m, const Pair *p, const Record *r)
{
    double all, kept = 0, turned = 0, compute = backward_time(m, p, &all);
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++) {
        if (r->turned[i]) turned += copy_time(m, p->of, (Value){i});
        if (r->saved[i] && gathered_path(m, p, (Value){i}) &&
            is_spared(p, r, i))
            kept += collective_time(m, p->of, (Value){i});
    }
    if (kept > all) kept = all;
    double waited = beyond(all, compute) - beyond(all - kept, compute);
    return waited + beside_share * (kept - waited) - turned;
}
