"""Parts that say whether results are right.  They run beside each other."""
import array
import functools
import glob
import hashlib
import json
import math
import os
import re
import shutil
import statistics
import struct
import sys
import time

from .base import Failed, Part, beside, guarded, last_of, passed

RUNS = 3
SMALL = {"batch": 4, "accumulate": 2, "seq": 32, "embed": 48, "hd": 16,
         "vocab": 256, "layer": 2, "lr": 1e-3, "warmup": 0, "decay_ratio": 0,
         "steps": 20}
LLAMA = dict(SMALL, kv=2, rep=2, ff=112, rope_theta=10000)
GPT2 = dict(SMALL, head=3, ff=192)
GOLDEN = {  # model, golden run, values
    "llama": ("llama3", "llama", dict(LLAMA, tied=0)),
    "llama-tied": ("llama3", "llama-tied", dict(LLAMA, tied=1)),
    "gpt2": ("gpt2", "gpt2", GPT2)}
BOUNDS = {"f32": 1e-5, "bf16": 2e-2}


def values_of(table):
    return [f"-D{k}={v}" for k, v in table.items()]


def bits_of(steps, exported):
    h = hashlib.sha256()
    for step in steps:
        h.update(repr((step["loss"], step["grad_norm"])).encode())
    with open(os.path.join(exported, "model.safetensors"), "rb") as f:
        while piece := f.read(1 << 24):
            h.update(piece)
    return h.hexdigest()


def run_hashed(c, name, options, turn):
    """Metrics and a hash of losses, norms and weights of one run, which skips
    no step."""
    exported = c.room(f"{name}.out{turn}")
    steps = c.train(c.program(name), options + ["--export", exported],
                    c.room(f"{name}.{turn}.jsonl"))
    bits = bits_of(steps, exported)
    shutil.rmtree(exported)
    for i, step in enumerate(steps, 1):
        if not math.isfinite(step["loss"]):
            raise Failed(f"loss of step {i} is {step['loss']}")
    return steps, bits


def same_bits(all_bits):
    if len(set(all_bits)) > 1:
        raise Failed(f"{len(set(all_bits))} different results in "
                     f"{len(all_bits)} runs")


# -------------------------------------------------------------------- golden


def build_golden(b):
    golden = b.source("tests", "golden")
    shutil.copy(os.path.join(golden, "compare.py"), b.folder)
    for name, (model, case, values) in GOLDEN.items():
        b.run(sys.executable, os.path.join(golden, "fixture.py"), case,
              b.path("in-" + case))
        shutil.copy(os.path.join(golden, case + ".json"), b.folder)
        for dtype in BOUNDS:
            b.compile(model, f"{name}-{dtype}",
                      ["--dtype", dtype] + values_of(values))


def check_golden(c, name, case, bound):
    import compare
    with open(c.path(case + ".json")) as f:
        golden = json.load(f)
    inputs, bits = c.path("in-" + case), []
    for i in range(RUNS):
        steps, h = run_hashed(
            c, name, ["--data", os.path.join(inputs, "tokens.u16"),
                      "--init-from", inputs], i)
        bits.append(h)
    same_bits(bits)
    worst, key, step = compare.worst_of(golden, steps)
    yield (f"{name}, PyTorch's f64, 3 equal runs",
           f"{worst:.2e} ({key}, step {step})", f"<= {bound:.0e}",
           passed(worst <= bound))


def run_golden(c):
    sys.path.insert(0, c.given)
    return beside((name, functools.partial(check_golden, c, name, case, bound))
                  for model, (_, case, _) in GOLDEN.items()
                  for dtype, bound in BOUNDS.items()
                  for name in [f"{model}-{dtype}"])


# --------------------------------------------------------------------- equal

MIDDLE = {"batch": 4, "seq": 256, "embed": 256, "hd": 64, "ff": 512,
          "vocab": 256, "layer": 4, "lr": 1e-3, "warmup": 10, "steps": 200}
LLAMA_MIDDLE = dict(MIDDLE, kv=2, rep=2)
# Options that say where launches run and what is made again.
STREAMS = {"": [], "-streams3": ["--streams", "3"]}
PLANS = {"-" + plan: ["--plan", plan]
         for plan in ("full", "ops", "half", "keep", "remake")}
# Of a model whose weights have other names than the last two plans say.
MODES = {suffix: PLANS[suffix] for suffix in ("-full", "-ops", "-half")}
# What lies on the host.
OFFLOADS = {"-host-" + plan: ["--plan", plan]
            for plan in ("states", "params", "record", "inputs")}
# Products as kernels, which walk over the same tiles on fewer processors.
MADE = ["--matmul", "generated"]
PROCESSORS = {"": MADE, "-few": MADE + ["--matmul-processors", "8"]}
ROUTED = {"steps": 200}
ROUTED_PLANS = {"": ["--plan", "whole"],
                **{"-" + plan: ["--plan", plan]
                   for plan in ("full", "ops", "half", "keep")},
                **{"-host-" + plan: ["--plan", plan]
                   for plan in ("states", "record")}}
EQUAL = {  # source, values, dtype, variants
    "llama-bf16": ("models/llama3.tt", LLAMA_MIDDLE, "bf16",
                   dict(STREAMS, **PLANS, **OFFLOADS)),
    "llama-bf16-states": ("models/llama3.tt", LLAMA_MIDDLE, "bf16-states",
                          {"": []}),
    "llama-f32": ("models/llama3.tt", LLAMA_MIDDLE, "f32", {"": []}),
    "llama-made": ("models/llama3.tt", LLAMA_MIDDLE, "bf16-states", PROCESSORS),
    "gpt2-bf16": ("models/gpt2.tt", dict(MIDDLE, head=4), "bf16",
                  dict(STREAMS, **MODES, **OFFLOADS)),
    "routed-f32": ("tests/run/routed.tt", ROUTED, "f32", ROUTED_PLANS)}
PLANNED = ("models/llama3.tt", "models/gpt2.tt")  # have no plans themselves


def build_equal(b):
    plans = b.source("tests", "run", "Inputs", "remat.tt")
    for name, (source, values, dtype, variants) in EQUAL.items():
        for suffix, options in variants.items():
            more = [plans] if "--plan" in options and source in PLANNED else []
            b.program(b.source(source), name + suffix, ["--dtype", dtype] +
                      options + values_of(values) + more)
    golden = b.source("tests", "golden", "fixture.py")
    b.run(sys.executable, golden, "llama", b.path("in"))
    os.remove(b.path("in", "model.safetensors"))


def check_equal(c, name, suffix):
    """Bits of the runs."""
    data = ["--data", c.path("in", "tokens.u16")]
    runs = [run_hashed(c, name + suffix, data, i) for i in range(RUNS)]
    same_bits([bits for _, bits in runs])
    steps, bits = runs[0]
    yield (f"{name}{suffix}, {RUNS} x {len(steps)} steps", bits, "equal",
           passed(len(steps) == MIDDLE["steps"]))


def said_of_bits(name, suffix, mine, first):
    """What is made again, streams, processors and offload change no bit."""
    if mine != first:
        raise Failed(f"not the bits of {name}")
    return f"bits of {name}" if suffix else "bitwise equal"


def judged(rows, name, variants):
    """Rows of one name, whose values are bits, in words."""
    first = rows[0][1]
    for (figure, bits, must, state), suffix in zip(rows, variants):
        if state != "ok":
            yield figure, bits, must, state
            continue
        yield from guarded(figure, lambda: [(figure, said_of_bits(
            name, suffix, bits, first), must, state)])


def run_equal(c):
    runs = [(name, suffix) for name, (_, _, _, variants) in EQUAL.items()
            for suffix in variants]
    rows = list(beside((name + suffix, functools.partial(check_equal, c, name,
                                                         suffix))
                       for name, suffix in runs))
    for name, (_, _, _, variants) in EQUAL.items():
        mine = [r for r, (of, _) in zip(rows, runs) if of == name]
        yield from judged(mine, name, variants)


# --------------------------------------------------------------------- kinds

KINDS = {  # program: train block of bench/attention.tt, values
    "slopes and caps": ("slopes", {}),
    "keys that heads share": ("latents", {}),
    "documents": ("texts", {}),
    "buckets": ("buckets", {}),
    "heads of 128, ragged": ("groups", {"hd": 128, "vd": 128}),
    "heads of 192": ("groups", {"hd": 192, "vd": 192, "seq": 192}),
    "heads of 256": ("groups", {"hd": 256, "vd": 256, "seq": 192}),
    "keys of 192, values of 128": ("groups", {"hd": 192, "vd": 128,
                                              "seq": 192})}
NEAR_LOSS, NEAR_GRADIENT = 2e-3, 5e-2


def file_of(kind):
    return kind.replace(" ", "-").replace(",", "")


def build_kinds(b):
    """Programs in bf16 and f32, and the loss that the host finds."""
    source = b.source("bench", "attention.tt")
    b.run(sys.executable, b.source("tests", "golden", "fixture.py"), "llama",
          b.path("in"))
    os.remove(b.path("in", "model.safetensors"))
    for kind, (block, values) in KINDS.items():
        name, options = file_of(kind), ["--train", block] + values_of(values)
        for dtype in ("bf16", "f32"):
            b.program(source, f"{name}-{dtype}", options + ["--dtype", dtype])
        b.titanc(source, b.path("host"), options + ["--dtype", "f32"])
        b.run(b.path("host"), "--data", b.path("in", "tokens.u16"), "--quiet",
              "--metrics", b.path(name + ".jsonl"))
        os.remove(b.path("host"))


def tensors_of(folder):
    """Floats of each tensor of an export."""
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    header.pop("__metadata__", None)
    return {name: array.array("f", data[slice(*t["data_offsets"])])
            for name, t in header.items()}


def norm_of(numbers):
    return math.sqrt(sum(x * x for x in numbers))


def exported(c, name, dtype, steps):
    """Metrics and tensors of so many steps."""
    folder = c.room(f"{name}-{dtype}-{steps}")
    options = ["--data", c.path("in", "tokens.u16"), "--steps", str(steps),
               "--export", folder]
    metrics = c.train(c.program(f"{name}-{dtype}"), options, folder + ".jsonl")
    return metrics, tensors_of(folder)


def check_kind(c, kind):
    """A step of gradient descent moves weights by their gradients."""
    name = file_of(kind)
    _, start = exported(c, name, "f32", 0)
    wide, want = exported(c, name, "f32", 1)
    short, have = exported(c, name, "bf16", 1)
    with open(c.path(name + ".jsonl")) as f:
        host = json.loads(f.readline())["loss"]
    off = max(abs(m[0]["loss"] - host) / host for m in (wide, short))
    worst = max((norm_of(x - y for x, y in zip(have[t], want[t])) /
                 norm_of(x - y for x, y in zip(start[t], want[t])), t)
                for t in start)
    good = off <= NEAR_LOSS and worst[0] <= NEAR_GRADIENT
    yield (f"{kind}, bf16 beside f32",
           f"loss {off:.1e}, gradient {worst[0]:.1e} ({worst[1]})",
           f"<= {NEAR_LOSS:.0e}, {NEAR_GRADIENT:.0e}", passed(good))


def run_kinds(c):
    return beside((kind, functools.partial(check_kind, c, kind))
                  for kind in KINDS)


# ---------------------------------------------------------------------- bits

BEGINS = {  # what a model begins with, by its seed: the host's is at hand
    "llama-bf16-states": ("llama3", LLAMA_MIDDLE, "bf16-states"),
    "gpt2-f32": ("gpt2", dict(MIDDLE, head=4), "f32")}
SEED = "7"


def exported_hash(folder):
    return bits_of([], folder)


def build_bits(b):
    for name, (model, values, dtype) in BEGINS.items():
        options = ["--dtype", dtype] + values_of(values)
        b.compile(model, name, options)
        host, out = b.path("host"), b.path("out")
        b.titanc(b.source("models", model + ".tt"), host, options)
        b.run(host, "--steps", "0", "--seed", SEED, "--export", out, "--quiet")
        with open(b.path(name + ".hash"), "w") as f:
            f.write(exported_hash(out))
        shutil.rmtree(out)
        os.remove(host)


def run_bits(c):
    for name in BEGINS:
        out = c.room(name)
        c.call([c.program(name), "--steps", "0", "--seed", SEED, "--export",
                out, "--quiet"])
        with open(c.path(name + ".hash")) as f:
            same = f.read() == exported_hash(out)
        yield (f"{name}, weights of seed {SEED}",
               "the host's bits" if same else "other bits than the host's",
               "equal", passed(same))


# -------------------------------------------------------------------- faults

FAULTS = 12
PASSES = "in the (?:forward pass|backward pass|update): "


def build_faults(b):
    """A program of the part equal."""
    b.compile("llama3", "step", ["--dtype", "bf16"] + values_of(LLAMA_MIDDLE))
    b.run(sys.executable, b.source("tests", "golden", "fixture.py"), "llama",
          b.path("in"))
    os.remove(b.path("in", "model.safetensors"))


def said_of(c, options):
    """What a run of one step says of its tensors."""
    return c.call([c.program("step"), "--data", c.path("in", "tokens.u16"),
                   "--steps", "1", "--quiet"] + options, said=True)


def check_fault(c, n, value):
    """The tensor that was spoilt, and the first that is not finite; without
    the second the step was not touched by it."""
    said = said_of(c, ["--inject", f"1:{n}:{value}"])
    target = re.search(rf"put into result {n} {PASSES}(.*)", said)
    first = re.search(rf"first {PASSES}(.*)", said)
    if not target:
        raise Failed(f"result {n}: {last_of(said)}")
    if not first and "skipped" in said:
        raise Failed(f"result {n}: {last_of(said)}")
    if not first:
        yield n, None, "", "ok"
    elif first.group(1) != target.group(1):
        raise Failed(f"{first.group(1)} was named, {target.group(1)} spoilt")
    else:
        yield n, first.group(1), "", "ok"


def run_faults(c):
    start = time.monotonic()
    said = said_of(c, ["--diagnose"])
    seconds = time.monotonic() - start
    all_finite = re.search(r"all (\d+) float tensors", said)
    if not all_finite:
        raise Failed(last_of(said))
    count = int(all_finite.group(1))
    numbers = [1 + i * (count - 1) // (FAULTS - 1) for i in range(FAULTS)]
    rows = list(beside(
        (str(n), functools.partial(check_fault, c, n, "inf" if n % 2 else "nan"))
        for n in numbers))
    wrong = [row for row in rows if row[3] != "ok"]
    for n, why, _, state in wrong:
        yield f"fault in result {n}", why, "first named", state
    named = sum(r[1] is not None for r in rows) - len(wrong)
    others = f"{len(wrong)} wrong" if wrong else "the others touch no step"
    yield (f"faults in {FAULTS} of {count} tensors",
           f"{named} named, {others}; a look takes {seconds:.1f} s with start",
           "first named", passed(named > FAULTS // 2 and not wrong))


# -------------------------------------------------------------------- replay


def build_replay(b):
    """Kernels of all groups with inputs that no build had before."""
    b.tool("gpu-replay")
    b.tool("gpu-sums")
    os.makedirs(b.path("cases"), exist_ok=True)
    seed = str(time.time_ns() % 10 ** 9)
    b.run(os.path.join(b.build, "tests", "unit-kernels"),
          TITAN_CASES=b.path("cases"), TITAN_SEED=seed)
    with open(b.path("seed"), "w") as f:
        f.write(seed)
    b.pack("cases")


def seed_of(c):
    with open(c.path("seed")) as f:
        return f.read()


CASES = re.compile(r"^(\d+) cases, (\d+) failed$", re.M)
WRONG = re.compile(r"^(\w+): (.*\(.*\))$", re.M)  # kernel, first difference


def replayed(text):
    """Cases that ran, cases that failed, and of each kernel that is wrong, if
    they are few, the first difference."""
    done = CASES.search(text)
    if not done:
        raise Failed(f"it did not get to its end: {last_of(text)}")
    wrong = {}
    for name, what in WRONG.findall(text):
        wrong.setdefault(name, what)
    return int(done[1]), int(done[2]), wrong


def check_sums(c):
    """The runtime's own kernels, beside adding on the host."""
    text = c.call([c.path("gpu-sums"), seed_of(c)], fine=(0, 1))
    ran, failed, _ = replayed(text)
    yield (f"{ran} sums of ranks, seed {seed_of(c)}",
           f"{failed} failed", "0 failed", passed(ran and not failed))


def run_replay(c):
    ran, failed, wrong = replayed(c.call(
        [c.path("gpu-replay"), c.unpacked("cases")], fine=(0, 1)))
    yield (f"{ran} kernels, inputs of seed {seed_of(c)}",
           f"{failed} failed", "0 failed", passed(ran and not failed))
    for name, what in wrong.items():
        yield name, what, "as the interpreter", "FAILED"
    yield from guarded("sums of ranks", lambda: check_sums(c))


# --------------------------------------------------------------------- casts


def build_casts(b):
    """Casts between all dtypes in kernels of every kind; operands and results
    follow from the dtypes, so they do not travel."""
    b.tool("gpu-replay")
    os.makedirs(b.path("cases"), exist_ok=True)
    b.run(os.path.join(b.build, "tests", "unit-casts"),
          TITAN_CASES=b.path("cases"))
    b.pack("cases")


def run_casts(c):
    ran, failed, wrong = replayed(c.call(
        [c.path("gpu-replay"), c.unpacked("cases")], fine=(0, 1)))
    yield (f"{ran} kernels, every pattern and border", f"{failed} failed",
           "0 failed", passed(ran and not failed))
    for name, what in wrong.items():
        yield name, what, "the host's bits", "FAILED"


# ------------------------------------------------------------------ programs

PROGRAMS = 150


def smith(devices):
    """The command that makes random programs of so many devices."""
    return ["titan-smith", "--mode", "gpu",
            *(["--devices", str(devices)] if devices > 1 else [])]


def make_programs(b, folder, devices, count):
    """Random programs of seeds that no build had before."""
    os.makedirs(b.path(folder), exist_ok=True)
    program, *options = smith(devices)
    b.run(os.path.join(b.build, program), *options, "--cases", b.path(folder),
          "--count", str(count), "--seed",
          str(time.time_ns() // 1000 % 10 ** 9))
    b.pack(folder)


def build_programs(b):
    b.tool("gpu-programs")
    make_programs(b, "cases", 1, PROGRAMS)


RAN = re.compile(r"^(\d+) programs, (\d+) failed$", re.M)
SEED_FAILS = re.compile(r"^seed (\d+): (.*)$", re.M)


def judge_programs(c, folder, devices, options=(), how=""):
    text = c.call([c.path("gpu-programs"), *options, c.unpacked(folder)],
                  fine=(0, 1))
    done, wrong = RAN.search(text), {}
    if not done:
        raise Failed(f"it did not get to its end: {last_of(text)}")
    for seed, what in SEED_FAILS.findall(text):
        wrong.setdefault(seed, what)
    yield (f"{done[1]} random programs{how}", f"{done[2]} failed", "0 failed",
           passed(done[1] != "0" and done[2] == "0"))
    again = " ".join(smith(devices) + ["--cases DIR --count 1 --seed"])
    for seed, what in wrong.items():
        yield f"{again} {seed}", what, "as the interpreter", "FAILED"


def run_programs(c):
    return judge_programs(c, "cases", 1)


# ----------------------------------------------------------------- sanitizer


def find_sanitizer():
    places = [shutil.which("compute-sanitizer")] + sorted(
        glob.glob("/usr/local/cuda*/bin/compute-sanitizer"))
    return next((p for p in places if p), None)


def build_sanitizer(b):
    """It reads the cases of the part replay."""


SUMMARY = re.compile(r"SUMMARY: ((\d+) (?:errors?|hazards?).*)")
PLACE = re.compile(r"\bat (?:\w+ in )?(\w+)(?:\(.*?\))?\+0x")


def check_sanitizer(c, tool, what):
    replay = c.others["replay"]
    text = c.call([tool, "--tool", what, "--error-exitcode", "9",
                   replay.path("gpu-replay"), replay.unpacked("cases")],
                  fine=(0, 1, 9))
    summary = SUMMARY.search(text)
    if not summary:
        raise Failed(f"it has no summary: {last_of(text)}")
    ran = CASES.search(text)
    places = sorted(set(PLACE.findall(text)))
    clean = ran and ran[1] != "0" and summary[2] == "0" and not places
    yield (f"{what}, {ran[1] if ran else 'not all'} kernels of the replay",
           ", ".join([summary[1]] + places), "0", passed(clean))
    _, failed, wrong = replayed(text)
    if failed:
        yield (f"results under {what}", f"{failed} failed: " + ", ".join(wrong),
               "0 failed", "FAILED")


def run_sanitizer(c):
    tool = find_sanitizer()
    if not tool:
        raise Failed("no compute-sanitizer on this machine", missing=True)
    return beside((what, functools.partial(check_sanitizer, c, tool, what))
                  for what in ("memcheck", "racecheck", "synccheck"))


# ---------------------------------------------------------------------- text

TEXT = {"batch": 4, "seq": 256, "steps": 300}
LAST = 20  # steps that are compared: one batch is noise


def build_text(b):
    if not b.options.text:
        return
    shutil.copy(b.options.text, b.path("text"))
    for dtype in ("f32", "bf16"):
        b.compile("llama3", dtype, ["--config", "125m", "--dtype", dtype]
                  + values_of(TEXT))


def last_loss(steps):
    return statistics.fmean(s["loss"] for s in steps[-LAST:])


def peer_steps(c, weights, text, dtype):
    out = c.call([sys.executable, os.path.join(c.top, "bench", "peers",
                                               "torch_text.py"),
                  os.path.join(weights, "model.safetensors"), text, "--dtype",
                  dtype, "--batch", str(TEXT["batch"]), "--seq",
                  str(TEXT["seq"])])
    return [json.loads(line) for line in out.splitlines()]


def check_text(c, weights, text, dtype):
    start = time.monotonic()
    ours = c.train(c.program(dtype), ["--data", text, "--init-from", weights],
                   c.room(dtype + ".jsonl"))
    seconds = time.monotonic() - start
    figure = f"125M, {dtype}: loss of steps {301 - LAST} to 300"
    mine = last_loss(ours)
    if c.options.torch:
        yield figure, f"{mine:.4f}; {c.options.torch}", "<= 1 %", "missing"
        return
    peer = peer_steps(c, weights, text, dtype)
    theirs = last_loss(peer)
    off = abs(mine - theirs) / theirs
    first = abs(ours[0]["loss"] - peer[0]["loss"]) / peer[0]["loss"]
    yield (figure, f"{mine:.4f}, PyTorch {theirs:.4f}: {100 * off:.2f} % "
           f"(step 1: {100 * first:.3f} %; {seconds:.0f} s)", "<= 1 %",
           passed(off <= 0.01))


def run_text(c):
    text = c.options.text or c.path("text")
    if not os.path.exists(text):
        raise Failed("no text: --build with --text FILE", missing=True)
    weights = c.room("weights")
    c.call([c.program("f32"), "--steps", "0", "--export", weights, "--quiet"])
    return beside((dtype, functools.partial(check_text, c, weights, text,
                                            dtype))
                  for dtype in ("bf16", "f32"))


PARTS = [
    Part("golden", "losses and norms of PyTorch's runs", build_golden,
         run_golden, False),
    Part("equal", "runs that have equal bits", build_equal, run_equal, False),
    Part("kinds", "kinds of attention, whole steps", build_kinds, run_kinds,
         False),
    Part("bits", "weights that a model begins with, as on the host", build_bits,
         run_bits, False),
    Part("faults", "a tensor that is not finite is named", build_faults,
         run_faults, False),
    Part("replay", "kernels against the interpreter and the host's bits",
         build_replay, run_replay, False),
    Part("casts", "casts between dtypes, at every border, as on the host",
         build_casts, run_casts, False),
    Part("programs", "random programs against the interpreter", build_programs,
         run_programs, False),
    Part("sanitizer", "compute-sanitizer over the replay", build_sanitizer,
         run_sanitizer, False),
    Part("text", "a text's bytes, beside PyTorch", build_text, run_text, False),
]
