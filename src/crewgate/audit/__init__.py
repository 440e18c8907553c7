"""The audit log: each process writes its own files, and one query reads them all together.

`writer` hands a record to the kernel before it returns, or counts it as lost. `reserved_space`
keeps disk space for the records of open calls when the disk gets full. `queries` asks the files
with DuckDB. `log_to_audit` copies the log lines of a process into its audit.
"""
