//! Cookies of a request (RFC 6265 §4.2.1).

/// The values of a cookie, in the order sent, over all `Cookie` fields: HTTP/2 may split them.
pub(crate) fn values(name: &str, fields: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let pairs = fields
        .iter()
        .flat_map(|field| field.split(|byte| *byte == b';'));
    let value = |pair: &[u8]| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (&pair[..equals] == name.as_bytes()).then(|| pair[equals + 1..].to_vec())
    };
    pairs.filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        for (fields, expected) in [
            (&["a=1; s=2"][..], &["2"][..]),
            (&["as=1;s=2=3 ;S=4"], &["2=3"]),
            (&["a=1", "s=2"], &["2"]),
            (&["s=1; s=2"], &["1", "2"]),
            (&["s", "=s", ""], &[]),
        ] {
            let fields: Vec<Vec<u8>> = fields.iter().map(|field| field.as_bytes().into()).collect();
            let expected: Vec<Vec<u8>> = expected
                .iter()
                .map(|value| value.as_bytes().into())
                .collect();
            assert_eq!(values("s", &fields), expected);
        }
    }
}
