"""The engine for mixtures of several columns, with a covariance of the errors for each row and missing values."""
