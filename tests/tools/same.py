"""same.py A B BOUND: the losses of two runs agree within a relative bound."""
import json
import sys

a, b = ([json.loads(line)["loss"] for line in open(f)] for f in sys.argv[1:3])
if len(a) != len(b) or any(abs(x - y) > float(sys.argv[3]) * abs(x) for x, y in zip(a, b)):
    sys.exit(f"same.py: {a}\n         {b}")
