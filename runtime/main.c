/*
 * main.c: the entry point of a training program, linked with the object that
 * the compiler made for it.
 */
#include "titan.h"

extern const unsigned char titan_image[];
extern const uint64_t titan_image_size;
extern const TitanHostKernel titan_kernels[];

int main(int argc, char **argv)
{
    return titan_main(argc, argv, titan_image, titan_image_size,
                      titan_kernels);
}
