"""What several test folders share: servers, waiting, and the search for leftovers."""
