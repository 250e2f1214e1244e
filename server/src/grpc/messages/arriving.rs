//! Parts of messages in, room for them out, while there is some for their caller.

use std::sync::LazyLock;

use parking_lot::Mutex;
use tonic::Status;

use crate::caller::Caller;
use crate::grpc::status;
use crate::shares::Shares;

/// The most bytes of messages that have not arrived whole, of all callers together.
const MAX_ARRIVING: usize = 128 * 1024 * 1024;
/// The most of one caller.
const MAX_PER_CALLER: usize = 32 * 1024 * 1024;
/// Messages of which no more than so many bytes arrived are small: nearly all are, as a whole.
pub(super) const SMALL: usize = 32 * 1024;
/// Room beside that is for small messages alone, so that large ones do not turn them away.
const MAX_SMALL: usize = 32 * 1024 * 1024;
/// How much of it one caller may have.
const MAX_SMALL_PER_CALLER: usize = 8 * 1024 * 1024;

/// The room of the service.
static ROOM: LazyLock<Room> = LazyLock::new(Room::default);

/// Room for what has not arrived whole.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_caller: Shares<Caller>,
}

impl Room {
    /// What there is for the messages of all callers together.
    pub(super) fn of_all() -> &'static Self {
        &ROOM
    }

    /// Gives `caller` room for `bytes` of one message instead of the `before` that it has for it.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where there is none: everything stays as it was.
    fn change(&self, caller: &Caller, before: usize, bytes: usize) -> Result<(), Status> {
        let small = bytes <= SMALL;
        let (all, own) = if small { (MAX_SMALL, MAX_SMALL_PER_CALLER) } else { (0, 0) };
        let mut held = self.0.lock();
        if let Some(more) = bytes.checked_sub(before) {
            if held.all + more > MAX_ARRIVING + all {
                return Err(status::no_room(MAX_ARRIVING, "all callers together"));
            }
            if held.by_caller.of(caller) + more > MAX_PER_CALLER + own {
                return Err(status::no_room(MAX_PER_CALLER, "one caller"));
            }
            held.all += more;
            held.by_caller.add(caller, more);
        } else {
            held.all = held.all.saturating_sub(before - bytes);
            held.by_caller.take_back(caller, before - bytes);
        }
        Ok(())
    }

    /// How many bytes there are, and how many callers have some.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let held = self.0.lock();
        (held.all, held.by_caller.len())
    }
}

/// What one message has of it, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    of: &'static Room,
    caller: Caller,
    bytes: usize,
}

impl Taken {
    /// Nothing yet.
    pub(super) const fn new(of: &'static Room, caller: Caller) -> Self {
        Self { of, caller, bytes: 0 }
    }

    /// For how many bytes there is room.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes room for `bytes` instead of what was taken before.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where there is none.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        self.of.change(&self.caller, self.bytes, bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Gives all of it back. Nearly all have none, and touch nothing that is shared.
    pub(super) fn give_back(&mut self) {
        if self.bytes > 0 {
            let mut held = self.of.0.lock();
            held.all = held.all.saturating_sub(self.bytes);
            held.by_caller.take_back(&self.caller, self.bytes);
            self.bytes = 0;
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::MAX_REQUEST;

    fn caller(n: u16) -> Caller {
        Caller::of(([127, 0, 0, 1], n).into())
    }

    fn full(taken: &mut Taken, bytes: usize) -> bool {
        let held = taken.bytes();
        let refused = taken.hold(bytes).map_err(|status| status.code());
        assert!(matches!(refused, Ok(()) | Err(tonic::Code::ResourceExhausted)));
        assert!(refused.is_ok() || taken.bytes() == held);
        refused.is_err()
    }

    /// Messages of one `size` that have all the room that there is for so large ones of `caller`.
    fn all_of(room: &'static Room, n: u16, size: usize) -> Vec<Taken> {
        let one = || {
            let mut taken = Taken::new(room, caller(n));
            (!full(&mut taken, size)).then_some(taken)
        };
        std::iter::from_fn(one).collect()
    }

    fn bytes(held: &[Taken]) -> usize {
        held.iter().map(Taken::bytes).sum()
    }

    #[test]
    fn t082_large_messages_of_one_caller_leave_room_for_those_of_others() {
        let room: &'static Room = Box::leak(Box::default());
        let held = all_of(room, 1, MAX_REQUEST);
        assert_eq!(bytes(&held), MAX_PER_CALLER);
        assert!(full(&mut Taken::new(room, caller(1)), SMALL + 1));
        // What is small has room beside, and so has whoever else asks.
        let small = all_of(room, 1, SMALL);
        assert_eq!(bytes(&small), MAX_SMALL_PER_CALLER);
        assert!(full(&mut Taken::new(room, caller(1)), 1));
        assert!(!full(&mut Taken::new(room, caller(2)), MAX_REQUEST));
        drop((held, small));
        assert_eq!(room.held(), (0, 0));
    }

    #[test]
    fn one_byte_past_what_all_may_hold_has_no_room() {
        let room: &'static Room = Box::leak(Box::default());
        let callers = u16::try_from(MAX_ARRIVING / MAX_PER_CALLER).unwrap();
        let held: Vec<_> = (0..callers).flat_map(|n| all_of(room, n, MAX_REQUEST)).collect();
        assert_eq!(room.held(), (MAX_ARRIVING, usize::from(callers)));
        assert!(full(&mut Taken::new(room, caller(callers)), SMALL + 1));
        let small: Vec<_> = (callers..2 * callers).flat_map(|n| all_of(room, n, SMALL)).collect();
        assert_eq!(bytes(&small), MAX_SMALL);
        let mut other = Taken::new(room, caller(2 * callers));
        assert!(full(&mut other, 1));
        drop(held);
        assert!(!full(&mut other, SMALL + 1));
        // One that grows pays for what came.
        assert!(!full(&mut other, 2 * SMALL));
        drop(small);
        assert_eq!(room.held(), (2 * SMALL, 1));
        assert!(!full(&mut other, 1));
        assert_eq!(room.held(), (1, 1));
        drop(other);
        assert_eq!(room.held(), (0, 0));
    }
}
