"""Of a program in the kernel view: whether all that products read and write of buffers lies in lines that begin at
multiples of 16 bytes.  Prints how many lines it has looked at, and how many have pads."""
import re
import sys

BYTES = {"bf16": 2, "f16": 2, "f32": 4, "i32": 4, "e4m3": 1, "e5m2": 1}
text = sys.stdin.read()
axes = dict(re.findall(r"(\w+) = (\d+)", re.search(r"^axes \((.*?)\)", text, re.M | re.S).group(1)))
products = set(re.findall(r"^fn local @(\S+?)\([^{]*kind (?:matmul|product) \{", text, re.M))
looked = padded = 0
for body in re.split(r"^(?=(?:entry )?fn )", text, flags=re.M):
    places = {}
    for name, dtype, names, rest in re.findall(r"^ +(%\S+) : (\w+)\[(.*?)\] = (?:\w+ )?(buffer.*)$", body, re.M):
        sizes = [int(a.split(":")[1]) if ":" in a else int(axes[a]) for a in names.split(", ") if a]
        strides = re.search(r"stride \((.*?)\)", rest)
        if strides:
            strides = [int(s) for s in strides.group(1).split(", ")]
        else:
            strides = [1] * len(sizes)
            for i in reversed(range(len(sizes) - 1)):
                strides[i] = strides[i + 1] * sizes[i + 1]
        places[name] = dtype, sizes, strides, int(re.search(r"offset (\d+)", rest).group(1))
    for args, group in re.findall(r"launch (.*?) fn @(\S+) outs", body):
        for place in args.split(", ") if group in products else []:
            if place not in places:
                continue
            dtype, sizes, strides, offset = places[place]
            assert offset % 16 == 0, (group, place)
            inner = [n for n, s in zip(sizes, strides) if s == 1 and n > 1]
            for n, s in zip(sizes, strides):
                if n == 1 or s == 1:
                    continue
                assert s * BYTES[dtype] % 16 == 0, (group, place, s)
                looked += 1
                padded += bool(inner) and s % inner[0] != 0
assert padded <= looked
print("lines of products that begin at multiples of 16 bytes:", looked, "with pads:", padded)
