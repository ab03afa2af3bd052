#!/usr/bin/env python3
"""report.py TITAN: what `titan report` draws, looked at in a real browser, without a window and without a network.

A copy of the page gets a script at its end that does what a reader would and writes what is to be seen into the page, which the
browser then prints.  Where there is no Chromium, what needs one is left out, with a word."""
import json
import re
import subprocess
import sys

import browser

TITAN = sys.argv[1]
HOSTILE = ['</script><script>document.title="caught"</script>', '<img src=x onerror="document.title=`caught`">', "__proto__", "constructor",
           '"\\\u2028\'', "-->", "<!--<script>"]
PROBE = """
<script>
const seen = {};
const all = (what, where = document) => [...where.querySelectorAll(what)];
const says = () => all("#charts output").map(o => o.textContent);
seen.charts = all("#charts svg").length;
seen.titles = all("#charts h2").map(h => h.textContent);
seen.curves = all("#charts figure:first-child .curve").length;
seen.colours = all("#charts figure:first-child .curve").map(c => getComputedStyle(c).stroke);
seen.valid = all("#charts figure:nth-child(2) .curve").map(c => c.getAttribute("d").replace(/[^ML]/g, ""));
seen.numbers = all("#charts path").every(p => !/NaN|Infinity|undefined/.test(p.getAttribute("d")));
seen.labels = all("svg").every(s => s.getAttribute("role") === "img" && s.getAttribute("aria-label").length > 10 && s.tabIndex === 0);
seen.skips = all("#charts figure:first-child .skip").length;
seen.saves = all("#charts figure:first-child .saved").length;
const chart = all("#charts svg")[0], box = chart.getBoundingClientRect();
const at = (kind, x) => chart.dispatchEvent(new PointerEvent(kind, {clientX: box.left + x * box.width, clientY: box.top + 50}));
at("pointermove", 1);
seen.hover = says();
at("pointerleave", 1);
seen.left = says()[0];
const key = k => chart.dispatchEvent(new KeyboardEvent("keydown", {key: k}));
key("Home"); seen.home = says()[0];
key("ArrowRight"); seen.next = says()[0];
key("ArrowRight"); seen.third = says()[0];
key("End"); seen.end = says()[0];
const before = all(".curve", chart)[0].getAttribute("d");
const log = document.getElementById("log");
log.checked = true; log.dispatchEvent(new Event("change"));
seen.log = all(".curve", chart)[0].getAttribute("d") !== before;
const smooth = document.getElementById("smooth");
smooth.value = 90; smooth.dispatchEvent(new Event("input"));
seen.faint = all(".faint", chart).length;
const run = all("#runs input")[1];
run.checked = false; run.dispatchEvent(new Event("change"));
seen.hidden = all(".faint", chart).length;
seen.further = all("#further h2").map(h => h.textContent);
seen.title = document.title;
seen.back = getComputedStyle(document.body).backgroundColor;
seen.errors = window.errors;
const details = document.getElementById("rows");
details.open = true;
setTimeout(() => {
  seen.rows = all("#table tbody tr").length;
  document.body.replaceChildren(JSON.stringify(seen));
}, 50);
</script>
"""


def expect(ok, what):
    if not ok:
        sys.exit(f"report.py: {what}")


def row(step, **more):
    return {"step": step, "loss": 5 / step, "grad_norm": 1.0 + step % 3, "lr": 1e-3, "tokens_per_second": 1000.0 + step,
            "tflops": 1.5, "mfu": None, "peak_bytes": 3 << 30, "data_percent": 0.5, "applied": 1, **({"valid_loss": 6 / step} if step % 20 == 0 else {}), **more}


def write_runs():
    """One with a skipped step, names that want to be more than names, and half a row; one of other steps."""
    further = {name: 0.5 for name in HOSTILE}
    with open("one.jsonl", "w") as f:
        for s in range(1, 101):
            f.write(json.dumps(row(s, skipped="loss is <b>nan</b>", loss=None) if s == 40 else row(s, **further)) + "\n")
        f.write('{"step":101,"lo')
    subprocess.run(["mkdir", "-p", "two/checkpoints"], check=True)
    with open("two/metrics.jsonl", "w") as f:
        f.writelines(json.dumps(row(s)) + "\n" for s in range(10, 130, 10))
    with open("two/checkpoints/ledger.jsonl", "w") as f:
        f.write('{"step":50,"event":"saved"}\n{"step":100,"event":"saved"}\nrubbish\n{"step":7,"event":"skipped"}\n')


def check_file():
    text = open("page.html").read()
    others = [u for u in re.findall(r"https?://[^\"'` ]*", text) if u != "http://www.w3.org/2000/svg"]
    expect(not others, f"the page names {others}")
    expect("default-src 'none'" in text and "prefers-color-scheme: dark" in text, "policy or colours are missing")
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1)
    runs = json.loads(held)["runs"]
    expect("<" not in held, "the data can end its element")
    expect([len(r["steps"]) for r in runs] == [100, 12], "rows are missing")
    expect(set(HOSTILE) <= {k for k, _ in runs[0]["series"]}, "a name was lost")
    expect(runs[0]["skipped"] == [[40, "loss is <b>nan</b>"]] and runs[1]["saved"] == [50, 100], "marks")
    expect(dict(map(tuple, ((k, v[39]) for k, v in runs[0]["series"])))["loss"] is None, "a loss that is not there")


def check_look():
    seen = browser.look("page.html", PROBE)
    expect(seen["errors"] == [], seen["errors"])
    expect(seen["charts"] == 7 and seen["titles"][:6] == ["loss", "validation loss", "gradient norm", "learning rate", "throughput, tokens/s",
                                                          "memory, GiB"],
           seen["titles"])
    expect(seen["curves"] == 2 and len(set(seen["colours"])) == 2 and seen["numbers"] and seen["labels"], seen)
    expect(seen["valid"] == ["MLLLL", "MLLLLL"], seen["valid"])
    expect(seen["skips"] == 1 and seen["saves"] == 2, seen)
    expect(seen["hover"][0] == "step 100: one.jsonl 0.05, two 0.05" and seen["hover"][1] == "step 100: one.jsonl 0.06, two 0.06" and
           seen["hover"][5].endswith("two 3"), seen["hover"])
    expect(seen["left"] == "", seen["left"])
    expect(seen["home"].startswith("step 1: one.jsonl 5,") and seen["next"].startswith("step 2: one.jsonl 2.5,"), seen)
    expect(seen["third"].startswith("step 3: one.jsonl 1.6667,") and seen["end"].startswith("step 100:"), seen)
    expect(seen["log"] and seen["faint"] == 2 and seen["hidden"] == 1, seen)
    expect(set(HOSTILE) <= set(seen["further"]) and seen["title"] == "Training report", seen["further"])
    expect(seen["rows"] == 112, seen["rows"])
    dark = browser.look("page.html", PROBE, "--blink-settings=preferredColorScheme=0")
    light = browser.look("page.html", PROBE, "--blink-settings=preferredColorScheme=1")
    expect(dark["back"] != light["back"] and dark["colours"] != light["colours"], f"light {light['back']}, dark {dark['back']}")


write_runs()
subprocess.run([TITAN, "report", "one.jsonl", "two", "-o", "page.html"], check=True)
check_file()
if browser.FOUND:
    check_look()
    print("report.py: looked at in", browser.FOUND)
else:
    print("report.py: there is no Chromium: what the page looks like was left out")
