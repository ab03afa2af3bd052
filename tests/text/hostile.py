"""Hostile tokenizers: each is refused for what it is, within a second of
processor time (of a usual machine) and 512 MiB; a file that can be taken does what it says.

    hostile.py TITAN FOLDER
"""
import json
import os
import resource
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import pace  # noqa: E402

TITAN, FOLDER = sys.argv[1:]
with open(TITAN, "rb") as program:
    SANITIZED = b"__asan_init" in program.read()  # needs far more of both
DOCS = os.path.join(FOLDER, "docs.txt")


def bytes_vocab(**more):
    vocab = {}
    for b in range(256):
        alone = 0x21 <= b <= 0x7e or 0xa1 <= b != 0xad
        n = len([x for x in range(b) if not
                 (0x21 <= x <= 0x7e or (0xa1 <= x and x != 0xad))])
        vocab[chr(b if alone else 256 + n)] = b
    vocab.update(more)
    return vocab


def bpe(merges=(), vocab=None, **more):
    model = {"type": "BPE", "vocab": vocab or bytes_vocab(**{"ab": 256}),
             "merges": list(merges)}
    model.update(more)
    return model


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}


def whole(model=None, **parts):
    tok = {"version": "1.0", "model": model or bpe(["a b"]),
           "pre_tokenizer": BYTES, "decoder": {"type": "ByteLevel"}}
    tok.update(parts)
    return json.dumps(tok)


def split(pattern, kind="Regex", **more):
    step = {"type": "Split", "pattern": {kind: pattern}, "behavior": "Isolated",
            "invert": False}
    step.update(more)
    return whole(pre_tokenizer={"type": "Sequence",
                                "pretokenizers": [step, BYTES]})


def added(content, at=257, **more):
    token = {"id": at, "content": content, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    token.update(more)
    return token


def template(single, special=None):
    return whole(post_processor={"type": "TemplateProcessing", "single": single,
                                 "pair": [], "special_tokens": special or {}})


A = {"Sequence": {"id": "A", "type_id": 0}}
B = {"SpecialToken": {"id": "x", "type_id": 0}}
MIB = 1 << 20
GOOD = whole()

# what is wrong, the text (or bytes), what the message says
CASES = [
    ("empty", "", "the text ends where a value begins"),
    ("null", "null", "a tokenizer is an object"),
    ("array", "[]", "a tokenizer is an object"),
    ("nothing", "{}", 'there is no "model"'),
    ("half", GOOD[:len(GOOD) // 2], "line 1, column"),
    ("trailing", GOOD + "x", "something behind the end"),
    ("comment", "// x\n" + GOOD, "expected a value"),
    ("single-quotes", GOOD.replace('"', "'"), "expected a name"),
    ("trailing-comma", GOOD[:-1] + ",}", "expected a name"),
    ("bom", b"\xef\xbb\xbf" + GOOD.encode(), "expected a value"),
    ("utf-16", GOOD.encode("utf-16"), "expected a value"),
    ("invalid-utf-8", GOOD.encode().replace(b"BPE", b"B\xffE"), "not UTF-8"),
    ("overlong-utf-8", GOOD.encode().replace(b"BPE", b"B\xc0\x80"), "not UTF-8"),
    ("surrogate-utf-8", GOOD.encode().replace(b"BPE", b"\xed\xa0\x80"),
     "not UTF-8"),
    ("control", GOOD.replace("BPE", "B\nE"), "a control character"),
    ("nul-byte", GOOD.replace("BPE", "B\0E"), "a control character"),
    ("escape", GOOD.replace("BPE", "B\\xE"), "an escape"),
    ("half-escape", '{"\\u00', "four hexadecimal"),
    ("lone-surrogate", GOOD.replace("BPE", "\\ud800"), "four hexadecimal"),
    ("low-surrogate", GOOD.replace("BPE", "\\udc00"), "four hexadecimal"),
    ("unended-string", '{"a', "the text ends in a string"),
    ("unended-escape", '{"a\\', "the text ends in a string"),
    ("deep-arrays", "[" * 100000, "more than 64 levels"),
    ("deep-objects", '{"a":' * 100000, "more than 64 levels"),
    ("deep-65", "[" * 65 + "]" * 65, "more than 64 levels"),
    ("duplicate-top", GOOD[:-1] + ',"version":"1.0"}', "occurs twice"),
    ("duplicate-token", GOOD.replace('"ab": 256', '"ab": 256, "ab": 257'),
     "occurs twice"),
    ("duplicate-escaped", GOOD.replace('"ab": 256',
                                       '"ab": 256, "\\u0061b": 257'),
     "occurs twice"),
    ("duplicate-deep", whole(truncation={}).replace(
        "{}", '{"a": [{"b": 1, "b": 2}]}'), "occurs twice"),
    ("duplicate-id", whole(bpe(vocab=bytes_vocab(ab=7))), "the same id 7"),
    ("huge-id", whole(bpe(vocab=bytes_vocab(ab=4294967296))), "no whole number"),
    ("large-id", whole(bpe(vocab=bytes_vocab(ab=2147483647))),
     "ids end at 4194303"),
    ("negative-id", whole(bpe(vocab=bytes_vocab(ab=-1))), "no whole number"),
    ("fraction-id", whole(bpe(vocab=bytes_vocab(ab=256.5))), "no whole number"),
    ("exponent-id", GOOD.replace('"ab": 256', '"ab": 1e300'), "no whole number"),
    ("string-id", whole(bpe(vocab=bytes_vocab(ab="256"))), "no whole number"),
    ("leading-zero", GOOD.replace('"ab": 256', '"ab": 0256'), "expected a value"),
    ("plus", GOOD.replace('"ab": 256', '"ab": +256'), "expected a value"),
    ("nan", GOOD.replace('"ab": 256', '"ab": NaN'), "expected a value"),
    ("bare-minus", GOOD.replace('"ab": 256', '"ab": -'), "expected a value"),
    ("bare-fraction", GOOD.replace('"ab": 256', '"ab": 1.'), "a fraction"),
    ("bare-exponent", GOOD.replace('"ab": 256', '"ab": 1e'), "an exponent"),
    ("version", whole(version="2.0"), "the version is not"),
    ("truncation", whole(truncation={"max_length": 5}), '"truncation"'),
    ("padding", whole(padding={"strategy": {"Fixed": 9}}), '"padding"'),
    ("member", whole(extra=1), 'the member "extra" is not taken'),
    ("no-type", whole({"vocab": {}}), "the model has no type"),
    ("unigram", whole({"type": "Unigram", "vocab": []}),
     'the model "Unigram" is not taken'),
    ("wordpiece", whole({"type": "WordPiece", "vocab": {}}), '"WordPiece"'),
    ("no-vocab", whole({"type": "BPE", "merges": []}), "has no vocabulary"),
    ("vocab-list", whole(bpe(vocab=[["a", 0]])), "has no vocabulary"),
    ("no-merges", whole({"type": "BPE", "vocab": {}}), "no list of merges"),
    ("merge-unknown-left", whole(bpe(["zz b"])), '"zz", which is no token'),
    ("merge-unknown-right", whole(bpe(["a zz"])), '"zz", which is no token'),
    ("merge-unknown-whole", whole(bpe(["a c"])), '"ac", which is no token'),
    ("merge-one-part", whole(bpe(["ab"])), "merge 0 has not two parts"),
    ("merge-three-parts", whole(bpe(["a b c"])), "merge 0 has not two parts"),
    ("merge-triple", whole(bpe([["a", "b", "c"]])), "not two parts"),
    ("merge-empty", whole(bpe([[]])), "not two parts"),
    ("merge-number", whole(bpe([7])), "expected a string"),
    ("merge-of-numbers", whole(bpe([[1, 2]])), "expected a string"),
    ("dropout", whole(bpe(dropout=0.1)), '"dropout" is not taken'),
    ("prefix", whole(bpe(continuing_subword_prefix="##")),
     '"continuing_subword_prefix" is not taken'),
    ("suffix", whole(bpe(end_of_word_suffix="</w>")),
     '"end_of_word_suffix" is not taken'),
    ("unknown-token", whole(bpe(unk_token="[UNK]")), "is no token"),
    ("unknown-number", whole(bpe(unk_token=3)), "expected a string"),
    ("flag", whole(bpe(byte_fallback="yes")), "neither true nor false"),
    ("model-member", whole(bpe(extra=1)), 'the member "extra"'),
    ("normalizer", whole(normalizer={"type": "Lowercase"}),
     'the normalizer "Lowercase" is not taken'),
    ("normalizer-text", whole(normalizer="NFC"), "the normalizer has no type"),
    ("normalizer-member", whole(normalizer={"type": "NFC", "x": 1}),
     'the member "x"'),
    ("precompiled", whole(normalizer={"type": "Precompiled"}), '"Precompiled"'),
    ("many-normalizers", whole(normalizer={"type": "Sequence", "normalizers": [
        {"type": "NFC"}] * 17}), "more than 16 normalizers"),
    ("nested-normalizers", whole(normalizer=json.loads(
        '{"type":"Sequence","normalizers":[' * 40 + '{"type":"NFC"}' +
        ']}' * 40)), "more than 64 levels"),
    ("normalizers-object", whole(normalizer={"type": "Sequence",
                                             "normalizers": {}}), "is no list"),
    ("replace-empty", whole(normalizer={"type": "Replace", "content": "",
                                        "pattern": {"String": ""}}),
     "a pattern is empty"),
    ("replace-both", whole(normalizer={
        "type": "Replace", "content": "",
        "pattern": {"String": "a", "Regex": "a"}}), 'neither a "String"'),
    ("prepend-number", whole(normalizer={"type": "Prepend", "prepend": 1}),
     "expected a string"),
    ("pre-tokenizer", whole(pre_tokenizer={"type": "BertPreTokenizer"}),
     'the pre-tokenizer "BertPreTokenizer" is not taken'),
    ("punctuation", whole(pre_tokenizer={"type": "Punctuation"}),
     '"Punctuation"'),
    ("behind-bytes", whole(pre_tokenizer={
        "type": "Sequence", "pretokenizers": [BYTES, {"type": "Whitespace"}]}),
     "behind ByteLevel"),
    ("many-steps", whole(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Whitespace"}] * 17}), "more than 16 pre-tokenizers"),
    ("behavior", split("a", behavior="Sideways"), 'the behavior "Sideways"'),
    ("invert", split("a", invert=1), "neither true nor false"),
    ("scheme", whole(pre_tokenizer={"type": "Metaspace", "replacement": "_",
                                    "prepend_scheme": "twice"}),
     'the prepend_scheme "twice"'),
    ("scheme-prefix", whole(pre_tokenizer={
        "type": "Metaspace", "replacement": "_", "prepend_scheme": "first",
        "add_prefix_space": False}), '"add_prefix_space" is false'),
    ("replacement", whole(pre_tokenizer={"type": "Metaspace",
                                         "replacement": "__"}),
     "is not one character"),
    ("replacement-empty", whole(pre_tokenizer={"type": "Metaspace",
                                               "replacement": ""}),
     "is not one character"),
    ("regex-open", split("(a"), "the pattern is not taken"),
    ("regex-class", split("[a"), "the pattern is not taken"),
    ("regex-repeat", split("*a"), "the pattern is not taken"),
    ("regex-range", split("[z-a]"), "the pattern is not taken"),
    ("regex-escape", split(r"\h+"), r"'\h', which is not taken"),
    ("regex-boundary", split(r"a\b"), r"'\b', which is not taken"),
    ("regex-reference", split(r"(a)\1"), r"'\1', which is not taken"),
    ("regex-script", split(r"\p{Han}"), r"'\p{Han}', which is not taken"),
    ("regex-recursion", split("(?R)"), "which is not taken"),
    ("regex-condition", split("(?(1)a)"), "which is not taken"),
    ("regex-callout", split("(?C1)a"), "which is not taken"),
    ("regex-verb", split("(*LIMIT_MATCH=9)a"), "which is not taken"),
    ("regex-verb-utf", split("(*NO_JIT)a"), "which is not taken"),
    ("regex-flags", split("(?x)a b"), "which is not taken"),
    ("regex-intersection", split("[a-z&&[aeiou]]"), "which is not taken"),
    ("regex-posix", split("[[:alpha:]]"), "which is not taken"),
    ("regex-count", split("a{,3}"), "which is not taken"),
    ("regex-possessive-count", split("a{1,3}+"), "which is not taken"),
    ("regex-surrogate", split(r"\x{d800}"), "which is not taken"),
    ("regex-end", split("a\\"), "which is not taken"),
    ("regex-long", split("a" * 5000), "at most 4096 are taken"),
    ("regex-large", split("((a{1000}){1000}){1000}"), "the pattern is not"),
    ("regex-nested", split("(" * 300 + "a" + ")" * 300), "the pattern is not"),
    ("regex-stars", split("(a*)*[bc]"), "too many steps"),
    ("regex-plus", split("(a+)+$[bc]"), "too many steps"),
    ("regex-either", split("(a|aa)+[bc]"), "too many steps"),
    ("regex-ahead", split("(?=(a+)+[bc])[cd]"), "too many steps"),
    ("regex-many-stars", split("a*a*a*a*a*a*a*a*[bc]"), "too many steps"),
    ("regex-lazy", split("(a+?)+?[bc]"), "too many steps"),
    ("regex-empty-loop", split("(a*)+(a*)+(a*)+[bc]"), "too many steps"),
    ("normalizer-regex", whole(normalizer={
        "type": "Replace", "content": "x", "pattern": {"Regex": "(a+)+[bc]"}}),
     "too many steps"),
    ("added-object", whole(added_tokens={}), "is no list"),
    ("added-number", whole(added_tokens=[1]), "is no object"),
    ("added-no-content", whole(added_tokens=[{"id": 257}]), "expected a string"),
    ("added-no-id", whole(added_tokens=[{"content": "x"}]), "no whole number"),
    ("added-other-id", whole(added_tokens=[added("<x>", 300)]),
     "the next free one is 257"),
    ("added-vocab-id", whole(added_tokens=[added("ab", 3)]),
     "in the vocabulary it has 256"),
    ("added-taken-id", whole(bpe(vocab=bytes_vocab(ab=300)),
                             added_tokens=[added("<%d>" % i, 257 + i)
                                           for i in range(44)]),
     "the same id 300"),
    ("added-member", whole(added_tokens=[added("x", extra=1)]), '"extra"'),
    ("added-flag", whole(added_tokens=[added("x", lstrip="no")]),
     "neither true nor false"),
    ("added-long", whole(added_tokens=[added("x" * 2000)]),
     "at most 1024 are taken"),
    ("added-same", whole(normalizer={"type": "NFKC"}, added_tokens=[
        added("ﬁ", 257, normalized=True), added("fi", 258, normalized=True)]),
     "two added tokens"),
    ("post-processor", whole(post_processor={"type": "Other"}),
     'the post-processor "Other" is not taken'),
    ("template-none", template([]), "the text 0 times"),
    ("template-twice", template([A, A]), "the text 2 times"),
    ("template-piece", template([{"Other": 1}]), "neither a special"),
    ("template-pair", template([{"Sequence": {"id": "B"}}]), "neither a special"),
    ("template-unknown", template([B, A]), "not among its special tokens"),
    ("template-id", template([B, A], {"x": {"id": "x", "ids": [9999]}}),
     "an id that no token has"),
    ("template-negative", template([B, A], {"x": {"id": "x", "ids": [-1]}}),
     "an id that no token has"),
    ("template-ids", template([B, A], {"x": {"id": "x", "ids": 3}}),
     "has no ids"),
    ("template-object", whole(post_processor={
        "type": "TemplateProcessing", "single": {}, "pair": []}), "is no list"),
    ("roberta", whole(post_processor={"type": "RobertaProcessing",
                                      "sep": ["a", 9999], "cls": ["a", 0]}),
     "no id of a token"),
    ("decoder", whole(decoder={"type": "CTC"}), 'the decoder "CTC"'),
    ("decoder-behind", whole(decoder={"type": "Sequence", "decoders": [
        {"type": "ByteLevel"}, {"type": "Fuse"}, {"type": "ByteLevel"}]}),
     "behind Fuse"),
    ("decoder-strip", whole(decoder={"type": "Sequence", "decoders": [
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 0,
                           "stop": 1}]}), "behind Fuse"),
    ("decoder-strip-number", whole(decoder={
        "type": "Strip", "content": " ", "start": -1, "stop": 0}),
     "no whole number"),
    ("huge", " " * (65 * MIB), "at most 67108864 are read"),
    ("huge-array", "[" + "1," * (7 * MIB) + "1]", "a tokenizer is an object"),
    ("huge-values", "[" + "1," * (32 * MIB - 2) + "1]",
     "more than 8388608 values"),
    ("huge-arrays", "[" + "[]," * (7 * MIB) + "1]", "a tokenizer is an object"),
    ("huge-objects", "[" + '{"a":1},' * (2 * MIB) + "1]",
     "a tokenizer is an object"),
    ("huge-names", "{" + '"":1,' * (3 * MIB) + '"":1}', "occurs twice"),
    ("huge-pairs", "{" + '"":1,' * (12 * MIB) + '"":1}',
     "more than 8388608 values"),
    ("huge-string", '"' + "a" * (60 * MIB) + '"', "a tokenizer is an object"),
    ("huge-token", GOOD.replace('"ab"', '"' + "a" * (60 * MIB) + '"'),
     "is no token"),
]


def limit():
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (512 * MIB, 512 * MIB))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def run(name, text):
    path = os.path.join(FOLDER, name + ".json")
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([TITAN, "tokenize", DOCS, "--tokenizer", path,
                          "--print", "--quiet", "--threads", "1"],
                         capture_output=True, text=True, preexec_fn=limit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    os.remove(path)
    return out, (after.ru_utime + after.ru_stime -
                 before.ru_utime - before.ru_stime)


def main():
    with open(DOCS, "w") as f:
        f.write("a" * 60 + "\n")
    worst, bad = (0, ""), 0
    out, _ = run("good", GOOD)
    assert out.returncode == 0, out.stderr
    for name, text, says in CASES:
        out, spent = run(name, text)
        worst = max(worst, (spent, name))
        # the helper commands end with 1 where a training program has 65
        most = 30 if SANITIZED else 1
        if out.returncode == 1 and says in out.stderr and (spent < most or spent < pace.seconds(most)):
            continue
        bad += 1
        print(f"{name}: exit {out.returncode} in {spent:.2f} s, expected "
              f"\"{says}\":\n{out.stderr[:600]}")
    print(f"{len(CASES)} cases, {bad} wrong")
    print(f"slowest: {worst[1]}, {worst[0]:.2f} s", file=sys.stderr)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
