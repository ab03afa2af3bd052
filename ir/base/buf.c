/*
 * buf.c: text buffers, and whole files in and out.
 */
#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void buf_release(Buf *b)
{
    free(b->at);
    *b = (Buf){0};
}

void buf_clear(Buf *b)
{
    b->n = 0;
    if (b->at) b->at[0] = 0;
}

static void reserve(Buf *b, size_t more)
{
    if (b->cap - b->n > more) return;
    size_t cap = b->cap ? b->cap * 2 : 256;
    while (cap - b->n <= more)
        cap *= 2;
    char *at = realloc(b->at, cap);
    if (!at) out_of_memory("text", cap);
    b->at = at;
    b->cap = cap;
}

void buf_add(Buf *b, const void *p, size_t n)
{
    reserve(b, n);
    if (n) memcpy(b->at + b->n, p, n);
    b->n += n;
    b->at[b->n] = 0;
}

void buf_puts(Buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_putc(Buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_pad(Buf *b, size_t column)
{
    size_t start = b->n;
    while (start > 0 && b->at[start - 1] != '\n')
        start--;
    while (b->n - start < column)
        buf_putc(b, ' ');
}

void buf_vprintf(Buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    reserve(b, (size_t)n);
    vsnprintf(b->at + b->n, (size_t)n + 1, fmt, again);
    b->n += (size_t)n;
    va_end(again);
}

void buf_printf(Buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vprintf(b, fmt, args);
    va_end(args);
}

/* Length of the valid UTF-8 sequence at s, 0 when there is none. */
static size_t utf8_len(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (n == 1) return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
    return n;
}

static void json_char(Buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        buf_puts(b, "\\\"");
        return;
    case '\\':
        buf_puts(b, "\\\\");
        return;
    case '\n':
        buf_puts(b, "\\n");
        return;
    case '\t':
        buf_puts(b, "\\t");
        return;
    case '\r':
        buf_puts(b, "\\r");
        return;
    }
    if (c < 0x20)
        buf_printf(b, "\\u%04x", c);
    else
        buf_putc(b, (char)c);
}

void buf_json_str(Buf *b, const char *s)
{
    buf_putc(b, '"');
    while (*s) {
        size_t n = utf8_len((const unsigned char *)s);
        if (n == 0) {
            buf_puts(b, "\\ufffd");
            s++;
        } else if (n == 1) {
            json_char(b, (unsigned char)*s++);
        } else {
            buf_add(b, s, n);
            s += n;
        }
    }
    buf_putc(b, '"');
}

void buf_double(Buf *b, double x)
{
    char text[40];
    if (isnan(x)) {
        buf_puts(b, "nan");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    buf_puts(b, text);
}

static bool write_all(int fd, const char *at, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, at, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return false;
        at += k;
        n -= (size_t)k;
    }
    return true;
}

/* A device or a pipe is written as it is: a rename would take its place. */
static bool write_special(const char *path, const void *at, size_t n)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool ok = write_all(fd, at, n);
    return close(fd) == 0 && ok;
}

bool write_file(const char *path, const void *at, size_t n, bool executable)
{
    struct stat st;
    if (strcmp(path, "-") == 0) return write_all(STDOUT_FILENO, at, n);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return write_special(path, at, n);
    size_t len = strlen(path);
    char *temp = malloc(len + 16);
    if (!temp) out_of_memory("path", len);
    snprintf(temp, len + 16, "%s.XXXXXX", path);
    int fd = mkstemp(temp);
    if (fd < 0) {
        free(temp);
        return false;
    }
    mode_t mask = umask(0);
    umask(mask);
    bool ok = write_all(fd, at, n) &&
              fchmod(fd, (executable ? 0777 : 0666) & ~mask) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(temp, path) == 0;
    int error = errno;
    if (!ok) unlink(temp);
    free(temp);
    errno = error;
    return ok;
}

static char *read_all(Arena *a, int fd, size_t *size)
{
    Buf b = {0};
    char chunk[65536];
    ssize_t k;
    while ((k = read(fd, chunk, sizeof chunk)) != 0) {
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) {
            buf_release(&b);
            return NULL;
        }
        buf_add(&b, chunk, (size_t)k);
    }
    char *at = arena_strndup(a, b.at ? b.at : "", b.n);
    *size = b.n;
    buf_release(&b);
    return at;
}

char *read_file(Arena *a, const char *path, size_t *size)
{
    if (strcmp(path, "-") == 0) return read_all(a, STDIN_FILENO, size);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    char *at = read_all(a, fd, size);
    int error = errno;
    close(fd);
    errno = error;
    return at;
}
