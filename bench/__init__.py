"""
The benchmarks: what the package promises of its speed, measured side by side with rivals in one run.
"""
