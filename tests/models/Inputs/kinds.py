"""kinds.py MODEL...: what MODEL.four.jsonl and MODEL.none.jsonl say of each step is the same, and the loss falls."""
import json
import sys

for model in sys.argv[1:]:
    four, none = ([json.loads(line) for line in open(f"{model}.{plan}.jsonl")] for plan in ("four", "none"))
    assert len(four) == len(none) == 6, (model, len(four), len(none))
    for a, b in zip(four, none):
        for key in ("loss", "grad_norm"):
            assert abs(a[key] / b[key] - 1) < 1e-3, (model, key, a, b)
    assert none[-1]["loss"] < none[0]["loss"], (model, none)
    if model == "balanced":  # eight experts, and none has all of the rows
        assert all(1 <= x < 8 for row in none for x in row["balance"]), none
