"""stages.py [mpi]: stages as threads, as processes of --nproc and (with `mpi`) of mpirun train bit for bit alike, whether a sender waits
or not; a run goes on over 1, 2, 4 and 2 stages as if nothing had happened; a fault is found at the stage where it was put."""
import os
import re
import subprocess
import sys

from small import RANKS, build, command, rows

SIZES = [x for s in ("layer=4", "accumulate=4") for x in ("-D", s)]
SAVE = ["--checkpoint", "ck", "--resume", "auto", "--sync-save"]


def train(start, *options):
    subprocess.run([*start, *options, "--metrics", "out.jsonl", "--export", "out"], check=True, timeout=300)
    seen = [{k: v for k, v in x.items() if k != "peak_bytes"} for x in rows("out.jsonl")], open("out/model.safetensors", "rb").read()
    os.unlink("out.jsonl")
    return seen


def ways(plan):
    n = str(RANKS[plan])
    yield "threads", command(plan)
    yield "processes", command(plan, "--nproc", n)
    if "mpi" in sys.argv:
        yield "mpirun", ["mpirun", "--oversubscribe", "-n", n, *command(plan)]


def same(plan):
    seen = None
    for way, start in ways(plan):
        for room in ("4MiB", "0"):
            got = train(start, "--send-buffer", room)
            assert seen is None or got == seen, (plan, way, room)
            seen = got
        print(plan, "as", way)
    return seen


for name in ("one", "pp2", "pp4", "pp2_dp2"):
    build(name, 10, *SIZES)
plain = train(command("one"))
for name in ("pp2", "pp4"):
    assert same(name) == plain, name
same("pp2_dp2")

for name, to, how in (("one", 2, []), ("pp2", 4, []), ("pp4", 7, ["--nproc", "4"]), ("pp2", 10, ["--nproc", "2"])):
    last = train(command(name), "--steps", str(to), *SAVE, *how)
assert last[1] == plain[1]
print("went on over 1, 2, 4 and 2 stages")

for rank in (0, 3):
    done = subprocess.run(command("pp4", "--steps", "3", "--inject", f"2:20@{rank}"), capture_output=True, text=True, check=True).stderr
    put, found = (re.search(rf"{words} the (.*), on rank {rank}$", done, re.M) for words in ("result 20 in", "first in"))
    assert put and found and put[1] == found[1], done
print("found faults where they were put")
