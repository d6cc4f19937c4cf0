"""
Every log event's fields, in one place.
"""
