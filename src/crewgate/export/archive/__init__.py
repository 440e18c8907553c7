"""The archive of the audit: Parquet files in a folder or in an S3-compatible bucket.

`part_planner` says which part of which audit file is next, `archiver` makes an object of each part
and stores it, `retention` deletes old ones, and `archive_reader` reads them for a verification.
"""
