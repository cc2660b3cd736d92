"""Text -> network: what the notation means."""

import pytest

from neocog import Network, NotationError
from neocog.layer import Shape
from neocog.notation.parser import MISTAKES


def ops(text: str, **variables: int) -> list[str]:
    return [node.layer.token for node in Network.parse(text, **variables).nodes]


def refused(text: str, **variables: int) -> str:
    with pytest.raises(NotationError) as caught:
        Network.parse(text, **variables)
    return str(caught.value)


def test_a_chain_becomes_named_nodes_in_order():
    network = Network.parse("INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> FC10")
    assert [node.name for node in network.nodes] == ["input", "conv1", "relu1", "pool1", "fc1"]
    assert [node.inputs for node in network.nodes] == [(), (0,), (1,), (2,), (3,)]


def test_repeats_nest_and_multiply():
    text = "INPUT[8x8x1] -> [[CONV3-4 -> RELU]*2 -> POOL2]*3 -> FC2"
    assert ops(text) == ["INPUT[8x8x1]", *(["CONV3-4", "RELU"] * 2 + ["POOL2"]) * 3, "FC2"]


def test_case_newlines_and_comments_do_not_matter():
    one = Network.parse("input[8x8x1]->conv3-4(s=1)->Relu")
    other = Network.parse("# a net → with a comment\nINPUT[8X8x1] # here\n  -> CONV3-4\n\n -> RELU")
    assert one == other


def test_defaults_are_same_padding_for_conv_and_stride_f_for_pool():
    assert ops("INPUT[8x8x1] -> CONV5-4(P=2, S=1) -> POOL2(S=2, P=0)")[1:] == ["CONV5-4", "POOL2"]
    assert ops("INPUT[9x9x1] -> CONV3-4(D=2, P=2)")[1:] == ["CONV3-4(D=2)"]


def test_equal_numbers_on_both_axes_are_one_number():
    assert Network.parse("INPUT[8x8x1] -> CONV3x3-4(S=1x1)") == Network.parse("INPUT[8x8x1] -> CONV3-4")


def test_a_branch_joins_chains_from_one_volume():
    network = Network.parse("INPUT[8x8x2] -> ADD[ CONV3-2 -> RELU | ID ] -> CONCAT[ID | CONV1-3 | RELU]")
    by_name = {node.name: node for node in network.nodes}
    names = [node.name for node in network.nodes]
    assert [names[i] for i in by_name["add1"].inputs] == ["relu1", "id1"]
    assert network.shapes[-1] == Shape((8, 8), 2 + 3 + 2)


def test_what_follows_a_side_branch_reads_the_volume_before_it():
    network = Network.parse("INPUT[8x8x2] -> CONV3-4 -> AUX(0.5)[ GAP -> FC3 ] -> RELU -> AUX[FC3] -> FC3")
    inputs = {node.name: [network.nodes[i].name for i in node.inputs] for node in network.nodes}
    assert inputs["gap1"] == inputs["relu1"] == ["conv1"]
    assert inputs["aux1"] == ["fc1"]
    assert network.side_outputs == {"aux1": 0.5, "aux2": 0.3}
    assert network.nodes[-1].name == "fc3"


def test_definitions_take_parameters_by_position_and_by_name_and_use_earlier_ones():
    text = """
    def unit(k, s) = CONV3-k(S=s, P=1, fit=floor) -> RELU
    def block(k)   = ADD[ unit(k, 1) -> unit(s=1, k=k) | ID ]
    def twice      = [block(4)]*2
    INPUT[8x8x4] -> twice -> unit(8, 2)
    """
    tokens = ops(text)
    assert tokens.count("ADD") == 2
    assert "CONV3-8(S=2, fit=floor)" in tokens


def test_pattern_variables_name_a_family_of_networks():
    family = "INPUT[32x32x3] -> [[CONV3-32 -> RELU]*N -> POOL2?p]*M -> [FC128 -> RELU]*K -> FC10"
    small = ops(family, N=1, M=1, K=0, p=0)
    assert small == ["INPUT[32x32x3]", "CONV3-32", "RELU", "FC10"]
    large = ops(family, N=2, M=3, K=1, p=1)
    assert (large.count("CONV3-32"), large.count("POOL2"), large.count("FC128")) == (6, 3, 1)


def test_a_variable_may_have_a_default_in_the_text():
    text = "N=2 INPUT[8x8x1] -> [RELU]*N"
    assert len(ops(text)) == 3
    assert len(ops(text, N=5)) == 6


def test_the_header_sets_fit_for_every_layer_that_has_it():
    tokens = ops("fit=floor INPUT[8x8x1] -> CONV3-2(S=2) -> POOL3(fit=ceil) -> RELU")
    assert tokens[1:] == ["CONV3-2(S=2, fit=floor)", "POOL3(fit=ceil)", "RELU"]


def test_one_dimensional_networks_have_the_same_notation():
    network = Network.parse("INPUT[100x8] -> CONV3-4 -> RELU -> POOL2 -> FC2")
    assert [str(shape) for shape in network.shapes] == ["100x8", "100x4", "100x4", "50x4", "1x2"]


@pytest.mark.parametrize(
    ("rule", "hint", "snippet"),
    [(rule, hint, snippet) for (rule, hint), snippets in MISTAKES.items() for snippet in snippets],
)
def test_each_example_of_a_mistake_gets_its_message(rule, hint, snippet):
    message = refused(snippet)
    assert rule in message
    assert f"try: {hint}" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("INPUT[28x28x1] -> CONVV5-6", "try: CONV5-6"),
        ("INPUT[28x28x1] -> MAXPOOL2", "there is no layer 'MAXPOOL2'"),
        ("INPUT[28x28x1] -> BATCHNORM2D", "try: BN"),
        ("INPUT[28x28x1] -> DENSE100", "try: FC100"),
        ("INPUT[28x28x1] -> CONV2D", "try: CONV<F>-<K>(S=, P=,"),
        ("INPUT[28x28x1] -> X", "or the name of a definition"),
        ("INPUT[28×28x1] -> RELU", "try: x"),
        ("INPUT[28x28x1] -> CONV5-6（S=2）", "try: ("),
        ("INPUT[28x28x1] —> RELU", "try: -"),
        ("INPUT[28x28x1] -> POOL(2)", "POOL takes no '(2)' there"),
        ("INPUT[28x28x1] -> RELU3", "RELU takes no '3' there"),
        ("INPUT[28x28x1] -> CONV5-6(Q=2)", "CONV has no option Q"),
        ("INPUT[28x28x1] -> CONV5-6(stride=2)", "K (out channels), S (stride), P (padding)"),
        ("INPUT[28x28x1] -> CONV5-6(S=2, S=2)", "S is given twice"),
        ("INPUT[28x28x1] -> CONV5-6(F=3)", "CONV has F twice"),
        ("INPUT[28x28x1] -> CONV5", "CONV needs K (out channels)"),
        ("INPUT[28x28x1] -> CONV5-k", "variable k has no value"),
        ("INPUT[28x28x1] -> CONV5-6(S=x)", "CONV's S is a whole number from 1"),
        ("INPUT[28x28x1] -> CONV5-6(S=0)", "received: S=0"),
        ("INPUT[28x28x1] -> CONV5-6(BIAS=maybe)", "CONV's BIAS is yes or no"),
        ("INPUT[28x28x1] -> ADD", "ADD is written with square brackets"),
        ("INPUT[28x28x1] -> ADD[RELU]", "ADD joins two or more branches"),
        ("INPUT[28x28x1] -> RELU[ID | ID]", "RELU takes no branches"),
        ("INPUT[28x28x1] -> ADD(2)[ID | ID]", "ADD takes no '(2)' there"),
        ("INPUT[28x28x1] -> AUX(0.3) -> FC10", "AUX is written with square brackets"),
        ("INPUT[28x28x1] -> AUX(0.3)[FC10 | FC10] -> FC10", "AUX takes one branch"),
        ("INPUT[28x28x1] -> AUX(0)[FC10] -> FC10", "the weight of its loss, is above 0"),
        ("INPUT[28x28x1] -> FC10 -> AUX(0.3)[FC10]", "a network ends in its own scores"),
        ("def a = RELU -> AUX[FC10] INPUT[28x28x1] -> a", "a network ends in its own scores"),
        ("INPUT[28x28x1] -> INPUT[28x28x1]", "INPUT stands once"),
        ("INPUT -> RELU", "begins with INPUT"),
        ("RELU -> INPUT[28x28x1]", "begins with INPUT"),
        ("INPUT[28x28x0] -> RELU", "whole numbers from 1 joined by x"),
        ("INPUT[28] -> RELU", "whole numbers from 1 joined by x"),
        ("INPUT[1x2x3x4] -> RELU", "whole numbers from 1 joined by x"),
        ("INPUT[28x28xC] -> RELU", "whole numbers from 1 joined by x"),
        ("INPUT[8x8x1] -> [RELU]*0", "received: *0"),
        ("INPUT[8x8x1] -> [RELU]*-1", "received: *-1"),
        ("INPUT[8x8x1] -> [RELU]*1.5", "received: *1.5"),
        ("INPUT[8x8x1] -> [RELU]*N", "-D N=2"),
        ("INPUT[8x8x1] -> RELU?p", "-D p=1"),
        ("p=3 INPUT[8x8x1] -> RELU?p", "?p is 1 (present) or 0 (absent)"),
        ("N=0 INPUT[8x8x1] -> ADD[[RELU]*N | ID]", "a branch is empty"),
        ("fit=round INPUT[8x8x1] -> RELU", "fit is one of exact, floor, ceil"),
        ("N=two INPUT[8x8x1] -> RELU", "a variable's value is a whole number"),
        ("N=1 N=2 INPUT[8x8x1] -> RELU", "N is set twice"),
        ("def RELU = TANH INPUT[8x8x1] -> RELU", "is a layer's name"),
        ("def a = RELU def a = TANH INPUT[8x8x1] -> a", "a is defined twice"),
        ("def a(k, k) = RELU INPUT[8x8x1] -> a(1, 1)", "parameter k is named twice"),
        ("def a(k) = CONV3-k INPUT[8x8x1] -> a", "a(k) takes 1 value\n"),
        ("def a(k) = CONV3-k INPUT[8x8x1] -> a(1, 2)", "a(k) takes 1 value\n"),
        ("def a = RELU INPUT[8x8x1] -> a(2)", "a takes 0 values"),
        ("fit=exact fit=floor INPUT[8x8x1] -> RELU", "fit is set twice"),
        ("N-2=3 INPUT[8x8x1] -> RELU", "try: N_2"),
        ("def my-block = RELU INPUT[8x8x1] -> ID", "try: my_block"),
        ("def a(k-1) = RELU INPUT[8x8x1] -> a(2)", "the name of a parameter is made of letters, digits and _"),
        ('INPUT[8x8x1] -> CONV3-1(TABLE="1_0")', "CONV's TABLE is rows of input maps"),
        ("INPUT[8x8x1] -> GMP", "try: SPP(1)"),
        ("INPUT[8x8x1] -> GlobalMaxPool", "try: SPP(1)"),
        ("INPUT[8x8x1] -> LAYERNORM", "try: GROUPNORM(G=1)"),
        ("INPUT[8x8x1] ⇒ RELU", "try: ->"),
        ("def a(k) = CONV3-k INPUT[8x8x1] -> a(j=1)", "a has no further parameter j"),
        ("def a = a INPUT[8x8x1] -> a", "uses only those that stand before it"),
        ("def a = b def b = RELU INPUT[8x8x1] -> a", "uses only those that stand before it"),
        ("INPUT[8x8x1] -> DROPOUT(1.5)", "DROPOUT"),
        ('INPUT[8x8x1] -> CONV3-2(TABLE="0; x")', "CONV's TABLE is rows of input maps"),
        ("INPUT[8x8x1] -> CONV3-2(S=1x1x1x)", "CONV's S is"),
        ("INPUT[8x8x1] -> CONV3-4{S=1}", "received:"),
    ],
)
def test_each_mistake_says_what_is_wrong_and_where(text, says):
    message = refused(text)
    assert says in message
    assert "line 1, column" in message
    assert "^" in message.splitlines()[2]


def test_the_caret_stands_under_the_mistake_even_in_long_lines():
    text = "INPUT[8x8x1] -> " + "RELU -> " * 50 + "RELUU" + " -> RELU" * 50
    where, line, caret = refused(text).splitlines()[:3]
    assert where.startswith("line 1, column 417: ")
    assert len(line) < 120
    start = caret.index("^")
    assert line[start : start + caret.count("^")] == "RELUU"


def test_a_value_may_be_given_to_any_variable_wherever_it_stands():
    text = "k=4 n=3 s=1 def part(j) = CONV3-j(S=s) INPUT[9x9x1] -> CONV3-k -> part(k) -> FC(K=n)"
    assert ops(text, k=8, n=5, s=2) == ["INPUT[9x9x1]", "CONV3-8", "CONV3-8(S=2)", "FC5"]


def test_a_value_for_a_variable_that_the_text_does_not_have_is_refused():
    assert "its variables are: N" in refused("N=1 INPUT[8x8x1] -> [RELU]*N", M=2)


def test_control_characters_of_a_text_never_reach_the_terminal():
    assert "\x1b" not in refused("INPUT[8x8x1] -> RELU \x1b[31m -> RELU")
