//! Writes the descriptors of all messages that xDS resources are made of, by which their JSON is read.
//!
//! Most of them come with the crate `xds-api`. The filters and load-balancing policies it leaves out are in `proto/`.

#![expect(clippy::disallowed_methods, reason = "a build script works on files of the machine")]

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, IncludeFileResolver};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut set = FileDescriptorSet::decode(xds_api::FILE_DESCRIPTOR_SET)?;
    let mut resolver = ChainFileResolver::new();
    resolver.add(DescriptorSetFileResolver::new(set.clone()));
    resolver.add(IncludeFileResolver::new("proto".into()));
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir("proto")?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let names = files.iter().filter_map(|file| file.file_name());
    compiler.include_imports(false).open_files(names)?;
    set.file.extend(compiler.file_descriptor_set().file);
    // Comments are most of it.
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("xds-descriptors.bin");
    Ok(std::fs::write(out, set.encode_to_vec())?)
}
