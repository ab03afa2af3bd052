/*
 * points.c: the records worth having under a budget.
 *
 * Of one pair each set of values that are made again has its bytes and its
 * time.  With a price for a byte the best set is one cut; raising the price
 * from nothing walks along the lower hull of all sets:
 *
 *     bytes |  none
 *           |     .  wg, wu
 *           |          .   wg, wu, wo
 *           |                .       full
 *           +----------------------------- time
 *
 * A turn may be at any point, so a repeat with some turns at one point and the
 * others at the next lies on the line between them.  Going down the flattest
 * slope first, whatever repeat it belongs to, gives the cheapest way to any
 * sum of bytes.
 *
 * Where the device has a host with memory of its own, each of these sets with a
 * part of its record on the host is one more (move.c).
 *
 * Where turns gather parameters there is another hull, of two points: nothing
 * is made again, with those kept or without.
 *
 * Entries do not run at the same time, so what one of them lacks another does
 * not have to make again: the repeats of each have a limit of their own, up to
 * which that way is gone.  The entry with which steps are repeated that could
 * not be applied, `train.worst`, is in front of the one that all steps have.
 */
#include "remat.h"

#include "../reach.h"

#include <stdlib.h>

/* From one point of a pair to its next, a turn at a time. */
typedef struct Slope {
    uint32_t pair, group, to;
    int64_t turns;
    double price; /* time for a byte */
} Slope;

struct Points {
    Module *m;
    const char *others; /* the rules that are no budget */
    VEC(const Pair *) pairs;
    PointVec *points;          /* by pair */
    double *before;            /* by pair: a turn's time without the budget */
    uint32_t *group;           /* by pair: a number of `entries` */
    VEC(const char *) entries; /* that have pairs; without their ranks */
    int64_t *limits;           /* by group */
    VEC(Slope) slopes;
};

/* How often a step runs what seldom is. */
static const double seldom = 1.0 / 64;

/* --------------------------------------------------------------- points -- */

/* What text can name: matmuls with a parameter, and regions. */
static bool is_listed(Module *m, const Pair *p, uint32_t v)
{
    return inst_of(p->of, (Value){v})->op == OP_call ||
           !value_eq(linear_param(m, p->of, (Value){v}), NO_VALUE);
}

/* Costs with a price: bytes for a nanosecond. */
static int64_t *priced(Module *m, const Pair *p, const double *times,
                       double price)
{
    int64_t *costs = NEW_ARRAY(m->scratch, int64_t, p->of->ninsts + 1);
    for (uint32_t i = 0; i < p->of->ninsts; i++) {
        bool costly = is_costly(p->of, (Value){i});
        if (times[i] > 0) costs[i] = (int64_t)(times[i] * price);
        if (costly && gathered_path(m, p, (Value){i})) continue;
        if (is_late(p, i)) continue;
        if (i < p->of->nparams || (costly && times[i] == 0))
            costs[i] = INT64_MAX;
    }
    return costs;
}

static double time_of(Module *m, const Pair *p, const Record *r)
{
    double time = 0;
    const bool *remade = record_remade(m, p, r);
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++)
        if (remade[i] && !is_late(p, i) && !gathered_path(m, p, (Value){i}))
            time += remake_time(m, p->of, (Value){i});
    return time - gathered_time(m, p, r);
}

static Point point_of(Module *m, const Pair *p, const char *mode,
                      const Record *r)
{
    return (Point){.mode = mode,
                   .record = r,
                   .bytes = (double)r->bytes,
                   .time = time_of(m, p, r)};
}

/* The matmuls and regions that are made again. */
static RematWords remade_names(Module *m, const Pair *p, const Record *r)
{
    VEC(const char *) names = {0};
    const bool *remade = record_remade(m, p, r);
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++)
        if (remade[i] && is_listed(m, p, i))
            vec_push(m->scratch, &names, label_of(m, p, (Value){i}));
    return (RematWords){names.at, names.n};
}

/* What a rule that names them makes of it. */
static Point names_point(Module *m, const Pair *p, RematWords names)
{
    RematRule rule = {.mode = REMAT_remake,
                      .names = names,
                      .named = NEW_ARRAY(m->scratch, bool, names.n + 1)};
    Buf b = {0};
    for (uint32_t i = 0; i < names.n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "remake ", names.at[i]);
    const Record *r = record_cheapest(m, p, policy_costs(m, p, &rule), NULL);
    Point point =
        point_of(m, p, arena_strdup(m->scratch, b.at ? b.at : "none"), r);
    buf_release(&b);
    return point;
}

static Point named_point(Module *m, const Pair *p, const Record *priced_record)
{
    return names_point(m, p, remade_names(m, p, priced_record));
}

typedef struct Walk {
    Module *m;
    const Pair *p;
    const double *times;
    PointVec *out;
} Walk;

/* The points between two, by a price at which both are equally good: what is
 * better there lies between them. */
static void walk_between(Walk *w, Point a, Point b, unsigned depth)
{
    if (depth == 0 || b.time <= a.time || b.bytes >= a.bytes) return;
    double price = (a.bytes - b.bytes) / (b.time - a.time);
    Point c = named_point(
        w->m, w->p,
        record_cheapest(w->m, w->p, priced(w->m, w->p, w->times, price), NULL));
    double line = a.bytes + price * a.time;
    if (c.bytes + price * c.time >= line * (1 - 1e-9)) return;
    walk_between(w, a, c, depth - 1);
    vec_push(w->m->scratch, w->out, c);
    walk_between(w, c, b, depth - 1);
}

static double slope(Point a, Point b)
{
    return (b.time - a.time) / (a.bytes - b.bytes);
}

/* The last point lies above the line to C, not on it: steps that are as good
 * are better small. */
static bool hides(const PointVec *v, Point c)
{
    double to = slope(v->at[v->n - 2], v->at[v->n - 1]);
    return to > slope(v->at[v->n - 1], c) * (1 + 1e-6);
}

/* The next point, on the hull: those before that it hides go. */
static void add_point(Module *m, PointVec *v, Point c)
{
    if (c.bytes >= vec_last(v).bytes) return;
    while (v->n > 1 && hides(v, c))
        v->n--;
    vec_push(m->scratch, v, c);
}

static int by_bytes(const void *a, const void *b)
{
    const Point *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* As it is without a rule. */
static Point first_point(Module *m, const Pair *p)
{
    if (pair_is_early(p)) return point_of(m, p, "early", record_early(m, p));
    Point none = point_of(m, p, "none", record_present(m, p));
    none.time = 0;
    return none;
}

/* What is made again, from nothing to everything. */
static PointVec points_remade(Module *m, const Pair *p)
{
    enum { MOST_DEPTH = 6 };
    double *times = NEW_ARRAY(m->scratch, double, p->of->ninsts + 1);
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++)
        if (is_listed(m, p, i)) times[i] = remake_time(m, p->of, (Value){i});
    PointVec all = {0};
    RematRule full = {.mode = REMAT_full};
    vec_push(m->scratch, &all, first_point(m, p));
    if (pair_is_early(p))
        vec_push(m->scratch, &all,
                 point_of(m, p, "none", record_present(m, p)));
    Point first = vec_last(&all);
    Point last =
        named_point(m, p, record_cheapest(m, p, priced(m, p, times, 0), NULL));
    Walk w = {m, p, times, &all};
    walk_between(&w, first, last, MOST_DEPTH);
    vec_push(m->scratch, &all, last);
    vec_push(m->scratch, &all,
             point_of(m, p, "full",
                      record_cheapest(m, p, policy_costs(m, p, &full), NULL)));
    return all;
}

/* One thing made again, with the rest of the record on the host, may be better
 * than several. */
static void add_single(Module *m, const Pair *p, PointVec *all)
{
    RematWords names = {0};
    for (uint32_t i = 0; i < all->n; i++) {
        RematWords more = remade_names(m, p, all->at[i].record);
        if (more.n > names.n) names = more;
    }
    for (uint32_t i = 0; i < names.n; i++)
        vec_push(m->scratch, all,
                 names_point(m, p, (RematWords){names.at + i, 1}));
}

/* The record of a point with parameters that turns gather. */
static Record *keep_gathered(Module *m, const Pair *p, const Point *of,
                             RematWords params)
{
    RematRule rule = {.gathered = params,
                      .named = NEW_ARRAY(m->scratch, bool, params.n + 1)};
    return record_gathered(m, p, of->record, &rule);
}

/* A point with those that turns gather less often for it; false: none are. */
static bool with_gathered(Module *m, const Pair *p, Point of, Point *out)
{
    const char *param = "param";
    Record *r = keep_gathered(m, p, &of, (RematWords){&param, 1});
    RematWords spared = gathered_spared(m, p, r);
    Buf b = {0};
    if (!spared.n) return false;
    r = keep_gathered(m, p, &of, spared);
    for (uint32_t i = 0; i < spared.n; i++)
        buf_printf(&b, "%s %s", i ? "," : " gathered", spared.at[i]);
    *out = (Point){.record = r, .bytes = (double)r->bytes, .gathered = true};
    out->time = of.time - gathered_time(m, p, r);
    out->mode = arena_printf(m->scratch, "%s%s", of.mode, b.at);
    buf_release(&b);
    return true;
}

static PointVec points_kept(Module *m, const Pair *p)
{
    PointVec hull = {0};
    Point first = first_point(m, p), kept;
    if (with_gathered(m, p, first, &kept)) vec_push(m->scratch, &hull, kept);
    vec_push(m->scratch, &hull, first);
    return hull;
}

static PointVec points_of(Module *m, const Pair *p, bool offload)
{
    PointVec all = points_remade(m, p), hull = {0};
    if (offload) add_single(m, p, &all);
    uint32_t n = all.n;
    vec_push(m->scratch, &hull, all.at[0]);
    for (uint32_t i = 0; offload && i < n; i++)
        points_moved(m, p, all.at[i], &all);
    for (uint32_t i = 0; i < all.n; i++)
        all.at[i].number = i;
    qsort(all.at, all.n, sizeof *all.at, by_bytes);
    for (uint32_t i = 0; i < all.n; i++)
        add_point(m, &hull, all.at[i]);
    return hull;
}

/* ---------------------------------------------------------------- groups -- */

/* The entry that runs a function, whichever rank's. */
static const char *entry_of(Module *m, const Fn *fn)
{
    for (uint32_t e = 0; e < m->fns.n; e++) {
        const Fn *entry = m->fns.at[e];
        if (!entry->entry) continue;
        Roots root = {NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1)};
        root.is[e] = true;
        const bool *reached = fns_reached(m, &root);
        uint32_t rank = 0, f = 0;
        while (f < m->fns.n && m->fns.at[f] != fn)
            f++;
        if (f == m->fns.n || !reached[f]) continue;
        const char *name = str_of(m, entry->name);
        size_t n = fn_rank(m, entry, &rank);
        return n ? arena_strndup(m->scratch, name, n) : name;
    }
    return "";
}

static uint32_t group_of(Points *x, const Pair *p)
{
    const char *entry = entry_of(x->m, p->caller);
    for (uint32_t i = 0; i < x->entries.n; i++)
        if (strcmp(x->entries.at[i], entry) == 0) return i;
    vec_push(x->m->scratch, &x->entries, entry);
    return x->entries.n - 1;
}

static double weight_of(const Points *x, uint32_t pair)
{
    const char *entry = x->entries.at[x->group[pair]];
    const char *dot = strrchr(entry, '.');
    return dot && strcmp(dot, ".worst") == 0 ? seldom : 1;
}

/* A walk over slopes up to a position. */
typedef struct SlopeWalk {
    const Points *x;
    uint32_t next;
    int64_t left;    /* turns of the position */
    int64_t *moved;  /* by group */
    const Slope *at; /* the slope, and how many of its turns are moved */
    int64_t turns;
} SlopeWalk;

static SlopeWalk slopes_to(const Points *x, int64_t position)
{
    return (SlopeWalk){.x = x,
                       .left = position,
                       .moved =
                           NEW_ARRAY(x->m->scratch, int64_t, x->entries.n + 1)};
}

static bool slope_next(SlopeWalk *w)
{
    if (w->next == w->x->slopes.n || w->left <= 0) return false;
    w->at = &w->x->slopes.at[w->next++];
    int64_t *moved = &w->moved[w->at->group];
    int64_t may = w->x->limits[w->at->group] - *moved;
    w->turns = w->left < w->at->turns ? w->left : w->at->turns;
    w->left -= w->turns;
    if (w->turns > may) w->turns = may;
    *moved += w->turns;
    return true;
}

/* --------------------------------------------------------------- slopes -- */

static void add_slopes(Points *x, uint32_t pair)
{
    const PointVec *v = &x->points[pair];
    for (uint32_t i = 1; i < v->n; i++) {
        Slope s = {pair, x->group[pair], i, x->pairs.at[pair]->f.count,
                   weight_of(x, pair) * slope(v->at[i - 1], v->at[i])};
        vec_push(x->m->scratch, &x->slopes, s);
        for (uint32_t k = x->slopes.n - 1; k > 0; k--) {
            Slope *at = &x->slopes.at[k];
            if (at[-1].pair == at[0].pair || at[-1].price <= at[0].price) break;
            Slope swap = at[0];
            at[0] = at[-1];
            at[-1] = swap;
        }
    }
}

static bool is_new(const Points *x, const Pair *p)
{
    for (uint32_t i = 0; i < x->pairs.n; i++)
        if (strcmp(x->pairs.at[i]->path, p->path) == 0) return false;
    return true;
}

/* The budget's rule is the only one for this pair. */
static bool is_free(const RematRules *rules, const Pair *p)
{
    bool budget = false;
    for (uint32_t i = 0; i < rules->at.n; i++) {
        const RematRule *rule = &rules->at.at[i];
        if (!rule_is_for(rule, p)) continue;
        if (rule->mode != REMAT_budget) return false;
        budget = true;
    }
    return budget;
}

/* OFFLOAD: parts of a record may go to the host; KEPT: what turns gather of
 * parameters stays, and nothing is made again. */
static Points *find(Module *m, const Pairs *pairs, const RematRules *rules,
                    bool offload, bool kept)
{
    Points *x = NEW(m->scratch, Points);
    Buf b = {0};
    x->m = m;
    for (uint32_t i = 0; i < rules->at.n; i++)
        if (rules->at.at[i].mode != REMAT_budget)
            buf_printf(&b, "%s; ", rules->at.at[i].text + strlen("remat "));
    x->others = arena_strdup(m->scratch, b.at ? b.at : "");
    buf_release(&b);
    x->points = NEW_ARRAY(m->scratch, PointVec, pairs->at.n + 1);
    x->before = NEW_ARRAY(m->scratch, double, pairs->at.n + 1);
    x->group = NEW_ARRAY(m->scratch, uint32_t, pairs->at.n + 1);
    for (uint32_t i = 0; i < pairs->at.n; i++) {
        const Pair *p = pairs->at.at[i];
        if (!is_free(rules, p) || !is_new(x, p)) continue;
        x->points[x->pairs.n] =
            kept ? points_kept(m, p) : points_of(m, p, offload);
        x->before[x->pairs.n] = first_point(m, p).time;
        x->group[x->pairs.n] = group_of(x, p);
        vec_push(m->scratch, &x->pairs, p);
        add_slopes(x, x->pairs.n - 1);
    }
    x->limits = NEW_ARRAY(m->scratch, int64_t, x->entries.n + 1);
    for (uint32_t i = 0; i < x->entries.n; i++)
        x->limits[i] = INT64_MAX;
    return x;
}

Points *points_find(Module *m, const Pairs *pairs, const RematRules *rules,
                    bool offload)
{
    return find(m, pairs, rules, offload, false);
}

Points *points_gather(Module *m, const Pairs *pairs, const RematRules *rules)
{
    return find(m, pairs, rules, false, true);
}

bool points_any(const Points *x)
{
    return x->pairs.n > 0;
}

uint32_t points_corners(const Points *x)
{
    return x->slopes.n;
}

int64_t points_corner(const Points *x, uint32_t i)
{
    int64_t at = 0;
    for (uint32_t k = 0; k <= i; k++)
        at += x->slopes.at[k].turns;
    return at;
}

uint32_t points_groups(const Points *x)
{
    return x->entries.n;
}

int64_t points_moves(const Points *x, int64_t position, uint32_t group)
{
    SlopeWalk w = slopes_to(x, position);
    while (slope_next(&w)) {
    }
    return w.moved[group];
}

bool points_plain(const Points *x, int64_t position)
{
    SlopeWalk w = slopes_to(x, position);
    while (slope_next(&w))
        if (w.turns > 0 && weight_of(x, w.at->pair) == 1) return false;
    return true;
}

int64_t *points_limits(Points *x)
{
    return x->limits;
}

double points_time(const Points *x, int64_t position)
{
    double time = 0;
    for (uint32_t i = 0; i < x->pairs.n; i++)
        time += weight_of(x, i) * (double)x->pairs.at[i]->f.count *
                (x->points[i].at[0].time - x->before[i]);
    SlopeWalk w = slopes_to(x, position);
    while (slope_next(&w)) {
        const Point *to = &x->points[w.at->pair].at[w.at->to];
        time += weight_of(x, w.at->pair) * (double)w.turns *
                (to[0].time - to[-1].time);
    }
    return time;
}

double points_price(const Points *x, int64_t position)
{
    uint32_t i = 0;
    while (i < x->slopes.n && position > x->slopes.at[i].turns)
        position -= x->slopes.at[i++].turns;
    return i < x->slopes.n && position > 0 ? x->slopes.at[i].price : 0;
}

/* By pair: its point, and how many turns are at the next one already. */
static uint32_t *points_at(const Points *x, int64_t position, int64_t **more)
{
    uint32_t *at = NEW_ARRAY(x->m->scratch, uint32_t, x->pairs.n + 1);
    *more = NEW_ARRAY(x->m->scratch, int64_t, x->pairs.n + 1);
    SlopeWalk w = slopes_to(x, position);
    while (slope_next(&w)) {
        if (w.turns == w.at->turns)
            at[w.at->pair] = w.at->to;
        else if (w.turns > 0)
            (*more)[w.at->pair] = w.turns;
    }
    return at;
}

bool points_gathered(const Points *x, int64_t position)
{
    int64_t *more;
    const uint32_t *at = points_at(x, position, &more);
    for (uint32_t i = 0; i < x->pairs.n; i++) {
        const Point *now = &x->points[i].at[at[i]];
        if (now->gathered || (more[i] && now[1].gathered)) return true;
    }
    return false;
}

static void put_rule(Buf *b, const char *path, const char *mode, int64_t first)
{
    buf_printf(b, "%s%s %s", b->n ? "; " : "", path, mode);
    if (first) buf_printf(b, " first %lld", (long long)first);
}

/* No rule is that as well, where a backward does not quantise. */
static bool is_none(const Point *p)
{
    return strcmp(p->mode, "none") == 0;
}

const char *points_text(const Points *x, int64_t position)
{
    Buf b = {0};
    int64_t *more;
    const uint32_t *at = points_at(x, position, &more);
    for (uint32_t i = 0; i < x->pairs.n; i++) {
        const Point *now = &x->points[i].at[at[i]];
        const char *path = x->pairs.at[i]->path;
        if (more[i]) put_rule(&b, path, now[1].mode, more[i]);
        if (at[i] || !is_none(now)) put_rule(&b, path, now->mode, 0);
    }
    const char *text =
        arena_printf(x->m->scratch, "%s%s", x->others, b.at ? b.at : "");
    buf_release(&b);
    return text;
}
