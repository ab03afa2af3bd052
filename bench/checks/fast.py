"""Parts that are timed, each with the GPU for itself, beside the peers."""
import argparse
import json
import os
import re
import subprocess
import sys

import gpu

from .base import (Failed, Part, at_least, at_most, figures_of, guarded,
                   last_of, need_torch, passed, predicted_row)

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
CASE = re.compile(r"^(ok|FAILED) +(\S+)", re.M)
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


def step_attention(c, program, what):
    _, values, hd, vd = STEPS[what]
    seq = dict(SHAPE, **values)["seq"]
    rows = profiled(c, c.program(program), 256, seq)
    back = [ms for ms, name, _ in rows if "attention_backward" in name]
    if not back:
        raise Failed("the profile names no kernel of attention's backward")
    work = 16 * seq * seq / 2 * 2 * (3 * hd + 2 * vd) / 1e9
    yield (f"attention {what}, backward in a step",
           f"{sum(back):.3f} ms, {work / sum(back):.0f} TFLOP/s, "
           f"{len(back)} kernels", "", "ok")


def run_attention(c):
    for i, what in enumerate(STEPS):
        yield from guarded(f"attention {what}, backward in a step",
                           lambda: step_attention(c, f"step{i}", what))
    need_torch(c)
    text = c.call([sys.executable, c.path("attention.py"), "run", "--time"],
                  fine=(0, 1))
    said = CASE.split(text)
    cases = list(zip(said[1::3], said[2::3], said[3::3]))
    for state, case, rest in cases:
        if state == "FAILED":
            yield (f"attention, {case}", rest.splitlines()[0].strip(),
                   "<= 1e-2", "FAILED")
        elif case in TIMED:
            yield from guarded(f"attention {TIMED[case][0]}",
                               lambda: attention_rows(case, rest))
    good = sum(state == "ok" for state, _, _ in cases)
    missing = set(TIMED) - {case for _, case, _ in cases}
    yield (f"attention, {good} masks and shapes", "right, two runs equal" +
           (f"; {len(missing)} not run: {last_of(text)}" if missing else ""),
           "<= 1e-2", "FAILED" if missing else "ok")


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
    text = c.call([sys.executable, c.path("operators.py"), "run", "--json"],
                  fine=(0, 1))
    made = [json.loads(x) for x in text.splitlines() if x.startswith("{")]
    for r in made:
        if "wrong" in r:
            yield (f"{r['name']} of every mantissa", f"{r['wrong']} of "
                   f"{r['of']} not the rounded ones", "0", passed(r["good"]))
            continue
        state = at_least(r["part"], 0.9) if r["good"] else "FAILED"
        wrong = "" if r["good"] else f", error {r['error']:.1e}"
        yield (SHOWN.get(r["name"], r["name"]),
               f"{r['us']:.1f} us, {r['gb_s']:.0f} GB/s, "
               f"{100 * r['part']:.0f} % of a copy's {r['copy']:.0f}{wrong}",
               ">= 90 %", state)
    names = {r["name"] for r in made}
    for name in [n for n in SHOWN if n not in names]:
        yield SHOWN[name], last_of(text), "", "FAILED"


# -------------------------------------------------------------------- matmul

# What the compiler says of each product of a step (codegen/matmul_table.c).
CHOICE = re.compile(r"remark: ((?:matmul|product)\S* .*?) = (\S+), .*\[-Rpass")
SCORE = re.compile(r"(\S+) (\d+)@")
SOME_TILE = "128x256v"


def choices_of(b):
    """Who makes which product of an 8B step; those that read a value which does
    not run along rows and columns are in the replay alone."""
    said = subprocess.run(
        [os.path.join(b.build, "titanc"), b.source("models", "llama3.tt"),
         "--config", "8b", "--dtype", "bf16-states", "--target", "sm_90a",
         "-Rpass=codegen", "--emit=image", "-o", b.path("image")],
        stderr=subprocess.PIPE, text=True, check=True).stderr
    os.remove(b.path("image"))
    return {key: who for key, who in CHOICE.findall(said) if "*" not in key}


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


def right_products(c):
    """The kernels that are wrong by their names, then how many are right."""
    said = c.call([c.path("gpu-matmul"), c.given], fine=(0, 1)).strip()
    *lines, last = said.splitlines()
    for line in lines:
        if line.startswith("WRONG "):
            yield line.split()[1], line, "right", "FAILED"
    good = last.endswith(" kernels, 0 wrong") and not last.startswith("0 ")
    yield ("products against sums in double", last, "0 wrong", passed(good))


def run_matmul(c):
    with open(c.path("choices.json")) as f:
        choices = json.load(f)
    yield from guarded("products against sums in double",
                       lambda: right_products(c))
    scores = scores_of(c.call([c.path("gpu-tune"), c.given, "25", "6"]))
    for key, tile in choices.items():
        if tile != "library":
            yield from guarded(key, lambda: [product_row(key, tile, scores)])
    n = sum(tile == "library" for tile in choices.values())
    yield (f"{n} other shapes of products, 8B", "cuBLASLt's own calls", "",
           "ok")


# ---------------------------------------------------------------------- loss

TOKENS, VOCAB, EMBED = 8192, 128256, 4096


def build_loss(b):
    """A step of one layer; which lines of the model are head and loss."""
    b.compile("llama3", "step", ["--config", "8b", "-Dlayer=1", "--dtype",
                                 "bf16-states"])
    with open(b.source("models", "llama3.tt")) as f:
        lines = [i for i, x in enumerate(f, 1) if "@embed head" in x]
    with open(b.path("lines.json"), "w") as f:
        json.dump([f"llama3.tt:{i}" for i in lines], f)


# Of --describe: a buffer that is live at the peak, and a command of a step.
LIVE = re.compile(r"^ +(\d+) bytes  .*?([^(/\s]+\.tt:\d+)\)$", re.M)
LISTED = re.compile(r"^ +(?:kernel|gemm|zero|copy) (\S+) .*?([^/\s]+\.tt:\d+)$",
                    re.M)


def is_loss(source, lines):
    return source in lines or source.startswith("loss.tt:")


def kernels_between(described, lines):
    """Kernels from the first command of head and loss to their last, that are
    nowhere else: one may be called after another line of the model."""
    listed = LISTED.findall(described.split("\nentry train")[1]
                            .split("\nentry ")[0])
    at = [i for i, (_, source) in enumerate(listed) if is_loss(source, lines)]
    if not at:
        raise Failed("no command of the step is of head or loss")
    outside = {name for name, _ in listed[:at[0]] + listed[at[-1] + 1:]}
    return {name for name, _ in listed[at[0]:at[-1] + 1]} - outside


def loss_ms(rows, names, lines):
    """Of a step's profile: head, loss and all products with the vocabulary."""
    ms = sum(ms for ms, name, source in rows
             if is_loss(source, lines) or name in names or
             (name.startswith("gemm") and f"x{VOCAB}" in name))
    if not ms:
        raise Failed("the profile names no command of head or loss")
    return ms


def buffers_gib(described, lines):
    """What head and loss have at the peak, which is in them, but the gradient
    of the weight."""
    live = [int(size) for size, source in LIVE.findall(described)
            if is_loss(source, lines)]
    gradient = VOCAB * EMBED * 4
    if gradient not in live:
        raise Failed("the peak is not in head and loss")
    live.remove(gradient)
    return sum(live) / 2 ** 30


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


def loss_memory(described, lines):
    gib = buffers_gib(described, lines)
    yield ("head + loss, beside the weight's gradient", f"{gib:.2f} GiB",
           "<= 1 GiB", at_most(gib, 1.0))


def run_loss(c):
    with open(c.path("lines.json")) as f:
        lines = json.load(f)
    described = c.call([c.program("step"), "--describe"])
    yield from guarded("head + loss, memory", lambda: loss_memory(described,
                                                                  lines))
    mine = loss_ms(profiled(c, c.program("step"), VOCAB, TOKENS),
                   kernels_between(described, lines), lines)
    theirs, how = peer_loss(c)
    figure = "head + loss, both ways, 8192 x 128256"
    if theirs is None:
        yield figure, f"{mine:.2f} ms", how, "missing"
    else:
        yield (figure, f"{mine:.2f} ms, {theirs / mine:.2f} of PyTorch's "
               f"{theirs:.2f} ({how})", ">= 1.0", at_least(theirs / mine, 1.0))


# --------------------------------------------------------------------- steps


def build_steps(b):
    gpu.compile_programs(os.path.join(b.build, "titanc"), b.folder)


def wish_of(c):
    """What bench/gpu.py takes from its command line."""
    o = c.options
    return argparse.Namespace(programs=c.given, steps=o.steps, rounds=o.rounds,
                              peers=not o.torch and not o.no_peers, rare=False,
                              args="")


def said_row(c, work, rate):
    """Of the median step, beside what titanc has said of the program."""
    return predicted_row(work["name"], figures_of(c, work["name"]),
                         work["tokens"] / rate)


def step_rows(c, work, results):
    ours = results.get("titan", {"error": "no program"})
    if "error" in ours:
        raise Failed(last_of(ours["error"]))
    must = f">= {work['least']}" if work["least"] else ""
    yield (f"{work['name']}, tokens a second", f"{ours['rate']:.0f}", must,
           at_least(ours["rate"], work["least"]))
    for peer in work["peers"]:
        r = results.get(peer["name"])
        if r and "error" in r:
            yield (f"{work['name']}, {peer['name']}", last_of(r["error"]), "",
                   "missing")
        elif r:
            yield (f"{work['name']}, beside {peer['name']}",
                   f"{ours['rate'] / r['rate']:.3f} of {r['rate']:.0f}",
                   "> 1", at_least(ours["rate"] / r["rate"], 1))
    yield from guarded(work["name"], lambda: [said_row(c, work, ours["rate"])])
    if work["config"] == "1b":
        yield (f"{work['name']}, to the end of step 1",
               f"{ours['first']:.2f} s", "<= 2 s", at_most(ours["first"], 2))
    if work["config"] == "8b":
        beside = f"; {ours['gib']:.1f} with all" if ours["gib"] else ""
        yield (f"{work['name']}, arena", f"{ours['arena']:.1f} GiB{beside}",
               f"<= {work['arena']} GiB" if "arena" in work else "",
               at_most(ours["arena"], work.get("arena", float("inf"))))


def run_steps(c):
    wish = wish_of(c)
    if c.options.torch and not c.options.no_peers:
        yield "peers of the steps", c.options.torch, "", "missing"
    for work in gpu.WORKS:
        yield from guarded(work["name"], lambda: step_rows(c, work, gpu.run_work(
            work, wish, c.scratch, float("inf"))))


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
