/*
 * held.c: the parameters that a step gathers once (see held.h).
 *
 * The option `keep` has the paths of some, as the plan's rules `keep param
 * until backward` name them: these are whole wherever they are handed over,
 * which is so before layouts are chosen.  Rules of `shard` hold others over the
 * microbatches of a step.  What they do not say is whether a parameter is
 * gathered at all: rows may go to where it lies, and an op may do a part.  So
 * layouts are chosen as without them, only that a gather costs what it does
 * once a step, and whatever is gathered then by those who read it in a turn is
 * gathered by whoever hands it to them, and so on up to the entry:
 *
 *      entry                        entry       %b = reshard %a    embed
 *      stage      embed/dp     ->   stage       embed
 *      repeat     embed/dp          repeat      embed
 *          %w = reshard  embed          %w      embed
 *
 * In both cases one gather serves the forward and the backward.  What stands
 * around it chooses again then.
 */
#include "../held.h"

#include <math.h>

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
    if (*pass_option(m, cx, "hold", "") ||
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

/* What an op makes of weights alone is one: in another dtype, with other names,
 * quantised, or the scales for that. */
static bool makes_weights(const Item *it)
{
    if (it->phase == PHASE_update || it->n == 0) return false;
    switch ((Op)inst_of(it->fn, it->v)->op) {
    case OP_map:
    case OP_rename:
    case OP_reduce:
    case OP_merge:
    case OP_split:
    case OP_concat:
        return true;
    default:
        return false;
    }
}

/* A value that is made of weights alone. */
typedef struct Weight {
    uint64_t whole, held; /* as in Node */
} Weight;

static bool is_weight(Weight w)
{
    return (w.whole | w.held) != 0;
}

static Weight made_of(const Shard *s, const Item *it, const Weight *of)
{
    Weight all = {0, 0};
    for (uint32_t k = 0; k < it->n; k++) {
        Weight w = of[s->args.at[it->first + k].raw];
        if (!is_weight(w)) return (Weight){0, 0};
        all.whole |= w.whole;
        all.held |= w.held;
    }
    return all;
}

static void find_params(Shard *s, const Roots *roots, Weight *of)
{
    const char *paths = pass_option(s->m, s->cx, "keep", "");
    for (uint32_t f = 0; f < s->m->fns.n; f++) {
        const Fn *fn = s->m->fns.at[f];
        if (!roots->is[f] || !has_backward(fn)) continue;
        for (uint32_t i = 0; i < fn->nparams; i++) {
            Held h = held_of(s, &fn->params[i], paths);
            Weight *w = &of[s->base[f] + i];
            *(h.kept ? &w->whole : &w->held) = h.over;
        }
    }
}

/* Who reads a value whole needs it once for each: the functions that it is
 * handed to, and the ops of a phase.  An update reads its part. */
static double readers_of(const Shard *s, uint32_t raw)
{
    const Raw *r = &s->raws.at[raw];
    uint32_t phases = 0;
    double n = 0;
    for (uint32_t k = 0; k < r->n; k++) {
        const Item *it = &s->items.at[s->args.at[s->uses[r->first + k]].item];
        uint32_t phase = 1u << it->phase;
        if (it->phase == PHASE_update) continue;
        n += is_handing(it) || !(phases & phase);
        if (!is_handing(it)) phases |= phase;
    }
    return fmax(n, 1);
}

/* What is made of it is gathered with it. */
static void hand_on(const Shard *s, const Item *it, const Weight *of,
                    const bool *fixed, double *gathers)
{
    if (fixed[it->out] || (!is_handing(it) && !is_weight(of[it->raw]))) return;
    for (uint32_t k = 0; k < it->n; k++) {
        uint32_t raw = s->args.at[it->first + k].raw;
        const Raw *r = &s->raws.at[raw];
        if (of[raw].held)
            gathers[it->out] += gathers[r->node] / readers_of(s, raw);
    }
}

/* What a step gathers once it gathers where an entry hands it over.  Where that
 * is read, each time counts as a part of it, so that these are the one gather
 * if all read it whole; by bytes over a step,
 *
 *      entry     %w      all     two functions are handed it
 *      stage     %w      half    in each of 8 microbatches: a sixteenth
 *      repeat    %w      half    in each of 5 turns, in which it is a fifth
 */
static void share_gathers(Shard *s, const Roots *roots, const Weight *of)
{
    double *gathers = NEW_ARRAY(s->a, double, (size_t)s->nodes.n + 1);
    bool *fixed = NEW_ARRAY(s->a, bool, (size_t)s->nodes.n + 1);
    for (uint32_t f = 0; f < s->m->fns.n; f++)
        for (uint32_t i = 0; roots->is[f] && i < s->m->fns.at[f]->ninsts; i++) {
            uint32_t node = s->raws.at[s->base[f] + i].node;
            if (node == NO_RAW) continue;
            fixed[node] = true;
            gathers[node] = s->nodes.at[node].bytes;
        }
    for (uint32_t i = 0; i < s->items.n; i++)
        hand_on(s, &s->items.at[i], of, fixed, gathers);
    for (uint32_t raw = 0; raw < s->raws.n; raw++) {
        Raw *r = &s->raws.at[raw];
        if (!of[raw].held || r->n == 0) continue;
        double times = s->items.at[s->args.at[s->uses[r->first]].item].times;
        r->once = of[raw].held;
        r->share = gathers[r->node] / readers_of(s, raw) / (r->bytes * times);
    }
}

/* Items stand as they run, callees where they are called first. */
void held_find(Shard *s, const Roots *roots)
{
    Weight *of = NEW_ARRAY(s->a, Weight, (size_t)s->raws.n + 1);
    const uint32_t *value = values_of(s);
    find_params(s, roots, of);
    for (uint32_t i = 0; i < s->items.n; i++) {
        const Item *it = &s->items.at[i];
        Weight w = {0, 0};
        if (is_handing(it) || makes_weights(it)) w = made_of(s, it, of);
        if (!is_weight(w)) continue;
        if (!is_handing(it)) {
            of[it->raw] = w;
            continue;
        }
        Node *n = &s->nodes.at[it->out];
        if (n->given) continue;
        n->whole |= w.whole;
        n->held |= w.held;
        of[value[it->out] - 1] = w;
        if (w.held) vec_push(s->a, &s->held, value[it->out] - 1);
    }
    for (uint32_t raw = 0; raw < s->raws.n; raw++)
        s->kept[raw] = is_weight(of[raw]);
    share_gathers(s, roots, of);
}

/* -------------------------------------------------------------- settling -- */

static void need_whole(const Solve *x, const Item *it, MeshAxis m)
{
    *where_at(x->s, m, it->out) = WHERE_none;
    for (uint32_t k = 0; k < it->n; k++)
        need_put(x, m, it->first + k, WHERE_none);
}

/* Whether somebody reads it whole, or what is made of it and other weights,
 * which is made whole then. */
static bool is_wanted_whole(const Solve *x, uint32_t raw, MeshAxis m)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    bool wanted = false;
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t arg = s->uses[r->first + k];
        const Item *it = &s->items.at[s->args.at[arg].item];
        bool whole = *need_at(s, m, arg) == WHERE_none;
        if (!whole && !is_handing(it) && s->kept[it->raw] &&
            where_is_axis(*where_at(s, m, it->out)) &&
            is_wanted_whole(x, it->raw, m)) {
            need_whole(x, it, m);
            whole = true;
        }
        wanted |= whole;
    }
    return wanted;
}

bool held_settle(Solve *x)
{
    const Shard *s = x->s;
    bool any = false;
    for (uint32_t i = s->held.n; i-- > 0;) {
        uint32_t raw = s->held.at[i], node = s->raws.at[raw].node;
        for (uint32_t k = 0; k < s->m->mesh.n && k < 64; k++) {
            MeshAxis m = {k};
            if ((s->nodes.at[node].held >> k & 1) &&
                where_is_axis(*where_at(s, m, node)) &&
                is_wanted_whole(x, raw, m)) {
                stir(x, x->into[x->first[node]]);
                place_port(x, node, m, WHERE_none);
                s->nodes.at[node].whole |= UINT64_C(1) << k;
                any = true;
            }
        }
    }
    return any;
}
