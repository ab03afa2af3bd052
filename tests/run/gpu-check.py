"""Makes a folder of checks whose programs are scripts of Python."""
import json
import os
import sys

PROGRAM = '''#!/usr/bin/env python3
import json, os, random, sys
a = dict(zip(sys.argv[1::1], sys.argv[2::1]))
noise = {noise} * random.random()
with open(a.get("--metrics", os.devnull), "w") as f:
    for s in range(int(a.get("--steps", 2))):
        json.dump({{"step": s + 1, "loss": 2.002 + noise, "grad_norm": 1.0,
                   "tokens_per_second": 1000.0, "mfu": 0.5,
                   "peak_bytes": 2 ** 30}}, f)
        f.write("\\n")
if "--profile" in a:
    open(a["--profile"], "w").close()
    print("profile: 1 ms a step")
if "--export" in a:
    os.makedirs(a["--export"], exist_ok=True)
    open(os.path.join(a["--export"], "model.safetensors"), "w").close()
'''
BROKEN = "#!/bin/sh\necho no GPU here >&2\nexit 69\n"


def put(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o755)


def main():
    folder = sys.argv[1]
    put(folder, "case.json", json.dumps(
        {"f64": {"loss": [2.0, 2.0], "grad_norm": [1.0, 1.0]}}))
    for name, noise in (("same", 0), ("wrong", 0), ("drifts", 1e-6),
                        ("steps", 0)):
        put(folder, name, PROGRAM.format(noise=noise))
    put(folder, "broken", BROKEN)
    golden = {"kind": "golden", "case": "case"}
    time = {"kind": "time", "tokens": 10, "vocab": 16}
    put(folder, "checks.json", json.dumps(
        [dict(golden, name="same", bound=1e-2),
         dict(golden, name="wrong", bound=1e-5),
         dict(golden, name="drifts", bound=1e-2),
         dict(time, name="steps"), dict(time, name="broken")]))


if __name__ == "__main__":
    main()
