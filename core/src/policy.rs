//! Rule documents in, a compiled policy at one revision out.
