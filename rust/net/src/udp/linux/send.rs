//! Trains into `sendmmsg`, and what to do when the kernel does not take them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrayvec::ArrayVec;

use super::cmsg::{Control, Name};
use super::syscall::{MAX_MESSAGES, Message};
use super::{MAX_ICMP_RETRIES, is_from_icmp};
use crate::udp::stats::Counters;
use crate::udp::{MAX_TRAINS, Sent, TrainError, Transmit};

/// One call of `send`. `kernel` is `sendmmsg`, or a test's script of what it might answer.
pub struct Sender<'a, K> {
    pub kernel: K,
    /// Whether the socket is of the IPv6 family.
    pub v6: bool,
    /// Whether the socket reports errors.
    pub reports: bool,
    /// Whether to mark datagrams.
    pub ecn: bool,
    /// Whether the kernel cuts trains; turned off here when it turns out that it does not.
    pub gso: &'a AtomicBool,
    pub counters: &'a Counters,
}

/// The kernel's answer, as far as it concerns the first message it was given.
enum Answer {
    Sent(usize),
    Blocked,
    Refused(i32),
}

impl<K> Sender<'_, K>
where
    K: FnMut(&[Message<'_>]) -> io::Result<usize>,
{
    pub fn send(&mut self, batch: &[Transmit<'_>]) -> io::Result<Sent> {
        let batch = &batch[..batch.len().min(MAX_TRAINS)];
        let mut sent = Sent::default();
        while !sent.blocked
            && let Some(rest @ [first, ..]) = batch.get(sent.trains..)
        {
            let gso = self.gso.load(Relaxed);
            let whole = |train: &&Transmit<'_>| train.is_valid() && (gso || train.datagrams() == 1);
            match rest.iter().take_while(whole).count() {
                0 if first.is_valid() => self.send_split(first, &mut sent)?,
                0 => self.fail(&mut sent, TrainError::Invalid),
                run => self.send_whole(&rest[..run], &mut sent)?,
            }
        }
        Counters::add(&self.counters.sent_datagrams, sent.datagrams);
        Ok(sent)
    }

    /// Each train as one message, until one needs other treatment.
    fn send_whole(&mut self, run: &[Transmit<'_>], sent: &mut Sent) -> io::Result<()> {
        // Extended, here and below: what `collect` gives is moved as a whole, room and all.
        let mut heads: ArrayVec<(Name, Control), MAX_TRAINS> = ArrayVec::new();
        heads.extend(run.iter().map(|train| self.head(train, train.datagrams() > 1)));
        let mut messages: ArrayVec<Message<'_>, MAX_TRAINS> = ArrayVec::new();
        messages.extend(run.iter().zip(&heads).map(|(train, (name, control))| {
            let buffer = train.buffer.filter(|buffer| buffer.contains(train.data));
            Message { name, control, data: train.data, buffer }
        }));
        let mut at = 0;
        while let Some(train) = run.get(at) {
            match self.call(&messages[at..])? {
                Answer::Sent(n) => {
                    sent.datagrams +=
                        run[at..].iter().take(n).map(Transmit::datagrams).sum::<usize>();
                    sent.trains += n;
                    at += n;
                }
                Answer::Blocked => {
                    sent.blocked = true;
                    break;
                }
                // A device or a transformation that cannot checksum says EIO, older kernels say
                // EINVAL to segments beyond the MTU, and a source address that is gone is EINVAL
                // as well: what the single datagrams meet tells these apart.
                Answer::Refused(libc::EIO | libc::EINVAL) if train.datagrams() > 1 => {
                    let before = sent.datagrams;
                    self.send_split(train, sent)?;
                    if sent.datagrams > before {
                        self.gso.store(false, Relaxed);
                        Counters::add(&self.counters.gso_fallbacks, 1);
                    }
                    break;
                }
                Answer::Refused(code) => {
                    self.fail(sent, reason(code));
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// The datagrams of `train`, one message each.
    fn send_split(&mut self, train: &Transmit<'_>, sent: &mut Sent) -> io::Result<()> {
        let (name, control) = self.head(train, false);
        let mut messages: ArrayVec<Message<'_>, MAX_MESSAGES> = ArrayVec::new();
        let segments = train.data.chunks(train.segment_size.max(1));
        messages.extend(segments.map(|data| Message {
            name: &name,
            control: &control,
            data,
            buffer: None,
        }));
        let mut at = 0;
        while at < messages.len() {
            match self.call(&messages[at..])? {
                Answer::Sent(n) => {
                    sent.datagrams += n;
                    at += n;
                }
                Answer::Blocked => {
                    sent.partial = at * train.segment_size;
                    sent.blocked = true;
                    return Ok(());
                }
                // What is true of one datagram is true of its equals behind it.
                Answer::Refused(code) => {
                    self.fail(sent, reason(code));
                    return Ok(());
                }
            }
        }
        sent.trains += 1;
        Ok(())
    }

    /// Leaves the current train behind.
    fn fail(&self, sent: &mut Sent, error: TrainError) {
        Counters::add(&self.counters.soft_errors, 1);
        // One error per train at most, and no more trains than there is room: never full.
        if sent.errors.try_push((sent.trains, error)).is_ok() {
            sent.trains += 1;
        }
    }

    /// Address and control messages of `train`.
    fn head(&self, train: &Transmit<'_>, cut: bool) -> (Name, Control) {
        let mut control = Control::EMPTY;
        // `is_valid` keeps a train, and so a segment of several, far below 65536 bytes.
        if cut && let Ok(size) = u16::try_from(train.segment_size) {
            control.segment_size(size);
        }
        if let Some(ecn) = train.ecn.filter(|_| self.ecn) {
            control.ecn(ecn, train.remote.ip().to_canonical().is_ipv4());
        }
        if let Some(ip) = train.local_ip {
            control.source(ip);
        }
        (Name::new(train.remote, self.v6), control)
    }

    fn call(&mut self, messages: &[Message<'_>]) -> io::Result<Answer> {
        let mut forgiven = 0;
        loop {
            let error = match (self.kernel)(messages) {
                Ok(0) => return Ok(Answer::Blocked),
                Ok(n) => {
                    Counters::add(&self.counters.send_calls, 1);
                    return Ok(Answer::Sent(n));
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN | libc::ENOBUFS) => return Ok(Answer::Blocked),
                // It was about an earlier datagram, and this one was not even tried.
                Some(code) if is_from_icmp(code, self.reports) && forgiven < MAX_ICMP_RETRIES => {
                    Counters::add(&self.counters.soft_errors, 1);
                    forgiven += 1;
                }
                None | Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT) => return Err(error),
                Some(code) => return Ok(Answer::Refused(code)),
            }
        }
    }
}

const fn reason(code: i32) -> TrainError {
    if code == libc::EMSGSIZE { TrainError::TooLarge } else { TrainError::Soft(code) }
}
