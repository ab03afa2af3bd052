"""peak.py MIB COMMAND..: runs it, and fails where it took more memory."""
import resource
import subprocess
import sys

subprocess.run(sys.argv[2:], check=True)
mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
if mib > int(sys.argv[1]):
    sys.exit(f"it took {mib:.0f} MiB, and may take {sys.argv[1]}")
