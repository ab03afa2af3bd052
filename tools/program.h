/*
 * program.h: --emit=html, the program as a page: its functions, its memory over
 * time, its commands over time, its collectives.  The page is program.html.
 */
#ifndef TITAN_TOOLS_PROGRAM_H
#define TITAN_TOOLS_PROGRAM_H

#include <jansson.h>

#include "titanc.h"

typedef struct ProgramPage {
    const char *name, *text;
    size_t size;
} ProgramPage;

extern const ProgramPage program_pages[];

/* The functions of the program in front of all passes. */
json_t *program_functions(Module *m);
/* The page of the program that was made.  False: an error was reported. */
bool program_write(Job *j);

#endif
