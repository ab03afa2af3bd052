/*
 * image_streams.c: streams and events of an image, from those of the kernel
 * view.
 *
 * There each function has streams of its own, which part when it begins and
 * meet when it ends.  In an image streams are those of the device, and all
 * order is signals and waits.  Stream 0 of a function is the one that its loop
 * is on, `base`, and the others follow it around; so two functions that run
 * beside each other may meet on a stream, which orders more than is asked,
 * never less.
 *
 * A stream whose first step waits for nothing waits for what `base` had done
 * when the function began.  At the end `base` waits for the streams that none
 * of its steps has waited for.  Nothing else is added, so that nothing reaches
 * over a host point, in front of and behind which the function's own events
 * order all.
 */
#include "image.h"

_Static_assert((int)MOST_STREAMS == (int)TITAN_MOST_STREAMS,
               "the IR and images have as many streams");

static uint32_t stream_of(const ImageTables *t, const ImageStreams *s,
                          uint32_t step)
{
    return (s->base + s->order.stream[step]) % t->streams;
}

static void add_sync(ImageTables *t, TitanCommandKind kind, uint32_t stream,
                     uint32_t event)
{
    TitanCommand c = {.kind = kind,
                      .index = event,
                      .stream = stream,
                      .operands = {.first = t->operands.n}};
    vec_push(t->a, &t->commands, c);
}

/* Whether a stream of the function begins with this step, on its own. */
static bool parts_with(const ImageTables *t, const ImageStreams *s,
                       uint32_t step)
{
    return s->order.stream[step] != 0 && s->order.place[step] == 1 &&
           !attr_get(t->m, s->order.fn->insts[step].attr, AT_wait);
}

void image_streams_begin(ImageTables *t, ImageStreams *s, const Fn *fn)
{
    *s = (ImageStreams){.base = t->stream};
    if (t->streams == 1) return;
    s->order = order_of(t->m, fn, t->a);
    s->events = t->events;
    bool parts = false;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!is_step(&fn->insts[i])) continue;
        parts |= parts_with(t, s, i);
        int64_t event = attr_int(t->m, fn->insts[i].attr, AT_signal, -1);
        if (event >= t->events - s->events)
            t->events = s->events + (uint32_t)event + 1;
    }
    s->start = t->events;
    if (!parts) return;
    add_sync(t, TITAN_COMMAND_signal, s->base, s->start);
    t->events++;
}

void image_step_begin(ImageTables *t, const ImageStreams *s, uint32_t step)
{
    if (t->streams == 1) return;
    const Inst *in = &s->order.fn->insts[step];
    const AttrItem *wait = attr_get(t->m, in->attr, AT_wait);
    t->stream = stream_of(t, s, step);
    if (parts_with(t, s, step))
        add_sync(t, TITAN_COMMAND_wait, t->stream, s->start);
    for (uint32_t k = 0; wait && k < wait->n; k++)
        add_sync(t, TITAN_COMMAND_wait, t->stream,
                 s->events + (uint32_t)wait->ints[k]);
}

void image_step_end(ImageTables *t, const ImageStreams *s, uint32_t step)
{
    if (t->streams == 1) return;
    const Inst *in = &s->order.fn->insts[step];
    t->stream = stream_of(t, s, step);
    if (attr_get(t->m, in->attr, AT_signal))
        add_sync(t, TITAN_COMMAND_signal, t->stream,
                 s->events + (uint32_t)attr_int(t->m, in->attr, AT_signal, 0));
}

/* Of a stream whose last step comes before the last one of stream 0 nothing is
 * left. */
void image_streams_meet(ImageTables *t, const ImageStreams *s, uint32_t step)
{
    uint32_t last[MOST_STREAMS] = {0}; /* steps, plus 1 */
    t->stream = s->base;
    if (t->streams == 1) return;
    for (uint32_t i = 0; i < step; i++)
        if (is_step(&s->order.fn->insts[i])) last[s->order.stream[i]] = i + 1;
    for (uint32_t k = 1; k < MOST_STREAMS; k++) {
        if (!last[k] ||
            (last[0] && order_before(&s->order, last[k] - 1, last[0] - 1)))
            continue;
        add_sync(t, TITAN_COMMAND_signal, stream_of(t, s, last[k] - 1),
                 t->events);
        add_sync(t, TITAN_COMMAND_wait, s->base, t->events++);
    }
}
