#!/usr/bin/env python3
"""tokenizer.py DIR: a tokenizer whose token i is byte 255 - i, and 256 the end of a text."""
import json
import os
import sys


def characters():
    """How byte-level tokenizers write bytes: printable ones as they are, the others from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
end = {"id": 256, "content": "<end>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
       "special": True}
os.makedirs(sys.argv[1], exist_ok=True)
with open(sys.argv[1] + "/tokenizer.json", "w") as f:
    json.dump({"version": "1.0", "added_tokens": [end], "normalizer": None, "pre_tokenizer": byte_level,
               "post_processor": None, "decoder": byte_level,
               "model": {"type": "BPE", "vocab": {c: 255 - b for b, c in characters().items()}, "merges": []}}, f)
with open(sys.argv[1] + "/tokenizer_config.json", "w") as f:
    json.dump({"eos_token": "<end>"}, f)
