/*
 * main.c: the entry point of a training program, linked with the object that
 * the compiler made for it.
 */
#include "titan.h"

extern const unsigned char titan_image[];
extern const uint64_t titan_image_size;
extern const TitanHostKernel titan_kernels[];

/* The object of a host program does not have these. */
#define MAYBE __attribute__((weak))
extern const char titan_ptx[] MAYBE;
extern const uint64_t titan_ptx_size MAYBE;
extern const unsigned char titan_cubin[] MAYBE;
extern const uint64_t titan_cubin_size MAYBE;

int main(int argc, char **argv)
{
    TitanCode code = {.image = titan_image,
                      .size = titan_image_size,
                      .kernels = titan_kernels};
    if (&titan_ptx_size) {
        code.ptx = titan_ptx;
        code.ptx_size = titan_ptx_size;
    }
    if (&titan_cubin_size && titan_cubin_size > 0) code.cubin = titan_cubin;
    return titan_main(argc, argv, &code);
}
