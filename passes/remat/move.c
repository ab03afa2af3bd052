/*
 * move.c: the records of which a part goes to the memory of the host.
 *
 * Transfers run beside compute, so they cost what they take of the machine as
 * long as a turn is longer than they are: the forward's for what goes out, the
 * backward's for what comes in.  What is more is waited for.  The largest
 * values go first, all of a name at once, as a rule says it.
 */
#include "remat.h"

#include <stdlib.h>

/* The part of a transfer's time by which what runs beside it is longer; and the
 * part of a turn that transfers may take, as neither time is sure. */
static const double link_share = 0.01, link_free = 0.92;

typedef struct Named {
    const char *name;
    double bytes;
} Named;

typedef VEC(Named) NamedVec;

static const char *name_of(Module *m, const Pair *p, Value v)
{
    const char *name = label_of(m, p, v);
    if (name) return name;
    Value from = taken_from(p->of, v);
    const Inst *in = inst_of(p->of, from);
    return label_of(m, p, in->op == OP_proj ? inst_arg(p->of, in, 0) : from);
}

static const bool *moved_by(Module *m, const Pair *p, const Record *r,
                            const char *const *names, uint32_t n)
{
    RematRule rule = {.offload = {(const char **)(uintptr_t)names, n},
                      .named = NEW_ARRAY(m->scratch, bool, n + 1)};
    return record_offloaded(m, p, r, &rule);
}

static double bytes_of(Module *m, const Pair *p, const bool *moved)
{
    double bytes = 0;
    for (uint32_t i = 0; moved && i < p->of->ninsts; i++)
        if (moved[i]) bytes += (double)type_bytes(m, p->of->insts[i].type);
    return bytes;
}

static bool is_listed(const NamedVec *v, const char *name)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (strcmp(v->at[i].name, name) == 0) return true;
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    const Named *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static NamedVec names_in(Module *m, const Pair *p, const Record *r)
{
    NamedVec v = {0};
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++) {
        const char *name = r->saved[i] ? name_of(m, p, (Value){i}) : NULL;
        if (!name || is_listed(&v, name)) continue;
        Named one = {name, bytes_of(m, p, moved_by(m, p, r, &name, 1))};
        if (one.bytes > 0) vec_push(m->scratch, &v, one);
    }
    if (v.n) qsort(v.at, v.n, sizeof *v.at, by_bytes);
    return v;
}

/* What transfers may take of a turn of the forward. */
static double turn_time(Module *m, const Pair *p)
{
    double time = 0;
    for (uint32_t i = p->of->nparams; i < p->of->ninsts; i++)
        time += remake_time(m, p->of, (Value){i});
    return link_free * time;
}

static double more_than(double x, double y)
{
    return x > y ? x - y : 0;
}

typedef struct Mover {
    Module *m;
    const Pair *p;
    Point of;
    NamedVec all;
    double forward, backward; /* nanoseconds of a turn */
    PointVec *out;
} Mover;

static void add_point(Mover *x, const char **names, uint32_t n)
{
    Buf b = {0};
    buf_printf(&b, "%s offload", x->of.mode);
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&b, "%s %s", i ? "," : "", names[i]);
    const bool *moved = moved_by(x->m, x->p, x->of.record, names, n);
    double bytes = bytes_of(x->m, x->p, moved), time = link_time(bytes);
    Point point = x->of;
    point.mode = arena_strdup(x->m->scratch, b.at);
    point.bytes -= bytes;
    point.time += link_share * time + more_than(time, x->forward) +
                  more_than(time, x->backward);
    vec_push(x->m->scratch, x->out, point);
    buf_release(&b);
}

/* The largest first; `hidden`: as long as a turn hides them. */
static void add_points(Mover *x, bool hidden)
{
    const char **names = NEW_ARRAY(x->m->scratch, const char *, x->all.n + 1);
    double bytes = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->all.n; i++) {
        const Named *next = &x->all.at[i];
        if (hidden && link_time(bytes + next->bytes) > x->forward) continue;
        bytes += next->bytes;
        names[n++] = next->name;
        add_point(x, names, n);
    }
}

void points_moved(Module *m, const Pair *p, Point of, PointVec *out)
{
    Mover x = {m, p, of, names_in(m, p, of.record), turn_time(m, p), 0, out};
    x.backward = 2 * x.forward + link_free * of.time;
    add_points(&x, true);
    add_points(&x, false);
}
