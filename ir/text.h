/*
 * text.h: what the printer and the parser of the text form agree on.
 * Private to ir/.  The form itself is described in ir/ops.md.
 */
#ifndef TITAN_IR_TEXT_H
#define TITAN_IR_TEXT_H

#include "ir.h"

/* Nesting of brackets and of expressions that the parser follows.  The
 * printer gives a part of its own (`$0 = ...;`) to what would nest deeper. */
enum { TEXT_NESTING = 64, TEXT_DEEP = 40 };

/* How tightly an infix or prefix scalar function binds; call syntax and
 * leaves bind tightest. */
enum {
    LEVEL_or = 1,
    LEVEL_and,
    LEVEL_not,
    LEVEL_compare,
    LEVEL_sum,
    LEVEL_product,
    LEVEL_minus,
    LEVEL_leaf
};
int scalar_level(ScalarOp op);

/* The dtype that a place gives to a bare constant; none where it gives none */
enum { DTYPE_unknown = -1 };
/* The dtype of the result, or of the operands, that the function alone says */
int scalar_result_dtype(ScalarOp op);
int scalar_operand_dtype(ScalarOp op);

static inline bool text_in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '.';
}
static inline bool text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

void print_quoted(const char *s, Buf *out);
/* A word, or the same in quotes. */
void print_name(const char *s, Buf *out);
void print_axis_list(const Module *m, const Axis *axes, uint32_t n, Buf *out);
void print_mesh_list(const Module *m, const MeshAxis *mesh, uint32_t n,
                     Buf *out);
void print_type(const Module *m, Type t, Buf *out);
/* A map body without its braces; `expected`: the DType of the result, or
 * DTYPE_unknown. */
void print_expr(Module *m, Expr e, int expected, Buf *out);

#endif
