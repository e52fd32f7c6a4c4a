//! Reads the parts of an ELF object that a BPF program consists of. Every offset and every index
//! in the file is somebody else's claim: each is checked where it is used.

use crate::error::LoadError;

/// Largest object that is looked at, in bytes.
pub(crate) const MAX_OBJECT: usize = 4 << 20;
const MAX_SECTIONS: usize = 1024;
const MAX_SYMBOLS: usize = 16_384;
const MAX_RELOCATIONS: usize = 65_536;
/// Longest name, and longest line of a source, in bytes.
const MAX_TEXT: usize = 1024;

const EM_BPF: u16 = 247;
const ET_REL: u16 = 1;

const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_NOBITS: u32 = 8;
const SHT_REL: u32 = 9;

const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXEC: u64 = 4;

type Result<T> = std::result::Result<T, LoadError>;

pub(crate) struct Section<'a> {
    pub name: &'a str,
    /// Empty for a section that has no bytes in the file.
    pub data: &'a [u8],
    pub size: u64,
    kind: u32,
    flags: u64,
    link: u32,
    info: u32,
}

impl Section<'_> {
    pub fn is_code(&self) -> bool {
        self.flags & SHF_EXEC != 0
    }

    pub fn is_writable(&self) -> bool {
        self.flags & SHF_WRITE != 0
    }

    /// Whether it lies in memory when the program runs.
    pub fn is_loaded(&self) -> bool {
        self.flags & SHF_ALLOC != 0
    }

    pub fn has_no_bytes(&self) -> bool {
        self.kind == SHT_NOBITS
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SymbolKind {
    Object,
    Function,
    Section,
    Other,
}

pub(crate) struct Symbol<'a> {
    pub name: &'a str,
    pub kind: SymbolKind,
    /// The section's number; `None`: defined elsewhere.
    pub section: Option<usize>,
    pub value: u64,
    pub size: u64,
}

#[derive(Clone, Copy)]
pub(crate) struct Relocation {
    pub offset: u64,
    pub symbol: usize,
    pub kind: u32,
}

pub(crate) struct Elf<'a> {
    pub sections: Vec<Section<'a>>,
    pub symbols: Vec<Symbol<'a>>,
}

/// A little-endian number of `N` bytes at `at`.
fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    bytes(data, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    bytes(data, at).map(u32::from_le_bytes)
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    bytes(data, at).map(u64::from_le_bytes)
}

fn slice(data: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    data.get(start..end)
}

/// The text that starts at `at` and ends before a zero byte.
pub(crate) fn text(strings: &[u8], at: u32) -> Option<&str> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let rest = rest.get(..MAX_TEXT).unwrap_or(rest);
    let end = rest.iter().position(|&b| b == 0)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

impl<'a> Elf<'a> {
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        check_header(file)?;
        let sections = parse_sections(file)?;
        let mut elf = Self { sections, symbols: Vec::new() };
        elf.symbols = elf.parse_symbols()?;
        Ok(elf)
    }

    /// What the linker has to fill in in section `number`.
    pub fn relocations(&self, number: usize) -> Result<Vec<Relocation>> {
        let mut all = Vec::new();
        for section in &self.sections {
            if usize::try_from(section.info) != Ok(number) {
                continue;
            }
            let name = section.name;
            match section.kind {
                SHT_REL => {}
                SHT_RELA => {
                    let why =
                        format!("section {name} has explicit addends, which BPF does not use");
                    return Err(LoadError::object(why));
                }
                _ => continue,
            }
            if section.data.len() % 16 != 0 {
                return Err(LoadError::object(format!("section {name} is cut off")));
            }
            if all.len() + section.data.len() / 16 > MAX_RELOCATIONS {
                let why =
                    format!("section {name} makes it more than {MAX_RELOCATIONS} relocations");
                return Err(LoadError::object(why));
            }
            for (index, entry) in section.data.chunks_exact(16).enumerate() {
                let (Some(offset), Some(info)) = (u64_at(entry, 0), u64_at(entry, 8)) else {
                    continue;
                };
                let symbol = (info >> 32) as usize;
                if symbol >= self.symbols.len() {
                    let why = format!("relocation {index} in {name} names symbol {symbol}");
                    return Err(LoadError::object(format!("{why}, which is not there")));
                }
                all.push(Relocation { offset, symbol, kind: info as u32 });
            }
        }
        Ok(all)
    }

    fn parse_symbols(&self) -> Result<Vec<Symbol<'a>>> {
        let mut tables = self.sections.iter().filter(|s| s.kind == SHT_SYMTAB);
        let Some(table) = tables.next() else {
            return Err(LoadError::object("there is no symbol table; was the object stripped?"));
        };
        if tables.next().is_some() {
            return Err(LoadError::object("there are two symbol tables"));
        }
        if table.data.len() % 24 != 0 || table.data.len() / 24 > MAX_SYMBOLS {
            let why = format!("the symbol table has {} bytes", table.data.len());
            return Err(LoadError::object(format!("{why}: cut off, or too many")));
        }
        let strings = usize::try_from(table.link).ok().and_then(|n| self.sections.get(n));
        let Some(strings) = strings else {
            return Err(LoadError::object("the symbol table has no names"));
        };
        let entries = table.data.chunks_exact(24).enumerate();
        entries.map(|(index, entry)| self.parse_symbol(strings.data, index, entry)).collect()
    }

    fn parse_symbol(&self, strings: &'a [u8], index: usize, entry: &[u8]) -> Result<Symbol<'a>> {
        let parse = || {
            let kind = match entry.get(4)? & 0xf {
                1 => SymbolKind::Object,
                2 => SymbolKind::Function,
                3 => SymbolKind::Section,
                _ => SymbolKind::Other,
            };
            // 0 is undefined; from 0xff00 on there are special numbers, which nothing here needs.
            let section = match u16_at(entry, 6)? {
                0 | 0xff00.. => None,
                number => {
                    Some(usize::from(number)).filter(|&n| n < self.sections.len()).map(Some)?
                }
            };
            let (value, size) = (u64_at(entry, 8)?, u64_at(entry, 16)?);
            Some(Symbol { name: text(strings, u32_at(entry, 0)?)?, kind, section, value, size })
        };
        parse().ok_or_else(|| {
            let why =
                format!("symbol {index} has no valid name, or lies in no section of the file");
            LoadError::object(why)
        })
    }
}

fn check_header(file: &[u8]) -> Result<()> {
    let why = if file.len() > MAX_OBJECT {
        format!("the file has {} bytes, at most {MAX_OBJECT} are read", file.len())
    } else if !file.starts_with(b"\x7fELF") {
        "this is not an ELF file".into()
    } else if file.len() < 64 {
        "the ELF header is cut off".into()
    } else if file.get(4..6) != Some(&[2, 1]) {
        "this is not a 64-bit little-endian ELF file; compile with -target bpf or bpfel".into()
    } else if u16_at(file, 18) != Some(EM_BPF) {
        "the code in this file is for another machine; compile with -target bpf".into()
    } else if u16_at(file, 16) != Some(ET_REL) {
        "this file was linked already; compile with -c".into()
    } else {
        return Ok(());
    };
    Err(LoadError::Object(why))
}

fn parse_sections(file: &[u8]) -> Result<Vec<Section<'_>>> {
    let cut_off = || LoadError::object("the table of sections lies outside of the file");
    let offset = u64_at(file, 40).ok_or_else(cut_off)?;
    let entry_size = u16_at(file, 58).ok_or_else(cut_off)?;
    let count = usize::from(u16_at(file, 60).ok_or_else(cut_off)?);
    let names = usize::from(u16_at(file, 62).ok_or_else(cut_off)?);
    if entry_size != 64 || count == 0 || count > MAX_SECTIONS {
        let why = format!("a table of {count} sections of {entry_size} bytes each is not valid");
        return Err(LoadError::object(why));
    }
    let table = slice(file, offset, count as u64 * 64).ok_or_else(cut_off)?;
    let headers: Vec<&[u8]> = table.chunks_exact(64).collect();
    let strings = headers
        .get(names)
        .and_then(|h| slice(file, u64_at(h, 24)?, u64_at(h, 32)?))
        .ok_or_else(|| LoadError::object("the names of the sections lie outside of the file"))?;
    let sections = headers.iter().enumerate();
    sections.map(|(index, header)| parse_section(file, strings, index, header)).collect()
}

fn parse_section<'a>(
    file: &'a [u8],
    strings: &'a [u8],
    index: usize,
    header: &[u8],
) -> Result<Section<'a>> {
    let fields = || {
        let (name, kind) = (u32_at(header, 0)?, u32_at(header, 4)?);
        let (flags, offset, size) = (u64_at(header, 8)?, u64_at(header, 24)?, u64_at(header, 32)?);
        Some((name, kind, flags, offset, size, u32_at(header, 40)?, u32_at(header, 44)?))
    };
    let Some((name, kind, flags, offset, size, link, info)) = fields() else {
        return Err(LoadError::object(format!("section {index} is cut off")));
    };
    let Some(name) = text(strings, name) else {
        return Err(LoadError::object(format!("section {index} has no valid name")));
    };
    let data = match kind {
        // The first entry of the table is none, and what it says of a size means something else.
        0 | SHT_NOBITS => &[],
        _ => slice(file, offset, size).ok_or_else(|| {
            LoadError::object(format!("section {index} ({name}) lies outside of the file"))
        })?,
    };
    Ok(Section { name, data, size, kind, flags, link, info })
}
