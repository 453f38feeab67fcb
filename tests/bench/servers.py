"""PostgreSQL and Valkey for a bench run, from the wheels that the tests use, on the other CPU."""
