/* links: titan_passes */
/*
 * pipeline.c: schedules of pipelines: golden rows, every schedule complete and
 * free of circles, and broken ones refused with what is wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "passes/pipeline/cut.h"
#include "unit.h"

typedef struct World {
    Unit u;
    ScheduleAsk ask;
} World;

static void world_open(World *w, uint32_t ranks, uint32_t chunks,
                       uint32_t micros)
{
    unit_open(&w->u);
    w->ask = (ScheduleAsk){.arena = &w->u.arena,
                           .diag = &w->u.diag,
                           .ranks = ranks,
                           .chunks = chunks,
                           .micros = micros};
}

/* The first error's message, or what it begins with. */
static const char *first_error(World *w)
{
    ReportView v = {.message = "no error"};
    diag_next(&w->u.diag, NULL, &v);
    return v.message;
}

static const char *row_text(World *w, const Schedule *s, uint32_t rank)
{
    const char *text = "";
    for (uint32_t i = 0; i < s->rows[rank].n; i++) {
        Action x = s->rows[rank].at[i];
        text = arena_printf(&w->u.arena, "%s%s%s%s", text, i ? " " : "",
                            action_text(&w->u.arena, x), x.beside ? "|" : "");
    }
    return text;
}

static bool runs(World *w, const Schedule *s, Simulation *out)
{
    ActionCosts costs = costs_usual();
    *out = schedule_run(&w->u.arena, s, &costs);
    CommandList *lists = schedule_commands(&w->u.arena, s, out);
    return schedule_complete(&w->ask, s) &&
           commands_check(&w->ask, lists, s->ranks);
}

/* -------------------------------------------------------- golden schedules */

static const struct {
    const char *name;
    uint32_t ranks, chunks, micros, rank;
    const char *row;
} golden[] = {
    {"GPipe", 2, 1, 3, 1, "1F0 1F1 1F2 1B0 1B1 1B2"},
    {"1F1B", 2, 1, 3, 0, "0F0 0F1 0B0 0F2 0B1 0B2"},
    {"1F1B", 2, 1, 3, 1, "1F0 1B0 1F1 1B1 1F2 1B2"},
    {"Interleaved1F1B", 2, 2, 2, 0, "0F0 0F1 2F0 2F1 2B0 2B1 0B0 0B1"},
    {"Interleaved1F1B", 2, 2, 4, 1,
     "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3"},
    {"LoopedBFS", 2, 2, 2, 1, "1F0 1F1 3F0 3F1 3B1 3B0 1B1 1B0"},
    {"InterleavedZeroBubble", 2, 2, 2, 1,
     "1F0 1F1 3F0 3I0 3F1 3I1 3W0 1I0 3W1 1I1 1W0 1W1"},
    {"ZBVZeroBubble", 2, 2, 2, 0,
     "0F0 0F1 3F0 3I0 3W0 3F1 3I1 3W1 0I0 0W0 0I1 0W1"},
    {"DualPipeV", 2, 2, 4, 1,
     "1F0 2F0 1F1 2F1 1F2 2B0 2F2| 1B0 1F3| 2B1 2F3| 1B1 2B2 1B2 2I3 1I3 "
     "2W3 1W3"},
};

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        World w;
        ScheduleKind k;
        world_open(&w, golden[i].ranks, golden[i].chunks, golden[i].micros);
        assert_true(schedule_find(golden[i].name, &k));
        Schedule *s = schedule_make(&w.ask, k);
        assert_non_null(s);
        assert_string_equal(row_text(&w, s, golden[i].rank), golden[i].row);
        unit_close(&w.u);
    }
}

/* Every schedule that takes them: complete, and its ranks come to an end. */
static void test_all(void **state)
{
    (void)state;
    uint32_t made = 0;
    for (ScheduleKind k = 0; k < SCHEDULE_count; k++)
        for (uint32_t ranks = 1; ranks <= 8; ranks++)
            for (uint32_t micros = 1; micros <= 24; micros++)
                for (uint32_t chunks = schedule_chunks(k, false);
                     chunks <= schedule_chunks(k, true) && chunks <= 3;
                     chunks++) {
                    World w;
                    Simulation sim;
                    world_open(&w, ranks, chunks, micros);
                    Schedule *s = schedule_make(&w.ask, k);
                    if (s && !runs(&w, s, &sim))
                        fail_msg("%s %u %u %u: %s", schedule_name(k), ranks,
                                 chunks, micros, first_error(&w));
                    if (s) assert_int_equal(sim.stuck, 0);
                    made += s != NULL;
                    unit_close(&w.u);
                }
    assert_true(made > 1000);
}

/* The bubble is that of the papers: (s - 1) / (s - 1 + m) for GPipe and 1F1B,
 * which holds fewer microbatches. */
static void test_bubble(void **state)
{
    (void)state;
    static const struct {
        ScheduleKind kind;
        uint32_t ranks, chunks, micros;
        double bubble;
        uint32_t held;
    } cases[] = {{SCHEDULE_gpipe, 4, 1, 8, 3.0 / 11, 8},
                 {SCHEDULE_1f1b, 4, 1, 8, 3.0 / 11, 4},
                 {SCHEDULE_interleaved, 4, 2, 8, 1.5 / 9.5, 11},
                 {SCHEDULE_zbv, 4, 2, 8, 3.0 / 51, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        World w;
        Simulation sim;
        world_open(&w, cases[i].ranks, cases[i].chunks, cases[i].micros);
        Schedule *s = schedule_make(&w.ask, cases[i].kind);
        assert_true(runs(&w, s, &sim));
        assert_float_equal(sim.bubble, cases[i].bubble, 1e-12);
        assert_int_equal(sim.held[0], cases[i].held);
        unit_close(&w.u);
    }
}

/* Layers go round as evenly as they can with what is around them. */
static void test_split(void **state)
{
    (void)state;
    static const struct {
        int64_t layers, first, last;
        uint32_t stages;
        int64_t have[8];
        const char *message;
    } cases[] = {{8, 1, 1, 4, {2, 3, 2, 1}, NULL},
                 {6, 1, 1, 4, {1, 2, 2, 1}, NULL},
                 {32, 1, 1, 8, {4, 5, 4, 4, 4, 4, 4, 3}, NULL},
                 {4, 0, 0, 4, {1, 1, 1, 1}, NULL},
                 {5, 0, 0, 1, {5}, NULL},
                 {2,
                  1,
                  1,
                  5,
                  {0},
                  "5 stages, but 2 layers, with what stands before and "
                  "behind them 4"},
                 {6, 3, 0, 4, {0, 2, 2, 2}, NULL},
                 {6,
                  4,
                  0,
                  4,
                  {0},
                  "what stands before the layers counts as 1 layers "
                  "more than stage 0 has room for"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        World w;
        world_open(&w, cases[i].stages, 1, 1);
        const int64_t *have =
            layers_split(&w.ask, cases[i].layers, cases[i].stages,
                         cases[i].first, cases[i].last);
        assert_int_equal(have == NULL, cases[i].message != NULL);
        if (!have) assert_string_equal(first_error(&w), cases[i].message);
        for (uint32_t k = 0; have && k < cases[i].stages; k++)
            assert_int_equal(have[k], cases[i].have[k]);
        unit_close(&w.u);
    }
}

/* What a schedule does not take is said with the numbers. */
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        ScheduleKind kind;
        uint32_t ranks, chunks, micros;
        const char *message;
    } cases[] = {
        {SCHEDULE_gpipe, 2, 1, 0, "a pipeline runs no microbatch"},
        {SCHEDULE_1f1b, 4, 1, 3,
         "1f1b needs as many microbatches as stages: there are 3 "
         "microbatches, 4 stages"},
        {SCHEDULE_interleaved, 2, 2, 5,
         "interleaved_1f1b runs microbatches in 2 equal rounds: 5 do not "
         "divide by 2"},
        {SCHEDULE_gpipe, 2, 2, 4,
         "gpipe has 1 stage a rank, the plan asks for chunks 2"},
        {SCHEDULE_zbv, 2, 1, 4,
         "zbv_zero_bubble has 2 stages a rank, the plan asks for chunks 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        World w;
        world_open(&w, cases[i].ranks, cases[i].chunks, cases[i].micros);
        Schedule *s = schedule_make(&w.ask, cases[i].kind);
        assert_null(s);
        assert_string_equal(first_error(&w), cases[i].message);
        unit_close(&w.u);
    }
}

/* ----------------------------------------------------------------- files -- */

static Schedule *read_text(World *w, const char *text)
{
    w->ask.at.file = diag_add_source(&w->u.diag, "s.csv", text, strlen(text));
    return schedule_read(&w->ask, text);
}

/* A file gives what the generator makes; a rank's stages are its row's. */
static void test_file(void **state)
{
    (void)state;
    World w;
    Simulation sim;
    world_open(&w, 2, 2, 2);
    Schedule *s =
        read_text(&w, "0F0,0F1,2F0,2F1,,2I0,2W0,2B1,0B0,0B1\r\n"
                      "1F0,1F1,3F0,3B0,(3F1;1B0)OVERLAP_F_B, 3B1,1B1\n");
    assert_non_null(s);
    assert_int_equal(s->stages, 4);
    assert_int_equal(s->owner[3], 1);
    assert_string_equal(row_text(&w, s, 1), "1F0 1F1 3F0 3B0 3F1| 1B0 3B1 1B1");
    assert_true(runs(&w, s, &sim));
    unit_close(&w.u);
}

static void test_file_broken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        uint32_t line, column;
    } cases[] = {
        {"0F0,0B0\n1F0,1X0\n", "expected an action, found '1X0'", 2, 5},
        {"0F0,SEND_F\n1F0\n", "expected an action, found 'SEND_F'", 1, 5},
        {"0F0,0SEND_F\n1F0\n", "expected an action, found '0SEND_F'", 1, 5},
        {"0F0,0UNSHARD1\n1F0\n", "the cell goes on behind its action", 1, 5},
        {"0F0,0B0\n1F0,1B0,2RESHARD\n",
         "a cell is of stage 2, which has no action", 2, 9},
        {"0UNSHARD,0F0,0B0\n1F0,1B0,3RESHARD,2RESHARD\n",
         "a cell is of stage 3, which has no action", 2, 9},
        {"", "the schedule has 0 rows, the pipeline 2 ranks", 0, 0},
        {"0F0,F0,0B0\n1F0,1B0\n", "expected an action, found 'F0'", 1, 5},
        {"0F0,(0F1;1B0),0B0\n1F0\n", "expected two actions side by side", 1, 5},
        {"0F0 0B0\n1F0,1B0\n", "the cell goes on behind its action", 1, 1},
        {"0F99999999,0B0\n1F0\n", "a number above 1048576", 1, 3},
        {"0F0,0B0\n", "the schedule has 1 rows, the pipeline 2 ranks", 0, 0},
        {"0F0,0F1,0B0,0B1\n1F0,1B0\n",
         "the schedule has 2 microbatches, the step 1", 0, 0},
        {"0F0,0B0\n1F0\n",
         "the backward of microbatch 0 by stage 1 ('1B0') is missing", 2, 1},
        {"0F0,0I0\n1F0,1B0\n",
         "the backward for its weights of microbatch 0 by stage 0 ('0W0') is "
         "missing",
         1, 5},
        {"0F0,0B0\n1F0,1B0,0F0\n",
         "the forward of microbatch 0 by stage 0 ('0F0') is not on the rank "
         "of its stage",
         2, 9},
        {"0F0,0B0,0B0\n1F0,1B0\n",
         "the backward of microbatch 0 by stage 0 ('0B0') is done twice", 1, 9},
        {"0F0,0B0\n1B0,1F0\n",
         "the backward of microbatch 0 by stage 1 ('1B0') comes before its "
         "forward",
         2, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        World w;
        world_open(&w, 2, 1, 1);
        assert_null(read_text(&w, cases[i].text));
        assert_string_equal(first_error(&w), cases[i].message);
        ReportView v;
        diag_next(&w.u.diag, NULL, &v);
        if (cases[i].line) {
            Place p = diag_place(&w.u.diag, v.at);
            assert_int_equal(p.line, cases[i].line);
            assert_int_equal(p.column, cases[i].column);
        }
        unit_close(&w.u);
    }
}

/* -------------------------------------------------------------- deadlock -- */

/* Cells of other tools' files, which are the compiler's, are not read. */
static void test_file_lowered(void **state)
{
    (void)state;
    World w;
    world_open(&w, 2, 1, 1);
    Schedule *s = read_text(&w, "0UNSHARD,0F0,0SEND_F0,0RECV_B0,0B0,"
                                "0REDUCE_GRAD,0RESHARD\n"
                                "1RECV_F0,1F0,1B0,1SEND_B0\n");
    assert_non_null(s);
    assert_string_equal(row_text(&w, s, 0), "0F0 0B0");
    assert_string_equal(row_text(&w, s, 1), "1F0 1B0");
    assert_string_equal(first_error(&w),
                        "7 cells that send, gather or reduce are not read");
    unit_close(&w.u);
}

/* What is printed of a schedule whose commands do not end. */
static const char *refusal(World *w, const CommandList *lists, uint32_t n)
{
    Buf b = {0};
    assert_false(commands_check(&w->ask, lists, n));
    diag_render(&w->u.diag, DIAG_TEXT, &b);
    const char *text = arena_strdup(&w->u.arena, b.at);
    buf_release(&b);
    return text;
}

static void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static CommandList *lists_of(World *w, const char *file)
{
    Schedule *s = read_text(w, file);
    assert_non_null(s);
    ActionCosts costs = costs_usual();
    Simulation sim = schedule_run(&w->u.arena, s, &costs);
    return schedule_commands(&w->u.arena, s, &sim);
}

static const char two[] = "0F0,0F1,0B0,0B1\n1F0,1F1,1B0,1B1\n";

static Command *command_of(CommandList *l, CommandKind kind, uint32_t micro)
{
    for (uint32_t i = 0; i < l->rows.n; i++)
        if (l->rows.at[i].kind == kind && l->rows.at[i].action.micro == micro)
            return &l->rows.at[i];
    fail_msg("no such command");
    return NULL;
}

/* Actions in an order that no speed of any rank makes possible. */
static void test_circle(void **state)
{
    (void)state;
    World w;
    world_open(&w, 2, 2, 1);
    CommandList *l = lists_of(&w, "2F0,0F0,2B0,0B0\n1F0,3F0,3B0,1B0\n");
    const char *text = refusal(&w, l, 2);
    assert_says(text, "the ranks of the pipeline wait for one another "
                      "[pipeline-deadlock]");
    assert_says(text, "rank 0: the forward of microbatch 0 by stage 0 comes "
                      "behind the activations of microbatch 0 from stage 2 to "
                      "stage 3");
    assert_says(text, "rank 1: the activations of microbatch 0 from stage 1 to "
                      "stage 2 comes behind the forward of microbatch 0 by "
                      "stage 1");
    unit_close(&w.u);
}

/* Two transfers that one side sends in another order than the other takes. */
static void test_swapped(void **state)
{
    (void)state;
    World w;
    world_open(&w, 2, 1, 2);
    CommandList *l = lists_of(&w, two);
    Command *a = command_of(&l[1], COMMAND_receive, 0);
    Command *b = command_of(&l[1], COMMAND_receive, 1);
    Command c = *a;
    *a = *b;
    *b = c;
    assert_says(refusal(&w, l, 2),
                "rank 1: the activations of microbatch 0 from stage 0 to stage "
                "1 comes behind");
    unit_close(&w.u);
}

/* A transfer that nobody receives. */
static void test_unmatched(void **state)
{
    (void)state;
    World w;
    world_open(&w, 2, 1, 2);
    CommandList *l = lists_of(&w, two);
    Command *a = command_of(&l[1], COMMAND_receive, 1);
    memmove(a, a + 1, (size_t)(&l[1].rows.at[l[1].rows.n] - a - 1) * sizeof *a);
    l[1].rows.n--;
    assert_says(refusal(&w, l, 2), "the activations of microbatch 1 from stage "
                                   "0 to stage 1 are sent and never received");
    unit_close(&w.u);
}

/* Both directions on one channel, each rank sending before it receives. */
static void test_shared_channel(void **state)
{
    (void)state;
    World w;
    world_open(&w, 2, 1, 1);
    Action f = {.kind = ACTION_forward},
           b = {.kind = ACTION_backward, .stage = 1};
    Command lists[2][2] = {
        {{.kind = COMMAND_send,
          .peer = 1,
          .tag = 1,
          .action = f,
          .to_stage = 1},
         {.kind = COMMAND_receive, .peer = 1, .tag = 2, .action = b}},
        {{.kind = COMMAND_send, .peer = 0, .tag = 2, .action = b},
         {.kind = COMMAND_receive,
          .peer = 0,
          .tag = 1,
          .action = f,
          .to_stage = 1}}};
    CommandList l[2] = {{.rows = {lists[0], 2, 2}}, {.rows = {lists[1], 2, 2}}};
    const char *text = refusal(&w, l, 2);
    assert_says(text, "rank 0: the gradients of microbatch 0 from stage 1 to "
                      "stage 0 comes behind the activations of microbatch 0 "
                      "from stage 0 to stage 1");
    assert_says(text, "rank 1: the activations of microbatch 0 from stage 0 to "
                      "stage 1 comes behind the gradients");
    unit_close(&w.u);
}

/* Two groups on streams of their own, launched in two orders. */
static void test_launch_order(void **state)
{
    (void)state;
    World w;
    world_open(&w, 2, 1, 1);
    Command gather = {.kind = COMMAND_together,
                      .stream = 1,
                      .channel = 1,
                      .tag = 1,
                      .text = "the gather of wq"};
    Command reduce = {.kind = COMMAND_together,
                      .stream = 2,
                      .channel = 2,
                      .tag = 2,
                      .text = "the reduction of wo"};
    Command lists[2][2] = {{gather, reduce}, {reduce, gather}};
    CommandList l[2] = {{.rows = {lists[0], 2, 2}}, {.rows = {lists[1], 2, 2}}};
    const char *text = refusal(&w, l, 2);
    assert_says(text, "rank 0: the reduction of wo comes behind the gather of "
                      "wq");
    assert_says(text, "rank 1: the gather of wq comes behind the reduction of "
                      "wo");
    lists[1][0] = gather;
    lists[1][1] = reduce;
    assert_true(commands_check(&w.ask, l, 2));
    unit_close(&w.u);
}

/* Rank functions as they are written: each sends before it receives, which ends
 * only where a send need not wait. */
static void test_rank_functions(void **state)
{
    (void)state;
    static const char text[] =
        "axes (d = 2)\n"
        "fn global @f.rank0(%x : f32[d]) -> f32[d] kind rank {\n"
        "  send %x peer 1 channel 0\n"
        "  %y : f32[d] = recv peer 1 channel 1\n"
        "  ret %y\n"
        "}\n"
        "fn global @f.rank1(%a : f32[d]) -> f32[d] kind rank {\n"
        "  send %a peer 0 channel 1\n"
        "  %b : f32[d] = recv peer 0 channel 0\n"
        "  ret %b\n"
        "}\n";
    World w;
    world_open(&w, 2, 1, 1);
    assert_true(unit_parse(&w.u, "ranks.tir", text, strlen(text)));
    assert_false(lists_check(&w.ask, &w.u.m, w.u.m.fns.at, 2));
    Buf b = {0};
    diag_render(&w.u.diag, DIAG_TEXT, &b);
    assert_says(b.at, "rank 0: 'y', message 0 from rank 1 to rank 0 on channel "
                      "1, comes behind 'x', message 0 from rank 0 to rank 1 on "
                      "channel 0,");
    assert_says(b.at, "rank 1: ");
    buf_release(&b);
    unit_close(&w.u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_all),
                                       cmocka_unit_test(test_bubble),
                                       cmocka_unit_test(test_split),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_file),
                                       cmocka_unit_test(test_file_broken),
                                       cmocka_unit_test(test_file_lowered),
                                       cmocka_unit_test(test_circle),
                                       cmocka_unit_test(test_swapped),
                                       cmocka_unit_test(test_unmatched),
                                       cmocka_unit_test(test_shared_channel),
                                       cmocka_unit_test(test_launch_order),
                                       cmocka_unit_test(test_rank_functions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
