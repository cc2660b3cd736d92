"""Surgery on networks with their weights: each rewrite is a pure function, and applied to a model it is verified."""

from __future__ import annotations

from .contract import Option as Option
from .contract import Rewrite as Rewrite
from .conv_to_fc import conv_to_fc as conv_to_fc
from .dilate import dilate as dilate
from .fc_to_conv import fc_to_conv as fc_to_conv
from .fold_batchnorm import fold_batchnorm as fold_batchnorm
from .groups import merge_groups as merge_groups
from .groups import split_groups as split_groups
from .grow_head import grow_head as grow_head
from .parts import Rewritten as Rewritten
from .parts import at_size as at_size
from .pool_to_stride import pool_to_stride as pool_to_stride
from .prune_channels import prune_channels as prune_channels
from .set_weights import set_weights as set_weights
from .swap_layer import swap_layer as swap_layer
from .table import REWRITES as REWRITES
from .transaction import Report as Report
from .transaction import apply as apply
from .transplant import transplant as transplant
from .verification import Verification as Verification
