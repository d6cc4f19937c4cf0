"""
The HTTP door: parse the request, call one flow, shape the answer.
"""
