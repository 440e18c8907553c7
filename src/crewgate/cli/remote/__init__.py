"""Commands that another machine's gateway carries out, by its control API."""
