//! What plugins count themselves, within bounds: a page for Prometheus lives as long as its series
//! are few.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The most series of one plugin.
const MOST_SERIES: usize = 64;
/// The most labels of one series, beside the plugin's name.
const MOST_LABELS: usize = 4;
/// The longest name of a metric or a label, in bytes.
const LONGEST_NAME: usize = 64;
/// The longest value of a label, in bytes.
const LONGEST_VALUE: usize = 128;

/// The metrics of all plugins, by their names in the configuration. Cheap to clone; they outlive
/// the plugins.
#[derive(Clone, Default)]
pub struct GuestMetrics(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// By the name of the metric.
    families: BTreeMap<String, Numbers>,
    /// How many series each plugin has.
    series: HashMap<String, usize>,
}

type Labels = Vec<(String, String)>;

enum Numbers {
    Counter(Family<Labels, Counter>),
    Gauge(Family<Labels, Gauge<f64, AtomicU64>>),
}

/// Why something was not counted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    #[error("{0}")]
    Invalid(String),
    #[error("there are {MOST_SERIES} series of this plugin already")]
    TooMany,
}

impl GuestMetrics {
    /// Adds to a counter, which stays at the most that it can hold.
    ///
    /// # Errors
    /// [`SeriesError`].
    pub fn count(
        &self,
        plugin: &str,
        name: &str,
        labels: Labels,
        by: u64,
    ) -> Result<(), SeriesError> {
        let labels = checked(plugin, name, labels)?;
        let mut inner = self.lock();
        let is_there = match inner.families.get(name) {
            None => false,
            Some(Numbers::Counter(family)) => family.get(&labels).is_some(),
            Some(Numbers::Gauge(_)) => return Err(of_another_kind(name, "gauge")),
        };
        if !is_there {
            inner.admit(plugin)?;
        }
        let new = || Numbers::Counter(Family::default());
        let numbers = inner.families.entry(name.to_owned()).or_insert_with(new);
        if let Numbers::Counter(family) = numbers {
            let counter = family.get_or_create(&labels);
            // Nobody else counts here meanwhile.
            counter.inc_by(by.min(u64::MAX - counter.get()));
        }
        Ok(())
    }

    /// Changes a gauge from what it was, 0 at first, to what `change` makes of it.
    ///
    /// # Errors
    /// [`SeriesError`].
    pub fn change(
        &self,
        plugin: &str,
        name: &str,
        labels: Labels,
        change: impl FnOnce(f64) -> f64,
    ) -> Result<(), SeriesError> {
        let labels = checked(plugin, name, labels)?;
        let mut inner = self.lock();
        let before = match inner.families.get(name) {
            None => None,
            Some(Numbers::Gauge(family)) => family.get(&labels).map(|gauge| gauge.get()),
            Some(Numbers::Counter(_)) => return Err(of_another_kind(name, "counter")),
        };
        let after = change(before.unwrap_or_default());
        if !after.is_finite() {
            return Err(SeriesError::Invalid(format!("{name:?} would be {after}")));
        }
        if before.is_none() {
            inner.admit(plugin)?;
        }
        let new = || Numbers::Gauge(Family::default());
        let numbers = inner.families.entry(name.to_owned()).or_insert_with(new);
        if let Numbers::Gauge(family) = numbers {
            family.get_or_create(&labels).set(after);
        }
        Ok(())
    }

    /// Puts all of it on a page.
    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, numbers) in &self.lock().families {
            let name = format!("guest_{name}");
            match numbers {
                Numbers::Counter(family) => {
                    registry.register(name, "Counted by plugins", family.clone());
                }
                Numbers::Gauge(family) => {
                    registry.register(name, "Told by plugins", family.clone());
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts another series of a plugin, if it may have one.
    fn admit(&mut self, plugin: &str) -> Result<(), SeriesError> {
        let count = self.series.entry(plugin.to_owned()).or_default();
        if *count >= MOST_SERIES {
            return Err(SeriesError::TooMany);
        }
        *count += 1;
        Ok(())
    }
}

/// The labels of a series, the plugin's name first, in an order that does not depend on the guest.
fn checked(plugin: &str, name: &str, mut labels: Labels) -> Result<Labels, SeriesError> {
    let invalid = |reason: String| Err(SeriesError::Invalid(reason));
    if !is_name(name) || name.ends_with("_total") || name.ends_with("_created") {
        return invalid(format!("{:?} is no name of a metric", shown(name)));
    }
    if labels.len() > MOST_LABELS {
        return invalid(format!("{name:?} has more than {MOST_LABELS} labels"));
    }
    labels.sort_unstable();
    for (at, (label, value)) in labels.iter().enumerate() {
        let is_ours = ["plugin", "le", "quantile"].contains(&label.as_str());
        if !is_name(label) || is_ours {
            return invalid(format!("{:?} is no name of a label", shown(label)));
        }
        if at > 0 && labels[at - 1].0 == *label {
            return invalid(format!("{name:?} has the label {label:?} twice"));
        }
        if value.len() > LONGEST_VALUE || value.chars().any(char::is_control) {
            return invalid(format!("the value of {label:?} is no value of a label"));
        }
    }
    labels.insert(0, ("plugin".to_owned(), plugin.to_owned()));
    Ok(labels)
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_plain)
}

/// As much of a name as an error shows.
fn shown(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

fn of_another_kind(name: &str, kind: &str) -> SeriesError {
    SeriesError::Invalid(format!("{name:?} is a {kind}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{GuestMetrics, MOST_SERIES, SeriesError};
    use crate::telemetry::Metrics;

    fn label(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_plugins_count_is_on_the_page_under_their_names() {
        let metrics = Metrics::default();
        let guests = &metrics.guests;
        let denied = || vec![label("result", "denied"), label("by", "a\"b")];
        guests.count("auth", "logins", denied(), 2).unwrap();
        let reversed = denied().into_iter().rev().collect();
        guests.count("auth", "logins", reversed, 3).unwrap();
        guests.count("other", "logins", vec![], 1).unwrap();
        guests.change("auth", "sessions", vec![], |_| 7.5).unwrap();
        guests
            .change("auth", "sessions", vec![], |n| n - 1.0)
            .unwrap();
        let page = metrics.encode((0, 0), []);
        for line in [
            "tidegate_guest_logins_total{plugin=\"auth\",by=\"a\\\"b\",result=\"denied\"} 5",
            "tidegate_guest_logins_total{plugin=\"other\"} 1",
            "tidegate_guest_sessions{plugin=\"auth\"} 6.5",
            "# TYPE tidegate_guest_logins counter",
            "# TYPE tidegate_guest_sessions gauge",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} in {page}");
        }
    }

    #[test]
    fn names_and_labels_that_would_break_the_page_are_refused() {
        let guests = GuestMetrics::default();
        guests.count("p", "a", vec![], 1).unwrap();
        let invalid = |name: &str, labels: Vec<(String, String)>| {
            let refused = guests.count("p", name, labels, 1);
            assert!(matches!(refused, Err(SeriesError::Invalid(_))), "{name}");
        };
        for name in [
            "",
            "A",
            "1a",
            "_a",
            "a-b",
            "a b",
            "a\n",
            "a_total",
            "a_created",
            "ä",
        ] {
            invalid(name, vec![]);
        }
        invalid(&"a".repeat(65), vec![]);
        for name in ["plugin", "le", "quantile", "", "A", "a\"", "__name__"] {
            invalid("b", vec![label(name, "1")]);
        }
        invalid("b", vec![label("a", "1"), label("a", "2")]);
        invalid("b", vec![label("a", "1\n2")]);
        invalid("b", vec![label("a", &"x".repeat(129))]);
        invalid(
            "b",
            ["a", "b", "c", "d", "e"]
                .map(|name| label(name, ""))
                .to_vec(),
        );
        let kind = guests.change("p", "a", vec![], |_| 1.0);
        assert!(matches!(kind, Err(SeriesError::Invalid(_))));
        let number = guests.change("p", "g", vec![], |_| f64::NAN);
        assert!(matches!(number, Err(SeriesError::Invalid(_))));
    }

    #[test]
    fn a_plugins_series_are_bounded_and_others_are_not_touched() {
        let guests = GuestMetrics::default();
        for number in 0..MOST_SERIES {
            let labels = vec![label("client", &number.to_string())];
            guests.count("greedy", "seen", labels, 1).unwrap();
        }
        let more = || vec![label("client", "more")];
        assert_eq!(
            guests.count("greedy", "seen", more(), 1),
            Err(SeriesError::TooMany)
        );
        assert_eq!(
            guests.change("greedy", "g", vec![], |_| 1.0),
            Err(SeriesError::TooMany)
        );
        assert!(
            !guests.lock().families.contains_key("g"),
            "a name without a series"
        );
        // Those that are there go on.
        guests
            .count("greedy", "seen", vec![label("client", "0")], 1)
            .unwrap();
        guests.count("modest", "seen", more(), 1).unwrap();
    }

    #[test]
    fn a_counter_stays_at_the_most_that_it_can_hold() {
        let metrics = Metrics::default();
        for by in [u64::MAX - 1, 5, u64::MAX] {
            metrics.guests.count("p", "much", vec![], by).unwrap();
        }
        let page = metrics.encode((0, 0), []);
        let line = format!("tidegate_guest_much_total{{plugin=\"p\"}} {}", u64::MAX);
        assert!(page.lines().any(|other| other == line), "{page}");
    }
}
