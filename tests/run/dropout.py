"""Rows of dropout.tt say what they should."""
import json, sys

rows = [json.loads(line) for line in open(sys.argv[1])]
assert len(rows) == 6 and len({r['zeros'] for r in rows}) > 1
for r in rows:
    assert abs(r['zeros'] - 0.25) < 0.03 and abs(r['level'] - 1) < 0.04, r
    assert abs(r['both'] - 0.0625) < 0.02 and r['again'] == r['zeros'], r
    assert r['plain'] == r['usual'], r
    assert abs(r['loss'] - (0.9 * r['usual'] + 0.1 * r['flat'])) < 1e-5, r
    if 'valid_loss' in r:
        assert r['valid_loss'] == 0, r
