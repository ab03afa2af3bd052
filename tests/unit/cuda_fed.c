/* links: titan_runtime fake_cuda fake_cublaslt fake_nccl fake_cupti
 *
 * Products that feed sums to parts, and exchanges: on processes with the fake
 * driver, and on threads of one, groups of some ranks and of all, sums that
 * follow each other through one inbox, and products that add to what lies
 * there, in one step and in two, walked, captured, profiled and looked at
 * command by command.  The bits are those of whole products that engines sum.
 * Behind them a product in parts begins with the rows that a rank has gathered
 * itself, out of where they were made or of what is gathered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/cuda_profile.h"
#include "runtime/transport.h"

enum { RANKS = 4, F32 = 1, STREAMS = 2, PAGE = 4096, TURNS = 3 };
enum { M = 8, N = 5, K = 3, SUMS = 7, EACH = 6, GROUPS = 2 };
enum { HALF = M / 2, GATHER = SUMS * EACH, PARTED = 7 /* commands */ };
enum { PLACE = 64, PLACE_BYTES = PLACE * sizeof(float) };
enum { PAGES = 4 * PAGE };                        /* of an arena */
typedef enum Part { A, B, D, C, TO, PARTS } Part; /* of a sum, a place each */
typedef enum Way { WALKED, CAPTURED, PROFILED, LOOKED_AT, WHOLE, WAYS } Way;

/* Rank = 2 * dp + tp. */
static const TitanMeshAxis mesh[] = {{.size = 2}, {.size = 2}};
static const TitanLevel levels[] = {{1}, {0}, {1}};
static const TitanGroup groups[GROUPS] = {{.levels = {0, 1}},
                                          {.levels = {1, 2}}};
static const uint32_t of_group[SUMS] = {0, 1, 0, 0, 1, 0, 0};
static const uint32_t adds[SUMS] = {
    0, TITAN_GEMM_add_d, TITAN_GEMM_add_c, 0, 0, TITAN_GEMM_add_d, 0};

typedef struct Shared {
    float sums[WAYS][RANKS][SUMS][PLACE];
    float products[WAYS][RANKS][SUMS][PLACE];
    float parted[WAYS][RANKS][PLACE];
    char pages[RANKS][PAGE];
} Shared;

typedef struct World {
    TitanHeader header;
    TitanStage stage;
    TitanEntry entry;
    TitanRun run;
    TitanProgram program;
    TitanCommand commands[GATHER + PARTED];
    /* A B D C, then TO and D; of two parts A B D, then all and a piece */
    TitanOperand operands[SUMS + 2][PARTS + 1];
    TitanGemm gemms[SUMS + 1];
    TitanCollective sums[SUMS + 1];
    TitanImage im;
    Shared *shared;
    Board *board;
    Hall *hall;
} World;

static uint32_t members(uint32_t sum)
{
    return of_group[sum] == 0 ? 2 : RANKS;
}

/* A product, its signal, the sum behind it on stream 1 and what waits. */
static void make_sum(World *w, uint32_t i)
{
    TitanCommand *c = &w->commands[EACH * i];
    for (uint32_t p = 0; p < PARTS + 1; p++)
        w->operands[i][p].base = TITAN_BASE_frame;
    for (uint32_t p = 0; p < PARTS; p++)
        w->operands[i][p].offset = (i * PARTS + p) * PLACE_BYTES;
    w->operands[i][PARTS].offset = w->operands[i][D].offset;
    w->gemms[i] = (TitanGemm){.dtype_a = F32,
                              .dtype_b = F32,
                              .dtype_d = F32,
                              .acc = F32,
                              .m = M,
                              .n = N,
                              .k = K,
                              .a_row = K,
                              .a_col = 1,
                              .b_row = N,
                              .b_col = 1,
                              .d_row = N,
                              .d_col = 1,
                              .accumulate = adds[i]};
    w->sums[i] = (TitanCollective){.kind = TITAN_COLLECTIVE_all_to_all,
                                   .dtype = F32,
                                   .group = of_group[i],
                                   .count = M * N / members(i),
                                   .steps = 1 + i % 2};
    c[0] = (TitanCommand){.kind = TITAN_COMMAND_gemm,
                          .index = i,
                          .operands = {(PARTS + 1) * i, 4}};
    c[1] = (TitanCommand){.kind = TITAN_COMMAND_signal, .index = 2 * i};
    c[2] =
        (TitanCommand){.kind = TITAN_COMMAND_wait, .index = 2 * i, .stream = 1};
    c[3] = (TitanCommand){.kind = TITAN_COMMAND_collective,
                          .index = i,
                          .operands = {(PARTS + 1) * i + TO, 2},
                          .stream = 1,
                          .fed = EACH * i + 1};
    c[4] = (TitanCommand){
        .kind = TITAN_COMMAND_signal, .index = 2 * i + 1, .stream = 1};
    c[5] = (TitanCommand){.kind = TITAN_COMMAND_wait, .index = 2 * i + 1};
}

static TitanOperand place(uint32_t sum, uint32_t p, uint32_t floats)
{
    return (TitanOperand){.base = TITAN_BASE_frame,
                          .offset = (sum * PARTS + p) * PLACE_BYTES +
                                    floats * sizeof(float)};
}

/* Pieces at TO are gathered at C, for two parts of a product. */
static void make_parts(World *w)
{
    TitanCommand *c = &w->commands[GATHER];
    w->gemms[SUMS] = w->gemms[0];
    w->gemms[SUMS].m = HALF;
    w->sums[SUMS] = (TitanCollective){
        .kind = TITAN_COLLECTIVE_all_gather, .dtype = F32, .count = HALF * K};
    for (uint32_t i = 0; i < 2; i++) {
        TitanOperand *o = w->operands[SUMS + i];
        o[0] = place(SUMS, C, i * HALF * K);
        o[1] = place(SUMS, B, 0);
        o[2] = place(SUMS, D, i * HALF * N);
        c[5 + i] = (TitanCommand){.kind = TITAN_COMMAND_gemm,
                                  .index = SUMS,
                                  .operands = {(PARTS + 1) * (SUMS + i), 3},
                                  .fed = GATHER + 3};
    }
    w->operands[SUMS][3] = place(SUMS, C, 0);
    w->operands[SUMS][4] = place(SUMS, TO, 0);
    c[0] = (TitanCommand){.kind = TITAN_COMMAND_signal, .index = 2 * SUMS};
    c[1] = (TitanCommand){
        .kind = TITAN_COMMAND_wait, .index = 2 * SUMS, .stream = 1};
    c[2] = (TitanCommand){.kind = TITAN_COMMAND_collective,
                          .index = SUMS,
                          .operands = {(PARTS + 1) * SUMS + 3, 2},
                          .stream = 1,
                          .stays = 1};
    c[3] = (TitanCommand){
        .kind = TITAN_COMMAND_signal, .index = 2 * SUMS + 1, .stream = 1};
    c[4] = (TitanCommand){.kind = TITAN_COMMAND_wait, .index = 2 * SUMS + 1};
}

/* An image has its rows where its world has them. */
static void name_rows(World *w)
{
    w->im = (TitanImage){.header = &w->header,
                         .stages = &w->stage,
                         .nstages = 1,
                         .entries = &w->entry,
                         .nentries = 1,
                         .runs = &w->run,
                         .programs = &w->program,
                         .mesh = mesh,
                         .nmesh = 2,
                         .groups = groups,
                         .ngroups = GROUPS,
                         .levels = levels,
                         .nlevels = 3,
                         .collectives = w->sums,
                         .ncollectives = SUMS + 1,
                         .gemms = w->gemms,
                         .ngemms = SUMS + 1,
                         .operands = w->operands[0],
                         .noperands = (SUMS + 2) * (PARTS + 1),
                         .commands = w->commands,
                         .ncommands = GATHER + PARTED,
                         .strings = ""};
}

static void open_world(World *w)
{
    TitanStory s = {0};
    w->header = (TitanHeader){
        .ranks = RANKS, .streams = STREAMS, .events = 2 * SUMS + 2};
    w->stage.arena_bytes = (SUMS + 1) * PARTS * PLACE_BYTES;
    w->stage.base_bytes[TITAN_BASE_frame] = w->stage.arena_bytes;
    w->entry.runs.n = 1;
    w->program.commands = (TitanRange){0, GATHER + PARTED};
    for (uint32_t i = 0; i < SUMS; i++)
        make_sum(w, i);
    make_parts(w);
    w->shared = board_memory(sizeof *w->shared);
    w->board = board_new(RANKS);
    assert_non_null(w->shared);
    name_rows(w);
    assert_int_equal(hall_new(&s, &w->im, w->board, &w->hall), TITAN_OK);
}

static void close_world(World *w)
{
    hall_free(w->hall);
    board_free(w->board);
    munmap(w->shared, sizeof *w->shared);
}

/* ----------------------------------------------------------------- ranks -- */

static float given(uint32_t rank, uint32_t place, uint32_t i)
{
    return 0.37f * (float)((rank * 101 + place * 17 + i * 29) % 64) - 9.1f;
}

static float *at(const Cuda *c, uint32_t sum, Part p)
{
    return (float *)(uintptr_t)(c->arena +
                                (sum * PARTS + (uint32_t)p) * PLACE_BYTES);
}

static void fill(const Cuda *c)
{
    float *all = at(c, 0, A);
    for (uint32_t i = 0; i < (SUMS + 1) * PARTS * PLACE; i++)
        all[i] = given(c->rank.rank, i / PLACE, i % PLACE);
}

static TitanStatus look(TitanWatch *w, const TitanMoment *m)
{
    (void)w, (void)m;
    return TITAN_OK;
}

static TitanStatus go(const World *w, Cuda *c, Way way, CudaPlan *plan)
{
    TitanWatch watch = {.after = look};
    fill(c);
    if (way == CAPTURED) return cuda_replay(c, plan);
    if (way == PROFILED) return cuda_profile(&c->device, &w->entry);
    if (way == LOOKED_AT) return cuda_watch(&c->device, &w->entry, 1, &watch);
    return cuda_walk(c, &w->entry, NULL);
}

static TitanStatus turn(const World *w, Cuda *c, Way way, CudaPlan *plan)
{
    bool captured = way == CAPTURED || way == PROFILED;
    TRY(go(w, c, way, plan));
    for (uint32_t i = 0; i < STREAMS; i++) {
        if (!captured) TRY(cuda_beside_join(c, i));
        TRY(cuda_wait_stream(c, c->streams[i]));
    }
    for (uint32_t i = 0; i < SUMS; i++) {
        memcpy(w->shared->sums[way][c->rank.rank][i], at(c, i, TO),
               PLACE_BYTES);
        memcpy(w->shared->products[way][c->rank.rank][i], at(c, i, D),
               PLACE_BYTES);
    }
    memcpy(w->shared->parted[way][c->rank.rank], at(c, SUMS, D), PLACE_BYTES);
    return TITAN_OK;
}

/* Without what feeds them the sums are brought by engines. */
static TitanStatus turn_whole(World *w, Cuda *c)
{
    for (uint32_t i = 0; i < SUMS; i++)
        w->commands[EACH * i + 3].fed = 0;
    w->commands[GATHER + 5].fed = w->commands[GATHER + 6].fed = 0;
    return turn(w, c, WHOLE, NULL);
}

static TitanStatus open_rank(const World *w, Cuda *c)
{
    TRY(cu_open(c->story, &c->cu));
    CU_TRY(c, cuInit(0));
    c->gpu = c->rank.threads ? (CuDevice)c->rank.rank : 0;
    CU_TRY(c, cuDevicePrimaryCtxRetain(&c->context, c->gpu));
    CU_TRY(c, cuCtxSetCurrent(c->context));
    for (uint32_t i = 0; i < STREAMS; i++)
        CU_TRY(c, cuStreamCreate(&c->streams[i], 0));
    c->stream = c->streams[0];
    c->events = calloc(w->header.events, sizeof *c->events);
    for (uint32_t i = 0; i < w->header.events; i++)
        CU_TRY(c, cuEventCreate(&c->events[i], 0));
    TRY(cuda_ranks_begin(c));
    TRY(cuda_shared_alloc(c, PAGES, &c->whole));
    c->arena = c->whole.at;
    c->base[TITAN_BASE_frame] = c->workspace[0] = c->arena;
    TRY(cuda_gemm_open(c));
    TRY(cuda_ranks_open(c));
    for (uint32_t g = 0; g < GROUPS; g++)
        if (!cuda_peers_groups(c)[g]) return TITAN_INTERNAL;
    return TITAN_OK;
}

/* An exchange has the copies that are made while its product is, and is one
 * launch; a copy lasts a tenth of a millisecond. */
static bool is_timed(const World *w, const Cuda *c, uint32_t sum)
{
    const CudaProfile *p = c->profile;
    uint32_t copies = (members(sum) - 1) * w->sums[sum].steps, found = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        const Launch *l = &p->launches[i];
        if (l->command != &w->commands[EACH * sum + 3]) continue;
        if (!l->own.there || l->own.ms < 0.1 * copies - 1e-9) return false;
        found++;
    }
    return found == 1;
}

static TitanStatus check_profile(const World *w, Cuda *c)
{
    TRY(cuda_profile_settle(c));
    if (!c->profile->cupti) return TITAN_INTERNAL;
    for (uint32_t i = 0; i < SUMS; i++)
        if (!is_timed(w, c, i)) return TITAN_INTERNAL;
    cuda_profile_free(c);
    return TITAN_OK;
}

static TitanStatus run(World *w, Cuda *c)
{
    CudaPlan plan;
    TRY(open_rank(w, c));
    for (uint32_t i = 0; i < TURNS; i++) {
        w->commands[GATHER + 2].stays = (i + 1) % 2;
        TRY(turn(w, c, WALKED, NULL));
    }
    TRY(cuda_capture(c, &w->entry, NULL, &plan));
    for (int i = 0; i < TURNS; i++)
        TRY(turn(w, c, CAPTURED, &plan));
    for (int i = 0; i < 2; i++)
        TRY(turn(w, c, PROFILED, NULL));
    TRY(check_profile(w, c));
    TRY(turn(w, c, LOOKED_AT, NULL));
    TRY(turn(w, c, CAPTURED, &plan));
    TRY(turn(w, c, WALKED, NULL));
    cuda_plan_release(c, &plan);
    TRY(turn_whole(w, c));
    cuda_gemm_close(c);
    cuda_ranks_close(c);
    cuda_shared_free(c, &c->whole);
    return TITAN_OK;
}

/* A rank, of which there are several in this process, or it alone. */
static int play(World *w, uint32_t rank, bool threads)
{
    TitanStory story = {0};
    BoardWait wait = {.board = w->board, .rank = rank};
    Cuda c = {.story = &story,
              .im = &w->im,
              .options = {.board = w->board},
              .rank = {.rank = rank,
                       .threads = threads,
                       .arena = w->shared->pages[rank]}};
    TitanStatus st = hall_transport(&story, w->hall, &wait, &c.rank.transport);
    if (st == TITAN_OK) st = run(w, &c);
    if (st != TITAN_OK) titan_story_print(&story, "rank");
    return st;
}

/* With an image of its own, which it changes. */
typedef struct Thread {
    World w;
    uint32_t rank;
    int status;
} Thread;

static void *play_thread(void *user)
{
    Thread *t = user;
    name_rows(&t->w);
    t->status = play(&t->w, t->rank, true);
    return NULL;
}

static int play_threads(const World *w)
{
    static Thread ranks[RANKS];
    pthread_t threads[RANKS];
    int status = 0;
    setenv("FAKE_GPUS", "4", 1);
    for (uint32_t r = 0; r < RANKS; r++) {
        ranks[r] = (Thread){.w = *w, .rank = r};
        pthread_create(&threads[r], NULL, play_thread, &ranks[r]);
    }
    for (uint32_t r = 0; r < RANKS; r++) {
        pthread_join(threads[r], NULL);
        status |= ranks[r].status;
    }
    return status;
}

static int play_process(World *w, uint32_t rank)
{
    setenv("FAKE_GPUS", "1", 1);
    return play(w, rank, false);
}

static void play_all(World *w, bool threads)
{
    pid_t pids[RANKS];
    int status;
    uint32_t n = threads ? 1 : RANKS;
    for (uint32_t r = 0; r < n; r++) {
        pids[r] = fork();
        if (pids[r] == 0) _exit(threads ? play_threads(w) : play_process(w, r));
    }
    for (uint32_t r = 0; r < n; r++) {
        assert_int_equal(waitpid(pids[r], &status, 0), pids[r]);
        assert_int_equal(status, 0);
    }
}

/* ----------------------------------------------------------------- tests -- */

/* Of an exchange a member's own rows are made where they stay. */
static void check_products(const World *w, uint32_t rank, uint32_t sum)
{
    uint32_t part = M * N / members(sum);
    uint32_t me = of_group[sum] == 0 ? rank % 2 : rank;
    for (uint32_t i = 0; i < M * N; i++) {
        float made = w->shared->products[WHOLE][rank][sum][i];
        if (i / part == me) continue;
        for (int way = 0; way < WHOLE; way++)
            assert_true(w->shared->products[way][rank][sum][i] == made);
        assert_true(made != given(rank, sum * PARTS + D, i));
    }
}

static void check_ways(bool threads)
{
    World w = {0};
    open_world(&w);
    play_all(&w, threads);
    for (uint32_t r = 0; r < RANKS; r++)
        for (int way = 0; way < WHOLE; way++)
            assert_memory_equal(w.shared->parted[way][r],
                                w.shared->parted[WHOLE][r], PLACE_BYTES);
    for (uint32_t r = 0; r < RANKS; r++)
        for (uint32_t i = 0; i < SUMS; i++) {
            const float *want = w.shared->sums[WHOLE][r][i];
            for (int way = 0; way < WHOLE; way++)
                assert_memory_equal(w.shared->sums[way][r][i], want,
                                    PLACE_BYTES);
            assert_true(want[0] != given(r, i * PARTS + TO, 0));
            check_products(&w, r, i);
        }
    close_world(&w);
}

static void parts_come_by_themselves(void **state)
{
    (void)state;
    check_ways(false);
}

static void and_from_thread_to_thread(void **state)
{
    (void)state;
    check_ways(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_by_themselves),
        cmocka_unit_test(and_from_thread_to_thread)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
