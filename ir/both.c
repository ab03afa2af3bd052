/*
 * both.c: which groups make a matrix in both orders.
 */
#include "ir.h"

enum { LEAST_BLOCK = 16, MOST_DIGITS = 32 };

typedef struct Find {
    const Module *m;
    const BothOf *o;
    Arena *a;
    BothOrders *out;
    int64_t elements;
    Digit reduced[2];     /* of columns, and of rows; size 0: none */
    const AttrItem *axes; /* of the first maximum */
} Find;

static const Inst *inst(const Find *f, Value v)
{
    return inst_of(f->o->fn, v);
}

static Value operand(const Find *f, const Inst *in, uint32_t i)
{
    return inst_arg(f->o->fn, in, i);
}

static const Digits *digits_of(const Find *f, Value v)
{
    return f->out->digits[v.id];
}

static Digits *digits_new(const Find *f)
{
    Digits *d = NEW(f->a, Digits);
    d->at = NEW_ARRAY(f->a, Digit, MOST_DIGITS);
    return d;
}

static bool add_digit(Digits *d, Digit x)
{
    if (d->n == MOST_DIGITS) return false;
    d->at[d->n++] = x;
    return true;
}

static const Digit *find_digit(const Digits *d, Axis a)
{
    for (uint32_t i = 0; i < d->n; i++)
        if (d->at[i].axis.id == a.id) return &d->at[i];
    return NULL;
}

static int64_t count(const Digits *d)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < d->n; i++)
        n *= d->at[i].size;
    return n;
}

static int64_t local_size(const Find *f, Type t, Axis a)
{
    return type_local_size(f->m, type_axis(f->m, t, a));
}

/* ------------------------------------------------------------- behind it -- */

/* In the order of its memory, where that is known: rows lie outermost. */
static Digits *of_matrix(const Find *f, Value v)
{
    const TypeInfo *ti = type_info(f->m, value_type(f->o->fn, v));
    const int64_t *stride =
        f->o->strides && v.id < f->o->fn->nparams ? f->o->strides[v.id] : NULL;
    Digits *d = digits_new(f);
    int64_t step = 1;
    uint32_t order[MOST_DIGITS];
    if (ti->naxes > MOST_DIGITS) return NULL;
    d->n = ti->naxes;
    for (uint32_t i = 0, at; i < ti->naxes; i++) {
        for (at = i; stride && at > 0 && stride[order[at - 1]] < stride[i];
             at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (uint32_t i = ti->naxes; i-- > 0;) {
        const TypeAxis *axis = &ti->axes[order[i]];
        int64_t size = type_local_size(f->m, axis);
        d->at[i] = (Digit){axis->axis, step, size};
        step *= size;
    }
    return d;
}

static Digits *of_rename(const Find *f, const Inst *in, const Digits *x)
{
    const AttrItem *from = attr_get(f->m, in->attr, AT_from);
    const AttrItem *to = attr_get(f->m, in->attr, AT_to);
    Digits *d = digits_new(f);
    for (uint32_t i = 0; i < x->n; i++) {
        Digit one = x->at[i];
        for (uint32_t k = 0; k < from->n; k++)
            if (from->axes[k].id == x->at[i].axis.id) one.axis = to->axes[k];
        add_digit(d, one);
    }
    return d;
}

static Digits *of_split(const Find *f, const Inst *in, const Digits *x)
{
    const AttrItem *to = attr_get(f->m, in->attr, AT_to);
    Axis axis = attr_axis(f->m, in->attr, AT_axis);
    Digits *d = digits_new(f);
    for (uint32_t i = 0; i < x->n; i++) {
        bool cut = x->at[i].axis.id == axis.id;
        int64_t step = x->at[i].step;
        if (!cut && !add_digit(d, x->at[i])) return NULL;
        for (uint32_t k = to->n; k-- > 0 && cut;) {
            int64_t size = local_size(f, in->type, to->axes[k]);
            if (!add_digit(d, (Digit){to->axes[k], step, size})) return NULL;
            step *= size;
        }
        if (cut && step != x->at[i].step * x->at[i].size) return NULL;
    }
    return d;
}

/* Axes of one index lie wherever that is wanted. */
static Digits *of_merge(const Find *f, const Inst *in, const Digits *x)
{
    const AttrItem *from = attr_get(f->m, in->attr, AT_from);
    Digits *d = digits_new(f);
    Digit whole = {attr_axis(f->m, in->attr, AT_axis), 1, 1};
    for (uint32_t k = from->n; k-- > 0;) {
        const Digit *part = find_digit(x, from->axes[k]);
        if (!part) return NULL;
        if (part->size == 1) continue;
        if (whole.size == 1) whole.step = part->step;
        if (part->step != whole.step * whole.size) return NULL;
        whole.size *= part->size;
    }
    for (uint32_t i = 0; i < x->n; i++)
        if (!attr_item_has(from, x->at[i].axis)) add_digit(d, x->at[i]);
    return add_digit(d, whole) ? d : NULL;
}

/* What is behind the matrix says where its axes are; beside that there are
 * numbers. */
static Digits *of_map(const Find *f, const Inst *in)
{
    Digits *d = digits_new(f);
    if (map_asks_index(f->m, in, in->type)) return NULL;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value v = operand(f, in, k);
        const Digits *x = digits_of(f, v);
        if (!x && type_info(f->m, value_type(f->o->fn, v))->naxes) return NULL;
        for (uint32_t i = 0; x && i < x->n; i++) {
            const Digit *same = find_digit(d, x->at[i].axis);
            if (!same && !add_digit(d, x->at[i])) return NULL;
            if (same &&
                (same->step != x->at[i].step || same->size != x->at[i].size))
                return NULL;
        }
        d->scaled |= x && x->scaled;
    }
    return d->n == type_info(f->m, in->type)->naxes ? d : NULL;
}

/* All are over the same columns, or rows. */
static bool note_reduced(Find *f, const Digit *x)
{
    Digit *r = &f->reduced[x->step > 1];
    if (r->size && (r->step != x->step || r->size != x->size)) return false;
    *r = *x;
    return true;
}

static Digits *of_maximum(Find *f, const Inst *in, const Digits *x)
{
    const AttrItem *axes = attr_get(f->m, in->attr, AT_axes);
    DType d = type_dtype(f->m, value_type(f->o->fn, operand(f, in, 0)));
    Digits *out = digits_new(f);
    if (x->scaled || count(x) != f->elements || axes->n > 2 ||
        !attr_is(f->m, in->attr, AT_kind, "max") ||
        type_info(f->m, in->type)->npending ||
        attr_dtype(f->m, in->attr, AT_acc, dtype_acc(d)) != DT_f32)
        return NULL;
    for (uint32_t i = 0; i < x->n; i++) {
        bool gone = attr_item_has(axes, x->at[i].axis);
        if (gone ? !note_reduced(f, &x->at[i]) : !add_digit(out, x->at[i]))
            return NULL;
    }
    if (!f->axes) f->axes = axes;
    for (uint32_t i = 0; i < axes->n; i++)
        f->out->apart |= !attr_item_has(f->axes, axes->axes[i]);
    f->out->apart |= axes->n != f->axes->n;
    out->scaled = true;
    return out;
}

static Digits *of_inst(Find *f, const Inst *in)
{
    const Digits *x = in->nargs ? digits_of(f, operand(f, in, 0)) : NULL;
    if (in->op == OP_map) return of_map(f, in);
    if (!x) return NULL;
    if (in->op == OP_reduce) return of_maximum(f, in, x);
    if (x->scaled) return NULL;
    switch (in->op) {
    case OP_rename:
        return of_rename(f, in, x);
    case OP_split:
        return of_split(f, in, x);
    case OP_merge:
        return of_merge(f, in, x);
    default:
        return NULL;
    }
}

static bool reads_it(const Find *f, const Inst *in)
{
    for (uint32_t k = 0; k < in->nargs; k++)
        if (digits_of(f, operand(f, in, k))) return true;
    return false;
}

/* ------------------------------------------------------------ the whole -- */

/* Whether the matrix is made of it: by maps, names, splits and merges. */
static bool *find_below(const Find *f)
{
    const Fn *fn = f->o->fn;
    bool *below = NEW_ARRAY(f->a, bool, (size_t)fn->ninsts + 1);
    below[f->out->of.id] = true;
    for (uint32_t i = f->out->of.id + 1; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        if (!below[i] || !f->o->inside[i]) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            below[operand(f, in, k).id] = true;
    }
    return below;
}

static bool may_be_below(const Inst *in)
{
    return in->op == OP_map || op_has((Op)in->op, OPF_SAME);
}

/* Each axis is one of the rows or one of the columns. */
static bool is_cut_well(const BothOrders *o, const Digits *d)
{
    for (uint32_t i = 0; i < d->n; i++) {
        const Digit *x = &d->at[i];
        if (x->size > 1 &&
            (x->step >= o->columns ? x->step % o->columns != 0
                                   : o->columns % (x->step * x->size) != 0))
            return false;
    }
    return true;
}

static bool is_of_tiles(int64_t block, int64_t n)
{
    return block >= LEAST_BLOCK && BOTH_TILE % block == 0 && n % block == 0 &&
           n >= BOTH_TILE;
}

/* Two orders of blocks, or blocks of both; something is scaled by them. */
static bool fits(Find *f)
{
    BothOrders *o = f->out;
    const Digit *columns = &f->reduced[0], *rows = &f->reduced[1];
    bool scales = false;
    if (!columns->size || !rows->size) return false;
    o->columns = rows->step;
    o->rows = f->elements / o->columns;
    o->each = rows->size;
    o->beside = columns->size;
    if (!is_of_tiles(o->each, o->rows) || !is_of_tiles(o->beside, o->columns))
        return false;
    for (uint32_t i = 0; i < f->o->fn->ninsts; i++) {
        const Digits *d = o->digits[i];
        if (!d) continue;
        if (!is_cut_well(o, d)) return false;
        scales |= f->o->leaves[i] && d->scaled && count(d) == f->elements;
    }
    return scales;
}

static bool may_leave(const Find *f, Value v)
{
    const Digits *d = digits_of(f, v);
    Op op = (Op)inst(f, v)->op;
    return v.id == f->out->of.id ||
           (d && d->scaled && (op == OP_map || op == OP_reduce));
}

static bool takes_all(Find *f)
{
    const Fn *fn = f->o->fn;
    const bool *below = find_below(f);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        Value v = {i};
        const Inst *in = &fn->insts[i];
        if (!f->o->inside[i]) continue;
        if (f->o->leaves[i] && below[i] && i != f->out->of.id) return false;
        if (below[i]) {
            if (!may_be_below(in)) return false;
        } else if (reads_it(f, in)) {
            if (!(f->out->digits[i] = of_inst(f, in))) return false;
        } else if (type_info(f->m, in->type)->naxes || in->op != OP_map) {
            return false;
        }
        if (f->o->leaves[i] && !may_leave(f, v)) return false;
    }
    return fits(f);
}

static bool is_matrix(Find *f, Value v)
{
    BothOrders *o = f->out;
    Digits *d;
    *f = (Find){.m = f->m, .o = f->o, .a = f->a, .out = o};
    *o = (BothOrders){.of = v};
    o->digits = NEW_ARRAY(f->a, const Digits *, (size_t)f->o->fn->ninsts + 1);
    if (!(d = of_matrix(f, v))) return false;
    o->digits[v.id] = d;
    f->elements = count(d);
    return takes_all(f);
}

/* What the value is another form of; false: nothing in the group. */
static bool form_below(const Find *f, Value *v)
{
    const Inst *in = inst(f, *v);
    if (!f->o->inside[v->id] || !may_be_below(in)) return false;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value x = operand(f, in, k);
        if (in->op == OP_map && type_info(f->m, in->type)->naxes !=
                                    type_info(f->m, inst(f, x)->type)->naxes)
            continue;
        *v = x;
        return true;
    }
    return false;
}

bool both_find(const Module *m, const BothOf *of, Arena *a, BothOrders *out)
{
    Find f = {.m = m, .o = of, .a = a, .out = out};
    for (uint32_t i = 0; i < of->fn->ninsts; i++) {
        if (!of->inside[i] || of->fn->insts[i].op != OP_reduce) continue;
        Value v = operand(&f, &of->fn->insts[i], 0), found = NO_VALUE;
        do {
            if (is_matrix(&f, v)) found = v;
        } while (form_below(&f, &v));
        return !value_eq(found, NO_VALUE) && is_matrix(&f, found);
    }
    return false;
}

bool both_of_group(const Module *m, const Fn *group,
                   const int64_t *const *strides, Arena *a, BothOrders *out)
{
    BothOf of = {.fn = group, .strides = strides};
    bool *inside = NEW_ARRAY(a, bool, (size_t)group->ninsts + 1);
    bool *leaves = NEW_ARRAY(a, bool, (size_t)group->ninsts + 1);
    for (uint32_t i = group->nparams; i < group->ninsts; i++)
        inside[i] = true;
    for (uint32_t r = 0; r < group->nresults; r++)
        leaves[group->result_values[r].id] = true;
    of.inside = inside;
    of.leaves = leaves;
    return both_find(m, &of, a, out);
}
