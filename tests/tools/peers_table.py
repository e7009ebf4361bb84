#!/usr/bin/python3
"""peers_table.py FILE - the tables of docs/peers.md, from what tests/e2e/test_peers.py has noted.

In: a JSON line for each cell that passed. Out: Markdown."""

import json
import sys

COLUMNS = [(ways, role) for role in ("c10m_listens", "c10m_connects") for ways in ("c10m_sends", "kernel_sends")]


def words(text):
    return text.replace("_", " ")


def rate(cell):
    """Payload in Mbit/s, both directions together, or that it passed."""
    if not cell["ms"]:
        return "passed"
    mbits = cell["bytes"] * 8 / cell["ms"] / 1000
    text = f"{mbits:.0f}" if mbits >= 10 else f"{mbits:.2g}"
    return text + (f" ({cell['marks']} marks)" if cell["marks"] else "")


def print_table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def one_way(cells):
    """A row for each wire, a column for who sends and who listens."""
    rows = {}
    for cell in cells:
        row = rows.setdefault(f"{cell['subject']}{cell['value']}", ["missing"] * len(COLUMNS))
        row[COLUMNS.index((cell["ways"], cell["role"]))] = rate(cell)
    print_table(["wire", *(f"{words(ways)}, {words(role)}" for ways, role in COLUMNS)],
                [[name, *row] for name, row in rows.items()])


def both_ways(cells):
    rows = {}
    for cell in cells:
        row = rows.setdefault(f"{cell['subject']}{cell['value']}", {})
        row[cell["role"]] = rate(cell)
    print_table(["wire, or what happens", "c10m listens", "c10m connects"],
                [[name, *(row.get(role, "missing") for role in ("c10m_listens", "c10m_connects"))]
                 for name, row in rows.items()])


def main(path):
    with open(path, encoding="ascii") as file:
        cells = [json.loads(line) for line in file]
    cells.sort(key=lambda cell: cell["order"])
    print(f"{len(cells)} cells passed. Mbit/s of payload:\n")
    one_way([cell for cell in cells if cell["ways"] in ("c10m_sends", "kernel_sends")])
    both_ways([cell for cell in cells if cell["ways"] not in ("c10m_sends", "kernel_sends")])


main(sys.argv[1])
