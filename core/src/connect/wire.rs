//! A stream to a server, in the clear or within TLS, that is watched while the server asks who we are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::login::LoginWatch;
use super::stream::Socket;

/// The driver's connection over a stream of ours.
pub(super) type Driver = tokio_postgres::Connection<tokio::io::Empty, Wire>;

type Secured = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream;

pub(super) struct Wire {
    stream: Stream,
    watch: Watch,
}

enum Stream {
    Plain(Socket),
    Secured(Box<Secured>),
}

/// What else happens on the way.
enum Watch {
    Nothing,
    /// The server's questions are compared with what the settings permit, before they are answered.
    Login(Box<LoginWatch>),
    /// The end of our side waits for the end of the server's: only then it has taken notice.
    WaitForEnd,
}

impl Wire {
    pub(super) fn plain(socket: Socket) -> Wire {
        Wire { stream: Stream::Plain(socket), watch: Watch::Nothing }
    }

    pub(super) fn secured(stream: Secured) -> Wire {
        Wire { stream: Stream::Secured(Box::new(stream)), watch: Watch::Nothing }
    }

    pub(super) fn watch_login(mut self, watch: LoginWatch) -> Wire {
        self.watch = Watch::Login(Box::new(watch));
        self
    }

    pub(super) fn wait_for_end(mut self) -> Wire {
        self.watch = Watch::WaitForEnd;
        self
    }
}

/// Hands the driver a stream on which TLS, if any, is established already.
pub(super) struct Ready(pub Wire);

impl TlsConnect<tokio::io::Empty> for Ready {
    type Stream = Wire;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Wire>>;

    fn connect(self, _: tokio::io::Empty) -> Self::Future {
        std::future::ready(Ok(self.0))
    }
}

impl TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.stream {
            Stream::Plain(_) => ChannelBinding::none(),
            Stream::Secured(stream) => stream.channel_binding(),
        }
    }
}

/// Passes a call on to whichever stream there is.
macro_rules! pass_on {
    ($stream:expr, $method:ident ( $($arg:expr),* )) => {
        match $stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($arg),*),
            Stream::Secured(stream) => Pin::new(stream.as_mut()).$method($($arg),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(pass_on!(&mut self.stream, poll_read(cx, buffer)))?;
        if let Watch::Login(watch) = &mut self.watch
            && watch.read(&buffer.filled()[before..])?
        {
            self.watch = Watch::Nothing;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        pass_on!(&mut self.stream, poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass_on!(&mut self.stream, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Watch::WaitForEnd = self.watch {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            // However it ends, it has ended.
            let read = ready!(pass_on!(&mut self.stream, poll_read(cx, &mut buffer)));
            if read.is_err() || buffer.filled().is_empty() {
                self.watch = Watch::Nothing;
            }
        }
        pass_on!(&mut self.stream, poll_shutdown(cx))
    }
}
