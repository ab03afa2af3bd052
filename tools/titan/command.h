/*
 * command.h: what a command of `titan` is: a function of its options.  Parsing,
 * --help, --man, --version, the story of a failure and the exit code are the
 * same for all of them (tools/titan.c).
 */
#ifndef TITAN_COMMAND_H
#define TITAN_COMMAND_H

#include "../../runtime/option.h"
#include "../../runtime/titan.h"

#define COMMAND(name, usage, summary) \
    TitanStatus command_##name(TitanStory *s, const Options *o);
#include "commands.def"
#undef COMMAND

#endif
