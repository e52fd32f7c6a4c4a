//! A deterministic network simulator in virtual time, and a relay that plays its links in real time.
