"""Keywords as tokens for the text tower. Legend: K keywords, L context length."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sclip_plugin.errors import DataError


def keyword_tokens(keywords: Iterable[str], template: str, tokenizer: Any, source: str) -> Tensor:
    """LongTensor (K, L): the tokens of each keyword in its template.

    Args:
        keywords: the keywords or phrases.
        template: a prompt with `{}` for the keyword.
        tokenizer: open_clip's; its keyword argument `context_length` is used.
        source: the keyword file, for messages.

    Raises:
        DataError: a keyword does not fit into the context; names it.
    """
    texts = [template.replace("{}", keyword) for keyword in keywords]
    tokens: Tensor = tokenizer(texts)
    context = tokens.shape[1]
    longer = tokenizer(texts, context_length=context + 1)
    padding = tokenizer([""], context_length=context + 1)[0, -1]
    too_long = (longer != padding).sum(dim=1) > context
    if torch.any(too_long):
        text = texts[int(too_long.int().argmax())]
        raise DataError(f"keyword file {source}: {text!r} is longer than the model's context of {context} tokens")
    return tokens
