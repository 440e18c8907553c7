"""Commands that another machine carries out, over its control API."""
