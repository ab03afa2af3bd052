"""How fast checkpoints are written, against the disk's own rate.

A program whose state has about 1 GB saves it a few times; between the saves the
same number of bytes is written to the same disk by plain writes and one fsync.
Nothing is removed before the end: a disk may take what it has once held faster
than what is new to it, several times so where it is a file itself.
A save's seconds are those of the run's ledger: until files, manifest and names
are all on the disk.  What reading it back takes, which happens beside the
steps, is printed apart.
"""
import json
import os
import statistics
import subprocess
import tempfile
import time

SHAPE = ["--config", "debug", "-D", "batch=1", "-D", "seq=8", "-D", "layer=5", "-D", "embed=1024", "-D", "ff=4096",
         "-D", "kv=16", "-D", "hd=64", "--dtype", "f32"]


def disk_rate(path, size):
    """Bytes per second of plain writes and one fsync."""
    chunk = os.urandom(4 << 20)
    begin = time.monotonic()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    done = 0
    while done < size:
        done += os.write(fd, chunk[:size - done])
    os.fsync(fd)
    os.close(fd)
    return size / (time.monotonic() - begin)


def save_rate(program, data, folder):
    """Of one save: bytes per second, bytes, and seconds of reading it back."""
    ledger = folder + ".jsonl"
    subprocess.run([program, "--data", data, "--steps", "1", "--checkpoint", folder, "--ledger", ledger, "--quiet"],
                   check=True)
    with open(ledger) as f:
        row = next(r for r in map(json.loads, f) if r["event"] == "saved")
    return row["bytes"] / row["seconds"], row["bytes"], row["checked_seconds"]


def bench_saving(titanc, model, a):
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        program = os.path.join(folder, "train")
        subprocess.run([titanc, model, *SHAPE, "-o", program], check=True)
        rates, plain = [], []
        for i in range(a.rounds):
            at = os.path.join(folder, str(i))
            rate, size, checked = save_rate(program, model, at)
            rates.append(rate)
            plain.append(disk_rate(at + ".plain", int(size)))
    ratio = statistics.median(rates) / statistics.median(plain)
    print(f"  state            {size / 1e9:8.2f} GB")
    print(f"  the disk's rate  {statistics.median(plain) / 1e6:8.0f} MB/s")
    print(f"  of a save        {statistics.median(rates) / 1e6:8.0f} MB/s, read back in {checked:.2f} s")
    print(f"  ratio            {ratio:8.2f} (must 0.70)")
    return 0 if ratio >= 0.7 else 1
