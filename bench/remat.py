#!/usr/bin/env python3
"""A budget's choice against plans made by hand, by the step that is predicted.

Each plan is what somebody would try: a mode for all layers or for some of them, more
or less of the record, of the states or of the parameters on the host, and mixtures.
Those whose planned peak fits the budget are in the race; nothing is run, and no
code is made.

    tools/bench remat --budget 62 --programs DIR      # here
    DIR/remat.py DIR --card 0                         # on a GPU: a table

makes programs of each budget and of plans made by hand that fit it, the best by
prediction and some of the others, and measures them.  What one call measures
ran on one card, the budget's own plan among them: cards differ.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

SHAPE = ["--config", "8b", "--dtype", "bf16-states", "--target", "sm_90a"]
HAND = """
remat layer full
remat layer ops
remat layer ops except swiglu.wg
remat repeat every 2
remat repeat every 3
remat repeat keep wq, wk, wv
remat repeat keep attention
remat repeat keep wg, wu
remat layer full first 4
remat layer full first 8
remat layer full first 16
remat layer full first 24
remat layer ops first 16
remat layer remake wo
remat layer remake wq, wk, wv
remat layer remake attention
remat layer remake wu first 8
remat layer remake wu
remat layer remake wg, wu
remat layer remake wg, wu first 24
remat layer offload wg
remat layer offload wg first 16
remat layer offload attention
remat layer offload wg, attention
remat layer offload wg, wu
remat layer remake wu offload wg
remat layer remake wu offload wg, attention
remat layer remake wu offload wg, attention first 15; remat layer offload wg, attention
remat layer remake wu offload wg, attention first 16; remat layer offload wg, attention
remat layer remake wg offload wu, attention first 16; remat layer offload wu, attention
remat layer remake wu offload wg, attention first 20; remat layer offload wg, attention
remat layer remake wu offload wg first 24; remat layer offload wg
remat layer ops offload wg, attention first 16; remat layer offload wg, attention
remat layer ops offload wg first 20; remat layer offload wg
remat layer full first 12; remat layer offload wg, attention
remat layer remake wg, wu offload record
remat layer full offload record
offload state to host
offload state to host in head, table; remat layer offload wg, attention
offload wd to host; remat layer remake wu offload wg, attention first 24; remat layer offload wg, attention
offload state to host in wd; remat layer remake wu offload wg, attention first 22; remat layer offload wg, attention
offload state to host in wd; remat layer remake wu offload wg, attention
offload state to host in wd; remat layer ops offload wg, attention first 20; remat layer offload wg, attention
offload state to host in wd; remat layer ops offload wg first 24; remat layer offload wg
offload state to host in wd, attention; remat layer offload wg, attention
offload state to host in wd, wu; remat layer offload wg
offload state to host in wd; remat layer full
offload state to host in attention, head; remat layer remake wu offload wg, attention first 24; remat layer offload wg, attention
offload state to host in attention, head, table; remat layer remake wu offload wg, attention first 16; remat layer offload wg, attention
offload state to host in swiglu
"""


def hand_made():
    """The rules of each plan made by hand."""
    return [line.split("; ") for line in HAND.split("\n") if line]


def titanc_with(rules, command):
    """The compiler's answer for the 8B step under the rules."""
    with tempfile.TemporaryDirectory() as folder:
        plan = os.path.join(folder, "p.tt")
        with open(plan, "w") as f:
            f.write("plan p {\n    " + "\n    ".join(rules or ["mesh dp = 1"]) + "\n}\n")
        return subprocess.run(command[:2] + [plan] + command[2:] + SHAPE + ["--plan", "p"],
                              capture_output=True, text=True)


def predicted(titanc, model, rules):
    """(peak bytes, seconds, rules) of the 8B step under the rules."""
    out = titanc_with(rules, [titanc, model, "--stats=json"])
    if out.returncode:
        sys.exit(f"{'; '.join(rules)}: {out.stderr}")
    stats = json.loads(out.stdout)
    return stats["peak_bytes"], stats["step_seconds"], rules


def raced(titanc, model):
    """What is predicted of the plans made by hand, the fastest first."""
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        rows = pool.map(lambda rules: predicted(titanc, model, rules), hand_made())
    return sorted(rows, key=lambda r: r[1])


def fitting(rows, budget):
    return [r for r in rows if r[0] <= budget * 2**30]


def budgets_own(titanc, model, budget):
    return predicted(titanc, model, [f"remat repeat budget {budget} GiB"])


def run(titanc, model, budgets):
    rows, good = raced(titanc, model), True
    for budget in budgets:
        mine, fit = budgets_own(titanc, model, budget), fitting(rows, budget)
        print(f"budget {budget} GiB: {mine[0] / 2**30:.2f} GiB, {mine[1] * 1e3:.1f} ms "
              f"predicted; {len(fit)} of {len(rows)} plans made by hand fit")
        for peak, seconds, rules in fit[:5]:
            print(f"  {peak / 2**30:6.2f} GiB {seconds * 1e3:7.1f} ms  {'; '.join(rules)}")
        good = good and mine[0] <= budget * 2**30
        good = good and (not fit or mine[1] <= 1.03 * fit[0][1])
    return good


# ----------------------------------------------------------------- measured


def spread(rows, n):
    """N of the rows, evenly far apart."""
    return [rows[(i + 1) * len(rows) // (n + 1)] for i in range(min(n, len(rows)))]


def programs(titanc, model, budgets, best, others, folder):
    """Programs of the race, and what runs them: of each budget a card's."""
    hand, cards = raced(titanc, model), []
    os.makedirs(folder, exist_ok=True)
    for budget in budgets:
        fit, card = fitting(hand, budget), []
        for row in [budgets_own(titanc, model, budget)] + fit[:best] + spread(fit[best:], others):
            name = f"plan{len(cards)}.{len(card)}"
            out = titanc_with(row[2], [titanc, model, "-o", os.path.join(folder, name)])
            if out.returncode:
                sys.exit(out.stderr)
            card.append([name, *row])
        cards.append(card)
    with open(os.path.join(folder, "plans.json"), "w") as f:
        json.dump(cards, f, indent=1)
    shutil.copy(os.path.abspath(__file__), folder)


def step_of(program, steps, scratch):
    """The median step in ms behind the second, and a hash of losses and norms."""
    metrics = os.path.join(scratch, "metrics.jsonl")
    subprocess.run([program, "--data", os.path.join(scratch, "tokens.u32"), "--steps",
                    str(steps), "--log-every", "1", "--quiet", "--metrics", metrics],
                   check=True)
    with open(metrics) as f:
        rows = [json.loads(line) for line in f]
    os.remove(metrics)
    times = sorted(8192e3 / r["tokens_per_second"] for r in rows[2:])
    bits = str([(r["loss"], r["grad_norm"]) for r in rows]).encode()
    return times[len(times) // 2], hashlib.sha256(bits).hexdigest()[:8]


def measure(a, scratch):
    with open(os.path.join(a.folder, "plans.json")) as f:
        card = json.load(f)[a.card]
    with open(os.path.join(scratch, "tokens.u32"), "wb") as f:
        f.write(struct.pack("<65536I", *(i * 2654435761 % 2**32 % 128256 for i in range(65536))))
    own = None
    for name, peak, seconds, rules in card:
        try:
            ms, bits = step_of(os.path.join(a.folder, name), a.steps, scratch)
        except subprocess.CalledProcessError as e:
            print(f"| {'; '.join(rules)} | failed: {e.returncode}", flush=True)
            continue
        own = own or ms
        print(f"| `{'`; `'.join(rules)}` | {peak / 2**30:.1f} | {seconds * 1e3:.1f} | "
              f"{ms:.1f} | {ms / own:.3f} | {bits}", flush=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description="programs of plans, measured on a GPU")
    p.add_argument("folder")
    p.add_argument("--steps", type=int, default=7, help="of each run")
    p.add_argument("--card", type=int, default=0, help="which budget's, from 0")
    with tempfile.TemporaryDirectory() as folder:
        measure(p.parse_args(), folder)
