//! What `/metrics` says, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
pub struct Sample {
    /// With the suffix of histograms.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

#[derive(Debug, Clone)]
pub struct Scrape {
    pub text: String,
    pub samples: Vec<Sample>,
    /// By family: counter, gauge or histogram.
    pub types: BTreeMap<String, String>,
}

impl Scrape {
    pub fn read(text: String) -> Self {
        let (mut samples, mut types, mut helped) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (family, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty() && helped.insert(family.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (family, kind) = rest.split_once(' ').unwrap();
                assert_eq!(types.insert(family.to_owned(), kind.to_owned()), None, "{line}");
            } else {
                samples.push(sample(line));
            }
        }
        let scrape = Self { text, samples, types };
        let mut series = BTreeSet::new();
        for sample in &scrape.samples {
            let family = scrape.family(&sample.name);
            assert!(helped.contains(family), "{}: no help", sample.name);
            assert!(series.insert((&sample.name, &sample.labels)), "a series twice: {sample:?}");
        }
        scrape
    }

    /// The family that a sample belongs to.
    pub fn family<'a>(&self, name: &'a str) -> &'a str {
        let histogram = |family: &&str| self.types.get(*family).is_some_and(|kind| kind == "histogram");
        let suffixes = ["_bucket", "_sum", "_count"];
        let of_histogram = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix).filter(histogram));
        let family = of_histogram.unwrap_or(name);
        assert!(self.types.contains_key(family), "{name}: no type");
        family
    }

    /// The sum of all samples of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|known| known == value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// The names of a family's labels, but that of histogram buckets.
    pub fn labels(&self, family: &str) -> Option<BTreeSet<&str>> {
        let mut samples = self.samples.iter().filter(|sample| self.family(&sample.name) == family);
        let names = |sample: &'_ Sample| -> BTreeSet<String> {
            sample.labels.keys().filter(|label| *label != "le").cloned().collect()
        };
        let first = samples.next()?;
        assert!(samples.all(|other| names(other) == names(first)), "{family}: labels differ");
        Some(first.labels.keys().map(String::as_str).filter(|label| *label != "le").collect())
    }

    /// Every label with every value it has, wherever.
    pub fn label_values(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut values = BTreeMap::<_, BTreeSet<_>>::new();
        for (label, value) in self.samples.iter().flat_map(|sample| &sample.labels) {
            values.entry(label.as_str()).or_default().insert(value.as_str());
        }
        values
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("not a sample: {line}"))),
    };
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    let mut all = BTreeMap::new();
    for pair in labels.split("\",").filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("not a label: {line}"));
        let value = value.trim_end_matches('"');
        // None of ours needs escaping; one that does came from somewhere else.
        assert!(!value.contains(['\\', '"', '{', '}']), "{line}");
        assert_eq!(all.insert(label.to_owned(), value.to_owned()), None, "{line}");
    }
    Sample { name: name.to_owned(), labels: all, value }
}
