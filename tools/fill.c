/*
 * fill.c: puts data into a page.
 */
#include "fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "<" could begin the end of the element. */
static void put_data(FILE *out, const char *text)
{
    for (const char *t = text; *t; t++)
        if (*t == '<')
            fputs("\\u003c", out);
        else
            fputc(*t, out);
}

char *page_fill(const char *page, const json_t *data, size_t *size)
{
    static const char mark[] = "@DATA@";
    const char *at = strstr(page, mark);
    char *whole = NULL, *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    FILE *out = at && text ? open_memstream(&whole, size) : NULL;
    if (out) {
        fwrite(page, 1, (size_t)(at - page), out);
        put_data(out, text);
        fputs(at + sizeof mark - 1, out);
    }
    free(text);
    if (out && fclose(out) == 0) return whole;
    free(whole);
    return NULL;
}
