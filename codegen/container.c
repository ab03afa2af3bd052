/*
 * container.c: step.ptx, one text that holds kernels and image.
 *
 *     // titan step image 1            TITAN_PTX_MAGIC
 *     // titan: image target sm_90a    one record a line
 *     ...
 *     .version ...                     the kernels, as LLVM prints them
 *     .visible .global .align 8 .b64 titan_image[N] = {0x..., ...};
 *
 * Words of 64 bits are the form that ptxas and the driver read fastest, and a
 * program without a GPU finds them in the text (runtime/ptx.c).
 */
#include "kernel.h"

static void put_records(const Module *m, const CodegenOpts *o,
                        const Artifact *a, Buf *out)
{
    (void)m;
    TitanHeader head;
    memcpy(&head, a->image, sizeof head);
    buf_puts(out, TITAN_PTX_MAGIC "\n");
    buf_printf(out, "// titan: image version %u\n", head.version);
    buf_printf(out, "// titan: image target %s\n", target_name(o->target));
    buf_puts(out, "// titan: image hash ");
    for (unsigned i = 0; i < sizeof head.hash; i++)
        buf_printf(out, "%02x", head.hash[i]);
    buf_printf(out, "\n// titan: image bytes %zu\n", a->image_size);
    buf_printf(out, "// titan: image kernels %u\n", a->kernels);
}

static void put_words(const unsigned char *at, size_t size, Buf *out)
{
    static const char hex[] = "0123456789abcdef";
    size_t words = (size + 7) / 8;
    buf_printf(out, "\n.visible .global .align 8 .b64 %s[%zu] = {",
               TITAN_SYMBOL_IMAGE, words);
    for (size_t w = 0; w < words; w++) {
        uint64_t x = 0;
        for (size_t i = 8; i-- > 0;)
            x = x << 8 | (w * 8 + i < size ? at[w * 8 + i] : 0);
        char digits[18] = "0x0", *p = digits + 2;
        int shift = 60;
        while (shift > 0 && x >> shift == 0)
            shift -= 4;
        for (; shift >= 0; shift -= 4)
            *p++ = hex[x >> shift & 15];
        buf_puts(out, w == 0 ? "\n" : w % 8 ? ", " : ",\n");
        buf_add(out, digits, (size_t)(p - digits));
    }
    buf_puts(out, "\n};\n");
}

void ptx_container(Module *m, const CodegenOpts *o, const Artifact *a, Buf *out)
{
    put_records(m, o, a, out);
    buf_add(out, a->text, a->text_size);
    put_words(a->image, a->image_size, out);
}
