"""The audit: each process writes its own files, and one query reads them all together.

`writer` hands a record to the kernel before it returns, or counts it as lost. `reserved_space`
keeps disk space for the records of calls that are under way when the disk fills. `reader` asks
DuckDB. `log_handler` copies into the audit what a process logs.
"""
