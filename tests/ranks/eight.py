"""eight.py: experts whose rows are sent to them multiply in eight bits, by recipe, to the losses of one device; where rows find no room the
step is repeated, bit for bit as one in which they do.  Where devices have rows in another order than one has, blocks of rows have other scales."""
import json
import os
import subprocess

TITANC, FOLDER = os.environ["TITANC"], os.environ["SOURCE"] + "/tests/models/Inputs"
MODEL = [f"{FOLDER}/experts.tt", f"{FOLDER}/experts_recipes.tt"]
SAME, NEAR = 1e-5, 5e-3  # what is lost of f32's sums; of a step with other blocks


def train(plan, sides, steps):
    sizes = [f"-D{k}={v}" for k, v in {"seq": 16, "vocab": 256, "embed": sides, "ff": sides, "layer": 1}.items()]
    subprocess.run([TITANC, *MODEL, "--plan", plan, *sizes, "--dtype", "f32", "-o", plan], check=True)
    subprocess.run([f"./{plan}", "--data", MODEL[0], "--steps", str(steps), "--log-every", "1", "--quiet", "--threads", "1", "--metrics", "m.jsonl", "--export", "w"], check=True)
    rows = [json.loads(line) for line in open("m.jsonl")]
    os.remove("m.jsonl")
    return [(r["loss"], r["grad_norm"], r["updates"]) for r in rows], open("w/model.safetensors", "rb").read(), sum(r.get("repeated", 0) for r in rows)


def apart(x, y):
    return max(abs(a - b) / abs(b) for row, other in zip(x[0], y[0]) for a, b in zip(row, other))


for recipe in ("tensorwise", "rowwise", "rowwise_with_gw_hp", "mxfp8", "blockwise"):
    sides, steps = (128, 2) if recipe == "blockwise" else (32, 4)
    one, whole = train(f"one_{recipe}", sides, steps), None
    for kind in ("ep", "full", "fsdp", "tp"):
        plan = f"{kind}_{recipe}"
        if f"plan {plan} " not in open(MODEL[1]).read():
            continue
        got = train(plan, sides, steps)
        blocks = kind in ("fsdp", "tp") and recipe in ("mxfp8", "blockwise")
        off = apart(got, one)
        assert off < (NEAR if blocks else SAME), (plan, off)
        whole = got if kind == "ep" else whole
        assert kind != "full" or got[:2] == whole[:2], plan
        print(plan, "repeated", got[2], "of", steps)
