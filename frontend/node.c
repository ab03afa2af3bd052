/*
 * node.c: makers of nodes.
 *
 * A maker sets kind, spans and members, and tells the new node of its
 * children, so that its depth is known.  A tree that is too deep is reported
 * once; the node goes on without its children's depth, so that one report
 * stays one.
 */
#include <string.h>

#include "syntax.h"

Span span_join(Span a, Span b)
{
    if (a.last <= a.first) return b;
    if (b.last <= b.first) return a;
    return (Span){a.file, a.first < b.first ? a.first : b.first,
                  a.last > b.last ? a.last : b.last};
}

void report_too_deep(Parser *p, Span at)
{
    if (p->too_deep) return;
    p->too_deep = true;
    diag_error(p->m->diag, DIAG_nesting_too_deep, at,
               "nested more than %d deep", AST_MAX_DEPTH);
}

Node *node_new(Parser *p, NodeKind kind, Span span, Span head)
{
    Node *n = NEW(p->m->arena, Node);
    n->kind = (uint8_t)kind;
    n->depth = 1;
    n->span = span;
    n->head = head;
    return n;
}

void node_adopt(Parser *p, Node *parent, const Node *child)
{
    if (!child || child->depth < parent->depth) return;
    if (child->depth < AST_MAX_DEPTH)
        parent->depth = (uint16_t)(child->depth + 1);
    else
        report_too_deep(p, child->head);
}

void node_adopt_all(Parser *p, Node *parent, Nodes children)
{
    for (uint32_t i = 0; i < children.n; i++)
        node_adopt(p, parent, children.at[i]);
}

void node_adopt_vars(Parser *p, Node *parent, Vars vars)
{
    for (uint32_t i = 0; i < vars.n; i++) {
        node_adopt(p, parent, vars.at[i].type);
        node_adopt(p, parent, vars.at[i].init);
    }
}

void node_adopt_settings(Parser *p, Node *parent, Settings s)
{
    for (uint32_t i = 0; i < s.n; i++)
        node_adopt(p, parent, s.at[i].value);
}

void node_adopt_items(Parser *p, Node *parent, Items items)
{
    for (uint32_t i = 0; i < items.n; i++) {
        node_adopt(p, parent, items.at[i].term);
        node_adopt(p, parent, items.at[i].to);
        node_adopt(p, parent, items.at[i].value);
        node_adopt(p, parent, items.at[i].otherwise);
    }
}

/* --------------------------------------------------------------- names -- */

Name token_name(const Token *t)
{
    return (Name){t->text, t->span};
}

Name path_join(Parser *p, Name left, Name right)
{
    StrTable *strs = &p->m->strs;
    Str text = str_printf(strs, "%s.%s", str_text(strs, left.text),
                          str_text(strs, right.text));
    return (Name){text, span_join(left.span, right.span)};
}

Name path_last(Parser *p, Name path)
{
    const char *text = str_of(p->m, path.text);
    const char *dot = strrchr(text, '.');
    if (!dot) return path;
    uint32_t n = (uint32_t)strlen(dot + 1);
    Span at = {path.span.file, path.span.last - n, path.span.last};
    return (Name){module_str(p->m, dot + 1), at};
}

void expect_word(Parser *p, const Token *t, const char *word)
{
    if (!strcmp(str_of(p->m, t->text), word)) return;
    diag_error(p->m->diag, DIAG_syntax, t->span, "expected '%s', found %s",
               word, token_words(p->m, t));
}

/* --------------------------------------------------------- expressions -- */

Node *make_name(Parser *p, Name name)
{
    Node *n = node_new(p, N_name, name.span, name.span);
    n->name = name.text;
    return n;
}

Node *make_number(Parser *p, const Token *t)
{
    Node *n = node_new(p, N_number, t->span, t->span);
    n->number.value = t->value;
    n->number.integer = t->integer;
    n->number.whole = t->whole;
    n->number.text = t->text;
    return n;
}

Node *make_string(Parser *p, const Token *t)
{
    Node *n = node_new(p, N_string, t->span, t->span);
    n->string = t->text;
    return n;
}

/* The brackets of `f[a](x)` are f's axis arguments. */
Node *make_call(Parser *p, Span span, Node *fn, SettingVec args)
{
    Node *n = node_new(p, N_call, span, fn->span);
    n->call.fn = fn;
    if (fn->kind == N_index) {
        n->call.fn = fn->index.base;
        n->call.has_axes = true;
        n->call.axes = fn->index.items;
    }
    n->call.args = LIST(Settings, args);
    node_adopt(p, n, fn);
    node_adopt_settings(p, n, n->call.args);
    return n;
}

Node *make_index(Parser *p, Span span, Span brackets, Node *base, ItemVec it)
{
    Node *n = node_new(p, N_index, span, brackets);
    n->index.base = base;
    n->index.items = LIST(Items, it);
    node_adopt(p, n, base);
    node_adopt_items(p, n, n->index.items);
    return n;
}

Node *make_contract(Parser *p, Span at, Node *l, NameVec axes, Node *r)
{
    Node *n = node_new(p, N_contract, span_join(l->span, r->span), at);
    n->contract.left = l;
    n->contract.right = r;
    n->contract.axes = LIST(Names, axes);
    node_adopt(p, n, l);
    node_adopt(p, n, r);
    return n;
}

Node *make_binary(Parser *p, BinaryOp op, Span at, Node *l, Node *r)
{
    Node *n = node_new(p, N_binary, span_join(l->span, r->span), at);
    n->binary.op = op;
    n->binary.left = l;
    n->binary.right = r;
    node_adopt(p, n, l);
    node_adopt(p, n, r);
    return n;
}

Node *make_unary(Parser *p, UnaryOp op, Span at, Node *x)
{
    Node *n = node_new(p, N_unary, span_join(at, x->span), at);
    n->unary.op = op;
    n->unary.x = x;
    node_adopt(p, n, x);
    return n;
}

Node *make_choose(Parser *p, Span span, Node *c, Node *yes, Node *no)
{
    Node *n = node_new(p, N_choose, span, c->span);
    n->choose.cond = c;
    n->choose.yes = yes;
    n->choose.no = no;
    node_adopt(p, n, c);
    node_adopt(p, n, yes);
    node_adopt(p, n, no);
    return n;
}

Node *make_tuple(Parser *p, Span span, NodeVec v)
{
    Node *n = node_new(p, N_tuple, span, span);
    n->tuple = LIST(Nodes, v);
    node_adopt_all(p, n, n->tuple);
    return n;
}

Node *make_field(Parser *p, Span span, Node *base, const Token *name)
{
    Node *n = node_new(p, N_field, span, name->span);
    n->field.base = base;
    n->field.name = token_name(name);
    node_adopt(p, n, base);
    return n;
}

Node *make_range(Parser *p, Node *first, Node *end, Span dots)
{
    Node *n = node_new(p, N_range, span_join(first->span, end->span), dots);
    n->range.first = first;
    n->range.end = end;
    node_adopt(p, n, first);
    node_adopt(p, n, end);
    return n;
}

/* ---------------------------------------------------------- axis terms -- */

Node *make_terms(Parser *p, NodeKind kind, Span span, NodeVec v)
{
    Node *n = node_new(p, kind, span, span);
    n->terms = LIST(Nodes, v);
    node_adopt_all(p, n, n->terms);
    return n;
}

Node *make_blocks(Parser *p, Span span, Node *term, const Token *size)
{
    Node *n = node_new(p, N_blocks, span, span);
    n->blocks.term = term;
    n->blocks.size = size->integer;
    if (!size->whole || size->integer < 1)
        diag_error(p->m->diag, DIAG_syntax, size->span,
                   "a block size is a whole number from 1");
    node_adopt(p, n, term);
    return n;
}

static bool collect_sum(Parser *p, Node *n, NodeVec *v)
{
    if (n->kind == N_name || n->kind == N_product) {
        vec_push(p->m->arena, v, n);
        return true;
    }
    if (n->kind != N_binary || n->binary.op != BIN_add) return false;
    return collect_sum(p, n->binary.left, v) &&
           collect_sum(p, n->binary.right, v);
}

Node *as_axis_sum(Parser *p, Node *n)
{
    NodeVec v = {0};
    if (n->kind != N_binary || !collect_sum(p, n, &v)) return n;
    return make_terms(p, N_sum, n->span, v);
}

/* --------------------------------------------------------------- types -- */

Node *make_type(Parser *p, Span span, const Token *dtype)
{
    Node *n = node_new(p, N_type, span, span);
    if (dtype) n->type.dtype = token_name(dtype);
    return n;
}

static void add_uses(Parser *p, Node *type, AxisUseVec uses)
{
    for (uint32_t i = 0; i < uses.n; i++) {
        type->type.axes[type->type.naxes++] = uses.at[i];
        node_adopt(p, type, uses.at[i].term);
        node_adopt(p, type, uses.at[i].size);
    }
}

void type_axes(Parser *p, Node *type, AxisUseVec over, AxisUseVec from,
               AxisUseVec to, unsigned shape)
{
    type->type.axes =
        NEW_ARRAY(p->m->arena, AxisUse, over.n + from.n + to.n + 1);
    type->type.has_axes = true;
    type->type.has_over = shape & TYPE_over;
    type->type.has_arrow = shape & TYPE_arrow;
    type->type.nover = over.n;
    type->type.nfrom = from.n;
    add_uses(p, type, over);
    add_uses(p, type, from);
    add_uses(p, type, to);
}

void share_types(Parser *p, VarVec *items)
{
    Node *type = NULL, *init = NULL;
    for (uint32_t i = items->n; i-- > 0;) {
        Var *v = &items->at[i];
        if (v->type) {
            type = v->type;
            init = v->init;
        } else if (!type || v->init) {
            Report *r = diag_error(p->m->diag, DIAG_syntax, v->name.span,
                                   "param '%s' has no axes",
                                   str_of(p->m, v->name.text));
            report_help(r, "write %s: [...]", str_of(p->m, v->name.text));
            v->type = node_new(p, N_error, v->name.span, v->name.span);
        } else {
            v->type = type;
            v->init = init;
        }
    }
}

/* ------------------------------------------ declarations and statements -- */

Node *make_decl(Parser *p, NodeKind kind, Span span, Decl d, Node *body)
{
    Node *n = node_new(p, kind, span, d.name.span);
    d.body = body;
    n->decl = d;
    node_adopt_vars(p, n, d.params);
    node_adopt_vars(p, n, d.results);
    node_adopt_vars(p, n, d.targets);
    node_adopt_settings(p, n, d.with);
    node_adopt(p, n, body);
    return n;
}

Node *make_block(Parser *p, Span span, NodeVec v)
{
    Node *n = node_new(p, N_block, span, span);
    n->block = LIST(Nodes, v);
    node_adopt_all(p, n, n->block);
    return n;
}

Node *make_if(Parser *p, Span span, Span head, Node *cond, Node *then,
              Node *otherwise)
{
    Node *n = node_new(p, N_if, span, head);
    n->branch.cond = cond;
    n->branch.then = then;
    n->branch.otherwise = otherwise;
    node_adopt(p, n, cond);
    node_adopt(p, n, then);
    node_adopt(p, n, otherwise);
    return n;
}

/* --------------------------------------------------------------- words -- */

const char *node_words(NodeKind kind)
{
    static const char *const words[] = {
#define NODE(kind, words) words,
#include "ast.def"
#undef NODE
    };
    return words[kind];
}

const char *binary_text(BinaryOp op)
{
    static const char *const text[] = {
        "+", "-", "*", "/", "^", "==", "!=", "<", "<=", ">", ">=", "and", "or"};
    return text[op];
}
