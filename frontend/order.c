/*
 * order.c: in which order a rule deals out the parts of an axis, how many rows
 * may choose one, and how many at a time go from device to device.
 *
 *     shard seq over cp                  device r has part r
 *     shard seq over cp order zigzag     of 2 cp parts r and 2 cp - 1 - r
 *
 * Under a causal mask the second gives each device the same work.  Attention
 * asks for positions alone; what reads an axis from front to back, as a scan
 * does, cannot work on parts from both ends.
 *
 *     shard expert over ep bound 2       at most twice the even share of rows
 *                                        goes from one device to another
 *
 *     shard seq over tp for residual chunks 4    what is gathered for products,
 *                                        and what is summed of them, in 4 parts
 */
#include "plan.h"

static bool bound_read(Plan *p, const Node *rule, Shard *out)
{
    const Clause *c = rule_clause(rule, CLAUSE_bound);
    if (!c) return true;
    const Node *t = c->terms.at[0];
    out->bound = t->number.value;
    if (out->bound >= 1) return true;
    Report *r =
        sema_error(p->s, DIAG_number_range, t->span,
                   "a bound of %g even shares is less than one", out->bound);
    report_help(r, "2 is room for twice the even share");
    return false;
}

static bool chunks_read(Plan *p, const Node *rule, Shard *out)
{
    const Clause *c = rule_clause(rule, CLAUSE_chunks);
    if (!c || out->pipeline) return true;
    const Node *t = c->terms.at[0];
    double n = t->number.value;
    out->chunks = n >= 1 && n <= MOST_CHUNKS ? (int64_t)n : 0;
    if (out->chunks > 0 && (double)out->chunks == n) return true;
    sema_error(p->s, DIAG_number_range, t->span,
               "chunks are a whole number from 1 to %d, found %g", MOST_CHUNKS,
               n);
    return false;
}

bool order_read(Plan *p, const Node *rule, Shard *out)
{
    const Clause *c = rule_clause(rule, CLAUSE_order);
    if (!bound_read(p, rule, out) || !chunks_read(p, rule, out)) return false;
    if (!c) return true;
    const Node *t = c->terms.at[0];
    const char *word = t->kind == N_name ? STR(p->s, t->name) : "";
    out->zigzag = strcmp(word, "zigzag") == 0;
    if (out->zigzag || strcmp(word, "block") == 0) return true;
    Report *r = sema_error(p->s, DIAG_rule_unknown, t->span,
                           "'%s' is no order of parts", ast_str(p->s->m, t));
    report_help(r, "orders: block, zigzag");
    return false;
}

bool order_fits(Plan *p, const Inst *repeat)
{
    Module *m = p->s->m;
    Axis a = attr_axis(m, repeat->attr, AT_axis);
    for (uint32_t i = 0; i < p->shards.n; i++) {
        const Shard *x = p->shards.at[i];
        for (uint32_t k = 0; x->zigzag && k < x->naxes; k++) {
            if (x->axes[k].id != a.id) continue;
            MeshAxis over = x->atoms[0];
            Report *r = sema_error(
                p->s, DIAG_rule_order, x->node->span,
                "a repeat reads '%s' (%lld) from front to back, and '%s' "
                "(%lld) has parts of it from both ends",
                axis_name(m, a),
                (long long)attr_int(m, repeat->attr, AT_count, 0),
                mesh_name(m, over), (long long)m->mesh.at[over.id].size);
            report_note(r, loc_span(m, repeat->loc), "this repeat");
            report_help(r, "leave out 'order zigzag'");
            return false;
        }
    }
    return true;
}
