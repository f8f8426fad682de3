"""What each job of a run reads and does."""
