"""peft.py FROM TO: the tensors of a file under the names that PEFT writes."""
import json
import os
import struct
import sys

raw = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head = {k if k == "__metadata__" else f"base_model.model.{k}": v for k, v in json.loads(raw[8:8 + n]).items()}
text = json.dumps(head).encode()
text += b" " * (-len(text) % 8)
os.makedirs(os.path.dirname(sys.argv[2]), exist_ok=True)
open(sys.argv[2], "wb").write(struct.pack("<Q", len(text)) + text + raw[8 + n:])
