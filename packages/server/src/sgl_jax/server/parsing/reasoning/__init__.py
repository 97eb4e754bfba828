"""Reasoning formats, a file each."""
