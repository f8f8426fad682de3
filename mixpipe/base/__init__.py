"""Helpers that every room may use: arrays, messages for users, atomic files, numbers as text, threads."""
