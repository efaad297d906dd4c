"""The end of the pipe in the project: its own Python, its own Alembic, its env.py.

The project's Python runs `__main__.py`, so that nothing of Windlass is installed there. Beside the
standard library, Alembic and SQLAlchemy, only this directory is imported. Reads requests,
each a line of JSON, from standard input, and answers with lines of JSON on standard output; what
the project prints becomes one of them. Before and after each statement of a revision it asks, and
waits to be told to go on: meanwhile the parent may run statements in the same transaction.

A request without an address has no database: env.py gets a connection that takes statements and
has nothing to read. What nobody approved runs here: neither an address nor a secret comes in.
"""
