//! Zip archives: `.keras`, `.pt` and `.npz` are such.

use crate::budget::Budget;
use crate::error::{Error, Result};
use std::io::{Cursor, Read};
use zip::result::ZipResult;
use zip::{CompressionMethod, ZipArchive};

/// An archive in memory. Members are stored or deflated; their checksums are verified.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    names: Vec<String>,
}

/// Whether `bytes` start like a zip archive that is not empty.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

impl<'a> Archive<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| malformed("zip directory", &error))?;
        if zip.has_duplicate_names() {
            return Err(Error::malformed("zip directory", "names that differ", "one name twice"));
        }
        let names = zip.file_names().map(|name| name.map(|name| name.into_owned())).collect::<ZipResult<_>>();
        Ok(Archive { names: names.map_err(|error| malformed("zip directory", &error))?, zip })
    }

    /// The members, in the order of the directory.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// The content of a member.
    pub(crate) fn read(&mut self, name: &str, budget: &mut Budget) -> Result<Vec<u8>> {
        let Some(index) = self.zip.index_for_name(name) else {
            return Err(Error::missing("zip directory", format_args!("member {name}")));
        };
        let member = self.zip.by_index(index).map_err(|error| malformed(name, &error))?;
        let (size, method) = (member.size(), member.compression());
        if ![CompressionMethod::Stored, CompressionMethod::Deflated].contains(&method) {
            return Err(Error::unsupported(name, format_args!("compression method {method}")));
        }
        budget.take(size, name)?;
        // The claim is granted, but a liar shall not get it before there are bytes to fill it.
        let mut content = Vec::with_capacity(size.min(member.compressed_size()) as usize);
        member.take(size + 1).read_to_end(&mut content).map_err(|error| malformed(name, &error))?;
        if content.len() as u64 != size {
            let found = format_args!("{} or more", content.len());
            return Err(Error::malformed(name, format_args!("{size} bytes"), found));
        }
        Ok(content)
    }
}

fn malformed(place: &str, error: &dyn std::error::Error) -> Error {
    Error::malformed(place, "a member of a zip archive", error)
}
