//! What stands in the regional tier: whatever bytes are there, they are a response as it was written, or nothing.
//!
//! Bytes as they come hardly ever have the right checksum, so they are also tried behind one.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_stored::{Encoded, Recency, VERSION, decode, encode, encode_varies};

fuzz_target!(|data: &[u8]| {
    check(&Bytes::copy_from_slice(data));
    let mut sealed = vec![VERSION];
    sealed.extend_from_slice(&blake3::hash(data).as_bytes()[..16]);
    sealed.extend_from_slice(data);
    check(&Bytes::from(sealed));
});

/// What is read and written again is read the same.
fn check(bytes: &Bytes) {
    match decode(bytes) {
        None => {}
        Some(Encoded::Varies(names)) => {
            let again = decode(&encode_varies(names.iter(), Recency::from_bytes([7; 24])).into());
            assert!(matches!(again, Some(Encoded::Varies(same)) if same == names));
        }
        Some(Encoded::Response(stored, url)) => {
            let written = encode(&stored, &url).expect("what is read is whole");
            let Some(Encoded::Response(again, same)) = decode(&written.into()) else {
                panic!("what was written cannot be read");
            };
            assert_eq!(url, same);
            assert_eq!(format!("{stored:?}"), format!("{again:?}"));
        }
    }
}
