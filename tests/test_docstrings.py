"""The examples in the docstrings of the public Python surface run, and give what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "sclip_plugin.keywords",
        "sclip_plugin.loss.transport",
        "sclip_plugin.loss.sclip_loss",
        "sclip_plugin.diagnostics.calibration",
    ],
)
def test_examples_of_docstrings(module):
    failed, attempted = doctest.testmod(import_module(module))
    assert attempted, f"{module} has no example"
    assert not failed
