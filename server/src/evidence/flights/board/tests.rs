//! Every order in which those who ask, find out and supersede can take their steps, with up to three
//! threads of which each is interrupted three times at the most where it could go on.

use std::sync::atomic::{AtomicU32, Ordering};

use loom::model::Builder;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::*;

/// A registry, what is kept of it, and the board between them.
struct World {
    /// What the registry says now.
    registry: Mutex<u32>,
    /// What is kept; locked within the board alone, as the real map is by those who write.
    kept: Mutex<Option<u32>>,
    board: Mutex<Board<(), (), ()>>,
    /// Not a step of its own: nobody acts by it.
    searches: AtomicU32,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            registry: Mutex::new(1),
            kept: Mutex::new(None),
            board: Mutex::new(Board::new()),
            searches: AtomicU32::new(0),
        })
    }

    /// Asks as a caller does, and finds out if it is his turn. None: another one finds out.
    fn ask(&self, asked: Asked) -> Option<u32> {
        if asked == Asked::Plainly
            && let Some(kept) = *self.kept.lock().unwrap()
        {
            return Some(kept);
        }
        let kept = || *self.kept.lock().unwrap();
        let place = self.board.lock().unwrap().join(&(), asked, kept, || ((), ()));
        match place {
            Place::Kept(value) => Some(value),
            Place::Follow(()) => None,
            Place::Lead(number, (), ()) => Some(self.fly(number)),
        }
    }

    /// Finds out until nobody asks any more, and gives what was found first.
    fn fly(&self, mut number: u64) -> u32 {
        let mut first = None;
        loop {
            self.searches.fetch_add(1, Ordering::Relaxed);
            let value = *self.registry.lock().unwrap();
            let keep = || *self.kept.lock().unwrap() = Some(value);
            let landing = self.board.lock().unwrap().land(&(), number, keep);
            let first = *first.get_or_insert(value);
            match landing {
                Landing::Again(next, ()) => number = next,
                Landing::Landed | Landing::Superseded => return first,
            }
        }
    }

    /// The registry has something new, and says so.
    fn change(&self) {
        *self.registry.lock().unwrap() = 2;
        let mut board = self.board.lock().unwrap();
        board.supersede(|()| true);
        *self.kept.lock().unwrap() = None;
    }
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

#[test]
fn many_who_ask_at_once_make_one_search() {
    model(|| {
        let world = World::new();
        let asking: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || world.ask(Asked::Plainly))
            })
            .collect();
        world.ask(Asked::Plainly);
        for thread in asking {
            thread.join().unwrap();
        }
        assert_eq!(world.searches.load(Ordering::Relaxed), 1);
        assert_eq!(*world.kept.lock().unwrap(), Some(1));
        assert_eq!(world.board.lock().unwrap().len(), 0);
    });
}

#[test]
fn what_began_before_a_change_never_takes_the_place_of_what_came_after() {
    model(|| {
        let world = World::new();
        let asking = {
            let world = world.clone();
            thread::spawn(move || world.ask(Asked::Plainly))
        };
        let changing = {
            let world = world.clone();
            thread::spawn(move || world.change())
        };
        world.ask(Asked::Plainly);
        asking.join().unwrap();
        changing.join().unwrap();
        let kept = *world.kept.lock().unwrap();
        assert_ne!(kept, Some(1), "what is kept was true only before the change");
        assert_eq!(world.ask(Asked::Plainly), Some(2));
        assert_eq!(world.board.lock().unwrap().len(), 0);
    });
}

#[test]
fn who_asks_anew_is_never_told_what_was_found_before() {
    model(|| {
        let world = World::new();
        let asking = {
            let world = world.clone();
            thread::spawn(move || world.ask(Asked::Plainly))
        };
        let changing = {
            let world = world.clone();
            thread::spawn(move || {
                *world.registry.lock().unwrap() = 2;
                world.ask(Asked::Anew)
            })
        };
        let anew = changing.join().unwrap();
        asking.join().unwrap();
        assert_ne!(anew, Some(1));
        assert_eq!(*world.kept.lock().unwrap(), Some(2));
        assert_eq!(world.board.lock().unwrap().len(), 0);
    });
}

#[test]
fn two_who_ask_anew_are_both_told_what_is_new() {
    model(|| {
        let world = World::new();
        let ask = || {
            let world = world.clone();
            thread::spawn(move || world.ask(Asked::Anew))
        };
        let (one, other) = (ask(), ask());
        *world.registry.lock().unwrap() = 2;
        world.ask(Asked::Anew);
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(*world.kept.lock().unwrap(), Some(2));
        assert_eq!(world.board.lock().unwrap().len(), 0);
    });
}
