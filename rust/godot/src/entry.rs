//! Where the engine finds the classes.
#![allow(unsafe_code, reason = "the engine calls through C")]

use godot::init::{ExtensionLibrary, gdextension};

struct Krakpot;

// SAFETY: the crate promises nothing about the engine's life that the defaults of the trait do not keep.
#[gdextension]
unsafe impl ExtensionLibrary for Krakpot {}
