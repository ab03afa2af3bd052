/*
 * image_commands.h: what writes the lists of an image (image.c) and their
 * commands (image_commands.c).
 */
#ifndef TITAN_CODEGEN_IMAGE_COMMANDS_H
#define TITAN_CODEGEN_IMAGE_COMMANDS_H

#include "image.h"

/* Where a value of a kernel function lies, for the image. */
typedef struct ImageAt {
    uint32_t base;
    int64_t offset;
    int64_t turn[MOST_LOOPS]; /* innermost loop first */
    TurnRing ring;            /* of loop `ring_loop` */
    uint32_t ring_loop;
    Layout layout;
    int64_t pad;    /* elements behind each line that are its own */
    bool number;    /* by value: a counter or a coordinate */
    uint32_t kind;  /* TitanOperandKind */
    uint64_t which; /* a loop, or a group of ranks */
} ImageAt;

typedef struct ImageWriter {
    ImageTables t;
    KernelSet *kernels;
    bool gpu;
    uint32_t processors; /* of a matrix product; 0: all */
    uint32_t program;    /* commands before this are in programs */
    uint32_t depth;
    LiveUsers users; /* of the function that is written */
    bool lanes;      /* inside a parallel loop */
    bool failed;
    uint32_t update, update_run; /* of an entry: where it begins to write
                                    parameters and states */
    uint64_t frame, lane, host;  /* bytes before workspaces */
    Map gemm_map;
} ImageWriter;

/* Where V of FN lies, of which ARGS are the parameters. */
ImageAt image_at(ImageWriter *w, const Fn *fn, Value v, const ImageAt *args);
/* Its row. */
uint32_t image_operand(ImageWriter *w, const ImageAt *at);
/* The command of a launch, or its commands. */
void image_launch(ImageWriter *w, const Fn *fn, const Inst *in,
                  const ImageAt *args);

#endif
