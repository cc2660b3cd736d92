"""Networks drawn at random from all that the native engine covers."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from neocog import NeocogError, Network
from neocog.native.stages import uncovered

IMAGES = (2, 37)
"""From so many on: of one value normalization leaves nothing but what was rounded away."""

ANYWHERE = (
    *("RELU", "TANH", "SIGMOID", "LRELU(0.2)", "SCALEDTANH", "GELU", "SILU", "PRELU", "SOFTMAX", "ID"),
    *("BN", "BN(AFFINE=no)", "BN -> RELU", "BN(eps=1e-3, m=0.3) -> BN", "GROUPNORM(G=1)", "GROUPNORM(G=2) -> RELU"),
    *("LRN(n=3, alpha=0.3)", "LRN(n=5, alpha=0.1, REGION=within)", "RELU -> LRN", "LCN3", "RELU -> LCN5(c=0.5)"),
    *("POOL2(fit=exact)", "POOL3(S=2)", "POOL2(S=1)", "RELU -> POOL2", "AVGPOOL2(S=1)", "AVGPOOL3(S=2, P=1, ZEROS=no)"),
    *(
        "L2POOL2",
        "SUBSAMPLE2",
        "STOPOOL2",
        "RELU -> STOPOOL3(S=2)",
        "SPP(3, 1)",
        "UPSAMPLE2",
        "UPSAMPLE2(MODE=bilinear)",
    ),
    *(
        "FILTER(edge)",
        "FILTER(gaussian, S=2)",
        "SHORTCUT(K=21)",
        "SHORTCUT(K=21, S=2)",
        "DROPOUT(0.3)",
        "RELU -> DROPOUT",
    ),
    *("ADD[BN | ID] -> RELU", "ADD[RELU | ID | TANH]", "CONCAT[ID | POOL3(S=1, P=1) | BN]", "CONCAT[RELU | DROPOUT]"),
    *(
        "ADD[CONV3-21(S=1) -> BN | SHORTCUT(K=21, S=1)]",
        "ADD[CONV3-9 -> BN -> RELU -> CONV3-9 -> BN | CONV1-9] -> RELU",
    ),
    *("CONCAT[CONV1-3 -> BN -> RELU | CONV3-5 | ID]", "ADD[CONCAT[CONV1-3 | CONV3-4] | CONV1-7]"),
    *("AUX(0.4)[RELU -> FC{k}]", "AUX[CONV1-{k} -> GAP]", "LOCAL3-5", "LOCAL2-7(S=2, P=0, BIAS=no)", "DECONV3-6"),
    *("DECONV4-17(S=2, P=1)", "DECONV2-3(S=3, P=0, BIAS=no)"),
)
"""What may follow a layer; where it does not fit, another network is drawn."""
ENDS = (
    *("FC{k}", "FC{n} -> RELU -> FC{k}", "FC{n} -> BN -> TANH -> DROPOUT -> FC{k}", "GAP -> FC{k}"),
    *("CONV1-{k} -> GAP", "FC84 -> TANH -> RBF{k}"),
)


def convolution(random: Random) -> str:
    """Some windows are larger than what they read, and some leave parts of it unread."""
    f, k, groups = random.randint(1, 5), random.randint(1, 35), random.choice([1, 1, 1, 2, 3])
    options = f"S={random.randint(1, 3)}, P={random.randint(0, 2)}, D={random.randint(1, 2)}, G={groups}"
    return f"CONV{f}-{k}({options}, BIAS={random.choice(['yes', 'no'])})"


def covered(text: str) -> Network | None:
    """The network of a text, if it is one and the engine covers it."""
    try:
        network = Network.parse(text)
        return None if uncovered(network) else network
    except NeocogError:
        return None


def network_of(random: Random) -> Network:
    """A small one: sizes odd and even, few channels and many; of the layers drawn those that fit."""
    size = "x".join(str(random.randint(3, 13)) for _ in range(random.choice([1, 2, 2])))
    chain = f"fit={random.choice(['floor', 'ceil'])} INPUT[{size}x{random.randint(1, 4)}]"
    sizes = {"k": random.randint(2, 18), "n": random.randint(1, 40)}
    for _ in range(random.randint(1, 6)):
        layer = convolution(random) if random.random() < 0.4 else random.choice(ANYWHERE).format(**sizes)
        chain = f"{chain} -> {layer}" if covered(f"{chain} -> {layer} -> FC2") else chain
    while True:
        if network := covered(f"{chain} -> {random.choice(ENDS).format(**sizes)}"):
            return network


def networks() -> st.SearchStrategy[Network]:
    """The same for hypothesis."""
    return st.integers(0, 2**32 - 1).map(lambda seed: network_of(Random(seed)))
