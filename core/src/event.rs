//! A decision in, the record of it out.
