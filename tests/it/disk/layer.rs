//! The disk under a gateway: `shim.c` writes down what is done to the database's files, and fails
//! when told to. What is written down can be played up to any point, and the power cut there.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The files it knows, by their number in the log.
const NAMES: [&str; 3] = ["waba.db", "waba.db-wal", "waba.db-journal"];
const HEAD_BYTES: usize = 24;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The layer of one data directory.
pub struct Layer {
    control: tempfile::TempDir,
    data: PathBuf,
}

impl Layer {
    pub fn new(data: &Path) -> Self {
        Self { control: tempfile::tempdir().unwrap(), data: data.to_owned() }
    }

    /// What a process needs to have it.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("DISK_CONTROL", self.control.path().display().to_string()),
            ("DISK_DATA", self.data.display().to_string()),
        ]
    }

    /// A file that switches a fault on while it is there.
    pub fn switch(&self, fault: &str) -> PathBuf {
        self.control.path().join(fault)
    }

    pub fn fail(&self, fault: &str) {
        std::fs::write(self.switch(fault), "").unwrap();
    }

    pub fn mend(&self, fault: &str) {
        std::fs::remove_file(self.switch(fault)).unwrap();
    }

    /// Bytes that are written down by now.
    pub fn written(&self) -> usize {
        let log = std::fs::metadata(self.control.path().join("log")).unwrap();
        usize::try_from(log.len()).unwrap()
    }

    pub fn log(&self) -> Log {
        Log::read(std::fs::read(self.control.path().join("log")).unwrap())
    }
}

/// The shim, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/disk/shim.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&path)
            .args([source, "-ldl", "-lpthread"])
            .status()
            .expect("cc is missing: scripts/test.sh installs it");
        assert!(compiled.success());
        (directory, path)
    });
    path
}

/// What was done to the files, in order.
pub struct Log {
    bytes: Vec<u8>,
    ops: Vec<Op>,
}

struct Op {
    kind: u8,
    name: usize,
    at: usize,
    data: Range<usize>,
}

impl Log {
    fn read(bytes: Vec<u8>) -> Self {
        let number = |at: usize| {
            let bytes = bytes[at..at + 8].try_into().unwrap();
            usize::try_from(u64::from_le_bytes(bytes)).unwrap()
        };
        let (mut ops, mut at) = (Vec::new(), 0);
        while at + HEAD_BYTES <= bytes.len() {
            let data = at + HEAD_BYTES..at + HEAD_BYTES + number(at + 16);
            // The process was killed while it wrote this down, and had not done it yet.
            if data.end > bytes.len() {
                break;
            }
            ops.push(Op {
                kind: bytes[at],
                name: usize::from(bytes[at + 1]),
                at: number(at + 8),
                data: data.clone(),
            });
            at = data.end;
        }
        Self { bytes, ops }
    }

    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// How much of the log the first `n` operations are.
    pub fn written(&self, n: usize) -> usize {
        self.ops[..n].last().map_or(0, |it| it.data.end)
    }

    /// How often a file was synced.
    pub fn n_syncs(&self) -> usize {
        self.ops.iter().filter(|it| it.kind == b's').count()
    }

    /// What the disk has when the power is cut after the first `n` operations: all that was synced,
    /// and of the rest what `chance` says.
    pub fn cut(&self, n: usize, chance: &mut impl FnMut() -> bool, to: &Path) {
        let mut disk = Disk::default();
        self.ops[..n].iter().for_each(|it| disk.run(it, &self.bytes));
        for (name, file) in NAMES.iter().zip(disk.survivors(&self.bytes, chance)) {
            if let Some(content) = file {
                std::fs::write(to.join(name), content).unwrap();
            }
        }
    }
}

/// Files by number; names lead to them. A name that was made or removed is only sure once its
/// directory is synced.
#[derive(Default)]
struct Disk {
    files: Vec<DiskFile>,
    names: [Option<usize>; NAMES.len()],
    synced_names: [Option<usize>; NAMES.len()],
}

#[derive(Default)]
struct DiskFile {
    synced: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, data: Range<usize> },
    Cut { n_bytes: usize },
}

impl Disk {
    fn run(&mut self, op: &Op, bytes: &[u8]) {
        match op.kind {
            b'c' => {
                self.names[op.name] = Some(self.files.len());
                self.files.push(DiskFile::default());
            }
            b'u' => self.names[op.name] = None,
            b'd' => self.synced_names = self.names,
            kind => {
                let file = &mut self.files[self.names[op.name].unwrap()];
                match kind {
                    b'w' => {
                        file.since.push(Change::Write { at: op.at, data: op.data.clone() });
                    }
                    b't' => file.since.push(Change::Cut { n_bytes: op.at }),
                    b's' => {
                        let since = std::mem::take(&mut file.since);
                        since.iter().for_each(|it| it.apply(&mut file.synced, bytes));
                    }
                    kind => panic!("no such operation: {kind}"),
                }
            }
        }
    }

    fn survivors(&self, bytes: &[u8], chance: &mut impl FnMut() -> bool) -> Vec<Option<Vec<u8>>> {
        let names = self.names.iter().zip(self.synced_names);
        let mut survive = |(now, synced): (&Option<usize>, Option<usize>)| {
            let file = &self.files[if chance() { *now } else { synced }?];
            let mut content = file.synced.clone();
            for change in &file.since {
                change.apply_in_part(&mut content, bytes, chance);
            }
            Some(content)
        };
        names.map(&mut survive).collect()
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Self::Write { at, data } => put(content, *at, &bytes[data.clone()]),
            Self::Cut { n_bytes } => content.resize(*n_bytes, 0),
        }
    }

    fn apply_in_part(
        &self,
        content: &mut Vec<u8>,
        bytes: &[u8],
        chance: &mut impl FnMut() -> bool,
    ) {
        match self {
            Self::Write { at, data } => {
                for (n, sector) in bytes[data.clone()].chunks(SECTOR_BYTES).enumerate() {
                    if chance() {
                        put(content, at + n * SECTOR_BYTES, sector);
                    }
                }
            }
            Self::Cut { .. } if chance() => self.apply(content, bytes),
            Self::Cut { .. } => {}
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}
