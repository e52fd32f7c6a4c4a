//! The Python extension module tquic._engine.
