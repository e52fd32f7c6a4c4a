"""Settings, events and connections under aioquic's names."""
