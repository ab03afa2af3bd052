/*
 * manifest.c: writes and reads MANIFEST.json.
 *
 * What is read is hostile until its digest holds, and not trusted then: every
 * number has bounds, every list the length that follows from another number,
 * and names are plain names.
 */
#include "manifest.h"

#include "source.h"

#include "../tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MANIFEST = 24 << 20, MAX_FILES = 16384, HEX = 2 * DIGEST_BYTES };
#define MAX_BYTES (INT64_C(1) << 56)

static const char digest_key[] = "\"digest\": \"";
static const char ending[] = "\"}\n";
enum { ENDING = HEX + sizeof ending - 1 };

/* --------------------------------------------------------------- writing -- */

static void end_tensors(const StTensor *rows, const ShardFile *f,
                        ManifestFile *out)
{
    uint64_t at = f->header;
    out->ntensors = f->n;
    for (uint32_t i = 0; i < f->n; i++) {
        at += shard_tensor_bytes(&rows[f->first + i]);
        out->tensors[i] = (ManifestTensor){rows[f->first + i].name, at};
    }
}

TitanStatus manifest_add(TitanStory *s, Manifest *m, const StTensor *rows,
                         const ShardFile *files, uint32_t n)
{
    ManifestFile *more =
        realloc(m->files, ((size_t)m->n + n + 1) * sizeof *more);
    if (!more) return titan_no_memory(s);
    m->files = more;
    for (uint32_t i = 0; i < n; i++) {
        const ShardFile *f = &files[i];
        ManifestFile *to = &m->files[m->n++];
        char *name = strdup(f->name);
        *to = (ManifestFile){.name = name,
                             .own = name,
                             .bytes = f->bytes,
                             .header = f->header,
                             .whole = f->whole};
        to->blocks = calloc(f->nblocks + 1, sizeof *to->blocks);
        to->tensors = calloc((size_t)f->n + 1, sizeof *to->tensors);
        if (!name || !to->blocks || !to->tensors) return titan_no_memory(s);
        if (f->nblocks)
            memcpy(to->blocks, f->blocks, f->nblocks * sizeof *to->blocks);
        end_tensors(rows, f, to);
    }
    return TITAN_OK;
}

static json_t *hex_of(const Digest *d, uint64_t n)
{
    char *text = malloc(n * HEX + 1);
    if (!text) return NULL;
    for (uint64_t i = 0; i < n; i++)
        digest_print(&d[i], text + i * HEX);
    json_t *out = json_stringn(text, n * HEX);
    free(text);
    return out;
}

static json_t *tensors_of(const ManifestFile *f)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < f->ntensors; i++) {
        json_t *row = json_pack("[s,I]", f->tensors[i].name,
                                (json_int_t)f->tensors[i].end);
        if (json_array_append_new(list, row) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *file_of(const ManifestFile *f)
{
    return json_pack("{s:s,s:I,s:I,s:o,s:o,s:o}", "name", f->name, "bytes",
                     (json_int_t)f->bytes, "header", (json_int_t)f->header,
                     "xxh3", hex_of(&f->whole, 1), "blocks",
                     hex_of(f->blocks, digest_blocks(f->bytes)), "tensors",
                     tensors_of(f));
}

static json_t *tree_of(const Manifest *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->n; i++)
        if (json_array_append_new(list, file_of(&m->files[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return json_pack(
        "{s:s,s:i,s:s,s:I,s:I,s:I,s:I,s:s,s:O?,s:O?,s:O?,s:o}", "format",
        "titan checkpoint", "version", MANIFEST_VERSION, "kind",
        m->model_only ? "model" : "full", "step", (json_int_t)m->step,
        "updates", (json_int_t)m->updates, "tokens", (json_int_t)m->tokens,
        "seed", (json_int_t)m->seed, "artifact", m->artifact, "config",
        m->config, "data", m->data, "axes", m->axes, "files", list);
}

/* The text without its last brace, then the digest. */
static void put_manifest(FileWriter *w, const char *text)
{
    size_t n = strlen(text) - 1;
    size_t size = n + 2 + sizeof digest_key - 1;
    char *head = malloc(size + 1), hex[HEX];
    if (!head) {
        w->error = ENOMEM;
        return;
    }
    memcpy(head, text, n);
    sprintf(head + n, ", %s", digest_key);
    Digest d = digest_of(head, size);
    digest_print(&d, hex);
    file_write(w, head, size);
    file_write(w, hex, HEX);
    file_write(w, ending, sizeof ending - 1);
    free(head);
}

TitanStatus manifest_write(TitanStory *s, Files *files, const char *dir,
                           const Manifest *m)
{
    char path[FILES_PATH];
    FileWriter w;
    json_t *tree = tree_of(m);
    char *text = tree ? json_dumps(tree, JSON_PRESERVE_ORDER) : NULL;
    json_decref(tree);
    if (!text) return titan_no_memory(s);
    if (!path_join(path, dir, MANIFEST_NAME)) {
        free(text);
        return titan_fail(s, TITAN_IO, "the path \"%s\" is too long", dir);
    }
    file_begin(&w, s, files, path);
    put_manifest(&w, text);
    free(text);
    return file_end(&w);
}

/* --------------------------------------------------------------- reading -- */

typedef struct Reader {
    TitanStory *story;
    const char *where; /* what is being read, for messages */
} Reader;

#define BAD(r, ...) titan_fail((r)->story, TITAN_BAD_DATA, __VA_ARGS__)

static TitanStatus read_number(Reader *r, const json_t *in, const char *key,
                               int64_t most, int64_t *out)
{
    const json_t *v = json_object_get(in, key);
    *out = json_integer_value(v);
    if (json_is_integer(v) && *out >= 0 && *out <= most) return TITAN_OK;
    return BAD(r, "%s: \"%s\" is no whole number from 0 to %" PRId64, r->where,
               key, most);
}

static TitanStatus read_text(Reader *r, const json_t *in, const char *key,
                             const char **out)
{
    const json_t *v = json_object_get(in, key);
    *out = json_string_value(v);
    if (*out && strlen(*out) == json_string_length(v)) return TITAN_OK;
    return BAD(r, "%s: \"%s\" is no text", r->where, key);
}

static TitanStatus read_digests(Reader *r, const json_t *in, const char *key,
                                uint64_t n, Digest *out)
{
    const char *hex;
    TRY(read_text(r, in, key, &hex));
    bool ok = strlen(hex) == n * HEX;
    for (uint64_t i = 0; ok && i < n; i++)
        ok = digest_parse(hex + i * HEX, &out[i]);
    if (ok) return TITAN_OK;
    return BAD(r, "%s: \"%s\" is not %" PRIu64 " hex digits", r->where, key,
               n * HEX);
}

static TitanStatus read_tensor(Reader *r, const json_t *in, uint64_t from,
                               uint64_t to, ManifestTensor *out)
{
    const json_t *end = json_array_get(in, 1);
    out->name = json_string_value(json_array_get(in, 0));
    out->end = (uint64_t)json_integer_value(end);
    if (json_array_size(in) == 2 && out->name && json_is_integer(end) &&
        json_integer_value(end) >= 0 && out->end >= from && out->end <= to)
        return TITAN_OK;
    return BAD(r, "%s: a tensor is not a name and the byte where it ends",
               r->where);
}

static TitanStatus read_tensors(Reader *r, const json_t *in, ManifestFile *f)
{
    const json_t *list = json_object_get(in, "tensors");
    if (!json_is_array(list))
        return BAD(r, "%s: \"tensors\" is no list", r->where);
    f->ntensors = (uint32_t)json_array_size(list);
    f->tensors = calloc((size_t)f->ntensors + 1, sizeof *f->tensors);
    if (!f->tensors) return titan_no_memory(r->story);
    uint64_t from = f->header;
    for (uint32_t i = 0; i < f->ntensors; i++) {
        TRY(read_tensor(r, json_array_get(list, i), from, f->bytes,
                        &f->tensors[i]));
        from = f->tensors[i].end;
    }
    return TITAN_OK;
}

/* The text of the digests bounds what is allocated for them. */
static TitanStatus read_file(Reader *r, const json_t *in, ManifestFile *f)
{
    int64_t bytes, header;
    TRY(read_text(r, in, "name", &f->name));
    if (!is_plain_name(f->name))
        return BAD(r, "%s: a file's name \"%.255s\" is no plain file name",
                   r->where, f->name);
    TRY(read_number(r, in, "bytes", MAX_BYTES, &bytes));
    TRY(read_number(r, in, "header", bytes, &header));
    f->bytes = (uint64_t)bytes;
    f->header = (uint64_t)header;
    TRY(read_digests(r, in, "xxh3", 1, &f->whole));
    size_t given = json_string_length(json_object_get(in, "blocks"));
    f->blocks = calloc(given / HEX + 1, sizeof *f->blocks);
    if (!f->blocks) return titan_no_memory(r->story);
    TRY(read_digests(r, in, "blocks", digest_blocks(f->bytes), f->blocks));
    return read_tensors(r, in, f);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ManifestFile *)a)->name,
                  ((const ManifestFile *)b)->name);
}

static TitanStatus read_files(Reader *r, const json_t *in, Manifest *m)
{
    const json_t *list = json_object_get(in, "files");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > MAX_FILES)
        return BAD(r, "%s: \"files\" is no list of at most %d files", r->where,
                   MAX_FILES);
    m->files = calloc(n + 1, sizeof *m->files);
    if (!m->files) return titan_no_memory(r->story);
    for (; m->n < n; m->n++) {
        TitanStatus st =
            read_file(r, json_array_get(list, m->n), &m->files[m->n]);
        if (st == TITAN_OK) continue;
        m->n++; /* half of it is there */
        return st;
    }
    qsort(m->files, n, sizeof *m->files, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&m->files[i - 1], &m->files[i]) == 0)
            return BAD(r, "%s: the file \"%s\" twice", r->where,
                       m->files[i].name);
    return TITAN_OK;
}

static TitanStatus check_version(Reader *r, const json_t *in)
{
    const char *format;
    int64_t version;
    TRY(read_text(r, in, "format", &format));
    if (strcmp(format, "titan checkpoint") != 0)
        return BAD(r, "%s: the format is \"%.40s\"", r->where, format);
    TRY(read_number(r, in, "version", INT64_MAX, &version));
    if (version == MANIFEST_VERSION) return TITAN_OK;
    return titan_fail(r->story, TITAN_MISMATCH,
                      "%s: version %" PRId64 ", this program reads %d",
                      r->where, version, MANIFEST_VERSION);
}

static TitanStatus read_tree(Reader *r, Manifest *m)
{
    const char *kind;
    const json_t *in = m->text;
    TRY(check_version(r, in));
    TRY(read_text(r, in, "kind", &kind));
    m->model_only = strcmp(kind, "model") == 0;
    if (!m->model_only && strcmp(kind, "full") != 0)
        return BAD(r, "%s: the kind is \"%.40s\"", r->where, kind);
    TRY(read_number(r, in, "step", INT64_MAX, &m->step));
    TRY(read_number(r, in, "updates", INT64_MAX, &m->updates));
    TRY(read_number(r, in, "tokens", INT64_MAX, &m->tokens));
    m->seed = json_integer_value(json_object_get(in, "seed"));
    TRY(read_text(r, in, "artifact", &m->artifact));
    if (strlen(m->artifact) != HEX)
        return BAD(r, "%s: \"artifact\" is no hash", r->where);
    m->config = json_object_get(in, "config");
    m->data = json_object_get(in, "data");
    m->axes = json_object_get(in, "axes");
    return read_files(r, in, m);
}

static bool digest_holds(const char *text, size_t size)
{
    size_t key = sizeof digest_key - 1;
    Digest said, is;
    if (size < ENDING + key) return false;
    size_t head = size - ENDING;
    if (memcmp(text + head - key, digest_key, key) != 0) return false;
    if (memcmp(text + size - (sizeof ending - 1), ending, sizeof ending - 1))
        return false;
    is = digest_of(text, head);
    return digest_parse(text + head, &said) &&
           memcmp(&said, &is, sizeof is) == 0;
}

TitanStatus manifest_parse(TitanStory *s, const char *text, size_t size,
                           Manifest *out)
{
    Reader r = {s, MANIFEST_NAME};
    json_error_t error;
    *out = (Manifest){0};
    if (!digest_holds(text, size))
        return BAD(&r, "%s: its digest does not hold: it is damaged", r.where);
    const char *excess = tree_excess(text, size);
    if (excess) return BAD(&r, "%s: it has %s", r.where, excess);
    out->text = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    TitanStatus st =
        out->text ? read_tree(&r, out)
                  : BAD(&r, "%s: line %d: %s", r.where, error.line, error.text);
    if (st != TITAN_OK) manifest_free(out);
    return st;
}

TitanStatus manifest_read(TitanStory *s, Files *files, const char *dir,
                          Manifest *out)
{
    char path[FILES_PATH], *text;
    size_t size;
    *out = (Manifest){0};
    if (!path_join(path, dir, MANIFEST_NAME))
        return titan_fail(s, TITAN_IO, "the path \"%s\" is too long", dir);
    TRY(file_read_all(s, files, path, MAX_MANIFEST, &text, &size));
    TitanStatus st = manifest_parse(s, text, size, out);
    free(text);
    return titan_while(s, st, "reading \"%s\"", path);
}

void manifest_free(Manifest *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        free(m->files[i].own);
        free(m->files[i].blocks);
        free(m->files[i].tensors);
    }
    free(m->files);
    json_decref(m->text);
    *m = (Manifest){0};
}
