"""overflow.py: steps in which rows find no room at their experts are repeated with room for all: bitwise the losses and weights of a plan
without a bound that matters, and no step is skipped, in stages too."""
import json
import os
import subprocess

TITANC, MODEL = os.environ["TITANC"], os.environ["SOURCE"] + "/tests/models/Inputs/experts.tt"


def train(plan, *how, sizes=()):
    subprocess.run([TITANC, MODEL, "--plan", plan, "-D", "seq=8", "-D", "vocab=256", *sizes, "--dtype", "f32", "-o", plan], check=True)
    run = [f"./{plan}", "--data", MODEL, "--log-every", "1", "--quiet", "--threads", "1", "--metrics", "m.jsonl", "--ledger", "l.jsonl"]
    subprocess.run([*run, *how, "--export", "w"], check=True)
    rows = [json.loads(line) for line in open("m.jsonl")]
    assert "skipped" not in open("l.jsonl").read()
    os.remove("l.jsonl")
    print(plan, *how, "repeated", sum(r.get("repeated", 0) for r in rows), "of", len(rows))
    return [(r["step"], r["loss"], r["grad_norm"], r["updates"]) for r in rows], open("w/model.safetensors", "rb").read()


roomy = train("ep_bound")
assert train("full") == roomy
assert train("tight") == train("tight", "--nproc", "4") == roomy
micro = ("-D", "accumulate=2")
assert train("pp_bound", sizes=micro) == train("pp_tight", sizes=micro)
