//! Paths in, files to write out: the one door through which tests let faults in.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Something that has files.
pub(super) trait Disk: Send {
    /// Makes the file `path`, which is not there, and sees to it that its name is on disk.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>>;

    /// Cuts the file `path`, which is there, and returns when it is so on disk.
    fn cut(&self, path: &Path, length: u64) -> io::Result<()>;
}

/// A file that is being written.
pub(super) trait Out: Write + Send {
    /// Returns when what was written would survive a crash of the machine.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// The files of this machine.
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        let file = File::options().create_new(true).append(true).open(path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Box::new(file))
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = File::options().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_data()
    }
}

impl Out for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
