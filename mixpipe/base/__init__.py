"""What every room may use: arrays, messages for users, whole files, numbers as text."""
