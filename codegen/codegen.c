/*
 * codegen.c: from a planned module to its artifact.
 *
 * The image is written first: each launch that it comes to adds its kernel to
 * the set.  What is then asked for is made from the set, once.
 */
#include "kernel.h"

bool codegen_run(Module *m, const CodegenOpts *o, uint32_t want, Artifact *out)
{
    *out = (Artifact){0};
    KernelSet *set = kernels_new(m, o);
    bool ok = image_write(m, o, set, &out->image, &out->image_size);
    out->kernels = kernels_count(set);
    out->exact = true;
    for (uint32_t i = 0; i < out->kernels; i++)
        out->exact &= kernel_at(set, i)->exact;
    if (ok && want & WANT_llvm)
        ok = kernels_llvm(set, &out->text, &out->text_size);
    else if (ok && want & WANT_ptx)
        ok = kernels_ptx(set, &out->text, &out->text_size);
    if (ok && want & WANT_object)
        ok = kernels_object(set, out->image, out->image_size, &out->object,
                            &out->object_size);
    kernels_free(set);
    return ok;
}
