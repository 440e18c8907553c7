"""A quota that several users share, each up to a part of it."""


class FairShareLimiter:
    """How much of `total` is taken, and by which user; one user gets at most `total // share`."""

    def __init__(self, total: int, share: int = 1) -> None:
        self.taken = 0
        self._total = total
        self._user_max = total // share
        self._by_user: dict[str, int] = {}

    def take(self, amount: int, who: str = "") -> bool:
        """Take an amount for the user `who`; return False, and take nothing, if it does not fit."""
        own = self._by_user.get(who, 0) + amount
        if self.taken + amount > self._total or own > self._user_max:
            return False
        self.taken += amount
        self._by_user[who] = own
        return True

    def free(self, amount: int, who: str = "") -> None:
        """Give back an amount that `who` has taken."""
        self.taken -= amount
        own = self._by_user.get(who, 0) - amount
        if own > 0:
            self._by_user[who] = own
        else:
            self._by_user.pop(who, None)
