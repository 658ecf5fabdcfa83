//! A port in use is found out before anything is started in vain.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use crate::failure::Failure;

/// # Errors
/// When something listens on `address` already, or it is not this machine's; `option` names what would change it.
pub(crate) fn must_be_free(address: SocketAddr, option: &str) -> Result<(), Failure> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(Failure::failed(format!(
            "{address} is in use; stop what listens there, or choose another address with {option}"
        ))),
        Err(error) => Err(Failure::failed(format!(
            "cannot listen on {address} ({option}): {error}"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_told_with_the_option_that_changes_it() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let message = must_be_free(address, "--listen").unwrap_err().to_string();
        assert!(message.contains(&address.to_string()), "{message}");
        assert!(message.contains("--listen"), "{message}");

        drop(taken);
        assert!(must_be_free(address, "--listen").is_ok());
    }
}
