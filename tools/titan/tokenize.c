/*
 * tokenize.c: `titan tokenize FILE... -o FILE.u32`: texts become a token file.
 *
 * Documents are read in order into a batch; all processors encode it while the
 * next one is read, and it is written when it is done.  So the file is the same
 * for any number of threads, and memory is a few batches.  The file has its
 * name once it is whole.
 */
#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../runtime/clock.h"
#include "../../runtime/data/encode.h"
#include "../../runtime/files.h"
#include "../../runtime/pool.h"
#include "../../runtime/text/tokenizer.h"

enum { BATCH_BYTES = 1 << 20, MOST_THREADS = 256 }; /* a thread's share */

/* A piece of a document, at most. */
typedef struct Part {
    size_t at, bytes; /* in the batch's text */
    bool first, last;
    int64_t number;
    const char *path, *unit;
    TokenIds ids;
    TitanStatus status;
} Part;

typedef struct Batch {
    Part *parts;
    size_t n, cap;
    char *text;
    size_t bytes, text_cap;
    TitanStatus status; /* of reading */
    TitanStory story;
    bool last;
} Batch;

/* Where reading stands. */
typedef struct Source {
    DataFiles files;
    uint32_t next; /* file */
    DocFile *open;
    const char *text_key;
    size_t wanted;         /* bytes of a batch */
    int64_t total, before; /* bytes of all files, and of those that are read */
    int64_t seen;
} Source;

typedef struct Worker {
    TokenScratch *scratch;
    TitanStory story;
    int64_t failed; /* the part whose story it is */
} Worker;

typedef struct Work {
    TitanStory *story;
    Tokenizer *t;
    unsigned ends;
    unsigned width; /* bytes of a token; 0: print */
    Source source;
    Batch batches[2];
    Batch *now; /* is encoded */
    Pool *pool;
    Worker workers[MOST_THREADS];
    unsigned nthreads;
    FileWriter out;
    int64_t documents, bytes, tokens;
    double begun, begun_busy, drawn; /* busy: of all threads together */
    bool quiet;
} Work;

static double busy_now(void)
{
    return (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) * 1e-9;
}

/* --------------------------------------------------------------- reading -- */

static TitanStatus keep(Batch *b, const DocFile *f, const Piece *piece)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        Part *more = realloc(b->parts, cap * sizeof *more);
        if (!more) return titan_no_memory(&b->story);
        memset(more + b->cap, 0, (cap - b->cap) * sizeof *more);
        b->parts = more;
        b->cap = cap;
    }
    if (b->text_cap - b->bytes < piece->bytes) {
        size_t cap = (b->bytes + piece->bytes) * 2;
        char *more = realloc(b->text, cap);
        if (!more) return titan_no_memory(&b->story);
        b->text = more;
        b->text_cap = cap;
    }
    Part *p = &b->parts[b->n++];
    TokenIds ids = p->ids;
    ids.n = 0;
    *p = (Part){b->bytes,       piece->bytes,  piece->first,
                piece->last,    piece->number, f->file->path,
                f->class->unit, ids,           TITAN_OK};
    if (piece->bytes) memcpy(b->text + b->bytes, piece->at, piece->bytes);
    b->bytes += piece->bytes;
    return TITAN_OK;
}

static TitanStatus next_file(Source *s, Batch *b)
{
    const DataFile *file = &s->files.at[s->next++];
    return documents_open(&b->story, file, s->text_key, &s->open);
}

static void close_file(Source *s)
{
    s->before += s->open->file->bytes;
    documents_close(s->open);
    s->open = NULL;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static TitanStatus read_piece(Source *s, Batch *b)
{
    Piece piece;
    bool more;
    DocFile *f = s->open;
    f->story = &b->story;
    TRY(f->class->next(f, &piece, &more));
    s->seen = s->before + least(f->at.offset, f->file->bytes);
    if (!more) {
        close_file(s);
        return TITAN_OK;
    }
    if (piece.width)
        return titan_fail(&b->story, TITAN_BAD_DATA,
                          "\"%s\" has tokens, not text", f->file->path);
    return keep(b, f, &piece);
}

static Batch *other(Work *w)
{
    return w->now == &w->batches[0] ? &w->batches[1] : &w->batches[0];
}

/* Fills the batch that is not encoded now. */
static void *read_batch(void *user)
{
    Work *w = user;
    Source *s = &w->source;
    Batch *b = other(w);
    b->n = b->bytes = 0;
    b->status = TITAN_OK;
    b->last = false;
    while (b->status == TITAN_OK && b->bytes < s->wanted) {
        b->last = !s->open && s->next == s->files.n;
        if (b->last) break;
        b->status = s->open ? read_piece(s, b) : next_file(s, b);
    }
    return NULL;
}

/* -------------------------------------------------------------- encoding -- */

/* What stands around a document is of its first and of its last piece. */
static void encode_parts(void *user, int64_t begin, int64_t end,
                         unsigned worker)
{
    Work *w = user;
    Worker *by = &w->workers[worker];
    for (int64_t i = begin; i < end; i++) {
        Part *p = &w->now->parts[i];
        const Piece piece = {.at = w->now->text + p->at,
                             .bytes = p->bytes,
                             .first = p->first,
                             .last = p->last};
        TitanStory story = {0};
        p->status =
            piece_encode(&story, w->t, by->scratch, &piece, w->ends, &p->ids);
        if (p->status == TITAN_OK || by->failed <= i) continue;
        by->story = story;
        by->failed = i;
    }
}

/* The first part that failed, whoever had it. */
static TitanStatus check_batch(Work *w)
{
    Worker *first = &w->workers[0];
    for (unsigned i = 1; i < w->nthreads; i++)
        if (w->workers[i].failed < first->failed) first = &w->workers[i];
    if (first->failed == INT64_MAX) return TITAN_OK;
    const Part *p = &w->now->parts[first->failed];
    *w->story = first->story;
    return titan_while(w->story, p->status, "encoding %s %" PRId64 " of \"%s\"",
                       p->unit, p->number, p->path);
}

/* --------------------------------------------------------------- writing -- */

static void print_part(const Part *p)
{
    for (size_t i = 0; i < p->ids.n; i++)
        printf(i ? " %" PRIu32 : "%" PRIu32, p->ids.at[i]);
    fputs(p->last ? "\n" : " ", stdout);
}

static void write_part(Work *w, const Part *p)
{
    if (w->width == 4) {
        file_write(&w->out, p->ids.at, p->ids.n * sizeof *p->ids.at);
        return;
    }
    uint16_t narrow[4096];
    for (size_t i = 0; i < p->ids.n;) {
        size_t n = 0;
        for (; n < 4096 && i < p->ids.n; i++)
            narrow[n++] = (uint16_t)p->ids.at[i];
        file_write(&w->out, narrow, n * sizeof *narrow);
    }
}

static void write_batch(Work *w)
{
    for (size_t i = 0; i < w->now->n; i++) {
        const Part *p = &w->now->parts[i];
        if (w->width)
            write_part(w, p);
        else
            print_part(p);
        w->tokens += (int64_t)p->ids.n;
        w->documents += p->last;
    }
    w->bytes += (int64_t)w->now->bytes;
}

static double rate(const Work *w)
{
    return (double)w->bytes / (seconds_now() - w->begun) / 1e6;
}

static void draw(Work *w)
{
    enum { WIDTH = 30 };
    const Source *s = &w->source;
    if (w->quiet || !isatty(2) || seconds_now() - w->drawn < 0.1) return;
    double part = s->total ? (double)s->seen / (double)s->total : 1;
    char bar[WIDTH + 1];
    int full = (int)(part * WIDTH);
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = 0;
    fprintf(stderr, "\r\033[K[%s] %3.0f%%  %.1f MB  %.1f MB/s", bar, 100 * part,
            (double)w->bytes / 1e6, rate(w));
    w->drawn = seconds_now();
}

static void say_end(const Work *w)
{
    if (w->quiet) return;
    if (isatty(2)) fputs("\r\033[K", stderr);
    double spent = seconds_now() - w->begun;
    double busy = busy_now() - w->begun_busy;
    double mb = (double)w->bytes / 1e6;
    fprintf(stderr,
            "%" PRId64 " documents, %.1f MB, %" PRId64
            " tokens in %.2f s: %.1f MB/s, %.1f MB/s a core\n",
            w->documents, mb, w->tokens, spent, mb / spent, mb / busy);
}

/* ------------------------------------------------------------- all of it -- */

static TitanStatus encode_batch(Work *w)
{
    for (unsigned i = 0; i < w->nthreads; i++)
        w->workers[i].failed = INT64_MAX;
    for (size_t i = 0; i < w->now->n; i++)
        w->now->parts[i].ids.n = 0;
    pool_run(w->pool, encode_parts, w, (int64_t)w->now->n, 1);
    TRY(check_batch(w));
    write_batch(w);
    draw(w);
    return TITAN_OK;
}

/* Encodes the batch while the next one is read. */
static TitanStatus turn(Work *w)
{
    pthread_t reader;
    bool beside =
        !w->now->last && pthread_create(&reader, NULL, read_batch, w) == 0;
    TitanStatus st = encode_batch(w);
    if (beside)
        pthread_join(reader, NULL);
    else if (!w->now->last)
        read_batch(w);
    return st;
}

static TitanStatus run(Work *w)
{
    w->begun = seconds_now();
    w->begun_busy = busy_now();
    w->now = &w->batches[1];
    read_batch(w);
    do {
        w->now = other(w);
        if (w->now->status != TITAN_OK) *w->story = w->now->story;
        TRY(w->now->status);
        TRY(turn(w));
    } while (!w->now->last && !w->out.error);
    return TITAN_OK;
}

static TitanStatus find_files(Work *w, const Options *o)
{
    Source *s = &w->source;
    if (o->arguments.n == 0)
        return titan_fail(w->story, TITAN_USAGE, "give a FILE to tokenize");
    for (uint32_t i = 0; i < o->arguments.n; i++)
        TRY(paths_expand(w->story, o->arguments.at[i], &s->files));
    for (uint32_t i = 0; i < s->files.n; i++)
        s->total += s->files.at[i].bytes;
    s->text_key = option_text(o, OPT_text_key);
    return TITAN_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static TitanStatus choose_output(Work *w, const Options *o)
{
    const char *path = option_text(o, OPT_tokens);
    bool print = option_given(o, OPT_print_ids);
    if (!path == !print)
        return titan_fail(w->story, TITAN_USAGE,
                          "give -o FILE.u32, -o FILE.u16 or --print");
    if (print) return TITAN_OK;
    w->width = ends_with(path, ".u16") ? 2 : ends_with(path, ".u32") ? 4 : 0;
    if (!w->width)
        return titan_fail(w->story, TITAN_USAGE,
                          "\"%s\" ends neither with .u32 nor with .u16", path);
    if (w->width == 2 && tokenizer_size(w->t) > 65536)
        return titan_fail(w->story, TITAN_USAGE,
                          "the vocabulary has %" PRIu32
                          " ids, a .u16 file has room for 65536; write a .u32",
                          tokenizer_size(w->t));
    return TITAN_OK;
}

static TitanStatus choose_ends(Work *w, const Options *o)
{
    bool bos = option_given(o, OPT_put_bos), eos = option_given(o, OPT_put_eos);
    w->ends = tokenizer_ends(w->t) | (bos ? (unsigned)TOKEN_BOS : 0) |
              (eos ? (unsigned)TOKEN_EOS : 0);
    const char *none = bos && tokenizer_bos(w->t) < 0   ? "BOS"
                       : eos && tokenizer_eos(w->t) < 0 ? "EOS"
                                                        : NULL;
    if (!none) return TITAN_OK;
    return titan_fail(w->story, TITAN_BAD_DATA,
                      "the tokenizer has no %s: no tokenizer_config.json "
                      "beside it names one",
                      none);
}

static TitanStatus start_threads(Work *w, const Options *o)
{
    long most = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t n = option_number(o, OPT_threads, most > 0 ? most : 1);
    if (n < 1 || n > MOST_THREADS)
        return titan_fail(w->story, TITAN_USAGE,
                          "--threads is from 1 to %d, not %" PRId64,
                          MOST_THREADS, n);
    w->nthreads = (unsigned)n;
    w->source.wanted = (size_t)n * BATCH_BYTES;
    for (unsigned i = 0; i < w->nthreads; i++) {
        w->workers[i].scratch = token_scratch_new();
        if (!w->workers[i].scratch) return titan_no_memory(w->story);
    }
    w->pool = pool_new(w->nthreads);
    if (w->pool) return TITAN_OK;
    return titan_fail(w->story, TITAN_UNAVAILABLE, "could not start %u threads",
                      w->nthreads);
}

static TitanStatus prepare(Work *w, const Options *o)
{
    const char *path = option_text(o, OPT_tokenizer);
    if (!path)
        return titan_fail(w->story, TITAN_USAGE,
                          "give --tokenizer PATH, a tokenizer.json");
    TRY(tokenizer_open(w->story, path, &w->t));
    TRY(choose_output(w, o));
    TRY(choose_ends(w, o));
    TRY(find_files(w, o));
    w->quiet = option_given(o, OPT_quiet);
    return start_threads(w, o);
}

static void release(Work *w)
{
    for (unsigned i = 0; i < 2; i++) {
        for (size_t k = 0; k < w->batches[i].cap; k++)
            token_ids_release(&w->batches[i].parts[k].ids);
        free(w->batches[i].parts);
        free(w->batches[i].text);
    }
    for (unsigned i = 0; i < w->nthreads; i++)
        token_scratch_free(w->workers[i].scratch);
    if (w->pool) pool_free(w->pool);
    documents_close(w->source.open);
    paths_release(&w->source.files);
    tokenizer_free(w->t);
    free(w);
}

static TitanStatus write_all(Work *w, const char *path)
{
    if (!w->width) return run(w);
    file_begin(&w->out, w->story, files_real(), path);
    TitanStatus st = run(w);
    if (st == TITAN_OK) return file_end(&w->out);
    file_abandon(&w->out);
    return st;
}

TitanStatus command_tokenize(TitanStory *s, const Options *o)
{
    Work *w = calloc(1, sizeof *w);
    if (!w) return titan_no_memory(s);
    w->story = s;
    TitanStatus st = prepare(w, o);
    if (st == TITAN_OK) st = write_all(w, option_text(o, OPT_tokens));
    if (st == TITAN_OK) say_end(w);
    release(w);
    return st;
}
