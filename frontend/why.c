/*
 * why.c: --why PATH: which rule of the plan splits which axis of a parameter,
 * its gradient and states, or of a value by its name, and which rules came too
 * late; and which recipe a linear layer has.
 *
 *     param layer.attention.wq
 *       kv over tp     plans/h100.tt:8: shard kv, ff, vocab over tp
 *       not embed over tp, which kv has     plans/h100.tt:12: shard embed over
 * tp
 */
#include <string.h>

#include "plan.h"
#include "train.h"

static void add_line(Plan *p, const char *text, const Node *rule)
{
    Frontend *f = p->s->f;
    Place at = diag_place(f->m->diag, rule->span);
    const char *line = arena_printf(f->m->arena, "  %-36s %s:%u: %s", text,
                                    at.path, at.line, ast_str(f->m, rule));
    vec_push(f->m->arena, &f->why, line);
}

static const TakenRow *row_of(const Taken *taken, MeshAxis m)
{
    for (uint32_t i = 0; i < taken->n; i++)
        if (taken->at[i].mesh.id == m.id) return &taken->at[i];
    return NULL;
}

static void why_rule(Plan *p, const Shard *x, const Splittee *t,
                     const Taken *taken)
{
    Module *m = p->s->m;
    for (uint32_t k = 0; k < x->natoms; k++)
        for (uint32_t i = 0; i < x->naxes; i++) {
            const TakenRow *row = row_of(taken, x->atoms[k]);
            if (!row || !type_axis(m, t->type, x->axes[i])) continue;
            const char *axis = axis_name(m, x->axes[i]);
            const char *mesh = mesh_words(p, x->atoms[k]);
            if (row->by == x && row->axis.id == x->axes[i].id) {
                add_line(p, arena_printf(m->arena, "%s over %s", axis, mesh),
                         x->node);
                const char *each = each_words(p, x, t->role);
                if (each)
                    vec_push(m->arena, &p->s->f->why,
                             arena_printf(m->arena, "    %s", each));
            }
            if (row->by != x)
                add_line(p,
                         arena_printf(m->arena, "not %s over %s, which %s has",
                                      axis, mesh, axis_name(m, row->axis)),
                         x->node);
        }
}

/* The path of the tensor, if it is asked for. */
static const char *wanted_path(Plan *p, const Splittee *t)
{
    const char *want = p->s->f->opts.why;
    if (!want) return NULL;
    if (t->mem)
        return path_matches(p->s, want, t->mem) ? STR(p->s, t->mem->path)
                                                : NULL;
    if (!t->in) return NULL;
    const char *path = arena_printf(p->s->m->arena, "%s.%s", t->in, t->name);
    return path_ends(path, want) ? path : NULL;
}

static const char *role_word(unsigned role)
{
    static const char *const words[] = {"param",  "grad",     "state",
                                        "update", "residual", "activation"};
    uint32_t i = 0;
    while (i < 5 && role != 1u << i)
        i++;
    return words[i];
}

/* The recipe of a linear layer, or why it has none. */
static void why_recipe(Plan *p, const Mem *mem)
{
    Module *m = p->s->m;
    for (uint32_t i = 0; i < p->quantised.n; i++)
        if (p->quantised.at[i].mem == mem)
            add_line(p, p->quantised.at[i].recipe, p->quantised.at[i].by);
    for (uint32_t i = 0; i < p->odd.n; i++) {
        const Quantised *q = &p->odd.at[i];
        if (q->mem != mem) continue;
        add_line(p,
                 arena_printf(m->arena,
                              "not %s: %lld by %lld, no multiples of %lld",
                              q->recipe, (long long)q->from, (long long)q->to,
                              (long long)q->multiple),
                 q->by);
    }
}

/* The rule that has the tensor's layers on different ranks. */
static void why_stages(Plan *p, const Shard *x, const Splittee *t)
{
    Module *m = p->s->m;
    for (uint32_t i = 0; i < x->naxes; i++)
        if (type_axis(m, t->type, x->axes[i]))
            add_line(p,
                     arena_printf(m->arena, "%s in stages over %s",
                                  axis_name(m, x->axes[i]),
                                  mesh_words(p, x->atoms[0])),
                     x->node);
}

/* What no rule splits. */
static const char *whole_words(const Plan *p, const Splittee *t)
{
    if (!t->mem || t->role == ON_update)
        return "  no rule: as what it is made of, where that moves the fewest "
               "bytes";
    for (uint32_t i = 0; i < p->shards.n; i++)
        if (p->shards.at[i]->pipeline)
            return "  whole on every device of the stages that have it";
    return "  whole on every device";
}

void why_tensor(Plan *p, const Splittee *t, const Taken *taken)
{
    Frontend *f = p->s->f;
    const char *path = wanted_path(p, t);
    if (!path) return;
    const char *head =
        arena_printf(f->m->arena, "%s %s: %s", role_word(t->role), path,
                     type_str(p->s->m, t->type));
    vec_push(f->m->arena, &f->why, head);
    if (t->mem && t->role == ON_param) why_recipe(p, t->mem);
    uint32_t before = f->why.n;
    for (uint32_t i = 0; i < p->shards.n; i++) {
        const Shard *x = p->shards.at[i];
        if (x->pipeline && t->mem) why_stages(p, x, t);
        if (shard_applies(p, x, t)) why_rule(p, x, t, taken);
    }
    if (f->why.n == before) vec_push(f->m->arena, &f->why, whole_words(p, t));
}

uint32_t frontend_why(const Frontend *f, const char *const **lines)
{
    *lines = f->why.at;
    return f->why.n;
}
