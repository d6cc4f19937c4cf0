"""
Archives as a source: zips by path or address, folders of zips, and loose CSV files.
"""
