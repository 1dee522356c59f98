"""What a person runs beside training: each command of `sclip` is the module or package of its name.

A command offers `add_arguments(parser)` and `run(args) -> int | None`. Its module docstring is its help text. Nothing
outside this folder imports from it, except `sclip_plugin.cli`, which dispatches to it.
"""
