"""That the kernels for CUDA compile for the cards, which needs none of them."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# Not imported here: other tests run the kernels in its interpreter, on which it decides at once.
pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton")

COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lca.optimizers import cuda_kernel

target = GPUTarget("cuda", int(sys.argv[1]), 32)


def compile(kernel, types, **constants):
    names = kernel.arg_names
    types = {name: types.get(name, "constexpr") for name in names}
    values = {(names.index(name),): value for name, value in constants.items()}
    return triton.compile(ASTSource(kernel, types, values), target=target).asm["cubin"]


types = dict.fromkeys(("pointers", "tensors", "starts", "lengths"), "*i64")
types |= dict.fromkeys(("coefficients", "own", "following"), "*fp32") | {"rows": "i32"}
for has_v in (True, False):
    for width in cuda_kernel.WIDTHS:
        at_once = cuda_kernel.WIDTHS[-1] // width
        assert compile(cuda_kernel._kernel, types, has_v=has_v, at_once=at_once, width=width)
types = {"sums": "*fp32", "cells": "*i64", "firsts": "*i64", "allocation": "*fp64"}
assert compile(cuda_kernel._add_kernel, types, at_once=cuda_kernel.AT_ONCE)
"""


@pytest.mark.parametrize("capability", [70, 90], ids=["V100", "H100"])
def test_the_kernels_compile_for_a_card(capability, tmp_path):
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", COMPILE, str(capability)]
    run = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
