/*
 * explain.c: --explain ID prints the page of a diagnostic; `list` prints every
 * id with its title.
 */
#include <stdio.h>
#include <string.h>

#include "pages.h"
#include "titanc.h"

static void list(void)
{
    for (DiagId id = DIAG_none + 1; id < DIAG_count; id++)
        printf("%-22s %s\n", diag_word(id), diag_title(id));
}

/* Without the marks of fenced blocks, whose lines are indented instead. */
static void print_page(const char *text)
{
    bool fenced = false;
    while (*text) {
        size_t n = strcspn(text, "\n");
        bool fence = n >= 3 && !memcmp(text, "```", 3);
        if (fence)
            fenced = !fenced;
        else
            printf("%s%.*s\n", fenced && n ? "    " : "", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static int unknown(const char *word)
{
    Nearest near = nearest_to(word);
    for (DiagId id = DIAG_none + 1; id < DIAG_count; id++)
        nearest_try(&near, diag_word(id));
    fprintf(stderr, "titanc: there is no diagnostic '%s'", word);
    if (near.best)
        fprintf(stderr, "; did you mean '%s'?\n", near.best);
    else
        fprintf(stderr, " (--explain list lists all)\n");
    return EXIT_USAGE;
}

int explain(const char *word)
{
    if (!strcmp(word, "list")) {
        list();
        return EXIT_OK;
    }
    DiagId id = diag_find(word);
    if (id == DIAG_none) return unknown(word);
    for (const Page *p = diagnostic_pages; p->name; p++) {
        if (strcmp(p->name, word)) continue;
        print_page(p->text);
        return EXIT_OK;
    }
    printf("# %s: %s\n", word, diag_title(id));
    return EXIT_OK;
}
