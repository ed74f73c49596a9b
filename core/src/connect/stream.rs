//! The bytes to and from the server, on Linux. Their arrival is awaited by the runtime, or by a thread that blocks in a
//! call and reads its answer itself, which spares two changes of threads.
//!
//! The runtime hears of the socket through an epoll instance that has nothing else in it, the gate. A thread that reads
//! by itself shuts the gate meanwhile; else each answer would wake a thread of the runtime for nothing.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// What the server answers to BEGIN.
const BEGUN: libc::c_int = 17;

/// The socket and its gate.
pub(super) struct Line {
    socket: OwnedFd,
    gate: OwnedFd,
    led: AtomicBool,
    /// The thread that reads by itself has seen that there is something.
    readable: AtomicBool,
    wants_to_write: AtomicBool,
    /// What comes next is no news without what follows.
    expects_more: AtomicBool,
}

impl Line {
    fn new(socket: OwnedFd) -> io::Result<Line> {
        let gate = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&gate, &socket, EventData::new_u64(0), EventFlags::IN)?;
        let [led, readable, wants_to_write, expects_more] = [const { AtomicBool::new(false) }; 4];
        Ok(Line { socket, gate, led, readable, wants_to_write, expects_more })
    }

    /// Whether a thread reads by itself.
    pub fn is_led(&self) -> bool {
        self.led.load(Ordering::SeqCst)
    }

    /// Whether it is worth a look: a thread that reads by itself looks only when it has seen something, and once.
    fn may_read(&self) -> bool {
        !self.is_led() || self.is_readable()
    }

    /// Whether there is something to read that was not read yet.
    pub fn is_readable(&self) -> bool {
        self.readable.load(Ordering::SeqCst)
    }

    /// Notes that there is something to read, or that all of it was read.
    pub fn set_readable(&self, readable: bool) {
        self.readable.store(readable, Ordering::SeqCst);
    }

    /// Shuts the gate if it is open: a thread reads by itself. It looks whether there is something before it sleeps.
    pub fn lead(&self) {
        if !self.is_led() {
            self.set_readable(false);
            self.set_led(true);
        }
    }

    /// Shuts or opens the gate. Whoever may read must be kept from it meanwhile.
    pub fn set_led(&self, led: bool) {
        self.led.store(led, Ordering::SeqCst);
        self.set_gate();
    }

    /// Whether the server takes nothing more for now.
    pub fn wants_to_write(&self) -> bool {
        self.wants_to_write.load(Ordering::SeqCst)
    }

    fn set_wants_to_write(&self, wants: bool) {
        if self.wants_to_write.swap(wants, Ordering::SeqCst) != wants {
            self.set_gate();
        }
    }

    /// To be called before a BEGIN that a statement follows: the server sends the answer to it by itself, which would
    /// wake whoever waits for nothing.
    pub fn expect_more_than_begun(&self) {
        self.expects_more.store(true, Ordering::SeqCst);
        self.set_low_water(BEGUN + 1);
    }

    fn has_read(&self) {
        if self.expects_more.swap(false, Ordering::SeqCst) {
            self.set_low_water(1);
        }
    }

    /// Fewer bytes than that are not worth a look. If that cannot be set, each is.
    fn set_low_water(&self, bytes: libc::c_int) {
        let (value, size) = ((&raw const bytes).cast(), size_of_val(&bytes) as libc::socklen_t);
        // SAFETY: the descriptor is ours and open, and the value lives as long as the call.
        unsafe { libc::setsockopt(self.socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, size) };
    }

    fn set_gate(&self) {
        let events = match (self.is_led(), self.wants_to_write()) {
            (true, _) => EventFlags::empty(),
            (false, false) => EventFlags::IN,
            (false, true) => EventFlags::IN | EventFlags::OUT,
        };
        let set = epoll::modify(&self.gate, &self.socket, EventData::new_u64(0), events);
        set.expect("both descriptors are ours and open");
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

struct Gate(Arc<Line>);

impl AsRawFd for Gate {
    fn as_raw_fd(&self) -> RawFd {
        self.0.gate.as_raw_fd()
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.gate.as_fd()
    }
}

pub(super) struct Socket {
    line: Arc<Line>,
    gate: AsyncFd<Gate>,
}

impl Socket {
    pub fn tcp(stream: TcpStream) -> io::Result<Socket> {
        Socket::new(stream.into_std()?.into())
    }

    pub fn unix(stream: UnixStream) -> io::Result<Socket> {
        Socket::new(stream.into_std()?.into())
    }

    /// The socket does not block: it was the runtime's.
    fn new(socket: OwnedFd) -> io::Result<Socket> {
        let line = Arc::new(Line::new(socket)?);
        // SAFETY: the gate's descriptor lives in the line, which `Gate` keeps, and is always the same.
        let gate = unsafe { AsyncFd::register_with_interest(Gate(line.clone()), Interest::READABLE)? };
        Ok(Socket { line, gate })
    }

    pub fn line(&self) -> Arc<Line> {
        self.line.clone()
    }

    /// Until it is worth another try. A thread that reads by itself needs no word of that.
    fn poll_gate(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.is_led() {
            return Poll::Pending;
        }
        ready!(self.gate.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.line.may_read() {
            let room = buffer.initialize_unfilled();
            let size = room.len();
            match recv(&self.line.socket, room, RecvFlags::empty()) {
                Ok((count, _)) => {
                    self.line.has_read();
                    // At the end, which reads as nothing, the next look finds it again.
                    if (1..size).contains(&count) {
                        self.line.set_readable(false);
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::AGAIN) => {
                    self.line.set_readable(false);
                    ready!(self.poll_gate(cx))?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match send(&self.line.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.line.set_wants_to_write(false);
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => {
                    self.line.set_wants_to_write(true);
                    ready!(self.poll_gate(cx))?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match shutdown(&self.line.socket, Shutdown::Write) {
            // The server may have been quicker.
            Ok(()) | Err(Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}
