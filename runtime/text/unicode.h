/*
 * unicode.h: classes of code points, and UTF-8.
 *
 * A class is a byte: the general category in the low bits, flags above.  Sets
 * of categories are words of bits, so that a test is one shift.
 */
#ifndef TITAN_UNICODE_H
#define TITAN_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
typedef enum Category {
    UC_Cn, UC_Lu, UC_Ll, UC_Lt, UC_Lm, UC_Lo, UC_Mn, UC_Mc, UC_Me,
    UC_Nd, UC_Nl, UC_No, UC_Pc, UC_Pd, UC_Ps, UC_Pe, UC_Pi, UC_Pf, UC_Po,
    UC_Sm, UC_Sc, UC_Sk, UC_So, UC_Zs, UC_Zl, UC_Zp,
    UC_Cc, UC_Ws, /* Ws: white space of category Cc */
    UC_Cf, UC_Co, UC_COUNT
} Category;
/* clang-format on */

#define SET(name) (1u << UC_##name)
#define SET_L     (SET(Lu) | SET(Ll) | SET(Lt) | SET(Lm) | SET(Lo))
#define SET_M     (SET(Mn) | SET(Mc) | SET(Me))
#define SET_N     (SET(Nd) | SET(Nl) | SET(No))
#define SET_P \
    (SET(Pc) | SET(Pd) | SET(Ps) | SET(Pe) | SET(Pi) | SET(Pf) | SET(Po))
#define SET_S     (SET(Sm) | SET(Sc) | SET(Sk) | SET(So))
#define SET_SPACE (SET(Zs) | SET(Zl) | SET(Zp) | SET(Ws))
#define SET_ALL   ((1u << UC_COUNT) - 1)

enum {
    UC_CATEGORY = 31, /* mask */
    UC_WORD = 32,     /* a character of words */
    UC_LATE = 64,     /* later than the Unicode of the normalisers */
    UC_TOKEN = 128    /* of a tokenizer: alone it is a token (cuts.c) */
};

/* A byte of text that is no part of UTF-8 reads as this, of class Cn. */
enum { CODE_BYTE = 0x110000, CODES = CODE_BYTE + 1 };

/* Fills in the classes of all code points and of CODE_BYTE. */
void unicode_classes(unsigned char classes[CODES]);

/* The code points of one class in a row: where the I-th row of all begins;
 * CODE_BYTE behind the last. */
uint32_t unicode_row(unsigned i);

static inline bool in_set(unsigned class, uint32_t set)
{
    return set >> (class & UC_CATEGORY) & 1;
}

/* The character at p (below end) and its length; what is not the shortest
 * form, a surrogate or too great is a byte. */
size_t utf8_read_long(const unsigned char *p, const unsigned char *end,
                      uint32_t *code);
static inline size_t utf8_read(const unsigned char *p, const unsigned char *end,
                               uint32_t *code)
{
    *code = *p;
    return *p < 0x80 ? 1 : utf8_read_long(p, end, code);
}

/* Writes at most four bytes; the number of them. */
size_t utf8_write(uint32_t code, char *to);
/* Bytes from p to the first that is not UTF-8, or to the end. */
size_t utf8_valid(const char *p, size_t n);
/* The byte that a character of the byte-level alphabet stands for; below 0:
 * it is none of it. */
int byte_level_byte(uint32_t code);
uint32_t byte_level_code(unsigned char byte);

#endif
