/*
 * held.c: the parameters that a step gathers once (see held.h).
 *
 * The option `keep` has the paths of some, as the plan's rules `keep param
 * until backward` name them: these are whole wherever they are handed over,
 * which is so before layouts are chosen.  Rules of `shard` hold others over the
 * microbatches of a step.  What they do not say is whether a parameter is
 * gathered at all: rows may go to where it lies, and an op may do a part.  So
 * layouts are chosen as without them, and whatever is gathered then by those
 * who read it in a turn is gathered by whoever hands it to them, and so on up
 * to the entry:
 *
 *      entry                        entry       %b = reshard %a    embed
 *      stage      embed/dp     ->   stage       embed
 *      repeat     embed/dp          repeat      embed
 *          %w = reshard  embed          %w      embed
 *
 * In both cases one gather serves the forward and the backward.
 */
#include "../held.h"

#include "solve.h"

/* A stage's part of it has its layers at its end: wq[0..2]. */
static bool names_path(const char *paths, const char *path)
{
    size_t n = strcspn(path, "[");
    for (const char *p = paths; n && *p; p += strspn(p, " ")) {
        size_t word = strcspn(p, " ");
        if (word == n && strncmp(p, path, n) == 0) return true;
        p += word;
    }
    return false;
}

/* An entry that updates parameters has a backward. */
static bool has_backward(const Fn *fn)
{
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (fn->results[i].role == ROLE_param) return fn->nparams > 0;
    return false;
}

/* A parameter: the mesh axes, a bit each, over which it lies in parts and is
 * whole where it is used; KEPT: by the option `keep`. */
typedef struct Held {
    uint64_t over;
    bool kept;
} Held;

static Held held_of(Shard *s, const Port *p, const char *paths)
{
    size_t n = s->m->mesh.n;
    Where *lies = NEW_ARRAY(s->a, Where, n + 1);
    Where *used = NEW_ARRAY(s->a, Where, n + 1);
    Ruled t = {
        .type = p->type, .roles = FOR_param, .path = str_of(s->m, p->path)};
    Held h = {.kept = names_path(paths, t.path)};
    uint64_t may = h.kept ? UINT64_MAX : rules_hold(s, &t);
    if (!may || p->role != ROLE_param) return h;
    rules_place(s, &t, lies);
    t.roles = FOR_activation;
    t.path = "";
    rules_place(s, &t, used);
    for (size_t i = 0; i < n && i < 64; i++)
        if (lies[i] != used[i]) h.over |= may & UINT64_C(1) << i;
    return h;
}

bool *held_params(Module *m, PassCtx *cx, const Fn *entry)
{
    Shard s = {.m = m, .cx = cx, .a = m->scratch};
    const char *paths = pass_option(m, cx, "keep", "");
    if (!has_backward(entry) ||
        !shard_rules_read(&s, pass_option(m, cx, "shard", "")))
        return NULL;
    bool *held = NEW_ARRAY(m->scratch, bool, (size_t)entry->nparams + 1);
    for (uint32_t i = 0; i < entry->nparams; i++)
        held[i] = held_of(&s, &entry->params[i], paths).over != 0;
    return held;
}

bool hold_is_open(Module *m, PassCtx *cx)
{
    Shard s = {.m = m, .cx = cx, .a = m->scratch};
    const char *remat = pass_option(m, cx, "remat", "");
    if (!strstr(remat, "budget") || *pass_option(m, cx, "hold", "") ||
        !*pass_option(m, cx, "pipeline", "") ||
        !shard_rules_read(&s, pass_option(m, cx, "shard", "")))
        return false;
    for (uint32_t i = 0; i < s.rules.at.n; i++)
        if (rule_leaves_open(&s, &s.rules.at.at[i])) return true;
    return false;
}

/* --------------------------------------------------------------- finding -- */

/* By node, plus 1: a value that is it. */
static uint32_t *values_of(const Shard *s)
{
    uint32_t *of = NEW_ARRAY(s->a, uint32_t, (size_t)s->nodes.n + 1);
    for (uint32_t raw = s->raws.n; raw-- > 0;)
        if (s->raws.at[raw].node != NO_RAW) of[s->raws.at[raw].node] = raw + 1;
    return of;
}

static bool is_handing(const Item *it)
{
    return it->raw == NO_RAW;
}

/* It is what is kept of a parameter in another dtype, or with other names:
 * each of its elements. */
static bool is_kept_too(const Shard *s, const Item *it, uint32_t raw)
{
    const Inst *in = inst_of(it->fn, it->v);
    return it->phase == PHASE_forward &&
           (in->op == OP_rename ||
            (in->op == OP_map &&
             type_elements(s->m, in->type) ==
                 type_elements(s->m, s->raws.at[raw].type)));
}

/* What is handed over of a parameter, or of it in another dtype, and from there
 * on to whoever reads it: callers in front of those whom they call. */
static void follow(Shard *s, uint32_t raw, Held h, const uint32_t *value)
{
    if (s->kept[raw]) return;
    s->kept[raw] = true;
    for (uint32_t k = 0; k < s->raws.at[raw].n; k++) {
        const Item *it =
            &s->items.at[s->args.at[s->uses[s->raws.at[raw].first + k]].item];
        if (!is_handing(it)) {
            if (is_kept_too(s, it, raw)) follow(s, it->raw, h, value);
            continue;
        }
        Node *n = &s->nodes.at[it->out];
        if (n->given) continue;
        if (h.kept)
            n->whole |= h.over;
        else
            n->held |= h.over;
        follow(s, value[it->out] - 1, h, value);
        if (!h.kept) vec_push(s->a, &s->held, value[it->out] - 1);
    }
}

void held_find(Shard *s, const Roots *roots)
{
    const uint32_t *value = values_of(s);
    const char *paths = pass_option(s->m, s->cx, "keep", "");
    for (uint32_t f = 0; f < s->m->fns.n; f++) {
        const Fn *fn = s->m->fns.at[f];
        if (!roots->is[f] || !has_backward(fn)) continue;
        for (uint32_t i = 0; i < fn->nparams; i++) {
            Held h = held_of(s, &fn->params[i], paths);
            if (h.over) follow(s, s->base[f] + i, h, value);
        }
    }
}

/* -------------------------------------------------------------- settling -- */

/* Whether somebody reads it whole; names that it has there change with it. */
static bool is_wanted_whole(Solve *x, uint32_t raw, MeshAxis m)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    bool wanted = false;
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t arg = s->uses[r->first + k];
        const Item *it = &s->items.at[s->args.at[arg].item];
        bool whole = *need_at(s, m, arg) == WHERE_none;
        if (!whole && !is_handing(it) &&
            inst_of(it->fn, it->v)->op == OP_rename &&
            is_wanted_whole(x, it->raw, m)) {
            *need_at(s, m, arg) = *where_at(s, m, it->out) = WHERE_none;
            whole = true;
        }
        wanted |= whole;
    }
    return wanted;
}

void held_settle(Solve *x)
{
    const Shard *s = x->s;
    for (uint32_t i = 0; i < s->held.n; i++) {
        uint32_t raw = s->held.at[i], node = s->raws.at[raw].node;
        for (uint32_t k = 0; k < s->m->mesh.n && k < 64; k++) {
            MeshAxis m = {k};
            if ((s->nodes.at[node].held >> k & 1) &&
                where_is_axis(*where_at(s, m, node)) &&
                is_wanted_whole(x, raw, m))
                place_port(x, node, m, WHERE_none);
        }
    }
}
