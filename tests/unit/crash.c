/* links: titan_runtime
 *
 * crash.c: whenever the power goes, or the disk is full, the last checkpoint or
 * the one before it is whole, and what is loaded is what was saved.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/unit/simulated.h"

enum { F32 = 1, I32 = 7, N = 3000, STEPS = 5, BYTES = 8 * N + 4 };

/* A parameter, its moment, and the count of updates. */
static const char strings[] = "\0w\0w.m\0updates\0n\0lr";
enum { S_w = 1, S_m = 3, S_updates = 7, S_n = 15, S_lr = 17 };

typedef struct Program {
    TitanHeader header;
    TitanSlot slots[3];
    TitanAxis axis;
    TitanFact fact;
    TitanImage im;
    TitanDevice device;
    char memory[BYTES];
} Program;

static Program *program_new(void)
{
    Program *p = calloc(1, sizeof *p);
    p->header.whole_bytes[TITAN_BASE_persistent] = BYTES;
    p->axis = (TitanAxis){.name = S_n, .size = N};
    p->fact = (TitanFact){.name = S_lr, .value = 0.5};
    p->slots[0] = (TitanSlot){
        .path = S_w, .role = TITAN_ROLE_param, .dtype = F32, .axes = {0, 1}};
    p->slots[1] = (TitanSlot){.path = S_m,
                              .role = TITAN_ROLE_state,
                              .dtype = F32,
                              .flags = TITAN_SLOT_saved,
                              .offset = 4 * N,
                              .axes = {0, 1}};
    p->slots[2] = (TitanSlot){.path = S_updates,
                              .role = TITAN_ROLE_state,
                              .dtype = I32,
                              .flags = TITAN_SLOT_saved,
                              .offset = 8 * N};
    p->im = (TitanImage){.header = &p->header,
                         .slots = p->slots,
                         .nslots = 3,
                         .axes = &p->axis,
                         .naxes = 1,
                         .facts = &p->fact,
                         .nfacts = 1,
                         .strings = strings};
    return p;
}

static TitanStatus no_read(TitanDevice *d, TitanBase base, uint64_t offset,
                           void *to, size_t bytes)
{
    memcpy(to, d->arena[base] + offset, bytes);
    return TITAN_OK;
}

static TitanStatus write_memory(TitanDevice *d, TitanBase base, uint64_t offset,
                                const void *from, size_t bytes)
{
    memcpy(d->arena[base] + offset, from, bytes);
    return TITAN_OK;
}

static const DeviceClass device_class = {.read = no_read,
                                         .write = write_memory};

/* What the memory is behind a step. */
static void fill(Program *p, int64_t step)
{
    float *at = (float *)(void *)p->memory;
    int32_t updates = (int32_t)step;
    for (int i = 0; i < 2 * N; i++)
        at[i] = (float)(step * 100000 + i);
    memcpy(p->memory + 8 * N, &updates, 4);
}

static CheckpointOptions options(const char *failure)
{
    return (CheckpointOptions){.dir = "ck",
                               .resume = "auto",
                               .last = "full",
                               .dtype = "f32",
                               .failure = failure,
                               .every = 1,
                               .keep = 2,
                               .sync = true,
                               .quiet = true};
}

typedef struct Run {
    TitanStory story;
    Program *p;
    CheckpointOptions o;
    Checkpoints c;
} Run;

/* Begins on what is there; FOUND: the step, -1: none. */
static TitanStatus run_begin(Run *r, Sim *s, const char *failure,
                             int64_t *found)
{
    bool any = false, ignores;
    RunPoint at;
    *r = (Run){.p = program_new(), .o = options(failure)};
    r->p->device = (TitanDevice){.class = &device_class, .story = &r->story};
    r->p->device.arena[TITAN_BASE_persistent] = r->p->memory;
    TitanStatus st = checkpoint_open(&r->story, &r->p->im, &r->p->device, &r->o,
                                     &s->files, &r->c);
    if (st == TITAN_OK) st = checkpoint_resume(&r->c, &at, &any, &ignores);
    *found = any ? at.step : -1;
    if (st == TITAN_OK) point_free(&at);
    return st;
}

static TitanStatus run_save(Run *r, int64_t step)
{
    fill(r->p, step);
    TRY(checkpoint_stage(&r->c, (RunPoint){.step = step}));
    return checkpoint_write(&r->c, step);
}

static void run_end(Run *r)
{
    assert_int_equal(checkpoint_close(&r->c), TITAN_OK);
    free(r->p);
}

static void expect_step(Run *r, int64_t step)
{
    Program *want = program_new();
    fill(want, step);
    assert_memory_equal(r->p->memory, want->memory, BYTES);
    free(want);
}

/* Saves STEPS steps; DONE[i]: the changes behind which step i is saved. */
static void save_all(Sim *s, int *done)
{
    Run r;
    int64_t found;
    assert_int_equal(run_begin(&r, s, "stop", &found), TITAN_OK);
    assert_int_equal(found, -1);
    done[0] = 0;
    for (int step = 1; step <= STEPS; step++) {
        assert_int_equal(run_save(&r, step), TITAN_OK);
        done[step] = s->nops;
    }
    run_end(&r);
}

/* Each crash resumes from a step that is not before the last that was saved,
 * and the run can go on saving. */
static void check_crash(Sim *crashed, int64_t least)
{
    Run r;
    int64_t found;
    TitanStatus st = run_begin(&r, crashed, "stop", &found);
    if (st != TITAN_OK) print_error("%s\n", r.story.line[0]);
    assert_int_equal(st, TITAN_OK);
    assert_true(found == least || found == least + 1 ||
                (found == -1 && least == 0));
    if (found > 0) expect_step(&r, found);
    int64_t next = found > 0 ? found + 1 : 1;
    assert_int_equal(run_save(&r, next), TITAN_OK);
    run_end(&r);
    assert_int_equal(run_begin(&r, crashed, "stop", &found), TITAN_OK);
    assert_int_equal(found, next);
    expect_step(&r, next);
    run_end(&r);
}

static void power_goes(void **state)
{
    (void)state;
    uint64_t seed = 1;
    int done[STEPS + 1], trials = 600;
    const char *more = getenv("TITAN_TRIALS");
    Sim *s = sim_new();
    save_all(s, done);
    if (more) trials = atoi(more);
    for (int i = 0; i < trials; i++) {
        /* each place once, then anywhere */
        int n = i <= s->nops ? i : (int)(sim_draw(&seed) % (s->nops + 1));
        int64_t least = STEPS;
        while (least > 0 && done[least] > n)
            least--;
        Sim *crashed = sim_crash(s, n, &seed);
        check_crash(crashed, least);
        sim_free(crashed);
    }
    sim_free(s);
}

/* Behind a failure the steps go on, the last checkpoint is whole, and with room
 * again the next one is saved. */
static void check_failed(Sim *s, Run *r, int64_t kept)
{
    int64_t found;
    s->fails_at = 0;
    s->room = -1;
    run_end(r);
    TitanStatus st = run_begin(r, s, "go-on", &found);
    if (st != TITAN_OK) print_error("%s\n", r->story.line[0]);
    assert_int_equal(st, TITAN_OK);
    assert_true(found == kept || found == kept + 1);
    expect_step(r, found);
    assert_int_equal(run_save(r, found + 1), TITAN_OK);
    assert_int_equal(r->c.newest, found + 1);
    run_end(r);
}

static Sim *two_saved(Run *r, const char *failure)
{
    int64_t found;
    Sim *s = sim_new();
    assert_int_equal(run_begin(r, s, failure, &found), TITAN_OK);
    assert_int_equal(run_save(r, 1), TITAN_OK);
    assert_int_equal(run_save(r, 2), TITAN_OK);
    return s;
}

static void disk_is_full(void **state)
{
    (void)state;
    for (long room = 0;; room += 307) {
        Run r;
        Sim *s = two_saved(&r, "go-on");
        s->room = room;
        assert_int_equal(run_save(&r, 3), TITAN_OK);
        bool failed = r.c.newest == 2;
        check_failed(s, &r, failed ? 2 : 3);
        sim_free(s);
        if (!failed) break;
    }
}

static void any_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC, EROFS};
    for (int at = 1;; at++) {
        Run r;
        Sim *s = two_saved(&r, "go-on");
        int before = s->calls;
        s->fails_at = before + at;
        s->fails_with = errors[at % 3];
        s->fails_on = at % 2;
        assert_int_equal(run_save(&r, 3), TITAN_OK);
        bool reached = s->calls >= s->fails_at;
        check_failed(s, &r, 2);
        sim_free(s);
        if (!reached) break;
    }
}

/* --save-failure stop, and the last save whatever it says. */
static void failure_stops(void **state)
{
    (void)state;
    Run r;
    Sim *s = two_saved(&r, "stop");
    s->room = 100;
    assert_int_equal(run_save(&r, 3), TITAN_IO);
    assert_string_equal(r.story.line[0],
                        "could not write \"ck/step-3.partial/"
                        "model.safetensors\": No space left on device");
    run_end(&r);
    sim_free(s);
    s = two_saved(&r, "go-on");
    s->room = 100;
    assert_int_equal(checkpoint_last(&r.c, (RunPoint){.step = 3}, false),
                     TITAN_IO);
    run_end(&r);
    sim_free(s);
}

/* A folder is one run's, also one that the run makes itself; the other's save
 * fails before it changes anything. */
static void folder_is_taken(void **state)
{
    (void)state;
    Run a, b, late;
    int64_t found;
    Sim *s = sim_new();
    assert_int_equal(run_begin(&a, s, "stop", &found), TITAN_OK);
    assert_int_equal(run_begin(&b, s, "stop", &found), TITAN_OK);
    assert_int_equal(run_save(&a, 1), TITAN_OK);
    int changes = s->nops;
    assert_int_equal(run_save(&b, 1), TITAN_IO);
    assert_string_equal(b.story.line[0], "process 7 is saving to \"ck\": two "
                                         "runs need two folders");
    assert_int_equal(run_begin(&late, s, "stop", &found), TITAN_IO);
    assert_int_equal(s->nops, changes);
    run_end(&late);
    run_end(&b);
    run_end(&a);
    assert_int_equal(run_begin(&a, s, "stop", &found), TITAN_OK);
    assert_int_equal(found, 1);
    run_end(&a);
    sim_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_goes),      cmocka_unit_test(disk_is_full),
        cmocka_unit_test(any_call_fails),  cmocka_unit_test(failure_stops),
        cmocka_unit_test(folder_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
