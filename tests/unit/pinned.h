/*
 * pinned.h: a module's graph as `shard` has it when the rules of its option
 * have said what they say, and before it chooses anything.
 */
#ifndef TITAN_TESTS_PINNED_H
#define TITAN_TESTS_PINNED_H

#include "passes/shard/solve.h"

static inline void shard_pinned(Shard *s, Module *m)
{
    static PassCtx none;
    *s = (Shard){.m = m, .cx = &none, .a = m->scratch};
    assert_true(shard_rules_read(s, pass_option(m, &none, "shard", "")));
    Roots roots = roots_of(m);
    graph_build(s, &roots);
    held_find(s, &roots);
    assert_true(graph_pin(s));
}

#endif
