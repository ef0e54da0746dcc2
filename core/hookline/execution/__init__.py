"""How runs are executed: the engine, the buffer that readers follow, deliveries, and the ledger's upkeep."""
