"""What the end-to-end tests are made of: daemons, origins and clients that do as they are told."""
