"""stages.py [mpi]: stages train, validate, import and export bit for bit alike whether a sender waits or not; a run goes on over 1, 2, 4
and 2 stages as if nothing had happened; a fault is found at the stage where it was put, and the step that has it changes no stage.
With `mpi` under mpirun."""
import os
import re
import shutil
import subprocess
import sys

from small import DATA, RANKS, build, command, rows

SIZES = [x for s in ("layer=4", "accumulate=4") for x in ("-D", s)]
SAVE = ["--checkpoint", "ck", "--resume", "auto", "--sync-save"]


def train(start, *options):
    subprocess.run([*start, *options, "--metrics", "out.jsonl", "--export", "out"], check=True, timeout=300)
    seen = [{k: v for k, v in x.items() if k != "peak_bytes"} for x in rows("out.jsonl")], open("out/model.safetensors", "rb").read()
    os.unlink("out.jsonl")
    return seen


def ways(plan):
    n = str(RANKS[plan])
    if "mpi" in sys.argv:
        return {"mpirun": ["mpirun", "--oversubscribe", "-n", n, *command(plan)]}
    return {"threads": command(plan), "processes": command(plan, "--nproc", n)}


def same(plan, *options):
    seen = None
    for way, start in ways(plan).items():
        for room in ("4MiB", "0"):
            got = train(start, "--send-buffer", room, *options)
            assert seen is None or got == seen, (plan, way, room)
            seen = got
        print(plan, "as", way)
    return seen


def faults():
    """Each stage gets one; the step is left out everywhere, so the run is one whose data are read a step further on."""
    left_out = None
    for rank in range(RANKS["pp4"]):
        start = command("pp4", "--steps", "3", "--inject", f"2:20@{rank}", "--export", "spoilt")
        done = subprocess.run(start, capture_output=True, text=True, check=True).stderr
        put, found = (re.search(rf"{words} the (.*), on rank {rank}$", done, re.M) for words in ("result 20 in", "first in"))
        assert put and found and put[1] == found[1], done
        weights = open("spoilt/model.safetensors", "rb").read()
        assert left_out in (None, weights), rank
        left_out = weights
    print("found faults where they were put")


for name in ("one", "pp2", "pp4", "pp2_dp2"):
    build(name, 10, *SIZES)
plain = train(command("one"))
assert same("pp4") == plain
same("pp2_dp2")

shutil.copytree("out", "start")
more = ["--valid-data", DATA, "--valid-every", "5", "--init-from", "start"]
assert same("pp2", *more) == train(command("one"), *more)
print("validates and begins with weights")

if "mpi" not in sys.argv:
    for name, to, how in (("one", 2, []), ("pp2", 4, []), ("pp4", 7, ["--nproc", "4"]), ("pp2", 10, ["--nproc", "2"])):
        last = train(command(name), "--steps", str(to), *SAVE, *how)
    assert last[1] == plain[1]
    print("went on over 1, 2, 4 and 2 stages")
    faults()
