"""
Trials of the whole system with faults put into it: real services, real workers, and an end that must be exact.
"""
