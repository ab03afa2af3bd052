/*
 * results.c: what an image says of the tensors that commands write.
 *
 * A row for each float result of a launch: its name, the op that makes it, the
 * place of that op, and where its elements lie, axes that follow each other
 * without a gap as one span.  Who looks for the first value that is not finite
 * walks these; nothing that executes a step reads them.  They end where the
 * update begins: at the first launch that writes a parameter or a state.
 */
#include "image.h"

/* The name that the value has in the program, in its buffer or its group. */
static Str name_of(Module *m, const Fn *fn, Value v, const Fn *group,
                   Value made)
{
    Spot s = spot_of(m, fn, v, m->scratch);
    if (fn->names[v.id].id) return fn->names[v.id];
    if (fn->names[s.root.id].id) return fn->names[s.root.id];
    return group->names[made.id];
}

/* "einsum of wq": the op and the names of up to two values that it reads. */
static const char *op_words(Module *m, const ResultAt *r, const Fn *group,
                            const Inst *by)
{
    if (by->op == OP_arg) return "copy";
    Str names[2] = {0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < by->nargs && n < 2; i++) {
        Value v = inst_arg(group, by, i);
        Str name = group->names[v.id];
        if (v.id < group->nparams)
            name =
                name_of(m, r->fn, inst_arg(r->fn, r->launch, v.id), group, v);
        if (name.id && !(n && str_eq(names[0], name))) names[n++] = name;
    }
    return arena_printf(m->arena, "%s%s%s%s%s", op_info((Op)by->op)->name,
                        n ? " of " : "", n ? str_of(m, names[0]) : "",
                        n > 1 ? ", " : "", n > 1 ? str_of(m, names[1]) : "");
}

static TitanRange add_spans(ImageTables *t, Layout l)
{
    Module *m = t->m;
    TitanRange r = {.first = t->spans.n};
    Axis order[TITAN_MOST_SPANS * 2];
    int64_t bytes = dtype_bytes(type_dtype(m, l.type));
    if (type_info(m, l.type)->naxes > TITAN_MOST_SPANS) return r;
    uint32_t n = layout_order(m, l, order);
    for (uint32_t i = 0; i < n; i++) {
        TitanSpan s = {type_local_size(m, type_axis(m, l.type, order[i])),
                       layout_stride(m, l, order[i]) * bytes};
        bool joins =
            t->spans.n > r.first && vec_last(&t->spans).bytes == s.n * s.bytes;
        if (s.n == 1) continue;
        if (joins) {
            vec_last(&t->spans).n *= s.n;
            vec_last(&t->spans).bytes = s.bytes;
        } else {
            vec_push(t->a, &t->spans, s);
        }
    }
    r.n = t->spans.n - r.first;
    return r;
}

static bool has_row(const Module *m, Type t)
{
    return dtype_class(type_dtype(m, t)) == DC_float &&
           type_info(m, t)->naxes <= TITAN_MOST_SPANS &&
           type_local_elements(m, t) > 0;
}

void image_result(ImageTables *t, const ResultAt *r)
{
    Module *m = t->m;
    const Inst *launch = r->launch;
    const Fn *group = fn_of(m, attr_fn(m, launch->attr, AT_fn));
    Value v = inst_arg(r->fn, launch, group->nparams + r->which);
    Value made = group->result_values[r->which];
    const Inst *by = inst_of(group, made);
    if (!has_row(m, r->layout.type)) return;
    TitanCommand *c = &vec_last(&t->commands);
    if (c->results.n++ == 0) c->results.first = t->results.n;
    Value root = spot_of(m, r->fn, v, m->scratch).root;
    TitanResult row = {.name =
                           image_string(t, name_of(m, r->fn, v, group, made)),
                       .op = image_text(t, op_words(m, r, group, by)),
                       .operand = r->operand,
                       .dtype = type_dtype(m, r->layout.type),
                       .may = infinities_of(&t->infinities, r->fn, root),
                       .phase = launch->phase,
                       .spans = add_spans(t, r->layout)};
    image_line(t, by->loc.id ? by->loc : launch->loc, &row.file, &row.line);
    vec_push(t->a, &t->results, row);
}

/* ---------------------------------------------------------------- update -- */

/* Whether an instruction writes what KEPT says of the function's values. */
static bool writes_kept(Module *m, const Fn *fn, const Inst *in,
                        const bool *kept);

static bool is_kept(Module *m, const Fn *fn, Value v, const bool *kept)
{
    return kept[spot_of(m, fn, v, m->scratch).root.id];
}

static bool loop_writes(Module *m, const Fn *fn, const Inst *in,
                        const bool *kept)
{
    const Fn *body = fn_of(m, attr_fn(m, in->attr, AT_fn));
    bool *inner = NEW_ARRAY(m->scratch, bool, body->ninsts + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        inner[i] = is_kept(m, fn, inst_arg(fn, in, i), kept);
    for (uint32_t i = 0; i < body->ninsts; i++)
        if (writes_kept(m, body, &body->insts[i], inner)) return true;
    return false;
}

static bool writes_kept(Module *m, const Fn *fn, const Inst *in,
                        const bool *kept)
{
    if (in->op == OP_loop) return loop_writes(m, fn, in, kept);
    if (in->op != OP_launch) return false;
    uint32_t outs = (uint32_t)attr_int(m, in->attr, AT_outs, 0);
    for (uint32_t i = in->nargs - outs; i < in->nargs; i++)
        if (is_kept(m, fn, inst_arg(fn, in, i), kept)) return true;
    return false;
}

uint32_t image_update(ImageTables *t, const Fn *entry)
{
    Module *m = t->m;
    bool *kept = NEW_ARRAY(m->scratch, bool, entry->ninsts + 1);
    for (uint32_t i = 0; i < entry->ninsts; i++)
        kept[i] = attr_is(m, entry->insts[i].attr, AT_base,
                          base_name(BASE_persistent));
    for (uint32_t i = 0; i < entry->ninsts; i++)
        if (writes_kept(m, entry, &entry->insts[i], kept)) return i;
    return entry->ninsts;
}
