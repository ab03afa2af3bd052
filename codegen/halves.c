/*
 * halves.c: sums of two pairs of integers of 16 bits, said one by one.
 *
 * LLVM narrows lanes that have few bits, and Hopper adds two of 16 bits at
 * once.  Of such a sum with a constant, of which only one half is used, ptxas
 * (13.0) may add the other half of the constant: of an index and {0, 1} every
 * second lane is where the first one is.  It makes two sums of such halves
 * right, and extrema of two pairs, which LLVM makes, too; of other instructions
 * on pairs of integers it makes none.
 */
#include <string.h>

#include "target.h"

static const char packed[] = "add.s16x2";

static const char apart[] =
    "{ .reg .b16 x0, x1, y0, y1; mov.b32 {x0, x1}, %.*s; mov.b32 {y0, y1}, "
    "%.*s; add.s16 x0, x0, y0; add.s16 x1, x1, y1; mov.b32 %.*s, {x0, x1}; }";

typedef struct Word {
    const char *at;
    int n;
} Word;

/* The next operand, up to a comma or the end of the instruction. */
static Word operand(const char **at)
{
    *at += strspn(*at, " \t,");
    Word w = {*at, (int)strcspn(*at, ",;")};
    *at += w.n;
    return w;
}

const char *ptx_halves(const char *text, Arena *a, size_t *size)
{
    const char *found = strstr(text, packed);
    if (!found) return text;
    Buf out = {0};
    for (; found; found = strstr(text, packed)) {
        buf_add(&out, text, (size_t)(found - text));
        text = found + strlen(packed);
        Word to = operand(&text), x = operand(&text), y = operand(&text);
        buf_printf(&out, apart, x.n, x.at, y.n, y.at, to.n, to.at);
        text += *text == ';';
    }
    buf_puts(&out, text);
    *size = out.n;
    const char *made = arena_strndup(a, out.at, out.n);
    buf_release(&out);
    return made;
}
