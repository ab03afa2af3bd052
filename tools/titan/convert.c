/*
 * convert.c: `titan convert FROM TO`: weights from one form into another.
 *
 * FROM is a checkpoint, a folder of Hugging Face weights or one file of them;
 * the names are those of the field in all three, so what changes is dtype,
 * shards, and the order of rows where rotary positions are paired otherwise:
 *
 *     halves     rows 0 1 2 | 3 4 5 of a head: 0 turns with 3, 1 with 4, ...
 *     adjacent   rows 0 3 1 4 2 5:             0 turns with 1, 2 with 3, ...
 */
#include "command.h"
#include "whole.h"

#include "../../runtime/checkpoint/shards.h"
#include "../../runtime/checkpoint/source.h"
#include "../../runtime/checkpoint/verify.h"
#include "../../runtime/narrow.h"
#include "../../runtime/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Conversion {
    ShardSource source; /* first */
    TitanStory *story;
    const Options *o;
    const char *from, *to;
    Source files;
    SourceTensor **order; /* as they lie in the files */
    StTensor *rows;       /* as they are written */
    int64_t head;         /* rows of a head; 0: rows stay */
    bool adjacent;        /* that is what they become */
} Conversion;

/* --------------------------------------------------------------- opening -- */

static TitanStatus open_checkpoint(Conversion *c)
{
    Manifest m;
    uint32_t n = 0;
    TRY(manifest_read(c->story, files_real(), c->from, &m));
    TitanStatus st =
        checkpoint_verify(c->story, files_real(), c->from, &m, stderr);
    const char **names = calloc((size_t)m.n + 1, sizeof *names);
    for (uint32_t i = 0; names && i < m.n; i++)
        if (m.files[i].ntensors && strncmp(m.files[i].name, "model", 5) == 0)
            names[n++] = m.files[i].name;
    if (st == TITAN_OK)
        st = names ? source_open_files(c->story, files_real(), c->from, names,
                                       n, &c->files)
                   : titan_no_memory(c->story);
    free(names);
    manifest_free(&m);
    return st;
}

static TitanStatus open_from(Conversion *c)
{
    struct stat st;
    if (is_checkpoint(c->from)) return open_checkpoint(c);
    if (stat(c->from, &st) == 0 && S_ISREG(st.st_mode))
        return source_open_file(c->story, c->from, &c->files);
    return source_open(c->story, c->from, &c->files);
}

static int by_place(const void *a, const void *b)
{
    const SourceTensor *x = *(SourceTensor *const *)a;
    const SourceTensor *y = *(SourceTensor *const *)b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return (x->data > y->data) - (x->data < y->data);
}

static TitanStatus list_rows(Conversion *c)
{
    uint32_t n = c->files.n, dtype = 0;
    bool as_is = !option_given(c->o, OPT_export_dtype);
    if (!as_is)
        TRY(weights_dtype(c->story, "--export-dtype",
                          option_text(c->o, OPT_export_dtype), &dtype));
    c->order = calloc((size_t)n + 1, sizeof(SourceTensor *));
    c->rows = calloc((size_t)n + 1, sizeof *c->rows);
    if (!c->order || !c->rows) return titan_no_memory(c->story);
    for (uint32_t i = 0; i < n; i++)
        c->order[i] = &c->files.tensors[i];
    qsort(c->order, n, sizeof(SourceTensor *), by_place);
    for (uint32_t i = 0; i < n; i++) {
        c->rows[i] = *c->order[i]->tensor;
        /* narrower ones have scales beside them, which would not fit */
        bool wide = titan_dtype_is_float(c->rows[i].dtype) &&
                    titan_dtype_bytes(c->rows[i].dtype) > 1;
        if (!as_is && wide) c->rows[i].dtype = dtype;
    }
    return TITAN_OK;
}

/* ------------------------------------------------------------------ rope -- */

/* head_dim, or what hidden_size and num_attention_heads make. */
static int64_t config_head(const char *dir)
{
    char path[FILES_PATH];
    if (!path_join(path, dir, "config.json")) return 0;
    json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    int64_t head = json_integer_value(json_object_get(config, "head_dim"));
    int64_t width = json_integer_value(json_object_get(config, "hidden_size"));
    int64_t heads =
        json_integer_value(json_object_get(config, "num_attention_heads"));
    json_decref(config);
    return head > 0 || heads <= 0 ? head : width / heads;
}

static TitanStatus read_rope(Conversion *c)
{
    const char *pairs = option_text(c->o, OPT_rope);
    if (!pairs) return TITAN_OK;
    c->adjacent = strcmp(pairs, "adjacent") == 0;
    if (!c->adjacent && strcmp(pairs, "halves") != 0)
        return titan_fail(c->story, TITAN_USAGE,
                          "--rope is \"%s\"; halves and adjacent are known",
                          pairs);
    c->head = option_number(c->o, OPT_head_size, 0);
    if (c->head == 0) c->head = config_head(c->from);
    if (c->head > 0 && c->head % 2 == 0) return TITAN_OK;
    return titan_fail(c->story, TITAN_USAGE,
                      "--rope needs the rows of a head, an even number: no "
                      "--head-size, and no head_dim in a config.json of \"%s\"",
                      c->from);
}

/* WORD stands between dots in NAME, as in layers.0.WORD.weight. */
static bool has_word(const char *name, const char *word, size_t n)
{
    for (const char *at = name; *at;) {
        size_t len = strcspn(at, ".");
        if (len == n && memcmp(at, word, n) == 0) return true;
        at += len + (at[len] == '.');
    }
    return false;
}

static bool is_turned(const Conversion *c, const StTensor *t)
{
    if (c->head == 0) return false;
    for (const char *at = option_text(c->o, OPT_rope_names); *at;) {
        size_t len = strcspn(at, ",");
        if (has_word(t->name, at, len)) return true;
        at += len + (at[len] == ',');
    }
    return false;
}

static TitanStatus check_turned(const Conversion *c, uint32_t *n)
{
    for (uint32_t i = 0; i < c->files.n; i++) {
        const StTensor *t = &c->rows[i];
        if (!is_turned(c, t)) continue;
        ++*n;
        if (t->rank == 0 || t->shape[0] % c->head)
            return titan_fail(c->story, TITAN_BAD_DATA,
                              "heads of %" PRId64
                              " rows do not divide the first dimension of "
                              "\"%s\"",
                              c->head, t->name);
    }
    if (c->head == 0 || *n > 0) return TITAN_OK;
    return titan_fail(c->story, TITAN_BAD_DATA,
                      "no weight has one of the names %s in its own",
                      option_text(c->o, OPT_rope_names));
}

/* Which row of the file row I of the result is. */
static int64_t row_from(const Conversion *c, int64_t i)
{
    int64_t head = i / c->head * c->head, at = i % c->head, half = c->head / 2;
    if (c->adjacent) return head + at % 2 * half + at / 2;
    return head + at % half * 2 + at / half;
}

/* ----------------------------------------------------------------- bytes -- */

static void convert(const StTensor *from, const char *at, const StTensor *to,
                    char *out, int64_t n)
{
    enum { CHUNK = 4096 };
    float row[CHUNK];
    unsigned a = titan_dtype_bytes(from->dtype);
    unsigned b = titan_dtype_bytes(to->dtype);
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t some = n - i < CHUNK ? n - i : CHUNK;
        for (int64_t k = 0; a == 8 && k < some; k++)
            row[k] = (float)narrow_load_one(from->dtype, at + (i + k) * a);
        if (a < 8) narrow_load(from->dtype, at + i * a, row, some);
        narrow_store(to->dtype, row, out + i * b, some);
    }
}

static TitanStatus tensor_bytes(ShardSource *source, uint32_t i, char *room,
                                const char **at)
{
    Conversion *c = (Conversion *)source;
    const StTensor *from = c->order[i]->tensor, *to = &c->rows[i];
    const char *data = (const char *)c->order[i]->data;
    bool turned = is_turned(c, to), same = from->dtype == to->dtype;
    uint64_t size = shard_tensor_bytes(to);
    *at = turned || !same ? room : data;
    if (size == 0) return TITAN_OK;
    int64_t n = (int64_t)(size / titan_dtype_bytes(to->dtype));
    if (!turned && !same) convert(from, data, to, room, n);
    if (!turned) return TITAN_OK;
    int64_t rows = to->shape[0], each = n / rows;
    size_t have = (size_t)each * titan_dtype_bytes(from->dtype);
    size_t want = (size_t)each * titan_dtype_bytes(to->dtype);
    for (int64_t r = 0; r < rows; r++) {
        const char *row = data + (size_t)row_from(c, r) * have;
        if (same)
            memcpy(room + (size_t)r * want, row, want);
        else
            convert(from, row, to, room + (size_t)r * want, each);
    }
    return TITAN_OK;
}

/* --------------------------------------------------------------- writing -- */

static TitanStatus put_manifest(Conversion *c, const ShardSet *set)
{
    Manifest m = {.model_only = true,
                  .artifact = "00000000000000000000000000000000"};
    TitanStatus st = manifest_add(c->story, &m, c->rows, set->files, set->n);
    if (st == TITAN_OK) st = manifest_write(c->story, files_real(), c->to, &m);
    manifest_free(&m);
    return st;
}

static TitanStatus write_to(Conversion *c)
{
    ShardSet set = {0};
    const char *as = option_text(c->o, OPT_as);
    bool checkpoint = strcmp(as, "checkpoint") == 0;
    if (!checkpoint && strcmp(as, "weights") != 0)
        return titan_fail(c->story, TITAN_USAGE,
                          "--as is \"%s\"; weights and checkpoint are known",
                          as);
    c->source = (ShardSource){
        .bytes = tensor_bytes, .tensors = c->rows, .n = c->files.n};
    if (option_given(c->o, OPT_shard_size)) {
        int64_t most = option_number(c->o, OPT_shard_size, 0);
        c->source.most = most > 0 ? (uint64_t)most : UINT64_MAX;
    }
    TRY(files_need_dir(c->story, files_real(), c->to));
    TitanStatus st = weights_write(c->story, c->to, &c->source, &set);
    if (st == TITAN_OK && checkpoint) st = put_manifest(c, &set);
    if (st == TITAN_OK)
        printf("%s: %" PRIu32 " tensors in %" PRIu32 " file%s\n", c->to,
               c->files.n, set.n, set.n == 1 ? "" : "s");
    shards_free(&set);
    return st;
}

static TitanStatus same_place(const Conversion *c)
{
    struct stat a, b;
    if (stat(c->from, &a) != 0 || stat(c->to, &b) != 0 ||
        a.st_ino != b.st_ino || a.st_dev != b.st_dev)
        return TITAN_OK;
    return titan_fail(c->story, TITAN_USAGE,
                      "FROM and TO are the same folder, \"%s\"", c->to);
}

static TitanStatus convert_all(Conversion *c)
{
    uint32_t turned = 0;
    struct stat st;
    TRY(same_place(c));
    TRY(open_from(c));
    TRY(list_rows(c));
    TRY(read_rope(c));
    TRY(check_turned(c, &turned));
    TRY(write_to(c));
    if (turned)
        printf("%" PRIu32 " of them have their rows in another order\n",
               turned);
    bool folder = stat(c->from, &st) == 0 && S_ISDIR(st.st_mode);
    return folder ? weights_companions(c->story, c->from, c->to) : TITAN_OK;
}

TitanStatus command_convert(TitanStory *s, const Options *o)
{
    if (o->arguments.n != 2)
        return titan_fail(s, TITAN_USAGE, "give FROM and TO");
    Conversion c = {.story = s,
                    .o = o,
                    .from = o->arguments.at[0],
                    .to = o->arguments.at[1]};
    TitanStatus st = convert_all(&c);
    free(c.order);
    free(c.rows);
    if (c.files.from) source_close(&c.files);
    return st;
}
