/*
 * generate.c: a model, prompts and a terminal.
 *
 * A single text is printed as it is made; of several each when its batch is
 * done, in their order.  What is said about the run goes to stderr.
 */
#include "generate.h"

#include "../checkpoint/checkpoint.h"
#include "../text/bytes.h"
#include "../weights.h"
#include "decode.h"
#include "prompts.h"
#include "voice.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A prompt and what was made of it. */
typedef struct Answer {
    TokenIds prompt, made;
    TokenText text;
    Reader reader;
} Answer;

typedef struct Run {
    Listener listener; /* first */
    TitanStory *story;
    const TitanImage *im;
    const Options *o;
    TitanDevice *device;
    Decoder decoder;
    Voice voice;
    Choice choice;
    Answer *answers;
    size_t n;
    bool streams, json, quiet;
} Run;

/* --------------------------------------------------------------- options -- */

static TitanStatus read_end(Run *r)
{
    const char *text = option_text(r->o, OPT_eos);
    r->choice.end = voice_end(&r->voice);
    if (!text) return TITAN_OK;
    if (strcmp(text, "none") == 0) {
        r->choice.end = -1;
        return TITAN_OK;
    }
    char *end;
    r->choice.end = strtoll(text, &end, 10);
    if (*text && !*end && r->choice.end >= 0) return TITAN_OK;
    return titan_fail(r->story, TITAN_USAGE,
                      "--eos %s is no token id, and not none", text);
}

static TitanStatus read_choice(Run *r)
{
    const Options *o = r->o;
    r->choice = (Choice){.temperature = option_real(o, OPT_temperature, 1),
                         .top_p = option_real(o, OPT_top_p, 1),
                         .top_k = option_number(o, OPT_top_k, 0),
                         .seed = option_number(o, OPT_seed, 0),
                         .most = option_number(o, OPT_max_tokens, 32)};
    if (!(r->choice.temperature >= 0))
        return titan_fail(r->story, TITAN_USAGE,
                          "--temperature is not negative");
    if (!(r->choice.top_p > 0 && r->choice.top_p <= 1))
        return titan_fail(r->story, TITAN_USAGE,
                          "--top-p is above 0 and at most 1");
    if (r->choice.top_k < 0 || r->choice.top_k > INT32_MAX)
        return titan_fail(r->story, TITAN_USAGE,
                          "--top-k is a number of tokens, or 0");
    if (r->choice.most < 0)
        return titan_fail(r->story, TITAN_USAGE,
                          "--max-tokens is not negative");
    return read_end(r);
}

/* ---------------------------------------------------------------- output -- */

static TitanStatus write_out(Run *r, const TokenText *t, size_t from)
{
    bool ok = fwrite(t->at + from, 1, t->n - from, stdout) == t->n - from &&
              fflush(stdout) == 0;
    return ok ? TITAN_OK
              : titan_fail(r->story, TITAN_IO, "could not write to stdout");
}

static TitanStatus hear(Listener *l, size_t text, uint32_t id)
{
    Run *r = (Run *)l;
    Answer *a = &r->answers[text];
    size_t before = a->text.n;
    TRY(ids_append(r->story, &a->made, &id, 1));
    TRY(reader_add(&a->reader, id, &a->text));
    return r->streams ? write_out(r, &a->text, before) : TITAN_OK;
}

static const char *ending_name(Ending e)
{
    static const char *const names[] = {[END_none] = "",
                                        [END_token] = "eos",
                                        [END_most] = "length",
                                        [END_context] = "context"};
    return names[e];
}

static json_t *json_ids(const TokenIds *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ids->n; i++)
        json_array_append_new(list, json_integer(ids->at[i]));
    return list;
}

static json_t *json_text(Run *r, const char *text, size_t n)
{
    TokenText whole = {0};
    json_t *o = NULL;
    if (text_whole(r->story, text, n, &whole) == TITAN_OK)
        o = json_stringn(whole.at ? whole.at : "", whole.n);
    token_text_release(&whole);
    return o;
}

static TitanStatus write_json(Run *r, const Answer *a, const char *prompt,
                              size_t n, const Passage *p)
{
    json_t *o = json_pack("{so so so so ss}", "prompt", json_text(r, prompt, n),
                          "text", json_text(r, a->text.at, a->text.n),
                          "prompt_tokens", json_ids(&a->prompt), "tokens",
                          json_ids(&a->made), "ending", ending_name(p->ending));
    if (!o) return titan_no_memory(r->story);
    bool ok = json_dumpf(o, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(o);
    return ok && fflush(stdout) == 0
               ? TITAN_OK
               : titan_fail(r->story, TITAN_IO, "could not write to stdout");
}

static TitanStatus write_answers(Run *r, const Prompts *prompts,
                                 const Passage *p)
{
    for (size_t i = 0; i < r->n; i++) {
        Answer *a = &r->answers[i];
        size_t before = r->streams ? a->text.n : 0;
        TRY(reader_end(&a->reader, &a->text));
        if (r->json) {
            TRY(write_json(r, a, prompts->at[i], prompts->n[i], &p[i]));
            continue;
        }
        TRY(write_out(r, &a->text, before));
        putchar('\n');
    }
    fflush(stdout);
    return TITAN_OK;
}

static void say_speed(const Run *r)
{
    const Decoder *d = &r->decoder;
    if (r->quiet) return;
    fprintf(
        stderr,
        "prompts: %" PRId64 " tokens in %.3f s; made: %" PRId64
        " in %.3f s, %.1f tokens/s\n",
        d->prompt_tokens, d->prompt_seconds, d->step_tokens, d->step_seconds,
        d->step_seconds > 0 ? (double)d->step_tokens / d->step_seconds : 0.0);
}

/* ------------------------------------------------------------------- run -- */

static void free_answers(Run *r)
{
    for (size_t i = 0; i < r->n; i++) {
        token_ids_release(&r->answers[i].prompt);
        token_ids_release(&r->answers[i].made);
        token_text_release(&r->answers[i].text);
        reader_close(&r->answers[i].reader);
    }
    free(r->answers);
    r->answers = NULL;
    r->n = 0;
}

static TitanStatus encode(Run *r, const Prompts *p, Passage *texts)
{
    for (size_t i = 0; i < p->count; i++) {
        Answer *a = &r->answers[i];
        TRY(reader_open(&a->reader, &r->voice));
        TRY(voice_encode(&r->voice, p->at[i], p->n[i], &a->prompt));
        texts[i] = (Passage){.prompt = a->prompt.at, .n = a->prompt.n};
    }
    return TITAN_OK;
}

static TitanStatus answer(Run *r, const Prompts *p)
{
    Passage *texts = calloc(p->count + 1, sizeof *texts);
    r->answers = calloc(p->count + 1, sizeof *r->answers);
    r->n = r->answers ? p->count : 0;
    r->streams = p->count == 1 && !r->json;
    TitanStatus st = texts && r->answers ? TITAN_OK : titan_no_memory(r->story);
    if (st == TITAN_OK) st = encode(r, p, texts);
    if (st == TITAN_OK)
        st =
            decoder_run(&r->decoder, texts, p->count, &r->choice, &r->listener);
    if (st == TITAN_OK) st = write_answers(r, p, texts);
    free_answers(r);
    free(texts);
    return st;
}

/* Each line that is typed is a prompt of its own. */
static TitanStatus answer_lines(Run *r)
{
    for (;;) {
        Prompts one = {0};
        bool more;
        fputs("> ", stderr);
        TitanStatus st = prompts_line(r->story, &one, &more);
        if (st == TITAN_OK && more && one.n[0] > 0) st = answer(r, &one);
        prompts_release(&one);
        if (st != TITAN_OK || !more) return st;
    }
}

static TitanStatus answer_all(Run *r, Prompts *p)
{
    if (p->count == 0) return answer_lines(r);
    TRY(answer(r, p));
    say_speed(r);
    return TITAN_OK;
}

static TitanStatus set_seed(Run *r, const TitanEntry *init)
{
    const TitanPort *p = titan_port(r->im, init, TITAN_ROLE_scalar, "seed");
    int64_t seed = r->choice.seed;
    if (!p) return TITAN_OK;
    return device_put(r->device, p, &seed, titan_dtype_bytes(p->dtype));
}

/* The newest checkpoint of DIR that is whole, or DIR itself. */
static TitanStatus load_checkpoint(Run *r, const char *dir)
{
    CheckpointOptions o = {.resume = dir,
                           .last = "full",
                           .dtype = "f32",
                           .failure = "stop",
                           .load_only = true,
                           .reads = true,
                           .quiet = true};
    Checkpoints c = {0};
    RunPoint at;
    bool found, ignores;
    TitanStatus st = checkpoint_open(r->story, r->im, r->device, &o, NULL, &c);
    if (st == TITAN_OK) st = checkpoint_resume(&c, &at, &found, &ignores);
    if (st == TITAN_OK) point_free(&at);
    TitanStatus closed = checkpoint_close(&c);
    return st == TITAN_OK ? closed : st;
}

static TitanStatus load_weights(Run *r)
{
    const OptionList *from = option_list(r->o, OPT_init_from);
    const ImportOptions import = {.from = from->at,
                                  .n = from->n,
                                  .exclude =
                                      option_text(r->o, OPT_init_exclude),
                                  .quiet = r->quiet};
    const char *steps = option_text(r->o, OPT_checkpoint);
    const TitanEntry *init = titan_entry(r->im, "init");
    TRY(weights_import_options(r->story, &import));
    if (import.n && steps)
        return titan_fail(r->story, TITAN_USAGE,
                          "--init-from and --checkpoint exclude each other");
    if (import.n || steps)
        TRY(weights_mean(r->story, r->im,
                         import.n ? "--init-from" : "--checkpoint"));
    if (!import.n && !steps && !r->quiet)
        fputs("no --init-from and no --checkpoint: the weights are the "
              "initial ones\n",
              stderr);
    if (init) {
        TRY(set_seed(r, init));
        TRY(titan_while(r->story, device_run(r->device, init),
                        "making initial values"));
    }
    if (steps) return load_checkpoint(r, steps);
    if (!import.n) return TITAN_OK;
    return weights_import(r->story, r->im, r->device, &import);
}

static TitanStatus run_all(Run *r, const TitanCode *code,
                           const DeviceOptions *device, Prompts *p)
{
    TRY(voice_open(&r->voice, r->story, option_text(r->o, OPT_tokenizer)));
    TRY(read_choice(r));
    TRY(prompts_read(r->story, r->o, p));
    TRY(device_new(r->story, r->im, code, device, &r->device));
    TRY(load_weights(r));
    TRY(decoder_open(&r->decoder, r->story, r->im, r->device));
    return answer_all(r, p);
}

TitanStatus titan_generate(TitanStory *s, const TitanImage *im,
                           const TitanCode *code, const DeviceOptions *device,
                           const Options *o)
{
    Run r = {.listener = {hear}, .story = s, .im = im, .o = o};
    Prompts p = {0};
    r.json = option_given(o, OPT_json);
    r.quiet = option_given(o, OPT_quiet);
    TitanStatus st = run_all(&r, code, device, &p);
    prompts_release(&p);
    decoder_close(&r.decoder);
    voice_close(&r.voice);
    device_free(r.device);
    return st;
}
