"""The contract's runs, deliveries and requests, for the tests of this storage's own."""

from hookline.testing.storage_contract.builders import *  # noqa: F403 - all of it, by its `__all__`
