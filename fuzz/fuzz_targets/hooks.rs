//! What registries send when something changed: whatever it is, it is read within its bounds.
//!
//! The files themselves are compiled, as the crate that they are of would bring its HTTP server.
#![allow(dead_code, reason = "each target uses a part")]

#[path = "../../server/src/hooks/acr.rs"]
mod acr;
#[path = "../../server/src/hooks/dialect.rs"]
mod dialect;
#[path = "../../server/src/hooks/distribution.rs"]
mod distribution;
#[path = "../../server/src/hooks/ecr.rs"]
mod ecr;
#[path = "../../server/src/hooks/event_grid.rs"]
mod event_grid;
#[path = "../../server/src/hooks/google.rs"]
mod google;
#[path = "../../server/src/hooks/harbor.rs"]
mod harbor;
#[path = "../../server/src/hooks/news.rs"]
mod news;
#[path = "../../server/src/hooks/quay.rs"]
mod quay;
#[path = "../../server/src/hooks/zot.rs"]
mod zot;

use self::dialect::Dialect;
use self::news::{Delivery, Kind, Subject};

/// The first byte is the dialect, and whether the first line is the header `ce-type`.
pub fn event(bytes: &[u8]) {
    let Some((first, mut body)) = bytes.split_first() else { return };
    let dialect = Dialect::ALL[usize::from(*first) % Dialect::ALL.len()];
    let mut ce_type = None;
    if usize::from(*first) / Dialect::ALL.len() % 2 == 1 {
        let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
        ce_type = str::from_utf8(&body[..end]).ok();
        body = &body[(end + 1).min(body.len())..];
    }
    match dialect.parse(ce_type, body) {
        Ok(Delivery::News { news, ignored }) => {
            assert!(news.len() + ignored <= news::MAX_EVENTS + 1);
            for news in news {
                assert!(news.digest.is_some() || news.tag.is_some());
                assert!(news.tag.is_none_or(|tag| !tag.is_empty() && !tag.contains(':')));
                assert!(news.kind != Kind::Scanned || news.subject == Subject::Nothing);
            }
        }
        Ok(Delivery::Handshake(code)) => assert!(code.len() <= event_grid::MAX_CODE),
        Err(_) => {}
    }
}
