"""A peer that is fast: one line of figures, as those of bench/peers."""
import json
import sys

with open(sys.argv[1], "a") as f:
    f.write(json.dumps({"ok": True, "tokens_per_s": 2.0, "ttfs_s": 1.5,
                        "peak_alloc_gib": 3.0, "losses": [5.5]}) + "\n")
