/*
 * run_options.c: the command line of a training program, and its main path:
 * options, image, run, story, exit code.
 */
#include "generate/generate.h"
#include "launch.h"
#include "option.h"
#include "train.h"
#include "weights.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ProgramText text = {
    PROGRAM_run, "train", "--data FILE... [options]",
    "Trains the model that this program was compiled from, or with --generate "
    "goes on with texts."};

static DeviceOptions read_device(const Options *o)
{
    return (DeviceOptions){
        .threads = (unsigned)option_number(o, OPT_threads, 0),
        .gemm_algos = option_number(o, OPT_gemm_algos, 0),
        .gemm_table = option_text(o, OPT_gemm_table),
        .sync = option_given(o, OPT_sync),
        .rank_order = option_given(o, OPT_rank_order),
        .nccl_alone = option_given(o, OPT_nccl_alone),
        .nccl_copies = strcmp(option_text(o, OPT_nccl_buffers), "copied") == 0,
        .processes = option_given(o, OPT_nproc),
        .send_room = (size_t)option_number(o, OPT_send_buffer, 0),
        .verbose = option_given(o, OPT_verbose)};
}

static MetricsOptions read_metrics(const Options *o)
{
    return (MetricsOptions){
        .jsonl = option_text(o, OPT_metrics),
        .events = option_text(o, OPT_tensorboard),
        .quiet = option_given(o, OPT_quiet),
        .go_on = strcmp(option_text(o, OPT_on_full), "go-on") == 0};
}

/* --pack and --shuffle are read with the checks of usage. */
static FeedOptions read_data(const Options *o)
{
    const OptionList *data = option_list(o, OPT_data);
    return (FeedOptions){.paths = data->at,
                         .npaths = data->n,
                         .tokenizer = option_text(o, OPT_tokenizer),
                         .text_key = option_text(o, OPT_text_key),
                         .end_token = option_text(o, OPT_document_end),
                         .seed = option_number(o, OPT_seed, 0),
                         .epochs = option_number(o, OPT_epochs, 0)};
}

static CheckpointOptions read_checkpoint(const Options *o)
{
    return (CheckpointOptions){.dir = option_text(o, OPT_checkpoint),
                               .resume = option_text(o, OPT_resume),
                               .exclude = option_text(o, OPT_exclude),
                               .last = option_text(o, OPT_last_save),
                               .dtype = option_text(o, OPT_save_dtype),
                               .failure = option_text(o, OPT_save_failure),
                               .every = option_number(o, OPT_save_every, 500),
                               .keep = option_number(o, OPT_keep, 10),
                               .rewind = option_number(o, OPT_rewind, 0),
                               .first = option_given(o, OPT_save_first),
                               .on_exhaustion =
                                   option_given(o, OPT_save_on_exhaustion),
                               .sync = option_given(o, OPT_sync_save),
                               .load_only = option_given(o, OPT_load_only),
                               .seed = option_given(o, OPT_seed_save),
                               .quiet = option_given(o, OPT_quiet)};
}

static ImportOptions read_import(const Options *o)
{
    const OptionList *from = option_list(o, OPT_init_from);
    return (ImportOptions){.from = from->at,
                           .n = from->n,
                           .exclude = option_text(o, OPT_init_exclude),
                           .quiet = option_given(o, OPT_quiet)};
}

static RunOptions read_options(const Options *o)
{
    int64_t ranks = option_number(o, OPT_ranks, 0);
    return (RunOptions){.data = read_data(o),
                        .steps = option_number(o, OPT_steps, -1),
                        .seed = option_number(o, OPT_seed, 0),
                        .seed_given = option_given(o, OPT_seed),
                        .import = read_import(o),
                        .export = {.dir = option_text(o, OPT_export_to),
                                   .dtype = option_text(o, OPT_export_dtype),
                                   .state = option_text(o, OPT_export_state),
                                   .only = option_text(o, OPT_export_only)},
                        .metrics = read_metrics(o),
                        .ledger = option_text(o, OPT_ledger),
                        .skip_batches = option_number(o, OPT_skip_batches, 0),
                        .log_every = option_number(o, OPT_log_every, 10),
                        .max_skips = option_number(o, OPT_max_skips, 10),
                        .ranks = ranks ? ranks : option_number(o, OPT_nproc, 0),
                        .device = read_device(o),
                        .checkpoint = read_checkpoint(o),
                        .stop = {.stop_file = option_text(o, OPT_stop_file),
                                 .save_file = option_text(o, OPT_save_file)},
                        .profile = option_text(o, OPT_profile),
                        .peak_tflops = option_real(o, OPT_peak_tflops, 0),
                        .diagnose = option_given(o, OPT_diagnose),
                        .describe = option_given(o, OPT_describe)};
}

static TitanStatus check_data(TitanStory *s, const Options *o, FeedOptions *f)
{
    static const char *const packs[] = {[PACK_stream] = "stream",
                                        [PACK_chunks] = "chunks",
                                        [PACK_documents] = "documents"};
    const char *pack = option_text(o, OPT_pack);
    const char *shuffle = option_text(o, OPT_shuffle);
    char *end = NULL;
    unsigned p = 0;
    while (p < 3 && strcmp(packs[p], pack) != 0)
        p++;
    if (p == 3)
        return titan_fail(s, TITAN_USAGE,
                          "--pack %s is not stream, chunks or documents", pack);
    f->pack = (FeedPack)p;
    if (option_given(o, OPT_shuffle)) f->shuffle = strtoll(shuffle, &end, 10);
    if (end && (*end || f->shuffle < 1))
        return titan_fail(s, TITAN_USAGE,
                          "--shuffle=%s is not a number of documents or rows",
                          shuffle);
    if (option_given(o, OPT_epochs) && f->epochs < 1)
        return titan_fail(s, TITAN_USAGE, "--epochs needs at least 1");
    return TITAN_OK;
}

/* To rewind is to go on. */
static TitanStatus check_rewind(TitanStory *s, const Options *o, RunOptions *r)
{
    CheckpointOptions *c = &r->checkpoint;
    if (r->skip_batches < 0)
        return titan_fail(s, TITAN_USAGE, "--skip-batches needs at least 0");
    if (!option_given(o, OPT_rewind)) return TITAN_OK;
    if (c->rewind < 1)
        return titan_fail(s, TITAN_USAGE, "--rewind needs at least 1");
    if (!c->resume) c->resume = "auto";
    if (strcmp(c->resume, "auto") == 0) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE,
                      "--rewind and --resume %s exclude each other", c->resume);
}

/* Read as the data of training, but in order, once, and to the last row. */
static TitanStatus read_valid(TitanStory *s, const Options *o, RunOptions *r)
{
    const OptionList *data = option_list(o, OPT_valid_data);
    r->valid = (ValidOptions){.data = r->data,
                              .every = option_number(o, OPT_valid_every, 10),
                              .steps = option_number(o, OPT_valid_steps, 0)};
    FeedOptions *f = &r->valid.data;
    f->paths = data->at;
    f->npaths = data->n;
    f->shuffle = 0;
    f->epochs = 1;
    f->fill = true;
    if (r->valid.every < 1)
        return titan_fail(s, TITAN_USAGE, "--valid-every needs at least 1");
    if (data->n == 0 &&
        (option_given(o, OPT_valid_every) || option_given(o, OPT_valid_steps)))
        return titan_fail(s, TITAN_USAGE,
                          "validation needs data: name it with --valid-data");
    return TITAN_OK;
}

static TitanStatus check_usage(TitanStory *s, const Options *o, RunOptions *r)
{
    if (o->arguments.n)
        return titan_fail(s, TITAN_USAGE,
                          "\"%s\" is no option; token files go with --data",
                          o->arguments.at[0]);
    TRY(check_data(s, o, &r->data));
    TRY(read_valid(s, o, r));
    if (r->log_every < 1)
        return titan_fail(s, TITAN_USAGE, "--log-every needs at least 1");
    const char *full = option_text(o, OPT_on_full);
    if (!r->metrics.go_on && strcmp(full, "stop") != 0)
        return titan_fail(s, TITAN_USAGE, "--on-full is stop or go-on, not %s",
                          full);
    const char *buffers = option_text(o, OPT_nccl_buffers);
    if (!r->device.nccl_copies && strcmp(buffers, "registered") != 0)
        return titan_fail(s, TITAN_USAGE,
                          "--nccl-buffers is registered or copied, not %s",
                          buffers);
    const char *fault = option_text(o, OPT_inject);
    if (fault && !inject_parse(fault, &r->inject))
        return titan_fail(s, TITAN_USAGE,
                          "--inject %s is not STEP:N, STEP:N:nan, STEP:N:inf "
                          "or STEP:N:-inf",
                          fault);
    TRY(check_rewind(s, o, r));
    TRY(weights_import_options(s, &r->import));
    TRY(weights_export_options(s, &r->export));
    const char *hang = option_text(o, OPT_hang_timeout);
    if (strcmp(hang, "0") != 0 && !stop_parse_time(hang, &r->watchdog.end))
        return titan_fail(s, TITAN_USAGE,
                          "--hang-timeout %s is no time like 10m or 90s, nor 0",
                          hang);
    const char *limit = option_text(o, OPT_time_limit);
    if (limit && !stop_parse_time(limit, &r->stop.limit))
        return titan_fail(s, TITAN_USAGE,
                          "--time-limit %s is no time like 3h30m, 90m or 45s",
                          limit);
    const char *join = option_text(o, OPT_join_timeout);
    if (!stop_parse_time(join, &r->device.patience))
        return titan_fail(s, TITAN_USAGE,
                          "--join-timeout %s is no time like 10m or 90s", join);
    if (option_given(o, OPT_ranks) && option_given(o, OPT_nproc))
        return titan_fail(s, TITAN_USAGE,
                          "--ranks and --nproc exclude each other");
    for (int i = 0; i < 2; i++) {
        OptionId id = i ? OPT_nproc : OPT_ranks;
        if (option_given(o, id) && option_number(o, id, 1) < 1)
            return titan_fail(s, TITAN_USAGE, "%s needs at least 1",
                              i ? "--nproc" : "--ranks");
    }
    return TITAN_OK;
}

static TitanStatus run(TitanStory *s, const Options *o, const TitanCode *code,
                       char **argv, Launch *launch)
{
    TitanImage im;
    RunOptions r = read_options(o);
    TRY(check_usage(s, o, &r));
    TRY(titan_image_open(s, code->image, code->size, &im));
    if (r.describe) {
        titan_describe(&im, stdout);
        return TITAN_OK;
    }
    TRY(launch_begin(s, &im, code, &r.device, r.ranks, argv, launch));
    if (launch->over) return TITAN_OK;
    if (option_given(o, OPT_generate))
        return titan_generate(s, &im, code, &r.device, o);
    return titan_train(s, &im, code, &r);
}

int titan_main(int argc, char **argv, const TitanCode *code)
{
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash ? slash + 1 : argv[0];
    char error[OPTION_ERROR];
    Options o;
    TitanStory story = {0};
    TitanStatus st = TITAN_OK;
    Launch launch = {0};
    ProgramText t = text;
    t.name = name;
    signal(SIGXFSZ, SIG_IGN); /* a file that grows too long is an error */
    if (!options_parse(&o, PROGRAM_run, argc, argv, error))
        st = titan_fail(&story, TITAN_USAGE, "%s", error);
    else if (option_given(&o, OPT_help))
        options_help(&t, stdout);
    else if (option_given(&o, OPT_manual))
        options_man(&t, stdout);
    else if (option_given(&o, OPT_version))
        printf("image version %d\n", TITAN_IMAGE_VERSION);
    else
        st = run(&story, &o, code, argv, &launch);
    if (st != TITAN_OK) titan_story_print(&story, name);
    launch_end(&launch, &story, st);
    options_release(&o);
    return st;
}
