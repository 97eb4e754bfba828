"""Workloads: where the requests come from."""
