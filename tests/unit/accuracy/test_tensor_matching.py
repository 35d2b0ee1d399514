"""Tensors of one network found again in another by where in the module they are made."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.backends.module_scopes import (
    Node,
    Scope,
    of_name,
    of_names,
    of_path,
    places,
    qualified,
    step,
)
from evenbench.harness.accuracy.tensor_matching import (
    Placed,
    about,
    common,
    left_out,
    nearest,
    paired,
)


@pytest.mark.parametrize(
    ("node", "wrappers", "module"),
    [
        ("/inner/detector/backbone/body/body.0/body.0.0/Conv", 1, "detector.backbone.body.0.0"),
        ("/backbone/fpn/inner_blocks.3/inner_blocks.3.0/Conv", 0, "backbone.fpn.inner_blocks.3.0"),
        ("/layer1/layer1.0/downsample/downsample.0/Conv", 0, "layer1.0.downsample.0"),
        ("/rpn/head/conv/conv.0/conv.0.0_1/Conv", 0, "rpn.head.conv.0.0"),
        ("/inner/inner.0/inner.0.1/Relu", 1, "0.1"),
        ("/0/0.1/Relu", 0, "0.1"),
        ("/conv_1/Conv", 0, "conv_1"),
        ("/TopK", 0, ""),
    ],
)
def test_the_older_exporter_writes_modules_into_names(
    node: str, wrappers: int, module: str
) -> None:
    scope = of_path(node, wrappers)
    assert scope is not None
    assert module in scope.names


@pytest.mark.parametrize(
    ("node", "wrappers"), [("If_2160", 0), ("", 0), ("/Cast", 1), ("/other/Conv", 1)]
)
def test_what_no_module_of_the_model_made_has_no_scope(node: str, wrappers: int) -> None:
    assert of_path(node, wrappers) is None


def test_the_second_call_of_a_module_is_another_one_with_the_same_place() -> None:
    first, second = of_path("/block/relu/Relu", 0), of_path("/block/relu_1/Relu", 0)
    assert first is not None
    assert second is not None
    assert (first.call != second.call, first.module) == (True, second.module)
    assert first.names[0] in second.names
    assert not first.holds(second)
    inside = of_path("/block/Add", 0)
    assert inside is not None
    assert (inside.holds(first), first.holds(inside)) == (True, False)


def test_the_newer_exporter_lists_modules_outermost_first() -> None:
    scope = of_names(["", "inner", "inner.features", "inner.features.0@1"], 1)
    assert scope == Scope("features.0@1", "features.0", ("", "features"), ("features.0",))
    assert of_names([""], 1) is None, "made by our wrapper"
    assert of_name("rpn.head").parents == ("", "rpn")


def test_a_module_is_called_by_what_is_not_a_number_of_its_name() -> None:
    assert [step(name) for name in ("a.body.0.1", "a.relu", "0.1")] == ["body.0.1", "relu", "0.1"]
    assert qualified(["body", "body.0", "conv", "conv.1"]) == "body.0.conv.1"


def test_a_module_returns_what_leaves_its_scope_and_landmarks_lie_within() -> None:
    conv, head = of_name("conv"), of_name("head")
    nodes = [
        Node("Conv", ("x",), ("product",), conv),
        Node("Add", ("product",), ("a",), conv),
        Node("Sigmoid", ("a",), ("b",), head),
        Node("TopK", ("b",), ("values", "indices"), head),
        Node("Gather", ("b", "indices"), ("c",), head),
        Node("Loop", ("c",), ("y",), None),
        Node("Shape", ("a",), ("size",), of_name("")),
    ]
    assert places(nodes, {"y"}) == {
        "a": ("conv",),
        "b": ("head:sigmoid",),
        "values": ("head:topk",),
        "indices": ("head:topk",),
        "c": ("head",),
    }


def told(**tensors: Any) -> dict[str, dict[str, Any]]:
    """Tensors by name: where each is made, of what, and into what it is folded."""
    return {
        name: {
            "places": made[0],
            "inputs": made[1],
            "folded_into": made[2] if len(made) > 2 else "",
            "operator": name.upper(),
            "fetched": "",
        }
        for name, made in tensors.items()
    }


MODULE = told(
    conv=(["/conv", "conv"], []),
    norm=(["/norm", "norm"], ["conv"], "conv"),
    relu=(["/relu", "relu"], ["norm"]),
)


def test_a_batch_norm_takes_the_place_of_the_convolution_that_it_is_folded_into() -> None:
    file = told(
        c=(["/conv", "conv"], ["x"]),
        shape=([], ["c"]),
        r=(["/relu_1", "/relu", "relu_1", "relu"], ["c"]),
    )
    assert common(MODULE, file) == (
        {"norm": "/conv", "relu": "/relu"},
        {"c": "/conv", "r": "/relu"},
    )
    assert left_out((MODULE, file), [("norm", "c"), ("relu", "r")]) == {
        "folded": ("conv",),
        "unmatched": ((), ()),
    }
    assert left_out((MODULE, file), [("norm", "c")]) == {
        "folded": ("conv",),
        "unmatched": (("relu",), ("r",)),
    }
    assert left_out((MODULE, file), [("norm", "c")], ["r"])["unmatched"] == (("relu",), ())
    unfolded = told(c=(["conv"], []), n=(["norm"], ["c"]))
    assert common(MODULE, unfolded) == (
        {"conv": "conv", "norm": "norm"},
        {"c": "conv", "n": "norm"},
    )
    assert left_out((MODULE, unfolded), [("conv", "c"), ("norm", "n")]) == {
        "folded": (),
        "unmatched": (("relu",), ()),
    }
    newer = told(n=(["norm"], ["x"]))  # an exporter that leaves the folded tensor to the batch norm
    assert common(MODULE, newer) == ({"norm": "norm"}, {"n": "norm"})
    assert left_out((MODULE, newer), [("norm", "n")])["folded"] == ("conv",)


def tensors(*shapes: tuple[int, ...], side: str = "a", kind: str = "f") -> list[Placed]:
    return [Placed(f"{side}{number}", "head", kind, shape) for number, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("mine", "theirs", "links"),
    [
        ([(1, 2), (1, 2)], [(1, 2), (1, 2)], [(0, 0), (1, 1)]),
        ([(1, 2), (1, 4)], [(1, 4), (1, 2)], [(0, 1), (1, 0)]),
        ([(9, 4), (7, 4)], [(9, 4), (6, 4)], [(0, 0), (1, 1)]),
        ([(5, 4)], [(), (4,), (5, 4)], [(0, 2)]),
        ([(5, 4)], [(), (4,), (6, 4)], [(0, 2)]),
        ([(5, 4), (5, 4)], [(5, 4)], []),
        ([(5, 4)], [(5,)], []),
    ],
)
def test_tensors_at_one_place_are_told_by_order_and_shape_or_not_at_all(
    mine: Any, theirs: Any, links: Any
) -> None:
    found = paired(tensors(*mine), tensors(*theirs, side="b"))
    assert found == [(f"a{one}", f"b{other}") for one, other in links]


def test_numbers_of_another_kind_are_never_the_same_tensor() -> None:
    assert paired(tensors((2,)), tensors((2,), side="b", kind="i")) == []
    both = [*tensors((2,)), *tensors((2,), side="i", kind="i")]
    assert paired(both, list(reversed(both))) == [("a0", "a0"), ("i0", "i0")]


def test_what_a_tensor_is_made_of_is_told_by_the_side_that_knows() -> None:
    file = told(c=(["conv"], ["x"]), cut=([], ["c"]), t=(["topk"], ["cut", "c"]), y=([], ["t"]))
    module = told(conv=(["conv"], []), topk=(["topk"], []))
    assert nearest(file, "t", ["c"]) == ("c",)
    made = about((module, file), [("conv", "c"), ("topk", "t")], ["y"])
    assert made["topk"] == {"operator": "TOPK", "inputs": ["conv"], "other": "t"}
    assert made["y"] == {"operator": "output", "inputs": ["topk"]}
