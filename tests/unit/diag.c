/*
 * diag.c: how reports look, as text and as JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ir/base/base.h"

typedef struct World {
    Arena arena;
    Diag d;
    Buf out;
    const char *text;
    uint32_t file;
} World;

static void open_world(World *w, const char *text)
{
    *w = (World){.text = text};
    arena_init(&w->arena, "test");
    diag_init(&w->d, &w->arena);
    w->file = diag_add_source(&w->d, "a.tt", text, strlen(text));
}

static void close_world(World *w)
{
    buf_release(&w->out);
    arena_release(&w->arena);
}

/* The nth (from 0) occurrence of a word in the text. */
static Span find(const World *w, const char *word, int nth)
{
    const char *at = strstr(w->text, word);
    while (nth-- > 0)
        at = strstr(at + 1, word);
    uint32_t first = (uint32_t)(at - w->text);
    return (Span){w->file, first, first + (uint32_t)strlen(word)};
}

static const char *text_of(World *w)
{
    diag_render(&w->d, DIAG_TEXT, &w->out);
    return w->out.at;
}

/* The first message of the language page, to the letter. */
static void test_labels(void **state)
{
    (void)state;
    World w;
    open_world(&w, "\n    q = rope[seq, hd](x @ff wq, rope_theta)\n");
    Report *r = diag_error(
        &w.d, DIAG_axis_missing, find(&w, "@ff", 0),
        "cannot sum over '%s': right operand has no such axis", "ff");
    report_label(r, find(&w, "x", 0), "[.., seq, embed]");
    report_label(r, find(&w, "wq", 0), "[embed, kv, rep, hd]");
    report_help(r, "axes in both operands: embed");
    assert_string_equal(
        text_of(&w),
        "a.tt:2:25: error: cannot sum over 'ff': right operand has no such "
        "axis [axis-missing]\n"
        "    2 |     q = rope[seq, hd](x @ff wq, rope_theta)\n"
        "      |                       ~ ^~~ ~~ [embed, kv, rep, hd]\n"
        "      |                       [.., seq, embed]\n"
        "help: axes in both operands: embed\n");
    close_world(&w);
}

static void test_notes(void **state)
{
    (void)state;
    World w;
    open_world(&w, "a = 1\nb\nc = 2\nd = 3\n");
    Report *r = diag_warning(&w.d, DIAG_syntax, find(&w, "d", 0), "twice");
    report_label(r, find(&w, "a", 0), "first here");
    report_note(r, find(&w, "c", 0), "and 'c' stands between");
    report_note(r, (Span){0}, "a note without a place");
    assert_string_equal(text_of(&w), "a.tt:4:1: warning: twice [syntax]\n"
                                     "    1 | a = 1\n"
                                     "      | ~ first here\n"
                                     "  ...\n"
                                     "    4 | d = 3\n"
                                     "      | ^\n"
                                     "a.tt:3:1: note: and 'c' stands between\n"
                                     "    3 | c = 2\n"
                                     "      | ^\n"
                                     "note: a note without a place\n");
    close_world(&w);
}

/* Columns count characters; carets count what a terminal shows. */
static void test_columns(void **state)
{
    (void)state;
    World w;
    open_world(&w, "\t\xc3\xa4 \xe6\xbc\xa2 \xff here\n");
    diag_error(&w.d, DIAG_syntax, find(&w, "here", 0), "look");
    assert_string_equal(text_of(&w),
                        "a.tt:1:8: error: look [syntax]\n"
                        "    1 |         \xc3\xa4 \xe6\xbc\xa2 ? here\n"
                        "      |                ^~~~\n");
    close_world(&w);
}

static void test_wide_line(void **state)
{
    (void)state;
    static char text[2001];
    memset(text, '.', sizeof text - 1);
    memcpy(text + 1000, "here", 4);
    World w;
    open_world(&w, text);
    diag_error(&w.d, DIAG_syntax, find(&w, "here", 0), "look");
    const char *out = text_of(&w);
    assert_true(strlen(out) < 320);
    assert_non_null(strstr(out, "here"));
    assert_non_null(strstr(out, "^~~~"));
    close_world(&w);
}

/* Twenty errors, then a count; the same mistake at the same place once. */
static void test_limits(void **state)
{
    (void)state;
    World w;
    open_world(&w, "0123456789012345678901234567890123456789");
    for (uint32_t i = 0; i < 25; i++)
        for (int twice = 0; twice < 2; twice++)
            diag_error(&w.d, DIAG_syntax, (Span){w.file, i, i + 1}, "e%u", i);
    uint32_t n = 0;
    ReportView v;
    for (const Report *r = NULL; (r = diag_next(&w.d, r, &v));)
        n++;
    assert_int_equal(n, 20);
    assert_non_null(strstr(text_of(&w), "more errors are not shown"));
    close_world(&w);
}

static void test_long_report(void **state)
{
    (void)state;
    World w;
    open_world(&w, "x\n");
    Report *r = diag_error(&w.d, DIAG_syntax, find(&w, "x", 0), "long");
    for (int i = 0; i < 100; i++)
        report_note(r, (Span){0}, "note %d", i);
    unsigned lines = 0;
    for (const char *c = text_of(&w); *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 40);
    close_world(&w);
}

static void test_json(void **state)
{
    (void)state;
    World w;
    open_world(&w, "a \"b\n");
    Report *r =
        diag_error(&w.d, DIAG_text_open, find(&w, "\"b", 0), "not \"closed\"");
    report_help(r, "close it");
    diag_render(&w.d, DIAG_JSON, &w.out);
    assert_string_equal(
        w.out.at,
        "{\"severity\":\"error\",\"id\":\"text-open\",\"message\":\"not "
        "\\\"closed\\\"\",\"file\":\"a.tt\",\"line\":1,\"column\":3,\"end_"
        "line\":1,\"end_column\":5,\"first_byte\":2,\"last_byte\":4,"
        "\"labels\":[],\"notes\":[],\"helps\":[{\"message\":\"close "
        "it\"}]}\n");
    close_world(&w);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(diag_word(DIAG_state_not_additive),
                        "state-not-additive");
    assert_int_equal(diag_find("axis-missing"), DIAG_axis_missing);
    assert_int_equal(diag_find("axis_missing"), DIAG_none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),  cmocka_unit_test(test_notes),
        cmocka_unit_test(test_columns), cmocka_unit_test(test_wide_line),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_long_report),
        cmocka_unit_test(test_json),    cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
