#!/usr/bin/env python3
"""monitor.py PROGRAM: what monitor.tt records, by hand from the data and from the weights that are exported."""
import json
import math
import struct
import subprocess
import sys

DATA = bytes((i * 37 + i * i) % 97 + 1 for i in range(64))
open("data.txt", "wb").write(DATA)
subprocess.run([sys.argv[1], "--data", "data.txt", "--steps", "1", "--quiet", "--metrics", "m.jsonl", "--export", "out"], check=True)
row = json.loads(open("m.jsonl").readline())


def near(key, got, want):
    if not math.isclose(got, want, rel_tol=2e-4, abs_tol=1e-6):
        sys.exit(f"monitor.py: {key} is {got}, {want} expected")


x = list(DATA[:16])
n = len(x)
mean = sum(x) / n
power = [sum((v - mean) ** k for v in x) / n for k in (2, 3, 4)]
by_hand = {"l2_norm": math.sqrt(sum(v * v for v in x)), "max": (max(x[:8]) + max(x[8:])) / 2, "average": mean,
           "deviation": math.sqrt(power[0]), "skewness": power[1] / power[0] ** 1.5, "kurtosis": power[2] / power[0] ** 2}
for key, want in by_hand.items():
    near(key, row["bytes." + key], want)
if len(row["layer.inside.max"]) != 3:
    sys.exit("monitor.py: a record of a layer has no value for each")

data = open("out/model.safetensors", "rb").read()
size = struct.unpack_from("<Q", data)[0]
for name, t in json.loads(data[8:8 + size]).items():
    if name == "__metadata__":
        continue
    begin, end = (8 + size + o for o in t["data_offsets"])
    w = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    if name.endswith("table"):
        for key, want in (("l2_norm", math.sqrt(math.fsum(v * v for v in w))), ("min", min(w)), ("max", max(w))):
            near("weight " + key, row["table.weight." + key], want)
        near("moment", row["table.moment.l2_norm"] > 0, True)
