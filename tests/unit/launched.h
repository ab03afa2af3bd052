/*
 * launched.h: tests of a mesh whose four ranks a launcher has started: rank 0
 * runs the tests, of which each has a crew that it dismisses, and the others
 * serve as many crews as there are tests.
 */
#ifndef TITAN_TESTS_LAUNCHED_H
#define TITAN_TESTS_LAUNCHED_H

#include "runtime/remote.h"

static Link *link_of_test;

static inline int dismiss(void **state)
{
    (void)state;
    remote_dismiss(link_of_test, TITAN_OK);
    return 0;
}

/* A test of rank 0, and what messages of the others may leave in it. */
typedef struct Launched {
    const char *name;
    CMUnitTestFunction run;
    size_t room;
} Launched;

static inline int serve_all(const TitanImage *im, const Launched *tests,
                            size_t n)
{
    TitanStory story = {0};
    TitanCode code = {0};
    for (size_t i = 0; i < n; i++) {
        DeviceOptions o = {
            .threads = 1, .link = link_of_test, .send_room = tests[i].room};
        if (remote_serve(&story, im, &code, &o) != TITAN_OK) return 1;
    }
    return 0;
}

static inline int run_all(const Launched *tests, size_t n)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        const struct CMUnitTest one[] = {
            {tests[i].name, tests[i].run, NULL, dismiss, NULL}};
        bad += cmocka_run_group_tests_name(tests[i].name, one, NULL, NULL);
    }
    return bad;
}

/* Exit status. */
static inline int run_launched(const TitanImage *im, const Launched *tests,
                               size_t n)
{
    TitanStory story = {0};
    if (link_open(&story, 0, &link_of_test) != TITAN_OK) return 1;
    if (link_of_test->ranks != 4) return 1;
    int bad = link_of_test->rank ? serve_all(im, tests, n) : run_all(tests, n);
    link_close(link_of_test);
    return bad;
}

#endif
