/*
 * parse.c: a module from its text form.
 *
 * Declarations come before what names them; functions alone may be named
 * before they are defined, so a first sweep over the text makes them all, in
 * order.  Every error is reported at its place and the line given up; after
 * as many errors as a Diag keeps, the rest is not read.
 */
#include "parse.h"

/* ---------------------------------------------------- options and sizes -- */

static bool parse_option(Parser *p)
{
    Str name, value;
    if (!parse_name(p, "the name of an option", &name) ||
        !parse_string(p, "a value in quotes", &value))
        return false;
    option_set(p->m, str_of(p->m, name), str_of(p->m, value));
    return expect_line_end(p);
}

static bool parse_sizes(Parser *p, bool (*declare)(Parser *p))
{
    if (!expect_punct(p, '(')) return false;
    bool first = true;
    while (!at_punct(p, ')')) {
        if (!first && !expect_punct(p, ',')) return false;
        if (!declare(p)) return false;
        first = false;
    }
    advance(p);
    return expect_line_end(p);
}

static bool declare_mesh(Parser *p)
{
    Token at = p->tok;
    Str name;
    MeshAxis old;
    int64_t size;
    if (!parse_name(p, "a mesh axis", &name)) return false;
    if (mesh_find(p->m, name, &old))
        return fail(p, DIAG_ir_twice, at, "mesh axis '%s' is declared twice",
                    str_of(p->m, name));
    if (!expect_punct(p, '=') || !parse_size(p, &size)) return false;
    mesh_of(p->m, name, size);
    return true;
}

static bool declare_axis(Parser *p)
{
    Token at = p->tok;
    Str name;
    Axis old;
    int64_t size = 0;
    if (!parse_name(p, "an axis", &name)) return false;
    if (axis_find(p->m, name, &old))
        return fail(p, DIAG_ir_twice, at, "axis '%s' is declared twice",
                    str_of(p->m, name));
    if (take_punct_if(p, '=') && !parse_size(p, &size)) return false;
    axis_of(p->m, name, size, loc_of(p->m, token_span(p, at)));
    return true;
}

/* --------------------------------------------------------------- slots -- */

static bool check_slot_axis(Parser *p, const Slot *s, Axis a, Token at)
{
    if (type_axis(p->m, s->type, a)) return true;
    return fail(p, DIAG_ir_name, at, "axis '%s' is not in the slot's type",
                axis_name(p->m, a));
}

static bool parse_fan(Parser *p, Slot *s)
{
    AxisVec from = {0}, to = {0};
    if (!expect_punct(p, '(')) return false;
    while (p->tok.kind != TK_arrow) {
        Axis a;
        Token at = p->tok;
        if (from.n && !expect_punct(p, ',')) return false;
        if (!parse_axis(p, &a) || !check_slot_axis(p, s, a, at)) return false;
        vec_push(p->m->scratch, &from, a);
    }
    advance(p);
    if (!parse_axis_list(p, ')', &to)) return false;
    Axis *fan = NEW_ARRAY(p->m->arena, Axis, from.n + to.n + 1);
    for (uint32_t i = 0; i < from.n; i++)
        fan[i] = from.at[i];
    for (uint32_t i = 0; i < to.n; i++)
        fan[from.n + i] = to.at[i];
    s->fan = fan;
    s->nfrom = from.n;
    s->nto = to.n;
    return true;
}

static bool parse_dim_axis(Parser *p, const Slot *s, AxisVec *axes,
                           int64_t *total)
{
    Axis a;
    Token at = p->tok;
    if (!parse_axis(p, &a) || !check_slot_axis(p, s, a, at)) return false;
    if (__builtin_mul_overflow(*total, type_size(p->m, s->type, a), total))
        return fail(p, DIAG_ir_limit, at,
                    "the size of this dimension does not "
                    "fit 64 bits");
    vec_push(p->m->scratch, axes, a);
    return true;
}

/* axis, or (axis axis ...); a part of a longer one: `at 4096 of 12288`. */
static bool parse_dim(Parser *p, const Slot *s, CkptDim *out)
{
    AxisVec axes = {0};
    *out = (CkptDim){.total = 1};
    if (take_punct_if(p, '(')) {
        while (!at_punct(p, ')'))
            if (!parse_dim_axis(p, s, &axes, &out->total)) return false;
        advance(p);
    } else if (!parse_dim_axis(p, s, &axes, &out->total)) {
        return false;
    }
    Axis *copy = NEW_ARRAY(p->m->arena, Axis, axes.n + 1);
    for (uint32_t i = 0; i < axes.n; i++)
        copy[i] = axes.at[i];
    out->axes = copy;
    out->naxes = axes.n;
    if (!take_word_if(p, "at")) return true;
    if (!parse_int(p, &out->offset)) return false;
    if (!take_word_if(p, "of")) return fail_expected(p, "'of'");
    return parse_size(p, &out->total);
}

/* One block size for each dimension: times "name" [128, 128]. */
static bool parse_scale(Parser *p, Slot *s, CkptDim *dims)
{
    if (!parse_string(p, "a name in quotes", &s->ckpt.scale) ||
        !expect_punct(p, '['))
        return false;
    for (uint32_t i = 0; i < s->ckpt.ndims; i++) {
        if (i && !expect_punct(p, ',')) return false;
        Token at = p->tok;
        if (!parse_int(p, &dims[i].block)) return false;
        if (dims[i].block < 0)
            return fail(p, DIAG_ir_limit, at, "a block has at least one index");
    }
    return expect_punct(p, ']');
}

static bool parse_ckpt(Parser *p, Slot *s)
{
    VEC(CkptDim) dims = {0};
    s->has_ckpt = true;
    if (!parse_string(p, "a name in quotes", &s->ckpt.name) ||
        !expect_punct(p, '['))
        return false;
    while (!at_punct(p, ']')) {
        CkptDim d;
        if (dims.n && !expect_punct(p, ',')) return false;
        if (!parse_dim(p, s, &d)) return false;
        vec_push(p->m->arena, &dims, d);
    }
    advance(p);
    s->ckpt.dims = dims.at;
    s->ckpt.ndims = dims.n;
    return !take_word_if(p, "times") || parse_scale(p, s, dims.at);
}

/* part of "wq" axis layer at 2 of 4 */
static bool parse_whole(Parser *p, Slot *s)
{
    if (!take_word_if(p, "of")) return fail_expected(p, "'of'");
    if (!parse_string(p, "a path in quotes", &s->whole)) return false;
    if (!take_word_if(p, "axis")) return fail_expected(p, "'axis'");
    Token at = p->tok;
    if (!parse_axis(p, &s->along) || !check_slot_axis(p, s, s->along, at))
        return false;
    if (!take_word_if(p, "at")) return fail_expected(p, "'at'");
    if (!parse_int(p, &s->start)) return false;
    if (!take_word_if(p, "of")) return fail_expected(p, "'of'");
    at = p->tok;
    if (!parse_size(p, &s->total)) return false;
    if (s->start < 0 ||
        s->start > s->total - type_size(p->m, s->type, s->along))
        return fail(p, DIAG_ir_limit, at,
                    "the part reaches beyond the whole axis");
    return true;
}

static bool parse_slot(Parser *p, Role role)
{
    Slot s = {.role = role, .saved = true};
    Token at = p->tok;
    s.loc = loc_of(p->m, token_span(p, at));
    if (!parse_string(p, "a path in quotes", &s.path)) return false;
    if (slot_find(p->m, s.path))
        return fail(p, DIAG_ir_twice, at, "slot \"%s\" is declared twice",
                    str_of(p->m, s.path));
    if (!expect_punct(p, ':') || !parse_type(p, &s.type)) return false;
    if (type_info(p->m, s.type)->is_tuple)
        return fail(p, DIAG_ir_type, at, "a slot is one tensor, not a tuple");
    if (take_word_if(p, "fan") && !parse_fan(p, &s)) return false;
    s.frozen = take_word_if(p, "frozen");
    s.saved = !take_word_if(p, "unsaved");
    s.host = take_word_if(p, "host");
    if (take_word_if(p, "as") && !parse_ckpt(p, &s)) return false;
    if (take_word_if(p, "block") &&
        !parse_string(p, "a path in quotes", &s.block))
        return false;
    if (take_word_if(p, "part") && !parse_whole(p, &s)) return false;
    if (!expect_line_end(p)) return false;
    slot_add(p->m, s);
    return true;
}

/* -------------------------------------------------------------- module -- */

static bool parse_item(Parser *p)
{
    if (at_word(p, "fn") || at_word(p, "entry")) return parse_fn(p);
    if (take_word_if(p, "option")) return parse_option(p);
    if (take_word_if(p, "mesh")) return parse_sizes(p, declare_mesh);
    if (take_word_if(p, "axes")) return parse_sizes(p, declare_axis);
    if (take_word_if(p, "param")) return parse_slot(p, ROLE_param);
    if (take_word_if(p, "state")) return parse_slot(p, ROLE_state);
    return fail_expected(p, "option, mesh, axes, param, state or fn");
}

/* After an error the line is left, unless the item has left it itself. */
static void skip_line(Parser *p)
{
    p->depth = 0;
    while (p->tok.kind != TK_newline && p->tok.kind != TK_eof) {
        lexer_skip_line(&p->lx);
        advance(p);
    }
}

/* Makes every function of the text, so that any may name any. */
static void declare_fns(Parser *p)
{
    Lexer lx = p->lx;
    bool start = true;
    for (Token t = lexer_next(&lx); t.kind != TK_eof; t = lexer_next(&lx)) {
        p->tok = t;
        if (start && at_word(p, "entry")) continue;
        if (start && at_word(p, "fn")) {
            FnRef old;
            lexer_next(&lx); /* the view */
            t = lexer_next(&lx);
            Str name = lexer_str(&lx, t, &p->m->strs);
            if (t.kind == TK_fn && !fn_find(p->m, name, &old))
                module_add_fn(p->m, fn_new(p->m, name, VIEW_global));
        }
        start = t.kind == TK_newline;
    }
}

bool module_parse(Module *m, uint32_t source)
{
    const Source *s = &m->diag->sources[source];
    uint32_t before = m->diag->nerrors;
    ArenaMark mark = arena_mark(m->scratch);
    Parser p = {.m = m, .source = source};
    lexer_init(&p.lx, s->text, s->size);
    declare_fns(&p);
    advance(&p);
    while (p.tok.kind != TK_eof && m->diag->nerrors < m->diag->max_errors) {
        if (p.tok.kind == TK_newline)
            advance(&p);
        else if (!parse_item(&p) &&
                 !(at_word(&p, "fn") || at_word(&p, "entry")))
            skip_line(&p);
    }
    arena_pop(m->scratch, mark);
    return m->diag->nerrors == before;
}
