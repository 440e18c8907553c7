"""Room that many share: so many bytes in all, and of one sharer a part of them."""


class SharedQuota:
    """How much of `most` is taken, and by whom; nobody may have more than 1 / `share` of it."""

    def __init__(self, most: int, share: int = 1) -> None:
        self.taken = 0
        self._most = most
        self._each = most // share
        self._by: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<SharedQuota {self.taken} of {self._most}>"

    def take(self, amount: int, who: str = "") -> bool:
        """False, and nothing taken, if there is no room for that."""
        own = self._by.get(who, 0) + amount
        if self.taken + amount > self._most or own > self._each:
            return False
        self.taken += amount
        self._by[who] = own
        return True

    def free(self, amount: int, who: str = "") -> None:
        """What was taken is not needed any more."""
        self.taken -= amount
        own = self._by.get(who, 0) - amount
        if own > 0:
            self._by[who] = own
        else:
            self._by.pop(who, None)
