r"""The moving average of weights: what is measured and saved is smoother than what the last steps left.

    a <- a + (1 - d_t) (w - a),   d_t = min(d, (1 + t) / (10 + t))

after update t = 0, 1, ... of the weights w, so that early steps are soon forgotten. It starts as the first weights, and
running statistics are averaged like weights.

Sources: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; d_t is that of TensorFlow's
`ExponentialMovingAverage` with `num_updates`.
"""

from __future__ import annotations


def share(decay: float, updates: int) -> float:
    """1 - d_t: how much of the new weights the average takes in after `updates` earlier ones."""
    return 1 - min(decay, (1 + updates) / (10 + updates))
