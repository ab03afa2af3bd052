/*
 * rules_entry.c: rules of a plan for some entries alone.
 *
 *     shard batch over dp of pretrain
 *     shard row over dp of generate
 *
 * Parameters and states lie in one way for all entries, so such a rule is for
 * what an entry computes.  Every function is called by one entry.
 */
#include <string.h>

#include "plan.h"

/* `generate` is all entries of that group. */
static bool names_entry(const char *word, const char *entry)
{
    size_t n = strlen(word);
    return strncmp(word, entry, n) == 0 && (!entry[n] || entry[n] == '.');
}

/* What the program declares; it need not be asked for. */
typedef struct Declared {
    const char *names[64];
    uint32_t n;
} Declared;

static Declared declared(Plan *p)
{
    Declared d = {.n = 0};
    const Unit *main = p->s->main;
    for (uint32_t f = 0; f < main->files.n; f++) {
        Nodes decls = main->files.at[f]->decls;
        for (uint32_t i = 0; i < decls.n && d.n < 64; i++)
            if (decls.at[i]->kind == N_entry || decls.at[i]->kind == N_train)
                d.names[d.n++] = STR(p->s, decls.at[i]->decl.name.text);
    }
    return d;
}

static bool is_known(Plan *p, const Node *t, const char *word)
{
    Declared d = declared(p);
    for (uint32_t i = 0; i < d.n; i++)
        if (names_entry(word, d.names[i])) return true;
    Report *r = sema_error(p->s, DIAG_rule_unknown, t->span,
                           "the program has no entry '%s'", word);
    const char *near = nearest(word, d.names, d.n);
    if (near) report_help(r, "did you mean '%s'?", near);
    return false;
}

/* A train block has the entry `train`, whatever its name. */
static const char *entry_of_word(Plan *p, const char *word)
{
    const Node *train = p->s->train_node;
    bool is = train && strcmp(word, STR(p->s, train->decl.name.text)) == 0;
    return is ? "train" : word;
}

bool entries_read(Plan *p, const Node *rule, Shard *out)
{
    const unsigned lie = ON_param | ON_grad | ON_state | ON_update;
    const Clause *of = rule_clause(rule, CLAUSE_of);
    for (uint32_t i = 0; of && i < of->terms.n; i++) {
        const Node *t = of->terms.at[i];
        const char *word = ast_str(p->s->m, t);
        if (!is_known(p, t, word)) return false;
        vec_push(p->s->a, &out->entries, entry_of_word(p, word));
    }
    if (!of || (!out->in && !(out->roles & lie && out->roles != ~0u)))
        return true;
    sema_error(p->s, DIAG_rule_unknown, of->span,
               "parameters and states lie in one way for all entries: a rule "
               "with 'of' is for activations");
    return false;
}

bool entry_applies(const Shard *x, const char *entry)
{
    bool applies = x->entries.n == 0;
    for (uint32_t i = 0; entry && i < x->entries.n; i++)
        applies |= names_entry(x->entries.at[i], entry);
    return applies;
}

bool entry_made(const Plan *p, const Shard *x)
{
    const Module *m = p->s->m;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->entry &&
            entry_applies(x, str_of(m, m->fns.at[i]->name)))
            return true;
    return false;
}

static void mark(Plan *p, uint32_t f, const char *entry)
{
    const Module *m = p->s->m;
    const Fn *fn = m->fns.at[f];
    if (p->entry_of[f]) return;
    p->entry_of[f] = entry;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        static const AttrKey keys[] = {AT_fn, AT_while};
        for (unsigned k = 0; k < 2; k++) {
            const AttrItem *callee = attr_get(m, fn->insts[i].attr, keys[k]);
            if (callee) mark(p, callee->id, entry);
        }
    }
}

void entries_find(Plan *p)
{
    const Module *m = p->s->m;
    p->entry_of = NEW_ARRAY(p->s->a, const char *, (size_t)m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->entry) mark(p, i, str_of(m, m->fns.at[i]->name));
}
