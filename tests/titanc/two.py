"""Holds predicted steps against measured ones (docs/performance.md), in ms."""
import json
import sys

MEASURED = [("1b fsdp", 287.4), ("1b dp", 290.6), ("1b tp", 328.4),
            ("8b fsdp", 817.0)]
ms = [1e3 * json.loads(line)["step_seconds"] for line in open(sys.argv[1])]
for (name, was), said in zip(MEASURED, ms, strict=True):
    if not .9 < said / was < 1.1:
        sys.exit(f"{name}: predicted {said:.1f} ms, measured {was}")
if ms[:3] != sorted(ms[:3]):
    sys.exit(f"plans are not in the measured order: {ms[:3]}")
