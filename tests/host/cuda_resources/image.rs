//! What a kernel takes, from the machine code itself: an ELF image whose sections are named by kernel, with NVIDIA's
//! own attributes in `.nv.info` (of all kernels) and `.nv.info.KERNEL`.

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol, SymbolIndex};
use std::collections::BTreeMap;

/// Attributes: a kernel's or function's registers; its local memory with that of what it calls; the most threads of a
/// block.
const REGISTERS: u8 = 0x2f;
const STACK: u8 = 0x12;
const MOST_THREADS: u8 = 0x05;

/// What one kernel takes, of one architecture's code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block, without what the system reserves.
    pub shared: u32,
    /// Bytes of local memory of a thread: what is not in registers.
    pub local: u32,
    /// Threads of a block, where the kernel declares them.
    pub threads: Option<u32>,
}

/// An attribute, its words behind it.
struct Attribute {
    number: u8,
    words: Vec<u32>,
}

/// Records of four bytes: how the value is kept, the attribute, and a value of 16 bits, which for the fourth kind is
/// the number of bytes that follow.
fn attributes(mut bytes: &[u8]) -> Vec<Attribute> {
    const LONG: u8 = 4;
    let mut out = vec![];
    while let [kind, number, low, high, rest @ ..] = bytes {
        let long = if *kind == LONG { usize::from(u16::from_le_bytes([*low, *high])) } else { 0 };
        let (value, after) = rest.split_at(long);
        let words = value.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        out.push(Attribute { number: *number, words });
        bytes = after;
    }
    out
}

/// Every kernel of an image. `reserved`: bytes at the start of a block's shared memory that the system has for itself,
/// where a section counts them.
pub fn kernels(image: &[u8], reserved: u32) -> BTreeMap<String, Taken> {
    let file = ElfFile64::<LittleEndian>::parse(image).unwrap();
    let mut out = BTreeMap::new();
    // A kernel is what has attributes of its own; functions that are called have none.
    for section in file.sections() {
        let Some(kernel) = section.name().unwrap().strip_prefix(".nv.info.") else { continue };
        let own = attributes(section.data().unwrap());
        let threads = own.iter().find(|a| a.number == MOST_THREADS).map(|a| a.words.iter().product());
        out.insert(kernel.to_owned(), Taken { threads, ..Taken::default() });
    }
    for attribute in attributes(file.section_by_name(".nv.info").unwrap().data().unwrap()) {
        let &[symbol, value] = &attribute.words[..] else { continue };
        let symbol = file.symbol_by_index(SymbolIndex(symbol as usize)).unwrap();
        let Some(taken) = out.get_mut(symbol.name().unwrap()) else { continue };
        match attribute.number {
            REGISTERS => taken.registers = value,
            STACK => taken.local = value,
            _ => {}
        }
    }
    for (kernel, taken) in &mut out {
        if let Some(shared) = file.section_by_name(&format!(".nv.shared.{kernel}")) {
            taken.shared = u32::try_from(shared.size()).unwrap() - reserved;
        }
    }
    out
}
