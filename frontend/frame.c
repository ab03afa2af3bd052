/*
 * frame.c: one IR function under construction.
 *
 * What a body needs from outside is found while it is elaborated, so
 * arguments are made wherever they are first needed, and frame_close writes
 * the function anew with its arguments in front and without what no result
 * needs.  A value of an outer frame becomes an argument of every frame on the
 * way in; on its way through a repeat it loses the axis of the repeat, if it
 * has it: it is seen at the present turn.
 *
 * A state written in a frame is one more result of it, and is current in the
 * frame around it afterwards.
 */
#include "sema.h"

Frame *frame_open(Sema *s, FrameKind kind, const char *name, Loc loc)
{
    Frame *f = NEW(s->a, Frame);
    f->up = s->frame;
    f->kind = kind;
    f->fn = fn_new(s->m, fn_fresh_name(s->m, name), VIEW_global);
    f->fn->loc = loc;
    builder_init(&f->b, s->m, f->fn);
    f->b.loc = loc;
    if (f->up) f->b.phase = f->up->b.phase;
    return f;
}

/* Arguments of one type are told apart by an attribute, or they would be
 * merged as equal. */
Value frame_arg(Sema *s, Frame *f, Type t, Str name)
{
    AttrList l = {0};
    attr_put_int(&l, AT_offset, f->nargs++);
    Value v = emit(&f->b, OP_arg, t, attr_intern(s->m, &l), NULL, 0);
    value_set_name(&f->b, v, name);
    return v;
}

static Value capture(Sema *s, Frame *f, Value outer)
{
    for (uint32_t i = 0; i < f->captures.n; i++)
        if (value_eq(f->captures.at[i].outer, outer))
            return f->captures.at[i].inner;
    Type t = value_type(f->up->fn, outer);
    Capture c = {.outer = outer};
    if (f->kind == FRAME_repeat && type_axis(s->m, t, f->axis)) {
        c.stacked = true;
        t = type_without_axis(s->m, t, f->axis);
    }
    c.inner = frame_arg(s, f, t, f->up->fn->names[outer.id]);
    vec_push(s->a, &f->captures, c);
    return c.inner;
}

Value frame_import(Sema *s, Frame *f, Frame *owner, Value v)
{
    if (f == owner) return v;
    if (!f) BUG("a value is used outside the function that makes it");
    return capture(s, f, frame_import(s, f->up, owner, v));
}

/* -------------------------------------------------------------- states -- */

static MemVal *mem_val(Frame *f, const Mem *mem)
{
    for (uint32_t i = 0; i < f->mems.n; i++)
        if (f->mems.at[i].mem == mem) return &f->mems.at[i];
    return NULL;
}

static Value entry_port(Sema *s, Frame *f, Mem *mem)
{
    Port p = {.type = mem->type, .role = mem->role, .path = mem->path};
    p.name = mem->name;
    p.loc = loc_of(s->m, mem->at);
    Value v = frame_arg(s, f, mem->type, mem->name);
    vec_push(s->a, &f->ports, p);
    vec_push(s->a, &f->carried, v);
    return v;
}

static Value first_value(Sema *s, Frame *f, Mem *mem)
{
    if (f->kind != FRAME_entry) return capture(s, f, mem_read(s, f->up, mem));
    if (mem->has_slot) return entry_port(s, f, mem);
    Frame *frame = s->frame;
    s->frame = f;
    Value v = mem_initial(s, mem);
    s->frame = frame;
    return v;
}

Value mem_read(Sema *s, Frame *f, Mem *mem)
{
    MemVal *mv = mem_val(f, mem);
    if (mv) return mv->value;
    MemVal made = {.mem = mem};
    made.value = first_value(s, f, mem);
    vec_push(s->a, &f->mems, made);
    return made.value;
}

Value mem_before(Sema *s, Frame *f, Mem *mem)
{
    for (uint32_t i = 0; i < f->ports.n; i++)
        if (f->ports.at[i].role == mem->role &&
            str_eq(f->ports.at[i].path, mem->path))
            return f->carried.at[i];
    return entry_port(s, f, mem);
}

void mem_write(Sema *s, Frame *f, Mem *mem, Value v)
{
    MemVal *mv = mem_val(f, mem);
    if (!mv) {
        MemVal made = {.mem = mem};
        vec_push(s->a, &f->mems, made);
        mv = &vec_last(&f->mems);
    }
    mv->value = v;
    mv->written = true;
}

/* ------------------------------------------------------------- closing -- */

static bool *mark_needed(Sema *s, const Fn *fn, const Value *results,
                         uint32_t n)
{
    bool *needed = NEW_ARRAY(s->m->scratch, bool, fn->ninsts + 1);
    for (uint32_t i = 0; i < n; i++)
        needed[results[i].id] = true;
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        const Inst *in = &fn->insts[i];
        if (!needed[i]) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            needed[inst_arg(fn, in, k).id] = true;
    }
    return needed;
}

static void copy_inst(Sema *s, Builder *b, const Fn *old, uint32_t i,
                      Value *map)
{
    const Inst *in = &old->insts[i];
    Value *args = NEW_ARRAY(s->m->scratch, Value, in->nargs + 1u);
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = map[inst_arg(old, in, k).id];
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    map[i] = emit(b, (Op)in->op, in->type, in->attr, args, in->nargs);
    value_set_name(b, map[i], old->names[i]);
}

static Value *copy_body(Sema *s, Builder *b, Frame *f, const Value *args,
                        uint32_t nargs, const bool *needed)
{
    const Fn *old = f->fn;
    Value *map = NEW_ARRAY(s->m->scratch, Value, old->ninsts + 1);
    for (uint32_t i = 0; i < nargs; i++) {
        Port p = {.name = old->names[args[i].id]};
        p.type = value_type(old, args[i]);
        if (f->kind == FRAME_entry) p = f->ports.at[i];
        p.loc = p.loc.id ? p.loc : old->loc;
        map[args[i].id] = builder_param(b, p);
    }
    for (uint32_t i = 0; i < old->ninsts; i++)
        if (needed[i] && old->insts[i].op != OP_arg)
            copy_inst(s, b, old, i, map);
    return map;
}

FnRef frame_close(Sema *s, Frame *f, const Value *args, uint32_t nargs,
                  const Value *results, uint32_t nresults)
{
    bool *needed = mark_needed(s, f->fn, results, nresults);
    Fn *fn = fn_new(s->m, f->fn->name, VIEW_global);
    fn->loc = f->fn->loc;
    Builder b;
    builder_init(&b, s->m, fn);
    Value *map = copy_body(s, &b, f, args, nargs, needed);
    for (uint32_t i = 0; i < nresults; i++) {
        Port p = {.name = f->fn->names[results[i].id]};
        p.loc = f->fn->insts[results[i].id].loc;
        builder_result(&b, map[results[i].id], p);
    }
    return module_add_fn(s->m, fn);
}
