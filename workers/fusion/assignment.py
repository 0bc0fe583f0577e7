"""The cheapest way to give every row a column of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cheapest(costs: NDArray[np.float64]) -> list[int]:
    """The column of each row, all different, so that the sum of costs is smallest.

    Shortest augmenting paths, O(rows² · columns): Jonker and Volgenant, "A shortest augmenting path algorithm for
    dense and sparse linear assignment problems", Computing 38 (1987). scipy has it too, but is too slow to import
    for a live process.

    Args:
        costs: float64 [rows, columns], finite, rows ≤ columns.
    """
    rows, columns = costs.shape
    if rows == 1:
        return [int(np.argmin(costs[0]))]
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for start in range(rows):
        _augment(start, costs, row_price, column_price, row_of)
    column_of = [-1] * rows
    for column, row in enumerate(row_of):
        if row >= 0:
            column_of[row] = column
    return column_of


def _augment(
    start: int,
    costs: NDArray[np.float64],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
    row_of: NDArray[np.int_],
) -> None:
    """Give row `start` a column, moving other rows along the cheapest path to a free column."""
    columns = costs.shape[1]
    distance = np.full(columns, np.inf)
    came_from = np.full(columns, -1)
    done = np.zeros(columns, dtype=bool)
    row, column, reached = start, -1, 0.0
    while row >= 0:
        through = reached + costs[row] - row_price[row] - column_price
        better = ~done & (through < distance)
        distance[better], came_from[better] = through[better], column
        column = int(np.argmin(np.where(done, np.inf, distance)))
        reached, row = float(distance[column]), int(row_of[column])
        done[column] = True
    row_price[start] += reached
    for passed in np.flatnonzero(done):
        if row_of[passed] >= 0:
            row_price[row_of[passed]] += reached - distance[passed]
        column_price[passed] -= reached - distance[passed]
    while column >= 0:
        previous = int(came_from[column])
        row_of[column] = start if previous < 0 else row_of[previous]
        column = previous
