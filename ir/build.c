/*
 * build.c: the one door through which instructions are emitted.
 *
 * An instruction is tidied and folded, then looked up among the pure ones
 * that are there, and only then appended.  The key of the lookup holds the
 * phase, so a recomputation never merges with the first computation.
 */
#include "build.h"

#include <string.h>

void builder_init(Builder *b, Module *m, Fn *fn)
{
    *b = (Builder){.m = m, .fn = fn, .phase = PHASE_forward};
    map_init(&b->cse, m->scratch);
}

static void *grown(Arena *a, const void *at, uint32_t n, uint32_t cap,
                   size_t size)
{
    void *p = arena_array(a, cap, size);
    if (n) memcpy(p, at, n * size);
    return p;
}

static void reserve(Module *m, Fn *fn, uint32_t nargs)
{
    if (fn->ninsts == fn->cap_insts) {
        uint32_t cap = fn->cap_insts ? fn->cap_insts * 2 : 16;
        fn->insts = grown(m->arena, fn->insts, fn->ninsts, cap, sizeof(Inst));
        fn->names = grown(m->arena, fn->names, fn->ninsts, cap, sizeof(Str));
        fn->cap_insts = cap;
    }
    if (fn->cap_args - fn->nargs < nargs) {
        uint32_t cap = fn->cap_args ? fn->cap_args * 2 : 32;
        while (cap - fn->nargs < nargs)
            cap *= 2;
        fn->args = grown(m->arena, fn->args, fn->nargs, cap, sizeof(Value));
        fn->cap_args = cap;
    }
}

static Value append(Builder *b, const Draft *d)
{
    Fn *fn = b->fn;
    CHECK(d->n <= UINT16_MAX);
    reserve(b->m, fn, d->n);
    fn->insts[fn->ninsts] = (Inst){.op = (uint8_t)d->op,
                                   .phase = (uint8_t)b->phase,
                                   .nargs = (uint16_t)d->n,
                                   .first = fn->nargs,
                                   .type = d->type,
                                   .attr = d->attr,
                                   .loc = b->loc};
    fn->names[fn->ninsts] = (Str){0};
    if (d->n) memcpy(fn->args + fn->nargs, d->args, d->n * sizeof *d->args);
    fn->nargs += d->n;
    return (Value){fn->ninsts++};
}

/* ------------------------------------------------------------- lookup -- */

static uint64_t draft_hash(const Builder *b, const Draft *d)
{
    uint64_t key[] = {d->op, b->phase, d->type.id, d->attr.id, d->n};
    uint64_t h = hash_words(key, sizeof key, 0);
    return d->n ? hash_words(d->args, d->n * sizeof *d->args, h) : h;
}

static bool is_draft(const Builder *b, const Draft *d, uint32_t id)
{
    const Inst *in = &b->fn->insts[id];
    return in->op == d->op && in->phase == b->phase &&
           type_eq(in->type, d->type) && in->attr.id == d->attr.id &&
           in->nargs == d->n &&
           (d->n == 0 ||
            !memcmp(b->fn->args + in->first, d->args, d->n * sizeof *d->args));
}

static Value find_or_append(Builder *b, const Draft *d)
{
    uint64_t h = draft_hash(b, d);
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&b->cse, h, &it, &id); ok;
         ok = map_next(&b->cse, &it, &id))
        if (is_draft(b, d, id)) return (Value){id};
    Value v = append(b, d);
    map_add(&b->cse, h, v.id);
    return v;
}

Value emit(Builder *b, Op op, Type type, Attr attr, const Value *args,
           uint32_t n)
{
    Draft d = {op, type, attr, args, n};
    if (b->no_fold) return append(b, &d);
    if (op == OP_map) tidy_map(b, &d);
    Value v = fold_draft(b, &d);
    if (!value_eq(v, NO_VALUE)) return v;
    if (!(op_info(op)->flags & OPF_PURE)) return append(b, &d);
    return find_or_append(b, &d);
}

/* -------------------------------------------------------------- ports -- */

/* Room for one more: the arrays grow when their length is a power of two. */
static bool is_full(uint32_t n)
{
    return (n & (n - 1)) == 0;
}

Value builder_param(Builder *b, Port port)
{
    Fn *fn = b->fn;
    uint32_t n = fn->nparams;
    if (fn->ninsts != n)
        BUG("a parameter of '%s' comes after an instruction",
            str_of(b->m, fn->name));
    if (is_full(n))
        fn->params =
            grown(b->m->arena, fn->params, n, n ? n * 2 : 1, sizeof(Port));
    fn->params[n] = port;
    Loc loc = b->loc;
    b->loc = port.loc;
    Value v = append(b, &(Draft){.op = OP_arg, .type = port.type});
    b->loc = loc;
    fn->names[v.id] = port.name;
    fn->nparams++;
    return v;
}

void builder_result(Builder *b, Value v, Port port)
{
    Fn *fn = b->fn;
    uint32_t n = fn->nresults;
    if (is_full(n)) {
        uint32_t cap = n ? n * 2 : 1;
        fn->results = grown(b->m->arena, fn->results, n, cap, sizeof(Port));
        fn->result_values =
            grown(b->m->arena, fn->result_values, n, cap, sizeof(Value));
    }
    port.type = value_type(fn, v);
    fn->results[n] = port;
    fn->result_values[n] = v;
    fn->nresults++;
}

void value_set_name(Builder *b, Value v, Str name)
{
    if (!b->fn->names[v.id].id) b->fn->names[v.id] = name;
}
