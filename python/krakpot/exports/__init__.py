"""Exports: a lake as files of other tools."""
