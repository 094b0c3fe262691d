//! The legacy frame of LZ4, in which kernels are compressed (lz4, `doc/lz4_Frame_format.md`, "Legacy frame";
//! `doc/lz4_Block_format.md`).

use anyhow::{Context, Result, bail};

const MAGIC: [u8; 4] = 0x184c_2102_u32.to_le_bytes();
/// The most that one block unpacks to, bytes.
const BLOCK_MAX: usize = 8 << 20;
/// The most that a kernel unpacks to, bytes.
const TOTAL_MAX: usize = 512 << 20;
/// Shortest match: what a length of 0 stands for.
const MATCH_MIN: usize = 4;

/// Unpacks a frame. The kernel's build puts the size of the result behind it, which is held against it.
pub(super) fn unpack(frame: &[u8]) -> Result<Vec<u8>> {
    let (body, size) = frame.split_last_chunk::<4>().context("the compressed kernel is cut off")?;
    let size = usize::try_from(u32::from_le_bytes(*size))?;
    let mut rest = body.strip_prefix(&MAGIC).context("the kernel is not compressed with LZ4: use one that is")?;
    let mut out = Vec::with_capacity(size.min(TOTAL_MAX));
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        let (block, behind) = behind.split_at_checked(length).context("a compressed block is cut off")?;
        unpack_block(block, &mut out)?;
        if out.len() > TOTAL_MAX {
            bail!("the kernel is larger than {TOTAL_MAX} bytes");
        }
        rest = behind;
    }
    if out.len() != size {
        bail!("the kernel unpacks to {} bytes, not {size}", out.len());
    }
    Ok(out)
}

/// Appends what a block unpacks to. A block refers to nothing before itself.
fn unpack_block(mut block: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    while let Some((token, behind)) = block.split_first() {
        block = behind;
        let literals = length(usize::from(token >> 4), &mut block)?;
        let (plain, behind) = block.split_at_checked(literals).context("literals are cut off")?;
        out.extend_from_slice(plain);
        // The last sequence of a block has no match.
        let Some((offset, behind)) = behind.split_first_chunk::<2>() else { break };
        block = behind;
        let offset = usize::from(u16::from_le_bytes(*offset));
        let repeated = length(usize::from(token & 15), &mut block)? + MATCH_MIN;
        if offset == 0 || offset > out.len() - start || out.len() - start + repeated > BLOCK_MAX {
            bail!("the compressed kernel is damaged");
        }
        // A match may reach into what it makes.
        for at in out.len() - offset..out.len() - offset + repeated {
            out.push(out[at]);
        }
    }
    Ok(())
}

/// A length: four bits, and as many bytes as follow while they are full.
fn length(nibble: usize, block: &mut &[u8]) -> Result<usize> {
    let mut length = nibble;
    if nibble == 15 {
        loop {
            let (more, behind) = block.split_first().context("a length is cut off")?;
            *block = behind;
            length += usize::from(*more);
            if *more != 255 {
                break;
            }
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(blocks: &[&[u8]], size: u32) -> Vec<u8> {
        let blocks = blocks.iter().map(|block| [&u32::try_from(block.len()).unwrap().to_le_bytes(), *block].concat());
        [&MAGIC[..], &blocks.collect::<Vec<_>>().concat(), &size.to_le_bytes()].concat()
    }

    #[test]
    fn literals_matches_and_long_lengths_are_unpacked() {
        // "abc", then 3 back for 4 + 15 + 1 bytes, then "!".
        let block = [0x3f, b'a', b'b', b'c', 3, 0, 1, 0x10, b'!'];
        let unpacked = unpack(&frame(&[&block, &[0x20, b'x', b'y']], 26)).unwrap();
        assert_eq!(unpacked, b"abcabcabcabcabcabcabcab!xy");
    }

    #[test]
    fn damage_is_refused() {
        let block = [0x3f, b'a', b'b', b'c', 3, 0, 1, 0x10, b'!'];
        assert!(unpack(&frame(&[&block], 25)).is_err());
        assert!(unpack(b"no").is_err() && unpack(b"not compressed").is_err());
        for damaged in [&[0x30, b'a'][..], &[0x1f, b'a', 1, 0], &[0x10, b'a', 2, 0], &[0x10, b'a', 0, 0], &[0xf0, 255]]
        {
            assert!(unpack(&frame(&[damaged], 5)).is_err(), "{damaged:?}");
        }
    }
}
