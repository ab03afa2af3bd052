"""near.py ONE OTHERS..: losses and exported weights of the others are those of the first, within the rounding of sums."""
import struct
import sys

from small import apart, rows


def weights(name):
    raw = open(f"{name}-out/model.safetensors", "rb").read()
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    return struct.unpack(f"<{(len(raw) - start) // 4}f", raw[start:])


one, *others = sys.argv[1:]
for name in others:
    assert apart(rows(f"{name}.jsonl"), rows(f"{one}.jsonl")) < 1e-5, name
    most = max(abs(a - b) for a, b in zip(weights(name), weights(one), strict=True))
    assert most < 1e-4, (name, most)
