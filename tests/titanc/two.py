"""Holds predicted steps against measured ones (docs/performance.md), in ms."""
import json
import sys

MEASURED = [("1b fsdp", 282.0), ("1b dp", None), ("1b tp", None),
            ("8b fsdp", 773.6)]  # by copy engines; the order of three by NCCL
ms = [1e3 * json.loads(line)["step_seconds"] for line in open(sys.argv[1])]
for (name, was), said in zip(MEASURED, ms, strict=True):
    if was and not .9 < said / was < 1.1:
        sys.exit(f"{name}: predicted {said:.1f} ms, measured {was}")
if ms[:3] != sorted(ms[:3]):
    sys.exit(f"plans are not in the measured order: {ms[:3]}")
