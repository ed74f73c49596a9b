//! A network between a client and its server that can fall silent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes everything on, until it is frozen.
pub struct Link {
    port: u16,
    frozen: Arc<AtomicBool>,
    refusing: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Link {
    /// In front of the server of a connection URI without a password.
    pub fn to(dsn: &str) -> Link {
        let server = dsn.split(['@', '/']).nth(3).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let link = Link { port, frozen: Arc::default(), refusing: Arc::default(), streams: Arc::default() };
        let (frozen, refusing, streams) = (link.frozen.clone(), link.refusing.clone(), link.streams.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if refusing.load(Ordering::SeqCst) {
                    continue;
                }
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let mut all = streams.lock().unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    all.push(from.try_clone().unwrap());
                    let (from, to, frozen) = (from.try_clone().unwrap(), to.try_clone().unwrap(), frozen.clone());
                    std::thread::spawn(move || pass_on(from, to, &frozen));
                }
            }
        });
        link
    }

    /// The URI through this link.
    pub fn dsn(&self, dsn: &str) -> String {
        let server = dsn.split(['@', '/']).nth(3).unwrap();
        dsn.replace(server, &format!("127.0.0.1:{}", self.port))
    }

    /// New connections are ended at once, as long as this is on.
    #[allow(dead_code)]
    pub fn refuse(&self, on: bool) {
        self.refusing.store(on, Ordering::SeqCst);
    }

    /// Nothing passes any more, in either direction, and nobody is told.
    #[allow(dead_code)]
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// Ends what was frozen, and passes on what is new.
    #[allow(dead_code)]
    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.frozen.store(false, Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, frozen: &AtomicBool) {
    let mut buffer = [0; 16384];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        while frozen.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if to.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
