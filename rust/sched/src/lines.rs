//! Which line of the source an instruction comes from, where the object says so (`clang -g`): the
//! line records of .BTF.ext, whose texts lie in .BTF. Nothing depends on them but messages, so what
//! does not make sense is passed over.

use crate::elf::{Elf, text, u32_at};

/// Most of a line's text that is shown, in characters.
const MAX_TEXT: usize = 100;

/// The lines of one section of code.
pub(crate) struct Lines<'a> {
    strings: &'a [u8],
    /// Offset in the section, file, text, and number with column; by the offset.
    records: Vec<[u32; 4]>,
}

impl<'a> Lines<'a> {
    /// Those of the section with this name.
    pub fn of(elf: &Elf<'a>, section: &str) -> Option<Self> {
        let data = |name| elf.sections.iter().find(|s| s.name == name).map(|s| s.data);
        let (types, extra) = (data(".BTF")?, data(".BTF.ext")?);
        let strings =
            types.get(size(u32_at(types, 4)?)?.checked_add(size(u32_at(types, 16)?)?)?..)?;
        let start = size(u32_at(extra, 4)?)?.checked_add(size(u32_at(extra, 16)?)?)?;
        let info = extra.get(start..start.checked_add(size(u32_at(extra, 20)?)?)?)?;
        let record_size = size(u32_at(info, 0)?)?.max(16);
        let mut rest = info.get(4..)?;
        while let (Some(name), Some(count)) = (u32_at(rest, 0), u32_at(rest, 4)) {
            let length = size(count)?.checked_mul(record_size)?;
            let records = rest.get(8..)?.get(..length)?;
            if text(strings, name) == Some(section) {
                let fields =
                    |r: &[u8]| Some([u32_at(r, 0)?, u32_at(r, 4)?, u32_at(r, 8)?, u32_at(r, 12)?]);
                let mut records: Vec<_> =
                    records.chunks_exact(record_size).filter_map(fields).collect();
                records.sort_by_key(|r| r[0]);
                return Some(Self { strings, records });
            }
            rest = rest.get(8 + length..)?;
        }
        None
    }

    /// File, line number and text for the byte at `offset` of the section.
    pub fn at(&self, offset: u64) -> Option<String> {
        let after = self.records.partition_point(|r| u64::from(r[0]) <= offset);
        let [_, file, line, place] = self.records.get(after.checked_sub(1)?)?;
        let line: String = text(self.strings, *line)?.trim().chars().take(MAX_TEXT).collect();
        let file = text(self.strings, *file)?.rsplit('/').next()?;
        let file: String = file.chars().take(MAX_TEXT).collect();
        Some(format!("{file}:{}: {line}", place >> 10))
    }
}

fn size(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}
