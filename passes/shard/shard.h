/*
 * shard.h: what the files of the pass `shard` share.
 *
 * Mesh axes are decided one after the other.  In one value a mesh axis is in
 * one of few places: nowhere (every device of its group has the same), on an
 * axis, which it splits, or pending as a sum or a maximum.  So what an op may
 * do over one mesh axis is a short list of *ways*:
 *
 *      einsum x, y sum (k)      x      y      result
 *                               -      -      -
 *                               a      -      a          a of x alone
 *                               b      b      b          b of both
 *                               k      k      sum
 *                               sum    -      sum
 *
 * ways.c and moves.c have a row for each op.  graph.c makes one graph of an
 * entry with all that it calls, solve.c chooses a way for each op, emit.c
 * writes the program of one device, in which `reshard` stands wherever a
 * value is used in another way than it is made.
 *
 *      Tensor of the text     Node      Item
 *      value of a function -> a layout  an op: operands, a way, a result
 *      parameter, result   -> a layout  a hand-over: one operand
 */
#ifndef TITAN_PASSES_SHARD_H
#define TITAN_PASSES_SHARD_H

#include "../machine.h"
#include "../pass.h"
#include "../reach.h"

/* ---------------------------------------------------------------- where -- */

/* Where a mesh axis is in a value: one of these, or an axis behind them. */
typedef uint32_t Where;
enum { WHERE_none, WHERE_sum, WHERE_max, WHERE_axis };

static inline Where where_axis(Axis a)
{
    return WHERE_axis + a.id;
}
static inline bool where_is_axis(Where w)
{
    return w >= WHERE_axis;
}
static inline bool where_is_pending(Where w)
{
    return w == WHERE_sum || w == WHERE_max;
}
static inline Axis axis_of_where(Where w)
{
    return (Axis){w - WHERE_axis};
}

/* ---------------------------------------------------------------- rules -- */

enum {
    FOR_param = 1,
    FOR_grad = 2,
    FOR_state = 4,
    FOR_update = 8,
    FOR_residual = 16,
    FOR_activation = 32,
    FOR_kept = FOR_param | FOR_grad | FOR_state | FOR_update,
    FOR_all = 63
};

/* When parameters that lie in parts are gathered, and gradients reduced. */
typedef enum Each { EACH_usual, EACH_step, EACH_microbatch } Each;

/* Axes of a rule that share mesh axes, (a b): what does not divide a goes to b.
 * A lone axis is one, too. */
typedef struct Product {
    uint32_t first, n; /* of the rule's axes */
} Product;

/* shard AXES over MESH [order zigzag] [bound N] [each step] [for ROLES]
 * [in PATHS] [of ENTRIES] */
typedef struct ShardRule {
    VEC(Axis) axes;
    VEC(Product) products;
    VEC(MeshAxis) mesh;
    VEC(const char *) paths;
    VEC(const char *) entries; /* or groups of them; none: for all */
    unsigned roles;
    Each each;
    bool zig;     /* a part from either end */
    double bound; /* of rows that choose a part, in even shares; 0: none */
} ShardRule;

typedef struct Rules {
    VEC(ShardRule) at;
    unsigned held; /* roles that are whole for a step by rules that do not say
                      when: of FOR_param and FOR_grad */
} Rules;

/* ---------------------------------------------------------------- graph -- */

typedef struct Node {
    Type type;    /* without the axis of a repeat that it is stacked over */
    double bytes; /* of the whole */
    double times; /* how often a step makes it */
    double kept;  /* how many of it a step keeps at once: of a stack */
    double sent;  /* how often a rank of a pipeline gets it from another */
    unsigned roles;
    const char *entry; /* that makes it */
    bool given;        /* the rules alone say where it is: a port of an entry */
    bool carried;
    /* Mesh axes, a bit each: over which a parameter is kept gathered (over
     * others it is split by use alone), or is if those who read it gather it.
     */
    uint64_t whole, held;
} Node;

/* A value of a function: a node, seen from there. */
typedef struct Raw {
    uint32_t node; /* NO_RAW: of a tuple */
    Type type;
    double bytes;      /* of the whole */
    uint32_t first, n; /* its uses, in uses[] */
    /* Mesh axes, a bit each, over which a step gathers it once for all who read
     * it whole, and what each time that one reads it has of that. */
    uint64_t once;
    double share;
} Raw;

/* An op, or a hand-over to a port (v is NO_VALUE). */
typedef struct Item {
    const Fn *fn;
    Value v;
    uint32_t first, n; /* operands, in args[] */
    uint32_t out;      /* node */
    uint32_t raw;      /* of the result; hand-overs have none */
    Phase phase;       /* what is brought into a form is so in one phase */
    double times;
} Item;

/* One operand of one item. */
typedef struct Use {
    uint32_t raw, item;
} Use;

/* What a mesh axis has of a step that brings a value from one layout to
 * another; those of one collective stand together. */
typedef struct Step {
    uint32_t mesh; /* of the order */
    Where from, to;
    double spread; /* of the collective's group, in ranks */
    double bytes;  /* that a device receives */
    double cost;
} Step;
enum { STEPS_OF_MESH = 4 }; /* of one mesh axis at most */

typedef struct Shard {
    Module *m;
    PassCtx *cx;
    Arena *a;
    Rules rules;
    const char *entry; /* whose functions are visited */
    VEC(MeshAxis)
    order; /* of more than one device, as the rules name them:
              the outermost split of an axis first */
    VEC(Node) nodes;
    VEC(Raw) raws;
    VEC(Item) items;
    VEC(Use) args;
    bool *zig;      /* [mesh axis][axis]: splits it head and tail */
    bool *named;    /* [mesh axis][axis]: a rule says that it splits it */
    uint32_t *uses; /* numbers in args, by raw */
    uint32_t *base; /* by function: its first raw */
    /* By raw of a call or repeat, and by function behind its last raw: the
     * first port of the results, plus 1. */
    uint32_t *ports;
    uint32_t *calls; /* of a function: several, of what a stage does */
    bool *kept;      /* by raw: the parameters that are gathered once */
    VEC(uint32_t)
    held; /* raws: as functions are handed those that rules hold,
             callers first */
    /* By raw, plus 1: the one that it lies as; the port by way of which ranks
     * read it (alike.c). */
    uint32_t *alike, *through;
    bool *compared; /* by raw: an extremum of it is, with its elements */
    VEC(uint32_t) port_nodes;
    Map messages; /* key -> the port between two ranks of a pipeline */
    Where *where; /* [node][mesh axis]: a layout for each node */
    Where *pin;   /* the same, by the rules */
    Where *used;  /* the same, by those rules that say how axes are used */
    Where *need;  /* [arg][mesh axis] */
    Where *now;   /* of one value, while it is brought */
    Machine on;
    double *spread; /* by mesh axis: how far apart its devices are, in ranks */
    double between; /* what a byte costs between ranks of a pipeline */
    Step *steps[2]; /* of two moves */
    uint64_t looks; /* at readers of values, while ways are chosen */
} Shard;

#define NO_RAW UINT32_MAX

static inline Where *where_at(const Shard *s, MeshAxis m, uint32_t node)
{
    return &s->where[(size_t)node * s->m->mesh.n + m.id];
}
static inline Where *pin_at(const Shard *s, MeshAxis m, uint32_t node)
{
    return &s->pin[(size_t)node * s->m->mesh.n + m.id];
}
static inline Where *used_at(const Shard *s, MeshAxis m, uint32_t node)
{
    return &s->used[(size_t)node * s->m->mesh.n + m.id];
}
static inline Where *need_at(const Shard *s, MeshAxis m, uint32_t arg)
{
    return &s->need[(size_t)arg * s->m->mesh.n + m.id];
}
static inline int64_t mesh_length(const Shard *s, MeshAxis m)
{
    return s->m->mesh.at[m.id].size;
}

static inline bool is_zig(const Shard *s, MeshAxis m, Axis a)
{
    return s->zig[(size_t)m.id * s->m->axes.n + a.id];
}

static inline bool is_named(const Shard *s, MeshAxis m, Axis a)
{
    return s->named[(size_t)m.id * s->m->axes.n + a.id];
}

/* rules.c: reads the option `shard`; false: an error was reported. */
bool shard_rules_read(Shard *s, const char *text);
/* Axes that a tensor is taken to have besides its own. */
typedef struct Besides {
    const Axis *at;
    uint32_t n;
    const struct Besides *next;
} Besides;
/* A tensor, as the rules see it. */
typedef struct Ruled {
    Type type;
    unsigned roles;
    const char *path;  /* of its slot; or empty */
    const char *entry; /* that computes it; NULL: parameters, states */
    bool strict;       /* a mesh axis that cannot split it is an error */
    const Besides *besides;
} Ruled;
/* Where each mesh axis is; false: an error was reported. */
bool rules_place(Shard *s, const Ruled *t, Where *out);
/* The mesh axes, a bit each, over which rules that apply gather the parameter
 * once a step. */
uint64_t rules_hold(const Shard *s, const Ruled *t);
/* What rules hold over a step, in words; empty: nothing. */
const char *rules_held(const Shard *s);
/* The rule holds what it holds because it does not say when to gather and
 * reduce. */
bool rule_leaves_open(const Shard *s, const ShardRule *r);

/* sums.c: sums of scalars stand apart from what is made of them. */
Fn *sums_apart(Module *m, const Fn *fn);

/* graph.c: each function is called in one place. */
void functions_apart(Module *m);
void graph_build(Shard *s, const Roots *roots);
bool graph_pin(Shard *s);
/* held.c: the parameters that a step gathers once, for both phases (`kept`, by
 * raw), and who is handed them. */
void held_find(Shard *s, const Roots *roots);
/* The port of what a rank of a pipeline sends or receives there. */
uint32_t message_port(Shard *s, uint32_t f, Value v);

/* alike.c: what ranks make alike; it lies alike behind that, and there is a way
 * to bring everything into the form in which it is needed. */
void alike_find(Shard *s);
void alike_settle(Shard *s);

/* ----------------------------------------------------------------- ways -- */

typedef struct Way {
    Where out;
    Where *in; /* by operand */
} Way;

typedef struct Ways {
    Shard *s;
    Module *m;
    const Item *it;
    const Inst *in; /* NULL: a hand-over */
    MeshAxis mesh;
    VEC(Way) at;
} Ways;

/* ways.c: the ways of an item over one mesh axis; the first has it nowhere. */
void ways_find(Ways *w);
Where *way_add(Ways *w, Where out);
Type way_type(const Ways *w, uint32_t operand);
Type way_result(const Ways *w);
/* The mesh axis may split what the others leave of an axis: it divides it, or a
 * rule wants it. */
bool way_splits(const Ways *w, Type t, Axis a);
/* It divides it, so that parts are of one size. */
bool way_divides(const Ways *w, Type t, Axis a);
/* The splits of an axis would be head and tail. */
bool way_zig(const Ways *w, Axis a);
void ways_along_all_but(Ways *w, const Axis *but, uint32_t n);
/* Everything that the operands have pending as a sum stays pending. */
void way_linear(Ways *w);

typedef void WayRule(Ways *w);
#define OP(name, least, most, flags, views, req, opt) WayRule shard_##name;
#include "../../ir/ops.def"
#undef OP

/* linear.c: operands, SEED among them, in which the body is linear if all of
 * them are pending; false: there are none such. */
bool linear_set(Module *m, Expr body, uint32_t seed, bool *marked);

/* ----------------------------------------------------- solve.c, emit.c -- */

/* cost.c: a value of a node in a layout, and another that it is brought into,
 * over the first N mesh axes of the order. */
typedef struct Move {
    const Shard *s;
    uint32_t n, node;
    const Where *from, *to; /* by mesh axis */
    double bytes;           /* of the whole */
    uint64_t once;          /* as of a Raw */
    double share;
} Move;
#define KEPT 0.1 /* of a byte that is kept, against one that is moved */
/* The links of the machine and the mesh axes: before all else. */
void links_find(Shard *s);
/* What a byte costs between members of a group so far apart. */
double link_cost(const Shard *s, double spread);
/* What that costs; INFINITY: no way. */
double move_cost(const Move *x);
/* What the first steps of two moves of one value cost that are the same, and
 * how many these are. */
double moves_share(const Move *x, const Move *y, uint32_t *steps);
/* What a device receives in its steps, without the first FROM, over each mesh
 * axis is added to OVER. */
void move_bytes(const Move *x, uint32_t from, double *over);
/* What a device does of an item when nothing of it is split. */
double item_work(const Shard *s, const Item *it);

/* Chooses a way for each op and a place for each port. */
void shard_solve(Shard *s);
/* draw.c: the same, drawn from all that is legal; false: an error was reported.
 * PREFER: a kind of ways, or empty: one drawn for each mesh axis. */
bool shard_draw(Shard *s, int64_t seed, const char *prefer);
/* compared.c: which values must be equal in all forms (`compared`, by raw); no
 * port of such is pending. */
void compared_settle(Shard *s);
void emit_local(Shard *s);

#endif
