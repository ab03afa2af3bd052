/*
 * states.c: the optimizer's states that a budget may keep in the memory of the
 * host.
 *
 * An update reads and writes each state once, so the states of any parameter
 * take the same time for a byte: that of the link.  The smallest go first, as
 * then the fewest bytes go beyond what a budget lacks.  What is small beside
 * the largest stays, since an update works on it in the memory of the host.
 */
#include "remat.h"

#include <math.h>
#include <stdlib.h>

/* The states of one parameter. */
typedef struct Owned {
    const char *param; /* its path */
    double bytes;
    uint32_t number;
} Owned;

struct States {
    Module *m;
    VEC(Owned) at;
};

static const char *whole_path(const Module *m, const Slot *s)
{
    return str_of(m, s->whole.id ? s->whole : s->path);
}

/* Of a slot that stages have parts of: what one has, on average. */
static double bytes_of(const Module *m, const Slot *s)
{
    double bytes = (double)type_bytes(m, s->type);
    if (!s->whole.id) return bytes;
    return bytes * (double)type_axis(m, s->type, s->along)->size /
           (double)s->total;
}

/* Whether S is a state of the parameter, "wq.m" of "wq", and on the device. */
static bool is_state_of(const Module *m, const Slot *s, const char *param)
{
    const char *path = whole_path(m, s);
    size_t n = strlen(param);
    return s->role == ROLE_state && s->saved && !s->host &&
           strncmp(path, param, n) == 0 && path[n] == '.' &&
           !strchr(path + n + 1, '.');
}

static bool is_listed(const States *x, const char *param)
{
    for (uint32_t i = 0; i < x->at.n; i++)
        if (strcmp(x->at.at[i].param, param) == 0) return true;
    return false;
}

static void add_states(States *x, const char *param)
{
    Owned o = {.param = param, .number = x->at.n};
    for (uint32_t i = 0; i < x->m->slots.n; i++) {
        const Slot *s = &x->m->slots.at[i];
        if (is_state_of(x->m, s, param)) o.bytes += bytes_of(x->m, s);
    }
    vec_push(x->m->scratch, &x->at, o);
}

static int by_bytes(const void *a, const void *b)
{
    const Owned *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

States *states_find(Module *m, bool offload)
{
    enum { SMALL = 64 };
    States *x = NEW(m->scratch, States);
    x->m = m;
    for (uint32_t i = 0; offload && i < m->slots.n; i++) {
        const Slot *s = &m->slots.at[i];
        const char *param = whole_path(m, s);
        if (s->role == ROLE_param && !is_listed(x, param)) add_states(x, param);
    }
    if (!x->at.n) return x;
    qsort(x->at.at, x->at.n, sizeof *x->at.at, by_bytes);
    double least = fmax(vec_last(&x->at).bytes / SMALL, 1);
    while (x->at.n && x->at.at->bytes < least) {
        x->at.at++;
        x->at.n--;
    }
    return x;
}

uint32_t states_count(const States *x)
{
    return x->at.n;
}

double states_bytes(const States *x, uint32_t n)
{
    double bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += x->at.at[i].bytes;
    return bytes;
}

void states_move(const States *x, Module *m, uint32_t n)
{
    for (uint32_t i = 0; i < m->slots.n; i++)
        for (uint32_t k = 0; k < n; k++)
            if (is_state_of(m, &m->slots.at[i], x->at.at[k].param))
                m->slots.at[i].host = true;
}

const char *states_text(const States *x, uint32_t n)
{
    Buf b = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "offload state to host in ",
                   x->at.at[i].param);
    const char *text = arena_strdup(x->m->scratch, b.at ? b.at : "");
    buf_release(&b);
    return text;
}
