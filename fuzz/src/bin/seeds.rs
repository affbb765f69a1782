//! Writes what the targets of the C library begin with into `corpus`, for a search to start from.

use titans_fuzz::{blob_open, calls, configs, cuts, memories, state_load};

fn main() -> std::io::Result<()> {
    let targets = [
        ("blob_open", blob_open::seeds()),
        ("calls", calls::seeds()),
        ("configs", configs::seeds()),
        ("cuts", cuts::seeds()),
        ("memories", memories::seeds()),
        ("state_load", state_load::seeds()),
    ];
    for (target, seeds) in targets {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (i, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed_{i}")), seed)?;
        }
    }
    Ok(())
}
