"""
The rules of cleaning: one file a field of trouble, one function a fault.
"""
