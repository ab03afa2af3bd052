"""What tools/gpu-check measures: one module a family of parts."""
