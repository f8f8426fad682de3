"""The report of a whole run on one HTML page that needs no network and no other files. Nothing is fitted here."""
