//! What filters say in `on-request` of the response that the client will get, kept until there is one.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes to the fields of the response to come, in the order in which they were asked for, which is
/// also that of the filters.
#[derive(Clone, Debug, Default)]
pub struct Delivery(Vec<Change>);

#[derive(Clone, Debug)]
struct Change {
    /// The place on the route of the filter whose change it is.
    place: usize,
    name: HeaderName,
    how: How,
}

/// What becomes of a field.
#[derive(Clone, Debug)]
pub(super) enum How {
    Set(HeaderValue),
    Append(HeaderValue),
    Remove,
}

impl How {
    /// The bytes that it brings along.
    pub(super) fn len(&self) -> usize {
        match self {
            How::Set(value) | How::Append(value) => value.len(),
            How::Remove => 0,
        }
    }
}

impl Delivery {
    /// How many changes there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps one more change, of the filter in this place.
    pub(super) fn keep(&mut self, place: usize, name: HeaderName, how: How) {
        self.0.push(Change { place, name, how });
    }

    /// Forgets all changes but the first so many.
    pub(super) fn forget_from(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Makes the changes of the filter in this place, once; those of the filters behind it have been made.
    pub(super) fn carry_out(&mut self, place: usize, headers: &mut HeaderMap) {
        let first = self.0.partition_point(|change| change.place < place);
        for Change { name, how, .. } in self.0.drain(first..) {
            // A map that is full takes no more; nothing that comes from outside fills one.
            let _ = match how {
                How::Set(value) => headers.try_insert(name, value).map(drop),
                How::Append(value) => headers.try_append(name, value).map(drop),
                How::Remove => {
                    headers.remove(name);
                    Ok(())
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_from_the_last_filter_to_the_first_and_in_their_order() {
        let (order, gone) = (
            HeaderName::from_static("x-order"),
            HeaderName::from_static("x-gone"),
        );
        let value = HeaderValue::from_static;
        let mut delivery = Delivery::default();
        delivery.keep(0, order.clone(), How::Append(value("a")));
        delivery.keep(0, order.clone(), How::Append(value("b")));
        delivery.keep(2, order.clone(), How::Set(value("c")));
        delivery.keep(2, gone.clone(), How::Remove);
        let kept = delivery.len();
        delivery.keep(3, order.clone(), How::Set(value("failed")));
        delivery.forget_from(kept);
        let mut headers = HeaderMap::new();
        headers.insert(order.clone(), value("origin"));
        headers.insert(gone.clone(), value("origin"));
        for place in (0..4).rev() {
            delivery.carry_out(place, &mut headers);
        }
        let orders: Vec<_> = headers.get_all(order).iter().collect();
        assert_eq!(orders, ["c", "a", "b"]);
        assert!(!headers.contains_key(gone));
    }
}
