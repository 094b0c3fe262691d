//! The root file systems of guests, each open as long as the launcher: their pages are in memory once for all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::machine::open_image;
use super::manifest::Manifest;
use crate::sandbox::GuestImage;

/// An image that machines can have.
pub(super) struct OpenImage {
    pub(super) file: File,
    pub(super) sha256: String,
    interpreter: Option<PathBuf>,
}

/// All images of a directory, by name.
pub(super) struct Images(BTreeMap<String, OpenImage>);

impl Images {
    /// Opens what the list names.
    pub(super) fn open(directory: &Path, manifest: &Manifest) -> io::Result<Self> {
        let opened = manifest.images.iter().map(|image| {
            let (sha256, interpreter) = (image.sha256.clone(), image.interpreter.clone());
            let file = open_image(&directory.join(&image.file))?;
            Ok((image.name.clone(), OpenImage { file, sha256, interpreter }))
        });
        opened.collect::<io::Result<_>>().map(Self)
    }

    /// The image of this name.
    pub(super) fn get(&self, name: &str) -> io::Result<&OpenImage> {
        let missing =
            || format!("there is no guest image {name:?}, only {:?}: see cargo xtask guest-image", self.names());
        self.0.get(name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing()))
    }

    /// What there is.
    pub(super) fn list(&self) -> Vec<GuestImage> {
        let tell = |(name, image): (&String, &OpenImage)| GuestImage {
            name: name.clone(),
            interpreter: image.interpreter.clone(),
        };
        self.0.iter().map(tell).collect()
    }

    /// Changes with any of them.
    pub(super) fn identity(&self) -> String {
        self.0.iter().map(|(name, image)| format!("{name}={};", image.sha256)).collect()
    }

    fn names(&self) -> Vec<&String> {
        self.0.keys().collect()
    }
}
