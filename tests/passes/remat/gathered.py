#!/usr/bin/env python3
"""gathered.py TITANC PLANS TITANC-ARGUMENTS...

What the plans `room` and `some` choose is within their budgets, and what the
first chooses is predicted to be faster than `whole`."""
import json
import re
import subprocess
import sys

titanc, plans = sys.argv[1:3]
units = {"MiB": 2 ** 20, "GiB": 2 ** 30}
budgets = {name: int(n) * units[unit] for name, n, unit in re.findall(
    r"^plan (\w+) [^}]*budget (\d+) (MiB|GiB)$", open(plans).read(), re.M)}


def stats(plan):
    return json.loads(subprocess.run([titanc, *sys.argv[3:], plans, "--plan", plan, "--check", "--stats=json"],
                                     check=True, capture_output=True).stdout)


whole, room, some = map(stats, ("whole", "room", "some"))
for plan, made in (("room", room), ("some", some)):
    if made["peak_bytes"] > budgets[plan]:
        sys.exit(f"{plan}: {made['peak_bytes']} bytes are planned of {budgets[plan]}")
print("within their budgets")
seconds = [s["step_seconds"] for s in (whole, room)]
print("faster" if seconds[1] < seconds[0] else f"not faster: {seconds}")
