//! What a file says that callgrind wrote: which function took how many instructions.
//!
//! The format is Callgrind's own, <https://valgrind.org/docs/manual/cl-format.html>, as far as callgrind writes it
//! when asked for nothing more than instructions. `callgrind_annotate` takes a call that has not returned when the
//! file is written, which every thread has, for work of its caller; hence this.

use std::collections::HashMap;

/// Where the instructions of a thread went.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub functions: Vec<Function>,
}

/// Instructions and calls of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub own: u64,
    /// With what it calls.
    pub inclusive: u64,
    pub calls: u64,
}

/// The instructions of a file.
pub fn total(text: &str) -> Option<u64> {
    let mut lines = text.lines().rev();
    let total = lines.find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}

impl Profile {
    /// Reads a file.
    pub fn parse(text: &str) -> Profile {
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

    /// The functions of which `count` is greatest, that first.
    pub fn top(&self, rows: usize, count: impl Fn(&Function) -> u64) -> Vec<&Function> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `outer` was called before counting began and has not returned; it called `inner`, which calls `leaf` twice.
    const FILE: &str = "\
# callgrind format
version: 1
part: 2
desc: Trigger: --dump-before=accept4
positions: line
events: Ir
summary: 163

ob=(1) /bin/program
fl=(1) ???
fn=(1) outer
cfn=(2) inner <of T>
calls=0 0 
0 163

fn=(2)
0 100
+3 13
cfn=(3) leaf
calls=2 +4 
* 50

fn=(3)
0 40
-2 10

totals: 163
";

    #[test]
    fn a_function_takes_its_own_instructions_and_those_of_what_it_calls() {
        let profile = Profile::parse(FILE);
        let function = |name: &str, own, inclusive, calls| Function {
            name: name.to_owned(),
            own,
            inclusive,
            calls,
        };
        let expected = [
            function("inner <of T>", 113, 163, 0),
            function("outer", 0, 163, 0),
            function("leaf", 50, 50, 2),
        ];
        let found = profile.top(9, |function| function.inclusive);
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_functions_take_themselves_adds_up_to_the_total() {
        let profile = Profile::parse(FILE);
        let own: u64 = profile.functions.iter().map(|function| function.own).sum();
        assert_eq!(total(FILE), Some(own));
    }

    #[test]
    fn the_functions_that_take_most_come_first() {
        let profile = Profile::parse(FILE);
        let names = profile.top(2, |function| function.own);
        let names: Vec<&str> = names
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        assert_eq!(names, ["inner <of T>", "leaf"]);
    }

    #[test]
    fn a_file_that_is_not_finished_has_no_total() {
        assert_eq!(total("events: Ir\nfn=(1) outer\n0 1\n"), None);
    }
}
