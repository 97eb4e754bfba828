"""Paged attention: one contract (`api`), an oracle (`reference`) and backends that must agree with it."""
