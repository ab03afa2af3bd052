/*
 * portion.c: long lists of ids are added to a table in portions.
 *
 *   needs    types of what one device holds
 *   keeps    the value of every result, but for the order of sums
 *   result   no scatter that writes rows looks for equal ids among many more
 *            than MOST
 *
 * The kernel of a scatter asks of each id which others are the same
 * (codegen/scatter.c), so its time grows with the square of their number: the
 * tokens of a batch are thousands, those of all devices of a mesh a million.
 *
 *     %d = scatter %ids, %u axis vocab            ids [dp:128, seq:8192]
 *
 * becomes turns over the outermost axis of the ids, or over parts of it, each
 * of which adds its sums to the rows that it names, in place:
 *
 *     %d = repeat zeros, %ids, %u fn @part axis dp
 *     @part(%sum, %ids, %u): %s = scatter %ids, %u axis vocab
 *                            ret map %sum, %s { _0 + _1 }
 *
 * Where the sums are added to another value anyway, turns begin with that.
 * Sums are in the dtype in which a scatter adds, and rounded once.
 */
#include "added.h"
#include "pass.h"
#include "repeat.h"

/* Ids of one turn, at least; a list of twice as many stays as it is. */
enum { MOST = 8192 };

typedef struct Portion {
    Module *m;
    PassCtx *cx;
    Rewrite rw;
    Uses uses;
    /* Of the scatter at hand. */
    const Inst *in;
    Axis axis;     /* of the ids, outermost */
    int64_t size;  /* of it */
    int64_t turns; /* that it is cut into */
    Axis turn;     /* the axis of the repeat */
} Portion;

static Value operand(const Portion *p, uint32_t i)
{
    return inst_arg(p->rw.old, p->in, i);
}

static Type ids_type(const Portion *p)
{
    return value_type(p->rw.old, operand(p, 0));
}

/* Ids among which an equal one is looked for; 0: not in this way. */
static int64_t ids_summed(const Portion *p)
{
    const TypeInfo *t = type_info(p->m, ids_type(p));
    int64_t n = 1;
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!type_axis(p->m, p->in->type, t->axes[i].axis))
            n *= t->axes[i].size;
    bool rows = type_local_elements(p->m, p->in->type) > n;
    bool sorted = attr_flag(p->m, p->in->attr, AT_ascending);
    bool quantised = attr_get(p->m, p->in->attr, AT_recipe) != NULL;
    Axis own = attr_axis(p->m, p->in->attr, AT_axis);
    return rows && !sorted && !quantised && !type_axis(p->m, ids_type(p), own)
               ? n
               : 0;
}

/* The most parts of an axis that leave as many ids as a turn should have. */
static int64_t turns_of(int64_t size, int64_t n)
{
    int64_t turns = size;
    while (turns > 1 && (size % turns != 0 || n / turns < MOST))
        turns--;
    return turns;
}

/* The outermost axis that both operands have, and the result has not. */
static bool find_turns(Portion *p, int64_t n)
{
    const TypeInfo *t = type_info(p->m, ids_type(p));
    Type updates = value_type(p->rw.old, operand(p, 1));
    for (uint32_t i = 0; i < t->naxes; i++) {
        const TypeAxis *x = &t->axes[i];
        if (x->size == 1 || type_axis(p->m, p->in->type, x->axis)) continue;
        if (!type_axis(p->m, updates, x->axis)) return false;
        p->axis = x->axis;
        p->size = x->size;
        p->turns = turns_of(x->size, n);
        return p->turns > 1;
    }
    return false;
}

static bool is_wanted(Portion *p, Value v)
{
    p->in = inst_of(p->rw.old, v);
    if (p->in->op != OP_scatter) return false;
    int64_t n = ids_summed(p);
    return n > 2 * MOST && find_turns(p, n);
}

/* The dtype in which the scatter adds. */
static DType sum_dtype(const Portion *p)
{
    DType d = type_dtype(p->m, p->in->type);
    return attr_dtype(p->m, p->in->attr, AT_acc, dtype_acc(d));
}

/* An operand of the turns: its axis is theirs, or has one in front. */
static Value stacked(Portion *p, uint32_t i)
{
    Value v = rewrite_value(&p->rw, operand(p, i));
    if (p->turns == p->size) return v;
    TypeAxis to[2] = {{.axis = p->turn, .size = p->turns},
                      {.axis = p->axis, .size = p->size / p->turns}};
    return emit_split(&p->rw.b, v, p->axis, to, 2);
}

static Port port_of(const Portion *p, const char *name, Type t)
{
    return (Port){.name = module_str(p->m, name), .type = t, .loc = p->in->loc};
}

/* What one turn does: adds its own to the sums. */
static FnRef turn_fn(Portion *p, Type sums, const Type *of)
{
    Module *m = p->m;
    Fn *fn = fn_new(m, fn_fresh_name(m, "portion"), VIEW_local);
    Builder b;
    fn->loc = p->in->loc;
    builder_init(&b, m, fn);
    b.loc = p->in->loc;
    b.phase = (Phase)p->in->phase;
    Value sum = builder_param(&b, port_of(p, "sum", sums));
    Value args[2];
    args[0] = builder_param(&b, port_of(p, "ids", of[0]));
    args[1] = builder_param(&b, port_of(p, "updates", of[1]));
    builder_param(&b, port_of(p, "turn", type_scalar(m, DT_i32)));
    AttrList l = attr_list(m, p->in->attr);
    attr_drop(&l, AT_acc);
    if (type_dtype(m, of[1]) != type_dtype(m, sums))
        attr_put_int(&l, AT_acc, type_dtype(m, sums));
    Value own = emit(&b, OP_scatter, sums, attr_intern(m, &l), args, 2);
    builder_result(&b, emit_binary(&b, SC_add, sum, own),
                   (Port){.loc = p->in->loc});
    return module_add_fn(m, fn);
}

/* The sums of all turns, added to BASE. */
static Value emit_turns(Portion *p, Value base)
{
    Module *m = p->m;
    Builder *b = &p->rw.b;
    p->turn = p->turns == p->size
                  ? p->axis
                  : axis_fresh(m, axis_name(m, p->axis), p->turns);
    Value args[3] = {base, stacked(p, 0), stacked(p, 1)};
    Type of[2];
    for (uint32_t i = 0; i < 2; i++)
        of[i] = type_without_axis(m, value_type(b->fn, args[i + 1]), p->turn);
    FnRef fn = turn_fn(p, value_type(b->fn, base), of);
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_fn, fn.id);
    attr_put_id(&l, AT_axis, p->turn.id);
    attr_put_int(&l, AT_count, p->turns);
    attr_put_int(&l, AT_carry, 1);
    Type t = repeat_type(m, fn_of(m, fn), 1, p->turn, p->turns);
    return emit_proj(b, emit(b, OP_repeat, t, attr_intern(m, &l), args, 3), 0);
}

static Value zeros(Portion *p, DType d)
{
    const TypeInfo *t = type_info(p->m, p->in->type);
    return emit_map_over(&p->rw.b, expr_float(p->m, d, 0), NULL, 0, t->axes,
                         t->naxes);
}

static void begin(Portion *p, Value v)
{
    const Inst *in = inst_of(p->rw.old, v);
    p->rw.b.loc = in->loc;
    p->rw.b.phase = (Phase)in->phase;
    pass_remark(p->m, p->cx, p->in->loc, "ids are added in %lld turns",
                (long long)p->turns);
}

/* The map is of the dtype of the sums, so turns may add to its other operand.
 */
static bool adds_here(const Portion *p, const Inst *map)
{
    Type t = p->in->type;
    return type_dtype(p->m, t) == sum_dtype(p) && type_eq(map->type, t);
}

/* V adds a scatter to a value, or is one. */
static bool rewrite_turns(Portion *p, Value v)
{
    const Fn *fn = p->rw.old;
    const Inst *map = inst_of(fn, v);
    uint32_t which;
    Value made;
    if (map_adds_scatter(p->m, fn, map, &p->uses, &which) &&
        is_wanted(p, inst_arg(fn, map, which)) && adds_here(p, map)) {
        begin(p, v);
        made = emit_turns(p, rewrite_value(&p->rw, inst_arg(fn, map, !which)));
    } else if (is_wanted(p, v)) {
        begin(p, v);
        made = emit_turns(p, zeros(p, sum_dtype(p)));
        made = emit_cast(&p->rw.b, made, type_dtype(p->m, p->in->type));
    } else {
        return false;
    }
    value_set_name(&p->rw.b, made, fn->names[v.id]);
    rewrite_set(&p->rw, v, made);
    return true;
}

/* The scatter is what a map adds in turns of its own, behind it. */
static bool is_left_to_map(Portion *p, Value v)
{
    const Fn *fn = p->rw.old;
    uint32_t which, first = p->uses.first[v.id];
    if (!is_wanted(p, v) || p->uses.first[v.id + 1] == first) return false;
    const Inst *map = inst_of(fn, p->uses.at[first]);
    return map_adds_scatter(p->m, fn, map, &p->uses, &which) &&
           value_eq(inst_arg(fn, map, which), v) && adds_here(p, map);
}

static Fn *in_portions(Portion *p, const Fn *fn)
{
    rewrite_begin(&p->rw, p->m, fn);
    p->uses = fn_uses(fn, p->m->scratch);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        Value v = {i};
        if (is_left_to_map(p, v)) continue;
        if (!rewrite_turns(p, v)) rewrite_copy(&p->rw, v);
    }
    return rewrite_end(&p->rw);
}

static bool has_any(Portion *p, const Fn *fn)
{
    p->rw.old = fn;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (is_wanted(p, (Value){i})) return true;
    return false;
}

/* Turns may be long still: their functions stand behind those at hand. */
bool pass_portion(Module *m, PassCtx *cx)
{
    Portion p = {.m = m, .cx = cx};
    for (uint32_t i = 0; i < m->fns.n; i++) {
        if (!has_any(&p, m->fns.at[i])) continue;
        Fn *fn = in_portions(&p, m->fns.at[i]);
        m->fns.at[i] = fn;
    }
    return true;
}
