"""Commands that another machine runs, through its control API."""
