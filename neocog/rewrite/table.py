"""The rewrites there are. A new one is a file of its own and an entry here."""

from __future__ import annotations

from ..model import load
from .contract import RESHAPED, ROUNDED, Option, Rewrite, yes_or_no
from .conv_to_fc import conv_to_fc
from .dilate import coarse_grid, dilate, dilated_together
from .fc_to_conv import fc_to_conv
from .fold_batchnorm import fold_batchnorm, unfolded
from .groups import merge_groups, split_groups
from .grow_head import grow_head, grown_classes, names_of, old_classes
from .pool_to_stride import pool_to_stride, way
from .prune_channels import prune_channels, pruned_together, share_of
from .set_weights import kernel_name, means, number_of, set_weights
from .swap_layer import kept_arrays, swap_layer
from .transplant import coercions, transplant

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
        options=(_SOME, Option("dense", yes_or_no, "make G=1 of groups, with zeros", default=False)),
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
            Option("fresh", yes_or_no, "start its weights afresh"),
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
        ROUNDED,
        options=(_ONE,),
        aligned=coarse_grid,
        notes=dilated_together,
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
