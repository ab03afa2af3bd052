/* links: titan_runtime */
/*
 * Rows of data against plain second writings: token files in order, documents
 * packed, shuffled orders, mixtures, ranks, ends of the data; and at every row
 * a state from which the same rows come.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "runtime/data/hash.h"
#include "runtime/data/json_line.h"
#include "runtime/data/order.h"
#include "runtime/data/reader.h"
#include "runtime/data/state.h"

enum { T = 8, DOCUMENTS = 23, TOKENS = 101 };

/* ----------------------------------------------------------------- files -- */

static char directory[] = "/tmp/titan-data-XXXXXX";

static const char *file(const char *name)
{
    static char path[4][96];
    static unsigned turn;
    char *to = path[turn++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", directory, name);
    return to;
}

static void save(const char *name, const void *at, size_t n)
{
    FILE *out = fopen(file(name), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(at, 1, n, out), n);
    fclose(out);
}

static int document_length(int d)
{
    return d % 5 == 4 ? 0 : 1 + d * 7 % 19;
}

/* Document d has the ids 100 d, 100 d + 1, ...; some have none. */
static void save_documents(void)
{
    char text[16384];
    size_t n = 0;
    for (int d = 0; d < DOCUMENTS; d++) {
        n += (size_t)sprintf(text + n, "{\"ids\": [");
        for (int i = 0; i < document_length(d); i++)
            n += (size_t)sprintf(text + n, "%s%d", i ? ", " : "", 100 * d + i);
        n += (size_t)sprintf(text + n, "], \"n\": {\"a\": [%d, null]}}\n", d);
    }
    save("d.jsonl", text, n);
    gzFile gz = gzopen(file("d.jsonl.gz"), "wb");
    assert_int_equal(gzwrite(gz, text, (unsigned)n), n);
    gzclose(gz);
    char packed[16384];
    save("d.jsonl.zst", packed,
         ZSTD_compress(packed, sizeof packed, text, n, 3));
}

static void save_tokens(void)
{
    unsigned char u16[2 * TOKENS], text[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        int token = 1000 + i;
        u16[2 * i] = (unsigned char)token;
        u16[2 * i + 1] = (unsigned char)(token >> 8);
        text[i] = (unsigned char)(i * 37);
    }
    save("t.u16", u16, sizeof u16);
    save("t.txt", text, sizeof text);
}

static int make_files(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    save_documents();
    save_tokens();
    return 0;
}

static int remove_files(void **state)
{
    static const char *const names[] = {"d.jsonl", "d.jsonl.gz", "d.jsonl.zst",
                                        "t.u16", "t.txt"};
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        unlink(file(names[i]));
    return rmdir(directory);
}

/* ------------------------------------------------------------------ rows -- */

static StreamOptions plain(void)
{
    return (StreamOptions){.text_key = "ids",
                           .end_token = -1,
                           .length = T,
                           .span = T + 1,
                           .stride = T};
}

static void open_data(Mix *m, TitanStory *s, const StreamOptions *o,
                      const char *a, const char *b)
{
    const char *paths[] = {a, b};
    const MixOptions mix = {paths, b ? 2 : 1, *o};
    if (mix_open(s, &mix, m) != TITAN_OK) fail_msg("%s", s->line[0]);
}

/* The next row is n of these tokens. */
static void expect_row(Mix *m, const int32_t *want, int64_t n)
{
    bool more;
    assert_int_equal(mix_row(m, NULL, &more), TITAN_OK);
    assert_true(more);
    assert_int_equal(m->scratch.n, n);
    assert_memory_equal(m->scratch.tokens, want, (size_t)n * sizeof *want);
}

static bool next_row(Mix *m)
{
    bool more;
    assert_int_equal(mix_row(m, NULL, &more), TITAN_OK);
    return more;
}

static void token_files_go_round(void **state)
{
    (void)state;
    Mix m;
    TitanStory s = {0};
    StreamOptions o = plain();
    open_data(&m, &s, &o, file("t.u16"), file("t.u16"));
    for (int64_t r = 0; r < 100; r++) {
        int32_t want[T + 1];
        for (int64_t j = 0; j <= T; j++)
            want[j] = 1000 + (int32_t)((r * T + j) % TOKENS);
        expect_row(&m, want, T + 1);
    }
    mix_close(&m);
}

/* All ids, one document behind the other. */
static int64_t all_ids(int32_t *ids)
{
    int64_t n = 0;
    for (int d = 0; d < DOCUMENTS; d++)
        for (int i = 0; i < document_length(d); i++)
            ids[n++] = 100 * d + i;
    return n;
}

static void documents_are_packed(void **state)
{
    (void)state;
    int32_t ids[1000];
    int64_t n = all_ids(ids);
    for (int chunks = 0; chunks < 2; chunks++) {
        Mix m;
        TitanStory s = {0};
        StreamOptions o = plain();
        if (chunks) o.stride = o.span;
        open_data(&m, &s, &o, file("d.jsonl"), NULL);
        for (int64_t r = 0; r < 100; r++) {
            int32_t want[T + 1];
            for (int64_t j = 0; j <= T; j++)
                want[j] = ids[(r * o.stride + j) % n];
            expect_row(&m, want, T + 1);
        }
        mix_close(&m);
    }
}

/* One epoch in order: rows end with the last that is whole, or, filled, with
 * what is left; in pieces of T the whole data has been seen then. */
static void epochs_end(void **state)
{
    (void)state;
    static const char *const files[] = {"d.jsonl", "t.u16"};
    int32_t ids[1000];
    int64_t sizes[] = {all_ids(ids), TOKENS};
    for (int k = 0; k < 4; k++) {
        Mix m;
        TitanStory s = {0};
        StreamOptions o = plain();
        o.epochs = 2;
        o.fill = k & 1;
        open_data(&m, &s, &o, file(files[k / 2]), NULL);
        int64_t labels = 2 * sizes[k / 2] - 1, rows = 0, had = 0;
        for (; next_row(&m); rows++)
            had += m.scratch.n - 1;
        assert_int_equal(rows, (labels + (o.fill ? T - 1 : 0)) / T);
        assert_int_equal(had, o.fill ? labels : labels / T * T);
        assert_false(next_row(&m));
        mix_close(&m);
    }
}

static void orders_are_permutations(void **state)
{
    (void)state;
    uint32_t order[1000];
    unsigned first[5] = {0};
    for (uint64_t block = 0; block < 5000; block++) {
        bool seen[5] = {0};
        order_draw((OrderKey){1, 2, 3, block}, order, 5);
        for (int i = 0; i < 5; i++) {
            assert_true(order[i] < 5 && !seen[order[i]]);
            seen[order[i]] = true;
        }
        first[order[0]]++;
    }
    for (int i = 0; i < 5; i++) /* 1000, with a deviation of 28 */
        assert_in_range(first[i], 860, 1140);
}

/* Each epoch has every document once, in an order of its own. */
static void documents_are_shuffled(void **state)
{
    (void)state;
    int32_t first[3][DOCUMENTS];
    Mix m;
    TitanStory s = {0};
    StreamOptions o = plain();
    o.length = o.span = o.stride = 1;
    o.shuffle = 7;
    o.seed = 5;
    open_data(&m, &s, &o, file("d.jsonl"), NULL);
    for (int e = 0; e < 3; e++) {
        int n = 0, with = 0;
        for (int d = 0; d < DOCUMENTS; d++)
            with += document_length(d) > 0;
        bool seen[DOCUMENTS] = {0};
        while (n < with) {
            assert_true(next_row(&m));
            int d = m.scratch.tokens[0] / 100;
            assert_int_equal(m.scratch.tokens[0] % 100, 0);
            assert_false(seen[d]);
            seen[d] = true;
            first[e][n++] = d;
            for (int i = 1; i < document_length(d); i++) {
                assert_true(next_row(&m));
                assert_int_equal(m.scratch.tokens[0], 100 * d + i);
            }
        }
    }
    assert_memory_not_equal(first[0], first[1], sizeof first[0]);
    assert_memory_not_equal(first[1], first[2], sizeof first[0]);
    mix_close(&m);
}

/* Each epoch has every whole row once, whatever the block. */
static void rows_are_shuffled(void **state)
{
    (void)state;
    for (int64_t block = 1; block < 15; block++) {
        Mix m;
        TitanStory s = {0};
        StreamOptions o = plain();
        o.shuffle = block;
        o.epochs = 3;
        open_data(&m, &s, &o, file("t.u16"), NULL);
        for (int e = 0; e < 3; e++) {
            bool seen[TOKENS / T] = {0};
            for (int r = 0; r < (TOKENS - 1) / T; r++) {
                assert_true(next_row(&m));
                int at = m.scratch.tokens[0] - 1000;
                assert_int_equal(at % T, 0);
                assert_false(seen[at / T]);
                seen[at / T] = true;
            }
        }
        assert_false(next_row(&m));
        mix_close(&m);
    }
}

/* ----------------------------------------------------------------- state -- */

/* The rows behind row K of a run that stops there and goes on elsewhere. */
static void resume_at(const StreamOptions *o, const char *a, const char *b,
                      const Row *rows, int64_t k, int64_t n)
{
    Mix m;
    TitanStory s = {0};
    Mark marks[2];
    char *json;
    int64_t step;
    open_data(&m, &s, o, a, b);
    for (int64_t r = 0; r < k; r++)
        assert_true(next_row(&m));
    mix_marks(&m, marks);
    assert_int_equal(state_print(&s, &m, marks, k, &json), TITAN_OK);
    mix_close(&m);
    open_data(&m, &s, o, a, b);
    memset(marks, 1, sizeof marks);
    if (state_parse(&s, &m, json, marks, &step) != TITAN_OK)
        fail_msg("%s", s.line[0]);
    assert_int_equal(step, k);
    assert_int_equal(mix_seek(&m, marks), TITAN_OK);
    for (int64_t r = k; r < n; r++) {
        expect_row(&m, rows[r].tokens, rows[r].n);
        assert_memory_equal(m.scratch.starts, rows[r].starts,
                            (size_t)rows[r].n);
    }
    mix_close(&m);
    free(json);
}

static void resume_anywhere(const StreamOptions *o, const char *a,
                            const char *b)
{
    enum { ROWS = 90 };
    static int32_t tokens[ROWS][T + 1];
    static bool starts[ROWS][T + 1];
    Row rows[ROWS];
    Mix m;
    TitanStory s = {0};
    open_data(&m, &s, o, a, b);
    for (int r = 0; r < ROWS; r++) {
        assert_true(next_row(&m));
        memcpy(tokens[r], m.scratch.tokens, sizeof tokens[r]);
        memcpy(starts[r], m.scratch.starts, sizeof starts[r]);
        rows[r] = (Row){tokens[r], starts[r], m.scratch.n};
    }
    mix_close(&m);
    for (int k = 0; k < ROWS; k += 3)
        resume_at(o, a, b, rows, k, k + 12 < ROWS ? k + 12 : ROWS);
}

static void states_resume_exactly(void **state)
{
    (void)state;
    static const char *const files[] = {"d.jsonl", "d.jsonl.gz", "d.jsonl.zst",
                                        "t.u16", "t.txt"};
    for (int k = 0; k < 20; k++) {
        StreamOptions o = plain();
        if (k / 5 & 1) o.stride = o.span;
        if (k / 5 & 2) o.shuffle = 6;
        char a[96], b[96];
        strcpy(a, file(files[k % 5]));
        resume_anywhere(&o, a, NULL);
        snprintf(b, sizeof b, "2:%s", file("d.jsonl"));
        snprintf(a, sizeof a, "3:%s", file(files[k % 5]));
        resume_anywhere(&o, a, b);
    }
}

static void expect_refused(const char *json, TitanStatus want)
{
    Mix m;
    TitanStory s = {0};
    StreamOptions o = plain();
    Mark marks[1];
    int64_t step;
    open_data(&m, &s, &o, file("d.jsonl"), NULL);
    assert_int_equal(state_parse(&s, &m, json, marks, &step), want);
    mix_close(&m);
}

/* The state of other data or options, and what is no state. */
static void states_are_checked(void **state)
{
    (void)state;
    Mix m;
    TitanStory s = {0};
    StreamOptions o = plain();
    Mark mark;
    char *json;
    for (int k = 0; k < 5; k++) {
        o = plain();
        if (k == 1) o.shuffle = 3;
        if (k == 2) o.seed = 1;
        if (k == 3) o.stride = o.span;
        open_data(&m, &s, &o, file(k == 4 ? "d.jsonl.gz" : "d.jsonl"), NULL);
        mix_marks(&m, &mark);
        assert_int_equal(state_print(&s, &m, &mark, 1, &json), TITAN_OK);
        mix_close(&m);
        expect_refused(json, k == 0 ? TITAN_OK : TITAN_MISMATCH);
        char *number = strstr(json, "\"number\":0");
        assert_non_null(number);
        if (k == 0) {
            memcpy(number, "\"number\":-", 10);
            expect_refused(json, TITAN_BAD_DATA);
        }
        free(json);
    }
    expect_refused("", TITAN_BAD_DATA);
    expect_refused("{\"version\": 1}", TITAN_BAD_DATA);
}

/* -------------------------------------------------------------- mixtures -- */

/* How far the number of rows of a part strays from its weight. */
static void mixtures_keep_their_weights(void **state)
{
    (void)state;
    Mix m;
    TitanStory s = {0};
    StreamOptions o = plain();
    char a[96], b[96];
    snprintf(a, sizeof a, "0.7:%s", file("t.u16"));
    snprintf(b, sizeof b, "0.3:%s", file("d.jsonl"));
    open_data(&m, &s, &o, a, b);
    for (int64_t n = 1; n <= 1000; n++) {
        assert_true(next_row(&m));
        double rows = (double)m.parts[0].stream->at.rows;
        assert_true(fabs(rows - 0.7 * (double)n) < 1);
        if (n % 10 == 0) assert_true(rows == (double)(7 * n / 10));
    }
    mix_close(&m);
}

/* ----------------------------------------------------------------- steps -- */

static Reader *open_reader(Mix *m, TitanStory *s, const ReaderShape *shape)
{
    Reader *r;
    assert_int_equal(reader_new(s, m, shape, &r), TITAN_OK);
    return r;
}

enum { STEP_ROWS = 144, STEPS = 6, MOST_RANKS = 8 };

/* The readers of all ranks of a run. */
typedef struct Ranks {
    uint32_t n;
    int64_t passes;
    Mix mix[MOST_RANKS];
    Reader *reader[MOST_RANKS];
    TitanStory story[MOST_RANKS];
} Ranks;

/* STATE: where they go on from, or NULL. */
static void open_ranks(Ranks *r, const StreamOptions *o, const char *a,
                       const char *b, const char *state)
{
    Mark marks[2];
    int64_t step;
    for (uint32_t k = 0; k < r->n; k++) {
        ReaderShape shape = {.rows = STEP_ROWS / r->n,
                             .passes = r->passes,
                             .rank = k,
                             .ranks = r->n};
        shape.wants[FIELD_tokens] = shape.wants[FIELD_labels] = true;
        open_data(&r->mix[k], &r->story[k], o, a, b);
        if (state) {
            assert_int_equal(
                state_parse(&r->story[k], &r->mix[k], state, marks, &step),
                TITAN_OK);
            assert_int_equal(mix_seek(&r->mix[k], marks), TITAN_OK);
        }
        r->reader[k] = open_reader(&r->mix[k], &r->story[k], &shape);
    }
}

static void close_ranks(Ranks *r)
{
    for (uint32_t k = 0; k < r->n; k++) {
        reader_free(r->reader[k]);
        mix_close(&r->mix[k]);
    }
}

/* The labels of all rows of a step, put together from what the ranks have. */
static void gather_step(Ranks *r, int64_t step, int32_t *out)
{
    int64_t batch = STEP_ROWS / r->passes, mine = batch / r->n;
    for (int64_t i = 0; i < STEP_ROWS; i++) {
        int64_t in = i % batch, kept = i / batch * mine + in % mine;
        const Batch *b = reader_take(r->reader[in / mine], step);
        assert_int_equal(b->status, TITAN_OK);
        memcpy(out + i * T, b->field[FIELD_labels] + kept * T, T * sizeof *out);
    }
}

/* Where all ranks stand behind a step, for free(): it is one place. */
static char *state_behind(Ranks *r, int64_t step)
{
    char *all = NULL, *json;
    for (uint32_t k = 0; k < r->n; k++) {
        const Batch *b = reader_take(r->reader[k], step);
        assert_int_equal(
            state_print(&r->story[k], &r->mix[k], b->behind, step + 1, &json),
            TITAN_OK);
        if (all) assert_string_equal(all, json);
        free(all);
        all = json;
    }
    return all;
}

/* The rows of a run of `first` ranks that goes on behind half of its steps with
 * `then` ranks. */
static void read_steps(const StreamOptions *o, const char *a, const char *b,
                       uint32_t first, uint32_t then, int64_t passes,
                       int32_t out[STEPS][STEP_ROWS * T])
{
    Ranks *r = calloc(1, sizeof *r);
    char *state = NULL;
    for (int half = 0; half < 2; half++) {
        *r = (Ranks){.n = half ? then : first, .passes = passes};
        open_ranks(r, o, a, b, state);
        for (int64_t i = 0; i < STEPS / 2; i++)
            gather_step(r, i, out[half * STEPS / 2 + i]);
        free(state);
        state = state_behind(r, STEPS / 2 - 1);
        close_ranks(r);
    }
    free(state);
    free(r);
}

/* Neither the rows of a step nor their order depend on how many ranks there
 * are, nor on how many there were before the run went on. */
static void ranks_change_nothing(void **state)
{
    static const uint32_t ranks[] = {1, 2, 3, 4, 6, 8, 1};
    static int32_t want[STEPS][STEP_ROWS * T], have[STEPS][STEP_ROWS * T];
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        char a[96], b[96];
        StreamOptions o = plain();
        o.shuffle = kind == 3 ? 0 : 4;
        snprintf(a, sizeof a, "%s%s", kind >= 2 ? "0.7:" : "",
                 file(kind ? "t.u16" : "d.jsonl"));
        snprintf(b, sizeof b, "0.3:%s", file("d.jsonl"));
        const char *second = kind >= 2 ? b : NULL;
        read_steps(&o, a, second, 1, 1, 1, want);
        for (int64_t passes = 1; passes <= 3; passes++)
            for (unsigned i = 0; i + 1 < sizeof ranks / sizeof *ranks; i++) {
                read_steps(&o, a, second, ranks[i], ranks[i + 1], passes, have);
                assert_memory_equal(have, want, sizeof want);
            }
    }
}

/* The last two steps can be taken again; behind the end there is nothing; what
 * a last step lacks counts nothing. */
static void steps_end(void **state)
{
    (void)state;
    for (int fill = 0; fill < 2; fill++) {
        Mix m;
        TitanStory s = {0};
        StreamOptions o = plain();
        ReaderShape shape = {.rows = 5, .passes = 1, .ranks = 1};
        shape.wants[FIELD_labels] = true;
        o.epochs = 1;
        o.fill = fill;
        open_data(&m, &s, &o, file("t.u16"), NULL);
        Reader *r = open_reader(&m, &s, &shape);
        int64_t labels = 0;
        for (int64_t step = 0; step < 4; step++) {
            const Batch *b = reader_take(r, step);
            assert_int_equal(b->status, TITAN_OK);
            assert_int_equal(b->whole, step < (fill ? 3 : 2));
            if (b->whole) labels += b->valid;
        }
        assert_int_equal(labels, fill ? TOKENS - 1 : 80);
        reader_free(r);
        mix_close(&m);
    }
}

/* An error comes with the step that it is in, not before. */
static void errors_wait_for_their_step(void **state)
{
    (void)state;
    Mix m;
    TitanStory s = {0};
    StreamOptions o = plain();
    ReaderShape shape = {.rows = 1, .passes = 1, .ranks = 1};
    shape.wants[FIELD_tokens] = true;
    o.bound = 1000 + 6 * T;
    open_data(&m, &s, &o, file("t.u16"), NULL);
    Reader *r = open_reader(&m, &s, &shape);
    for (int64_t step = 0; step < 5; step++) {
        const Batch *b = reader_take(r, step);
        assert_int_equal(b->status, TITAN_OK);
        assert_int_equal(b->field[FIELD_tokens][0], 1000 + step * T);
    }
    const Batch *b = reader_take(r, 5);
    assert_int_equal(b->status, TITAN_BAD_DATA);
    assert_non_null(strstr(b->story.line[0], "token 48 is 1048"));
    reader_free(r);
    mix_close(&m);
}

static void fields_say_documents(void **state)
{
    (void)state;
    int32_t tokens[] = {5, 6, 7, 8, 9, 10, 11}, have[FIELDS][T];
    bool starts[] = {true, false, true, true, false, false, true};
    static const int32_t want[FIELDS][T] = {
        {5, 6, 7, 8, 9, 10, 11, 0},
        {6, -100, -100, 9, 10, -100, -100, -100},
        {0, 0, 1, 2, 2, 2, 3, 4},
        {0, 1, 0, 0, 1, 2, 0, 0}};
    FieldRow to = {{have[0], have[1], have[2], have[3]}};
    fields_of(&(Row){tokens, starts, 7}, T, true, &to);
    for (int f = 0; f < FIELDS; f++)
        assert_memory_equal(have[f], want[f], sizeof want[f]);
    fields_of(&(Row){tokens, starts, 7}, T, false, &to);
    assert_int_equal(have[FIELD_labels][1], 7);
    assert_int_equal(have[FIELD_labels][6], -100);
    fields_empty(T, &to);
    for (int j = 0; j < T; j++)
        assert_int_equal(have[FIELD_labels][j], -100);
}

/* ----------------------------------------------------------------- parts -- */

static void hashes_are_the_known_ones(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *want;
    } cases[] = {
        {"sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"sha1", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
        {"sha256", "abc",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"sha256", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"xxh32", "", "02cc5d05"},
        {"xxh64", "", "ef46db3751d8e999"},
        {"xxh3_64", "", "2d06800538d394c2"},
        {"xxh128", "", "99aa06d3014798d86001c324468d497f"}};
    char have[HASH_TEXT];
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(
            hash_of(cases[i].name, cases[i].text, strlen(cases[i].text), have));
        assert_string_equal(have, cases[i].want);
    }
    assert_false(hash_of("crc64", "", 0, have));
}

static void lines_are_json(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text, *problem;
    } cases[] = {
        {"{\"text\": \"a\\n\\u00e9\\ud83d\\ude00\"}",
         "a\n\xc3\xa9\xf0\x9f\x98\x80", NULL},
        {" {\"b\": [1, {\"c\": -1.5e+3}, true], \"text\":\"x\"} ", "x", NULL},
        {"{\"text\": \"x\", \"text\": \"y\"}", NULL, "the key comes twice"},
        {"{\"text\": \"\\ud800\"}", NULL, "half a surrogate pair"},
        {"{\"text\": \"\xff\"}", NULL, "a string is not UTF-8"},
        {"{\"text\": \"\xed\xa0\x80\"}", NULL, "a string is not UTF-8"},
        {"{\"text\": \"a\tb\"}", NULL, "a raw control byte in a string"},
        {"{\"text\": \"a", NULL, "a string has no end"},
        {"{\"text\": \"\\x\"}", NULL, "an unknown escape"},
        {"{\"text\": 01}", NULL, "a number begins with 0"},
        {"{\"text\": \"a\"} b", NULL, "text behind the object"},
        {"{\"text\": \"a\",}", NULL, "a string is missing"},
        {"[1]", NULL, "a line is no object"},
        {"{\"a\": nul}", NULL, "a value is missing"}};
    LineValue v = {0};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *line = cases[i].line;
        bool sound = json_line(line, strlen(line), "text", &v);
        assert_int_equal(sound, cases[i].text != NULL);
        if (!sound) {
            assert_string_equal(v.problem, cases[i].problem);
            continue;
        }
        assert_int_equal(v.kind, JSON_text);
        assert_int_equal(v.n, strlen(cases[i].text));
        assert_memory_equal(v.text, cases[i].text, v.n);
    }
    line_value_release(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_files_go_round),
        cmocka_unit_test(documents_are_packed),
        cmocka_unit_test(epochs_end),
        cmocka_unit_test(orders_are_permutations),
        cmocka_unit_test(documents_are_shuffled),
        cmocka_unit_test(rows_are_shuffled),
        cmocka_unit_test(states_resume_exactly),
        cmocka_unit_test(states_are_checked),
        cmocka_unit_test(mixtures_keep_their_weights),
        cmocka_unit_test(ranks_change_nothing),
        cmocka_unit_test(steps_end),
        cmocka_unit_test(errors_wait_for_their_step),
        cmocka_unit_test(fields_say_documents),
        cmocka_unit_test(hashes_are_the_known_ones),
        cmocka_unit_test(lines_are_json),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
