"""Tensors of AFTER are those of BEFORE, bit by bit, but for adapters: those moved, or with the word
`new` are there alone, with `new-trained` after some steps."""
import json, struct, sys


def read(path):
    raw = open(path + '/model.safetensors', 'rb').read()
    n = struct.unpack('<Q', raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    head.pop('__metadata__', None)
    return {k: raw[8 + n + v['data_offsets'][0]:8 + n + v['data_offsets'][1]] for k, v in head.items()}


before, after, new = read(sys.argv[1]), read(sys.argv[2]), sys.argv[3:]
adapters = {k for k in after if 'lora' in k}
assert len(adapters) == 8 and set(after) - adapters == {k for k in before if 'lora' not in k}
for k in after:
    if k not in adapters:
        assert after[k] == before[k], k
    elif new:
        assert k not in before and any(after[k]) == ('lora_A' in k or new == ['new-trained']), k
    else:
        assert after[k] != before[k], k
