"""auto.py TRIED BEST: the plans that were tried, as printed, and the figures of the one that was taken."""
import json
import re
import sys

tried = [(mark == "*", float(ms), float(gib)) for mark, ms, gib in
         re.findall(r"^([ *]) +([0-9.]+) ms +([0-9.]+) GiB of a rank, [0-9.]+ of them reserve$", open(sys.argv[1]).read(), re.M)]
best = json.load(open(sys.argv[2]))
taken = [t for t in tried if t[0]]
assert len(tried) > 5 and len(taken) == 1, tried
assert taken[0][1] == min(t[1] for t in tried), tried
assert abs(taken[0][1] - 1e3 * best["step_seconds"]) < .01 and best["ranks"] == 8, (taken, best)
assert abs(taken[0][2] * 2 ** 30 - best["peak_bytes"] - best["reserve_bytes"]) < .01 * 2 ** 30, (taken, best)
