#!/usr/bin/env python3
"""Operators without matrix products: right, and at which part of a copy's rate.

    tests/gpu/operators.py make BUILD DIR    here: the kernels
    DIR/operators.py run [--json] [NAME...]  on the GPU, with PyTorch

They are the groups that a step of Llama 3 8B has, at its shapes, where nothing
else is fused with them.  `run` draws fresh inputs, poisons the results, compares
with a reference in float32, and times each by a CUDA graph that goes through
several sets of buffers, so that the cache holds nothing of the last turn.
Inverses, roots and quotients are not timed: their bits are those of rounded
ones, for every mantissa (tests/unit/usual.c says why that is enough).  Copies of as many bytes and of 256 MiB, timed in the same way behind it, say what
memory gives: the faster of the two rates counts.  Bytes: every operand once.
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
BOUND = 1e-2  # of the norm of the difference over that of the reference
SETS, SPAN_MS = 4, 60
COPIED = 256 << 20  # bytes that the copy of every operator moves

X = "bf16[rows, embed]"
XF = "f32[rows, embed]"
G = "bf16[rows, ff]"
R = "bf16[rows, kv, rep, freq]"
A = "f32[rows, freq]"
P = "f32[ff, embed]"
TEXT = f"""axes (rows = 8192, embed = 4096, ff = 14336, kv = 8, rep = 4, freq = 64, all = 16777216)

fn local @inverses(%x : f32[all]) -> f32[all] kind loop {{
  %y : f32[all] = map %x {{ 1 / _0 }}
  ret %y
}}

fn local @roots(%x : f32[all]) -> f32[all] kind loop {{
  %y : f32[all] = map %x {{ sqrt(_0) }}
  ret %y
}}

fn local @quotients(%x : f32[all], %y : f32[all]) -> f32[all] kind loop {{
  %z : f32[all] = map %x, %y {{ _0 / _1 }}
  ret %z
}}

fn local @rmsnorm(%x : {X}, %w : bf16[embed]) -> (f32[rows], {X}) kind loop {{
  %q : {XF} = map %x {{ f32(_0) * f32(_0) }}
  %s : f32[rows] = reduce %q kind sum axes (embed)
  %r : f32[rows] = map %s {{ rsqrt(_0 / 4096 + 1e-5) }}
  %y : {X} = map %x, %r, %w {{ bf16(f32(_0) * _1 * f32(_2)) }}
  ret %r, %y
}}

fn local @rmsnorm_back(%x : {X}, %r : f32[rows], %w : bf16[embed], %g : {X}) -> {X} kind loop {{
  %t : {XF} = map %g, %w, %x {{ f32(_0) * f32(_1) * f32(_2) }}
  %s : f32[rows] = reduce %t kind sum axes (embed)
  %c : f32[rows] = map %s, %r {{ _0 * -0.5 * (_1 * _1 * _1) / 4096 }}
  %d : {X} = map %g, %w, %r, %c, %x {{ bf16(f32(_0) * f32(_1) * _2 + (_3 * f32(_4) + _3 * f32(_4))) }}
  ret %d
}}

fn local @residual_norm(%x : {X}, %y : {X}, %w : bf16[embed]) -> ({X}, f32[rows], {X}) kind loop {{
  %h : {X} = map %x, %y {{ bf16(f32(_0) + f32(_1)) }}
  %q : {XF} = map %h {{ f32(_0) * f32(_0) }}
  %s : f32[rows] = reduce %q kind sum axes (embed)
  %r : f32[rows] = map %s {{ rsqrt(_0 / 4096 + 1e-5) }}
  %n : {X} = map %h, %r, %w {{ bf16(f32(_0) * _1 * f32(_2)) }}
  ret %h, %r, %n
}}

fn local @residual_norm_back(%x : {X}, %r : f32[rows], %w : bf16[embed], %g : {X}, %e : {X}) -> {X} kind loop {{
  %t : {XF} = map %g, %w, %x {{ f32(_0) * f32(_1) * f32(_2) }}
  %s : f32[rows] = reduce %t kind sum axes (embed)
  %c : f32[rows] = map %s, %r {{ _0 * -0.5 * (_1 * _1 * _1) / 4096 }}
  %d : {X} = map %e, %g, %w, %r, %c, %x {{ bf16(f32(_0) + f32(_1) * f32(_2) * _3 + (_4 * f32(_5) + _4 * f32(_5))) }}
  ret %d
}}

fn local @norm_weight_back(%x : {X}, %r : f32[rows], %g : {X}) -> f32[embed] kind loop {{
  %t : {XF} = map %g, %x, %r {{ f32(_0) * (f32(_1) * _2) }}
  %d : f32[embed] = reduce %t kind sum axes (rows)
  ret %d
}}

fn local @swiglu(%a : {G}, %b : {G}) -> {G} kind loop {{
  %y : {G} = map %a, %b {{ bf16(f32(_0) * sigmoid(f32(_0)) * f32(_1)) }}
  ret %y
}}

fn local @swiglu_back(%a : {G}, %b : {G}, %g : {G}) -> ({G}, {G}) kind loop {{
  %d : {G} = map %g, %b, %a {{ bf16(f32(_0) * f32(_1) * (sigmoid(f32(_2)) + f32(_2) * (sigmoid(f32(_2)) * (1 - sigmoid(f32(_2)))))) }}
  %e : {G} = map %g, %a {{ bf16(f32(_0) * (f32(_1) * sigmoid(f32(_1)))) }}
  ret %d, %e
}}

fn local @rope(%a : {R}, %c : {A}, %b : {R}, %s : {A}) -> ({R}, {R}) kind loop {{
  %d : {R} = map %a, %c, %b, %s {{ bf16(f32(_0) * _1 - f32(_2) * _3) }}
  %e : {R} = map %a, %s, %b, %c {{ bf16(f32(_0) * _1 + f32(_2) * _3) }}
  ret %d, %e
}}

fn local @rope_back(%a : {R}, %c : {A}, %b : {R}, %s : {A}) -> ({R}, {R}) kind loop {{
  %d : {R} = map %a, %c, %b, %s {{ bf16(f32(_0) * _1 + f32(_2) * _3) }}
  %e : {R} = map %a, %s, %b, %c {{ bf16(f32(_2) * _3 - f32(_0) * _1) }}
  ret %d, %e
}}
"""
MOMENTS = """  %n : f32[ff, embed] = map %g, %m {{ f32(_0) * 0.1 + f32(_1) * 0.9 }}
  %u : f32[ff, embed] = map %g, %v {{ f32(_0) * f32(_0) * 0.05 + f32(_1) * 0.95 }}
"""
STEP = "f32(_0) * 0.99997 - 0.0003 * (_1 / 0.1) / (sqrt(_2 / 0.05) + 1e-8)"


def adamw(name, dtype):
    p = f"{dtype}[ff, embed]"
    narrow = "bf16({})" if dtype == "bf16" else "{}"
    return f"""
fn local @{name}(%g : bf16[ff, embed], %m : {p}, %v : {p}, %p : {p}) -> ({p}, {p}, {p}) kind loop {{
{MOMENTS.format()}  %q : {p} = map %p, %n, %u {{ {narrow.format(STEP)} }}
  %x : {p} = map %n {{ {narrow.format("_0")} }}
  %y : {p} = map %u {{ {narrow.format("_0")} }}
  ret %q, %x, %y
}}
"""


# ---------------------------------------------------------------- references


def norm_back(torch, x, r, w, g):
    c = (g * w * x).sum(1, keepdim=True) * r[:, None] ** 3 / x.shape[1]
    return g * w * r[:, None] - c * x


def rms(torch, x):
    return torch.rsqrt((x * x).mean(1) + 1e-5)


def turn(a, c, b, s):
    c, s = c[:, None, None], s[:, None, None]
    return a * c - b * s, a * s + b * c


def step(torch, g, m, v, p):
    m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
    return (p * 0.99997 - 0.0003 * (m / 0.1) / (torch.sqrt(v / 0.05) + 1e-8),
            m, v)


def residual(torch, x, y, w):
    h = (x + y).bfloat16().float()
    return h, rms(torch, h), h * rms(torch, h)[:, None] * w


def swiglu_back(torch, a, b, g):
    s = torch.sigmoid(a)
    return g * b * (s + a * s * (1 - s)), g * a * s


# What results should be, from inputs in float32, and the must of the rate.
REFERENCES = {
    "rmsnorm": lambda t, x, w: (rms(t, x), x * rms(t, x)[:, None] * w),
    "rmsnorm_back": lambda t, *a: (norm_back(t, *a),),
    "residual_norm": residual,
    "residual_norm_back": lambda t, x, r, w, g, e:
        (e + norm_back(t, x, r, w, g),),
    "norm_weight_back": lambda t, x, r, g: ((g * x * r[:, None]).sum(0),),
    "swiglu": lambda t, a, b: (a * t.sigmoid(a) * b,),
    "swiglu_back": swiglu_back,
    "rope": lambda t, *a: turn(*a),
    "rope_back": lambda t, a, c, b, s: turn(a, c, b, -s),
    "adamw_bf16": step,
    "adamw_f32": step,
}

# Bit for bit: of all numbers from 1 to 4, and of pairs drawn from these.
EXACT = {
    "inverses": lambda t, x: 1 / x,
    "roots": lambda t, x: t.sqrt(x),
    "quotients": lambda t, x, y: x / y,
}


# ----------------------------------------------------------------------- make


def make(build, folder):
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, "operators")
    with open(stem + ".tir", "w") as f:
        f.write(TEXT + adamw("adamw_bf16", "bf16") + adamw("adamw_f32", "f32"))
    subprocess.run([os.path.join(build, "make-groups"), stem + ".tir", stem],
                   check=True)
    subprocess.run(["ptxas", "-arch=sm_90a", stem + ".ptx", "-o",
                    stem + ".cubin"], check=True)
    for name in ("operators.py", "attention.py"):
        shutil.copy(os.path.join(HERE, name), folder)


def shapes_of(folder):
    """Of each function: dtype, whether it is written, sizes."""
    out, last = {}, None
    for line in open(os.path.join(folder, "operators.txt")):
        kind, *words = line.split()
        if kind == "fn":
            last = out[words[0]] = []
        elif kind == "arg":
            last.append((words[0], words[1] == "1", [int(w) for w in words[2:]]))
    return out


# ------------------------------------------------------------------------ run


def draw(torch, dtype, sizes, index, name):
    """Second moments and roots are positive."""
    t = torch.randn(*sizes, device="cuda")
    positive = (name.startswith("adamw") and index == 2) or \
        ("back" in name and len(sizes) == 1 and dtype == "f32")
    t = t.abs() + 0.1 if positive else t
    return t.to({"bf16": torch.bfloat16, "f32": torch.float32}[dtype])


def error_of(torch, name, inputs, results):
    """The worst of the results; one with a NaN, which compares with nothing, is
    infinitely far off."""
    want = REFERENCES[name](torch, *(t.float() for t in inputs))
    errors = [((g.float() - w).norm() / w.norm()).item()
              for g, w in zip(results, want)]
    return max(math.inf if math.isnan(e) else e for e in errors)


def check(torch, name, kernel, shapes):
    """Error; sets of operands for the clock."""
    inputs = [draw(torch, d, s, i, name)
              for i, (d, written, s) in enumerate(shapes) if not written]
    results = [torch.full(s, math.nan, device="cuda", dtype={
        "bf16": torch.bfloat16, "f32": torch.float32}[d])
        for d, written, s in shapes if written]
    kernel.bind(inputs + results)
    kernel.launch()
    torch.cuda.synchronize()
    off = error_of(torch, name, inputs, results)
    return off, [inputs + results] + [
        [t.clone() for t in inputs + results] for _ in range(SETS - 1)]


def graph_ms(torch, launches):
    """Milliseconds of one launch, from a graph of all of them."""
    side = torch.cuda.Stream()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for launch in launches:
            launch()
    graph.replay()

    def span(n):
        a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        a.record()
        for _ in range(n):
            graph.replay()
        b.record()
        b.synchronize()
        return a.elapsed_time(b) / n

    n = int(SPAN_MS / span(1)) + 1
    return min(span(n), span(n)) / len(launches)


def copy_ms(torch, size):
    """Milliseconds of a copy that reads and writes SIZE bytes in all."""
    pairs = [(torch.empty(size // 2, dtype=torch.uint8, device="cuda"),
              torch.zeros(size // 2, dtype=torch.uint8, device="cuda"))
             for _ in range(SETS)]
    return graph_ms(torch, [lambda p=p: p[0].copy_(p[1]) for p in pairs])


def compare(torch, driver, name, shapes):
    """How many bits differ from those of rounded results."""
    import attention
    n = shapes[0][2][0]
    every = (torch.arange(n, device="cuda", dtype=torch.int32) +
             0x3f800000).view(torch.float32)
    inputs = [every] + [every[torch.randperm(n, device="cuda")]
                        for _ in shapes[1:-1]]
    result = torch.full((n,), math.nan, device="cuda")
    kernel = attention.load(driver, "operators")[name]
    kernel.bind(inputs + [result])
    kernel.launch()
    torch.cuda.synchronize()
    want = EXACT[name](torch, *inputs)
    wrong = (result.view(torch.int32) != want.view(torch.int32)).sum().item()
    return {"name": name, "wrong": wrong, "of": n, "good": wrong == 0}


def measure(torch, driver, name, shapes):
    import attention
    kernel = attention.load(driver, "operators")[name]
    off, sets = check(torch, name, kernel, shapes)
    bound = []
    for tensors in sets:
        k = attention.load(driver, "operators")[name]
        k.bind(tensors)
        bound.append(k)
    ms = graph_ms(torch, [k.launch for k in bound])
    size = sum(t.numel() * t.element_size() for t in sets[0])
    copy = max(n / copy_ms(torch, n) / 1e6 for n in (size, COPIED))
    return {"name": name, "error": off, "good": off <= BOUND, "us": 1e3 * ms,
            "gb_s": size / ms / 1e6, "copy": copy,
            "part": size / ms / 1e6 / copy}


def run(names, as_json):
    sys.path.insert(0, HERE)
    import attention
    import torch
    torch.zeros(1, device="cuda")
    torch.manual_seed(time.time_ns() % 2 ** 31)
    driver, shapes = attention.open_driver(), shapes_of(HERE)
    good = True
    for name in names or [*REFERENCES, *EXACT]:
        way = compare if name in EXACT else measure
        r = way(torch, driver, name, shapes[name])
        good &= r["good"]
        if as_json:
            print(json.dumps(r), flush=True)
        elif name in EXACT:
            print(f"{'ok' if r['good'] else 'FAILED':7}{name:20}"
                  f"{r['wrong']} of {r['of']} not rounded", flush=True)
        else:
            print(f"{'ok' if r['good'] else 'FAILED':7}{name:20}"
                  f"{r['error']:8.1e} {r['us']:9.2f} us {r['gb_s']:6.0f} GB/s "
                  f"{100 * r['part']:5.1f} % of {r['copy']:.0f}", flush=True)
        torch.cuda.empty_cache()
    return 0 if good else 1


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = p.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="compile the kernels")
    maker.add_argument("build")
    maker.add_argument("dir")
    runner = commands.add_parser("run", help="run them where a GPU is")
    runner.add_argument("--json", action="store_true")
    runner.add_argument("names", nargs="*", metavar="NAME",
                        help=", ".join([*REFERENCES, *EXACT]))
    a = p.parse_args()
    if a.command == "make":
        make(a.build, a.dir)
        return 0
    return run(a.names, a.json)


if __name__ == "__main__":
    sys.exit(main())
