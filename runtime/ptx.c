/*
 * ptx.c: finds the step image in the text of a step.ptx.
 *
 * The text begins with TITAN_PTX_MAGIC; the image is the initialiser of the
 * global `titan_image`, an array of .b64 hexadecimal words:
 *
 *     .visible .global .align 8 .b64 titan_image[N] = { 0x..., 0x..., ... };
 */
#include "titan.h"

#include <stdlib.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* One word "0x..." at *at; false when there is none. */
static bool read_word(const char **at, const char *end, uint64_t *word)
{
    const char *p = *at;
    while (p < end && (is_space(*p) || *p == ','))
        p++;
    if (end - p < 3 || p[0] != '0' || p[1] != 'x') return false;
    uint64_t w = 0;
    int digits = 0;
    for (p += 2; p < end && hex_digit(*p) >= 0; p++, digits++)
        w = w << 4 | (uint64_t)hex_digit(*p);
    *word = w;
    *at = p;
    return digits > 0 && digits <= 16;
}

/* The first byte after "titan_image[...] = {", or NULL. */
static const char *find_words(const char *text, const char *end)
{
    static const char name[] = ".b64 " TITAN_SYMBOL_IMAGE "[";
    const char *at = memmem(text, (size_t)(end - text), name, sizeof name - 1);
    if (!at) return NULL;
    at = memchr(at, '{', (size_t)(end - at));
    return at ? at + 1 : NULL;
}

TitanStatus titan_ptx_image(TitanStory *s, const char *text, size_t size,
                            void **image, size_t *image_size)
{
    const char *end = text + size;
    if (size < sizeof TITAN_PTX_MAGIC - 1 ||
        memcmp(text, TITAN_PTX_MAGIC, sizeof TITAN_PTX_MAGIC - 1) != 0)
        return titan_fail(s, TITAN_BAD_DATA,
                          "not a step.ptx: the first line is not \"%s\"",
                          TITAN_PTX_MAGIC);
    const char *at = find_words(text, end);
    if (!at)
        return titan_fail(s, TITAN_BAD_DATA, "the PTX text holds no image");
    uint64_t *words = malloc((size_t)(end - at) / 4 * 8 + 8);
    if (!words) return titan_no_memory(s);
    size_t n = 0;
    while (read_word(&at, end, &words[n]))
        n++;
    while (at < end && is_space(*at))
        at++;
    TitanHeader head;
    bool whole = at < end && *at == '}' && n * 8 >= sizeof head;
    if (whole) memcpy(&head, words, sizeof head);
    if (!whole || head.size > n * 8 || n * 8 - head.size >= 8) {
        free(words);
        return titan_fail(s, TITAN_BAD_DATA,
                          "the image in the PTX text is cut short");
    }
    *image = words;
    *image_size = (size_t)head.size;
    return TITAN_OK;
}
