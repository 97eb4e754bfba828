"""Pictures of runs and sweeps. Importing what is in here loads matplotlib."""
