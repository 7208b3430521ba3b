//! Secrets: where they stand, read when they are needed and replaced where they stood.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::{env, fmt};

use crate::mark::without_mark;
use crate::random::random;

/// The longest secret that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where a secret stands. It never stands in the settings themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file of its own.
    File(PathBuf),
    /// In the environment variable of this name.
    Variable(String),
}

/// The text of a secret. It does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(String);

/// What became of a secret that was to take another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It has taken it.
    Stored,
    /// The operator has put something else there in the meantime, which stays.
    Overruled,
}

impl Secret {
    /// Reads it, without a leading byte order mark and the white space around it. It blocks. The error says what is wrong, and where.
    pub fn read(&self) -> Result<Text, String> {
        let text = match self {
            Secret::File(path) => {
                read_file(path).map_err(|error| format!("can not read {}: {error}", path.display()))?
            }
            Secret::Variable(name) => env::var(name).map_err(|error| match error {
                env::VarError::NotPresent => format!("the variable `{name}` is not set"),
                env::VarError::NotUnicode(_) => format!("the variable `{name}` is no text"),
            })?,
        };
        match text.trim() {
            "" => Err(format!("{self} is empty")),
            text => Ok(Text(text.to_owned())),
        }
    }

    /// Puts a secret in the place of the one that was read there. It blocks. The error says why it could not be.
    pub fn replace(&self, read: &Text, new: &Text) -> Result<Replaced, String> {
        let Secret::File(path) = self else {
            return Err(format!("{self} can not be written"));
        };
        // What the operator puts there between this look and the renaming is lost: no file system offers more.
        if self.read()? != *read {
            return Ok(Replaced::Overruled);
        }
        replace_file(path, &new.0).map_err(|error| format!("can not write {}: {error}", path.display()))?;
        Ok(Replaced::Stored)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::File(path) => write!(f, "{}", path.display()),
            Secret::Variable(name) => write!(f, "the variable `{name}`"),
        }
    }
}

impl Text {
    /// A secret that somebody sent.
    pub fn new(text: &str) -> Text {
        Text(text.to_owned())
    }

    /// Shows it to the one who is meant to know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    // Anything else (a pipe, a device) could keep its reader waiting for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(wrong("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > SECRET_BYTES_MAX {
        true => Err(wrong("it is longer than 64 KiB")),
        false => Ok(without_mark(text)),
    }
}

/// Replaces a file's content at one stroke: whoever reads it finds the old or the new text, also after a crash.
fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    // Where the path is a link, what it points at is replaced, not the link.
    let target = path.canonicalize()?;
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    };
    let mut beside = OsString::from(".");
    beside.push(name);
    // Another gateway may be writing beside it too.
    beside.push(format!(".{:016x}", random().to_bits()));
    let beside = folder.join(beside);
    let replaced =
        write_new(&beside, &fs::metadata(&target)?, text).and_then(|()| fs::rename(&beside, &target));
    if let Err(error) = replaced {
        // It may not be there at all.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    // The renaming outlives a crash once its folder is written.
    File::open(folder)?.sync_all()
}

/// Writes a new file with the owner and mode of another one.
fn write_new(path: &Path, like: &Metadata, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // A group that can not be kept must not pass its right to read on to ours.
    let is_kept = fchown(&file, Some(like.uid()), Some(like.gid())).is_ok();
    let mode = like.mode() & if is_kept { 0o777 } else { 0o700 };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, text: &str) -> (PathBuf, Secret) {
        let path = folder.join("token");
        fs::write(&path, text).unwrap();
        (path.clone(), Secret::File(path))
    }

    #[test]
    fn secrets_are_read_trimmed_or_the_error_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Secret::File(folder.path().join(name));
        for (name, text) in
            [("good", " s3cret \r\n"), ("empty", "\n"), ("large", &"x".repeat((64 << 10) + 1))]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        assert_eq!(at("good").read().unwrap().reveal(), "s3cret");
        assert!(Secret::Variable("CARGO_PKG_NAME".to_owned()).read().is_ok());
        for (secret, named, why) in [
            (at("none"), "none", "can not read"),
            (at("empty"), "empty", "is empty"),
            (at("large"), "large", "longer than 64 KiB"),
            (at("binary"), "binary", "UTF-8"),
            (Secret::File(folder.path().to_owned()), "", "no regular file"),
            (Secret::Variable("COUNTERSIGN_NONE".to_owned()), "COUNTERSIGN_NONE", "is not set"),
        ] {
            let error = secret.read().unwrap_err();
            assert!(error.contains(named) && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_its_links_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (path, _) = file(folder.path(), "old\n");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let secret = Secret::File(link.clone());
        assert_eq!(secret.replace(&Text::new("old"), &Text::new("new")), Ok(Replaced::Stored));
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        for folder in [&folder, &elsewhere] {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_the_operator_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, secret) = file(folder.path(), "other");
        assert_eq!(secret.replace(&Text::new("old"), &Text::new("new")), Ok(Replaced::Overruled));
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
        fs::remove_file(&path).unwrap();
        let error = secret.replace(&Text::new("old"), &Text::new("new")).unwrap_err();
        assert!(error.contains("can not read") && !path.exists(), "{error}");
    }

    #[test]
    fn a_variable_can_not_be_written_and_no_secret_shows() {
        let secret = Secret::Variable("CARGO_PKG_NAME".to_owned());
        let text = secret.read().unwrap();
        assert!(secret.replace(&text, &Text::new("new")).is_err());
        assert_eq!(format!("{text:?}"), "Text(..)");
    }
}
