"""The files of a backup, and the list of what belongs in one."""
