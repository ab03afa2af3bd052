/*
 * remat.h: what the files of the pass remat share.
 *
 *     rules.c    the rules of a plan, of the option `remat`
 *     pair.c     a repeat and the one that runs its backward; what in the
 *                backward is a value of the forward
 *     label.c    the names by which a plan speaks of values
 *     scaled.c   what few bits and a scale stand for
 *     policy.c   what each mode allows to be made again
 *     record.c   the cheapest record under a policy
 *     early.c    the fastest one where products are quantised
 *     gathered.c parameters that a turn gathers, in a record
 *     form.c     which of them are the same in another order
 *     give.c     what the forward is handed for that
 *     body.c     forward and backward of a pair with another record
 *     apply.c    the repeats of a function with the records of its pairs
 *     cost.c     how long it takes to make a value again
 *     points.c   the records worth having under a budget
 *     move.c     the same with a part of them on the host
 *     states.c   the states that may lie on the host under a budget
 *
 * Words: a *record* is what a turn of the forward keeps for the backward; a
 * value that is not in it is *made again*.
 */
#ifndef TITAN_REMAT_H
#define TITAN_REMAT_H

#include "../mincut.h"
#include "../pass.h"
#include "../repeat.h"

/* ------------------------------------------------------------- rules.c -- */

struct Pair;
struct Pairs;

/* False: the option does not follow the grammar; an error was reported. */
bool rules_read(Module *m, const PassCtx *cx, RematRules *out);
/* The names in them that have a path. */
RematWords rules_paths(Module *m, const RematRules *rules);
/* The device has other memory than the host, to which a budget may offload. */
bool rules_offload(Module *m, const PassCtx *cx);
/* Whether it speaks of the repeat. */
bool rule_is_for(const RematRule *rule, const struct Pair *p);
/* Reports that it never applies; TAKEN: why not, where it speaks of a repeat.
 * False. */
bool rule_refuse(Module *m, const RematRule *rule, const struct Pairs *pairs,
                 const char *taken);

/* -------------------------------------------------------------- pair.c -- */

/* A value is FROM with its axes renamed. */
typedef struct Turn {
    Value from; /* NO_VALUE: none is known */
    Attr rename;
} Turn;

typedef struct Pair {
    Fn *caller;
    Value forward, backward; /* repeats of the caller */
    Repeat f, b;
    const Fn *of, *back; /* their bodies */
    Value *same;         /* by value of `back`: the value of `of` that it is, or
                            NO_VALUE */
    bool *asked;         /* by result of `of`: others than `back` read it */
    const char *path;    /* "layer" */
    uint32_t twins;      /* added to the number of a value of `of`: its twin */
    uint32_t early;      /* values of `of` from here on are the backward's */
    uint32_t late;       /* and from here on what it gathers of parameters */
    Turn *turns;         /* by value of `of`, of what is gathered */
    Value *products;     /* by value of `of`: the quantised product that it
                            stands for, or itself */
    const struct Pair *like; /* the first pair whose bodies these are, to which
                                they are the same; itself, where it is that */
} Pair;

typedef struct Pairs {
    VEC(Pair *) at;
} Pairs;

/* The pair of a repeat of CALLER's backward, without what the bodies have to do
 * with each other, but for parameters of `back` in `same`.  False: it has no
 * forward. */
bool pair_begin(Module *m, Fn *caller, Value backward, Pair *out);
/* Fills `same` for the other values of `back`. */
void pair_match(Pair *p);
/* Of the parameters of `back` that are given leaves those that a wanted value
 * of it reads. */
void pair_keep_read(Module *m, const Pair *p, const bool *wanted, bool *given);
/* Copies the wanted values of `back`, all of which are made of values of `of`,
 * behind the values of `of`. */
void pair_copy(Module *m, Pair *p, const bool *wanted);
/* The pairs of all functions, in their order. */
Pairs pairs_find(Module *m, const PassCtx *cx, const RematRules *rules);
/* A parameter of the body that is at hand in the backward as well: all but
 * the carried ones, which change with the turn. */
bool is_at_hand(const Pair *p, uint32_t v);

/* ------------------------------------------------------------- label.c -- */

/* "layer" of "layer.forward.1", the body of a repeat or a region. */
const char *forward_path(Module *m, const Fn *forward);
/* The path of the parameter that an einsum contracts, of the region that a
 * call runs, or the name of a value; NULL: none. */
const char *label_of(Module *m, const Pair *p, Value v);
bool is_named(Module *m, const Pair *p, Value v, const char *name);
/* The value of which this one has the elements, in another arrangement or
 * dtype, or some of them. */
Value taken_from(const Fn *fn, Value v);
/* Who calls FN, or what it is a copy of, with which operand for parameter I;
 * false: nobody does. */
bool find_caller(const Module *m, const Fn *fn, uint32_t i, const Fn **caller,
                 Value *operand);
/* The parameter of the body with an arrow, [from -> to], that an einsum
 * contracts, or NO_VALUE. */
Value layer_param(const Module *m, const Fn *of, Value v);
/* That, or any: rows of a table are taken from a parameter as well. */
Value linear_param(const Module *m, const Fn *of, Value v);
/* The path of a parameter of the body that is one of the model, or made of one,
 * as its scales are; NULL: it is neither. */
const char *param_path(const Module *m, const Fn *of, Value param);
/* Of that one's parameter; NULL: there is none. */
const char *linear_path(const Module *m, const Fn *of, Value v);

/* ------------------------------------------------------------ scaled.c -- */

/* As `taken_from`, or of which it has the elements in few bits: times a scale,
 * or these again without it. */
Value scaled_from(const Module *m, const Fn *fn, Value v);
/* By value: the quantised product that it has the sums of, by other axes or
 * times the scales of its operands; itself: of none. */
Value *products_find(const Module *m, const Fn *fn);

/* ------------------------------------------------------------ policy.c -- */

/* What it costs, by value of the body, to make it again; INT64_MAX: it is
 * not allowed. */
int64_t *policy_costs(Module *m, const Pair *p, RematRule *rule);
/* The values that a list may name: what is not made again on the way. */
bool is_costly(const Fn *of, Value v);

/* ------------------------------------------------------------ record.c -- */

typedef struct Record {
    bool *saved;        /* by value of the body: in the record, or at hand */
    const bool *turned; /* and: it is made of another, as `turns` says */
    int64_t bytes;
} Record;

/* As it is. */
Record *record_present(Module *m, const Pair *p);
/* TURNED: by value of the body; NULL: none is. */
Record *record_cheapest(Module *m, const Pair *p, const int64_t *costs,
                        const bool *turned);
/* What value V of the body is made of under it: so many, which are these. */
uint32_t record_nargs(const Pair *p, const Record *r, uint32_t v);
uint32_t record_arg(const Pair *p, const Record *r, uint32_t v, uint32_t k);
/* The values of the body that the backward's own instructions read. */
bool *record_needed(Module *m, const Pair *p);
/* Sets its bytes: of what is stacked for it alone. */
void record_count(const Module *m, const Pair *p, Record *r);
/* By value of the body: whether the backward makes it again. */
bool *record_remade(Module *m, const Pair *p, const Record *r);
/* By value of the body: whether it is in the record and the rule offloads it;
 * NULL: it offloads nothing. */
bool *record_offloaded(Module *m, const Pair *p, const Record *r,
                       RematRule *rule);

/* ------------------------------------------------------------- early.c -- */

/* Of the parameters of `back` that the forward might be handed too, leaves
 * those that what it would quantise early is made with. */
void pair_keep_asked(Module *m, const Pair *p, bool *given);
/* What takes little beside a matmul: moves, sums, collectives. */
bool is_light(const Inst *in);
/* Adds to the body what the backward quantises of its values. */
void pair_add_early(Module *m, Pair *p);
/* Whether there was such a thing. */
bool pair_is_early(const Pair *p);
/* With that, instead of what it is made of. */
Record *record_early(Module *m, const Pair *p);

/* --------------------------------------------------------------- give.c -- */

/* Hands forwards what they would quantise early with, GATHERED: or gather for
 * their backwards; repeats of the module get operands, which others are handed
 * already. */
void pairs_give(Module *m, bool gathered);

/* -------------------------------------------------------------- body.c -- */

typedef enum TakeKind {
    TAKE_own,   /* operand `at` of the backward */
    TAKE_param, /* operand `at` of the forward */
    TAKE_saved  /* value `at` of the body, from the record */
} TakeKind;

typedef struct Take {
    TakeKind kind;
    uint32_t at;
} Take;

/* A range of turns, all with one record. */
typedef struct Range {
    const Record *record;
    const bool *host; /* by value of the body: its rows lie on the host; NULL:
                         none */
    int64_t first, count;
    bool present; /* the record is as it was */

    FnRef forward, backward;
    /* What the backward takes after the values that it carries. */
    VEC(Take) takes;
    uint32_t invariant;   /* of them */
    VEC(uint32_t) others; /* results of `of` that the forward still stacks */
    VEC(uint32_t) saved;  /* and values of `of` that it stacks behind them */
    Value *turns;         /* the repeats in the new caller */
} Range;

void bodies_make(Module *m, const Pair *p, Range *r);

/* ------------------------------------------------------------- apply.c -- */

typedef struct Change {
    const Pair *pair;
    uint32_t nranges;
    Range *ranges;
} Change;

/* The caller of these pairs, which are all of one function. */
Fn *changes_apply(Module *m, const Fn *caller, const Change *changes,
                  uint32_t n);

/* -------------------------------------------------------------- cost.c -- */

/* Nanoseconds to make the value again. */
double remake_time(Module *m, const Fn *of, Value v);
/* Nanoseconds to copy it. */
double copy_time(Module *m, const Fn *of, Value v);
/* Nanoseconds in which bytes go to the memory of the host, or come from it. */
double link_time(double bytes);

/* Nanoseconds for what a collective moves over the slowest link there is in
 * its group. */
double collective_time(Module *m, const Fn *of, Value v);

/* -------------------------------------------------------- identity.c -- */

typedef struct Identity {
    uint32_t is; /* what is done to which values */
    Type type;
    uint32_t *places; /* by axis of the type: which it is of these values */
} Identity;

/* By value of a function. */
Identity *identities_find(Module *m, const Fn *fn);
/* Whether the second is the first with axes renamed: by a `rename` with these
 * attributes. */
bool identity_rename(Module *m, const Identity *from, const Identity *to,
                     Attr *out);

/* -------------------------------------------------------- gathered.c -- */

/* What may stand between a parameter and where it is gathered. */
bool is_between(const Inst *in);
/* The path of the parameter that V is, gathered in each turn; NULL: it is
 * none. */
const char *gathered_path(Module *m, const Pair *p, Value v);
/* Adds to the body what the backward gathers of parameters and the forward does
 * not, and finds which of all that is another one with its axes renamed. */
void pair_add_gathered(Module *m, Pair *p);
/* Of the parameters of `back` that the forward might be handed too, leaves
 * those that such a thing is made with. */
void pair_keep_gathered(Module *m, const Pair *p, bool *given);
/* Value V of the body is the backward's, on the way to such a thing. */
bool is_late(const Pair *p, uint32_t v);
/* Whether the rule keeps it, which is noted in `named`. */
bool is_gathered(Module *m, const Pair *p, Value v, RematRule *rule);
/* By value of the body: of two that are one but for the names of axes, and that
 * the rule keeps, it is the one that is made of the other. */
bool *gathered_turned(Module *m, const Pair *p, RematRule *rule);
/* The record with what the rule keeps of them. */
Record *record_gathered(Module *m, const Pair *p, const Record *of,
                        RematRule *rule);
/* The parameters of a record that turns gather less often for it; "param": all
 * that are gathered in it. */
RematWords gathered_spared(Module *m, const Pair *p, const Record *r);
/* Nanoseconds that a turn saves which has them in its record. */
double gathered_time(Module *m, const Pair *p, const Record *r);

/* ------------------------------------------------------------ points.c -- */

/* A record, and what it takes of a turn. */
typedef struct Point {
    const char *mode; /* as a rule has it */
    const Record *record;
    double bytes, time;
    uint32_t number; /* among those of its pair */
    bool gathered;   /* with parameters that the turn gathers */
} Point;

typedef VEC(Point) PointVec;

/* The cheapest ways to ever smaller records, in order: a position counts the
 * turns that were moved to their next point.  The repeats of an entry are a
 * group, of which no more turns are moved than its limit says.  OFFLOAD: parts
 * of a record may go to the host. */
typedef struct Points Points;
Points *points_find(Module *m, const Pairs *pairs, const RematRules *rules,
                    bool offload);
/* Nothing made again, with ever fewer turns that keep what they gather. */
Points *points_gather(Module *m, const Pairs *pairs, const RematRules *rules);
/* Nothing is made again in what every step runs. */
bool points_plain(const Points *x, int64_t position);
/* Whether some keep it at a position. */
bool points_gathered(const Points *x, int64_t position);
/* Whether some repeat is the budget's to decide on. */
bool points_any(const Points *x);
/* Positions at which all turns of a pair are at one point. */
uint32_t points_corners(const Points *x);
int64_t points_corner(const Points *x, uint32_t i);
uint32_t points_groups(const Points *x);
/* Turns of a group that a position has moved. */
int64_t points_moves(const Points *x, int64_t position, uint32_t group);
/* The limits by group, INT64_MAX at first; they may be changed. */
int64_t *points_limits(Points *x);
/* Nanoseconds by which it is longer than without a budget. */
double points_time(const Points *x, int64_t position);
/* Nanoseconds for the last byte that a position saves. */
double points_price(const Points *x, int64_t position);
/* The rules of a position; empty: nothing is made again. */
const char *points_text(const Points *x, int64_t position);

/* -------------------------------------------------------------- move.c -- */

/* Adds the points that are OF with more and more of its record on the host. */
void points_moved(Module *m, const Pair *p, Point of, PointVec *out);

/* ------------------------------------------------------------ states.c -- */

/* The parameters whose states may go to the host, in the order in which they
 * do; none without OFFLOAD, which says that the device has a host. */
typedef struct States States;
States *states_find(Module *m, bool offload);
uint32_t states_count(const States *x);
/* What a device has of the states of the first N. */
double states_bytes(const States *x, uint32_t n);
/* Those of the first N lie on the host from here on, in M, a copy of the module
 * or itself. */
void states_move(const States *x, Module *m, uint32_t n);
/* As a line for a plan; empty: N is 0. */
const char *states_text(const States *x, uint32_t n);

#endif
