/*
 * status.c: the story of a failure.
 */
#include "titan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 0)))
static void add_line(TitanStory *s, const char *lead, const char *fmt,
                     va_list args)
{
    if (s->n > TITAN_FRAMES) return;
    char *at = s->line[s->n++];
    size_t n = strlen(lead);
    memcpy(at, lead, n + 1);
    vsnprintf(at + n, TITAN_FRAME_TEXT - n, fmt, args);
}

TitanStatus titan_fail(TitanStory *s, TitanStatus status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    s->n = 0;
    add_line(s, "", fmt, args);
    va_end(args);
    return status;
}

TitanStatus titan_while(TitanStory *s, TitanStatus status, const char *fmt, ...)
{
    if (status == TITAN_OK) return status;
    va_list args;
    va_start(args, fmt);
    add_line(s, "while ", fmt, args);
    va_end(args);
    return status;
}

void titan_story_print(const TitanStory *s, const char *program)
{
    if (s->n == 0) return;
    fprintf(stderr, "%s: error: %s\n", program, s->line[0]);
    for (uint32_t i = 1; i < s->n; i++)
        fprintf(stderr, "  %s\n", s->line[i]);
}

static bool is_plain(char c)
{
    return (unsigned char)c >= ' ' ? c != 0x7f : c == '\n' || c == '\t';
}

void titan_story_mend(TitanStory *s)
{
    if (s->n > TITAN_FRAMES + 1) s->n = TITAN_FRAMES + 1;
    for (uint32_t i = 0; i < s->n; i++) {
        s->line[i][TITAN_FRAME_TEXT - 1] = 0;
        for (char *at = s->line[i]; *at; at++)
            if (!is_plain(*at)) *at = '?';
    }
}
