/*
 * match.h: what text is cut or replaced by: patterns.
 */
#ifndef TITAN_TEXT_MATCH_H
#define TITAN_TEXT_MATCH_H

#include "tokenizer.h"

/* A text and the classes of its characters. */
typedef struct Scan {
    const unsigned char *text, *end;
    const unsigned char *classes;
} Scan;

/* The end of the match that begins at P, which is below the end; NULL: none
 * begins here. */
typedef const unsigned char *(*Scanner)(const Scan *s, const unsigned char *p);

typedef enum MatchKind {
    MATCH_none,
    MATCH_scanner,
    MATCH_literal,
    MATCH_set, /* one character of a set of categories */
    MATCH_regex
} MatchKind;

typedef struct Matcher {
    MatchKind kind;
    Scanner scan;
    uint32_t set;
    char *literal;
    size_t size;
    struct Regex *regex;
} Matcher;

/* What matching writes to; {0} to begin with. */
typedef struct MatchScratch {
    void *match; /* PCRE2's */
    void *context;
    uint64_t steps; /* left for this document */
} MatchScratch;

/* A search through one text; match_search begins one. */
typedef struct Search {
    TitanStory *story;
    const Matcher *m;
    MatchScratch *scratch;
    Scan in;
    size_t from;
    size_t last;             /* end of the last match; SIZE_MAX: none */
    size_t valid, valid_end; /* regex: the UTF-8 around `from` */
} Search;

static inline Search match_search(TitanStory *s, const Matcher *m,
                                  MatchScratch *scratch, Scan in)
{
    return (Search){s, m, scratch, in, 0, SIZE_MAX, 0, SIZE_MAX};
}

/* A literal is copied. */
TitanStatus match_literal(TitanStory *s, const char *text, size_t bytes,
                          Matcher *out);
/* A scanner where the pattern is known, else PCRE2; BAD_DATA: it is not taken,
 * with the reason. */
TitanStatus match_pattern(TitanStory *s, const char *text, size_t bytes,
                          const unsigned char *classes, Matcher *out);
void match_release(Matcher *m);
void match_scratch_release(MatchScratch *scratch);
/* Steps that a document of so many bytes may take in PCRE2. */
void match_begin(MatchScratch *scratch, size_t bytes);

/* The next match; FOUND is false behind the last one. */
TitanStatus match_next(Search *s, bool *found, size_t *begin, size_t *end);

/* The scanner of a known pattern; NULL: it is none. */
Scanner scanner_of(const char *pattern, size_t bytes);
/* \w+|[^\w\s]+ */
const unsigned char *scan_words(const Scan *s, const unsigned char *p);

/* PCRE2. */
TitanStatus regex_new(TitanStory *s, const char *pattern, size_t bytes,
                      const unsigned char *classes, struct Regex **out);
void regex_free(struct Regex *re);
TitanStatus regex_next(Search *s, bool *found, size_t *begin, size_t *end);

#endif
