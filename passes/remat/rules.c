/*
 * rules.c: the rules of a plan, which the option `remat` has (ir/remat.h), and
 * the repeats that they speak of.
 */
#include "remat.h"

bool rules_read(Module *m, const PassCtx *cx, RematRules *out)
{
    return remat_read(m, pass_option(m, cx, "remat", ""), out);
}

bool rules_offload(Module *m, const PassCtx *cx)
{
    return strncmp(pass_option(m, cx, "target", "host"), "sm_", 3) == 0;
}

RematWords rules_paths(Module *m, const RematRules *rules)
{
    VEC(const char *) v = {0};
    for (uint32_t i = 0; i < rules->at.n; i++) {
        RematWords names = rules->at.at[i].names;
        for (uint32_t k = 0; k < names.n; k++)
            if (strchr(names.at[k], '.')) vec_push(m->scratch, &v, names.at[k]);
    }
    return (RematWords){v.at, v.n};
}

bool rule_is_for(const RematRule *rule, const Pair *p)
{
    for (uint32_t i = 0; i < rule->subject.n; i++)
        if (strcmp(rule->subject.at[i], "repeat") == 0 ||
            path_ends(p->path, rule->subject.at[i]))
            return true;
    return false;
}

/* Ranks of a pipeline, and entries, have repeats of one path. */
static bool is_first(const Pairs *pairs, uint32_t pair)
{
    for (uint32_t i = 0; i < pair; i++)
        if (strcmp(pairs->at.at[i]->path, pairs->at.at[pair]->path) == 0)
            return false;
    return true;
}

bool rule_refuse(Module *m, const RematRule *rule, const Pairs *pairs,
                 const char *taken)
{
    const char *why = pairs->at.n ? "no repeat with a backward is called so"
                                  : "no repeat has a backward";
    Buf b = {0};
    for (uint32_t i = 0; i < pairs->at.n; i++) {
        if (rule_is_for(rule, pairs->at.at[i])) why = taken;
        if (is_first(pairs, i))
            buf_printf(&b, "%s%s", b.n ? ", " : "", pairs->at.at[i]->path);
    }
    Report *r = diag_error(m->diag, DIAG_rule_unused, rule_place(m, rule->text),
                           "'%s' never applies: %s", rule->text, why);
    if (b.n) report_help(r, "repeats with a backward: %s", b.at);
    buf_release(&b);
    return false;
}
