//! Writes ELF objects as clang does, and wrong ones as clang does not.

use std::ops::Range;

/// The sections, by their numbers.
pub const CODE: u16 = 1;
pub const OPS: u16 = 2;
pub const BSS: u16 = 3;
pub const RODATA: u16 = 4;

/// How clang points from code to data, to functions from data, and from calls to functions.
pub const TO_DATA: u32 = 1;
pub const TO_FUNCTION: u32 = 2;
pub const CALL: u32 = 10;

/// One instruction.
pub fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let [o0, o1] = off.to_le_bytes();
    let [i0, i1, i2, i3] = imm.to_le_bytes();
    [code, src << 4 | dst, o0, o1, i0, i1, i2, i3]
}

/// What an object is made of.
#[derive(Clone)]
pub struct Object {
    pub name: Vec<u8>,
    pub code: Vec<u8>,
    /// Functions by name, with their bytes in the code.
    pub functions: Vec<(String, Range<usize>)>,
    /// The number of the function for the numbered callback.
    pub callbacks: Vec<(usize, usize)>,
    /// Offset in the code, symbol and kind.
    pub relocations: Vec<(usize, String, u32)>,
    pub bss: usize,
    pub rodata: Vec<u8>,
}

impl Object {
    /// One function for `select_path`.
    pub fn select(code: &[[u8; 8]]) -> Self {
        let code = code.concat();
        let functions = vec![("select".to_owned(), 0..code.len())];
        Self {
            name: b"drawn".to_vec(),
            code,
            functions,
            callbacks: vec![(2, 0)],
            relocations: Vec::new(),
            bss: 64,
            rodata: (0..32).collect(),
        }
    }

    /// Adds a function; where its code begins.
    pub fn function(&mut self, name: &str, code: &[[u8; 8]]) -> usize {
        let start = self.code.len();
        self.code.extend(code.concat());
        self.functions.push((name.to_owned(), start..self.code.len()));
        start
    }

    pub fn relocate(mut self, index: usize, symbol: &str, kind: u32) -> Self {
        self.relocations.push((index * 8, symbol.to_owned(), kind));
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut symbols = vec![0; 24];
        let mut names: Vec<String> = Vec::new();
        let mut symbol = |name: &str, kind: u8, section: u16, value: usize, size: usize| {
            if let Some(known) = names.iter().position(|n| n == name) {
                return known as u64 + 1;
            }
            names.push(name.to_owned());
            symbols.extend((strings.len() as u32).to_le_bytes());
            symbols.extend([0x10 | kind, 0]);
            symbols.extend(section.to_le_bytes());
            symbols.extend((value as u64).to_le_bytes());
            symbols.extend((size as u64).to_le_bytes());
            strings.extend(name.bytes());
            strings.push(0);
            names.len() as u64
        };
        symbol(".bss", 3, BSS, 0, 0);
        symbol(".rodata", 3, RODATA, 0, 0);
        symbol("ops", 1, OPS, 0, 72);
        for (name, range) in &self.functions {
            symbol(name, 2, CODE, range.start, range.len());
        }
        let entry = |offset: usize, symbol: u64, kind: u32| {
            [(offset as u64).to_le_bytes(), (symbol << 32 | u64::from(kind)).to_le_bytes()].concat()
        };
        let mut code_relocations = Vec::new();
        for (offset, name, kind) in &self.relocations {
            code_relocations.extend(entry(*offset, symbol(name, 0, 0, 0, 0), *kind));
        }
        let mut ops = self.name.clone();
        ops.resize(72, 0);
        let mut ops_relocations = Vec::new();
        for (callback, function) in &self.callbacks {
            let number = symbol(&self.functions[*function].0, 2, CODE, 0, 0);
            ops_relocations.extend(entry(16 + 8 * callback, number, TO_FUNCTION));
        }
        let none: &[u8] = &[];
        // Name, type, flags, bytes, link, info, and the size if there are no bytes.
        let sections = [
            ("", 0, 0, none, 0, 0, 0),
            ("struct_ops", 1, 6, &self.code, 0, 0, 0),
            (".struct_ops", 1, 3, &ops, 0, 0, 0),
            (".bss", 8, 3, none, 0, 0, self.bss),
            (".rodata", 1, 2, &self.rodata, 0, 0, 0),
            (".relstruct_ops", 9, 0, &code_relocations, 7, CODE.into(), 0),
            (".rel.struct_ops", 9, 0, &ops_relocations, 7, OPS.into(), 0),
            (".symtab", 2, 0, &symbols, 8, 1, 0),
            (".strtab", 3, 0, &strings, 0, 0, 0),
        ];
        file(&sections)
    }
}

type Section<'a> = (&'a str, u32, u64, &'a [u8], u32, u32, usize);

fn file(sections: &[Section<'_>]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    let mut names = Vec::new();
    let mut headers = Vec::new();
    let mut header =
        |name: u32, (_, kind, flags, data, link, info, size): Section<'_>, at: usize| {
            let size = if data.is_empty() { size } else { data.len() };
            headers.extend([name, kind].map(u32::to_le_bytes).concat());
            headers.extend([flags, 0, at as u64, size as u64].map(u64::to_le_bytes).concat());
            headers.extend([link, info].map(u32::to_le_bytes).concat());
            headers.extend([1u64, 0].map(u64::to_le_bytes).concat());
        };
    for section in sections {
        header(names.len() as u32, *section, 64 + body.len());
        body.extend(section.3);
        names.extend(section.0.bytes());
        names.push(0);
    }
    let own = names.len() as u32;
    names.extend(b".shstrtab\0");
    header(own, (".shstrtab", 3, 0, &names, 0, 0, 0), 64 + body.len());
    body.extend(&names);
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([1u16, 247].map(u16::to_le_bytes).concat());
    elf.extend(1u32.to_le_bytes());
    elf.extend([0, 0, 64 + body.len() as u64].map(u64::to_le_bytes).concat());
    elf.extend(0u32.to_le_bytes());
    let count = sections.len() as u16;
    elf.extend([64u16, 0, 0, 64, count + 1, count].map(u16::to_le_bytes).concat());
    elf.extend(body);
    elf.extend(headers);
    elf
}
