"""What a person orders on the live page: to end, to quarantine, to give back, to revoke.

The server checks the right for the crew that the target has. Each action is in the audit under the
name of the person.
"""
