#!/usr/bin/env python3
"""values.py TITAN-OPT: the products of a quantised layer, and of experts, by
hand.

Formats are lists of their numbers, rounding is search in them.  Inputs are
bf16 numbers, so both sides begin with the same."""
import math
import os
import random
import re
import struct
import subprocess
import sys

# rows, embed, ff: two blocks or more along some side
SIZES, WIDE = (32, 64, 96), (128, 128, 256)
BLOCKWISE = ("blockwise", "blockwise_pow2")
EXPERTS, ROWS = 3, 150  # of which one has more than a block of rows
TABLE = os.path.join(os.path.dirname(__file__), "../../../ir/recipes.def")
# mxfp8_native has the numbers of mxfp8, on targets that multiply them.
RECIPES = [name for name in re.findall(r"^RECIPE\((\w+)", open(TABLE).read(), re.M)
           if not name.endswith("_native")]
TEXT = """axes (row = {rows}, ff = {ff}, embed = {embed})
param "w" : bf16[ff, embed] fan (embed -> ff)
entry fn global @train(%x : bf16[row, embed] input "x", %w : bf16[ff, embed] param "w",
    %g : bf16[row, ff] input "g") -> (f32[row, ff] output "y",
    f32[row, embed] output "dx", f32[ff, embed] output "dw") {{
  %y : f32[row, ff] = einsum %x, %w sum (embed) recipe {recipe}
  %dx : f32[row, embed] = backward einsum %g, %w sum (ff) recipe {recipe} cot 1
  %dw : f32[ff, embed] = backward einsum %x, %g sum (row) recipe {recipe} cot 2
  ret %y, %dx, %dw
}}
"""


ROUTED = """axes (row = {rows}, expert = {experts}, ff = {ff}, embed = {embed})
param "w" : bf16[expert, ff, embed] fan (embed -> ff)
entry fn global @train(%x : bf16[row, embed] input "x", %w : bf16[expert, ff, embed] param "w",
    %g : bf16[row, ff] input "g", %ids : i32[row] input "ids") -> (f32[row, ff] output "y",
    f32[row, embed] output "dx", f32[expert, ff, embed] output "dw") {{
  %c : bf16[row, ff, embed] = gather %w, %ids sum (embed) axis expert recipe {recipe}
  %y : f32[row, ff] = einsum %x, %c sum (embed) recipe {recipe}
  %dx : f32[row, embed] = backward einsum %g, %c sum (ff) recipe {recipe} cot 1
  %u : f32[row, ff, embed] = backward map %x, %g {{ f32(_0) * f32(_1) }}
  %dw : f32[expert, ff, embed] = backward scatter %ids, %u sum (embed) axis expert recipe {recipe}
  ret %y, %dx, %dw
}}
"""


def numbers(exponent, mantissa, bias, most):
    """The numbers of a format that are not negative, in order."""
    out = []
    for e in range(1 << exponent):
        for m in range(1 << mantissa):
            part = m / (1 << mantissa)
            x = part * 2.0 ** (1 - bias) if e == 0 else (1 + part) * 2.0 ** (e - bias)
            if x <= most:
                out.append(x)
    return out


FORMATS = {"e4m3": numbers(4, 3, 7, 448), "e5m2": numbers(5, 2, 15, 57344), "e2m1": numbers(2, 1, 1, 6)}


def cast(x, name):
    """To the nearest, ties to the even place in the list, saturating."""
    values, m = FORMATS[name], abs(x)
    lo, hi = 0, len(values) - 1
    if m >= values[hi]:
        return math.copysign(values[hi], x)
    while hi - lo > 1:
        mid = (lo + hi) // 2
        lo, hi = (mid, hi) if values[mid] <= m else (lo, mid)
    middle = (values[lo] + values[hi]) / 2
    up = m > middle or (m == middle and hi % 2 == 0)
    return math.copysign(values[hi if up else lo], x)


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def down(x):
    """To a power of two, from 2^-127 on."""
    return 2.0 ** max(math.frexp(x)[1] - 1, -127) if x > 0 else 2.0 ** -127


def scale_of(amax, name):
    return f32(FORMATS[name][-1] / max(amax, 1e-12))


def whole(x, name, power):
    """One scale for all: the numbers that the narrow ones stand for."""
    s = scale_of(max(abs(v) for row in x for v in row), name)
    s = down(s) if power else s
    return [[cast(f32(v * s), name) / s for v in row] for row in x]


def by_row(x):
    out = []
    for row in x:
        s = down(scale_of(max(map(abs, row)), "e4m3"))
        out.append([cast(v * s, "e4m3") / s for v in row])
    return out


def mx_scale(block, name, to):
    amax = max(map(abs, block))
    if to == "rceil":
        want = f32(amax * f32(1 / FORMATS[name][-1]))
        k = down(want)
        return 2 * k if k < want else k
    if to == "ceil" and amax:
        amax = down(amax) * (2 if down(amax) < amax else 1)
    if name == "e2m1" and not to and amax:
        m, e = math.frexp(amax)  # to the two places that e2m1 has, half up
        amax = math.ldexp(math.floor(m * 4 + 0.5) / 4, e)
    return max(down(amax) / (256 if name == "e4m3" else 4), 2.0 ** -127)


def mx(x, name, to):
    out = []
    for row in x:
        made = []
        for at in range(0, len(row), 32):
            block = row[at:at + 32]
            k = mx_scale(block, name, to)
            made += [cast(v / k, name) * k for v in block]
        out.append(made)
    return out


def blocks(x, tall, power, least):
    """128 along a row, of a weight 128 rows too."""
    step, out = 128 if tall else 1, [[0.0] * len(x[0]) for _ in x]
    for r in range(0, len(x), step):
        for c in range(0, len(x[0]), 128):
            cells = [(i, j) for i in range(r, r + step) for j in range(c, c + 128)]
            amax = max(abs(x[i][j]) for i, j in cells)
            top = max(amax, f32(least))
            s = down(scale_of(amax, "e4m3")) if power else f32(448 / top)
            back = 1 / s if power else f32(top / 448)
            for i, j in cells:
                out[i][j] = f32(cast(f32(x[i][j] * s), "e4m3") * back)
    return out


def quantised(recipe, product, x, cot, weight):
    """An operand whose rows are what is summed."""
    if recipe == "tensorwise":
        return whole(x, "e5m2" if cot else "e4m3", False)
    if recipe in BLOCKWISE:
        return blocks(x, weight, recipe == "blockwise_pow2", 1e-12 if cot else 1e-4)
    if recipe.startswith("mx"):
        name, _, to = recipe.partition("_")
        return mx(x, "e2m1" if name == "mxfp4" else "e4m3", to)
    if recipe == "rowwise_with_gw_hp" and product == "weight":
        return x
    if recipe == "rowwise_with_gw_hp" and product == "input" and weight:
        return whole(x, "e4m3", True)
    return by_row(x)


def turned(x):
    return [list(column) for column in zip(*x)]


def product(x, y):
    """Of rows with rows."""
    return [sum(a * b for a, b in zip(r, c)) for r in x for c in y]


def by_hand(recipe, x, w, g):
    def q(name, v, cot, weight):
        return quantised(recipe, name, v, cot, weight)
    return {
        "y": product(q("output", x, False, False), q("output", w, False, True)),
        "dx": product(q("input", g, True, False), q("input", turned(w), False, True)),
        "dw": turned_flat(product(q("weight", turned(x), False, False), q("weight", turned(g), True, False)), len(w)),
    }


def turned_flat(flat, ff):
    """[embed, ff] as [ff, embed]."""
    return [v for f in range(ff) for v in flat[f::ff]]


def experts_by_hand(recipe, x, w, g, ids):
    """W has the experts' rows one behind the other."""
    def q(name, v, cot, weight):
        return quantised(recipe, name, v, cot, weight)

    def chosen(v, e, n):
        return v[e * n:(e + 1) * n] if 0 <= e < EXPERTS else [[0.0] * len(v[0])] * n

    def turned_each(v, n):
        return [row for e in range(EXPERTS) for row in turned(v[e * n:(e + 1) * n])]

    def of_rows(v, e, cot):
        """Columns of the rows of an expert; a whole tensor has all rows."""
        rows = [r for r, i in enumerate(ids) if i == e]
        if recipe == "tensorwise":
            v = q("weight", v, cot, False)
        some = [v[r] for r in rows] + [[0.0] * len(v[0])] * (-len(rows) % 128)
        return turned(some) if recipe == "tensorwise" else q("weight", turned(some), cot, False)

    embed, ff = len(x[0]), len(g[0])
    wy, wx = q("output", w, False, True), q("input", turned_each(w, ff), False, True)
    xq, gq = q("output", x, False, False), q("input", g, True, False)
    return {
        "y": [v for r, e in enumerate(ids) for v in product([xq[r]], chosen(wy, e, ff))],
        "dx": [v for r, e in enumerate(ids) for v in product([gq[r]], chosen(wx, e, embed))],
        "dw": [v for e in range(EXPERTS) for v in product(of_rows(g, e, True), of_rows(x, e, False))],
    }


def by_titan(titan_opt, recipe, inputs, mesh=""):
    """With a mesh rows choose one by one what they are multiplied with."""
    sizes = {"rows": len(inputs["x"]), "embed": len(inputs["x"][0]), "ff": len(inputs["g"][0]), "experts": EXPERTS}
    text, passes = (ROUTED, "sort,quantise") if "ids" in inputs else (TEXT, "quantise")
    open("layer.tir", "w").write(mesh + text.format(recipe=recipe, **sizes))
    rows = {k: x if k == "ids" else [v for row in x for v in row] for k, x in inputs.items()}
    args = ";".join(f"{k}={','.join(map(repr, x))}" for k, x in rows.items())
    open("args", "w").write(f"--args={args}\n")
    text = subprocess.run([titan_opt, "layer.tir", f"--passes={passes}", "--interp", "--round", "@args"], check=True,
                          capture_output=True, text=True).stdout
    return {name: [float(v) for v in re.findall(r"[-+.\w]+", values)]
            for name, values in re.findall(r"^  %(\w+) = (.*)$", text, re.M)}


def bf16(x):
    return struct.unpack("f", b"\0\0" + struct.pack("f", x)[2:])[0]


def matrix(rows, columns, spread):
    """Rows of unlike sizes, with zeros and a row of nothing but."""
    out = [[bf16(random.gauss(0, 1) * 2.0 ** random.randint(-spread, spread)) * (random.random() > 0.05)
            for _ in range(columns)] for _ in range(rows)]
    out[3] = [0.0] * columns
    return out


def is_rounded(recipe, name):
    """As its operands are: products of numbers and scales, but for the sums of
    weights."""
    scaled = not recipe.startswith("mx") and recipe not in BLOCKWISE
    return scaled and name != "dw"


def off(a, b, rounded):
    """Of b, or where that is rounded to bf16 of what is nearest to it."""
    if not rounded:
        return abs(a - b)
    half, near = 2.0 ** (math.frexp(b)[1] - 9), bf16(a * (1 + 2 ** -12))
    is_bf16 = abs(a - near) <= 1e-5 * abs(a)  # what is printed has few digits
    return max(abs(a - b) - half, 0) if is_bf16 else math.inf


def compare(recipe, what, have, want):
    for name in ("y", "dx", "dw"):
        size = max(map(abs, want[name]))
        rounded = is_rounded(recipe, name)
        worst = max(off(a, b, rounded) for a, b in zip(have[name], want[name], strict=True)) / size
        print(f"{recipe} {what}{name}: {worst:.1e}")
        if not worst < 1e-6:
            sys.exit(f"values.py: {recipe}: {what}{name} is off by {worst:.2g} of {size:.3g}")


def unlike(x, y):
    """0 where both are the same."""
    return 1 - 2 * sum(a * b for a, b in zip(x, y)) / sum(a * a + b * b for a, b in zip(x, y))


def compare_plain(recipe, have, inputs):
    """The output beside the product of what was not quantised."""
    worst = unlike(have["y"], product(inputs["x"], inputs["w"]))
    if not worst < 1e-3:
        sys.exit(f"values.py: {recipe}: y is unlike the plain product by {worst:.2g}")


def main(titan_opt):
    random.seed(5)
    for recipe in RECIPES:
        rows, embed, ff = WIDE if recipe in BLOCKWISE else SIZES
        inputs = {"x": matrix(rows, embed, 3), "w": matrix(ff, embed, 2), "g": matrix(rows, ff, 6)}
        have = by_titan(titan_opt, recipe, inputs)
        compare(recipe, "", have, by_hand(recipe, **inputs))
        if recipe in BLOCKWISE:
            compare_plain(recipe, have, inputs)
        ids = [-1] + random.choices(range(EXPERTS), (1, 12, 2), k=ROWS - 1)
        inputs = {"x": matrix(ROWS, embed, 3), "w": matrix(EXPERTS * ff, embed, 2), "g": matrix(ROWS, ff, 6), "ids": ids}
        want = experts_by_hand(recipe, **inputs)
        compare(recipe, "experts' ", by_titan(titan_opt, recipe, inputs), want)
        compare(recipe, "experts' unsorted ", by_titan(titan_opt, recipe, inputs, "mesh (dp = 2)\n"), want)


main(sys.argv[1])
