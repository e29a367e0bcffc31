"""Writes pytorch.json: what PyTorch's optimisers, clipping and losses give in float64. Needs torch; written with 2.15.0."""

import json
import pathlib

import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)


def trained(make, steps=4):
    """A parameter of five values after each step along fixed gradients."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]))
    optimiser = make([parameter])
    after = []
    for step in range(steps):
        parameter.grad = torch.tensor([0.3, -1e-3, 2.0, 0.0, -7.0]) * (1.0 - 0.6 * step)
        optimiser.step()
        after.append(parameter.detach().tolist())
    return after


def clipped(norm):
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))]
    parameters[0].grad = torch.tensor([3.0, -1.0])
    parameters[1].grad = torch.tensor([0.5, 2.0, -4.0])
    before = torch.nn.utils.clip_grad_norm_(parameters, norm)
    return {"norm": before.item(), "gradients": [p.grad.tolist() for p in parameters]}


def loss(function, inputs, target):
    inputs = inputs.clone().requires_grad_()
    value = function(inputs, target)
    value.backward()
    gradient = inputs.grad.flatten().tolist()
    return {"inputs": inputs.detach().flatten().tolist(), "target": target.flatten().tolist(), "loss": value.item(), "gradient": gradient}


logits = torch.randn(4, 3) * 3
logits[0] += 500.0
contents = {
    "sgd": trained(lambda p: torch.optim.SGD(p, lr=0.1)),
    "sgd_momentum": trained(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "adam": trained(lambda p: torch.optim.Adam(p)),
    "adam_other": trained(lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.5, 0.8), eps=1e-2)),
    "clipped": clipped(1.5),
    "not_clipped": clipped(100.0),
    "cross_entropy": loss(torch.nn.functional.cross_entropy, logits, torch.tensor([2, 0, 1, 1])),
    "mean_squared_error": loss(torch.nn.functional.mse_loss, torch.randn(6), torch.randn(6)),
}
path = pathlib.Path(__file__).with_name("pytorch.json")
path.write_text(json.dumps(contents, indent=1) + "\n")
