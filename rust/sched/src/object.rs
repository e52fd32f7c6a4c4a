//! From an ELF object to one program: the scheduler's struct, its callbacks, the functions that
//! they reach, and the sections of global variables, with every relocation resolved.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::abi::{Callback, Kfunc, OPS_NAME, OPS_SIZE};
use crate::elf::{Elf, Relocation, Symbol, SymbolKind};
use crate::error::LoadError;
use crate::insn::{Insn, Raw, Reg};
use crate::lines::Lines;

/// Most instructions of a program, all functions together.
pub(crate) const MAX_INSNS: usize = 16_384;
/// Most functions.
pub(crate) const MAX_FUNCTIONS: usize = 256;
/// Most bytes of global variables.
pub(crate) const MAX_GLOBALS: usize = 64 << 10;

/// How `.struct_ops` points to functions, and code to global variables, functions and kfuncs.
const R_BPF_64_64: u32 = 1;
const R_BPF_64_ABS64: u32 = 2;
const R_BPF_64_32: u32 = 10;

/// In a call's source register: to a function of the program, or to one of the engine.
const PSEUDO_CALL: u8 = 1;
const PSEUDO_KFUNC_CALL: u8 = 2;

type Result<T> = std::result::Result<T, LoadError>;

/// A function of the program.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub name: String,
    /// Its instructions in `Linked::insns`.
    pub range: Range<usize>,
    /// The line of the source that each comes from, if the object says so.
    pub lines: Vec<Option<String>>,
}

/// A section of global variables.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    pub name: String,
    /// What they hold when a connection begins.
    pub data: Vec<u8>,
    pub is_writable: bool,
}

/// A program, decoded and linked, not yet verified.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    pub name: String,
    pub insns: Vec<Insn>,
    pub functions: Vec<Function>,
    pub globals: Vec<Globals>,
    /// The function of each callback, in the order of `Callback::ALL`.
    pub entries: [Option<usize>; Callback::ALL.len()],
}

impl Linked {
    /// The function that holds an instruction, and the instruction's number in it.
    pub fn locate(&self, index: usize) -> Option<(&Function, usize)> {
        let function = self.functions.iter().find(|f| f.range.contains(&index))?;
        Some((function, index - function.range.start))
    }
}

/// Reads an object with one scheduler.
pub(crate) fn link(file: &[u8]) -> Result<Linked> {
    let elf = Elf::parse(file)?;
    let mut linker = Linker::new(&elf);
    let (name, entries) = linker.scheduler()?;
    let mut insns = Vec::new();
    // Functions are found while others are decoded.
    let mut next = 0;
    while let Some(found) = linker.functions.get(next) {
        linker.decode(&found.clone(), &mut insns)?;
        next += 1;
    }
    let functions = linker.placed();
    let starts: Vec<(usize, usize)> =
        functions.iter().map(|f| (f.range.start, f.range.len())).collect();
    for insn in &mut insns {
        if let Insn::Call { target, length } = insn {
            let (start, len) = starts.get(*target as usize).copied().unwrap_or_default();
            (*target, *length) = (start as u32, len as u32);
        }
    }
    let globals = linker.globals.into_iter().map(|(_, globals)| globals).collect();
    Ok(Linked { name, insns, functions, globals, entries })
}

/// A function in the file.
#[derive(Clone)]
struct Found<'a> {
    name: &'a str,
    section: usize,
    /// Bytes in the section.
    range: Range<usize>,
    lines: Vec<Option<String>>,
}

struct Linker<'a> {
    elf: &'a Elf<'a>,
    /// The symbols of all functions in the file, by section and offset.
    symbols: BTreeMap<(usize, u64), &'a Symbol<'a>>,
    /// The relocations of sections of code, by section and offset.
    relocations: BTreeMap<usize, BTreeMap<u64, Relocation>>,
    functions: Vec<Found<'a>>,
    lines: BTreeMap<usize, Option<Lines<'a>>>,
    /// By the section's number.
    globals: Vec<(usize, Globals)>,
    /// Instructions of all functions.
    size: usize,
}

fn fail<T>(reason: impl Into<String>) -> Result<T> {
    Err(LoadError::object(reason))
}

impl<'a> Linker<'a> {
    fn new(elf: &'a Elf<'a>) -> Self {
        let functions = elf.symbols.iter().filter(|s| s.kind == SymbolKind::Function);
        Self {
            elf,
            symbols: functions.filter_map(|s| Some(((s.section?, s.value), s))).collect(),
            relocations: BTreeMap::new(),
            functions: Vec::new(),
            lines: BTreeMap::new(),
            globals: Vec::new(),
            size: 0,
        }
    }

    /// The name and the callbacks of the one `struct tquic_scheduler_ops`.
    fn scheduler(&mut self) -> Result<(String, [Option<usize>; Callback::ALL.len()])> {
        let is_ops = |name: &str| name == ".struct_ops" || name == ".struct_ops.link";
        let sections = self.elf.sections.iter().enumerate();
        let mut sections = sections.filter(|(_, s)| is_ops(s.name) && !s.data.is_empty());
        let Some((number, section)) = sections.next() else {
            return fail(
                "there is no scheduler: no section .struct_ops with a struct tquic_scheduler_ops",
            );
        };
        let all = &self.elf.symbols;
        let objects = all.iter().filter(|s| s.kind == SymbolKind::Object);
        let structs = objects.filter(|s| s.section == Some(number)).count();
        if section.data.len() != OPS_SIZE || structs > 1 || sections.next().is_some() {
            return fail(format!(
                "section {} has {} bytes in {structs} variables; a scheduler is one struct \
                 tquic_scheduler_ops of {OPS_SIZE} bytes",
                section.name,
                section.data.len(),
            ));
        }
        let name = scheduler_name(section.data)?;
        let mut entries = [None; Callback::ALL.len()];
        for relocation in self.elf.relocations(number)? {
            let slot = usize::try_from(relocation.offset)
                .ok()
                .and_then(|o| o.checked_sub(OPS_NAME))
                .filter(|o| o % 8 == 0)
                .and_then(|o| entries.get_mut(o / 8));
            let (Some(slot), R_BPF_64_64 | R_BPF_64_ABS64) = (slot, relocation.kind) else {
                return fail(format!(
                    "section {}: a relocation of kind {} at offset {} is no function pointer",
                    section.name, relocation.kind, relocation.offset
                ));
            };
            let Some(symbol) = self.elf.symbols.get(relocation.symbol) else { continue };
            *slot = Some(self.function(symbol, 0)?);
        }
        let callbacks = Callback::ALL.iter().zip(entries.iter());
        if let Some((callback, _)) =
            callbacks.into_iter().find(|(c, e)| **c == Callback::SelectPath && e.is_none())
        {
            return fail(format!("scheduler {name} has no function {}", callback.name()));
        }
        Ok((name, entries))
    }

    /// The number of the function at `symbol` + `offset`, which joins the program if it is new.
    fn function(&mut self, symbol: &Symbol<'a>, offset: u64) -> Result<usize> {
        let what = if symbol.name.is_empty() { "a section" } else { symbol.name };
        let (Some(section), Some(start)) = (symbol.section, symbol.value.checked_add(offset))
        else {
            return fail(format!("{what} is not defined in this object"));
        };
        let Some(&symbol) = self.symbols.get(&(section, start)) else {
            return fail(format!(
                "no function begins at byte {start} of {what}; were symbols stripped?"
            ));
        };
        let name = symbol.name;
        let code = self.elf.sections.get(section).filter(|s| s.is_code());
        let end = start.checked_add(symbol.size);
        let range = code.zip(end).and_then(|(code, end)| {
            let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
            let whole = range.start % Raw::SIZE == 0 && range.len() % Raw::SIZE == 0;
            (whole && !range.is_empty() && code.data.get(range.clone()).is_some()).then_some(range)
        });
        let Some(range) = range else {
            return fail(format!("function {name} does not lie in a section of code"));
        };
        let known = self.functions.iter().position(|f| f.section == section && f.range == range);
        if let Some(number) = known {
            return Ok(number);
        }
        self.size += range.len() / Raw::SIZE;
        if self.size > MAX_INSNS || self.functions.len() >= MAX_FUNCTIONS {
            return fail(format!(
                "with function {name} the program has more than {MAX_INSNS} instructions or \
                 {MAX_FUNCTIONS} functions"
            ));
        }
        let lines = self.source_lines(section, &range);
        self.functions.push(Found { name, section, range, lines });
        Ok(self.functions.len() - 1)
    }

    /// The line of the source for each instruction in these bytes of a section.
    fn source_lines(&mut self, section: usize, range: &Range<usize>) -> Vec<Option<String>> {
        let elf = self.elf;
        let all = self.lines.entry(section).or_insert_with(|| {
            let section = elf.sections.get(section)?;
            Lines::of(elf, section.name)
        });
        let offsets = range.clone().step_by(Raw::SIZE);
        offsets.map(|offset| all.as_ref()?.at(offset as u64)).collect()
    }

    /// Appends a function's instructions. Calls name the number of the function until all are
    /// placed.
    fn decode(&mut self, found: &Found<'a>, insns: &mut Vec<Insn>) -> Result<()> {
        let Found { name, section, ref range, ref lines } = *found;
        if !self.relocations.contains_key(&section) {
            let all = self.elf.relocations(section)?.into_iter().map(|r| (r.offset, r)).collect();
            self.relocations.insert(section, all);
        }
        let code = self.elf.sections.get(section).map_or(&[][..], |s| s.data);
        let raws: Vec<Raw> = code
            .get(range.clone())
            .unwrap_or_default()
            .chunks_exact(Raw::SIZE)
            .filter_map(|c| c.try_into().ok().map(Raw::parse))
            .collect();
        let first = insns.len();
        let all = first..first + raws.len();
        let mut index = 0;
        while let Some(&raw) = raws.get(index) {
            let offset = (range.start + index * Raw::SIZE) as u64;
            let relocation =
                self.relocations.get(&section).and_then(|all| all.get(&offset)).copied();
            let next = raws.get(index + 1).copied();
            let decoded = if raw.is_load_imm() {
                self.load_imm(raw, next, relocation)
            } else if raw.is_call() {
                let here = (offset / Raw::SIZE as u64, section);
                self.call(raw, here, relocation)
            } else if relocation.is_some() {
                Err("a relocation of something that is neither a call nor an address".into())
            } else {
                raw.decode(first + index, &all)
            };
            let insn = decoded.map_err(|reason| {
                let source = lines.get(index).cloned().flatten();
                let source = source.map_or(String::new(), |line| format!(" ({line})"));
                LoadError::object(format!("{name}, instruction {index}{source}: {reason}"))
            })?;
            insns.push(insn);
            index += 1;
            if raw.is_load_imm() {
                insns.push(Insn::Pad);
                index += 1;
            }
        }
        for (index, insn) in insns.iter().enumerate().skip(first) {
            let (Insn::Goto { target } | Insn::Branch { target, .. }) = insn else { continue };
            if insns.get(*target as usize) == Some(&Insn::Pad) {
                let why = "a jump into the middle of a 64-bit constant";
                return fail(format!("{name}, instruction {}: {why}", index - first));
            }
        }
        Ok(())
    }

    fn load_imm(
        &mut self,
        low: Raw,
        high: Option<Raw>,
        relocation: Option<Relocation>,
    ) -> std::result::Result<Insn, String> {
        let dst = Reg::new(low.dst).ok_or("there is no such register")?;
        let high = high.filter(|h| h.code == 0 && h.dst == 0 && h.src == 0 && h.off == 0);
        let high = high.ok_or("a 64-bit constant lacks its second half")?;
        let value = u64::from(low.imm as u32) | u64::from(high.imm as u32) << 32;
        let Some(relocation) = relocation else {
            if low.src != 0 {
                return Err("an address of a map or of a variable of the kernel".into());
            }
            return Ok(Insn::LoadImm { dst, value });
        };
        let symbol = self.elf.symbols.get(relocation.symbol).ok_or("no such symbol")?;
        let Some(section) = symbol.section else {
            return Err(format!("{} is not defined in this object", symbol.name));
        };
        if relocation.kind != R_BPF_64_64 {
            return Err(format!("a relocation of kind {} for an address", relocation.kind));
        }
        let offset = symbol.value.checked_add(value).and_then(|o| u32::try_from(o).ok());
        let offset = offset.ok_or("an address outside of its section")?;
        let section = self.global_section(section, symbol.name)?;
        Ok(Insn::LoadGlobal { dst, section, offset })
    }

    /// The number of a section of global variables, which joins the program if it is new.
    fn global_section(&mut self, number: usize, symbol: &str) -> std::result::Result<u8, String> {
        if let Some(known) = self.globals.iter().position(|(n, _)| *n == number) {
            return u8::try_from(known).map_err(|_| "too many sections".to_owned());
        }
        let section = self.elf.sections.get(number).ok_or("no such section")?;
        let name = section.name;
        if section.is_code() {
            return Err(format!(
                "the address of {symbol}: pointers to functions are not supported"
            ));
        }
        if matches!(name, ".maps" | "maps") {
            return Err(format!(
                "{symbol} is a map; there are none here, global variables belong to one connection"
            ));
        }
        if !section.is_loaded() || name.starts_with(".struct_ops") {
            return Err(format!("{symbol} lies in {name}, which holds no global variables"));
        }
        let relocations = self.elf.relocations(number).map_err(|e| e.to_string())?;
        if !relocations.is_empty() {
            return Err(format!("{name} holds addresses; global pointers are not supported"));
        }
        let used: usize = self.globals.iter().map(|(_, g)| g.data.len()).sum();
        let size = usize::try_from(section.size).unwrap_or(usize::MAX);
        if size.saturating_add(used) > MAX_GLOBALS || self.globals.len() >= 64 {
            return Err(format!(
                "{name} has {size} bytes; a program has at most {MAX_GLOBALS} of global variables"
            ));
        }
        let data = if section.has_no_bytes() { vec![0; size] } else { section.data.to_vec() };
        let is_writable = section.is_writable();
        self.globals.push((number, Globals { name: name.to_owned(), data, is_writable }));
        u8::try_from(self.globals.len() - 1).map_err(|_| "too many sections".to_owned())
    }

    /// A call at the instruction and in the section `here`.
    fn call(
        &mut self,
        raw: Raw,
        (index, section): (u64, usize),
        relocation: Option<Relocation>,
    ) -> std::result::Result<Insn, String> {
        if let Some(relocation) = relocation {
            if relocation.kind != R_BPF_64_32 {
                return Err(format!("a relocation of kind {} for a call", relocation.kind));
            }
            let symbol = self.elf.symbols.get(relocation.symbol).ok_or("no such symbol")?;
            if symbol.section.is_none() {
                let kfunc = Kfunc::by_name(symbol.name);
                return kfunc.map(Insn::Kfunc).ok_or_else(|| unknown_function(symbol.name));
            }
            let offset = (i64::from(raw.imm) + 1).checked_mul(Raw::SIZE as i64);
            let offset = offset.and_then(|o| u64::try_from(o).ok()).ok_or("a call to nowhere")?;
            return self.call_function(symbol, offset);
        }
        match raw.src {
            0 => Err(format!(
                "helper function number {} is not available, only those of tquic_bpf.h",
                raw.imm
            )),
            PSEUDO_CALL => {
                let target = (index + 1).checked_add_signed(raw.imm.into());
                let offset = target.and_then(|t| t.checked_mul(Raw::SIZE as u64));
                let offset = offset.ok_or("a call to nowhere")?;
                let here = Symbol {
                    name: self.elf.sections.get(section).map_or("", |s| s.name),
                    kind: SymbolKind::Section,
                    section: Some(section),
                    value: 0,
                    size: 0,
                };
                self.call_function(&here, offset)
            }
            PSEUDO_KFUNC_CALL => Err("a call to a function of a kernel, by its number".into()),
            other => Err(format!("there is no call of kind {other}")),
        }
    }

    fn call_function(
        &mut self,
        symbol: &Symbol<'a>,
        offset: u64,
    ) -> std::result::Result<Insn, String> {
        let number = self.function(symbol, offset).map_err(|e| e.to_string())?;
        Ok(Insn::Call { target: number as u32, length: 0 })
    }

    /// The functions where they lie in the program.
    fn placed(&self) -> Vec<Function> {
        let mut start = 0;
        let place = |f: &Found<'_>| {
            let range = start..start + f.range.len() / Raw::SIZE;
            start = range.end;
            Function { name: f.name.to_owned(), range, lines: f.lines.clone() }
        };
        self.functions.iter().map(place).collect()
    }
}

fn unknown_function(name: &str) -> String {
    let known: Vec<&str> = Kfunc::ALL.iter().map(|k| k.name()).collect();
    format!("there is no function {name}; there are {}", known.join(", "))
}

/// The name, which is not empty and ends in a zero.
fn scheduler_name(data: &[u8]) -> Result<String> {
    let field = data.get(..OPS_NAME).unwrap_or_default();
    let name = field.split(|&b| b == 0).next().unwrap_or_default();
    let is_printable = name.iter().all(u8::is_ascii_graphic);
    if name.is_empty() || name.len() == OPS_NAME || !is_printable {
        return fail(format!(
            "the scheduler's name is {:?}; it must have 1 to {} printable ASCII characters",
            String::from_utf8_lossy(name),
            OPS_NAME - 1
        ));
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}
