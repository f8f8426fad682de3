"""The estimators: siblings that share the likelihood and do not import each other."""
