"""
Stage 1: fetch what the publisher publishes, and hand it on as it came.
"""
