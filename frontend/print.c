/*
 * print.c: syntax trees as canonical source.
 *
 * Four spaces a level, one statement a line, an empty line between
 * declarations, brackets only where precedence needs them; comments are not
 * kept.  Parsing the text again gives the same tree, and printing that the
 * same text.
 */
#include <string.h>

#include "ast.h"

typedef struct Printer {
    const Module *m;
    Buf *out;
    unsigned indent;
} Printer;

/* Binding strength of an expression's outermost operator. */
enum {
    P_choose,
    P_or,
    P_and,
    P_not,
    P_cmp,
    P_sum,
    P_mul,
    P_neg,
    P_pow,
    P_at,
    P_post
};

static void expr(Printer *p, const Node *n, int least);

static const char *text(const Printer *p, Str s)
{
    return str_of(p->m, s);
}

static void puts_name(Printer *p, Name n)
{
    buf_puts(p->out, text(p, n.text));
}

static bool empty(Name n)
{
    return n.text.id == 0;
}

static void comma(Printer *p, uint32_t i)
{
    if (i > 0) buf_puts(p->out, ", ");
}

static void names(Printer *p, Names v)
{
    for (uint32_t i = 0; i < v.n; i++) {
        comma(p, i);
        puts_name(p, v.at[i]);
    }
}

static void exprs(Printer *p, Nodes v)
{
    for (uint32_t i = 0; i < v.n; i++) {
        comma(p, i);
        expr(p, v.at[i], P_choose);
    }
}

static void quoted(Printer *p, Str s)
{
    buf_putc(p->out, '"');
    for (const char *c = text(p, s); *c; c++) {
        if (*c == '\n') buf_puts(p->out, "\\n");
        if (*c == '\t') buf_puts(p->out, "\\t");
        if (*c == '"' || *c == '\\') buf_putc(p->out, '\\');
        if (*c != '\n' && *c != '\t') buf_putc(p->out, *c);
    }
    buf_putc(p->out, '"');
}

/* ---------------------------------------------------------- axis terms -- */

static void terms(Printer *p, Nodes v, const char *between)
{
    for (uint32_t i = 0; i < v.n; i++) {
        if (i > 0) buf_puts(p->out, between);
        const Node *n = v.at[i];
        bool wrap = n->kind == N_sum && between[0] != ' ';
        if (wrap) buf_putc(p->out, '(');
        expr(p, n, P_choose);
        if (wrap) buf_putc(p->out, ')');
    }
}

static void items(Printer *p, Items v)
{
    for (uint32_t i = 0; i < v.n; i++) {
        const Item *it = &v.at[i];
        comma(p, i);
        expr(p, it->term, P_choose);
        if (it->kind == ITEM_rename) {
            buf_puts(p->out, " -> ");
            expr(p, it->to, P_choose);
        }
        if (it->kind == ITEM_pick) {
            buf_puts(p->out, " = ");
            expr(p, it->value, P_choose);
        }
        if (it->otherwise) {
            buf_puts(p->out, " else ");
            expr(p, it->otherwise, P_choose);
        }
    }
}

static void type(Printer *p, const Node *n)
{
    puts_name(p, n->type.dtype);
    if (!n->type.has_axes) return;
    buf_putc(p->out, '[');
    uint32_t arrow = n->type.nover + n->type.nfrom;
    for (uint32_t i = 0; i < n->type.naxes; i++) {
        const AxisUse *u = &n->type.axes[i];
        if (n->type.has_over && i == n->type.nover)
            buf_puts(p->out, "; ");
        else if (n->type.has_arrow && i == arrow)
            buf_puts(p->out, " -> ");
        else
            comma(p, i);
        expr(p, u->term, P_choose);
        if (!u->size) continue;
        buf_puts(p->out, ": ");
        expr(p, u->size, P_choose);
    }
    buf_putc(p->out, ']');
}

/* --------------------------------------------------------- expressions -- */

static void args(Printer *p, Settings v)
{
    buf_putc(p->out, '(');
    for (uint32_t i = 0; i < v.n; i++) {
        comma(p, i);
        if (!empty(v.at[i].name)) {
            puts_name(p, v.at[i].name);
            buf_puts(p->out, " = ");
        }
        expr(p, v.at[i].value, P_choose);
    }
    buf_putc(p->out, ')');
}

static void brackets(Printer *p, Items v)
{
    buf_putc(p->out, '[');
    items(p, v);
    buf_putc(p->out, ']');
}

static int strength(const Node *n)
{
    switch (n->kind) {
    case N_choose:
        return P_choose;
    case N_unary:
        return n->unary.op == UN_not ? P_not : P_neg;
    case N_contract:
        return P_at;
    case N_binary:
        break;
    default:
        return P_post;
    }
    switch (n->binary.op) {
    case BIN_or:
        return P_or;
    case BIN_and:
        return P_and;
    case BIN_add:
    case BIN_sub:
        return P_sum;
    case BIN_mul:
    case BIN_div:
        return P_mul;
    case BIN_pow:
        return P_pow;
    case BIN_eq:
    case BIN_ne:
    case BIN_lt:
    case BIN_le:
    case BIN_gt:
    case BIN_ge:
        break;
    }
    return P_cmp;
}

/* The power binds to the right and takes a contraction on its left; a
 * comparison takes none on either side; all else binds to the left. */
static void binary(Printer *p, const Node *n)
{
    int own = strength(n);
    int left = own == P_pow ? P_at : own == P_cmp ? P_sum : own;
    int right = own == P_pow ? P_neg : own + 1;
    expr(p, n->binary.left, left);
    buf_printf(p->out, " %s ", binary_text(n->binary.op));
    expr(p, n->binary.right, right);
}

static void contract(Printer *p, const Node *n)
{
    expr(p, n->contract.left, P_at);
    buf_puts(p->out, n->contract.axes.n > 1 ? " @(" : " @");
    names(p, n->contract.axes);
    buf_puts(p->out, n->contract.axes.n > 1 ? ") " : " ");
    expr(p, n->contract.right, P_post);
}

static void choose(Printer *p, const Node *n)
{
    buf_puts(p->out, "if ");
    expr(p, n->choose.cond, P_choose);
    buf_puts(p->out, " then ");
    expr(p, n->choose.yes, P_choose);
    buf_puts(p->out, " else ");
    expr(p, n->choose.no, P_choose);
}

static void plain(Printer *p, const Node *n)
{
    switch ((NodeKind)n->kind) {
    case N_name:
        buf_puts(p->out, text(p, n->name));
        return;
    case N_number:
        buf_puts(p->out, text(p, n->number.text));
        return;
    case N_string:
        quoted(p, n->string);
        return;
    case N_rest:
        buf_puts(p->out, "..");
        return;
    case N_sum:
        terms(p, n->terms, " + ");
        return;
    case N_type:
        type(p, n);
        return;
    case N_binary:
        binary(p, n);
        return;
    case N_contract:
        contract(p, n);
        return;
    case N_choose:
        choose(p, n);
        return;
    case N_product:
        buf_putc(p->out, '(');
        terms(p, n->terms, " ");
        buf_putc(p->out, ')');
        return;
    case N_blocks: {
        bool wrap = n->blocks.term->kind == N_sum;
        buf_puts(p->out, wrap ? "(" : "");
        expr(p, n->blocks.term, P_choose);
        buf_printf(p->out, "%s/%lld", wrap ? ")" : "",
                   (long long)n->blocks.size);
        return;
    }
    case N_unary:
        buf_puts(p->out, n->unary.op == UN_not ? "not " : "-");
        expr(p, n->unary.x, n->unary.op == UN_not ? P_not : P_neg);
        return;
    case N_range:
        expr(p, n->range.first, P_choose);
        buf_puts(p->out, " .. ");
        expr(p, n->range.end, P_choose);
        return;
    case N_tuple:
        buf_putc(p->out, '(');
        exprs(p, n->tuple);
        buf_puts(p->out, n->tuple.n == 1 ? ",)" : ")");
        return;
    case N_call:
        expr(p, n->call.fn, P_post);
        if (n->call.has_axes) brackets(p, n->call.axes);
        args(p, n->call.args);
        return;
    case N_index:
        expr(p, n->index.base, P_post);
        brackets(p, n->index.items);
        return;
    case N_field:
        expr(p, n->field.base, P_post);
        buf_putc(p->out, '.');
        puts_name(p, n->field.name);
        return;
    default:
        BUG("%s is not an expression", node_words((NodeKind)n->kind));
    }
}

static void expr(Printer *p, const Node *n, int least)
{
    bool wrap = strength(n) < least;
    if (wrap) buf_putc(p->out, '(');
    plain(p, n);
    if (wrap) buf_putc(p->out, ')');
}

/* ---------------------------------------------------------- statements -- */

static void line(Printer *p)
{
    buf_putc(p->out, '\n');
    buf_pad(p->out, 4 * (size_t)p->indent);
}

static void statement(Printer *p, const Node *n);

static void block(Printer *p, const Node *n)
{
    buf_puts(p->out, " {");
    p->indent++;
    for (uint32_t i = 0; i < n->block.n; i++) {
        line(p);
        statement(p, n->block.at[i]);
    }
    p->indent--;
    line(p);
    buf_putc(p->out, '}');
}

static void var(Printer *p, const Var *v)
{
    puts_name(p, v->name);
    if (v->type) {
        if (!empty(v->name)) buf_puts(p->out, ": ");
        type(p, v->type);
    }
    if (v->init) {
        buf_puts(p->out, " = ");
        expr(p, v->init, P_choose);
    }
}

static void vars(Printer *p, Vars v)
{
    for (uint32_t i = 0; i < v.n; i++) {
        comma(p, i);
        var(p, &v.at[i]);
    }
}

static void dims(Printer *p, Nodes v)
{
    buf_puts(p->out, " [");
    for (uint32_t i = 0; i < v.n; i++) {
        if (i > 0) buf_putc(p->out, ' ');
        expr(p, v.at[i], P_choose);
    }
    buf_putc(p->out, ']');
}

static void layout(Printer *p, const FileLayout *l)
{
    if (!l->present) return;
    buf_puts(p->out, " as ");
    if (l->none) {
        buf_puts(p->out, "none");
        return;
    }
    quoted(p, l->name->string);
    if (l->dims.n) dims(p, l->dims);
    if (!l->times_name) return;
    buf_puts(p->out, " times ");
    quoted(p, l->times_name->string);
    if (l->times_dims.n) dims(p, l->times_dims);
}

static void settings(Printer *p, Settings v)
{
    for (uint32_t i = 0; i < v.n; i++) {
        comma(p, i);
        puts_name(p, v.at[i].name);
        if (!v.at[i].value) continue;
        buf_puts(p->out, " = ");
        expr(p, v.at[i].value, P_choose);
    }
}

static void use(Printer *p, const Node *n)
{
    buf_puts(p->out, "use ");
    if (n->use.name.span.first != n->use.target.span.first &&
        n->use.name.span.last != n->use.target.span.last) {
        puts_name(p, n->use.name);
        buf_puts(p->out, " = ");
    }
    puts_name(p, n->use.target);
    if (n->use.has_axes) brackets(p, n->use.axes);
    if (n->use.has_args) args(p, n->use.args);
    if (n->use.frozen) buf_puts(p->out, " frozen");
    layout(p, &n->use.layout);
}

static void branch(Printer *p, const Node *n)
{
    buf_puts(p->out, "if ");
    expr(p, n->branch.cond, P_choose);
    block(p, n->branch.then);
    if (!n->branch.otherwise) return;
    buf_puts(p->out, " else");
    if (n->branch.otherwise->kind != N_if) {
        block(p, n->branch.otherwise);
        return;
    }
    buf_putc(p->out, ' ');
    branch(p, n->branch.otherwise);
}

static void repeat(Printer *p, const Node *n)
{
    buf_puts(p->out, "repeat ");
    puts_name(p, n->repeat.axis);
    if (n->repeat.cond) {
        buf_puts(p->out, " while ");
        expr(p, n->repeat.cond, P_choose);
    }
    layout(p, &n->repeat.layout);
    block(p, n->repeat.body);
}

static void rule(Printer *p, const Node *n)
{
    puts_name(p, n->rule.word);
    if (n->rule.mesh.n || n->rule.subject.n) buf_putc(p->out, ' ');
    settings(p, n->rule.mesh);
    exprs(p, n->rule.subject);
    for (uint32_t i = 0; i < n->rule.nclauses; i++) {
        const Clause *c = &n->rule.clauses[i];
        buf_printf(p->out, " %s", clause_word(c->kind));
        if (c->terms.n) buf_putc(p->out, ' ');
        exprs(p, c->terms);
    }
}

static void statement(Printer *p, const Node *n)
{
    switch ((NodeKind)n->kind) {
    case N_use:
        use(p, n);
        return;
    case N_if:
        branch(p, n);
        return;
    case N_repeat:
        repeat(p, n);
        return;
    case N_rule:
        rule(p, n);
        return;
    case N_axis:
        buf_puts(p->out, "axis ");
        settings(p, n->axis);
        return;
    case N_param:
        buf_puts(p->out, "param ");
        vars(p, n->param.items);
        layout(p, &n->param.layout);
        return;
    case N_state:
        buf_puts(p->out, "state ");
        vars(p, n->state.items);
        layout(p, &n->state.layout);
        return;
    case N_assign:
        vars(p, n->assign.targets);
        buf_puts(p->out, " = ");
        exprs(p, n->assign.values);
        return;
    case N_return:
        buf_puts(p->out, "return ");
        exprs(p, n->ret);
        return;
    case N_for:
        buf_puts(p->out, "for ");
        names(p, n->loop.names);
        buf_puts(p->out, " in ");
        exprs(p, n->loop.lists);
        block(p, n->loop.body);
        return;
    case N_record:
        buf_puts(p->out, "record ");
        puts_name(p, n->record.name);
        buf_puts(p->out, " = ");
        expr(p, n->record.value, P_choose);
        return;
    case N_check:
    case N_skip:
        buf_puts(p->out, n->kind == N_check ? "check " : "skip ");
        expr(p, n->check.cond, P_choose);
        buf_puts(p->out, ", ");
        expr(p, n->check.text, P_choose);
        return;
    case N_update:
        buf_puts(p->out, n->update.paths.n ? "update " : "update");
        names(p, n->update.paths);
        buf_puts(p->out, " = ");
        expr(p, n->update.value, P_choose);
        return;
    default:
        plain(p, n);
    }
}

/* -------------------------------------------------------- declarations -- */

static void signature(Printer *p, const Decl *d)
{
    if (d->has_axes) {
        buf_putc(p->out, '[');
        for (uint32_t i = 0; i < d->naxes; i++) {
            comma(p, i);
            puts_name(p, d->axes[i].name);
            if (empty(d->axes[i].to)) continue;
            buf_puts(p->out, " -> ");
            puts_name(p, d->axes[i].to);
        }
        buf_putc(p->out, ']');
    }
    buf_putc(p->out, '(');
    vars(p, d->params);
    buf_putc(p->out, ')');
    if (!d->has_results) return;
    bool named = !empty(d->results.at[0].name);
    buf_puts(p->out, named ? " -> (" : " -> ");
    vars(p, d->results);
    buf_puts(p->out, named ? ")" : "");
}

static void callable(Printer *p, const Node *n, const char *word)
{
    const Decl *d = &n->decl;
    buf_printf(p->out, "%s %s", word, text(p, d->name.text));
    if (d->has_params) signature(p, d);
    if (!empty(d->of)) buf_printf(p->out, " of %s", text(p, d->of.text));
    if (d->targets.n) buf_puts(p->out, " for ");
    vars(p, d->targets);
    if (d->with.n) buf_puts(p->out, " with ");
    settings(p, d->with);
    block(p, d->body);
}

static void config(Printer *p, const Node *n)
{
    buf_printf(p->out, "config %s", text(p, n->config.name.text));
    if (!empty(n->config.base))
        buf_printf(p->out, " of %s", text(p, n->config.base.text));
    buf_puts(p->out, " {");
    for (uint32_t i = 0; i < n->config.items.n; i++) {
        const Setting *s = &n->config.items.at[i];
        buf_printf(p->out, "\n    %s = ", text(p, s->name.text));
        expr(p, s->value, P_choose);
        if (s->key.text.id)
            buf_printf(p->out, " as \"%s\"", text(p, s->key.text));
    }
    buf_puts(p->out, "\n}");
}

static void imports(Printer *p, const Node *n)
{
    buf_puts(p->out, "import ");
    for (uint32_t i = 0; i < n->import.n; i++) {
        comma(p, i);
        puts_name(p, n->import.at[i].name);
        if (!n->import.at[i].value) continue;
        buf_puts(p->out, " with ");
        expr(p, n->import.at[i].value, P_choose);
    }
}

static void declaration(Printer *p, const Node *n)
{
    switch ((NodeKind)n->kind) {
    case N_import:
        imports(p, n);
        return;
    case N_config:
        config(p, n);
        return;
    case N_fn:
        callable(p, n, "fn");
        return;
    case N_module:
    case N_model:
    case N_train:
    case N_entry:
    case N_optimizer:
    case N_plan:
        callable(p, n, node_words((NodeKind)n->kind));
        return;
    case N_block:
        block(p, n);
        return;
    default:
        statement(p, n);
    }
}

void ast_print(const Module *m, const Node *n, Buf *out)
{
    Printer p = {.m = m, .out = out};
    declaration(&p, n);
}

void ast_print_file(const Module *m, const File *f, Buf *out)
{
    for (uint32_t i = 0; i < f->decls.n; i++) {
        const Node *n = f->decls.at[i];
        bool small = n->kind == N_import || n->kind == N_axis;
        bool same = i > 0 && f->decls.at[i - 1]->kind == n->kind;
        if (i > 0 && !(small && same)) buf_putc(out, '\n');
        ast_print(m, n, out);
        buf_putc(out, '\n');
    }
}

const char *ast_str(Module *m, const Node *n)
{
    Buf b = {0};
    ast_print(m, n, &b);
    const char *s = arena_strndup(m->arena, b.at ? b.at : "", b.n);
    buf_release(&b);
    return s;
}

/* Every input; with several, each below a comment with its path. */
void frontend_print_ast(Frontend *f, Buf *out)
{
    uint32_t inputs = 0;
    for (uint32_t i = 0; i < f->files.n; i++)
        inputs += f->files.at[i]->input;
    for (uint32_t i = 0; i < f->files.n; i++) {
        const File *file = f->files.at[i];
        if (!file->input) continue;
        if (inputs > 1) buf_printf(out, "// %s\n", file->path);
        ast_print_file(f->m, file, out);
    }
}
