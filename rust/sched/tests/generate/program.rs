//! Programs drawn from bytes: most are accepted, and the rest is wrong in interesting ways.

use super::Source;
use super::object::{CALL, Object, TO_DATA, insn};

/// The functions of the engine that ask about one path.
const ASKS: [&str; 9] = [
    "bpf_tquic_path_is_usable",
    "bpf_tquic_path_is_active",
    "bpf_tquic_path_get_srtt_us",
    "bpf_tquic_path_get_min_rtt_us",
    "bpf_tquic_path_get_bandwidth",
    "bpf_tquic_path_get_cwnd",
    "bpf_tquic_path_get_bytes_in_flight",
    "bpf_tquic_path_get_loss_rate",
    "bpf_tquic_path_can_send",
];

/// And those that ask about all.
const FINDS: [&str; 5] = [
    "bpf_tquic_get_primary_path",
    "bpf_tquic_get_backup_path",
    "bpf_tquic_get_path_count",
    "bpf_tquic_get_active_path_count",
    "bpf_tquic_path_next",
];

/// An object with some callbacks and two functions that they share.
pub fn object(source: &mut Source<'_>) -> Vec<u8> {
    let mut object = Object::select(&[]);
    object.functions.clear();
    object.callbacks.clear();
    object.bss = 64 + usize::from(source.below(64));
    // Init, select_path, on_packet_acked, on_path_change.
    for (number, callback) in [0, 2, 4, 6].into_iter().enumerate() {
        let code = Writer::callback(source, callback);
        code.join(&mut object, &format!("callback{callback}"));
        object.callbacks.push((callback, number));
    }
    for (number, name) in ["first", "second"].into_iter().enumerate() {
        // The second calls none: there would be no end.
        Writer::shared(source, number == 0).join(&mut object, name);
    }
    object.build()
}

/// A function that is being written.
#[derive(Default)]
struct Writer {
    code: Vec<[u8; 8]>,
    relocations: Vec<(usize, String, u32)>,
    /// What it may call.
    callee: Option<&'static str>,
    /// Where it keeps the scheduler and the context, if it has them.
    is_callback: bool,
    depth: u8,
}

impl Writer {
    fn callback(source: &mut Source<'_>, callback: usize) -> Self {
        let callee = Some(if source.below(2) == 0 { "first" } else { "second" });
        let mut writer = Self { callee, is_callback: true, ..Self::default() };
        writer.put(0x79, 6, 1, 0, 0);
        writer.put(0x79, 7, 1, if callback == 2 { 8 } else { 0 }, 0);
        writer.body(source);
        match (callback, source.below(3)) {
            (2, 0) => {
                writer.put(0xbf, 1, 6, 0, 0);
                writer.ask(FINDS[usize::from(source.below(2))]);
            }
            _ => writer.put(0xb7, 0, 0, 0, 0),
        }
        writer.put(0x95, 0, 0, 0, 0);
        writer
    }

    fn shared(source: &mut Source<'_>, calls: bool) -> Self {
        let callee = calls.then_some("second");
        let mut writer = Self { callee, ..Self::default() };
        writer.body(source);
        writer.put(0x95, 0, 0, 0, 0);
        writer
    }

    fn put(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.code.push(insn(code, dst, src, off, imm));
    }

    fn relocate(&mut self, symbol: &str, kind: u32) {
        self.relocations.push((self.code.len() * 8, symbol.to_owned(), kind));
    }

    fn body(&mut self, source: &mut Source<'_>) {
        for reg in [0, 1, 2, 3, 4, 5, 8, 9] {
            self.put(0xb7, reg, 0, 0, source.i32());
        }
        for _ in 0..source.below(24) {
            self.statement(source);
        }
    }

    /// A register that holds a number, most of the time.
    fn reg(source: &mut Source<'_>) -> u8 {
        const REGS: [u8; 16] = [0, 1, 2, 3, 4, 5, 8, 9, 0, 1, 2, 3, 4, 8, 9, 6];
        let known = if source.below(64) == 0 { 16 } else { 15 };
        REGS[usize::from(source.below(known))]
    }

    fn statement(&mut self, source: &mut Source<'_>) {
        if source.is_empty() {
            return;
        }
        match source.below(16) {
            0..=4 => self.alu(source),
            5 | 6 => self.stack(source),
            7 | 8 => self.globals(source),
            9 | 10 => self.branch(source),
            11 => self.repeat(source),
            12 => self.paths(source),
            13 => self.subprogram(source),
            14 => self.own(source),
            _ => {
                let bytes = source.u64().to_le_bytes();
                // Anything at all, now and then.
                if bytes[7] & 7 == 0 {
                    self.code.push(bytes);
                }
            }
        }
    }

    fn alu(&mut self, source: &mut Source<'_>) {
        let (dst, src, imm) = (Self::reg(source), Self::reg(source), source.i32());
        let class = if source.below(2) == 0 { 0x04 } else { 0x07 };
        match source.below(16) {
            14 => self.put(0x84 | class, dst, 0, 0, 0),
            15 => {
                let bits = [16, 32, 64][usize::from(source.below(3))];
                self.put(0xd4 | source.below(2) << 3, dst, 0, 0, bits);
            }
            kind => {
                let op = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 5, 11][usize::from(kind)];
                let shift = matches!(op, 6 | 7 | 12);
                let divide = matches!(op, 3 | 9);
                if source.below(2) == 0 {
                    self.put(op << 4 | 8 | class, dst, src, 0, 0);
                } else {
                    let imm = match imm {
                        _ if shift => imm & if class == 4 { 31 } else { 63 },
                        0 if divide => 1,
                        other => other,
                    };
                    self.put(op << 4 | class, dst, 0, 0, imm);
                }
            }
        }
    }

    /// Writes to the stack and reads from it, or copies a pointer over it.
    fn stack(&mut self, source: &mut Source<'_>) {
        let slot = -8 * (1 + i16::from(source.below(6)));
        let (store, load) = ([0x7b, 0x63, 0x6b, 0x73], [0x79, 0x61, 0x69, 0x71]);
        let (wide, narrow) = (usize::from(source.below(4)), usize::from(source.below(4)));
        self.put(0x7a, 10, 0, slot, source.i32());
        let byte = i16::from(source.below(8)) & -(1 << (3 - wide));
        self.put(store[wide], 10, Self::reg(source), slot + byte, 0);
        let byte = i16::from(source.below(8)) & -(1 << (3 - narrow));
        self.put(load[narrow], Self::reg(source), 10, slot + byte, 0);
    }

    /// Reads and writes global variables at a place that is computed and, mostly, made to fit.
    fn globals(&mut self, source: &mut Source<'_>) {
        // r1 will point there.
        let (index, value) = (Self::reg(source), Self::reg(source));
        let (index, value) =
            (if index == 1 { 8 } else { index }, if value == 1 { 3 } else { value });
        let is_constant = source.below(4) == 0;
        match source.below(3) {
            0 => self.put(0x57, index, 0, 0, if is_constant { 15 } else { 0x38 }),
            1 => self.put(0x54, index, 0, 0, 7),
            _ => {
                let limit = if is_constant { 24 } else { 56 + i32::from(source.below(4)) };
                // Skips the rest if it does not fit.
                let signed = if source.below(8) == 0 { 0x65 } else { 0x25 };
                self.put(signed, index, 0, 5, limit);
            }
        }
        self.relocate(if is_constant { ".rodata" } else { ".bss" }, TO_DATA);
        let at = i32::from(source.below(2)) * 8;
        self.put(0x18, 1, 0, 0, at);
        self.put(0, 0, 0, 0, 0);
        self.put(0x0f, 1, index, 0, 0);
        self.put([0x79, 0x61, 0x71, 0x69][usize::from(source.below(4))], value, 1, 0, 0);
        if is_constant {
            self.put(0xb7, 1, 0, 0, 0);
        } else {
            let off = -i16::from(source.below(32) == 0);
            self.put([0x7b, 0x63, 0x73][usize::from(source.below(3))], 1, value, off, 0);
        }
        self.put(0xb7, 1, 0, 0, source.i32());
    }

    fn condition(source: &mut Source<'_>) -> u8 {
        let op = [1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13][usize::from(source.below(11))];
        op << 4 | if source.below(3) == 0 { 0x06 } else { 0x05 }
    }

    fn branch(&mut self, source: &mut Source<'_>) {
        let (code, dst, src) = (Self::condition(source), Self::reg(source), Self::reg(source));
        let at = self.code.len();
        let by_reg = source.below(2) == 0;
        let imm = source.i32();
        self.put(0, 0, 0, 0, 0);
        self.block(source);
        let distance = (self.code.len() - at - 1) as i16;
        self.code[at] = if by_reg {
            insn(code | 8, dst, src, distance, 0)
        } else {
            insn(code, dst, 0, distance, imm)
        };
    }

    fn block(&mut self, source: &mut Source<'_>) {
        if self.depth >= 3 {
            return;
        }
        self.depth += 1;
        for _ in 0..source.below(4) {
            self.statement(source);
        }
        self.depth -= 1;
    }

    /// A loop that counts, if nothing in it changes the counter, and may not end.
    fn repeat(&mut self, source: &mut Source<'_>) {
        let counter = 8 + source.below(2);
        self.put(0xb7, counter, 0, 0, i32::from(source.below(20)));
        let start = self.code.len();
        self.block(source);
        self.put(0x07, counter, 0, 0, if source.below(2) == 0 { 1 } else { -1 });
        let back = (start as i64 - self.code.len() as i64 - 1) as i16;
        match source.below(3) {
            0 => self.put(0x55, counter, 0, back, 0),
            1 => self.put(0xa5, counter, 0, back, i32::from(source.below(60))),
            _ => self.put(Self::condition(source), counter, 0, back, source.i32()),
        }
    }

    fn ask(&mut self, name: &str) {
        self.relocate(name, CALL);
        self.put(0x85, 0, 2, 0, -1);
    }

    /// Numbers where a call left nothing.
    fn refill(&mut self, source: &mut Source<'_>) {
        for reg in 1..=5 {
            self.put(0xb7, reg, 0, 0, source.i32());
        }
    }

    fn paths(&mut self, source: &mut Source<'_>) {
        if !self.is_callback {
            return;
        }
        self.put(0xbf, 1, 6, 0, 0);
        self.put(0xb7, 2, 0, 0, 0);
        let find = FINDS[usize::from(source.below(5))];
        self.ask(find);
        if !find.ends_with("count") {
            let at = self.code.len();
            let copies = source.below(2) == 0;
            if copies {
                self.put(0xbf, 3, 0, 0, 0);
                self.put(0x7b, 10, 0, -64, 0);
            }
            let check = self.code.len();
            self.put(0, 0, 0, 0, 0);
            match source.below(4) {
                0 => self.put(0x61, 0, 0, [0, 4, 8, 12][usize::from(source.below(4))], 0),
                1 => {
                    let member = [4, 8, 12][usize::from(source.below(3))];
                    self.put(0x62, if copies { 3 } else { 0 }, 0, member, source.i32());
                    self.put(0xb7, 0, 0, 0, 1);
                }
                _ => {
                    self.put(0xbf, 1, 0, 0, 0);
                    if copies {
                        self.put(0x79, 1, 10, -64, 0);
                    }
                    self.put(0xb7, 2, 0, 0, source.i32());
                    self.ask(ASKS[usize::from(source.below(9))]);
                }
            }
            let distance = (self.code.len() - check - 1) as i16;
            self.code[check] = insn(0x15, 0, 0, distance, 0);
            debug_assert!(at <= check);
        }
        self.refill(source);
    }

    fn subprogram(&mut self, source: &mut Source<'_>) {
        let Some(callee) = self.callee else { return };
        self.relocate(callee, CALL);
        self.put(0x85, 0, 1, 0, -1);
        self.refill(source);
    }

    /// The scheduler's own fields, and the context's.
    fn own(&mut self, source: &mut Source<'_>) {
        if !self.is_callback {
            return;
        }
        let (reg, field) = (Self::reg(source), i16::from(source.below(2)) * 8);
        match source.below(3) {
            0 => self.put(0x7b, 6, reg, field, 0),
            1 => self.put(0x79, reg, 6, field, 0),
            _ => self.put(0x61, reg, 7, field, 0),
        }
    }

    fn join(self, object: &mut Object, name: &str) {
        let start = object.function(name, &self.code);
        let all = self.relocations.into_iter();
        object.relocations.extend(all.map(|(at, symbol, kind)| (start + at, symbol, kind)));
    }
}
