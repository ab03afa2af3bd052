/*
 * job.c: one compilation, from files to what was asked for.
 *
 *     options -> files -> checked program -> passes -> code -> artifact
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "predict.h"
#include "program.h"
#include "show.h"

/* ------------------------------------------------------------------ job -- */

void job_init(Job *j, const Request *r, GuardNote *note)
{
    *j = (Job){.r = r, .note = note};
    arena_init(&j->arena, "module");
    arena_init(&j->scratch, "scratch");
    diag_init(&j->diag, &j->arena);
    j->diag.max_errors = (uint32_t)option_number(r->o, OPT_max_errors, 20);
    module_init(&j->m, &j->arena, &j->scratch, &j->diag);
}

void job_release(Job *j)
{
    json_decref(j->functions);
    arena_release(&j->scratch);
    arena_release(&j->arena);
}

bool job_parse(Job *j)
{
    const Options *o = j->r->o;
    const OptionList *include = option_list(o, OPT_include);
    FrontendOpts f = {
        .inputs = j->r->inputs,
        .ninputs = j->r->ninputs,
        .include_dirs = include->at,
        .ninclude_dirs = include->n,
        .defines = j->r->defines,
        .ndefines = option_list(o, OPT_define)->n,
        .config = option_text(o, OPT_config),
        .train = option_text(o, OPT_train),
        .plan = j->r->plan,
        .entries = option_text(o, OPT_entries),
        .dtype = option_given(o, OPT_dtype) ? option_text(o, OPT_dtype) : NULL,
        .devices = option_number(o, OPT_devices, 0),
        .why = option_text(o, OPT_why),
        .check = option_given(o, OPT_check),
    };
    j->frontend = frontend_parse(&j->m, &f);
    return j->frontend != NULL;
}

/* --------------------------------------------------------------- passes -- */

static bool any_given(const Options *o, const OptionId *ids, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (option_given(o, ids[i])) return true;
    return false;
}

static bool needs_code(const Request *r)
{
    return r->emit >= EMIT_html || r->stats || r->memory_limit >= 0;
}

/* The passes to run.  --emit=tir alone shows the program before any pass. */
const char *job_pipeline(const Job *j)
{
    const Request *r = j->r;
    static const OptionId whole[] = {OPT_print_after, OPT_dump_dir,
                                     OPT_stop_after, OPT_check_meaning,
                                     OPT_time_passes};
    static const OptionId said[] = {OPT_remarks, OPT_missed};
    const char *passes = option_text(r->o, OPT_passes);
    if (passes) return passes;
    if (needs_code(r)) return "train";
    if (any_given(r->o, whole, sizeof whole / sizeof *whole)) return "train";
    if (r->emit == EMIT_tir || !option_given(r->o, OPT_check)) return NULL;
    /* what passes say behind those that can refuse a program, too */
    if (any_given(r->o, said, sizeof said / sizeof *said)) return "train";
    return option_get(&j->m, "remat").id ? "rules" : "check";
}

static void on_step(void *user, uint32_t step, const char *pass)
{
    Job *j = user;
    const char *crash = option_text(j->r->o, OPT_crash_in);
    guard_on_step(j->note, step, pass);
    if (crash && !strcmp(crash, pass))
        BUG("asked to die in front of pass '%s'", pass);
}

/* What a budget of memory holds a program against: its image. */
static bool arena_bytes(void *user, Module *planned, uint64_t *bytes,
                        double *seconds)
{
    const Job *j = user;
    Artifact made;
    TitanImage im;
    TitanStory story = {0};
    if (!codegen_run(planned, &j->r->codegen, WANT_image, &made) ||
        titan_image_open(&story, made.image, made.image_size, &im))
        return false;
    *bytes = im.header->arena_bytes;
    if (seconds) {
        Prediction p;
        *seconds = predict(planned->scratch, &im, "train", &p) ? p.seconds : 0;
    }
    return true;
}

bool job_passes(Job *j, const char *text, uint32_t most_steps)
{
    const Options *o = j->r->o;
    show_ask_remarks(&j->diag, o);
    PipelineOpts p = {
        .print_after = option_text(o, OPT_print_after),
        .dump_dir = option_text(o, OPT_dump_dir),
        .stop_after = option_text(o, OPT_stop_after),
        .time_passes = option_given(o, OPT_time_passes),
        .check_meaning = option_given(o, OPT_check_meaning),
        .locs = option_given(o, OPT_locs),
        .most_steps = most_steps,
        .judge = strcmp(text, "rules") == 0,
        .on_step = on_step,
        .arena = arena_bytes,
        .user = j,
    };
    if (p.check_meaning)
        p.seed = strtoull(option_text(o, OPT_check_meaning), NULL, 10);
    return pipeline_run(&j->m, text, &p);
}

/* ----------------------------------------------------------------- text -- */

static bool print_ast(Job *j)
{
    Buf b = {0};
    frontend_print_ast(j->frontend, &b);
    bool ok = text_write(j, &b);
    buf_release(&b);
    return ok;
}

static bool print_config(Job *j)
{
    Buf b = {0};
    bool ok = frontend_print_config(j->frontend, &b);
    if (ok && b.n) fputs(b.at, stdout);
    buf_release(&b);
    return ok;
}

static bool print_tir(Job *j)
{
    Buf b = {0};
    PrintOpts p = {.locs = option_given(j->r->o, OPT_locs)};
    module_print(&j->m, &p, &b);
    bool ok = text_write(j, &b);
    buf_release(&b);
    return ok;
}

/* ----------------------------------------------------------------- work -- */

static uint32_t wanted(const Request *r)
{
    switch (r->emit) {
    case EMIT_nothing:
    case EMIT_ast:
    case EMIT_tir:
    case EMIT_html:
    case EMIT_image:
        return WANT_image;
    case EMIT_llvm:
        return WANT_image | WANT_llvm;
    case EMIT_ptx:
        return WANT_image | WANT_ptx;
    case EMIT_obj:
        return WANT_image | WANT_object;
    case EMIT_exe:
        break;
    }
    bool gpu = target_is_gpu(r->codegen.target);
    return WANT_image | (gpu ? WANT_ptx : WANT_object);
}

static bool find_rehearsal(Job *j, Rehearsal *out)
{
    *out = rehearsal_of(&j->m);
    if (out->ranks) return true;
    diag_error(&j->diag, DIAG_rehearsal, (Span){0},
               "--rehearse needs a mesh whose axes have one size: %s",
               out->why);
    return false;
}

static bool make_code(Job *j)
{
    const Request *r = j->r;
    CodegenOpts o = r->codegen;
    /* --stop-after leaves the program before it can be translated */
    if (!needs_code(r) || option_given(r->o, OPT_stop_after)) return true;
    if (option_given(r->o, OPT_rehearse) && !find_rehearsal(j, &o.rehearsal))
        return false;
    if (!codegen_run(&j->m, &o, wanted(r), &j->made)) return false;
    TitanImage im;
    if (!image_open(j, &im) || !within_limit(j)) return false;
    if (r->stats && !stats_print(j)) return false;
    return r->emit < EMIT_html || artifact_write(j);
}

/* What passes have to know of the target. */
static void tell_target(Job *j)
{
    const Request *r = j->r;
    /* fuse leaves whole regions to the kernels of a GPU */
    if (target_is_gpu(r->codegen.target)) {
        option_set(&j->m, "target", target_name(r->codegen.target));
        option_set(&j->m, "matmul", r->codegen.matmul);
    }
    if (option_given(r->o, OPT_streams))
        option_set(&j->m, "streams", option_text(r->o, OPT_streams));
    if (option_given(r->o, OPT_nccl_alone)) option_set(&j->m, "nccl", "1");
    if (option_given(r->o, OPT_chunks))
        option_set(&j->m, "chunks", option_text(r->o, OPT_chunks));
}

bool job_lower(Job *j)
{
    return job_parse(j) && frontend_lower(j->frontend) && module_verify(&j->m);
}

bool job_trial(Job *j, TitanImage *im)
{
    PipelineOpts p = {.arena = arena_bytes, .user = j};
    if (!job_lower(j)) return false;
    tell_target(j);
    return pipeline_run(&j->m, "train", &p) &&
           codegen_run(&j->m, &j->r->codegen, WANT_image, &j->made) &&
           image_open(j, im);
}

bool job_make(Job *j)
{
    const Request *r = j->r;
    if (!job_parse(j)) return false;
    if (r->emit == EMIT_ast) return print_ast(j);
    bool config = option_given(r->o, OPT_print_config);
    if (config && !print_config(j)) return false;
    if (config && r->emit == EMIT_nothing) return true;
    if (!frontend_lower(j->frontend) || !module_verify(&j->m)) return false;
    if (r->emit == EMIT_html) j->functions = program_functions(&j->m);
    tell_target(j);
    const char *text = job_pipeline(j);
    if (text && !job_passes(j, text, 0)) return false;
    if (option_given(r->o, OPT_why) && !why_print(j)) return false;
    if (r->emit == EMIT_tir && !print_tir(j)) return false;
    return make_code(j);
}
