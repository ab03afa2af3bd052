/*
 * parse_fn.c: functions and their instructions.
 *
 *     fn    := ['entry'] 'fn' view @name '(' port, ... ')' '->' results
 *              ['kind' word] '{' newline line* '}'
 *     line  := [%name ':' type '='] [phase] op [%a, %b] attribute* newline
 *            | 'ret' [%a, %b] newline          (the last one)
 *
 * A line that fails is reported and skipped; a value that it would have made
 * is poisoned: lines that use it are dropped without a report of their own.
 */
#include "parse.h"

typedef struct FnParser {
    Parser *p;
    Builder b;
    Map values; /* name key -> value */
    bool returned;
} FnParser;

static const uint32_t POISON = UINT32_MAX;

/* %12 and %"12" are two names. */
static uint64_t value_key(Parser *p, Token t)
{
    Str s = lexer_str(&p->lx, t, &p->m->strs);
    return (uint64_t)s.id << 1 | (t.quoted ? 1 : 0);
}

/* The name that a value keeps: digits without quotes only number it. */
static Str value_name(Parser *p, Token t)
{
    if (!t.quoted)
        for (uint32_t i = t.first + 1; i < t.last; i++)
            if (!text_is_digit(p->lx.text[i]))
                return lexer_str(&p->lx, t, &p->m->strs);
    return t.quoted ? lexer_str(&p->lx, t, &p->m->strs) : (Str){0};
}

static bool check_new_value(FnParser *f, Token t)
{
    uint32_t v;
    if (!map_find(&f->values, value_key(f->p, t), &v)) return true;
    return fail(f->p, DIAG_ir_twice, t, "value %s is defined twice",
                token_text(f->p, t));
}

static void define(FnParser *f, Token t, uint32_t v)
{
    uint32_t old;
    uint64_t key = value_key(f->p, t);
    if (map_find(&f->values, key, &old)) return;
    map_set(&f->values, key, v);
}

/* ---------------------------------------------------------- attributes -- */

typedef struct InstText {
    Token at; /* the op */
    Op op;
    Type type;
    bool poisoned;
    VEC(Value) args;
    VEC(Type) types; /* of the operands */
    AttrList attrs;
} InstText;

static bool parse_int_list(Parser *p, AttrKey k, AttrList *l)
{
    VEC(int64_t) ints = {0};
    if (!expect_punct(p, '(')) return false;
    while (!at_punct(p, ')')) {
        int64_t i;
        if (ints.n && !expect_punct(p, ',')) return false;
        if (!parse_int(p, &i)) return false;
        vec_push(p->m->scratch, &ints, i);
    }
    advance(p);
    attr_put_ints(l, k, ints.at, ints.n);
    return true;
}

static bool parse_fn_name(Parser *p, AttrKey k, AttrList *l)
{
    FnRef fn;
    if (p->tok.kind != TK_fn) return fail_expected(p, "a function '@name'");
    Str name = lexer_str(&p->lx, p->tok, &p->m->strs);
    if (!fn_find(p->m, name, &fn))
        return fail(p, DIAG_ir_name, p->tok, "no function is called '@%s'",
                    str_of(p->m, name));
    advance(p);
    attr_put_id(l, k, fn.id);
    return true;
}

static bool parse_axes_attr(Parser *p, AttrKey k, AttrList *l)
{
    AxisVec axes = {0};
    if (!expect_punct(p, '(') || !parse_axis_list(p, ')', &axes)) return false;
    attr_put_axes(l, k, axes.at, axes.n);
    return true;
}

static bool parse_mesh_attr(Parser *p, AttrKey k, AttrList *l)
{
    MeshVec mesh = {0};
    if (!expect_punct(p, '(') || !parse_mesh_list(p, ')', &mesh)) return false;
    attr_put_mesh(l, k, mesh.at, mesh.n);
    return true;
}

static bool parse_attr_value(Parser *p, AttrKey k, AttrList *l)
{
    int64_t i;
    Axis axis;
    Str s;
    DType d;
    switch (attr_kind(k)) {
    case AK_axis:
        if (!parse_axis(p, &axis)) return false;
        attr_put_id(l, k, axis.id);
        return true;
    case AK_axes:
        return parse_axes_attr(p, k, l);
    case AK_mesh:
        return parse_mesh_attr(p, k, l);
    case AK_int:
        if (!parse_int(p, &i)) return false;
        attr_put_int(l, k, i);
        return true;
    case AK_ints:
        return parse_int_list(p, k, l);
    case AK_word:
        if (!parse_name(p, "a word", &s)) return false;
        attr_put_id(l, k, s.id);
        return true;
    case AK_str:
        if (!parse_string(p, "a text in quotes", &s)) return false;
        attr_put_id(l, k, s.id);
        return true;
    case AK_dtype:
        if (!parse_dtype(p, &d)) return false;
        attr_put_int(l, k, d);
        return true;
    case AK_fn:
        return parse_fn_name(p, k, l);
    case AK_flag:
        attr_put_int(l, k, 1);
        return true;
    case AK_expr:
        break;
    }
    return fail_expected(p, "an attribute");
}

static bool attr_find(const Parser *p, AttrKey *out)
{
    for (int k = 0; k < ATTR_COUNT; k++) {
        *out = (AttrKey)k;
        if (attr_kind(*out) != AK_expr && at_word(p, attr_name(*out)))
            return true;
    }
    return false;
}

static bool check_new_attr(Parser *p, const AttrList *l, AttrKey k)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].key == k)
            return fail(p, DIAG_ir_twice, p->tok,
                        "attribute '%s' is given "
                        "twice",
                        attr_name(k));
    return true;
}

static bool parse_map_body(Parser *p, InstText *in)
{
    BodyOperands operands = {in->types.at, in->types.n};
    const TypeInfo *t = type_info(p->m, in->type);
    bool tensor = in->type.id != 0 && !t->is_tuple;
    Expr e;
    if (!check_new_attr(p, &in->attrs, AT_body)) return false;
    advance(p);
    if (in->poisoned) {
        while (!at_punct(p, '}') && p->tok.kind != TK_newline &&
               p->tok.kind != TK_eof)
            advance(p);
        return expect_punct(p, '}');
    }
    if (!parse_body(p, &operands, tensor ? (int)t->dtype : DTYPE_unknown, &e))
        return false;
    attr_put_id(&in->attrs, AT_body, e.id);
    return true;
}

/* A place at the end of the line says where a value came from; it is for the
 * reader and read over: the line itself is the place from now on. */
static void skip_loc(Parser *p)
{
    lexer_skip_line(&p->lx);
    advance(p);
}

static bool parse_attrs(Parser *p, InstText *in)
{
    while (p->tok.kind != TK_newline && p->tok.kind != TK_eof &&
           !at_punct(p, ',') && !at_punct(p, ')')) {
        AttrKey k;
        if (p->tok.kind == TK_fn) {
            skip_loc(p);
            continue;
        }
        if (at_punct(p, '{')) {
            if (!parse_map_body(p, in)) return false;
            continue;
        }
        if (p->tok.kind != TK_word) return fail_expected(p, "an attribute");
        if (!attr_find(p, &k))
            return fail(p, DIAG_ir_name, p->tok, "no attribute is called %s",
                        token_text(p, p->tok));
        if (!check_new_attr(p, &in->attrs, k)) return false;
        advance(p);
        if (!parse_attr_value(p, k, &in->attrs)) return false;
    }
    return true;
}

/* --------------------------------------------------------------- ports -- */

static bool parse_role(Parser *p, Port *port)
{
    for (int r = 0; r < ROLE_count; r++) {
        if (!take_word_if(p, role_name((Role)r))) continue;
        port->role = (Role)r;
        if (p->tok.kind == TK_string && !parse_string(p, "a path", &port->path))
            return false;
        break;
    }
    return !take_word_if(p, "part") || parse_type(p, &port->whole);
}

static bool parse_param(FnParser *f)
{
    Parser *p = f->p;
    Token t = p->tok;
    Port port = {.loc = loc_of(p->m, token_span(p, t))};
    if (t.kind != TK_value) return fail_expected(p, "a parameter '%name'");
    if (!check_new_value(f, t)) return false;
    advance(p);
    if (!expect_punct(p, ':') || !parse_type(p, &port.type) ||
        !parse_role(p, &port))
        return false;
    port.name = value_name(p, t);
    f->b.loc = port.loc;
    Value v = builder_param(&f->b, port);
    define(f, t, v.id);
    InstText in = {.op = OP_arg, .type = port.type};
    if (!parse_attrs(p, &in)) return false;
    f->b.fn->insts[v.id].attr = attr_intern(p->m, &in.attrs);
    return true;
}

static bool parse_params(FnParser *f)
{
    Parser *p = f->p;
    if (!expect_punct(p, '(')) return false;
    bool first = true;
    while (!at_punct(p, ')')) {
        if (!first && !expect_punct(p, ',')) return false;
        if (!parse_param(f)) return false;
        first = false;
    }
    advance(p);
    return true;
}

typedef VEC(Port) PortVec;

static bool parse_result(Parser *p, PortVec *out)
{
    Port port = {.loc = loc_of(p->m, token_span(p, p->tok))};
    if (!parse_type(p, &port.type) || !parse_role(p, &port)) return false;
    vec_push(p->m->scratch, out, port);
    return true;
}

static bool parse_results(Parser *p, PortVec *out)
{
    if (p->tok.kind != TK_arrow) return fail_expected(p, "'->'");
    advance(p);
    if (!take_punct_if(p, '(')) return parse_result(p, out);
    while (!at_punct(p, ')')) {
        if (out->n && !expect_punct(p, ',')) return false;
        if (!parse_result(p, out)) return false;
    }
    advance(p);
    return true;
}

/* -------------------------------------------------------- instructions -- */

/* A poisoned value is taken, and noted. */
static bool parse_value(FnParser *f, Value *out, bool *poisoned)
{
    Parser *p = f->p;
    Token t = p->tok;
    if (t.kind != TK_value) return fail_expected(p, "a value '%name'");
    uint32_t v;
    if (!map_find(&f->values, value_key(p, t), &v))
        return fail(p, DIAG_ir_name, t, "value %s is not defined before this",
                    token_text(p, t));
    advance(p);
    if (v == POISON) *poisoned = true;
    *out = (Value){v};
    return true;
}

static bool parse_args(FnParser *f, InstText *in)
{
    Parser *p = f->p;
    while (p->tok.kind == TK_value) {
        Value v;
        Token t = p->tok;
        if (!parse_value(f, &v, &in->poisoned)) return false;
        Type type = in->poisoned ? (Type){0} : value_type(f->b.fn, v);
        if (!in->poisoned && type.id == 0)
            return fail(p, DIAG_ir_type, t, "%s has no value",
                        token_text(p, t));
        vec_push(p->m->scratch, &in->args, v);
        vec_push(p->m->scratch, &in->types, type);
        if (!take_punct_if(p, ',')) return true;
        if (p->tok.kind != TK_value) return fail_expected(p, "a value '%name'");
    }
    return true;
}

static bool parse_op(FnParser *f, InstText *in)
{
    Parser *p = f->p;
    f->b.phase = PHASE_forward;
    if (take_word_if(p, "backward"))
        f->b.phase = PHASE_backward;
    else if (take_word_if(p, "update"))
        f->b.phase = PHASE_update;
    in->at = p->tok;
    if (p->tok.kind != TK_word) return fail_expected(p, "an op");
    const char *s = str_of(p->m, lexer_str(&p->lx, p->tok, &p->m->strs));
    if (!op_find(s, &in->op) || in->op == OP_arg)
        return fail(p, DIAG_ir_name, p->tok, "no op is called %s",
                    token_text(p, p->tok));
    advance(p);
    return true;
}

static bool check_count(FnParser *f, const InstText *in)
{
    const OpInfo *op = op_info(in->op);
    int64_t n = in->args.n, most = op->most < 0 ? UINT16_MAX : op->most;
    if (n >= op->least && n <= most) return true;
    return fail(f->p, DIAG_ir_syntax, in->at,
                "'%s' has %u operands, takes "
                "%s%d",
                op->name, in->args.n,
                op->most == op->least ? ""
                : n < op->least       ? "at least "
                                      : "at most ",
                n < op->least ? op->least : (int)most);
}

static bool parse_inst_rest(FnParser *f, InstText *in, Value *out)
{
    Parser *p = f->p;
    uint32_t first = p->tok.first;
    if (!parse_op(f, in) || !parse_args(f, in) || !parse_attrs(p, in) ||
        !check_count(f, in))
        return false;
    if (in->poisoned) return true;
    f->b.loc = loc_of(p->m, (Span){p->source, first, p->prev});
    *out = emit(&f->b, in->op, in->type, attr_intern(p->m, &in->attrs),
                in->args.at, in->args.n);
    return expect_line_end(p);
}

static void recover(Parser *p)
{
    p->depth = 0;
    while (p->tok.kind != TK_newline && p->tok.kind != TK_eof) {
        lexer_skip_line(&p->lx);
        advance(p);
    }
    if (p->tok.kind == TK_newline) advance(p);
}

static void parse_inst(FnParser *f)
{
    Parser *p = f->p;
    InstText in = {0};
    Token name = p->tok;
    bool named = name.kind == TK_value, ok = true;
    Value v = {POISON};
    if (named) {
        ok = check_new_value(f, name);
        advance(p);
        ok = ok && expect_punct(p, ':') && parse_type(p, &in.type) &&
             expect_punct(p, '=');
    }
    ok = ok && parse_inst_rest(f, &in, &v);
    if (!ok || in.poisoned) recover(p);
    if (!named) return;
    define(f, name, ok && !in.poisoned ? v.id : POISON);
    Str s = value_name(p, name);
    if (ok && !in.poisoned && s.id) value_set_name(&f->b, v, s);
}

static bool parse_ret_values(FnParser *f, const PortVec *results)
{
    Parser *p = f->p;
    Token at = p->tok;
    bool poisoned = false;
    uint32_t n = 0;
    advance(p);
    while (p->tok.kind == TK_value) {
        Value v;
        if (!parse_value(f, &v, &poisoned)) return false;
        if (!poisoned && n < results->n)
            builder_result(&f->b, v, results->at[n]);
        n++;
        if (!take_punct_if(p, ',')) break;
    }
    if (n != results->n)
        return fail(p, DIAG_ir_syntax, at,
                    "'ret' gives %u values, the "
                    "function's header names %u",
                    n, results->n);
    return expect_line_end(p);
}

/* A result of the header takes the value's type when the instruction is
 * built, so that the two are compared here. */
static void check_result_types(FnParser *f, Token at, const PortVec *results)
{
    Module *m = f->p->m;
    for (uint32_t i = 0; i < f->b.fn->nresults && i < results->n; i++) {
        Type is = value_type(f->b.fn, f->b.fn->result_values[i]);
        if (type_eq(is, results->at[i].type)) continue;
        fail(f->p, DIAG_ir_type, at,
             "result %u is %s, the function's header "
             "says %s",
             i, type_str(m, is), type_str(m, results->at[i].type));
    }
}

static void parse_ret(FnParser *f, const PortVec *results)
{
    Parser *p = f->p;
    Token at = p->tok;
    if (parse_ret_values(f, results))
        check_result_types(f, at, results);
    else
        recover(p);
    f->returned = true;
}

static bool at_fn(const Parser *p)
{
    return at_word(p, "fn") || at_word(p, "entry");
}

/* Up to the closing brace of a function whose header failed. */
static void skip_body(Parser *p)
{
    while (p->tok.kind != TK_eof && !at_punct(p, '}')) {
        recover(p);
        if (at_fn(p)) return;
    }
    if (p->tok.kind != TK_eof) recover(p);
}

static bool parse_lines(FnParser *f, const PortVec *results)
{
    Parser *p = f->p;
    while (!at_punct(p, '}')) {
        if (p->tok.kind == TK_eof || at_fn(p))
            return fail_expected(p, "'}' at the end of the function");
        if (p->tok.kind == TK_newline) {
            advance(p);
            continue;
        }
        if (f->returned) return fail_expected(p, "'}' after 'ret'");
        if (at_word(p, "ret"))
            parse_ret(f, results);
        else
            parse_inst(f);
    }
    if (!f->returned) return fail_expected(p, "'ret' before the '}'");
    advance(p);
    return expect_line_end(p);
}

static bool parse_view(Parser *p, View *out)
{
    static const char *const views[] = {"global", "local", "kernel"};
    for (int i = 0; i < 3; i++) {
        *out = (View)i;
        if (take_word_if(p, views[i])) return true;
    }
    return fail_expected(p, "'global', 'local' or 'kernel'");
}

/* The function was made, under its name, by the sweep over the text (unless
 * that took its line for the end of an unclosed list). */
static bool parse_header(FnParser *f, PortVec *results)
{
    Parser *p = f->p;
    FnRef ref;
    View view;
    bool entry = take_word_if(p, "entry");
    if (!take_word_if(p, "fn")) return fail_expected(p, "'fn'");
    if (!parse_view(p, &view)) return false;
    if (p->tok.kind != TK_fn) return fail_expected(p, "a name '@name'");
    Token at = p->tok;
    Str name = lexer_str(&p->lx, at, &p->m->strs);
    advance(p);
    if (!fn_find(p->m, name, &ref))
        ref = module_add_fn(p->m, fn_new(p->m, name, view));
    Fn *fn = fn_of(p->m, ref);
    if (fn->loc.id != 0)
        return fail(p, DIAG_ir_twice, at, "function '@%s' is defined twice",
                    str_of(p->m, name));
    fn->view = view;
    fn->entry = entry;
    fn->loc = loc_of(p->m, token_span(p, at));
    builder_init(&f->b, p->m, fn);
    f->b.no_fold = true;
    if (!parse_params(f) || !parse_results(p, results)) return false;
    if (take_word_if(p, "kind") && !parse_name(p, "a kind", &fn->kind))
        return false;
    return expect_punct(p, '{') && expect_line_end(p);
}

bool parse_fn(Parser *p)
{
    FnParser f = {.p = p};
    PortVec results = {0};
    map_init(&f.values, p->m->scratch);
    if (parse_header(&f, &results) && parse_lines(&f, &results)) return true;
    p->depth = 0;
    skip_body(p);
    return false;
}
