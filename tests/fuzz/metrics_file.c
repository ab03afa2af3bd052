/* sources: runtime/files.c runtime/jsonl.c runtime/sink.c runtime/status.c */
/* links: -ljansson */
/* goal: 1000000 */
/*
 * A file of metrics that a resumed run goes on with: it is cut behind the row
 * of a step and goes on in whole lines, or is refused as it is.
 */
#include "runtime/jsonl.h"

#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

/* What was kept is a beginning of the input that ends with a line. */
static void check_kept(const char *path, const uint8_t *at, size_t size)
{
    static char kept[1 << 15];
    FILE *in = fopen(path, "rb");
    size_t n = in ? fread(kept, 1, sizeof kept, in) : 0;
    if (!in || n > size || (n && memcmp(kept, at, n) != 0) ||
        (n && kept[n - 1] != '\n'))
        abort();
    fclose(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    if (size == 0 || size > 1 << 15) return 0;
    char path[FOLDER_PATH + 16];
    TitanStory s = {0};
    Jsonl rows = {0};
    folder_make();
    snprintf(path, sizeof path, "%s/m.jsonl", folder);
    folder_write(path, at + 1, size - 1);
    if (jsonl_continue(&s, &rows, path, at[0] % 4) == TITAN_OK)
        check_kept(path, at + 1, size - 1);
    jsonl_close(&s, &rows);
    unlink(path);
    return 0;
}
