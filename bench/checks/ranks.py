"""Parts that say whether several GPUs train as one does, by every plan and however started, and what becomes of a rank that is lost.

Programs are there for several numbers of GPUs; the largest that the machine has is taken."""
import glob
import os
import re
import shutil
import signal
import subprocess
from collections import namedtuple

from . import launchers, plans
from .base import Failed, Part, beside, guarded, last_of, passed
from .launchers import Loss
from .right import judge_programs, make_programs, values_of

BUILT = (2, 4)  # GPUs, unless the command line says others; 2 are among them
STEPS = 10
SIZES = dict(batch=8, seq=128, embed=256, kv=8, rep=2, hd=32, ff=512, vocab=256, layer=8, warmup=2)
ROUTED = dict(batch=8, seq=64, embed=32, ff=64, vocab=256, expert=8)  # larger ones diverge, and a bit more or less with them
MODELS = {"llama": ("models/llama3.tt", SIZES), "routed": ("tests/models/Inputs/experts.tt", ROUTED)}
# A program for one GPU, with a file of plans and one of them, or none, and its plans for several, with how far these may be off: BITS, where
# the microbatches are the same.  Those of HALVES are for four GPUs and more.
Case = namedtuple("Case", "model one plan plans halves options")
BITS, F32, BF16 = 0, 1e-5, 2e-2
CASES = [
    Case("llama", "one", [], dict.fromkeys(["dp", "fsdp", "tp", "cp", "ring"], F32),
         dict.fromkeys(["dp_tp", "fsdp_tp", "fsdp_cp", "fsdp_ring"], F32), ["--dtype", "f32"]),
    Case("llama", "microbatches", [], dict.fromkeys([f"pp_{s}" for s in plans.SCHEDULES], BITS),
         dict.fromkeys(["pp_fsdp", "pp_dp"], F32), ["--dtype", "f32", "-Daccumulate=8"]),
    Case("llama", "float8", ["models/plans/recipes.tt", "tensorwise"], {"fsdp_float8": BF16}, {}, ["--dtype", "bf16"]),
    Case("routed", "routed", [None, "one"], {"gpus_ep": F32}, {"gpus_fsdp_ep": F32}, ["--dtype", "f32"])]
ORDERED = ["dp", "fsdp", "tp"]  # their sums are those of copy engines and NCCL, NCCL's, or in the ranks' order
STARTED = "fsdp"  # every way


# ------------------------------------------------------------------- building


def numbers(b):
    """Of GPUs that programs are made for."""
    return sorted({2, *(b.options.gpus or BUILT)})


def write_plans(b, n):
    for model, text in (("llama", plans.llama_text(n)), ("routed", plans.routed_text(n))):
        with open(b.path(f"{model}.{n}.tt"), "w") as f:
            f.write(text)


def plans_of(case, n):
    """With how far they may be off."""
    return {**case.plans, **(case.halves if n > 2 else {})}


def build_plan(b, model, plan, n, options, name=None):
    b.program(b.source(MODELS[model][0]), f"{name or plan}.{n}", [b.path(f"{model}.{n}.tt"), "--plan", plan, *options])


def build_case(b, case):
    path, sizes = MODELS[case.model]
    options = [*case.options, *values_of(sizes), f"-Dsteps={STEPS}"]
    file, plan = case.plan or (None, None)
    b.program(b.source(path), case.one, [*options, *([b.source(file)] if file else []), *(["--plan", plan] if plan else [])])
    for n in numbers(b):
        for plan in plans_of(case, n):
            build_plan(b, case.model, plan, n, options)


def build_data(b):
    os.makedirs(b.path("in"), exist_ok=True)
    shutil.copy(b.source("models", "llama3.tt"), b.path("in", "data.txt"))


def build_ranks(b):
    build_data(b)
    for n in numbers(b):
        write_plans(b, n)
    for case in CASES:
        build_case(b, case)


def build_lost(b):
    build_data(b)
    for name in ("launcher.py", "ports.py"):
        shutil.copy(b.source("tests", "ranks", name), b.folder)
    small = ["--dtype", "f32", *values_of(SIZES)]
    for n in numbers(b):
        write_plans(b, n)
        for plan in (STARTED, "tp"):
            build_plan(b, "llama", plan, n, [*small, f"-Dsteps={STEPS}"])
        build_plan(b, "llama", STARTED, n, [*small, "-Dsteps=1000000"], "endless")


# ------------------------------------------------------------------- training


def gpus_here(c):
    return c.options.gpus[-1] if c.options.gpus else len(glob.glob("/proc/driver/nvidia/gpus/*"))


def gpus(c, names="llama.*.tt"):
    """How many are used: as many as there are programs for."""
    here = gpus_here(c)
    built = sorted(int(os.path.basename(x).split(".")[1]) for x in glob.glob(c.path(names)))
    fit = [n for n in built if n <= here]
    if not fit:
        raise Failed(f"{here} GPU{'s' * (here != 1)} here, {built[0] if built else 'programs'} are needed", missing=True)
    return fit[-1]


def curve(rows):
    return [(r["step"], r["loss"], r["grad_norm"]) for r in rows]


def train(c, way, n, program, name, *options):
    """Losses and norms of a program on N GPUs, by a way to start it."""
    def start(*words):
        return way.start(n, c.program(program), *words) if n > 1 else [c.program(program), *words]

    return curve(c.train_by(start, ["--data", c.path("in", "data.txt"), *options], c.room(name + ".jsonl")))


def known(curves, name):
    if name not in curves:
        raise Failed(f"there is no run of {name} to compare with", missing=True)
    return curves[name]


def apart(a, b):
    if [x[0] for x in a] != [x[0] for x in b]:
        raise Failed(f"{len(a)} and {len(b)} steps")
    if any(v is None for x in a + b for v in x):
        raise Failed("a loss or a norm is not finite")
    return max(abs(x[k] / y[k] - 1) for x, y in zip(a, b) for k in (1, 2))


def within(figure, got, other, bound, of="one GPU"):
    off = apart(got, other)
    return figure, f"{off:.1e} off {of}", f"{bound:.0e}" if bound else "its bits", passed(off <= bound)


def equal(figure, a, b, what="equal"):
    return figure, what if a == b else "differs", "equal", passed(a == b)


def case_rows(c, case, way, n, curves):
    """Each plan of a case; CURVES gets them all, by name."""
    curves[case.one] = train(c, way, 1, case.one, case.one)
    for plan, bound in plans_of(case, n).items():
        yield from guarded(f"{plan}, {n} GPUs", lambda: [plan_row(c, case, way, n, plan, bound, curves)])


def plan_row(c, case, way, n, plan, bound, curves):
    curves[plan] = train(c, way, n, f"{plan}.{n}", plan)
    return within(f"{plan}, {n} GPUs", curves[plan], curves[case.one], bound)


def turns(n):
    """Programs, the GPUs of each, and steps at which they hand one run on."""
    if n == 2:
        return [("fsdp.2", 2, 4), ("one", 1, 7), ("tp.2", 2, STEPS)]
    return [("one", 1, 3), ("fsdp.2", 2, 5), (f"fsdp_tp.{n}", n, 8), ("tp.2", 2, STEPS)]


def resumed(c, way, n, curves):
    folder, got = c.room("turns"), []
    for program, on, steps in turns(n):
        got += train(c, way, on, program, f"turn.{program}", "--steps", str(steps), "--checkpoint", folder, "--resume", "auto")
    figure = "resumed on " + ", ".join(str(on) for _, on, _ in turns(n))
    return within(figure, got, known(curves, "one"), F32)


def same_bits(c, way, n, figure, options, others):
    """OTHERS: curves by plan, or the options that make them."""
    def wanted(plan):
        return known(others, plan) if isinstance(others, dict) else train(c, way, n, f"{plan}.{n}", plan + "".join(others), *others)

    made = {p: train(c, way, n, f"{p}.{n}", p + "".join(options) + ".", *options) for p in ORDERED}
    differ = [p for p in ORDERED if made[p] != wanted(p)]
    return figure, "differ: " + ", ".join(differ) if differ else "the same bits", "equal", passed(not differ)


def orders(c, way, n, curves):
    """Of two ranks a sum has one order, whoever makes it; of more that of the ranks is the same by engines and by NCCL."""
    if n == 2:
        yield same_bits(c, way, n, "sums in the ranks' order", ["--rank-order"], curves)
        yield same_bits(c, way, n, "NCCL alone", ["--nccl-alone"], curves)
        return
    yield same_bits(c, way, n, "engines and NCCL in the ranks' order", ["--rank-order"], ["--rank-order", "--nccl-alone"])
    for plan in ORDERED:
        got = train(c, way, n, f"{plan}.{n}", plan + "--nccl-alone", "--nccl-alone")
        yield within(f"{plan}, NCCL alone", got, known(curves, "one"), F32)


def beside_arena(said, told):
    """A row, of what a run with --verbose prints: what a rank has beside its arena, and the reserve for it."""
    used = [int(x) for x in re.findall(r"beside the arena: (-?\d+) MiB", told)]
    reserve = re.search(r"reserve (\d+) MiB", said)
    if not used or not reserve:
        raise Failed(last_of(told))
    most, room = max(used), int(reserve[1])
    return "memory beside the arena", f"{most} MiB", f"{room} MiB", passed(most <= room)


def memory(c, way, n):
    """Without other programs on the card."""
    r = subprocess.run(way.start(n, c.program(f"fsdp.{n}"), "--data", c.path("in", "data.txt"), "--steps", "2", "--verbose"),
                       capture_output=True, text=True, env=launchers.environment(c), timeout=100)
    return beside_arena(r.stdout, r.stderr)


def run_ranks(c):
    n, curves = gpus(c), {}
    nproc = launchers.processes()
    cases = [(case.one, lambda case=case: case_rows(c, case, nproc, n, curves)) for case in CASES]
    further = [("sums in an order", lambda: orders(c, nproc, n, curves)), ("resumed", lambda: [resumed(c, nproc, n, curves)])]
    figures = [("plans", lambda: beside(cases)), ("further runs", lambda: beside(further)),
               ("memory beside the arena", lambda: [memory(c, nproc, n)])]
    for figure in figures:
        yield from guarded(*figure)


# ------------------------------------------------------------------ lost ranks


def start_curve(c, way, n, *options):
    launchers.need(way)
    return train(c, way, n, f"{STARTED}.{n}", ".".join([STARTED, way.name.split()[0], *options]), *options)


def way_rows(c, ways, way, n, first):
    """As processes do.  Of threads NCCL makes all sums, which are those of engines where they have one order."""
    figure = f"{STARTED}, {way.name}"
    if way.name != "threads" or n == 2:
        yield equal(figure, start_curve(c, way, n), first)
        return
    order = "--rank-order"
    yield within(figure, start_curve(c, way, n), first, F32, "processes")
    yield equal(f"{figure}, in the ranks' order", start_curve(c, way, n, order), start_curve(c, ways["processes"], n, order))


def started(c, ways, n):
    first = start_curve(c, ways["processes"], n)
    return beside([(f"{STARTED}, {name}", lambda way=way: way_rows(c, ways, way, n, first))
                   for name, way in ways.items() if name != "processes"])


def losses(c, ways, n):
    """Figures of ranks that are lost: the first, one between, the last, and two at once, where there is one more."""
    run = [n, c.program(f"endless.{n}"), ["--data", c.path("in", "data.txt")]]
    kill, stop = signal.SIGKILL, signal.SIGSTOP
    lost = [("processes", Loss(f"rank {r} killed", [r], kill, "in a step")) for r in sorted({0, 1, n - 1})]
    lost += [("processes", Loss(f"rank {n - 1} stopped", [n - 1], stop, "in a step"))]
    lost += [(way, Loss("rank 1 killed before the first step", [1], kill, "before the first")) for way in ("processes", "srun's variables")]
    lost += [(way, Loss("rank 1 killed in a save", [1], kill, "while it saves")) for way in ("processes", "srun's variables")]
    lost += [(way, Loss("ranks 1 and 2 killed", [1, 2], kill, "in a step")) for way in ("processes", "srun's variables") if n > 2]
    lost += [(way, Loss("rank 1 killed", [1], kill, "in a step")) for way in ("torchrun", "mpirun", "srun's variables")]
    lost += [("srun's variables", Loss("rank 0 killed", [0], kill, "in a step"))]
    return [(f"{loss.words}, {way}", lambda way=way, loss=loss: [launchers.is_missed(c, ways[way], *run, loss)]) for way, loss in lost]


def run_lost(c):
    n = gpus(c)
    launcher, data = c.path("launcher.py"), ["--data", c.path("in", "data.txt"), "--quiet"]
    ways = {w.name: w for w in launchers.ways(launcher, c.options.torch)}
    # who does not fit never gets to a GPU, who waits for a lost rank needs none
    misfits = ("who does not fit",
               lambda: launchers.misfits(c, launcher, n, c.program(f"{STARTED}.{n}"), c.program(f"tp.{n}"), data))
    yield from guarded("ways to start", lambda: started(c, ways, n))
    yield from guarded("lost ranks", lambda: beside([misfits, *losses(c, ways, n)]))


# ------------------------------------------------------------ random programs

SHARED = {2: 200, 4: 100}  # programs, of which some are left out; so many as begin in time are run


def build_shared(b):
    b.tool("gpu-programs")
    for n in numbers(b):
        make_programs(b, f"cases.{n}", n, SHARED.get(n, 50))


def run_shared(c):
    """By copy engines, and with NCCL alone."""
    n = gpus(c, "cases.*")
    for how, seconds, options in (("", 40, []), (", NCCL alone", 20, ["--nccl-alone"])):
        yield from judge_programs(c, f"cases.{n}", n, ["--seconds", str(seconds), *options], f" of {n} GPUs{how}")


PARTS = [
    Part("shared", "random programs of several GPUs against the interpreter", build_shared, run_shared, True),
    Part("ranks", "several GPUs train as one does", build_ranks, run_ranks, True),
    Part("lost", "ways to start several GPUs, and lost ranks", build_lost, run_lost, True)]
