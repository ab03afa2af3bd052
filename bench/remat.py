#!/usr/bin/env python3
"""A budget's choice against plans made by hand, by the step that is predicted.

Each plan is what somebody would try: a mode for all layers, or for some of them,
with more or less of the record on the host.  Those whose planned peak fits the
budget are in the race; nothing is run, and no code is made.

    tools/bench remat --budget 62 --programs DIR --best 8     # here
    DIR/remat.py DIR                                          # on a GPU: a table

makes programs of each budget, of the plan without rules, and of as many plans
made by hand, the best by prediction, and measures them.
"""
import argparse
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
TURNS = [4, 8, 12, 16, 20, 24, 28, 32]
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


def raced(titanc, model):
    """(peak, seconds, rules) of the plans made by hand, the fastest first."""
    rows = [(*f, r) for r in hand_made() for f in [predicted(titanc, model, r)] if f]
    return sorted(rows, key=lambda r: r[1])


def fitting(rows, budget):
    return [r for r in rows if r[0] <= budget * 2**30]


def budgets_own(titanc, model, budget):
    """(peak, seconds, rules) of what a budget chooses; None: it is refused."""
    rules = [f"remat repeat budget {budget} GiB"]
    found = predicted(titanc, model, rules)
    return found and (*found, rules)


def run(titanc, model, budgets):
    rows, good = raced(titanc, model), True
    for budget in budgets:
        mine, fit = budgets_own(titanc, model, budget), fitting(rows, budget)
        if not mine:
            print(f"budget {budget} GiB: refused")
            good = False
            continue
        print(f"budget {budget} GiB: {mine[0] / 2**30:.2f} GiB, {mine[1] * 1e3:.1f} ms "
              f"predicted; {len(fit)} of {len(rows)} plans made by hand fit")
        for peak, seconds, rules in fit[:5]:
            print(f"  {peak / 2**30:6.2f} GiB {seconds * 1e3:7.1f} ms  {'; '.join(rules)}")
        good = good and (not fit or mine[1] <= 1.03 * fit[0][1])
    return good


# ----------------------------------------------------------------- measured


def programs(titanc, model, budgets, best, folder):
    """Programs of the race, and what runs them."""
    hand, rows = raced(titanc, model), [(*predicted(titanc, model, []), [])]
    for budget in budgets:
        mine = budgets_own(titanc, model, budget)
        rows += [r for r in [mine] + fitting(hand, budget)[:best] if r and r not in rows]
    os.makedirs(folder, exist_ok=True)
    for i, (_, _, rules) in enumerate(rows):
        out = titanc_with(rules, [titanc, model, "-o", os.path.join(folder, f"plan{i}")])
        if out.returncode:
            sys.exit(out.stderr)
    with open(os.path.join(folder, "plans.json"), "w") as f:
        json.dump(rows, f)
    shutil.copy(os.path.abspath(__file__), folder)


def step_of(program, steps, scratch):
    """The median step in ms behind the second, and the bits of losses and norms."""
    metrics = os.path.join(scratch, "metrics.jsonl")
    subprocess.run([program, "--data", os.path.join(scratch, "tokens.u32"), "--steps",
                    str(steps), "--log-every", "1", "--quiet", "--metrics", metrics],
                   check=True)
    with open(metrics) as f:
        rows = [json.loads(line) for line in f]
    times = sorted(8192e3 / r["tokens_per_second"] for r in rows[2:])
    return times[len(times) // 2], [(r["loss"], r["grad_norm"]) for r in rows]


def measure(a, scratch):
    with open(os.path.join(a.folder, "plans.json")) as f:
        rows = json.load(f)
    with open(os.path.join(scratch, "tokens.u32"), "wb") as f:
        f.write(struct.pack("<65536I", *(i * 2654435761 % 2**32 % 128256 for i in range(65536))))
    part, parts = (int(x) for x in a.part.split("/"))
    mine = [0] + [i for i in range(1, len(rows)) if i % parts == part % parts]
    bits = plain = None
    for i in mine:
        peak, seconds, rules = rows[i]
        try:
            ms, found = step_of(os.path.join(a.folder, f"plan{i}"), a.steps, scratch)
        except subprocess.CalledProcessError as e:
            print(f"| {'; '.join(rules)} | failed: {e.returncode}", flush=True)
            continue
        bits, plain = bits or found, plain or ms
        print(f"| {'; '.join(rules) or 'none'} | {peak / 2**30:.1f} | {seconds * 1e3:.1f} | "
              f"{ms:.1f} | {plain / ms:.3f} |{'' if found == bits else ' OTHER BITS'}",
              flush=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description="programs of plans, measured on a GPU")
    p.add_argument("folder")
    p.add_argument("--steps", type=int, default=7, help="of each run")
    p.add_argument("--part", default="1/1", help="2/3: of every three programs the "
                   "second; none has rules, and is in each part")
    with tempfile.TemporaryDirectory() as folder:
        measure(p.parse_args(), folder)
