"""The weights of the folders p0, p1, ... are those of each step; `slow` and `near` are their averages."""
import array, json, struct, sys


def read(path):
    raw = open(path + '/model.safetensors', 'rb').read()
    n = struct.unpack('<Q', raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    head.pop('__metadata__', None)
    out = {}
    for k, v in head.items():
        out[k] = array.array('f', raw[8 + n + v['data_offsets'][0]:8 + n + v['data_offsets'][1]])
    return out


steps = [read(f'p{i}') for i in range(4)]
slow, near = read(sys.argv[1]), read(sys.argv[2])
moved = 0
for k, first in steps[0].items():
    a, b = list(first), [0.0] * len(first)
    for s in steps[1:]:
        a = [0.5 * x + 0.5 * y for x, y in zip(a, s[k])]
        b = [0.25 * x + 0.75 * y for x, y in zip(b, s[k])]
    if 'norm' in k:
        assert slow[k] == first and near[k] == first, k
        continue
    assert max(abs(x - y) for x, y in zip(a, slow[k])) < 1e-6, k
    assert max(abs(x - y) for x, y in zip(b, near[k])) < 1e-6, k
    moved += slow[k] != first and slow[k] != steps[3][k]
assert moved == 5, moved
