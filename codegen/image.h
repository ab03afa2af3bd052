/*
 * image.h: the tables of an image in the making (image.c fills them,
 * image_write.c turns them into bytes).
 */
#ifndef TITAN_CODEGEN_IMAGE_H
#define TITAN_CODEGEN_IMAGE_H

#include "../runtime/abi.h"
#include "kernel.h"

/* infinity.c: which infinities the program means its values to hold. */
typedef struct Infinities {
    Module *m;
    uint8_t **at;   /* by function and root of a place: TITAN_MAY_ bits */
    uint8_t *slots; /* by the string of a path */
} Infinities;
Infinities infinities_find(Module *m);
unsigned infinities_of(const Infinities *x, const Fn *fn, Value root);

typedef struct ImageTables {
    Module *m;
    Arena *a;
#define T(name, type) VEC(type) name;
    TITAN_TABLES(T)
#undef T
    VEC(char) strings;
    Map string_map; /* Str of the module -> offset */
    uint32_t lanes, target, streams, events;
    uint32_t stage;        /* that is being written, a row of `stages` */
    uint32_t nentries;     /* on each stage */
    const Fn ***entry_fns; /* by stage, in one order */
    bool **runs_at;        /* by stage and function: it runs there */
    Live live;             /* of all stages */
    uint32_t ranks, stage_mesh;
    uint32_t rehearses;      /* the ranks that these play; 0: themselves */
    VEC(TitanRange) over_of; /* of each group, in `over` */
    VEC(MeshAxis) over;
    uint64_t whole_bytes[TITAN_BASE_COUNT]; /* several ranks: of the bases that
                                               no rank has */
    uint32_t stream;                        /* of the next command */
    Infinities infinities;
} ImageTables;

void image_begin(ImageTables *t, Module *m);
uint32_t image_string(ImageTables *t, Str s);
uint32_t image_text(ImageTables *t, const char *s);
/* File and line of a place; zeros without one. */
void image_line(ImageTables *t, Loc loc, uint32_t *file, uint32_t *line);
/* The axes of a layout, outermost first. */
TitanRange image_axes(ImageTables *t, Layout l);
/* At least so many bytes of a base, in the stage that is being written. */
void image_reserve(ImageTables *t, TitanBase base, uint64_t bytes);

/* A result of a launch, whose last command is that of the tables. */
typedef struct ResultAt {
    const Fn *fn; /* with the launch */
    const Inst *launch;
    uint32_t which;   /* result of the group */
    uint32_t operand; /* of the command */
    Layout layout;
} ResultAt;
void image_result(ImageTables *t, const ResultAt *r);
/* The first instruction of an entry that writes a parameter or a state. */
uint32_t image_update(ImageTables *t, const Fn *entry);

/* Stages (image_stages.c): the rows, without a pipeline one, with their
 * entries; the buffers of the one that is being written. */
void image_stages(ImageTables *t);
Live image_live(const ImageTables *t);
/* An entry's name, without that of the rank. */
Str image_entry_name(const ImageTables *t, const Fn *fn);
/* Of the functions of an entry, by stage: the first instruction of each that
 * writes a parameter or a state, or an earlier one, so that no message is sent
 * in front of it and received behind it, or the other way round. */
uint32_t *image_updates(ImageTables *t, const Fn *const *fns);

/* Slots, their places in checkpoints, and the ports of an entry, whose
 * functions are given by stage. */
void image_slots(ImageTables *t);
TitanRange image_ports(ImageTables *t, const Fn *const *fns);
/* Facts of the module, and the buffers that make the peaks. */
void image_facts(ImageTables *t);
void image_fact(ImageTables *t, const char *name, double value);

/* Several ranks (image_ranks.c): the mesh; rows for a group of ranks, and for a
 * collective group's command whose operand lies so. */
void image_mesh(ImageTables *t, const Rehearsal *rehearsal);
uint32_t image_group(ImageTables *t, const AttrItem *over);
uint32_t image_collective(ImageTables *t, const Fn *group, Layout from);
uint32_t image_message(ImageTables *t, const Fn *group, Layout what);
/* The axes of a place with the sizes of the whole; a row that says what the
 * place has of it, where there are several ranks; where the whole lies. */
TitanRange image_whole_axes(ImageTables *t, Layout l, Type whole);
void image_part(ImageTables *t, Layout l, Type whole, TitanPart part);
uint64_t image_whole_place(ImageTables *t, TitanBase base, Type whole);

/* Streams of one function in one place where it runs (image_streams.c):
 * commands of a step are added between its begin and its end. */
typedef struct ImageStreams {
    StepOrder order;
    uint32_t base;          /* of the device, what is 0 in the function */
    uint32_t events, start; /* its first event; that of its begin */
} ImageStreams;

void image_streams_begin(ImageTables *t, ImageStreams *s, const Fn *fn);
void image_step_begin(ImageTables *t, const ImageStreams *s, uint32_t step);
void image_step_end(ImageTables *t, const ImageStreams *s, uint32_t step);
/* In front of a step: stream 0 waits for what the others have. */
void image_streams_meet(ImageTables *t, const ImageStreams *s, uint32_t step);

/* Whether the last command, a collective of this launch, exchanges a product
 * just in front of it and waited for at once (image_fed.c): which command
 * makes that, of those from FIRST on, + 1; 0: it is not. */
uint32_t image_fed(ImageTables *t, const Fn *fn, const Inst *launch,
                   uint32_t first);

/* Of the commands from FIRST on, a program: those that are one for each member
 * of a gather in front of them. */
void image_own(ImageTables *t, uint32_t first);

/* The bytes, with their hash; they live in the module's arena. */
const void *image_bytes(ImageTables *t, size_t *size);

#endif
