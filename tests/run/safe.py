"""Tensors of a folder's model.safetensors: name -> bytes."""
import json, struct


def read(path):
    raw = open(path + '/model.safetensors', 'rb').read()
    n = struct.unpack('<Q', raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    head.pop('__metadata__', None)
    return {k: raw[8 + n + v['data_offsets'][0]:8 + n + v['data_offsets'][1]] for k, v in head.items()}
