"""What several test folders share. Import it by its full name: `from tests.helpers.shards import write_tar`."""
