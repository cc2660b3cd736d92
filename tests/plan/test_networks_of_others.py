"""Networks that are no part of the zoo, written as a stranger would: their parameters are the published ones."""

import pytest

from neocog import Network, ShapeError

FIRE = "def fire(s, e) = CONV1-s -> RELU -> CONCAT[ CONV1-e -> RELU | CONV3-e -> RELU ]\n"
DENSE = "def layer(k) = CONCAT[ ID | BN -> RELU -> CONV1-b(BIAS=no) -> BN -> RELU -> CONV3-k(BIAS=no) ]\n"
DOWN = "def down(k) = BN -> RELU -> CONV1-k(BIAS=no) -> AVGPOOL2\n"
UNET = "two(1024)"
for maps in (512, 256, 128, 64):
    UNET = f"two({maps}) -> CONCAT[ ID | POOL2 -> {UNET} -> DECONV2-{maps}(S=2, P=0) ] -> two({maps})"

NETWORKS = {
    "the MNIST example of PyTorch and of Keras": (
        1_199_882,
        """INPUT[28x28x1] -> CONV3-32(P=0) -> RELU -> CONV3-64(P=0) -> RELU -> POOL2 -> DROPOUT(0.25)
        -> FC128 -> RELU -> DROPOUT -> FC10""",
    ),
    "Caffe's quick network for CIFAR-10": (
        145_578,
        """fit=ceil INPUT[32x32x3] -> CONV5-32 -> POOL3(S=2) -> RELU -> CONV5-32 -> RELU -> AVGPOOL3(S=2)
        -> CONV5-64 -> RELU -> AVGPOOL3(S=2) -> FC64 -> FC10""",
    ),
    "AlexNet in two towers side by side, up to where they exchange maps": (
        60_965_224,
        """def tower = CONV11-48(S=4, P=0) -> RELU -> LRN -> POOL3(S=2) -> CONV5-128 -> RELU -> LRN -> POOL3(S=2)
        INPUT[227x227x3] -> CONCAT[ tower | tower ] -> CONV3-384 -> RELU -> CONV3-384(G=2) -> RELU
        -> CONV3-256(G=2) -> RELU -> POOL3(S=2) -> [FC4096 -> RELU -> DROPOUT]*2 -> FC1000""",
    ),
    "OverFeat, fast": (  # "145 million"
        145_920_872,
        """INPUT[231x231x3] -> CONV11-96(S=4, P=0) -> RELU -> POOL2 -> CONV5-256(P=0) -> RELU -> POOL2
        -> CONV3-512 -> RELU -> [CONV3-1024 -> RELU]*2 -> POOL2
        -> FC3072 -> RELU -> DROPOUT -> FC4096 -> RELU -> DROPOUT -> FC1000""",
    ),
    "SqueezeNet 1.1": (
        1_235_496,
        f"""fit=ceil {FIRE} INPUT[224x224x3] -> CONV3-64(S=2, P=0, fit=floor) -> RELU -> POOL3(S=2)
        -> [fire(16, 64)]*2 -> POOL3(S=2) -> [fire(32, 128)]*2 -> POOL3(S=2) -> [fire(48, 192)]*2 -> [fire(64, 256)]*2
        -> DROPOUT -> CONV1-1000 -> RELU -> GAP""",
    ),
    "MobileNet": (
        4_231_976,
        """fit=floor
        def separable(c, k, s) = CONV3-c(G=c, S=s, BIAS=no) -> BN -> RELU -> CONV1-k(BIAS=no) -> BN -> RELU
        INPUT[224x224x3] -> CONV3-32(S=2, BIAS=no) -> BN -> RELU
        -> separable(32, 64, 1) -> separable(64, 128, 2) -> separable(128, 128, 1) -> separable(128, 256, 2)
        -> separable(256, 256, 1) -> separable(256, 512, 2) -> [separable(512, 512, 1)]*5 -> separable(512, 1024, 2)
        -> separable(1024, 1024, 1) -> GAP -> FC1000""",
    ),
    "ResNeXt-50, 32x4d": (
        25_028_904,
        """fit=floor
        def body(w, k, s) = CONV1-w(BIAS=no) -> BN -> RELU -> CONV3-w(S=s, G=32, BIAS=no) -> BN -> RELU
            -> CONV1-k(BIAS=no) -> BN
        def stage(w, k, s, n) = ADD[ body(w, k, s) | CONV1-k(S=s, BIAS=no) -> BN ] -> RELU
            -> [ADD[ body(w, k, 1) | ID ] -> RELU]*n
        INPUT[224x224x3] -> CONV7-64(S=2, BIAS=no) -> BN -> RELU -> POOL3(S=2, P=1)
        -> stage(128, 256, 1, 2) -> stage(256, 512, 2, 3) -> stage(512, 1024, 2, 5) -> stage(1024, 2048, 2, 2)
        -> GAP -> FC1000""",
    ),
    "WRN-28-10": (  # "36.5 million"
        36_479_194,
        """fit=floor
        def body(k, s) = CONV3-k(S=s, BIAS=no) -> BN -> RELU -> CONV3-k(BIAS=no)
        def stage(k, s) = BN -> RELU -> ADD[ body(k, s) | CONV1-k(S=s, BIAS=no) ]
            -> [ADD[ BN -> RELU -> body(k, 1) | ID ]]*3
        INPUT[32x32x3] -> CONV3-16(BIAS=no) -> stage(160, 1) -> stage(320, 2) -> stage(640, 2)
        -> BN -> RELU -> GAP -> FC10""",
    ),
    "DenseNet-121": (
        7_978_856,
        f"""b=128 {DENSE} {DOWN} INPUT[224x224x3] -> CONV7-64(S=2, BIAS=no, fit=floor) -> BN -> RELU
        -> POOL3(S=2, P=1, fit=floor) -> [layer(32)]*6 -> down(128) -> [layer(32)]*12 -> down(256)
        -> [layer(32)]*24 -> down(512) -> [layer(32)]*16 -> BN -> RELU -> GAP -> FC1000""",
    ),
    "DenseNet-BC of 100 layers, k=12": (  # "0.8 million"
        769_162,
        f"""b=48 {DENSE} {DOWN} INPUT[32x32x3] -> CONV3-24(BIAS=no) -> [layer(12)]*16 -> down(108)
        -> [layer(12)]*16 -> down(150) -> [layer(12)]*16 -> BN -> RELU -> GAP -> FC10""",
    ),
    "U-Net, padded and with batch normalization": (
        31_037_698,
        f"""def two(k) = CONV3-k(BIAS=no) -> BN -> RELU -> CONV3-k(BIAS=no) -> BN -> RELU
        INPUT[256x256x3] -> {UNET} -> CONV1-2""",
    ),
    "DCGAN's generator": (
        3_576_704,
        """def up(k) = DECONV4-k(S=2, P=1, BIAS=no)
        INPUT[1x1x100] -> DECONV4-512(P=0, BIAS=no) -> BN -> RELU -> up(256) -> BN -> RELU -> up(128) -> BN -> RELU
        -> up(64) -> BN -> RELU -> up(3) -> TANH""",
    ),
    "Kim's sentences: 56 words of 300 numbers, filters over 3, 4 and 5 words": (
        300 * 100 * (3 + 4 + 5) + 300 + 300 * 2 + 2,
        """def words(f) = CONV(F=f, K=100, P=0) -> RELU -> SPP(1)
        INPUT[56x300] -> CONCAT[ words(3) | words(4) | words(5) ] -> DROPOUT -> FC2""",
    ),
    "Zhang's characters, small": (
        256 * 70 * 7 + 256**2 * 7 + 4 * 256**2 * 3 + 6 * 256 + (34 * 256 + 1) * 1024 + 1025 * 1024 + 1025 * 4,
        """INPUT[1014x70] -> [CONV7-256(P=0) -> RELU -> POOL3]*2 -> [CONV3-256(P=0) -> RELU]*4 -> POOL3
        -> [FC1024 -> RELU -> DROPOUT]*2 -> FC4""",
    ),
    "M5 on a second of sound, as in torchaudio's tutorial": (
        26_915,
        """fit=floor def part(k) = CONV3-k(P=0) -> BN -> RELU -> POOL4
        INPUT[8000x1] -> CONV80-32(S=16, P=0) -> BN -> RELU -> POOL4 -> part(32) -> part(64) -> part(64)
        -> GAP -> FC35""",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_others_has_the_parameters_that_are_known(name):
    parameters, text = NETWORKS[name]
    network = Network.parse(text)
    assert network.plan().totals["parameters"] == parameters
    assert Network.parse(str(network)) == network


def test_the_nested_branches_of_a_u_net_give_a_score_for_each_pixel():
    _, text = NETWORKS["U-Net, padded and with batch normalization"]
    assert str(Network.parse(text).plan().rows[-1].output) == "256x256x2"


@pytest.mark.parametrize(
    ("size", "pointed_out"), [("3x224x224", True), ("1x28x28", True), ("224x224x3", False), ("3x224x64", False)]
)
def test_an_input_in_the_order_of_torch_is_pointed_out_where_it_fails(size, pointed_out):
    with pytest.raises(ShapeError) as refusal:
        Network.parse(f"INPUT[{size}] -> CONV3-8 -> RELU -> [POOL2]*9 -> FC10").plan()
    assert ("are the channels" in refusal.value.hint) == pointed_out
