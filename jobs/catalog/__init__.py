"""The jobs that ship with the package: first customers of its public API, importing only that."""
