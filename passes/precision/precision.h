/*
 * precision.h: what the two halves of the pass share: the facts about every
 * value (facts.c), and the functions that are written by them (precision.c).
 */
#ifndef TITAN_PRECISION_H
#define TITAN_PRECISION_H

#include "../pass.h"

/* What a float value is made of; the larger one wins where they meet. */
typedef enum Kind {
    KIND_table,  /* constants, indices, scalars, sums of them */
    KIND_param,  /* parameters and states, and what they alone make */
    KIND_data,   /* made from integers among the inputs, or drawn, or reduced
                    from activations: positions and statistics, which must not
                    be rounded, and pixels and means, which may be */
    KIND_active, /* activations and their derivatives */
} Kind;

/* Facts about the values of one function.  A cell is a value, or a field of
 * a tuple: those of value v are [first[v], first[v + 1]). */
typedef struct Facts {
    const Fn *fn;
    uint32_t *first;
    uint8_t *kind;       /* Kind by cell */
    bool *rough;         /* by cell: somebody is content with bf16 */
    bool *of_chosen;     /* by value: of what rows chose alone */
    bool *kept;          /* by cell: whoever reads it, it stays in f32 */
    bool *rough_result;  /* by result */
    bool *precise_given; /* by parameter: some caller has it in f32 */
    bool *narrow;        /* by parameter: what is handed in is stored in bf16 */
    uint32_t carry;      /* as a body: how many results are carried */
    bool update;         /* called by the update alone */
    bool called;
} Facts;

typedef struct Precision {
    Module *m;
    Facts *facts; /* by function */
    const PassCtx *cx;
    bool states; /* parameters and states are stored in bf16 too */
    bool changed;
} Precision;

void facts_find(Precision *p);

static inline uint32_t cell_of(const Facts *f, Value v, uint32_t field)
{
    return f->first[v.id] + field;
}
bool is_f32(const Module *m, Type t);
bool is_update(const Facts *f, const Inst *in);
/* An einsum whose operands are rounded to bf16: NULL, or why they are not. */
const char *why_not_rounded(const Precision *p, const Facts *f, const Inst *in);
/* Operand K of an einsum are matrices of a parameter that ids choose, one for
 * each. */
bool is_chosen(const Precision *p, const Facts *f, const Inst *in, uint32_t k);
bool is_linear(const Precision *p, const Facts *f, const Inst *in);
/* Stored in bf16. */
bool is_narrow_slot(const Precision *p, const Slot *s);
/* A port of an entry whose slot is stored in bf16. */
bool is_narrow_port(const Precision *p, const Fn *fn, const Port *port);

#endif
