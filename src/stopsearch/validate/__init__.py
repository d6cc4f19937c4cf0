"""
Stage 3: tidy records are parted into stops and rejections, against the one contract. Pure.
"""
