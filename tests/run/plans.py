"""plans.py FILES NAME=RANKS ...: a small model trains ten steps under each plan,
on so many ranks, and the losses and gradient norms are those of one device to
1e-5.  FILES, with commas between, are the model and its plans, of which `one` is
for one device.  Run in a folder of its own, with TITANC and SOURCE in the
environment."""
import json
import os
import pathlib
import subprocess
import sys

TITANC, SOURCE = os.environ["TITANC"], os.environ["SOURCE"]
SIZES = {"llama3": "embed=16 kv=2 rep=2 hd=4 ff=16 layer=2 warmup=2"}
ALL = "batch=4 seq=8 vocab=256 steps=10"


def train(files, name, run_args):
    sizes = f"{ALL} {SIZES.get(pathlib.Path(files[0]).stem, '')}".split()
    defines = [x for s in sizes for x in ("-D", s)]
    subprocess.run([TITANC, *files, "--plan", name, *defines, "--dtype", "f32",
                    "-o", name], check=True)
    subprocess.run([f"./{name}", "--data", f"{SOURCE}/models/llama3.tt",
                    "--steps", "10", "--log-every", "1", "--quiet",
                    "--metrics", f"{name}.jsonl", *run_args], check=True)
    return [json.loads(line) for line in open(f"{name}.jsonl")]


def apart(a, b, key):
    return max(abs(x[key] - y[key]) / abs(y[key]) for x, y in zip(a, b))


def main(files, cases):
    one = train(files, "one", [])
    assert len(one) == 10 and one[9]["grad_norm"] > 0
    for case in cases:
        name, ranks = case.split("=")
        steps = train(files, name, ["--ranks", ranks])
        assert len(steps) == 10, name
        for key in ("loss", "grad_norm"):
            off = apart(steps, one, key)
            assert off < 1e-5, (name, key, off)
        print(name, "as one device")


main(sys.argv[1].split(","), sys.argv[2:])
