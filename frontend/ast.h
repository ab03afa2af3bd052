/*
 * ast.h: the syntax tree of a .tt file.
 *
 * Every node has the span of its whole text and the span of its head: where a
 * message about this node puts its caret.  The head of `x @ff w` is "@ff", of
 * `f[a](x)` it is "f[a]", of `x[a -> b]` the brackets, of `a * b` the operator,
 * of a declaration its name; a name is its own head.
 *
 * Nodes, lists and names live in the module's arena; texts are interned in
 * the module's string table.  A list is an array with a length.  An absent
 * node is NULL, an absent name has the empty text.
 *
 * depth is 1 for a leaf and one more than the deepest child otherwise.  The
 * parser refuses trees deeper than AST_MAX_DEPTH, so that walkers may recurse.
 */
#ifndef TITAN_AST_H
#define TITAN_AST_H

#include "frontend.h"

enum { AST_MAX_DEPTH = 400 };

typedef enum NodeKind {
#define NODE(kind, words) N_##kind,
#include "ast.def"
#undef NODE
    NODE_COUNT
} NodeKind;

typedef struct Node Node;

typedef struct Nodes {
    Node **at;
    uint32_t n;
} Nodes;

/* A word in the text; a dotted path ("attention.wq") is one Name too. */
typedef struct Name {
    Str text;
    Span span;
} Name;

typedef struct Names {
    Name *at;
    uint32_t n;
} Names;

/* name = value; in the arguments of a call the name may be absent.  In
 * `axis a, b = 3` the value may be. */
typedef struct Setting {
    Name name;
    Node *value;
    Name key; /* in a config: its text is a name in config.json, or empty */
} Setting;

typedef struct Settings {
    Setting *at;
    uint32_t n;
} Settings;

/* One item between brackets after an expression:
 *
 *     axes      term
 *     rename    term -> to          also split, merge, cat, top, linear[a -> b]
 *     pick      name = value        name is the head of `term` (a name node)
 *               name = value else otherwise
 *
 * What the items do is the checker's business. */
typedef enum ItemKind { ITEM_axis, ITEM_rename, ITEM_pick } ItemKind;

typedef struct Item {
    ItemKind kind;
    Span span;
    Node *term;      /* name, rest, product or sum */
    Node *to;        /* rename */
    Node *value;     /* pick: any expression, or a range */
    Node *otherwise; /* pick: after else, or NULL */
} Item;

typedef struct Items {
    Item *at;
    uint32_t n;
} Items;

/* An axis of a type: `seq`, `..`, `row: row / 2`. */
typedef struct AxisUse {
    Node *term; /* name, rest, product or sum */
    Node *size; /* after the colon, or NULL */
} AxisUse;

/* An axis argument of a module or function: `d`, or `from -> to`. */
typedef struct AxisParam {
    Name name;
    Name to; /* empty: no arrow */
} AxisParam;

/* x: f32[.., embed] = default.  Also the results of a signature, the targets
 * of an assignment, the items of param and state. */
typedef struct Var {
    Name name;
    Node *type; /* N_type or NULL */
    Node *init; /* or NULL */
} Var;

typedef struct Vars {
    Var *at;
    uint32_t n;
} Vars;

/* as "name" [dims] times "name" [dims], or as none. */
typedef struct FileLayout {
    Span span;
    bool present, none;
    Node *name; /* string */
    bool has_dims;
    Nodes dims;       /* name, product, sum or blocks, in memory order */
    Node *times_name; /* string or NULL */
    Nodes times_dims;
} FileLayout;

/* fn, module, model, train, entry, optimizer and plan. */
typedef struct Decl {
    Name name;
    bool has_axes; /* [..] was written */
    AxisParam *axes;
    uint32_t naxes;
    bool has_params; /* (..) was written */
    Vars params;
    Vars results; /* names are empty for a single unnamed result */
    bool has_results;
    Settings with; /* entry */
    Vars targets;  /* optimizer: after for, `p: [from -> to], g` */
    Name of;       /* plan: the train block */
    Node *body;    /* N_block; of a plan: of N_rule */
} Decl;

typedef enum BinaryOp {
    BIN_add,
    BIN_sub,
    BIN_mul,
    BIN_div,
    BIN_pow,
    BIN_eq,
    BIN_ne,
    BIN_lt,
    BIN_le,
    BIN_gt,
    BIN_ge,
    BIN_and,
    BIN_or
} BinaryOp;

typedef enum UnaryOp { UN_neg, UN_not } UnaryOp;

/* Rules of a plan and their clauses: `shard seq over cp order zigzag`. */
typedef enum RuleKind {
    RULE_none, /* an error was reported */
#define RULE(word, subject, clauses) RULE_##word,
#include "rules.def"
    RULE_COUNT
} RuleKind;

typedef enum ClauseKind {
#define CLAUSE(word, takes) CLAUSE_##word,
#include "rules.def"
    CLAUSE_COUNT
} ClauseKind;

typedef struct Clause {
    ClauseKind kind;
    Span span;
    Nodes terms; /* name (a path), number (bytes are numbers), string,
                    product */
} Clause;

struct Node {
    uint8_t kind; /* NodeKind */
    uint16_t depth;
    Span span, head;
    union {
        /* import std.nn, models.t5 with xxl: name and config of each; the
         * value of a Setting is a name node or NULL. */
        Settings import;
        /* axis a, b = 3, c = (a b), d = a + b.  Values: expression, product,
         * sum (only axis terms added), or NULL. */
        Settings axis;
        struct {
            Name name, base; /* base may be empty */
            Settings items;
        } config;
        Decl decl; /* fn module model train entry optimizer plan */

        struct {
            Name name;   /* as written, or the last part of the target */
            Name target; /* a path: "rmsnorm", "t5.encoder" */
            bool has_axes, has_args;
            Items axes;
            Settings args;
            bool frozen;
            FileLayout layout;
        } use;
        struct {
            Vars items; /* every item of a param has a type */
            FileLayout layout;
        } param, state;
        struct {
            Vars targets; /* "_" throws away; no inits */
            Nodes values; /* one for each target, or a single one */
        } assign;
        Nodes ret; /* N_return: values */
        struct {
            Node *cond;
            Node *then;      /* N_block */
            Node *otherwise; /* N_block, N_if or NULL */
        } branch;            /* N_if */
        struct {
            Names names;
            Nodes lists; /* one for each name: range, tuple or expression */
            Node *body;
        } loop; /* N_for */
        struct {
            Name axis;
            Node *cond; /* after while, or NULL */
            FileLayout layout;
            Node *body;
        } repeat;
        struct {
            Name name;
            Node *value;
        } record;
        struct {
            Node *cond;
            Node *text; /* string */
        } check;        /* and skip */
        struct {
            Names paths; /* none: whatever no earlier rule takes */
            Node *value;
        } update;
        Nodes block;
        struct {
            RuleKind kind;
            Name word;
            Settings mesh; /* RULE_mesh: name = size or product */
            Nodes subject; /* the others: name, number, product */
            Clause *clauses;
            uint32_t nclauses;
        } rule;

        /* f32[expert; embed -> head, hd]: axes[0, nover) stand before the
         * semicolon, then nfrom on the input side, the rest on the output
         * side.  Without an arrow nfrom is 0. */
        struct {
            Name dtype; /* may be empty */
            bool has_axes, has_over, has_arrow;
            AxisUse *axes;
            uint32_t naxes, nover, nfrom;
        } type;

        Str name; /* N_name */
        struct {
            double value;
            int64_t integer; /* when whole */
            bool whole;      /* written without point and exponent */
            Str text;        /* as written */
        } number;
        Str string; /* N_string: between the quotes, escapes resolved */
        struct {
            Node *fn;
            bool has_axes;
            Items axes;
            Settings args; /* empty names: by position */
        } call;
        struct {
            Node *base;
            Items items;
        } index;
        struct {
            Node *left, *right;
            Names axes;
        } contract;
        struct {
            BinaryOp op;
            Node *left, *right;
        } binary;
        struct {
            UnaryOp op;
            Node *x;
        } unary;
        struct {
            Node *cond, *yes, *no;
        } choose;
        Nodes tuple;
        struct {
            Node *base;
            Name name; /* digits for betas.0 */
        } field;
        struct {
            Node *first, *end; /* end is not part of it */
        } range;
        Nodes terms; /* N_product and N_sum */
        struct {
            Node *term;
            int64_t size;
        } blocks;
    };
};

typedef struct File File;

typedef struct Import {
    Name path;   /* as written: "models.t5" */
    Name config; /* after with, or empty */
    File *file;
} Import;

struct File {
    const char *path;
    uint32_t source; /* number in the Diag */
    bool library;    /* from the embedded library */
    bool input;      /* named on the command line */
    Nodes decls;
    Import *imports;
    uint32_t nimports;
};

/* Files are in the order of first use, imports before what imports them. */
struct Frontend {
    Module *m;
    FrontendOpts opts;
    VEC(File *) files;
    VEC(const char *) paths; /* of all files read, for -MD */
    VEC(const char *) why;   /* lines of --why */
    struct Sema *sema;       /* the checker's own */
};

const char *node_words(NodeKind kind);
const char *binary_text(BinaryOp op);
const char *rule_word(RuleKind kind);
const char *clause_word(ClauseKind kind);

/* Parses one text into decls; false: errors were reported. */
bool text_parse(Module *m, uint32_t source, Nodes *decls);
/* Canonical source of one file, one node, one expression. */
void ast_print_file(const Module *m, const File *f, Buf *out);
void ast_print(const Module *m, const Node *n, Buf *out);
/* An expression or type on one line, in the module's arena: for messages. */
const char *ast_str(Module *m, const Node *n);

#endif
