"""One module per client. A module has `REQUIRES` (what must be importable), `IMPORT` (the statement of the import
case) and, for each case it can run, a function of that name that takes the server's address and returns a callable.
The callable does the work once and returns what came back, for the check. Names and results: see `cases.py`.
"""
