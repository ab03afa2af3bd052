"""drawn.py TITAN-OPT FOLDER COUNT [SEED]: programs of the kernel view by chance, in a plan of whose memory the interpreter runs them.

Stacks are filled row by row by loops that read other stacks, or rows of the same; parts of them by several loops; bodies have temporaries,
rings and streams of their own; the whole may be a turn of another loop.  What runs on which stream is drawn, and so that it means what the list
says, all that meet at a row wait for each other.  `--check-meaning` runs a plan in orders that this allows, with bytes poisoned that nobody
needs: where two that live share a byte, a result differs.  Programs that fail stay in the folder."""
import random
import subprocess
import sys

ROW, MOST = 256, 6  # bytes; rows of a stack
SIZES = list(range(1, MOST + 1))
OFTEN = SIZES + [4, 5, 6]


def stack(n):
    return f"f32[a, n{n}]"


class Buffer:
    def __init__(self, name, rows, filled=()):
        self.name, self.rows, self.filled = name, rows, set(filled)

    def at(self, first, n):
        return {(self.name, first + i) for i in range(n)}


class Program:
    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.streams = self.draw.choice([1, 1, 2, 3])
        self.lines, self.steps, self.bodies, self.buffers, self.names = [], [], {}, [], 0
        self.given = Buffer("%x", MOST, range(MOST))
        self.value = self.accumulate(self.given, 0, 1)
        for _ in range(self.draw.randint(5, 13)):
            self.take_turn()
        for b in self.buffers:
            self.fill_rest(b)
        for b in self.buffers:
            if b.filled and self.draw.random() < 0.3:
                self.value = self.accumulate(b, 0, b.rows)
        self.step(f"  launch {self.value}, %y fn @square outs 1", {self.value}, {"%y"})

    # ------------------------------------------------------------- lines

    def name(self, letter):
        self.names += 1
        return f"%{letter}{self.names}"

    def say(self, text):
        self.lines.append((text, None))

    def step(self, text, reads, writes):
        self.lines.append((text, len(self.steps)))
        self.steps.append((reads, writes))

    def view(self, b, first, n):
        v = self.name("v")
        self.say(f"  {v} : {stack(n)} = view {b.name} offset {ROW * first} stride (1, 64)")
        return v

    def new_buffer(self, n):
        b = Buffer(self.name("b"), n)
        self.say(f"  {b.name} : {stack(n)} = buffer stride (1, 64)")
        self.buffers.append(b)
        return b

    def accumulate(self, b, first, n):
        """A value that depends on those rows, and on the one before it."""
        v, w = self.view(b, first, n), self.name("w")
        self.say(f"  {w} : f32[a] = buffer")
        before = getattr(self, "value", None)
        reads = b.at(first, n) | ({before} if before else set())
        self.step(f"  launch {v}, {before}, {w} fn @first{n} outs 1" if before else f"  launch {v}, {w} fn @top{n} outs 1", reads, {w})
        return w

    def way(self):
        return self.draw.choice(["", " reverse", " reverse"])

    # ------------------------------------------------------------ bodies

    def body(self, kind, n):
        """A function that makes a row of %new of one of %old."""
        name = f"{kind}_{n}_{len(self.bodies)}"
        old = new = ""
        if kind in ("late", "late_old", "late_new"):  # behind the first turn
            ring = f" ring ({n}, {1 if n > 1 else 0})"
            old, new = ring if kind != "late_new" else "", ring if kind != "late_old" else ""
        text = f"fn kernel @{name}(%old : {stack(n)} stride (1, 64), %new : {stack(n)} stride (1, 64)) -> () {{\n"
        if kind == "nest":
            text += f"  %r : f32[a, n1] = view %old turn ({ROW}) stride (1, 64)\n  %s : f32[a, n1] = view %new turn ({ROW}) stride (1, 64)\n"
            text += f"  loop %r, %s fn @{self.body('row', 1)} axis n1 count 1\n"
        else:
            text += f"  %r : f32[a] = view %old turn ({ROW}){old} stride (1)\n  %s : f32[a] = view %new turn ({ROW}){new} stride (1)\n"
            text += {
                "two": "  %t : f32[a] = buffer\n  launch %r, %t fn @square outs 1 signal 0\n"
                       "  launch %t, %s fn @half outs 1 stream 1 wait (0)\n",
                "both": "  %t : f32[a] = buffer\n  launch %r, %t fn @square outs 1\n  launch %t, %s fn @half outs 1\n",
                "again": "  %t : f32[a] = buffer\n  launch %r, %s fn @square outs 1\n  launch %r, %t fn @half outs 1\n"
                         "  launch %s, %t, %s fn @add outs 1\n",
                "more": "  %t : f32[a] = buffer\n  %u : f32[a] = buffer\n  launch %r, %t fn @square outs 1\n"
                        "  launch %t, %u fn @half outs 1\n  launch %r, %u, %s fn @add outs 1\n",
            }.get(kind, "  launch %r, %s fn @square outs 1\n")
        self.bodies[name] = text + "  ret\n}\n"
        return name

    def body_of_three(self, n, reads):
        """One that reads a row of %other too, or makes it."""
        name = f"three_{n}_{len(self.bodies)}"
        ring = f" ring ({n}, 1)" if n > 1 and self.draw.random() < 0.2 else ""
        text = f"fn kernel @{name}(%old : {stack(n)} stride (1, 64), %new : {stack(n)} stride (1, 64), %other : {stack(n)} stride (1, 64)) -> () {{\n"
        text += f"  %r : f32[a] = view %old turn ({ROW}) stride (1)\n  %s : f32[a] = view %new turn ({ROW}){ring} stride (1)\n"
        text += f"  %q : f32[a] = view %other turn ({ROW}) stride (1)\n"
        aside = ["  %t : f32[a] = buffer\n  launch %r, %t fn @half outs 1 stream 1 signal 0\n  launch %q, %s fn @square outs 1\n"
                 "  launch %s, %t, %s fn @add outs 1 wait (0)\n"]
        text += self.draw.choice((["  launch %r, %q, %s fn @add outs 1\n"] + aside * (self.streams > 1)) if reads else [
            "  launch %r, %s fn @square outs 1\n  launch %r, %q fn @half outs 1\n",
            "  launch %r, %q fn @square outs 1\n  launch %q, %s fn @half outs 1\n"])
        self.bodies[name] = text + "  ret\n}\n"
        return name

    # ------------------------------------------------------------- turns

    def runs(self, n, fits):
        """Places of N rows, of which FITS says something by those that are filled."""
        return [(b, o) for b in self.buffers for o in range(b.rows - n + 1)
                if fits(len(b.filled & set(range(o, o + n))), n)]

    def filled(self, n):
        return self.runs(n, lambda some, n: some == n)

    def empty(self, n):
        return self.runs(n, lambda some, n: some == 0)

    def source(self, n):
        filled = self.filled(n)
        if not filled or self.draw.random() < 0.25:
            return self.given, self.draw.randint(0, MOST - n)
        return self.draw.choice(filled[-max(1, len(filled) // 3):] if self.draw.random() < 0.8 else filled)

    def target(self, n):
        chance = self.draw.random()
        places = self.filled(n) if chance < 0.1 else self.empty(n)
        if 0.1 <= chance < 0.3:  # over some that are filled
            places = self.runs(n, lambda some, n: some > 0) or places
        return self.draw.choice(places or [(self.new_buffer(n), 0)])

    def take_turn(self):
        chance = self.draw.random()
        if not self.buffers or (chance < 0.3 and len(self.buffers) < 9):
            b = self.new_buffer(self.draw.choice(OFTEN))
            if self.draw.random() < 0.4:
                v = self.view(self.given, 0, b.rows)
                self.step(f"  launch {v}, {b.name} fn @keep{b.rows} outs 1", self.given.at(0, b.rows), b.at(0, b.rows))
                b.filled = set(range(b.rows))
        elif chance < 0.8:
            self.loop(self.draw.choice(OFTEN))
        else:
            filled = self.filled(self.draw.choice(SIZES)) or self.filled(1)
            if filled:
                b, o = self.draw.choice(filled)
                n = next(k for k in range(1, b.rows + 1) if o + k not in b.filled)
                self.value = self.accumulate(b, o, n)

    def loop(self, n):
        while n > 1 and not self.empty(n):
            n -= 1
        (s, from_), (d, to) = self.source(n), self.target(n)
        if s is d and abs(from_ - to) < n:
            return
        more = [p for p in self.filled(n) + self.empty(n) if p[0] not in (s, d)]
        old, new = self.view(s, from_, n), self.view(d, to, n)
        reads, writes = s.at(from_, n), d.at(to, n)
        if more and self.draw.random() < 0.4:
            e, beside = self.draw.choice(more)
            is_read = beside in e.filled
            other = self.view(e, beside, n)
            (reads if is_read else writes).update(e.at(beside, n))
            e.filled |= set(range(beside, beside + n))
            call = f"{old}, {new}, {other} fn @{self.body_of_three(n, is_read)}"
        else:
            kinds = ["again", "again", "row", "late", "both", "more", "nest", "late_old", "late_new"] + ["two"] * (self.streams > 1)
            call = f"{old}, {new} fn @{self.body(self.draw.choice(kinds), n)}"
        d.filled |= set(range(to, to + n))
        self.step(f"  loop {call} axis n{n} count {n}{self.way()}", reads, writes)

    def fill_rest(self, b):
        """What is read as a whole has all its rows."""
        while b.filled and len(b.filled) < b.rows:
            o = min(set(range(b.rows)) - b.filled)
            n = next(k for k in range(1, b.rows + 1) if o + k in b.filled or o + k == b.rows)
            old, new = self.view(self.given, 0, n), self.view(b, o, n)
            self.step(f"  loop {old}, {new} fn @{self.body('row', n)} axis n{n} count {n}{self.way()}", self.given.at(0, n), b.at(o, n))
            b.filled |= set(range(o, o + n))

    # -------------------------------------------------------------- text

    def order(self):
        """Streams of the steps, and whom each waits for: those on others that it meets at a row; the last for all."""
        on = [self.draw.randrange(self.streams) for _ in self.steps]
        on[-1] = 0
        waits = [set() for _ in self.steps]
        for j, (reads, writes) in enumerate(self.steps):
            for i, (read, written) in enumerate(self.steps[:j]):
                meet = written & (reads | writes) or read & writes
                if on[i] != on[j] and (meet or j == len(self.steps) - 1):
                    waits[j].add(i)
        return on, waits

    def text(self):
        on, waits = self.order()
        event = {step: k for k, step in enumerate(sorted(set().union(*waits)))}
        out = []
        for line, j in self.lines:
            if j is not None:
                line += f" stream {on[j]}" if on[j] else ""
                line += f" wait ({', '.join(str(event[i]) for i in sorted(waits[j]))})" if waits[j] else ""
                line += f" signal {event[j]}" if j in event else ""
            out.append(line)
        inside = "\n".join(out) + "\n"
        head = f'entry fn kernel @train(%x : {stack(MOST)} input "x") -> f32[a] output "y" {{\n  %y : f32[a] = buffer\n'
        if self.draw.random() < 0.25:
            body = head + "  loop %x, %y fn @turn axis n2 count 2\n  ret %y\n}\n\n"
            body += f"fn kernel @turn(%x : {stack(MOST)}, %y : f32[a]) -> () {{\n{inside}  ret\n}}\n"
        else:
            body = head + inside + "  ret %y\n}\n"
        return "\n".join([f"axes (a = 64, {', '.join(f'n{n} = {n}' for n in SIZES)})\n", body, *self.bodies.values(), KERNELS])


def kernels():
    """What steps launch, by rows."""
    out = []
    for n in SIZES:
        out.append(f"fn local @keep{n}(%x : {stack(n)}) -> {stack(n)} kind loop {{\n  ret %x\n}}\n")
        out.append(f"fn local @top{n}(%z : {stack(n)}) -> f32[a] kind loop {{\n  %s : f32[a] = reduce %z kind sum axes (n{n})\n  ret %s\n}}\n")
        out.append(f"fn local @first{n}(%z : {stack(n)}, %o : f32[a]) -> f32[a] kind loop {{\n"
                   f"  %s : f32[a] = reduce %z kind sum axes (n{n})\n  %y : f32[a] = map %s, %o {{ _0 + _1 * 0.5 }}\n  ret %y\n}}\n")
    for name, args, value in (("square", "%x", "sin(_0 * 3.0)"), ("half", "%x", "_0 * 0.5"), ("add", "%x, %z", "_0 + _1")):
        params = ", ".join(f"{a} : f32[a]" for a in args.split(", "))
        out.append(f"fn local @{name}({params}) -> f32[a] kind loop {{\n  %y : f32[a] = map {args} {{ {value} }}\n  ret %y\n}}\n")
    return "\n".join(out)


KERNELS = kernels()


def main(opt, folder, count, seed=0):
    bad = 0
    for s in range(int(seed), int(seed) + int(count)):
        path = f"{folder}/{s}.tir"
        with open(path, "w") as out:
            out.write(Program(s).text())
        r = subprocess.run([opt, path, "--passes=memplan", f"--check-meaning={s}"], capture_output=True, text=True)
        if r.returncode == 0 and "unchecked" not in r.stderr:
            continue
        bad += 1
        print(f"{path}: {r.stderr.strip()}")
    print(f"{count} programs, {bad} failed")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
