"""pipeline.py: each schedule trains, bit for bit, as the same microbatches do without a pipeline; with other splits beside the stages
up to the order of sums, and where parameters and gradients alone are split, each step or each microbatch, bit for bit; and however the ranks are started, alike.  With `mpi`: under mpirun."""
import shutil
import subprocess
import sys

import small
from small import apart, build, command, rows

small.PLANS = f"{small.SOURCE}/tests/ranks/Inputs/pipelines.tt"
small.SIZES = "batch=8 seq=8 embed=8 kv=2 rep=2 hd=4 ff=16 vocab=256 layer=4 warmup=2".split()
EXACT = "gpipe 1f1b interleaved looped zero zbv dualpipev listed uneven tight three four".split()
MORE = {"three": 3, "four": 4}
BESIDE = {"dp_pp": 4, "pp_fsdp_tp": 8, "pp_fsdp_cp_tp": 16}
TIED = ("-D", "tied=1")


def run(plan, start, out):
    subprocess.run([*start, "--metrics", f"{out}.jsonl", "--export", f"{out}.hf"], check=True, timeout=300)
    return rows(f"{out}.jsonl"), open(f"{out}.hf/model.safetensors", "rb").read()


def plain(*options):
    """The losses and weights of four microbatches of two rows, on one device."""
    build("one", 5, "-D", "batch=2", "-D", "accumulate=4", *options)
    return run("one", command("one"), "one")


def without_memory(rows):
    return [{k: v for k, v in row.items() if k != "peak_bytes"} for row in rows]


def same(a, b):
    return without_memory(a[0]) == without_memory(b[0]) and a[1] == b[1]


def started(plan, n, mpi):
    """The run of a plan, which is that of all ways to start it."""
    ways = {"threads": command(plan, "--ranks", str(n)), "processes": command(plan, "--nproc", str(n))}
    if mpi:
        ways = {"threads": ways["threads"], "mpirun": ["mpirun", "--oversubscribe", "-n", str(n), *command(plan)]}
    seen = None
    for way, start in ways.items():
        got = run(plan, start, f"{plan}.{way}")
        assert seen is None or same(got, seen), (plan, way)
        seen = got
        print(plan, "as", way)
    return seen


shutil.copy(f"{small.SOURCE}/tests/ranks/Inputs/listed.csv", "listed.csv")
mpi = "mpi" in sys.argv
one = plain()
for plan in EXACT if not mpi else ("1f1b", "dualpipev", "three"):
    build(f"pp_{plan}", 5)
    ways = mpi or plan in ("gpipe", "zbv", "three")
    got = started(f"pp_{plan}", MORE.get(plan, 2), mpi) if ways else run(f"pp_{plan}", command(f"pp_{plan}"), plan)
    assert same(got, one), plan
    print(plan, "has the bits of the plain step")
for plan, n in BESIDE.items():
    if mpi and n > 8:
        continue
    build(plan, 5)
    far = apart(started(plan, n, mpi)[0], one[0])
    assert far < 1e-5, (plan, far)
    print(plan, "trains as one device")
for plan in ("step", "microbatch") if not mpi else ():
    got = []
    for name, n, options in ((plan, 2, ()), (f"pp_{plan}", 4, ()), (f"pp_{plan}", 4, ("--streams", "3"))):
        build(name, 5, "-D", "batch=2", "-D", "accumulate=4", *options)
        got.append(run(name, command(name, "--ranks", str(n)), name))
    assert same(*got[:2]) and same(*got[1:]), plan
    print("what is gathered and reduced each", plan, "has the bits of the same without stages, beside compute too")
if not mpi:
    build("pp_gpipe", 5, *TIED)
    assert same(run("pp_gpipe", command("pp_gpipe"), "tied"), plain(*TIED))
    print("tied weights have the bits of the plain step")
