#!/usr/bin/env python3
"""Compiles the blocks of a document.

    docs.py TITANC FOLDER FILE.md...

A block marked `tt` is a whole program: it must check.  One marked `tt
fragment` must parse.
"""
import os
import re
import subprocess
import sys


def blocks(path):
    kind, first, lines = None, 0, []
    with open(path) as f:
        for n, line in enumerate(f, 1):
            fence = re.match(r"^```(.*)$", line)
            if fence and kind is None:
                kind, first, lines = fence.group(1).strip(), n, []
            elif fence:
                yield kind, first, "".join(lines)
                kind = None
            elif kind is not None:
                lines.append(line)


def main():
    titanc, folder, *files = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    bad = count = 0
    for path in files:
        for kind, line, text in blocks(path):
            if kind not in ("tt", "tt fragment"):
                continue
            count += 1
            name = os.path.join(folder, f"{os.path.basename(path)}.{line}.tt")
            with open(name, "w") as f:
                f.write(text)
            args = (["--check"] if kind == "tt" else
                    ["--emit=ast", "-o", os.devnull])
            if subprocess.run([titanc, name, *args]).returncode:
                print(f"{path}:{line}: this block does not compile")
                bad += 1
    print(f"{count} blocks, {bad} do not compile")
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
