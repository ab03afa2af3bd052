/*
 * program.c: what the page of a program shows, as JSON.
 *
 *     functions   [{name, path, entry, lines: [text, line of source,
 * function]}] memory      {persistent, io, frame, lanes, moments, peak,
 *                  buffers: [name, source, offset, bytes, first, last]}
 *     time        {machine, seconds, ..., commands: [name, source, kind, flops,
 *                  bytes], played: [command, stream, start, seconds, stage]}
 *     collectives [name, source, times, bytes, seconds]
 *
 * Memory is that of the last program, of a pipeline its largest stage's, on the
 * line of time of ir/live.h: each launch is a moment, a loop stands once.  Time
 * is predicted (predict.h).
 */
#include "program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fill.h"
#include "predict.h"

enum { MOST_PLAYED = 40000 };

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
        if (in_frame(m, b) && b->last >= first && b->first <= last)
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
    json_object_set_new(memory, "buffers", buffers);
    return memory;
}

/* ------------------------------------------------------------------ time -- */

static json_t *command_row(const TitanImage *im, const TitanCommand *cmd)
{
    char name[200];
    Work w = work_of(im, cmd);
    command_name(im, cmd, name, sizeof name);
    json_t *row = list_of(text_of(name),
                          source_of(titan_string(im, cmd->file), cmd->line),
                          json_integer(cmd->kind));
    json_array_append_new(row, json_real(w.flops));
    json_array_append_new(row, json_real(w.bytes));
    return row;
}

static json_t *played_rows(const Prediction *p)
{
    json_t *rows = json_array();
    for (uint32_t i = 0; i < p->played.n && i < MOST_PLAYED; i++) {
        const Played *x = &p->played.at[i];
        json_t *row = list_of(json_integer(x->command), json_integer(x->stream),
                              json_real(x->start));
        json_array_append_new(row, json_real(x->seconds));
        json_array_append_new(row, json_integer(x->stage));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *moved_rows(const TitanImage *im, const Prediction *p)
{
    json_t *rows = json_array();
    for (uint32_t i = 0; i < p->moved.n; i++) {
        const Moved *x = &p->moved.at[i];
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
static json_t *time_of(const TitanImage *im, const Prediction *p)
{
    if (!p->machine) return json_null();
    json_t *commands = json_array();
    for (uint32_t i = 0; i < im->ncommands; i++)
        json_array_append_new(commands, command_row(im, &im->commands[i]));
    json_t *time =
        json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:i}", "machine",
                  p->machine->name, "seconds", p->seconds, "products",
                  p->products, "rest", p->rest, "collectives", p->collectives,
                  "exposed", p->exposed, "all", (int)p->played.n);
    json_object_set_new(time, "stages", json_integer(im->nstages));
    json_object_set_new(time, "bubble", json_real(p->bubble));
    json_object_set_new(time, "commands", commands);
    json_object_set_new(time, "played", played_rows(p));
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
    json_object_set_new(page, "time", time_of(&im, &p));
    json_object_set_new(page, "collectives", moved_rows(&im, &p));
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
