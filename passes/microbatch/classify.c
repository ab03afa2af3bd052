/*
 * classify.c: what each value is to the rows of the batch.
 *
 * One forward sweep.  An op that names the row axis mixes rows, but for the
 * sums over it, which make a part; parts pass through what is linear in them;
 * merge, split and rename move the rows to another axis, of which the batch
 * is the outer part.  Calls and repeats are looked into, a repeat until the
 * classes of its carried values stay.
 */
#include "microbatch.h"

static const Class same = {.kind = CLASS_same};

static Class row_of(Axis a)
{
    return (Class){.kind = CLASS_row, .axis = a};
}

static Class part_of(Joint j)
{
    return (Class){.kind = CLASS_part, .joint = j};
}

static Class late(void)
{
    return (Class){.kind = CLASS_late};
}

static Class fault(const Micro *mi, Loc loc, const char *why)
{
    Fault *f = NEW(mi->m->scratch, Fault);
    *f = (Fault){.loc = loc, .why = why};
    return (Class){.kind = CLASS_late, .fault = f};
}

static bool class_eq(Class a, Class b)
{
    return a.kind == b.kind && a.zero == b.zero &&
           (a.kind != CLASS_row || a.axis.id == b.axis.id) &&
           (a.kind != CLASS_part || a.joint == b.joint);
}

/* ------------------------------------------------------------- operands -- */

Class operand_class(const Micro *mi, const Classes *c, const Inst *in,
                    uint32_t i)
{
    Value v = inst_arg(c->fn, in, i);
    Class k = c->at[c->first[v.id]];
    if (k.kind != CLASS_same ||
        type_size(mi->m, value_type(c->fn, v), mi->batch) != mi->size)
        return k;
    if (c->top) return row_of(mi->batch);
    return fault(mi, in->loc,
                 "the whole batch is made inside a repeat or call");
}

/* What an instruction reads, all operands together. */
typedef struct Reads {
    bool row, part, late, sums; /* sums: every part is a sum */
    bool axes;                  /* rows along more than one axis */
    Axis axis;                  /* row */
    const Fault *fault;
    Loc sum; /* of the first part or late operand */
} Reads;

static Reads reads_of(const Micro *mi, const Classes *c, const Inst *in)
{
    Reads r = {.sums = true};
    for (uint32_t i = 0; i < in->nargs; i++) {
        Class k = operand_class(mi, c, in, i);
        if (k.kind == CLASS_row) {
            r.axes = r.axes || (r.row && r.axis.id != k.axis.id);
            r.row = true;
            r.axis = k.axis;
        }
        r.part = r.part || k.kind == CLASS_part;
        r.sums = r.sums && (k.kind != CLASS_part || k.joint == JOINT_sum);
        r.late = r.late || k.kind == CLASS_late;
        if (!r.fault) r.fault = k.fault;
        if (!r.sum.id) r.sum = k.sum;
    }
    return r;
}

static Class mixed(const Micro *mi, const Inst *in, const Reads *r)
{
    Fault *f = NEW(mi->m->scratch, Fault);
    *f = (Fault){in->loc,
                 "reads rows of the batch and what is made from sums over it",
                 r->sum};
    return (Class){.kind = CLASS_late, .fault = f};
}

static bool has_batch(const Micro *mi, Type t)
{
    return type_size(mi->m, t, mi->batch) == mi->size;
}

bool inst_row_axis(const Micro *mi, const Classes *c, Value v, Axis *out)
{
    const Inst *in = inst_of(c->fn, v);
    Reads r = reads_of(mi, c, in);
    *out = r.row ? r.axis : mi->batch;
    return r.row || c->at[c->first[v.id]].kind == CLASS_row;
}

/* ----------------------------------------------------------------- maps -- */

static bool is_zero_map(const Micro *mi, const Inst *in)
{
    const ExprInfo *x = expr_info(mi->m, attr_expr(mi->m, in->attr));
    if (x->op != SC_const) return false;
    return dtype_class((DType)x->dtype) == DC_float ? x->f == 0 : x->i == 0;
}

/* Operands are sums, or do not depend on the rows; 0 is a sum as well. */
static bool is_linear_map(const Micro *mi, const Classes *c, const Inst *in)
{
    bool *marked = NEW_ARRAY(mi->m->scratch, bool, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Class k = operand_class(mi, c, in, i);
        marked[i] = k.kind == CLASS_part || k.zero;
    }
    Expr body = attr_expr(mi->m, in->attr);
    return expr_degree(mi->m, body, marked) == DEGREE_linear;
}

static Class map_class(const Micro *mi, const Classes *c, const Inst *in,
                       const Reads *r)
{
    if (r->row) return row_of(r->axis);
    if (r->part) {
        bool linear = r->sums && is_linear_map(mi, c, in);
        return linear ? part_of(JOINT_sum) : late();
    }
    if (has_batch(mi, in->type)) return row_of(mi->batch);
    return (Class){.kind = CLASS_same, .zero = is_zero_map(mi, in)};
}

/* ----------------------------------------------------------------- sums -- */

static Joint reduce_joint(const Micro *mi, const Inst *in)
{
    if (attr_is(mi->m, in->attr, AT_kind, "max")) return JOINT_max;
    if (attr_is(mi->m, in->attr, AT_kind, "min")) return JOINT_min;
    if (attr_is(mi->m, in->attr, AT_kind, "prod")) return JOINT_prod;
    return JOINT_sum;
}

static Class reduce_class(const Micro *mi, const Classes *c, const Inst *in,
                          const Reads *r)
{
    Joint j = reduce_joint(mi, in);
    if (r->row)
        return attr_names_axis(mi->m, in->attr, r->axis) ? part_of(j)
                                                         : row_of(r->axis);
    if (!r->part) return same;
    return operand_class(mi, c, in, 0).joint == j ? part_of(j) : late();
}

static Class einsum_class(const Micro *mi, const Classes *c, const Inst *in,
                          const Reads *r)
{
    if (r->row)
        return attr_names_axis(mi->m, in->attr, r->axis) ? part_of(JOINT_sum)
                                                         : row_of(r->axis);
    if (!r->part) return same;
    bool both =
        operand_class(mi, c, in, 0).kind == operand_class(mi, c, in, 1).kind;
    return r->sums && !both ? part_of(JOINT_sum) : late();
}

/* Operand `data` is moved to or from where the other operand says. */
static Class indexed_class(const Micro *mi, const Classes *c, const Inst *in,
                           const Reads *r, uint32_t data)
{
    if (r->row) {
        if (attr_names_axis(mi->m, in->attr, r->axis))
            return fault(mi, in->loc, "chooses among the rows of the batch");
        bool kept = type_axis(mi->m, in->type, r->axis) != NULL;
        return kept ? row_of(r->axis) : part_of(JOINT_sum);
    }
    if (!r->part) return same;
    Class k = operand_class(mi, c, in, data);
    Class at = operand_class(mi, c, in, 1 - data);
    bool linear = k.kind == CLASS_part && at.kind == CLASS_same && r->sums;
    return linear ? part_of(JOINT_sum) : late();
}

/* ---------------------------------------------------------------- moves -- */

static const Axis *axes_attr(const Micro *mi, const Inst *in, AttrKey k,
                             uint32_t *n)
{
    const AttrItem *item = attr_get(mi->m, in->attr, k);
    *n = item ? item->n : 0;
    return item ? item->axes : NULL;
}

static Class rename_row(const Micro *mi, const Inst *in, Axis row)
{
    uint32_t n;
    const Axis *from = axes_attr(mi, in, AT_from, &n);
    const Axis *to = axes_attr(mi, in, AT_to, &n);
    for (uint32_t i = 0; i < n; i++)
        if (from[i].id == row.id) return row_of(to[i]);
    return row_of(row);
}

static Class split_row(const Micro *mi, const Inst *in, Axis row)
{
    uint32_t n;
    const Axis *to = axes_attr(mi, in, AT_to, &n);
    if (attr_axis(mi->m, in->attr, AT_axis).id != row.id) return row_of(row);
    if (type_size(mi->m, in->type, to[0]) % mi->parts == 0)
        return row_of(to[0]);
    return fault(mi, in->loc, "splits the batch into parts that do not divide");
}

static Class merge_row(const Micro *mi, const Inst *in, Axis row)
{
    uint32_t n;
    const Axis *from = axes_attr(mi, in, AT_from, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (from[i].id != row.id) continue;
        if (i == 0) return row_of(attr_axis(mi->m, in->attr, AT_axis));
        return fault(mi, in->loc, "merges the batch as an inner part");
    }
    return row_of(row);
}

/* Rows under ops that treat their operands alike. */
static Class moved_row(const Micro *mi, const Inst *in, Axis row)
{
    switch ((Op)in->op) {
    case OP_rename:
        return rename_row(mi, in, row);
    case OP_split:
        return split_row(mi, in, row);
    case OP_merge:
        return merge_row(mi, in, row);
    default:
        break;
    }
    if (attr_names_axis(mi->m, in->attr, row))
        return fault(mi, in->loc, "works along the batch");
    if (!type_axis(mi->m, in->type, row))
        return fault(mi, in->loc, "puts rows of the batch together");
    return row_of(row);
}

static Class moved_class(const Micro *mi, const Classes *c, const Inst *in,
                         const Reads *r)
{
    if (r->row) return moved_row(mi, in, r->axis);
    Class k = in->nargs ? operand_class(mi, c, in, 0) : same;
    if (!r->part) return (Class){.kind = CLASS_same, .zero = k.zero};
    uint32_t flags = op_info((Op)in->op)->flags;
    if (in->nargs == 1 && (flags & OPF_FREE)) return k;
    bool linear = (flags & OPF_LINEAR) && r->sums;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Class x = operand_class(mi, c, in, i);
        linear = linear && (x.kind == CLASS_part || x.zero);
    }
    return linear ? part_of(JOINT_sum) : late();
}

/* ---------------------------------------------------------------- calls -- */

static const Fn *callee_of(const Micro *mi, const Inst *in, AttrKey k)
{
    return fn_of(mi->m, attr_fn(mi->m, in->attr, k));
}

static Class result_class(const Classes *c, uint32_t i)
{
    return c->at[c->first[c->fn->result_values[i].id]];
}

/* What a carried value is, that is `a` before a turn and `b` after it. */
static Class carried_class(const Micro *mi, const Inst *in, Class a, Class b)
{
    Class sum = {.kind = CLASS_part, .joint = JOINT_sum};
    if (a.kind == CLASS_late) return a;
    if (b.kind == CLASS_late) return b;
    if (a.kind == CLASS_same && b.kind == CLASS_same)
        return (Class){.kind = CLASS_same, .zero = a.zero && b.zero};
    if (class_eq(a, b)) return a;
    bool zeros = (a.zero || class_eq(a, sum)) && (b.zero || class_eq(b, sum));
    if (zeros) return sum;
    return fault(mi, in->loc,
                 "carries a value that is a sum over the batch in some turns "
                 "only");
}

Class *callee_params(Micro *mi, const Classes *c, const Inst *in)
{
    const Fn *fn = callee_of(mi, in, AT_fn);
    Class *params = NEW_ARRAY(mi->m->scratch, Class, fn->nparams + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        params[i] = operand_class(mi, c, in, i);
    uint32_t carry = (uint32_t)attr_int(mi->m, in->attr, AT_carry, 0);
    for (bool changed = in->op == OP_repeat; changed;) {
        Classes body = classify(mi, fn, params);
        changed = false;
        for (uint32_t i = 0; i < carry; i++) {
            Class k = carried_class(mi, in, params[i], result_class(&body, i));
            changed = changed || !class_eq(k, params[i]);
            params[i] = k;
        }
    }
    return params;
}

static bool depends_while(Micro *mi, const Inst *in, const Class *params)
{
    if (!attr_get(mi->m, in->attr, AT_while)) return false;
    Classes cond = classify(mi, callee_of(mi, in, AT_while), params);
    return result_class(&cond, 0).kind != CLASS_same;
}

/* Fields of a call that no turn can make whole: the call comes later as a
 * whole, or nowhere. */
static Class spoiled(const Micro *mi, const Classes *c, const Inst *in,
                     const Class *cells, uint32_t n, bool cond)
{
    Reads r = reads_of(mi, c, in);
    if (cond)
        return fault(mi, in->loc, "runs while a condition on the batch holds");
    for (uint32_t i = 0; i < n; i++)
        if (cells[i].fault) return cells[i];
    if (r.fault) return (Class){.kind = CLASS_late, .fault = r.fault};
    return r.row ? mixed(mi, in, &r) : late();
}

static void call_classes(Micro *mi, const Classes *c, const Inst *in,
                         Class *cells)
{
    const Fn *fn = callee_of(mi, in, AT_fn);
    const Class *params = callee_params(mi, c, in);
    Classes body = classify(mi, fn, params);
    Reads r = reads_of(mi, c, in);
    bool cond = depends_while(mi, in, params);
    bool bad = cond || r.late || (c->top && r.part && !r.row);
    uint32_t carry = (uint32_t)attr_int(mi->m, in->attr, AT_carry, 0);
    for (uint32_t i = 0; i < fn->nresults; i++) {
        cells[i] = i < carry ? params[i] : result_class(&body, i);
        cells[i].zero = false;
        bad = bad || cells[i].kind == CLASS_late;
    }
    if (!bad) return;
    Class k = spoiled(mi, c, in, cells, fn->nresults, cond);
    for (uint32_t i = 0; i < fn->nresults; i++)
        cells[i] = k;
}

/* ---------------------------------------------------------------- sweep -- */

static Class op_class(const Micro *mi, const Classes *c, const Inst *in,
                      const Reads *r)
{
    switch ((Op)in->op) {
    case OP_map:
        return map_class(mi, c, in, r);
    case OP_reduce:
        return reduce_class(mi, c, in, r);
    case OP_einsum:
        return einsum_class(mi, c, in, r);
    case OP_gather:
        return indexed_class(mi, c, in, r, 0);
    case OP_scatter:
        return indexed_class(mi, c, in, r, 1);
    default:
        return moved_class(mi, c, in, r);
    }
}

static Class inst_class(const Micro *mi, const Classes *c, const Inst *in)
{
    if (in->op == OP_proj) {
        int64_t field = attr_int(mi->m, in->attr, AT_index, 0);
        return c->at[c->first[inst_arg(c->fn, in, 0).id] + field];
    }
    Reads r = reads_of(mi, c, in);
    if (r.fault) return (Class){.kind = CLASS_late, .fault = r.fault};
    if (r.row && (r.part || r.late)) return mixed(mi, in, &r);
    if (r.axes) return fault(mi, in->loc, "pairs rows of the batch");
    return r.late ? late() : op_class(mi, c, in, &r);
}

/* In the step, what is linear in sums is made in each turn only where that
 * carries no more bytes from turn to turn than its operands. */
static bool is_worth_turns(const Micro *mi, const Classes *c, const Inst *in)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value v = inst_arg(c->fn, in, i);
        if (operand_class(mi, c, in, i).kind != CLASS_part) continue;
        uint32_t uses = c->uses.first[v.id + 1] - c->uses.first[v.id];
        if (uses + c->uses.nresult[v.id] != 1) return false;
        Type t = value_type(c->fn, v);
        if (dtype_bytes(type_dtype(mi->m, in->type)) <
            dtype_bytes(type_dtype(mi->m, t)))
            return false;
        bytes += type_bytes(mi->m, t);
    }
    return bytes == 0 || type_bytes(mi->m, in->type) <= bytes;
}

static bool is_early(const Classes *c, Value v)
{
    const Inst *in = inst_of(c->fn, v);
    if (in->op == OP_arg) {
        Role r = c->fn->params[v.id].role;
        return r == ROLE_input || r == ROLE_scalar;
    }
    for (uint32_t i = 0; i < in->nargs; i++)
        if (!c->early[inst_arg(c->fn, in, i).id]) return false;
    return true;
}

/* What reads inputs alone may be made from the whole batch beforehand. */
static void settle_early(const Classes *c, Value v)
{
    bool whole = false;
    for (uint32_t i = c->first[v.id]; i < c->first[v.id + 1]; i++)
        whole = whole || c->at[i].kind > CLASS_row;
    for (uint32_t i = c->first[v.id]; whole && i < c->first[v.id + 1]; i++)
        c->at[i] = same;
}

static void settle_top(const Micro *mi, Classes *c, Value v)
{
    const Inst *in = inst_of(c->fn, v);
    Class *k = &c->at[c->first[v.id]];
    c->early[v.id] = is_early(c, v);
    if (c->early[v.id])
        settle_early(c, v);
    else if (k->kind == CLASS_part && in->op != OP_proj &&
             in->op != OP_repeat && in->op != OP_call &&
             !is_worth_turns(mi, c, in))
        *k = late();
}

/* What is made of a sum is of the same sum. */
static void note_sum(const Micro *mi, Classes *c, Value v)
{
    Loc of = reads_of(mi, c, inst_of(c->fn, v)).sum;
    if (!of.id) of = inst_of(c->fn, v)->loc;
    for (uint32_t i = c->first[v.id]; i < c->first[v.id + 1]; i++)
        if (c->at[i].kind > CLASS_row && !c->at[i].sum.id) c->at[i].sum = of;
}

static void sweep(Micro *mi, Classes *c)
{
    for (uint32_t i = c->fn->nparams; i < c->fn->ninsts; i++) {
        const Inst *in = &c->fn->insts[i];
        Class *cells = &c->at[c->first[i]];
        if (inst_calls(in))
            call_classes(mi, c, in, cells);
        else
            cells[0] = inst_class(mi, c, in);
        note_sum(mi, c, (Value){i});
        if (c->top) settle_top(mi, c, (Value){i});
    }
}

Classes classify(Micro *mi, const Fn *fn, const Class *params)
{
    Arena *a = mi->m->scratch;
    Classes c = {.fn = fn, .top = params == NULL};
    uint32_t n = 0;
    c.first = NEW_ARRAY(a, uint32_t, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const TypeInfo *t = type_info(mi->m, fn->insts[i].type);
        c.first[i] = n;
        n += t->is_tuple ? t->nfields : 1;
    }
    c.first[fn->ninsts] = n;
    c.at = NEW_ARRAY(a, Class, n + 1);
    for (uint32_t i = 0; i < fn->nparams && params; i++)
        c.at[i] = params[i];
    if (c.top) {
        c.early = NEW_ARRAY(a, bool, fn->ninsts + 1);
        c.uses = fn_uses(fn, a);
        for (uint32_t i = 0; i < fn->nparams; i++)
            c.early[i] = is_early(&c, (Value){i});
    }
    sweep(mi, &c);
    return c;
}
