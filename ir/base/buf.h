/*
 * buf.h: a growing text buffer on the heap, for printers and writers.
 *
 *     Buf b = {0};
 *     buf_printf(&b, "%s\n", name);
 *     buf_release(&b);
 *
 * The text is always NUL-terminated once something was added.
 */
#ifndef TITAN_BASE_BUF_H
#define TITAN_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"

typedef struct Buf {
    char *at;
    size_t n, cap;
} Buf;

void buf_release(Buf *b);
void buf_clear(Buf *b);
void buf_add(Buf *b, const void *p, size_t n);
void buf_puts(Buf *b, const char *s);
void buf_putc(Buf *b, char c);
void buf_pad(Buf *b, size_t column); /* spaces up to the column of this line */
void buf_printf(Buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(Buf *b, const char *fmt, va_list args) PRINTF(2, 0);
/* s as a JSON string, with quotes; bytes that are no UTF-8 become U+FFFD. */
void buf_json_str(Buf *b, const char *s);
/* Shortest decimal that reads back as the same double; inf, -inf, nan. */
void buf_double(Buf *b, double x);

/* Writes to PATH by a temporary name beside it and a rename, so that a
 * failure never leaves half a file.  "-" is stdout.  False: errno is set. */
bool write_file(const char *path, const void *at, size_t n, bool executable)
    MUST_USE;
/* The whole file in the arena, NUL-terminated; NULL: errno is set.  "-" is
 * stdin. */
char *read_file(Arena *a, const char *path, size_t *size) MUST_USE;

#endif
