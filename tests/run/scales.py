"""Weights in blocks of a scale for scales.tt: writes them in several dtypes,
and checks that an export holds the products.

    scales.py write DIR TOKENS | damage DIR | check DIR
"""
import json
import os
import struct
import sys

# name, shape, dtype, scale's name, blocks (0: no such dimension), scale dtype
TENSORS = [
    ("table", [16, 8], "BF16", None, [], ""),
    ("a.weight", [10, 8], "F8_E4M3", "a.weight.scale", [4, 3], "F32"),
    ("b.weight", [8, 6], "F8_E5M2", "b.weight.scale", [5, 2], "BF16"),
    ("layers.0.w.weight", [8, 8], "F8_E4M3", "layers.0.w.scale", [8, 4], "F32"),
    ("layers.1.w.weight", [8, 8], "F32", "layers.1.w.scale", [8, 4], "F32"),
    ("c", [2, 8], "BF16", "c.scale", [1, 0], "F16"),
]
# A few values that every format has, and their bytes in the narrow ones.
VALUES = [0.0, 1.0, -1.5, 2.0, -0.25, 96.0, 1.75, -448.0]
E4M3 = [0x00, 0x38, 0xbc, 0x40, 0xa8, 0x6c, 0x3e, 0xfe]
E5M2 = [0x00, 0x3c, 0xbe, 0x40, 0xb4, 0x56, 0x3f, 0xdf]


def number(name, i):
    return (i * 5 + i // 7 + len(name)) % len(VALUES)


def packed(dtype, name, n):
    at = [number(name, i) for i in range(n)]
    if dtype == "F8_E4M3":
        return bytes(E4M3[k] for k in at)
    if dtype == "F8_E5M2":
        return bytes(E5M2[k] for k in at)
    return pack(dtype, [VALUES[k] for k in at])


def pack(dtype, values):
    if dtype == "BF16":
        return b"".join(struct.pack("<f", v)[2:] for v in values)
    code = {"F16": "e", "F32": "f"}[dtype]
    return struct.pack(f"<{len(values)}{code}", *values)


def scale_shape(shape, blocks):
    return [-(-n // b) for n, b in zip(shape, blocks) if b]


def scale_of(i):
    return [0.5, 2.0, 0.125, 1.0, 0.75, 3.0][i % 6]


def count(shape):
    n = 1
    for s in shape:
        n *= s
    return n


def product(name, shape, blocks):
    """The weights: each value times the scale of its block."""
    scales, out = scale_shape(shape, blocks), []
    for i in range(count(shape)):
        row, col = divmod(i, shape[1])
        at = 0
        for index, block, n in zip((row, col), blocks, shape):
            if block:
                at = at * -(-n // block) + index // block
        out.append(VALUES[number(name, i)] * (scale_of(at) if scales else 1.0))
    return out


def write(folder, damage):
    header, data = {}, b""

    def add(name, shape, dtype, content):
        nonlocal data
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content

    for name, shape, dtype, scale, blocks, scale_dtype in TENSORS:
        if damage and name == "layers.1.w.weight":
            scale = None  # f8 that nothing scales
            dtype = "F8_E4M3"
        add(name, shape, dtype, packed(dtype, name, count(shape)))
        if scale:
            s = scale_shape(shape, blocks)
            values = [scale_of(i) for i in range(count(s))]
            if damage and name == "b.weight":
                s = s[::-1]
            add(scale, s, scale_dtype, pack(scale_dtype, values))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def check(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    header.pop("__metadata__", None)
    if set(header) != {t[0] for t in TENSORS}:
        sys.exit(f"exported: {sorted(header)}")
    for name, shape, _, scale, blocks, _ in TENSORS:
        first, last = header[name]["data_offsets"]
        have = list(struct.unpack(f"<{count(shape)}f", data[first:last]))
        want = product(name, shape, blocks if scale else [0, 0])
        if have != want or header[name]["shape"] != shape:
            sys.exit(f"{name}: {have} is not {want}")


def main():
    what, folder = sys.argv[1:3]
    if what == "check":
        return check(folder)
    write(folder, what == "damage")
    if what == "write":
        with open(sys.argv[3], "wb") as f:
            f.write(struct.pack("<9H", *range(9)))


main()
