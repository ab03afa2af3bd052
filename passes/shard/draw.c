/*
 * draw.c: a layout drawn from all that are legal, instead of the cheapest.
 *
 * Any way of any op means what the op means, so any program that is made of
 * legal ways means what the whole one does.  The search takes few of them, and
 * mostly of one kind; the others are drawn here, so that random checks reach
 * what only another search would choose.
 *
 * Mesh axes are drawn one after the other, each in one sweep from operands to
 * results.  What a rule forces stays: fixed ports are where they are, and an op
 * takes one of the ways that are as near to its rules as any.  Of these the
 * ways are taken that the mesh axis prefers, seven times out of eight where
 * there are such, else any.
 *
 *      draw=N     the layout numbered N (splitmix64)
 *      prefer=P   what all mesh axes prefer; without it each draws its own
 */
#include <math.h>
#include <string.h>

#include "solve.h"

typedef struct Draw {
    Solve *x;
    MeshAxis mesh;
    uint64_t state;
    bool *placed; /* by node */
} Draw;

/* Of an item, when it is as the way says. */
typedef bool Likes(const Draw *d, const Item *it);

static uint64_t draw(Draw *d)
{
    uint64_t x = d->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint32_t draw_below(Draw *d, uint32_t n)
{
    return (uint32_t)((draw(d) >> 32) * n >> 32);
}

/* ---------------------------------------------------------- preferences -- */

static bool likes_any(const Draw *d, const Item *it)
{
    (void)d;
    (void)it;
    return true;
}

static bool likes_pending(const Draw *d, const Item *it)
{
    return where_is_pending(*where_at(d->x->s, d->mesh, it->out));
}

static bool likes_split(const Draw *d, const Item *it)
{
    return is_in_parts(d->x, it, d->mesh);
}

static bool likes_whole(const Draw *d, const Item *it)
{
    const Shard *s = d->x->s;
    bool whole = *where_at(s, d->mesh, it->out) == WHERE_none;
    for (uint32_t k = 0; k < it->n; k++)
        whole &= *need_at(s, d->mesh, it->first + k) == WHERE_none;
    return whole;
}

static bool likes_still(const Draw *d, const Item *it)
{
    const Shard *s = d->x->s;
    bool still = true;
    for (uint32_t k = 0; k < it->n; k++)
        still &= *need_at(s, d->mesh, it->first + k) ==
                 *where_at(s, d->mesh, raw_at(d->x, it->first + k)->node);
    return still;
}

/* near: begins with the layout that costs least, and leaves most of it. */
static const struct Preference {
    const char *name;
    Likes *likes;
    bool near;
} preferences[] = {
    {"any", likes_any, false},     {"pending", likes_pending, false},
    {"whole", likes_whole, false}, {"split", likes_split, false},
    {"still", likes_still, false}, {"near", likes_any, true},
};

enum { NPREFERENCES = sizeof preferences / sizeof *preferences };

/* NULL: there is no such, and an error was reported. */
static const struct Preference *preference_find(Shard *s, const char *name)
{
    Buf names = {0};
    for (uint32_t i = 0; i < NPREFERENCES; i++) {
        if (!strcmp(preferences[i].name, name)) {
            buf_release(&names);
            return &preferences[i];
        }
        buf_printf(&names, "%s%s", i ? ", " : "", preferences[i].name);
    }
    diag_error(s->m->diag, DIAG_pass_option, (Span){0},
               "option 'prefer' is one of %s, found '%s'", names.at, name);
    buf_release(&names);
    return NULL;
}

/* ------------------------------------------------------------- drawing -- */

static void take(Draw *d, uint32_t item, const Way *way)
{
    if (is_port(d->x, item))
        place_port(d->x, d->x->s->items.at[item].out, d->mesh, way->out);
    else
        take_way(d->x, item, d->mesh, way);
}

static bool is_taken(const Draw *d, const Item *it, const Way *way)
{
    const Shard *s = d->x->s;
    bool same = *where_at(s, d->mesh, it->out) == way->out;
    for (uint32_t k = 0; k < it->n; k++)
        same &= *need_at(s, d->mesh, it->first + k) == way->in[k];
    return same;
}

/* Numbers of ways. */
typedef struct Picks {
    uint32_t n, *at;
} Picks;

/* Those that are possible and as near to the rules as any of these. */
static Picks possible_ways(Draw *d, uint32_t item, const Ways *w)
{
    Picks p = {0, NEW_ARRAY(d->x->s->a, uint32_t, w->at.n)};
    double least = INFINITY;
    for (uint32_t i = 0; i < w->at.n; i++) {
        take(d, item, &w->at.at[i]);
        double misses = all_misses(d->x, item);
        if (!item_is_possible(d->x, item) || misses > least) continue;
        if (misses < least) p.n = 0;
        least = misses;
        p.at[p.n++] = i;
    }
    return p;
}

static Picks liked_ways(Draw *d, uint32_t item, const Ways *w, const Picks *all,
                        Likes *likes)
{
    const Item *it = &d->x->s->items.at[item];
    Picks p = {0, NEW_ARRAY(d->x->s->a, uint32_t, all->n + 1)};
    for (uint32_t i = 0; i < all->n; i++) {
        take(d, item, &w->at.at[all->at[i]]);
        if (likes(d, it)) p.at[p.n++] = all->at[i];
    }
    return p;
}

/* KEEP: stays as it is, if that is one of its ways.  False: none is possible.
 */
static bool draw_one(Draw *d, uint32_t item, Likes *likes, bool keep)
{
    const Item *it = &d->x->s->items.at[item];
    ArenaMark mark = arena_mark(d->x->s->a);
    Ways w = item_ways(d->x, item, d->mesh);
    uint32_t was = UINT32_MAX;
    for (uint32_t i = 0; i < w.at.n; i++)
        if (is_taken(d, it, &w.at.at[i])) was = i;
    Picks p = possible_ways(d, item, &w), all = p;
    if (draw_below(d, 8)) p = liked_ways(d, item, &w, &all, likes);
    if (!p.n) p = all;
    uint32_t pick = p.n ? p.at[draw_below(d, p.n)] : 0;
    for (uint32_t i = 0; i < p.n && keep; i++)
        if (p.at[i] == was) pick = was;
    take(d, item, &w.at.at[pick]);
    arena_pop(d->x->s->a, mark);
    return p.n > 0;
}

static void draw_way(Draw *d, uint32_t item, Likes *likes, bool keep)
{
    if (draw_one(d, item, likes, keep)) return;
    item_unpend(d->x, item);
    (void)draw_one(d, item, likes, keep);
}

/* Several hand something over to a port: the first draws for all. */
static void draw_port(Draw *d, uint32_t item, Likes *likes, bool keep)
{
    const Item *it = &d->x->s->items.at[item];
    if (is_fixed(d->x, it->out, d->mesh))
        place_port(d->x, it->out, d->mesh, *pin_at(d->x->s, d->mesh, it->out));
    else if (!d->placed[it->out])
        draw_way(d, item, likes, keep);
    else if (!item_is_possible(d->x, item))
        item_unpend(d->x, item);
    d->placed[it->out] = true;
}

static void draw_mesh(Draw *d, const struct Preference *p)
{
    const Shard *s = d->x->s;
    memset(d->placed, 0, s->nodes.n * sizeof *d->placed);
    for (uint32_t i = 0; i < s->items.n; i++) {
        bool keep = p->near && draw_below(d, 8);
        if (is_port(d->x, i))
            draw_port(d, i, p->likes, keep);
        else
            draw_way(d, i, p->likes, keep);
    }
}

bool shard_draw(Shard *s, int64_t seed, const char *prefer)
{
    uint32_t n = s->order.n;
    const struct Preference **of =
        NEW_ARRAY(s->a, const struct Preference *, (size_t)n + 1);
    bool near = false;
    if (*prefer && !preference_find(s, prefer)) return false;
    Solve x = solve_of(s);
    Draw d = {.x = &x, .state = (uint64_t)seed};
    d.placed = NEW_ARRAY(s->a, bool, (size_t)s->nodes.n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const struct Preference *drawn =
            &preferences[draw_below(&d, NPREFERENCES)];
        of[i] = *prefer ? preference_find(s, prefer) : drawn;
        near |= of[i]->near;
        pass_remark(s->m, s->cx, (Loc){0},
                    "layouts over mesh axis '%s' are drawn: %s",
                    mesh_name(s->m, s->order.at[i]), of[i]->name);
    }
    if (near) shard_solve(s);
    for (uint32_t i = 0; i < n; i++) {
        d.mesh = s->order.at[i];
        draw_mesh(&d, of[i]);
    }
    return true;
}
