"""The steps from each revision of the ledger's tables to the next, run by alembic."""
