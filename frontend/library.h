/*
 * library.h: the standard library, embedded; library.c is generated from
 * stdlib/.  `import std.nn` reads the text named "nn".
 */
#ifndef TITAN_LIBRARY_H
#define TITAN_LIBRARY_H

#include <stddef.h>

typedef struct LibraryText {
    const char *name, *text; /* ends with a row of zeros */
    size_t size;
} LibraryText;

extern const LibraryText library_texts[];

/* The text of the library that declares the name, or NULL. */
const char *library_declares(const char *name);

#endif
