/*
 * generate.c: `titan generate FILE`: FILE is started with --generate and the
 * same options.
 */
#include "../start.h"
#include "command.h"

enum { LEAD = 2 }; /* the name of the program, --generate */

TitanStatus command_generate(TitanStory *s, const Options *o)
{
    static char program[] = "titan generate", generate[] = "--generate";
    int n, code = 0;
    if (o->arguments.n != 1)
        return titan_fail(s, TITAN_USAGE,
                          "give one FILE, a step.ptx or a training program");
    char **args = options_spelled(o, LEAD, &n);
    if (!args) return titan_no_memory(s);
    args[0] = program;
    args[1] = generate;
    TitanStatus st = start_file(s, o->arguments.at[0], true, n, args, &code);
    options_spelled_free(args, LEAD);
    return st == TITAN_OK ? (TitanStatus)code : st;
}
