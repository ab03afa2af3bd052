"""FILE HOW NAME...: a trace of four ranks, timed so, in which each has what is named, and products and collectives that take time; what
waits does so within its own time, and on one stream nothing begins before what is in front of it is over (events tell times in floats)."""
import json
import sys

with open(sys.argv[1]) as f:
    trace = json.load(f)
assert trace["otherData"]["timed by"] == sys.argv[2], trace["otherData"]
events = trace["traceEvents"]
names = {(e["pid"], e["args"]["name"]) for e in events if e["ph"] == "M"}
for rank in range(4):
    assert (rank, f"rank {rank}") in names and (rank, "stream 1") in names, names
    mine = [e for e in events if e["ph"] == "X" and e["pid"] == rank]
    for name in (*sys.argv[3:], "gemm", "all_gather", "reduce_scatter", "all_to_all"):
        found = [e for e in mine if e["name"].startswith(name)]
        assert any(e["dur"] > 0 for e in found), (rank, name, len(found))
    for e in mine:
        assert e["dur"] >= 0 and e.get("args", {}).get("waits", 0) <= e["dur"] + 1e-6, e
    for row in {e["tid"] for e in mine if "args" in e}:
        line = sorted((e["ts"], e["ts"] + e["dur"]) for e in mine if e["tid"] == row)
        for before, after in zip(line, line[1:]):
            assert after[0] >= before[1] - 0.1, (rank, row, before, after)
