"""The version of everything here; a test compares ``Makefile.openwrt`` with it."""

VERSION = "0.1.0"
