"""The SGLang-compatible native routes."""
