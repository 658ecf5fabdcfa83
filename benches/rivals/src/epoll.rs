//! What the origin and the load generator wait with. They use the kernel directly so that they take as little of the
//! machine as can be: what they take, the measured proxy does not get.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub const READABLE: u32 = libc::EPOLLIN as u32;
pub const WRITABLE: u32 = libc::EPOLLOUT as u32;
pub const CLOSED: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// Told once of each change.
pub const EDGES: u32 = libc::EPOLLET as u32;

/// How many events one wait takes.
const EVENTS: usize = 512;

/// What became of the file that was added under `key`.
#[derive(Clone, Copy)]
pub struct Event {
    pub key: u64,
    pub what: u32,
}

pub struct Epoll {
    file: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes flags and returns a descriptor or -1.
        let file = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        Ok(Self {
            file,
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Tells of `what` on `file` from now on, until the file is closed.
    ///
    /// # Errors
    /// When the kernel refuses the file.
    pub fn add(&self, file: &impl AsRawFd, key: u64, what: u32) -> io::Result<()> {
        let file: RawFd = file.as_raw_fd();
        let mut event = libc::epoll_event {
            events: what,
            u64: key,
        };
        // SAFETY: both descriptors are open, and the kernel copies the event.
        let done = unsafe {
            libc::epoll_ctl(
                self.file.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                file,
                &raw mut event,
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Puts what happened into `happened`; waits for it until `limit` has passed, if there is one. To the nanosecond,
    /// which `epoll_wait` is not.
    pub fn wait(&mut self, happened: &mut Vec<Event>, limit: Option<Duration>) {
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the buffer has room for EVENTS events, and the time outlives the call.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.file.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as libc::c_int,
                limit,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        // SAFETY: the kernel has written as many events as it says; a signal makes it none.
        unsafe { self.events.set_len(usize::try_from(count).unwrap_or(0)) };
        happened.clear();
        happened.extend(self.events.iter().map(|event| Event {
            key: event.u64,
            what: event.events,
        }));
    }
}

/// A listener on 127.0.0.1 that never blocks. Several may share the port, one for each thread.
///
/// # Errors
/// When the port is taken.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
