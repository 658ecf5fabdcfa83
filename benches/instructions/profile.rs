//! What a file says that callgrind wrote: which function took how many instructions.
//!
//! The format is Callgrind's own, <https://valgrind.org/docs/manual/cl-format.html>, as far as callgrind writes it
//! when asked for nothing more than instructions. `callgrind_annotate` takes a call that has not returned when the
//! file is written, which every thread has, for work of its caller; hence this.

use std::collections::HashMap;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) functions: Vec<Function>,
}

/// Instructions and calls of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) own: u64,
    /// With what it calls.
    pub(crate) inclusive: u64,
    pub(crate) calls: u64,
}

/// The instructions of a file.
pub(crate) fn total(text: &str) -> Option<u64> {
    let mut lines = text.lines().rev();
    let total = lines.find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}

impl Profile {
    pub(crate) fn parse(text: &str) -> Profile {
        let mut functions: HashMap<&str, Function> = HashMap::new();
        let (mut current, mut called) = ("", "");
        let mut calls: Option<u64> = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                current = remember(&mut functions, name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                called = remember(&mut functions, name);
            } else if let Some(count) = line.strip_prefix("calls=") {
                calls = count.split(' ').next().and_then(|count| count.parse().ok());
            } else if let Some(cost) = cost(line) {
                let function = functions.entry(current).or_default();
                function.inclusive += cost;
                match calls.take() {
                    None => function.own += cost,
                    Some(count) => functions.entry(called).or_default().calls += count,
                }
            }
        }
        let functions = functions
            .into_values()
            .filter(|function| function.inclusive > 0);
        Profile {
            functions: functions.collect(),
        }
    }

    /// The functions of which `count` is greatest, and the others never.
    pub(crate) fn top(&self, rows: usize, count: impl Fn(&Function) -> u64) -> Vec<&Function> {
        let mut functions: Vec<&Function> = self.functions.iter().collect();
        functions.sort_by_key(|function| (std::cmp::Reverse(count(function)), &function.name));
        functions.truncate(rows);
        functions
    }
}

/// Names are written once, as `(7) name`, and are `(7)` from then on. Gives back the number.
fn remember<'a>(functions: &mut HashMap<&'a str, Function>, name: &'a str) -> &'a str {
    let (number, name) = name.split_once(' ').unwrap_or((name, ""));
    let function = functions.entry(number).or_default();
    if !name.is_empty() {
        name.clone_into(&mut function.name);
    }
    number
}

/// What a line costs that begins with a position: absolute, relative, or `*` for the same.
fn cost(line: &str) -> Option<u64> {
    if !line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
        return None;
    }
    line.split_once(' ')?.1.trim().parse().ok()
}
