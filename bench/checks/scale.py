"""Parts that time models on several GPUs: beside one GPU with as many tokens, beside PyTorch, and beside what was predicted.

A work is a program for N GPUs.  titanc's figures of it are kept when it is made, so that time and memory are compared with what was
said before anything ran.  What is not covered is of one step's trace: the time in which something moves, or pieces are added, and
nothing computes, on the first rank; of that it is said in how much of it all that goes on waits for other ranks, which come later."""
import json
import os
from collections import namedtuple
from functools import partial
from statistics import median

import gpu

from . import launchers
from .base import Failed, Part, at_least, at_most, ended, figures_of, guarded, last_of, passed, predicted_row
from .ranks import beside_arena, curve, equal, gpus, gpus_here, numbers, within, write_plans

STEPS, PROFILED, WARMUP = 8, 4, 3
SEQ, VOCAB = 8192, 128256
SECONDS = 150  # that a run may take
BOUND = 2e-2   # bf16 keeps less of a sum's order
COVERED = 5    # percent of a step in which what moves has nothing beside it, at most
MOVES = ("adds", "copies", "all_gather", "reduce_scatter", "all_reduce", "all_to_all", "permute", "send", "receive")
MODEL = {"large": "1b", "huge": "8b"}
# Of a model: a plan (None: one GPU), rows and microbatches for each N GPUs, the least and the aim of tokens a second of a GPU by N, and
# how PyTorch does it, or None.
Work = namedtuple("Work", "name about model plan rows micro least peer")
FSDP2 = ["--preset", "8b", "--rope", "real", "--fused-qkv"]
WORKS = {
    "fsdp": Work("fsdp", "8B by FSDP", "huge", "fsdp", lambda n: n, 1, {4: (10600, 11400)}, FSDP2),
    "mixed": Work("mixed", "8B by FSDP and tensors over 2", "huge", "fsdp_tp", lambda n: n // 2, 1, {4: (9300, None)},
                  ["--preset", "8b", "--rope", "real", "--tp", "2"]),
    "plain": Work("plain", "8B by FSDP and tensors over 2, whole rows", "huge", "fsdp_tp_plain", lambda n: n // 2, 1, {4: (9300, None)}, None),
    "pp": Work("pp", "8B in stages, 1F1B", "huge", "pp_1f1b", lambda n: 1, 8, {}, None),
    "pp_fsdp": Work("pp_fsdp", "8B in 2 stages by FSDP", "huge", "pp_fsdp", lambda n: n // 2, 8, {}, None),
    "large": Work("large", "1B by FSDP", "large", "fsdp", lambda n: each(n) * n, 1, {}, None)}

REHEARSED = ["mixed", "plain"]


def each(n):
    """Rows of a GPU: one GPU holds those of all as well."""
    return 2 if n <= 4 else 1


# ------------------------------------------------------------------- building


def options_of(work, rows):
    return ["--config", MODEL[work.model], "--dtype", "bf16", f"-Dbatch={rows}", f"-Dseq={SEQ}", f"-Daccumulate={work.micro}"]


def build_work(b, work, n, rows=None, rehearse=False):
    """Its program for N GPUs, or, where ROWS are said, for one; and its figures."""
    name = f"{work.name}.{n}" + ("" if rows is None else f".{rows}") + (".rehearsal" if rehearse else "")
    split = [b.path(f"llama.{n}.tt"), "--plan", work.plan] if rows is None else []
    how = ["--rehearse"] if rehearse else []
    b.compile("llama3", name, [*split, *options_of(work, rows or work.rows(n)), *how, "--stats=json"], b.path(name + ".json"))


def build_works(b, least, names):
    """Of the works of a part, for at least so many GPUs."""
    for n in numbers(b):
        write_plans(b, n)
        for name in names if n >= least else ():
            build_work(b, WORKS[name], n)


def build_rehearsals(b):
    """Of meshes of 2 x 2, for two GPUs."""
    if 2 in numbers(b):
        write_plans(b, 4)
        for name in REHEARSED:
            build_work(b, WORKS[name], 4, rehearse=True)


def build_large(b):
    build_works(b, 2, ["large"])
    for n in numbers(b):
        for rows in sorted({each(n), each(n) * n}):
            build_work(b, WORKS["large"], n, rows)


# -------------------------------------------------------------------- running


Run = namedtuple("Run", "rows said told")


def tokens_of(work, rows):
    return rows * work.micro * SEQ


def data_of(c, tokens):
    path = c.room(f"{VOCAB}.{tokens}.u32")
    if not os.path.exists(path):
        gpu.write_tokens(path, (STEPS + 1) * tokens, VOCAB)
    return path


def start(c, n, program, tokens, name, *options):
    metrics = c.room(name + ".jsonl")
    command = [c.program(program), *(["--nproc", str(n)] if n > 1 else []), "--data", data_of(c, tokens), "--log-every", "1",
               "--metrics", metrics, *options]
    r = ended(command, launchers.environment(c), SECONDS)
    if r.returncode:
        raise Failed(f"exit {r.returncode}: {last_of(r.stderr, r.stdout)}")
    with open(metrics) as f:
        return Run([json.loads(line) for line in f], r.stdout, r.stderr)


def steps(run):
    """Tokens a second of a GPU, step by step, when it is warm; the last step is among no others."""
    rates = [r["tokens_per_second"] for r in run.rows[WARMUP:-1]]
    if not rates:
        raise Failed(f"{len(run.rows)} steps are too few for a median")
    return rates


def rate(run):
    return median(steps(run))


def timed(c, n, program, tokens, name):
    return start(c, n, program, tokens, name, "--steps", str(STEPS), "--verbose")


# ----------------------------------------------------------------------- rows


def rate_row(work, n, run):
    least, aim = work.least.get(n, (0, None))
    must = f">= {least}" + (f", aim {aim}" if aim else "") if least else ""
    return f"{work.about}, {n} GPUs, tokens a second of a GPU", f"{rate(run):.0f}", must, at_least(rate(run), least)


def step_row(about, run, figures, tokens_each):
    return predicted_row(about, figures, tokens_each / rate(run))


def arena_row(about, run, figures):
    return (f"{about}, arena", f"{run.rows[-1]['peak_bytes']} bytes", f"{figures['peak_bytes']} bytes",
            passed(run.rows[-1]["peak_bytes"] == figures["peak_bytes"]))


def beside_row(about, run):
    figure, *rest = beside_arena(run.said, run.told)
    return (f"{about}, {figure}", *rest)


def merged(spans):
    """Spans of time, (begin, end), that do not meet, in order."""
    out = []
    for begin, end in sorted(spans):
        if out and begin <= out[-1][1]:
            out[-1][1] = max(out[-1][1], end)
        else:
            out.append([begin, end])
    return out


def length(spans):
    return sum(end - begin for begin, end in merged(spans))


def uncovered(events):
    """Of a trace's events: milliseconds in which something moves and nothing computes, those in which it waits for others all the while,
    and those of the step; of the first rank."""
    waits, moves, computes = [], [], []
    for e in events:
        if e["ph"] != "X" or e["pid"] != 0:
            continue
        begin, end = e["ts"], e["ts"] + e["dur"]
        met = begin + e.get("args", {}).get("waits", 0)
        if e["name"].split()[0] in MOVES:
            waits.append((begin, met))
            moves.append((met, end))
        else:
            computes.append((begin, end))
    if not computes or not moves:
        raise Failed(f"the trace has {len(moves)} collectives beside {len(computes)} other commands")
    every = waits + moves + computes
    alone, waiting = length(every) - length(computes), length(every) - length(moves + computes)
    return alone / 1e3, waiting / 1e3, (max(e for _, e in every) - min(b for b, _ in every)) / 1e3


def covered_row(c, work, program, n, tokens):
    trace = c.room(f"{work.name}.trace.json")
    start(c, n, program, tokens, work.name + ".profile", "--steps", str(PROFILED), "--profile", trace)
    with open(trace) as f:
        ms, waiting, step = uncovered(json.load(f)["traceEvents"])
    share = 100 * ms / step
    told = f"{ms:.1f} of {step:.1f} ms, {share:.1f} % ({waiting:.1f} ms of it waits for other ranks)"
    return f"{work.about}, not covered", told, f"<= {COVERED} %", at_most(share, COVERED)


def peer_row(c, work, n, ours):
    script = os.path.join(gpu.PEERS, "torch_llama_fsdp.py")
    command = launchers.torchrun(n, script, *work.peer, "--jsonl", "{jsonl}", "--warmup", "{warmup}", "--steps", "{steps}")
    r = gpu.run_peer({"command": [w for w in command if w != "--no-python"], "seconds": SECONDS}, STEPS, c.scratch)
    if "error" in r:
        return f"{work.about}, PyTorch", last_of(r["error"]), "", "missing"
    theirs = r["rates"][0]
    return f"{work.about}, beside PyTorch", f"{ours / theirs:.3f} of {theirs:.0f}", ">= 1", at_least(ours / theirs, 1)


def run_work(c, work, n):
    """All that is said of a work; its losses are those of the run that is timed."""
    program, tokens = f"{work.name}.{n}", tokens_of(work, work.rows(n))
    figures, run = figures_of(c, program), timed(c, n, program, tokens, work.name)
    yield rate_row(work, n, run)
    for row in (partial(step_row, tokens_each=tokens / n), arena_row):
        yield from guarded(work.about, lambda row=row: [row(work.about, run, figures)])
    yield from guarded(work.about, lambda: [beside_row(work.about, run)])
    if not work.plan.startswith("pp"):
        yield from guarded(f"{work.about}, not covered", lambda: [covered_row(c, work, program, n, tokens)])
    if work.peer and not c.options.no_peers and not c.options.torch:
        yield peer_row(c, work, n, rate(run))


def run_works(names, c):
    n = gpus(c)
    for name in names:
        if not os.path.exists(c.path(f"{name}.{n}.json")):
            raise Failed(f"needs 4 GPUs, {n} are used", missing=True)
        yield from guarded(WORKS[name].about, lambda name=name: run_work(c, WORKS[name], n))


def run_large(c):
    """One GPU with all rows, one with its own, and all GPUs twice."""
    n, work = gpus(c), WORKS["large"]
    rows, tokens = each(n), tokens_of(work, each(n) * n)
    one = timed(c, 1, f"large.{n}.{rows * n}", tokens, "one")
    part = timed(c, 1, f"large.{n}.{rows}", tokens_of(work, rows), "part")
    runs = [timed(c, n, f"large.{n}", tokens, name) for name in ("all", "again")]
    yield within(f"{work.about}, {n} GPUs", curve(runs[0].rows), curve(one.rows), BOUND)
    yield equal(f"{work.about}, again", curve(runs[0].rows), curve(runs[1].rows))
    share = rate(runs[0]) / rate(part)
    yield (f"{work.about}, {n} GPUs, tokens a second of a GPU", f"{rate(runs[0]):.0f}, {share:.3f} of one's with as many of its own",
           ">= 0.95", at_least(share, 0.95))
    figures = figures_of(c, f"large.{n}")
    yield step_row(work.about, runs[0], figures, tokens / n)
    yield arena_row(work.about, runs[0], figures)
    yield beside_row(work.about, runs[0])
    yield covered_row(c, work, f"large.{n}", n, tokens)


def run_rehearsals(c):
    """A rehearsal takes the time of the real step: what a GPU moves goes over its own links, wherever the others are."""
    here, n = gpus_here(c), 2
    if here < n:
        raise Failed(f"needs {n} GPUs, {here} are used", missing=True)
    for work in (WORKS[name] for name in REHEARSED):
        program, tokens = f"{work.name}.{n * n}.rehearsal", tokens_of(work, work.rows(n * n))
        run = timed(c, n, program, tokens, work.name)
        yield rate_row(work, n * n, run)
        yield step_row(work.about, run, figures_of(c, program), tokens / (n * n))
        yield from guarded(f"{work.about}, not covered", lambda w=work, p=program, t=tokens: [covered_row(c, w, p, n, t)])


PARTS = [
    Part("large", "1B by FSDP, beside one GPU", build_large, run_large, True),
    Part("huge", "8B by FSDP, beside PyTorch's FSDP2", lambda b: build_works(b, 2, ["fsdp"]), partial(run_works, ["fsdp"]), True),
    Part("mixed", "8B by FSDP and tensors, beside PyTorch", lambda b: build_works(b, 4, ["mixed", "plain"]), partial(run_works, ["mixed", "plain"]),
         True),
    Part("rehearsal", "8B by FSDP x tensors of 2 x 2, played by two GPUs", build_rehearsals, run_rehearsals, True),
    Part("stages", "8B in stages", lambda b: build_works(b, 4, ["pp", "pp_fsdp"]), partial(run_works, ["pp", "pp_fsdp"]), True)]
