/*
 * why.c: --why PATH: which rule of the plan splits which axis of a parameter
 * or state, and which rules came too late.
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
            const char *mesh = mesh_name(m, x->atoms[k]);
            if (row->by == x && row->axis.id == x->axes[i].id)
                add_line(p, arena_printf(m->arena, "%s over %s", axis, mesh),
                         x->node);
            else if (row->by != x)
                add_line(p,
                         arena_printf(m->arena, "not %s over %s, which %s has",
                                      axis, mesh, axis_name(m, row->axis)),
                         x->node);
        }
}

void why_tensor(Plan *p, const Splittee *t, const Taken *taken)
{
    Frontend *f = p->s->f;
    const char *want = f->opts.why;
    if (!want || !t->mem || !path_matches(p->s, want, t->mem)) return;
    const char *role = t->role == ON_param    ? "param"
                       : t->role == ON_grad   ? "grad"
                       : t->role == ON_update ? "update"
                                              : "state";
    const char *head = arena_printf(f->m->arena, "%s %s", role, t->name);
    vec_push(f->m->arena, &f->why, head);
    uint32_t before = f->why.n;
    for (uint32_t i = 0; i < p->shards.n; i++) {
        const Shard *x = p->shards.at[i];
        if (shard_applies(p, x, t)) why_rule(p, x, t, taken);
    }
    if (f->why.n == before)
        vec_push(f->m->arena, &f->why, "  whole on every device");
}

uint32_t frontend_why(const Frontend *f, const char *const **lines)
{
    *lines = f->why.at;
    return f->why.n;
}
