#!/usr/bin/env python3
"""events.py FOLDER METRICS...: the event files of FOLDER say the same as the rows of METRICS.

The reader here shares nothing with the writer: frames, their CRC-32C bit by bit, and protobuf's wire format.  Where the package
`tensorboard` is installed, its own reader is asked too, and has to give the same."""
import glob
import json
import math
import os
import struct
import sys

TAGS = {"loss": ["loss_metrics/global_avg_loss", "local_loss"], "max_loss": ["loss_metrics/global_max_loss"],
        "grad_norm": ["grad_norm"], "lr": ["lr"], "tokens_per_second": ["throughput(tps)"], "tflops": ["tflops"],
        "perplexity": ["loss_metrics/local_perplexity", "loss_metrics/global_avg_perplexity", "loss_metrics/global_max_perplexity"],
        "seconds": ["time_metrics/end_to_end(s)"], "data_seconds": ["time_metrics/data_loading(s)"],
        "data_percent": ["time_metrics/data_loading(%)"]}
MEMORY = ["memory/max_active(GiB)", "memory/max_active(%)", "memory/max_reserved(GiB)", "memory/max_reserved(%)",
          "memory/num_alloc_retries", "memory/num_ooms"]


def expect(ok, what):
    if not ok:
        sys.exit(f"events.py: {what}")


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frames(path):
    data = open(path, "rb").read()
    while data:
        n, crc = struct.unpack_from("<QI", data)
        expect(crc == masked_crc(data[:8]), "the check of a length is wrong")
        body = data[12:12 + n]
        expect(struct.unpack_from("<I", data, 12 + n)[0] == masked_crc(body), "the check of a record is wrong")
        yield body
        data = data[16 + n:]


def varint(data, at):
    x = shift = 0
    while True:
        x |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return x, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            n, at = (8, at) if key & 7 == 1 else (4, at) if key & 7 == 5 else varint(data, at)
            value = data[at:at + n]
            at += n
        yield key >> 3, value


def read(folder):
    """What is left of all files: {(tag, step): value}."""
    seen = {}
    for path in sorted(glob.glob(os.path.join(folder, "events.out.tfevents.*"))):
        for i, body in enumerate(frames(path)):
            event = dict(fields(body))
            expect(struct.unpack("<d", event[1])[0] > 1.6e9, "an event has no time")
            if i == 0:
                expect(event.get(3) == b"brain.Event:2", "the first event is not the version")
            if 7 in event:  # a session starts: later steps of earlier files are void
                seen = {k: v for k, v in seen.items() if k[1] < event[2]}
            for _, value in fields(event.get(5, b"")):
                value = dict(fields(value))
                seen[value[1].decode(), event[2]] = struct.unpack("<f", value[2])[0]
    return seen


def near(a, b):
    if b is None:
        return not math.isfinite(a)
    return abs(a - b) <= 1e-6 * abs(b)


seen = read(sys.argv[1])
rows = [json.loads(line) for path in sys.argv[2:] for line in open(path)]
expect({s for _, s in seen} == {r["step"] for r in rows}, "other steps than the rows have")
for row in rows:
    for key, tags in TAGS.items():
        for tag in tags:
            expect(near(seen[tag, row["step"]], row[key]), f"{tag} of step {row['step']} is {seen[tag, row['step']]}, not {row[key]}")
    for tag in MEMORY:
        expect(seen[tag, row["step"]] >= 0, tag)
    expect(seen["n_tokens_seen", row["step"]] == seen["n_tokens_seen", 1] * row["step"], "tokens seen")
    expect(seen["applied", row["step"]] == row["applied"], "a record of the step is missing")
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("events.py: tensorboard is not installed, its reader was not asked")
    sys.exit()
theirs = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
theirs.Reload()
scalars = {(tag, e.step): e.value for tag in theirs.Tags()["scalars"] for e in theirs.Scalars(tag)}
expect(repr(sorted(scalars.items())) == repr(sorted(seen.items())), "tensorboard reads something else")
