/*
 * bind.c: a plan, bound to a mesh: what the passes read of it.
 *
 *     option shard "kv, ff, vocab over tp; seq over tp for residual"
 *     option chunks "seq 4"
 *
 * Rules keep their order; mesh axes are atoms, paths are those of slots.  A
 * mesh axis of which a product of axes takes one part after another,
 *
 *     shard (kv rep) over tp          kv 2, tp 8
 *
 * is cut into factors before any tensor is seen: tp0 of 2 and tp1 of 4, behind
 * what mesh axes in front of it in that rule take.  Every other rule over tp
 * goes over both.
 */
#include <inttypes.h>

#include "plan.h"
#include "train.h"

/* --------------------------------------------------------------- factors -- */

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t c = a % b;
        a = b;
        b = c;
    }
    return a;
}

static const Clause *over_of(const Node *rule)
{
    for (uint32_t i = 0; i < rule->rule.nclauses; i++)
        if (rule->rule.clauses[i].kind == CLAUSE_over)
            return &rule->rule.clauses[i];
    return NULL;
}

/* What is left of the axes of a product while mesh axes are dealt out. */
typedef struct Rest {
    AxisList axes;
    int64_t size[16]; /* 0: not known */
} Rest;

/* The first axis that it divides. */
static void take_whole(Rest *r, int64_t size)
{
    for (uint32_t i = 0; i < r->axes.n; i++) {
        if (r->size[i] <= 0 || r->size[i] % size) continue;
        r->size[i] /= size;
        return;
    }
}

/* What the mesh axes in front of MESH take; false: it goes over none such. */
static bool take_before(const Plan *p, const Nodes *over, Str mesh, Rest *r)
{
    for (uint32_t i = 0; i < over->n; i++) {
        const Node *t = over->at[i];
        if (t->kind == N_product && take_before(p, &t->terms, mesh, r))
            return true;
        if (t->kind != N_name) continue;
        if (str_eq(t->name, mesh)) return true;
        const MeshPart *part = mesh_part_named(p, t->name);
        for (uint32_t k = 0; part && k < part->natoms; k++)
            take_whole(r, p->s->m->mesh.at[part->atoms[k].id].size);
    }
    return false;
}

/* What each axis of the product takes of SIZE, as far as it goes. */
static uint32_t factors_of(const Rest *r, int64_t size, int64_t *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->axes.n && size > 1 && n < 7; i++) {
        int64_t f = r->size[i] > 0 ? gcd(r->size[i], size) : 1;
        if (f == 1) continue;
        out[n++] = f;
        size /= f;
    }
    if (size > 1) out[n++] = size;
    return n;
}

static bool rest_of(Sema *s, const Node *product, Rest *out)
{
    out->axes.n = 0;
    if (!axes_of_term(s, product, &out->axes)) return false;
    for (uint32_t i = 0; i < out->axes.n; i++)
        out->size[i] = axis_size(s, out->axes.at[i]);
    return true;
}

uint32_t plan_factors(Plan *p, const Node *body, Str mesh, int64_t size,
                      int64_t *out)
{
    for (uint32_t i = 0; i < body->block.n; i++) {
        const Node *r = body->block.at[i];
        if (r->kind != N_rule || r->rule.kind != RULE_shard || !over_of(r))
            continue;
        for (uint32_t k = 0; k < r->rule.subject.n; k++) {
            const Node *t = r->rule.subject.at[k];
            Rest rest;
            if (t->kind != N_product || !rest_of(p->s, t, &rest) ||
                !take_before(p, &over_of(r)->terms, mesh, &rest))
                continue;
            uint32_t n = factors_of(&rest, size, out);
            if (n > 1) return n;
        }
    }
    out[0] = size;
    return 1;
}

/* ----------------------------------------------------------------- text -- */

static bool put_subject(Plan *p, const Node *rule, Buf *out)
{
    for (uint32_t i = 0; i < rule->rule.subject.n; i++) {
        AxisList l = {.n = 0};
        if (!axes_of_term(p->s, rule->rule.subject.at[i], &l)) return false;
        buf_puts(out, i ? ", " : "");
        if (l.n > 1) buf_putc(out, '(');
        for (uint32_t k = 0; k < l.n; k++)
            buf_printf(out, "%s%s", k ? " " : "", axis_name(p->s->m, l.at[k]));
        if (l.n > 1) buf_putc(out, ')');
    }
    return true;
}

static void put_roles(const Shard *x, Buf *out)
{
    static const char *const words[] = {"param",  "grad",     "state",
                                        "update", "residual", "activation"};
    if (x->roles == ~0u) return;
    const char *between = " for ";
    for (uint32_t i = 0; i < 6; i++) {
        if (!(x->roles >> i & 1)) continue;
        buf_printf(out, "%s%s", between, words[i]);
        between = ", ";
    }
}

static bool is_in(Plan *p, const Shard *x, const Mem *mem)
{
    for (uint32_t k = 0; k < x->in->terms.n; k++)
        if (path_matches(p->s, STR(p->s, x->in->terms.at[k]->name), mem))
            return true;
    return false;
}

static void put_paths(Plan *p, const Shard *x, Buf *out)
{
    const char *between = " in ";
    for (uint32_t i = 0; x->in && i < p->s->mems.n; i++) {
        const Mem *mem = p->s->mems.at[i];
        if (!is_in(p, x, mem)) continue;
        buf_printf(out, "%s%s", between, STR(p->s, mem->path));
        between = ", ";
    }
}

static void put_entries(const Shard *x, Buf *out)
{
    for (uint32_t i = 0; i < x->entries.n; i++)
        buf_printf(out, "%s%s", i ? ", " : " of ", x->entries.at[i]);
}

static bool put_rule(Plan *p, const Shard *x, Buf *out)
{
    if (out->n) buf_puts(out, "; ");
    if (!put_subject(p, x->node, out)) return false;
    buf_puts(out, " over ");
    for (uint32_t i = 0; i < x->natoms; i++)
        buf_printf(out, "%s%s", i ? ", " : "", mesh_name(p->s->m, x->atoms[i]));
    if (x->zigzag) buf_puts(out, " order zigzag");
    if (x->bound > 0) buf_printf(out, " bound %.17g", x->bound);
    if (x->pipeline) return plan_stages(p, x, out);
    if (x->each != EACH_usual)
        buf_printf(out, " each %s",
                   x->each == EACH_step ? "step" : "microbatch");
    put_roles(x, out);
    put_paths(p, x, out);
    put_entries(x, out);
    return true;
}

static void put_chunks(const Plan *p, const Shard *x, Buf *out)
{
    Module *m = p->s->m;
    for (uint32_t i = 0; i < x->naxes && x->chunks; i++) {
        const char *axis = axis_name(m, x->axes[i]);
        buf_printf(out, "%s%s %" PRId64, out->n ? ", " : "", axis, x->chunks);
        rule_place_set(m, arena_printf(m->arena, "chunks of %s", axis),
                       x->node->span);
    }
}

static void put_bound(const Plan *p, const Shard *x)
{
    Module *m = p->s->m;
    const char *axes = axes_str(m, x->axes, x->naxes);
    if (x->bound > 0)
        rule_place_set(m, arena_printf(p->s->a, "bound on %s", axes),
                       x->node->span);
}

bool plan_bind(Plan *p)
{
    Buf shard = {0}, pipeline = {0}, chunks = {0};
    bool ok = true;
    for (uint32_t i = 0; i < p->shards.n && ok; i++) {
        const Shard *x = p->shards.at[i];
        ok = put_rule(p, x, x->pipeline ? &pipeline : &shard);
        put_chunks(p, x, &chunks);
        put_bound(p, x);
    }
    if (ok && shard.n) option_set(p->s->m, "shard", shard.at);
    if (ok && pipeline.n) option_set(p->s->m, "pipeline", pipeline.at);
    for (uint32_t i = 0; ok && i < p->shards.n; i++)
        if (p->shards.at[i]->pipeline)
            rule_place_set(p->s->m, pipeline.at, p->shards.at[i]->node->span);
    if (ok && chunks.n) option_set(p->s->m, "chunks", chunks.at);
    buf_release(&chunks);
    buf_release(&shard);
    buf_release(&pipeline);
    return ok;
}
