"""unpredicted.py PAGE WORDS: what a page of which nothing is predicted says of collectives, in a real browser."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "report"))
import browser  # noqa: E402

PROBE = """
<script>
const said = document.querySelector("#collectives .scroll").textContent;
document.body.replaceChildren(JSON.stringify({said, errors: window.errors}));
</script>
"""

if not browser.FOUND:
    print("unpredicted.py: there is no Chromium: what the page looks like was left out")
    sys.exit()
seen = browser.look(sys.argv[1], PROBE)
assert seen == {"said": sys.argv[2], "errors": []}, seen
