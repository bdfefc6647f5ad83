"""The machine that runs jobs: worker, producer, executor, leases, rescue, supervisor."""
