"""A comparison for machines: JUnit's XML, and GitHub's workflow commands."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from sgl_jax.bench.comparison.compare import Comparison, Row, Verdict
from sgl_jax.bench.report.comparison_report import failure, verdict


def junit_xml(comparison: Comparison) -> str:
    """Return the comparison as JUnit's XML: a test case for each measure that can fail."""
    rows = [row for row in comparison.rows if row.threshold is not None or not comparison.gated]
    failures = comparison.failures
    suite = ET.Element(
        "testsuite",
        name="sgl-jax-bench compare",
        tests=str(len(rows)),
        failures=str(len(failures)),
        skipped=str(sum(row.verdict is Verdict.UNKNOWN for row in rows)),
    )
    for row in rows:
        name = row.measure.name if row.threshold is None else f"fails if {row.threshold}"
        case = ET.SubElement(suite, "testcase", classname="sgl-jax-bench", name=name)
        if row in failures:
            ET.SubElement(case, "failure", message=failure(row))
        elif row.verdict is Verdict.UNKNOWN:
            ET.SubElement(case, "skipped", message=_too_few(row))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def github_commands(comparison: Comparison) -> Iterator[str]:
    """Yield GitHub's workflow commands: an error for each failure, or else one notice."""
    for row in comparison.failures:
        yield f"::error title={_property(f'Benchmark: {row.measure.name}')}::{_data(failure(row))}"
    if comparison.ok:
        yield f"::notice title=Benchmark::{_data(verdict(comparison))}"


def _too_few(row: Row) -> str:
    return f"It takes at least {row.measure.values_needed} values a side."


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
