/*
 * hello.c: what ranks that were started apart tell rank 0 before they begin.
 *
 * Rank 0 compares each rank's program and options with its own, and learns
 * which processes are on its machine, so that its watchdog can look at them.
 * These write on its board what they are doing.
 */
#include "remote.h"

#include "boot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Hello {
    uint8_t hash[16];
    BootName boot;
    int64_t pid;
    uint64_t options; /* bytes of the text that follows */
} Hello;

/* What becomes of it, and where rank 0 has its board. */
typedef struct Verdict {
    TitanStatus status;
    BootName boot;
    int32_t pid, fd;
} Verdict;

/* More than the system takes for a command line. */
enum { MOST_OPTIONS = 4 << 20 };

/* What another process has sent. */
static bool hello_is_whole(const Hello *h)
{
    return memchr(h->boot.text, 0, BOOT_NAME) && h->options <= MOST_OPTIONS;
}

typedef struct Hearing {
    TitanStory *story;
    Link *link;
    const char *options;
    Hello mine;
    Mail mail;
} Hearing;

static TitanStatus pass(Hearing *h, LinkWay way, uint32_t rank, void *at,
                        size_t bytes)
{
    Letter what = {way, rank, LINK_tag_order, at, bytes};
    return link_pass(h->story, h->link, &h->mail, what);
}

/* Where two texts begin to differ, a word. */
static const char *word_at(const char *text, const char *other, size_t *n)
{
    size_t i = 0, begin = 0;
    for (; text[i] && text[i] == other[i]; i++)
        if (text[i] == '\n') begin = i + 1;
    *n = strcspn(text + begin, "\n");
    return text + begin;
}

static TitanStatus check(Hearing *h, uint32_t rank, const Hello *hello,
                         const char *theirs)
{
    size_t n, k;
    if (memcmp(hello->hash, h->mine.hash, sizeof hello->hash) != 0)
        return titan_fail(h->story, TITAN_MISMATCH,
                          "rank %" PRIu32 " runs another program than rank 0: "
                          "the hashes of their images differ",
                          rank);
    if (strcmp(theirs, h->options) == 0) return TITAN_OK;
    const char *a = word_at(h->options, theirs, &n);
    const char *b = word_at(theirs, h->options, &k);
    return titan_fail(h->story, TITAN_MISMATCH,
                      "rank %" PRIu32 " has other options than rank 0: "
                      "\"%.*s\", and rank 0 has \"%.*s\"",
                      rank, (int)k, b, (int)n, a);
}

static TitanStatus hear_text(Hearing *h, uint32_t rank, const Hello *hello)
{
    char *theirs = calloc(1, (size_t)hello->options + 1);
    if (!theirs) return titan_no_memory(h->story);
    TitanStatus st =
        pass(h, LINK_receive, rank, theirs, (size_t)hello->options);
    if (st == TITAN_OK) st = check(h, rank, hello, theirs);
    free(theirs);
    return st;
}

static TitanStatus hear(Hearing *h, uint32_t rank)
{
    Hello hello;
    Board *b = h->link->board;
    TRY(pass(h, LINK_receive, rank, &hello, sizeof hello));
    if (!hello_is_whole(&hello))
        return titan_fail(h->story, TITAN_MISMATCH,
                          "rank %" PRIu32 " is of another version of the "
                          "runtime than rank 0",
                          rank);
    bool here = boot_is_same(&hello.boot, &h->mine.boot);
    if (b && here) atomic_store(&b->rows[rank].pid, (int)hello.pid);
    return hear_text(h, rank, &hello);
}

static TitanStatus hear_all(Hearing *h)
{
    TitanStatus st = TITAN_OK;
    TitanStory first = {0};
    for (uint32_t k = 1; k < h->link->ranks; k++) {
        TitanStatus one = hear(h, k);
        if (st == TITAN_OK && one != TITAN_OK) first = *h->story;
        if (st == TITAN_OK) st = one;
    }
    const Board *b = h->link->board;
    Verdict v = {st, h->mine.boot, b ? b->pid : 0, b ? b->fd : -1};
    for (uint32_t k = 1; k < h->link->ranks; k++)
        pass(h, LINK_send, k, &v, sizeof v);
    if (st != TITAN_OK) *h->story = first;
    return st;
}

/* Without it the ranks run all the same. */
static void share_board(Link *l, const BootName *mine, const Verdict *v)
{
    if (!l->board || !boot_is_same(mine, &v->boot)) return;
    Board *b = board_join(v->pid, v->fd, l->ranks);
    if (b) l->board = b;
}

static TitanStatus say(Hearing *h)
{
    Verdict v;
    char *text = (char *)(uintptr_t)h->options; /* it is read only */
    TRY(pass(h, LINK_send, 0, &h->mine, sizeof h->mine));
    TRY(pass(h, LINK_send, 0, text, (size_t)h->mine.options));
    TRY(pass(h, LINK_receive, 0, &v, sizeof v));
    if (v.status == TITAN_OK) share_board(h->link, &h->mine.boot, &v);
    return v.status;
}

TitanStatus remote_compare(TitanStory *story, Link *l, const TitanImage *im,
                           const char *options)
{
    Hearing h = {.story = story, .link = l, .options = options};
    memcpy(h.mine.hash, im->header->hash, sizeof h.mine.hash);
    h.mine.boot = boot_name();
    h.mine.pid = getpid();
    h.mine.options = strlen(options);
    TitanStatus st = l->rank == 0 ? hear_all(&h) : say(&h);
    mail_free(&h.mail);
    if (l->board) atomic_store(&l->board->rows[l->rank].known, true);
    return st;
}
