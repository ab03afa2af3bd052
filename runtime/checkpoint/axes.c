/*
 * axes.c: in which order the axes of a state lie in a file.
 */
#include "axes.h"

#include <stdio.h>
#include <string.h>

enum { TEXT = 2048 };

json_t *axes_text(const TitanImage *im, const TitanSlot *slot)
{
    char text[TEXT] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < slot->axes.n && n < sizeof text; i++) {
        uint32_t name = im->axes[slot->axes.first + i].name;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "",
                              titan_string(im, name));
    }
    return json_string(n < sizeof text ? text : "");
}

/* The place of a word in a text of words, -1: it is not there. */
static int place_of(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (int i = 0; *text; i++) {
        size_t n = strcspn(text, " ");
        if (n == len && memcmp(text, word, n) == 0) return i;
        text += n + (text[n] == ' ');
    }
    return -1;
}

static uint32_t words_of(const char *text)
{
    uint32_t n = *text != 0;
    for (; *text; text++)
        n += *text == ' ';
    return n;
}

bool axes_find(const TitanImage *im, const TitanSlot *slot, const json_t *order,
               AxesTurn *out)
{
    const char *text = json_string_value(order);
    bool turned = false;
    uint32_t seen = 0;
    *out = (AxesTurn){.n = slot->axes.n};
    if (!text || out->n > AXES_MOST || words_of(text) != out->n) return false;
    for (uint32_t i = 0; i < out->n; i++) {
        uint32_t name = im->axes[slot->axes.first + i].name;
        int at = place_of(text, titan_string(im, name));
        if (at < 0 || seen & UINT32_C(1) << at) return false;
        seen |= UINT32_C(1) << at;
        out->from[i] = (uint32_t)at;
        turned |= (uint32_t)at != i;
    }
    return turned;
}

void axes_turn(const AxesTurn *t, const StTensor *file, const char *data,
               char *out)
{
    size_t bytes = titan_dtype_bytes(file->dtype);
    int64_t stride[AXES_MOST], at[AXES_MOST] = {0}, n = 1;
    for (uint32_t i = t->n; i-- > 0; n *= file->shape[i])
        stride[i] = n;
    for (int64_t k = 0; k < n; k++) {
        int64_t from = 0;
        for (uint32_t i = 0; i < t->n; i++)
            from += at[i] * stride[t->from[i]];
        memcpy(out + (size_t)k * bytes, data + (size_t)from * bytes, bytes);
        for (uint32_t i = t->n; i-- > 0;) {
            if (++at[i] < file->shape[t->from[i]]) break;
            at[i] = 0;
        }
    }
}
