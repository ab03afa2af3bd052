/*
 * ir.h: the intermediate representation.
 *
 * A Module holds functions; a function is a flat array of small instructions;
 * a value is the index of the instruction that makes it.  Strings, types,
 * attributes and scalar expressions are interned in the module: equal content
 * has an equal handle.  A pass reads one function and writes a new one.
 *
 *      insts   +----+----+----+----+----+----+
 *              | a0 | a1 | .. | e5 | m6 | r7 |      Value = index
 *              +----+----+----+--|-+----+----+
 *      args    | 0 1 | 5 5 | 6 | ...     <-+        e5 uses args[first..)
 *
 * Words, used everywhere with one meaning: *axis*, a named axis of a tensor;
 * *mesh axis*, always both words; *split*, an axis divided over mesh axes;
 * *pending*, a sum or maximum not yet made over a mesh axis; *role*, what a
 * port is to the run; *view*, global, local or kernel; *group*, ops fused in
 * one kernel; *region*, a recognised subgraph that keeps its definition;
 * *plan*, the user's text that says where; *image*, the compiled file.
 */
#ifndef TITAN_IR_H
#define TITAN_IR_H

#include "base/base.h"

/* ------------------------------------------------------------- handles -- */

typedef struct Axis { uint32_t id; } Axis;         /* order of declaration */
typedef struct MeshAxis { uint32_t id; } MeshAxis;
typedef struct Type { uint32_t id; } Type;         /* 0: none, 1: error */
typedef struct Attr { uint32_t id; } Attr;         /* 0: no attributes */
typedef struct Expr { uint32_t id; } Expr;         /* 0: none */
typedef struct Value { uint32_t id; } Value;
typedef struct FnRef { uint32_t id; } FnRef;       /* index into module->fns */
typedef struct Loc { uint32_t id; } Loc;           /* 0: no place */

#define NO_VALUE ((Value){UINT32_MAX})
#define NO_AXIS  ((Axis){UINT32_MAX})

typedef enum DType {
#define DTYPE(name, bytes, cls, st) DT_##name,
#include "../runtime/dtypes.def"
#undef DTYPE
    DT_count
} DType;

typedef enum DClass { DC_float, DC_int, DC_uint, DC_bool } DClass;

const char *dtype_name(DType d);
unsigned dtype_bytes(DType d);
/* A row of formats.def. */
typedef enum FormatTop { TOP_ieee, TOP_one, TOP_numbers } FormatTop;
typedef enum FormatOver { OVER_infinity, OVER_sat } FormatOver;
typedef struct Format {
    unsigned sign, exponent, mantissa; /* bits */
    int bias;
    FormatTop top;
    FormatOver over;
    uint64_t nan; /* bits */
} Format;
/* NULL for what is no float. */
const Format *dtype_format(DType d);
/* Of floats: the most by which rounding to it is off, relatively.  Else 0. */
double dtype_unit(DType d);
DClass dtype_class(DType d);
/* A float that f32 holds without loss. */
static inline bool dtype_fits_f32(DType d)
{
    return dtype_class(d) == DC_float && d != DT_f64;
}
bool dtype_find(const char *name, DType *out);
/* f32, f64, the integers and bool compute in themselves; narrower floats are
 * storage only. */
bool dtype_computes(DType d);
/* Every value of d is a value of `wide`, so a cast to it loses nothing. */
bool dtype_holds(DType wide, DType d);
/* In what a reduce, einsum, scatter or cumsum of d adds up when it does not
 * say: f64 in f64, other floats in f32, the rest in themselves. */
DType dtype_acc(DType d);
/* An integer or bool as its dtype holds it: the low bits, sign- or
 * zero-extended (u64: the same bits); bool: 0 or 1. */
int64_t dtype_wrap(DType d, uint64_t bits);

/* --------------------------------------------------------------- types -- */

typedef enum Spread { SPREAD_block, SPREAD_zig } Spread;
typedef enum PendingKind { PENDING_none, PENDING_sum, PENDING_max } PendingKind;

typedef struct TypeAxis {
    Axis axis;
    int64_t size;            /* logical, before splitting */
    const MeshAxis *splits;  /* outermost first */
    uint32_t nsplits;
    Spread spread;
} TypeAxis;

/* Interned: axes sorted by Axis.id, each at most once; a mesh axis occurs at
 * most once in the whole type, pending included.  A tuple has fields and
 * nothing else. */
typedef struct TypeInfo {
    DType dtype;
    PendingKind pending_kind;
    uint32_t naxes, npending, nfields;
    const TypeAxis *axes;
    const MeshAxis *pending;
    const Type *fields;
    bool is_tuple, is_error;
} TypeInfo;

/* ----------------------------------------------------------------- ops -- */

typedef enum Op {
#define OP(name, least, most, flags, views, req, opt) OP_##name,
#include "ops.def"
#undef OP
    OP_count
} Op;

enum {
    OPF_PURE = 1,
    OPF_LINEAR = 2,
    OPF_COMM = 4,
    OPF_FREE = 8,
    OPF_MOVE = 16,
    OPF_SAME = 32
};

typedef enum View { VIEW_global, VIEW_local, VIEW_kernel } View;
typedef enum Phase { PHASE_forward, PHASE_backward, PHASE_update } Phase;

typedef enum AttrKey {
#define ATTR(name, kind) AT_##name,
#include "attrs.def"
#undef ATTR
    ATTR_COUNT
} AttrKey;

typedef enum AttrKind {
    AK_axis, AK_axes, AK_mesh, AK_int, AK_ints, AK_word, AK_str, AK_dtype,
    AK_expr, AK_fn, AK_flag
} AttrKind;

typedef struct OpInfo {
    const char *name;
    int least, most;
    uint32_t flags, views;       /* views: bit 1 << View */
    uint64_t required, optional; /* bit 1 << AttrKey */
} OpInfo;
const OpInfo *op_info(Op op);
/* All of these flags. */
static inline bool op_has(Op op, unsigned flags)
{
    return (op_info(op)->flags & flags) == flags;
}
bool op_find(const char *name, Op *out);
const char *attr_name(AttrKey k);
AttrKind attr_kind(AttrKey k);

/* One attribute: which member holds depends on attr_kind(key). */
typedef struct AttrItem {
    AttrKey key;
    uint32_t n;                /* lists: length */
    union {
        int64_t i;             /* int, flag (1), dtype */
        uint32_t id;           /* axis, word and str (Str), expr, fn */
        const Axis *axes;
        const MeshAxis *mesh;
        const int64_t *ints;
    };
} AttrItem;

/* Interned, sorted by key. */
typedef struct AttrInfo {
    uint32_t n;
    const AttrItem *items;
} AttrInfo;

typedef struct Inst {
    uint8_t op;     /* Op */
    uint8_t phase;  /* Phase: part of the CSE key */
    uint16_t nargs; /* operands: fn->args[first .. first + nargs) */
    uint32_t first;
    Type type;
    Attr attr;
    Loc loc;
} Inst; /* 20 bytes */

/* --------------------------------------------------- scalar expressions -- */

typedef enum ScalarOp {
    SC_arg,   /* _i: element of operand i, aligned by axis name */
    SC_const, /* a number of the node's dtype */
    SC_index, /* index(axis): i32, the logical index along an axis of the
                 result; in a local view it counts over the whole axis */
    SC_cast,  /* dtype(x) */
#define SCALAR(name, args, form, operands, result) SC_##name,
#include "scalar.def"
#undef SCALAR
    SC_count
} ScalarOp;

typedef struct ExprInfo {
    uint8_t op;    /* ScalarOp */
    uint8_t dtype; /* DType of the result */
    uint8_t nargs;
    Expr args[3];
    union {
        uint32_t operand; /* SC_arg */
        Axis axis;        /* SC_index */
        double f;         /* SC_const of a float dtype, rounded to it */
        int64_t i;        /* SC_const of an integer dtype or bool */
    };
} ExprInfo;

typedef struct ScalarInfo {
    const char *name, *form;
    unsigned nargs;
} ScalarInfo;
const ScalarInfo *scalar_info(ScalarOp op);
bool scalar_find(const char *name, ScalarOp *out);
/* Costs less to compute again than to write and read back: one or a few plain
 * instructions, no division, root or polynomial. */
bool scalar_is_cheap(ScalarOp op);
/* The dtype that a scalar function gives; false: it does not take these. */
bool scalar_typed(ScalarOp op, const DType *args, DType *result);

/* ----------------------------------------------------- functions, module -- */

typedef enum Role {
    ROLE_none,
    ROLE_param,  /* slot: a parameter; as a result: its next value */
    ROLE_state,  /* slot: optimizer or module state; likewise */
    ROLE_input,  /* a field of the data, e.g. "tokens" */
    ROLE_scalar, /* from the runtime: "step" i32 (from 1), "seed" i64 */
    ROLE_record, /* result: a named number or curve to log */
    ROLE_check,  /* result: bool, the path is the message */
    ROLE_output, /* result of an entry */
    ROLE_skip,   /* result: bool, where true the step was not applied; the
                  * path is the reason */
    ROLE_count
} Role;
const char *role_name(Role r);
bool role_is_slot(Role r); /* param, state */

/* The memory that a buffer lies in; the words of the attribute `base`. */
typedef enum Base {
    BASE_persistent,
    BASE_io,
    BASE_frame,
    BASE_lane,
    BASE_host, /* of the host, pinned where the device is a GPU */
    BASE_count
} Base;
const char *base_name(Base b);

/* An argument or a result of a function. */
typedef struct Port {
    Str name;   /* argument: its value's name */
    Type type;
    Role role;
    Str path;   /* slot path, input, scalar or record name */
    Type whole; /* of what each device has its own part: the whole tensor, with
                 * its splits; {0}: `type` says all */
    Loc loc;
} Port;
static inline Type port_whole(const Port *p)
{
    return p->whole.id ? p->whole : p->type;
}

typedef struct Fn {
    Str name;
    View view;
    bool entry;  /* one of train, validate, init, ... */
    Str kind;    /* region or group kind; empty for an ordinary function */
    Loc loc;
    uint32_t nparams; /* the first nparams instructions are OP_arg */
    Port *params;
    uint32_t nresults;
    Port *results;
    Value *result_values;
    uint32_t ninsts, cap_insts;
    Inst *insts;
    Str *names;       /* one per instruction; empty: numbered when printed */
    uint32_t nargs, cap_args;
    Value *args;      /* the operand pool */
} Fn;

/* How a slot lies in a checkpoint: one tensor (per index of the axes in
 * braces in its name), each dimension a product of axes, major first, at an
 * offset in a dimension that may be longer (fused tensors). */
typedef struct CkptDim {
    uint32_t naxes;
    const Axis *axes;
    int64_t offset, total; /* total: the whole dimension */
    int64_t block;         /* of the whole dimension, how many indices share an
                              element of the scale; 0: the scale has no such
                              dimension */
} CkptDim;

/* What stands in a brace of a name: axes, each times a number above 0, and a
 * number, added up: {layer}, {layer+3}, {block*6+local+1}. */
enum { CKPT_TERMS = 4 };
typedef struct CkptBrace {
    uint32_t n;
    Axis axes[CKPT_TERMS];
    int64_t times[CKPT_TERMS];
    int64_t plus;
} CkptBrace;

typedef struct Ckpt {
    Str name;       /* "model.layers.{layer}.q_proj.weight" */
    uint32_t ndims;
    const CkptDim *dims;
    Str scale;      /* a tensor that the file's values are multiplied by, of the
                       same braces, a dimension for each with a block; empty:
                       none */
} Ckpt;

typedef struct Slot {
    Str path;       /* "layers.attention.wq" */
    Type type;      /* stacked over the axes of the repeats around it */
    Role role;      /* param or state */
    bool frozen;    /* no gradient, no update */
    bool saved;     /* kept over the life of a run and saved; false: of a
                       session (a cache): lives while the entries that have it
                       are the only ones that run */
    bool host;      /* lies in the memory of the host */
    uint32_t nfrom; /* params: how many axes, of `fan`, are the input side */
    uint32_t nto;
    const Axis *fan; /* [from..., to...] of [from -> to]; empty without arrow */
    bool has_ckpt;
    Ckpt ckpt;
    Str block;      /* path of the first slot of those that lie row by row in
                       one place, in the order of the module; empty: alone */
    Str whole;      /* a part of a slot, which one stage of a pipeline has: the
                       path of all of it; empty: it is whole */
    Axis along;     /* a part: the axis of which it has the indices from `start`
                       on; all of it has `total` */
    int64_t start, total;
    Loc loc;
} Slot;

typedef struct AxisInfo {
    Str name;
    int64_t size; /* default; 0: none.  A type may say another. */
    Loc loc;
} AxisInfo;

typedef struct MeshInfo {
    Str name;
    int64_t size;
} MeshInfo;

/* A place: a span, and the place it was derived from by inlining or a pass
 * (0: none).  Pass: the name of the pass that made it, or empty. */
typedef struct LocInfo {
    Span span;
    Loc from;
    Str pass;
} LocInfo;

/* name = value pairs that passes read ("dtype", "accumulate"), so that a
 * .tir file alone reproduces a run. */
typedef struct Option {
    Str name, value;
} Option;

/* Where a plan says what a pass reads of an option and talks of. */
typedef struct RulePlace {
    Str text;
    Span at;
} RulePlace;

typedef struct Module {
    Arena *arena;   /* module life time: everything below */
    Arena *scratch; /* reset after each pass by the driver */
    Diag *diag;
    StrTable strs;
    VEC(AxisInfo) axes;
    VEC(MeshInfo) mesh;
    VEC(TypeInfo) types;
    VEC(AttrInfo) attrs;
    VEC(ExprInfo) exprs;
    VEC(LocInfo) locs;
    Map type_map, attr_map, expr_map, axis_map, slot_map;
    VEC(Fn *) fns;  /* in order; a pass may replace, append or remove */
    VEC(Slot) slots;
    VEC(Option) options;
    VEC(RulePlace) rule_places;
} Module;

void module_init(Module *m, Arena *arena, Arena *scratch, Diag *diag);

/* Strings. */
static inline Str module_str(Module *m, const char *s)
{
    return str_intern(&m->strs, s);
}
static inline const char *str_of(const Module *m, Str s)
{
    return str_text(&m->strs, s);
}

/* Axes are ordered by declaration.  axis_of declares on first use. */
Axis axis_of(Module *m, Str name, int64_t size, Loc loc);
bool axis_find(const Module *m, Str name, Axis *out);
/* A new axis whose name starts with `stem` and is not in use. */
Axis axis_fresh(Module *m, const char *stem, int64_t size);
const char *axis_name(const Module *m, Axis a);
MeshAxis mesh_of(Module *m, Str name, int64_t size);
bool mesh_find(const Module *m, Str name, MeshAxis *out);
const char *mesh_name(const Module *m, MeshAxis a);

Loc loc_of(Module *m, Span span);
Loc loc_derive(Module *m, Loc from, Str pass);
Span loc_span(const Module *m, Loc loc);

/* Reads the brace of a checkpoint name that `p` stands at; behind it, or NULL
 * where it is none. */
const char *brace_read(Module *m, const char *p, CkptBrace *out);
void brace_print(const Module *m, const CkptBrace *b, Buf *out);
bool brace_has(const CkptBrace *b, Axis a);

Slot *slot_find(const Module *m, Str path);
/* PATH is WANTED, or ends in it behind a dot. */
bool path_ends(const char *path, const char *wanted);
Slot *slot_add(Module *m, Slot slot);
/* Drops the slots, by number, that are not to be kept. */
void slots_keep(Module *m, const bool *keep);
Str option_get(const Module *m, const char *name); /* empty: not set */
void option_set(Module *m, const char *name, const char *value);
int64_t option_int(const Module *m, const char *name, int64_t otherwise);
/* By what the pass calls the rule, of equal ones the last; nowhere, {0}, where
 * the module was text. */
void rule_place_set(Module *m, const char *text, Span at);
Span rule_place(const Module *m, const char *text);
/* In how many parts the option `chunks` cuts what devices exchange. */
enum { MOST_CHUNKS = 64 };

/* --------------------------------------------------------- types (type.c) -- */

Type type_intern(Module *m, const TypeInfo *info);
/* A plain tensor: axes in any order, no splits. */
Type type_tensor(Module *m, DType d, const TypeAxis *axes, uint32_t n);
Type type_scalar(Module *m, DType d);
Type type_tuple(Module *m, const Type *fields, uint32_t n);
Type type_with_dtype(Module *m, Type t, DType d);
/* Replaces, or adds when absent. */
Type type_with_axis(Module *m, Type t, TypeAxis a);
Type type_without_axis(Module *m, Type t, Axis a);
Type type_without_axes(Module *m, Type t, const Axis *axes, uint32_t n);
Type type_renamed(Module *m, Type t, const Axis *from, const Axis *to,
                  uint32_t n);
/* Union of the axes of both (sizes must agree), dtype of a. */
Type type_union(Module *m, Type a, Type b);
/* Of an einsum: a product and a sum for each index of both operands. */
double einsum_flops(Module *m, const Fn *fn, const Inst *in);

static inline const TypeInfo *type_info(const Module *m, Type t)
{
    return &m->types.at[t.id];
}
/* What one device holds of it: sizes of its own, nothing split or pending. */
Type type_local(Module *m, Type t);
/* NULL when the type has no such axis. */
const TypeAxis *type_axis(const Module *m, Type t, Axis a);
/* Both are split over the same mesh axes, in the same way. */
bool splits_same(const TypeAxis *a, const TypeAxis *b);
int64_t type_size(const Module *m, Type t, Axis a);  /* 0: no such axis */
int64_t type_local_size(const Module *m, const TypeAxis *a); /* rounds up */
/* How many indices of an axis the first device has, and the last one. */
typedef struct AxisShare {
    int64_t first, last;
} AxisShare;
/* The same after one more split, into parts of the rounded-up size. */
AxisShare axis_share_cut(AxisShare x, int64_t parts);
int64_t type_elements(const Module *m, Type t);      /* logical; saturates */
int64_t type_local_elements(const Module *m, Type t);
int64_t type_bytes(const Module *m, Type t);         /* local bytes */
/* At most 2^56 elements on a device, whose bytes fit with room; of all devices
 * together, and where nothing is split yet, at most 2^58. */
bool type_fits(const Module *m, Type t, View view);
static inline bool type_eq(Type a, Type b) { return a.id == b.id; }
static inline DType type_dtype(const Module *m, Type t)
{
    return (DType)type_info(m, t)->dtype;
}
/* "f32[batch/dp, seq, embed]+tp", in the module's arena. */
const char *type_str(Module *m, Type t);
const char *axes_str(Module *m, const Axis *axes, uint32_t n); /* "a, b" */
bool axes_have(const Axis *axes, uint32_t n, Axis a);
bool mesh_axes_have(const MeshAxis *axes, uint32_t n, MeshAxis a);
bool type_axes_have(const TypeAxis *axes, uint32_t n, Axis a);

/* --------------------------------------------------- attributes (attr.c) -- */

typedef struct AttrList {
    AttrItem items[ATTR_COUNT];
    uint32_t n;
} AttrList;

/* These replace, or add when absent. */
void attr_put_int(AttrList *l, AttrKey k, int64_t i); /* int, flag, dtype */
void attr_put_id(AttrList *l, AttrKey k, uint32_t id); /* axis word str expr fn */
void attr_put_axes(AttrList *l, AttrKey k, const Axis *axes, uint32_t n);
void attr_put_mesh(AttrList *l, AttrKey k, const MeshAxis *mesh, uint32_t n);
void attr_put_ints(AttrList *l, AttrKey k, const int64_t *ints, uint32_t n);
Attr attr_intern(Module *m, AttrList *l); /* sorts; lists are copied */
/* The list of an interned attribute, to change and intern again. */
AttrList attr_list(const Module *m, Attr a);
void attr_drop(AttrList *l, AttrKey k);
/* A with another K: what attr_put_id puts. */
Attr attr_with_id(Module *m, Attr a, AttrKey k, uint32_t id);

const AttrItem *attr_get(const Module *m, Attr a, AttrKey k); /* or NULL */
int64_t attr_int(const Module *m, Attr a, AttrKey k, int64_t otherwise);
bool attr_flag(const Module *m, Attr a, AttrKey k);
/* Whether a list of axes names one; without a list: no. */
bool attr_item_has(const AttrItem *list, Axis axis);
/* Whether two lists of mesh axes name the same, in whatever order. */
bool attr_mesh_same(const AttrItem *x, const AttrItem *y);
/* Whether some attribute names the axis. */
bool attr_names_axis(const Module *m, Attr a, Axis axis);
Axis attr_axis(const Module *m, Attr a, AttrKey k);
Str attr_str(const Module *m, Attr a, AttrKey k); /* word or str; or empty */
bool attr_is(const Module *m, Attr a, AttrKey k, const char *word);
DType attr_dtype(const Module *m, Attr a, AttrKey k, DType otherwise);
Expr attr_expr(const Module *m, Attr a);          /* body */
FnRef attr_fn(const Module *m, Attr a, AttrKey k);

/* -------------------------------------------- scalar expressions (scalar.c) */
/* The builders fold constants and apply exact identities only (x*1, x+0 where
 * x cannot be -0 is not exact and is left alone; where(true, a, b); cast to
 * the same dtype; select of equal arms).  Operands must agree in dtype, as
 * scalar.def says; a mismatch is a BUG. */

Expr expr_arg(Module *m, uint32_t operand, DType d);
Expr expr_float(Module *m, DType d, double f);
Expr expr_int(Module *m, DType d, int64_t i); /* integers and bool */
static inline Expr expr_i32(Module *m, int64_t i)
{
    return expr_int(m, DT_i32, i);
}
Expr expr_index(Module *m, Axis axis);
Expr expr_cast(Module *m, DType d, Expr x);
Expr expr_op(Module *m, ScalarOp op, Expr a, Expr b, Expr c); /* {0}: absent */
static inline Expr expr_op1(Module *m, ScalarOp op, Expr a)
{
    return expr_op(m, op, a, (Expr){0}, (Expr){0});
}
static inline Expr expr_op2(Module *m, ScalarOp op, Expr a, Expr b)
{
    return expr_op(m, op, a, b, (Expr){0});
}
static inline const ExprInfo *expr_info(const Module *m, Expr e)
{
    return &m->exprs.at[e.id];
}
static inline DType expr_dtype(const Module *m, Expr e)
{
    return (DType)expr_info(m, e)->dtype;
}
/* A number of the dtype of LIKE. */
static inline Expr expr_like(Module *m, Expr like, int64_t i)
{
    return expr_int(m, expr_dtype(m, like), i);
}
/* Replaces _i by with[i], and index(a) by index_with(a) where that is not
 * {0} (index_with may be NULL). */
typedef struct ExprSubst {
    const Expr *with;
    uint32_t n;
    Expr (*index_with)(Module *m, Axis a, void *user);
    void *user;
} ExprSubst;
Expr expr_subst(Module *m, Expr e, const ExprSubst *s);
/* _i for each of ARGS, in its dtype. */
const Expr *expr_args(Module *m, const struct Fn *fn, const Value *args,
                      uint32_t n);
/* Replaces index(axis) by WITH. */
Expr expr_subst_index(Module *m, Expr e, Axis axis, Expr with);
/* One past the largest operand number used. */
uint32_t expr_operands(const Module *m, Expr e);
bool expr_uses_index(const Module *m, Expr e, Axis a);
/* Whether a map asks where along some axis of a type it is. */
bool map_asks_index(const Module *m, const Inst *map, Type axes);
/* Distinct nodes below e, e included. */
uint32_t expr_nodes(const Module *m, Expr e);
/* Those nodes, operands before uses, e last. */
Expr *expr_walk(const Module *m, Expr e, Arena *a, uint32_t *n);
/* Where E, which is one of them, stands in a walk. */
uint32_t expr_place(const Expr *walk, uint32_t n, Expr e);
/* How E depends on the operands that are marked.  A term without them beside
 * terms with them is another way: a sum over parts would count it once for
 * each. */
typedef enum Degree {
    DEGREE_zero,   /* the constant 0, which is a multiple of anything */
    DEGREE_none,   /* not at all */
    DEGREE_linear, /* as a sum of multiples of them */
    DEGREE_other
} Degree;
Degree expr_degree(Module *m, Expr e, const bool *marked);
/* An operand, perhaps cast: of two numbers the larger one comes out larger, or
 * they are equal, and NaN is NaN.  So it may be taken of a pending maximum. */
bool expr_keeps_order(const Module *m, Expr e);

/* ------------------------------------------------- building (build.c) -- */

/* The one door through which instructions are emitted: folding and CSE
 * happen here.  CSE's key is (op, phase, type, attr, operands); only PURE ops
 * take part. */
typedef struct Builder {
    Module *m;
    Fn *fn;
    Loc loc;
    Phase phase;
    Map cse;
    bool no_fold; /* keep what is emitted, for the parser */
} Builder;

Fn *fn_new(Module *m, Str name, View view);
FnRef module_add_fn(Module *m, Fn *fn);
Fn *fn_of(const Module *m, FnRef f);
/* Some instruction is the op, or has the attribute. */
bool fn_has_op(const Fn *fn, Op op);
bool fn_has_attr(const Module *m, const Fn *fn, AttrKey k);
bool fn_find(const Module *m, Str name, FnRef *out);
/* What a function is: the word of its kind (kinds.def), up to a dot. */
typedef enum FnKind {
    FK_none, /* ordinary, or of a kind that the table lacks */
#define KIND(name, class, what) FK_##name,
#include "kinds.def"
#undef KIND
    FK_count
} FnKind;
FnKind fn_kind(const Module *m, const Fn *fn);
const char *fn_kind_word(FnKind k);
bool fn_kind_is_region(FnKind k);
/* Of that kind exactly: what is behind a dot is another; FK_none: ordinary. */
bool fn_is(const Module *m, const Fn *fn, FnKind k);
/* Every function is of the global view. */
bool module_is_global(const Module *m);
/* A name that is not in use: stem, stem.1, stem.2, ... */
Str fn_fresh_name(Module *m, const char *stem);
/* Drops every function that is no root (a bool per function) and that no root
 * reaches; the others are numbered anew, in their attributes too. */
void module_sweep(Module *m, const bool *roots);

/* How much of a rank function's name is that of its entry, train of
 * train.rank1, and which rank it is; 0: it is of none.  ranks.c */
size_t fn_rank(const Module *m, const Fn *fn, uint32_t *rank);
/* How many ranks the pipeline of a module has; 0: it has none. */
uint32_t module_ranks(const Module *m);
/* An entry of the kernel view that runs on the rank; without ranks, on 0. */
bool fn_runs_on(const Module *m, const Fn *fn, uint32_t rank);
/* By function: the rank's entries launch it, or run it in a loop. */
bool *rank_reaches(const Module *m, uint32_t rank, Arena *a);

void builder_init(Builder *b, Module *m, Fn *fn);
/* All arguments first, then instructions. */
Value builder_param(Builder *b, Port port);
Value emit(Builder *b, Op op, Type type, Attr attr, const Value *args,
           uint32_t n);
void builder_result(Builder *b, Value v, Port port); /* port.type is set here */
void value_set_name(Builder *b, Value v, Str name);  /* first name wins */

static inline const Inst *inst_of(const Fn *fn, Value v)
{
    return &fn->insts[v.id];
}
/* It calls a function of its own view. */
static inline bool inst_calls(const Inst *in)
{
    return in->op == OP_call || in->op == OP_repeat;
}
static inline Value inst_arg(const Fn *fn, const Inst *in, uint32_t i)
{
    return fn->args[in->first + i];
}
static inline Type value_type(const Fn *fn, Value v)
{
    return fn->insts[v.id].type;
}
static inline bool value_eq(Value a, Value b) { return a.id == b.id; }

/* Typed emitters: they compute the result type.  All are ordinary calls of
 * emit, so they fold. */
Value emit_map(Builder *b, Expr body, const Value *args, uint32_t n);
/* A map with further axes in the result (a broadcast along them). */
Value emit_map_over(Builder *b, Expr body, const Value *args, uint32_t n,
                    const TypeAxis *more, uint32_t nmore);
Value emit_const(Builder *b, DType d, double x); /* scalar */
Value emit_cast(Builder *b, Value x, DType d);
Value emit_unary(Builder *b, ScalarOp op, Value x);
Value emit_binary(Builder *b, ScalarOp op, Value x, Value y); /* aligns */
Value emit_where(Builder *b, Value c, Value x, Value y);
Value emit_broadcast(Builder *b, Value x, const TypeAxis *more, uint32_t n);
Value emit_reduce(Builder *b, const char *kind, Value x, const Axis *axes,
                  uint32_t n, DType result, DType acc);
Value emit_einsum(Builder *b, Value x, Value y, const Axis *sum, uint32_t n,
                  DType result, DType acc);
Value emit_einsum_fast(Builder *b, Value x, Value y, const Axis *sum,
                       uint32_t n, DType result, DType acc);
Value emit_rename(Builder *b, Value x, const Axis *from, const Axis *to,
                  uint32_t n);
Value emit_split(Builder *b, Value x, Axis axis, const TypeAxis *to,
                 uint32_t n);
Value emit_merge(Builder *b, Value x, const Axis *from, uint32_t n, Axis to);
Value emit_slice(Builder *b, Value x, Axis axis, int64_t start, int64_t size,
                 int64_t step);
Value emit_pick(Builder *b, Value x, Axis axis, int64_t index);
Value emit_pad(Builder *b, Value x, Axis axis, int64_t low, int64_t high,
               int64_t step);
Value emit_concat(Builder *b, const Value *xs, uint32_t n, Axis axis);
Value emit_stack(Builder *b, const Value *xs, uint32_t n, Axis axis);
Value emit_window(Builder *b, Value x, Axis axis, const TypeAxis *to,
                  const int64_t *coef, uint32_t n, int64_t start);
Value emit_fold(Builder *b, Value x, TypeAxis axis, const Axis *to,
                const int64_t *coef, uint32_t n, int64_t start);
Value emit_gather(Builder *b, Value x, Value ids, Axis axis);
/* `axis` with its size is an axis of the result; `keep` are the other axes of
 * the result; every other axis of ids or updates is summed. */
Value emit_scatter(Builder *b, Value ids, Value updates, TypeAxis axis,
                   const Axis *keep, uint32_t nkeep, DType result);
Value emit_put(Builder *b, Value base, Value ids, Value x, Axis axis);
/* The same where no two ids name one element of the base. */
Value emit_put_distinct(Builder *b, Value base, Value ids, Value x, Axis axis);
Value emit_cumsum(Builder *b, Value x, Axis axis, bool reverse,
                  bool exclusive);
/* Indices (i32) of the `k` largest (kind max) or smallest (min) along axis,
 * in order, ties by lower index; NaN counts as largest. */
Value emit_top(Builder *b, Value x, Axis axis, TypeAxis to, const char *kind);
/* A tuple when the callee has several results; else its only result. */
Value emit_call(Builder *b, FnRef f, const Value *args, uint32_t n);
Value emit_proj(Builder *b, Value tuple, uint32_t index);

/* --------------------------------------- collectives of one size (dense.c) */

/* How many devices a group over these mesh axes has. */
int64_t group_size(const Module *m, const MeshAxis *over, uint32_t n);
/* Whether IN moves or combines what devices hold as it is, rather than by the
 * splits of types; GROUP: the axis that counts the devices, or NO_AXIS. */
bool collective_is_dense(const Module *m, const Fn *fn, const Inst *in,
                         Axis *group);

/* ------------------------------------------- rewriting (rewrite.c, uses.c) */

/* Copies one function into a new one, value by value.
 *
 *     Rewrite rw;
 *     rewrite_begin(&rw, m, old);          parameters are copied
 *     for each instruction v of old after the parameters:
 *         rewrite_copy(&rw, v)             or emit something else and
 *         rewrite_set(&rw, v, made)
 *     rewrite_end(&rw)                     results are mapped; returns new fn
 */
typedef struct Rewrite {
    Builder b;
    const Fn *old;
    Value *map; /* old value -> new value */
} Rewrite;
/* N values of which none is made yet: NO_VALUE. */
Value *no_values(Arena *a, uint32_t n);
void rewrite_begin(Rewrite *rw, Module *m, const Fn *old);
Value rewrite_value(const Rewrite *rw, Value old);
void rewrite_set(Rewrite *rw, Value old, Value made);
Value rewrite_copy(Rewrite *rw, Value old);
Fn *rewrite_end(Rewrite *rw);

typedef struct Uses {
    uint32_t *first; /* uses of v: at[first[v] .. first[v + 1]) */
    Value *at;       /* the using instructions, once per operand */
    uint32_t *nresult; /* how often v is a result of the function */
} Uses;
Uses fn_uses(const Fn *fn, Arena *a);
/* bool per instruction: reachable from the results, or with effects. */
bool *fn_needed(const Module *m, const Fn *fn, Arena *a);
/* A copy of FN with the instructions that are needed, and no others. */
Fn *fn_without_unneeded(Module *m, const Fn *fn);

/* ------------------------------------- text (print.c, parse.c), verifying -- */

typedef struct PrintOpts {
    bool locs; /* @file:line:col at the end of each line */
} PrintOpts;
void module_print(Module *m, const PrintOpts *o, Buf *out);
void inst_print(Module *m, const Fn *fn, Value v, Buf *out); /* one line */
/* Parses and verifies nothing; errors go to m->diag with ids ir-*. */
bool module_parse(Module *m, uint32_t source);
/* Every constraint of ir/ops.md; reports ir-* errors and returns false. */
bool module_verify(Module *m);

#include "layout.h"
#include "order.h"
#include "live.h"
#include "tile.h"
#include "column.h"
#include "turned.h"
#include "both.h"
#include "remat.h"
#include "interp/interp.h"

#endif
