"""The bounds of the archive of the audit in Parquet (export/archive/)."""

archive_part_bytes_max = 32 * 2**20  # of audit lines in one object; the engine holds ten times that
archive_piece_bytes_max = 2**20  # of a line in one row; a longer line, which is damage, has several
archive_record_chars_max = 65_536  # of a line that has members; a record has a few thousand
archive_part_bytes_min = 2**20  # to which a part shrinks if the engine cannot make its object
archive_engine_mib_max = 512  # memory of the engine; an object takes 400
archive_row_group_rows = 16_384  # a reader skips the groups of other times; each has 1 MB of lines
archive_rows_at_once = 2048  # that go to and from the engine; of a kilobyte each
archive_write_seconds = 300.0  # for one object; two take a second, also beside a busy gateway
archive_request_seconds = 120.0  # for one object of some 6 MB, over a line of 1 Mbit/s
archive_flush_seconds = 3600.0  # an object an hour for each process that writes; a query reads all
archive_flush_seconds_min = 60.0  # more objects are slow to list and to read
archive_flush_seconds_max = 86_400.0  # a day, as the files of the audit
archive_keep_days_max = 36_500  # a century; without a key the archive keeps all
archive_retention_interval_seconds = 3600.0  # between two looks for objects that are too old
archive_deletes_max = 1000  # objects of one look, and the rest of a file
archive_listed_max = 1_000_000  # names in one folder or listing; a day has some hundreds
archive_page_bytes_max = 8 * 2**20  # of one answer of a listing: 1,000 names of at most 1,024 bytes
archive_object_bytes_max = 128 * 2**20  # of lines that do not compress, with their columns
archive_credentials_bytes_max = 65_536  # of the file with the keys of a bucket
archive_writers_shown = 4  # other machines that write to the same place, in a text of health
