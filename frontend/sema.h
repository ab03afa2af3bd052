/*
 * sema.h: the checker, which is an elaborator.
 *
 * It runs the program while compiling: config values, sizes and static
 * decisions are known, tensors are values of the IR under construction.  So a
 * type is checked where a value is made, with the sizes at hand.
 *
 *     Unit      a file (or the inputs together): declarations, config, axes
 *     Scope     one activation of a function: names, axes, sizes, `..`
 *     Frame     one IR function under construction
 *     Site     where in the tree of instances: paths, stacked axes
 *     Val       what an expression gives
 *     Mem       a parameter or a state
 */
#ifndef TITAN_SEMA_H
#define TITAN_SEMA_H

#include "ast.h"

typedef struct Sema Sema;
typedef struct Val Val;
typedef struct Frame Frame;
typedef struct Scope Scope;
typedef struct Site Site;
typedef struct Unit Unit;
typedef struct Mem Mem;
typedef struct Instance Instance;

/* -------------------------------------------------------------- values -- */

typedef enum ValKind {
    VAL_error,  /* a report was made; silences the rest */
    VAL_number, /* known while compiling */
    VAL_string,
    VAL_lazy,   /* a scalar expression of indices only: no instruction yet */
    VAL_tensor, /* a value of a frame */
    VAL_tuple,
    VAL_bundle,   /* one value for each trained parameter */
    VAL_draw,     /* a random initial value, not drawn yet */
    VAL_callee,   /* fn, module, model, optimizer or builtin */
    VAL_instance, /* of a module */
    VAL_state     /* a name bound to a state: read when used */
} ValKind;

/* An axis that two operands had both, and that was matched by name.  What the
 * operands had aligned before hangs below. */
typedef struct Aligned Aligned;
struct Aligned {
    Axis axis;
    Str left, right;
    Span at;
    const Aligned *before[2];
};

typedef struct Builtin Builtin;

/* What can be called, with the axis arguments and constants given so far. */
typedef struct Callee {
    const Node *decl; /* NULL: builtin */
    Unit *unit;       /* of decl */
    const Builtin *builtin;
} Callee;

typedef enum DrawKind { DRAW_uniform, DRAW_normal, DRAW_op } DrawKind;
typedef struct Draw Draw;

struct Val {
    uint8_t kind;  /* ValKind */
    uint8_t dtype; /* DType; number: bool, i32 (whole) or f32 */
    bool may;      /* an input that the program compares with `number` */
    bool open;     /* in a trial of a repeat: may have further axes */
    Str name;      /* how a message names it; or empty */
    const Aligned *aligned;
    double number; /* VAL_number; with `may`: the number that it may be */
    union {
        Str string;
        struct {
            Expr expr;
            const TypeAxis *axes;
            uint32_t naxes;
        } lazy;
        struct {
            Frame *frame;
            Value value;
        } tensor;
        struct {
            Val *at;
            uint32_t n;
        } tuple; /* of a bundle: in the order of sema->trained */
        const Draw *draw;
        Callee callee;
        Instance *instance;
        Mem *mem;
    };
};

struct Draw {
    DrawKind kind;
    ScalarOp op;
    uint32_t n;
    Val args[3];
    Span at;
};

Val val_error(void);
Val val_number(double x);
Val val_whole(int64_t i);
Val val_bool(bool b);
static inline bool val_failed(const Val *v)
{
    return v->kind == VAL_error;
}
static inline bool val_is_number(const Val *v)
{
    return v->kind == VAL_number;
}
/* The axes that the value has in the present frame. */
const TypeAxis *val_axes(Sema *s, const Val *v, uint32_t *n);
const TypeAxis *val_axis(Sema *s, const Val *v, Axis a);
Val val_tensor(Sema *s, Value v);
/* As a value of the present frame: numbers and lazies are emitted. */
Value val_use(Sema *s, const Val *v, DType want);
Value val_here(Sema *s, const Val *v);
Type val_type(Sema *s, const Val *v);
bool val_is_elementary(const Val *v); /* number, lazy or tensor */
/* "[.., seq, embed]" as the reader of this scope sees it. */
const char *val_axes_str(Sema *s, const Val *v);
/* "12", "0.5", "-inf". */
const char *number_str(Sema *s, double x);
const char *val_label(Sema *s, const Val *v, const char *otherwise);
const Aligned *align_join(Sema *s, const Val *v, uint32_t n);

/* -------------------------------------------------------------- frames -- */

typedef enum FrameKind { FRAME_entry, FRAME_call, FRAME_repeat } FrameKind;

typedef struct Capture {
    Value outer, inner;
    bool stacked;
} Capture;

typedef struct MemVal {
    Mem *mem;
    Value value;
    bool written, carried;
} MemVal;

typedef enum ExportKind { EXPORT_record, EXPORT_check, EXPORT_skip } ExportKind;

/* A result that belongs to the entry, on its way out. */
typedef struct Export {
    ExportKind kind;
    Str path;
    Value value;
    Span at;
} Export;

/*
 * The function is built with its arguments where they were first needed, and
 * put in order when the frame is closed: carried, invariant, stacked, turn.
 */
struct Frame {
    Frame *up;
    FrameKind kind;
    Fn *fn;
    Builder b;
    uint32_t nargs;
    VEC(Capture) captures;
    VEC(MemVal) mems;
    VEC(Export) exports;
    /* FRAME_repeat */
    Axis axis;
    int64_t count;
    Value turn;
    VEC(Value) carried; /* placeholders of the carried names */
    /* FRAME_entry */
    VEC(Port) ports; /* with the placeholders in `carried` */
};

Frame *frame_open(Sema *s, FrameKind kind, const char *name, Loc loc);
/* A fresh argument, wherever the function has got to. */
Value frame_arg(Sema *s, Frame *f, Type t, Str name);
/* A value of an outer frame, as seen in `f`. */
Value frame_import(Sema *s, Frame *f, Frame *owner, Value v);
Value mem_read(Sema *s, Frame *f, Mem *mem);
/* Its value at the start of the entry. */
Value mem_before(Sema *s, Frame *f, Mem *mem);
void mem_write(Sema *s, Frame *f, Mem *mem, Value v);
/* Orders the arguments, drops what no result needs, adds the function. */
FnRef frame_close(Sema *s, Frame *f, const Value *args, uint32_t nargs,
                  const Value *results, uint32_t nresults);

/* --------------------------------------------------------------- places -- */

/* A node in the tree of instances.  A parameter's path, its name in a
 * checkpoint and its stacked axes follow from the places above it. */
struct Site {
    Site *up;
    Str name;     /* instance or axis of a repeat; empty: adds nothing */
    Str module;   /* the name of the module; empty for a repeat */
    Str ckpt;     /* part of a checkpoint name; empty: adds nothing */
    bool implied; /* called by its module's name: ckpt is for parameters that
                     have no name of their own there */
    bool no_ckpt; /* as none */
    bool frozen;
    bool repeats;
    TypeAxis axis;
};

Str site_path(Sema *s, const Site *p, Str last);
/* Outermost first. */
uint32_t site_axes(Sema *s, const Site *p, const TypeAxis **axes);

/* ----------------------------------------------------- groups of entries -- */

/* The entries `name.…`, which share the states of a session. */
typedef struct Group {
    Str name;
    Frame *init; /* the entry `name.init` under construction */
} Group;

/* --------------------------------------------------- parameters, states -- */

struct Mem {
    Str path;
    Site *site;
    Str name;
    Role role;
    Type type; /* with the axes of the repeats around it */
    bool frozen;
    uint32_t slot; /* index into module->slots */
    bool has_slot; /* false: lives for one call of an entry */
    const Node *node;
    Span at;
    const Axis *axes; /* its own, as written */
    uint32_t naxes;
    uint32_t over, from, to; /* [over; from -> to], counts of `axes` */
    Val init;       /* number, lazy or draw; tensor: of the init function */
    Mem *like;      /* initial value: that of another (shadow = params) */
    Group *group;   /* a state of its session; NULL: of none */
    Value initial;  /* in the function `init`, or that of its group */
    uint32_t entry; /* number of the entry in which it was last used */
};

/* ---------------------------------------------------------------- units -- */

typedef struct ConfigValue {
    Str name;
    Val value;
    Span at;         /* where it was set */
    Str config;      /* the block; empty: the command line */
    Name key;        /* names of it in config.json, with blanks; or empty */
    bool overridden; /* by -D */
} ConfigValue;

typedef struct AxisDecl {
    Str name;
    Span at;
    const Node *size; /* or NULL */
    Axis axis;
    bool has_axis; /* false: not used yet */
    bool busy;     /* its size is being computed */
} AxisDecl;

struct Unit {
    VEC(File *) files;
    VEC(Unit *) imports;
    VEC(AxisDecl) axes;
    VEC(ConfigValue) config;
    VEC(Instance *) instances;
    Str config_name;
    bool library, entered, busy;
    uint32_t mark; /* of the last search */
    Scope *scope;  /* of the file level */
};

typedef struct Call {
    const Node *node; /* the call */
    Span at;
    const Item *items; /* axis arguments */
    uint32_t nitems;
    Val *args;
    Str *names; /* empty: by position */
    Span *spans;
    uint32_t nargs;
} Call;

/* An instance of a module, or of a model at file level. */
struct Instance {
    Str name;
    Callee callee;
    Site *site;      /* its own, below its home */
    const Node *use; /* NULL: called by the name of the module */
    Scope *scope;    /* of the use: its axes are looked up there */
    Call consts;     /* the arguments given at the use */
};

/* --------------------------------------------------------------- scopes -- */

typedef struct Binding {
    Str name;
    Val value;
} Binding;

/* An axis name of this activation: the axes that it stands for, major
 * first (one, unless a product was given). */
typedef struct AxisBinding {
    Str name;
    const Axis *axes;
    uint32_t n;
    Span at;
    const Node *size; /* a local declaration with a size */
} AxisBinding;

typedef struct SizeBinding {
    Axis axis;
    int64_t size;
} SizeBinding;

typedef struct Called {
    Str module;
    Span at;
    Instance *instance;
} Called;

struct Scope {
    Scope *up; /* of the same activation, or NULL */
    Unit *unit;
    Site *site;
    const Node *decl; /* fn, module, ... */
    const Node *loop; /* of a repeat's body: the repeat */
    VEC(Binding) vars;
    VEC(AxisBinding) axes;
    VEC(SizeBinding) sizes;
    VEC(SizeBinding)
    latest; /* of names that were bound again, smaller or
               larger: x = down(x) */
    VEC(Called) called;
    Str index; /* of the enclosing `for` turns: ".0.1" */
    bool has_rest;
    const TypeAxis *rest;
    uint32_t nrest;
    const Scope *caller; /* NULL: not called */
    Span call_at;
    bool returned; /* of the activation's first scope */
    Val result;
    Span result_at;
    const Node *result_node;
};

/* Which declaration an axis of the IR comes from. */
typedef struct AxisOwner {
    Unit *unit;       /* of a file; NULL: declared inside a function */
    uint32_t index;   /* in unit->axes */
    const void *site; /* the declaration inside a function */
} AxisOwner;

typedef struct Train Train;

struct Sema {
    Frontend *f;
    Module *m;
    Arena *a;
    Unit *main, *prelude;
    VEC(Unit *) units;
    Frame *frame;
    Scope *scope;
    VEC(Mem *) mems;
    VEC(Mem *) trained;    /* not frozen, in the loss */
    Mem *updates;          /* the state that counts applied steps */
    VEC(AxisOwner) owners; /* by axis */
    bool as_entered;       /* sizes are those that the signature bound */
    bool sizing;           /* an axis name in an expression is its size */
    Frame *init;           /* the function `init` under construction */
    VEC(Group *) groups;
    Group *group;          /* of the present entry, or NULL */
    Val seed;              /* of the present entry */
    Mem *making;           /* whose initial value is being evaluated */
    uint32_t draws;        /* of that initial value, so far */
    VEC(ConfigValue) with; /* values that an entry sets */
    bool training;
    bool narrow; /* activations are bf16 */
    uint32_t entry;
    Mem *const *params_from; /* entry with params = ...; or NULL */
    Train *train;            /* while the train block is elaborated */
    const Node *train_node;  /* after it */
    bool ok;
    VEC(SizeBinding) sizes; /* of the entry: the global batch */
    uint32_t depth;         /* of activations */
    uint32_t nesting;       /* of expressions, through calls */
    uint32_t calls, turns;  /* so far, of everything: programs may not end */
    uint32_t search;
};

static inline Builder *here(Sema *s)
{
    return &s->frame->b;
}

/* Saturates: nothing of that size can be built. */
static inline int64_t times(int64_t a, int64_t b)
{
    int64_t r;
    return __builtin_mul_overflow(a, b, &r) ? INT64_MAX : r;
}

/* Clamped to what a double holds exactly; not a number is 0. */
static inline int64_t whole_of(double x)
{
    const int64_t most = (int64_t)1 << 53;
    if (x >= (double)most) return most;
    if (x <= -(double)most) return -most;
    return x == x ? (int64_t)x : 0;
}

#define STR(s, x) str_of((s)->m, (x))

/* scope.c */
Scope *scope_push(Sema *s, Unit *u, Scope *up);
Scope *scope_base(Scope *sc); /* the first of the activation */
Binding *scope_find(Scope *sc, Str name);
bool scope_in_rest(const Scope *sc, Axis a); /* it is one of `rest` */
void scope_bind(Sema *s, Scope *sc, Str name, Val v);
/* The name stands for states, one for each parameter. */
bool binds_states(const Binding *b);
/* What a name that can be called stands for. */
typedef struct Found {
    const Node *node; /* NULL: no file declares it */
    Unit *unit;
    const Node *other; /* in another import, as near; or NULL */
    const char *file;  /* unit_find_in: an import that is named so, or NULL */
} Found;
/* As seen in the files of U: theirs, then those of their imports, nearest
 * first, then the prelude's. */
Found unit_find(Sema *s, Unit *u, Str name);
/* As named by the LEN bytes at PATH, the whole of what an import says or its
 * end, in front of the name: what that file declares, and no other. */
Found unit_find_in(Sema *s, Unit *u, const char *path, size_t len, Str name);
/* The paths of all imports of U, which may be empty. */
const char *unit_imports(Sema *s, const Unit *u);
AxisDecl *unit_axis(Sema *s, Unit *u, Str name);
bool sema_units(Sema *s);
Unit *unit_of_file(Sema *s, const File *f);
/* The nearest of the words, or NULL. */
const char *nearest(const char *word, const char *const *words, uint32_t n);
/* "a, b, c", or "none". */
const char *joined(Sema *s, const char *const *words, uint32_t n);
Report *sema_error(Sema *s, DiagId id, Span at, const char *fmt, ...)
    PRINTF(4, 5);
Loc loc_at(Sema *s, const Node *n);

/* lower.c */
Sema *sema_begin(Frontend *f);
Frame *entry_frame(Sema *s, const char *name, Span at);

/* group.c */
/* Whether --entries asks for the entry; TRAINS: there is a train block. */
bool entry_wanted(const Sema *s, const char *name, bool trains);
/* Every word of --entries is an entry or a group. */
bool entries_known(Sema *s, const char *const *names, uint32_t n);
/* Makes it that of the present entry.  False: the name is taken. */
bool group_enter(Sema *s, const Node *entry);
/* The path of a state of the present session. */
Str group_path(Sema *s, Str path);
/* Drops an entry, and the slots that no other one has; before `init` is
 * closed. */
void entry_drop(Sema *s, const char *name);

/* config.c */
bool unit_configure(Sema *s, Unit *u, Str config, Span at);
ConfigValue *config_find(Sema *s, Unit *u, Str name);
/* As seen in the present scope: the library has its caller's values. */
ConfigValue *config_here(Sema *s, Str name);
/* The same, of the present scope's own file alone; the library has none. */
ConfigValue *config_own(Sema *s, Str name);
/* Each number of the program that has a name in config.json is an option,
 * config.NAME.KEY: what is read beside weights is compared with it. */
bool config_keys(Sema *s);

/* size.c */
typedef struct AxisList {
    Axis at[16];
    uint32_t n;
} AxisList;
/* The axes that a term stands for: a name, `..`, a product.  False: an error
 * was reported. */
bool axes_of_term(Sema *s, const Node *term, AxisList *out);
bool axes_of_name(Sema *s, Name name, AxisList *out);
/* The size of an axis in the present scope; 0: unknown. */
int64_t axis_size(Sema *s, Axis a);
bool axis_size_needed(Sema *s, Axis a, Span at, int64_t *out);
bool size_eval(Sema *s, const Node *n, int64_t *out);
void size_bind(Sema *s, Scope *sc, Axis a, int64_t size);
void size_follow(Sema *s, const Val *old, const Val *now);
/* A local declaration `axis a = 4`. */
bool axis_declare(Sema *s, const Node *n);
Axis axis_local(Sema *s, const void *site, Str name, Span at);
Axis axis_of_decl(Sema *s, Unit *u, AxisDecl *d);
/* The size that a declaration asks for; 0: it has none of its own. */
int64_t axis_declared_size(Sema *s, Axis a);

/* expr.c */
Val eval_node(Sema *s, const Node *n);
Val eval_name(Sema *s, Str name, Span at);
/* Reports that two imports declare it. */
Val val_ambiguous(Sema *s, const Found *d, Str name, Span at);
/* It is a value of the language, as `pi`, `zeros` or `step`. */
bool names_value(Sema *s, Str name);
bool eval_condition(Sema *s, const Node *n, bool *out); /* static */
Val eval_as(Sema *s, Val v, DType d, Span at);          /* cast */

/* elementwise.c */
Val elementwise(Sema *s, Span at, ScalarOp op, const Val *args, uint32_t n);
Val elementwise2(Sema *s, Span at, ScalarOp op, Val a, Val b);
bool sizes_agree(Sema *s, Span at, const Val *args, uint32_t n);
Val lazy_of(Sema *s, Expr e, const TypeAxis *axes, uint32_t n);
Expr lazy_here(Sema *s, const Val *v, Value *ops, uint32_t *nops);

/* index.c */
Val eval_index(Sema *s, const Node *n);
Val index_rename(Sema *s, Span at, Val x, const AxisList *from,
                 const AxisList *to);
Val index_gather(Sema *s, Span at, Val x, Axis a, Val ids, const Val *other);
Val index_pick(Sema *s, Span at, Val x, Axis a, int64_t i);
Val index_slice(Sema *s, Span at, Val x, Axis a, int64_t first, int64_t n);

/* builtin.c */
struct Builtin {
    const char *name;
    int least, most; /* arguments; most -1: any */
    Val (*run)(Sema *s, const Builtin *b, const Call *c);
    int which; /* ScalarOp, DType, ... */
};
const Builtin *builtin_find(const char *name);
/* index and size: their argument is the name of an axis. */
bool builtin_takes_axis(const Builtin *b);
Val reduce_axes(Sema *s, Span at, const char *kind, Val x, const Axis *axes,
                uint32_t n);
Val bundle_norm(Sema *s, Span at, const Val *v);
uint32_t builtin_names(const char **out, uint32_t most);

/* module.c */
Val eval_call(Sema *s, const Node *n);
Val call_fn(Sema *s, Span at, Callee c, const Val *args, uint32_t n);
bool exec_use(Sema *s, const Node *n);
/* name.0.1 inside the turns of `for`. */
Str indexed(Sema *s, Str name);

/* type.c */
typedef struct TypeCheck {
    Span at;
    const Node *value; /* the expression, for messages; or NULL */
    Str name;          /* of the function, or of what is declared */
    const char *verb;  /* "returns", "takes" */
    bool declared;     /* y: [..] = value */
    bool bind;         /* an argument: sizes and `..` are bound in the scope */
} TypeCheck;
bool type_check(Sema *s, const Node *type, Val *v, const TypeCheck *c);

typedef struct TypeLayout {
    Type type;
    DType dtype;
    AxisList list; /* as written */
    TypeAxis axes[16];
    uint32_t over, from, to;
} TypeLayout;
/* The type of a parameter, a state or an input, with the sizes in force. */
bool type_layout(Sema *s, const Node *type, const char *what, Str name,
                 TypeLayout *out);

/* stmt.c */
bool exec_block(Sema *s, const Node *block);
bool exec(Sema *s, const Node *n);

/* repeat.c */
bool exec_repeat(Sema *s, const Node *n);
/* Whether a statement of the body binds the name. */
bool repeat_binds(const Node *repeat, Str name);

/* param.c */
bool exec_param(Sema *s, const Node *n);
bool exec_state(Sema *s, const Node *n);
Mem *mem_find(Sema *s, Str path);
/* Its path as a reader of the program says it: repeats add nothing. */
const char *mem_words(Sema *s, const Mem *mem);
Mem *mem_make(Sema *s, Mem init);
/* A state of the optimizer, with the type of the parameter. */
Mem *state_like(Sema *s, const Var *v, Mem *param, bool *is_new);
/* The arguments of an update: as many as the optimizer has parameters. */
bool optimizer_args(Sema *s, const Node *call, Callee k, Val **out);
Value mem_initial(Sema *s, Mem *mem);

/* ckpt.c */
/* Where the layout names the factors of a product axis of the type (`hd` is
 * (freq two)), the parameter is kept by its factors. */
typedef struct Unfold {
    Axis whole[16];
    AxisList parts[16];
    uint32_t n;
} Unfold;
bool layout_unfold(Sema *s, const FileLayout *l, TypeLayout *t, Unfold *out);
bool mem_layout(Sema *s, Mem **mems, uint32_t n, const FileLayout *l);
Str layout_component(Sema *s, const FileLayout *l);

/* draw.c */
Val draw_call(Sema *s, const Call *c, bool normal);
Value draw_make(Sema *s, const Val *draw, Mem *mem);

/* train.c */
bool exec_update(Sema *s, const Node *n);
Val train_bundle(Sema *s, Span at, const char *name);
bool train_assigned(Sema *s, Str name, Val v, Span at);
/* After the loss: which parameters there are is known. */
bool train_params_known(Sema *s, Span at);
/* In an optimizer a state has the type of its parameter.  False: not in an
 * optimizer. */
bool optimizer_state(Sema *s, const Var *v, Mem **mem, bool *is_new);

/* named.c */
/* BASE is the word `update`, which nothing else is called here. */
bool names_updates(Sema *s, const Node *base);
/* update.NAME */
Val named_values(Sema *s, const Name *name);

/* lower.c: an argument of the entry, seen in the present frame. */
Value entry_scalar(Sema *s, const char *name, DType d);

/* plan.c */
bool plan_check(Sema *s, const Node *train);
/* Whether activations are bf16, by the command line, the plan that is meant, or
 * neither; false: an error was reported. */
bool plan_narrow(Sema *s, const Node *train, bool *narrow);

#endif
