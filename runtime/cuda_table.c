/*
 * cuda_table.c: choices for matrix products as a text file.
 *
 * One line an entry, sorted, so that the files of two machines can be merged
 * and compared:
 *
 *     NVIDIA_H200 lt=130100 bf16*bf16->bf16/f32 m=.. n=.. .. algo=<hex> us=68.1
 *
 * What stands in front of " algo=" is the key and is looked up as it is; the
 * library's own 64 bytes follow.  An entry without a time is what the library
 * named first.  Lines that are no entries are kept.
 */
#include "cuda_gemm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char mark[] = " algo=", time_mark[] = " us=";

static TitanStatus add_line(TitanStory *s, CudaTable *t, const char *line)
{
    char **more = realloc(t->lines, ((size_t)t->n + 1) * sizeof *more);
    if (!more) return titan_no_memory(s);
    t->lines = more;
    t->lines[t->n] = strdup(line);
    if (!t->lines[t->n]) return titan_no_memory(s);
    t->n++;
    return TITAN_OK;
}

/* A file that is not there yet has no entries. */
TitanStatus cuda_table_read(TitanStory *s, const char *path, CudaTable *out)
{
    *out = (CudaTable){0};
    FILE *in = fopen(path, "r");
    if (!in && errno == ENOENT) return TITAN_OK;
    if (!in)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    char *line = NULL;
    size_t cap = 0;
    TitanStatus st = TITAN_OK;
    while (st == TITAN_OK && getline(&line, &cap, in) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line) st = add_line(s, out, line);
    }
    free(line);
    fclose(in);
    return st;
}

static bool has_key(const char *line, const char *key)
{
    size_t n = strlen(key);
    return strncmp(line, key, n) == 0 &&
           strncmp(line + n, mark, sizeof mark - 1) == 0;
}

static bool read_algo(const char *hex, LtAlgo *out)
{
    for (int i = 0; i < 8; i++) {
        char word[17] = "";
        memccpy(word, hex + 16 * i, 0, 16);
        char *end;
        out->word[i] = strtoull(word, &end, 16);
        if (end != word + 16) return false;
    }
    return true;
}

bool cuda_table_find(const CudaTable *t, const char *key, bool timed,
                     LtAlgo *out)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (has_key(t->lines[i], key) &&
            (!timed || strstr(t->lines[i], time_mark)))
            return read_algo(t->lines[i] + strlen(key) + sizeof mark - 1, out);
    return false;
}

bool cuda_text_find(const CudaText *texts, const char *key, LtAlgo *out)
{
    for (const CudaText *t = texts; t->name; t++)
        for (const char *line = t->text; line; line = strchr(line, '\n')) {
            line += *line == '\n';
            if (has_key(line, key))
                return read_algo(line + strlen(key) + sizeof mark - 1, out);
        }
    return false;
}

static void drop(CudaTable *t, const char *key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->n; i++)
        if (has_key(t->lines[i], key))
            free(t->lines[i]);
        else
            t->lines[kept++] = t->lines[i];
    t->n = kept;
}

TitanStatus cuda_table_put(TitanStory *s, CudaTable *t, const char *key,
                           const LtAlgo *algo, double us)
{
    char line[2048];
    int n = snprintf(line, sizeof line, "%s%s", key, mark);
    for (int i = 0; i < 8 && n > 0 && (size_t)n < sizeof line; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, "%016" PRIx64,
                      algo->word[i]);
    if (us > 0 && n > 0 && (size_t)n < sizeof line)
        snprintf(line + n, sizeof line - (size_t)n, "%s%.1f", time_mark, us);
    drop(t, key);
    t->changed = true;
    return add_line(s, t, line);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

TitanStatus cuda_table_write(TitanStory *s, CudaTable *t, const char *path)
{
    char temp[4096];
    if (!t->changed) return TITAN_OK;
    qsort(t->lines, t->n, sizeof *t->lines, by_text);
    snprintf(temp, sizeof temp, "%s.new", path);
    FILE *out = fopen(temp, "w");
    for (uint32_t i = 0; out && i < t->n; i++)
        fprintf(out, "%s\n", t->lines[i]);
    bool ok = out && !ferror(out);
    if (out && fclose(out) != 0) ok = false;
    if (!ok || rename(temp, path) != 0)
        return titan_fail(s, TITAN_IO, "could not write \"%s\": %s", path,
                          strerror(errno));
    t->changed = false;
    return TITAN_OK;
}

void cuda_table_release(CudaTable *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        free(t->lines[i]);
    free(t->lines);
    *t = (CudaTable){0};
}
