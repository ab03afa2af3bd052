"""Makes folders of the parts golden, replay, casts and programs, whose programs
are scripts."""
import json
import os
import sys

PROGRAM = '''#!/usr/bin/env python3
import json, os, random, sys
a = dict(zip(sys.argv[1::1], sys.argv[2::1]))
noise = {noise} * random.random()
with open(a["--metrics"], "w") as f:
    for s in range(2):
        json.dump({{"step": s + 1, "loss": {loss} + noise, "grad_norm": 1.0}}, f)
        f.write("\\n")
os.makedirs(a["--export"], exist_ok=True)
open(os.path.join(a["--export"], "model.safetensors"), "w").close()
'''
BROKEN = "#!/bin/sh\necho no GPU here >&2\nexit 69\n"
REPLAY = """#!/bin/sh
echo "k3_sum: two runs differ in an argument (1, 0)"
echo "k3_sum: a result is not the interpreter's (1.5, nan)"
echo "k7_rows: a result is not the interpreter's (-2, 2)"
echo "9 cases, 2 failed"
exit 1
"""
CASTS = """#!/bin/sh
echo "k4_map1_f32_e4m3: a cast is another (448, 416)"
echo "633 cases, 1 failed"
exit 1
"""
PROGRAMS = """#!/bin/sh
echo "seed 18: value 3 (f32), element 7 is 2, not 1; the bound is 0.1"
echo "seed 18: 4 of 9 elements of value 3"
echo "seed 24: value 9 has other bits in run 2"
echo "150 programs, 2 failed"
exit 1
"""
SUMS = """#!/bin/sh
echo "416 cases, 0 failed"
"""


def put(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o755)


def main():
    folder, replay, casts, programs = sys.argv[1:5]
    put(casts, "gpu-replay", CASTS)
    put(programs, "gpu-programs", PROGRAMS)
    put(replay, "gpu-replay", REPLAY)
    put(replay, "gpu-sums", SUMS)
    put(replay, "seed", "12")
    made = os.path.join(folder, "programs")
    for case in ("llama", "llama-tied", "gpt2"):
        put(folder, case + ".json", json.dumps(
            {"f64": {"loss": [2.0, 2.0], "grad_norm": [1.0, 1.0]}}))
    put(made, "llama-f32", PROGRAM.format(noise=0, loss=2.0))
    put(made, "llama-bf16", PROGRAM.format(noise=0, loss=2.002))
    put(made, "llama-tied-f32", PROGRAM.format(noise=0, loss=2.002))
    put(made, "llama-tied-bf16", PROGRAM.format(noise=1e-6, loss=2.002))
    put(made, "gpt2-f32", BROKEN)
    # gpt2-bf16 is not there


if __name__ == "__main__":
    main()
