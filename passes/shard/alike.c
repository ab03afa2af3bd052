/*
 * alike.c: what several ranks of a pipeline make of the same values, each for
 * itself, is made in one layout by all.
 *
 * Norms, and what is made of them, are computed on every rank, of what each has
 * and what the others send it (pipeline/rank.c).  A sum has other bits in
 * another layout, so ranks that choose layouts apart would scale gradients by
 * numbers that differ, and one might leave out a step that another applies.
 *
 *      rank 0                      rank 1
 *      %n = reduce ..              %m = reduce ..
 *      send %n to 1                recv %n from 0
 *      recv %m from 1              send %m to 0
 *      %s = map %n, %m { .. }      %s = map %n, %m { .. }      alike
 *      ret %s                      ret %s
 *
 * Two values are alike that the same op makes of values that are alike, and
 * what is received is alike what was sent.  Of those, what results depend on
 * that several ranks give lies as on the first rank.  It reads what it sends
 * (%n) by way of the layout in which it sends it, as who receives it does.
 */
#include <math.h>
#include <string.h>

#include "solve.h"

typedef struct Find {
    Shard *s;
    uint32_t *class;     /* by raw: plus 1; 0: none yet */
    uint32_t *sent;      /* by node, of a port: the raw that is sent, plus 1 */
    VEC(uint32_t) first; /* by class: the first raw */
    Map classes;         /* by description */
    bool *bound;         /* by raw: it must be the same on all ranks */
} Find;

static uint32_t raw_of(const Shard *s, uint32_t f, Value v)
{
    return s->base[f] + v.id;
}

/* The entry that a rank runs; NULL: it is no rank's function. */
static const char *entry_of(const Shard *s, uint32_t f)
{
    uint32_t rank;
    const Fn *fn = s->m->fns.at[f];
    size_t n = fn_rank(s->m, fn, &rank);
    return n ? arena_strndup(s->a, str_of(s->m, fn->name), n) : NULL;
}

/* --------------------------------------------------------------- classes -- */

static uint32_t class_of(Find *x, uint32_t raw, const char *text)
{
    uint32_t c;
    uint64_t key = module_str(x->s->m, text).id;
    if (map_find(&x->classes, key, &c)) return c + 1;
    vec_push(x->s->a, &x->first, raw);
    map_add(&x->classes, key, x->first.n - 1);
    return x->first.n;
}

static uint32_t class_alone(Find *x, uint32_t raw)
{
    return class_of(x, raw, arena_printf(x->s->a, "%u", raw));
}

static uint32_t class_of_param(Find *x, uint32_t f, uint32_t i)
{
    Shard *s = x->s;
    const Port *p = &s->m->fns.at[f]->params[i];
    const char *path = str_of(s->m, p->path);
    uint32_t raw = s->base[f] + i;
    if (!*path) return class_alone(x, raw);
    return class_of(x, raw,
                    arena_printf(s->a, "%s %u %s", entry_of(s, f),
                                 (unsigned)p->role, path));
}

static bool stands_alone(const Inst *in)
{
    return inst_calls(in) || in->op == OP_proj || in->op == OP_send;
}

/* 0: not all that it is made of has a class yet. */
static uint32_t class_of_made(Find *x, uint32_t f, Value v)
{
    Shard *s = x->s;
    const Fn *fn = s->m->fns.at[f];
    const Inst *in = inst_of(fn, v);
    const char *text =
        arena_printf(s->a, "%s %s %u %u", entry_of(s, f),
                     op_info((Op)in->op)->name, in->attr.id, in->type.id);
    for (uint32_t k = 0; k < in->nargs; k++) {
        uint32_t c = x->class[raw_of(s, f, inst_arg(fn, in, k))];
        if (!c) return 0;
        text = arena_printf(s->a, "%s %u", text, c);
    }
    return class_of(x, raw_of(s, f, v), text);
}

static uint32_t class_of_value(Find *x, uint32_t f, Value v)
{
    Shard *s = x->s;
    const Inst *in = inst_of(s->m->fns.at[f], v);
    if (in->op == OP_arg) return class_of_param(x, f, v.id);
    if (stands_alone(in)) return class_alone(x, raw_of(s, f, v));
    if (in->op != OP_recv) return class_of_made(x, f, v);
    uint32_t from = x->sent[message_port(s, f, v)];
    return from ? x->class[from - 1] : 0;
}

/* Whether another value has a class now. */
static bool classify(Find *x, uint32_t f)
{
    bool more = false;
    for (uint32_t i = 0; i < x->s->m->fns.at[f]->ninsts; i++) {
        uint32_t *c = &x->class[x->s->base[f] + i];
        if (*c) continue;
        *c = class_of_value(x, f, (Value){i});
        more |= *c > 0;
    }
    return more;
}

static void note_sent(Find *x, uint32_t f)
{
    Shard *s = x->s;
    const Fn *fn = s->m->fns.at[f];
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_send) continue;
        uint32_t port = message_port(s, f, (Value){i});
        x->sent[port] = raw_of(s, f, inst_arg(fn, in, 0)) + 1;
    }
}

/* ----------------------------------------------------------------- bound -- */

static bool gives(const Fn *fn, const Port *p)
{
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (fn->results[i].role == p->role &&
            str_eq(fn->results[i].path, p->path))
            return true;
    return false;
}

static bool is_given_twice(const Shard *s, uint32_t f, const Port *p)
{
    uint32_t n = 0;
    const char *entry = entry_of(s, f);
    for (uint32_t g = 0; g < s->m->fns.n; g++) {
        const char *other = entry_of(s, g);
        n += other && !strcmp(other, entry) && gives(s->m->fns.at[g], p);
    }
    return n > 1;
}

/* A function makes it as another one, in front of it or behind it, does. */
static void bind(Find *x, uint32_t f, const bool *several)
{
    Shard *s = x->s;
    const Fn *fn = s->m->fns.at[f];
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (is_given_twice(s, f, &fn->results[i]))
            x->bound[raw_of(s, f, fn->result_values[i])] = true;
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        uint32_t raw = s->base[f] + i;
        if (!x->bound[raw] || stands_alone(in) || in->op == OP_recv ||
            !several[x->class[raw] - 1])
            continue;
        s->alike[raw] = x->first.at[x->class[raw] - 1] + 1;
        for (uint32_t k = 0; k < in->nargs; k++)
            x->bound[raw_of(s, f, inst_arg(fn, in, k))] = true;
    }
}

/* By class: several functions make it.  The first raw is of one that does. */
static bool *find_several(Find *x, const uint32_t *ranks, uint32_t n)
{
    Shard *s = x->s;
    bool *several = NEW_ARRAY(s->a, bool, (size_t)x->first.n + 1);
    uint32_t *maker = NEW_ARRAY(s->a, uint32_t, (size_t)x->first.n + 1);
    for (uint32_t k = 0; k < n; k++) {
        const Fn *fn = s->m->fns.at[ranks[k]];
        for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
            uint32_t c = x->class[s->base[ranks[k]] + i];
            if (!c || stands_alone(&fn->insts[i]) || fn->insts[i].op == OP_recv)
                continue;
            several[c - 1] |= maker[c - 1] && maker[c - 1] != k + 1;
            if (!maker[c - 1]) x->first.at[c - 1] = s->base[ranks[k]] + i;
            if (!maker[c - 1]) maker[c - 1] = k + 1;
        }
    }
    return several;
}

void alike_find(Shard *s)
{
    Find x = {.s = s};
    VEC(uint32_t) ranks = {0};
    for (uint32_t f = 0; f < s->m->fns.n; f++)
        if (entry_of(s, f)) vec_push(s->a, &ranks, f);
    s->alike = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    s->through = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    if (!ranks.n) return;
    x.class = NEW_ARRAY(s->a, uint32_t, (size_t)s->raws.n + 1);
    x.sent = NEW_ARRAY(s->a, uint32_t, (size_t)s->nodes.n + 1);
    x.bound = NEW_ARRAY(s->a, bool, (size_t)s->raws.n + 1);
    map_init(&x.classes, s->a);
    for (uint32_t k = 0; k < ranks.n; k++)
        note_sent(&x, ranks.at[k]);
    for (bool more = true; more;) {
        more = false;
        for (uint32_t k = 0; k < ranks.n; k++)
            more |= classify(&x, ranks.at[k]);
    }
    const bool *several = find_several(&x, ranks.at, ranks.n);
    for (uint32_t k = 0; k < ranks.n; k++)
        bind(&x, ranks.at[k], several);
    for (uint32_t i = s->nodes.n; i-- > 0;)
        if (x.sent[i] && x.bound[x.sent[i] - 1])
            s->through[x.sent[i] - 1] = i + 1;
}

/* -------------------------------------------------------------- agreeing -- */

bool item_is_possible(const Solve *x, uint32_t item)
{
    const Item *it = &x->s->items.at[item];
    for (uint32_t k = 0; k < it->n; k++) {
        Move move = move_of(x, it->first + k);
        if (isinf(move_cost(&move))) return false;
    }
    return true;
}

void item_unpend(Solve *x, uint32_t item)
{
    const Shard *s = x->s;
    const Item *it = &s->items.at[item];
    for (uint32_t i = 0; i < s->order.n; i++) {
        MeshAxis m = s->order.at[i];
        bool pends = where_is_pending(*where_at(s, m, it->out));
        for (uint32_t k = 0; k < it->n; k++)
            pends |= where_is_pending(*need_at(s, m, it->first + k));
        if (pends && is_port(x, item)) place_port(x, it->out, m, WHERE_none);
        if (!pends || is_port(x, item)) continue;
        *where_at(s, m, it->out) = WHERE_none;
        for (uint32_t k = 0; k < it->n; k++)
            *need_at(s, m, it->first + k) = WHERE_none;
    }
}

static void copy_way(Solve *x, uint32_t from, uint32_t to)
{
    const Shard *s = x->s;
    const Item *a = &s->items.at[from], *b = &s->items.at[to];
    for (uint32_t i = 0; i < s->order.n; i++) {
        MeshAxis m = s->order.at[i];
        *where_at(s, m, b->out) = *where_at(s, m, a->out);
        for (uint32_t k = 0; k < a->n; k++)
            *need_at(s, m, b->first + k) = *need_at(s, m, a->first + k);
    }
}

/* Several get it: all in the layout of the first. */
static void place_messages(Solve *x)
{
    const Shard *s = x->s;
    for (uint32_t i = 0; i < s->items.n; i++) {
        const Item *it = &s->items.at[i];
        if (it->raw != NO_RAW || s->nodes.at[it->out].sent == 0) continue;
        uint32_t port = s->through[s->args.at[it->first].raw];
        for (uint32_t k = 0; port && k < s->order.n; k++)
            place_port(x, it->out, s->order.at[k],
                       *where_at(s, s->order.at[k], port - 1));
    }
}

static void copy_all(Solve *x)
{
    const Shard *s = x->s;
    place_messages(x);
    for (uint32_t i = 0; i < s->items.n; i++) {
        uint32_t raw = s->items.at[i].raw;
        if (raw != NO_RAW && s->alike[raw])
            copy_way(x, x->maker[s->alike[raw] - 1], i);
    }
}

void alike_settle(Shard *s)
{
    Solve x = solve_of(s);
    for (bool again = true; again;) {
        again = false;
        copy_all(&x);
        for (uint32_t i = 0; i < s->items.n; i++) {
            uint32_t raw = s->items.at[i].raw;
            if (item_is_possible(&x, i)) continue;
            item_unpend(&x, raw != NO_RAW && s->alike[raw]
                                ? x.maker[s->alike[raw] - 1]
                                : i);
            again = true;
        }
    }
}
