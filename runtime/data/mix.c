/*
 * mix.c: which part the next row comes from.
 *
 * Each row gives every part its weight in credit and takes the whole from the
 * part that has the most, the first of equals: how often a part was taken never
 * strays far from its weight, and nothing is drawn.
 */
#include "mix.h"

#define XXH_INLINE_ALL
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define MIX_WHOLE ((int64_t)1 << 32)

/* "0.7:PATH": the weight, and the path; 0 where it has none. */
static double weight_of(const char *arg, const char **path)
{
    char *end;
    double w = strtod(arg, &end);
    bool weighted = end > arg && *end == ':' && isfinite(w) && w > 0;
    *path = weighted ? end + 1 : arg;
    return weighted ? w : 0;
}

static TitanStatus check_weights(TitanStory *s, const MixOptions *o,
                                 double *sum)
{
    const char *path, *with = NULL, *without = NULL;
    *sum = 0;
    for (uint32_t i = 0; i < o->npaths; i++) {
        double w = weight_of(o->paths[i], &path);
        *sum += w;
        if (w > 0)
            with = o->paths[i];
        else
            without = o->paths[i];
    }
    if (!with || !without) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE,
                      "--data %s has a weight and --data %s has none: give "
                      "all of them one, or none",
                      with, without);
}

static TitanStatus add_part(Mix *m, double share, DataFiles *files)
{
    Part *p = &m->parts[m->n];
    p->weight = (int64_t)llround(share * (double)MIX_WHOLE);
    if (p->weight == 0) p->weight = 1;
    TRY(stream_open(m->story, &m->o, m->n, files, &p->stream));
    m->n++;
    return TITAN_OK;
}

/* Parts with weights are a stream each; all others are one. */
static TitanStatus open_parts(Mix *m, const MixOptions *o)
{
    DataFiles files = {0};
    TitanStatus st = TITAN_OK;
    double sum, share = 1;
    TRY(check_weights(m->story, o, &sum));
    m->parts = calloc(o->npaths, sizeof *m->parts);
    if (!m->parts) return titan_no_memory(m->story);
    for (uint32_t i = 0; st == TITAN_OK && i < o->npaths; i++) {
        const char *path;
        double w = weight_of(o->paths[i], &path);
        if (w > 0) share = w / sum;
        st = paths_expand(m->story, path, &files);
        if (st == TITAN_OK && (w > 0 || i + 1 == o->npaths))
            st = add_part(m, share, &files);
    }
    paths_release(&files);
    return st;
}

TitanStatus mix_open(TitanStory *s, const MixOptions *o, Mix *out)
{
    size_t span = (size_t)o->stream.span;
    *out = (Mix){.story = s, .o = o->stream};
    out->scratch.tokens = malloc(span * sizeof *out->scratch.tokens);
    out->scratch.starts = malloc(span * sizeof *out->scratch.starts);
    if (!out->scratch.tokens || !out->scratch.starts) return titan_no_memory(s);
    return open_parts(out, o);
}

void mix_close(Mix *m)
{
    for (uint32_t i = 0; i < m->n; i++)
        stream_free(m->parts[i].stream);
    free(m->parts);
    free(m->scratch.tokens);
    free(m->scratch.starts);
    *m = (Mix){0};
}

static Part *richest(Mix *m)
{
    Part *best = NULL;
    for (uint32_t i = 0; i < m->n; i++) {
        Part *p = &m->parts[i];
        if (!p->over &&
            (!best || p->credit + p->weight > best->credit + best->weight))
            best = p;
    }
    return best;
}

static void pay(Mix *m, Part *taken)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (!m->parts[i].over) {
            m->parts[i].credit += m->parts[i].weight;
            taken->credit -= m->parts[i].weight;
        }
}

/* The end of a part is the end, but where everything is to be read to its
 * end. */
TitanStatus mix_row(Mix *m, Row *out, bool *more)
{
    for (Part *p; (p = richest(m));) {
        TRY(p->stream->class->row(p->stream, out ? out : &m->scratch, more));
        if (*more) {
            pay(m, p);
            return TITAN_OK;
        }
        p->over = true;
        if (!m->o.fill) break;
    }
    *more = false;
    return TITAN_OK;
}

void mix_marks(const Mix *m, Mark *out)
{
    for (uint32_t i = 0; i < m->n; i++)
        out[i] = (Mark){m->parts[i].stream->at, m->parts[i].credit};
}

TitanStatus mix_seek(Mix *m, const Mark *to)
{
    for (uint32_t i = 0; i < m->n; i++) {
        Part *p = &m->parts[i];
        p->over = false;
        p->credit = to[i].credit;
        TRY(p->stream->class->seek(p->stream, &to[i].at));
    }
    return TITAN_OK;
}

uint64_t mix_files(const Mix *m)
{
    uint64_t hash = m->n;
    for (uint32_t i = 0; i < m->n; i++) {
        const DataFiles *files = &m->parts[i].stream->files;
        for (uint32_t k = 0; k < files->n; k++) {
            const char *path = files->at[k].path, *slash = strrchr(path, '/');
            const char *name = slash ? slash + 1 : path;
            hash = XXH3_64bits_withSeed(name, strlen(name), hash);
            hash = XXH3_64bits_withSeed(&files->at[k].bytes,
                                        sizeof files->at[k].bytes, hash);
        }
        hash = XXH3_64bits_withSeed(&m->parts[i].weight,
                                    sizeof m->parts[i].weight, hash);
    }
    return hash;
}

void mix_about(const Mix *m, char *text, size_t size)
{
    if (m->n == 1) {
        const Stream *st = m->parts[0].stream;
        st->class->about(st, text, size);
        return;
    }
    snprintf(text, size, "a mixture of %" PRIu32 " data sets", m->n);
}
