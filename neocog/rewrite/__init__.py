"""Surgery on networks with their weights: each rewrite is a pure function, and applied to a model it is verified.

A new rewrite is one new file, and one entry in `REWRITES`.
"""

from __future__ import annotations

from typing import Any

from ..model import Model, load
from .contract import RESHAPED, ROUNDED
from .contract import Option as Option
from .contract import Rewrite as Rewrite
from .conv_to_fc import conv_to_fc as conv_to_fc
from .dilate import coarse_grid
from .dilate import dilate as dilate
from .fc_to_conv import fc_to_conv as fc_to_conv
from .fold_batchnorm import fold_batchnorm as fold_batchnorm
from .fold_batchnorm import unfolded
from .groups import merge_groups as merge_groups
from .groups import split_groups as split_groups
from .grow_head import grow_head as grow_head
from .grow_head import grown_classes, names_of, old_classes
from .parts import Rewritten as Rewritten
from .parts import at_size as at_size
from .pool_to_stride import pool_to_stride as pool_to_stride
from .pool_to_stride import way
from .prune_channels import prune_channels as prune_channels
from .prune_channels import pruned_together, share_of
from .set_weights import kernel_name, means, number_of
from .set_weights import set_weights as set_weights
from .swap_layer import kept_arrays
from .swap_layer import swap_layer as swap_layer
from .transaction import Report as Report
from .transaction import Verification as Verification
from .transaction import applied
from .transplant import coercions
from .transplant import transplant as transplant

_ONE = Option("layer", str, "the name of the layer", required=True)
_SOME = Option("layer", str, "the name of the layer; without it all that there are")

REWRITES: tuple[Rewrite, ...] = (
    Rewrite("fc-to-conv", "fully connected layers as convolutions, to slide over larger images", fc_to_conv, RESHAPED),
    Rewrite(
        "conv-to-fc",
        "convolutions written out as the matrices that they are",
        conv_to_fc,
        ROUNDED,
        options=(Option("layer", str, "the first to become an FC; without it the first that can"),),
    ),
    Rewrite(
        "fold-batchnorm",
        "normalizations multiplied into the weights beside them",
        fold_batchnorm,
        ROUNDED,
        notes=unfolded,
    ),
    Rewrite(
        "pool-to-stride",
        "strided convolutions in the place of pooling, as in All-CNN",
        pool_to_stride,
        None,
        options=(_SOME, Option("by", way, "what strides: a new conv, or the one before (stride)", default="conv")),
    ),
    Rewrite("split-groups", "a convolution with groups as several side by side", split_groups, RESHAPED, (_SOME,)),
    Rewrite(
        "merge-groups",
        "convolutions side by side as one, or groups as blocks of one without",
        merge_groups,
        RESHAPED,
        options=(_SOME, Option("dense", bool, "make G=1 of groups, with zeros", default=False)),
    ),
    Rewrite(
        "grow-head",
        "more classes; scores of the old ones stay",
        grow_head,
        RESHAPED,
        options=(Option("add", names_of, "names of the new classes, with commas", required=True),),
        aligned=old_classes,
        classes=grown_classes,
    ),
    Rewrite(
        "swap-layer",
        "another layer in a layer's place, or fresh weights for it",
        swap_layer,
        None,
        options=(
            _ONE,
            Option("by", str, "the new layer, as in the notation"),
            Option("fresh", bool, "start its weights afresh"),
        ),
        notes=kept_arrays,
    ),
    Rewrite(
        "prune-channels",
        "the weakest filters of a layer go, with all that read them",
        prune_channels,
        None,
        options=(_ONE, Option("share", share_of, "how much of the filters goes (default 0.5)", default=0.5)),
        notes=pruned_together,
    ),
    Rewrite(
        "dilate",
        "a stride goes and kernels behind are spread, for a finer map",
        dilate,
        RESHAPED,
        options=(_ONE,),
        aligned=coarse_grid,
    ),
    Rewrite(
        "set-weights",
        "numbers of your own: a Gaussian into a filter, 1 onto a bias",
        set_weights,
        None,
        options=(
            _ONE,
            Option("filter", number_of, "which filter, from 0; without it all"),
            Option("to", kernel_name, "gaussian, sobel-x, sobel-y, edge, sharpen, mean, or bilinear for a DECONV"),
            Option("scale", float, "what the weights are multiplied by"),
            Option("bias", float, "what is added to the biases"),
        ),
        notes=means,
    ),
    Rewrite(
        "transplant",
        "weights of another model, by the layers' names",
        transplant,
        None,
        options=(Option("source", load, "the other model's file", required=True),),
        notes=coercions,
    ),
)


def apply(model: Model, name: str, **options: Any) -> tuple[Model, Report]:
    """The model after a rewrite, and a report: what changed, what it costs, and that outputs agree.

    The model given stays as it is. Raises RewriteError where the rewrite cannot be done or does not keep what the
    network computes, NeocogError for a name or option that there is not.

        >>> from neocog import load
        >>> from neocog.rewrite import apply
        >>> model, report = apply(load("lenet.safetensors"), "fc-to-conv")  # doctest: +SKIP
    """
    return applied(model, name, REWRITES, options)
