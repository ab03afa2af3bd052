#!/usr/bin/env python3
"""optimizers.py TITANC MODEL: the optimizers and schedules of optimizers.tt in
float64, straight from their definitions, beside what the program makes."""
import json
import math
import subprocess
import sys

TITANC, MODEL = sys.argv[1:]
SEQ, BATCH, STEPS, LR, DECAY = 4, 2, 6, 0.05, 0.1
DATA = bytes((i * i * 7 + 13 * i + 5) % 251 for i in range(97))


def value(i):
    return DATA[i % len(DATA)] / 128 - 1


def gradients(step, passes):
    """Of the vector, then of the matrix row by row: the loss is linear in both."""
    w, m = [0.0] * SEQ, [0.0] * SEQ * SEQ
    rows = BATCH * passes
    for row in range((step - 1) * rows, step * rows):
        x = [value(row * SEQ + i) for i in range(SEQ)]
        y = [value(row * SEQ + i + 1) for i in range(SEQ)]
        for i in range(SEQ):
            w[i] += x[i]
            for j in range(SEQ):
                m[i * SEQ + j] += x[i] * y[j]
    return w + m


def factor(step, shape, warmup=2, ratio=0.8, least=0.1, at=0):
    """Warm-up, stable, decay, for step counted from 1."""
    s, w = step - 1, min(warmup, STEPS)
    d = min(round(STEPS * ratio), STEPS - w)
    stable = STEPS + 1 - w - d
    f = 1.0
    if s < w:
        f = (s + 1) / w
    elif s >= w + stable:
        x = (s + 1 - w - stable) / d
        f = least + (1 - least) * [1 - x, 1 - math.sqrt(x), (1 + math.cos(math.pi * x)) / 2][shape]
    return f * (0.5 if at and step >= at else 1)


class Number:
    """One element: its value and the states of its rule."""

    def __init__(self):
        self.p, self.v, self.m, self.m2 = 1.0, 0.0, 0.0, 0.0


def ema(old, new, b):
    return b * old + (1 - b) * new


def adam_family(e, g, t, lr, phi, b1, b2, decoupled, nu):
    e.m, e.v = ema(e.m, g, b1), ema(e.v, g * g, b2)
    top = (1 - nu) * g + nu * e.m / (1 - b1 ** t)
    e.p *= 1 - (phi if decoupled else lr) * DECAY
    e.p -= lr * top / (math.sqrt(e.v) / math.sqrt(1 - b2 ** t) + 1e-8)


def adamw(e, g, t, lr, phi):
    adam_family(e, g, t, lr, phi, 0.8 if t >= 4 else 0.9, 0.95, False, 1)


def adam(e, g, t, lr, phi):
    g += DECAY * e.p
    e.m, e.v = ema(e.m, g, 0.9), ema(e.v, g * g, 0.95)
    e.p -= lr * e.m / (1 - 0.9 ** t) / (math.sqrt(e.v / (1 - 0.95 ** t)) + 1e-8)


def sgd(e, g, t, lr, phi):
    e.p -= lr * (g + DECAY * e.p)


def nesterov(e, g, t, lr, phi):
    g += DECAY * e.p
    e.m = 0.9 * e.m + g
    e.p -= lr * (g + 0.9 * e.m)


def momentum(e, g, t, lr, phi):
    e.m = 0.9 * e.m + g
    e.p -= lr * e.m


def lion(e, g, t, lr, phi):
    c = ema(e.m, g, 0.9)
    e.p = e.p * (1 - lr * DECAY) - lr * ((c > 0) - (c < 0))
    e.m = ema(e.m, g, 0.99)


def decoupled(e, g, t, lr, phi):
    adam_family(e, g, t, lr, phi, 0.9, 0.95, True, 1)


def qhadamw(e, g, t, lr, phi):
    adam_family(e, g, t, lr, phi, 0.9, 0.95, True, 0.7)


def adopt_family(e, g, t, lr, phi, decouple, nu, clip, b1=0.9, b2=0.9999, eps=1e-6):
    if not decouple:
        g += DECAY * e.p
    if t == 1:
        e.v = g * g
        return
    n = g / max(math.sqrt(e.v), eps)
    if clip:
        n = max(-((t - 1) ** 0.25), min((t - 1) ** 0.25, n))
    if decouple:
        e.p *= 1 - phi * DECAY
    e.m = ema(e.m, n, b1)
    e.p -= lr * ((1 - nu) * n + nu * e.m)
    e.v = ema(e.v, g * g, b2)


def adopt(e, g, t, lr, phi):
    adopt_family(e, g, t, lr, phi, False, 1, False)


def qhadopt(e, g, t, lr, phi):
    adopt_family(e, g, t, lr, phi, True, 0.7, True)


def aggmo_adamw(e, g, t, lr, phi):
    e.m, e.m2, e.v = ema(e.m, g, 0.9), ema(e.m2, g, 0.99), ema(e.v, g * g, 0.95)
    top = 0.3 * g + 0.5 * e.m / (1 - 0.9 ** t) + 0.2 * e.m2 / (1 - 0.99 ** t)
    e.p = e.p * (1 - phi * DECAY) - lr * top / (math.sqrt(e.v / (1 - 0.95 ** t)) + 1e-8)


def aggmo_adopt(e, g, t, lr, phi):
    g += DECAY * e.p
    if t == 1:
        e.v = g * g
        return
    n = g / max(math.sqrt(e.v), 1e-6)
    e.m, e.m2 = ema(e.m, n, 0.9), ema(e.m2, n, 0.99)
    e.p -= lr * (0.3 * n + 0.5 * e.m / (1 - 0.9 ** (t - 1)) + 0.2 * e.m2 / (1 - 0.99 ** (t - 1)))
    e.v = ema(e.v, g * g, 0.95)


def switching(e, g, t, lr, phi):
    b, b2, w = 0.99 if t < 3 else 0.95 if t < 5 else 0.97, 0.95 if t < 2 else 0.9 if t < 4 else 0.8, 0.5 if t < 4 else 0.3 if t < 5 else 0.6
    e.m, e.m2, e.v = ema(e.m, g, 0.9), ema(e.m2, g, b), ema(e.v, g * g, b2)
    top = (1 - w - 0.2) * g + w * e.m / (1 - 0.9 ** t) + 0.2 * e.m2 / (1 - b ** t)
    e.p = e.p * (1 - phi * DECAY) - lr * top / (math.sqrt(e.v / (1 - b2 ** t)) + 1e-8)


def multiply(a, b):
    return [[sum(x * y for x, y in zip(r, c)) for c in zip(*b)] for r in a]


def muon(matrix, grads, moments, lr):
    """One step of a square matrix, in rows."""
    for i in range(SEQ * SEQ):
        moments[i] = 0.95 * moments[i] + grads[i]
    u = [grads[i] + 0.95 * moments[i] for i in range(SEQ * SEQ)]
    size = math.sqrt(sum(x * x for x in u)) + 1e-7
    x = [[u[i * SEQ + j] / size for j in range(SEQ)] for i in range(SEQ)]
    for _ in range(5):
        a = multiply(x, list(zip(*x)))
        aa = multiply(a, a)
        b = [[-4.775 * a[i][j] + 2.0315 * aa[i][j] for j in range(SEQ)] for i in range(SEQ)]
        bx = multiply(b, x)
        x = [[3.4445 * x[i][j] + bx[i][j] for j in range(SEQ)] for i in range(SEQ)]
    for i in range(SEQ):
        for j in range(SEQ):
            e = matrix[i * SEQ + j]
            e.p = e.p * (1 - lr * DECAY) - lr * x[i][j]


RULES = [adamw, adam, sgd, nesterov, lion, None, decoupled, adopt, qhadopt, qhadamw, aggmo_adamw, aggmo_adopt, switching]


def begin_anew(elements, moments, step, zero_m, zero_v):
    """What is named begins at zero in that step and the one of twice its number."""
    for e in elements:
        if zero_m and step in (zero_m, 2 * zero_m):
            e.m = e.m2 = 0.0
        if zero_v and step in (zero_v, 2 * zero_v):
            e.v = 0.0
    if zero_m and step in (zero_m, 2 * zero_m):
        moments[:] = [0.0] * len(moments)


def by_hand(rule, passes, most, zero_m=0, zero_v=0, **schedule):
    elements, moments = [Number() for _ in range(SEQ + SEQ * SEQ)], [0.0] * SEQ * SEQ
    for step in range(1, STEPS + 1):
        yield [e.p for e in elements], LR * factor(step, **schedule)
        begin_anew(elements, moments, step, zero_m, zero_v)
        g = gradients(step, passes)
        norm = math.sqrt(sum(x * x for x in g))
        if most:
            g = [x * min(1, most / (norm + 1e-6)) for x in g]
        phi = factor(step, **schedule)
        each = momentum if rule is None else rule
        split = SEQ if rule is None else len(elements)
        for e, x in zip(elements[:split], g):
            each(e, x, step, LR * phi, phi)
        if rule is None:
            muon(elements[SEQ:], g[SEQ:], moments, LR * phi)


def run(name, **config):
    sets = [a for k, v in config.items() for a in ("-D", f"{k}={v}")]
    subprocess.run([TITANC, MODEL, "--dtype", "f32", *sets, "-o", name], check=True)
    subprocess.run(["./" + name, "--data", "data.txt", "--log-every", "1", "--metrics",
                    name + ".jsonl", "--quiet"], check=True)
    return [json.loads(line) for line in open(name + ".jsonl")]


def compare(name, steps, hand):
    for got, (want, lr) in zip(steps, hand, strict=True):
        have = got["vector"] + got["matrix"]
        worst = max(abs(a - b) for a, b in zip(have, want, strict=True))
        if worst > 2e-6 or abs(got["lr"] - lr) > 1e-6 * lr:
            sys.exit(f"optimizers.py: {name}, step {got['step']}: {worst:.2g} off; lr {got['lr']} for {lr}")
    moved = max(abs(a - 1) for a in steps[-1]["vector"])
    if not 1e-3 < moved:
        sys.exit(f"optimizers.py: {name}: nothing moved")


open("data.txt", "wb").write(DATA)
for i, rule in enumerate(RULES):
    compare(f"optimizer {i}", run("step", optimizer=i), by_hand(rule, 1, 0, shape=0))
for i, rule in enumerate(RULES):
    # Without a bound the first quotient of ADOPT behind a mean of zero has no size to compare.
    v = 0 if rule in (sgd, adopt, aggmo_adopt, switching) else 3
    if rule not in (sgd, switching):
        compare(f"optimizer {i} anew", run("step", optimizer=i, zero_m_at=2, zero_v_at=v), by_hand(rule, 1, 0, 2, v, shape=0))
for shape in (1, 2):
    compare(f"schedule {shape}", run("step", schedule=shape, optimizer=2), by_hand(sgd, 1, 0, shape=shape))
compare("no decay", run("step", optimizer=2, ratio=0), by_hand(sgd, 1, 0, shape=0, ratio=0))
compare("long warm-up", run("step", optimizer=2, warmup=9), by_hand(sgd, 1, 0, shape=0, warmup=9))
compare("switch", run("step", optimizer=2, at=4), by_hand(sgd, 1, 0, shape=0, at=4))
compare("late switch", run("step", optimizer=2, at=99), by_hand(sgd, 1, 0, shape=0, at=99))
compare("clipped", run("step", optimizer=0, clip=0.5), by_hand(adamw, 1, 0.5, shape=0))
golden = [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
rates = [s["lr"] / LR for s in run("step", optimizer=2, least=0, steps=10)]
if len(rates) != 10 or max(abs(a - b) for a, b in zip(rates, golden)) > 1e-6:
    sys.exit(f"optimizers.py: rates {rates} for {golden}")
compare("two passes", run("step", optimizer=0, accumulate=2), by_hand(adamw, 2, 0, shape=0))
