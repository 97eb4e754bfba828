"""Measuring a server at rising load: where does it stop getting faster, and what does a user feel there?"""
