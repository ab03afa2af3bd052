/*
 * remat.c: what a turn of a repeat keeps for its backward, by the plan's rules.
 *
 *   needs    local view: dtypes are final, collectives are there
 *   gives    nothing
 *   keeps    the value of every result, bit by bit
 *   result   each repeat that a rule names, and the repeat of its backward,
 *            have the record that the rule asks for; what is not in it is made
 *            again in the backward by the instructions that made it in the
 *            forward
 *
 * autodiff makes a record that costs no matmul twice.  This pass makes others:
 * it sees which values of the forward the backward reads, in the types that
 * they are stored in, and cuts anew (record.c) under the policy of the rule
 * (policy.c).  Rules for a part of the turns part the repeats (apply.c): the
 * first turns are those whose backward comes last, when the records of the
 * others are gone, so what making again takes besides adds least to the peak.
 *
 * Without a rule a repeat whose backward quantises what the forward has keeps
 * that (early.c), and else the record stays.
 *
 * Options: `remat`, the rules (remat/rules.c).  A rule `budget` is for the
 * driver, which puts others in its place (budget.c).  `part`: the module is a
 * part of one, in which a rule may have nothing to do.
 */
#include "remat/remat.h"

#include <inttypes.h>

#include "reach.h"

/* The record of a pair under a rule, which all that are like it have. */
typedef struct Ruled {
    const Pair *like;
    const RematRule *rule;
    const Record *record;
    const bool *host;
} Ruled;

/* Bodies that were made. */
typedef struct Made {
    const Pair *like;
    const Range *range;
} Made;

typedef struct Remat {
    Module *m;
    PassCtx *cx;
    RematRules rules;
    Pairs pairs;
    int64_t blocks; /* turns of the pairs before */
    VEC(Ruled) ruled;
    VEC(Made) made;
} Remat;

/* --------------------------------------------------------------- ranges -- */

/* Of every n blocks of the program one is made again. */
static int64_t every_turns(const Remat *x, const RematRule *rule, int64_t count)
{
    return (x->blocks + count) / rule->number - x->blocks / rule->number;
}

static bool keeps_early(const Pair *p, const RematRule *rule)
{
    return (!rule || rule->mode == REMAT_early) && pair_is_early(p);
}

/* The record is not another one. */
static bool is_present(const Pair *p, const RematRule *rule)
{
    return !keeps_early(p, rule) && !(rule && rule->gathered.n) &&
           (!rule || rule->mode == REMAT_none || rule->mode == REMAT_early);
}

static const Record *record_for(Remat *x, const Pair *p, RematRule *rule)
{
    bool early = keeps_early(p, rule);
    if (early || !rule || rule->mode == REMAT_none ||
        rule->mode == REMAT_early) {
        Record *r = early ? record_early(x->m, p) : record_present(x->m, p);
        return rule ? record_gathered(x->m, p, r, rule) : r;
    }
    return record_cheapest(x->m, p, policy_costs(x->m, p, rule),
                           gathered_turned(x->m, p, rule));
}

static const Ruled *ruled_of(Remat *x, const Pair *p, RematRule *rule)
{
    for (uint32_t i = 0; i < x->ruled.n; i++)
        if (x->ruled.at[i].like == p->like && x->ruled.at[i].rule == rule)
            return &x->ruled.at[i];
    Ruled r = {.like = p->like, .rule = rule};
    r.record = record_for(x, p, rule);
    r.host = record_offloaded(x->m, p, r.record, rule);
    vec_push(x->m->scratch, &x->ruled, r);
    return &vec_last(&x->ruled);
}

static void remark_range(const Remat *x, const Pair *p, const Range *r)
{
    Module *m = x->m;
    if (!pass_remarks(m, x->cx, false)) return;
    const Fn *of = p->of;
    Loc at = inst_of(p->caller, p->forward)->loc;
    pass_remark(m, x->cx, at,
                "@%s keeps %" PRId64 " bytes a turn in turns %" PRId64
                " to %" PRId64,
                p->path, r->record->bytes, r->first, r->first + r->count - 1);
    bool *remade = record_remade(m, p, r->record);
    for (uint32_t i = 0; i < of->ninsts; i++) {
        const Inst *in = &of->insts[i];
        bool saved = r->record->saved[i] && !is_at_hand(p, i);
        if (!saved && !(remade[i] && is_costly(of, (Value){i}))) continue;
        const char *name = label_of(m, p, (Value){i});
        pass_remark(m, x->cx, in->loc, "@%s %s %s%s%s", p->path,
                    !saved                  ? "makes again"
                    : r->host && r->host[i] ? "offloads"
                                            : "keeps",
                    name ? name : "", name ? " : " : "", type_str(m, in->type));
    }
}

typedef VEC(Range) RangeVec;

/* The next turns of P that are left, for this rule; 0: all. */
static void add_range(Remat *x, const Pair *p, RematRule *rule, int64_t want,
                      int64_t *left, RangeVec *out)
{
    if (want == 0 || want > *left) want = *left;
    if (want == 0) return;
    const Ruled *ruled = ruled_of(x, p, rule);
    Range r = {.record = ruled->record,
               .host = ruled->host,
               .present = is_present(p, rule),
               .first = p->f.count - *left,
               .count = want,
               .turns = NEW_ARRAY(x->m->scratch, Value, 2)};
    *left -= want;
    remark_range(x, p, &r);
    vec_push(x->m->scratch, out, r);
}

static bool too_many_turns(Remat *x, const RematRule *rule, const Pair *p,
                           int64_t left)
{
    Report *r = diag_error(
        x->m->diag, DIAG_remat_turns, rule_place(x->m, rule->text),
        "'%s' is for %" PRId64 " turns, repeat '%s' has %" PRId64 "%s",
        rule->text, rule->first, p->path, left,
        left < p->f.count ? " that no rule before it takes" : "");
    if (left > 0)
        report_help(r, "write first %" PRId64 ", or leave it out", left);
    return false;
}

static bool ranges_for(Remat *x, const Pair *p, RangeVec *out)
{
    int64_t left = p->f.count;
    bool some = false;
    for (uint32_t i = 0; i < x->rules.at.n; i++) {
        RematRule *rule = &x->rules.at.at[i];
        if (!rule_is_for(rule, p) || (left == 0 && rule->first == 0)) continue;
        if (rule->first > left) return too_many_turns(x, rule, p, left);
        int64_t want = rule->first;
        rule->used = some = true;
        if (rule->mode == REMAT_every) {
            want = every_turns(x, rule, p->f.count);
            if (want == 0) continue;
        }
        add_range(x, p, rule, want, &left, out);
    }
    x->blocks += p->f.count;
    if (some || pair_is_early(p)) add_range(x, p, NULL, 0, &left, out);
    return true;
}

/* ------------------------------------------------------------- verdicts -- */

/* What a rule might have named. */
typedef struct Listed {
    const char *name;
    int64_t bytes; /* that a turn keeps for it */
} Listed;

typedef VEC(Listed) ListedVec;

/* Whether a value is such a thing. */
typedef bool Lists(Module *m, const Pair *p, Value v, Listed *out);

static bool lists_costly(Module *m, const Pair *p, Value v, Listed *out)
{
    *out = (Listed){.name = label_of(m, p, v)};
    return out->name && is_costly(p->of, v);
}

/* Of what is one in another order as well, one is kept. */
static bool lists_gathered(Module *m, const Pair *p, Value v, Listed *out)
{
    *out = (Listed){.name = gathered_path(m, p, v)};
    if (!out->name) return false;
    RematRule rule = {.gathered = {&out->name, 1},
                      .named = NEW(m->scratch, bool)};
    const Record *none = record_present(m, p);
    out->bytes = record_gathered(m, p, none, &rule)->bytes - none->bytes;
    return out->bytes > 0;
}

static bool has_name(const ListedVec *v, const char *name)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (strcmp(v->at[i].name, name) == 0) return true;
    return false;
}

static ListedVec list_of(Remat *x, Lists *lists)
{
    ListedVec all = {0};
    for (uint32_t i = 0; i < x->pairs.at.n; i++) {
        const Pair *p = x->pairs.at.at[i];
        for (uint32_t v = p->of->nparams; v < p->of->ninsts; v++) {
            Listed one;
            if (lists(x->m, p, (Value){v}, &one) && !has_name(&all, one.name))
                vec_push(x->m->scratch, &all, one);
        }
    }
    return all;
}

static void help_names(Remat *x, Report *r)
{
    ListedVec all = list_of(x, lists_costly);
    Buf b = {0};
    for (uint32_t i = 0; i < all.n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", all.at[i].name);
    if (all.n) report_help(r, "names there: %s", b.at);
    buf_release(&b);
}

static void help_gathered(Remat *x, Report *r)
{
    ListedVec all = list_of(x, lists_gathered);
    Buf b = {0};
    for (uint32_t i = 0; i < all.n; i++)
        buf_printf(&b, "%s%s %" PRId64, i ? ", " : "", all.at[i].name,
                   all.at[i].bytes);
    if (all.n)
        report_help(r, "parameters there, and bytes a turn: %s", b.at);
    else
        report_help(r, "none lies in parts; shard an axis of theirs for "
                       "param, grad, state, or leave out 'gathered'");
    buf_release(&b);
}

/* Name I of a rule, and what it is a name of. */
static const char *name_at(const RematRule *rule, uint32_t i, const char **what)
{
    *what = "value of these repeats";
    if (i < rule->names.n) return rule->names.at[i];
    i -= rule->names.n;
    *what = "matmul of these repeats";
    if (i < rule->except.n) return rule->except.at[i];
    i -= rule->except.n;
    *what = "value that a turn keeps under it";
    if (i < rule->offload.n) return rule->offload.at[i];
    *what = "parameter that these repeats gather";
    return rule->gathered.at[i - rule->offload.n];
}

static bool names_found(Remat *x, const RematRule *rule)
{
    uint32_t kept = rule->names.n + rule->except.n;
    uint32_t n = kept + rule->offload.n + rule->gathered.n;
    for (uint32_t i = 0; i < n; i++) {
        if (rule->named[i]) continue;
        const char *what, *name = name_at(rule, i, &what);
        Report *r = diag_error(x->m->diag, DIAG_remat_name,
                               rule_place(x->m, rule->text),
                               "'%s' in '%s' is no %s", name, rule->text, what);
        if (i >= kept + rule->offload.n)
            help_gathered(x, r);
        else if (i >= kept)
            report_help(r, "-Rpass=remat lists what is kept; record: all of "
                           "it");
        else
            help_names(x, r);
        return false;
    }
    return true;
}

static bool rules_used(Remat *x)
{
    if (pass_option_int(x->m, x->cx, "part", 0)) return true;
    for (uint32_t i = 0; i < x->rules.at.n; i++) {
        const RematRule *rule = &x->rules.at.at[i];
        if (rule->used && names_found(x, rule)) continue;
        if (rule->used) return false;
        return rule_refuse(x->m, rule, &x->pairs,
                           "rules before it take all turns");
    }
    return true;
}

/* ----------------------------------------------------------------- pass -- */

/* All is decided, and found fault with, before anything changes. */
static bool decide(Remat *x, RangeVec *ranges)
{
    for (uint32_t i = 0; i < x->rules.at.n; i++)
        CHECK(x->rules.at.at[i].mode != REMAT_budget);
    for (uint32_t i = 0; i < x->pairs.at.n; i++)
        if (!ranges_for(x, x->pairs.at.at[i], &ranges[i])) return false;
    return rules_used(x);
}

static bool is_changed(const RangeVec *ranges)
{
    return ranges->n > 1 ||
           (ranges->n == 1 && (!ranges->at[0].present || ranges->at[0].host));
}

/* The same record of the same bodies from the same turn on is the same code. */
static void find_range_bodies(Remat *x, const Pair *p, Range *r)
{
    for (uint32_t i = 0; i < x->made.n; i++) {
        const Range *made = x->made.at[i].range;
        if (x->made.at[i].like != p->like || made->record != r->record ||
            made->first != r->first)
            continue;
        r->forward = made->forward;
        r->backward = made->backward;
        r->takes = made->takes;
        r->invariant = made->invariant;
        r->others = made->others;
        r->saved = made->saved;
        return;
    }
    bodies_make(x->m, p, r);
    vec_push(x->m->scratch, &x->made, ((Made){p->like, r}));
}

/* The pairs of one function at once: they are values of it. */
static void change_fn(Remat *x, uint32_t at, const RangeVec *ranges)
{
    Module *m = x->m;
    const Fn *fn = m->fns.at[at];
    Change *changes = NEW_ARRAY(m->scratch, Change, x->pairs.at.n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->pairs.at.n; i++) {
        const Pair *p = x->pairs.at.at[i];
        if (p->caller != fn || !is_changed(&ranges[i])) continue;
        for (uint32_t k = 0; k < ranges[i].n; k++)
            find_range_bodies(x, p, &ranges[i].at[k]);
        changes[n++] = (Change){p, ranges[i].n, ranges[i].at};
    }
    if (n) m->fns.at[at] = changes_apply(m, fn, changes, n);
}

bool pass_remat(Module *m, PassCtx *cx)
{
    Remat x = {.m = m, .cx = cx};
    if (!rules_read(m, cx, &x.rules)) return false;
    Roots roots = roots_of(m);
    uint32_t nfns = m->fns.n;
    x.pairs = pairs_find(m, cx, &x.rules);
    RangeVec *ranges = NEW_ARRAY(m->scratch, RangeVec, x.pairs.at.n + 1);
    if (!decide(&x, ranges)) return false;
    for (uint32_t i = 0; i < nfns; i++)
        if (m->fns.at[i]) change_fn(&x, i, ranges);
    bool *is = NEW_ARRAY(m->scratch, bool, m->fns.n + 1);
    memcpy(is, roots.is, nfns * sizeof *is);
    drop_unreached(m, &(Roots){is});
    return true;
}
