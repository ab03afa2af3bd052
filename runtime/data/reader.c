/*
 * reader.c: the thread that reads ahead, and the ring between it and the step.
 *
 *        taken - 2   taken   ready
 *      ... | given | given | read | read | being read | free ...
 */
#include "reader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    BEHIND = 2, /* batches that can be given again */
    MOST_AHEAD = 8,
    RING_BYTES = 256 << 20 /* held ahead, if two batches need no more */
};

struct Reader {
    Mix *mix;
    ReaderShape shape;
    Batch *ring;
    int64_t size;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int64_t ready; /* steps that were read */
    int64_t taken; /* the last that was given; -1: none */
    bool stop;
};

/* --------------------------------------------------------------- reading -- */

static int64_t valid_labels(const int32_t *labels, int64_t n)
{
    int64_t valid = 0;
    for (int64_t i = 0; labels && i < n; i++)
        valid += labels[i] != LABEL_none;
    return valid;
}

static FieldRow row_of(const Batch *b, int64_t row, int64_t length)
{
    FieldRow r;
    for (int f = 0; f < FIELDS; f++)
        r.at[f] = b->field[f] ? b->field[f] + row * length : NULL;
    return r;
}

/* The next row of all, kept as row KEPT of the batch, or left out (-1). */
static TitanStatus read_row(Mix *mix, const ReaderShape *shape, Batch *b,
                            int64_t kept, bool *more)
{
    FieldRow to;
    if (kept < 0) return mix_row(mix, NULL, more);
    TRY(mix_row(mix, &mix->scratch, more));
    if (!*more) return TITAN_OK;
    to = row_of(b, kept, mix->o.length);
    fields_of(&mix->scratch, mix->o.length, shape->apart, &to);
    return TITAN_OK;
}

/* Row I of all rows of a step is the rank's KEPT-th, or not the rank's (-1). */
static int64_t kept_row(const ReaderShape *s, int64_t i)
{
    int64_t mine = s->rows / s->passes; /* of a pass */
    int64_t pass = i / (mine * s->ranks), j = i % (mine * s->ranks);
    if (j / mine != s->rank) return -1;
    return pass * mine + j % mine;
}

/* B is NULL where nothing is kept.  GOT: rows until the data ended. */
static TitanStatus read_rows(Mix *mix, const ReaderShape *shape, Batch *b,
                             int64_t *got)
{
    bool more = true;
    int64_t n = shape->rows * shape->ranks;
    for (*got = 0; *got < n; ++*got) {
        TRY(read_row(mix, shape, b, b ? kept_row(shape, *got) : -1, &more));
        if (!more) break;
    }
    return TITAN_OK;
}

/* The rows that a last batch lacks count nothing. */
static void fill_up(const Reader *r, Batch *b, int64_t from)
{
    for (int64_t i = from; i < r->shape.rows * r->shape.ranks; i++) {
        int64_t kept = kept_row(&r->shape, i);
        FieldRow to = row_of(b, kept < 0 ? 0 : kept, r->mix->o.length);
        if (kept >= 0) fields_empty(r->mix->o.length, &to);
    }
}

static void read_batch(Reader *r, Batch *b)
{
    int64_t got, n = r->shape.rows * r->shape.ranks;
    b->status = read_rows(r->mix, &r->shape, b, &got);
    b->whole =
        b->status == TITAN_OK && (got == n || (got > 0 && r->mix->o.fill));
    if (b->whole && got < n) fill_up(r, b, got);
    b->story = *r->mix->story;
    b->valid = b->whole ? valid_labels(b->field[FIELD_labels],
                                       r->shape.rows * r->mix->o.length)
                        : 0;
    mix_marks(r->mix, b->behind);
}

TitanStatus reader_skip(Mix *mix, const ReaderShape *shape, bool *more)
{
    int64_t got;
    TRY(read_rows(mix, shape, NULL, &got));
    *more = got == shape->rows * shape->ranks;
    return TITAN_OK;
}

/* ------------------------------------------------------------------ ring -- */

static bool has_room(const Reader *r)
{
    int64_t oldest = r->taken - BEHIND > 0 ? r->taken - BEHIND : 0;
    return r->ready < oldest + r->size;
}

static void *read_ahead(void *arg)
{
    Reader *r = arg;
    pthread_setname_np(pthread_self(), "data");
    for (bool more = true; more;) {
        pthread_mutex_lock(&r->lock);
        while (!r->stop && !has_room(r))
            pthread_cond_wait(&r->moved, &r->lock);
        bool stop = r->stop;
        Batch *b = &r->ring[r->ready % r->size];
        pthread_mutex_unlock(&r->lock);
        if (stop) break;
        read_batch(r, b);
        more = b->status == TITAN_OK && b->whole;
        pthread_mutex_lock(&r->lock);
        r->ready++;
        pthread_cond_broadcast(&r->moved);
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

/* Signals go to the threads that ask for them. */
static bool start(Reader *r)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r->started = pthread_create(&r->thread, NULL, read_ahead, r) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r->started;
}

/* Behind the last batch there is none: the last says why. */
const Batch *reader_take(Reader *r, int64_t step)
{
    if (step < 0 || step < r->taken - BEHIND) return NULL;
    pthread_mutex_lock(&r->lock);
    if (step > r->taken) {
        r->taken = step;
        pthread_cond_broadcast(&r->moved);
    }
    for (;;) {
        const Batch *last =
            r->ready ? &r->ring[(r->ready - 1) % r->size] : NULL;
        bool over = last && (last->status != TITAN_OK || !last->whole);
        if (r->ready > step || over) break;
        pthread_cond_wait(&r->moved, &r->lock);
    }
    if (step >= r->ready) step = r->ready - 1;
    pthread_mutex_unlock(&r->lock);
    return &r->ring[step % r->size];
}

static bool new_batch(Reader *r, Batch *b)
{
    size_t n = (size_t)(r->shape.rows * r->mix->o.length);
    bool got = true;
    for (int f = 0; f < FIELDS; f++)
        if (r->shape.wants[f]) {
            b->field[f] = malloc(n * sizeof *b->field[f]);
            got = got && b->field[f];
        }
    b->behind = calloc(r->mix->n, sizeof *b->behind);
    return got && b->behind;
}

/* As many batches ahead as RING_BYTES has room for, at least two. */
static int64_t ring_size(const Reader *r)
{
    int64_t bytes = 0;
    for (int f = 0; f < FIELDS; f++)
        bytes += r->shape.wants[f] ? 4 * r->shape.rows * r->mix->o.length : 0;
    int64_t ahead = bytes ? RING_BYTES / bytes : MOST_AHEAD;
    if (ahead > MOST_AHEAD) ahead = MOST_AHEAD;
    return BEHIND + (ahead < 2 ? 2 : ahead);
}

static bool new_ring(Reader *r)
{
    r->size = ring_size(r);
    r->ring = calloc((size_t)r->size, sizeof *r->ring);
    bool got = r->ring != NULL;
    for (int64_t i = 0; got && i < r->size; i++)
        got = new_batch(r, &r->ring[i]);
    return got;
}

TitanStatus reader_new(TitanStory *s, Mix *mix, const ReaderShape *shape,
                       Reader **out)
{
    Reader *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return titan_no_memory(s);
    r->mix = mix;
    r->shape = *shape;
    r->taken = -1;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->moved, NULL);
    if (new_ring(r) && start(r)) {
        *out = r;
        return TITAN_OK;
    }
    reader_free(r);
    return titan_fail(s, TITAN_UNAVAILABLE,
                      "could not begin to read data ahead: no memory or no "
                      "thread");
}

void reader_free(Reader *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
    if (r->started) pthread_join(r->thread, NULL);
    for (int64_t i = 0; r->ring && i < r->size; i++) {
        for (int f = 0; f < FIELDS; f++)
            free(r->ring[i].field[f]);
        free(r->ring[i].behind);
    }
    free(r->ring);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->moved);
    free(r);
}
