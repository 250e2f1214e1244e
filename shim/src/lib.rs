//! The admission webhook: what the API server asks in, what it is to do out. It holds no policy.
//!
//! ```text
//! bytes ─ review::read ─ Review ─ one Check ─ Outcome ─ review::validated, review::mutated ─ Response
//! ```

pub mod review;
