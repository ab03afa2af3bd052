/*
 * expand.h: the parts of expand.
 *
 *     alias     which values share storage, and how long it is needed
 *     order     memory orders
 *     pad       lines that begin at multiples of 16 bytes
 *     home      where each value lives: a place in a root, chosen backwards
 *     emit      launches, views and copies, forwards
 *     matmul    operands in an order that one gemm takes
 *     collective  places that pieces of several devices take
 *     message   places of what ranks send each other
 *     trail     the places of carried values that are stacked
 *     block     slots that lie between each other's rows
 *     repeat    loops
 *
 * A *root* is an argument or a buffer of the kernel function.  A *home* is the
 * place of a value in a root.  Values that are names or places of another
 * value (rename, split, merge, slice, pick, proj) share its storage; the value
 * that makes the storage is its *owner*.
 */
#ifndef TITAN_EXPAND_H
#define TITAN_EXPAND_H

#include "../machine.h"
#include "../outer.h"

/* A slot of a block: rows of PIECE elements, PITCH apart, from START on. */
typedef struct Member {
    Str path, first; /* first: of the block's first slot */
    int64_t start, piece, pitch;
} Member;

/* Values with the axes of TYPE, those that are outer aside, have FIRST in front
 * of the others. */
typedef struct Order {
    Type type;
    Axis first;
} Order;

typedef struct Expand {
    Module *m;
    const PassCtx *cx;
    Arena *a; /* scratch */
    OuterAxes outer;
    Map copies, zeros;   /* type -> the group that copies or clears it */
    Map messages;        /* op, attributes and type -> the group that is it */
    Map aliases;         /* likewise, of those that have to be copied */
    VEC(Member) members; /* of blocks */
    VEC(Order) orders;
    VEC(Axis) rows;  /* that ids choose: they lie outside of what a row has */
    int64_t line;    /* bytes at whose multiples long padded lines begin */
    bool *padded;    /* by axis, where it is innermost; NULL: not known yet */
    bool all_padded; /* tests: each axis is, with pads of any length */
} Expand;

typedef struct Root {
    Layout layout;
    Value value; /* in the kernel function; NO_VALUE: not emitted yet */
    Str name;
    Loc loc;
    bool host; /* in the memory of the host */
    struct Tenant *tenants;
} Root;

typedef struct Home {
    Root *root;           /* NULL: none */
    int64_t offset, turn; /* bytes; turn: per turn of the innermost loop */
    Layout layout;
} Home;

/* Storage in a root from the instruction that fills it to its last reader. */
typedef struct Tenant {
    Value owner;
    int64_t first, last;
    Home at;
    uint32_t family; /* placed in one value: parts do not collide */
    struct Tenant *next;
} Tenant;

/* Where a carried value lives that is stacked, too: a row for each turn and
 * one more (trail.c). */
typedef struct Trail {
    Home whole; /* with the stack's axis, one longer */
    Axis axis;
    int64_t last; /* row */
    bool reverse;
    uint32_t family; /* of its tenants */
} Trail;

enum { BEFORE = -1 };

/* One function on its way into the kernel view. */
typedef struct Scene {
    Expand *x;
    const Fn *fn;
    Builder *b;          /* of the kernel function */
    Value *owner;        /* by value */
    int64_t *def, *last; /* by owner: instruction numbers */
    Home *want;          /* by value: where a reader would have it */
    uint32_t *want_family;
    Layout *like;    /* by value: the memory order that readers prefer */
    Home *home;      /* by value */
    Home *targets;   /* by result: where it has to end */
    Trail ***trails; /* by repeat, then by result; NULL: not asked for yet */
    Value turn;      /* the parameter that is the turn; or NO_VALUE */
    Value counter;   /* the same, in the kernel function */
    VEC(Root *) roots;
    struct Seen *seen; /* places that have a kernel value */
} Scene;

/* --------------------------------------------------------------- alias -- */

bool is_alias(Op op);
/* Fills owner, def and last. */
void scene_alias(Scene *s);
/* Instruction IN may write result R over operand A: it reads A at the same
 * indices only, and through no other operand. */
bool writes_in_place(const Scene *s, const Inst *in, uint32_t result,
                     Value operand);
/* The call or repeat that fills an owner, and which result of it; false for
 * arguments, concat and stack. */
bool owner_result(const Scene *s, Value owner, Value *maker, uint32_t *result);

/* --------------------------------------------------------------- order -- */

/* Finds which slots, and what is of their axes, lie by the axis along which
 * devices have parts of them. */
void orders_find(Expand *x);
/* The default memory order: axes of repeats outermost. */
Layout default_layout(const Expand *x, Type t);
/* A rename to names that were declared earlier. */
bool renames_back(const Module *m, const Inst *in);
/* A slot has these axes, but for outer ones. */
bool has_slot(const Expand *x, Type t);
/* The layout of an owner that has a root of its own. */
Layout own_layout(const Scene *s, Value owner);

/* ----------------------------------------------------------------- pad -- */

/* Finds the axes that are padded where they are innermost. */
void pads_find(Expand *x);
/* A dense layout with pads behind its lines, where they are such. */
Layout layout_padded(const Expand *x, Layout l);

/* --------------------------------------------------------------- block -- */

/* Finds the blocks of slots that some entry has all members of. */
void blocks_find(Expand *x);
/* The slot's part in a block; NULL: it lies alone. */
const Member *block_member(const Expand *x, Str path);
/* The memory order of a slot. */
Layout slot_layout(Expand *x, Str path, Type t);
/* A concatenation whose parts lie one behind the other already. */
bool block_joined(Scene *s, Value concat, Home *out);

/* ---------------------------------------------------------------- home -- */

Root *root_new(Scene *s, Layout layout, Str name, Loc loc);
bool home_same(const Module *m, const Home *a, const Home *b);
/* They may share a byte. */
bool bytes_meet(const Module *m, const Home *a, const Home *b);
/* The home of an alias, from that of its operand; false: not expressible. */
bool home_forward(Expand *x, const Fn *fn, const Inst *in, const Home *of,
                  Home *out);
/* Part I of a concat or stack. */
Home home_part(Expand *x, const Fn *fn, const Inst *in, uint32_t i,
               const Home *of);
/* Chooses home for every owner; arguments and targets are given. */
void scene_homes(Scene *s);

/* Strides for type T: those of `like` for the axes that it has. */
Layout layout_from(const Expand *x, Type t, Layout like);
/* The value's first name and its innermost place, looking into the functions
 * that make it: a stacked value is what the body calls so. */
void origin_of(const Scene *s, Value v, Str *name, Loc *loc);

/* ---------------------------------------------------------- collective -- */

bool is_collective(const Scene *s, Value owner);
/* The order of the result of a collective, which no one wants elsewhere. */
Layout collective_layout(const Scene *s, Value owner);
/* It may be received so. */
bool collective_fits(const Scene *s, Value owner, Layout l);
/* The order of its operand, once its result has a home. */
Layout collective_operand(const Scene *s, Value owner);
void emit_collective(Scene *s, const Inst *call, const Home *result);

/* ------------------------------------------------------------- message -- */

/* How what is sent lies, on both sides. */
Layout message_layout(const Scene *s, Type t);
void emit_message(Scene *s, Value v);

/* --------------------------------------------------------------- trail -- */

/* The trail of a result of a call or repeat; NULL: it has none. */
Trail *trail_of(Scene *s, Value maker, uint32_t result);
/* Result RESULT is, turn by turn, what the value goes on with, not what it
 * comes in as. */
bool trail_goes_on(const Module *m, const Inst *repeat, uint32_t result);
/* The rows that the repeat begins and ends with. */
Home trail_begin(const Scene *s, const Trail *t);
Home trail_end(const Scene *s, const Trail *t);
Home trail_stack(const Scene *s, const Trail *t, bool goes_on);
/* One turn's row, in the body, which has received the trail as WHOLE. */
Home trail_row(const Scene *s, const Trail *t, const Home *whole, bool goes_on);

/* ---------------------------------------------------------------- emit -- */

/* Emits everything; results end in their targets. */
void scene_emit(Scene *s);
/* Sets up a scene: args are homes of the parameters (root NULL: the turn). */
void scene_init(Scene *s, Expand *x, const Fn *fn, Builder *b, const Home *args,
                const Home *targets);
Value home_value(Scene *s, const Home *h);
void emit_launch(Scene *s, FnRef group, const Value *args, uint32_t nargs,
                 const Value *outs, uint32_t nouts);
/* A value that a group makes of nothing (zeros) and that only repeats begin
 * with: it is made where each of them wants it. */
bool is_beginning(const Scene *s, Value v);
void emit_beginning(Scene *s, Value v, const Home *to);
void emit_copy(Scene *s, const Home *from, const Home *to);
void emit_zero(Scene *s, const Home *to);

void emit_matmul(Scene *s, const Inst *call, const Home *result);
void emit_product_operands(Scene *s, const Inst *call, const Home *result,
                           Value *args);
void emit_loop(Scene *s, Value repeat);
/* Homes of the results of a call or repeat, in order. */
Home *result_homes(Scene *s, Value maker, uint32_t n);

#endif
