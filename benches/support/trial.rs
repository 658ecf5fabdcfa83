//! Whether a benchmark only shows that it works.

/// Cargo says `--bench` to a benchmark that is to be measured, and nothing when it is run beside the tests;
/// `--test` asks for a trial, as it does of criterion's.
pub(crate) fn is_trial() -> bool {
    let given = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    given("--test") || !given("--bench")
}
