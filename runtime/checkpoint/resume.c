/*
 * resume.c: finds the checkpoint that a run goes on from, and loads it.
 *
 * Nothing of one is used before all of it has verified.  `--resume auto` falls
 * back to the newest that does, and says what is wrong with the others; a
 * checkpoint that is asked for by name is that one or none.
 */
#include "checkpoint.h"

#include "folder.h"
#include "verify.h"

#include "../weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --------------------------------------------------------------- opening -- */

static TitanStatus one_of(TitanStory *s, const char *option, const char *value,
                          const char *a, const char *b)
{
    if (strcmp(value, a) == 0 || strcmp(value, b) == 0) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE, "%s is \"%s\"; %s and %s are known",
                      option, value, a, b);
}

static TitanStatus check_options(TitanStory *s, const CheckpointOptions *o,
                                 uint32_t *dtype)
{
    if (o->keep == 1 || o->keep < 0)
        return titan_fail(s, TITAN_USAGE,
                          "--keep is %" PRId64
                          "; it keeps 2 or more, since the newest may be "
                          "damaged, or all with 0",
                          o->keep);
    if (o->every < 0)
        return titan_fail(s, TITAN_USAGE, "--save-every needs at least 0");
    if (!o->dir && o->resume && strcmp(o->resume, "auto") == 0)
        return titan_fail(s, TITAN_USAGE,
                          "--resume auto looks in the folder of --checkpoint; "
                          "there is none");
    if (!o->dir && o->seed)
        return titan_fail(s, TITAN_USAGE,
                          "--seed-checkpoint is saved in the folder of "
                          "--checkpoint; there is none");
    TRY(one_of(s, "--last-save", o->last, "full", "model"));
    TRY(one_of(s, "--save-failure", o->failure, "go-on", "stop"));
    return weights_dtype(s, "--save-dtype", o->dtype, dtype);
}

/* Said before the first step, not behind the last. */
static TitanStatus check_writable(TitanStory *s, const char *dir)
{
    char above[FILES_PATH], inside[FILES_PATH];
    snprintf(above, sizeof above, "%s", dir);
    while (access(above, F_OK) != 0 && errno == ENOENT) {
        char *slash = strrchr(above, '/');
        if (slash && slash > above)
            *slash = 0;
        else
            strcpy(above, slash ? "/" : ".");
    }
    /* of a file that is no folder root may do anything, but not this */
    if (!path_join(inside, above, "."))
        errno = ENAMETOOLONG;
    else if (access(inside, W_OK | X_OK) == 0)
        return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not save to \"%s\": \"%s\": %s", dir,
                      above, strerror(errno));
}

static TitanStatus check_folder(Checkpoints *c)
{
    Folder f;
    const CheckpointOptions *o = c->o;
    TRY(folder_scan(c->story, c->files, o->dir, &f));
    int64_t last = f.n ? f.steps[f.n - 1] : -1;
    bool gone = c->locked && !f.exists; /* with what was put away */
    folder_free(&f);
    if (gone) {
        c->files->class->close(c->files, c->lock);
        c->locked = false;
    }
    if (last < 0 || o->resume) return TITAN_OK;
    return titan_fail(c->story, TITAN_USAGE,
                      "\"%s\" has checkpoints of an earlier run, up to step "
                      "%" PRId64 ": --resume auto goes on from them, another "
                      "folder begins anew",
                      o->dir, last);
}

static TitanStatus begin_saving(Checkpoints *c)
{
    TRY(check_writable(c->story, c->o->dir));
    TRY(folder_lock(c->story, c->files, c->o->dir, &c->locked, &c->lock));
    TRY(folder_clean(c->story, c->files, c->o->dir));
    TRY(check_folder(c));
    if (c->o->sync) return TITAN_OK;
    c->stages = device_stage_open(c->device);
    if (!c->stages)
        fprintf(stderr,
                "note: there is no copy of the state (%s); steps wait while it "
                "is saved\n",
                titan_has_host_slots(c->im) ? "the plan offloads it"
                                            : "no room for one on the host");
    return TITAN_OK;
}

TitanStatus checkpoint_open(TitanStory *s, const TitanImage *im,
                            TitanDevice *device, const CheckpointOptions *o,
                            Files *files, Checkpoints *c)
{
    *c = (Checkpoints){.story = s,
                       .im = im,
                       .device = device,
                       .o = o,
                       .files = files ? files : files_real(),
                       .newest = -1};
    if (!o->dir && !o->resume && !o->seed) return TITAN_OK;
    TRY(check_options(s, o, &c->dtype));
    c->saves = o->dir && !o->load_only;
    TRY(state_new(s, im, &c->state));
    return c->saves ? begin_saving(c) : TITAN_OK;
}

/* ------------------------------------------------------------- searching -- */

typedef struct Candidate {
    char path[FILES_PATH];
    Manifest manifest;
} Candidate;

/* A checkpoint that verifies; STEP: of its name, -1: any. */
static TitanStatus open_one(Checkpoints *c, Candidate *k, int64_t step)
{
    TitanStory *s = c->story;
    TRY(manifest_read(s, c->files, k->path, &k->manifest));
    TitanStatus st = TITAN_OK;
    if (step >= 0 && k->manifest.step != step)
        st = titan_fail(s, TITAN_BAD_DATA,
                        "\"%s/" MANIFEST_NAME "\" is that of step %" PRId64,
                        k->path, k->manifest.step);
    if (st == TITAN_OK)
        st = checkpoint_verify(s, c->files, k->path, &k->manifest, NULL);
    if (st != TITAN_OK) manifest_free(&k->manifest);
    return st;
}

static bool is_resumable(const Checkpoints *c, const Manifest *m)
{
    return c->o->reads || !m->model_only || m->step == 0;
}

static TitanStatus weights_only(TitanStory *s, const Candidate *k)
{
    return titan_fail(s, TITAN_MISMATCH,
                      "\"%s\" has the model alone, without the state of its "
                      "optimizer: --init-from takes it, --resume cannot",
                      k->path);
}

static TitanStatus open_named(Checkpoints *c, Candidate *k, int64_t step)
{
    TRY(open_one(c, k, step));
    if (is_resumable(c, &k->manifest)) return TITAN_OK;
    manifest_free(&k->manifest);
    return weights_only(c->story, k);
}

/* The newest of DIR that is whole.  FOUND is false where there is none at all;
 * where there are some, one must be whole. */
static TitanStatus open_newest(Checkpoints *c, const char *dir, Candidate *k,
                               const Folder *f, bool *found)
{
    TitanStatus st = TITAN_OK;
    for (uint32_t i = f->n; i-- > 0 && !*found;) {
        if (f->steps[i] > f->steps[f->n - 1] - c->o->rewind) continue;
        TRY(folder_path(c->story, dir, f->steps[i], "", k->path));
        TitanStatus one = open_one(c, k, f->steps[i]);
        if (one == TITAN_UNAVAILABLE || one == TITAN_MISMATCH) return one;
        if (one == TITAN_OK && !is_resumable(c, &k->manifest)) {
            manifest_free(&k->manifest);
            one = weights_only(c->story, k);
        }
        *found = one == TITAN_OK;
        if (*found) return TITAN_OK;
        fprintf(stderr, "note: step %" PRId64 " is passed over: %s\n",
                f->steps[i], c->story->line[0]);
        st = one;
    }
    return titan_while(c->story, st,
                       "looking for a checkpoint to go on from: none of "
                       "%" PRIu32 " in \"%s\" will do",
                       f->n, dir);
}

static TitanStatus search(Checkpoints *c, const char *dir, Candidate *k,
                          bool *found, bool *was_there)
{
    Folder f;
    TRY(folder_scan(c->story, c->files, dir, &f));
    if (f.n && f.steps[f.n - 1] - c->o->rewind < f.steps[0]) {
        int64_t first = f.steps[0], last = f.steps[f.n - 1];
        folder_free(&f);
        return titan_fail(c->story, TITAN_USAGE,
                          "--rewind %" PRId64
                          " goes back too far: \"%s\" has steps %" PRId64
                          " to %" PRId64,
                          c->o->rewind, dir, first, last);
    }
    /* a run that was killed before its first save may have left other files */
    *was_there = f.exists && (f.n > 0 || f.empty);
    TitanStatus st = open_newest(c, dir, k, &f, found);
    folder_free(&f);
    return st;
}

static bool parse_step(const char *text, int64_t *step)
{
    char *end;
    errno = 0;
    *step = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && errno == 0;
}

static TitanStatus search_named(Checkpoints *c, const char *path, Candidate *k,
                                bool *found)
{
    char manifest[FILES_PATH];
    bool was_there;
    snprintf(k->path, sizeof k->path, "%s", path);
    if (path_join(manifest, path, MANIFEST_NAME) &&
        access(manifest, F_OK) == 0) {
        *found = true;
        return open_named(c, k, -1);
    }
    TRY(search(c, path, k, found, &was_there));
    if (*found) return TITAN_OK;
    return titan_fail(c->story, TITAN_IO, "there is no checkpoint in \"%s\"",
                      path);
}

/* The steps of --checkpoint, where the one that is asked for is not. */
static TitanStatus no_such_step(Checkpoints *c, int64_t step)
{
    Folder f;
    char there[200];
    const char *dir = c->o->dir;
    TRY(folder_scan(c->story, c->files, dir, &f));
    size_t n = 0;
    uint32_t i = f.n > 8 ? f.n - 8 : 0; /* the newest of them */
    n += (size_t)snprintf(there, sizeof there, "%s", i ? ".. " : "");
    for (; i < f.n; i++)
        n += (size_t)snprintf(there + n, sizeof there - n, "%" PRId64 "%s",
                              f.steps[i], i + 1 < f.n ? ", " : "");
    bool any = f.n > 0;
    folder_free(&f);
    return titan_fail(
        c->story, TITAN_IO,
        "there is no checkpoint of step %" PRId64 " in \"%s\"; %s%s", step, dir,
        any ? "its steps: " : "there is none at all", there);
}

static TitanStatus find(Checkpoints *c, Candidate *k, bool *found,
                        bool *was_there)
{
    int64_t step;
    const CheckpointOptions *o = c->o;
    *was_there = true;
    if (strcmp(o->resume, "auto") == 0)
        return search(c, o->dir, k, found, was_there);
    if (!parse_step(o->resume, &step))
        return search_named(c, o->resume, k, found);
    if (!o->dir)
        return titan_fail(c->story, TITAN_USAGE,
                          "--resume %s is a step of the folder of "
                          "--checkpoint; there is none",
                          o->resume);
    TRY(folder_path(c->story, o->dir, step, "", k->path));
    if (access(k->path, F_OK) != 0 && errno == ENOENT)
        return no_such_step(c, step);
    *found = true;
    return open_named(c, k, step);
}

/* --------------------------------------------------------------- loading -- */

static TitanStatus open_tensors(Checkpoints *c, const Candidate *k, Source *out)
{
    const Manifest *m = &k->manifest;
    const char **names = calloc((size_t)m->n + 1, sizeof *names);
    uint32_t n = 0;
    if (!names) return titan_no_memory(c->story);
    for (uint32_t i = 0; i < m->n; i++)
        if (m->files[i].ntensors > 0) names[n++] = m->files[i].name;
    TitanStatus st =
        source_open_files(c->story, c->files, k->path, names, n, out);
    free(names);
    return st;
}

static TitanStatus load(Checkpoints *c, const Candidate *k)
{
    Source files;
    const char *exclude = c->o->exclude;
    const Manifest *m = &k->manifest;
    bool model_only = m->step == 0 || (c->o->reads && m->model_only);
    TRY(open_tensors(c, k, &files));
    TitanStatus st =
        state_check(c->story, &c->state, &files, m->axes, exclude, model_only);
    if (st == TITAN_OK)
        st = state_load(c->story, &c->state, &files, m->axes, exclude,
                        model_only, c->device);
    source_close(&files);
    return st;
}

static TitanStatus take_point(Checkpoints *c, const Manifest *m, RunPoint *at)
{
    /* where the data stands is behind a step: without that it begins anew */
    const char *exclude = c->o->exclude;
    bool anew = state_excludes(exclude, "step");
    *at = (RunPoint){.seed = m->seed};
    if (!anew) at->step = m->step;
    if (!anew) at->tokens = m->tokens;
    if (anew || !json_is_object(m->data) || state_excludes(exclude, "data"))
        return TITAN_OK;
    at->data = json_dumps(m->data, JSON_PRESERVE_ORDER);
    if (at->data) return TITAN_OK;
    return titan_no_memory(c->story);
}

static void note_resumed(const Checkpoints *c, const Candidate *k)
{
    char artifact[2 * DIGEST_BYTES + 1] = "";
    Digest d;
    memcpy(d.at, c->im->header->hash, sizeof d.at);
    digest_print(&d, artifact);
    if (c->o->reads) return;
    if (!c->o->quiet)
        printf("going on behind step %" PRId64 " of \"%s\"\n", k->manifest.step,
               k->path);
    if (memcmp(artifact, k->manifest.artifact, 2 * DIGEST_BYTES) != 0)
        fprintf(stderr, "note: the checkpoint was made by another program; its "
                        "tensors fit this one\n");
}

/* A run that was killed may not have come to it. */
static TitanStatus tidy(Checkpoints *c, int64_t step)
{
    TRY(folder_set_aside(c->story, c->files, c->o->dir, step));
    if (c->o->keep == 0) return TITAN_OK;
    return folder_purge(c->story, c->files, c->o->dir, c->o->keep);
}

TitanStatus checkpoint_resume(Checkpoints *c, RunPoint *at, bool *found,
                              bool *ignores)
{
    Candidate *k = NULL;
    *at = (RunPoint){0};
    *found = *ignores = false;
    if (!c->o->resume) return TITAN_OK;
    k = calloc(1, sizeof *k);
    if (!k) return titan_no_memory(c->story);
    TitanStatus st = find(c, k, found, ignores);
    if (st == TITAN_OK && *found) {
        st = titan_while(c->story, load(c, k), "loading \"%s\"", k->path);
        if (st == TITAN_OK) st = take_point(c, &k->manifest, at);
        if (st == TITAN_OK) note_resumed(c, k);
        if (st == TITAN_OK && c->saves) st = tidy(c, k->manifest.step);
        c->newest = k->manifest.step;
        manifest_free(&k->manifest);
    }
    free(k);
    return st;
}
