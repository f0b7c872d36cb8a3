//! Files that survive: replaced whole, and durable before the call returns.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::super::ids::ClientId;
use super::fail_point::fail_point;
use crate::error::{Error, FederatedError, Result};

/// A state folder, held by this process alone.
pub(super) struct Disk {
    folder: PathBuf,
    /// Released when the process ends, however it ends.
    _lock: File,
}

impl Disk {
    /// # Errors
    /// [`FederatedError::StateInUse`] where another process has it.
    pub(super) fn locked(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| storage(folder, error))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|error| storage(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {
                fail_point("locked", "state");
                Ok(Self { folder: folder.to_owned(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => {
                let folder = folder.display().to_string();
                Err(Error::Federated(FederatedError::StateInUse { folder }))
            }
            Err(TryLockError::Error(error)) => Err(storage(&path, error)),
        }
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(storage(&path, error)),
        }
    }

    /// Puts `bytes` in the place of a file in one step: whoever looks finds the old or the new, whole.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        let partial = path.with_extension("partial");
        fail_point("before", name);
        let written = File::create(&partial).and_then(|mut file| {
            fail_point("empty partial of", name);
            file.write_all(bytes)?;
            file.sync_all()
        });
        fail_point("whole partial of", name);
        let renamed = written.and_then(|()| fs::rename(&partial, &path));
        fail_point("renamed", name);
        renamed.and_then(|()| sync(path.parent())).map_err(|error| storage(&path, error))
    }

    /// Keeps the first outcome of a client in a round; `None` for a failure.
    pub(super) fn keep_outcome(
        &self,
        round: u64,
        client: &ClientId,
        reply: Option<&[u8]>,
    ) -> Result<()> {
        // An empty reply is as good as none.
        self.keep_first(&outcomes_of(round), client, reply.unwrap_or_default())
    }

    /// What is known of a client in a round: a reply, or nothing in it for a failure.
    pub(super) fn outcome(&self, round: u64, client: &ClientId) -> Result<Option<Vec<u8>>> {
        self.read(&format!("{}/{client}", outcomes_of(round)))
    }

    /// Keeps the first reply to an earlier round that has come in this one.
    pub(super) fn keep_late(&self, round: u64, client: &ClientId, reply: &[u8]) -> Result<()> {
        self.keep_first(&late_in(round), client, reply)
    }

    /// The reply to an earlier round that has come in this one.
    pub(super) fn late(&self, round: u64, client: &ClientId) -> Result<Option<Vec<u8>>> {
        self.read(&format!("{}/{client}", late_in(round)))
    }

    /// Replies are private: they go as soon as their round is released.
    pub(super) fn forget_outcomes_before(&self, round: u64) -> Result<()> {
        for earlier in 0..round {
            for name in [outcomes_of(earlier), late_in(earlier)] {
                let folder = self.folder.join(&name);
                fail_point("before forgetting", &name);
                match fs::remove_dir_all(&folder) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(storage(&folder, error));
                    }
                    _ => fail_point("forgot", &name),
                }
            }
        }
        Ok(())
    }

    fn keep_first(&self, folder: &str, client: &ClientId, bytes: &[u8]) -> Result<()> {
        let name = format!("{folder}/{client}");
        if self.read(&name)?.is_some() {
            return Ok(());
        }
        let folder = self.folder.join(folder);
        // Durable itself, or what came first could be lost with it, and what came second count.
        let made = fs::create_dir_all(&folder).and_then(|()| sync(Some(&self.folder)));
        made.map_err(|error| storage(&folder, error))?;
        fail_point("folder for", &name);
        self.replace(&name, bytes)
    }
}

fn late_in(round: u64) -> String {
    format!("late-in-{round}")
}

fn outcomes_of(round: u64) -> String {
    format!("round-{round}")
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| storage(path, error))
}

/// A stranger's file, if it is there: one byte more than `most` says that it is too long, whatever its length.
pub(super) fn read_up_to(path: &Path, most: usize) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(storage(path, error)),
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|error| storage(path, error))?;
    Ok(Some(bytes))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    fail_point("before out", name);
    let written = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = written.and_then(|()| fs::write(path, bytes));
    fail_point("out", name);
    written.map_err(|error| storage(path, error))
}

/// Makes a rename durable.
fn sync(folder: Option<&Path>) -> std::io::Result<()> {
    match folder {
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn storage(path: &Path, source: std::io::Error) -> Error {
    Error::Federated(FederatedError::Storage { path: path.display().to_string(), source })
}
