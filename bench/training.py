"""What a run costs beside its steps: data, metrics and checkpoints.

Three kinds of run of one program, interleaved, each of a few steps:

    plain    token files in order, nothing written
    written  the same text as JSONL, shuffled; a row and events of every step
    saved    as plain, with a checkpoint of step 1 written while others run

Seconds are those that the run's own ledger has for its steps, so that neither
the start nor the last save, for which a run waits, is among them.  On the host,
where steps use all processors, what runs beside them takes processor time from
them, and that is what counts.  By `threads` it is what the threads that read
data and write saves have taken, which the system counts, and the seconds in
which the step's own thread wrote rows and copied, against the processor time of
the same run: no difference of two runs, so it says the same on a machine that
has other work.  `cpu` compares the processor time of runs with that of plain
ones, which sees what caches lose too, on a machine that is quiet.  The figure is
the sum of what `written` costs a step and of what a save
costs, spread over the steps between two saves as --save-every has them.  Runs
have to be longer than a save takes: the last one waits for it.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

DEFAULT_EVERY = 500  # of --save-every


def write_data(folder, mib):
    """The same text as bytes and as JSONL."""
    words = ("the of a step that is not there will be again with one more and "
             "what it takes to learn").split()
    plain, lines = [], []
    for i in range(mib * 1024):
        text = " ".join(words[(i * 7 + k * k) % len(words)]
                        for k in range(180))
        plain.append(text)
        lines.append(json.dumps({"text": text}))
    bytes_at = os.path.join(folder, "text.txt")
    lines_at = os.path.join(folder, "text.jsonl")
    with open(bytes_at, "w") as f:
        f.write("\n".join(plain))
    with open(lines_at, "w") as f:
        f.write("\n".join(lines) + "\n")
    return bytes_at, lines_at


def look_at_threads(pid, seen):
    """Processor seconds by thread; SEEN is {thread: (name, seconds)}."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        at = f"/proc/{pid}/task/{tid}/"
        try:
            with open(at + "comm") as name, open(at + "schedstat") as spent:
                seen[tid] = (name.read().strip(),
                             int(spent.read().split()[0]) / 1e9)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended


def wait_for(pid):
    """Status, usage, and seconds by the name of threads, as far as they were
    seen: a thread that ends loses what it did since the last look."""
    seen, by_name = {}, {}
    while True:
        look_at_threads(pid, seen)
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
    for name, seconds in seen.values():
        by_name[name] = by_name.get(name, 0) + seconds
    return status, usage, by_name


def run(program, folder, steps, options):
    """Seconds of a step, processor seconds of the run, what its data, rows and
    saves took of these, and its saves."""
    ledger = os.path.join(folder, "ledger.jsonl")
    if os.path.exists(ledger):
        os.remove(ledger)
    words = program + ["--steps", str(steps), "--quiet", "--ledger",
                       ledger] + options
    pid = os.posix_spawn(words[0], words, os.environ)
    status, usage, threads = wait_for(pid)
    if status:
        sys.exit(f"failed: {' '.join(words)}")
    with open(ledger) as f:
        rows = [json.loads(line) for line in f]
    saves = [r["seconds"] + r["checked_seconds"] for r in rows
             if r["event"] == "saved"]
    end = rows[-1]
    spent = sum(end[k + "_seconds"] for k in ("data", "step", "log", "save"))
    last = saves[-1] if saves else 0
    waited = end["data_seconds"] + end["log_seconds"] + end["save_seconds"]
    return {"wall": spent - last, "waited": waited - last,
            "cpu": usage.ru_utime + usage.ru_stime, "saves": saves,
            "written": threads.get("data", 0) + end["log_seconds"],
            "saved": threads.get("save", 0) + threads.get("save-write", 0)
            + end["save_seconds"] - last}


def measure(program, folder, a):
    text, lines = write_data(folder, 4)
    checkpoints = os.path.join(folder, "checkpoints")
    kinds = {
        "plain": ["--data", text, "--log-every", "100000"],
        "written": ["--data", lines, "--shuffle", "--log-every", "1",
                    "--metrics", os.path.join(folder, "m.jsonl"),
                    "--tensorboard", os.path.join(folder, "events")],
        "saved": ["--data", text, "--log-every", "100000", "--checkpoint",
                  checkpoints, "--save-first", "--save-every", "0",
                  "--last-save", "model", "--save-dtype", "bf16"],
    }
    seen = {k: [] for k in kinds}
    for i in range(a.rounds):
        order = list(kinds) if i % 2 == 0 else list(kinds)[::-1]
        for kind in order:
            subprocess.run(["rm", "-rf", checkpoints], check=True)
            seen[kind].append(run(program, folder, a.steps, kinds[kind]))
    return seen


def costs(seen, steps, by):
    """Of a step: seconds, what writing adds, what a save adds in seconds.  The
    last save, of weights alone, is among processor seconds, but not among those
    of steps."""
    middle = statistics.median
    pairs = list(zip(seen["plain"], seen["written"], seen["saved"]))
    return (middle(p[by] for p in seen["plain"]) / steps,
            middle(w[by] / p[by] - 1 for p, w, _ in pairs),
            middle(s[by] - p[by] for p, _, s in pairs))


def costs_by_threads(seen, steps):
    """The same, within each run."""
    middle = statistics.median
    return (middle(p["cpu"] for p in seen["plain"]) / steps,
            middle(w["written"] / (w["cpu"] - w["written"])
                   for w in seen["written"]),
            middle(s["saved"] for s in seen["saved"]))


def bench_training(a, program):
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        seen = measure(program, folder, a)
    wrote = seen["saved"][0]["saves"][0]
    print(f"{a.rounds} rounds of {a.steps} steps each; a save is written in "
          f"{wrote:.2f} s\n")
    print(f"{'':7} {'ms a step':>10} {'data, metrics':>14} {'ms a save':>10} "
          f"{f'of {DEFAULT_EVERY} steps':>13} {'together':>9}")
    for by in ("wall", "cpu", "threads"):
        step, written, save = (costs_by_threads(seen, a.steps)
                               if by == "threads" else
                               costs(seen, a.steps, by))
        share = save / (DEFAULT_EVERY * step)
        total = written + share
        print(f"{by:7} {1e3 * step:10.2f} {100 * written:13.2f}% "
              f"{1e3 * save:10.1f} {100 * share:12.2f}% {100 * total:8.2f}%"
              + (" (must 2)" if by == a.by else ""))
        if by == a.by:
            missed = total >= 0.02
    for kind, runs in seen.items():
        share = statistics.median(r["waited"] / r["wall"] for r in runs)
        print(f"  {kind}: steps waited for data, rows and copies "
              f"{100 * share:.2f}% of the time")
    return 1 if missed else 0
