/*
 * solve.c: chooses a way for each op and a place for each port, over one mesh
 * axis.
 *
 * Where the rules say it, it is as they say.  Else a forward sweep follows the
 * operands: each op takes the way that moves the fewest bytes to it.  Then
 * each choice is looked at again, with what reads the value, forwards and
 * backwards, for as long as something gets better.
 *
 * A value that several want in one form is brought into it once, so a way
 * pays for an operand only when nobody else has it so already.
 */
#include <math.h>
#include <string.h>

#include "solve.h"

enum { MOST_SWEEPS = 16, MOST_ROUNDS = 4 };
#define MISS 1e14 /* another place than the rules say */
/* times what it costs, to undo what a rule for all roles says */
#define STRICT 16.0
#define KEPT   0.1 /* of a byte that is kept, against one that is moved */

static Phase phase_at(const Solve *x, uint32_t arg)
{
    return x->s->items.at[x->s->args.at[arg].item].phase;
}

/* ---------------------------------------------------------------- costs -- */

/* What the use of ARG moves over the mesh axes that are decided already, when
 * this one is at NEED: of what is split here they move a part. */
static double others_cost(const Solve *x, uint32_t arg, Where need)
{
    const Shard *s = x->s;
    uint32_t raw = s->args.at[arg].raw, node = s->raws.at[raw].node;
    double sum = 0, n = (double)mesh_length(s, x->mesh);
    bool split = where_is_axis(*where_at(s, x->mesh, node));
    for (uint32_t i = 0; i < x->ndecided; i++) {
        MeshAxis o = x->decided[i];
        double bytes = raw_bytes(s, o, raw) * (split ? n : 1);
        sum += move_cost(s, o, *where_at(s, o, node), *need_at(s, o, arg),
                         where_is_axis(need) ? bytes / n : bytes);
    }
    return sum;
}

/* To bring operand ARG from where it is made to NEED.  What the rules split
 * wherever it is used is taken apart for a good reason only. */
static double bring_cost(const Solve *x, uint32_t arg, Where made, Where need)
{
    const Shard *s = x->s;
    uint32_t raw = s->args.at[arg].raw, node = s->raws.at[raw].node;
    double cost = move_cost(s, x->mesh, made, need, raw_bytes(s, x->mesh, raw));
    bool strict = made != need && where_is_axis(made) &&
                  *used_at(s, x->mesh, node) == made;
    return (strict ? STRICT * cost : cost) + others_cost(x, arg, need);
}

/* Two uses of one value, of which one is at NEED, want it in the same form. */
static bool same_form(const Solve *x, uint32_t arg, Where need, uint32_t other)
{
    const Shard *s = x->s;
    bool same = *need_at(s, x->mesh, other) == need &&
                phase_at(x, other) == phase_at(x, arg);
    for (uint32_t i = 0; i < x->ndecided && same; i++)
        same = *need_at(s, x->decided[i], arg) ==
               *need_at(s, x->decided[i], other);
    return same;
}

/* To have operand ARG as NEED says, when nobody else wants it so. */
static double operand_cost(const Solve *x, uint32_t arg, Where need,
                           double times)
{
    const Shard *s = x->s;
    const Raw *r = raw_at(x, arg);
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t other = s->uses[r->first + i];
        if (other != arg && x->chosen[s->args.at[other].item] &&
            same_form(x, arg, need, other))
            return 0;
    }
    return times * bring_cost(x, arg, made_at(x, arg), need);
}

/* What all who read a value pay when it is made at OUT. */
double readers_cost(const Solve *x, uint32_t raw, Where out)
{
    const Shard *s = x->s;
    const Raw *r = &s->raws.at[raw];
    double sum = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t arg = s->uses[r->first + i];
        Where need = *need_at(s, x->mesh, arg);
        bool again = !x->chosen[s->args.at[arg].item];
        for (uint32_t k = 0; k < i && !again; k++)
            again = same_form(x, arg, need, s->uses[r->first + k]);
        if (!again)
            sum += s->items.at[s->args.at[arg].item].times *
                   bring_cost(x, arg, out, need);
    }
    return sum;
}

/* Work is saved where operands come in parts; nobody cuts what is whole to
 * save work, and gathers the result. */
static bool saves_work(const Solve *x, const Item *it, const Way *way)
{
    bool split = where_is_axis(way->out), parts = false;
    for (uint32_t k = 0; k < it->n; k++) {
        split |= where_is_axis(way->in[k]);
        parts |= made_at(x, it->first + k) != WHERE_none;
    }
    parts |= way->out == *pin_at(x->s, x->mesh, it->out);
    return split && parts;
}

static double work_of_way(const Solve *x, const Item *it, const Way *way)
{
    double work = it->times * item_work(x->s, x->mesh, it);
    bool less = saves_work(x, it, way);
    return less ? work / (double)mesh_length(x->s, x->mesh) : work;
}

double kept_cost(const Solve *x, uint32_t node, Where where)
{
    const Shard *s = x->s;
    double kept = s->nodes.at[node].kept * KEPT;
    if (kept == 0) return 0;
    kept *= node_bytes(s, x->mesh, node);
    return where_is_axis(where) ? kept / (double)mesh_length(s, x->mesh) : kept;
}

/* What is pending may still become what the rules say of gradients.  Rows that
 * are looked up come as the table lies, where that is cheaper than to bring the
 * table: who reads them brings them where they belong. */
static double miss(const Solve *x, const Item *it, Where where)
{
    Where pin = *pin_at(x->s, x->mesh, it->out);
    if (pin == WHERE_none || pin == where) return 0;
    bool later =
        where_is_pending(where) && *used_at(x->s, x->mesh, it->out) != pin;
    bool rows = inst_of(it->fn, it->v)->op == OP_gather && where_is_axis(where);
    return later || rows ? 0 : MISS;
}

static Way way_taken(const Solve *x, const Item *it)
{
    return (Way){*where_at(x->s, x->mesh, it->out),
                 need_at(x->s, x->mesh, it->first)};
}

double item_cost(const Solve *x, const Item *it)
{
    Way way = way_taken(x, it);
    double work = work_of_way(x, it, &way);
    return it->raw == NO_RAW ? work : work + miss(x, it, way.out);
}

static double way_cost(const Solve *x, const Item *it, const Way *way)
{
    double cost = work_of_way(x, it, way) + miss(x, it, way->out);
    for (uint32_t k = 0; k < it->n; k++) {
        bool twice = false;
        for (uint32_t j = 0; j < k; j++)
            twice |= x->s->args.at[it->first + j].raw ==
                         x->s->args.at[it->first + k].raw &&
                     way->in[j] == way->in[k];
        if (!twice)
            cost += operand_cost(x, it->first + k, way->in[k], it->times);
    }
    return cost;
}

/* --------------------------------------------------------------- choosing --
 */

static Ways ways_of(const Solve *x, const Item *it)
{
    Ways w = {.s = x->s, .m = x->s->m, .it = it, .mesh = x->mesh};
    w.in = it->raw == NO_RAW ? NULL : inst_of(it->fn, it->v);
    ways_find(&w);
    return w;
}

static void take(Solve *x, uint32_t item, const Way *way)
{
    const Item *it = &x->s->items.at[item];
    x->chosen[item] = true;
    *where_at(x->s, x->mesh, it->out) = way->out;
    for (uint32_t k = 0; k < it->n; k++)
        *need_at(x->s, x->mesh, it->first + k) = way->in[k];
}

/* Nothing is split that came whole, unless a rule says it. */
static bool begins(const Solve *x, const Item *it, const Way *way)
{
    if (!where_is_axis(way->out)) return false;
    for (uint32_t k = 0; k < it->n; k++)
        if (made_at(x, it->first + k) != WHERE_none) return false;
    return *pin_at(x->s, x->mesh, it->out) != way->out;
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

static void choose(Solve *x, uint32_t item, bool again)
{
    const Item *it = &x->s->items.at[item];
    ArenaMark mark = arena_mark(x->s->a);
    Ways w = ways_of(x, it);
    Where was = *where_at(x->s, x->mesh, it->out);
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t i = 0; i < w.at.n; i++) {
        if (!again && begins(x, it, &w.at.at[i])) continue;
        double cost = way_cost(x, it, &w.at.at[i]);
        if (again) cost += readers_cost(x, it->raw, w.at.at[i].out);
        if (is_against(x, it, &w.at.at[i])) cost += MISS;
        if (!(cost < least * (1 - 1e-15)) && i) continue;
        least = cost;
        best = i;
    }
    bool same = again && was == w.at.at[best].out;
    for (uint32_t k = 0; k < it->n && same; k++)
        same = *need_at(x->s, x->mesh, it->first + k) == w.at.at[best].in[k];
    x->changes += !same;
    take(x, item, &w.at.at[best]);
    arena_pop(x->s->a, mark);
}

Ways item_ways(const Solve *x, uint32_t item)
{
    return ways_of(x, &x->s->items.at[item]);
}

bool is_way_taken(const Solve *x, uint32_t item, const Way *way)
{
    const Item *it = &x->s->items.at[item];
    bool same = *where_at(x->s, x->mesh, it->out) == way->out;
    for (uint32_t k = 0; k < it->n && same; k++)
        same = *need_at(x->s, x->mesh, it->first + k) == way->in[k];
    return same;
}

void choose_way(Solve *x, uint32_t item, const Way *way)
{
    take(x, item, way);
}

void choose_making(Solve *x, uint32_t item, Where where)
{
    const Item *it = &x->s->items.at[item];
    ArenaMark mark = arena_mark(x->s->a);
    Ways w = ways_of(x, it);
    const Way *best = NULL;
    double least = INFINITY;
    for (uint32_t i = 0; i < w.at.n; i++) {
        double cost = way_cost(x, it, &w.at.at[i]);
        if (w.at.at[i].out != where || !(cost < least)) continue;
        least = cost;
        best = &w.at.at[i];
    }
    if (best) take(x, item, best);
    arena_pop(x->s->a, mark);
}

void choose_again(Solve *x, uint32_t item)
{
    choose(x, item, true);
}

/* ---------------------------------------------------------------- ports -- */

static void place(Solve *x, uint32_t node, Where where)
{
    *where_at(x->s, x->mesh, node) = where;
    for (uint32_t i = x->first[node]; i < x->first[node + 1]; i++)
        *need_at(x->s, x->mesh, x->s->items.at[x->into[i]].first) = where;
}

static bool is_fixed(const Solve *x, uint32_t node)
{
    return x->s->nodes.at[node].given || x->s->nodes.at[node].whole ||
           *pin_at(x->s, x->mesh, node) != WHERE_none;
}

/* As what is handed over first; what is carried is not left pending. */
static void place_first(Solve *x, uint32_t item)
{
    const Item *it = &x->s->items.at[item];
    ArenaMark mark = arena_mark(x->s->a);
    Ways w = ways_of(x, it);
    Where made = made_at(x, it->first), where = WHERE_none;
    for (uint32_t i = 0; i < w.at.n; i++)
        if (w.at.at[i].out == made) where = made;
    if (where_is_pending(where) && x->s->nodes.at[it->out].carried)
        where = WHERE_none;
    arena_pop(x->s->a, mark);
    place(x, it->out, where);
}

static double port_cost(const Solve *x, uint32_t node, Where where)
{
    const Shard *s = x->s;
    double cost = kept_cost(x, node, where);
    for (uint32_t i = x->first[node]; i < x->first[node + 1]; i++) {
        const Item *it = &s->items.at[x->into[i]];
        cost += operand_cost(x, it->first, where, it->times);
    }
    for (uint32_t i = x->seen_first[node]; i < x->seen_first[node + 1]; i++)
        cost += readers_cost(x, x->seen[i], where);
    return cost;
}

static void place_again(Solve *x, uint32_t node)
{
    if (is_fixed(x, node) || x->first[node] == x->first[node + 1]) return;
    ArenaMark mark = arena_mark(x->s->a);
    Ways w = ways_of(x, &x->s->items.at[x->into[x->first[node]]]);
    Where was = *where_at(x->s, x->mesh, node), best = was;
    double least = port_cost(x, node, was);
    for (uint32_t i = 0; i < w.at.n; i++) {
        double cost = port_cost(x, node, w.at.at[i].out);
        if (!(cost < least * (1 - 1e-9))) continue;
        least = cost;
        best = w.at.at[i].out;
    }
    arena_pop(x->s->a, mark);
    x->changes += best != was;
    place(x, node, best);
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
        row[i] = s->items.at[i].raw == NO_RAW ? s->items.at[i].out : UINT32_MAX;
    x->into = sorted(s->a, row, s->items.n, s->nodes.n, &x->first);
    row = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    for (uint32_t i = 0; i < s->raws.n; i++)
        row[i] = s->raws.at[i].node;
    x->seen = sorted(s->a, row, s->raws.n, s->nodes.n, &x->seen_first);
}

static void sweep_first(Solve *x)
{
    for (uint32_t i = 0; i < x->s->items.n; i++) {
        const Item *it = &x->s->items.at[i];
        if (it->raw != NO_RAW) {
            choose(x, i, false);
            continue;
        }
        if (is_fixed(x, it->out))
            place(x, it->out, *pin_at(x->s, x->mesh, it->out));
        else if (!x->placed[it->out])
            place_first(x, i);
        x->placed[it->out] = true;
        x->chosen[i] = true;
    }
}

/* A port has an item for each who hands something over; where nothing has
 * changed since it was looked at, it stays as it is. */
static void look_again(Solve *x, uint32_t i)
{
    const Item *it = &x->s->items.at[i];
    uint32_t before = x->changes;
    if (it->raw != NO_RAW) {
        choose(x, i, true);
    } else if (x->looked[it->out] != before + 1) {
        place_again(x, it->out);
        x->looked[it->out] = before + 1;
    }
}

static void sweep_again(Solve *x)
{
    uint32_t before = x->changes - 1;
    for (int k = 0; k < MOST_SWEEPS && x->changes != before; k++) {
        before = x->changes;
        for (uint32_t i = 0; i < x->s->items.n; i++)
            look_again(x, i);
        for (uint32_t i = x->s->items.n; i-- > 0;)
            look_again(x, i);
    }
}

/* --------------------------------------------------------------- telling -- */

/* What a device receives in one step; nothing counts that is not sent. */
static double moved_bytes(const Solve *x)
{
    const Shard *s = x->s;
    double sum = 0, n = (double)mesh_length(s, x->mesh);
    for (uint32_t a = 0; a < s->args.n; a++) {
        const Raw *r = raw_at(x, a);
        const Item *it = &s->items.at[s->args.at[a].item];
        Where made = made_at(x, a), need = *need_at(s, x->mesh, a);
        bool again = made == need || made == WHERE_none;
        for (uint32_t k = 0; k < r->n && s->uses[r->first + k] < a; k++)
            again |= same_form(x, a, need, s->uses[r->first + k]);
        if (again) continue;
        double bytes = raw_bytes(s, x->mesh, s->args.at[a].raw) * (n - 1) / n;
        if (where_is_pending(made) && need == WHERE_none) bytes *= 2;
        if (where_is_axis(made) && where_is_axis(need)) bytes /= n;
        sum += it->times * bytes;
    }
    return sum;
}

static void tell(const Solve *x)
{
    const Shard *s = x->s;
    if (pass_remarks(s->m, s->cx, false))
        pass_remark(s->m, s->cx, (Loc){0},
                    "over mesh axis '%s' (%lld) a device receives %.4g MB a "
                    "step",
                    mesh_name(s->m, x->mesh),
                    (long long)mesh_length(s, x->mesh), moved_bytes(x) / 1e6);
    for (uint32_t i = 0; i < s->items.n && pass_remarks(s->m, s->cx, true);
         i++) {
        const Item *it = &s->items.at[i];
        if (it->raw == NO_RAW) continue;
        Where pin = *pin_at(s, x->mesh, it->out);
        if (miss(x, it, *where_at(s, x->mesh, it->out)) == 0) continue;
        pass_missed(s->m, s->cx, inst_of(it->fn, it->v)->loc,
                    "a value of '%s' is not split along '%s' over '%s': the "
                    "op cannot do its part alone",
                    str_of(s->m, it->fn->name),
                    axis_name(s->m, axis_of_where(pin)),
                    mesh_name(s->m, x->mesh));
    }
}

/* --------------------------------------------------------------- solving --
 */

/* Over a mesh axis, when the first N others are decided. */
static Solve solve_of(Shard *s, uint32_t which, uint32_t n)
{
    Solve x = {.s = s, .mesh = s->order.at[which], .favoured = NO_RAW};
    x.decided = NEW_ARRAY(s->a, MeshAxis, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++)
        if (i != which) x.decided[x.ndecided++] = s->order.at[i];
    x.chosen = NEW_ARRAY(s->a, bool, (size_t)s->items.n + 1);
    x.placed = NEW_ARRAY(s->a, bool, (size_t)s->nodes.n + 1);
    x.looked = NEW_ARRAY(s->a, uint32_t, (size_t)s->nodes.n + 1);
    return x;
}

static Solve solve_of_all(Shard *s, uint32_t which)
{
    return solve_of(s, which, s->order.n);
}

/* What of an item's work is left where each mesh axis saves its part. */
static double work_left(Shard *s, const Item *it)
{
    double work = 0;
    for (uint32_t i = s->order.n; i-- > 0;) {
        Solve x = {.s = s, .mesh = s->order.at[i]};
        Way way = way_taken(&x, it);
        double n = (double)mesh_length(s, x.mesh);
        if (i + 1 == s->order.n)
            work = it->times * item_work(s, x.mesh, it);
        else if (where_is_axis(way.out))
            work *= n; /* of the whole */
        if (saves_work(&x, it, &way)) work /= n;
    }
    return work;
}

double solve_moves(Shard *s)
{
    double sum = 0;
    if (s->order.n == 0) return 0;
    Solve x = solve_of_all(s, s->order.n - 1);
    memset(x.chosen, 1, s->items.n);
    for (uint32_t i = 0; i < s->raws.n; i++) {
        uint32_t node = s->raws.at[i].node;
        if (node != NO_RAW)
            sum += readers_cost(&x, i, *where_at(s, x.mesh, node));
    }
    return sum;
}

double solve_cost(Shard *s)
{
    if (s->order.n == 0) return 0;
    Solve x = solve_of_all(s, s->order.n - 1);
    double sum = solve_moves(s);
    for (uint32_t i = 0; i < s->items.n; i++) {
        const Item *it = &s->items.at[i];
        sum += work_left(s, it);
        for (uint32_t k = 0; k < s->order.n && it->raw != NO_RAW; k++) {
            Solve y = {.s = s, .mesh = s->order.at[k]};
            sum += miss(&y, it, *where_at(s, y.mesh, it->out));
        }
    }
    for (uint32_t i = 0; i < s->nodes.n; i++)
        sum += kept_cost(&x, i, *where_at(s, x.mesh, i));
    return sum;
}

/* For as long as something gets better. */
static void improve(Solve *x)
{
    sweep_again(x);
    for (int k = 0; k < MOST_SWEEPS; k++) {
        if (!choose_together(x) && !choose_chains(x)) break;
        x->changes++;
        sweep_again(x);
    }
}

static void solve_mesh(Shard *s, uint32_t which)
{
    Solve x = solve_of(s, which, which);
    index_ports(&x);
    sweep_first(&x);
    improve(&x);
}

/* Now that the others are decided too. */
static void solve_again(Shard *s, uint32_t which)
{
    Solve x = solve_of_all(s, which);
    index_ports(&x);
    memset(x.chosen, 1, s->items.n);
    improve(&x);
}

/* What is told of each mesh axis is what has become of it. */
static void tell_mesh(Shard *s, uint32_t which)
{
    Solve x = solve_of_all(s, which);
    tell(&x);
}

/* ---------------------------------------------------------------- rounds --
 */

typedef struct Chosen {
    Where *where, *need;
} Chosen;

static size_t count_where(const Shard *s)
{
    return (size_t)s->m->mesh.n * s->nodes.n;
}

static size_t count_need(const Shard *s)
{
    return (size_t)s->m->mesh.n * s->args.n;
}

static void copy_where(Where *to, const Where *from, size_t n)
{
    if (n) memcpy(to, from, n * sizeof *to);
}

static Chosen keep(const Shard *s)
{
    Chosen c = {NEW_ARRAY(s->a, Where, count_where(s) + 1),
                NEW_ARRAY(s->a, Where, count_need(s) + 1)};
    copy_where(c.where, s->where, count_where(s));
    copy_where(c.need, s->need, count_need(s));
    return c;
}

static void restore(Shard *s, const Chosen *c)
{
    copy_where(s->where, c->where, count_where(s));
    copy_where(s->need, c->need, count_need(s));
}

/* What is chosen over one mesh axis was so before the later ones were known. */
static bool round_again(Shard *s)
{
    bool better = false;
    for (uint32_t i = 0; i < s->order.n && s->order.n > 1; i++) {
        Chosen was = keep(s);
        double cost = solve_cost(s), moves = solve_moves(s);
        solve_again(s, i);
        if (solve_cost(s) < cost * (1 - 1e-12) &&
            solve_moves(s) < moves * (1 - 1e-2))
            better = true;
        else
            restore(s, &was);
    }
    return better;
}

void shard_solve(Shard *s)
{
    for (uint32_t i = 0; i < s->order.n; i++)
        solve_mesh(s, i);
    for (int k = 0; k < MOST_ROUNDS && round_again(s);)
        k++;
    for (uint32_t i = 0; i < s->order.n; i++)
        tell_mesh(s, i);
}
