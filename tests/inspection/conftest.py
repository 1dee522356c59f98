"""A tiny model that labels images."""

import pytest

from sclip_plugin.evaluation.models import load_model
from tests.evaluation.sets import model_with_weights


@pytest.fixture(scope="package")
def loaded(tmp_path_factory):
    """(model, validation transform, tokenizer)."""
    return load_model(model_with_weights(tmp_path_factory.mktemp("model")), None, "cpu", "fp32")
