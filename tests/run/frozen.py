"""Tensors of AFTER are those of BEFORE, bit by bit, but for adapters: those moved, or with the word
`new` are there alone, with `new-trained` after some steps."""
import sys

from safe import read

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
