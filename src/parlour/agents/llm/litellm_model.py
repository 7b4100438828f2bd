"""Any provider that LiteLLM knows (`pip install parlour[litellm]`): `anthropic/…`, `bedrock/…`, `ollama/…`.

LiteLLM's errors are subclasses of those of OpenAI's SDK, and its chunks have the same shape, so both kinds of model
share what is made of them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
import openai

# Else the import asks the internet for a list of prices, three times where there is none.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
import litellm
from litellm.exceptions import BudgetExceededError

from parlour.agents.errors import ModelLimited, ModelRefused, ModelUnavailable
from parlour.agents.llm.endpoint import retry_after, translated
from parlour.agents.llm.retries import Retries
from parlour.agents.llm.streaming import StreamedModel
from parlour.agents.llm.usage import Prices
from parlour.agents.ports import Json, TokenUsage
from parlour.errors import ParlourError

# It prints advice on where to report errors otherwise, to whatever the process writes to.
litellm.suppress_debug_info = True


class LiteLLMModel(StreamedModel):
    """A model by LiteLLM's name for it. Without a key the provider's own environment variable holds, such as
    `ANTHROPIC_API_KEY`."""

    def __init__(
        self,
        model: str,
        *,
        api_key: str = "",
        base_url: str | None = None,
        timeout_s: float = 120.0,
        prices: Prices | None = None,
        retries: Retries | None = None,
        options: Json | None = None,
    ) -> None:
        """`timeout_s`: how long it may be silent. The others: `StreamedModel`. Where no prices are given,
        LiteLLM's own list is asked for them."""
        super().__init__(model, prices=prices, retries=retries, options=options)
        self._listed = prices is None or prices == Prices()
        # It does not retry by itself: here it is known what was already passed on.
        self._fixed: dict[str, Any] = {"timeout": timeout_s, "num_retries": 0, "max_retries": 0}
        if api_key:
            self._fixed["api_key"] = api_key
        if base_url:
            self._fixed["api_base"] = base_url

    async def chunks(self, request: dict[str, Any]) -> AsyncGenerator[Any]:
        try:
            stream = await litellm.acompletion(**request, **self._fixed)
            async for chunk in stream:
                yield chunk
        except BudgetExceededError as error:
            raise ModelRefused("The budget for the model is spent.") from error
        except openai.OpenAIError as error:
            raise _of_tree(error, self.name) from error
        except (httpx.HTTPError, ValueError) as error:
            raise ModelUnavailable("The model's answer broke off.") from error

    def cost_of(self, usage: TokenUsage) -> float:
        if not self._listed:
            return super().cost_of(usage)
        # The list leaves the provider out of some names.
        prices: Mapping[str, Mapping[str, Any]] = litellm.model_cost
        known = prices.get(self.name) or prices.get(self.name.partition("/")[2]) or {}
        prompt = known.get("input_cost_per_token") or 0.0
        completion = known.get("output_cost_per_token") or 0.0
        return float(usage.prompt * prompt + usage.completion * completion)


def _of_tree(error: openai.OpenAIError, model: str) -> ParlourError:
    """What OpenAI's SDK would have said. LiteLLM keeps the service's headers apart, and knows some states only
    as a number."""
    told = translated(error, model)
    headers = getattr(error, "litellm_response_headers", None)
    if isinstance(told, ModelLimited) and told.retry_after is None and isinstance(headers, Mapping):
        return ModelLimited(str(told), retry_after=retry_after(headers))
    status = getattr(error, "status_code", None)
    plain = not isinstance(error, openai.APIStatusError | openai.APIConnectionError)
    if plain and isinstance(status, int) and 400 <= status < 500:
        return ModelRefused(
            f"The model's service refused the request (status {status}).", status=status
        )
    return told
