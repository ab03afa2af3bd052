"""Parts about products in eight bits and fewer: what they cost, and whether a
model learns with them."""
import functools
import os
import shutil

import gpu

from .base import Failed, Part, at_least, beside, guarded
from .fast import step_rows, wish_of
from .right import LAST, TEXT, last_loss, values_of

RECIPES = ("tensorwise", "rowwise", "rowwise_with_gw_hp", "blockwise", "mxfp8",
           "mxfp8_rceil", "mxfp4")
PART_OF_TENSORWISE = 0.98
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
    yield from step_rows(work, results)
    yield from beside_tensorwise(work, rates)


def run_float8(c):
    wish, rates = wish_of(c), {}
    if c.options.torch and not c.options.no_peers:
        yield "peers of the steps", c.options.torch, "", "missing"
    for work in gpu.EIGHT_WORKS:
        yield from guarded(work["name"],
                           lambda: list(float8_rows(c, work, wish, rates)))


def build_recipes(b):
    if not b.options.text:
        return
    shutil.copy(b.options.text, b.path("text"))
    size = ["--config", "125m", "--dtype", "bf16"] + values_of(TEXT)
    b.compile("llama3", "bf16", size)
    plans = b.source("models", "plans", "recipes.tt")
    for recipe in RECIPES:
        b.program(b.source("models", "llama3.tt"), recipe,
                  [plans, "--plan", recipe] + size)


def check_recipe(c, weights, text, plain, recipe):
    steps = c.train(c.program(recipe), ["--data", text, "--init-from", weights],
                    c.room(recipe + ".jsonl"), SECONDS)
    mine = last_loss(steps)
    off = abs(mine - plain) / plain
    yield (f"125M, {recipe}: loss of steps {301 - LAST} to 300",
           f"{mine:.4f}, bf16 {plain:.4f}: {100 * off:.2f} %", "<= 1 %",
           "ok" if off <= 0.01 else "FAILED")


def run_recipes(c):
    text = c.options.text or c.path("text")
    if not os.path.exists(text):
        raise Failed("no text: --build with --text FILE", missing=True)
    weights = c.room("weights")
    c.call([c.program("bf16"), "--steps", "0", "--export", weights, "--quiet"])
    plain = last_loss(c.train(c.program("bf16"), [
        "--data", text, "--init-from", weights], c.room("bf16.jsonl")))
    return beside((recipe, functools.partial(check_recipe, c, weights, text,
                                             plain, recipe))
                  for recipe in RECIPES)


PARTS = [
    Part("recipes", "a text's bytes in few bits, beside bf16", build_recipes,
         run_recipes, False),
    Part("float8", "training steps in eight bits beside PyTorch", build_float8,
         run_float8, True),
]
