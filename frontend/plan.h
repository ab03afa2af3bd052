/*
 * plan.h: a plan while it is checked.
 */
#ifndef TITAN_PLAN_H
#define TITAN_PLAN_H

#include "sema.h"

enum {
    ON_param = 1,
    ON_grad = 2,
    ON_state = 4,
    ON_update = 8,
    ON_residual = 16,
    ON_activation = 32,
    ON_kept = ON_param | ON_grad | ON_state | ON_update
};

typedef struct MeshPart {
    Str name;
    Span at;
    int64_t size;
    MeshAxis atoms[8]; /* outermost first */
    uint32_t natoms;
} MeshPart;

/* When parameters are gathered and gradients reduced. */
typedef enum Each { EACH_usual, EACH_step, EACH_microbatch } Each;

/* Axes of a rule that share mesh axes, (a b): what does not divide a goes to b.
 * A lone axis is one, too. */
typedef struct Product {
    uint32_t first, n; /* of the rule's axes */
} Product;

/* A mesh axis that a rule gives to an axis of a product, and a tensor that has
 * another axis of it. */
typedef struct Elsewhere {
    const char *tensor; /* NULL: there is none such */
    MeshAxis mesh;
    Axis has, lacks;
} Elsewhere;

typedef struct Shard Shard;
struct Shard {
    const Node *node;
    const Clause *in;          /* or NULL */
    VEC(const char *) entries; /* that it is for; none: for all */
    unsigned roles;
    Each each;
    bool pipeline;
    bool zigzag;    /* a part from either end on each device */
    double bound;   /* of rows that choose a part, in even shares; 0: none */
    int64_t chunks; /* in which parts go from device to device; 0: not said */
    Axis axes[16];
    Span axis_at[16];
    uint32_t naxes;
    Product products[16];
    uint32_t nproducts;
    MeshAxis atoms[8];
    uint32_t natoms;
    bool used;
    Elsewhere elsewhere;    /* the first */
    const Shard *beaten_by; /* the first that took what this one wanted */
    Axis beaten_axis;
    MeshAxis beaten_mesh;
    const char *beaten_in[4];
    uint32_t nbeaten;
};

/* A linear layer, and the rule that quantises it, or would if its sides were
 * multiples of what the recipe takes. */
typedef struct Quantised {
    const Mem *mem;
    RuleKind rule;
    const char *recipe;
    const Node *by;
    int64_t from, to, multiple;
} Quantised;

typedef enum PlanDtype { PLAN_any, PLAN_f32, PLAN_bf16 } PlanDtype;

/* An axis of keys, and the rule that says how it is gathered. */
typedef struct Gather {
    Axis axis;
    const Node *by;
} Gather;

typedef struct Plan {
    Sema *s;
    VEC(MeshPart) parts;
    VEC(Shard *) shards;
    VEC(Gather) gathers;
    VEC(const Node *) keeps; /* rules of that kind */
    VEC(Quantised) quantised, odd;
    const char **entry_of; /* by function; NULL: called by none */
    const Node *dtype_at;  /* the first rule of dtypes, or NULL */
    PlanDtype param, state, grad, residual, computed;
} Plan;

/* Axes that a tensor is taken to have besides its own. */
typedef struct Besides {
    const Axis *at;
    uint32_t n;
    const struct Besides *next;
} Besides;

/* A tensor of the step, on which the rules are tried. */
typedef struct Splittee {
    Type type;
    unsigned role;
    const Mem *mem;    /* or NULL */
    const char *entry; /* that computes it; NULL: of all */
    const char *name;
    const char *in; /* of a value: the function that computes it */
    const Besides *besides;
} Splittee;

/* What the mesh axes of a tensor have gone to. */
typedef struct TakenRow {
    MeshAxis mesh;
    Axis axis;
    const Shard *by;
} TakenRow;

typedef struct Taken {
    TakenRow at[32];
    uint32_t n;
} Taken;

/* The clause of that kind, or NULL. */
const Clause *rule_clause(const Node *rule, ClauseKind kind);
/* The roles of its clause `for`; all, without one. */
bool rule_roles(Plan *p, const Node *rule, unsigned *roles);
/* NULL: the plan has none of that name, so far. */
const MeshPart *mesh_part_named(const Plan *p, Str name);
/* The mesh axis of the plan that the atom is, or is a factor of; NULL: of none.
 */
const MeshPart *mesh_part(const Plan *p, MeshAxis m);
/* "tp", or of a factor of it "tp (2 of 4)". */
const char *mesh_words(const Plan *p, MeshAxis m);
/* "tp" of either. */
const char *mesh_plain(const Plan *p, MeshAxis m);
/* take.c: whether the rule is for tensors of this role and place. */
bool shard_applies(Plan *p, const Shard *x, const Splittee *t);
/* Which mesh axes of the tensor go to which of its axes, by all rules. */
bool shard_take(Plan *p, const Splittee *t, Taken *taken);

/* why.c: notes which rules have split the tensor, when --why asks for it. */
void why_tensor(Plan *p, const Splittee *t, const Taken *taken);

/* order.c: in which order a rule deals out the parts of an axis, and how many
 * rows may choose one. */
bool order_read(Plan *p, const Node *rule, Shard *out);
/* each.c: when parameters are gathered and gradients reduced. */
bool each_read(Plan *p, const Node *rule, Shard *out);
/* What it is for a tensor of this role that the rule splits, where a step has
 * microbatches; NULL: no such thing. */
const char *each_words(const Plan *p, const Shard *x, unsigned role);
/* A repeat reads an axis from front to back. */
bool order_fits(Plan *p, const Inst *repeat);

/* ring.c: what goes round, in the place of being gathered. */
bool gather_rule(Plan *p, const Node *rule);

/* rules_entry.c: the clause `of`. */
bool entries_read(Plan *p, const Node *rule, Shard *out);
bool entry_applies(const Shard *x, const char *entry);
/* Whether the artifact has an entry that the rule is for. */
bool entry_made(const Plan *p, const Shard *x);
/* Which function is of which entry. */
void entries_find(Plan *p);

/* verdicts.c: every rule that is for something has split something. */
bool rules_used(Plan *p);
/* As the source says it, on one line. */
const char *rule_text(Plan *p, const Node *rule);

/* bind.c: the rules as options of the module. */
bool plan_bind(Plan *p);
/* stages.c: whether a rule cuts layers into stages, and what it says then; what
 * else the rules say of its mesh axis; its words as an option. */
bool stages_read(Plan *p, const Node *rule, Shard *out);
bool stages_alone(Plan *p);
bool plan_stages(Plan *p, const Shard *x, Buf *out);
/* The sizes of the factors of a mesh axis, outermost first, of which products
 * in the rules take one after another; at most 8. */
uint32_t plan_factors(Plan *p, const Node *body, Str mesh, int64_t size,
                      int64_t *out);

/* States are sums over the microbatches, where there are several. */
bool check_additive(Sema *s);

/* A rule of recomputation, for the passes (remat.c). */
bool remat_rule(Plan *p, const Node *rule);

/* A rule of low precision, for the passes (recipe.c). */
bool recipe_rule(Plan *p, const Node *rule);

/* dtype.c: what is kept and computed in which dtype; `dtype_close` behind all
 * rules. */
bool dtype_rule(Plan *p, const Node *rule);
bool dtype_close(Plan *p);
/* Of activations, by the rules of a plan alone; PLAN_any: none says. */
bool dtype_computed(Sema *s, const Node *plan, PlanDtype *out);

/* keep.c: parameters that stay gathered; whether one of each rule lies in
 * parts, so that it is gathered at all. */
bool keep_rule(Plan *p, const Node *rule);
bool keeps_used(Plan *p);

/* What lies in the memory of the host (offload.c). */
bool offload_rule(Plan *p, const Node *rule);

#endif
