//! One workload on a proxy that runs.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::busy::Cores;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::load::{Keys, Load, Outcome};
use crate::process;
use crate::processor;
use crate::sample::Sample;
use crate::workload::{BURST, Workload};

const CONNECTIONS: usize = 64;
/// A megabyte each at once is enough.
const CONNECTIONS_OF_LARGE: usize = 16;
const H2_CONNECTIONS: u32 = 16;
const H2_STREAMS: u32 = 8;
/// Before what is measured, of the same kind.
const WARM_UP: f64 = 0.3;
/// How long a proxy has after it was filled, before its memory is looked at.
const SETTLING: Duration = Duration::from_secs(1);
/// How long the origin may take to tell its count; on a busy machine it takes long.
const COUNTING: Duration = Duration::from_secs(20);
/// How long anything may take that ends by itself.
const PATIENCE: Duration = Duration::from_secs(900);
/// Seconds after which filling is given up: what is not filled until then makes misses later, which are seen.
const LONGEST_FILL: f64 = 120.0;

/// The same for all proxies.
pub struct Bench<'a> {
    pub arguments: &'a Arguments,
    /// The program of the load generator, and of h2load, if it is here.
    pub load: PathBuf,
    pub h2load: Option<PathBuf>,
    pub origin_port: u16,
    pub origin: u32,
    /// Where programs write to.
    pub folder: &'a Path,
    pub interrupts_apart: bool,
}

/// A proxy that answers.
pub struct Subject<'a> {
    pub process: u32,
    pub port: u16,
    pub h2_port: u16,
    /// Where it may have files.
    pub folder: &'a Path,
    /// A Redis of its own, where it has one.
    pub redis: Option<u32>,
    /// Its first key that nobody has asked for yet.
    pub unused: u64,
}

/// How the clocks stood.
struct Moment {
    proxy: f64,
    /// Of origin, load and this program.
    rest: f64,
    cores: Vec<Cores>,
}

impl Bench<'_> {
    /// # Errors
    /// When a program fails or takes far too long, or after a signal.
    pub fn measure(&self, subject: &mut Subject, workload: Workload) -> Result<Sample> {
        self.warm_up(subject, workload)?;
        let fetched = self.fetches()?;
        let grown = (workload == Workload::Fill).then(|| self.size(subject));
        let before = self.moment(subject);
        let outcome = self.put(subject, workload)?;
        let after = self.moment(subject);
        let memory = match grown {
            Some(before) => {
                // What was freed meanwhile is given back a little later.
                interrupt::wait_for(SETTLING, || None::<()>)?;
                let grown = self.size(subject).saturating_sub(before);
                Some(grown as f64 / outcome.requests.max(1) as f64)
            }
            None => None,
        };
        Ok(Sample {
            workload: Some(workload),
            requests: outcome.requests,
            errors: outcome.errors,
            throughput: outcome.requests as f64 / outcome.seconds.max(1e-9),
            cpu: (after.proxy - before.proxy) * 1e6 / outcome.requests.max(1) as f64,
            latency: outcome.latency,
            fetches: self.fetches()?.saturating_sub(fetched),
            memory,
            others: self.others(&before, &after),
            ..Sample::default()
        })
    }

    fn moment(&self, subject: &Subject) -> Moment {
        let redis = subject.redis.map_or(0.0, processor::seconds_of_tree);
        Moment {
            proxy: processor::seconds_of_tree(subject.process),
            rest: processor::seconds_of_tree(self.origin) + processor::seconds_of_self() + redis,
            cores: match self.arguments.pinned() {
                Some(cores) => vec![Cores::now(&[cores.proxy]), Cores::now(&[cores.load])],
                None => vec![Cores::now(&[])],
            },
        }
    }

    /// The largest share that others had of one of the cores.
    fn others(&self, before: &Moment, after: &Moment) -> f64 {
        let second = processor::ticks_of_a_second();
        let (proxy, rest) = (after.proxy - before.proxy, after.rest - before.rest);
        let own = match before.cores.len() {
            1 => vec![proxy + rest],
            _ => vec![proxy, rest],
        };
        let cores = after.cores.iter().zip(&before.cores).zip(own);
        cores
            .map(|((after, before), own)| {
                after.share_of_others(*before, own * second, self.interrupts_apart)
            })
            .fold(0.0, f64::max)
    }

    fn size(&self, subject: &Subject) -> u64 {
        processor::memory_of_tree(subject.process) + processor::bytes_in(subject.folder)
    }

    fn warm_up(&self, subject: &Subject, workload: Workload) -> Result<()> {
        let keys = match workload {
            Workload::Miss | Workload::Redis | Workload::RedisPaced => return Ok(()),
            Workload::Zipf => Keys::Zipf(self.arguments.objects),
            _ => Keys::One(0),
        };
        if workload == Workload::Http2 {
            // What came by another protocol may be stored apart.
            return self.h2load(subject, &["-n", "5000"]).map(drop);
        }
        let mut load = self.load(subject, workload, keys);
        load.seconds = WARM_UP;
        load.rate = None;
        if workload == Workload::Burst {
            // The connections are there, and so are threads for them, but the object is another.
            load.path = Workload::Hit.path().to_owned();
        }
        // One after the other: where many ask for the same at once and nobody waits, HAProxy stores nothing for long.
        let first = Load {
            connections: 1,
            requests: Some(2),
            seconds: LONGEST_FILL,
            ..load.clone()
        };
        self.generate(&first)?;
        self.generate(&load).map(drop)
    }

    fn put(&self, subject: &mut Subject, workload: Workload) -> Result<Outcome> {
        let objects = self.arguments.objects;
        let keys = match workload {
            Workload::Http2 => return self.put_over_http2(subject),
            Workload::Zipf => Keys::Zipf(objects),
            Workload::Miss => Keys::From(objects.into()),
            Workload::Burst => Keys::One(1),
            Workload::Redis | Workload::RedisPaced => Keys::From(subject.unused),
            _ => Keys::One(0),
        };
        let mut load = self.load(subject, workload, keys);
        match workload {
            Workload::Fill => return self.fill(subject),
            Workload::Burst => {
                load.requests = Some(BURST as u64);
                load.seconds = LONGEST_FILL;
            }
            // Half of what is in Redis for each of the two.
            Workload::Redis | Workload::RedisPaced => load.requests = Some((objects / 2).into()),
            _ => {}
        }
        let outcome = self.generate(&load)?;
        subject.unused += outcome.requests + outcome.errors;
        Ok(outcome)
    }

    fn load(&self, subject: &Subject, workload: Workload, keys: Keys) -> Load {
        let rate = workload.is_paced().then(|| f64::from(self.arguments.rate));
        Load {
            port: subject.port,
            connections: match workload {
                Workload::Hit1M => CONNECTIONS_OF_LARGE,
                Workload::Burst => BURST,
                _ => CONNECTIONS,
            },
            seconds: self.arguments.seconds,
            requests: None,
            path: workload.path().to_owned(),
            keys,
            rate,
        }
    }

    /// Has every object asked for once.
    ///
    /// # Errors
    /// As of `measure`.
    pub fn fill(&self, subject: &Subject) -> Result<Outcome> {
        let mut load = self.load(subject, Workload::Fill, Keys::From(0));
        load.requests = Some(self.arguments.objects.into());
        load.seconds = LONGEST_FILL;
        self.generate(&load)
    }

    fn generate(&self, load: &Load) -> Result<Outcome> {
        let json = serde_json::to_string(load).map_err(Failure::to("write JSON"))?;
        let said = self.finish(self.command(&self.load).arg(json))?;
        serde_json::from_str(&said).map_err(Failure::to("understand the load generator"))
    }

    fn put_over_http2(&self, subject: &Subject) -> Result<Outcome> {
        // Whole seconds, as h2load has them.
        let seconds = format!("{:.0}", self.arguments.seconds.max(1.0));
        self.h2load(subject, &["-D", &seconds])
    }

    fn h2load(&self, subject: &Subject, length: &[&str]) -> Result<Outcome> {
        let program = self.h2load.as_ref();
        let program =
            program.ok_or_else(|| Failure::Failed("there is no h2load here".to_owned()))?;
        let mut command = self.command(program);
        command
            .args(length)
            .args(["-c", &H2_CONNECTIONS.to_string()])
            .args(["-m", &H2_STREAMS.to_string(), "-t", "1"])
            .arg(format!("http://127.0.0.1:{}/c/1024/0", subject.h2_port));
        let said = self.finish(&mut command)?;
        read_h2load(&said)
            .ok_or_else(|| Failure::Failed("cannot understand what h2load says".to_owned()))
    }

    fn command(&self, program: &Path) -> Command {
        process::command(program, self.arguments.pinned().map(|cores| cores.load))
    }

    /// Waits for a program, and gives what it wrote.
    fn finish(&self, command: &mut Command) -> Result<String> {
        let name = command.get_program().to_owned();
        let name = Path::new(&name).display().to_string();
        let file = self.folder.join("said");
        let said = File::create(&file)?;
        let mut child = command
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .map_err(Failure::to(format!("start {name}")))?;
        let ended = interrupt::wait_for(PATIENCE, || child.try_wait().ok().flatten());
        let said = std::fs::read_to_string(&file)?;
        match ended {
            Ok(Some(status)) if status.success() => Ok(said),
            Ok(Some(_)) => Err(Failure::Failed(format!("{name} failed: {}", said.trim()))),
            other => {
                // It has not been waited for, so the number is still its own.
                let _ = child.kill();
                let _ = child.wait();
                other?;
                Err(Failure::Failed(format!("{name} did not come to an end")))
            }
        }
    }

    /// How many requests have reached the origin.
    fn fetches(&self) -> Result<u64> {
        let ask = || get(self.origin_port, "/_count")?.trim().parse().ok();
        interrupt::wait_for(COUNTING, ask)?
            .ok_or_else(|| Failure::Failed("the origin does not tell its count".to_owned()))
    }
}

/// The body of a 200.
pub fn get(port: u16, path: &str) -> Option<String> {
    const LIMIT: Duration = Duration::from_secs(2);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let began = Instant::now();
    let mut part = [0; 4096];
    // Until the end, or what was stated: not everybody closes at once.
    while let Ok(count @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..count]);
        if began.elapsed() > LIMIT || is_whole(&answer) {
            break;
        }
    }
    let end = crate::head::end(&answer)?;
    let is_ok = crate::head::status(&answer[..end]) == Some(200);
    is_ok.then(|| String::from_utf8_lossy(&answer[end..]).into_owned())
}

fn is_whole(answer: &[u8]) -> bool {
    crate::head::end(answer).is_some_and(|end| {
        crate::head::content_length(&answer[..end])
            .is_some_and(|length| answer.len() >= end + length)
    })
}

/// `finished in 2.00s, 58214.50 req/s, …` and `status codes: 116429 2xx, 0 3xx, …`; of requests that were begun at the
/// end, nothing is said.
fn read_h2load(said: &str) -> Option<Outcome> {
    let behind = |text: &str| said.split_once(text).map(|(_, rest)| rest);
    let word = |rest: &str| rest.split_whitespace().next().map(str::to_owned);
    let requests: u64 = word(behind("status codes: ")?)?.parse().ok()?;
    let rate: f64 = word(behind("finished in ")?.split_once(", ")?.1)?
        .parse()
        .ok()?;
    let failed = behind("succeeded, ").and_then(word)?.parse().ok()?;
    Some(Outcome {
        requests,
        errors: failed,
        seconds: if rate > 0.0 {
            requests as f64 / rate
        } else {
            0.0
        },
        latency: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_says_is_read() {
        let said = "starting benchmark...\nfinished in 2.00s, 50000.50 req/s, 54.1MB/s\n\
            requests: 100001 total, 100129 started, 100001 done, 100001 succeeded, 0 failed, 0 errored, 0 timeout\n\
            status codes: 100001 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        let outcome = read_h2load(said).expect("it is whole");
        assert_eq!((outcome.requests, outcome.errors), (100_001, 0));
        assert!((outcome.seconds - 2.0).abs() < 1e-9);
        assert_eq!(read_h2load("it could not connect"), None);
    }

    #[test]
    fn an_answer_is_whole_when_it_is_as_long_as_it_says() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(is_whole(whole));
        assert!(!is_whole(&whole[..whole.len() - 1]));
    }
}
