//! What processes tell each other beside gradients: texts, counts, and rank 0's model.

use super::{Collective, leads};
use crate::device::Device;
use crate::{Error, Result};
use bytemuck::{cast_slice, cast_slice_mut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use titans_kernel::Scalar;

/// Most bytes of one message; MPI counts them in 32 bits.
const MESSAGE: usize = 1 << 28;

/// What rank 0 says, to all; what others have to say is not looked at.
///
/// # Errors
/// [`Error::Usage`] when it is no text, which a process of another program sends; as [`Collective::broadcast`].
pub fn text(ranks: &dyn Collective, said: &str) -> Result<String> {
    let mut length = [said.len() as u64];
    ranks.broadcast(cast_slice_mut(&mut length))?;
    let mut bytes = if leads(ranks) { said.as_bytes().to_vec() } else { vec![0; length[0] as usize] };
    broadcast(ranks, &mut bytes)?;
    String::from_utf8(bytes).map_err(|_| {
        Error::usage(
            "processes that train together: expected text from rank 0, found other bytes; start one program in all",
        )
    })
}

fn broadcast(ranks: &dyn Collective, bytes: &mut [u8]) -> Result<()> {
    bytes.chunks_mut(MESSAGE).try_for_each(|piece| ranks.broadcast(piece))
}

/// The counts of all processes, in the order of their ranks.
///
/// # Errors
/// As [`Collective::all_gather`].
pub fn counts<const N: usize>(ranks: &dyn Collective, mine: [u64; N]) -> Result<Vec<[u64; N]>> {
    let mut all = vec![[0; N]; ranks.size()];
    ranks.all_gather(cast_slice(&mine), cast_slice_mut(all.as_flattened_mut()))?;
    Ok(all)
}

/// What rank 0 has of a type that serde knows, to all.
///
/// # Errors
/// As [`text`]; [`Error::Usage`] when it cannot be read, as that of another version.
pub fn json<V: Serialize + DeserializeOwned>(ranks: &dyn Collective, mine: &V) -> Result<V> {
    let wrong =
        |e: serde_json::Error| Error::usage(format!("what rank 0 says: {e}; start one program in all processes"));
    let said = text(ranks, &serde_json::to_string(mine).map_err(wrong)?)?;
    serde_json::from_str(&said).map_err(wrong)
}

/// Rank 0's numbers in the buffers of all, which have the same lengths everywhere.
///
/// # Errors
/// What the device reports; as [`Collective::broadcast`].
pub fn buffers<'b, D: Device>(
    device: &D,
    ranks: &dyn Collective,
    buffers: impl Iterator<Item = &'b mut D::Buffer>,
) -> Result<()> {
    let mut numbers: Vec<D::Elem> = Vec::new();
    for buffer in buffers {
        numbers.clear();
        numbers.resize(device.len(buffer), D::Elem::ZERO);
        if leads(ranks) {
            device.read(buffer, &mut numbers)?;
        }
        broadcast(ranks, cast_slice_mut(&mut numbers))?;
        if !leads(ranks) {
            device.write(&numbers, buffer)?;
        }
    }
    Ok(())
}

/// Expects that all say the same: the program's version and command, instruction set and device, for each process takes
/// the optimiser's step by itself, and their models must not go apart. Of longer texts the first 256 bytes count.
///
/// # Errors
/// [`Error::Usage`] in every process with what two of them say; as [`Collective::all_gather`].
pub fn expect_alike(ranks: &dyn Collective, mine: &str) -> Result<()> {
    const LENGTH: usize = 256;
    let mut said = [0; LENGTH];
    said.iter_mut().zip(mine.bytes()).for_each(|(place, byte)| *place = byte);
    let mut all = vec![0; LENGTH * ranks.size()];
    ranks.all_gather(&said, &mut all)?;
    let first = &all[..LENGTH];
    let Some((rank, row)) = all.chunks_exact(LENGTH).enumerate().find(|(_, row)| *row != first) else { return Ok(()) };
    let text = |row: &[u8]| String::from_utf8_lossy(row).trim_end_matches('\0').to_owned();
    Err(Error::usage(format!(
        "processes that train together: expected one program, command, instruction set and kind of device, found {} (rank \
         0) and {} (rank {rank}); start the same build everywhere, and name an instruction set that all processors have \
         in TITANS_ISA; with TITANS_ALONE=1 in the environment each process is a run of its own",
        text(first),
        text(row)
    )))
}
