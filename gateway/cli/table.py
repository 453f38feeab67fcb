"""Tables as people read them in a terminal."""

from collections.abc import Collection, Sequence


def align(rows: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """``rows`` as lines with columns of one width; the columns at ``numbers`` stand to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
