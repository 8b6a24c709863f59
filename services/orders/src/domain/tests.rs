//! The rules, exhaustively.
