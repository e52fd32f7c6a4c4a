//! Answers.

use std::net::SocketAddr;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use compare_common::options;
use compare_common::pattern::Request;
use compare_common::report::{Totals, listening};
use compare_common::{ALPN, Result, process};
use msquic::ffi;
use msquic::{
    Addr, Api, BufferRef, Connection, ConnectionEvent, ConnectionRef, Listener, ListenerEvent,
    Status, Stream, StreamEvent, StreamRef,
};

use crate::stream::Outflow;
use crate::{explain, registration, server_configuration};

pub fn run(options: &options::Server) -> Result<()> {
    let totals = Arc::<Totals>::default();
    let at_end = totals.clone();
    process::at_signal(move || {
        at_end.print();
        // SAFETY: ends the process without running what was registered for its end, which would
        // wait for handles that are still open.
        unsafe { libc::_exit(0) };
    });
    let registration = registration()?;
    let configuration = server_configuration(&registration, options)?;
    let listener = Listener::open(&registration, move |_, event| {
        if let ListenerEvent::NewConnection { connection, .. } = event {
            let totals = totals.clone();
            connection.set_callback_handler(move |connection, event| {
                attend(&connection, event, &totals);
                Ok(())
            });
            connection.set_configuration(&configuration)?;
        }
        Ok(())
    })
    .map_err(explain)?;
    let alpn = [BufferRef::from(ALPN)];
    listener.start(&alpn, Some(&Addr::from(options.listen))).map_err(explain)?;
    let address = listener.get_local_addr().map_err(explain)?;
    let port = address.port();
    listening(SocketAddr::new(options.listen.ip(), port));
    loop {
        std::thread::park();
    }
}

fn attend(connection: &ConnectionRef, event: ConnectionEvent, totals: &Arc<Totals>) {
    match event {
        ConnectionEvent::Connected { .. } => {
            totals.connected();
            send_ticket(connection);
        }
        ConnectionEvent::PeerStreamStarted { stream, .. } => {
            let (mut request, mut answer, totals) = (Request::default(), None, totals.clone());
            stream.set_callback_handler(move |stream, event| {
                on_stream(&stream, event, &mut request, &mut answer, &totals)
            });
        }
        ConnectionEvent::DatagramReceived { .. } => {
            totals.datagrams.fetch_add(1, Relaxed);
        }
        ConnectionEvent::ShutdownComplete { .. } => {
            // SAFETY: nobody else owns an accepted connection; this closes it.
            drop(unsafe { Connection::from_raw(connection.as_raw()) });
        }
        _ => {}
    }
}

/// The binding does not know this call.
fn send_ticket(connection: &ConnectionRef) {
    if let Some(send) = Api::get_ffi().ConnectionSendResumptionTicket {
        let flags = ffi::QUIC_SEND_RESUMPTION_FLAGS_QUIC_SEND_RESUMPTION_FLAG_FINAL;
        // SAFETY: the connection lives through its callback; no data goes into the ticket. That a
        // client cannot resume is seen there.
        let _ = unsafe { send(connection.as_raw(), flags, 0, ptr::null()) };
    }
}

fn on_stream(
    stream: &StreamRef,
    event: StreamEvent,
    request: &mut Request,
    answer: &mut Option<Outflow>,
    totals: &Totals,
) -> std::result::Result<(), Status> {
    match event {
        StreamEvent::Receive { buffers, .. } => {
            buffers.iter().for_each(|buffer| request.take(buffer.as_bytes()));
        }
        StreamEvent::PeerSendShutdown => {
            totals.count(request);
            answer.insert(Outflow::new(request.wanted())).drive(stream)?;
        }
        StreamEvent::SendComplete { cancelled: false, .. } => {
            if let Some(answer) = answer {
                answer.completed();
                if answer.has_more() {
                    answer.drive(stream)?;
                }
            }
        }
        StreamEvent::ShutdownComplete { .. } => {
            // SAFETY: nobody else owns an accepted stream; this closes it.
            drop(unsafe { Stream::from_raw(stream.as_raw()) });
        }
        _ => {}
    }
    Ok(())
}
