"""Programs that speak to the daemon as clients, and to somebody else in their own protocol."""
