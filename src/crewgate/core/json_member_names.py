"""Names of JSON members as the most lenient parsers compare them.

Go's encoding/json and some parsers of Java and .NET read `PATH` for `path`. Two names that fold to
the same text are therefore the same member for some server.
"""


def folded(name: str) -> str:
    """Fold a name as the parsers do that ignore case: Java's folds the dotless i to i."""
    return name.casefold().replace("\u0131", "i").replace("\u0307", "")


def folded_words(name: str) -> str:
    """Fold a name as `folded`, and as the parsers do that take `filePath` for `file_path`.

    A parser in C may end the name at U+0000.
    """
    return folded(name.partition("\0")[0]).replace("_", "").replace("-", "")
