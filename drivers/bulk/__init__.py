"""Array front-ends that speak the bulk RF protocol (docs/bulk-rf-protocol.md): README.md here says what was tried."""
