"""ptx.py: steps that are compiled for a GPU train as those for the host do, kernel by kernel of the PTX that a GPU would get: the
machine of tests/ptx runs them, behind the tests' own driver.  Names of programs."""
import datetime
import json
import os
import random
import subprocess
import sys

TITANC, SOURCE, FAKE = os.environ["TITANC"], os.environ["SOURCE"], os.environ["FAKE"]
LLAMA = f"{SOURCE}/models/llama3.tt"
DENSE = "batch=2 seq=128 embed=128 kv=2 rep=1 hd=64 ff=256 vocab=512 layer=2 warmup=1"
EXPERTS = "batch=2 seq=64 embed=128 ff=128 vocab=512 layer=2"
STAGES = "batch=8 seq=64 embed=64 kv=2 rep=1 hd=32 ff=128 vocab=256 layer=2 warmup=1"
PIPELINES = f"{SOURCE}/tests/ranks/Inputs/pipelines.tt"
PLANS, RECIPES = f"{SOURCE}/tests/ranks/Inputs/plans.tt", f"{SOURCE}/models/plans/recipes.tt"



def drawn():
    """Sizes of a dense model whose products tensor memory takes, others each day: sums of 128 up to more than a kernel's stages."""
    draw = random.Random(str(datetime.date.today()))
    seq, hd = draw.choice((128, 256)), draw.choice((32, 64))
    return (f"batch={draw.choice((1, 2, 1024 // seq))} seq={seq} embed={draw.choice((128, 256))} kv=2 rep={64 // hd} hd={hd} "
            f"ff={draw.choice((128, 384))} vocab=256 layer=1 warmup=1")


# name: files and sizes, plan, ranks, and how far losses and norms of gradients may be from the host's, of themselves; the target
PROGRAMS = {
    "dense": ([LLAMA], DENSE, None, 1, 2e-3, "sm_90a"),
    "dense_tp": ([LLAMA, PLANS], DENSE, "sequence", 2, 2e-3, "sm_90a"),
    "dense_ring": ([LLAMA, PLANS], DENSE, "ring", 2, 2e-3, "sm_90a"),
    "stages": ([LLAMA, PIPELINES], STAGES, "pp_fsdp_tp", 8, 2e-3, "sm_90a"),
    "dense_float8": ([LLAMA, RECIPES], DENSE, "rowwise", 1, 1e-2, "sm_90a"),
    "dense_mxfp8": ([LLAMA, RECIPES], DENSE, "mxfp8", 1, 2e-3, "sm_100a"),
    "drawn_mxfp4": ([LLAMA, RECIPES], drawn(), "mxfp4", 1, 2e-3, "sm_100a"),
    "experts": ([f"{SOURCE}/bench/experts.tt"], EXPERTS, "tensorwise", 1, 1e-2, "sm_90a"),
    "experts_ep": ([f"{SOURCE}/bench/experts.tt"], EXPERTS, "ep_blockwise", 2, 1e-2, "sm_90a"),
}
CAPABILITY = {"sm_90a": "9.0", "sm_100a": "10.0"}
STEPS = 3


def build(name, target):
    files, sizes, plan, *_ = PROGRAMS[name]
    options = [x for s in (*sizes.split(), f"steps={STEPS}") for x in ("-D", s)]
    out = f"{name}.{target}" + (".ptx" if target != "host" else "")
    where = ["--plan", plan] if plan else []
    subprocess.run([TITANC, *files, *where, *options, "--target", target, "-o", out], check=True)
    return out


def rows(start, metrics, **more):
    command = [*start, "--data", LLAMA, "--log-every", "1", "--quiet", "--metrics", metrics]
    subprocess.run(command, check=True, env={**os.environ, **more})
    return [json.loads(line) for line in open(metrics)]


for name in sys.argv[1:]:
    *_, ranks, room, target = PROGRAMS[name]
    host = rows([f"./{build(name, 'host')}"] + (["--ranks", str(ranks)] if ranks > 1 else []), f"{name}.host.jsonl")
    gpu = rows(["titan-run", build(name, target)] + (["--nproc", str(ranks)] if ranks > 1 else []), f"{name}.gpu.jsonl",
               FAKE_PTX="1", FAKE_GPUS=str(ranks), FAKE_CAPABILITY=CAPABILITY[target], LD_LIBRARY_PATH=FAKE)
    assert len(host) == len(gpu) == STEPS, (name, len(host), len(gpu))
    far = max(abs(a[k] - b[k]) / abs(a[k]) for a, b in zip(host, gpu) for k in ("loss", "grad_norm"))
    print(f"{name}: {far:.1e} from the host's")
    assert far < room, [(a[k], b[k]) for a, b in zip(host, gpu) for k in ("loss", "grad_norm")]
