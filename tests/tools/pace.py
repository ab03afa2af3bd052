"""What a second of processor time is on this machine, now."""
import time

USUAL = 0.07  # seconds that the piece of work takes where bounds were set


def seconds(n):
    """N seconds, or what takes as long on a slower machine, or on one whose processor others share."""
    began = time.process_time()
    sum(i * i % 7 for i in range(1500000))
    return n * max(1, (time.process_time() - began) / USUAL)
