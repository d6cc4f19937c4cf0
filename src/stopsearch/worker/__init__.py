"""
The door for Celery: tasks that call flows, and the programs `stopsearch worker` and `stopsearch beat`.
"""
