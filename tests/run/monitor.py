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
subprocess.run([sys.argv[1], "--data", "data.txt", "--steps", "3", "--log-every", "1", "--quiet", "--metrics", "more.jsonl"], check=True)
more = [json.loads(line) for line in open("more.jsonl")]


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

averages = sorted(float(v) for v in row["layer.inside.average"])
for key, want in (("min", averages[0]), ("median", averages[1]), ("max", averages[2])):
    near(key, row["averages." + key], want)

count = [0] * 256
for step in more:
    at = (step["step"] - 1) * 16
    labels = [v for v in DATA[at + 1:at + 17] if v % 5]
    entropy = [-math.log((count[v] + 1) / (sum(count) + 256)) for v in labels]
    near("unigram", step["baseline.cross_entropy"], sum(entropy) / len(entropy))
    near("tokens", step["baseline.token_count"], len(labels))
    for v in labels:
        count[v] += 1

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
