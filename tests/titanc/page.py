#!/usr/bin/env python3
"""page.py PAGE STATS: --emit=html against --stats=json of the same program, and what a real browser makes of the page."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "report"))
import browser  # noqa: E402

PROBE = """
<script>
const seen = {};
const all = (what, where = document) => [...where.querySelectorAll(what)];
seen.title = document.title;
seen.whole = all("#whole td").map(d => d.textContent);
seen.memory = all("#memory rect").length;
seen.time = all("#time rect").length;
seen.finite = all("rect, line").every(r => [...r.attributes].every(a => !/NaN|Infinity|undefined|-[0-9]/.test(a.value)));
seen.peak = all("#memory .peak").length;
seen.note = all("#memory .note")[0].textContent;
const svg = all("#memory svg")[0];
svg.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
seen.names = all("#memory text.name").map(t => t.textContent);
seen.first = all("#memory output")[0].textContent;
svg.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
seen.second = all("#memory output")[0].textContent;
const zoom = all("#time input")[0], width = () => +all("#time svg")[0].getAttribute("width"), before = width();
zoom.value = 50; zoom.dispatchEvent(new Event("input"));
seen.zoom = width() / before;
seen.commands = all("#time table tr").length;
seen.entries = all("#program > details > summary code").map(c => c.textContent);
all("#program > details").forEach(d => d.open = true);
seen.errors = window.errors;
setTimeout(() => {
  seen.lines = all("#program > details code").length;
  seen.nested = all("#program > details details").length;
  document.body.replaceChildren(JSON.stringify(seen));
}, 50);
</script>
"""


def expect(ok, what):
    if not ok:
        sys.exit(f"page.py: {what}")


page, stats = open(sys.argv[1]).read(), json.load(open(sys.argv[2]))
data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S).group(1))
expect("http:" not in page.replace("http://www.w3.org/2000/svg", "") and "https:" not in page, "the page asks for something else")
memory, time = data["memory"], data["time"]
expect(memory["arena"] == stats["peak_bytes"], (memory["arena"], stats))
live = [b for b in memory["buffers"] if b[4] <= memory["peak"] <= b[5]]
expect(live and all(b[2] + b[3] <= memory["frame"] for b in memory["buffers"]), "a value lies outside of the frame")
expect(abs(time["seconds"] / stats["step_seconds"] - 1) < 1e-4, (time["seconds"], stats))
ends = {}
for rows in [tuple(c[:5]) for c in time["commands"]], [(c[0], c[1], c[3] / c[2]) for c in data["collectives"]]:
    expect(len(set(rows)) == len(rows), "commands that are alike have two rows")
expect(sum(d[5] for d in time["drawn"]) == time["all"] == sum(c[5] for c in time["commands"]), "not all commands are drawn")
for command, stream, start, seconds, stage, n in time["drawn"]:
    expect(start >= ends.get((stage, stream), 0) - 1e-12, f"command {command} begins before its stream is free")
    ends[stage, stream] = start + seconds
expect(time["stages"] == len(stats.get("stage_bytes", [0])) == len({stage for stage, _ in ends}), (time["stages"], stats))
expect(abs(time["bubble"] - stats.get("bubble", time["bubble"])) < 1e-3, (time["bubble"], stats))
expect(abs(max(ends.values()) - time["seconds"]) < 1e-9 * time["seconds"], (ends, time["seconds"]))
print(f"page.py: the peak is in {memory['in']}; more commands than are drawn: {time['all'] > len(time['drawn'])}")
if not browser.FOUND:
    print("page.py: there is no Chromium: what the page looks like was left out")
    sys.exit()
seen = browser.look(sys.argv[1], PROBE)
expect(seen["errors"] == [] and seen["finite"], seen)
expect(seen["memory"] == len([b for b in memory["buffers"] if b[5] >= memory["first"] and b[4] <= memory["last"]]) and seen["time"] == len(time["drawn"]), seen)
inside = memory["in"] == "train"
expect(seen["peak"] == inside and ("dashed" if inside else f"in {memory['in']}.") in seen["note"], seen)
expect(seen["names"] and all(n in {f"{b[0]} {b[1]}" for b in memory["buffers"]} for n in seen["names"]), seen)
expect(seen["whole"][:2] == ["config", "debug"] and "target" in seen["whole"], seen)
expect(seen["first"] != seen["second"] and " at " in seen["first"], seen)
expect(9 < seen["zoom"] < 11 and seen["commands"] > 10, seen)
expect(seen["entries"][0].split(".")[0] == "train" and seen["lines"] > 50 and seen["nested"] > 0, seen)
print("page.py: looked at in", browser.FOUND)
