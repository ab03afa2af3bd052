"""What a page shows in a real browser, without a window and without a network."""
import json
import os
import re
import shutil
import subprocess
import tempfile

FOUND = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)


def look(page, probe, *options):
    """The JSON that PROBE, a script at the end of a copy of the page, leaves as the only text of its body; `window.errors` has
    what went wrong in the page."""
    text = open(page).read().replace("<title>", "<script>window.errors = []; onerror = m => errors.push(m);</script><title>", 1)
    with tempfile.TemporaryDirectory() as home:
        copy = os.path.join(home, "probe.html")
        open(copy, "w").write(text.replace("</body>", probe + "</body>"))
        done = subprocess.run([FOUND, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900",
                               f"--user-data-dir={home}", "--virtual-time-budget=3000", *options, "--dump-dom", "file://" + copy],
                              capture_output=True, text=True, timeout=300)
    body = re.search(r"<body[^>]*>(.*?)</body>", done.stdout, re.S)
    assert body, f"the browser says {done.stderr[-500:]}"
    return json.loads(body.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
