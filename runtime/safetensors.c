/*
 * safetensors.c: the header as a stream, straight into flat arrays.
 *
 * No tree is built: memory is at most a few times the header.  Offsets are
 * checked after sorting, as the format's reference does: each tensor begins
 * where the one before it ends, and the last ends with the file.
 */
#include "safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100000000, MAX_TENSORS = 1000000 };

static const char *const st_names[] = {
#define DTYPE(name, bytes, cls, st) st,
#include "dtypes.def"
#undef DTYPE
};
enum { DTYPES = sizeof st_names / sizeof *st_names };

static const char *st_dtype_name(uint32_t dtype)
{
    return dtype < DTYPES ? st_names[dtype] : "";
}

typedef struct Reader {
    TitanStory *story;
    const char *start, *at, *end;
    char *names;     /* next free byte; all names fit in the header's size */
    int64_t *shapes; /* likewise: a number takes at least two bytes */
    StFile *file;
    uint32_t cap;
} Reader;

#define BAD(r, ...) \
    titan_fail((r)->story, TITAN_BAD_DATA, "safetensors header: " __VA_ARGS__)

static size_t position(const Reader *r)
{
    return (size_t)(r->at - r->start);
}

static void skip_space(Reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' ||
                              *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool eat(Reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

static TitanStatus expect(Reader *r, char c)
{
    if (eat(r, c)) return TITAN_OK;
    return BAD(r, "expected '%c' at byte %zu", c, position(r));
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i] | 0x20;
        if (c >= '0' && c <= '9')
            v = v * 16 + c - '0';
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + c - 'a' + 10;
        else
            return -1;
    }
    return v;
}

/* Code points of the basic plane only; a name with others is written in UTF-8
 * by everybody. */
static TitanStatus read_escape(Reader *r, char **to)
{
    static const char from[] = "\"\\/bfnrt", as[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end) return BAD(r, "a string has no end");
    char c = *r->at++;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        *(*to)++ = as[simple - from];
        return TITAN_OK;
    }
    int v = c == 'u' && r->end - r->at >= 4 ? hex4(r->at) : -1;
    if (v <= 0 || (v >= 0xd800 && v < 0xe000))
        return BAD(r, "an escape at byte %zu is not taken", position(r));
    r->at += 4;
    if (v >= 0x800) *(*to)++ = (char)(0xe0 | v >> 12);
    if (v >= 0x800) *(*to)++ = (char)(0x80 | (v >> 6 & 0x3f));
    if (v >= 0x80 && v < 0x800) *(*to)++ = (char)(0xc0 | v >> 6);
    *(*to)++ = (char)(v < 0x80 ? v : 0x80 | (v & 0x3f));
    return TITAN_OK;
}

/* A string into the names; the caller keeps or gives back the space. */
static TitanStatus read_string(Reader *r, const char **out)
{
    TRY(expect(r, '"'));
    char *to = r->names;
    for (;;) {
        if (r->at == r->end) return BAD(r, "a string has no end");
        unsigned char c = (unsigned char)*r->at++;
        if (c == '"') break;
        if (c < 0x20) return BAD(r, "a raw control byte in a string");
        if (c == '\\')
            TRY(read_escape(r, &to));
        else
            *to++ = (char)c;
    }
    *to++ = 0;
    *out = r->names;
    r->names = to;
    return TITAN_OK;
}

static TitanStatus read_number(Reader *r, int64_t *out)
{
    skip_space(r);
    const char *first = r->at;
    int64_t v = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, *r->at - '0', &v))
            return BAD(r, "a number at byte %zu is too large", position(r));
    bool leading = r->at - first > 1 && *first == '0';
    if (r->at == first || leading)
        return BAD(r, "expected a whole number at byte %zu", position(r));
    *out = v;
    return TITAN_OK;
}

static TitanStatus read_shape(Reader *r, StTensor *t)
{
    TRY(expect(r, '['));
    int64_t *first = r->shapes;
    if (!eat(r, ']')) {
        do {
            if (t->rank == ST_MAX_RANK)
                return BAD(r, "tensor \"%s\" has more than %d dimensions",
                           t->name, ST_MAX_RANK);
            TRY(read_number(r, r->shapes++));
            t->rank++;
        } while (eat(r, ','));
        TRY(expect(r, ']'));
    }
    t->shape = first;
    return TITAN_OK;
}

static TitanStatus read_offsets(Reader *r, StTensor *t)
{
    int64_t begin, end;
    TRY(expect(r, '['));
    TRY(read_number(r, &begin));
    TRY(expect(r, ','));
    TRY(read_number(r, &end));
    TRY(expect(r, ']'));
    t->begin = (uint64_t)begin;
    t->end = (uint64_t)end;
    return TITAN_OK;
}

static TitanStatus read_dtype(Reader *r, StTensor *t)
{
    char *mark = r->names;
    const char *word;
    TRY(read_string(r, &word));
    for (uint32_t d = 0; d < DTYPES; d++)
        if (st_names[d][0] && strcmp(st_names[d], word) == 0) {
            t->dtype = d;
            r->names = mark;
            return TITAN_OK;
        }
    return BAD(r, "tensor \"%s\" has dtype \"%.40s\"", t->name, word);
}

static TitanStatus read_field(Reader *r, StTensor *t, unsigned *seen)
{
    char *mark = r->names;
    const char *key;
    TRY(read_string(r, &key));
    unsigned bit = strcmp(key, "dtype") == 0          ? 1
                   : strcmp(key, "shape") == 0        ? 2
                   : strcmp(key, "data_offsets") == 0 ? 4
                                                      : 0;
    if (bit == 0 || *seen & bit)
        return BAD(r, "tensor \"%s\" has the key \"%.40s\"%s", t->name, key,
                   bit ? " twice" : ", which is not known");
    r->names = mark;
    *seen |= bit;
    TRY(expect(r, ':'));
    if (bit == 1) return read_dtype(r, t);
    return bit == 2 ? read_shape(r, t) : read_offsets(r, t);
}

static TitanStatus check_size(Reader *r, const StTensor *t)
{
    uint64_t bytes = titan_dtype_bytes(t->dtype);
    for (uint32_t i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)t->shape[i], &bytes))
            return BAD(r, "tensor \"%s\" is too large", t->name);
    if (t->begin > t->end || t->end - t->begin != bytes)
        return BAD(r,
                   "tensor \"%s\" needs %" PRIu64
                   " bytes, its offsets give %" PRId64,
                   t->name, bytes, (int64_t)(t->end - t->begin));
    return TITAN_OK;
}

static TitanStatus add_tensor(Reader *r, const StTensor *t)
{
    StFile *f = r->file;
    if (f->n == MAX_TENSORS) return BAD(r, "more than a million tensors");
    if (f->n == r->cap) {
        uint32_t cap = r->cap ? r->cap * 2 : 64;
        StTensor *more = realloc(f->tensors, cap * sizeof *more);
        if (!more) return titan_no_memory(r->story);
        f->tensors = more;
        r->cap = cap;
    }
    f->tensors[f->n++] = *t;
    return TITAN_OK;
}

static TitanStatus read_tensor(Reader *r, const char *name)
{
    StTensor t = {.name = name};
    unsigned seen = 0;
    TRY(expect(r, '{'));
    do {
        TRY(read_field(r, &t, &seen));
    } while (eat(r, ','));
    TRY(expect(r, '}'));
    if (seen != 7)
        return BAD(r, "tensor \"%s\" lacks dtype, shape or data_offsets", name);
    TRY(check_size(r, &t));
    return add_tensor(r, &t);
}

static TitanStatus read_metadata(Reader *r)
{
    char *mark = r->names;
    const char *ignored;
    TRY(expect(r, '{'));
    if (eat(r, '}')) return TITAN_OK;
    do {
        TRY(read_string(r, &ignored));
        TRY(expect(r, ':'));
        TRY(read_string(r, &ignored));
        r->names = mark;
    } while (eat(r, ','));
    return expect(r, '}');
}

static TitanStatus read_entries(Reader *r)
{
    bool metadata = false;
    TRY(expect(r, '{'));
    if (eat(r, '}')) return TITAN_OK;
    do {
        const char *name;
        TRY(read_string(r, &name));
        TRY(expect(r, ':'));
        if (strcmp(name, "__metadata__") == 0) {
            if (metadata) return BAD(r, "\"__metadata__\" twice");
            metadata = true;
            TRY(read_metadata(r));
        } else {
            TRY(read_tensor(r, name));
        }
    } while (eat(r, ','));
    return expect(r, '}');
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const StTensor *)a)->name, ((const StTensor *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const StTensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static TitanStatus check_layout(Reader *r, uint64_t data_bytes)
{
    StFile *f = r->file;
    if (f->n) qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
    for (uint32_t i = 1; i < f->n; i++)
        if (strcmp(f->tensors[i - 1].name, f->tensors[i].name) == 0)
            return BAD(r, "tensor \"%s\" twice", f->tensors[i].name);
    if (f->n) qsort(f->tensors, f->n, sizeof *f->tensors, by_offset);
    uint64_t at = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        const StTensor *t = &f->tensors[i];
        if (t->begin != at)
            return BAD(r,
                       "tensor \"%s\" begins at byte %" PRIu64
                       ", the one before it ends at %" PRIu64,
                       t->name, t->begin, at);
        at = t->end;
    }
    if (at != data_bytes)
        return BAD(r,
                   "the tensors end at byte %" PRIu64 ", the file has %" PRIu64,
                   at, data_bytes);
    return TITAN_OK;
}

static TitanStatus parse(Reader *r, uint64_t data_bytes)
{
    TRY(read_entries(r));
    skip_space(r);
    if (r->at != r->end)
        return BAD(r, "text after the object, at byte %zu", position(r));
    return check_layout(r, data_bytes);
}

TitanStatus st_parse(TitanStory *s, const char *header, size_t size,
                     uint64_t data_bytes, StFile *out)
{
    *out = (StFile){.data_bytes = data_bytes};
    if (size > MAX_HEADER)
        return titan_fail(s, TITAN_BAD_DATA,
                          "safetensors header: %zu bytes, at most %d are taken",
                          size, MAX_HEADER);
    out->names = malloc(size + 1);
    out->shapes = malloc((size / 2 + 1) * sizeof(int64_t));
    if (!out->names || !out->shapes) {
        st_close(out);
        return titan_no_memory(s);
    }
    Reader r = {.story = s,
                .start = header,
                .at = header,
                .end = header + size,
                .names = out->names,
                .shapes = out->shapes,
                .file = out};
    TitanStatus st = parse(&r, data_bytes);
    if (st != TITAN_OK) st_close(out);
    return st;
}

TitanStatus st_view(TitanStory *s, const void *at, size_t size, StFile *out)
{
    uint64_t n;
    *out = (StFile){0};
    if (size < 8)
        return titan_fail(s, TITAN_BAD_DATA, "%zu bytes are no safetensors",
                          size);
    memcpy(&n, at, 8);
    if (n > size - 8)
        return titan_fail(
            s, TITAN_BAD_DATA,
            "safetensors header: %" PRIu64 " bytes, the file has %zu", n, size);
    TRY(st_parse(s, (const char *)at + 8, (size_t)n, size - 8 - n, out));
    out->data = (const unsigned char *)at + 8 + n;
    return TITAN_OK;
}

void st_close(StFile *f)
{
    free(f->tensors);
    free(f->names);
    free(f->shapes);
    *f = (StFile){0};
}

static void write_name(FILE *out, const char *name)
{
    fputc('"', out);
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

char *st_header(StTensor *tensors, uint32_t n, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    if (!out) return NULL;
    uint64_t at = 0;
    fprintf(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (uint32_t i = 0; i < n; i++) {
        StTensor *t = &tensors[i];
        uint64_t bytes = titan_dtype_bytes(t->dtype);
        fputc(',', out);
        write_name(out, t->name);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", st_dtype_name(t->dtype));
        for (uint32_t k = 0; k < t->rank; k++) {
            fprintf(out, "%s%" PRId64, k ? "," : "", t->shape[k]);
            bytes *= (uint64_t)t->shape[k];
        }
        t->begin = at;
        t->end = at += bytes;
        fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", t->begin,
                t->end);
    }
    fputc('}', out);
    while (ftell(out) % 8)
        fputc(' ', out);
    if (fclose(out) != 0) return NULL;
    return text;
}
