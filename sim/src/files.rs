//! Files of the machine that are read whole: regular ones, of a size that people write.

use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

use hermesh_istiod::files::MANIFEST_MAX_BYTES as TEXT_MAX_BYTES;

/// Reads a file. A device or a pipe might have no end, and opening one might wait for ever.
///
/// # Errors
/// If it cannot be read, is no regular file, too large, or no text.
pub(crate) fn read(path: &Path) -> Result<String> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        let message = "it is a device or a pipe; expected a regular file, or `-` for standard input";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    read_to_end(std::fs::File::open(path)?)
}

/// Reads all there is.
///
/// # Errors
/// If it cannot be read, is too large, or no text.
pub(crate) fn read_to_end(source: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    source.take(TEXT_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TEXT_MAX_BYTES {
        let message = format!("it is larger than {} MiB, and no scenario or manifest is", TEXT_MAX_BYTES >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        let refused = |path: &str| read(Path::new(path)).unwrap_err();
        assert!(refused("/dev/zero").to_string().starts_with("it is a device or a pipe"));
        assert_eq!(refused("/").kind(), ErrorKind::IsADirectory);
        assert_eq!(read_to_end(std::io::repeat(b'a')).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_to_end(&b"\xff"[..]).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read_to_end(std::io::repeat(b'a').take(TEXT_MAX_BYTES)).unwrap().len() as u64, TEXT_MAX_BYTES);
    }
}
