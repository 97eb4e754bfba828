// Numbers for people.

const NONE = "–";

/** A count, with separators; a dash for none. */
export function count(value, digits = 0) {
  if (value == null || !Number.isFinite(value)) return NONE;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A share as per cent. */
export function percent(share) {
  return share == null ? NONE : `${count(100 * share, share > 0 && share < 0.1 ? 1 : 0)}%`;
}

/** Tokens a second: whole ones from ten on. */
export function speed(rate) {
  return rate == null ? NONE : count(rate, rate < 10 ? 1 : 0);
}

/** A duration: milliseconds below a second. */
export function duration(seconds) {
  return seconds < 1 ? `${count(1000 * seconds)} ms` : `${count(seconds, seconds < 10 ? 2 : 1)} s`;
}
