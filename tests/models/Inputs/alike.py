"""alike.py TITANC MODEL.tt PLANS.tt PLAN,.. [OPTION..]: a few steps of the model by each plan, on ranks of the host, have the losses and the norms of
one device."""
import json
import subprocess
import sys

titanc, model, plans, names, *options = sys.argv[1:]
STEPS = 4


def steps(plan):
    subprocess.run([titanc, model, plans, "--plan", plan, "--dtype", "f32", "--entries", "train", *options, "-o", plan], check=True)
    subprocess.run([f"./{plan}", "--data", plans, "--steps", str(STEPS), "--metrics", f"{plan}.jsonl", "--log-every", "1",
                    "--threads", "1", "--quiet"], check=True)
    return [json.loads(line) for line in open(f"{plan}.jsonl")]


def apart(some, others):
    return max(abs(a[key] / b[key] - 1) for a, b in zip(some, others, strict=True) for key in ("loss", "grad_norm"))


one = steps("none")
assert len(one) == STEPS and one[-1]["loss"] < one[0]["loss"], one
for plan in names.split(","):
    worst = apart(steps(plan), one)
    print(f"{plan}: {worst:.1e} apart at most")
    assert worst < 1e-5, plan
