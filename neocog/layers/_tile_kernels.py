"""The kernels of `_tiles`, in a file of their own since Triton takes a while to load: only who pools on a GPU needs it.

Both know a volume by its sizes in memory: `inner` values lie together (the channels, or 1 where those come first),
`width` of these make a row, `height` rows an image. y has `rows` and `columns`, windows are F by G; `won` holds for
each value of y which one of its window it is.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def there(  # type: ignore[no-untyped-def]  # what it is given has no type that Python knows
    x, y, won, count, inner, height, width, rows, columns, F: tl.constexpr, G: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # values of y
    mask = at < count
    c, q = at % inner, at // inner
    j, q = q % columns, q // columns
    i, n = q % rows, q // rows
    first = x + ((n * height + i * F) * width + j * G) * inner + c
    best = tl.load(first, mask=mask)
    switch = tl.zeros((BLOCK,), tl.int8)
    for t in tl.static_range(1, F * G):
        value = tl.load(first + ((t // G) * width + t % G) * inner, mask=mask)
        better = (value > best) | (value != value)  # a NaN wins, as in torch
        best = tl.where(better, value, best)
        switch = tl.where(better, t, switch).to(tl.int8)
    tl.store(y + at, best, mask=mask)
    tl.store(won + at, switch, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def back(  # type: ignore[no-untyped-def]
    dy, dx, won, count, inner, height, width, rows, columns, F: tl.constexpr, G: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # values of dx
    c, q = at % inner, at // inner
    v, q = q % width, q // width
    u, n = q % height, q // height
    i, j = u // F, v // G
    inside = (at < count) & (i < rows) & (j < columns)  # fit=floor leaves a rest
    window = ((n * rows + i) * columns + j) * inner + c
    gradient = tl.load(dy + window, mask=inside, other=0.0)
    switch = tl.load(won + window, mask=inside, other=-1)
    mine = switch == (u - i * F) * G + v - j * G
    tl.store(dx + at, tl.where(mine, gradient, 0.0), mask=at < count)
