/*
 * save.c: writes the state of a run.
 *
 * The order is what makes it safe: files, synced, in a folder that has another
 * name; the manifest, synced; the folder's name; then all of it is read back,
 * and only then older ones go.  A failure on the way costs that save and
 * nothing else.
 */
#include "checkpoint.h"

#include "folder.h"
#include "verify.h"

#include "../clock.h"
#include "../narrow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void point_free(RunPoint *at)
{
    free(at->data);
    *at = (RunPoint){0};
}

/* -------------------------------------------------------------- manifest -- */

static json_t *config_of(const TitanImage *im)
{
    json_t *out = json_object();
    for (uint32_t i = 0; i < im->nfacts; i++)
        json_object_set_new(out, titan_string(im, im->facts[i].name),
                            json_real(im->facts[i].value));
    return out;
}

/* The count of applied updates, which a step on its way carries. */
static TitanStatus read_updates(const State *st, TitanDevice *from,
                                int64_t *out)
{
    *out = 0;
    for (uint32_t i = st->nmodel; i < st->n; i++) {
        const TitanSlot *slot = &st->im->slots[st->at[i].slot];
        Window w;
        if (strcmp(st->rows[i].name, "updates") != 0 || slot->axes.n) continue;
        TRY(window_open(from, titan_slot_base(slot), slot->offset,
                        titan_dtype_bytes(slot->dtype), true, &w));
        *out = (int64_t)narrow_load_one(slot->dtype, w.at);
        TRY(window_close(from, &w, false));
    }
    return TITAN_OK;
}

static void hash_text(const TitanImage *im, char out[2 * DIGEST_BYTES + 1])
{
    Digest d;
    memcpy(d.at, im->header->hash, sizeof d.at);
    digest_print(&d, out);
    out[2 * DIGEST_BYTES] = 0;
}

static TitanStatus put_manifest(Checkpoints *c, Save *save, const char *dir,
                                Manifest *m)
{
    char artifact[2 * DIGEST_BYTES + 1];
    hash_text(c->im, artifact);
    m->step = save->at.step;
    m->tokens = save->at.tokens;
    m->seed = save->at.seed;
    m->model_only = save->model_only;
    m->artifact = artifact;
    TRY(read_updates(&c->state, save->from, &m->updates));
    m->config = config_of(c->im);
    m->axes = state_axes(&c->state);
    if (save->at.data)
        m->data = json_loads(save->at.data, JSON_DECODE_ANY, NULL);
    /* one without its data would begin the data anew */
    TitanStatus st = save->at.data && !m->data
                         ? titan_no_memory(&save->story)
                         : manifest_write(&save->story, c->files, dir, m);
    json_decref(m->config);
    json_decref(m->axes);
    json_decref(m->data);
    return st;
}

/* ----------------------------------------------------------------- files -- */

/* The tensors of the model, or the others; SET gets the files. */
static TitanStatus put_shards(Checkpoints *c, Save *save, const char *dir,
                              bool model, ShardSet *set, Manifest *m)
{
    StateSource src;
    uint32_t before = set->n;
    int dtype = save->model_only ? (int)c->dtype : STATE_AS_IS;
    TitanStory *s = &save->story;
    TRY(state_source(s, &c->state, save->from, model, dtype, &src));
    TitanStatus st = shards_write(s, c->files, dir, model ? "model" : "state",
                                  &src.source, set);
    if (st == TITAN_OK)
        st = manifest_add(s, m, src.rows, set->files + before, set->n - before);
    state_source_free(&src);
    return st;
}

static TitanStatus put_files(Checkpoints *c, Save *save, const char *dir)
{
    ShardSet set = {0};
    Manifest m = {0};
    TitanStatus st = put_shards(c, save, dir, true, &set, &m);
    if (st == TITAN_OK && !save->model_only)
        st = put_shards(c, save, dir, false, &set, &m);
    if (st == TITAN_OK) st = put_manifest(c, save, dir, &m);
    for (uint32_t i = 0; i < set.n; i++)
        save->bytes += set.files[i].bytes;
    manifest_free(&m);
    shards_free(&set);
    return st;
}

/* What was written is what is there: read from the disk, not from memory. */
static TitanStatus read_back(Checkpoints *c, Save *save)
{
    char path[FILES_PATH];
    Manifest m;
    TRY(folder_path(&save->story, c->o->dir, save->at.step, "", path));
    TRY(manifest_read(&save->story, c->files, path, &m));
    TitanStatus st = checkpoint_verify(&save->story, c->files, path, &m, NULL);
    manifest_free(&m);
    return titan_while(&save->story, st, "reading back what was saved");
}

/* What cannot be removed does no harm to what is saved. */
static void purge(const Checkpoints *c)
{
    TitanStory s = {0};
    if (folder_purge(&s, c->files, c->o->dir, c->o->keep) == TITAN_OK) return;
    fprintf(stderr, "warning: an older checkpoint is still there: %s\n",
            s.line[0]);
}

static TitanStatus put_step(Checkpoints *c, Save *save)
{
    char path[FILES_PATH];
    const char *dir = c->o->dir;
    TitanStory *s = &save->story;
    int64_t step = save->at.step;
    TRY(folder_make(s, c->files, dir));
    TRY(folder_lock(s, c->files, dir, &c->locked, &c->lock));
    TRY(folder_begin(s, c->files, dir, step));
    TRY(folder_path(s, dir, step, ".partial", path));
    TitanStatus st = put_files(c, save, path);
    if (st == TITAN_OK) st = folder_commit(s, c->files, dir, step);
    if (st != TITAN_OK) files_remove_tree(c->files, path);
    TRY(st);
    save->seconds = seconds_now() - save->begun;
    TRY(read_back(c, save));
    if (!save->last && c->o->keep > 0) purge(c);
    return TITAN_OK;
}

static void save_all(Checkpoints *c, Save *save)
{
    save->begun = seconds_now();
    TitanStatus st = put_step(c, save);
    /* a device tells its failures to whom it was made for */
    if (st != TITAN_OK && save->story.n == 0) save->story = *c->story;
    save->status =
        titan_while(&save->story, st, "saving step %" PRId64, save->at.step);
    save->checked = seconds_now() - save->begun - save->seconds;
}

/* ------------------------------------------------------------ one thread -- */

static void *write_staged(void *user)
{
    Checkpoints *c = user;
    Save *save = &c->save;
    pthread_setname_np(pthread_self(), "save");
    save->status = device_staged(c->device, &save->story, &save->from);
    if (save->status == TITAN_OK) save_all(c, save);
    atomic_store(&c->over, true);
    return NULL;
}

static void warn(const Checkpoints *c, const Save *save)
{
    fprintf(stderr, "warning: step %" PRId64 " is not saved: %s\n",
            save->at.step, save->story.line[0]);
    for (uint32_t i = 1; i < save->story.n; i++)
        fprintf(stderr, "  %s\n", save->story.line[i]);
    if (c->newest >= 0)
        fprintf(stderr,
                "  training goes on; the last checkpoint is that of "
                "step %" PRId64 "\n",
                c->newest);
    else
        fprintf(stderr, "  training goes on; there is no checkpoint of it\n");
}

/* What became of a save: a failure ends the run if it is the last one, or
 * --save-failure says so. */
static TitanStatus conclude(Checkpoints *c, Save *save)
{
    TitanStatus st = save->status;
    bool stops = save->last || strcmp(c->o->failure, "stop") == 0;
    if (st == TITAN_OK) {
        c->newest = save->at.step;
        c->took = save->seconds + save->checked;
        if (c->saved) c->saved(c->user, save);
        if (!c->o->quiet)
            printf("step %" PRId64 " saved: %.1f MB in %.2f s\n", save->at.step,
                   (double)save->bytes * 1e-6, save->seconds);
    } else if (stops) {
        *c->story = save->story;
    } else {
        warn(c, save);
    }
    point_free(&save->at);
    return stops ? st : TITAN_OK;
}

static TitanStatus join(Checkpoints *c)
{
    if (!c->running) return TITAN_OK;
    pthread_join(c->thread, NULL);
    c->running = false;
    return conclude(c, &c->save);
}

bool checkpoint_due(const Checkpoints *c, int64_t step, int64_t last)
{
    if (!c->saves || step == last) return false;
    return (step == 1 && c->o->first) ||
           (c->o->every > 0 && step % c->o->every == 0);
}

/* Without room for a copy the device's own memory is written, before the next
 * step. */
TitanStatus checkpoint_stage(Checkpoints *c, RunPoint at)
{
    TRY(join(c));
    c->save = (Save){.at = at};
    c->staged = true;
    return c->stages ? device_stage(c->device) : TITAN_OK;
}

TitanStatus checkpoint_write(Checkpoints *c, int64_t done)
{
    if (c->running && atomic_load(&c->over)) TRY(join(c));
    if (!c->staged || c->save.at.step > done) return TITAN_OK;
    c->staged = false;
    if (c->stages) {
        atomic_store(&c->over, false);
        int error = pthread_create(&c->thread, NULL, write_staged, c);
        c->running = error == 0;
        if (c->running) return TITAN_OK;
        write_staged(c);
        return conclude(c, &c->save);
    }
    c->save.from = c->device;
    save_all(c, &c->save);
    return conclude(c, &c->save);
}

TitanStatus checkpoint_last(Checkpoints *c, RunPoint at, bool full)
{
    TitanStatus st = join(c);
    bool model_only =
        !full && (at.step == 0 || strcmp(c->o->last, "model") == 0);
    bool there = !model_only && c->newest == at.step;
    if (st != TITAN_OK || !c->saves || there) {
        point_free(&at);
        return st;
    }
    c->save = (Save){
        .at = at, .last = true, .model_only = model_only, .from = c->device};
    save_all(c, &c->save);
    return conclude(c, &c->save);
}

TitanStatus checkpoint_close(Checkpoints *c)
{
    TitanStatus st = join(c);
    if (c->staged) point_free(&c->save.at);
    if (c->locked) c->files->class->close(c->files, c->lock);
    state_free(&c->state);
    *c = (Checkpoints){0};
    return st;
}
