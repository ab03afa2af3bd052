/*
 * expect.h: diagnostics that a text says it expects, in its own comments.
 *
 *     // expected-error@+1 {{cannot sum over 'ff'}}
 *     // expected-warning {{[rule-unused]}}
 *
 * What stands in braces occurs in the message or in its bracketed id.  The
 * line is that of the comment, or as far from it as @ says; `@unknown` is a
 * report without a place.
 */
#ifndef TITAN_TOOLS_EXPECT_H
#define TITAN_TOOLS_EXPECT_H

#include "../ir/base/base.h"

/* Compares the errors and warnings of D with the comments of all its
 * sources.  What is missing or unexpected goes to stderr; true: nothing. */
bool expect_met(const Diag *d);

#endif
