/*
 * expr.c: expressions: names, operators, contraction, choice, lists, casts.
 */
#include "library.h"
#include "sema.h"

#include <math.h>
#include <stdlib.h>

/* --------------------------------------------------------------- names -- */

static bool special_number(Sema *s, const char *name, Val *out)
{
    const struct {
        const char *name;
        Val value;
    } words[] = {
        {"true", val_bool(true)},
        {"false", val_bool(false)},
        {"inf", val_number(INFINITY)},
        {"pi", val_number(3.14159265358979323846)},
        {"zeros", val_whole(0)},
        {"ones", val_whole(1)},
        {"training", val_bool(s->training)},
    };
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(name, words[i].name) != 0) continue;
        *out = words[i].value;
        return true;
    }
    return false;
}

/* fan_in and fan_out of the parameter whose initial value is computed. */
static bool fan(Sema *s, const char *name, Val *out)
{
    bool in = strcmp(name, "fan_in") == 0;
    if (!s->making || (!in && strcmp(name, "fan_out") != 0)) return false;
    const Mem *p = s->making;
    uint32_t first = in ? p->over : p->over + p->from;
    uint32_t n = in ? p->from : p->to;
    int64_t size = 1;
    for (uint32_t i = first; i < first + n; i++)
        size = times(size, type_size(s->m, p->type, p->axes[i]));
    *out = val_whole(size);
    return true;
}

static bool axis_as_size(Sema *s, Str name, Span at, Val *out)
{
    AxisList l = {.n = 0};
    bool known = unit_axis(s, s->scope->unit, name) != NULL;
    for (Scope *sc = s->scope; sc && !known; sc = sc->up)
        for (uint32_t i = 0; i < sc->axes.n; i++)
            known |= str_eq(sc->axes.at[i].name, name);
    if (!known || !axes_of_name(s, (Name){name, at}, &l)) return false;
    int64_t size = 1;
    for (uint32_t i = 0; i < l.n; i++) {
        int64_t x;
        if (!axis_size_needed(s, l.at[i], at, &x)) {
            *out = val_error();
            return true;
        }
        size = times(size, x);
    }
    *out = val_whole(size);
    return true;
}

static Val read_states(Sema *s, const Val *states)
{
    Val out = *states;
    out.tuple.at = NEW_ARRAY(s->a, Val, out.tuple.n + 1);
    for (uint32_t i = 0; i < out.tuple.n; i++)
        out.tuple.at[i] =
            val_tensor(s, mem_read(s, s->frame, states->tuple.at[i].mem));
    return out;
}

static bool bound_name(Sema *s, Str name, Val *out)
{
    Binding *b = scope_find(s->scope, name);
    if (!b) b = scope_find(s->scope->unit->scope, name);
    if (!b) return false;
    *out = b->value;
    if (binds_states(b)) {
        *out = read_states(s, &b->value);
    } else if (out->kind == VAL_tensor) {
        Value v = val_here(s, out);
        out->tensor.frame = s->frame;
        out->tensor.value = v;
    } else if (out->kind == VAL_state) {
        Val v = val_tensor(s, mem_read(s, s->frame, b->value.mem));
        *out = v;
    }
    if (out->kind != VAL_callee && out->kind != VAL_instance) out->name = name;
    return true;
}

Val val_ambiguous(Sema *s, const Found *d, Str name, Span at)
{
    const char *text = STR(s, name);
    Report *r = sema_error(s, DIAG_name_twice, at,
                           "two files that are imported declare '%s'", text);
    report_note(r, d->node->decl.name.span, "this one");
    report_note(r, d->other->decl.name.span, "and this one");
    if (d->node->kind == N_module)
        report_help(r, "say whose is meant: use n = file.%s", text);
    else
        report_help(r,
                    "give one of them another name, or declare '%s' here: the "
                    "names of a file go before those that it imports",
                    text);
    return val_error();
}

/* Where the name is written: a program gives the files that it imports no
 * functions. */
static bool callee_name(Sema *s, Str name, Span at, Val *out)
{
    Found d = unit_find(s, s->scope->unit, name);
    const Builtin *b = d.node ? NULL : builtin_find(STR(s, name));
    if (!d.node && !b) return false;
    *out = (Val){.kind = VAL_callee};
    out->callee = (Callee){d.node, d.unit, b};
    if (d.other) *out = val_ambiguous(s, &d, name, at);
    return true;
}

/* What the files of a unit declare and a call can name. */
static uint32_t declared_names(Sema *s, const Unit *u, const char **out,
                               uint32_t most)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < u->files.n; k++) {
        Nodes d = u->files.at[k]->decls;
        for (uint32_t i = 0; i < d.n && n < most; i++)
            if (d.at[i]->kind == N_fn || d.at[i]->kind == N_module ||
                d.at[i]->kind == N_model || d.at[i]->kind == N_optimizer)
                out[n++] = STR(s, d.at[i]->decl.name.text);
    }
    return n;
}

/* The name is carried round a repeat, but nothing comes in. */
static bool bound_in_repeat(Sema *s, Report *r, Str name)
{
    for (const Scope *sc = s->scope; sc; sc = sc->up) {
        if (!sc->loop || !repeat_binds(sc->loop, name)) continue;
        report_help(r,
                    "this repeat binds '%s' further down: to carry it from "
                    "turn to turn, bind it before the repeat as well",
                    STR(s, name));
        return true;
    }
    return false;
}

/* Values that the library reads of the program's config, and what is in the
 * library but not imported, are known by their names. */
static bool missing_here(Sema *s, Report *r, const char *name)
{
    const char *text = library_declares(name);
    if (s->scope->unit->library || !strcmp(name, "steps")) {
        report_help(r, "'%s' is a value of a config: config c { %s = ... }",
                    name, name);
        return true;
    }
    if (text) report_help(r, "the library has it: import std.%s", text);
    return text != NULL;
}

static Val unknown_name(Sema *s, Str name, Span at)
{
    const char *words[1024];
    uint32_t n = 0;
    for (Scope *sc = s->scope; sc; sc = sc->up)
        for (uint32_t i = 0; i < sc->vars.n && n < 200; i++)
            words[n++] = STR(s, sc->vars.at[i].name);
    Unit *u = s->scope->unit;
    n += declared_names(s, u, words + n, 200);
    for (uint32_t i = 0; i < u->imports.n && n < 600; i++)
        n += declared_names(s, u->imports.at[i], words + n, 200);
    for (uint32_t i = 0; i < s->main->config.n && n < 900; i++)
        words[n++] = STR(s, s->main->config.at[i].name);
    n += builtin_names(words + n, 1024 - n);
    const char *near = nearest(STR(s, name), words, n);
    Report *r = sema_error(s, DIAG_unknown_name, at, "there is no '%s' here",
                           STR(s, name));
    AxisDecl *a = unit_axis(s, u, name);
    if (bound_in_repeat(s, r, name)) return val_error();
    if (strcmp(STR(s, name), "frozen") == 0) {
        report_help(r, "it takes nothing: update = frozen");
        return val_error();
    }
    if (!a && missing_here(s, r, STR(s, name))) return val_error();
    if (a)
        report_help(r, "'%s' is an axis; its size is size(%s)", STR(s, name),
                    STR(s, name));
    else if (near)
        report_help(r, "did you mean '%s'?", near);
    return val_error();
}

static Val config_value(const ConfigValue *c)
{
    Val v = c->value;
    if (v.kind != VAL_callee) v.name = c->name;
    return v;
}

static bool of_training(const char *name)
{
    static const char *const words[] = {"step", "updates", "params", "grads"};
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(name, words[i]) == 0) return true;
    return false;
}

bool names_value(Sema *s, Str name)
{
    Val v;
    const char *text = STR(s, name);
    return special_number(s, text, &v) || of_training(text) ||
           strcmp(text, "fan_in") == 0 || strcmp(text, "fan_out") == 0;
}

Val eval_name(Sema *s, Str name, Span at)
{
    Val v;
    const char *text = STR(s, name);
    if (bound_name(s, name, &v)) return v;
    if (s->sizing && axis_as_size(s, name, at, &v)) return v;
    if (fan(s, text, &v)) return v;
    ConfigValue *c = config_own(s, name);
    if (c) return config_value(c);
    if (special_number(s, text, &v)) return v;
    if (of_training(text)) {
        v = train_bundle(s, at, text);
        v.name = name;
        return v;
    }
    if (callee_name(s, name, at, &v)) return v;
    c = config_here(s, name);
    return c ? config_value(c) : unknown_name(s, name, at);
}

/* --------------------------------------------------------------- casts -- */

/* The map is marked: the source names this dtype, so it stays. */
static Val pin(Sema *s, Val v, DType d)
{
    Value x = val_here(s, &v);
    Type t = type_with_dtype(s->m, value_type(s->frame->fn, x), d);
    AttrList l = {.n = 0};
    Expr e = expr_cast(s->m, d, expr_arg(s->m, 0, (DType)v.dtype));
    attr_put_id(&l, AT_body, e.id);
    attr_put_int(&l, AT_pinned, 1);
    Val out =
        val_tensor(s, emit(here(s), OP_map, t, attr_intern(s->m, &l), &x, 1));
    out.aligned = v.aligned;
    out.name = v.name;
    out.may = v.may;
    out.open = v.open;
    out.number = v.number;
    return out;
}

static Val number_as(Val v, DType d)
{
    DClass c = dtype_class(d);
    if (c == DC_bool) return val_bool(v.number != 0);
    if (c == DC_float) return val_number(v.number);
    v.number = trunc(v.number);
    v.dtype = DT_i32;
    return v;
}

Val eval_as(Sema *s, Val v, DType d, Span at)
{
    switch ((ValKind)v.kind) {
    case VAL_error:
        return v;
    case VAL_number:
        return number_as(v, d);
    case VAL_lazy:
        return lazy_of(s, expr_cast(s->m, d, v.lazy.expr), v.lazy.axes,
                       v.lazy.naxes);
    case VAL_tensor:
        here(s)->loc = loc_of(s->m, at);
        if (dtype_class(d) == DC_float) return pin(s, v, d);
        Val out = val_tensor(s, val_use(s, &v, d));
        out.aligned = v.aligned;
        out.may = v.may;
        out.number = v.number;
        return out;
    case VAL_draw:
        return v;
    default:
        sema_error(s, DIAG_not_a_number, at, "%s is no number and no tensor",
                   val_label(s, &v, "this"));
        return val_error();
    }
}

/* ---------------------------------------------------------- contraction -- */

static const char *common_axes(Sema *s, const Val *x, const Val *y)
{
    uint32_t n, k = 0;
    const TypeAxis *axes = val_axes(s, x, &n);
    Axis *out = NEW_ARRAY(s->a, Axis, n + 1);
    for (uint32_t i = 0; i < n; i++)
        if (val_axis(s, y, axes[i].axis)) out[k++] = axes[i].axis;
    return k ? axes_str(s->m, out, k) : "none";
}

static void cannot_sum(Sema *s, const Node *n, Axis a, const char *side,
                       const Val *x, const Val *y)
{
    Report *r = sema_error(s, DIAG_axis_missing, n->head,
                           "cannot sum over '%s': %s operand has no such axis",
                           axis_name(s->m, a), side);
    report_label(r, n->contract.left->span, "%s", val_axes_str(s, x));
    report_label(r, n->contract.right->span, "%s", val_axes_str(s, y));
    report_help(r, "axes in both operands: %s", common_axes(s, x, y));
}

/* A trial: what an open operand may yet have is summed in the other. */
static void drop_open(Sema *s, const Node *n, Val *x, const Val *y, AxisList *l)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        bool in_x = val_axis(s, x, l->at[i]), in_y = val_axis(s, y, l->at[i]);
        if (in_x && !in_y && y->open)
            *x = reduce_axes(s, n->head, "sum", *x, &l->at[i], 1);
        else if (in_x || !x->open)
            l->at[k++] = l->at[i];
    }
    l->n = k;
}

static bool contract_axes(Sema *s, const Node *n, Val *x, Val *y, AxisList *l)
{
    for (uint32_t i = 0; i < n->contract.axes.n; i++)
        if (!axes_of_name(s, n->contract.axes.at[i], l)) return false;
    if (y->open) drop_open(s, n, x, y, l);
    if (x->open) drop_open(s, n, y, x, l);
    for (uint32_t i = 0; i < l->n; i++) {
        const char *side = !val_axis(s, y, l->at[i])   ? "right"
                           : !val_axis(s, x, l->at[i]) ? "left"
                                                       : NULL;
        if (!side) continue;
        cannot_sum(s, n, l->at[i], side, x, y);
        return false;
    }
    Val both[2] = {*x, *y};
    return sizes_agree(s, n->head, both, 2);
}

static DType contract_dtype(const Val *x, const Val *y)
{
    DType a = (DType)x->dtype, b = (DType)y->dtype;
    if (dtype_class(a) != DC_float) a = DT_f32;
    if (dtype_class(b) != DC_float) b = DT_f32;
    return dtype_bytes(a) >= dtype_bytes(b) ? a : b;
}

static void note_crossing(Sema *s, const Node *n, const Val *x, const Val *y,
                          const AxisList *sum, Val *out)
{
    Val both[2] = {*x, *y};
    out->aligned = align_join(s, both, 2);
    out->open = x->open || y->open;
    if (!x->name.id || !y->name.id) return;
    uint32_t naxes;
    const TypeAxis *axes = val_axes(s, x, &naxes);
    for (uint32_t i = 0; i < naxes; i++) {
        bool summed = false;
        for (uint32_t k = 0; k < sum->n; k++)
            summed |= sum->at[k].id == axes[i].axis.id;
        if (summed || !val_axis(s, y, axes[i].axis)) continue;
        Aligned *a = NEW(s->a, Aligned);
        *a = (Aligned){
            axes[i].axis, x->name, y->name, n->head, {out->aligned, NULL}};
        out->aligned = a;
    }
}

static Val eval_contract(Sema *s, const Node *n)
{
    Val x = eval_node(s, n->contract.left), y = eval_node(s, n->contract.right);
    AxisList sum = {.n = 0};
    if (val_failed(&x) || val_failed(&y)) return val_error();
    if (!val_is_elementary(&x) || !val_is_elementary(&y)) {
        sema_error(s, DIAG_not_a_number, n->head,
                   "'@' sums products of two tensors");
        return val_error();
    }
    if (!contract_axes(s, n, &x, &y, &sum)) return val_error();
    if (sum.n == 0) return elementwise2(s, n->head, SC_mul, x, y);
    DType d = contract_dtype(&x, &y);
    here(s)->loc = loc_at(s, n);
    Value vx = val_use(s, &x, d), vy = val_use(s, &y, d);
    here(s)->loc = loc_at(s, n);
    Val out = val_tensor(s, emit_einsum(here(s), vx, vy, sum.at, sum.n, d,
                                        d == DT_f64 ? DT_f64 : DT_f32));
    note_crossing(s, n, &x, &y, &sum, &out);
    return out;
}

/* ------------------------------------------------------------ operators -- */

static const ScalarOp binary_ops[] = {
    [BIN_add] = SC_add, [BIN_sub] = SC_sub, [BIN_mul] = SC_mul,
    [BIN_div] = SC_div, [BIN_pow] = SC_pow, [BIN_eq] = SC_eq,
    [BIN_ne] = SC_ne,   [BIN_lt] = SC_lt,   [BIN_le] = SC_le,
    [BIN_gt] = SC_lt,   [BIN_ge] = SC_le,   [BIN_and] = SC_and,
    [BIN_or] = SC_or,
};

static Val eval_binary(Sema *s, const Node *n)
{
    BinaryOp op = n->binary.op;
    Val a = eval_node(s, n->binary.left);
    if (val_failed(&a)) return a;
    if (val_is_number(&a) && op == BIN_and && a.number == 0) return a;
    if (val_is_number(&a) && op == BIN_or && a.number != 0) return a;
    Val b = eval_node(s, n->binary.right);
    bool swap = op == BIN_gt || op == BIN_ge;
    return elementwise2(s, n->head, binary_ops[op], swap ? b : a, swap ? a : b);
}

static Val eval_unary(Sema *s, const Node *n)
{
    Val x = eval_node(s, n->unary.x);
    return elementwise(s, n->head, n->unary.op == UN_neg ? SC_neg : SC_not, &x,
                       1);
}

bool eval_condition(Sema *s, const Node *n, bool *out)
{
    Val c = eval_node(s, n);
    if (val_failed(&c)) return false;
    *out = c.number != 0;
    if (val_is_number(&c)) return true;
    Report *r = sema_error(s, DIAG_not_static, n->span,
                           "the condition is not known when compiling");
    report_help(r, "write where(condition, a, b) to choose by element");
    return false;
}

static Val eval_choose(Sema *s, const Node *n)
{
    bool yes;
    if (!eval_condition(s, n->choose.cond, &yes)) return val_error();
    return eval_node(s, yes ? n->choose.yes : n->choose.no);
}

/* ---------------------------------------------------------------- lists -- */

static Val eval_tuple(Sema *s, const Node *n)
{
    Val out = {.kind = VAL_tuple};
    out.tuple.at = NEW_ARRAY(s->a, Val, n->tuple.n + 1);
    out.tuple.n = n->tuple.n;
    for (uint32_t i = 0; i < n->tuple.n; i++) {
        out.tuple.at[i] = eval_node(s, n->tuple.at[i]);
        if (val_failed(&out.tuple.at[i])) return val_error();
    }
    return out;
}

static Val eval_field(Sema *s, const Node *n)
{
    if (names_updates(s, n->field.base)) return named_values(s, &n->field.name);
    Val base = eval_node(s, n->field.base);
    if (val_failed(&base)) return base;
    const char *text = STR(s, n->field.name.text);
    if (base.kind != VAL_tuple || text[0] < '0' || text[0] > '9') {
        sema_error(s, DIAG_no_field, n->field.name.span, "%s has no field '%s'",
                   val_label(s, &base, "this"), text);
        return val_error();
    }
    uint32_t i = (uint32_t)strtoul(text, NULL, 10);
    if (i < base.tuple.n) return base.tuple.at[i];
    sema_error(s, DIAG_no_field, n->field.name.span,
               "%s has %u fields, counted from 0: there is no field %u",
               val_label(s, &base, "this list"), base.tuple.n, i);
    return val_error();
}

static Val eval_inner(Sema *s, const Node *n)
{
    switch ((NodeKind)n->kind) {
    case N_name:
        return eval_name(s, n->name, n->span);
    case N_number:
        return n->number.whole ? val_whole(n->number.integer)
                               : val_number(n->number.value);
    case N_string: {
        Val v = {.kind = VAL_string};
        v.string = n->string;
        return v;
    }
    case N_call:
        return eval_call(s, n);
    case N_index:
        return eval_index(s, n);
    case N_contract:
        return eval_contract(s, n);
    case N_binary:
        return eval_binary(s, n);
    case N_unary:
        return eval_unary(s, n);
    case N_choose:
        return eval_choose(s, n);
    case N_tuple:
        return eval_tuple(s, n);
    case N_field:
        return eval_field(s, n);
    case N_error:
        return val_error();
    default:
        sema_error(s, DIAG_not_a_number, n->span, "%s is no value",
                   node_words((NodeKind)n->kind));
        return val_error();
    }
}

Val eval_node(Sema *s, const Node *n)
{
    enum { MOST = 1500 };
    if (s->nesting == MOST) {
        sema_error(s, DIAG_too_deep, n->span,
                   "expressions and calls are nested more than %d deep", MOST);
        return val_error();
    }
    s->nesting++;
    Val v = eval_inner(s, n);
    s->nesting--;
    return v;
}
