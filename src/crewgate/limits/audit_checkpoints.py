"""The bounds of the signed checkpoints of the audit."""

audit_checkpoint_seconds = 5.0  # between two; a sync of the log and of each file with new lines
audit_checkpoint_new_file_seconds = 60.0  # in which a new file may lack the lock of its process
audit_checkpoint_file_bytes = 8 * 2**20  # of a file of the log: some 20,000 checkpoints
audit_checkpoint_line_bytes_max = 64 * 2**20  # a full one of 400,000 audit files
audit_checkpoint_files_max = 64  # of the log: half a gigabyte, or two months of a busy machine
audit_checkpoint_folders_max = 16  # of which the state folder has the newest checkpoint
audit_checkpoint_late_seconds = 60.0  # of work for one, in health; and of a file that is new in it
kept_checkpoints_max = 1000  # of one other machine: the first of each hour of six weeks
kept_checkpoints_hour_max = 8  # of one hour of a machine whose checkpoints are not one chain
kept_checkpoints_seconds = 60.0  # until those of other machines are written to the disk
kept_checkpoints_page_max = 100  # of one message of an answer; 100 B each
audit_verify_findings_max = 1000  # that a report lists; it counts the others
