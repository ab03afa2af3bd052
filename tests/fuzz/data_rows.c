/* sources: runtime/data/documents.c runtime/data/jsonl.c
 * runtime/data/json_line.c runtime/data/unpack.c runtime/data/text.c
 * runtime/data/megatron.c runtime/data/mds.c runtime/data/mds_index.c
 * runtime/data/mapped.c runtime/data/hash.c runtime/data/paths.c
 * runtime/data/order.c runtime/data/sequence.c runtime/data/walk.c
 * runtime/data/pack.c runtime/data/stream.c runtime/data/mix.c
 * runtime/data/state.c build/libtitanrt.a */
/* links: -ljansson -lutf8proc -lpcre2-8 -lz -lzstd */
/* goal: 2000000 */
/*
 * Rows of a .bin file of any bytes, of JSONL, and of states of any text: rows
 * come or there is an error; a state that is taken gives rows or one too.
 */
#include "runtime/data/state.h"

#include <string.h>

#include "tests/fuzz/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

static void read_rows(Mix *m)
{
    bool more = true;
    for (int r = 0; r < 20 && more; r++)
        if (mix_row(m, NULL, &more) != TITAN_OK) return;
}

/* STATE: NULL, or text that may be one. */
static void read_data(const char *path, const char *state, int64_t shuffle)
{
    TitanStory s = {0};
    Mark mark;
    int64_t step;
    Mix m;
    const MixOptions o = {.paths = &path,
                          .npaths = 1,
                          .stream = {.end_token = 1,
                                     .bound = 60000,
                                     .length = 4,
                                     .span = 5,
                                     .stride = 4,
                                     .shuffle = shuffle}};
    if (mix_open(&s, &o, &m) == TITAN_OK &&
        (!state || (state_parse(&s, &m, state, &mark, &step) == TITAN_OK &&
                    mix_seek(&m, &mark) == TITAN_OK)))
        read_rows(&m);
    mix_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    static const char lines[] = "{\"text\": \"abc\"}\n{\"text\": \"defghi\"}\n";
    if (size == 0) return 0;
    char path[FOLDER_PATH + 16];
    folder_make();
    unsigned kind = at[0] % 4;
    snprintf(path, sizeof path, "%s/a.%s", folder, kind < 2 ? "bin" : "jsonl");
    if (kind < 2) {
        folder_write(path, at + 1, size - 1);
        read_data(path, NULL, kind * 3);
    } else {
        char *text = strndup((const char *)at + 1, size - 1);
        folder_write(path, lines, sizeof lines - 1);
        read_data(path, text, (kind - 2) * 3);
        free(text);
    }
    unlink(path);
    return 0;
}
