//! Compiled code that an edge keeps on disk: it uses what it wrote itself, and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tidegate_edge::config::{Config, Secret};
use tidegate_edge::filters::{CodeCache, Library, Plugins};
use wasmtime::Engine;

use crate::filters_support::{component, source};

/// The smallest component there is (its preamble alone), told apart by a custom section.
fn smallest(mark: &str) -> Vec<u8> {
    component(b"\0asm\x0d\0\x01\0", mark)
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn open(folder: &Path) -> CodeCache {
    CodeCache::open(folder, None, 8).expect("the folder is ours")
}

fn refusal(folder: &Path) -> String {
    match CodeCache::open(folder, None, 8) {
        Ok(_) => panic!("{} is used", folder.display()),
        Err(error) => error.to_string(),
    }
}

/// The files of compiled code in a folder.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut kept: Vec<_> = entries
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "code")
        })
        .collect();
    kept.sort();
    kept
}

fn only(folder: &Path) -> PathBuf {
    let mut kept = kept(folder);
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept.remove(0)
}

/// Dates a file back, so that its use shows.
fn age(file: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 60);
    let opened = fs::File::options().append(true).open(file).unwrap();
    opened.set_modified(long_ago).unwrap();
}

/// Whether compiling these bytes took the compiled code from its file.
fn is_used(cache: &CodeCache, engine: &Engine, bytes: &[u8], file: &Path) -> bool {
    age(file);
    let before = fs::metadata(file).unwrap();
    cache.component(engine, bytes).unwrap();
    let after = fs::metadata(file).unwrap();
    assert!(after.mtime() > before.mtime(), "neither used nor written");
    before.ino() == after.ino()
}

#[test]
fn compiled_code_outlives_its_process() {
    let (folder, engine) = (folder(), Engine::default());
    open(folder.path())
        .component(&engine, &smallest("a"))
        .unwrap();
    let file = only(folder.path());
    // Another opening, as after a start: the key is the same.
    assert!(is_used(
        &open(folder.path()),
        &engine,
        &smallest("a"),
        &file
    ));
}

#[test]
fn other_bytes_and_other_engines_have_files_of_their_own() {
    let (folder, engine) = (folder(), Engine::default());
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    let other = Engine::new(&config).unwrap();
    let cache = open(folder.path());
    for (engine, mark, files) in [
        (&engine, "a", 1),
        (&engine, "b", 2),
        (&other, "a", 3),
        (&other, "a", 3),
    ] {
        cache.component(engine, &smallest(mark)).unwrap();
        assert_eq!(kept(folder.path()).len(), files);
    }
}

#[test]
fn a_changed_file_is_compiled_anew_and_written_over() {
    let (folder, engine) = (folder(), Engine::default());
    let cache = open(folder.path());
    cache.component(&engine, &smallest("a")).unwrap();
    let file = only(folder.path());
    let good = fs::read(&file).unwrap();
    // Each byte of the head, and some of the code.
    let changed = (0..48).chain((48..good.len()).step_by(good.len() / 64 + 1));
    let flipped = changed.map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = [0, 1, 15, 16, 47, 48, 49, good.len() / 2, good.len() - 1];
    let cut = cut.map(|length| good[..length].to_vec());
    let longer = [[&good[..], b"\0"].concat(), [&good[..], &good[..]].concat()];
    for bytes in flipped.chain(cut).chain(longer) {
        fs::write(&file, &bytes).unwrap();
        assert!(
            !is_used(&cache, &engine, &smallest("a"), &file),
            "{} bytes",
            bytes.len()
        );
        assert!(is_used(&cache, &engine, &smallest("a"), &file));
    }
}

#[test]
fn a_file_under_the_name_of_another_is_not_used() {
    let (folder, engine) = (folder(), Engine::default());
    let cache = open(folder.path());
    cache.component(&engine, &smallest("a")).unwrap();
    let a = only(folder.path());
    cache.component(&engine, &smallest("b")).unwrap();
    let b = kept(folder.path())
        .into_iter()
        .find(|file| *file != a)
        .unwrap();
    fs::copy(&a, &b).unwrap();
    assert!(!is_used(&cache, &engine, &smallest("b"), &b));
}

#[test]
fn what_another_edge_wrote_is_not_used() {
    let (ours, theirs, engine) = (folder(), folder(), Engine::default());
    for folder in [&ours, &theirs] {
        open(folder.path())
            .component(&engine, &smallest("a"))
            .unwrap();
    }
    let file = only(ours.path());
    assert_eq!(file.file_name(), only(theirs.path()).file_name());
    fs::copy(only(theirs.path()), &file).unwrap();
    assert!(!is_used(&open(ours.path()), &engine, &smallest("a"), &file));
}

#[test]
fn with_a_secret_of_its_own_an_edge_takes_no_key_from_the_folder() {
    let (folder, engine) = (folder(), Engine::default());
    let with = |secret| CodeCache::open(folder.path(), Some(&Secret::new(secret)), 8).unwrap();
    with("a secret of 16 bytes at least")
        .component(&engine, &smallest("a"))
        .unwrap();
    let file = only(folder.path());
    assert!(!folder.path().join("key").exists());
    let (same, other) = (
        with("a secret of 16 bytes at least"),
        with("another one, as long as that"),
    );
    assert!(is_used(&same, &engine, &smallest("a"), &file));
    assert!(!is_used(&other, &engine, &smallest("a"), &file));
    assert!(!is_used(
        &open(folder.path()),
        &engine,
        &smallest("a"),
        &file
    ));
}

#[test]
fn a_key_that_was_cut_short_is_made_anew() {
    let (folder, engine) = (folder(), Engine::default());
    open(folder.path())
        .component(&engine, &smallest("a"))
        .unwrap();
    fs::write(folder.path().join("key"), "short").unwrap();
    let file = only(folder.path());
    assert!(!is_used(
        &open(folder.path()),
        &engine,
        &smallest("a"),
        &file
    ));
    assert!(is_used(
        &open(folder.path()),
        &engine,
        &smallest("a"),
        &file
    ));
}

#[test]
fn the_folder_and_what_is_in_it_are_for_its_owner_alone() {
    let (outer, engine) = (folder(), Engine::default());
    let folder = outer.path().join("compiled/code");
    open(&folder).component(&engine, &smallest("a")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("key")), 0o600);
    assert_eq!(mode(&only(&folder)), 0o600);
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    for mode in [0o777, 0o770, 0o1777, 0o702] {
        let folder = folder();
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let refusal = refusal(folder.path());
        assert!(
            refusal.contains("others than its owner may write"),
            "{mode:o}: {refusal}"
        );
    }
    let folder = folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    open(folder.path());
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let folder = folder();
    // Only the superuser can give folders away.
    if std::os::unix::fs::chown(folder.path(), Some(12_345), None).is_ok() {
        let refusal = refusal(folder.path());
        assert!(refusal.contains("belongs to another user"), "{refusal}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = folder();
    open(folder.path());
    fs::set_permissions(folder.path().join("key"), Permissions::from_mode(0o644)).unwrap();
    let refusal = refusal(folder.path());
    assert!(refusal.contains("others may read it"), "{refusal}");
}

#[test]
fn the_files_that_were_not_used_for_longest_go_first() {
    let (folder, engine) = (folder(), Engine::default());
    let cache = CodeCache::open(folder.path(), None, 3).unwrap();
    let mut files = Vec::new();
    for mark in ["a", "b", "c"] {
        cache.component(&engine, &smallest(mark)).unwrap();
        let new = kept(folder.path())
            .into_iter()
            .find(|file| !files.contains(file));
        age(new.as_ref().unwrap());
        files.push(new.unwrap());
    }
    cache.component(&engine, &smallest("a")).unwrap();
    for mark in ["d", "e"] {
        cache.component(&engine, &smallest(mark)).unwrap();
    }
    let left = kept(folder.path());
    let stays: Vec<_> = files.iter().map(|file| left.contains(file)).collect();
    assert_eq!((left.len(), stays), (3, vec![true, false, false]));
}

#[test]
fn a_folder_that_is_gone_fails_nothing() {
    let (outer, engine) = (folder(), Engine::default());
    let cache = open(outer.path());
    drop(outer);
    cache.component(&engine, &smallest("a")).unwrap();
}

#[test]
fn what_lies_in_the_folder_and_is_not_ours_is_left_alone() {
    let (folder, engine) = (folder(), Engine::default());
    let cache = CodeCache::open(folder.path(), None, 1).unwrap();
    let others = ["a.code", "a.unfinished"].map(|name| folder.path().join(name));
    for other in &others {
        fs::create_dir(other).unwrap();
        let opened = fs::File::open(other).unwrap();
        opened.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    for mark in ["a", "b"] {
        cache.component(&engine, &smallest(mark)).unwrap();
    }
    let files = kept(folder.path());
    let files = files.iter().filter(|file| file.is_file());
    assert_eq!(files.count(), 1, "one is kept, and the others are pruned");
    assert!(others.iter().all(|other| other.is_dir()));
}

/// Settings that keep compiled code there.
fn kept_in(folder: &Path) -> Config {
    let folder = folder.display().to_string();
    let settings = format!(
        "[wasm]\ncache = {folder:?}\n[origins.app]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\norigin = \"app\""
    );
    Config::from_toml(&settings, "test").unwrap()
}

#[test]
fn a_folder_that_cannot_be_used_fails_no_start() {
    let outer = folder();
    let (file, without_key) = (outer.path().join("file"), outer.path().join("without"));
    fs::write(&file, "a file is no folder").unwrap();
    // A key that cannot be read.
    fs::create_dir(&without_key).unwrap();
    fs::create_dir(without_key.join("key")).unwrap();
    for folder in [file.join("code"), without_key] {
        let library = Library::open(tidegate_plugins::WITH_FIXTURES, &kept_in(&folder).wasm);
        let library = library.expect("it does without");
        library
            .component(&Engine::default(), &smallest("a"))
            .unwrap();
        assert!(kept(outer.path()).is_empty());
    }
}

#[test]
fn a_folder_that_is_not_safe_fails_the_start() {
    let folder = folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let opened = Library::open(
        tidegate_plugins::WITH_FIXTURES,
        &kept_in(folder.path()).wasm,
    );
    assert!(opened.is_err());
}

#[test]
fn processes_that_start_together_share_key_and_files() {
    let (folder, engine) = (folder(), Engine::default());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                open(folder.path())
                    .component(&engine, &smallest("a"))
                    .unwrap()
            });
        }
    });
    let file = only(folder.path());
    assert!(is_used(
        &open(folder.path()),
        &engine,
        &smallest("a"),
        &file
    ));
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "the file and the key"
    );
}

#[test]
fn plugins_are_taken_from_compiled_code() {
    let folder = folder();
    let config = kept_in(&folder.path().join("code"));
    let library = Library::open(tidegate_plugins::WITH_FIXTURES, &config.wasm).unwrap();
    let file = folder.path().join("mine.wasm");
    fs::write(
        &file,
        component(filter(), "plugins_are_taken_from_compiled_code"),
    )
    .unwrap();
    let load = || {
        Plugins::load(
            &[source("mine", &file.display().to_string())].into(),
            library.clone(),
        )
        .unwrap()
    };
    // Dropped, so that it is not in use and not taken from there.
    drop(load());
    let code = only(&folder.path().join("code"));
    age(&code);
    let before = fs::metadata(&code).unwrap();
    let _plugins = load();
    let after = fs::metadata(&code).unwrap();
    assert!(after.mtime() > before.mtime() && after.ino() == before.ino());
}

fn filter() -> &'static [u8] {
    let mut all = tidegate_plugins::WITH_FIXTURES.iter();
    let (_, bytes) = all.find(|(name, _)| *name == "rate-limit").unwrap();
    bytes
}
