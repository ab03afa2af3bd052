"""Two safetensors files have the same tensors, in whatever order."""
import json
import struct
import sys


def tensors(path):
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    return {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])])
            for k, v in header.items() if k != "__metadata__"}


sys.exit(tensors(sys.argv[1]) != tensors(sys.argv[2]))
