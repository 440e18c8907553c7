"""The files of a backup, and the inventory of what belongs into one."""
