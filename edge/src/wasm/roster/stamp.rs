//! Whether a file has changed, told without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::config::Source;

/// What tells a file from the one that stood in its place before, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<[i128; 5]>);

impl Stamp {
    pub(super) fn of(source: &Source) -> Stamp {
        let stamp = fs::metadata(&source.file).map(|file| {
            [
                file.dev().into(),
                file.ino().into(),
                file.len().into(),
                i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec()),
                i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec()),
            ]
        });
        Stamp(stamp.ok())
    }
}

/// What was seen of a file, look by look.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// As it was when it was read.
    read: Option<Stamp>,
    /// As it was at the last look, if that was another.
    seen: Option<Stamp>,
}

impl Look {
    /// Whether the file is another than was read, and the same as at the last look.
    pub(super) fn is_due(&mut self, now: Stamp) -> bool {
        if self.read == Some(now) {
            self.seen = None;
            return false;
        }
        self.seen.replace(now) == Some(now)
    }

    /// Notes as what it was read; nothing where it changed meanwhile.
    pub(super) fn read(&mut self, stamp: Option<Stamp>) {
        self.read = stamp;
        self.seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{Look, Stamp};

    #[test]
    fn a_file_is_due_when_it_has_changed_and_then_rested() {
        let stamp = |number| Stamp(Some([number; 5]));
        let (gone, mut look) = (Stamp(None), Look::default());
        // What was not read yet is due as soon as it rests.
        assert!(!look.is_due(stamp(1)));
        assert!(look.is_due(stamp(1)));
        look.read(Some(stamp(1)));
        assert!(!look.is_due(stamp(1)));
        // While it is being written it is another each time.
        for number in 2..5 {
            assert!(!look.is_due(stamp(number)));
        }
        assert!(look.is_due(stamp(4)));
        look.read(None);
        assert!(!look.is_due(stamp(4)));
        assert!(look.is_due(stamp(4)));
        look.read(Some(stamp(4)));
        // A moment without a file is a moment of a change.
        assert!(!look.is_due(gone));
        assert!(!look.is_due(stamp(4)));
        assert!(!look.is_due(gone));
        assert!(look.is_due(gone));
    }
}
