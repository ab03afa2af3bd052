"""few.py ALL FEW N: the N tensors of FEW are those of ALL, bit by bit."""
import sys

from safe import read

every, few = read(sys.argv[1]), read(sys.argv[2])
assert len(few) == int(sys.argv[3]) < len(every), sorted(few)
for name, data in few.items():
    assert every[name] == data, name
