/*
 * Runs a folder of cases (cases.h) on this machine's GPU: every kernel twice
 * from the same bytes, whose bits must agree; results against those expected;
 * bytes that belong to no result against what they were.
 *
 *     gpu-replay FOLDER [SYMBOL]
 *
 * It needs the driver and nothing else.  The last line counts; the exit code
 * is 1 when a case fails.
 */
#include <inttypes.h>

#include "tests/gpu/agree.h"
#include "tests/gpu/draw.h"
#include "tests/gpu/driver.h"
#include "tests/gpu/points.h"

enum { MOST_WANTS = 16, GUARD = 256, MOST_TOLD = 20 };

typedef struct Arg {
    size_t bytes;
    int64_t same;       /* -1: a place of its own */
    bool drawn, points; /* else all bytes are `fill` */
    bool free;          /* its bytes may be any */
    unsigned fill;
    DType to; /* of points */
    Draws draws;
    DrawWay way;
    DType dtype;
    DrawShape shape;
    unsigned char *before, *after, *known;
    uint64_t at;
} Arg;

typedef struct Want {
    uint32_t arg;
    DType dtype;
    Near near;
    uint64_t from;
    DrawShape shape;
    bool cast; /* of argument `from`, times 2^power */
    int power;
    size_t pad; /* bytes behind a line that may be any */
} Want;

typedef struct Case {
    char name[200];
    Shot shot;
    TitanMap maps[MOST_MAPS];
    Arg args[MOST_PARAMS];
    Want wants[MOST_WANTS];
    uint32_t nwants;
} Case;

typedef struct Replay {
    Driver d;
    const char *folder, *only;
    char *data;
    void *module;
    unsigned ran, failed;
} Replay;

static char *file_in(const Replay *r, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", r->folder, name);
    return whole_file(path, NULL);
}

static void tell(Replay *r, const Case *c, const char *what, double a, double b)
{
    if (r->failed++ < MOST_TOLD)
        printf("%s: %s (%.17g, %.17g)\n", c->name, what, a, b);
}

/* ------------------------------------------------------------------ a case */

static void draw_arg(const Arg *a)
{
    int64_t n = draw_elements(&a->shape);
    if (a->points) {
        points_store(&a->shape, a->dtype, a->to, a->before);
        return;
    }
    Cell *cells = calloc((size_t)n + 1, sizeof *cells);
    Draws d = a->draws;
    draw_cells(&d, a->way, a->dtype, cells, n);
    draw_store(&a->shape, a->dtype, cells, a->before);
    free(cells);
}

static void allocate(Replay *r, Case *c)
{
    for (uint32_t i = 0; i < c->shot.nargs; i++) {
        Arg *a = &c->args[i];
        if (a->same >= 0) {
            a->at = c->args[a->same].at;
            c->shot.words[i] = a->at;
            continue;
        }
        size_t room = a->bytes + GUARD;
        a->before = malloc(room);
        a->after = malloc(room);
        a->known = calloc(room, 1);
        memset(a->before, a->drawn ? 0xff : (int)a->fill, room);
        if (a->drawn) draw_arg(a);
        MUST(&r->d, alloc, (&a->at, room));
        c->shot.words[i] = a->at;
    }
    for (uint32_t i = 0; i < c->shot.nmaps; i++)
        map_encode(&r->d, &c->maps[i], c->args[c->maps[i].arg].at,
                   c->shot.maps[i]);
}

static void run_once(Replay *r, Case *c)
{
    for (uint32_t i = 0; i < c->shot.nargs; i++)
        if (c->args[i].same < 0)
            MUST(&r->d, to,
                 (c->args[i].at, c->args[i].before, c->args[i].bytes + GUARD));
    shot_launch(&r->d, &c->shot, NULL);
    MUST(&r->d, sync, ());
}

static void read_back(Replay *r, Case *c, bool again)
{
    for (uint32_t i = 0; i < c->shot.nargs; i++) {
        Arg *a = &c->args[i];
        if (a->same >= 0) continue;
        size_t n = a->bytes + GUARD;
        unsigned char *to = again ? malloc(n) : a->after;
        MUST(&r->d, from, (to, a->at, n));
        if (!again) continue;
        if (memcmp(to, a->after, n) != 0)
            tell(r, c, "two runs differ in an argument", i, 0);
        free(to);
    }
}

static const Arg *place_of(const Case *c, uint32_t arg)
{
    const Arg *a = &c->args[arg];
    return a->same >= 0 ? &c->args[a->same] : a;
}

/* What a cast makes of an element. */
static Cell cast_wanted(const Case *c, const Want *w, int64_t x)
{
    const Arg *a = &c->args[w->from];
    DType d = a->dtype;
    Cell v =
        dtype_load(d, a->before + draw_place(&a->shape, x) * dtype_bytes(d));
    if (w->power) {
        d = d == DT_f64 ? d : DT_f32;
        v.f = dtype_round(d, ldexp(v.f, w->power));
    }
    return dtype_cast(w->dtype, d, v);
}

static Cell wanted(const Replay *r, const Case *of, const Want *w, int64_t x)
{
    if (w->cast) return cast_wanted(of, w, x);
    Cell c = {0};
    float f;
    bool narrow = dtype_class(w->dtype) == DC_float && w->dtype != DT_f64;
    memcpy(&c, r->data + w->from + (narrow ? 4 : 8) * (uint64_t)x,
           narrow ? 4 : 8);
    memcpy(&f, &c, 4);
    if (narrow) c.f = (double)f;
    return c;
}

static void check_want(Replay *r, Case *c, const Want *w)
{
    const Arg *a = place_of(c, w->arg);
    bool floats = dtype_class(w->dtype) == DC_float;
    int64_t n = draw_elements(&w->shape);
    unsigned bad = 0;
    double most = 0;
    for (int64_t x = 0; x < n; x++)
        most = larger(w->dtype, wanted(r, c, w, x), most);
    for (int64_t x = 0; x < n; x++) {
        int64_t at = draw_place(&w->shape, x) * dtype_bytes(w->dtype);
        bool last = w->pad && (x + 1) % w->shape.size[w->shape.naxes - 1] == 0;
        memset(a->known + at, 1, dtype_bytes(w->dtype) + (last ? w->pad : 0));
        Cell want = wanted(r, c, w, x),
             got = dtype_load(w->dtype, a->after + at);
        if (!agrees(w->dtype, got, want, w->near, most) && bad++ == 0)
            tell(r, c,
                 w->cast ? "a cast is another"
                         : "a result is not the interpreter's",
                 floats ? got.f : (double)got.i,
                 floats ? want.f : (double)want.i);
    }
}

static void check_rest(Replay *r, const Case *c)
{
    for (uint32_t i = 0; i < c->shot.nargs; i++) {
        const Arg *a = &c->args[i];
        if (a->same >= 0) continue;
        for (size_t x = a->free ? a->bytes : 0; x < a->bytes + GUARD; x++)
            if (!a->known[x] && a->after[x] != a->before[x]) {
                tell(r, c, "a byte beside the results changed", i, (double)x);
                break;
            }
    }
}

static void release(Replay *r, Case *c)
{
    for (uint32_t i = 0; i < c->shot.nargs; i++) {
        Arg *a = &c->args[i];
        if (a->same >= 0) continue;
        MUST(&r->d, release, (a->at));
        free(a->before);
        free(a->after);
        free(a->known);
    }
}

static void run_case(Replay *r, Case *c)
{
    if (r->only && !strstr(c->name, r->only)) return;
    unsigned before = r->failed;
    MUST(&r->d, function, (&c->shot.fn, r->module, c->name));
    shot_prepare(&r->d, &c->shot);
    allocate(r, c);
    run_once(r, c);
    read_back(r, c, false);
    run_once(r, c);
    read_back(r, c, true);
    for (uint32_t i = 0; i < c->nwants; i++)
        check_want(r, c, &c->wants[i]);
    check_rest(r, c);
    release(r, c);
    r->ran++;
    if (r->failed > before) r->failed = before + 1; /* one a case */
}

/* ---------------------------------------------------------------- the list */

typedef struct Words {
    char *at;
} Words;

static char *word(Words *w)
{
    while (*w->at == ' ')
        w->at++;
    char *start = w->at;
    while (*w->at && *w->at != ' ')
        w->at++;
    if (*w->at) *w->at++ = '\0';
    return start;
}

static int64_t number(Words *w)
{
    return strtoll(word(w), NULL, 10);
}

static void read_map(Case *c, Words *w)
{
    TitanMap *m = &c->maps[shot_map(&c->shot)];
    *m = (TitanMap){0};
    m->arg = (uint32_t)number(w);
    m->dtype = (uint32_t)number(w);
    m->rank = (uint32_t)number(w);
    m->swizzle = (uint32_t)number(w);
    m->offset = number(w);
    for (uint32_t i = 0; i < m->rank; i++) {
        m->size[i] = number(w);
        m->stride[i] = number(w);
        m->box[i] = (uint32_t)number(w);
    }
}

static void read_shape(DrawShape *s, Words *w)
{
    s->naxes = (uint32_t)number(w);
    for (uint32_t i = 0; i < s->naxes; i++) {
        s->size[i] = number(w);
        s->stride[i] = number(w);
    }
}

static void read_arg(Case *c, Words *w)
{
    Arg *a = &c->args[c->shot.nargs++];
    *a = (Arg){.same = -1};
    char *first = word(w);
    if (strcmp(first, "same") == 0) {
        a->same = number(w);
        return;
    }
    a->bytes = (size_t)strtoull(first, NULL, 10);
    const char *how = word(w);
    a->points = strcmp(how, "points") == 0;
    a->drawn = a->points || strcmp(how, "draw") == 0;
    if (!a->drawn) {
        a->fill = (unsigned)number(w);
        return;
    }
    if (a->points) {
        a->to = (DType)number(w);
    } else {
        a->way = (DrawWay)number(w);
        a->draws.state = strtoull(word(w), NULL, 10);
    }
    a->dtype = (DType)number(w);
    read_shape(&a->shape, w);
}

static void read_want(Case *c, Words *w)
{
    Want *x = &c->wants[c->nwants++];
    x->arg = (uint32_t)number(w);
    x->dtype = (DType)number(w);
    x->near = (Near)number(w);
    x->from = (uint64_t)number(w);
    read_shape(&x->shape, w);
}

static void read_cast(Case *c, Words *w)
{
    Want *x = &c->wants[c->nwants++];
    *x = (Want){.cast = true, .near = NEAR_exact};
    x->arg = (uint32_t)number(w);
    x->from = (uint64_t)number(w);
    x->power = (int)number(w);
    x->dtype = (DType)number(w);
    read_shape(&x->shape, w);
}

/* A result of which nothing is said. */
static void read_any(Case *c, Words *w)
{
    c->args[number(w)].free = true;
}

static void read_pads(Case *c, Words *w)
{
    c->wants[c->nwants - 1].pad = (size_t)number(w);
}

static void read_kernel(Case *c, Words *w)
{
    *c = (Case){0};
    snprintf(c->name, sizeof c->name, "%s", word(w));
    c->shot.blocks = (unsigned)number(w);
    c->shot.threads = (unsigned)number(w);
    c->shot.shared = (unsigned)number(w);
}

static void read_line(Replay *r, Case *c, char *line)
{
    Words w = {line};
    const char *what = word(&w);
    if (strcmp(what, "module") == 0) {
        char *bytes = file_in(r, word(&w));
        MUST(&r->d, load, (&r->module, bytes));
        free(bytes);
    }
    if (strcmp(what, "kernel") == 0) read_kernel(c, &w);
    if (strcmp(what, "map") == 0) read_map(c, &w);
    if (strcmp(what, "arg") == 0) read_arg(c, &w);
    if (strcmp(what, "want") == 0) read_want(c, &w);
    if (strcmp(what, "cast") == 0) read_cast(c, &w);
    if (strcmp(what, "any") == 0) read_any(c, &w);
    if (strcmp(what, "pads") == 0) read_pads(c, &w);
    if (strcmp(what, "run") == 0) run_case(r, c);
}

int main(int argc, char **argv)
{
    static Case c;
    Replay r = {.folder = argc > 1 ? argv[1] : NULL,
                .only = argc > 2 ? argv[2] : NULL};
    if (!r.folder) {
        fprintf(stderr, "usage: gpu-replay FOLDER [SYMBOL]\n");
        return 64;
    }
    if (!driver_open(&r.d)) {
        fprintf(stderr, "no CUDA driver, or no device\n");
        return 69;
    }
    r.data = file_in(&r, "cases.data");
    char *text = file_in(&r, "cases.txt");
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n");
        bool last = !*end;
        *end = '\0';
        read_line(&r, &c, line);
        line = last ? end : end + 1;
    }
    free(text);
    free(r.data);
    printf("%u cases, %u failed\n", r.ran, r.failed);
    return r.failed > 0;
}
