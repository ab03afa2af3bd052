#!/usr/bin/env python3
"""named.py TITANC MODEL SIZES TARGET MESH...

A rule that names matmuls, or counts them, makes the same of those that a recipe
quantises as of those of bf16: the same are made again, the same are kept or go
to the host, and the same names are offered for one that is none.  MESH: rules of
a plan, each with a word in front."""
import pathlib
import re
import subprocess
import sys
import tempfile

titanc, model, sizes, target = sys.argv[1:5]
RECIPES = ["tensorwise", "rowwise", "rowwise_with_gw_hp", "blockwise", "mxfp8", "mxfp4"]
RULES = ["layer ops", "layer ops except wk", "repeat every 2", "layer keep wq, v", "layer remake wo, attention",
         "layer remake v, swiglu.wg first 1", "layer none offload wg, v", "layer keep nothing"]


def plan(mesh, recipe, rule):
    eight = recipe and f"{'mx' if recipe.startswith('mx') else 'float8'} attention, swiglu recipe {recipe}"
    lines = [*mesh, *([eight] if recipe else []), f"remat {rule}"]
    return "plan p {\n" + "\n".join(lines) + "\n}\n"


def said(text):
    """What is said of matmuls and regions, less their types, which blocks have of their own, and the
    place, which the line of the recipe moves."""
    out = []
    for line in text.splitlines():
        verdict = re.search(r"@layer (keeps|makes again|offloads) (.*?) :", line)
        if verdict and not verdict[2].endswith(("norm1", "norm2")):
            out.append(f"{verdict[1]} {verdict[2]}")
        elif re.search(r"error:|names there", line):
            out.append(re.sub(r"^\S+:\d+:\d+: ", "", line))
    return out


with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "p.tt")
    compared = 0
    for mesh in sys.argv[5:]:
        mesh = mesh.split("; ")
        for rule in RULES:
            seen = {}
            for recipe in ["", *RECIPES]:
                file.write_text(plan(mesh, recipe, rule))
                run = subprocess.run([titanc, model, str(file), "--plan", "p", *sizes.split(), "--target", target, "-Rpass=remat",
                                      "--stop-after", "remat", "--emit", "tir", "-o", str(file) + ".tir"], capture_output=True, text=True)
                seen[recipe] = said(run.stderr)
                if (run.returncode == 0) == ("nothing" in rule) or not seen[recipe]:
                    sys.exit(f"{mesh}, {rule}, {recipe}: {run.stderr}")
                compared += 1
                if seen[recipe] != seen[""]:
                    sys.exit(f"{mesh}, {rule}, {recipe}: {seen[recipe]}, not {seen['']}")
print("the same of", compared, "plans")
