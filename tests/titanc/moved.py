"""moved.py TITANC STEM: what --stats=json says that a rank moves, of a step whose collectives are counted by hand."""
import json
import subprocess
import sys

titanc, stem = sys.argv[1:]
PROGRAM = """axis batch = 4, d = 8, e = 16
module lin(x: [.., d]) -> [.., e] { param w: [d -> e] = ones
    return x @d w }
optimizer sgd(rate) for p, g { p = p - rate * g }
train t(x: f32[batch, d]) { loss = mean(lin(x))
    update = sgd(1) }
plan p of t { mesh dp = 2
    shard batch over dp }
"""
with open(f"{stem}.tt", "w") as f:
    f.write(PROGRAM)
command = [titanc, f"{stem}.tt", "--dtype", "f32", "--stats=json", "-o", "/dev/null"]
said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
# between two ranks one half of the gradient's 128 numbers is scattered and the other of the parameter's gathered; the loss and the norm are sums
assert said["moved_bytes"] == {"dp": 4 * (8 * 16 + 2)}, said
assert "step_seconds" not in said and "schedule_bubble" not in said, said
