"""Parts that are timed, each with the GPU for itself, beside the peers."""
import argparse
import json
import os
import re
import subprocess
import sys

import gpu

from .base import (Failed, Part, at_least, at_most, guarded, last_of,
                   need_torch)

# ----------------------------------------------------------------- attention

TIMED = {  # case: what it is, peer, musts of forward and backward, if any
    "large128": ("1 x 8192, hd 128, causal", "cuDNN", 1.0, 0.9),
    "large64": ("2 x 8192, hd 64, causal", "cuDNN", 1.0, 0.9),
    "long_documents128": ("1 x 8192, hd 128, documents", "Flex", 1.3, 1.3),
    "large256": ("1 x 4096, hd 256, causal", "cuDNN", 0, 0),
    "values192": ("1 x 4096, hd 192, values 128", "cuDNN", 0, 0),
    "slopes128": ("1 x 8192, hd 128, ALiBi", "", 0, 0)}
TIME = re.compile(r"^  (\w+) +forward ([\d.]+) ms (\d+)"
                  r"(?:, backward ([\d.]+) ms (\d+))?", re.M)


# Backwards that are more kernels than two, in steps: block of
# bench/attention.tt, values, elements of keys and of values.
STEPS = {
    "1 x 4096, hd 256, causal": ("groups", {"hd": 256, "vd": 256}, 256, 256),
    "1 x 4096, hd 192, causal": ("groups", {"hd": 192, "vd": 192}, 192, 192),
    "1 x 4000, hd 128, causal": ("groups", {"hd": 128, "vd": 128, "seq": 4000},
                                 128, 128),
    "1 x 4096, hd 128, learned slopes and cap": (
        "slopes", {"hd": 128, "vd": 128}, 128, 128),
    "1 x 4096, hd 128 + 64 shared by heads": (
        "latents", {"hd": 128, "vd": 128, "rd": 64, "kv": 16}, 192, 128)}
SHAPE = {"batch": 1, "seq": 4096, "kv": 4, "rep": 4, "steps": 4}
COMMAND = re.compile(r"^(.+?) +(\S+\.tt:\d+) +(\d+) +([\d.]+) +[\d.]+ +", re.M)


def build_attention(b):
    for i, (block, values, _, _) in enumerate(STEPS.values()):
        b.program(b.source("bench", "attention.tt"), f"step{i}",
                  ["--train", block, "--dtype", "bf16"] +
                  [f"-D{k}={v}" for k, v in dict(SHAPE, **values).items()])
    b.run(sys.executable, b.source("tests", "gpu", "attention.py"), "make",
          b.build, b.folder)
    for name in os.listdir(b.folder):
        if name.endswith((".ptx", ".tir")):
            os.remove(b.path(name))


def attention_rows(case, text):
    """Of what is printed about one case."""
    what, peer, *musts = TIMED[case]
    times = {found[0]: found[1:] for found in TIME.findall(text)}
    for i, way in enumerate(("forward", "backward")):
        ms, rate = times["ours"][2 * i:2 * i + 2]
        if not ms:
            continue
        figure = f"attention {what}, {way}"
        value, must = f"{ms} ms, {rate} TFLOP/s", ""
        if musts[i]:
            must = f">= {musts[i]} of {peer}"
        if peer not in times:
            yield figure, value, must, "missing" if musts[i] else "ok"
            continue
        ratio = float(times[peer][2 * i]) / float(ms)
        yield (figure, f"{value}, {ratio:.2f} of {peer}'s "
               f"{times[peer][2 * i]} ms", must, at_least(ratio, musts[i]))


def profiled(c, program, vocab, tokens):
    """Milliseconds, name and source of each command of a step."""
    data = c.room("tokens.u32")
    gpu.write_tokens(data, tokens + 1, vocab)
    text = c.call([program, "--data", data, "--steps", "6", "--profile",
                   c.room("trace.json"), "--quiet"])
    return [(float(ms), name, source)
            for name, source, _, ms in COMMAND.findall(text)]


def step_attention(c):
    for i, (what, (_, values, hd, vd)) in enumerate(STEPS.items()):
        seq = dict(SHAPE, **values)["seq"]
        rows = profiled(c, c.program(f"step{i}"), 256, seq)
        back = [ms for ms, name, _ in rows if "attention_backward" in name]
        work = 16 * seq * seq / 2 * 2 * (3 * hd + 2 * vd) / 1e9
        yield (f"attention {what}, backward in a step",
               f"{sum(back):.3f} ms, {work / sum(back):.0f} TFLOP/s, "
               f"{len(back)} kernels", "", "ok")


def run_attention(c):
    yield from guarded("attention in steps", lambda: step_attention(c))
    need_torch(c)
    text = c.call([sys.executable, c.path("attention.py"), "run", "--time"])
    cases = re.split(r"^ok +(\S+)", text, flags=re.M)
    for case, said in zip(cases[1::2], cases[2::2]):
        if case in TIMED:
            yield from attention_rows(case, said)
    yield (f"attention, {len(cases) // 2} masks and shapes",
           "right, two runs equal", "<= 1e-2", "ok")


# ----------------------------------------------------------------- operators

SHOWN = {"rmsnorm": "RMSNorm", "rmsnorm_back": "RMSNorm, backward",
         "norm_weight_back": "RMSNorm, gradient of the weight",
         "residual_norm": "residual + norm",
         "residual_norm_back": "residual + norm, backward",
         "swiglu": "SwiGLU", "swiglu_back": "SwiGLU, backward",
         "rope": "RoPE", "rope_back": "RoPE, backward",
         "adamw_bf16": "AdamW, bf16 states", "adamw_f32": "AdamW, f32 states"}


def build_operators(b):
    b.run(sys.executable, b.source("tests", "gpu", "operators.py"), "make",
          b.build, b.folder)
    for name in ("operators.ptx", "operators.tir"):
        os.remove(b.path(name))


def run_operators(c):
    need_torch(c)
    text = c.call([sys.executable, c.path("operators.py"), "run", "--json"])
    for r in map(json.loads, text.splitlines()):
        state = at_least(r["part"], 0.9) if r["good"] else "FAILED"
        yield (SHOWN.get(r["name"], r["name"]),
               f"{r['us']:.1f} us, {r['gb_s']:.0f} GB/s, "
               f"{100 * r['part']:.0f} % of a copy's {r['copy']:.0f}",
               ">= 90 %", state)


# -------------------------------------------------------------------- matmul

# What the compiler says of each product of a step (codegen/matmul_table.c).
CHOICE = re.compile(r"remark: ((?:matmul|product)\S* .*?) = (\S+), .*\[-Rpass")
SCORE = re.compile(r"(\S+) (\d+)@")
SOME_TILE = "128x256v"


def choices_of(b):
    """Who makes which product of an 8B step."""
    said = subprocess.run(
        [os.path.join(b.build, "titanc"), b.source("models", "llama3.tt"),
         "--config", "8b", "--dtype", "bf16-states", "--target", "sm_90a",
         "-Rpass=codegen", "--emit=image", "-o", b.path("image")],
        stderr=subprocess.PIPE, text=True, check=True).stderr
    os.remove(b.path("image"))
    return dict(CHOICE.findall(said))


def plain_of(key):
    """The product of the same operands and shape, without maps."""
    _, dtype, layout, shape = key.split()[:4]
    return f"matmul {dtype} {layout} {shape} writes bf16"


def build_matmul(b):
    choices = choices_of(b)
    with open(b.path("choices.json"), "w") as f:
        json.dump(choices, f, indent=1)
    made = {k: t for k, t in choices.items() if t != "library"}
    for key in list(made):
        made.setdefault(plain_of(key), SOME_TILE)
    subprocess.run([os.path.join(b.build, "make-matmul"), b.folder],
                   input="".join(f"{k} = {t}\n" for k, t in made.items()),
                   text=True, check=True)
    for name in [n for n in os.listdir(b.folder) if n.endswith(".ptx")]:
        b.run("ptxas", "-arch=sm_90a", b.path(name), "-o",
              b.path(name[:-4] + ".cubin"))
        os.remove(b.path(name))
    for name in ("gpu-matmul", "gpu-tune"):
        b.tool(name)


def scores_of(text):
    """TFLOP/s of each way of each product."""
    return {key: {who: int(rate) for who, rate in SCORE.findall(rest)}
            for key, rest in (line.split(" = ", 1)
                              for line in text.splitlines() if " = " in line)}


def product_row(key, tile, scores):
    """A plain product beside the library's; one with maps beside the library's
    plain one."""
    mine = scores[key][tile]
    beside = key if "library" in scores[key] else plain_of(key)
    lib = scores[beside].get("library")
    if not lib:
        return key, f"{mine} TFLOP/s", "no cuBLASLt", "missing"
    what = "" if beside == key else " plain"
    return (key, f"{mine} TFLOP/s ({tile}), {mine / lib:.2f} of the "
            f"library's{what} {lib}", ">= 0.97", at_least(mine / lib, 0.97))


def run_matmul(c):
    with open(c.path("choices.json")) as f:
        choices = json.load(f)
    right = c.call([c.path("gpu-matmul"), c.given]).strip().splitlines()[-1]
    scores = scores_of(c.call([c.path("gpu-tune"), c.given, "60", "1"]))
    for key, tile in choices.items():
        if tile != "library":
            yield product_row(key, tile, scores)
    n = sum(tile == "library" for tile in choices.values())
    yield (f"{n} other shapes of products, 8B", "cuBLASLt's own calls",
           ">= 0.97", "ok")
    yield "their kernels against sums in double", right, "0 wrong", "ok"


# ---------------------------------------------------------------------- loss

TOKENS, VOCAB = 8192, 128256


def build_loss(b):
    """A step of one layer; which lines of the model are head and loss."""
    b.compile("llama3", "step", ["--config", "8b", "-Dlayer=1", "--dtype",
                                 "bf16-states"])
    with open(b.source("models", "llama3.tt")) as f:
        lines = [i for i, x in enumerate(f, 1) if "@embed head" in x]
    with open(b.path("lines.json"), "w") as f:
        json.dump([f"llama3.tt:{i}" for i in lines], f)


GEMM = re.compile(r"gemm bf16 (\d+) x (\d+) x (\d+)[^:]*: (\S+) \S+ (\S+)"
                  r".*-> \S+ (\w+)")


def buffers_gib(described):
    """Of the tile of the loss: logits, and what they get for a derivative,
    which may be in their place."""
    tile = described.split("program train.loss.joint.tile")[1].split("end")[0]
    products = GEMM.findall(tile)
    rows, _, _, _, logits, dtype = next(p for p in products
                                        if int(p[1]) == VOCAB)
    slopes = next(p[3] for p in products if int(p[2]) == VOCAB)
    size = {"f32": 4, "bf16": 2}[dtype] + (0 if slopes == logits else 2)
    return int(rows) * VOCAB * size / 2 ** 30


def peer_loss(c):
    """Milliseconds of PyTorch's best way."""
    if c.options.torch:
        return None, c.options.torch
    out = c.room("loss.jsonl")
    c.call([sys.executable, os.path.join(c.top, "bench", "peers",
                                         "torch_kernels.py"),
            "--only", "head_loss", "--jsonl", out])
    with open(out) as f:
        lines = [json.loads(x) for x in f]
    good = [x for x in lines if x["name"] == "head_loss" and x.get("ok")]
    if not good:
        return None, last_of(*[x.get("error", "") for x in lines])
    best = min(good, key=lambda x: x["ms"])
    return best["ms"], best["how"]


def run_loss(c):
    with open(c.path("lines.json")) as f:
        lines = json.load(f)
    mine = sum(ms for ms, _, source in
               profiled(c, c.program("step"), VOCAB, TOKENS)
               if source in lines or source.startswith("loss.tt:"))
    theirs, how = peer_loss(c)
    figure = "head + loss, both ways, 8192 x 128256"
    if theirs is None:
        yield figure, f"{mine:.2f} ms", how, "missing"
    else:
        yield (figure, f"{mine:.2f} ms, {theirs / mine:.2f} of PyTorch's "
               f"{theirs:.2f} ({how})", ">= 1.0", at_least(theirs / mine, 1.0))
    gib = buffers_gib(c.call([c.program("step"), "--describe"]))
    yield ("head + loss, beside the weight's gradient", f"{gib:.2f} GiB",
           "<= 1 GiB", at_most(gib, 1.0))


# --------------------------------------------------------------------- steps


def build_steps(b):
    gpu.compile_programs(os.path.join(b.build, "titanc"), b.folder)


def wish_of(c):
    """What bench/gpu.py takes from its command line."""
    o = c.options
    return argparse.Namespace(programs=c.given, steps=o.steps, rounds=o.rounds,
                              peers=not o.torch and not o.no_peers, rare=False,
                              args="")


def step_rows(work, results):
    ours = results.get("titan", {"error": "no program"})
    if "error" in ours:
        raise Failed(last_of(ours["error"]))
    yield (f"{work['name']}, tokens a second", f"{ours['rate']:.0f}",
           f">= {work['least']}", at_least(ours["rate"], work["least"]))
    for peer in work["peers"]:
        r = results.get(peer["name"])
        if r and "error" in r:
            yield (f"{work['name']}, {peer['name']}", last_of(r["error"]), "",
                   "missing")
        elif r:
            yield (f"{work['name']}, beside {peer['name']}",
                   f"{ours['rate'] / r['rate']:.3f} of {r['rate']:.0f}",
                   "> 1", at_least(ours["rate"] / r["rate"], 1))
    if work["config"] == "1b":
        yield (f"{work['name']}, to the end of step 1",
               f"{ours['first']:.2f} s", "<= 2 s", at_most(ours["first"], 2))
    if work["config"] == "8b":
        beside = f"; {ours['gib']:.1f} with all" if ours["gib"] else ""
        yield (f"{work['name']}, arena", f"{ours['arena']:.1f} GiB{beside}",
               "<= 78 GiB", at_most(ours["arena"], 78))


def run_steps(c):
    wish = wish_of(c)
    if c.options.torch and not c.options.no_peers:
        yield "peers of the steps", c.options.torch, "", "missing"
    for work in gpu.WORKS:
        results = gpu.run_work(work, wish, c.scratch, float("inf"))
        yield from guarded(work["name"], lambda: step_rows(work, results))


PARTS = [
    Part("attention", "attention's kernels beside cuDNN and FlexAttention",
         build_attention, run_attention, True),
    Part("operators", "memory-bound operators beside a copy", build_operators,
         run_operators, True),
    Part("matmul", "products with maps beside cuBLASLt", build_matmul,
         run_matmul, True),
    Part("loss", "head + loss beside PyTorch", build_loss, run_loss, True),
    Part("steps", "training steps beside PyTorch", build_steps, run_steps,
         True),
]
