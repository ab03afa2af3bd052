/*
 * fill.h: a page that needs nothing else, from its text and its data.
 */
#ifndef TITAN_TOOLS_FILL_H
#define TITAN_TOOLS_FILL_H

#include <jansson.h>
#include <stddef.h>

/* PAGE with the data in the place of @DATA@, for free(); NULL without memory.
 * Whatever strings hold stays text: no character of the data can end the
 * element that holds it. */
char *page_fill(const char *page, const json_t *data, size_t *size);

#endif
