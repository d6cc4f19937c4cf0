"""
The words of the field as types. Pure: nothing here touches a file, a network, a clock or a database.
"""
