/*
 * pages.h: the pages of docs/diagnostics, embedded; pages.c is generated.
 */
#ifndef TITAN_TOOLS_PAGES_H
#define TITAN_TOOLS_PAGES_H

#include <stddef.h>

typedef struct Page {
    const char *name, *text; /* the name is the id; ends with a row of zeros */
    size_t size;
} Page;

extern const Page diagnostic_pages[];

#endif
