"""
Programs for those who work on stopsearch; none is part of the package.
"""
