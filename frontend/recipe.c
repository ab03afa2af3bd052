/*
 * recipe.c: which linear layers a plan quantises, and how.
 *
 *     float8 attention, swiglu recipe rowwise except wo, small
 *     ------ ----------------- -------------- ----------------
 *     rule   where             how            where not
 *
 * A linear layer is a parameter with an arrow, [from -> to].  Of the rules that
 * name it the first counts, as of updates.  A layer whose sides are no
 * multiples of what the recipe takes is left as it is; a rule that is left with
 * none is an error.  `small` stands for the layers that gain nothing
 * (float8: those which torchao's auto_filter_small_kn leaves out).
 *
 * The rules go on as text, in the option `recipes`, that the pass `recipe`
 * reads; `?` is behind what a rule for all has, which leaves out the head of a
 * model that nobody names:
 *
 *     rowwise layer.attention.wq layer.attention.wk; mxfp8 layer.mlp.up.w?
 */
#include "plan.h"
#include "train.h"

typedef struct Recipe {
    const char *name;
    RuleKind rule;
    int64_t multiple;
} Recipe;

static const Recipe recipes[] = {
#define RECIPE(name, rule, multiple, what) {#name, RULE_##rule, multiple},
#include "../ir/recipes.def"
#undef RECIPE
};
enum { NRECIPES = sizeof recipes / sizeof *recipes };

/* A rule while its layers are collected. */
typedef struct Picking {
    Plan *p;
    const Node *rule;
    const Recipe *recipe;
    bool small;      /* they are left out */
    Buf layers;      /* " path path" */
    bool any_odd;    /* there are some whose sides do not fit */
    bool any_small;  /* there are some that are left out */
    const Mem *mine; /* the first that an earlier rule has */
    bool failed;
} Picking;

static const char *term_text(Plan *p, const Node *t)
{
    return t->kind == N_name ? STR(p->s, t->name) : ast_str(p->s->m, t);
}

static const Recipe *recipe_of(Plan *p, const Node *rule)
{
    const Clause *c = rule_clause(rule, CLAUSE_recipe);
    const char *name = c ? term_text(p, c->terms.at[0]) : NULL;
    Buf all = {0};
    const Recipe *found = NULL;
    for (int i = 0; i < NRECIPES && !found; i++) {
        const Recipe *r = &recipes[i];
        if (r->rule != rule->rule.kind) continue;
        if (!name || strcmp(name, r->name) == 0) found = r;
        buf_printf(&all, "%s%s", all.n ? ", " : "", r->name);
    }
    if (!found) {
        Report *r =
            sema_error(p->s, DIAG_recipe_rule, c->span, "%s has no recipe '%s'",
                       rule_word(rule->rule.kind), name);
        report_help(r, "its recipes: %s", all.at);
    }
    buf_release(&all);
    return found;
}

/* ---------------------------------------------------------------- layers -- */

static int64_t side(const Plan *p, const Mem *mem, bool from)
{
    int64_t n = 1;
    uint32_t at = mem->over + (from ? 0 : mem->from);
    for (uint32_t i = 0; i < (from ? mem->from : mem->to); i++)
        n *= type_size(p->s->m, mem->type, mem->axes[at + i]);
    return n;
}

static bool is_layer(const Mem *mem)
{
    return mem->role == ROLE_param && mem->from && mem->to;
}

static bool terms_match(Plan *p, const Clause *c, const Nodes *terms,
                        const Mem *mem)
{
    const Nodes *all = c ? &c->terms : terms;
    for (uint32_t i = 0; all && i < all->n; i++)
        if (path_matches(p->s, term_text(p, all->at[i]), mem)) return true;
    return false;
}

/* Its rule says which layers it is for. */
static bool has_names(const Picking *k)
{
    return k->rule->rule.subject.n || rule_clause(k->rule, CLAUSE_in);
}

static bool is_meant(const Picking *k, const Mem *mem)
{
    const Clause *in = rule_clause(k->rule, CLAUSE_in);
    const Clause *except = rule_clause(k->rule, CLAUSE_except);
    const Nodes *subject = &k->rule->rule.subject;
    if (except && terms_match(k->p, except, NULL, mem)) return false;
    if (in && !terms_match(k->p, in, NULL, mem)) return false;
    return !subject->n || terms_match(k->p, NULL, subject, mem);
}

/* Sizes of [from -> to] for which eight bits gain nothing on a GPU. */
static bool is_small(const Recipe *r, int64_t from, int64_t to)
{
    if (strcmp(r->name, "tensorwise") == 0) return from <= 4096 && to <= 1024;
    return to <= 2048 || from <= 1024 || (to <= 4096 && from <= 2048);
}

/* What an earlier rule has made of a layer, or NULL. */
static const Quantised *quantised_find(const Plan *p, const Mem *mem)
{
    for (uint32_t i = 0; i < p->quantised.n; i++)
        if (p->quantised.at[i].mem == mem) return &p->quantised.at[i];
    return NULL;
}

/* True: an earlier rule has it, and not one of the other family. */
static bool is_taken(Picking *k, const Mem *mem)
{
    const Quantised *given = quantised_find(k->p, mem);
    if (!given) return false;
    if (!k->mine) k->mine = mem;
    if (given->rule == k->recipe->rule) return true;
    Report *r = sema_error(k->p->s, DIAG_recipe_rule, k->rule->span,
                           "%s is to be quantised by '%s' and by '%s %s'",
                           STR(k->p->s, mem->path), given->recipe,
                           rule_word(k->rule->rule.kind), k->recipe->name);
    report_help(r, "leave it out of one of the two: except %s",
                STR(k->p->s, mem->path));
    k->failed = true;
    return true;
}

static void pick(Picking *k, const Mem *mem)
{
    int64_t from = side(k->p, mem, true), to = side(k->p, mem, false);
    if (is_taken(k, mem)) return;
    Quantised layer = {.mem = mem,
                       .rule = k->recipe->rule,
                       .recipe = k->recipe->name,
                       .by = k->rule,
                       .from = from,
                       .to = to,
                       .multiple = k->recipe->multiple};
    if (from % layer.multiple || to % layer.multiple) {
        vec_push(k->p->s->a, &k->p->odd, layer);
        k->any_odd = true;
        return;
    }
    if (k->small && is_small(k->recipe, from, to)) {
        k->any_small = true;
        return;
    }
    vec_push(k->p->s->a, &k->p->quantised, layer);
    buf_printf(&k->layers, " %s%s", STR(k->p->s, mem->path),
               has_names(k) ? "" : "?");
}

static bool nothing_picked(const Picking *k)
{
    Sema *s = k->p->s;
    Report *r =
        sema_error(s, DIAG_rule_unused, k->rule->span,
                   "'%s' quantises no linear layer", ast_str(s->m, k->rule));
    int64_t n = k->recipe->multiple;
    const Quantised *odd = k->p->odd.at;
    while (k->any_odd && odd->by != k->rule)
        odd++;
    if (k->any_odd)
        report_help(r,
                    "%s is %lld by %lld; recipe %s takes multiples of %lld, "
                    "like %lld by %lld",
                    STR(s, odd->mem->path), (long long)odd->from,
                    (long long)odd->to, k->recipe->name, (long long)n,
                    (long long)((odd->from + n - 1) / n * n),
                    (long long)((odd->to + n - 1) / n * n));
    else if (k->any_small)
        report_help(r, "'except small' leaves out all that it names");
    else if (k->mine)
        report_help(r, "rules before it have them all");
    else
        report_help(r, "a linear layer is a parameter with an arrow, "
                       "[embed -> ff]");
    return false;
}

/* `small` among the exceptions is no path. */
static bool takes_small(Plan *p, const Node *rule)
{
    const Clause *c = rule_clause(rule, CLAUSE_except);
    for (uint32_t i = 0; c && i < c->terms.n; i++)
        if (strcmp(term_text(p, c->terms.at[i]), "small") == 0) return true;
    return false;
}

bool recipe_rule(Plan *p, const Node *rule)
{
    Picking k = {.p = p,
                 .rule = rule,
                 .recipe = recipe_of(p, rule),
                 .small = takes_small(p, rule)};
    if (!k.recipe) return false;
    for (uint32_t i = 0; i < p->s->mems.n && !k.failed; i++) {
        const Mem *mem = p->s->mems.at[i];
        if (is_layer(mem) && is_meant(&k, mem)) pick(&k, mem);
    }
    bool ok = !k.failed && (k.layers.n || nothing_picked(&k));
    if (ok) {
        Str before = option_get(p->s->m, "recipes");
        option_set(p->s->m, "recipes",
                   arena_printf(
                       p->s->a, "%s%s%s%s", before.id ? STR(p->s, before) : "",
                       before.id ? "; " : "", k.recipe->name, k.layers.at));
    }
    buf_release(&k.layers);
    return ok;
}
