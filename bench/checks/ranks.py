"""Parts that say whether several GPUs train as one does, and what becomes of a rank that is lost."""
import glob
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from collections import namedtuple
from functools import partial

import gpu

from . import launchers
from .base import Failed, Part, at_least, beside, guarded, last_of, passed
from .right import values_of

N = 2
STEPS = 10
SIZES = dict(batch=4, seq=128, embed=256, kv=4, rep=2, hd=32, ff=512, vocab=256, layer=4, warmup=2)
ROUTED = dict(seq=64, embed=32, ff=64, vocab=256, expert=8)  # larger ones diverge, and a bit more or less with them
MODELS = {"llama": ("models/llama3.tt", SIZES), "routed": ("tests/models/Inputs/experts.tt", ROUTED)}
# A program for one GPU, with a file of plans and one of them, or none, and its plans for two; how far these may be off: BITS, where the
# microbatches are the same.
Case = namedtuple("Case", "model one plan plans bound options")
BITS, F32, BF16 = 0, 1e-5, 2e-2
CASES = [
    Case("llama", "one", [], ["dp", "fsdp", "tp", "cp", "ring"], F32, ["--dtype", "f32"]),
    Case("llama", "microbatches", [], ["pp2"], BITS, ["--dtype", "f32", "-Daccumulate=4"]),
    Case("llama", "float8", ["models/plans/recipes.tt", "tensorwise"], ["fsdp_float8"], BF16, ["--dtype", "bf16"]),
    Case("routed", "routed", [None, "one"], ["ep"], F32, ["--dtype", "f32"])]
ORDERED = ["dp", "fsdp", "tp"]  # their sums are those of copy engines and NCCL, NCCL's, or in the ranks' order
STARTED = "fsdp"  # every way
# Memory of a size that small programs do not have, beside its rate; bf16 keeps
# less of a sum's order.
LARGE = ["--config", "1b", "--dtype", "bf16", "-Dbatch=4", "-Dseq=8192"]
LARGE_STEPS, LARGE_TOKENS, LARGE_BOUND = 8, 4 * 8192, 2e-2
HALF = [*LARGE[:-2], "-Dbatch=2", "-Dseq=8192"]  # of which a GPU has as much as each of two has of LARGE
HUGE = ["--config", "8b", "--dtype", "bf16", "-Dbatch=2", "-Dseq=8192"]


# ------------------------------------------------------------------- building


def plans_of(b, model):
    return b.source("tests", "ranks", "Inputs", "routed.tt" if model == "routed" else "plans.tt")


def build_case(b, case):
    path, sizes = MODELS[case.model]
    options = [*case.options, *values_of(sizes), f"-Dsteps={STEPS}"]
    file, plan = case.plan or (None, None)
    b.program(b.source(path), case.one, [*options, *([b.source(file)] if file else []), *(["--plan", plan] if plan else [])])
    for plan in case.plans:
        b.program(b.source(path), plan, [plans_of(b, case.model), "--plan", plan, *options])


def build_ranks(b):
    os.makedirs(b.path("in"), exist_ok=True)
    shutil.copy(b.source("models", "llama3.tt"), b.path("in", "data.txt"))
    for name in ("launcher.py", "ports.py"):
        shutil.copy(b.source("tests", "ranks", name), b.folder)
    for case in CASES:
        build_case(b, case)
    fsdp = [plans_of(b, "llama"), "--plan", "fsdp"]
    b.compile("llama3", "large", LARGE)
    b.compile("llama3", "large.half", HALF)
    b.compile("llama3", "large.fsdp", [*fsdp, *LARGE])
    b.compile("llama3", "endless", [*fsdp, "--dtype", "f32", *values_of(SIZES), "-Dsteps=1000000"])


# ------------------------------------------------------------------- training


def need_gpus():
    here = len(glob.glob("/proc/driver/nvidia/gpus/*"))
    if here < N:
        raise Failed(f"{here} GPU here, {N} are needed", missing=True)


def curve(rows):
    return [(r["step"], r["loss"], r["grad_norm"]) for r in rows]


def train(c, way, program, name, *options):
    """Losses and norms of a program, by a way to start it; None: on one GPU."""
    def start(*words):
        return way.start(N, c.program(program), *words) if way else [c.program(program), *words]

    return curve(c.train_by(start, ["--data", c.path("in", "data.txt"), *options], c.room(name + ".jsonl")))


def apart(a, b):
    if [x[0] for x in a] != [x[0] for x in b]:
        raise Failed(f"{len(a)} and {len(b)} steps")
    if any(v is None for x in a + b for v in x):
        raise Failed("a loss or a norm is not finite")
    return max(abs(x[k] / y[k] - 1) for x, y in zip(a, b) for k in (1, 2))


def within(figure, got, one, bound):
    off = apart(got, one)
    return figure, f"{off:.1e} off one GPU", f"{bound:.0e}" if bound else "its bits", passed(off <= bound)


def equal(figure, a, b, what="equal"):
    return figure, what if a == b else "differs", "equal", passed(a == b)


def case_rows(c, case, way, curves):
    """Each plan of a case; CURVES gets them all, by name."""
    curves[case.one] = train(c, None, case.one, case.one)
    for plan in case.plans:
        curves[plan] = train(c, way, plan, plan)
        yield within(plan, curves[plan], curves[case.one], case.bound)


def way_rows(c, way, curves):
    launchers.need(way)
    name = way.name.split()[0]
    yield equal(f"{STARTED}, {way.name}", train(c, way, STARTED, f"{STARTED}.{name}"), curves[STARTED])


def resumed(c, way, one):
    """2, 1 and 2 GPUs take turns at one run."""
    folder, got = c.room("turns"), []
    for steps, program in ((4, "fsdp"), (7, "one"), (STEPS, "tp")):
        got += train(c, way if program != "one" else None, program, f"turn.{program}", "--steps", str(steps), "--checkpoint", folder,
                     "--resume", "auto")
    return within("resumed on 2, 1 and 2", got, one, F32)


def in_order(c, way, curves, option, figure):
    """Of two ranks a sum has one order, whoever makes it."""
    plans = [p for p in ORDERED if train(c, way, p, p + option, option) != curves[p]]
    return figure, "differ: " + ", ".join(plans) if plans else "the same bits", "equal", "FAILED" if plans else "ok"


def large(c, way):
    """Llama 1B: one GPU and FSDP over two, of the same batches."""
    data, rows = c.room("large.u32"), {}
    gpu.write_tokens(data, (LARGE_STEPS + 1) * LARGE_TOKENS, 128256)
    for name in ("large", "large.half", "large.fsdp", "again"):
        program = name if name != "again" else "large.fsdp"
        start = partial(way.start, N, c.program(program)) if "fsdp" in program else lambda *words, p=program: [c.program(p), *words]
        rows[name] = c.train_by(start, ["--data", data, "--steps", str(LARGE_STEPS)], c.room(name + ".jsonl"))
    yield within("1B by FSDP", curve(rows["large.fsdp"]), curve(rows["large"]), LARGE_BOUND)
    yield equal("1B by FSDP, again", curve(rows["large.fsdp"]), curve(rows["again"]))
    two, half = rate(rows["large.fsdp"]), rate(rows["large.half"])
    yield "1B by FSDP, tokens a second of a GPU", f"{two:.0f}, {two / half:.3f} of one's with half the tokens", ">= 0.95", at_least(two / half, 0.95)


def rate(rows):
    return statistics.median(r["tokens_per_second"] for r in rows[3:-1])


def build_huge(b):
    b.compile("llama3", "huge.fsdp", [plans_of(b, "llama"), "--plan", "fsdp", *HUGE])


def run_huge(c):
    """Llama 8B, which one GPU does not hold, and PyTorch's FSDP2 where it is there."""
    need_gpus()
    data = c.room("huge.u32")
    gpu.write_tokens(data, (LARGE_STEPS + 1) * LARGE_TOKENS // 2, 128256)
    start = partial(launchers.nproc, N, c.program("huge.fsdp"))
    ours = rate(c.train_by(start, ["--data", data, "--steps", str(LARGE_STEPS)], c.room("huge.jsonl")))
    yield "8B by FSDP, tokens a second of a GPU", f"{ours:.0f}", "", "ok"
    if c.options.torch or c.options.no_peers:
        return
    said = subprocess.run(launchers.torchrun(N, sys.executable, os.path.join(gpu.PEERS, "torch_llama_fsdp.py"), "--preset", "8b"),
                          capture_output=True, text=True, timeout=200)
    found = re.search(r'"tokens_per_s": ([0-9.]+)', said.stdout)
    if not found:
        raise Failed(last_of(said.stderr, said.stdout))
    theirs = float(found[1])
    yield "and PyTorch's FSDP2", f"{theirs:.0f}, ours {ours / theirs:.3f} of that", ">= 1", at_least(ours / theirs, 1)


def memory(c, way):
    """What a rank has beside its arena, and the reserve that is printed for it; without other programs on the card."""
    said = subprocess.run(way.start(N, c.program("fsdp"), "--data", c.path("in", "data.txt"), "--steps", "2", "--verbose"),
                          capture_output=True, text=True, env=launchers.environment(c))
    used = [int(x) for x in re.findall(r"beside the arena: (\d+) MiB", said.stderr)]
    reserve = re.search(r"reserve (\d+) MiB", said.stdout)
    if not used or not reserve:
        raise Failed(said.stderr.strip()[-200:])
    most, room = max(used), int(reserve[1])
    return "memory beside the arena", f"{most} MiB", f"{room} MiB", passed(most <= room)


def losses(c, ways):
    """Figures of ranks that are lost."""
    run = [N, c.program("endless"), ["--data", c.path("in", "data.txt")]]
    lost = [("processes", r, signal.SIGKILL) for r in range(N)] + [("processes", 1, signal.SIGSTOP)]
    lost += [(name, 1, signal.SIGKILL) for name in ("torchrun", "mpirun", "srun's variables")]
    return [(f"rank {r} lost, {name}", lambda name=name, r=r, number=number: [launchers.is_missed(c, ways[name], *run, r, number)])
            for name, r, number in lost]


def run_ranks(c):
    need_gpus()
    launcher, data = c.path("launcher.py"), ["--data", c.path("in", "data.txt"), "--quiet"]
    ways, curves = {w.name: w for w in launchers.ways(launcher, c.options.torch)}, {}
    nproc = ways["processes"]
    cases = [(case.one, lambda case=case: case_rows(c, case, nproc, curves)) for case in CASES]
    started = [(f"{STARTED}, {way.name}", lambda way=way: way_rows(c, way, curves)) for way in ways.values()]
    further = [
        ("sums in the ranks' order", lambda: [in_order(c, nproc, curves, "--rank-order", "sums in the ranks' order")]),
        ("NCCL alone", lambda: [in_order(c, nproc, curves, "--nccl-alone", "NCCL alone")]),
        ("resumed on 2, 1 and 2", lambda: [resumed(c, nproc, curves["one"])])]
    # who does not fit never gets to a GPU, who waits for a lost rank needs none
    waiting = [("who does not fit", lambda: launchers.misfits(c, launcher, N, c.program("fsdp"), c.program("tp"), data)), *losses(c, ways)]
    figures = [("plans", lambda: beside(cases)), ("ways to start", lambda: beside(started)), ("further runs", lambda: beside(further)),
               ("lost ranks", lambda: beside(waiting)), ("memory beside the arena", lambda: [memory(c, nproc)]),
               ("1B by FSDP", lambda: large(c, nproc))]
    for figure in figures:
        yield from guarded(*figure)


PARTS = [
    Part("ranks", f"{N} GPUs train as one does, and miss a rank", build_ranks, run_ranks, True),
    Part("huge", f"8B over {N} GPUs, beside PyTorch's FSDP2", build_huge, run_huge, True)]
