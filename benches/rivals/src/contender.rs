//! Who takes part, and how each is started. A rival is a row of `RIVALS`, a function below it that writes its
//! configuration from `conf/` and says its command line, and its name in `arguments::PROXIES`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::failure::{Failure, Result};
use crate::machine;
use crate::process::find;
use crate::workload::Workload;

/// A column of the tables.
pub struct Column {
    pub name: String,
    pub title: String,
    /// Its version, or what it is.
    pub version: String,
}

/// A program that is started once a round.
pub struct Contender {
    /// The name of the column that its results are in.
    pub column: String,
    pub program: PathBuf,
    pub workloads: Vec<Workload>,
    pub command_line: CommandLine,
    /// Whether HTTP/2 has a port of its own.
    pub h2_apart: bool,
    pub redis: bool,
}

type CommandLine = fn(&Place) -> Result<Vec<OsString>>;

/// What a configuration is made from.
pub struct Place<'a> {
    pub checkout: &'a Path,
    /// Empty, the contender's own, and in memory.
    pub folder: &'a Path,
    pub port: u16,
    pub h2_port: u16,
    pub admin_port: u16,
    pub origin: u16,
    pub workers: usize,
    /// In MiB.
    pub memory: u32,
    /// How many files may be open.
    pub files: u64,
    pub redis: String,
}

impl Place<'_> {
    /// Writes a template of `conf/` into the folder, with what stands in braces filled in.
    fn configure(&self, template: &str, name: &str) -> Result<PathBuf> {
        let from = self.checkout.join("benches/rivals/conf").join(template);
        let mut text =
            fs::read_to_string(&from).map_err(Failure::to(format!("read {}", from.display())))?;
        let values = [
            ("folder", self.folder.display().to_string()),
            ("port", self.port.to_string()),
            ("h2_port", self.h2_port.to_string()),
            ("admin_port", self.admin_port.to_string()),
            ("token", "for-this-run-alone".to_owned()),
            ("origin", self.origin.to_string()),
            ("workers", self.workers.to_string()),
            ("memory", self.memory.to_string()),
            ("memory_bytes", (u64::from(self.memory) << 20).to_string()),
            ("files", self.files.to_string()),
            // Connections need some too.
            ("cached_files", (self.files * 3 / 4).to_string()),
            ("redis", self.redis.clone()),
        ];
        for (name, value) in values {
            text = text.replace(&format!("{{{name}}}"), &value);
        }
        let to = self.folder.join(name);
        fs::write(&to, text).map_err(Failure::to(format!("write {}", to.display())))?;
        Ok(to)
    }

    fn make_folders(&self, names: &[&str]) -> Result<()> {
        Ok(names
            .iter()
            .try_for_each(|name| fs::create_dir_all(self.folder.join(name)))?)
    }
}

struct Rival {
    name: &'static str,
    title: &'static str,
    program: &'static str,
    /// Has it tell its version.
    version: &'static str,
    command_line: CommandLine,
    h2_apart: bool,
}

const RIVALS: [Rival; 4] = [
    Rival {
        name: "nginx",
        title: "nginx",
        program: "nginx",
        version: "-v",
        command_line: nginx,
        h2_apart: true,
    },
    Rival {
        name: "haproxy",
        title: "HAProxy",
        program: "haproxy",
        version: "-v",
        command_line: haproxy,
        h2_apart: true,
    },
    Rival {
        name: "varnish",
        title: "Varnish",
        program: "varnishd",
        version: "-V",
        command_line: varnish,
        h2_apart: false,
    },
    Rival {
        name: "ats",
        title: "Traffic Server",
        program: "traffic_server",
        version: "--version",
        command_line: traffic_server,
        h2_apart: false,
    },
];

fn line<const N: usize>(parts: [&str; N]) -> Vec<OsString> {
    parts.map(OsString::from).to_vec()
}

fn nginx(place: &Place) -> Result<Vec<OsString>> {
    place.make_folders(&["cache", "body", "proxy", "fastcgi", "uwsgi", "scgi"])?;
    let folder = place.folder.display().to_string();
    let configuration = place.configure("nginx.conf", "nginx.conf")?;
    let errors = format!("{folder}/error.log");
    Ok(line([
        "-e",
        &errors,
        "-p",
        &folder,
        "-c",
        &configuration.display().to_string(),
    ]))
}

fn haproxy(place: &Place) -> Result<Vec<OsString>> {
    let configuration = place.configure("haproxy.cfg", "haproxy.cfg")?;
    Ok(line([
        "-db",
        "-q",
        "-f",
        &configuration.display().to_string(),
    ]))
}

fn varnish(place: &Place) -> Result<Vec<OsString>> {
    // Nobody reads the log in shared memory, so nothing is written to it.
    const SILENT: &str = "-Debug,-ReqStart,-ReqMethod,-ReqURL,-ReqProtocol,-ReqHeader,-ReqUnset,-RespProtocol,\
        -RespStatus,-RespReason,-RespHeader,-RespUnset,-BereqMethod,-BereqURL,-BereqProtocol,-BereqHeader,-BereqUnset,\
        -BerespProtocol,-BerespStatus,-BerespReason,-BerespHeader,-BerespUnset,-ObjProtocol,-ObjStatus,-ObjReason,\
        -ObjHeader,-VCL_call,-VCL_return,-VCL_use,-Timestamp,-ReqAcct,-BereqAcct,-Hit,-HitPass,-HitMiss,-Length,-TTL,\
        -Storage,-Fetch_Body,-BackendOpen,-BackendReuse,-BackendClose,-Filters,-SessOpen,-SessClose,-Link,-Begin,-End";
    let configuration = place.configure("varnish.vcl", "varnish.vcl")?;
    let (folder, file) = (place.folder.join("varnish"), configuration);
    let mut arguments = line(["-F", "-j", "none", "-T", "none", "-t", "3600"]);
    arguments.extend([
        OsString::from("-n"),
        folder.into(),
        "-f".into(),
        file.into(),
    ]);
    arguments.extend(line([
        "-a",
        &format!("127.0.0.1:{}", place.port),
        "-s",
        &format!("malloc,{}m", place.memory),
    ]));
    for parameter in [
        "feature=+http2",
        &format!("vsl_mask={SILENT}"),
        // A thread for each connection that has something to do, and for each fetch.
        &format!("thread_pools={}", place.workers),
        "thread_pool_min=200",
        "thread_pool_max=1000",
        "timeout_idle=600",
        "backend_idle_timeout=600",
        "h2_max_concurrent_streams=256",
        "listen_depth=4096",
    ] {
        arguments.extend(line(["-p", parameter]));
    }
    Ok(arguments)
}

fn traffic_server(place: &Place) -> Result<Vec<OsString>> {
    place.make_folders(&["etc", "cache", "log", "run"])?;
    copy_folder(Path::new("/etc/trafficserver"), &place.folder.join("etc"))?;
    place.configure("ats-records.config", "etc/records.config")?;
    place.configure("ats-remap.config", "etc/remap.config")?;
    let volume = format!("{}/cache {}M\n", place.folder.display(), place.memory);
    fs::write(place.folder.join("etc/storage.config"), volume)?;
    let root = place.configure("ats-runroot.yaml", "runroot.yaml")?;
    Ok(line([&format!("--run-root={}", root.display())]))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).map_err(Failure::to(format!("read {}", from.display())))? {
        let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
        let copy = to.join(entry.file_name());
        if kind.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

fn tidegate_with(place: &Place, template: &str) -> Result<Vec<OsString>> {
    let configuration = place.configure(template, "tidegate.toml")?;
    Ok(line(["run", "-c", &configuration.display().to_string()]))
}

fn tidegate(place: &Place) -> Result<Vec<OsString>> {
    tidegate_with(place, "tidegate.toml")
}

fn tidegate_limits(place: &Place) -> Result<Vec<OsString>> {
    tidegate_with(place, "tidegate-limits.toml")
}

fn tidegate_redis(place: &Place) -> Result<Vec<OsString>> {
    tidegate_with(place, "tidegate-redis.toml")
}

fn bare_hit(place: &Place) -> Result<Vec<OsString>> {
    let (port, h2_port) = (place.port.to_string(), place.h2_port.to_string());
    let workers = place.workers.to_string();
    Ok(line([
        "hit",
        "--port",
        &port,
        "--h2-port",
        &h2_port,
        "--workers",
        &workers,
    ]))
}

fn bare_pass(place: &Place) -> Result<Vec<OsString>> {
    let (port, origin) = (place.port.to_string(), place.origin.to_string());
    let workers = place.workers.to_string();
    Ok(line([
        "pass",
        "--port",
        &port,
        "--origin",
        &origin,
        "--workers",
        &workers,
    ]))
}

const OF_BARE_HIT: &[Workload] = &[
    Workload::Fill,
    Workload::Zipf,
    Workload::Hit,
    Workload::Hit100K,
    Workload::Hit1M,
    Workload::Http2,
    Workload::Paced,
];

/// Everybody that was chosen and is here, and a line about each that is not.
pub struct Field {
    pub columns: Vec<Column>,
    pub contenders: Vec<Contender>,
    pub absent: Vec<String>,
}

impl Field {
    /// `binaries` holds those of this checkout.
    pub fn gather(arguments: &Arguments, binaries: &Path, commit: &str) -> Self {
        let mut field = Self {
            columns: Vec::new(),
            contenders: Vec::new(),
            absent: Vec::new(),
        };
        for name in arguments.chosen() {
            if let Some(rival) = RIVALS.iter().find(|rival| rival.name == name) {
                field.add_rival(rival);
            } else if name == "bare" {
                field.add_bare(&binaries.join("rivals-bare"));
            } else if let Some(edge) = arguments.edge.iter().find(|edge| edge.name == name) {
                field.add_tidegate(&name, &edge.path, edge.path.display().to_string());
            } else {
                field.add_tidegate(&name, &binaries.join("tidegate"), commit.to_owned());
            }
        }
        for contender in &mut field.contenders {
            contender
                .workloads
                .retain(|workload| arguments.wants(*workload));
        }
        field
            .contenders
            .retain(|contender| !contender.workloads.is_empty());
        field
    }

    fn add_rival(&mut self, rival: &Rival) {
        let Some(program) = find(rival.program) else {
            let line = format!("{}: there is no {} here", rival.title, rival.program);
            self.absent.push(line);
            return;
        };
        let version = machine::version(&program, rival.version);
        self.add_column(rival.name, rival.title, version);
        self.contenders.push(Contender {
            column: rival.name.to_owned(),
            program,
            workloads: Workload::COMMON.to_vec(),
            command_line: rival.command_line,
            h2_apart: rival.h2_apart,
            redis: false,
        });
    }

    fn add_bare(&mut self, program: &Path) {
        let version = "answering from moka, or passing on, and nothing else".to_owned();
        self.add_column("bare", "bare hyper", version);
        for (command_line, workloads) in [
            (bare_hit as CommandLine, OF_BARE_HIT),
            (bare_pass, &[Workload::Pass]),
        ] {
            self.contenders.push(Contender {
                column: "bare".to_owned(),
                program: program.to_owned(),
                workloads: workloads.to_vec(),
                command_line,
                h2_apart: true,
                redis: false,
            });
        }
    }

    fn add_tidegate(&mut self, name: &str, program: &Path, version: String) {
        self.add_column(name, name, version);
        for (command_line, workloads, redis) in [
            (tidegate as CommandLine, Workload::COMMON, false),
            (
                tidegate_limits,
                &[Workload::LimitFresh, Workload::LimitReused],
                false,
            ),
            (
                tidegate_redis,
                &[Workload::Redis, Workload::RedisPaced],
                true,
            ),
        ] {
            self.contenders.push(Contender {
                column: name.to_owned(),
                program: program.to_owned(),
                workloads: workloads.to_vec(),
                command_line,
                h2_apart: false,
                redis,
            });
        }
    }

    fn add_column(&mut self, name: &str, title: &str, version: String) {
        self.columns.push(Column {
            name: name.to_owned(),
            title: title.to_owned(),
            version,
        });
    }
}
