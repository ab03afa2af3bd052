"""What the parts for several GPUs make of figures, traces and programs that fail; a program is a script that says what it is to."""
import argparse
import json
import os
import tempfile
import time

from checks import base, experts, fast, plans, ranks, scale

PROGRAM = """#!/usr/bin/env python3
import json, sys
words = [w for w in sys.argv[1:] if w != "--verbose"]
o = dict(zip(words[::2], words[1::2]))
if {exit}:
    sys.exit("train: error: as asked for" if {exit} == 1 else {exit})
assert o["--nproc"] == "4", o
with open(o["--metrics"], "w") as f:
    for i in range(int(o["--steps"])):
        f.write(json.dumps(dict(step=i + 1, loss=5.0 / (i + 1), grad_norm=1.0, tokens_per_second={rate}, peak_bytes=1000)) + "\\n")
if "--profile" in o:
    x, row = dict(ph="X", pid=0), dict(name="stream 0", ph="M", pid=0)
    events = [row, dict(x, name="all_gather over (dp)", ts=0, dur=2000), dict(x, name="k0", ts=200, dur=1800), dict(x, name="k0", pid=1, ts=0, dur=9000)]
    json.dump(dict(traceEvents=events), open(o["--profile"], "w"))
print("4 ranks as processes of a GPU, reserve 700 MiB, copy engines")
print("beside the arena: 650 MiB of the GPU, other programs included", file=sys.stderr)
"""


def checks(folder, **options):
    known = dict(gpus=[4], torch="no PyTorch here", no_peers=False)
    return base.Checks(folder, "part", os.path.join(folder, "scratch"), argparse.Namespace(**{**known, **options}), {})


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def failing(what):
    try:
        what()
    except base.Failed as e:
        return str(e), e.state
    raise AssertionError("it does not fail")


def of_a_trace():
    """Time counts once, however many streams move something in it, and not where one computes."""
    def event(name, ts, dur):
        return {"name": name, "ph": "X", "pid": 0, "ts": ts, "dur": dur}

    kernels = [event("k1_loop", 0, 1000), event("gemm bf16->bf16", 1500, 1000)]
    moves = [event("all_gather over (dp)", 500, 700), event("reduce_scatter over (tp)", 1100, 300), event("send over (pp)", 2400, 600)]
    assert scale.uncovered(kernels + moves) == (0.9, 0, 3.0), scale.uncovered(kernels + moves)
    late = dict(event("reduce_scatter", 1000, 600), args=dict(waits=250))
    assert scale.uncovered([event("k0", 0, 1000), late, event("adds of reduce_scatter", 1600, 100)]) == (0.7, 0.25, 1.7)
    assert scale.uncovered(kernels + [event("all_reduce", 100, 200)])[0] == 0
    assert scale.uncovered(kernels + moves + [dict(kernels[0], pid=1, dur=9000), {"name": "stream 0", "ph": "M", "pid": 0}]) == (0.9, 0, 3.0)
    assert failing(lambda: scale.uncovered(kernels))[1] == "FAILED"


def of_figures():
    run = scale.Run([dict(tokens_per_second=r, peak_bytes=7) for r in (1, 2, 3, 10700, 10650, 10600, 5)], "", "")
    work = scale.WORKS["fsdp"]
    assert scale.rate_row(work, 4, run)[1:] == ("10650", ">= 10600, aim 11400", "ok")
    assert scale.rate_row(scale.WORKS["mixed"], 4, run)[2:] == (">= 9300", "ok")
    assert scale.rate_row(work, 2, run)[2:] == ("", "ok")
    slow = run._replace(rows=[dict(r, tokens_per_second=10599) for r in run.rows])
    assert scale.rate_row(work, 4, slow)[3] == "short"
    took = 8192 / 10650
    for predicted, state in ((took, "ok"), (0.91 * took, "ok"), (0.89 * took, "short"), (1.11 * took, "short")):
        assert scale.step_row("x", run, {"step_seconds": predicted}, 8192)[3] == state, predicted
    assert failing(lambda: scale.step_row("x", run, {}, 8192))[1] == "missing"
    assert scale.arena_row("x", run, {"peak_bytes": 7})[3] == "ok"
    assert scale.arena_row("x", run, {"peak_bytes": 8})[3] == "FAILED"
    assert failing(lambda: scale.rate(run._replace(rows=run.rows[:4]))) == ("4 steps are too few for a median", "FAILED")


def of_memory():
    told = "beside the arena: 650 MiB of the GPU, other programs included\nbeside the arena: 710 MiB of the GPU, other programs included\n"
    assert ranks.beside_arena("GPU, reserve 700 MiB", told)[1:] == ("710 MiB", "700 MiB", "FAILED")
    assert ranks.beside_arena("GPU, reserve 710 MiB", told)[3] == "ok"
    assert failing(lambda: ranks.beside_arena("", told))[1] == "FAILED"


def how_many_gpus(folder):
    for n in (2, 4):
        write(os.path.join(folder, "part", f"llama.{n}.tt"), plans.llama_text(n))
    assert [ranks.gpus(checks(folder, gpus=[n])) for n in (2, 3, 4, 8)] == [2, 2, 4, 4]
    assert failing(lambda: ranks.gpus(checks(folder, gpus=[1]))) == ("1 GPU here, 2 are needed", "missing")


def one_run_over_several():
    for n in (2, 4, 8):
        steps = [step for _, _, step in ranks.turns(n)]
        assert steps == sorted(set(steps)) and steps[-1] == ranks.STEPS, steps
    assert [on for _, on, _ in ranks.turns(4)] == [1, 2, 4, 2]


def of_a_work(folder):
    """Rows of a run, its trace and its figures; then of one that fails, and of too few GPUs."""
    program = os.path.join(folder, "part", "programs", "fsdp.4")
    write(os.path.join(folder, "part", "fsdp.4.json"), json.dumps({"step_seconds": 0.7, "peak_bytes": 1000}))
    scale.data_of = lambda c, tokens: "tokens"
    write(program, PROGRAM.format(exit=0, rate=11500.0), 0o755)
    rows = list(scale.run_works(["fsdp"], checks(folder)))
    assert [r[3] for r in rows] == ["ok", "ok", "ok", "ok", "short"], rows
    assert rows[4][1] == "0.2 of 2.0 ms, 10.0 % (0.0 ms of it waits for other ranks)", rows[4]
    write(program, PROGRAM.format(exit=1, rate=0), 0o755)
    rows = list(scale.run_works(["fsdp"], checks(folder)))
    assert rows == [("8B by FSDP", "exit 1: train: error: as asked for", "", "FAILED")], rows
    assert failing(lambda: list(scale.run_works(["mixed"], checks(folder, gpus=[2]))))[1] == "missing"


def rows_as_they_come():
    """What fails is a row, behind those that were there, and each is told before the next is made."""
    told = []

    def rows(c):
        yield "one", "1", "", "ok"
        assert [r.figure for r in told] == ["one"]
        raise base.Failed("as asked for")

    made, _ = base.run_part(base.Part("p", "about", None, rows, True), None, told.append)
    assert made == told == [base.Row("p", "one", "1", "", "ok"), base.Row("p", "about", "as asked for", "", "FAILED")], made


SMALL = """#!/usr/bin/env python3
import json, sys
words = [w for w in sys.argv[1:] if w != "--quiet"]
o = dict(zip(words[::2], words[1::2]))
with open(o["--metrics"], "w") as f:
    for i in range(int(o["--steps"])):
        f.write(json.dumps(dict(step=i + 1, loss={loss}, grad_norm=1.0, tokens_per_second={rate}, peak_bytes=1000)) + "\\n")
"""


def of_experts(folder):
    """Losses beside the host's, rates beside bf16's, which may be missing; what was predicted."""
    c = base.Checks(folder, "experts", os.path.join(folder, "scratch"), argparse.Namespace(), {})
    os.makedirs(c.path(), exist_ok=True)
    experts.small_tokens(c.path())
    assert os.path.getsize(c.path("small.u32")) == 4 * 6 * 512
    host = [dict(step=i + 1, loss=4.0, grad_norm=1.0) for i in range(experts.SMALL_STEPS)]
    write(c.path("host.jsonl"), "".join(json.dumps(row) + "\n" for row in host))
    tokens = experts.BATCH * experts.SEQ
    for plan, loss, rate in ("none", 4.04, tokens * 20), ("rowwise", 4.4, tokens * 25), ("tensorwise", 4.0, tokens * 15), ("blockwise", 4.0, tokens * 22):
        for name in plan, "small." + plan:
            write(c.path("programs", name), SMALL.format(loss=loss, rate=rate), 0o755)
        write(c.path(plan + ".json"), json.dumps(dict(step_seconds=0.048, peak_bytes=1000)))
    rows = [row for row in experts.run_experts(c)]
    same = ("0.0e+00 off the host's f32", "ok")
    assert [(row[1], row[3]) for row in rows[:4]] == [
        ("1.0e-02 off the host's f32", "ok"), ("1.0e-01 off the host's f32", "FAILED"), same, same], rows
    assert [row[3] for row in rows[4:]] == [
        "ok", "ok", "ok", "ok"] + ["ok", "ok", "short", "ok"] + ["ok", "short", "short", "ok"] + ["ok", "ok", "ok", "ok"], rows
    assert rows[9][1] == f"{tokens * 25}, 1.250 of bf16's" and rows[6][1] == "48.0 ms, measured 50.0: 0.960", rows
    assert failing(lambda: experts.rate_row("rowwise", scale.Run([dict(tokens_per_second=1)] * 5, "", ""), None))[1] == "missing"


def of_steps(folder):
    """The rate of a step, and what was predicted of it, where anything was."""
    c = base.Checks(folder, "steps", os.path.join(folder, "scratch"), argparse.Namespace(), {})
    os.makedirs(c.path(), exist_ok=True)
    work = dict(name="w", config="small", tokens=8192, least=0, peers=[])
    results = {"titan": dict(rate=8192 * 20, first=1, arena=1, gib=1)}
    for said, row in ((0.048, ("48.0 ms, measured 50.0: 0.960", "ok")), (0.044, ("44.0 ms, measured 50.0: 0.880", "short"))):
        write(c.path("w.json"), json.dumps(dict(step_seconds=said)))
        rows = list(fast.step_rows(c, work, results))
        assert [r[3] for r in rows] == ["ok", row[1]] and rows[1][1] == row[0], rows
    os.remove(c.path("w.json"))
    assert list(fast.step_rows(c, work, results))[1][3] == "missing"


def what_is_late_is_ended(folder):
    """With what it has started."""
    beat = os.path.join(folder, "beat")
    write(beat, "")
    script = f"while :; do date >> {beat}; sleep 0.05; done & wait"
    assert failing(lambda: base.ended(["sh", "-c", script], dict(os.environ), 1)) == ("not done after 1 s", "FAILED")
    size = os.path.getsize(beat)
    time.sleep(0.5)
    assert os.path.getsize(beat) == size
    assert base.ended(["sh", "-c", "echo a; echo b >&2; exit 3"], dict(os.environ), 60).returncode == 3


with tempfile.TemporaryDirectory() as room:
    of_a_trace()
    of_figures()
    of_memory()
    one_run_over_several()
    rows_as_they_come()
    how_many_gpus(room)
    of_a_work(room)
    of_experts(room)
    of_steps(room)
    what_is_late_is_ended(room)
