//! From a directory to a zip, the same bytes for the same files.
//!
//! Entries are sorted, dated 1980-01-01 (the zip format's origin) and carry 755 or 644; symbolic links stay links.
//! `.git` directories are left out, nothing else is.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hearth_domain::limits::{BUNDLE_MAX_ENTRIES, BUNDLE_UNZIPPED_MAX_BYTES, BUNDLE_ZIP_MAX_BYTES};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::exit::Failure;

/// The directories that are no part of a bundle.
const LEFT_OUT: &str = ".git";

/// Reads a zip, or zips a directory.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
    let zip = if metadata.is_dir() {
        zip_directory(path)?
    } else {
        if metadata.len() > BUNDLE_ZIP_MAX_BYTES as u64 {
            return Err(too_large(path, metadata.len()));
        }
        fs::read(path).map_err(|error| cannot_read(path, &error))?
    };
    if zip.len() > BUNDLE_ZIP_MAX_BYTES {
        return Err(too_large(path, zip.len() as u64));
    }
    if !zip.starts_with(b"PK") {
        return Err(Failure::usage(format!("{} is neither a directory nor a zip", path.display())));
    }
    Ok(zip)
}

fn zip_directory(root: &Path) -> Result<Vec<u8>, Failure> {
    let mut paths = Vec::new();
    collect(root, &mut paths)?;
    if paths.is_empty() {
        return Err(Failure::usage(format!("{} is empty", root.display())));
    }
    paths.sort();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut unzipped_bytes = 0;
    for path in &paths {
        unzipped_bytes += add(&mut writer, root, path)?;
        if unzipped_bytes > BUNDLE_UNZIPPED_MAX_BYTES {
            let message =
                format!("{} is larger than the {BUNDLE_UNZIPPED_MAX_BYTES} bytes a bundle may have", root.display());
            return Err(Failure::usage(message));
        }
    }
    let zip = writer.finish().map_err(|error| cannot_read(root, &error))?;
    Ok(zip.into_inner())
}

/// Every file and link below `directory`. Directories themselves are left out: unzipping makes them.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = fs::read_dir(directory).map_err(|error| cannot_read(directory, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| cannot_read(directory, &error))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| cannot_read(&path, &error))?;
        if kind.is_dir() {
            if entry.file_name() != LEFT_OUT {
                collect(&path, paths)?;
            }
        } else if kind.is_file() || kind.is_symlink() {
            paths.push(path);
        } else {
            return Err(Failure::usage(format!("{} is neither file, link nor directory", path.display())));
        }
        if paths.len() > BUNDLE_MAX_ENTRIES {
            let message = format!("{} has more than {BUNDLE_MAX_ENTRIES} files", directory.display());
            return Err(Failure::usage(message));
        }
    }
    Ok(())
}

/// Adds one entry; returns its unzipped size.
fn add(writer: &mut ZipWriter<Cursor<Vec<u8>>>, root: &Path, path: &Path) -> Result<u64, Failure> {
    let failed = |error: &dyn std::fmt::Display| cannot_read(path, error);
    let name = path.strip_prefix(root).map_err(|error| failed(&error))?;
    let name = name.to_str().ok_or_else(|| failed(&"its name is not UTF-8"))?;
    let metadata = fs::symlink_metadata(path).map_err(|error| failed(&error))?;
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    if metadata.is_symlink() {
        let target = fs::read_link(path).map_err(|error| failed(&error))?;
        let target = target.to_str().ok_or_else(|| failed(&"its target is not UTF-8"))?;
        writer.add_symlink(name, target, options).map_err(|error| failed(&error))?;
        return Ok(0);
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    let options = options.unix_permissions(if executable { 0o755 } else { 0o644 });
    let content = fs::read(path).map_err(|error| failed(&error))?;
    writer.start_file(name, options).map_err(|error| failed(&error))?;
    writer.write_all(&content).map_err(|error| failed(&error))?;
    Ok(content.len() as u64)
}

fn cannot_read(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn too_large(path: &Path, bytes: u64) -> Failure {
    let message = format!("{}: zipped it has {bytes} bytes, and {BUNDLE_ZIP_MAX_BYTES} are the most", path.display());
    Failure::usage(message)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn project() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str, mode| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        file("bootstrap", "#!/bin/sh\n", 0o750);
        file("lib/data.txt", "data", 0o600);
        file(".git/HEAD", "ref", 0o644);
        std::os::unix::fs::symlink("lib/data.txt", directory.path().join("link")).unwrap();
        directory
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let (first, second) = (project(), project());
        assert_eq!(read(first.path()).unwrap(), read(second.path()).unwrap());
    }

    #[test]
    fn names_modes_links_and_content_are_kept() {
        let zip = read(project().path()).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        let names: Vec<String> = archive.file_names().map(ToOwned::to_owned).collect();
        assert_eq!(names, ["bootstrap", "lib/data.txt", "link"]);
        let mode = |archive: &mut zip::ZipArchive<_>, name| archive.by_name(name).unwrap().unix_mode().unwrap();
        assert_eq!(mode(&mut archive, "bootstrap"), 0o100_755);
        assert_eq!(mode(&mut archive, "lib/data.txt"), 0o100_644);
        assert!(archive.by_name("link").unwrap().is_symlink());
        let mut content = String::new();
        archive.by_name("lib/data.txt").unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "data");
    }

    #[test]
    fn a_zip_is_taken_as_it_is_and_anything_else_refused() {
        let zip = read(project().path()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("code.zip");
        fs::write(&path, &zip).unwrap();
        assert_eq!(read(&path).unwrap(), zip);
        fs::write(&path, "text").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("neither a directory nor a zip"));
        assert!(read(&directory.path().join("absent")).unwrap_err().to_string().contains("No such file"));
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path()).unwrap_err().to_string().ends_with("is empty"));
    }
}
