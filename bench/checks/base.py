"""What the parts of tools/gpu-check share.

A part has two halves.  `build(b)` runs where the compiler is and leaves what
the part needs in a folder of its own, packed as it travels.  `run(c)` runs on a
machine with a GPU and yields rows.  A row is one figure and its must; what
cannot be measured is a row too, and says why.

    ok       as it must be               short    right, but less than it must
    FAILED   wrong                       missing  not measured
"""
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import gpu

BESIDE = 8  # programs at a time, where nothing is timed
Row = namedtuple("Row", "part figure value must state")
# Of a part: its name, what it shows, its halves, and whether it needs the GPU
# for itself, because it is timed.
Part = namedtuple("Part", "name about build run alone")


PREDICTED = 0.1  # by which a step may be off what titanc has said of it


class Failed(Exception):
    """Wrong, or not to be measured on this machine (missing)."""

    def __init__(self, why, missing=False):
        super().__init__(why)
        self.state = "missing" if missing else "FAILED"


def passed(holds):
    return "ok" if holds else "FAILED"


def at_least(value, must):
    return "ok" if value >= must else "short"


def at_most(value, must):
    return "ok" if value <= must else "short"


# ------------------------------------------------------------------- building


class Build:
    """One part's half on the machine of the compiler."""

    def __init__(self, root, build, folder, options):
        self.root, self.options = root, options
        self.build = os.path.abspath(build)
        self.folder = folder
        self.programs = set()
        os.makedirs(folder, exist_ok=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def source(self, *names):
        return os.path.join(self.root, *names)

    def tool(self, name):
        """A program of the build that runs on the GPU's machine."""
        shutil.copy(os.path.join(self.build, name), self.folder)
        subprocess.run(["strip", self.path(name)], check=True)

    def titanc(self, source, out, options, says=None):
        """What it prints goes to the file SAYS."""
        with open(says or os.devnull, "w") as f:
            subprocess.run([os.path.join(self.build, "titanc"), source, "-o",
                            out] + options, check=True, stdout=f)

    def program(self, source, name, options, says=None):
        """A training program for sm_90a, among those that travel together."""
        if name in self.programs:
            raise ValueError(f"two programs are named {name}")
        self.programs.add(name)
        os.makedirs(self.path("programs"), exist_ok=True)
        self.titanc(source, self.path("programs", name),
                    ["--target", "sm_90a"] + options, says)

    def compile(self, model, name, options, says=None):
        self.program(self.source("models", model + ".tt"), name, options, says)

    def pack(self, name):
        """A folder; programs have much in common, so they are packed as one
        file."""
        if not os.path.isdir(self.path(name)):
            return
        with lzma.open(self.path(name + ".tar.xz"), "wb", preset=9) as f, \
                tarfile.open(fileobj=f, mode="w") as t:
            t.add(self.path(name), arcname=name)
        shutil.rmtree(self.path(name))

    def run(self, *command, **env):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, **env))


# -------------------------------------------------------------------- running


class Checks:
    """One part's half on the machine of the GPU: what it was given, room for
    what it makes, and what the command line says."""

    def __init__(self, top, part, scratch, options, others):
        self.top, self.given = top, os.path.join(top, part)
        self.scratch = os.path.join(scratch, part)
        self.options, self.lock = options, threading.Lock()
        self.others = others  # of all parts, by name
        os.makedirs(self.scratch, exist_ok=True)

    def path(self, *names):
        return os.path.join(self.given, *names)

    def room(self, *names):
        return os.path.join(self.scratch, *names)

    def program(self, name):
        return os.path.join(self.unpacked("programs"), name)

    def unpacked(self, name):
        """A folder."""
        if os.path.isdir(self.path(name)):
            return self.path(name)
        with self.lock:
            if not os.path.isdir(self.room(name)):
                with tarfile.open(self.path(name + ".tar.xz")) as t:
                    t.extractall(self.scratch, filter="data")
        return self.room(name)

    def call(self, command, seconds=100, said=False, fine=(0,)):
        """What a command prints; SAID: on stderr.  FINE are codes that it may
        end with; after another than 0, what it says on stderr follows."""
        env = dict(os.environ, LD_LIBRARY_PATH=library_path(self.top))
        try:
            r = subprocess.run(command, capture_output=True, text=True, env=env,
                               timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"not done after {seconds} s") from None
        if r.returncode not in fine:
            raise Failed(f"exit {r.returncode}: {last_of(r.stderr, r.stdout)}")
        if said:
            return r.stderr
        return r.stdout + (r.stderr if r.returncode else "")

    def train(self, program, options, metrics, seconds=100):
        """The objects of a program's metrics."""
        return self.train_by(lambda *words: [program, *words], options, metrics,
                             seconds)

    def train_by(self, start, options, metrics, seconds=100):
        """The same of a program that is started by a command: START makes it
        of the program's options."""
        self.call(start("--log-every", "1", "--quiet", "--metrics", metrics,
                        *options), seconds)
        with open(metrics) as f:
            return [json.loads(line) for line in f]


def ended(command, env, seconds):
    """A command with all that it starts, which do not outlive it."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.PIPE, env=env,
                             start_new_session=True)
    try:
        out, said = child.communicate(timeout=seconds)
        return subprocess.CompletedProcess(command, child.returncode, out, said)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {seconds} s") from None
    finally:
        gpu.end_group(child)


def last_of(*texts):
    """The last words of the first that says something."""
    for text in texts:
        lines = [x for x in text.strip().splitlines() if x.strip()]
        if lines:
            return lines[-1].strip()[:160]
    return "it says nothing"


def library_path(top):
    """The libraries that came along, then what the machine has."""
    import gpu
    return os.path.join(top, "lib") + os.pathsep + gpu.library_path()


def torch_missing():
    """Why PyTorch cannot be asked; None if it can."""
    r = subprocess.run(
        [sys.executable, "-c", "import torch; torch.zeros(1, device='cuda')"],
        capture_output=True, text=True)
    return f"PyTorch: {last_of(r.stderr)}" if r.returncode else None


def need_torch(c):
    if c.options.torch:
        raise Failed(c.options.torch, missing=True)


# ----------------------------------------------------------------------- rows


def guarded(figure, rows):
    """Rows of one figure, as they come; whatever goes wrong is a row, and the
    rest of the part, and the other parts, go on."""
    try:
        yield from rows()
    except Failed as e:
        yield figure, str(e), "", e.state
    except (Exception, SystemExit) as e:  # compare.py exits with its words
        yield figure, f"{type(e).__name__}: {e}", "", "FAILED"


def figures_of(c, program):
    """What titanc has said of a program when it made it."""
    path = c.path(program + ".json")
    if not os.path.exists(path):
        raise Failed("there are no figures of titanc's", missing=True)
    with open(path) as f:
        return json.load(f)


def predicted_row(about, figures, seconds):
    """Of a step: what titanc has said, and what it took."""
    if "step_seconds" not in figures:
        raise Failed("titanc knows no machine to predict the step of", missing=True)
    said = figures["step_seconds"]
    state = "ok" if abs(said / seconds - 1) <= PREDICTED else "short"
    return (f"{about}, predicted", f"{1e3 * said:.1f} ms, measured {1e3 * seconds:.1f}: {said / seconds:.3f}",
            f"within {PREDICTED:.0%}", state)


def beside(figures):
    """Rows of several figures that are made at the same time."""
    with ThreadPoolExecutor(BESIDE) as pool:
        for rows in pool.map(lambda f: list(guarded(*f)), figures):
            yield from rows


# ---------------------------------------------------------------------- table


def run_part(part, c, tell):
    """Its rows, and seconds; each is told as it comes."""
    start, rows = time.monotonic(), []
    for r in guarded(part.about, lambda: part.run(c)):
        rows.append(Row(part.name, *r))
        tell(rows[-1])
    return rows, time.monotonic() - start


def print_table(rows):
    heads = Row("part", "figure", "value", "must", "")
    widths = [max(len(str(r[i])) for r in rows + [heads]) for i in range(4)]
    for r in [heads] + rows:
        cells = [str(x).ljust(min(w, 44)) for x, w in zip(r[:4], widths)]
        print("  ".join([f"{r.state:7}"] + cells).rstrip())


def markdown(rows):
    """The table as docs/performance.md has it."""
    lines = ["| | part | figure | value | must |", "|---|---|---|---|---|"]
    for r in rows:
        cells = [r.state if r.state != "ok" else "", r.part, r.figure, r.value,
                 r.must]
        lines.append("| " + " | ".join(str(x).replace("|", "/")
                                       for x in cells) + " |")
    return "\n".join(lines) + "\n"
