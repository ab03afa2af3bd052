"""Fails unless two step.ptx hold as many kernels, in texts of one length to 5 %."""
import sys

counts, sizes = [], []
for path in sys.argv[1:3]:
    text = open(path).read()
    kernels = text[: text.index(".b64 titan_image")]
    counts.append(kernels.count(".visible .entry"))
    sizes.append(len(kernels))
if counts[0] != counts[1]:
    sys.exit(f"{counts[0]} and {counts[1]} kernels")
if abs(sizes[0] - sizes[1]) > 0.05 * max(sizes):
    sys.exit(f"{sizes[0]} and {sizes[1]} bytes of kernels")
