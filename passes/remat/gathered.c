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
 * What a gather of the backward takes is what it is waited for, as far as the
 * rest of the turn does not cover it, and where it is covered what it takes of
 * the machine.
 */
#include "remat.h"

/* The part of a collective's time by which what runs beside it is longer. */
static const double beside_share = 0.3;

/* The parameter that V is made of alone, as an operand in front. */
static Value made_of(const Pair *p, Value v)
{
    const Fn *of = p->of;
    while (v.id >= of->nparams) {
        const Inst *in = inst_of(of, v);
        bool cheap = remade_cheaply((Op)in->op);
        if (in->nargs == 0 || !(cheap || in->op == OP_all_gather))
            return NO_VALUE;
        v = inst_arg(of, in, 0);
    }
    return is_at_hand(p, v.id) ? v : NO_VALUE;
}

const char *gathered_path(Module *m, const Pair *p, Value v)
{
    if (inst_of(p->of, v)->op != OP_all_gather) return NULL;
    Value param = made_of(p, v);
    return value_eq(param, NO_VALUE) ? NULL : param_path(m, p->of, param);
}

bool is_gathered(Module *m, const Pair *p, Value v, Rule *rule)
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

Record *record_gathered(Module *m, const Pair *p, const Record *of, Rule *rule)
{
    Record *r = NEW(m->scratch, Record);
    const bool *needed = record_remade(m, p, of);
    r->saved = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    for (uint32_t i = 0; i < p->of->ninsts; i++)
        r->saved[i] =
            of->saved[i] || (is_gathered(m, p, (Value){i}, rule) && needed[i]);
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

double gathered_time(Module *m, const Pair *p, const Record *r)
{
    double all, kept = 0, compute = backward_time(m, p, &all);
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++)
        if (r->saved[i] && gathered_path(m, p, (Value){i}))
            kept += collective_time(m, p->of, (Value){i});
    if (kept > all) kept = all;
    double waited = beyond(all, compute) - beyond(all - kept, compute);
    return waited + beside_share * (kept - waited);
}
