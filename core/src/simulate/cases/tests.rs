//! What cases say and how a fault in them is told.

use super::*;
