"""Package discovery: `shards/` and `patches/` stand at the top of the checkout and install below `sclip_plugin`.

Everything else is in pyproject.toml. Discovery is automatic so that a new subpackage cannot be forgotten.
"""

from setuptools import find_packages, setup

SUBPACKAGES = ("shards", "patches")

packages = find_packages(include=["sclip_plugin", "sclip_plugin.*"])
for name in SUBPACKAGES:
    packages += [f"sclip_plugin.{name}", *(f"sclip_plugin.{name}.{sub}" for sub in find_packages(name))]

setup(
    packages=packages,
    package_dir={"sclip_plugin": "sclip_plugin", **{f"sclip_plugin.{name}": name for name in SUBPACKAGES}},
)
