#!/usr/bin/env python3
"""totals.py PROGRAM [OPTION...]: what totals.tt records of all parameters, in float64 from the data."""
import json
import math
import subprocess
import sys

SEQ, LAYERS, ROWS, STEPS, LR = 4, 3, 2, 4, 0.05
DATA = bytes((i * i * 7 + 13 * i + 5) % 251 for i in range(97))


def value(i):
    return DATA[i] / 128 - 1


def gradients(step):
    """Of the vector; of the matrices, row by row."""
    w, m = [0.0] * SEQ, [0.0] * SEQ * SEQ
    for row in range((step - 1) * ROWS, step * ROWS):
        for i in range(SEQ):
            w[i] += value(row * SEQ + i)
            for j in range(SEQ):
                m[i * SEQ + j] += value(row * SEQ + i) * value(row * SEQ + j + 1)
    return w, [(layer + 1) * x for layer in range(LAYERS) for x in m]


def near(key, got, want):
    if not math.isclose(got, want, rel_tol=2e-4, abs_tol=1e-6):
        sys.exit(f"totals.py: {key} is {got}, {want} expected")


open("data.txt", "wb").write(DATA)
subprocess.run([*sys.argv[1:], "--data", "data.txt", "--log-every", "1", "--quiet", "--metrics", "m.jsonl", "--tensorboard", "tb"], check=True)
rows = [json.loads(line) for line in open("m.jsonl")]
m = [0.0] * (SEQ + LAYERS * SEQ * SEQ)
v, p = m[SEQ:], [1.0] * len(m)
for row in rows:
    t = row["step"]
    w, mix = gradients(t)
    m = [0.9 * a + g for a, g in zip(m, w)] + [0.9 * a + 0.1 * g for a, g in zip(m[SEQ:], mix)]
    v = [0.95 * a + 0.05 * g * g for a, g in zip(v, mix)]
    change = [-LR * a for a in m[:SEQ]]
    change += [-LR * a / (1 - 0.9 ** t) / (math.sqrt(b / (1 - 0.95 ** t)) + 1e-8) for a, b in zip(m[SEQ:], v)]
    p = [a + b for a, b in zip(p, change)]
    for name, x in (("moment", m), ("second", v), ("value", p), ("change", change)):
        near(f"{name}.l2_norm", row[f"{name}.l2_norm"], math.sqrt(sum(a * a for a in x)))
        near(f"{name}.min", row[f"{name}.min"], min(x))
        near(f"{name}.max", row[f"{name}.max"], max(x))
    near("norm_of_moment", row["norm_of_moment"], row["moment.l2_norm"])
if len(rows) != STEPS:
    sys.exit(f"totals.py: {len(rows)} rows")
