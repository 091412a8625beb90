//! Units of Grafana (`packages/grafana-data/src/valueFormats/categories.ts`), as many as a dashboard of ours may need.

pub(crate) const UNITS: [&str; 17] = [
    "none",
    "short",
    "percent",
    "percentunit",
    "bytes",
    "decbytes",
    "s",
    "ms",
    "µs",
    "dtdurations",
    "dateTimeAsIso",
    "dateTimeFromNow",
    "cps",
    "ops",
    "reqps",
    "lengthm",
    "lengthkm",
];
