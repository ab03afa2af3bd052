/*
 * cut.h: what the files of the pass `pipeline` share.
 *
 *      rule.c      what the plan asks for
 *      layers.c    how many layers each stage has
 *      halve.c     a backward repeat becomes two: for inputs, for weights
 *      range.c     a repeat over layers becomes one for each stage
 *      slice.c     what an op is on the layers of one stage
 *      seat.c      on which stages each value is
 *      site.c      writing values where they are asked for
 *      stage.c     the functions of the stages
 *      turns.c     the microbatches, in the order of the schedule
 *      rank.c      what each rank does in a step
 *      slots.c     which slots a stage has
 *      pipeline.c  the pass
 *
 * and, in schedule.h, which of its actions a rank runs when.
 */
#ifndef TITAN_PASSES_CUT_H
#define TITAN_PASSES_CUT_H

#include "../pass.h"
#include "../repeat.h"
#include "schedule.h"

/* shard AXES over MESH schedule WORD [chunks N] [layers N, ...] [ends N, N] */
typedef struct PipelineRule {
    VEC(Axis) axes;
    MeshAxis mesh;
    const char *schedule; /* a word of schedules.def, or the name of a file */
    bool quoted;          /* that is a file */
    const char *file;     /* its text; NULL: no file */
    uint32_t chunks;      /* 0: as few as the schedule takes */
    VEC(int64_t) layers;  /* of each stage; empty: as even as they go */
    int64_t first, last;  /* layers' worth of what is before and behind them */
} PipelineRule;

/* The turns that go over one axis, and which of them each stage has:
 * start[s] .. start[s + 1]. */
typedef struct Layers {
    Axis axis;
    int64_t size;
    int64_t *start;
} Layers;

typedef struct Cut {
    Module *m;
    PassCtx *cx;
    Arena *a;
    const char *text; /* of the rule */
    PipelineRule rule;
    uint32_t ranks, stages, micros;
    const Schedule *s;
    Simulation run;
    bool splits; /* some backward is in two parts */
    VEC(Layers) layers;
    struct Seat *slots; /* by slot */
    VEC(struct Sliced) sliced;
} Cut;

static inline int64_t layers_of(const Layers *l, uint32_t stage)
{
    return l->start[stage + 1] - l->start[stage];
}

/* rule.c; false: an error was reported. */
bool rule_read(Cut *c, const char *text);
/* layers.c: how many of `n` layers each stage has, `first` and `last` layers'
 * worth at the ends; NULL: said. */
int64_t *layers_split(const ScheduleAsk *ask, int64_t n, uint32_t stages,
                      int64_t first, int64_t last);

/* Whether an instruction is a repeat over pipelined layers, from the first to
 * the last or back. */
bool is_chain(const Cut *c, const Inst *in, Repeat *out);
/* The pipelined layers along that axis; NULL: none. */
const Layers *layers_along(const Cut *c, Axis a);
/* The layers that a type has whole; NULL: none.  Of a tuple: a field. */
const Layers *layers_in(const Cut *c, Type t);

/* halve.c: FN with each backward repeat in two. */
Fn *repeats_halved(Cut *c, const Fn *fn);
/* range.c: FN with each repeat over layers in as many as there are stages that
 * have some; stages[v], plus 1, of each of them. */
Fn *repeats_ranged(Cut *c, const Fn *fn, uint32_t **stages);

/* slice.c */
Type part_type(const Cut *c, Type t, const Layers *l, uint32_t stage);
/* Layer by layer: what a stage's layers of the result are is a function of
 * those of the operands. */
bool can_slice(Cut *c, const Fn *fn, Value v, const Layers *l);
Value write_slice(Cut *c, Builder *b, const Fn *fn, Value v, const Layers *l,
                  uint32_t stage, const Value *args);
/* FN, a body whose last parameter counts turns, with `start` more of them. */
FnRef turns_later(Cut *c, FnRef fn, int64_t start);

/* ---------------------------------------------------------------- places -- */

typedef enum SeatKind {
    SEAT_open,  /* not known yet */
    SEAT_all,   /* everywhere: made where it is needed */
    SEAT_stage, /* on one stage */
    SEAT_parts, /* each stage has its layers */
    SEAT_turns  /* the repeat over microbatches */
} SeatKind;

typedef struct Seat {
    SeatKind kind;
    uint32_t stage;
    const Layers *layers; /* parts */
} Seat;

/* A function, and where its values are. */
typedef struct Seated {
    const Fn *fn;
    Seat *at;
    const uint32_t *pinned; /* by value: a range of a repeat is at this, + 1 */
    uint32_t *level;        /* the first stage that what reads it can be at */
    bool *back;             /* behind a backward range: level is the last one */
    bool *sums;             /* of a body: made of carried values */
    struct Seated *body;    /* of the repeat over microbatches; or NULL */
    Value turns;
    Repeat repeat;
    bool entry;
} Seated;

/* seat.c: places of an entry and of the body of its microbatches; where
 * slots have none yet they get theirs. */
Seated *seat_entry(Cut *c, const Fn *fn);
/* A slice that is just the layers of one stage: of what, and which. */
bool is_range(const Cut *c, const Fn *fn, Value v, uint32_t *stage);
/* A concat of just the layers of all stages; which operand is whose. */
bool is_ranges(const Cut *c, const Fn *fn, Value v);
uint32_t range_operand(const Layers *l, uint32_t stage);

/* ----------------------------------------------------------------- sites -- */

#define WHOLE UINT32_MAX

/* A value, or what one stage has of it. */
typedef struct Piece {
    Value v;
    uint32_t part; /* a stage, or WHOLE */
} Piece;

/* Where the values of one function are written. */
typedef struct Site Site;
struct Site {
    Cut *c;
    const Seated *p;
    Builder *b;  /* NULL: nothing is written, it is only asked for */
    Value *made; /* by piece */
    /* What is made elsewhere. */
    Value (*bring)(Site *s, Piece x);
    void *user;
    uint32_t rank;     /* of a rank's site */
    VEC(size_t) asked; /* pieces that are there by now */
};
/* Nothing is there any more. */
void site_clear(Site *s);
void site_init(Site *s, Cut *c, const Seated *p, Builder *b);
size_t piece_index(const Cut *c, Piece x);
Value site_get(Site *s, Piece x);
/* Writes the instruction that makes it. */
Value site_write(Site *s, Piece x);
/* Whether it is made by an instruction of a stage, which; else it is given, or
 * follows from other pieces. */
bool piece_home(const Cut *c, const Seated *p, Piece x, uint32_t *stage);

/* ---------------------------------------------------------------- stages -- */

enum { GROUP_forward, GROUP_back, GROUP_weights, GROUP_sums, GROUP_count };

typedef VEC(Piece) PieceVec;

/* What a stage does in one kind of action. */
typedef struct StageFn {
    PieceVec made, in, out;
    FnRef fn; /* where something is made */
    bool any;
} StageFn;

typedef struct Stages {
    Cut *c;
    Seated *p;
    uint8_t *group;           /* by piece */
    StageFn *at[GROUP_count]; /* by stage */
    PieceVec pieces;          /* that a stage makes, in order */
    PieceVec results;         /* of the body, and what they follow from */
    bool *sums;               /* by stage: sums are functions of their own */
    bool *read;               /* by piece: another function reads it */
    bool *forward;            /* by value: something forward reads it */
    Site ask;                 /* for asking what a piece reads */
} Stages;
/* NULL: an error was reported. */
Stages *stages_make(Cut *c, Seated *p);

/* ----------------------------------------------------------------- ranks -- */

typedef struct Turns Turns;

typedef struct Ranks {
    Cut *c;
    Turns *turns;
    const Seated *p;
    Fn **fns;
    Builder *builders;
    Site *sites; /* by rank */
} Ranks;
/* Brings a value from one rank to another; both go on. */
Value ranks_send(Ranks *r, uint32_t from, uint32_t to, uint32_t channel,
                 Value v);
/* rank.c: appends the rank functions of an entry; false: said. */
bool ranks_make(Cut *c, const Fn *fn);
/* turns.c: the calls of all stages; then what the turns gave, on the rank that
 * has it. */
bool turns_run(Ranks *r);
Value turns_result(Ranks *r, uint32_t rank, Piece x);

/* slots.c: the slot's part that a stage has. */
Str part_path(const Cut *c, Str path, const Layers *l, uint32_t stage);
void slots_cut(Cut *c);

#endif
