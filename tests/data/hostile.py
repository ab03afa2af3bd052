#!/usr/bin/env python3
"""hostile.py: damaged and hostile data files are each refused with exit code
65, naming the file, within a second of processor time and 512 MiB."""
import gzip
import hashlib
import json
import os
import re
import resource
import struct
import subprocess
import sys
import tempfile
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import pace  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
# Sanitizers take their time.
SANITIZED = re.search(rb"__(asan|tsan)_init", open(PROGRAM, "rb").read())
SECONDS = 5.0 if SANITIZED else 1.0
MEBIBYTES = 512
os.mkdir("hostile")
cases = []


def case(name, files, data, *options, code=65, names=None):
    """FILES {name: bytes}; DATA is what --data gets; NAMES must be said."""
    cases.append((name, files, data, options, code,
                  names or os.path.basename(data)))


def jsonl(name, *lines):
    text = b'{"text": "sound"}\n' + b"\n".join(lines) + b"\n"
    case("jsonl " + name, {"a.jsonl": text}, "a.jsonl", names="line 2")


def packed_cases():
    text = b'{"text": "some text"}\n' * 1000
    gz = gzip.compress(text)
    zst = zstd(text)
    for suffix, good in (("gz", gz), ("zst", zst)):
        name = f"a.jsonl.{suffix}"
        for cut in (5, 12, len(good) // 2, len(good) - 1):
            case(f"{suffix} cut {cut}", {name: good[:cut]}, name)
        case(f"{suffix} tail", {name: good + b"garbage"}, name)
        case(f"{suffix} noise", {name: bytes(range(256)) * 4}, name)
        flipped = bytearray(good)
        flipped[-3] ^= 64
        case(f"{suffix} checksum", {name: bytes(flipped)}, name)
    lines = b"\n" * (80 << 20)
    case("gz bomb", {"a.jsonl.gz": gzip.compress(lines, 6)}, "a.jsonl.gz")
    case("zst bomb", {"a.txt.zst": zstd(b"\0" * (200 << 20))}, "a.txt.zst")
    case("gz bomb line", {"a.jsonl.gz": gzip.compress(b" " * (40 << 20), 6)},
         "a.jsonl.gz")
    # a frame that wants a window of 2 GiB
    head = b"\x28\xb5\x2f\xfd" + bytes([0x00, (31 - 10) << 3])
    case("zst window", {"a.jsonl.zst": head + b"\x01\x00\x00"}, "a.jsonl.zst")


def zstd(text):
    done = subprocess.run(["zstd", "-q", "--check", "-c"], input=text,
                          capture_output=True, check=True)
    return done.stdout


def jsonl_cases():
    jsonl("no object", b"[1, 2]")
    jsonl("text alone", b"hello")
    jsonl("unterminated", b'{"text": "abc')
    jsonl("no comma", b'{"a": 1 "text": "b"}')
    jsonl("comma", b'{"text": "b",}')
    jsonl("tail", b'{"text": "b"} {}')
    jsonl("twice", b'{"text": "a", "text": "b"}')
    jsonl("key missing", b'{"body": "a"}')
    jsonl("number", b'{"text": 5}')
    jsonl("null", b'{"text": null}')
    jsonl("object", b'{"text": {"a": 1}}')
    jsonl("utf8 lone", b'{"text": "\x80"}')
    jsonl("utf8 overlong", b'{"text": "\xc0\xaf"}')
    jsonl("utf8 surrogate", b'{"text": "\xed\xa0\x80"}')
    jsonl("utf8 beyond", b'{"text": "\xf5\x80\x80\x80"}')
    jsonl("utf8 cut", b'{"text": "\xe2\x82"}')
    jsonl("utf8 in a key", b'{"\xff": 1, "text": "a"}')
    jsonl("surrogate", b'{"text": "\\ud800 x"}')
    jsonl("low surrogate", b'{"text": "\\udc00"}')
    jsonl("escape", b'{"text": "\\q"}')
    jsonl("short escape", b'{"text": "\\u12"}')
    jsonl("control", b'{"text": "a\x01"}')
    jsonl("zero", b'{"text": "a"}\x00')
    jsonl("deep array", b'{"a": ' + b"[" * 100000 + b"]" * 100000 + b"}")
    jsonl("deep object", b'{"a": ' * 5000 + b"1" + b"}" * 5000)
    jsonl("deep unclosed", b'{"a": ' + b"[" * 1000000)
    jsonl("wide", b'{"a": [' + b"0," * 4000000 + b"}")
    jsonl("leading zero", b'{"text": "a", "n": 01}')
    jsonl("plus", b'{"text": "a", "n": +1}')
    jsonl("nan", b'{"text": "a", "n": NaN}')
    jsonl("exponent", b'{"text": "a", "n": 1e}')
    jsonl("word", b'{"text": "a", "n": truth}')
    jsonl("single quotes", b"{'text': 'a'}")
    for ids in (b"[1, -1]", b"[1, 2.5]", b"[1, 4294967296]",
                b"[1, 99999999999999999999]", b"[1, null]", b"[1 2]", b"[1,"):
        jsonl("ids " + ids.decode(), b'{"text": ' + ids + b"}")
    case("jsonl long line", {"a.jsonl": b'{"text": "' + b"a" * (33 << 20)},
         "a.jsonl")
    for size in (1, 7, 100, 4096):
        jsonl(f"noise {size}", bytes(i * 37 % 256 | 128 for i in range(size)))
        jsonl(f"open {size}", b'{"a": "' * size)
    jsonl("keys", b'{"a": 1, "a": {"text": "b"}, "text": [[1]]}')
    jsonl("bare key", b'{text: "a"}')
    jsonl("comment", b'{"text": "a"} // no')
    jsonl("bom", b'\xef\xbb\xbf{"text": "a"}')
    case("jsonl ids beyond", {"a.jsonl": b'{"text": [7, 300]}'}, "a.jsonl",
         names="token 1 of line 1")
    case("jsonl empty", {"a.jsonl": b""}, "a.jsonl", names="no documents")
    case("jsonl blank", {"a.jsonl": b"\n \n\r\n"}, "a.jsonl",
         names="no documents")
    case("jsonl without tokens", {"a.jsonl": b'{"text": ""}\n'}, "a.jsonl",
         names="one step")


def token_cases():
    head = struct.pack("<3i", 20240520, 1, 9) + bytes(1012)
    case("llmc short", {"a.bin": head + bytes(16)}, "a.bin")
    case("llmc long", {"a.bin": head + bytes(20)}, "a.bin")
    huge = struct.pack("<3I", 20240801, 7, 0xffffffff) + bytes(1012)
    case("llmc huge", {"a.bin": huge + bytes(40)}, "a.bin")
    case("nanogpt odd", {"a.bin": bytes(33)}, "a.bin")
    case("u16 odd", {"a.u16": bytes(33)}, "a.u16")
    case("u32 odd", {"a.u32": bytes(34)}, "a.u32")
    case("u16 beyond", {"a.u16": bytes(60) + b"\x00\x01" * 9}, "a.u16")
    case("u32 beyond", {"a.u32": bytes(60) + b"\xff" * 40}, "a.u32")
    case("u32 sign", {"a.u32": bytes(60) + b"\x00\x00\x00\x80" * 9}, "a.u32")
    case("empty", {"a.txt": b""}, "a.txt", names="no tokens")
    case("empty directory", {"d/x.unknown": b"abc"}, "d", names="no data")
    case("kinds", {"a.u16": bytes(60), "b.jsonl": b'{"text": "a"}'}, "a.u16",
         "--data", "b.jsonl", code=64)


def idx(lengths, pointers=None, boundaries=None, dtype=4, width=4, magic=None,
        version=1, counts=None, tail=b""):
    if pointers is None:
        pointers = [sum(lengths[:i]) * width for i in range(len(lengths))]
    if boundaries is None:
        boundaries = range(len(lengths) + 1)
    counts = counts or (len(lengths), len(boundaries))
    return (magic or b"MMIDIDX\0\0") + struct.pack(
        "<QBQQ", version, dtype, *counts) + struct.pack(
        f"<{len(lengths)}i{len(pointers)}q{len(boundaries)}q", *lengths,
        *pointers, *boundaries) + tail


def megatron_cases():
    def bad(name, index, data=bytes(40)):
        case("megatron " + name, {"a.idx": index, "a.bin": data}, "a.idx",
             names='"a.')

    lengths = [2, 3, 5]
    good = idx(lengths)
    bad("magic", idx(lengths, magic=b"MMIDIDY\0\0"))
    bad("version", idx(lengths, version=2))
    for dtype in (0, 6, 7, 9, 255):
        bad(f"dtype {dtype}", idx(lengths, dtype=dtype))
    bad("width", idx(lengths, dtype=5))
    for counts in ((3, 1 << 63), (1 << 63, 4), (1 << 61, 1 << 61), (2, 4),
                   (3, 0), (0, 0), ((1 << 64) - 1, (1 << 64) - 1), (4, 3)):
        bad(f"counts {counts}", idx(lengths, counts=counts))
    bad("overlap", idx(lengths, pointers=[0, 4, 16]))
    bad("hole", idx(lengths, pointers=[0, 12, 24]))
    bad("swapped", idx(lengths, pointers=[0, 20, 8]))
    bad("beyond", idx(lengths, pointers=[0, 8, 1 << 40]))
    bad("negative pointer", idx(lengths, pointers=[-8, 8, 20]))
    bad("negative length", idx([2, -3, 5]))
    bad("long length", idx([2, 3, 0x7fffffff]))
    bad("boundaries down", idx(lengths, boundaries=[0, 2, 1, 3]))
    bad("boundaries beyond", idx(lengths, boundaries=[0, 1, 2, 9]))
    bad("boundaries late", idx(lengths, boundaries=[1, 2, 3]))
    bad("boundaries early", idx(lengths, boundaries=[0, 1, 2]))
    bad("boundary negative", idx(lengths, boundaries=[0, -1, 3]))
    bad("no boundaries", idx(lengths, boundaries=[]))
    bad("tail", idx(lengths, tail=b"\0" * 5))
    bad("short data", good, bytes(36))
    bad("long data", good, bytes(44))
    bad("no data", good, b"")
    for cut in (0, 8, 17, 33, 40, len(good) - 1):
        bad(f"cut {cut}", good[:cut])
    bad("token beyond", good, bytes(36) + b"\xff\xff\0\0")
    bad("token negative", good, bytes(36) + b"\xff" * 4)
    case("megatron alone", {"a.idx": good}, "a.idx", code=74, names="a.bin")


def mds_shard(samples=(b"hello world", b"two")):
    data = [struct.pack("<I", len(s)) + s for s in samples]
    at = 4 + 4 * (len(data) + 1)
    offsets = [at]
    for d in data:
        offsets.append(offsets[-1] + len(d))
    return struct.pack(f"<{len(data) + 2}I", len(data),
                       *offsets) + b"".join(data)


def mds_entry(shard, **change):
    entry = {"column_encodings": ["str"], "column_names": ["text"],
             "column_sizes": [None], "compression": None, "format": "mds",
             "hashes": [], "samples": 2, "size_limit": 1 << 26, "version": 2,
             "raw_data": {"basename": "s.mds", "bytes": len(shard),
                          "hashes": {}}, "zip_data": None}
    for key, value in change.items():
        where = entry
        *path, last = key.split("__")
        for p in path:
            where = where[p]
        where[last] = value
    return entry


def mds_cases():
    shard = mds_shard()

    def bad(name, at=shard, names="s.mds", files=None, code=65, **change):
        entry = mds_entry(shard, **change)
        index = json.dumps({"version": 2, "shards": [entry]}).encode()
        case("mds " + name, {"d/index.json": index, "d/s.mds": at,
                             **(files or {})}, "d", code=code, names=names)

    for basename in ("../s.mds", "/etc/passwd", "..", ".", "", "a/../s.mds",
                     "sub/s.mds", 7, None):
        bad(f"basename {basename}", names="index.json",
            raw_data__basename=basename)
    bad("no raw", names="index.json", raw_data=None)
    bad("link", raw_data__basename="link.mds", names="link.mds", code=74,
        files={"d/link.mds": "s.mds"})
    bad("missing", raw_data__basename="no.mds", names="no.mds", code=74)
    bad("short", shard[:-1])
    bad("long", shard + b"x")
    for value in (-1, 1.5, "40", 1 << 62):
        bad(f"bytes {value}", names="d/", raw_data__bytes=value)
    for value in (-1, 3, 1, 1 << 40, (1 << 32) - 2, 2.0):
        bad(f"samples {value}", names="d/", samples=value)
    for name in ("sha1", "sha256", "xxh64", "xxh3_64", "xxh128"):
        bad(f"hash {name}", raw_data__hashes={name: "00"})
    bad("hash no text", raw_data__hashes={"sha1": 5})
    bad("hash unknown", raw_data__hashes={"crc64": "00"})
    good = hashlib.sha1(shard).hexdigest()
    flipped = bytearray(shard)
    flipped[-1] ^= 1
    bad("bit", bytes(flipped), raw_data__hashes={"sha1": good})
    for at, value in ((4, 0), (4, 1 << 31), (8, 1), (8, len(shard) + 9),
                      (12, 20), (0, 77)):
        table = bytearray(shard)
        table[at:at + 4] = struct.pack("<I", value)
        bad(f"table {at} {value}", bytes(table))
    for size in (0, 5, 12, 1 << 31, (1 << 32) - 1):
        sized = bytearray(shard)
        sized[16:20] = struct.pack("<I", size)
        bad(f"sample size {size}", bytes(sized))
    bad("columns", names="index.json", column_names=["text", "b"])
    bad("no columns", names="index.json", column_names=[],
        column_encodings=[], column_sizes=[])
    bad("column size", names="index.json", column_sizes=[-4])
    bad("column wide", column_sizes=[1 << 31])
    bad("pickle", column_encodings=["pkl"])
    bad("json", column_encodings=["json"])
    bad("floats", column_encodings=["ndarray:float32"])
    bad("array", column_encodings=["ndarray"])
    bad("array shape", column_encodings=["ndarray:int32"])
    bad("no text", column_names=["image"])
    bad("format", names="index.json", format="xsv")
    bad("version", names="index.json", version=3)
    zipped = zlib.compress(shard)
    for how, raw in (("zstd", len(shard)), ("zstd", 1 << 40), ("gz", 5),
                     ("zstd", 200 << 20)):
        bad(f"zip {how} {raw}", names="s.zip", compression=how,
            raw_data__bytes=raw, files={"d/s.zip": zipped},
            zip_data={"basename": "s.zip", "bytes": len(zipped), "hashes": {}})
    bad("brotli", names="index.json", compression="br", files={"d/s": b""},
        zip_data={"basename": "s", "bytes": 0, "hashes": {}})
    bomb = zstd(b"\0" * (250 << 20))
    bad("zip bomb", names="s.zip", compression="zstd", raw_data__bytes=1 << 20,
        files={"d/s.zip": bomb},
        zip_data={"basename": "s.zip", "bytes": len(bomb), "hashes": {}})
    bad("zip escape", names="index.json", compression="zstd",
        zip_data={"basename": "../s.mds", "bytes": 5, "hashes": {}})
    for name, text in (("empty", b""), ("no object", b"[]"), ("cut", b'{"sh'),
                       ("no list", b'{"shards": 5}'),
                       ("twice", b'{"shards": [], "shards": []}'),
                       ("deep", b"[" * 100000), ("entry", b'{"shards": [5]}'),
                       ("wide", b'{"shards": [' + b"0," * 3000000 + b"0]}"),
                       ("long", b" " * (9 << 20)), ("utf8", b'{"\xff": 1}')):
        case("mds index " + name, {"d/index.json": text}, "d",
             names="index.json")
    case("mds none", {"d/index.json": b'{"shards": []}'}, "d", names="no data")
    for part in (b"{},", b"[],", b"1,"):
        wide = b'{"shards": [' + part * ((8 << 20) // len(part) - 8) + b"0]}"
        case(f"mds wide {part}", {"d/index.json": wide}, "d",
             names="index.json")


def build(where, files):
    for name, data in files.items():
        path = os.path.join(where, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(data, str):
            os.symlink(data, path)
            continue
        with open(path, "wb") as out:
            out.write(data)


def run(where, data, options):
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [PROGRAM, "--data", data, *options, "--epochs", "1", "--quiet",
             "--threads", "1"],
            cwd=where, stdout=said, stderr=said,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (90, 90)))
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return child.returncode, said.read().decode(), used


def main():
    for add in (packed_cases, jsonl_cases, token_cases, megatron_cases,
                mds_cases):
        add()
    bad, seconds, memory = [], 0.0, 0.0
    for i, (name, files, data, options, code, names) in enumerate(cases):
        where = f"hostile/{i}"
        build(where, files)
        have, said, used = run(where, data, options)
        cpu = used.ru_utime + used.ru_stime
        seconds = max(seconds, cpu)
        memory = max(memory, used.ru_maxrss / 1024)
        slow = cpu > SECONDS and cpu > pace.seconds(SECONDS)
        if (have != code or names not in said or slow
                or used.ru_maxrss > MEBIBYTES * 1024):
            bad.append(f"{name}: exit {have}, {cpu:.2f} s, "
                       f"{used.ru_maxrss >> 10} MiB: {said.strip()}")
        subprocess.run(["rm", "-r", where], check=True)
    print(f"{len(cases)} files, {len(bad)} not refused as they should be; at "
          f"most {seconds:.2f} s and {memory:.0f} MiB")
    print("\n".join(bad))
    sys.exit(bool(bad))


main()
