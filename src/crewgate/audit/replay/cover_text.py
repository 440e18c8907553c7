"""Says in words which lines of an export no checkpoint covers."""


def unsigned_text(count: int) -> str:
    """Return how many lines are newer than the newest checkpoint of their file, in words."""
    which = "it is" if count == 1 else "they are"
    return (
        f"no checkpoint covers {count} of these lines yet: {which} newer than the newest checkpoint"
    )


def changed_text(count: int) -> str:
    """Return how many lines are not as the machine signed them, in words."""
    if count == 1:
        return "1 of these lines is NOT as the machine signed it: its file has changed"
    return f"{count} of these lines are NOT as the machine signed them: their files have changed"
