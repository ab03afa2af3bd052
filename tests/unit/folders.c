/* links: titan_runtime
 *
 * folders.c: a folder is made with those above it; where one of these may not
 * be made, that is the error, not that it is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/files.h"

/* It has the folder "top", and lets no folder be made in "top/shut". */
typedef struct Few {
    Files files; /* first */
    char made[4][32];
    unsigned n;
} Few;

static bool is_there(const Few *f, const char *path)
{
    for (unsigned i = 0; i < f->n; i++)
        if (strcmp(f->made[i], path) == 0) return true;
    return strcmp(path, "top") == 0 || strcmp(path, "top/shut") == 0;
}

static int make_dir(Files *files, const char *path)
{
    Few *f = (Few *)files;
    char above[FILES_PATH];
    path_above(path, above);
    size_t n = strlen(above);
    while (n > 1 && above[n - 1] == '/')
        above[--n] = 0;
    if (is_there(f, path)) return EEXIST;
    if (!is_there(f, above)) return ENOENT;
    if (strcmp(above, "top/shut") == 0) return EACCES;
    assert_true(f->n < 4);
    snprintf(f->made[f->n++], sizeof f->made[0], "%s", path);
    return 0;
}

static int sync_dir(Files *files, const char *path)
{
    (void)files;
    (void)path;
    return 0;
}

static const FilesClass few_class = {.make_dir = make_dir,
                                     .sync_dir = sync_dir};

static void those_above_are_made(void **state)
{
    (void)state;
    Few f = {.files = {&few_class}};
    assert_int_equal(files_make_dirs(&f.files, "top/a/b//c"), 0);
    assert_int_equal(f.n, 3);
    assert_string_equal(f.made[0], "top/a");
    assert_string_equal(f.made[1], "top/a/b");
    assert_int_equal(files_make_dirs(&f.files, "top/a"), EEXIST);
}

static void the_first_that_may_not_be_made_is_said(void **state)
{
    (void)state;
    Few f = {.files = {&few_class}};
    assert_int_equal(files_make_dirs(&f.files, "top/shut/a"), EACCES);
    assert_int_equal(files_make_dirs(&f.files, "top/shut/a/b"), EACCES);
    assert_int_equal(f.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_above_are_made),
        cmocka_unit_test(the_first_that_may_not_be_made_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
