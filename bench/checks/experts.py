"""A part about layers of routed experts: losses beside those of the host, and how fast a step is by each recipe.

Their rows are as many as chose each expert, so nothing of a library makes their products.  What a step takes is set against what titanc has
said of the program, and, of a recipe, against bf16's in the same call."""
import json
import os

import gpu

from .base import Failed, Part, at_least, figures_of, guarded, passed
from .ranks import apart, curve, equal
from .scale import Run, arena_row, rate, step_row

PLANS = {"none": "bf16", "rowwise": "rowwise", "tensorwise": "tensorwise", "blockwise": "blockwise"}
SEQ, BATCH, VOCAB = 8192, 2, 4096  # of the config
SMALL = {"batch": 2, "seq": 256, "vocab": 256, "embed": 256, "ff": 256, "layer": 2}
STEPS, SMALL_STEPS = 16, 5
BOUND = 2e-2  # few bits, beside f32


def options_of(plan, dtype, sizes):
    return ["--config", "large", "--plan", plan, "--dtype", dtype] + [f"-D{k}={v}" for k, v in sizes.items()]


def small_tokens(folder):
    path = os.path.join(folder, "small.u32")
    gpu.write_tokens(path, (SMALL_STEPS + 1) * SMALL["batch"] * SMALL["seq"], SMALL["vocab"])
    return path


def build_experts(b):
    source = b.source("bench", "experts.tt")
    for plan in PLANS:
        b.program(source, plan, options_of(plan, "bf16-states", {}) + ["--stats=json"], b.path(plan + ".json"))
        b.program(source, "small." + plan, options_of(plan, "bf16", SMALL))
    b.titanc(source, b.path("host"), options_of("none", "f32", SMALL))
    data = small_tokens(b.folder)
    b.run(b.path("host"), "--data", data, "--steps", str(SMALL_STEPS), "--log-every", "1", "--quiet", "--metrics", b.path("host.jsonl"))
    os.remove(b.path("host"))


def small_row(c, plan):
    with open(c.path("host.jsonl")) as f:
        host = curve(json.loads(line) for line in f)
    rows = c.train(c.program("small." + plan), ["--data", c.path("small.u32"), "--steps", str(SMALL_STEPS)], c.room(f"small.{plan}.jsonl"))
    off = apart(curve(rows), host)
    return f"experts, {PLANS[plan]}, {SMALL_STEPS} steps", f"{off:.1e} off the host's f32", f"<= {BOUND:.0e}", passed(off <= BOUND)


def data_of(c):
    path = c.room("large.u32")
    if not os.path.exists(path):
        gpu.write_tokens(path, (STEPS + 1) * BATCH * SEQ, VOCAB)
    return path


def timed(c, plan, name):
    return Run(c.train(c.program(plan), ["--data", data_of(c), "--steps", str(STEPS)], c.room(f"{plan}.{name}.jsonl")), "", "")


def rate_row(plan, run, plain):
    """Of a recipe, beside bf16 too."""
    figure, value = f"experts, {PLANS[plan]}, tokens a second", f"{rate(run):.0f}"
    if plan == "none":
        return figure, value, "", "ok"
    if plain is None:
        raise Failed("there is no run of bf16 to compare with", missing=True)
    return figure, f"{value}, {rate(run) / plain:.3f} of bf16's", "> 1", at_least(rate(run) / plain, 1)


def step_rows(c, plan, rates):
    """Of the faster of two runs."""
    about, runs = f"experts, {PLANS[plan]}", [timed(c, plan, name) for name in ("one", "two")]
    yield equal(f"{about}, again", *[curve(run.rows) for run in runs])
    run = max(runs, key=rate)
    rates[plan] = rate(run)
    yield rate_row(plan, run, rates.get("none"))
    figures = figures_of(c, plan)
    yield step_row(about, run, figures, BATCH * SEQ)
    yield arena_row(about, run, figures)


def run_experts(c):
    rates = {}
    for plan in PLANS:
        yield from guarded(f"experts, {PLANS[plan]}", lambda plan=plan: [small_row(c, plan)])
    for plan in PLANS:
        yield from guarded(f"experts, {PLANS[plan]}", lambda plan=plan: step_rows(c, plan, rates))


PARTS = [Part("experts", "layers of routed experts, by recipe", build_experts, run_experts, True)]
