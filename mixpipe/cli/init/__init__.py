"""What `mixpipe init` needs: samples of catalogs, what their columns hold, and the YAML that it writes."""
