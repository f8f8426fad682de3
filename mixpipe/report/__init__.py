"""The whole run on one page: HTML that needs no network and no other files. Nothing is fitted here."""
