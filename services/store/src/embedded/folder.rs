//! Opening the data folder: ours is opened, a new one is made, everything else is refused and left as it is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};

use crate::embedded::failure::failed;
use crate::embedded::tables;
use crate::{Error, ErrorKind};

const FILE_NAME: &str = "ddp-edge.redb";

/// A database is made under this name and renamed when it is complete, so that a crash in between cannot leave
/// something that looks like ours and is not.
const UNFINISHED_NAME: &str = "ddp-edge.redb.new";

const MARKER: TableDefinition<'_, &str, u64> = TableDefinition::new("ddp-edge");

const FORMAT: u64 = 1;

/// Permissions of the file.
const PRIVATE: u32 = 0o600;

/// An embedded workspace is small; redb's own default would let its cache grow to 1 GiB.
const CACHE_BYTES: usize = 16 << 20;

pub(super) fn open(folder: &Path) -> Result<Database, Error> {
    fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
    let file = folder.join(FILE_NAME);
    if file.try_exists().map_err(|error| unusable(&file, error))? {
        return open_file(&file);
    }
    for entry in fs::read_dir(folder).map_err(|error| unusable(folder, error))? {
        let name = entry.map_err(|error| unusable(folder, error))?.file_name();
        if name != UNFINISHED_NAME {
            let found = format!(
                "{} holds `{}` but no `{FILE_NAME}`",
                folder.display(),
                name.display()
            );
            return Err(Error::new(ErrorKind::Foreign, found));
        }
    }
    create_file(folder, &file)
}

pub(super) fn in_memory() -> Result<Database, Error> {
    let database = builder()
        .create_with_backend(InMemoryBackend::new())
        .map_err(failed)?;
    initialise(&database)?;
    Ok(database)
}

fn open_file(file: &Path) -> Result<Database, Error> {
    let database = builder().open(file).map_err(|error| refused(file, error))?;
    let read = database.begin_read().map_err(failed)?;
    let foreign = || {
        Error::new(
            ErrorKind::Foreign,
            format!("{} is another program's database", file.display()),
        )
    };
    let marker = match read.open_table(MARKER) {
        Ok(marker) => marker,
        Err(TableError::Storage(error)) => return Err(failed(error)),
        Err(_) => return Err(foreign()),
    };
    let format = marker
        .get("format")
        .map_err(failed)?
        .ok_or_else(foreign)?
        .value();
    if format > FORMAT {
        let newer = format!(
            "{} has format {format}, this version knows {FORMAT}",
            file.display()
        );
        return Err(Error::new(ErrorKind::NewerFormat, newer));
    }
    drop((marker, read));
    // Made by an earlier version, others may read it.
    let only_ours = fs::Permissions::from_mode(PRIVATE);
    fs::set_permissions(file, only_ours).map_err(|error| unusable(file, error))?;
    // Made by a version with fewer collections, it lacks their tables.
    let write = database.begin_write().map_err(failed)?;
    tables::create(&write)?;
    write.commit().map_err(failed)?;
    Ok(database)
}

fn create_file(folder: &Path, file: &Path) -> Result<Database, Error> {
    let unfinished = folder.join(UNFINISHED_NAME);
    let create = || {
        let file = private(&unfinished).map_err(|error| unusable(&unfinished, error))?;
        let database = FileBackend::new(file).and_then(|file| builder().create_with_backend(file));
        Ok(database.map_err(|error| refused(&unfinished, error)))
    };
    let database = match create()? {
        Err(error) if error.kind() != ErrorKind::Locked => {
            // A crash while it was made; nobody has it open, or that would have been the error.
            fs::remove_file(&unfinished).map_err(|error| unusable(&unfinished, error))?;
            create()?
        }
        outcome => outcome,
    }?;
    initialise(&database)?;
    fs::rename(&unfinished, file).map_err(|error| unusable(file, error))?;
    // The name itself must survive a power cut, not only the content.
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| unusable(folder, error))?;
    Ok(database)
}

/// A file that nobody else may read: it holds tokens and password hashes.
fn private(file: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(PRIVATE).open(file)
}

fn initialise(database: &Database) -> Result<(), Error> {
    let write = database.begin_write().map_err(failed)?;
    write
        .open_table(MARKER)
        .map_err(failed)?
        .insert("format", FORMAT)
        .map_err(failed)?;
    tables::create(&write)?;
    write.commit().map_err(failed)
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn refused(file: &Path, error: DatabaseError) -> Error {
    let name = file.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Error::because(ErrorKind::Locked, name.to_string(), error)
        }
        DatabaseError::UpgradeRequired(version) => Error::because(
            ErrorKind::Foreign,
            format!("{name} has redb's file format {version}"),
            error,
        ),
        DatabaseError::Storage(redb::StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Error::because(ErrorKind::Foreign, format!("{name} is no database"), error)
            }
            _ => unusable(file, error),
        },
        error => Error::because(ErrorKind::Corrupt, format!("{name} ({error})"), error),
    }
}

fn unusable(path: &Path, error: io::Error) -> Error {
    Error::because(
        ErrorKind::Io,
        format!("{} ({error})", path.display()),
        error,
    )
}
