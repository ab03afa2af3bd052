"""Parts about products in eight bits and fewer: what they cost, and whether a
model learns with them."""
import os
import re
import shutil
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor

import gpu

from .base import BESIDE, Failed, Part, at_least, guarded, passed
from .fast import step_rows, wish_of
from .right import TEXT, values_of

PART_OF_TENSORWISE = 0.98
SEEDS = (1, 2, 3)  # of weights and of the order of rows
LAST = 50          # steps whose losses are averaged
WRONG = 3          # % off: four bits whose scales saturate are 1 or 2
SECONDS = 600  # blocks that are multiplied out beside others take long


def build_float8(b):
    gpu.compile_works(os.path.join(b.build, "titanc"), b.folder,
                      gpu.EIGHT_WORKS)


def beside_tensorwise(work, rates):
    """Of a recipe with more scales, what is left of the rate with few."""
    whole = rates.get(work["config"] + "-tensorwise")
    mine = rates.get(work["name"])
    if whole and mine and work["plan"] == "rowwise":
        yield (f"{work['name']}, beside tensorwise", f"{mine / whole:.3f}",
               f">= {PART_OF_TENSORWISE}",
               at_least(mine / whole, PART_OF_TENSORWISE))


def float8_rows(c, work, wish, rates):
    results = gpu.run_work(work, wish, c.scratch, float("inf"))
    rates[work["name"]] = results.get("titan", {}).get("rate")
    yield from step_rows(c, work, results)
    yield from beside_tensorwise(work, rates)


def warm_peer(peer, folder):
    """Two layers of a peer: its compiler finds again what it made for them."""
    values = {"python": sys.executable, "warmup": 1, "steps": 2,
              "jsonl": os.path.join(folder, "warm.jsonl")}
    command = [word.format(**values) for word in peer["command"]]
    gpu.run_group(command + ["--layers", "2"], peer["seconds"],
                  os.path.join(folder, "warm.log"))


def warm_peers(c):
    """Compilers take most of a peer's time, so they run beside each other."""
    peers = [p for work in gpu.EIGHT_WORKS for p in work["peers"]]
    with ThreadPoolExecutor(len(peers)) as pool:
        for i, peer in enumerate(peers):
            os.makedirs(c.room(f"warm{i}"), exist_ok=True)
            pool.submit(warm_peer, peer, c.room(f"warm{i}"))


def run_float8(c):
    wish, rates = wish_of(c), {}
    if c.options.torch and not c.options.no_peers:
        yield "peers of the steps", c.options.torch, "", "missing"
    elif not c.options.no_peers:
        warm_peers(c)
    for work in gpu.EIGHT_WORKS:
        yield from guarded(work["name"],
                           lambda: list(float8_rows(c, work, wish, rates)))


def recipes_of(plans):
    """The plans of a file, each of which is named after its recipe."""
    with open(plans) as f:
        return re.findall(r"^plan (\w+)", f.read(), re.M)


def build_recipes(b):
    if not b.options.text:
        return
    shutil.copy(b.options.text, b.path("text"))
    shutil.copy(gpu.RECIPES, b.path("recipes.tt"))
    size = ["--config", "125m", "--dtype", "bf16"] + values_of(TEXT)
    b.compile("llama3", "bf16", size)
    for recipe in recipes_of(gpu.RECIPES):
        b.program(b.source("models", "llama3.tt"), recipe,
                  [gpu.RECIPES, "--plan", recipe] + size)


def recipe_loss(c, text, run):
    """Of one run; what went wrong, if something did."""
    recipe, seed = run
    try:
        steps = c.train(c.program(recipe), [
            "--data", text, "--shuffle", "--seed", str(seed)],
            c.room(f"{recipe}.{seed}.jsonl"), SECONDS)
    except Failed as e:
        return e
    return statistics.fmean(s["loss"] for s in steps[-LAST:])


def recipe_row(recipe, losses, plain):
    """A recipe's losses beside bf16's, each with the same weights and rows."""
    figure = f"125M, {recipe}: loss of the last {LAST} steps, {len(SEEDS)} seeds"
    for x in losses + plain:
        if isinstance(x, Failed):
            return figure, str(x), "<= 1 %", x.state
    offs = [100 * (x - p) / p for x, p in zip(losses, plain)]
    off = statistics.fmean(offs)
    return (figure, f"{statistics.fmean(losses):.4f}, bf16 "
            f"{statistics.fmean(plain):.4f}: {off:+.2f} % (of one seed "
            f"{min(offs):+.2f} to {max(offs):+.2f})", "<= 1 %",
            "short" if 1 < abs(off) <= WRONG else passed(abs(off) <= 1))


def run_recipes(c):
    text = c.options.text or c.path("text")
    if not os.path.exists(text):
        raise Failed("no text: --build with --text FILE", missing=True)
    recipes = recipes_of(c.path("recipes.tt"))
    names = ["bf16"] + recipes
    runs = [(name, seed) for name in names for seed in SEEDS]
    with ThreadPoolExecutor(BESIDE) as pool:
        done = dict(zip(runs, pool.map(
            lambda run: recipe_loss(c, text, run), runs)))
    losses = {name: [done[name, seed] for seed in SEEDS] for name in names}
    for recipe in recipes:
        yield recipe_row(recipe, losses[recipe], losses["bf16"])


PARTS = [
    Part("recipes", "a text's bytes in few bits, beside bf16", build_recipes,
         run_recipes, False),
    Part("float8", "training steps in eight bits beside PyTorch", build_float8,
         run_float8, True),
]
