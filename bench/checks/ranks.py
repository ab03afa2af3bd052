"""Parts that say whether several GPUs train as one does, and what becomes of a rank that is lost."""
import glob
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

import gpu

from .base import Failed, Part, at_least, library_path
from .processes import is_alive, ranks_of, wait_for
from .right import values_of

N = 2
STEPS = 10
SIZES = dict(batch=4, seq=128, embed=256, kv=4, rep=2, hd=32, ff=512, vocab=256, layer=4, warmup=2)
PLANS = ("dp", "fsdp", "tp")
WAYS = {"threads": ["--ranks", str(N)], "processes": ["--nproc", str(N)]}
BOUND = 1e-5
# Memory of a size that small programs do not have, beside its rate; bf16 keeps
# less of a sum's order.
LARGE = ["--config", "1b", "--dtype", "bf16", "-Dbatch=4", "-Dseq=8192"]
LARGE_STEPS, LARGE_TOKENS, LARGE_BOUND = 8, 4 * 8192, 2e-2
SECONDS = 30  # until a lost rank is named, and a stopped one


def build_ranks(b):
    os.makedirs(b.path("in"), exist_ok=True)
    shutil.copy(b.source("models", "llama3.tt"), b.path("in", "data.txt"))
    plans, options = b.source("tests", "ranks", "Inputs", "plans.tt"), ["--dtype", "f32"] + values_of(SIZES)
    b.compile("llama3", "one", [*options, f"-Dsteps={STEPS}"])
    for plan in PLANS:
        b.compile("llama3", plan, [plans, "--plan", plan, *options, f"-Dsteps={STEPS}"])
    b.compile("llama3", "large", LARGE)
    b.compile("llama3", "large.fsdp", [plans, "--plan", "fsdp", *LARGE])
    b.compile("llama3", "endless", [plans, "--plan", "fsdp", *options, "-Dsteps=1000000"])


def need_gpus():
    here = len(glob.glob("/proc/driver/nvidia/gpus/*"))
    if here < N:
        raise Failed(f"{here} GPU here, {N} are needed", missing=True)


def train(c, program, name, *options):
    """Losses and norms."""
    rows = c.train(c.program(program), ["--data", c.path("in", "data.txt"), *options], c.room(name + ".jsonl"))
    return [(r["step"], r["loss"], r["grad_norm"]) for r in rows]


def apart(a, b):
    if [x[0] for x in a] != [x[0] for x in b]:
        raise Failed(f"{len(a)} and {len(b)} steps")
    if any(v is None for x in a + b for v in x):
        raise Failed("a loss or a norm is not finite")
    return max(abs(x[k] / y[k] - 1) for x, y in zip(a, b) for k in (1, 2))


def trains(c, plan, way, one, seen):
    """Rows of a plan, started one way; SEEN: what it gave before."""
    got = train(c, plan, f"{plan}.{way}", *WAYS[way])
    off = apart(got, one)
    yield f"{plan}, {way}", f"{off:.1e} off one GPU", f"{BOUND:.0e}", "ok" if off <= BOUND else "FAILED"
    if seen:
        yield f"{plan}, {way}, again", "equal" if got == seen[0] else "differs", "equal", "ok" if got == seen[0] else "FAILED"
    seen.append(got)


def resumes(c, one):
    """2, 1 and 2 GPUs take turns at one run."""
    folder, got = c.room("turns"), []
    for steps, program in ((4, "fsdp"), (7, "one"), (STEPS, "tp")):
        way = [] if program == "one" else WAYS["processes"]
        got += train(c, program, f"turn.{program}", "--steps", str(steps), "--checkpoint", folder, "--resume", "auto", *way)
    off = apart(got, one)
    return "resumed on 2, 1 and 2", f"{off:.1e} off one GPU", f"{BOUND:.0e}", "ok" if off <= BOUND else "FAILED"


def in_order(c):
    """Of two ranks a sum has one order, so a sum of our own has the bits of NCCL's."""
    plans = [p for p in PLANS if train(c, p, p + ".ordered", "--rank-order", *WAYS["processes"])
             != train(c, p, p + ".nccl", *WAYS["processes"])]
    return "sums in the ranks' order", "differ: " + ", ".join(plans) if plans else "NCCL's bits", "equal", "FAILED" if plans else "ok"


def large(c):
    """Llama 1B: one GPU and FSDP over two, of the same batches."""
    data, rows = c.room("large.u32"), {}
    gpu.write_tokens(data, (LARGE_STEPS + 1) * LARGE_TOKENS, 128256)
    for name, way in (("large", []), ("large.fsdp", WAYS["threads"]), ("again", WAYS["threads"])):
        program = name if name != "again" else "large.fsdp"
        rows[name] = c.train(c.program(program), ["--data", data, "--steps", str(LARGE_STEPS), *way], c.room(name + ".jsonl"))
    one, two, again = ([(r["step"], r["loss"], r["grad_norm"]) for r in rows[n]] for n in rows)
    off = apart(two, one)
    yield "1B by FSDP", f"{off:.1e} off one GPU", f"{LARGE_BOUND:.0e}", "ok" if off <= LARGE_BOUND else "FAILED"
    yield "1B by FSDP, again", "equal" if two == again else "differs", "equal", "ok" if two == again else "FAILED"
    rate = {n: statistics.median(r["tokens_per_second"] for r in rows[n][3:-1]) for n in rows}
    yield "1B by FSDP, tokens a second of a GPU", f"{rate['large.fsdp']:.0f}, {rate['large.fsdp'] / rate['large']:.3f} of one's", ">= 0.95", \
        at_least(rate["large.fsdp"] / rate["large"], 0.95)


def start_endless(c, metrics):
    env = dict(os.environ, LD_LIBRARY_PATH=library_path(c.top))
    return subprocess.Popen([c.program("endless"), "--data", c.path("in", "data.txt"), "--quiet", "--log-every", "1",
                             "--metrics", metrics, *WAYS["processes"]], stderr=subprocess.PIPE, text=True, env=env)


def lose(job, metrics, rank, number):
    """Seconds until the run has ended, its exit code, its words, and the ranks' processes."""

    def ranks():
        return ranks_of(job.pid, N)

    def steps():
        return os.path.exists(metrics) and os.path.getsize(metrics) > 4000

    pids = wait_for(ranks, 60)
    if not pids or not wait_for(steps, 60):
        raise Failed("the run does not begin")
    began = time.monotonic()
    os.kill(pids[rank], number)
    try:
        _, said = job.communicate(timeout=2 * SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"the others wait after {2 * SECONDS} s") from None
    return time.monotonic() - began, said, pids


def is_missed(c, rank, word, number):
    metrics = c.room(f"{word}.{rank}.jsonl")
    job = start_endless(c, metrics)
    try:
        took, said, pids = lose(job, metrics, rank, number)
    finally:
        job.kill()
    if job.returncode != 76 or not re.search(rf"rank {rank}\b.*, \S+:\d+", said):
        raise Failed(f"exit {job.returncode}: {said.strip()[-200:]}")
    if not wait_for(lambda: not any(is_alive(p) for p in pids), 10):
        raise Failed("a process is left")
    return f"rank {rank} {word}", f"named after {took:.1f} s", f"{SECONDS} s", "ok" if took <= SECONDS else "FAILED"


def memory(c):
    """What a rank has beside its arena, and the reserve that is printed for it; without other programs on the card."""
    said = subprocess.run([c.program("fsdp"), "--data", c.path("in", "data.txt"), "--steps", "2", "--verbose",
                           *WAYS["processes"]], capture_output=True, text=True,
                          env=dict(os.environ, LD_LIBRARY_PATH=library_path(c.top)))
    used = [int(x) for x in re.findall(r"beside the arena: (\d+) MiB", said.stderr)]
    reserve = re.search(r"reserve (\d+) MiB", said.stdout)
    if not used or not reserve:
        raise Failed(said.stderr.strip()[-200:])
    most, room = max(used), int(reserve[1])
    return "memory beside the arena", f"{most} MiB", f"{room} MiB", "ok" if most <= room else "FAILED"


def run_ranks(c):
    need_gpus()
    one = train(c, "one", "one")
    for plan in PLANS:
        seen = []
        for way in WAYS:
            yield from trains(c, plan, way, one, seen)
    yield in_order(c)
    yield resumes(c, one)
    for rank in range(N):
        yield is_missed(c, rank, "killed", signal.SIGKILL)
    yield is_missed(c, 1, "stopped", signal.SIGSTOP)
    yield memory(c)
    yield from large(c)


PARTS = [Part("ranks", f"{N} GPUs train as one does, and miss a rank", build_ranks, run_ranks, True)]
