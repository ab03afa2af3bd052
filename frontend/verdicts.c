/*
 * verdicts.c: rules that never got anything.
 *
 * A rule that splits no tensor is an error, with the rule that was in front of
 * it everywhere, or with the axes that there are.  A mesh axis that no rule
 * names is a warning.
 */
#include "plan.h"

#include "train.h"

const char *rule_text(Plan *p, const Node *rule)
{
    Buf b = {0};
    ast_print(p->s->m, rule, &b);
    size_t n = b.n;
    while (n && (b.at[n - 1] == '\n' || b.at[n - 1] == ' '))
        n--;
    const char *start = b.at;
    while (*start == ' ')
        start++;
    const char *out = arena_strndup(p->s->a, start, n - (size_t)(start - b.at));
    buf_release(&b);
    return out;
}

static const char *roles_text(Plan *p, const Shard *x)
{
    static const char *const words[] = {"param",  "grad",     "state",
                                        "update", "residual", "activation"};
    Buf b = {0};
    uint32_t left = 0;
    for (uint32_t i = 0; i < 6; i++)
        left += (x->roles >> i) & 1;
    if (x->roles == ~0u) return "tensor";
    for (uint32_t i = 0; i < 6; i++) {
        if (!(x->roles >> i & 1)) continue;
        left--;
        buf_printf(&b, "%s%s", words[i],
                   left > 1    ? ", "
                   : left == 1 ? " or "
                               : "");
    }
    const char *out = arena_strdup(p->s->a, b.at);
    buf_release(&b);
    return out;
}

static void report_beaten(Plan *p, const Shard *x)
{
    Sema *s = p->s;
    Report *r = sema_error(s, DIAG_rule_beaten, x->node->span,
                           "'%s' never applies", rule_text(p, x->node));
    Buf b = {0};
    for (uint32_t i = 0; i < x->nbeaten && i < 4; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", x->beaten_in[i]);
    if (x->nbeaten > 4) buf_printf(&b, " and %u more", x->nbeaten - 4);
    report_note(r, x->beaten_by->node->span, "this gives '%s' to '%s', in %s",
                mesh_words(p, x->beaten_mesh), axis_name(s->m, x->beaten_axis),
                b.at);
    buf_release(&b);
}

/* Of a product the axes that tensors have get nothing. */
static void report_elsewhere(Plan *p, const Shard *x)
{
    Sema *s = p->s;
    const Elsewhere *e = &x->elsewhere;
    const char *has = axis_name(s->m, e->has);
    const char *mesh = mesh_words(p, e->mesh);
    Report *r = sema_error(s, DIAG_rule_unused, x->node->span,
                           "rule shards nothing: of the product '%s' takes "
                           "'%s', and no %s that the rule is for has it",
                           axis_name(s->m, e->lacks), mesh, roles_text(p, x));
    report_note(r, (Span){0}, "'%s' has '%s' alone", e->tensor, has);
    report_help(r, "to split that, write shard %s over %s", has,
                mesh_plain(p, e->mesh));
}

/* Axes of what the rule is for, and what those of all are. */
static void report_unused(Plan *p, const Shard *x)
{
    Sema *s = p->s;
    if (x->elsewhere.tensor) {
        report_elsewhere(p, x);
        return;
    }
    Report *r = sema_error(s, DIAG_rule_unused, x->node->span,
                           "rule shards nothing: no %s has axis '%s'",
                           roles_text(p, x), axes_str(s->m, x->axes, x->naxes));
    Buf b = {0};
    bool *seen = NEW_ARRAY(s->a, bool, (size_t)s->m->axes.n + 1);
    for (uint32_t i = 0; i < s->mems.n; i++) {
        const TypeInfo *t = type_info(s->m, s->mems.at[i]->type);
        for (uint32_t k = 0; k < t->naxes; k++) {
            if (seen[t->axes[k].axis.id]) continue;
            seen[t->axes[k].axis.id] = true;
            buf_printf(&b, "%s%s", b.n ? ", " : "",
                       axis_name(s->m, t->axes[k].axis));
        }
    }
    if (b.n) report_help(r, "axes of parameters and states: %s", b.at);
    buf_release(&b);
}

static bool is_given(const Plan *p, MeshAxis m)
{
    for (uint32_t i = 0; i < p->shards.n; i++)
        for (uint32_t k = 0; k < p->shards.at[i]->natoms; k++)
            if (p->shards.at[i]->atoms[k].id == m.id) return true;
    return false;
}

/* Mesh axes that no rule names: devices that do the work of others again. */
static void warn_idle(Plan *p)
{
    Sema *s = p->s;
    for (uint32_t i = 0; i < p->parts.n; i++) {
        const MeshPart *part = &p->parts.at[i];
        bool given = part->size == 1;
        for (uint32_t k = 0; k < part->natoms; k++)
            given |= is_given(p, part->atoms[k]);
        if (given) continue;
        Report *r = diag_warning(
            s->m->diag, DIAG_rule_ignored, part->at,
            "mesh axis '%s' splits nothing: the %lld devices along it all "
            "compute the same",
            STR(s, part->name), (long long)part->size);
        report_help(r,
                    "name it in a rule, as in shard batch over %s, or leave "
                    "it out",
                    STR(s, part->name));
    }
}

bool rules_used(Plan *p)
{
    bool ok = true;
    warn_idle(p);
    for (uint32_t i = 0; i < p->shards.n; i++) {
        const Shard *x = p->shards.at[i];
        if (x->used || !entry_made(p, x)) continue;
        ok = false;
        if (x->beaten_by) {
            report_beaten(p, x);
            continue;
        }
        report_unused(p, x);
    }
    return ok;
}
