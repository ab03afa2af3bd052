/*
 * args.h: the arguments of a call.
 */
#ifndef TITAN_FRONTEND_ARGS_H
#define TITAN_FRONTEND_ARGS_H

#include "sema.h"

/* By axis parameter, two of one with an arrow. */
typedef struct AxisArgs {
    AxisList lists[16];
    uint32_t n;
} AxisArgs;

/* By parameter of the callee: what a call gives it, and where. */
typedef struct Given {
    Val *vals;
    Span *spans;
    bool *has;
} Given;

/* False, in all that follow: an error was reported. */
bool axis_args(Sema *s, Span at, const Node *d, const Items *items,
               AxisArgs *out);
void bind_axes(Sema *s, Scope *callee, const Node *d, const AxisArgs *a);

bool eval_args(Sema *s, const Settings *args, Call *c);
Given given_new(Sema *s, const Node *d);
/* Puts the arguments of `c` where they belong, by name, then in order. */
bool place_args(Sema *s, const Node *d, const Call *c, Given *out);
/* Runs in the scope of the callee, in the frame of the caller. */
bool bind_args(Sema *s, const Node *d, const Given *in, Span at);

/* The text of a program there. */
const char *source_text(Sema *s, Span at);

#endif
