/*
 * solve.c: chooses a way for each op and a place for each port.
 *
 * Where the rules say it, it is as they say.  Else a forward sweep follows the
 * operands, over one mesh axis after another: each op takes the way that moves
 * the fewest bytes to it.  Then each choice is looked at again, with what reads
 * the value, forwards and backwards, for as long as something gets better, and
 * at the end what stands beside each other together (window.c).
 *
 * A value that several want in one form is brought into it once, so a way
 * pays for an operand only when nobody else has it so already, and not for the
 * first steps that others take.
 */
#include <math.h>
#include <string.h>

#include "solve.h"

enum { MOST_SWEEPS = 16, MOST_ROUNDS = 4 };
#define MISS 1e14 /* another place than the rules say */

static Phase phase_at(const Solve *x, uint32_t arg)
{
    return x->s->items.at[x->s->args.at[arg].item].phase;
}

static const Where *wheres_of(const Shard *s, uint32_t node)
{
    return where_at(s, (MeshAxis){0}, node);
}

static const Where *wheres_needed(const Shard *s, uint32_t arg)
{
    return need_at(s, (MeshAxis){0}, arg);
}

static Where made_at(const Solve *x, uint32_t arg, MeshAxis m)
{
    return *where_at(x->s, m, raw_at(x, arg)->node);
}

/* ---------------------------------------------------------------- costs -- */

Move move_of(const Solve *x, uint32_t arg)
{
    const Shard *s = x->s;
    const Raw *r = raw_at(x, arg);
    return (Move){.s = s,
                  .n = x->n,
                  .node = r->node,
                  .from = wheres_of(s, r->node),
                  .to = wheres_needed(s, arg),
                  .bytes = r->bytes,
                  .once = r->once,
                  .share = r->share};
}

double bring_cost(const Solve *x, uint32_t arg)
{
    Move m = move_of(x, arg);
    return x->s->items.at[x->s->args.at[arg].item].times * move_cost(&m);
}

bool same_form(const Solve *x, uint32_t a, uint32_t b, const MeshAxis *but,
               uint32_t n)
{
    const Shard *s = x->s;
    bool same = phase_at(x, a) == phase_at(x, b);
    x->s->looks++;
    for (uint32_t i = 0; i < x->n && same; i++) {
        MeshAxis m = s->order.at[i];
        same =
            *need_at(s, m, a) == *need_at(s, m, b) || mesh_axes_have(but, n, m);
    }
    return same;
}

double share_cost(const Solve *x, uint32_t a, uint32_t b)
{
    if (phase_at(x, a) != phase_at(x, b)) return 0;
    Move of = move_of(x, a), other = move_of(x, b);
    uint32_t steps;
    return x->s->items.at[x->s->args.at[a].item].times *
           moves_share(&of, &other, &steps);
}

/* What is paid for the form of ARG beside those of others: nothing where one of
 * them has it too, and else no first steps that one of them takes.  A form is
 * looked at once, however many have it. */
enum { FORMS = 8 };
typedef struct Beside {
    uint32_t arg;
    bool is_there;
    double shared;
    uint32_t forms[FORMS], n; /* others, each in a form of its own */
} Beside;

static void look_beside(const Solve *x, Beside *b, uint32_t other)
{
    b->is_there |= same_form(x, b->arg, other, NULL, 0);
    if (b->is_there) return;
    for (uint32_t i = 0; i < b->n; i++)
        if (same_form(x, b->forms[i], other, NULL, 0)) return;
    if (b->n < FORMS)
        b->forms[b->n++] = other;
    else
        b->shared = fmax(b->shared, share_cost(x, b->arg, other));
}

static double paid_beside(const Solve *x, const Beside *b)
{
    if (b->is_there) return 0;
    double pays = bring_cost(x, b->arg), shared = b->shared;
    for (uint32_t i = 0; i < b->n && pays > 0; i++)
        shared = fmax(shared, share_cost(x, b->arg, b->forms[i]));
    return pays - shared;
}

/* The others are who is chosen, and the same op or port in front. */
static double operand_cost(const Solve *x, uint32_t arg)
{
    const Shard *s = x->s;
    const Raw *r = raw_at(x, arg);
    uint32_t out = s->items.at[s->args.at[arg].item].out;
    double cost;
    if (wants_operand(x, arg, &cost)) return cost;
    Beside b = {.arg = arg};
    for (uint32_t i = 0; i < r->n && !b.is_there; i++) {
        uint32_t other = s->uses[r->first + i], by = s->args.at[other].item;
        bool before = s->items.at[by].out == out ? other < arg : x->chosen[by];
        if (before) look_beside(x, &b, other);
    }
    return paid_beside(x, &b);
}

double raw_cost(const Solve *x, uint32_t raw)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    double sum = 0;
    if (wants_all(x, raw, &sum)) return sum;
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t arg = s->uses[r->first + i];
        if (!x->chosen[s->args.at[arg].item]) continue;
        Beside b = {.arg = arg};
        for (uint32_t k = 0; k < i && !b.is_there; k++) {
            uint32_t other = s->uses[r->first + k];
            if (x->chosen[s->args.at[other].item]) look_beside(x, &b, other);
        }
        sum += paid_beside(x, &b);
    }
    return sum;
}

bool is_in_parts(const Solve *x, const Item *it, MeshAxis m)
{
    bool split = where_is_axis(*where_at(x->s, m, it->out));
    for (uint32_t k = 0; k < it->n; k++)
        split |= where_is_axis(*need_at(x->s, m, it->first + k));
    return split;
}

bool is_as_ruled(const Solve *x, const Item *it, MeshAxis m)
{
    return *where_at(x->s, m, it->out) == *pin_at(x->s, m, it->out);
}

/* Work is saved where operands come in parts; nobody cuts what is whole to
 * save work, and gathers the result. */
static bool saves_work(const Solve *x, const Item *it, MeshAxis m)
{
    bool parts = is_as_ruled(x, it, m);
    for (uint32_t k = 0; k < it->n; k++)
        parts |= made_at(x, it->first + k, m) != WHERE_none;
    return parts && is_in_parts(x, it, m);
}

double work_cost(const Solve *x, uint32_t item, const MeshAxis *but, uint32_t n)
{
    const Shard *s = x->s;
    const Item *it = &s->items.at[item];
    double work = it->times * x->work[item];
    for (uint32_t i = 0; i < s->order.n && work > 0; i++) {
        MeshAxis m = s->order.at[i];
        if (mesh_axes_have(but, n, m)) continue;
        bool less = i < x->n ? saves_work(x, it, m)
                             : where_is_axis(*where_at(s, m, it->out));
        if (less) work /= (double)mesh_length(s, m);
    }
    return work;
}

/* What is pending may still become what the rules say of gradients.  Rows that
 * are looked up come as the table lies, where that is cheaper than to bring the
 * table: who reads them brings them where they belong. */
static double miss(const Solve *x, const Item *it, MeshAxis m)
{
    Where pin = *pin_at(x->s, m, it->out), where = *where_at(x->s, m, it->out);
    if (pin == WHERE_none || pin == where) return 0;
    bool later = where_is_pending(where) && *used_at(x->s, m, it->out) != pin;
    bool rows = inst_of(it->fn, it->v)->op == OP_gather && where_is_axis(where);
    return later || rows ? 0 : MISS;
}

double all_misses(const Solve *x, uint32_t item)
{
    const Item *it = &x->s->items.at[item];
    double sum = 0;
    for (uint32_t i = 0; i < x->n && it->raw != NO_RAW; i++)
        sum += miss(x, it, x->s->order.at[i]);
    return sum;
}

/* Of that many bytes of a node, what is on one device. */
static double on_device(const Shard *s, uint32_t node, double bytes)
{
    for (uint32_t i = 0; i < s->order.n && bytes > 0; i++)
        if (where_is_axis(*where_at(s, s->order.at[i], node)))
            bytes /= (double)mesh_length(s, s->order.at[i]);
    return bytes;
}

double kept_cost(const Solve *x, uint32_t node)
{
    const Node *n = &x->s->nodes.at[node];
    return on_device(x->s, node, n->kept * KEPT * n->bytes);
}

double sent_cost(const Solve *x, uint32_t node)
{
    const Node *n = &x->s->nodes.at[node];
    return x->s->between * on_device(x->s, node, n->sent * n->bytes);
}

static double operands_cost(const Solve *x, const Item *it)
{
    double sum = 0;
    for (uint32_t k = 0; k < it->n; k++)
        if (x->placed[raw_at(x, it->first + k)->node])
            sum += operand_cost(x, it->first + k);
    return sum;
}

Cost item_cost(const Solve *x, uint32_t item)
{
    const Item *it = &x->s->items.at[item];
    double moved = operands_cost(x, it);
    return (Cost){moved + work_cost(x, item, NULL, 0) + all_misses(x, item),
                  moved};
}

Cost node_cost(const Solve *x, uint32_t node)
{
    double moved = sent_cost(x, node);
    for (uint32_t i = x->seen_first[node]; i < x->seen_first[node + 1]; i++)
        moved += raw_cost(x, x->seen[i]);
    for (uint32_t i = x->first[node]; i < x->first[node + 1]; i++)
        moved += operands_cost(x, &x->s->items.at[x->into[i]]);
    return (Cost){moved + kept_cost(x, node), moved};
}

/* --------------------------------------------------------------- changes -- */

/* A port stands for all that is handed over to it. */
static uint32_t one_of(const Solve *x, uint32_t item)
{
    return is_port(x, item) ? x->into[x->first[x->s->items.at[item].out]]
                            : item;
}

/* Who makes and reads the value. */
static void stir_around(Solve *x, uint32_t raw)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    if (x->maker[raw] != NO_RAW)
        x->stirred[x->maker[raw]] = x->changes;
    else if (x->first[r->node] < x->first[r->node + 1])
        x->stirred[x->into[x->first[r->node]]] = x->changes;
    uint32_t n;
    const uint32_t *ports = wants_ports(x, raw, &n);
    for (uint32_t k = 0; k < n; k++)
        x->stirred[ports[k]] = x->changes;
    if (ports) x->moved[raw] = x->changes;
    x->s->looks += ports ? n : r->n;
    for (uint32_t k = 0; k < r->n && !ports; k++)
        x->stirred[one_of(x, s->args.at[s->uses[r->first + k]].item)] =
            x->changes;
}

uint32_t stirred_at(const Solve *x, uint32_t item)
{
    const Item *it = &x->s->items.at[item];
    uint32_t last = x->stirred[item];
    for (uint32_t k = 0; k < it->n && !is_port(x, item); k++) {
        uint32_t moved = x->moved[x->s->args.at[it->first + k].raw];
        if (moved > last) last = moved;
    }
    return last;
}

void stir(Solve *x, uint32_t item)
{
    const Shard *s = x->s;
    const Item *it = &s->items.at[item];
    uint32_t out = it->out;
    x->changes++;
    for (uint32_t k = 0; k < it->n && !is_port(x, item); k++)
        stir_around(x, s->args.at[it->first + k].raw);
    for (uint32_t i = x->first[out]; i < x->first[out + 1]; i++)
        stir_around(x, s->args.at[s->items.at[x->into[i]].first].raw);
    for (uint32_t i = x->seen_first[out]; i < x->seen_first[out + 1]; i++)
        stir_around(x, x->seen[i]);
}

/* -------------------------------------------------------------- choosing -- */

Ways item_ways(const Solve *x, uint32_t item, MeshAxis m)
{
    const Item *it = &x->s->items.at[item];
    Ways w = {.s = x->s, .m = x->s->m, .it = it, .mesh = m};
    w.in = it->raw == NO_RAW ? NULL : inst_of(it->fn, it->v);
    ways_find(&w);
    return w;
}

void take_way(Solve *x, uint32_t item, MeshAxis m, const Way *way)
{
    const Item *it = &x->s->items.at[item];
    *where_at(x->s, m, it->out) = way->out;
    for (uint32_t k = 0; k < it->n; k++)
        need_put(x, m, it->first + k, way->in[k]);
}

static bool is_way_taken(const Solve *x, const Item *it, MeshAxis m,
                         const Way *way)
{
    bool same = *where_at(x->s, m, it->out) == way->out;
    for (uint32_t k = 0; k < it->n && same; k++)
        same = *need_at(x->s, m, it->first + k) == way->in[k];
    return same;
}

/* Nothing is split that came whole, unless a rule says it. */
static bool begins(const Solve *x, const Item *it, MeshAxis m, const Way *way)
{
    if (!where_is_axis(way->out)) return false;
    for (uint32_t k = 0; k < it->n; k++)
        if (made_at(x, it->first + k, m) != WHERE_none) return false;
    return *pin_at(x->s, m, it->out) != way->out;
}

/* What those do who read what a node makes: less, where it comes in parts. */
static double readers_work(const Solve *x, uint32_t node)
{
    const Shard *s = x->s;
    double sum = 0;
    for (uint32_t i = x->seen_first[node]; i < x->seen_first[node + 1]; i++) {
        const Raw *r = &s->raws.at[x->seen[i]];
        x->s->looks += r->n;
        for (uint32_t k = 0; k < r->n; k++) {
            uint32_t item = s->args.at[s->uses[r->first + k]].item;
            if (!is_port(x, item)) sum += work_cost(x, item, NULL, 0);
        }
    }
    return sum;
}

/* In a trial all read the favoured value in one form, where they can. */
static bool is_against(const Solve *x, const Item *it, const Way *way)
{
    for (uint32_t k = 0; k < it->n; k++)
        if (x->s->args.at[it->first + k].raw == x->favoured &&
            way->in[k] != x->favour)
            return true;
    return false;
}

/* AGAIN: with what reads its value.  Whether it has changed. */
static bool choose(Solve *x, uint32_t item, MeshAxis m, bool again)
{
    const Item *it = &x->s->items.at[item];
    ArenaMark mark = arena_mark(x->s->a);
    Ways w = item_ways(x, item, m);
    uint32_t best = 0, was = UINT32_MAX;
    double least = INFINITY;
    for (uint32_t i = 0; i < w.at.n && again; i++)
        if (is_way_taken(x, it, m, &w.at.at[i])) was = i;
    wants_choose(x, item);
    x->placed[it->out] = true;
    for (uint32_t i = 0; i < w.at.n; i++) {
        if (!again && begins(x, it, m, &w.at.at[i])) continue;
        take_way(x, item, m, &w.at.at[i]);
        double cost = item_cost(x, item).all;
        if (again) cost += node_cost(x, it->out).all + readers_work(x, it->out);
        if (is_against(x, it, &w.at.at[i])) cost += MISS;
        if (!(cost < least * (1 - 1e-15)) && i) continue;
        least = cost;
        best = i;
    }
    take_way(x, item, m, &w.at.at[best]);
    arena_pop(x->s->a, mark);
    return best != was;
}

void choose_again(Solve *x, uint32_t item, MeshAxis m)
{
    (void)choose(x, item, m, true);
}

/* ---------------------------------------------------------------- ports -- */

void place_port(Solve *x, uint32_t node, MeshAxis m, Where where)
{
    *where_at(x->s, m, node) = where;
    for (uint32_t i = x->first[node]; i < x->first[node + 1]; i++)
        need_put(x, m, x->s->items.at[x->into[i]].first, where);
}

bool is_fixed(const Solve *x, uint32_t node, MeshAxis m)
{
    const Node *n = &x->s->nodes.at[node];
    return n->given || (n->whole >> m.id & 1) ||
           *pin_at(x->s, m, node) != WHERE_none;
}

/* As what is handed over first; what is carried is not left pending. */
static void place_first(Solve *x, uint32_t item, MeshAxis m)
{
    const Item *it = &x->s->items.at[item];
    ArenaMark mark = arena_mark(x->s->a);
    Ways w = item_ways(x, item, m);
    Where made = made_at(x, it->first, m), where = WHERE_none;
    for (uint32_t i = 0; i < w.at.n; i++)
        if (w.at.at[i].out == made) where = made;
    if (where_is_pending(where) && x->s->nodes.at[it->out].carried)
        where = WHERE_none;
    arena_pop(x->s->a, mark);
    place_port(x, it->out, m, where);
}

static void place_again(Solve *x, uint32_t node, MeshAxis m)
{
    if (is_fixed(x, node, m) || x->first[node] == x->first[node + 1]) return;
    ArenaMark mark = arena_mark(x->s->a);
    Ways w = item_ways(x, x->into[x->first[node]], m);
    Where was = *where_at(x->s, m, node), best = was;
    double least = node_cost(x, node).all + readers_work(x, node);
    for (uint32_t i = 0; i < w.at.n; i++) {
        place_port(x, node, m, w.at.at[i].out);
        double cost = node_cost(x, node).all + readers_work(x, node);
        if (!(cost < least * (1 - 1e-9))) continue;
        least = cost;
        best = w.at.at[i].out;
    }
    arena_pop(x->s->a, mark);
    if (best != was) stir(x, x->into[x->first[node]]);
    place_port(x, node, m, best);
}

/* --------------------------------------------------------------- sweeps -- */

/* Numbers sorted into rows: all I with row(I) = r lie at first[r]... */
static uint32_t *sorted(Arena *a, const uint32_t *row, uint32_t n,
                        uint32_t nrows, uint32_t **first)
{
    uint32_t *out = NEW_ARRAY(a, uint32_t, (size_t)n + 1);
    uint32_t *at = *first = NEW_ARRAY(a, uint32_t, (size_t)nrows + 2);
    for (uint32_t i = 0; i < n; i++)
        if (row[i] != UINT32_MAX) at[row[i] + 2]++;
    for (uint32_t r = 0; r < nrows; r++)
        at[r + 2] += at[r + 1];
    for (uint32_t i = 0; i < n; i++)
        if (row[i] != UINT32_MAX) out[at[row[i] + 1]++] = i;
    return out;
}

static void index_ports(Solve *x)
{
    const Shard *s = x->s;
    uint32_t *row = NEW_ARRAY(s->a, uint32_t, (size_t)s->items.n + 1);
    for (uint32_t i = 0; i < s->items.n; i++)
        row[i] = is_port(x, i) ? s->items.at[i].out : UINT32_MAX;
    x->into = sorted(s->a, row, s->items.n, s->nodes.n, &x->first);
    row = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    for (uint32_t i = 0; i < s->raws.n; i++)
        row[i] = s->raws.at[i].node;
    x->seen = sorted(s->a, row, s->raws.n, s->nodes.n, &x->seen_first);
}

static void sweep_first(Solve *x, MeshAxis m)
{
    bool *placed = NEW_ARRAY(x->s->a, bool, (size_t)x->s->nodes.n + 1);
    wants_none(x);
    for (uint32_t i = 0; i < x->s->items.n; i++) {
        const Item *it = &x->s->items.at[i];
        if (it->raw != NO_RAW) {
            (void)choose(x, i, m, false);
            continue;
        }
        if (is_fixed(x, it->out, m))
            place_port(x, it->out, m, *pin_at(x->s, m, it->out));
        else if (!placed[it->out])
            place_first(x, i, m);
        placed[it->out] = true;
        wants_choose(x, i);
    }
    x->changes++;
    for (uint32_t i = 0; i < x->s->items.n; i++)
        x->stirred[i] = x->changes;
}

/* What stands as it was looked at, beside what did, stays as it is. */
static void look_again(Solve *x, uint32_t i, MeshAxis m)
{
    uint32_t one = one_of(x, i);
    uint32_t *looked = &x->looked[(size_t)m.id * x->s->items.n + one];
    if (*looked >= stirred_at(x, one)) return;
    if (is_port(x, i))
        place_again(x, x->s->items.at[i].out, m);
    else if (choose(x, i, m, true))
        stir(x, i);
    *looked = x->changes;
}

static void sweep_stirred(Solve *x, MeshAxis m)
{
    uint32_t before = x->changes - 1;
    for (int k = 0; k < MOST_SWEEPS && x->changes != before; k++) {
        before = x->changes;
        for (uint32_t i = 0; i < x->s->items.n; i++)
            look_again(x, i, m);
        for (uint32_t i = x->s->items.n; i-- > 0;)
            look_again(x, i, m);
    }
}

/* For as long as something gets better. */
static void sweep_again(Solve *x, MeshAxis m)
{
    sweep_stirred(x, m);
    for (int k = 0; k < MOST_SWEEPS && together_improve(x, m); k++)
        sweep_stirred(x, m);
}

/* --------------------------------------------------------------- telling -- */

/* Operands that are the first of a value to need it in their form, in their
 * phase: there are few forms, however many operands. */
typedef struct Forms {
    uint32_t *last;   /* by raw: the last of these so far, plus 1; 0: none */
    uint32_t *before; /* by operand: likewise the one in front of it */
} Forms;

static bool needs_form(const Solve *x, uint32_t arg, uint32_t other)
{
    const Shard *s = x->s;
    bool same = true;
    for (uint32_t i = 0; i < s->order.n; i++)
        same &= *need_at(s, s->order.at[i], arg) ==
                *need_at(s, s->order.at[i], other);
    return same;
}

/* How many first steps of what brings an operand others in front of it take:
 * all of them, where one has its form. */
static uint32_t steps_taken(const Solve *x, Forms *f, uint32_t arg)
{
    uint32_t *last = &f->last[x->s->args.at[arg].raw];
    Move of = move_of(x, arg);
    uint32_t most = 0;
    bool known = false;
    for (uint32_t at = *last; at; at = f->before[at - 1]) {
        uint32_t other = at - 1, steps;
        if (phase_at(x, arg) != phase_at(x, other)) continue;
        Move by = move_of(x, other);
        (void)moves_share(&of, &by, &steps);
        if (steps > most) most = steps;
        known |= needs_form(x, arg, other);
    }
    f->before[arg] = *last;
    if (!known) *last = arg + 1;
    return most;
}

/* What a device receives in one step over each mesh axis; nothing counts that
 * is not sent. */
static double *moved_bytes(const Solve *x)
{
    const Shard *s = x->s;
    double *sum = NEW_ARRAY(s->a, double, (size_t)s->m->mesh.n + 1);
    double *one = NEW_ARRAY(s->a, double, (size_t)s->m->mesh.n + 1);
    Forms f = {NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1),
               NEW_ARRAY(s->a, uint32_t, (size_t)s->args.n + 1)};
    for (uint32_t a = 0; a < s->args.n; a++) {
        memset(one, 0, s->m->mesh.n * sizeof *one);
        Move move = move_of(x, a);
        move_bytes(&move, steps_taken(x, &f, a), one);
        for (uint32_t i = 0; i < s->m->mesh.n; i++)
            sum[i] += s->items.at[s->args.at[a].item].times * one[i];
    }
    return sum;
}

static void tell_missed(const Solve *x, MeshAxis m)
{
    const Shard *s = x->s;
    for (uint32_t i = 0; i < s->items.n; i++) {
        const Item *it = &s->items.at[i];
        if (it->raw == NO_RAW || miss(x, it, m) == 0) continue;
        Where pin = *pin_at(s, m, it->out);
        pass_missed(s->m, s->cx, inst_of(it->fn, it->v)->loc,
                    "a value of '%s' is not split along '%s' over '%s': the "
                    "op cannot do its part alone",
                    str_of(s->m, it->fn->name),
                    axis_name(s->m, axis_of_where(pin)), mesh_name(s->m, m));
    }
}

static void tell(const Solve *x)
{
    const Shard *s = x->s;
    bool told = pass_remarks(s->m, s->cx, false);
    double *moved = told ? moved_bytes(x) : NULL;
    for (uint32_t i = 0; i < s->order.n; i++) {
        MeshAxis m = s->order.at[i];
        if (told)
            pass_remark(s->m, s->cx, (Loc){0},
                        "over mesh axis '%s' (%lld) a device receives %.4g MB "
                        "a step",
                        mesh_name(s->m, m), (long long)mesh_length(s, m),
                        moved[m.id] / 1e6);
        if (pass_remarks(s->m, s->cx, true)) tell_missed(x, m);
    }
}

/* --------------------------------------------------------------- solving -- */

Solve solve_of(Shard *s)
{
    links_find(s);
    Solve x = {.s = s, .n = s->order.n, .changes = 1, .favoured = NO_RAW};
    x.work = NEW_ARRAY(s->a, double, (size_t)s->items.n + 1);
    x.chosen = NEW_ARRAY(s->a, bool, (size_t)s->items.n + 1);
    x.placed = NEW_ARRAY(s->a, bool, (size_t)s->nodes.n + 1);
    x.looked = NEW_ARRAY(s->a, uint32_t, (size_t)s->m->mesh.n * s->items.n + 1);
    x.stirred = NEW_ARRAY(s->a, uint32_t, (size_t)s->items.n + 1);
    x.moved = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    x.tried = NEW_ARRAY(s->a, uint32_t,
                        (size_t)s->order.n * s->order.n * s->raws.n + 1);
    x.maker = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    for (uint32_t i = 0; i < s->raws.n; i++)
        x.maker[i] = NO_RAW;
    for (uint32_t i = 0; i < s->items.n; i++) {
        x.work[i] = item_work(s, &s->items.at[i]);
        x.stirred[i] = 1;
        if (!is_port(&x, i)) x.maker[s->items.at[i].raw] = i;
    }
    memset(x.chosen, 1, s->items.n);
    memset(x.placed, 1, s->nodes.n);
    index_ports(&x);
    return x;
}

double solve_moves(const Solve *x)
{
    const Shard *s = x->s;
    double sum = 0;
    for (uint32_t i = 0; i < s->raws.n; i++)
        if (s->raws.at[i].node != NO_RAW) sum += raw_cost(x, i);
    for (uint32_t i = 0; i < s->nodes.n; i++)
        sum += sent_cost(x, i);
    return sum;
}

double solve_cost(const Solve *x)
{
    const Shard *s = x->s;
    double sum = solve_moves(x);
    for (uint32_t i = 0; i < s->items.n; i++)
        sum += work_cost(x, i, NULL, 0) + all_misses(x, i);
    for (uint32_t i = 0; i < s->nodes.n; i++)
        sum += kept_cost(x, i);
    return sum;
}

/* Each mesh axis beside all others. */
static void sweep_all(Solve *x)
{
    uint32_t before = x->changes - 1;
    for (int k = 0; k < MOST_ROUNDS && x->changes != before; k++) {
        before = x->changes;
        for (uint32_t i = 0; i < x->n; i++)
            sweep_again(x, x->s->order.at[i]);
    }
}

static void improve(Solve *x)
{
    for (int k = 0; k < MOST_ROUNDS; k++) {
        sweep_all(x);
        if (!windows_improve(x)) break;
    }
}

void shard_solve(Shard *s)
{
    Solve x = solve_of(s);
    wants_begin(&x);
    for (x.n = 1; x.n <= s->order.n; x.n++) {
        sweep_first(&x, s->order.at[x.n - 1]);
        sweep_again(&x, s->order.at[x.n - 1]);
    }
    x.n = s->order.n;
    improve(&x);
    if (held_settle(&x)) improve(&x);
    tell(&x);
}
