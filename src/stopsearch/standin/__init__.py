"""
A stand-in for data.police.uk: real data in the real API's shape and habits, with faults on order.
"""
