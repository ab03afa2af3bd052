"""A budget's choice against plans made by hand, by the step that is predicted.

Each plan is what somebody would try: a mode for all layers, or for some of them,
with more or less of the record on the host.  Those whose planned peak fits the
budget are in the race; nothing is run, and no code is made.
"""
import itertools
import json
import os
import subprocess
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


def predicted(titanc, model, rules):
    """(peak bytes, seconds) of the 8B step under the rules; None: refused."""
    with tempfile.TemporaryDirectory() as folder:
        plan = os.path.join(folder, "p.tt")
        with open(plan, "w") as f:
            f.write("plan p {\n    " + "\n    ".join(rules) + "\n}\n")
        out = subprocess.run([titanc, model, plan, *SHAPE, "--plan", "p", "--stats=json"],
                             capture_output=True, text=True)
    if out.returncode:
        return None
    stats = json.loads(out.stdout)
    return stats["peak_bytes"], stats["step_seconds"]


def run(titanc, model, budget):
    mine = predicted(titanc, model, [f"remat repeat budget {budget} GiB"])
    if not mine:
        print(f"budget {budget} GiB: refused")
        return False
    rows = []
    for rules in hand_made():
        figures = predicted(titanc, model, rules)
        if figures:
            rows.append((*figures, "; ".join(rules)))
    fit = sorted((r for r in rows if r[0] <= budget * 2**30), key=lambda r: r[1])
    print(f"budget {budget} GiB: {mine[0] / 2**30:.2f} GiB, {mine[1] * 1e3:.1f} ms predicted; "
          f"{len(fit)} of {len(rows)} plans made by hand fit")
    for peak, seconds, text in fit[:5]:
        print(f"  {peak / 2**30:6.2f} GiB {seconds * 1e3:7.1f} ms  {text}")
    return not fit or mine[1] <= 1.03 * fit[0][1]
