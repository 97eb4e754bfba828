"""OpenAI's Responses API, as a translation into chat."""
