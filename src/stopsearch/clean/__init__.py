"""
Stage 2: source records become tidy columns, by one small named rule for each known fault. Pure.
"""
