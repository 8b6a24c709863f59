//! Query parameters.
