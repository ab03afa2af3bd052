"""small.py: a Llama that compiles and trains in a moment, for the tests of ranks; with ODD in the environment
one of sizes that no mesh axis divides."""
import json
import os
import subprocess

TITANC, SOURCE = os.environ["TITANC"], os.environ["SOURCE"]
PLANS = f"{SOURCE}/tests/ranks/Inputs/plans.tt"
RANKS = {"one": 1, "fsdp": 2, "tp": 2, "sequence": 2, "fsdp_tp": 4, "pp2": 2, "pp4": 4, "pp2_dp2": 4}
SIZES = "batch=4 seq=8 embed=8 kv=2 rep=2 hd=4 ff=16 vocab=256 layer=2 warmup=2".split()
if "ODD" in os.environ:
    SIZES = "batch=4 seq=7 embed=11 kv=3 rep=1 hd=4 ff=13 vocab=257 layer=2 warmup=2".split()
CLOCK = {"tokens_per_second", "tflops", "mfu", "seconds", "data_seconds", "data_percent"}
DATA = f"{SOURCE}/models/llama3.tt"


def build(plan, steps=10, *options):
    """The program of a plan, under its name; `one` has none."""
    sizes = [x for s in (*SIZES, f"steps={steps}") for x in ("-D", s)]
    where = [] if plan == "one" else [PLANS, "--plan", plan]
    subprocess.run([TITANC, f"{SOURCE}/models/llama3.tt", *where, *sizes, "--dtype", "f32", *options, "-o", plan], check=True)


def command(plan, *options):
    return [f"./{plan}", "--data", DATA, "--log-every", "1", "--quiet", "--threads", "1", *options]


def rows(path):
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in open(path)]


def apart(a, b):
    """How far losses and gradient norms are apart, at most, of the larger."""
    assert len(a) == len(b), (len(a), len(b))
    return max(abs(x[k] - y[k]) / abs(y[k]) for x, y in zip(a, b) for k in ("loss", "grad_norm"))
