/* links: titan_runtime */
/*
 * The rules of streams and events in an image: which lists its reader takes.
 *
 * A list is written in short: `k1` is a kernel on stream 1, `s1a` signals event
 * a on stream 1, `w0a` waits for it on stream 0; ( ) is a loop, [ ] a loop
 * with a condition, | another segment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "runtime/streams.h"

enum { MOST = 64, EVENTS = 3, STREAMS = 3 };

typedef struct List {
    TitanRun runs[MOST];
    TitanProgram programs[MOST];
    TitanCommand commands[MOST];
    uint32_t nruns, nprograms, ncommands;
} List;

/* Each command is a program of its own. */
static const char *add_command(List *l, const char *at)
{
    TitanCommand c = {.kind = *at == 's'   ? TITAN_COMMAND_signal
                              : *at == 'w' ? TITAN_COMMAND_wait
                                           : TITAN_COMMAND_kernel,
                      .stream = (uint32_t)(at[1] - '0')};
    if (*at != 'k') c.index = (uint32_t)(at[2] - 'a');
    l->programs[l->nprograms].commands = (TitanRange){l->ncommands, 1};
    l->runs[l->nruns++] = (TitanRun){.program = l->nprograms++};
    l->commands[l->ncommands++] = c;
    return at + (*at == 'k' ? 2 : 3);
}

static void read_list(List *l, const char *text)
{
    *l = (List){.nruns = 0};
    while (*text) {
        TitanRun *r = &l->runs[l->nruns];
        if (strchr("skw", *text)) {
            text = add_command(l, text);
            continue;
        }
        if (*text == '(' || *text == '[') r->kind = TITAN_RUN_loop;
        if (*text == '[') r->flags = TITAN_LOOP_while;
        if (*text == ')' || *text == ']') r->kind = TITAN_RUN_end;
        if (*text == '|') r->kind = TITAN_RUN_segment;
        l->nruns += *text++ != ' ';
    }
}

static void check(const char *text, const char *fault)
{
    static List l;
    read_list(&l, text);
    TitanHeader h = {.streams = STREAMS, .events = EVENTS};
    TitanEntry e = {.runs = {0, l.nruns}};
    TitanImage im = {.header = &h,
                     .entries = &e,
                     .nentries = 1,
                     .runs = l.runs,
                     .nruns = l.nruns,
                     .programs = l.programs,
                     .nprograms = l.nprograms,
                     .commands = l.commands,
                     .ncommands = MOST};
    TitanStory story = {0};
    TitanStatus st = streams_check(&story, &im);
    if ((st != TITAN_OK) != (fault != NULL) ||
        (fault && !strstr(story.line[0], fault)))
        fail_msg("'%s': %s", text, st == TITAN_OK ? "taken" : story.line[0]);
}

static void takes_what_can_be_captured(void **state)
{
    (void)state;
    check("k0 k0 | k0 (k0 k0)", NULL);
    check("k0 s0a w1a k1 s1b k0 w0b k0", NULL);
    /* a stream that another side stream began */
    check("s0a w1a k1 s1b w2b k2 s2c s1a w0c w0a", NULL);
    check("s0a w1a k1 s1b w2b k2 s2c w0c", NULL);
    /* side work beside a loop that forks in each turn */
    check("s0a w1a k1 s1b (k0 s0a w2a k2 s2c w0c) w0b", NULL);
    check("[s0a w1a k1 s1b w0b] s0a w1a k1 s1b w0b", NULL);
}

static void refuses_the_rest(void **state)
{
    (void)state;
    check("k0 k1", "does not begin with a wait");
    check("s0a w1a k1", "goes on over a host point");
    check("s0a w1a k1 s1b k1 w0b", "goes on over a host point");
    check("s0a w1a k1 s1b | w0b", "goes on over a host point");
    check("s0a [k0 w0a]", "not signalled");
    check("s0a | w1a s1b w0b", "not signalled");
    check("w0a s0a", "not signalled");
    check("s0a w1a k1 s1b [k0] w0b", "goes on over a host point");
    check("s0a w1a k1 s1b w2b k1 k2 s2c w0c", "goes on over a host point");
    check("[s0a w1a k1] k0", "goes on over a host point");
    /* the signal that the first turn waits for is an old one */
    check("s0a w1a s1b (w0b k1 s1b)", "goes on over a host point");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_can_be_captured),
        cmocka_unit_test(refuses_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
