"""From the workload flags to a workload."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sgl_jax.bench.errors import WorkloadError

if TYPE_CHECKING:
    from sgl_jax.bench.workload.base import Workload

_WAYS = ("prompt_file", "sharegpt", "jsonl", "workload")


def chosen_workload(args: argparse.Namespace, default: str) -> Workload:
    """Return the workload that the flags ask for; `default` is the kind when they ask for none.

    Raises:
        WorkloadError: they ask for several, or for one that cannot be had.
    """
    from sgl_jax.bench.workload.prompt_file import read_prompt_file
    from sgl_jax.bench.workload.request_lines import read_jsonl
    from sgl_jax.bench.workload.sharegpt import read_sharegpt
    from sgl_jax.bench.workload.specs import Defaults, workload_of

    ways = [f"--{way.replace('_', '-')}" for way in _WAYS if getattr(args, way)]
    lengths = args.input_len is not None or args.output_len is not None
    if lengths:
        ways.append("--input-len/--output-len")
    if len(ways) > 1:
        raise WorkloadError(f"{' and '.join(ways)} name different workloads: keep one, or mix with several --workload")
    use = Defaults(args.max_tokens, args.seed)
    workload: Workload
    if args.prompt_file:
        workload = read_prompt_file(args.prompt_file, args.max_tokens)
    elif args.sharegpt:
        workload = read_sharegpt(args.sharegpt, args.max_tokens, seed=args.seed)
    elif args.jsonl:
        workload = read_jsonl(args.jsonl, args.max_tokens, args.seed)
    elif lengths:
        workload = _synthetic(args, use.seed or 0)
    else:
        workload = workload_of(args.workload or [default], use)
    return _structured(args, workload)


def _synthetic(args: argparse.Namespace, seed: int) -> Workload:
    from sgl_jax.bench.workload.lengths import Lengths
    from sgl_jax.bench.workload.synthetic import DEFAULT_INPUT, Synthetic

    try:
        input_lengths = DEFAULT_INPUT if args.input_len is None else Lengths.parse(args.input_len)
        output = str(args.max_tokens) if args.output_len is None else args.output_len
        return Synthetic(input_lengths, Lengths.parse(output), seed)
    except ValueError as error:
        raise WorkloadError(f"--input-len/--output-len: {error}") from error


def _structured(args: argparse.Namespace, workload: Workload) -> Workload:
    from sgl_jax.bench.workload.structured import with_schema

    return workload if args.json_schema is None else with_schema(workload, args.json_schema)
