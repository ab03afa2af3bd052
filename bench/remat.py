#!/usr/bin/env python3
"""A budget's choice against plans made by hand, by the step that is predicted.

Each plan is what somebody would try: a mode for all layers, or for some of them,
with more or less of the record on the host.  Those whose planned peak fits the
budget are in the race; nothing is run, and no code is made.

    tools/bench remat --budget 62 --programs DIR --best 8     # here
    DIR/remat.py DIR                                          # on a GPU: a table

makes programs of the budget, of the plan without rules, and of as many plans
made by hand, the best by prediction, and measures them.
"""
import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

SHAPE = ["--config", "8b", "--dtype", "bf16-states", "--target", "sm_90a"]
# What is made again, the best known first; None: nothing.
REMADE = [None, "remake wu", "remake wg, wu", "remake wo", "full", "ops"]
MOVED = ["", "offload wg", "offload wg, attention", "offload record"]
TURNS = [8, 16, 24, 32]
LAYERS = 32


def hand_made():
    """Texts of rules: a mode for the first turns, an offload for all."""
    for n in (2, 3, 4):
        yield [f"remat repeat every {n}"]
    yield ["remat repeat keep wq, wk, wv"]
    for mode, moved, turns in itertools.product(REMADE, MOVED, TURNS):
        first = " ".join(filter(None, [mode or "none", moved]))
        if mode is None and not moved:
            continue
        if mode and "wg" in mode and "wg" in moved:
            continue
        rules = [f"remat layer {first}" + (f" first {turns}" if turns < LAYERS else "")]
        if turns < LAYERS and moved and mode:
            rules.append(f"remat layer {moved}")
        yield rules


def titanc_with(rules, command):
    """The compiler's answer for the 8B step under the rules."""
    with tempfile.TemporaryDirectory() as folder:
        plan = os.path.join(folder, "p.tt")
        with open(plan, "w") as f:
            f.write("plan p {\n    " + "\n    ".join(rules or ["mesh dp = 1"]) + "\n}\n")
        return subprocess.run(command[:2] + [plan] + command[2:] + SHAPE + ["--plan", "p"],
                              capture_output=True, text=True)


def predicted(titanc, model, rules):
    """(peak bytes, seconds) of the 8B step under the rules; None: refused."""
    out = titanc_with(rules, [titanc, model, "--stats=json"])
    if out.returncode:
        return None
    stats = json.loads(out.stdout)
    return stats["peak_bytes"], stats["step_seconds"]


def race(titanc, model, budget):
    """(peak, seconds, rules) of the budget; of the plans that fit, the best
    first; how many plans there are.  None: the budget is refused."""
    rules = [f"remat repeat budget {budget} GiB"]
    mine = predicted(titanc, model, rules)
    if not mine:
        return None
    rows = [(*f, r) for r in hand_made() for f in [predicted(titanc, model, r)] if f]
    fit = sorted((r for r in rows if r[0] <= budget * 2**30), key=lambda r: r[1])
    return (*mine, rules), fit, len(rows)


def run(titanc, model, budget):
    found = race(titanc, model, budget)
    if not found:
        print(f"budget {budget} GiB: refused")
        return False
    mine, fit, n = found
    print(f"budget {budget} GiB: {mine[0] / 2**30:.2f} GiB, {mine[1] * 1e3:.1f} ms predicted; "
          f"{len(fit)} of {n} plans made by hand fit")
    for peak, seconds, rules in fit[:5]:
        print(f"  {peak / 2**30:6.2f} GiB {seconds * 1e3:7.1f} ms  {'; '.join(rules)}")
    return not fit or mine[1] <= 1.03 * fit[0][1]


# ----------------------------------------------------------------- measured


def programs(titanc, model, budget, best, folder):
    """Programs of the race, and what runs them."""
    mine, fit, _ = race(titanc, model, budget)
    plain = predicted(titanc, model, [])
    os.makedirs(folder, exist_ok=True)
    rows = [(*plain, []), mine] + fit[:best]
    for i, (_, _, rules) in enumerate(rows):
        out = titanc_with(rules, [titanc, model, "-o", os.path.join(folder, f"plan{i}")])
        if out.returncode:
            sys.exit(out.stderr)
    with open(os.path.join(folder, "plans.json"), "w") as f:
        json.dump(rows, f)
    shutil.copy(os.path.abspath(__file__), folder)


def step_of(folder, name, steps):
    """The median step in ms, and the bits of losses and norms."""
    metrics = os.path.join(folder, name + ".jsonl")
    subprocess.run([os.path.join(folder, name), "--data", os.path.join(folder, "tokens.u32"),
                    "--steps", str(steps), "--log-every", "1", "--quiet", "--metrics", metrics],
                   check=True)
    with open(metrics) as f:
        rows = [json.loads(line) for line in f]
    os.remove(metrics)
    times = sorted(8192e3 / r["tokens_per_second"] for r in rows[2:])
    return times[len(times) // 2], [(r["loss"], r["grad_norm"]) for r in rows]


def measure(folder, steps=7):
    with open(os.path.join(folder, "plans.json")) as f:
        rows = json.load(f)
    with open(os.path.join(folder, "tokens.u32"), "wb") as f:
        f.write(struct.pack("<65536I", *(i * 2654435761 % 2**32 % 128256 for i in range(65536))))
    bits = None
    for i, (peak, seconds, rules) in enumerate(rows):
        ms, mine = step_of(folder, f"plan{i}", steps)
        bits = bits or mine
        print(f"{peak / 2**30:6.2f} GiB {ms:7.1f} ms ({seconds * 1e3:6.1f} predicted)"
              f"{'' if mine == bits else ' OTHER BITS'}  {'; '.join(rules) or 'none'}", flush=True)


if __name__ == "__main__":
    measure(sys.argv[1])
