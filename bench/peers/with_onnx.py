"""The plain torch module exported to ONNX, run by ONNX Runtime or OpenVINO. They predict only."""

from __future__ import annotations

import io
import os
import warnings

import onnxruntime
import openvino
import torch
from serve import CannotError, Nodes, Work, images, serve
from with_torch import Net, checked


def make(nodes: Nodes, batch: int, training: bool, runtime: str, precision: str = "", **_: object) -> Work:
    if training:
        raise CannotError("no training")
    net = checked(Net(nodes), nodes)
    x = images(nodes, batch)
    exported = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(net, (torch.from_numpy(x),), exported, input_names=["x"], dynamo=False)
    parameters = sum(p.numel() for p in net.parameters())
    if runtime == "onnxruntime":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))  # it does not look by itself where it may run
        session = onnxruntime.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])
        return Work(parameters, lambda: session.run(None, {"x": x}))
    hint = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(exported.getvalue(), b""), "CPU", hint)
    request = compiled.create_infer_request()
    return Work(parameters, lambda: request.infer([x])[0])


if __name__ == "__main__":
    serve(make, {"onnxruntime": onnxruntime.__version__, "openvino": openvino.__version__})
