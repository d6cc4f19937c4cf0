"""
The use cases, one verb a file. Doors call flows; flows put the stages in order.
"""
