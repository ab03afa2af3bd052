"""together.py [mpi]: kinds of parallelism together train ten steps as one device does, to 1e-5, bit for bit alike however the ranks are started
(with `mpi`: as threads and under mpirun); and a run goes on on 1, 2, 4, 8 and 2 ranks under another kind each time."""
import json
import os
import subprocess
import sys

TITANC, SOURCE = os.environ["TITANC"], os.environ["SOURCE"]
DATA, RANKS = f"{SOURCE}/models/llama3.tt", f"{SOURCE}/tests/ranks/Inputs"
LLAMA = [DATA, f"{SOURCE}/tests/models/Inputs/plans.tt"]
STAGES, MIXED = [DATA, f"{RANKS}/pipelines.tt"], [DATA, f"{RANKS}/plans.tt"]
EXPERTS = [f"{SOURCE}/tests/models/Inputs/experts.tt"]
SMALL = "embed=8 kv=2 rep=2 hd=4 ff=16 layer=2 warmup=2"
KEYS = ("loss", "grad_norm")


def build(files, plan, sizes):
    defines = [x for s in f"{sizes} seq=8 vocab=256 steps=10".split() for x in ("-D", s)]
    where = [] if plan == "one" and files[0] == DATA else ["--plan", plan]
    subprocess.run([TITANC, *(files if where else files[:1]), *where, *defines, "--dtype", "f32", "-o", plan], check=True)
    return [f"./{plan}", "--data", DATA, "--log-every", "1", "--quiet", "--threads", "1"]


def run(start, out, *options):
    subprocess.run([*start, "--metrics", f"{out}.jsonl", "--export", f"{out}.hf", *options], check=True, timeout=300)
    rows = [[json.loads(line)[k] for k in KEYS] for line in open(f"{out}.jsonl")]
    return rows, open(f"{out}.hf/model.safetensors", "rb").read()


def apart(a, b):
    assert len(a) == len(b) == 10
    return max(abs(x - y) / abs(y) for p, q in zip(a, b) for x, y in zip(p, q))


def started(start, plan, n):
    ways = {"threads": start, "processes": [*start, "--nproc", str(n)]}
    if "mpi" in sys.argv:
        ways = {"threads": start, "mpirun": ["mpirun", "--oversubscribe", "-n", str(n), *start]}
    seen = [run(how, f"{plan}.{way}") for way, how in ways.items()]
    assert seen[0] == seen[1], plan
    print(plan, "as", *ways)
    return seen[0][0]


def together(files, sizes, plans, one_sizes=None):
    one = run(build(files, "one", one_sizes or sizes), "one")[0]
    for plan, n in plans.items():
        far = apart(started(build(files, plan, sizes), plan, n), one)
        assert far < 1e-5, (plan, far)
    return one


def goes_on(files, sizes, one, turns):
    """TURNS: a plan and the step that it ends at."""
    name = "-".join(plan for plan, _ in turns)
    for plan, last in turns:
        save = ["--checkpoint", f"{name}.ck", "--resume", "auto", "--sync-save", "--steps", str(last)]
        rows = run(build(files, plan, sizes), name, *save)[0]
    far = apart(rows, one)
    assert far < 1e-5, far
    print("went on under", *(plan for plan, _ in turns))


llama, experts = f"batch=4 {SMALL}", "batch=4"
one = together(LLAMA, llama, {"dp_tp": 4, "fsdp": 2, "fsdp_tp": 8, "fsdp_cp": 4})
moe = together(EXPERTS, experts, {"ep_all": 2, "fsdp_ep": 4, "fsdp_ep_bound": 4, "fsdp_tp_ep": 8, "fsdp_tp_ep_bound": 8})
micro = {"pp_fsdp_tp": 8} if "mpi" in sys.argv else {"pp_fsdp_tp": 8, "pp_fsdp_cp_tp": 16}
together(STAGES, f"batch=8 {SMALL} layer=4", micro, f"batch=2 accumulate=4 {SMALL} layer=4")
if "mpi" not in sys.argv:
    goes_on(LLAMA, llama, one, (("one", 2), ("cp_zigzag", 4), ("dp_tp", 6), ("all_ring", 8), ("fsdp", 10)))
    deep = f"batch=4 accumulate=4 {SMALL} layer=4"
    goes_on(MIXED, deep, together(MIXED, deep, {"pp2_dp2": 4}), (("one", 2), ("fsdp", 4), ("pp2_dp2", 6), ("pp4", 8), ("tp", 10)))
    goes_on(EXPERTS, experts, moe, (("one", 2), ("fsdp", 4), ("ep_bound", 6), ("fsdp_tp_ep_bound", 8), ("tp", 10)))
