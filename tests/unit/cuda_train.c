/* links: titan_runtime fake_cuda fake_cublaslt
 *
 * cuda_train.c: a run on a device that lags one step: every step is logged,
 * the last one too, with the records that it left and no later ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/train.h"
#include "tests/unit/fake/fake.h"

enum { F32 = 1, I32 = 7, ROWS = 2, SEQ = 4 };

/* A step that adds 1 to its loss, and reads tokens; one of two commands adds 1
 * to a parameter too. */
static const char strings[] =
    "\0train\0tokens\0loss\0bump\0seq\0ok\0w\0validate";
enum {
    S_train = 1,
    S_tokens = 7,
    S_loss = 14,
    S_bump = 19,
    S_seq = 24,
    S_ok = 28,
    S_w = 31,
    S_validate = 33
};

typedef struct Step {
    TitanHeader header;
    TitanStage stage;
    TitanEntry entries[2];
    TitanRun run;
    TitanProgram program;
    TitanCommand commands[2];
    TitanOperand operands[4];
    TitanKernel kernel;
    TitanPort ports[3];
    TitanAxis axes[2];
    TitanSlot slot;
    TitanImage im;
} Step;

static void make(Step *s)
{
    *s = (Step){
        .header = {.target = TITAN_TARGET_sm_90a,
                   .lanes = 1,
                   .ranks = 1,
                   .streams = 1,
                   .arena_bytes = 512},
        .stage = {.base_bytes = {256, 256, 0, 0},
                  .arena_bytes = 512,
                  .entries = {0, 2}},
        .entries = {{.name = S_train, .runs = {0, 1}, .ports = {0, 2}},
                    {.name = S_validate, .runs = {0, 1}, .ports = {0, 2}}},
        .program = {.commands = {0, 1}},
        .commands = {{.operands = {0, 2}, .items = 1},
                     {.operands = {2, 2}, .items = 1}},
        .operands = {{.base = TITAN_BASE_io},
                     {.base = TITAN_BASE_io, .offset = 64},
                     {.base = TITAN_BASE_persistent},
                     {.base = TITAN_BASE_io, .offset = 64}},
        .kernel = {.name = S_bump, .args = 2, .threads = 32},
        .ports = {{.path = S_loss, .role = TITAN_ROLE_record, .dtype = F32},
                  {.path = S_tokens,
                   .role = TITAN_ROLE_input,
                   .dtype = I32,
                   .offset = 64,
                   .bound = 100,
                   .axes = {0, 2}},
                  {.path = S_ok,
                   .role = TITAN_ROLE_check,
                   .dtype = 14,
                   .offset = 192}},
        .axes = {{.name = S_seq, .size = ROWS}, {.name = S_seq, .size = SEQ}},
        .slot = {.path = S_w, .role = TITAN_ROLE_param, .dtype = F32}};
    s->im = (TitanImage){.header = &s->header,
                         .stages = &s->stage,
                         .nstages = 1,
                         .entries = s->entries,
                         .nentries = 2,
                         .runs = &s->run,
                         .nruns = 1,
                         .programs = &s->program,
                         .nprograms = 1,
                         .commands = s->commands,
                         .ncommands = 2,
                         .operands = s->operands,
                         .noperands = 4,
                         .kernels = &s->kernel,
                         .nkernels = 1,
                         .ports = s->ports,
                         .nports = 3,
                         .axes = s->axes,
                         .naxes = 2,
                         .slots = &s->slot,
                         .nslots = 1,
                         .strings = strings};
}

typedef struct Paths {
    char tokens[64], metrics[64];
} Paths;

static void make_files(Paths *f)
{
    static const uint16_t tokens[] = {1, 2, 3, 4, 5, 6, 7};
    strcpy(f->tokens, "/tmp/titan-XXXXXX.u16");
    strcpy(f->metrics, "/tmp/titan-XXXXXX.jsonl");
    int fd = mkstemps(f->tokens, 4);
    assert_int_equal(write(fd, tokens, sizeof tokens), sizeof tokens);
    close(fd);
    close(mkstemps(f->metrics, 6));
}

/* With the options of O, and what is the same for all. */
static TitanStatus train_as(Step *s, TitanStory *story, RunOptions o, char *out,
                            size_t size)
{
    Paths f;
    const TitanCode code = {.cubin = "machine code"};
    fake_reset();
    make_files(&f);
    const char *data = f.tokens;
    o.data = (FeedOptions){.paths = &data, .npaths = 1};
    o.metrics = (MetricsOptions){.jsonl = f.metrics, .quiet = true};
    if (o.valid.every) o.valid.data = o.data;
    TitanStatus st = titan_train(story, &s->im, &code, &o);
    FILE *in = fopen(f.metrics, "r");
    out[fread(out, 1, size - 1, in)] = 0;
    fclose(in);
    unlink(f.tokens);
    unlink(f.metrics);
    return st;
}

static TitanStatus train(Step *s, TitanStory *story, int64_t steps,
                         int64_t every, char *out, size_t size)
{
    const RunOptions o = {.steps = steps, .log_every = every};
    return train_as(s, story, o, out, size);
}

/* Lines of metrics against steps whose loss is their number. */
static void expect_steps(char *text, const int *want, int n)
{
    int i = 0;
    for (char *line = strtok(text, "\n"); line;
         line = strtok(NULL, "\n"), i++) {
        json_t *m = json_loads(line, 0, NULL);
        assert_true(i < n);
        assert_int_equal(json_integer_value(json_object_get(m, "step")),
                         want[i]);
        assert_true(json_number_value(json_object_get(m, "loss")) == want[i]);
        json_decref(m);
    }
    assert_int_equal(i, n);
}

static void every_step(void **state)
{
    (void)state;
    Step s;
    TitanStory story = {0};
    char text[4096];
    make(&s);
    assert_int_equal(train(&s, &story, 5, 1, text, sizeof text), TITAN_OK);
    expect_steps(text, (int[]){1, 2, 3, 4, 5}, 5);
    assert_int_equal(train(&s, &story, 1, 1, text, sizeof text), TITAN_OK);
    expect_steps(text, (int[]){1}, 1);
    assert_int_equal(train(&s, &story, 5, 2, text, sizeof text), TITAN_OK);
    expect_steps(text, (int[]){1, 2, 4}, 3);
}

/* A check that fails names its own step, although the next one was asked
 * for. */
static void names_the_step(void **state)
{
    (void)state;
    Step s;
    TitanStory story = {0};
    char text[4096];
    make(&s);
    s.entries[0].ports.n = 3;
    assert_int_equal(train(&s, &story, 5, 1, text, sizeof text),
                     TITAN_BAD_DATA);
    assert_string_equal(story.line[0], "check failed in step 1: ok");
    assert_string_equal(story.line[1], "while running step 1");
}

/* A token that the model does not have stops the run before its step. */
static void bad_tokens(void **state)
{
    (void)state;
    Step s;
    TitanStory story = {0};
    char text[4096];
    make(&s);
    s.ports[1].bound = 7;
    assert_int_equal(train(&s, &story, 3, 1, text, sizeof text),
                     TITAN_BAD_DATA);
    assert_non_null(strstr(story.line[0], "token 6 is 7"));
    assert_string_equal(story.line[1], "while running step 1");
}

/* The parameter in a checkpoint. */
static float saved(const char *dir, int step)
{
    char path[128];
    float w = -1;
    snprintf(path, sizeof path, "%s/step-%d/model.safetensors", dir, step);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    assert_int_equal(fseek(in, -4, SEEK_END), 0);
    assert_int_equal(fread(&w, 4, 1, in), 1);
    fclose(in);
    return w;
}

/* Each step is saved while the next one is on its way, as that step left it;
 * the next one's graph waits for the copy. */
static void saves_behind(void **state)
{
    (void)state;
    Step s;
    TitanStory story = {0};
    char text[4096], dir[] = "/tmp/titan-XXXXXX", inside[64], clean[128];
    make(&s);
    s.program.commands.n = 2;
    assert_non_null(mkdtemp(dir));
    snprintf(inside, sizeof inside, "%s/ck", dir);
    for (int sync = 0; sync < 2; sync++) {
        const CheckpointOptions o = {.dir = inside,
                                     .last = "full",
                                     .dtype = "f32",
                                     .failure = "stop",
                                     .every = 1,
                                     .sync = sync,
                                     .quiet = true};
        const RunOptions run = {.steps = 6, .log_every = 1, .checkpoint = o};
        assert_int_equal(train_as(&s, &story, run, text, sizeof text),
                         TITAN_OK);
        for (int step = 1; step <= 6; step++)
            assert_true(saved(inside, step) == (float)step);
        bool waits = strstr(fake_device()->log, "waits for event") != NULL;
        assert_true(waits == !sync);
        snprintf(clean, sizeof clean, "rm -rf %s", inside);
        assert_int_equal(system(clean), 0);
    }
    rmdir(dir);
}

/* No step is faster than its kernel, of MS. */
static void expect_times(const char *text, double ms, int n)
{
    int i = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1, i++) {
        json_t *m = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        double rate =
            json_number_value(json_object_get(m, "tokens_per_second"));
        assert_true(rate > 0);
        assert_true(rate <= ROWS * SEQ / (1e-3 * ms));
        json_decref(m);
    }
    assert_int_equal(i, n);
}

/* Each step has its own time: one that is over when its submission returns,
 * command by command or profiled, and one that is validated behind. */
static void own_times(void **state)
{
    (void)state;
    Step s;
    TitanStory story = {0};
    char text[4096], profile[] = "/tmp/titan-XXXXXX";
    close(mkstemp(profile));
    const RunOptions runs[] = {
        {.steps = 4, .log_every = 1},
        {.steps = 4, .log_every = 1, .device = {.sync = true}},
        {.steps = 2, .log_every = 1, .profile = profile},
        {.steps = 7, .log_every = 1, .profile = profile},
        {.steps = 4, .log_every = 1, .valid = {.every = 2, .steps = 1}}};
    make(&s);
    setenv("FAKE_SLOW", "0 kernel 20", 1);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        assert_int_equal(train_as(&s, &story, runs[i], text, sizeof text),
                         TITAN_OK);
        expect_times(text, 20, (int)runs[i].steps);
    }
    unsetenv("FAKE_SLOW");
    unlink(profile);
}

/* A step that is validated has its own records, and what validation found. */
static void validated(void **state)
{
    (void)state;
    Step s;
    TitanStory story = {0};
    char text[4096];
    const RunOptions o = {
        .steps = 5, .log_every = 1, .valid = {.every = 2, .steps = 1}};
    /* the kernel counts all runs in one place */
    static const int want[] = {1, 3, 5, 6, 8};
    make(&s);
    assert_int_equal(train_as(&s, &story, o, text, sizeof text), TITAN_OK);
    const char *line = text;
    for (int step = 1; step <= 5; step++, line = strchr(line, '\n') + 1) {
        json_t *m = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        json_t *valid = json_object_get(m, "valid_loss");
        bool due = step == 1 || step % 2 == 0;
        assert_int_equal(json_integer_value(json_object_get(m, "step")), step);
        assert_true(json_number_value(json_object_get(m, "loss")) ==
                    want[step - 1]);
        assert_int_equal(json_is_number(valid), due);
        if (due) assert_true(json_number_value(valid) == want[step - 1] + 1);
        json_decref(m);
    }
    assert_int_equal(*line, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step), cmocka_unit_test(names_the_step),
        cmocka_unit_test(bad_tokens), cmocka_unit_test(saves_behind),
        cmocka_unit_test(own_times),  cmocka_unit_test(validated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
