"""Anthropic's Messages API, as a translation into chat."""
