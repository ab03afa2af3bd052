"""rows.py: what a program made of Inputs/rows.tt reads."""
import json
import subprocess
import sys


def run(*options, program="./rows"):
    """The rows of a run, {field: [values of a step]}; and what it wrote."""
    done = subprocess.run(
        [program, "--log-every", "1", "--metrics", "rows.jsonl", "--quiet",
         *options], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{options}: exit {done.returncode}\n{done.stderr}")
    with open("rows.jsonl") as lines:
        return [json.loads(line) for line in lines], done.stderr


def tokens_of(rows):
    return [t for row in rows for t in row["tokens"]]
