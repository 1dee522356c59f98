"""Studies: arms (sets of training flags) × seeds, trained, evaluated and compared by one command."""
