"""
Stage 4: PostgreSQL: tables, statements, connections, migrations, and the embedded server.
"""
