/* links: titan_runtime */
/*
 * layout.c: the layout of weights in files, of images made by hand whose slots
 * name what is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "runtime/layout.h"

enum { F32 = 1 };

static const char strings[] = "\0w\0a\0b\0t{a}\0t{a}{a}\0t";
enum { S_w = 1, S_a = 3, S_b = 5, S_ta = 7, S_taa = 12, S_t = 20 };

/* w: f32[a 3, b 4], as tensors of b for each of a. */
typedef struct Made {
    float memory[12];
    TitanAxis axes[4];
    TitanDim dims[2];
    TitanSlot slot;
    TitanImage im;
    TitanStory story;
    TitanDevice device;
} Made;

static void make(Made *m)
{
    *m = (Made){
        .axes = {{S_a, 0, 3}, {S_b, 0, 4}, {S_b, 0, 4}, {S_b, 0, 4}},
        .dims = {{.axes = {2, 1}, .total = 4}, {.axes = {3, 1}, .total = 4}},
        .slot = {.path = S_w,
                 .dtype = F32,
                 .flags = TITAN_SLOT_ckpt,
                 .axes = {0, 2},
                 .ckpt = S_ta,
                 .dims = {0, 1}}};
    m->im = (TitanImage){.axes = m->axes,
                         .dims = m->dims,
                         .slots = &m->slot,
                         .nslots = 1,
                         .strings = strings};
    m->device.story = &m->story;
    m->device.arena[TITAN_BASE_persistent] = (char *)m->memory;
    for (int i = 0; i < 12; i++)
        m->memory[i] = (float)i;
}

static TitanStatus export_to(Made *m, float *out)
{
    CkptLayout l;
    TitanStatus st = layout_new(&m->story, &m->im, &l);
    for (uint32_t i = 0; i < l.n && st == TITAN_OK; i++)
        st = part_export(&m->story, &m->im, &l.tensors[i],
                         &l.tensors[i].parts[0], F32, out + 4 * i, &m->device);
    layout_free(&l);
    return st;
}

static void expect(Made *m, const char *want)
{
    float out[64];
    assert_int_equal(export_to(m, out), TITAN_BAD_DATA);
    assert_string_equal(m->story.line[0], want);
}

static void one_tensor_a_layer(void **state)
{
    (void)state;
    Made m;
    float out[12];
    make(&m);
    assert_int_equal(export_to(&m, out), TITAN_OK);
    assert_memory_equal(out, m.memory, sizeof out);
}

/* A tensor of b by a, larger than the squares that it is copied in and no
 * multiple of them, there and back. */
static void turned(void **state)
{
    (void)state;
    enum { A = 70, B = 45 };
    static float memory[A * B], out[A * B];
    Made m;
    CkptLayout l;
    make(&m);
    m.slot.ckpt = S_t;
    m.slot.dims.n = 2;
    m.axes[0].size = A;
    m.axes[1].size = B;
    m.axes[2] = m.axes[1];
    m.axes[3] = m.axes[0];
    m.dims[0].total = B;
    m.dims[1].total = A;
    m.device.arena[TITAN_BASE_persistent] = (char *)memory;
    for (int i = 0; i < A * B; i++)
        memory[i] = (float)i;
    assert_int_equal(layout_new(&m.story, &m.im, &l), TITAN_OK);
    const CkptTensor *t = &l.tensors[0];
    assert_int_equal(
        part_export(&m.story, &m.im, t, &t->parts[0], F32, out, &m.device),
        TITAN_OK);
    for (int i = 0; i < A * B; i++)
        assert_true(out[i] == (float)(i % A * B + i / A));
    memset(memory, 0, sizeof memory);
    CkptData data = {.values = out, .dtype = F32};
    assert_int_equal(
        part_import(&m.story, &m.im, t, &t->parts[0], &data, &m.device),
        TITAN_OK);
    for (int i = 0; i < A * B; i++)
        assert_true(memory[i] == (float)i);
    layout_free(&l);
}

/* Rows of 2 of another slot lie between those of w, in a larger memory. */
static void rows_lie_apart(void **state)
{
    (void)state;
    Made m;
    float memory[18], out[12];
    make(&m);
    m.slot.piece = 4;
    m.slot.pitch = 6;
    for (int i = 0; i < 18; i++)
        memory[i] = (float)i;
    m.device.arena[TITAN_BASE_persistent] = (char *)memory;
    assert_int_equal(titan_slot_reach(&m.im, &m.slot), 16);
    assert_int_equal(export_to(&m, out), TITAN_OK);
    for (int i = 0; i < 12; i++)
        assert_true(out[i] == (float)(i / 4 * 6 + i % 4));
}

static void refuses_an_axis_of_another_size(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.axes[2].size = m.dims[0].total = 2;
    expect(&m, "image: layout of \"w\" names another axis");
}

static void refuses_an_axis_named_twice(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.slot.ckpt = S_taa; /* t22 would begin behind the end */
    expect(&m, "image: layout of \"w\" leaves it");
    make(&m);
    m.slot.ckpt = S_t;
    m.slot.axes = (TitanRange){1, 1};
    m.slot.dims.n = 2;
    expect(&m, "image: layout of \"w\" leaves it");
}

static void refuses_names_without_end(void **state)
{
    (void)state;
    Made m;
    make(&m);
    m.axes[0].size = INT64_C(1) << 40;
    m.slot.ckpt = S_taa;
    expect(&m, "image: \"t{a}{a}\" names more than 1000000 tensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_tensor_a_layer),
        cmocka_unit_test(turned),
        cmocka_unit_test(rows_lie_apart),
        cmocka_unit_test(refuses_an_axis_of_another_size),
        cmocka_unit_test(refuses_an_axis_named_twice),
        cmocka_unit_test(refuses_names_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
