/*
 * program.c: what the page of a program shows, as JSON.
 *
 *     functions   [{name, path, entry, lines: [text, line of source,
 * function]}] memory      {persistent, io, frame, lanes, moments, peak,
 *                  buffers: [name, source, offset, bytes, first, last]}
 *     time        {machine, seconds, ..., commands: [name, source, kind, flops,
 *                  bytes, times, seconds], drawn: [command, stream, start,
 *                  seconds, stage, commands]}
 *     collectives [name, source, times, bytes, seconds]
 *
 * Memory is that of the last program, of a pipeline its largest stage's, on the
 * line of time of ir/live.h: each launch is a moment, a loop stands once.  Time
 * is predicted (predict.h).  Commands that are alike are one row of a table;
 * where there are more runs than a browser draws, short ones that follow each
 * other are one rectangle, of the command that takes the most of it.
 */
#include "program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fill.h"
#include "predict.h"

enum { MOST_DRAWN = 40000 };

static json_t *text_of(const char *s)
{
    json_t *v = json_string(s);
    return v ? v : json_string("?"); /* a path need not be UTF-8 */
}

/* "llama3.tt:62", or nothing */
static json_t *source_of(const char *file, uint32_t line)
{
    const char *slash = strrchr(file, '/');
    if (!line) return json_string("");
    json_t *v = json_sprintf("%s:%" PRIu32, slash ? slash + 1 : file, line);
    return v ? v : json_string("?");
}

static json_t *loc_source(Module *m, Loc loc)
{
    Span span = loc_span(m, loc);
    if (!span.file) return json_string("");
    Place p = diag_place(m->diag, span);
    return source_of(p.path, p.line);
}

static json_t *list_of(json_t *a, json_t *b, json_t *c)
{
    json_t *list = json_array();
    json_array_append_new(list, a);
    json_array_append_new(list, b);
    if (c) json_array_append_new(list, c);
    return list;
}

/* ------------------------------------------------------------- functions -- */

static json_t *line_of(Module *m, const Fn *fn, Value v)
{
    const Inst *in = inst_of(fn, v);
    Buf text = {0};
    inst_print(m, fn, v, &text);
    int64_t called = -1;
    if (attr_get(m, in->attr, AT_fn)) called = attr_fn(m, in->attr, AT_fn).id;
    json_t *line = list_of(text_of(text.n ? text.at : ""),
                           loc_source(m, in->loc), json_integer(called));
    buf_release(&text);
    return line;
}

json_t *program_functions(Module *m)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        json_t *lines = json_array(), *row = json_object();
        for (uint32_t k = fn->nparams; k < fn->ninsts; k++)
            json_array_append_new(lines, line_of(m, fn, (Value){k}));
        json_object_set_new(row, "name", text_of(str_of(m, fn->name)));
        json_object_set_new(row, "kind", text_of(str_of(m, fn->kind)));
        json_object_set_new(row, "source", loc_source(m, fn->loc));
        json_object_set_new(row, "entry", json_boolean(fn->entry));
        json_object_set_new(row, "lines", lines);
        json_array_append_new(all, row);
    }
    return all;
}

/* ---------------------------------------------------------------- memory -- */

static json_t *buffer_row(Module *m, const LiveBuffer *b)
{
    const Inst *in = inst_of(b->fn, b->value);
    const char *name = str_of(m, b->fn->names[b->value.id]);
    json_t *row = list_of(text_of(*name ? name : str_of(m, b->fn->name)),
                          loc_source(m, in->loc), NULL);
    int64_t numbers[] = {attr_int(m, in->attr, AT_offset, 0), b->bytes,
                         b->first, b->last};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_array_append_new(row, json_integer(numbers[i]));
    return row;
}

static bool in_frame(Module *m, const LiveBuffer *b)
{
    const Inst *in = inst_of(b->fn, b->value);
    const AttrItem *base = attr_get(m, in->attr, AT_base);
    return base && b->first <= b->last &&
           !strcmp(str_of(m, attr_str(m, in->attr, AT_base)), "frame");
}

/* The moments that an entry takes: those of its own buffers. */
static void entry_moments(Module *m, const Live *l, const char *entry,
                          int64_t *first, int64_t *last)
{
    *first = INT64_MAX;
    *last = -1;
    for (uint32_t i = 0; i < l->n; i++) {
        const LiveBuffer *b = &l->at[i];
        if (b->first > b->last || strcmp(str_of(m, b->fn->name), entry))
            continue;
        if (b->first < *first) *first = b->first;
        if (b->last > *last) *last = b->last;
    }
}

/* The entry that the peak is in, as the model has it. */
static const char *entry_at(Module *m, const Live *l, int64_t moment)
{
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        const char *name = str_of(m, fn->name), *rank = strstr(name, ".rank");
        int64_t first, last;
        if (!fn->entry) continue;
        entry_moments(m, l, name, &first, &last);
        if (first > moment || moment > last) continue;
        int n = rank && fn_is(m, fn, FK_rank) ? (int)(rank - name) : -1;
        return n < 0 ? name : arena_printf(m->scratch, "%.*s", n, name);
    }
    return "";
}

/* It is no value, and is there all the time. */
static void add_room(json_t *buffers, const TitanImage *im, int64_t first,
                     int64_t last)
{
    uint64_t offset, bytes = products_room(im, &offset);
    if (!bytes) return;
    json_t *row = list_of(text_of("room to widen operands of products"),
                          text_of(""), NULL);
    int64_t numbers[] = {(int64_t)offset, (int64_t)bytes, first, last};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_array_append_new(row, json_integer(numbers[i]));
    json_array_append_new(buffers, row);
}

static json_t *memory_of(Job *j, const TitanImage *im)
{
    Module *m = &j->m;
    uint32_t stage = (uint32_t)(titan_largest_stage(im) - im->stages);
    Live all = live_find(m, &j->scratch);
    Live live = live_of(&all, rank_reaches(m, stage, &j->scratch), &j->scratch);
    LiveMoment peak;
    int64_t first, last;
    live_most(&live, BASE_frame, &peak, &j->scratch);
    entry_moments(m, &live,
                  im->nstages > 1
                      ? arena_printf(&j->scratch, "train.rank%u", stage)
                      : "train",
                  &first, &last);
    json_t *buffers = json_array(), *memory = json_object();
    for (uint32_t i = 0; i < live.n; i++) {
        const LiveBuffer *b = &live.at[i];
        bool at_peak = b->first <= peak.at && peak.at <= b->last;
        if (in_frame(m, b) &&
            ((b->last >= first && b->first <= last) || at_peak))
            json_array_append_new(buffers, buffer_row(m, b));
    }
    add_room(buffers, im, first, last);
    for (int b = 0; b < TITAN_BASE_COUNT; b++)
        json_object_set_new(
            memory, base_name((Base)b),
            json_integer((json_int_t)titan_largest_stage(im)->base_bytes[b]));
    json_object_set_new(memory, "lanes", json_integer(im->header->lanes));
    json_object_set_new(memory, "arena",
                        json_integer((json_int_t)im->header->arena_bytes));
    json_object_set_new(memory, "first", json_integer(first));
    json_object_set_new(memory, "last", json_integer(last));
    json_object_set_new(memory, "peak", json_integer(peak.at));
    json_object_set_new(memory, "in", text_of(entry_at(m, &live, peak.at)));
    json_object_set_new(memory, "buffers", buffers);
    return memory;
}

/* ------------------------------------------------------------------ time -- */

/* Commands that are alike, and all their runs. */
typedef struct Row {
    uint32_t command; /* the first */
    uint64_t times;
    double seconds;
} Row;

typedef struct Rows {
    const TitanImage *im;
    const Prediction *p;
    const uint32_t *first; /* by command: the one that it is like */
    uint32_t *number;      /* by command that is the first: its row, plus 1 */
    VEC(Row) all;
} Rows;

static void count_runs(Arena *a, Rows *x)
{
    x->number = NEW_ARRAY(a, uint32_t, (size_t)x->im->ncommands + 1);
    for (uint32_t i = 0; i < x->p->played.n; i++) {
        const Played *run = &x->p->played.at[i];
        uint32_t first = x->first[run->command];
        if (!x->number[first]) {
            vec_push(a, &x->all, ((Row){.command = first}));
            x->number[first] = x->all.n;
        }
        Row *row = &x->all.at[x->number[first] - 1];
        row->times++;
        row->seconds += run->seconds;
    }
}

static json_t *command_row(const TitanImage *im, const Row *r)
{
    char name[200];
    const TitanCommand *cmd = &im->commands[r->command];
    Work w = work_of(im, cmd);
    command_name(im, cmd, name, sizeof name);
    json_t *row = list_of(text_of(name),
                          source_of(titan_string(im, cmd->file), cmd->line),
                          json_integer(cmd->kind));
    json_array_append_new(row, json_real(w.flops));
    json_array_append_new(row, json_real(w.bytes));
    json_array_append_new(row, json_integer((json_int_t)r->times));
    json_array_append_new(row, json_real(r->seconds));
    return row;
}

/* Runs that follow each other on a stream. */
typedef struct Stretch {
    Played longest; /* of them */
    double start, end;
    uint32_t n;
} Stretch;

typedef struct Drawing {
    const Rows *rows;
    json_t *out;
    Stretch *at; /* by stage and stream; n = 0: none yet */
    double shortest;
} Drawing;

static void draw_stretch(const Drawing *d, Stretch *s)
{
    if (!s->n) return;
    uint32_t first = d->rows->first[s->longest.command];
    json_t *row = list_of(json_integer(d->rows->number[first] - 1),
                          json_integer(s->longest.stream), json_real(s->start));
    json_array_append_new(row, json_real(s->end - s->start));
    json_array_append_new(row, json_integer(s->longest.stage));
    json_array_append_new(row, json_integer(s->n));
    json_array_append_new(d->out, row);
    s->n = 0;
}

/* Two that follow each other are together longer than the shortest, or well
 * apart: so there are not many more than that is in a step. */
static void draw_run(const Drawing *d, Stretch *s, const Played *run)
{
    double end = run->start + run->seconds;
    if (s->n &&
        (end - s->start > d->shortest || run->start - s->end > d->shortest / 4))
        draw_stretch(d, s);
    if (!s->n) *s = (Stretch){.longest = *run, .start = run->start};
    if (run->seconds > s->longest.seconds) s->longest = *run;
    s->end = end;
    s->n++;
}

/* Of each stream as it goes. */
static json_t *drawn_rows(Arena *a, const Rows *x)
{
    const Prediction *p = x->p;
    uint32_t streams = x->im->header->streams;
    uint32_t lanes = streams * x->im->nstages;
    Drawing d = {.rows = x, .out = json_array()};
    d.at = NEW_ARRAY(a, Stretch, (size_t)lanes + 1);
    if (p->played.n > MOST_DRAWN)
        d.shortest = 2 * p->seconds * lanes / MOST_DRAWN;
    for (uint32_t i = 0; i < p->played.n; i++) {
        const Played *run = &p->played.at[i];
        draw_run(&d, &d.at[run->stage * streams + run->stream], run);
    }
    for (uint32_t i = 0; i < lanes; i++)
        draw_stretch(&d, &d.at[i]);
    return d.out;
}

/* Those of all stages, with all that is like them. */
static json_t *moved_rows(Arena *a, const TitanImage *im, const Prediction *p)
{
    json_t *rows = json_array();
    const uint32_t *first = commands_alike(a, im);
    uint32_t *at = NEW_ARRAY(a, uint32_t, (size_t)im->ncommands + 1);
    VEC(Moved) all = {0};
    for (uint32_t i = 0; i < p->moved.n; i++) {
        const Moved *x = &p->moved.at[i];
        uint32_t like = first[x->command];
        if (!at[like]) {
            vec_push(a, &all, ((Moved){.command = like}));
            at[like] = all.n;
        }
        Moved *sum = &all.at[at[like] - 1];
        sum->times += x->times;
        sum->bytes += x->bytes;
        sum->seconds += x->seconds;
    }
    for (uint32_t i = 0; i < all.n; i++) {
        const Moved *x = &all.at[i];
        const TitanCommand *cmd = &im->commands[x->command];
        char name[200];
        command_name(im, cmd, name, sizeof name);
        json_t *row = list_of(text_of(name),
                              source_of(titan_string(im, cmd->file), cmd->line),
                              json_integer((json_int_t)x->times));
        json_array_append_new(row, json_real(x->bytes));
        json_array_append_new(row, json_real(x->seconds));
        json_array_append_new(rows, row);
    }
    return rows;
}

/* Without a machine of the target there is no time: the page says so. */
static json_t *time_of(Arena *a, const TitanImage *im, const Prediction *p)
{
    if (!p->machine) return json_null();
    json_t *commands = json_array();
    Rows rows = {.im = im, .p = p, .first = commands_alike(a, im)};
    count_runs(a, &rows);
    for (uint32_t i = 0; i < rows.all.n; i++)
        json_array_append_new(commands, command_row(im, &rows.all.at[i]));
    json_t *time =
        json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:i}", "machine",
                  p->machine->name, "seconds", p->seconds, "products",
                  p->products, "rest", p->rest, "collectives", p->collectives,
                  "exposed", p->exposed, "all", (int)p->played.n);
    json_object_set_new(time, "stages", json_integer(im->nstages));
    json_object_set_new(time, "bubble", json_real(p->bubble));
    json_object_set_new(time, "commands", commands);
    json_object_set_new(time, "drawn", drawn_rows(a, &rows));
    return time;
}

/* ------------------------------------------------------------------ page -- */

static json_t *mesh_rows(const TitanImage *im)
{
    json_t *mesh = json_array();
    for (uint32_t i = 0; i < im->nmesh; i++)
        json_array_append_new(
            mesh, list_of(text_of(titan_string(im, im->mesh[i].name)),
                          json_integer(im->mesh[i].size), NULL));
    return mesh;
}

/* What the program was made of, beside its files. */
static json_t *made_rows(Module *m)
{
    static const char *const names[] = {"config", "plan", "dtype"};
    json_t *rows = json_array();
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        Str value = option_get(m, names[i]);
        if (value.id)
            json_array_append_new(
                rows,
                list_of(text_of(names[i]), text_of(str_of(m, value)), NULL));
    }
    return rows;
}

bool program_write(Job *j)
{
    TitanImage im;
    Prediction p;
    size_t size = 0;
    if (!image_open(j, &im)) return false;
    predict(&j->scratch, &im, "train", &p);
    json_t *page = json_object();
    json_object_set_new(page, "title", text_of(j->r->o->arguments.at[0]));
    json_object_set_new(page, "made", made_rows(&j->m));
    json_object_set_new(page, "target",
                        json_string(target_name(j->r->codegen.target)));
    json_object_set_new(page, "ranks", json_integer(im.header->ranks));
    json_object_set_new(page, "mesh", mesh_rows(&im));
    json_object_set(page, "functions", j->functions);
    json_object_set_new(page, "memory", memory_of(j, &im));
    json_object_set_new(page, "time", time_of(&j->scratch, &im, &p));
    json_object_set_new(page, "collectives", moved_rows(&j->scratch, &im, &p));
    char *text = page_fill(program_pages[0].text, page, &size);
    json_decref(page);
    if (!text) out_of_memory("page", size);
    Buf b = {0};
    buf_add(&b, text, size);
    free(text);
    bool ok = text_write(j, &b);
    buf_release(&b);
    return ok;
}
